//! Three executions of every program agree: the interpreter, plain native code (one kernel a node), fused native code.
//! Gradients written in the language agree with finite differences.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use nnc::axes::DimVar;
use nnc::check::Entry;
use nnc::check::core::Core;
use nnc::elaborate::Part;
use nnc::graph::{Graph, Role, interpret};
use nnc::runtime::{Array, Executable, Pool, Slot};
use nnc::session::{Session, Settings, compile, graph_of};
use nnc::tensor::{Tensor, Tolerance};

/// A small generator: the tests must not depend on one another, nor on a library's stream.
pub struct Draws(pub u64);

impl Draws {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    /// In (-1, 1).
    pub fn unit(&mut self) -> f64 {
        self.next() as f64 / (1u64 << 30) as f64 - 1.0
    }
}

/// Inputs for a graph at these sizes: floats in (-1, 1), positions in range.
pub fn inputs(graph: &Graph, dims: &BTreeMap<DimVar, i64>, draws: &mut Draws) -> Vec<Tensor> {
    let mut tensors = Vec::new();
    for input in &graph.inputs {
        let shape: Vec<usize> = input
            .order
            .iter()
            .map(|&axis| graph.axes[axis].size.eval(dims).expect("a size") as usize)
            .collect();
        let count: usize = shape.iter().product();
        let number = |role| match role {
            Role::Seed => Some(7),
            Role::Step => Some(3),
            Role::Steps => Some(10),
            _ => None,
        };
        let values: Vec<f64> = (0..count)
            .map(|_| match (number(input.role), &input.bound) {
                (Some(number), _) => number as f64,
                (None, Some(bound)) => (draws.next() % bound.eval(dims).expect("a bound") as u64) as f64,
                // A state such as a variance is never negative.
                (None, None) if input.role == Role::State => draws.unit().abs(),
                (None, None) => draws.unit(),
            })
            .collect();
        let tensor = Tensor::from_vec(&shape, values).expect("as many values as entries").cast(input.dtype);
        tensors.push(tensor);
    }
    tensors
}

/// The outputs of native code.
pub fn native(
    exec: &Executable,
    graph: &Graph,
    inputs: &[Tensor],
    dims: &BTreeMap<DimVar, i64>,
    pool: &Pool,
) -> Vec<Tensor> {
    let bound = exec.bind(dims).expect("binds");
    let mut arrays: Vec<Array> =
        inputs.iter().map(|tensor| Array::from_tensor(tensor).expect("fits")).collect();
    let shape = |order: &[nnc::graph::Axis]| -> Vec<usize> {
        order.iter().map(|&axis| graph.axes[axis].size.eval(dims).expect("a size") as usize).collect()
    };
    let results = &graph.regions[graph.root].results;
    let updated: HashMap<usize, usize> = graph
        .outputs
        .iter()
        .enumerate()
        .filter_map(|(index, output)| Some((output.updates?, index)))
        .collect();
    let mut outputs: Vec<Option<Array>> = graph
        .outputs
        .iter()
        .zip(results)
        .map(|(output, &node)| {
            let dtype = graph.nodes[node].dtype;
            output
                .updates
                .is_none()
                .then(|| Array::zeros(dtype, shape(&output.order).iter().product()).expect("fits"))
        })
        .collect();
    {
        let mut slots: Vec<Slot> = arrays
            .iter_mut()
            .enumerate()
            .map(
                |(index, array)| {
                    if updated.contains_key(&index) { Slot::Update(array) } else { Slot::Read(array) }
                },
            )
            .collect();
        let mut places: Vec<Option<&mut Array>> = outputs.iter_mut().map(Option::as_mut).collect();
        exec.run(&bound, &mut slots, &mut places, pool).expect("runs");
    }
    graph
        .outputs
        .iter()
        .zip(&outputs)
        .map(|(output, array)| match (array, output.updates) {
            (Some(array), _) => array.to_tensor(&shape(&output.order)).expect("of its shape"),
            (None, Some(input)) => arrays[input].to_tensor(&shape(&output.order)).expect("of its shape"),
            (None, None) => unreachable!("an output has a place"),
        })
        .collect()
}

/// Compares the three executions of one part of a core, at one and at two threads.
#[track_caller]
pub fn agree(core: &Core, part: Part, dims: &BTreeMap<DimVar, i64>, what: &str) {
    let mut timings = Default::default();
    let settings = |fuse| Settings { fuse, verify: true, ..Settings::default() };
    let known = nnc::session::sizing_dims(core);
    let fixed: BTreeMap<DimVar, i64> = dims
        .iter()
        .filter(|(var, _)| known.contains(*var))
        .map(|(var, value)| (var.clone(), *value))
        .collect();
    let show = |failure: Box<nnc::diag::Diagnostic>| panic!("{what}: {}", failure.message);
    let graph =
        graph_of(core, part, &fixed, &settings(true), Some("elaborate"), &mut timings).unwrap_or_else(show);
    let mut draws = Draws(17);
    let given = inputs(&graph, dims, &mut draws);
    let by_name: HashMap<DimVar, i64> = dims.iter().map(|(var, value)| (var.clone(), *value)).collect();
    let expected = interpret(&graph, &given, &by_name).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let (one, two) = (Pool::new(1).expect("a pool"), Pool::new(2).expect("a pool"));
    for fuse in [false, true] {
        let compiled = compile(core, part, &fixed, &settings(fuse), &mut timings)
            .unwrap_or_else(|failure| panic!("{what}, fuse {fuse}: {}", failure.message));
        let found = native(&compiled.exec, &compiled.graph, &given, dims, &one);
        for ((output, found), expected) in graph.outputs.iter().zip(&found).zip(&expected) {
            if let Err(difference) = found.compare(expected, Tolerance::new(2e-5, 1e-5)) {
                panic!("{what}, fuse {fuse}, output {} at {dims:?}: {difference:?}", output.name);
            }
        }
        let again = native(&compiled.exec, &compiled.graph, &given, dims, &two);
        assert!(
            found.iter().zip(&again).all(|(one, two)| one.to_le_bytes() == two.to_le_bytes()),
            "{what}: threads change bits"
        );
    }
}

/// All definitions of a source that can stand alone, at several sizes.
#[track_caller]
pub fn source_agrees(source: &str, sizes: &[&[(&str, i64)]]) {
    let mut session = Session::of_text("test.nn", source, Path::new(env!("CARGO_MANIFEST_DIR")));
    let check = session.check(&Settings::default(), &|entry| matches!(entry, Entry::Def(_)));
    let shown = nnc::diag::render::render(&session.sources, &check.diagnostics, false);
    assert!(check.ok(), "{shown}");
    let mut compared = 0;
    for item in &check.items {
        let (Some(core), false) = (&item.core, item.open) else { continue };
        for sizes in sizes {
            let dims: BTreeMap<DimVar, i64> =
                sizes.iter().map(|(name, size)| (DimVar::new(name), *size)).collect();
            agree(core, Part::Body, &dims, &item.name);
            compared += 1;
        }
    }
    assert!(compared > 0, "nothing was compared");
}

#[test]
fn sums_and_maps_agree() {
    source_agrees(
        "fn rows(x: f32[N, D]) -> f32[N] = sum(x, over: D)
fn columns(x: f32[N, D]) -> f32[D] = sum(x, over: N)
fn whole(x: f32[N, D]) -> f32 = mean(x)
fn extremes(x: f32[N, D]) -> (high: f32[N], low: f32[D]) = (high: max(x, over: D), low: min(x, over: N))
fn where_most(x: f32[N, D]) -> Idx[D][N] = for n => argmax(x[n])
fn scaled(x: f32[N, D], y: f32[D]) -> f32[N, D] = tanh(x * y) + exp(-x) - sigmoid(y)
fn swapped(x: f32[N, D]) -> f32[D, N] = for d, n => x[n, d]",
        &[&[("N", 3), ("D", 5)], &[("N", 1), ("D", 33)], &[("N", 40), ("D", 16)], &[("N", 0), ("D", 2)]],
    );
}

#[test]
fn contractions_agree() {
    source_agrees(
        "fn plain(a: f32[M, K], b: f32[K, N]) -> f32[M, N] = a @ b
fn turned(a: f32[K, M], b: f32[N, K]) -> f32[M, N] = for m, n => sum k => a[k, m] * b[n, k]
fn batched(a: f32[B, M, K], b: f32[B, K, N]) -> f32[B, M, N] = for x, m, n => sum k => a[x, m, k] * b[x, k, n]
fn vector(a: f32[M, K], b: f32[K]) -> f32[M] = a @ b
fn dot(a: f32[K], b: f32[K]) -> f32 = a @ b
fn activated(a: f32[M, K], b: f32[K, N], c: f32[N]) -> f32[M, N] = relu(a @ b + c)",
        &[
            &[("B", 2), ("M", 3), ("N", 5), ("K", 4)],
            &[("B", 1), ("M", 65), ("N", 33), ("K", 70)],
            &[("B", 3), ("M", 1), ("N", 1), ("K", 1)],
            &[("B", 2), ("M", 17), ("N", 64), ("K", 0)],
        ],
    );
}

#[test]
fn attention_and_norms_agree() {
    source_agrees(
        "fn attention(q: f32[T, D], k: f32[T, D], v: f32[T, E]) -> f32[T, E] {
  for t => {
    let a = softmax s where s <= t => (sum d => q[t, d] * k[s, d]) / sqrt(D)
    for e => sum s where s <= t => a[s] * v[s, e]
  }
}
fn normal(x: f32[T, D]) -> f32[T, D] {
  let c = x - for t => for d: D => mean(x[t])
  for t => c[t] / sqrt(mean(c[t] ** 2.0) + 1e-5)
}
fn entropy(x: f32[T, D], y: Idx[D][T]) -> f32[T] = cross_entropy(x, y)",
        &[
            &[("T", 4), ("D", 3), ("E", 2)],
            &[("T", 19), ("D", 16), ("E", 17)],
            &[("T", 1), ("D", 1), ("E", 1)],
        ],
    );
}

#[test]
fn shapes_and_gathers_agree() {
    source_agrees(
        "fn flat(x: f32[N, 3, 4]) -> f32[N, 12] = for n => flatten(x[n])
fn split_heads(x: f32[N, 12]) -> f32[N, 3, 4] = x as f32[N, 3, 4]
fn joined(x: f32[N, D], y: f32[N, E]) -> f32[N, D + E] = concat(x, y)
fn halves(x: f32[N, 2 * E]) -> f32[N, E] { let (a, b) = split(x, 2)
  a - 2 * b }
fn gathered(x: f32[N, D], i: Idx[N][E]) -> f32[E, D] = for e => x[i[e]]
fn scattered(x: f32[E, D], i: Idx[N][E], y: f32[N]) -> f32[N, D] = for n => y[n] * sum e where i[e] == n => x[e]
fn chosen(x: f32[4, D]) -> f32[3, D] = x[[3, 0, 3] as Idx[4]]
fn part(x: f32[N, 7]) -> f32[N, 3] = for n => x[n, 2..5]
fn window(x: f32[10], w: f32[3]) -> f32[8] = for i: 8 => sum j => x[i + j] * w[j]",
        &[&[("N", 3), ("D", 5), ("E", 4)], &[("N", 20), ("D", 1), ("E", 33)], &[("N", 1), ("D", 18), ("E", 1)]],
    );
}

#[test]
fn sorts_agree() {
    source_agrees(
        "fn values(x: f32[N, D]) -> f32[N, R] = sort(x, into: R)
fn columns(x: f32[N, D]) -> f32[R, D] = sort(x, over: N, into: R, descending: true)
fn order(x: f32[N, D]) -> Idx[D][N, R] = argsort(x, into: R)
fn rows(x: f32[N, D], key: f32[N]) -> f32[R, D] = sort(x, by: key, over: N, into: R)
fn inner(x: f32[N, D], key: f32[D]) -> f32[N, R] = sort(x, by: key, into: R)
fn each(x: f32[N, D]) -> f32[N] = for n => { let s = sort(tanh(x[n]))
  sum r => s[r] * (position(r) as f32) }
fn best(x: f32[N, D]) -> (values: f32[N, 1], indices: Idx[D][N, 1]) = top_k(x, 1)
fn apart(x: f32[N, D], y: f32[N, D]) -> f32 = mean((sort(x) - sort(y)) ** 2)
fn turned(x: f32[N, D], y: f32[N, D]) -> (dx: f32[N, D], dy: f32[N, D]) = grad(apart)(x, y)
fn running(x: f32[T, D]) -> f32[T] = scan t (h: f32[D] = 0) {
  h = 0.5 * h + x[t]
  let s = sort(h)
  yield sum r => s[r] * (position(r) as f32)
}",
        &[
            &[("N", 3), ("D", 5), ("T", 2)],
            &[("N", 20), ("D", 1), ("T", 3)],
            &[("N", 1), ("D", 70), ("T", 4)],
            &[("N", 0), ("D", 2), ("T", 0)],
        ],
    );
}

#[test]
fn running_sums_agree() {
    source_agrees(
        "fn until(x: f32[T, D]) -> f32[T, D] = for t, d => sum s where s <= t => x[s, d]
fn before(x: f32[T, D]) -> f32[T, D] = for t => sum s where s < t => x[s]
fn earlier(x: f32[T, D]) -> f32[T, D] = for t, d => sum s where s + 2 <= t => x[s, d] * x[s, d]
fn from(x: f32[T, D]) -> f32[T, D] = for t, d => sum s where s >= t => x[s, d]
fn behind(x: f32[T, D]) -> f32[T, D] = for t, d => sum s where t < s => x[s, d]
fn mixed(x: f32[T, D]) -> f32[T, D] = for t, d => sum s where s <= t => x[s, d] * x[t, d]
fn total(x: f32[T, D]) -> f32 = sum(tanh(until(x)) * before(x) + from(x) * sin(behind(x)))
fn back(x: f32[T, D]) -> f32[T, D] = grad(total)(x)
fn nested(x: f32[T, D]) -> f32[T, D] = scan r (h: f32[D] = 0) {
  let c = for t, d => sum s where s <= t => x[s, d] * h[d]
  h = tanh(c[r] + x[r])
  yield h
}",
        &[&[("T", 5), ("D", 3)], &[("T", 1), ("D", 17)], &[("T", 0), ("D", 2)], &[("T", 40), ("D", 1)]],
    );
}

#[test]
fn recurrences_agree() {
    source_agrees(
        "fn line(x: f32[T]) -> f32[T] = for t => sum s where s <= t => x[s]
fn product(x: f32[T, D]) -> f32[T, D] = for t, d => prod s where s <= t => x[s, d] + 1
fn rest(x: f32[T]) -> f32[T] = for t => prod s where s >= t => x[s]
fn average(x: f32[T, D]) -> f32[T, D] = for t, d => mean s where s <= t => x[s, d]
fn lagged(x: f32[T]) -> f32[T] = for t => mean s where s + 1 <= t => x[s]
fn greatest(x: f32[T, D]) -> f32[T, D] = for t, d => max s where s <= t => x[s, d]
fn gated(x: f32[T, D], f: f32[T, D]) -> (last: f32[D], all: f32[T, D]) {
  let h = scan t (h: f32[D] = 0.5) { h = sigmoid(f[t]) * h + (1 - sigmoid(f[t])) * tanh(x[t])
    yield h }
  (last: scan t (h: f32[D] = 0.5) { h = f[t] * h + x[t] }, all: h)
}
fn swapped(x: f32[T, D]) -> f32[T, D] = scan t (a: f32[D] = 0, b: f32[D] = 1) {
  let c = a + b * x[t]
  a = b
  b = c
  yield a - b
}
fn old(x: f32[T, D]) -> f32[T, D] = scan t (a: f32[D] = 2) { let before = a
  a = x[t]
  yield before }
fn kept(x: f32[T, D], y: f32[D]) -> f32[T, D] = scan reverse t (a: f32[D] = y, b: f32[D] = 0) { b = a * x[t]
  yield b }
fn counted(x: f32[T, D]) -> f32[T, D] = scan t (h: f32[D] = 0) { h = h + x[t] * (position(t) as f32)
  yield h / ((position(t) as f32) + 1) }
fn looked_up(x: f32[N, D], i: Idx[N][T]) -> f32[T, D] = scan t (h: f32[D] = 0) { h = 0.5 * h + x[i[t]]
  yield h }
fn columns(x: f32[D, T]) -> f32[D, T] = for d, t => sum s where s <= t => x[d, s]
fn twice(x: f32[R, T, D]) -> f32[R, D] = scan r (h: f32[D] = 0) {
  h = h + scan t (g: f32[D] = h) { g = 0.5 * g + x[r, t] }
  yield h
}
fn cost(x: f32[T, D], f: f32[T, D]) -> f32 = sum(gated(x, f).all ** 2.0) + sum(product(x)) + sum(swapped(x) * average(f))
fn back(x: f32[T, D], f: f32[T, D]) -> (dx: f32[T, D], df: f32[T, D]) = grad(cost)(x, f)",
        &[
            &[("T", 5), ("D", 3), ("N", 4), ("R", 2)],
            &[("T", 1), ("D", 17), ("N", 1), ("R", 3)],
            &[("T", 0), ("D", 2), ("N", 3), ("R", 1)],
            &[("T", 40), ("D", 1), ("N", 2), ("R", 2)],
            &[("T", 7), ("D", 64), ("N", 5), ("R", 0)],
        ],
    );
}

#[test]
fn literals_agree() {
    source_agrees(
        "fn scores(q: f32[T, D], k: f32[S, D]) -> f32[T, S] = for t, s => sum d => q[t, d] * k[s, d]
model matrix() -> f32[2, 3] = scores([[1.0, 2.0], [0.5, 0.0]], [[3.0, 1.0], [2.0, 2.0], [0.0, 1.0]])
model vector(x: f32[3]) -> f32[3] = x * [1.0, 2.0, 3.0]",
        &[&[("T", 2), ("S", 3), ("D", 2)]],
    );
}

#[test]
fn scans_agree() {
    source_agrees(
        "fn total(x: f32[T, D]) -> f32[D] = scan t (h: f32[D] = 0) { h = h + x[t] }
fn decayed(x: f32[T, D]) -> f32[T, D] = scan t (h: f32[D] = 0) { h = 0.9 * h + x[t]
  yield h }
fn backwards(x: f32[T]) -> f32[T] = scan reverse t (h: f32 = 0) { h = 0.5 * h + x[t]
  yield h }
layer block(D: dim)(x: f32[D]) -> f32[D] = x + tanh(linear(D)(x))
model deep(x: f32[8]) -> f32[8] { x |> stack(5, block(8)) |> linear(8) }
model recurrent(H: dim = 6)(x: f32[T, 3]) -> f32[T, H] {
  param wx: f32[3, H] = zeros
  param wh: f32[H, H] = zeros
  scan t (h: f32[H] = 0) { h = tanh(x[t] @ wx + h @ wh)
    yield h }
}",
        &[&[("T", 5), ("D", 3)], &[("T", 1), ("D", 17)], &[("T", 0), ("D", 2)]],
    );
}

#[test]
fn gradients_agree() {
    source_agrees(
        "fn f(x: f32[N, D], w: f32[D, E]) -> f32 = sum(tanh(x @ w) ** 2.0)
fn first(x: f32[N, D], w: f32[D, E]) -> (dx: f32[N, D], dw: f32[D, E]) = grad(f)(x, w)
fn soft(x: f32[D]) -> f32 = logsumexp(x) * max(x)
fn second(x: f32[D]) -> f32[D] = grad(fn(z) => sum(grad(soft)(z) ** 2.0))(x)
fn recurrence(x: f32[T], a: f32) -> f32 = scan t (h: f32 = 0) { h = tanh(a * h + x[t]) }
fn through(x: f32[T], a: f32) -> (dx: f32[T], da: f32) = grad(recurrence)(x, a)",
        &[&[("N", 4), ("D", 3), ("E", 2), ("T", 6)], &[("N", 17), ("D", 16), ("E", 33), ("T", 1)]],
    );
}

#[test]
fn random_draws_agree() {
    source_agrees(
        "layer noisy(x: f32[N, D]) -> f32[N, D] = x + random.normal(N, D) * random.uniform(D)",
        &[&[("N", 3), ("D", 5)], &[("N", 2), ("D", 40)]],
    );
}

/// The training step, the evaluation and the initial values of a train block, at several numbers of samples.
#[track_caller]
fn step_agrees(source: &str, counts: &[i64]) {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"));
    let mut session = Session::of_text("step.nn", source, folder);
    let check = session.check(&Settings::default(), &|_| true);
    let shown = nnc::diag::render::render(&session.sources, &check.diagnostics, false);
    assert!(check.ok(), "{shown}");
    let plan = check.items.iter().find_map(|item| item.plan.as_ref()).expect("a train block");
    for count in counts {
        let dims = BTreeMap::from([(DimVar::new("B"), *count)]);
        agree(&plan.steps[0].core, Part::Body, &dims, "the training step");
        agree(&plan.evaluate, Part::Body, &dims, "the evaluation");
    }
    agree(&plan.steps[0].core, Part::Init, &BTreeMap::new(), "the initial values");
}

#[test]
fn the_digits_step_agrees() {
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/digits.nn"))
        .expect("the example");
    step_agrees(&source, &[1, 7, 32]);
}

#[test]
fn running_statistics_in_a_stack_agree() {
    step_agrees(
        "layer normal(batch: axis)(x: f32[batch, C]) -> f32[batch, C] {
  state centre: f32[C] = zeros
  state spread: f32[C] = ones
  if training {
    let now = mean(x, over: batch)
    let square = mean((x - now) ** 2, over: batch)
    centre := 0.9 * centre + 0.1 * now
    spread := 0.9 * spread + 0.1 * square
    (x - now) / sqrt(square + 1e-5)
  } else { (x - centre) / sqrt(spread + 1e-5) }
}
layer block(B: axis)(x: f32[B, C]) -> f32[B, C] = x + tanh(x |> linear(C) |> normal(B))
layer twice(B: axis)(x: f32[B, C]) -> f32[B, C] { x |> stack(2, block(B)) |> normal(B) }
model net(x: f32[set B, 8, 8, 1]) -> f32[B, 10] {
  let h = (for b => flatten(x[b])) |> linear(16)
  let same = stack(3, fn(h) => h |> block(B))
  h |> same |> same |> stack(2, twice(B)) |> linear(10)
}
train t {
  data d = npz(\"data/digits.npz\")
  let optim = net()
  loss cross_entropy(optim(d.x), d.y)
  optim adam(1e-3)
}",
        &[2, 7],
    );
}
