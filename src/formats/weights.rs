//! Files of weights: named tensors, as safetensors or as npz.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::safetensors::{self, Archive};
use super::{FormatError, Problem, npz};
use crate::tensor::{DType, Tensor};

/// The tensors of a file. Which format it has is read from its first bytes: those of a zip archive would begin a safetensors file whose
/// header has 67 MB.
pub fn load(path: &Path) -> Result<BTreeMap<String, Tensor>, FormatError> {
    let begin = || -> Result<Vec<u8>, Problem> {
        let mut begin = Vec::new();
        File::open(path)?.take(4).read_to_end(&mut begin)?;
        Ok(begin)
    };
    let begin = begin().map_err(|problem| problem.in_file(path))?;
    match begin.as_slice() {
        b"PK\x03\x04" | b"PK\x05\x06" => npz::load_all(path),
        _ => Ok(safetensors::load(path)?.tensors),
    }
}

/// What a file of weights is by its ending; `None` for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Safetensors,
    Npz,
}

impl Kind {
    pub fn of(path: &Path) -> Option<Kind> {
        match path.extension()?.to_str()? {
            "safetensors" => Some(Kind::Safetensors),
            "npz" => Some(Kind::Npz),
            _ => None,
        }
    }

    /// Whether the format has elements of this type.
    pub fn has(self, dtype: DType) -> bool {
        self == Kind::Safetensors || dtype != DType::BF16
    }
}

pub fn save(path: &Path, kind: Kind, tensors: BTreeMap<String, Tensor>) -> Result<(), FormatError> {
    match kind {
        Kind::Safetensors => safetensors::save(path, &Archive { tensors, ..Archive::default() }),
        Kind::Npz => {
            let arrays: Vec<(&str, &Tensor)> =
                tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
            npz::save(path, &arrays)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_hold_the_same_tensors() {
        let folder = tempfile::tempdir().unwrap();
        let values = Tensor::from_vec(&[2, 1], vec![1.5f32, -0.25]).unwrap();
        let tensors: BTreeMap<String, Tensor> = [DType::F32, DType::F64, DType::F16, DType::I64]
            .into_iter()
            .map(|dtype| (format!("stack_0.3.{dtype}"), values.cast(dtype)))
            .collect();
        // The first bytes tell, not the name.
        for (name, kind) in [("a", Kind::Safetensors), ("b", Kind::Npz)] {
            let path = folder.path().join(name);
            save(&path, kind, tensors.clone()).unwrap();
            assert_eq!(load(&path).unwrap(), tensors);
            let whole = std::fs::read(&path).unwrap();
            for end in (0..whole.len()).step_by(7) {
                std::fs::write(&path, &whole[..end]).unwrap();
                assert!(load(&path).is_err(), "{name}, {end} bytes");
            }
        }
        assert_eq!(Kind::of(Path::new("x/w.npz")), Some(Kind::Npz));
        assert_eq!(Kind::of(Path::new("w")), None);
    }
}
