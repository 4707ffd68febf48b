//! The command line as users call it, mistakes above all: exit codes, messages that name the place, no panic.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nnc::formats::{npy, npz, safetensors};
use nnc::tensor::Tensor;
use serde_json::Value;
use tempfile::TempDir;

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs the built binary in a folder.
pub fn nnc(folder: &Path, arguments: &[&str]) -> Ran {
    let done = Command::new(env!("CARGO_BIN_EXE_nnc"))
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: done.status.code().unwrap_or(-1), out: text(done.stdout), err: text(done.stderr) }
}

#[track_caller]
fn fails(ran: &Ran, code: i32, words: &[&str]) {
    assert!(!ran.err.contains("defect of nnc"), "{}", ran.err);
    assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
    for word in words {
        assert!(ran.err.contains(word), "no `{word}` in:\n{}", ran.err);
    }
}

pub const PROGRAM: &str = "/// Four numbers to three classes.
model small(H: dim = 5)(x: f32[4]) -> f32[3] {
  x |> linear(H) |> relu |> linear(3)
}

train fit(lr: f32 = 1e-2) {
  data   d = npz(\"data.npz\")
  split  (test: 0.25, seed: 1)
  let    net = small()
  loss   cross_entropy(net(d.x), d.y)
  metric accuracy(net(d.x), d.y)
  optim  adam(lr)
  batch  8
  epochs 4
}
";

/// A folder with a program and forty samples for it.
pub fn folder(program: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.nn"), program).unwrap();
    write_data(folder.path(), &inputs(), &labels());
    folder
}

fn inputs() -> Vec<f32> {
    (0..160).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect()
}

fn labels() -> Vec<i64> {
    inputs().chunks(4).map(|x| i64::from(x[0] > 0.0) + i64::from(x[1] > 0.3)).collect()
}

fn write_data(folder: &Path, x: &[f32], y: &[i64]) {
    let x = Tensor::from_vec(&[x.len() / 4, 4], x.to_vec()).unwrap();
    let y = Tensor::from_vec(&[y.len()], y.to_vec()).unwrap();
    npz::save(&folder.join("data.npz"), &[("x", &x), ("y", &y)]).unwrap();
}

fn save(folder: &Path, name: &str, shape: &[usize], elements: Vec<f32>) -> PathBuf {
    let path = folder.join(name);
    npy::save(&path, &Tensor::from_vec(shape, elements).unwrap()).unwrap();
    path
}

#[test]
fn programs_that_are_wrong() {
    let folder = folder(PROGRAM);
    let here = folder.path();
    fails(&nnc(here, &["check", "nope.nn"]), 3, &["nope.nn", "no such file"]);
    fails(&nnc(here, &["check", "."]), 3, &["folder"]);
    fs::write(here.join("b.nn"), "fn f(x: f32[N]) -> f32[N] = rellu(x)\nfn g(x: f32[N]) -> f32 = sum(")
        .unwrap();
    fails(&nnc(here, &["check", "b.nn"]), 1, &["b.nn:1:29", "did you mean `relu`?", "b.nn:2:"]);
    fs::write(here.join("c.nn"), b"fn f(x: f32) -> f32 = x \xff").unwrap();
    fails(&nnc(here, &["check", "c.nn"]), 3, &["c.nn:1:25", "UTF-8"]);
    fs::write(here.join("d.nn"), "use \"../secret.nn\" as s\nuse \"e.nn\" as e\nuse \"gone.nn\" as g\n")
        .unwrap();
    fs::write(here.join("e.nn"), "use \"d.nn\" as d\n").unwrap();
    fails(&nnc(here, &["check", "d.nn"]), 3, &["own folder", "uses itself", "gone.nn", "d.nn:3:5"]);
    fails(&nnc(here, &["check", "a.nn:smal"]), 2, &["no item `smal`", "did you mean `small`?"]);
    fails(&nnc(here, &["train", "a.nn:fitt"]), 2, &["no train block `fitt`", "did you mean `fit`?"]);
    fails(&nnc(here, &["train", "b.nn"]), 1, &["b.nn:2:"]);
    fails(&nnc(here, &["train", "a.nn", "--set", "rl=1"]), 2, &["no parameter `rl`"]);
    fails(&nnc(here, &["check", "a.nn", "--dim", "Q=3"]), 2, &["no dim `Q`"]);
    fails(&nnc(here, &["check", "a.nn", "--dim", "H"]), 2, &["--dim D=64"]);
    fails(&nnc(here, &["chek", "a.nn"]), 2, &["check"]);
    fails(&nnc(here, &["compile", "a.nn", "--emit", "after=fusee"]), 2, &["no pass `fusee`"]);
}

#[test]
fn checks_and_compiles() {
    let folder = folder(PROGRAM);
    let ran = nnc(folder.path(), &["check", "a.nn", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &value["ok"]), (0, &true.into()), "{}", ran.err);
    assert_eq!(value["items"][0]["name"], "small");
    assert_eq!(value["items"][0]["type"], "f32[4] -> f32[3]");
    let ran = nnc(folder.path(), &["compile", "a.nn", "--summary", "--json", "--dim", "H=7"]);
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(value["parameters"], 4 * 7 + 7 + 7 * 3 + 3, "{}", ran.out);
    assert_eq!(value["macs"], 4 * 7 + 7 * 3);
    for stage in ["tokens", "ast", "types", "graph", "after=fuse", "kernels", "clif", "asm"] {
        let ran = nnc(folder.path(), &["compile", "a.nn", "--emit", stage]);
        assert!(ran.code == 0 && !ran.out.is_empty(), "{stage}: {}", ran.err);
    }
}

#[test]
fn a_reader_may_close_the_pipe() {
    let folder = folder(PROGRAM);
    let mut child = Command::new(env!("CARGO_BIN_EXE_nnc"))
        .args(["compile", "a.nn", "--emit", "asm"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), done.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn data_that_are_wrong() {
    let folder = folder(PROGRAM);
    let here = folder.path();
    let mut x = inputs();
    x[4 * 7 + 2] = f32::NAN;
    write_data(here, &x, &labels());
    fails(&nnc(here, &["train", "a.nn"]), 3, &["sample 7", "`x[7, 2]` is NaN", "a.nn:7:18"]);
    let mut y = labels();
    y[11] = 3;
    write_data(here, &inputs(), &y);
    fails(&nnc(here, &["train", "a.nn"]), 3, &["sample 11", "`y[11]` is 3, not in 0..3"]);
    fs::remove_file(here.join("data.npz")).unwrap();
    fails(&nnc(here, &["train", "a.nn"]), 3, &["data.npz", "no such file", "a.nn:7:18"]);
    fs::write(here.join("data.npz"), "PK not really").unwrap();
    fails(&nnc(here, &["train", "a.nn"]), 3, &["data.npz"]);
    let x = Tensor::from_vec(&[40, 5], vec![0f32; 200]).unwrap();
    let y = Tensor::from_vec(&[40], vec![0i64; 40]).unwrap();
    npz::save(&here.join("data.npz"), &[("x", &x), ("y", &y)]).unwrap();
    fails(&nnc(here, &["train", "a.nn"]), 1, &["a.nn:", "5", "4"]);
    assert!(!here.join("runs").exists());
}

#[test]
fn a_batch_larger_than_the_data_is_one_short_batch() {
    let folder = folder(PROGRAM);
    let ran = nnc(folder.path(), &["train", "a.nn", "--batch", "500"]);
    fails(&ran, 0, &["warning", "batch of 500", "30 training samples"]);
    assert!(ran.out.contains("batch 30"), "{}", ran.out);
}

#[test]
fn a_loss_that_is_not_finite_keeps_the_good_weights() {
    let folder = folder(PROGRAM);
    let ran = nnc(folder.path(), &["train", "a.nn", "--set", "lr=1e38", "--epochs", "50"]);
    fails(&ran, 1, &["the loss is", "at step", "weights.safetensors", "a.nn:12:10", "in step 1"]);
    let kept = safetensors::load(&folder.path().join("runs/fit/weights.safetensors")).unwrap();
    assert!(kept.tensors.values().all(Tensor::all_finite));
}

#[test]
fn runs_on_arrays() {
    let folder = folder(PROGRAM);
    let here = folder.path();
    save(here, "one.npy", &[4], vec![0.1, -0.2, 0.3, 0.4]);
    save(here, "many.npy", &[2, 3, 4], (0..24).map(|i| i as f32 / 24.0).collect());
    save(here, "bad.npy", &[2, 5], vec![0.0; 10]);
    save(here, "nan.npy", &[4], vec![0.0, f32::NAN, 0.0, 0.0]);
    fails(&nnc(here, &["run", "a.nn", "--input", "x=one.npy"]), 2, &["--weights", "--seed"]);
    fails(&nnc(here, &["run", "a.nn", "--seed", "1"]), 2, &["input `x`", "--input x=FILE.npy"]);
    fails(&nnc(here, &["run", "a.nn", "--seed", "1", "--input", "z=one.npy"]), 2, &["no input `z`"]);
    fails(&nnc(here, &["run", "a.nn", "--seed", "1", "--input", "x=gone.npy"]), 3, &["gone.npy"]);
    fails(&nnc(here, &["run", "a.nn", "--seed", "1", "--input", "x=data.npz:z"]), 3, &["data.npz", "z"]);
    let ran = nnc(here, &["run", "a.nn", "--seed", "1", "--input", "x=data.npz:x"]);
    assert!(ran.code == 0 && ran.out.contains("[40, 3]"), "{}{}", ran.out, ran.err);
    fails(&nnc(here, &["run", "a.nn", "--seed", "1", "--input", "x=bad.npy"]), 3, &["[2, 5]", "f32[4]"]);
    fails(&nnc(here, &["run", "a.nn", "--seed", "1", "--input", "x=nan.npy"]), 3, &["nan.npy", "[1]"]);
    let ran = nnc(here, &["run", "a.nn", "--seed", "1", "--input", "one.npy", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(value["outputs"][0]["shape"], serde_json::json!([3]), "{}", ran.err);
    let many = ["run", "a.nn", "--seed", "1", "--input", "x=many.npy", "--output", "y.npy"];
    assert_eq!(nnc(here, &many).code, 0);
    let all = npy::load(&here.join("y.npy")).unwrap();
    assert_eq!(all.shape(), [2, 3, 3]);
    // A sample has the same bits in every batch.
    save(here, "last.npy", &[1, 1, 4], (20..24).map(|i| i as f32 / 24.0).collect());
    let alone = ["run", "a.nn", "--seed", "1", "--input", "last.npy", "--output", "last_y.npy"];
    assert_eq!(nnc(here, &alone).code, 0);
    let alone = npy::load(&here.join("last_y.npy")).unwrap();
    assert_eq!(alone.as_slice::<f32>().unwrap(), &all.as_slice::<f32>().unwrap()[15..]);
}

#[test]
fn an_interrupted_training_goes_on_where_it_stopped() {
    let folder = folder(PROGRAM);
    let here = folder.path();
    let whole = ["train", "a.nn", "--epochs", "60", "--out", "whole"];
    assert_eq!(nnc(here, &whole).code, 0);
    let mut child = Command::new(env!("CARGO_BIN_EXE_nnc"))
        .args(["train", "a.nn", "--epochs", "60", "--out", "parts"])
        .current_dir(here)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let metrics = here.join("parts/metrics.jsonl");
    let begun = Instant::now();
    while fs::read_to_string(&metrics).unwrap_or_default().lines().count() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no epoch ends");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let code = child.wait().unwrap().code();
    assert!(matches!(code, Some(130 | 0)), "{code:?}");
    let other = nnc(here, &["train", "a.nn", "--epochs", "60", "--out", "parts", "--resume", "--seed", "9"]);
    fails(&other, 3, &["a seed of 0", "now it is 9"]);
    let rest = nnc(here, &["train", "a.nn", "--epochs", "60", "--out", "parts", "--resume"]);
    assert_eq!(rest.code, 0, "{}", rest.err);
    let bytes = |run: &str, file: &str| fs::read(here.join(run).join(file)).unwrap();
    assert_eq!(bytes("whole", "weights.safetensors"), bytes("parts", "weights.safetensors"));
    let lines = |run: &str| -> Vec<String> {
        let text = String::from_utf8(bytes(run, "metrics.jsonl")).unwrap();
        text.lines().map(|line| line.split(",\"seconds\"").next().unwrap().to_owned()).collect()
    };
    assert_eq!(lines("whole"), lines("parts"));
    fails(
        &nnc(here, &["train", "a.nn", "--out", "new", "--resume"]),
        3,
        &["new/checkpoint.safetensors", "no checkpoint"],
    );
}

#[test]
fn a_new_program_trains() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| nnc(folder.path(), arguments);
    assert_eq!(run(&["new", "pets"]).code, 0);
    for arguments in [
        &["check", "pets/pets.nn"][..],
        &["fmt", "--check", "pets/pets.nn"],
        &["test", "pets/pets.nn"],
        &["train", "pets/pets.nn", "--epochs", "1"],
    ] {
        let ran = run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}\n{}{}", ran.out, ran.err);
    }
    fails(&run(&["new", "pets"]), 3, &["pets"]);
    fails(&run(&["new", "a b"]), 2, &["letters"]);
    fails(&run(&["new", "none/of/these"]), 3, &["none/of/these"]);
}

#[test]
fn a_model_is_drawn() {
    let folder = folder(
        "model m(x: f32[4], y: f32[4]) -> f32[4] {
  let z = 2 * x + y
  let h = z |> stack(3, linear(4))
  relu(h + linear(4)(z))
}
",
    );
    let run = |arguments: &[&str]| nnc(folder.path(), arguments);
    let ran = run(&["graph", "a.nn", "-o", "m.dot"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let drawn = fs::read_to_string(folder.path().join("m.dot")).unwrap();
    // One box for the sum, one for the stack with what it owns, and a way round it.
    for part in [
        "2 * x + y",
        "stack(3, linear(4))\\nf32[4]\\n60 parameters",
        "n0 -> n2",
        "n1 -> n2",
        "n2 -> n3",
        "n2 -> n4",
    ] {
        assert!(drawn.contains(part), "no {part} in {drawn}");
    }
    assert_eq!(run(&["graph", "a.nn"]).code, 0);
    let drawn = fs::read_to_string(folder.path().join("m.svg")).unwrap();
    assert!(drawn.starts_with("<?xml") && drawn.ends_with("</svg>"), "{drawn}");
    fails(&run(&["graph", "a.nn", "-o", "m.png"]), 2, &["m.png", "*.svg"]);
    fails(&run(&["graph", "a.nn", "-o", "none/m.svg"]), 3, &["none/m.svg"]);
}

#[test]
fn tests_tell_both_sides() {
    let folder = folder(
        "test \"right\" { assert relu(-1.0) ~= 0.0 }\ntest \"wrong\" { assert relu([1.0, 2.0]) ~= [1.0, 3.0] }\n",
    );
    for arguments in [&["test", "a.nn"][..], &["test", "a.nn", "--interpret"]] {
        let ran = nnc(folder.path(), arguments);
        assert_eq!(ran.code, 1, "{}", ran.err);
        for word in ["ok    right", "FAIL  wrong", "a.nn:2:", "2.0", "3.0", "2 tests, 1 failed"] {
            assert!(ran.out.contains(word), "no `{word}` in:\n{}", ran.out);
        }
    }
    let ran = nnc(folder.path(), &["test", "--std"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

/// A training that diverges, a program with an error and a data file that is not there end nothing but themselves.
#[test]
fn full_tests_go_on_and_compare() {
    let block = |name: &str, rate: &str, bar: &str| {
        format!(
            "train {name} {{\n  let    net = line()\n  loss   square = (net([1.0, 2.0]) - 3) ** 2\n  optim  sgd({rate})\n  \
             steps  40\n  expect square <= {bar}\n}}\n"
        )
    };
    let folder = folder(&format!(
        "model line(x: f32[2]) -> f32 {{\n  param w: f32[2] = normal\n  sum(x * w)\n}}\n{}{}{}",
        block("diverges", "1e6", "1"),
        block("learns", "0.05", "1e-3"),
        block("misses", "0.05", "square - 1"),
    ));
    let here = folder.path();
    fs::create_dir(here.join("more")).unwrap();
    fs::write(
        here.join("more/b.nn"),
        "model wrong(x: f32[2]) -> f32[3] = x\ntest \"b\" { assert wrong([1.0, 2.0]) ~= 0.0 }\n",
    )
    .unwrap();
    fs::write(
        here.join("more/c.nn"),
        "test \"c\" {\n  let d = npz(\"none.npz\")\n  assert sum(d.x) > 0.0\n}\n",
    )
    .unwrap();
    fs::write(here.join("more/d.nn"), "test \"d\" { assert 1.0 + 1.0 ~= 2.0 }\n").unwrap();
    let ran = nnc(here, &["test", "a.nn:learns", "more", "a.nn", "--full", "--seeds", "2", "--seed", "5"]);
    assert_ne!(ran.code, 0);
    let order: Vec<usize> = ["ok      a.nn:learns", "FAILED  a.nn:diverges", "MISSED  a.nn:misses"]
        .iter()
        .map(|row| ran.out.find(row).unwrap_or_else(|| panic!("no {row} in\n{}{}", ran.out, ran.err)))
        .collect();
    assert!(order.is_sorted() && ran.out.matches("a.nn:learns").count() == 1, "{}", ran.out);
    for word in
        ["seed 5", "seed 6", " vs ", "1 tests, 0 failed", "3 expectations of trainings, 2 not reached"]
    {
        assert!(ran.out.contains(word), "no {word} in\n{}", ran.out);
    }
    for word in [
        "[1/3] a.nn:learns, seed 5: square 0.0000",
        "[2/3] a.nn:diverges, seed 6: failed",
        "b.nn",
        "none.npz",
    ] {
        assert!(ran.err.contains(word), "no {word} in\n{}", ran.err);
    }
    let ran = nnc(here, &["test", "a.nn", "--full", "--seeds", "1", "--json"]);
    let value: Value = serde_json::from_str(&ran.out).unwrap();
    let holds: Vec<bool> =
        value["expected"].as_array().unwrap().iter().map(|row| row["holds"] == true).collect();
    assert_eq!(holds, [false, true, false], "{value:#}");
    assert_eq!(value["diagnostics"].as_array().unwrap().len(), 1, "{value:#}");
    fails(&nnc(here, &["test", "a.nn:learns"]), 2, &["is a train block", "--full"]);
    fails(&nnc(here, &["test", "a.nn:lears", "--full"]), 2, &["no test or train block", "learns"]);
    fs::create_dir(here.join("empty")).unwrap();
    fails(&nnc(here, &["test", "empty"]), 2, &["no program", "empty"]);
}

#[test]
fn the_summary_counts_without_allocating() {
    // The sizes of a language model of 540 billion parameters.
    let program = "layer block(D: dim, F: dim)(x: f32[causal T, D]) -> f32[T, D] {
  x + (layer_norm()(x) |> linear(F, bias: false) |> gelu |> linear(D, bias: false))
}
model lm(V: dim = 256000)(t: Idx[V][causal T]) -> f32[T, V] {
  param e: f32[V, 18432] = zeros
  let x = for s => e[t[s]]
  let y = x |> stack(118, block(18432, 73728))
  for s, v => sum d => y[s, d] * e[v, d]
}
fn scores(q: f32[causal T, D], k: f32[T, D], v: f32[T, E]) -> f32[T, E] {
  for t => {
    let a = softmax s where s <= t => (sum d => q[t, d] * k[s, d]) / sqrt(D)
    for e => sum s where s <= t => a[s] * v[s, e]
  }
}
";
    let folder = folder(program);
    let summary = |arguments: &[&str]| -> serde_json::Value {
        let ran = nnc(folder.path(), &[&["compile", "--summary", "--json"], arguments].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        serde_json::from_str(&ran.out).unwrap()
    };
    let (blocks, table) = (118u64 * 2 * 18432 * 73728, 256000u64 * 18432);
    let open = summary(&["a.nn:lm"]);
    assert_eq!(open["parameters"], blocks + table + 118 * 2 * 18432);
    assert_eq!(open["macs"], format!("{}*T", blocks + table));
    assert!(open["memory"]["peak"]["expr"].as_str().unwrap().contains('T'), "{open}");
    assert_eq!(open["layers"][2]["path"], "stack_0.*.linear_0");
    assert_eq!(open["layers"][2]["op"], "linear");
    assert_eq!(open["layers"][2]["output"], "f32[T, 73728]");
    assert_eq!(open["layers"][2]["parameters"], 118u64 * 18432 * 73728);
    let fixed = summary(&["a.nn:lm", "--dim", "T=2048"]);
    assert_eq!(fixed["macs"], 2048 * (blocks + table));
    assert!(fixed["memory"]["peak"]["value"].as_u64().unwrap() > 2048 * 18432 * 4, "{fixed}");
    let sum = |value: &serde_json::Value, key: &str| -> u64 {
        value["layers"].as_array().unwrap().iter().map(|layer| layer[key].as_u64().unwrap()).sum()
    };
    assert_eq!(sum(&fixed, "macs"), 2048 * (blocks + table));
    assert_eq!(sum(&fixed, "parameters"), blocks + table + 118 * 2 * 18432);
    // Guards leave nothing out of the count.
    assert_eq!(summary(&["a.nn:scores"])["macs"], "D*T**2 + E*T**2");
}

/// The numbers differ from machine to machine; that they are there, and that they fit together, does not.
#[test]
fn benches() {
    let folder = folder(PROGRAM);
    let here = folder.path();
    let bench = |arguments: &[&str]| {
        let ran = nnc(here, &[&["bench", "a.nn", "--seconds", "0.02"], arguments].concat());
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        ran.out
    };
    let json = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&bench(&[arguments, &["--json"]].concat())).unwrap()
    };
    let number = |value: &serde_json::Value| value.as_f64().unwrap();

    let text = bench(&["--batch", "8", "--threads", "1", "--profile"]);
    for word in
        ["small: a run, batch 8, 1 thread", "GFLOP/s", "samples", "MB moved", "a.nn:", "between kernels"]
    {
        assert!(text.contains(word), "no `{word}` in:\n{text}");
    }
    let value = json(&["--batch", "8", "--threads", "1"]);
    assert_eq!((&value["batch"], &value["threads"]), (&8.into(), &1.into()));
    // Multiply-adds count twice; relu and the bias come on top.
    let products = 2.0 * 8.0 * (4.0 * 5.0 + 5.0 * 3.0);
    assert!((products..2.0 * products).contains(&number(&value["flops"])), "{value}");
    let ms = &value["ms"];
    assert!(number(&ms["min"]) <= number(&ms["p10"]) && number(&ms["p10"]) <= number(&ms["median"]));
    assert!(number(&ms["median"]) <= number(&ms["p90"]) && value.get("kernels").is_none());
    assert!(number(&value["runs"]) >= 5.0 && number(&value["bytes_moved"]) > 4.0 * (8.0 * 7.0 + 43.0));

    let value = json(&["--train", "--profile"]);
    assert_eq!((&value["what"], &value["batch"]), (&"a training step".into(), &8.into()));
    let kernels = value["kernels"].as_array().unwrap();
    let flops: f64 = kernels.iter().map(|kernel| number(&kernel["flops"])).sum();
    assert!((flops - number(&value["flops"])).abs() < 1.0 && flops > 0.0, "{value}");
    let times: Vec<f64> = kernels.iter().map(|kernel| number(&kernel["ms"])).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    assert!(kernels.iter().all(|kernel| number(&kernel["line"]) >= 1.0 && kernel["file"].is_string()));
    // A batch larger than the data takes samples twice.
    assert_eq!(json(&["--train", "--batch", "100"])["batch"], 100);

    fails(&nnc(here, &["bench", "a.nn", "--set", "lr=1"]), 2, &["--train"]);
    fails(&nnc(here, &["bench", "a.nn", "--seconds", "0"]), 2, &["above 0"]);
    fails(&nnc(here, &["bench", "a.nn", "--batch", "0"]), 2, &["--batch"]);
    fails(&nnc(here, &["bench", "a.nn:fit"]), 2, &["no model `fit`"]);
    fails(&nnc(here, &["bench", "a.nn", "--train", "--set", "rl=1"]), 2, &["no parameter `rl`"]);
    fs::write(here.join("set.nn"), "fn total(x: f32[N, D]) -> f32[D] = sum(x, over: N)\n").unwrap();
    fails(&nnc(here, &["bench", "set.nn"]), 2, &["--dim D=… --dim N=…"]);
    let ran = nnc(here, &["bench", "set.nn", "--dim", "N=3", "--dim", "D=0", "--seconds", "0.01"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
}
