//! Values and gradients agree with those that JAX computes in float64 (tests/golden/numbers/make.py).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nnc::axes::DimVar;
use nnc::check::Entry;
use nnc::elaborate::Part;
use nnc::formats::npz;
use nnc::runtime::{Array, Pool, Slot};
use nnc::session::{Session, Settings, compile};
use nnc::tensor::{Tensor, Tolerance};

fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/numbers").join(format!("{case}.npz"))
}

/// Runs the model `m` of a source on the case's inputs, natively and fused, in f64 and in f32.
#[track_caller]
fn agrees(case: &str, source: &str) {
    for (wide, tolerance) in [(true, Tolerance::new(1e-11, 1e-12)), (false, Tolerance::new(1e-4, 2e-5))] {
        let mut session = Session::of_text("golden.nn", source, Path::new(env!("CARGO_MANIFEST_DIR")));
        let settings = Settings { wide, verify: true, ..Settings::default() };
        let check =
            session.check(&settings, &|entry| matches!(entry, Entry::Def(def) if def.name.name == "m"));
        assert!(check.ok(), "{}", nnc::diag::render::render(&session.sources, &check.diagnostics, false));
        let core = check.items.iter().find_map(|item| item.core.as_ref()).expect("a model m");
        let compiled = compile(core, Part::Body, &BTreeMap::new(), &settings, &mut Default::default());
        let compiled = compiled.unwrap_or_else(|failure| panic!("{case}: {}", failure.message));
        let graph = &compiled.graph;
        let mut dims: BTreeMap<DimVar, i64> = BTreeMap::new();
        let mut arrays = Vec::new();
        for input in &graph.inputs {
            let tensor = npz::load(&golden(case), &format!("in_{}", input.name)).expect("an input");
            for (&axis, &size) in input.order.iter().zip(tensor.shape()) {
                if let Some(var) = graph.axes[axis].size.as_var() {
                    dims.insert(var.clone(), size as i64);
                }
            }
            arrays.push(Array::from_tensor(&tensor.cast(input.dtype)).expect("fits"));
        }
        let bound = compiled.exec.bind(&dims).expect("binds");
        let results = &graph.regions[graph.root].results;
        let shapes: Vec<Vec<usize>> = graph
            .outputs
            .iter()
            .map(|output| {
                output
                    .order
                    .iter()
                    .map(|&axis| graph.axes[axis].size.eval(&dims).expect("known") as usize)
                    .collect()
            })
            .collect();
        let mut outputs: Vec<Array> = results
            .iter()
            .zip(&shapes)
            .map(|(&node, shape)| {
                Array::zeros(graph.nodes[node].dtype, shape.iter().product()).expect("fits")
            })
            .collect();
        let mut slots: Vec<Slot> = arrays.iter().map(Slot::Read).collect();
        let mut places: Vec<Option<&mut Array>> = outputs.iter_mut().map(Some).collect();
        compiled.exec.run(&bound, &mut slots, &mut places, &Pool::new(1).expect("a pool")).expect("runs");
        for ((output, array), shape) in graph.outputs.iter().zip(&outputs).zip(&shapes) {
            let found: Tensor = array.to_tensor(shape).expect("of its shape");
            let expected =
                npz::load(&golden(case), &format!("out_{}", output.name)).expect("an expected output");
            if let Err(difference) = found.compare(&expected.cast(found.dtype()), tolerance) {
                panic!("{case}, f64 {wide}, {}: {difference:?}", output.name);
            }
        }
    }
}

#[test]
fn a_perceptron_agrees() {
    agrees(
        "mlp",
        "fn f(x: f32[B, 12], y: Idx[4][B], a: f32[12, 8], p: f32[8], b: f32[8, 4], q: f32[4]) -> f32 =
  mean(cross_entropy(relu(x @ a + p) @ b + q, y))
model m(x: f32[B, 12], y: Idx[4][B], a: f32[12, 8], p: f32[8], b: f32[8, 4], q: f32[4]) {
  let (da, dp, db, dq) = grad(fn(a, p, b, q) => f(x, y, a, p, b, q))(a, p, b, q)
  (loss: f(x, y, a, p, b, q), da: da, dp: dp, db: db, dq: dq)
}",
    );
}

#[test]
fn attention_agrees() {
    agrees(
        "attention",
        "fn attention(q: f32[T, D], k: f32[T, D], v: f32[T, E]) -> f32[T, E] {
  for t => {
    let a = softmax s where s <= t => (sum d => q[t, d] * k[s, d]) / sqrt(D)
    for e => sum s where s <= t => a[s] * v[s, e]
  }
}
model m(q: f32[T, 3], k: f32[T, 3], v: f32[T, 2], t: f32[T, 2]) {
  let f = fn(q, k, v) => sum(attention(q, k, v) * t)
  let (dq, dk, dv) = grad(f)(q, k, v)
  (loss: f(q, k, v), dq: dq, dk: dk, dv: dv)
}",
    );
}

#[test]
fn a_norm_agrees() {
    agrees(
        "norm",
        "fn normal(x: f32[D], g: f32[D], b: f32[D]) -> f32[D] {
  let centred = x - mean(x)
  centred / sqrt(mean(centred ** 2) + 1e-5) * g + b
}
model m(x: f32[N, 7], g: f32[7], b: f32[7], t: f32[N, 7]) {
  let f = fn(x, g, b) => sum(normal(x, g, b) * t)
  let (dx, dg, db) = grad(f)(x, g, b)
  (loss: f(x, g, b), dx: dx, dg: dg, db: db)
}",
    );
}

#[test]
fn activations_agree() {
    agrees(
        "activations",
        "model m(x: f32[N], t: f32[N]) {
  let slope = fn(f) => grad(fn(x) => sum(f(x) * t))(x)
  (gelu: gelu(x), dgelu: slope(gelu), silu: silu(x), dsilu: slope(silu), softplus: softplus(x), dsoftplus: slope(softplus),
   elu: elu(x), delu: slope(elu), tanh: tanh(x), dtanh: slope(tanh))
}",
    );
}

#[test]
fn a_recurrence_agrees() {
    agrees(
        "recurrence",
        "fn f(x: f32[T, 3], w: f32[3, 4], u: f32[4, 4], t: f32[4]) -> f32 {
  let h = scan i (h: f32[4] = 0) { h = tanh(x[i] @ w + h @ u) }
  sum(h * t)
}
model m(x: f32[T, 3], w: f32[3, 4], u: f32[4, 4], t: f32[4]) {
  let (dx, dw, du) = grad(fn(x, w, u) => f(x, w, u, t))(x, w, u)
  (loss: f(x, w, u, t), dx: dx, dw: dw, du: du)
}",
    );
}

#[test]
fn a_second_derivative_agrees() {
    agrees(
        "second",
        "fn energy(x: f32[D], a: f32[D, D]) -> f32 = sum(sin(a @ x) ** 2)
model m(x: f32[5], a: f32[5, 5]) {
  let f = fn(x) => sum(grad(fn(z) => energy(z, a))(x) ** 2)
  (loss: f(x), dx: grad(f)(x))
}",
    );
}
