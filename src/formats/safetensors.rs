//! safetensors, the files of weights: a JSON header, then the elements.
//!
//! The crate of the format reads and checks (offsets without gaps or overlaps, lengths, the end of
//! the file); repeated names are refused here. Written files are the same to the byte for the same
//! contents: tensors by descending element size, then by name; metadata by key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use ::safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use super::{FormatError, Problem, write_atomic};
use crate::tensor::{DType, Tensor};

/// The contents of a file: tensors and texts by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Archive {
    pub tensors: BTreeMap<String, Tensor>,
    pub metadata: BTreeMap<String, String>,
}

pub fn load(path: &Path) -> Result<Archive, FormatError> {
    let read = || decode(&std::fs::read(path)?);
    read().map_err(|problem| problem.in_file(path))
}

pub fn save(path: &Path, archive: &Archive) -> Result<(), FormatError> {
    write_atomic(path, |file| {
        let mut tensors: Vec<_> = archive.tensors.iter().collect();
        // A stable sort: equal sizes stay in the order of their names.
        tensors.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.dtype().size()));
        let mut header = Map::new();
        if !archive.metadata.is_empty() {
            header.insert("__metadata__".into(), json!(archive.metadata));
        }
        let mut end = 0;
        for (name, tensor) in &tensors {
            let start = end;
            end += tensor.len() * tensor.dtype().size();
            let dtype = dtype_name(tensor.dtype());
            let info = json!({"dtype": dtype, "shape": tensor.shape(), "data_offsets": [start, end]});
            header.insert(name.to_string(), info);
        }
        let mut header = Value::Object(header).to_string();
        header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        tensors.iter().try_for_each(|(_, tensor)| file.write_all(&tensor.to_le_bytes()))
    })
}

/// What the format calls an element type.
pub fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "F32",
        DType::F64 => "F64",
        DType::BF16 => "BF16",
        DType::F16 => "F16",
        DType::I32 => "I32",
        DType::I64 => "I64",
        DType::U8 => "U8",
        DType::Bool => "BOOL",
    }
}

fn decode(bytes: &[u8]) -> Result<Archive, Problem> {
    // The crate keeps the last of several tensors of one name; such a file is ambiguous.
    if let Some(name) = repeated_name(bytes) {
        return Err(Problem::malformed(format!("the name `{name}` occurs twice")));
    }
    let file = SafeTensors::deserialize(bytes).map_err(defect)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(defect)?;
    let mut archive = Archive::default();
    for (name, view) in file.iter() {
        let dtype = match view.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
            Dtype::BF16 => DType::BF16,
            Dtype::F16 => DType::F16,
            Dtype::I32 => DType::I32,
            Dtype::I64 => DType::I64,
            Dtype::U8 => DType::U8,
            Dtype::BOOL => DType::Bool,
            other => {
                let (what, found) = (format!("the tensor `{name}`"), other.to_string());
                let hint = "nnc reads F32, F64, BF16, F16, I32, I64, U8 and BOOL";
                return Err(Problem::ElementType { what, found, hint });
            }
        };
        let tensor = Tensor::from_le_bytes(dtype, view.shape(), view.data())?;
        archive.tensors.insert(name.into(), tensor);
    }
    archive.metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok(archive)
}

fn defect(error: SafeTensorError) -> Problem {
    use SafeTensorError as E;
    match error {
        E::HeaderTooSmall => Problem::Kind { expected: "a safetensors file: it has less than 8 bytes" },
        E::HeaderTooLarge => {
            Problem::Kind { expected: "a safetensors file: its header would have more than 100 MB" }
        }
        E::InvalidHeaderLength => Problem::Kind {
            expected: "a safetensors file, or it is cut off: its header would be longer than the file",
        },
        E::InvalidHeader(_) => Problem::Kind { expected: "a safetensors file: its header is no text" },
        E::InvalidHeaderDeserialization(error) | E::JsonError(error) => {
            Problem::malformed(format!("the safetensors header is malformed: {error}"))
        }
        E::InvalidOffset(name) => {
            Problem::malformed(format!("the data of `{name}` overlap others or leave a gap"))
        }
        E::TensorInvalidInfo => Problem::malformed("the data of a tensor do not fit its shape"),
        E::MetadataIncompleteBuffer => {
            Problem::malformed("the tensors do not end where the file does; it may be cut off")
        }
        E::ValidationOverflow => Problem::malformed("the shape of a tensor is too large"),
        error => Problem::malformed(error.to_string()),
    }
}

/// A name that the header has more than once; `None` too for what is no header, which is refused elsewhere.
fn repeated_name(bytes: &[u8]) -> Option<String> {
    /// The first repeated name.
    struct Repeated(Option<String>);
    struct Names;
    impl<'de> Deserialize<'de> for Repeated {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Repeated, D::Error> {
            deserializer.deserialize_map(Names).map(Repeated)
        }
    }
    impl<'de> Visitor<'de> for Names {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<String>, A::Error> {
            let mut seen = BTreeSet::new();
            let mut repeated = None;
            while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                repeated = repeated.or(seen.replace(name));
            }
            Ok(repeated)
        }
    }
    let length = usize::try_from(u64::from_le_bytes(*bytes.first_chunk()?)).ok()?;
    serde_json::from_slice::<Repeated>(bytes[8..].get(..length)?).ok()?.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn archives_round_trip_to_the_byte() {
        let directory = tempfile::tempdir().unwrap();
        let values = Tensor::from_vec(&[2, 1], vec![1.0f32, 0.0]).unwrap();
        let mut archive = Archive::default();
        for dtype in DType::ALL {
            archive.tensors.insert(format!("layer_0.{dtype}"), values.cast(dtype));
        }
        archive.tensors.insert("scalar".into(), Tensor::scalar(3f32));
        archive.tensors.insert("empty".into(), Tensor::zeros(DType::F32, &[0, 4]).unwrap());
        for key in ["b", "a", "d", "c"] {
            archive.metadata.insert(key.into(), format!("value of {key}"));
        }
        let paths = ["a", "b"].map(|name| directory.path().join(name));
        paths.iter().for_each(|path| save(path, &archive).unwrap());
        let bytes = std::fs::read(&paths[0]).unwrap();
        assert_eq!(bytes, std::fs::read(&paths[1]).unwrap());
        assert_eq!(load(&paths[0]).unwrap(), archive);
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "{end}");
        }
        // Sizes descend, so every tensor is aligned.
        let header = String::from_utf8_lossy(&bytes[8..]).into_owned();
        assert!(header.find("layer_0.f64") < header.find("scalar"));
        assert!(header.find("scalar") < header.find("layer_0.bool"));
    }

    #[test]
    fn hostile_files_are_errors() {
        let one = |name: &str, shape: &str, start: u64, end: u64| {
            format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{end}]}}"#)
        };
        let good = file(&format!("{{{}}}", one("a", "[1]", 0, 4)), &[0; 4]);
        assert!(decode(&good).is_ok());
        let bad = [
            (format!("{{{},{}}}", one("a", "[1]", 0, 4), one("a", "[1]", 0, 4)), 4),
            (format!("{{{},{}}}", one("a", "[0]", 0, 0), one("a", "[0]", 0, 0)), 0),
            (format!("{{{},{}}}", one("a", "[1]", 0, 4), one("b", "[1]", 2, 6)), 6),
            (format!("{{{},{}}}", one("a", "[1]", 0, 4), one("b", "[1]", 8, 12)), 12),
            (format!("{{{}}}", one("a", "[2]", 0, 4)), 4),
            (format!("{{{}}}", one("a", "[1]", 0, 4)), 8),
            (format!("{{{}}}", one("a", "[9223372036854775807,9]", 0, 4)), 4),
            (format!("{{{}}}", one("a", "[0,9223372036854775807,9]", 0, 0)), 0),
            (format!("{{{}}}", one("a", "[-1]", 0, 4)), 4),
            (one("a", "[1]", 0, 4).replace("F32", "F8_E4M3"), 4),
            ("[".repeat(100_000), 4),
            ("{}}".into(), 0),
        ];
        for (header, data) in bad {
            let error = decode(&file(&header, &vec![0; data]));
            assert!(error.is_err(), "{}", &header[..header.len().min(200)]);
        }
        assert!(decode(&u64::MAX.to_le_bytes()).is_err());
        assert!(decode(b"PK\x03\x04 this is a zip archive").is_err());
    }
}
