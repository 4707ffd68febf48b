//! Sources, data and weights that mean no good: an error with its place or exit 4, never a crash, a hang, or memory without bound.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use nnc::formats::{npy, npz, safetensors};
use nnc::session::{Session, Settings};
use nnc::tensor::Tensor;

use crate::command::nnc;

/// A stack as the command has it.
fn with_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(512 << 20).spawn(work).unwrap().join().unwrap()
}

#[test]
fn sources_that_grow_without_end() {
    let many = |part: &str, count: usize| part.repeat(count);
    let cases: Vec<(&str, String, i32)> = vec![
        ("parentheses", format!("fn f(x: f32) -> f32 = {}x{}", many("(", 100_000), many(")", 100_000)), 4),
        ("signs", format!("fn f(x: f32) -> f32 = {}x", many("-", 100_000)), 4),
        ("sums", format!("fn f(x: f32) -> f32 = {}x", many("x + ", 100_000)), 4),
        ("pipes", format!("fn f(x: f32) -> f32 = x{}", many(" |> relu", 50_000)), 4),
        ("conditions", format!("fn f(x: f32) -> f32 = {}{{ 0 }}", many("if x > 0 { 1 } else ", 20_000)), 4),
        ("binders", format!("fn f(x: f32) -> f32 = {}x", many("sum i: 2 => ", 2_000)), 4),
        ("lambdas", format!("fn f(x: f32) -> f32 = {}x", many("fn(y) => ", 20_000)), 4),
        ("lists", format!("fn f(x: f32) -> f32 = {}x{}", many("[", 5_000), many("]", 5_000)), 4),
        ("types", format!("fn f(g: {}f32) -> f32 = 0", many("fn(f32) -> ", 50_000)), 4),
        ("functions", format!("fn f(x: f32) -> f32 {{{} x {}}}", many(" fn g(x: f32) -> f32 {", 1_000), many("}", 1_000)), 4),
        (
            "unrolling",
            format!(
                "fn f(x: f32) -> f32 {{\n let h = x\n{} h = h + x {}\n h }}",
                many("for i in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] { ", 9),
                many("}", 9)
            ),
            4,
        ),
        (
            "recursion",
            "fn f(n: dim)(x: f32) -> f32 = if n == 0 { x } else { f(n - 1)(x) + f(n - 1)(x) }\nfn g(x: f32) -> f32 = f(60)(x)".to_owned(),
            4,
        ),
        (
            "axes",
            format!("fn f(x: f32[{}N]) -> f32 = sum(x)", (0..2_000).map(|i| format!("A{i}, ")).collect::<String>()),
            4,
        ),
        ("errors", (0..5_000).map(|i| format!("fn f{i}(x: f32) -> f32 = y{i}\n")).collect(), 1),
        ("a long name", format!("fn f(x: f32) -> f32 = {}", many("a", 1_000_000)), 1),
        ("a long number", format!("fn f(x: f32) -> f32 = {}", many("1", 1_000_000)), 1),
        ("a long line", format!("fn f(x: f32) -> f32 = x // {}", many("a", 10_000_000)), 0),
        ("zero bytes", "fn f(x: f32) -> f32 = x\0\0".to_owned(), 1),
        ("large sizes", "fn f(x: f32[4000000000, 4000000000, 4000000000]) -> f32 = sum(x)".to_owned(), 0),
        ("large powers", "fn f(x: f32[N ** 600]) -> f32 = sum(x)".to_owned(), 1),
    ];
    with_stack(move || {
        for (what, source, code) in cases {
            let begun = Instant::now();
            let mut session = Session::of_text("a.nn", &source, Path::new("."));
            let check = session.check(&Settings::default(), &|_| true);
            assert_eq!(i32::from(check.exit_code()), code, "{what}: {:?}", check.diagnostics.first());
            assert!(check.diagnostics.len() <= 300, "{what}: {} messages", check.diagnostics.len());
            assert!(begun.elapsed() < Duration::from_secs(120), "{what}: {:?}", begun.elapsed());
            let placed =
                check.diagnostics.iter().filter(|one| one.is_error()).all(|one| one.primary().is_some());
            assert!(placed, "{what}: an error without a place");
        }
    });
}

#[test]
fn files_that_use_each_other() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..200 {
        let next = (index + 1) % 200;
        let text = format!("use \"u{next}.nn\" as a\nfn f(x: f32) -> f32 = x\n");
        fs::write(folder.path().join(format!("u{index}.nn")), text).unwrap();
    }
    let ran = nnc(folder.path(), &["check", "u0.nn"]);
    assert!(ran.code == 1 && ran.err.contains("uses itself"), "{}", ran.err);
}

/// Changes of real programs that a careless hand or a bad disk makes. Whatever comes, it is told as an error of the program.
#[test]
fn mutated_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for folder in ["examples", "stdlib"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "nn") {
                sources.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    sources.sort();
    let seed = 20_260_000u64 + u64::from(std::process::id());
    let mut state = seed;
    let mut next = move |limit: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % limit.max(1)
    };
    // NNC_FUZZ=60 goes on for a minute.
    let seconds = std::env::var("NNC_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let begun = Instant::now();
    let words = [
        "(", ")", "[", "{", "}", "|>", "=>", "f32", "set", "N", "-1", "0", "sum", "for", "grad", "..S", "=",
        ",", "1e9", "\"", "\n", "where", "scan", "state",
    ];
    while begun.elapsed() < Duration::from_secs(seconds) {
        let mut text: Vec<char> = sources[next(sources.len())].chars().collect();
        for _ in 0..1 + next(4) {
            let at = next(text.len());
            match next(4) {
                0 => {
                    let end = (at + 1 + next(12)).min(text.len());
                    text.drain(at..end);
                }
                1 => {
                    let word: Vec<char> = words[next(words.len())].chars().collect();
                    text.splice(at..at, word);
                }
                2 => {
                    let end = (at + 1 + next(30)).min(text.len());
                    let copy: Vec<char> = text[at..end].to_vec();
                    let to = next(text.len());
                    text.splice(to..to, copy);
                }
                _ => {
                    let other = next(text.len());
                    text.swap(at, other);
                }
            }
        }
        let source: String = text.into_iter().collect();
        let folder = root.join("examples");
        let shown = source.clone();
        let checked = std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
            let mut session = Session::of_text("a.nn", &source, &folder);
            let check = session.check(&Settings::default(), &|_| true);
            check.diagnostics.iter().find(|one| one.code.0 == 699).map(|one| one.message.clone())
        });
        match checked.unwrap().join() {
            Ok(None) => {}
            Ok(Some(defect)) => panic!("seed {seed}: {defect}\n{shown}"),
            Err(_) => panic!("seed {seed}: a panic on\n{shown}"),
        }
    }
}

#[test]
fn data_and_weights_that_lie() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let program = "model small(x: f32[4]) -> f32[3] = x |> linear(3)
train fit {
  data   d = npz(\"data.npz\")
  let    net = small()
  loss   cross_entropy(net(d.x), d.y)
  optim  sgd(0.1)
  epochs 1
}
";
    fs::write(here.join("a.nn"), program).unwrap();
    let x = Tensor::from_vec(&[8, 4], vec![0.5f32; 32]).unwrap();
    let y = Tensor::from_vec(&[8], vec![1i64; 8]).unwrap();
    npz::save(&here.join("data.npz"), &[("x", &x), ("y", &y)]).unwrap();
    assert_eq!(nnc(here, &["train", "a.nn"]).code, 0);
    let good = fs::read(here.join("data.npz")).unwrap();
    // Cut anywhere, the file is refused or, where only its end is gone, still whole.
    for cut in (0..good.len()).step_by(37) {
        fs::write(here.join("data.npz"), &good[..cut]).unwrap();
        let ran = nnc(here, &["train", "a.nn"]);
        assert!(ran.code == 3 && ran.err.contains("data.npz"), "cut at {cut}: {}{}", ran.out, ran.err);
    }
    // A bit that flips is no crash.
    for at in (0..good.len()).step_by(23) {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        fs::write(here.join("data.npz"), &bad).unwrap();
        let ran = nnc(here, &["train", "a.nn"]);
        assert!(matches!(ran.code, 0 | 1 | 3 | 4), "flipped at {at}: {} {}", ran.code, ran.err);
        assert!(!ran.err.contains("defect of nnc"), "flipped at {at}: {}", ran.err);
    }
    // A header that claims more than there is, or than memory holds.
    for shape in [
        "(99999999999, 4)",
        "(9223372036854775807, 4)",
        "(-1, 4)",
        "(4,",
        "(1000000, 1000000, 1000000, 1000000)",
    ] {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        fs::write(here.join("x.npy"), &bytes).unwrap();
        let ran = nnc(here, &["run", "a.nn", "--seed", "1", "--input", "x.npy"]);
        assert!(ran.code == 3 && ran.err.contains("x.npy"), "{shape}: {} {}", ran.code, ran.err);
    }
    // Weights: not the format, a header without end, offsets outside.
    let one = npy::save(&here.join("x.npy"), &Tensor::from_vec(&[4], vec![1f32; 4]).unwrap());
    one.unwrap();
    let header = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let lies: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"junk".to_vec(),
        u64::MAX.to_le_bytes().to_vec(),
        header("{"),
        header("{\"linear_0.w\":{\"dtype\":\"F32\",\"shape\":[4,3],\"data_offsets\":[0,48]}}"),
        header(
            "{\"linear_0.w\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
        ),
        header("{\"linear_0.w\":{\"dtype\":\"F99\",\"shape\":[4,3],\"data_offsets\":[48,0]}}"),
    ];
    for bytes in lies {
        fs::write(here.join("w.safetensors"), &bytes).unwrap();
        let ran = nnc(here, &["run", "a.nn", "--weights", "w.safetensors", "--input", "x.npy"]);
        assert!(ran.code == 3 && ran.err.contains("w.safetensors"), "{} {}", ran.code, ran.err);
    }
    // NaN among the weights.
    let nan = Tensor::from_vec(&[4, 3], vec![f32::NAN; 12]).unwrap();
    let b = Tensor::from_vec(&[3], vec![0f32; 3]).unwrap();
    let tensors = [("linear_0.b".to_owned(), b), ("linear_0.w".to_owned(), nan)].into();
    let archive = safetensors::Archive { tensors, ..Default::default() };
    safetensors::save(&here.join("w.safetensors"), &archive).unwrap();
    let ran = nnc(here, &["run", "a.nn", "--weights", "w.safetensors", "--input", "x.npy"]);
    assert!(ran.code == 3 && ran.err.contains("not a finite number"), "{}", ran.err);
}

/// A small file that unpacks to gigabytes: what the header says is what is unpacked, and no more.
#[test]
fn a_zip_bomb_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let file = fs::File::create(here.join("data.npz")).unwrap();
    let mut archive = zip::ZipWriter::new(file);
    let options: zip::write::SimpleFileOptions = Default::default();
    archive.start_file("x.npy", options.compression_method(zip::CompressionMethod::Deflated)).unwrap();
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (8, 4), }";
    archive.write_all(b"\x93NUMPY\x01\x00").unwrap();
    archive.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
    archive.write_all(header.as_bytes()).unwrap();
    let zeros = vec![0u8; 1 << 20];
    for _ in 0..300 {
        archive.write_all(&zeros).unwrap();
    }
    archive.finish().unwrap();
    let program = "model small(x: f32[4]) -> f32[3] = x |> linear(3)
train fit {
  data   d = npz(\"data.npz\")
  let    net = small()
  loss   mean(net(d.x) ** 2)
  optim  sgd(0.1)
  epochs 1
}
";
    fs::write(here.join("a.nn"), program).unwrap();
    let begun = Instant::now();
    let ran = nnc(here, &["train", "a.nn"]);
    assert!(matches!(ran.code, 0 | 3), "{}", ran.err);
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
}
