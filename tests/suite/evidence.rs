//! `nnc verify` finds what is false, and `check --counterexample` what is rejected rightly.

use std::fs;
use std::path::Path;

use crate::command::{Ran, nnc};

fn on(program: &str, arguments: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.nn"), program).unwrap();
    nnc(folder.path(), arguments)
}

/// With one space between words: columns are as wide as they need to be.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn true_theorems_hold_in_every_trial() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (file, theorems) in [("examples/attention.nn", 7), ("examples/deep_sets.nn", 2)] {
        let ran = nnc(root, &["verify", file, "--json"]);
        let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((ran.code, &value["ok"]), (0, &true.into()), "{}", ran.out);
        let tried = value["theorems"].as_array().unwrap();
        assert!(tried.iter().filter(|one| one["verdict"] == "holds").count() >= theorems, "{}", ran.out);
        for one in tried.iter().filter(|one| one["verdict"] == "holds") {
            assert!(one["tolerance"].as_f64().unwrap() < 1e-9, "{one}");
        }
    }
}

/// What `assume` claims is a theorem like any other, and the checker takes it at its word.
#[test]
fn a_false_assumption_is_refuted() {
    for (program, words) in [
        (
            "fn f(x: f32[set N]) -> f32 = assume invariant(N) { x[0] }",
            ["N  permutation-invariant", "REFUTED"],
        ),
        ("fn f(x: f32[set N]) -> f32 = assume invariant(N) { sum(x * x[1]) }", ["entries", "f = "]),
        (
            "fn f(x: f32[causal T]) -> f32[T] = assume causal(T) { for t => x[t] + mean s => x[s] }",
            ["T  causal", "behind"],
        ),
        (
            "fn f(x: f32[ring R]) -> f32[R / 2] where R % 2 == 0 = assume equivariant(R) { for i: R / 2 => x[2 * i] * i }",
            ["R  shift-equivariant", "round its end"],
        ),
    ] {
        let ran = on(program, &["verify", "a.nn"]);
        assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
        assert!(ran.out.contains("REFUTED") && ran.out.contains("it should be"), "{}", ran.out);
        assert!(words.iter().any(|word| ran.out.contains(word)), "{}", ran.out);
    }
}

/// At stride 2 an entry of the result moves by one where the ring moves by two.
#[test]
fn what_runs_at_a_rate_moves_at_that_rate() {
    let program =
        "fn f(x: f32[ring R]) -> f32[R / 2] where R % 2 == 0 = for i: R / 2 => x[2 * i] - x[2 * i - 1]";
    let ran = on(program, &["verify", "a.nn"]);
    assert!(ran.code == 0 && ran.out.contains("R  shift-equivariant  holds"), "{}{}", ran.out, ran.err);
}

#[test]
fn a_rejected_program_has_a_witness_or_may_be_right() {
    let program = "model flat(x: f32[set N, 3]) -> f32[10] = flatten(x) |> linear(10)
fn leak(x: f32[causal T]) -> f32[T] = for t => mean s where s <= t + 1 => x[s]
fn mix(x: f32[batch B, D]) -> f32[B, D] = x - mean(x, over: B)
fn first(x: f32[set N, D]) -> f32[D] = x[0]
fn strict(x: f32[set N]) -> f32 = sum i => x[i] * (0.0 * position(i) + 1.0)
fn fine(x: f32[set N]) -> f32 = sum(x)
fn pinned(x: f32[grid H]) -> f32[H] = for i => x[i] * exp(-0.1 * (position(i) as f32))
fn drops(x: f32[grid H]) -> f32 = sum i => x[i] * (position(i) as f32)
fn far(x: f32[grid H]) -> f32[H] = for i: H => (x[i - 2] + x[(i - 1) / 2 * 2]) * (position(i) as f32)
fn longer(x: f32[set N]) -> f32[N + 1] = concat(x, [0.0], over: N)
";
    let ran = on(program, &["check", "a.nn", "--counterexample"]);
    assert_eq!(ran.code, 1);
    for line in [
        "flat: N is declared set; with N = 2, swapping the entries 0 and 1 of N gives flat[",
        "leak: T is declared causal; with T = 2, changing the entries of T behind 0 gives leak[0] = ",
        "mix: B is declared batch; with B = 2, D = 2, changing all entries of B but 0 gives mix[0, ",
        "first: N is declared set; with D = 2, N = 2, swapping",
        "strict: none of ",
        "pinned: H is declared grid; with H = 2, moving the entries of H by 1 gives pinned[1] = ",
        "drops: H is declared grid; with H = 2, moving the entries of H by 1 gives drops = ",
        "far: H is declared grid; with H = 12, moving the entries of H by 2 gives far[",
        "longer: N is declared set; with N = 2, swapping the entries 0 and 1 of N gives longer[0] = ",
    ] {
        assert!(ran.out.contains(line), "no `{line}` in:\n{}", ran.out);
    }
    assert!(!ran.out.contains("\nfine: "), "{}", ran.out);
    let ran = on(program, &["check", "a.nn:leak", "--counterexample", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(value["counterexamples"][0]["witness"]["entry"], "leak[0]", "{}", ran.out);
}

#[test]
fn what_breaks_a_property_is_told_with_its_place() {
    let program = "fn smooth(x: f32[causal T]) -> f32[T] = for t => mean s where s <= t => x[s]\n";
    let ran = on(program, &["check", "a.nn", "--explain", "smooth"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for line in [
        "T, declared causal",
        "  holds    causal",
        "  broken   permutation-equivariant, shift-equivariant, translation-equivariant by a comparison",
        "a.nn:1:",
    ] {
        assert!(ran.out.contains(line), "no `{line}` in:\n{}", ran.out);
    }
    let ran = on(program, &["check", "a.nn", "--explain", "smoth"]);
    assert!(ran.code == 2 && ran.err.contains("did you mean `smooth`?"), "{}", ran.err);
}

/// Draws of one seed are alike in two runs: whatever does not ask them to move along the axis is tried.
#[test]
fn programs_that_draw_are_tried() {
    let program = "layer each(x: f32[batch B, 8]) -> f32[B, 4] = x |> dropout(0.5) |> linear(4)
layer pooled(x: f32[set N, 8]) -> f32[4] = mean(x, over: N) |> dropout(0.5) |> linear(4)
layer leaks(x: f32[causal T]) -> f32[T] = assume causal(T) { for t => x[t] + mean s => x[s] * random.normal() }
";
    let ran = on(program, &["verify", "a.nn"]);
    for line in [
        "each B pointwise (training) holds in 12 trials",
        "each B permutation-equivariant (training) not tried: it draws a number for each position",
        "pooled N permutation-invariant (training) holds in 12 trials",
        "leaks T causal REFUTED",
    ] {
        assert!(words(&ran.out).contains(line), "no `{line}` in:\n{}{}", ran.out, ran.err);
    }
}

/// Where an entry sees all, the reads at a distance say how far the border is felt.
#[test]
fn translations_of_unbounded_fields_are_tried() {
    let program = "fn pairs(x: f32[grid H]) -> f32[H] = for i: H => sum j => x[i - 1] * x[j] * x[j - 2]
model all(x: f32[grid H, grid W, 3]) -> f32[5] = x |> conv2d(4) |> relu |> global_average_pool |> linear(5)
fn pool(k: dim)(x: f32[grid H, C]) -> f32[H / k, C] = max_pool1d(k)(x)
fn false_one(x: f32[grid H]) -> f32 = assume invariant(H) { sum i => x[i] * (position(i) as f32) }
";
    let ran = on(program, &["verify", "a.nn"]);
    for line in [
        "pairs H translation-equivariant holds in 3 trials",
        "all H translation-invariant holds in 3 trials",
        "pool H translation-equivariant holds in 3 trials",
    ] {
        assert!(words(&ran.out).contains(line), "no `{line}` in:\n{}{}", ran.out, ran.err);
    }
    assert!(ran.out.contains("false_one  H  ") && ran.out.contains("REFUTED"), "{}", ran.out);
}

#[test]
fn translations_are_tried_away_from_the_border() {
    let program = "fn blur(x: f32[grid H]) -> f32[H] = for i => x[i - 1] + 2.0 * x[i] + x[i + 1]
model down(x: f32[grid H, grid W, 3]) -> f32[(H - 1) / 2 + 1, (W - 1) / 2 + 1, 4] =
  x |> conv2d(4, 3, stride: 2, padding: 1)
fn roll(x: f32[ring R]) -> f32[R] = for i => x[i] - x[i - 1]
";
    let ran = on(program, &["verify", "a.nn", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(ran.code, 0, "{}", ran.out);
    for (item, axis, property) in [
        ("blur", "H", "translation-equivariant"),
        ("down", "H", "translation-equivariant"),
        ("down", "W", "translation-equivariant"),
        ("roll", "R", "shift-equivariant"),
    ] {
        let held = value["theorems"].as_array().unwrap().iter().any(|one| {
            one["item"] == item
                && one["axis"] == axis
                && one["property"] == property
                && one["verdict"] == "holds"
        });
        assert!(held, "{item} {axis} {property}: {}", ran.out);
    }
}
