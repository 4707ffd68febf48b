//! What a loop stores for the loop of its derivative: as little as can be, with the same numbers.

use super::{agree, fused, with_gradients};
use crate::axes::Dim;
use crate::graph::tests::argument;
use crate::graph::{Builder, Graph, Op};
use crate::ops::ScalarFn;
use crate::tensor::DType::F32;

/// h' = h + tanh(h w) exp(-h w) over five layers; the gradients of w and the first h.
fn layers() -> Graph {
    let mut b = Builder::new();
    let batch = b.axis("B", Dim::var("B"));
    let [layer, h] = [("layer", 5), ("h", 4)].map(|(name, size)| b.axis(name, Dim::constant(size)));
    let from = b.fresh(h);
    let w = argument(&mut b, "w", &[layer, from, h], F32);
    let first = argument(&mut b, "first", &[batch, h], F32);
    let given = [w, first].map(|x| b.alias(x));
    let carries = b.begin_scan(layer, &[given[1]]);
    let old = b.rename(carries[0], &[(h, from)]);
    let product = b.mul(old, given[0]);
    let z = b.sum(product, &[from]);
    let (tanh, negative) = (b.map1(ScalarFn::Tanh, z), b.map1(ScalarFn::Neg, z));
    let exp = b.map1(ScalarFn::Exp, negative);
    let product = b.mul(tanh, exp);
    let next = b.add(carries[0], product);
    let scan = b.end_scan(false, &[given[1]], &[next], &[]);
    with_gradients(b, (scan.carries[0], &[batch, h]), false, &given, [vec![layer, from, h], vec![batch, h]])
}

#[test]
fn what_maps_make_again_is_not_stored() {
    let graph = layers();
    for size in [1, 3] {
        agree(&graph, &[("B", size)], 5);
    }
    let graph = fused(&graph);
    let yields = graph.regions[graph.root].nodes.iter().find_map(|node| match &graph.nodes[*node].op {
        Op::Scan(scan) if !scan.reverse => Some(graph.regions[scan.body].results.len() - scan.carries),
        _ => None,
    });
    // The sum of products, and h for the gradient of w; neither tanh nor exp.
    assert_eq!(yields, Some(2), "{graph}");
}

/// x' = x + Σ_s tanh(Σ_d x[t, d] x[s, d]) x[s, d] over three layers, times w; the gradients of w and the first x.
fn attending() -> Graph {
    let mut b = Builder::new();
    let t = b.axis("t", Dim::var("T"));
    let [layer, d] = [("layer", 3), ("d", 4)].map(|(name, size)| b.axis(name, Dim::constant(size)));
    let s = b.fresh(t);
    let w = argument(&mut b, "w", &[layer, d], F32);
    let first = argument(&mut b, "first", &[t, d], F32);
    let given = [w, first].map(|x| b.alias(x));
    let carries = b.begin_scan(layer, &[given[1]]);
    let x = b.mul(carries[0], given[0]);
    let others = b.rename(x, &[(t, s)]);
    let product = b.mul(x, others);
    let scores = b.sum(product, &[d]);
    let scores = b.map1(ScalarFn::Tanh, scores);
    let product = b.mul(scores, others);
    let read = b.sum(product, &[s]);
    let next = b.add(carries[0], read);
    let scan = b.end_scan(false, &[given[1]], &[next], &[]);
    with_gradients(b, (scan.carries[0], &[t, d]), false, &given, [vec![layer, d], vec![t, d]])
}

#[test]
fn scores_over_a_long_sequence_are_not_stored() {
    let graph = attending();
    for size in [2, 5] {
        agree(&graph, &[("T", size)], 5);
    }
    let graph = fused(&graph);
    for node in &graph.regions[graph.root].nodes {
        if let Op::Scan(scan) = &graph.nodes[*node].op
            && !scan.reverse
        {
            let symbolic = |node| {
                let axes = graph.nodes[node].axes.iter();
                axes.filter(|axis| graph.axes[**axis].size.as_const().is_none()).count()
            };
            let yields = graph.regions[scan.body].results[scan.carries..].iter();
            assert!(yields.copied().all(|result| symbolic(result) < 2), "{graph}");
        }
    }
}
