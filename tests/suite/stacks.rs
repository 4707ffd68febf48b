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

/// Bytes of machine code of a training step, and its number of kernels.
fn training_step(depth: usize) -> (usize, usize) {
    let source = format!(
        "layer block(D: dim)(x: f32[D]) -> f32[D] = x + relu(layer_norm()(x) |> linear(D))
model deep(x: f32[8, 8, 1]) -> f32[10] {{ flatten(x) |> linear(32) |> stack({depth}, block(32)) |> linear(10) }}
train t {{
  data d = npz(\"data/digits.npz\")
  let net = deep()
  loss cross_entropy(net(d.x), d.y)
  optim adam(1e-3)
}}"
    );
    let compiled = step(&source);
    (compiled.exec.code().size(), compiled.exec.program().kernels.len())
}

#[test]
fn code_does_not_grow_with_depth() {
    assert_eq!(training_step(2), training_step(48), "bytes of code, and kernels");
}

/// Bytes that a training step on 512 samples plans for what it computes.
fn planned(block: &str) -> usize {
    let source = format!(
        "layer inner(D: dim)(x: f32[D]) -> f32[D] = x + tanh(tanh(tanh(layer_norm()(x) |> linear(D)) |> linear(D)) |> linear(D))
layer block(D: dim)(x: f32[D]) -> f32[D] {block}
model deep(x: f32[8, 8, 1]) -> f32[10] {{ flatten(x) |> linear(32) |> stack(12, block(32)) |> linear(10) }}
train t {{
  data d = npz(\"data/digits.npz\")
  let net = deep()
  loss cross_entropy(net(d.x), d.y)
  optim sgd(0.1)
}}"
    );
    let compiled = step(&source);
    compiled.exec.arena(&BTreeMap::from([(nnc::axes::DimVar::new("B"), 512)])).expect("a size")
}

#[test]
fn a_checkpoint_in_a_stack_stores_what_enters_the_members() {
    let (stored, recomputed) = (planned("= inner(D)(x)"), planned("= checkpoint { inner(D)(x) }"));
    let entering = 12 * 512 * 32 * 4;
    assert!(stored > 8 * entering, "{stored} bytes, of which {entering} enter the members");
    assert!(recomputed < 5 * entering / 2, "{recomputed} bytes, of which {entering} enter the members");
}
