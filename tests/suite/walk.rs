//! The walk over everything that computes: each operator of `ops::ALL`, each scalar function, each reducer has samples here, and each sample is
//! taken through all laws. An operator without a sample fails the walk.
//!
//! - The value of every node has the shape and the dtype that its rule says.
//! - Native code, one kernel a node and fused, agrees with the interpreter at sizes 0, 1, odd and larger than a tile: the value, the
//!   gradient, and the derivative of the gradient.
//! - First and second derivatives agree with differences in f64, forward and backward.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;

use nnc::autodiff::{jvps, vjps};
use nnc::axes::{Dim, DimVar};
use nnc::codegen::cranelift;
use nnc::graph::{
    Axis, Builder, Draw, Graph, Index, IndexMap, Input, Node, Output, Outside, Reducer, Role, interpret,
    verify, walk,
};
use nnc::ops::{ALL, OpDef, ScalarFn};
use nnc::passes::{self, PassCx};
use nnc::runtime::{Executable, Pool};
use nnc::session::{Settings, program_of};
use nnc::tensor::DType::{self, BF16, Bool, F16, F32, F64, I32};
use nnc::tensor::{Sorted, Tensor, Tolerance};

use super::agreement::native;

/// What a sample is built in: axes n (of any size), m (3) and k (4), and arguments.
struct Case {
    b: Builder,
    n: Axis,
    m: Axis,
    k: Axis,
    float: DType,
    /// The float arguments: as derivatives of derivatives, and as derivatives see them.
    outer: Vec<Node>,
    inner: Vec<Node>,
}

impl Case {
    fn new(float: DType) -> Case {
        let mut b = Builder::new();
        let (n, m, k) = (b.axis("n", Dim::var("N")), b.axis("m", 3.into()), b.axis("k", 4.into()));
        Case { b, n, m, k, float, outer: Vec::new(), inner: Vec::new() }
    }

    fn input(&mut self, prefix: &str, dtype: DType, order: &[Axis], role: Role, bound: Option<Dim>) -> Node {
        let name = format!("{prefix}{}", self.b.graph().inputs.len()).into();
        self.b.input(Input { name, role, dtype, order: order.to_vec(), bound })
    }

    /// A float argument.
    fn x(&mut self, axes: &[Axis]) -> Node {
        let float = self.float;
        let input = self.input("x", float, axes, Role::Argument, None);
        let outer = self.b.alias(input);
        let inner = self.b.alias(outer);
        self.outer.push(outer);
        self.inner.push(inner);
        inner
    }

    /// Positions on an axis of known size.
    fn positions(&mut self, axes: &[Axis], on: Axis) -> Node {
        let bound = Some(self.b.axis_size(on).clone());
        self.input("i", I32, axes, Role::Argument, bound)
    }

    /// Something that differs from entry to entry, of these axes.
    fn weights(&mut self, axes: &[Axis], phase: f64) -> Node {
        let float = self.float;
        let mut sum = self.b.constant(phase, float);
        for &axis in axes {
            let position = self.b.position(axis, I32);
            let position = self.b.cast(position, float);
            let sine = self.b.map1(ScalarFn::Sin, position);
            sum = self.b.add(sum, sine);
        }
        let sum = self.b.map1(ScalarFn::Cos, sum);
        self.b.fit(sum, axes)
    }

    fn finish(self, values: &[Node]) -> Graph {
        let output = |(index, &node): (usize, &Node)| {
            let order = self.b.axes(node).to_vec();
            (Output { name: format!("y{index}").into(), order, updates: None }, node)
        };
        let outputs: Vec<_> = values.iter().enumerate().map(output).collect();
        self.b.finish(outputs)
    }
}

type Sample = Box<dyn Fn(&mut Case) -> Vec<Node>>;

fn sample(build: impl Fn(&mut Case) -> Vec<Node> + 'static) -> Sample {
    Box::new(build)
}

/// A scalar function of arguments with different axes.
fn mapped(function: ScalarFn) -> Sample {
    sample(move |c| {
        let (x, y) = (c.x(&[c.n, c.m]), c.x(&[c.m]));
        let value = match function {
            ScalarFn::Select => {
                let condition = c.b.map2(ScalarFn::Lt, x, y);
                c.b.select(condition, x, y)
            }
            ScalarFn::Cast(_) => {
                let number = c.b.cast(x, I32);
                let number = c.b.cast(number, c.float);
                c.b.mul(number, x)
            }
            _ if function.def().arity == 1 && function.dtype(&[c.float]).is_ok() => c.b.map1(function, x),
            _ if function.def().arity == 2 && function.dtype(&[c.float, c.float]).is_ok() => {
                c.b.map2(function, x, y)
            }
            // Functions of truth values.
            _ => {
                let (p, q) = (c.b.map2(ScalarFn::Lt, x, y), c.b.map2(ScalarFn::Le, y, x));
                if function.def().arity == 1 { c.b.map1(function, p) } else { c.b.map2(function, p, q) }
            }
        };
        if c.b.dtype(value) == Bool {
            let product = c.b.mul(x, y);
            return vec![value, c.b.select(value, product, y)];
        }
        vec![value]
    })
}

fn reduced(op: Reducer) -> Sample {
    sample(move |c| {
        let (n, m) = (c.n, c.m);
        let (x, y) = (c.x(&[n, m]), c.x(&[m]));
        if matches!(op, Reducer::Any | Reducer::All) {
            let less = c.b.map2(ScalarFn::Lt, x, y);
            let some = c.b.reduce(op, less, &[n]);
            return vec![some, c.b.select(some, y, y)];
        }
        let product = c.b.mul(x, y);
        let over_n = c.b.reduce(op, product, &[n]);
        let over_m = c.b.reduce(op, product, &[m]);
        if matches!(op, Reducer::ArgMax | Reducer::ArgMin) {
            return vec![over_n, over_m];
        }
        // Over nothing some are infinite.
        let over_n = c.b.map1(ScalarFn::Sigmoid, over_n);
        let all = c.b.reduce(op, product, &[n, m]);
        vec![over_n, over_m, c.b.map1(ScalarFn::Sigmoid, all)]
    })
}

fn scattered(op: Reducer) -> Sample {
    sample(move |c| {
        let (n, m, k) = (c.n, c.m, c.k);
        let x = c.x(&[n, m]);
        let (by_row, by_entry) = (c.positions(&[n], k), c.positions(&[n, m], k));
        let squared = c.b.mul(x, x);
        let rows = c.b.scatter(op, squared, by_row, &[n], k);
        let other = c.b.fresh(k);
        let all = c.b.scatter(op, squared, by_entry, &[n, m], other);
        vec![c.b.map1(ScalarFn::Sigmoid, rows), c.b.map1(ScalarFn::Sigmoid, all)]
    })
}

/// The samples of an operator. New operators come here.
fn samples(name: &str) -> Vec<(String, Sample)> {
    let one = |build: Sample| vec![(name.to_owned(), build)];
    match name {
        "input" | "alias" => one(sample(|c| vec![c.x(&[c.n, c.m])])),
        "constant" => one(sample(|c| {
            let (x, two) = (c.x(&[c.n]), c.b.constant(2.5, c.float));
            vec![c.b.mul(x, two), two]
        })),
        "size" => one(sample(|c| {
            let x = c.x(&[c.n]);
            let size = c.b.axis_size(c.n).clone();
            let size = c.b.size(size, c.float);
            vec![c.b.mul(x, size)]
        })),
        "position" => one(sample(|c| {
            let x = c.x(&[c.n, c.m]);
            let position = c.b.position(c.n, I32);
            let as_float = c.b.cast(position, c.float);
            vec![position, c.b.mul(x, as_float)]
        })),
        "map" => ScalarFn::ALL.iter().map(|f| (format!("map {}", f.name()), mapped(*f))).collect(),
        "reduce" => Reducer::ALL
            .iter()
            .map(|op| (format!("reduce {}", op.name()), reduced(*op)))
            .chain([("contraction".to_owned(), sample(contraction)), ("softmax".to_owned(), sample(softmax))])
            .collect(),
        "broadcast" => one(sample(|c| {
            let x = c.x(&[c.m]);
            let squared = c.b.mul(x, x);
            vec![c.b.broadcast(squared, &[c.n])]
        })),
        "view" => one(sample(views)),
        "fold" => one(sample(folds)),
        "gather" => one(sample(|c| {
            let (n, m, k) = (c.n, c.m, c.k);
            let x = c.x(&[n, k]);
            let (shared, plain) = (c.positions(&[n, m], k), c.positions(&[m], k));
            let squared = c.b.mul(x, x);
            vec![c.b.gather(squared, k, shared), c.b.gather(squared, k, plain)]
        })),
        "scatter" => [Reducer::Sum, Reducer::Prod, Reducer::Max, Reducer::Min]
            .iter()
            .map(|op| (format!("scatter {}", op.name()), scattered(*op)))
            .collect(),
        "sort" => one(sample(sorts)),
        "random" => one(sample(|c| {
            let x = c.x(&[c.n]);
            let (seed, step) = (
                c.input("seed", DType::I64, &[], Role::Seed, None),
                c.input("step", DType::I64, &[], Role::Step, None),
            );
            let uniform = c.b.random(Draw::Uniform, 3, &[c.n, c.m], seed, step, c.float);
            let normal = c.b.random(Draw::Normal, 5, &[c.m, c.n], seed, step, c.float);
            vec![c.b.mul(x, uniform), c.b.mul(x, normal)]
        })),
        "scan" | "carry" | "project" => {
            vec![
                (format!("{name} forward"), recurrence(false)),
                (format!("{name} reverse"), recurrence(true)),
            ]
        }
        // The passes make it: see `fused_groups_are_made`.
        "fused" => one(sample(softmax)),
        "stop_gradient" => one(sample(|c| {
            let x = c.x(&[c.n]);
            let sine = c.b.map1(ScalarFn::Sin, x);
            vec![c.b.stop_gradient(sine)]
        })),
        "custom" => one(sample(|c| {
            // x² with its derivative as the program would say it.
            let x = c.x(&[c.n]);
            let square = c.b.mul(x, x);
            let float = c.float;
            let cotangent = c.b.constant(0.0, float);
            let cotangent = c.b.fit(cotangent, &[c.n]);
            let cotangent = c.b.alias(cotangent);
            let two = c.b.constant(2.0, float);
            let pulled = c.b.mul(cotangent, x);
            let pulled = c.b.mul(pulled, two);
            let y = c.b.custom(square, cotangent, &[x], &[pulled]);
            vec![c.b.map1(ScalarFn::Sin, y)]
        })),
        _ => Vec::new(),
    }
}

fn contraction(c: &mut Case) -> Vec<Node> {
    let (n, m, k) = (c.n, c.m, c.k);
    let (x, y) = (c.x(&[n, m]), c.x(&[m, k]));
    let product = c.b.mul(x, y);
    let product = c.b.sum(product, &[m]);
    let other = c.b.fresh(n);
    let turned = c.b.rename(x, &[(n, other)]);
    let gram = c.b.mul(x, turned);
    let gram = c.b.sum(gram, &[m]);
    let long = c.b.mul(x, product);
    vec![product, gram, c.b.sum(long, &[n])]
}

fn softmax(c: &mut Case) -> Vec<Node> {
    let (n, m) = (c.n, c.m);
    let x = c.x(&[n, m]);
    let max = c.b.reduce(Reducer::Max, x, &[n]);
    let shifted = c.b.sub(x, max);
    let e = c.b.map1(ScalarFn::Exp, shifted);
    let sum = c.b.sum(e, &[n]);
    vec![c.b.div(e, sum)]
}

fn views(c: &mut Case) -> Vec<Node> {
    let (n, m, k) = (c.n, c.m, c.k);
    let x = c.x(&[n, m]);
    let x = c.b.mul(x, x);
    let index = |terms: &[(i64, Axis)], constant: i64| {
        let terms = terms.iter().map(|(factor, axis)| (Dim::from(*factor), Index::axis(*axis)));
        Index::sum(terms.chain([(Dim::from(1), Index::constant(constant))])).expect("an index")
    };
    // A convolution's windows with a stride, a shift, a diagonal, rows repeated.
    let windows = c.b.view(x, IndexMap::new([(n, index(&[(2, k), (1, m)], -1))], Outside::Zero));
    let later = c.b.fresh(n);
    let shifted = c.b.view(x, IndexMap::new([(n, index(&[(1, later)], -2))], Outside::Zero));
    let size = c.b.axis_size(n).clone();
    let twice = c.b.axis("twice", size.mul(&2.into()).expect("a size"));
    let repeated = c.b.view(x, IndexMap::new([(n, Index::axis(twice).div(&2.into()))], Outside::Never));
    let turning = c.b.view(x, IndexMap::new([(n, Index::axis(twice).rem(&size))], Outside::Never));
    vec![windows, shifted, repeated, turning]
}

fn folds(c: &mut Case) -> Vec<Node> {
    let (n, m, k) = (c.n, c.m, c.k);
    let x = c.x(&[n, m]);
    let x = c.b.mul(x, x);
    let index = Index::axis(n).plus(&Index::axis(m)).and_then(|sum| sum.minus(&Index::constant(1)));
    let into = c.b.fresh(k);
    let sums = c.b.fold(x, IndexMap::new([(into, index.expect("an index"))], Outside::Zero));
    let halves = c.b.axis("half", 2.into());
    let folded = c.b.fold(x, IndexMap::new([(halves, Index::axis(m).rem(&2.into()))], Outside::Never));
    vec![sums, folded]
}

fn sorts(c: &mut Case) -> Vec<Node> {
    let (n, m) = (c.n, c.m);
    let x = c.x(&[n, m]);
    let (into, over) = (c.b.fresh(n), c.b.fresh(m));
    let values = c.b.sort(Sorted::Values, x, n, into, false);
    let descending = c.b.sort(Sorted::Values, x, m, over, true);
    let order = c.b.sort(Sorted::Order, x, n, into, true);
    let rank = c.b.sort(Sorted::Rank, x, n, into, false);
    let weights = c.weights(&[into], 0.3);
    let weighted = c.b.mul(values, weights);
    let weighted = c.b.mul(weighted, values);
    vec![weighted, c.b.map1(ScalarFn::Sin, descending), order, rank]
}

/// h = tanh(h w + x[n]), and a count beside it.
fn recurrence(reverse: bool) -> Sample {
    sample(move |c| {
        let (n, m) = (c.n, c.m);
        let (x, first, w) = (c.x(&[n, m]), c.x(&[m]), c.x(&[m]));
        let zero = c.b.constant(0.0, c.float);
        let carries = c.b.begin_scan(n, &[first, zero]);
        let product = c.b.mul(carries[0], w);
        let sum = c.b.add(product, x);
        let next = c.b.map1(ScalarFn::Tanh, sum);
        let total = c.b.sum(next, &[m]);
        let count = c.b.add(carries[1], total);
        let yielded = c.b.mul(next, carries[1]);
        let scan = c.b.end_scan(reverse, &[first, zero], &[next, count], &[yielded]);
        vec![scan.carries[0], scan.carries[1], scan.yields[0]]
    })
}

/// What of a sample is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Of {
    Value,
    /// Along the directions cos(x).
    Forward,
    /// For fixed cotangents.
    Gradient,
}

/// The sample's float values, or their derivatives by its arguments.
fn derived(case: &mut Case, sample: &Sample, of: Of, outer: bool) -> Vec<Node> {
    let values = sample(case);
    let floats: Vec<Node> = values.iter().copied().filter(|y| case.b.dtype(*y).is_float()).collect();
    let x = if outer { case.outer.clone() } else { case.inner.clone() };
    match of {
        Of::Value => values,
        Of::Forward => {
            let directions: Vec<Node> = x.iter().map(|x| case.b.map1(ScalarFn::Cos, *x)).collect();
            jvps(&mut case.b, &floats, &x, &directions)
        }
        Of::Gradient => {
            let mut pairs = Vec::new();
            for (index, y) in floats.into_iter().enumerate() {
                let axes = case.b.axes(y).to_vec();
                pairs.push((y, case.weights(&axes, 0.2 + index as f64)));
            }
            vjps(&mut case.b, &pairs, &x)
        }
    }
}

/// Numbers without pattern between 0.3 and 1.7, no two of them close to each other; positions in range.
fn given(graph: &Graph, dims: &BTreeMap<DimVar, i64>) -> Vec<Tensor> {
    let entry = |seed: usize, n: usize| 0.3 + 1.4 * ((seed * 311 + n + 1) as f64 * 0.618_033_988_75).fract();
    let inputs = graph.inputs.iter().enumerate().map(|(index, input)| {
        let shape = sizes(graph, &input.order, dims);
        let count = shape.iter().product();
        let value = |n: usize| match (&input.bound, input.role) {
            (Some(bound), _) => {
                (n * 7 + index * 3 + n / 3) as f64 % bound.eval(dims).expect("a bound") as f64
            }
            (None, Role::Argument) => entry(index, n),
            (None, _) => 7.0,
        };
        let values: Vec<f64> = (0..count).map(value).collect();
        Tensor::from_vec(&shape, values).expect("as many as entries").cast(input.dtype)
    });
    inputs.collect()
}

fn sizes(graph: &Graph, order: &[Axis], dims: &BTreeMap<DimVar, i64>) -> Vec<usize> {
    order.iter().map(|&axis| graph.axes[axis].size.eval(dims).expect("a size") as usize).collect()
}

fn evaluate(what: &str, graph: &Graph, inputs: &[Tensor], dims: &BTreeMap<DimVar, i64>) -> Vec<Tensor> {
    let dims: HashMap<DimVar, i64> = dims.iter().map(|(var, size)| (var.clone(), *size)).collect();
    interpret(graph, inputs, &dims).unwrap_or_else(|error| panic!("{what}: {error}\n{graph}"))
}

fn dims(n: i64) -> BTreeMap<DimVar, i64> {
    BTreeMap::from([(DimVar::new("N"), n)])
}

const SIZES: [i64; 4] = [0, 1, 7, 67];

/// Every node's value has the axes and the dtype that the node says.
fn shapes_hold(what: &str, sample: &Sample) {
    let mut case = Case::new(F32);
    derived(&mut case, sample, Of::Value, false);
    let nodes = case.b.graph().regions[case.b.region()].nodes.clone();
    let values: Vec<Node> = nodes.into_iter().filter(|node| !case.b.op(*node).is_tuple()).collect();
    let graph = case.finish(&values);
    verify(&graph).unwrap_or_else(|defect| panic!("{what}: {defect}\n{graph}"));
    for n in SIZES {
        let dims = dims(n);
        let found = evaluate(what, &graph, &given(&graph, &dims), &dims);
        for (node, tensor) in values.iter().zip(&found) {
            let data = &graph.nodes[*node];
            assert_eq!(tensor.shape(), sizes(&graph, &data.axes, &dims), "{what}: {node:?} at {n}\n{graph}");
            assert_eq!(tensor.dtype(), data.dtype, "{what}: {node:?}\n{graph}");
        }
    }
}

/// Machine code, plain and fused, at all sizes.
fn executions_agree(what: &str, graph: &Graph, pool: &Pool) {
    executions_agree_within(what, graph, pool, Tolerance::new(1e-4, 3e-5));
}

fn executions_agree_within(what: &str, graph: &Graph, pool: &Pool, tolerance: Tolerance) {
    for plain in [true, false] {
        let mut cx = PassCx { verify: true, plain, ..PassCx::default() };
        let after =
            passes::run(graph.clone(), &mut cx).unwrap_or_else(|broken| panic!("{what}: {broken}\n{graph}"));
        let settings = Settings { verify: true, ..Settings::default() };
        let program = program_of(&after, &settings, &mut Default::default())
            .unwrap_or_else(|failure| panic!("{what}: {}\n{after}", failure.message));
        let code = cranelift::compile(&program, cranelift::Options::default())
            .unwrap_or_else(|error| panic!("{what}: {error}\n{program}"));
        let exec = Executable::new(program, code);
        for n in SIZES {
            let dims = dims(n);
            let inputs = given(graph, &dims);
            let expected = evaluate(what, graph, &inputs, &dims);
            let found = native(&exec, &after, &inputs, &dims, pool);
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                if let Err(difference) = found.compare(expected, tolerance) {
                    panic!("{what}, plain {plain}, output {index} at {n}: {difference:?}\n{after}");
                }
            }
        }
    }
}

fn graph_of(sample: &Sample, of: Of, float: DType) -> Graph {
    let mut case = Case::new(float);
    let values = derived(&mut case, sample, of, true);
    case.finish(&values)
}

/// The function whose values are a derivative of the sample's.
fn derivative_of(
    sample: fn(&str) -> Vec<(String, Sample)>,
    name: &'static str,
    index: usize,
    of: Of,
) -> Sample {
    Box::new(move |case| derived(case, &sample(name)[index].1, of, false))
}

/// Forward derivatives against differences, backward against forward ones, in f64.
fn differences_agree(what: &str, sample: &Sample) {
    let mut case = Case::new(F64);
    let values = derived(&mut case, sample, Of::Value, true);
    let floats: Vec<Node> = values.into_iter().filter(|y| case.b.dtype(*y).is_float()).collect();
    let plain = case.finish(&floats);
    let forward = graph_of(sample, Of::Forward, F64);
    let backward = graph_of(sample, Of::Gradient, F64);
    let dims = dims(5);
    let points = given(&plain, &dims);
    let at = |step: f64| -> Vec<f64> {
        let moved = plain.inputs.iter().zip(&points).map(|(input, point)| {
            if input.role != Role::Argument || input.bound.is_some() {
                return point.clone();
            }
            let values = point.numbers().map(|x| x.as_f64() + step * x.as_f64().cos()).collect();
            Tensor::from_vec(point.shape(), values).expect("as many")
        });
        entries(&evaluate(what, &plain, &moved.collect::<Vec<_>>(), &dims))
    };
    let step = 1e-4;
    let [a, b, c, d] = [-2.0, -1.0, 1.0, 2.0].map(|n| at(n * step));
    let expected: Vec<f64> =
        (0..a.len()).map(|n| (a[n] - 8.0 * b[n] + 8.0 * c[n] - d[n]) / (12.0 * step)).collect();
    let tangents = entries(&evaluate(what, &forward, &given(&forward, &dims), &dims));
    let close = |x: f64, y: f64| (x - y).abs() <= 1e-6 * (1.0 + x.abs().max(y.abs()));
    assert_eq!(tangents.len(), expected.len(), "{what}");
    for (found, expected) in tangents.iter().zip(&expected) {
        assert!(close(*found, *expected), "{what}, forward: {found}, not {expected}\n{forward}");
    }
    // Σ cotangent · tangent = Σ gradient · direction.
    let mut case = Case::new(F64);
    let mut pairs = Vec::new();
    for (index, y) in derived(&mut case, sample, Of::Forward, true).into_iter().enumerate() {
        let axes = case.b.axes(y).to_vec();
        let weights = case.weights(&axes, 0.2 + index as f64);
        let product = case.b.mul(y, weights);
        pairs.push(case.b.sum(product, &axes));
    }
    let left = case.finish(&pairs);
    let left: f64 = entries(&evaluate(what, &left, &given(&left, &dims), &dims)).iter().sum();
    let gradients = evaluate(what, &backward, &given(&backward, &dims), &dims);
    let arguments = plain
        .inputs
        .iter()
        .zip(&points)
        .filter(|(input, _)| input.role == Role::Argument && input.bound.is_none());
    let right: f64 = arguments
        .zip(&gradients)
        .flat_map(|((_, point), gradient)| point.numbers().zip(gradient.numbers()).collect::<Vec<_>>())
        .map(|(x, g)| x.as_f64().cos() * g.as_f64())
        .sum();
    assert!(close(left, right), "{what}, backward: {right}, not {left}\n{backward}");
}

fn entries(tensors: &[Tensor]) -> Vec<f64> {
    tensors.iter().flat_map(|tensor| tensor.numbers().map(|x| x.as_f64()).collect::<Vec<_>>()).collect()
}

/// Operators through which no derivative passes, or whose derivative is not that of their value.
fn has_differences(name: &str) -> bool {
    // What is stopped has a value that changes; a group is made behind derivatives.
    !matches!(name, "stop_gradient" | "fused")
}

#[test]
fn every_operator() {
    let pool = Pool::new(1).expect("a pool");
    let mut failed = Vec::new();
    for def in ALL {
        let cases = samples(def.name);
        assert!(!cases.is_empty(), "the operator `{}` has no sample in the walk", def.name);
        for (index, (what, sample)) in cases.iter().enumerate() {
            let walked =
                std::panic::catch_unwind(AssertUnwindSafe(|| walk_through(def, index, what, sample, &pool)));
            if walked.is_err() {
                failed.push(what.clone());
            }
        }
    }
    assert!(failed.is_empty(), "the walk stumbles at {failed:?}");
}

fn walk_through(def: &'static OpDef, index: usize, what: &str, sample: &Sample, pool: &Pool) {
    let graph = graph_of(sample, Of::Value, F32);
    let used = walk::all_nodes(&graph, graph.root);
    let found = used.iter().any(|node| std::ptr::eq(graph.nodes[*node].op.def(), def));
    assert!(found || def.name == "fused", "{what} does not use its operator\n{graph}");
    shapes_hold(what, sample);
    executions_agree(what, &graph, pool);
    executions_agree(&format!("{what}, gradient"), &graph_of(sample, Of::Gradient, F32), pool);
    let gradient = derivative_of(samples, def.name, index, Of::Gradient);
    if has_differences(def.name) {
        differences_agree(what, sample);
        differences_agree(&format!("{what}, gradient"), &gradient);
        let forward = derivative_of(samples, def.name, index, Of::Forward);
        differences_agree(&format!("{what}, forward"), &forward);
    }
    let second = graph_of(&gradient, Of::Forward, F32);
    executions_agree(&format!("{what}, derivative of the gradient"), &second, pool);
}

/// What is stored in 16 bits has the same bits in the interpreter, in plain and in fused code: each operator's value is rounded once,
/// whether it is stored or not; so have its derivatives.
#[test]
fn sixteen_bits_round_alike() {
    let pool = Pool::new(1).expect("a pool");
    for dtype in [BF16, F16] {
        let build = sample(move |c: &mut Case| {
            let (n, m, k) = (c.n, c.m, c.k);
            let (x, y) = (c.x(&[n, m]), c.x(&[m]));
            let places = c.positions(&[n], k);
            let product = c.b.mul(x, y);
            let quotient = c.b.div(product, x);
            let root = c.b.map1(ScalarFn::Sqrt, x);
            let chain = c.b.sub(root, quotient);
            let less = c.b.map2(ScalarFn::Lt, x, y);
            let chosen = c.b.select(less, chain, product);
            let index = Index::axis(c.b.fresh(n)).minus(&Index::constant(2)).expect("an index");
            let shifted = c.b.view(chosen, IndexMap::new([(n, index)], Outside::Zero));
            let greatest = c.b.reduce(Reducer::Max, product, &[n]);
            let greatest = c.b.map1(ScalarFn::Floor, greatest);
            let rows = c.b.scatter(Reducer::Max, product, places, &[n], k);
            let into = c.b.fresh(n);
            let sorted = c.b.sort(Sorted::Values, product, n, into, false);
            let total = c.b.sum(chain, &[m]);
            let whole = c.b.cast(chain, F32);
            vec![chain, shifted, greatest, rows, sorted, total, whole]
        });
        for of in [Of::Value, Of::Forward, Of::Gradient] {
            let mut case = Case::new(dtype);
            let values = derived(&mut case, &build, of, true);
            let tolerance = match of {
                Of::Value => Tolerance::new(0.0, 0.0),
                // A unit of 16 bits: sines of the directions are not rounded alike.
                _ => Tolerance::new(if dtype == BF16 { 8e-3 } else { 1e-3 }, 1e-3),
            };
            executions_agree_within(&format!("{dtype}, {of:?}"), &case.finish(&values), &pool, tolerance);
        }
    }
}

/// Nothing but the passes makes groups; with them there are some.
#[test]
fn fused_groups_are_made() {
    let graph = graph_of(&sample(softmax), Of::Value, F32);
    let after = passes::run(graph, &mut PassCx::default()).expect("sound");
    let groups = after.nodes.values().filter(|node| node.op.def().name == "fused").count();
    assert!(groups > 0, "{after}");
}
