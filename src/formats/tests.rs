//! No file crashes a reader: good files of every format with a few bytes changed.

use std::path::Path;

use proptest::prelude::*;

use super::{csv, idx, npy, npz, safetensors, text};
use crate::tensor::Tensor;

/// The bytes of a small good file of each format.
fn good_files() -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let tensor = Tensor::from_vec(&[2, 3], vec![1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    let archive = safetensors::Archive {
        tensors: [("a".into(), tensor.clone()), ("b".into(), tensor.clone())].into(),
        metadata: [("step".into(), "3".into())].into(),
    };
    let write: [&dyn Fn(&Path); 4] = [
        &|path| npy::save(path, &tensor).unwrap(),
        &|path| npz::save(path, &[("x", &tensor), ("y", &tensor)]).unwrap(),
        &|path| safetensors::save(path, &archive).unwrap(),
        &|path| std::fs::write(path, "a,b\n1,\"2\"\n3,4\n").unwrap(),
    ];
    let mut files: Vec<Vec<u8>> = Vec::new();
    for write in write {
        write(&path);
        files.push(std::fs::read(&path).unwrap());
    }
    files.push(vec![0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4]);
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn changed_files_do_not_crash(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        shorten in any::<bool>(),
    ) {
        thread_local! {
            static FILES: Vec<Vec<u8>> = good_files();
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for mut bytes in FILES.with(Clone::clone) {
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            if shorten {
                bytes.truncate(cut.index(bytes.len()));
            }
            std::fs::write(&path, &bytes).unwrap();
            let _ = (npy::header(&path), npy::load(&path));
            let _ = (npz::header(&path), npz::load(&path, "x"), npz::load(&path, "y"));
            let _ = (safetensors::load(&path), csv::load(&path), text::load_characters(&path));
            let _ = (idx::header(&path), idx::load(&path));
        }
    }
}
