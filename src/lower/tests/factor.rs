//! A sum over what a layer does not run along stands before the layer, with the same numbers; what a loop does not change is made before it.

use super::{agree, fused, program, with_gradients};
use crate::axes::Dim;
use crate::graph::tests::argument;
use crate::graph::{Builder, Graph, Node, Output};
use crate::kernel::Step;
use crate::ops::ScalarFn;
use crate::tensor::DType::F32;

/// Deep Sets: Σ_n (relu(x v) w + bias), and the gradients of v, w and the bias.
fn deep_set(n: i64) -> Graph {
    let mut b = Builder::new();
    let batch = b.axis("B", Dim::var("B"));
    let [n, d, h, o] =
        [("n", n), ("d", 3), ("h", 5), ("o", 4)].map(|(name, size)| b.axis(name, Dim::constant(size)));
    let x = argument(&mut b, "x", &[batch, n, d], F32);
    let v = argument(&mut b, "v", &[d, h], F32);
    let w = argument(&mut b, "w", &[h, o], F32);
    let bias = argument(&mut b, "bias", &[o], F32);
    let given = [v, w, bias].map(|x| b.alias(x));
    let product = b.mul(x, given[0]);
    let hidden = b.sum(product, &[d]);
    let zero = b.constant(0.0, F32);
    let hidden = b.map2(ScalarFn::Max, hidden, zero);
    let product = b.mul(hidden, given[1]);
    let layer = b.sum(product, &[h]);
    let layer = b.add(layer, given[2]);
    let y = b.sum(layer, &[n]);
    with_gradients(b, (y, &[batch, o]), true, &given, [vec![d, h], vec![h, o], vec![o]])
}

#[test]
fn a_sum_over_a_set_stands_before_the_layer() {
    for n in [1, 2, 7] {
        let graph = deep_set(n);
        for size in [0, 1, 3, 17] {
            agree(&graph, &[("B", size)], 5);
        }
        let graph = fused(&graph);
        let largest = |node: &Node| {
            let contraction = crate::passes::roles(&graph, *node, &|_| false)?;
            Some(graph.nodes[contraction.product].axes.len())
        };
        let nodes = graph.regions.values().flat_map(|region| &region.nodes);
        let contractions: Vec<usize> = nodes.filter_map(largest).collect();
        // x v and its gradient run over the set, the layer behind it and its gradients do not.
        assert_eq!(contractions.iter().filter(|axes| **axes == 4).count(), 2, "{graph}");
        assert_eq!(contractions.iter().filter(|axes| **axes == 3).count(), 3, "{graph}");
    }
}

/// h' = tanh(uᵀ h): the weights have to be turned, once.
#[test]
fn what_a_loop_does_not_change_is_packed_before_it() {
    let mut b = Builder::new();
    let batch = b.axis("B", Dim::var("B"));
    let [t, h] = [("t", 5), ("h", 6)].map(|(name, size)| b.axis(name, Dim::constant(size)));
    let from = b.fresh(h);
    let u = argument(&mut b, "u", &[h, from], F32);
    let first = argument(&mut b, "first", &[batch, h], F32);
    let carries = b.begin_scan(t, &[first]);
    let old = b.rename(carries[0], &[(h, from)]);
    let product = b.mul(old, u);
    let z = b.sum(product, &[from]);
    let next = b.map1(ScalarFn::Tanh, z);
    let scan = b.end_scan(false, &[first], &[next], &[next]);
    let output = Output { name: "y".into(), order: vec![batch, t, h], updates: None };
    let graph = b.finish(vec![(output, scan.yields[0])]);
    for size in [0, 1, 9] {
        agree(&graph, &[("B", size)], 3);
    }
    let program = program(&fused(&graph));
    let kernels = |steps: &[Step], name: &str| {
        let named = |step: &&Step| matches!(step, Step::Run { kernel, .. } if program.kernels[*kernel].name.starts_with(name));
        steps.iter().filter(named).count()
    };
    let turns = program.steps.iter().find_map(|step| match step {
        Step::Loop { body, .. } => Some(kernels(body, "transpose")),
        _ => None,
    });
    assert_eq!((kernels(&program.steps, "transpose"), turns), (1, Some(0)), "{program}");
}
