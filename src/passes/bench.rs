//! How long it takes to differentiate and rewrite a large graph.

use std::time::Instant;

use super::{PassCx, run};
use crate::autodiff::vjp;
use crate::axes::Dim;
use crate::graph::*;
use crate::ops::ScalarFn;
use crate::tensor::DType::F32;

fn parameter(b: &mut Builder, order: &[Axis]) -> Node {
    let order = order.to_vec();
    b.input(Input { name: "w".into(), role: Role::Param, dtype: F32, order, bound: None })
}

fn dense(b: &mut Builder, x: Node, from: Axis, to: Axis, parameters: &mut Vec<Node>) -> Node {
    let w = parameter(b, &[from, to]);
    let bias = parameter(b, &[to]);
    parameters.extend([w, bias]);
    let product = b.mul(x, w);
    let y = b.sum(product, &[from]);
    b.add(y, bias)
}

fn norm(b: &mut Builder, x: Node, d: Axis) -> Node {
    let size = b.axis_size(d).clone();
    let n = b.size(size, F32);
    let sum = b.sum(x, &[d]);
    let mean = b.div(sum, n);
    let centred = b.sub(x, mean);
    let square = b.mul(centred, centred);
    let sum = b.sum(square, &[d]);
    let variance = b.div(sum, n);
    let root = b.map1(ScalarFn::Sqrt, variance);
    b.div(centred, root)
}

/// The training step of a transformer of twelve layers, unrolled, stays far below the 50 ms that all of a compilation may take.
#[test]
fn twelve_layers_are_differentiated_and_rewritten_in_milliseconds() {
    let start = Instant::now();
    let mut b = Builder::new();
    let (batch, t) = (b.axis("B", Dim::var("B")), b.axis("T", Dim::var("T")));
    let mut d = b.axis("D", 64.into());
    let mut parameters = Vec::new();
    let mut x = parameter(&mut b, &[batch, t, d]);
    for _ in 0..12 {
        let (h, e, s) = (b.axis("h", 4.into()), b.axis("e", 16.into()), b.fresh(t));
        let y = norm(&mut b, x, d);
        let mut heads = Vec::new();
        for _ in 0..3 {
            let o = b.fresh(d);
            let z = dense(&mut b, y, d, o, &mut parameters);
            let merged = Index::axis(h).times(&16.into()).unwrap().plus(&Index::axis(e)).unwrap();
            heads.push(b.view(z, IndexMap::new([(o, merged)], Outside::Never)));
        }
        let key = b.rename(heads[1], &[(t, s)]);
        let value = b.rename(heads[2], &[(t, s)]);
        let product = b.mul(heads[0], key);
        let scores = b.sum(product, &[e]);
        let (here, there) =
            (b.position(t, crate::tensor::DType::I32), b.position(s, crate::tensor::DType::I32));
        let past = b.map2(ScalarFn::Le, there, here);
        let least = b.constant(f64::NEG_INFINITY, F32);
        let scores = b.select(past, scores, least);
        let max = b.reduce(Reducer::Max, scores, &[s]);
        let shifted = b.sub(scores, max);
        let exp = b.map1(ScalarFn::Exp, shifted);
        let sum = b.sum(exp, &[s]);
        let weights = b.div(exp, sum);
        let product = b.mul(weights, value);
        let attended = b.sum(product, &[s]);
        let m = b.fresh(d);
        let split = [(h, Index::axis(m).div(&16.into())), (e, Index::axis(m).rem(&16.into()))];
        let attended = b.view(attended, IndexMap::new(split, Outside::Never));
        let o = b.fresh(d);
        let attended = dense(&mut b, attended, m, o, &mut parameters);
        let x_there = b.rename(x, &[(d, o)]);
        x = b.add(x_there, attended);
        let y = norm(&mut b, x, o);
        let (wide, out) = (b.axis("F", 256.into()), b.fresh(d));
        let hidden = dense(&mut b, y, o, wide, &mut parameters);
        let hidden = b.map1(ScalarFn::Tanh, hidden);
        let y = dense(&mut b, hidden, wide, out, &mut parameters);
        let x_there = b.rename(x, &[(o, out)]);
        x = b.add(x_there, y);
        d = out;
    }
    let square = b.mul(x, x);
    let loss = b.sum(square, &[batch, t, d]);
    let built = start.elapsed();
    let one = b.constant(1.0, F32);
    let gradients = vjp(&mut b, loss, &parameters, one);
    let differentiated = start.elapsed() - built;
    let outputs: Vec<(Output, Node)> = (gradients.iter().enumerate())
        .map(|(k, node)| {
            (Output { name: format!("w{k}").into(), order: b.axes(*node).to_vec(), updates: None }, *node)
        })
        .collect();
    let graph = b.finish(outputs);
    let nodes = graph.regions[graph.root].nodes.len();
    let mut cx = PassCx::default();
    let graph = run(graph, &mut cx).unwrap();
    verify(&graph).unwrap_or_else(|defect| panic!("{defect}"));
    println!("{nodes} nodes: built {built:?}, differentiated {differentiated:?}, {:?}", cx.timings);
    println!("{} nodes in the end", graph.nodes.len());
    // Ten times what it takes on an idle machine.
    assert!(built + differentiated < std::time::Duration::from_millis(200));
}
