//! Attention whose scores exist for a block of queries at a time, with the same numbers.

use std::collections::{BTreeMap, HashMap};

use super::{Numbers, agree, fused, inputs, program, with_gradients};
use crate::axes::DimVar;
use crate::graph::interpret;
use crate::graph::tests::argument;
use crate::graph::{Axis, Builder, Graph, Node, Op};
use crate::kernel::{Program, Step, Stmt};
use crate::ops::ScalarFn;
use crate::passes::{Limits, PIPELINE, blocks_within};
use crate::tensor::DType::{F32, I32};
use crate::tensor::Tolerance;

/// Causal attention of one head, with the derivatives by queries, keys and values.
fn attention(length: i64) -> Graph {
    let mut b = Builder::new();
    let Head { given, orders, y, axes } = head(&mut b, length);
    with_gradients(b, (y, &axes), true, &given, orders)
}

/// The same with a sum over all queries behind it: no loop over them holds what stands between the scores and the derivative by them.
fn pooled_attention(length: i64) -> Graph {
    let mut b = Builder::new();
    let Head { given: [q, k, v], orders: [of_q, of_k, of_v], y, axes: [batch, t, f] } = head(&mut b, length);
    let y = b.map1(ScalarFn::Tanh, y);
    let pooled = b.sum(y, &[t]);
    with_gradients(b, (pooled, &[batch, f]), true, &[q, k, v], [of_q, of_k, of_v])
}

struct Head {
    /// Queries, keys and values, and their orders.
    given: [Node; 3],
    orders: [Vec<Axis>; 3],
    y: Node,
    axes: [Axis; 3],
}

fn head(b: &mut Builder, length: i64) -> Head {
    let batch = b.axis("B", crate::axes::Dim::var("B"));
    let [t, e] = [("t", length), ("e", 2)].map(|(name, size)| b.axis(name, size.into()));
    let (s, f) = (b.fresh(t), b.axis("f", 2.into()));
    let q = argument(b, "q", &[batch, t, e], F32);
    let k = argument(b, "k", &[batch, s, e], F32);
    let v = argument(b, "v", &[batch, s, f], F32);
    let given = [q, k, v].map(|x| b.alias(x));
    let (here, there) = (b.position(t, I32), b.position(s, I32));
    let past = b.map2(ScalarFn::Le, there, here);
    let product = b.mul(given[0], given[1]);
    let scores = b.sum(product, &[e]);
    let exp = b.map1(ScalarFn::Exp, scores);
    let zero = b.constant(0.0, F32);
    let exp = b.select(past, exp, zero);
    let sum = b.sum(exp, &[s]);
    let weights = b.div(exp, sum);
    let product = b.mul(weights, given[2]);
    let y = b.sum(product, &[s]);
    let orders = [[batch, t, e], [batch, s, e], [batch, s, f]].map(Vec::from);
    Head { given, orders, y, axes: [batch, t, f] }
}

/// The graph after the passes before `blocks`, in blocks of six rows; and how many loops it has.
fn blocked(graph: &Graph) -> (Graph, usize) {
    let before = PIPELINE.iter().take_while(|pass| pass.name != "blocks");
    let graph = before.fold(graph.clone(), |graph, pass| (pass.run)(graph));
    let graph = blocks_within(graph, &Limits { long: 20, rows: 4..=6 });
    let loops = graph.nodes.values().filter(|data| matches!(data.op, Op::Scan(_))).count();
    (graph, loops)
}

/// The blocked graph, which agrees with the whole one, and its program.
fn in_blocks(whole: &Graph, loops: usize) -> Program {
    let (graph, found) = blocked(whole);
    assert_eq!(found, loops, "{graph}");
    for batch in [1, 3] {
        agree(&graph, &[("B", batch)], 5);
        let map = HashMap::from([(DimVar::new("B"), batch)]);
        let dims: BTreeMap<DimVar, i64> = map.clone().into_iter().collect();
        let inputs = inputs(whole, &dims, &mut Numbers(7));
        let [found, expected] = [&graph, whole].map(|graph| interpret(graph, &inputs, &map).unwrap());
        for (found, expected) in found.iter().zip(&expected) {
            found.compare(expected, Tolerance::new(1e-5, 1e-5)).unwrap();
        }
    }
    let graph = fused(&graph);
    let program = program(&graph);
    // All of the scores would be 576 entries a sample.
    for buffer in program.buffers.values() {
        let entries = buffer.len.as_const().unwrap_or(0);
        assert!(entries < 576 && !buffer.len.to_string().contains("576"), "{program}");
    }
    program
}

#[test]
fn scores_exist_for_a_block_of_queries() {
    let program = in_blocks(&attention(24), 1);
    // The derivatives by keys and values are added to where they stand.
    let onto = |step: &Step| match step {
        Step::Run { kernel, .. } => {
            program.kernels[*kernel].body.iter().any(|stmt| matches!(stmt, Stmt::Contract(c) if c.accumulate))
        }
        _ => false,
    };
    let bodies = program.steps.iter().filter_map(|step| match step {
        Step::Loop { body, .. } => Some(body.iter().filter(|step| onto(step)).count()),
        _ => None,
    });
    assert_eq!(bodies.collect::<Vec<_>>(), [2], "{program}");
}

#[test]
fn a_derivative_far_behind_makes_the_scores_again() {
    in_blocks(&pooled_attention(24), 2);
}
