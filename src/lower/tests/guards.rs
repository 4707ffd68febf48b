//! Sums of products under a guard are contractions, with the same numbers.

use super::{agree, fused, with_gradients};
use crate::axes::Dim;
use crate::graph::tests::argument;
use crate::graph::{Builder, Graph, Node, Op};
use crate::ops::ScalarFn;
use crate::tensor::DType::{F32, I32};

/// Causal attention without its softmax, and the derivatives by all operands.
fn attention() -> Graph {
    let mut b = Builder::new();
    let batch = b.axis("B", Dim::var("B"));
    let [t, e] = [("t", 6), ("e", 4)].map(|(name, size)| b.axis(name, Dim::constant(size)));
    let (s, f) = (b.fresh(t), b.fresh(e));
    let q = argument(&mut b, "q", &[batch, t, e], F32);
    let k = argument(&mut b, "k", &[batch, s, e], F32);
    let v = argument(&mut b, "v", &[batch, s, f], F32);
    let given = [q, k, v].map(|x| b.alias(x));
    let (here, there) = (b.position(t, I32), b.position(s, I32));
    let past = b.map2(ScalarFn::Le, there, here);
    let zero = b.constant(0.0, F32);
    let product = b.mul(given[0], given[1]);
    let product = b.select(past, product, zero);
    let scores = b.sum(product, &[e]);
    let weights = b.map1(ScalarFn::Tanh, scores);
    let product = b.mul(weights, given[2]);
    let product = b.select(past, product, zero);
    let y = b.sum(product, &[s]);
    let orders = [[batch, t, e], [batch, s, e], [batch, s, f]];
    with_gradients(b, (y, &[batch, t, f]), true, &given, orders.map(Vec::from))
}

#[test]
fn guarded_sums_of_products_are_contractions() {
    let graph = attention();
    for size in [1, 3] {
        agree(&graph, &[("B", size)], 5);
    }
    let graph = fused(&graph);
    let contraction = |node: &Node| crate::passes::roles(&graph, *node, &|_| false).is_some();
    let sums = graph
        .regions
        .values()
        .flat_map(|region| &region.nodes)
        .filter(|node| matches!(graph.nodes[**node].op, Op::Reduce { .. }) && contraction(node));
    assert_eq!(sums.count(), 6, "{graph}");
}
