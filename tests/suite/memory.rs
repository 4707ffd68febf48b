//! `memory 512 MiB`: the same training in less memory, or an error that says what there is.

use serde_json::Value;

use super::command::{folder, nnc};

/// Stacks with and without draws, of numbers of members that divide and that do not, one in the other; layers one after the other; a
/// backward loop whose turns are all read. Batch norm writes states, dropout draws.
const NETWORKS: &str = "
layer plain(D: dim)(x: f32[set B, D]) -> f32[B, D] = x + (linear(2 * D)(x) |> batch_norm(B) |> gelu |> linear(D))
layer drawing(D: dim)(x: f32[set B, D]) -> f32[B, D] = x + (linear(2 * D)(x) |> batch_norm(B) |> gelu |> dropout(0.2) |> linear(D))
layer group(D: dim)(x: f32[set B, D]) -> f32[B, D] = x |> stack(3, plain(D)) |> drawing(D)

model even(x: f32[set B, 32]) -> f32[B, 4] { x |> stack(12, drawing(32)) |> linear(4) }
model odd(x: f32[set B, 32]) -> f32[B, 4] { x |> stack(13, plain(32)) |> linear(4) }
model prime(x: f32[set B, 32]) -> f32[B, 4] { x |> stack(13, drawing(32)) |> linear(4) }
model nested(x: f32[set B, 32]) -> f32[B, 4] { x |> stack(5, group(32)) |> plain(32) |> linear(4) }
model line(x: f32[set B, 32]) -> f32[B, 4] { x |> drawing(32) |> plain(32) |> plain(32) |> drawing(32) |> plain(32) |> linear(4) }
model looped(x: f32[B, 32]) -> f32[B, 4] {
  param w: f32[24, 32, 32] = normal(0.2)
  let all = scan reverse l (h: f32[B, 32] = x) {
    h = tanh(h @ w[l]) + sin(h) / 10
    yield mean(h * random.uniform(32), over: 32)
  }
  let last = scan l (h: f32[B, 32] = x) { h = tanh(h @ w[l]) + cos(h) * l / 24 }
  let y = linear(4)(last)
  for b, c => y[b, c] + mean l: 24 => all[l, b]
}
";

/// A block for each network, with a clause for the memory.
fn program(network: &str, clause: &str) -> String {
    format!(
        "{NETWORKS}
train t {{
  let   net = {network}()
  loss  mean(net(for b: 256 => random.normal(32)) ** 2)
  optim sgd(1e-2)
  steps 4
  {clause}
}}
"
    )
}

/// The planned peak, and the weights after the training.
fn trained(network: &str, clause: &str) -> (u64, nnc::formats::safetensors::Archive) {
    let folder = folder(&program(network, clause));
    let here = folder.path();
    let ran = nnc(here, &["compile", "a.nn:t", "--train", "--summary", "--json"]);
    assert_eq!(ran.code, 0, "{network} {clause}: {}", ran.err);
    let summary: Value = serde_json::from_str(&ran.out).unwrap();
    let peak = summary["memory"]["peak"]["value"].as_u64().unwrap();
    let ran = nnc(here, &["train", "a.nn:t", "--seed", "3", "--out", "run"]);
    assert_eq!(ran.code, 0, "{network} {clause}: {}", ran.err);
    (peak, nnc::formats::safetensors::load(&here.join("run/weights.safetensors")).unwrap())
}

#[test]
fn a_training_that_fits_its_memory_is_the_same_training() {
    // What each reaches, as a share of what it takes without.
    for (network, share) in
        [("even", 0.7), ("odd", 0.7), ("prime", 0.7), ("nested", 0.4), ("line", 0.75), ("looped", 0.5)]
    {
        let (all, stored) = trained(network, "");
        let given = (all as f64 * share / 1024.0) as u64;
        let (peak, placed) = trained(network, &format!("memory {given} KiB"));
        assert!(peak <= given * 1024, "{network}: {peak} of {given} KiB");
        assert_eq!(
            stored.tensors.keys().collect::<Vec<_>>(),
            placed.tensors.keys().collect::<Vec<_>>(),
            "{network}"
        );
        for (name, tensor) in &stored.tensors {
            for index in 0..tensor.len() {
                let entry = |tensor: &nnc::tensor::Tensor| tensor.number(index).unwrap().as_f64();
                let (a, b) = (entry(tensor), entry(&placed.tensors[name]));
                // Sums of a gradient may be cut elsewhere.
                assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{network}: {name}[{index}]: {a} {b}");
            }
        }
        let (same, _) = trained(network, "memory 1 GiB");
        assert_eq!(same, all, "{network}: where it fits, nothing is computed again");
    }
}

/// With `accumulate` the training and what is measured hold it with a part; a library, whose batch is whole, with all of it or not at all.
#[test]
fn memory_holds_beside_parts() {
    let program = |clauses: &str| {
        format!(
            "{NETWORKS}
train t {{
  data  d = npz(\"data.npz\")
  let   net = even()
  loss  mean(net(for b, i: 32 => d.x[b, i % 4]) ** 2)
  optim sgd(1e-2)
  batch 256
  steps 2
  {clauses}
}}
"
        )
    };
    let peaks = |clauses: &str| {
        let folder = folder(&program(clauses));
        let here = folder.path();
        let x = nnc::tensor::Tensor::from_vec(&[512, 4], (0..2048).map(|i| (i % 7) as f32).collect());
        nnc::formats::npz::save(&here.join("data.npz"), &[("x", &x.unwrap())]).unwrap();
        let json = |arguments: &[&str]| -> Value {
            let ran = nnc(here, arguments);
            assert_eq!(ran.code, 0, "{clauses}: {}", ran.err);
            serde_json::from_str(&ran.out).unwrap()
        };
        let peak = |value: &Value| value.as_u64().unwrap();
        let planned =
            peak(&json(&["compile", "a.nn:t", "--train", "--summary", "--json"])["memory"]["peak"]["value"]);
        let bench = json(&["bench", "a.nn:t", "--train", "--seconds", "0.01", "--json"]);
        assert_eq!(bench["batch"], 256);
        let measured = peak(&bench["arena_bytes"]);
        assert_eq!(nnc(here, &["train", "a.nn:t", "--out", "run"]).code, 0);
        (planned, measured, nnc(here, &["compile", "a.nn:t", "--train", "-o", "t.a"]))
    };
    let (whole, _, _) = peaks("");
    let (part, measured, library) = peaks("accumulate 4");
    assert!(part * 3 < whole * 2 && measured * 3 < whole * 2, "{part}, {measured} of {whole}");
    assert_eq!(library.code, 0, "{}", library.err);
    // A part fits as it is, and the whole batch nowhere.
    let (planned, measured, library) = peaks(&format!("accumulate 4\n  memory {} KiB", part.div_ceil(1024)));
    assert_eq!(planned, part);
    assert!(measured <= part.div_ceil(1024) * 1024, "{measured} of {part}");
    assert!(library.code == 1 && library.err.contains("E0537"), "{}", library.err);
    // The whole batch fits when some of it is computed again.
    let given = whole * 7 / 10 / 1024;
    let (_, _, library) = peaks(&format!("accumulate 4\n  memory {given} KiB"));
    assert_eq!(library.code, 0, "{}", library.err);
    let (placed, _, _) = peaks(&format!("memory {given} KiB"));
    assert!(placed <= given * 1024, "{placed} of {given} KiB");
}

#[test]
fn memory_that_no_placement_reaches_is_refused() {
    let ran = |clause: &str| {
        let folder = folder(&program("even", clause));
        nnc(folder.path(), &["train", "a.nn:t"])
    };
    let refused = ran("memory 10 KiB");
    assert_eq!(refused.code, 1, "{}", refused.err);
    for words in [
        "E0537",
        "do not fit into 10.00 KiB",
        "the least that was reached is",
        "are held for this",
        "accumulate 2",
    ] {
        assert!(refused.err.contains(words), "no `{words}` in:\n{}", refused.err);
    }
    for (clause, words) in [
        ("memory 512", "a number with a unit"),
        ("memory 512 MB", "`MB` is no unit of memory"),
        ("memory 0 MiB", "a positive number"),
        ("batch 32 MiB", "`batch` takes no unit"),
        ("memroy 32 MiB", "did you mean `memory`?"),
    ] {
        let refused = ran(clause);
        assert_eq!(refused.code, 1, "{clause}: {}", refused.err);
        assert!(refused.err.contains(words), "{clause}:\n{}", refused.err);
    }
}
