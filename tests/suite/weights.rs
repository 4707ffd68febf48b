//! Files of weights: `nnc weights`, `--map`, conversions, and what is told of files that do not fit; the same for the reader in C.

use std::collections::BTreeMap;
use std::path::Path;

use nnc::formats::{npz, safetensors, weights};
use nnc::tensor::{DType, Tensor};

use crate::objects::{have, nnc, run, succeeds};

const MODEL: &str = "layer block(x: f32[4]) -> f32[4] = x |> linear(4) |> relu\nmodel m(x: f32[6, 6, 2]) -> f32[4] { x |> conv2d(3, 3) |> flatten |> linear(4) |> stack(2, block) }\n";

fn refused(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let done = run(folder, env!("CARGO_BIN_EXE_nnc"), arguments);
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
}

fn with_model() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.nn"), MODEL).unwrap();
    nnc(folder.path(), &["weights", "m.nn", "--seed", "5", "-o", "w.safetensors"]);
    folder
}

#[test]
fn weights_are_listed_and_converted() {
    let folder = with_model();
    let here = folder.path();
    let listed = nnc(here, &["weights", "m.nn"]);
    assert!(listed.contains("conv2d_0.w            f32[3, 3, 2, 3]\n"), "{listed}");
    assert!(
        listed.contains("stack_0.1.linear_0.w  f32[4, 4]") && listed.contains("stack_0.0.linear_0.b"),
        "{listed}"
    );
    let first = weights::load(&here.join("w.safetensors")).unwrap();
    // There and back, through each type that holds more: the same bits.
    nnc(here, &["weights", "m.nn", "--weights", "w.safetensors", "-o", "w.npz", "--dtype", "f64"]);
    assert!(npz::header(&here.join("w.npz")).unwrap().iter().all(|info| info.dtype == DType::F64));
    nnc(here, &["weights", "m.nn", "--weights", "w.npz", "-o", "again.safetensors"]);
    assert_eq!(weights::load(&here.join("again.safetensors")).unwrap(), first);
    for (dtype, within) in [("f16", 1e-3), ("bf16", 8e-3)] {
        nnc(
            here,
            &["weights", "m.nn", "--weights", "w.safetensors", "-o", "half.safetensors", "--dtype", dtype],
        );
        nnc(here, &["weights", "m.nn", "--weights", "half.safetensors", "-o", "back.safetensors"]);
        for (name, tensor) in weights::load(&here.join("back.safetensors")).unwrap() {
            for (x, y) in tensor.numbers().zip(first[&name].numbers()) {
                let (x, y) = (x.as_f64(), y.as_f64());
                assert!((x - y).abs() <= within * y.abs(), "{name}: {x}, {y}");
            }
        }
    }
    for (arguments, code, text) in [
        (&["-o", "w.txt", "--seed", "1"][..], 2, "none of *.safetensors and *.npz"),
        (&["-o", "w.npz"], 2, "a file wants values"),
        (&["--dtype", "bf16", "--seed", "1", "-o", "w.npz"], 2, "npz files have no bf16"),
        (&["--weights", "none.npz"], 3, "no such file"),
        (&["--map", "a=b"], 2, "--weights"),
    ] {
        let (found, errors) = refused(here, &[&["weights", "m.nn"], arguments].concat());
        assert!(found == Some(code) && errors.contains(text), "{arguments:?}: {found:?} {errors}");
    }
}

/// A file in the order and with the names of other frameworks becomes the model's.
#[test]
fn names_and_axes_are_mapped() {
    let folder = with_model();
    let here = folder.path();
    let own = weights::load(&here.join("w.safetensors")).unwrap();
    let mut other: BTreeMap<String, Tensor> = BTreeMap::new();
    for (name, tensor) in &own {
        let tensor = match tensor.shape().len() {
            // [kh, kw, I, O] to [O, I, kh, kw], and [I, O] to [O, I].
            4 => tensor.permuted(&[3, 2, 0, 1]).unwrap(),
            2 => tensor.permuted(&[1, 0]).unwrap(),
            _ => tensor.clone(),
        };
        let name = name.replace("conv2d_0", "features.0").replace("linear_0.w", "fc.weight");
        other.insert(name, tensor.contiguous());
    }
    weights::save(&here.join("other.npz"), weights::Kind::Npz, other).unwrap();
    let maps = [
        "features.0.w=conv2d_0.w.permute(2,3,1,0)",
        "features.0=conv2d_0",
        "fc.weight.permute(1,0)=linear_0.w",
        "stack_0.0.fc.weight=stack_0.0.linear_0.w.permute(1,0)",
        "stack_0.1.fc.weight=stack_0.1.linear_0.w.permute(1,0)",
    ];
    let mut arguments = vec!["weights", "m.nn", "--weights", "other.npz", "-o", "mapped.safetensors"];
    maps.iter().for_each(|map| arguments.extend(["--map", map]));
    nnc(here, &arguments);
    assert_eq!(weights::load(&here.join("mapped.safetensors")).unwrap(), own);
    // All that is wrong is told at once, and nothing is written.
    let (code, errors) = refused(
        here,
        &["weights", "m.nn", "--weights", "other.npz", "--map", "features.0=conv2d_0", "-o", "no.npz"],
    );
    assert_eq!(code, Some(3), "{errors}");
    for text in [
        "`conv2d_0.w` has shape [3, 2, 3, 3] in the file, [3, 3, 2, 3] in the program",
        "no `linear_0.w`",
        "no `stack_0.1.linear_0.w`",
    ] {
        assert!(errors.contains(text), "{errors}");
    }
    assert!(!here.join("no.npz").exists());
}

/// A file of a header and so many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(vec![0; data]);
    bytes
}

/// What is wrong with a file, and the words that nnc and the reader in C say of it.
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static str, &'static str)> {
    let one = |name: &str, shape: &str, start: u64, end: u64| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{end}]}}"#)
    };
    let of = |parts: &[String], data| file(&format!("{{{}}}", parts.join(",")), data);
    let mut long = file("{}", 0);
    long[..8].copy_from_slice(&(1u64 << 40).to_le_bytes());
    vec![
        ("empty", Vec::new(), "less than 8 bytes", "it has 0 bytes"),
        ("overlong header", long, "header would", "header would have"),
        ("wrapping header", u64::MAX.to_le_bytes().to_vec(), "header would", "header would have"),
        ("no text", [4u64.to_le_bytes().to_vec(), vec![0xff; 4]].concat(), "no text", "no text"),
        (
            "text that is none",
            [7u64.to_le_bytes().as_slice(), b"{\"\xed\xa0\x80\":"].concat(),
            "no text",
            "no text",
        ),
        ("no JSON", file("{\"w\":[1,2}", 0), "malformed", "malformed"),
        ("deep", file(&"[".repeat(100_000), 0), "malformed", "malformed"),
        ("twice", of(&[one("w", "[1]", 0, 4), one("w", "[1]", 4, 8)], 8), "twice", "twice"),
        ("overlap", of(&[one("w", "[2]", 0, 8), one("v", "[1]", 4, 8)], 8), "overlap", "overlap"),
        ("gap", of(&[one("w", "[1]", 0, 4), one("v", "[1]", 8, 12)], 12), "gap", "gap"),
        ("short", of(&[one("w", "[4]", 0, 16)], 8), "cut off", "cut off"),
        ("long", of(&[one("w", "[1]", 0, 4)], 8), "end where the file does", "end where the file does"),
        ("shape", of(&[one("w", "[3]", 0, 4)], 4), "do not fit its shape", "do not fit its shape"),
        ("overflow", of(&[one("w", "[9223372036854775807,9]", 0, 4)], 4), "too large", "too large"),
        ("wraps to right", of(&[one("w", "[4611686018427387905]", 0, 4)], 4), "too large", "too large"),
        ("zero and huge", of(&[one("w", "[0,9223372036854775807,9]", 0, 0)], 0), "do not fill", "no `"),
        ("negative", of(&[one("w", "[-1]", 0, 4)], 4), "malformed", "malformed"),
        ("type", of(&[one("w", "[1]", 0, 4).replace("F32", "F9")], 4), "malformed", "unknown type"),
        ("ends before begin", of(&[one("w", "[1]", 4, 0)], 4), "overlap", "do not fit its shape"),
    ]
}

#[test]
fn hostile_files_name_their_fault_and_nothing_is_written() {
    let folder = with_model();
    let here = folder.path();
    for (what, bytes, told, _) in hostile() {
        std::fs::write(here.join("bad.safetensors"), bytes).unwrap();
        let (code, errors) =
            refused(here, &["compile", "m.nn", "--weights", "bad.safetensors", "-o", "bad.a"]);
        assert_eq!(code, Some(3), "{what}: {errors}");
        assert!(errors.contains(told), "{what}: {errors}");
    }
    let whole = std::fs::read(here.join("w.safetensors")).unwrap();
    for end in [7, 100, whole.len() - 1] {
        std::fs::write(here.join("bad.safetensors"), &whole[..end]).unwrap();
        let (code, errors) =
            refused(here, &["compile", "m.nn", "--weights", "bad.safetensors", "-o", "bad.a"]);
        assert_eq!(code, Some(3), "{end}: {errors}");
    }
    let left: Vec<_> = std::fs::read_dir(here).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn the_reader_in_c_trusts_no_file() {
    if !have("cc") {
        return;
    }
    let folder = with_model();
    let here = folder.path();
    nnc(here, &["compile", "m.nn", "--prefix", "m"]);
    let program = r#"
        #include "m_files.h"
        int main(int argc, char **argv) {
            char message[3000];
            void *weights[M_WEIGHTS];
            if (argc < 2 || m_new_weights(weights)) return 2;
            for (int w = 0; w < M_WEIGHTS; w++) *(float *)weights[w] = 77;
            int failed = m_load(argv[1], 0, weights, message, sizeof message);
            if (failed) puts(message);
            for (int w = 0; failed && w < M_WEIGHTS; w++) if (*(float *)weights[w] != 77) return 3;
            if (!failed && argc > 2 && m_save(argv[2], 0, weights, message, sizeof message)) return 4;
            m_free_weights(weights);
            return failed;
        }
    "#;
    std::fs::write(here.join("main.c"), program).unwrap();
    let flags = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-g", "-I.", "main.c", "-o", "main"];
    let checked = run(
        here,
        "cc",
        &[&flags[..], &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]].concat(),
    );
    if !checked.status.success() {
        succeeds(here, "cc", &flags);
    }
    if have("c++") {
        succeeds(
            here,
            "c++",
            &["-x", "c++", "-Wall", "-Wextra", "-Werror", "-I.", "-fsyntax-only", "main.c"],
        );
    }
    let refused = |what: &str| -> String {
        let done = run(here, "./main", &["bad"]);
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert_eq!(done.status.code(), Some(1), "{what}: {said} {}", String::from_utf8_lossy(&done.stderr));
        said
    };
    let own = weights::load(&here.join("w.safetensors")).unwrap();
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        let tensors: BTreeMap<String, Tensor> =
            own.iter().map(|(name, tensor)| (name.clone(), tensor.cast(dtype))).collect();
        weights::save(&here.join("good"), weights::Kind::Safetensors, tensors.clone()).unwrap();
        succeeds(here, "./main", &["good", "again"]);
        let again = weights::load(&here.join("again")).unwrap();
        assert!(again.iter().all(|(name, tensor)| *tensor == tensors[name].cast(DType::F32)), "{dtype}");
    }
    for (what, bytes, _, told) in hostile() {
        std::fs::write(here.join("bad"), bytes).unwrap();
        let said = refused(what);
        assert!(said.contains(told), "{what}: {said}");
    }
    let whole = std::fs::read(here.join("w.safetensors")).unwrap();
    for end in (0..whole.len()).step_by(41) {
        std::fs::write(here.join("bad"), &whole[..end]).unwrap();
        refused("cut off");
    }
    // Any bit of the header may be wrong: no access beyond what is there, whatever comes of it.
    for bit in (0..8 * 300).step_by(7) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(here.join("bad"), bytes).unwrap();
        let done = run(here, "./main", &["bad"]);
        assert!(matches!(done.status.code(), Some(0 | 1)), "bit {bit}: {done:?}");
    }
    // All differences at once, with names that are near.
    let mut other = own.clone();
    let tensor = other.remove("linear_0.w").unwrap();
    other.insert("linear_1.w".into(), tensor);
    other.insert("unknown".into(), Tensor::scalar(1f32));
    other.insert("conv2d_0.b".into(), Tensor::zeros(DType::F32, &[4]).unwrap());
    other.insert("stack_0.1.linear_0.b".into(), Tensor::from_vec(&[4], vec![1i64; 4]).unwrap());
    other.insert("linear_0.b".into(), Tensor::from_vec(&[4], vec![f32::NAN; 4]).unwrap());
    let archive =
        safetensors::Archive { tensors: other, metadata: [("a".to_owned(), "b \"\\ ü".to_owned())].into() };
    safetensors::save(&here.join("bad"), &archive).unwrap();
    let said = refused("differences");
    for text in [
        "no `linear_0.w` [108, 4]; did it mean `linear_1.w`?",
        "`conv2d_0.b` has shape [4] in the file, [3] in the model",
        "`stack_0.1.linear_0.b` has elements of I64 in the file, of F32 in the model",
        "`linear_0.b` has entries that are no finite numbers",
        "the file has `unknown`, the model has not",
    ] {
        assert!(said.contains(text), "{said}");
    }
    assert_eq!(said.lines().count(), 5, "{said}");
}
