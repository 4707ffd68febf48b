//! Known programs: that they agree, and how many kernels they take.

use super::{agree, fused, program};
use crate::axes::Dim;
use crate::graph::tests::argument;
use crate::graph::{Axis, Builder, Graph, Index, IndexMap, Node, Output, Outside, Reducer};
use crate::kernel::{Program, Step, Stmt};
use crate::ops::ScalarFn;
use crate::tensor::DType::{F32, I32};

fn finish(b: Builder, results: &[(&str, Node, &[Axis])]) -> Graph {
    let outputs = results.iter().map(|(name, node, order)| {
        (Output { name: (*name).into(), order: order.to_vec(), updates: None }, *node)
    });
    b.finish(outputs)
}

fn runs(program: &Program) -> usize {
    program.steps.iter().filter(|step| matches!(step, Step::Run { .. })).count()
}

/// Rows, and a static axis.
fn rows(b: &mut Builder, n: i64) -> (Axis, Axis) {
    (b.axis("b", Dim::var("B")), b.axis("n", Dim::constant(n)))
}

fn softmax(b: &mut Builder, x: Node, n: Axis) -> Node {
    let m = b.reduce(Reducer::Max, x, &[n]);
    let d = b.sub(x, m);
    let e = b.map1(ScalarFn::Exp, d);
    let s = b.sum(e, &[n]);
    b.div(e, s)
}

fn check(graph: &Graph, kernels: usize) {
    for size in [0, 1, 5, 18] {
        agree(graph, &[("B", size)], 7);
    }
    let program = program(&fused(graph));
    assert_eq!(runs(&program), kernels, "{program}");
}

/// Inside of the loop over h, a sum reads the first entry of y[b, h, n] alone: that does not store y.
#[test]
fn one_entry_of_a_row_is_not_the_row() {
    let mut b = Builder::new();
    let (r, n) = rows(&mut b, 15);
    let h = b.axis("h", Dim::constant(4));
    let k = b.axis("k", Dim::constant(4));
    let x = argument(&mut b, "x", &[r, h, n], F32);
    let w = argument(&mut b, "w", &[r, h, n], F32);
    let y = b.sub(x, w);
    let square = b.mul(y, y);
    let first = b.view(square, IndexMap::new([(n, Index::constant(0))], Outside::Never));
    let behind = Index::axis(k).plus(&Index::constant(1)).unwrap();
    let next = b.view(square, IndexMap::new([(n, behind)], Outside::Never));
    let next = b.sum(next, &[k]);
    let both = b.add(next, first);
    let total = b.sum(both, &[h]);
    check(&finish(b, &[("total", total, &[r]), ("y", y, &[r, h, n])]), 1);
}

/// h' = tanh(u[t]ᵀ h) for a layer of weights after another, which have to be turned.
pub fn layers(count: i64, width: i64) -> Graph {
    let mut b = Builder::new();
    let batch = b.axis("B", Dim::var("B"));
    let [t, place, h] =
        [("t", count), ("p", 3), ("h", width)].map(|(name, size)| b.axis(name, Dim::constant(size)));
    let from = b.fresh(h);
    let first = argument(&mut b, "first", &[batch, place, h], F32);
    let u = argument(&mut b, "u", &[t, h, from], F32);
    let carries = b.begin_scan(t, &[first]);
    let old = b.rename(carries[0], &[(h, from)]);
    let product = b.mul(old, u);
    let z = b.sum(product, &[from]);
    let next = b.map1(ScalarFn::Tanh, z);
    let scan = b.end_scan(false, &[first], &[next], &[]);
    finish(b, &[("y", scan.carries[0], &[batch, place, h])])
}

#[test]
fn layers_agree() {
    for size in [0, 1, 5] {
        agree(&layers(3, 16), &[("B", size)], 3);
    }
}

#[test]
fn softmax_is_one_kernel() {
    let mut b = Builder::new();
    let (r, n) = rows(&mut b, 21);
    let x = argument(&mut b, "x", &[r, n], F32);
    let y = softmax(&mut b, x, n);
    check(&finish(b, &[("y", y, &[r, n])]), 1);
}

#[test]
fn layer_norm_is_one_kernel() {
    let mut b = Builder::new();
    let (r, n) = rows(&mut b, 33);
    let x = argument(&mut b, "x", &[r, n], F32);
    let scale = argument(&mut b, "scale", &[n], F32);
    let count = b.size(Dim::constant(33), F32);
    let sum = b.sum(x, &[n]);
    let mean = b.div(sum, count);
    let d = b.sub(x, mean);
    let square = b.mul(d, d);
    let sum = b.sum(square, &[n]);
    let variance = b.div(sum, count);
    let epsilon = b.constant(1e-5, F32);
    let shifted = b.add(variance, epsilon);
    let deviation = b.map1(ScalarFn::Sqrt, shifted);
    let normal = b.div(d, deviation);
    let y = b.mul(normal, scale);
    check(&finish(b, &[("y", y, &[r, n])]), 1);
}

#[test]
fn cross_entropy_with_its_gradient_is_one_kernel() {
    let mut b = Builder::new();
    let (r, n) = rows(&mut b, 10);
    let x = argument(&mut b, "x", &[r, n], F32);
    let label = b.input(crate::graph::Input {
        name: "label".into(),
        role: crate::graph::Role::Argument,
        dtype: I32,
        order: vec![r],
        bound: Some(Dim::constant(10)),
    });
    let m = b.reduce(Reducer::Max, x, &[n]);
    let d = b.sub(x, m);
    let e = b.map1(ScalarFn::Exp, d);
    let s = b.sum(e, &[n]);
    let log = b.map1(ScalarFn::Log, s);
    let picked = b.gather(x, n, label);
    let shifted = b.sub(picked, m);
    let loss = b.sub(log, shifted);
    let p = b.div(e, s);
    let position = b.position(n, I32);
    let hit = b.map2(ScalarFn::Eq, position, label);
    let (one, zero) = (b.constant(1.0, F32), b.constant(0.0, F32));
    let target = b.select(hit, one, zero);
    let gradient = b.sub(p, target);
    check(&finish(b, &[("loss", loss, &[r]), ("gradient", gradient, &[r, n])]), 1);
}

#[test]
fn a_dense_layer_with_bias_and_relu_is_one_kernel() {
    let mut b = Builder::new();
    let (r, i) = rows(&mut b, 12);
    let o = b.axis("o", Dim::constant(9));
    let x = argument(&mut b, "x", &[r, i], F32);
    let w = argument(&mut b, "w", &[i, o], F32);
    let bias = argument(&mut b, "bias", &[o], F32);
    let product = b.mul(x, w);
    let y = b.sum(product, &[i]);
    let y = b.add(y, bias);
    let zero = b.constant(0.0, F32);
    let y = b.map2(ScalarFn::Max, y, zero);
    let graph = finish(b, &[("y", y, &[r, o])]);
    check(&graph, 1);
    let program = program(&fused(&graph));
    let contracts = |stmts: &[Stmt]| {
        stmts.iter().any(|stmt| matches!(stmt, Stmt::Contract(c) if c.relu && c.bias.is_some()))
    };
    assert!(contracts(&program.kernels.values().next().unwrap().body), "{program}");
}

#[test]
fn contractions_of_any_layout() {
    // Each operand's order, and the result's.
    for orders in 0..8 {
        let mut b = Builder::new();
        let (m, k) = rows(&mut b, 6);
        let n = b.axis("n", Dim::constant(19));
        let swap = |bit: usize, a: Axis, c: Axis| if orders >> bit & 1 == 0 { [a, c] } else { [c, a] };
        let x = argument(&mut b, "x", &swap(0, m, k), F32);
        let w = argument(&mut b, "w", &swap(1, k, n), F32);
        let product = b.mul(x, w);
        let y = b.sum(product, &[k]);
        // Whatever lies transposed is read so.
        check(&finish(b, &[("y", y, &swap(2, m, n))]), 1);
    }
}

#[test]
fn an_adam_update_is_one_kernel_and_in_place() {
    let mut b = Builder::new();
    let (i, o) = (b.axis("i", Dim::constant(9)), b.axis("o", Dim::constant(7)));
    let [w, m, g] = ["w", "m", "g"].map(|name| argument(&mut b, name, &[i, o], F32));
    let rate = b.constant(0.1, F32);
    let decay = b.constant(0.9, F32);
    let old = b.mul(m, decay);
    let new = b.mul(g, rate);
    let m2 = b.add(old, new);
    let root = b.map1(ScalarFn::Tanh, m2);
    let step = b.mul(root, rate);
    let w2 = b.sub(w, step);
    let update = |name: &str, input| Output { name: name.into(), order: vec![i, o], updates: Some(input) };
    let graph = b.finish([(update("w", 0), w2), (update("m", 1), m2)]);
    check(&graph, 1);
    assert_eq!(program(&fused(&graph)).steps.len(), 1);
}

/// A training step of a perceptron by Adam; `widths` are those of the input, the hidden layers and the classes.
pub fn perceptron(widths: &[i64]) -> Graph {
    let mut b = Builder::new();
    let batch = b.axis("B", Dim::var("B"));
    let axes: Vec<Axis> =
        widths.iter().enumerate().map(|(k, width)| b.axis(format!("l{k}"), Dim::constant(*width))).collect();
    let (i, c) = (axes[0], *axes.last().unwrap());
    let x = argument(&mut b, "x", &[batch, i], F32);
    let target = argument(&mut b, "target", &[batch, c], F32);
    let orders: Vec<Vec<Axis>> = axes.windows(2).flat_map(|pair| [pair.to_vec(), vec![pair[1]]]).collect();
    let count = orders.len();
    let mut state = |name: &str| -> Vec<Node> {
        orders
            .iter()
            .enumerate()
            .map(|(k, order)| argument(&mut b, &format!("{name}{k}"), order, F32))
            .collect()
    };
    let (params, first, second) = (state("p"), state("m"), state("v"));
    let wrt: Vec<Node> = params.iter().map(|p| b.alias(*p)).collect();
    let zero = b.constant(0.0, F32);
    let mut y = x;
    for (k, layer) in wrt.chunks(2).enumerate() {
        let product = b.mul(y, layer[0]);
        let z = b.sum(product, &[axes[k]]);
        y = b.add(z, layer[1]);
        if k + 2 < axes.len() {
            y = b.map2(ScalarFn::Max, y, zero);
        }
    }
    let p = softmax(&mut b, y, c);
    let log = b.map1(ScalarFn::Log, p);
    let gain = b.mul(log, target);
    let gain = b.sum(gain, &[c]);
    let loss = b.neg(gain);
    let total = b.sum(loss, &[batch]);
    let one = b.constant(1.0, F32);
    let gradients = crate::autodiff::vjp(&mut b, total, &wrt, one);
    let mut results = vec![(Output { name: "loss".into(), order: vec![], updates: None }, total)];
    let numbers = [0.9, 0.1, 0.999, 0.001, 1e-8, 1e-3].map(|x| b.constant(x, F32));
    for (k, g) in gradients.into_iter().enumerate() {
        let mix = |b: &mut Builder, old: Node, new: Node, keep: Node, add: Node| {
            let old = b.mul(old, keep);
            let new = b.mul(new, add);
            b.add(old, new)
        };
        let m = mix(&mut b, first[k], g, numbers[0], numbers[1]);
        let square = b.mul(g, g);
        let v = mix(&mut b, second[k], square, numbers[2], numbers[3]);
        let root = b.map1(ScalarFn::Sqrt, v);
        let root = b.add(root, numbers[4]);
        let step = b.div(m, root);
        let step = b.mul(step, numbers[5]);
        let w = b.sub(params[k], step);
        for (kind, (at, node)) in [(2, w), (2 + count, m), (2 + 2 * count, v)].into_iter().enumerate() {
            let name = format!("{}{k}", ["p", "m", "v"][kind]).into();
            results.push((Output { name, order: orders[k].clone(), updates: Some(at + k) }, node));
        }
    }
    b.finish(results)
}

#[test]
fn a_training_step_agrees() {
    let graph = perceptron(&[13, 18, 5]);
    agree(&graph, &[("B", 7)], 3);
    let fused = fused(&graph);
    let program = program(&fused);
    println!("{fused}\n{program}");
    assert!(runs(&program) <= 16, "{program}");
    assert!(!program.steps.iter().any(|step| matches!(step, Step::Copy { .. })), "{program}");
}

/// A chain that a frame of zeros reads elsewhere is too dear to be made again at each place: it is one kernel, the frame another.
#[test]
fn a_chain_before_a_frame_is_one_kernel() {
    let mut b = Builder::new();
    let [n, c, m] = [("n", 40), ("c", 3), ("m", 42)].map(|(name, size)| b.axis(name, Dim::constant(size)));
    let x = argument(&mut b, "x", &[n, c], F32);
    let [mean, deviation, scale, shift] =
        ["mean", "deviation", "scale", "shift"].map(|name| argument(&mut b, name, &[c], F32));
    let y = b.map2(ScalarFn::Sub, x, mean);
    let y = b.div(y, deviation);
    let y = b.mul(y, scale);
    let y = b.add(y, shift);
    let zero = b.constant(0.0, F32);
    let y = b.map2(ScalarFn::Max, y, zero);
    let before = Index::axis(m).plus(&Index::constant(-1)).unwrap();
    let framed = b.view(y, IndexMap::new([(n, before)], Outside::Zero));
    let weight = argument(&mut b, "weight", &[m], F32);
    let z = b.mul(framed, weight);
    let graph = b.finish(vec![(Output { name: "z".into(), order: vec![m, c], updates: None }, z)]);
    agree(&graph, &[], 3);
    let program = program(&fused(&graph));
    assert_eq!(program.kernels.len(), 2, "{program}");
}
