//! What a loop adds up turn by turn is one sum behind it, with the same numbers.

use super::{agree, fused, with_gradients};
use crate::axes::Dim;
use crate::graph::tests::argument;
use crate::graph::{Builder, Graph, Op};
use crate::ops::ScalarFn;
use crate::tensor::DType::F32;

/// h' = tanh(x w + h u) over five steps, in either direction; the gradients of w, u and the first h.
fn recurrent(reverse: bool) -> Graph {
    let mut b = Builder::new();
    let batch = b.axis("B", Dim::var("B"));
    let [t, i, h] = [("t", 5), ("i", 3), ("h", 4)].map(|(name, size)| b.axis(name, Dim::constant(size)));
    let from = b.fresh(h);
    let x = argument(&mut b, "x", &[batch, t, i], F32);
    let w = argument(&mut b, "w", &[i, h], F32);
    let u = argument(&mut b, "u", &[from, h], F32);
    let first = argument(&mut b, "first", &[batch, h], F32);
    let given = [w, u, first].map(|x| b.alias(x));
    let carries = b.begin_scan(t, &[given[2]]);
    let product = b.mul(x, given[0]);
    let input = b.sum(product, &[i]);
    let old = b.rename(carries[0], &[(h, from)]);
    let product = b.mul(old, given[1]);
    let inner = b.sum(product, &[from]);
    let z = b.add(input, inner);
    let next = b.map1(ScalarFn::Tanh, z);
    let scan = b.end_scan(reverse, &[given[2]], &[next], &[next]);
    with_gradients(
        b,
        (scan.yields[0], &[batch, t, h]),
        false,
        &given,
        [vec![i, h], vec![from, h], vec![batch, h]],
    )
}

#[test]
fn gradients_of_weights_are_summed_behind_the_loop() {
    for reverse in [false, true] {
        let graph = recurrent(reverse);
        for size in [1, 3] {
            agree(&graph, &[("B", size)], 5);
        }
        let graph = fused(&graph);
        let carries: Vec<usize> = graph.regions[graph.root]
            .nodes
            .iter()
            .filter_map(|node| match &graph.nodes[*node].op {
                Op::Scan(scan) => Some(scan.carries),
                _ => None,
            })
            .collect();
        assert_eq!(carries, [1, 1], "{graph}");
    }
}
