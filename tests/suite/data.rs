//! Data of all formats, as train blocks read them, and files that are broken.

use std::fs;
use std::io::Write;
use std::path::Path;

use nnc::formats::npy;
use nnc::tensor::Tensor;

use super::command::{folder, nnc};

/// A block that learns three classes of two numbers.
fn program(data: &str, x: &str, y: &str) -> String {
    format!(
        "model net(x: f32[2]) -> f32[3] {{ x |> linear(8) |> relu |> linear(3) }}
train t {{
  {data}
  let    net = net()
  loss   cross_entropy(net({x}), {y})
  optim  sgd(0.1)
  batch  4
  epochs 2
}}
"
    )
}

/// Ten samples: two numbers and a class.
fn samples() -> Vec<([f32; 2], u8)> {
    (0..10).map(|i| ([i as f32 / 4.0, 1.0 - i as f32 / 8.0], (i % 3) as u8)).collect()
}

fn idx(code: u8, shape: &[u32], bytes: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let sizes = shape.iter().flat_map(|size| size.to_be_bytes());
    [0, 0, code, shape.len() as u8].into_iter().chain(sizes).chain(bytes).collect()
}

/// The same samples in every format.
fn write_all(here: &Path) {
    let rows: Vec<f32> = samples().into_iter().flat_map(|(x, _)| x).collect();
    let big = rows.iter().flat_map(|value| value.to_be_bytes());
    fs::write(here.join("x-idx2-ubyte"), idx(0x0d, &[10, 2], big)).unwrap();
    fs::write(here.join("y-idx1-ubyte"), idx(0x08, &[10], samples().into_iter().map(|(_, y)| y))).unwrap();
    let array = |rows: &[f32]| Tensor::from_vec(&[rows.len() / 2, 2], rows.to_vec()).unwrap();
    npy::save(&here.join("x.npy"), &array(&rows)).unwrap();
    let lines: String = samples().iter().map(|(x, y)| format!("{},{},{y}\n", x[0], x[1])).collect();
    fs::write(here.join("t.csv"), format!("a,b,class\n{lines}")).unwrap();
    fs::create_dir(here.join("parts")).unwrap();
    npy::save(&here.join("parts/0.npy"), &array(&rows[..6])).unwrap();
    npy::save(&here.join("parts/1.npy"), &array(&rows[6..])).unwrap();
}

const LABELS: &str = "data l = idx(\"y-idx1-ubyte\")";

#[test]
fn one_training_from_every_format() {
    let mut weights: Vec<(String, Vec<u8>)> = Vec::new();
    for (data, x, y) in [
        (format!("data d = idx(\"x-idx2-ubyte\")\n  {LABELS}"), "d.x", "l.x"),
        (format!("data d = npy(\"x.npy\")\n  {LABELS}"), "d.x", "l.x"),
        (format!("data d = folder(\"parts\")\n  {LABELS}"), "d.x", "l.x"),
        ("data d = csv(\"t.csv\")".into(), "for b, i: 2 => d.x[b, i]", "d.class"),
    ] {
        let folder = folder(&program(&data, x, y));
        let here = folder.path();
        write_all(here);
        let ran = nnc(here, &["train", "a.nn:t", "--out", "run", "--seed", "1"]);
        assert_eq!(ran.code, 0, "{data}: {}", ran.err);
        weights.push((data, fs::read(here.join("run/weights.safetensors")).unwrap()));
    }
    for (data, bytes) in &weights[1..] {
        assert_eq!(bytes, &weights[0].1, "{data}");
    }
}

#[test]
fn whole_arrays_are_the_same_from_every_format() {
    let mut weights: Vec<(&str, Vec<u8>)> = Vec::new();
    for (data, x, y) in [
        ("let d = idx(\"x-idx2-ubyte\")\n  let l = idx(\"y-idx1-ubyte\")", "d.x", "l.x"),
        ("let d = npy(\"x.npy\")\n  let l = csv(\"t.csv\")", "d.x", "l.class"),
        ("let d = folder(\"parts\")\n  let l = idx(\"y-idx1-ubyte\")", "d.x", "l.x"),
        ("let d = csv(\"t.csv\")", "for b: 10, i: 2 => d.x[b, i]", "d.class"),
    ] {
        let block = program(data, x, y).replace("  batch  4\n  epochs 2\n", "  steps 3\n");
        let each = format!("cross_entropy(net({x}), {y})");
        let block = block.replace(&each, &format!("mean({each})"));
        let asserted =
            format!("test \"t\" {{\n  {data}\n  assert sum({x}) ~= 15.625\n  assert sum({y}) == 9\n}}\n");
        let folder = folder(&(block + &asserted));
        let here = folder.path();
        write_all(here);
        let ran = nnc(here, &["train", "a.nn:t", "--out", "run", "--seed", "1"]);
        assert_eq!(ran.code, 0, "{data}: {}", ran.err);
        weights.push((data, fs::read(here.join("run/weights.safetensors")).unwrap()));
        let ran = nnc(here, &["test", "a.nn"]);
        assert_eq!(ran.code, 0, "{data}: {} {}", ran.out, ran.err);
    }
    for (data, bytes) in &weights[1..] {
        assert_eq!(bytes, &weights[0].1, "{data}");
    }
}

#[test]
fn folders_of_classes_have_labels() {
    let folder = folder(&program("data d = folder(\"kinds\")", "d.x", "d.y"));
    let here = folder.path();
    for (index, (x, y)) in samples().into_iter().enumerate() {
        let class = here.join(format!("kinds/kind {y}"));
        fs::create_dir_all(&class).unwrap();
        npy::save(&class.join(format!("{index}.npy")), &Tensor::from_vec(&[2], x.to_vec()).unwrap()).unwrap();
    }
    let ran = nnc(here, &["train", "a.nn:t", "--out", "run"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    fs::write(here.join("kinds/kind 1/z.txt"), "").unwrap();
    let ran = nnc(here, &["train", "a.nn:t", "--out", "run"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("z.txt") && ran.err.contains("one for each sample"), "{}", ran.err);
}

/// An npy file of f32 with this shape in its header, and these bytes behind.
fn npy_file(shape: &str, bytes: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), bytes].concat()
}

fn zipped(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// Numbers that no training can take, with the file among several and the line that holds them.
#[test]
fn bad_numbers_are_told_with_their_file_and_line() {
    let parts = "for b, i: 2 => d.x[b, i]";
    for (data, x, y, files, words) in [
        ("csv(\"f\")", parts, "d.class", vec![("f", "a,b,class\n1,2,0\n\n1,nan,1\n")], "f, line 4: sample 1"),
        ("csv(\"f\")", parts, "d.class", vec![("f", "a,b,class\n1,2,0\n\n1,1e39,1\n")], "is infinite"),
        (
            "csv(\"f\")",
            parts,
            "d.class",
            vec![("f", "a,b,class\n1,2,0\n1,2,3\n")],
            "f, line 3: sample 1: `class[1]` is 3",
        ),
        ("csv(\"f\")", parts, "d.class", vec![("f", "a,b,class\n1,2,0\n1,2,-1\n")], "is -1, not in 0..3"),
        (
            "folder(\"p\")",
            parts,
            "d.class",
            vec![("p/0.csv", "a,b,class\n1,2,0\n"), ("p/1.csv", "a,b,class\n1,2,0\n1,2,9\n")],
            "p/1.csv, line 3: sample 2",
        ),
        (
            "folder(\"p\")",
            "d.x",
            "d.x",
            vec![("p/0.csv", "1,2\n"), ("p/1.csv", "1,2\n1\n")],
            "p/1.csv: line 2, field 2",
        ),
    ] {
        let folder = folder(&program(&format!("data d = {data}"), x, y));
        let here = folder.path();
        for (file, text) in files {
            fs::create_dir_all(here.join(file).parent().unwrap()).unwrap();
            fs::write(here.join(file), text).unwrap();
        }
        let ran = nnc(here, &["train", "a.nn:t", "--out", "run"]);
        assert_eq!(ran.code, 3, "{data}: {}", ran.err);
        assert!(ran.err.contains(words), "no `{words}` in:\n{}", ran.err);
    }
}

/// One sample is a batch.
#[test]
fn one_row_trains() {
    let folder = folder(&program("data d = csv(\"f\")", "for b, i: 2 => d.x[b, i]", "d.class"));
    fs::write(folder.path().join("f"), "a,b,class\n1,2,0\n").unwrap();
    let ran = nnc(folder.path(), &["train", "a.nn:t", "--out", "run"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn broken_files_are_told_with_their_place() {
    for (data, file, bytes, words) in [
        ("csv(\"f\")", "f", b"a,b\n1,2\n3,x\n".to_vec(), "line 3, field 2"),
        ("csv(\"f\")", "f", b"1,2\n3\n".to_vec(), "line 2, field 2"),
        ("csv(\"f\")", "f", b"\xff\xfe".to_vec(), "not UTF-8"),
        ("idx(\"f\")", "f", idx(0x0e, &[u32::MAX; 4], []), "f: "),
        ("idx(\"f\")", "f", idx(0x08, &[10, 2], [1; 7]), "needs 20 bytes, 7 are there"),
        ("idx(\"f\")", "f", vec![0x1f, 0x8b, 8, 0], "gunzip"),
        ("idx(\"f\")", "f", idx(0x08, &[u32::MAX], [1; 7]), "needs 4294967295 bytes, 7 are there"),
        ("npy(\"f\")", "f", b"\x93NUMPY\x01\x00".to_vec(), "f: "),
        ("npy(\"f\")", "f", npy_file("(8, 2)", &[0; 63]), "needs 64 bytes, 63 are there"),
        ("npy(\"f\")", "f", npy_file("(8, 2)", &[0; 65]), "needs 64 bytes, and more follow"),
        (
            "npy(\"f\")",
            "f",
            npy_file("(8, 40000000000)", &[0; 64]),
            "needs 1280000000000 bytes, 64 are there",
        ),
        ("npy(\"f\")", "f", npy_file("(9223372036854775807, 9)", &[]), "f: "),
        ("npy(\"f\")", "f", npy_file("(0, 2)", &[]), "`f` has no samples"),
        ("npy(\"f\")", "f", npy_file("()", &[0; 4]), "no array with an axis of samples"),
        ("idx(\"f\")", "f", idx(0x08, &[3, 2], [1; 7]), "needs 6 bytes, and more follow"),
        (
            "npz(\"f\")",
            "f",
            zipped(&[("x.npy", npy_file("(8, 2)", &[0; 60]))]),
            "array `x` needs 64 bytes, 60",
        ),
        ("npz(\"f\")", "f", zipped(&[("x.npy", npy_file("(8, 2)", &[0; 68]))]), "and more follow"),
        (
            "npz(\"f\")",
            "f",
            zipped(&[("x.npy", npy_file("(400000000, 2)", &[0; 64]))]),
            "needs 3200000000 bytes, 64",
        ),
        ("npz(\"f\")", "f", zipped(&[("x.npy", npy_file("(8, 9223372036854775807, 9)", &[]))]), "f: "),
        ("npz(\"f\")", "f", zipped(&[("x.npy", npy_file("(0, 2)", &[]))]), "`f` has no samples"),
        ("npz(\"f\")", "f", zipped(&[]), "no array with an axis of samples"),
        ("npz(\"f\")", "f", npy_file("(8, 2)", &[0; 64]), "this is not an npz archive"),
        ("csv(\"f\")", "f", b"1,2,x,1\n1,2,3,4\n".to_vec(), "since `x` is not a number"),
        ("csv(\"f\")", "f", b"a,b\n".to_vec(), "f: there are no rows of numbers"),
        ("csv(\"f\")", "f", b"a,b\n\n1,2\n1,2,3\n".to_vec(), "f: line 4, field 3"),
        ("folder(\"f\")", "f", Vec::new(), "f: "),
        ("folder(\"nowhere\")", "f", Vec::new(), "there is no such file"),
        ("cvs(\"f\")", "f", Vec::new(), "did you mean `csv`?"),
    ] {
        let folder = folder(&program(&format!("data d = {data}"), "d.x", "d.x"));
        let here = folder.path();
        fs::write(here.join(file), bytes).unwrap();
        let ran = nnc(here, &["train", "a.nn:t", "--out", "run"]);
        assert_eq!(ran.code, if data.starts_with("cvs") { 1 } else { 3 }, "{data}: {}", ran.err);
        assert!(!ran.err.contains("defect"), "{}", ran.err);
        assert!(ran.err.contains(words), "no `{words}` in:\n{}", ran.err);
    }
}
