//! A stack is compiled once, whatever its depth.

use std::collections::BTreeMap;
use std::path::Path;

use nnc::elaborate::Part;
use nnc::session::{Session, Settings, compile};
use nnc::train::Unit;

/// The training step of a program's train block, compiled.
fn step(source: &str) -> Unit {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut session = Session::of_text("deep.nn", source, &folder);
    let settings = Settings::default();
    let check = session.check(&settings, &|_| true);
    assert!(check.ok(), "{}", nnc::diag::render::render(&session.sources, &check.diagnostics, false));
    let plan = check.items.iter().find_map(|item| item.plan.as_ref()).expect("a train block");
    let mut timings = Default::default();
    let compiled = compile(&plan.steps[0].core, Part::Body, &BTreeMap::new(), &settings, &mut timings);
    compiled.unwrap_or_else(|failure| panic!("{}", failure.message))
}

/// A training step of these layers, on digits: 32 numbers pass through `stacked`.
fn deep(layers: &str, stacked: &str, optim: &str) -> Unit {
    step(&format!(
        "{layers}
model deep(x: f32[8, 8, 1]) -> f32[10] {{ flatten(x) |> linear(32) |> {stacked} |> linear(10) }}
train t {{
  data d = npz(\"data/digits.npz\")
  let net = deep()
  loss cross_entropy(net(d.x), d.y)
  optim {optim}
}}"
    ))
}

/// Bytes of machine code of a training step, and its number of kernels.
fn training_step(depth: usize) -> (usize, usize) {
    let block = "layer block(D: dim)(x: f32[D]) -> f32[D] = x + relu(layer_norm()(x) |> linear(D))";
    let compiled = deep(block, &format!("stack({depth}, block(32))"), "adam(1e-3)");
    (compiled.exec.code().size(), compiled.exec.program().kernels.len())
}

/// As many kernels. Those of one shape are one function, and sizes decide which are (updates of long arrays run in chunks), so bytes of
/// code may differ by one or two functions, whatever the depths.
fn same_code((shallow, kernels): (usize, usize), (deep, as_many): (usize, usize)) {
    assert_eq!(kernels, as_many, "kernels");
    assert!(shallow.abs_diff(deep) < shallow / 12, "{shallow} and {deep} bytes of code");
}

#[test]
fn code_does_not_grow_with_depth() {
    same_code(training_step(2), training_step(48));
    same_code(training_step(48), training_step(1000));
}

/// Bytes that a training step on 512 samples plans for what it computes.
fn planned(block: &str) -> usize {
    let layers = format!(
        "layer inner(D: dim)(x: f32[D]) -> f32[D] = x + tanh(tanh(tanh(layer_norm()(x) |> linear(D)) |> linear(D)) |> linear(D))
layer block(D: dim)(x: f32[D]) -> f32[D] {block}"
    );
    let compiled = deep(&layers, "stack(12, block(32))", "sgd(0.1)");
    compiled.exec.arena(&BTreeMap::from([(nnc::axes::DimVar::new("B"), 512)])).expect("a size")
}

#[test]
fn a_checkpoint_in_a_stack_stores_what_enters_the_members() {
    let (stored, recomputed) = (planned("= inner(D)(x)"), planned("= checkpoint { inner(D)(x) }"));
    let entering = 12 * 512 * 32 * 4;
    assert!(stored > 4 * entering, "{stored} bytes, of which {entering} enter the members");
    assert!(recomputed < 5 * entering / 2, "{recomputed} bytes, of which {entering} enter the members");
}

/// The training step of `stack(segments, checkpoint { stack(members, block) })`.
fn segmented(segments: usize, members: usize) -> Unit {
    let layers = format!(
        "layer block(D: dim)(x: f32[D]) -> f32[D] = x + tanh(tanh(tanh(layer_norm()(x) |> linear(D)) |> linear(D)) |> linear(D))
layer segment(D: dim)(x: f32[D]) -> f32[D] = checkpoint {{ stack({members}, block(D))(x) }}"
    );
    deep(&layers, &format!("stack({segments}, segment(32))"), "sgd(0.1)")
}

#[test]
fn segments_of_a_stack_are_code_once_and_their_gradients_entries() {
    let size = |unit: &Unit| (unit.exec.code().size(), unit.exec.program().kernels.len());
    let (few, many) = (segmented(3, 2), segmented(10, 10));
    same_code(size(&few), size(&many));
    // What enters the segments and, in one of them, the members; what one segment stores; the gradients of all, once. Were the gradients
    // sums over segments, two arrays of all of them would be carried.
    let samples = 2048;
    let entering = samples * 32 * 4;
    let parameters = 100 * (2 * 32 + 3 * (32 * 32 + 32)) * 4;
    let arena = many.exec.arena(&BTreeMap::from([(nnc::axes::DimVar::new("B"), samples as i64)]));
    let arena = arena.expect("a size");
    assert!(
        arena < (10 + 10 * 7) * entering + 3 * parameters / 2,
        "{arena} bytes, {entering} enter a member"
    );
}
