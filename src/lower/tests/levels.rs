//! Long sums to few entries have two levels, with the numbers of one.

use super::{agree, fused, program};
use crate::axes::Dim;
use crate::graph::tests::argument;
use crate::graph::{Builder, Graph, Output, Reducer};
use crate::kernel::Program;
use crate::tensor::DType::F32;

/// A reduction of `x w` over the batch, and over the columns too or not; a parameter of that size is updated by it.
fn reduced(columns: i64, op: Reducer, whole: bool) -> Graph {
    let mut b = Builder::new();
    let batch = b.axis("B", Dim::var("B"));
    let c = b.axis("c", Dim::constant(columns));
    let x = argument(&mut b, "x", &[batch, c], F32);
    let w = argument(&mut b, "w", &[c], F32);
    let shape = if whole { vec![] } else { vec![c] };
    let old = argument(&mut b, "old", &shape, F32);
    let product = b.mul(x, w);
    let shifted = b.add(product, x);
    let over = if whole { vec![batch, c] } else { vec![batch] };
    let y = b.reduce(op, shifted, &over);
    let new = b.sub(old, y);
    b.finish(vec![(Output { name: "new".into(), order: shape, updates: Some(2) }, new)])
}

fn chunked(program: &Program) -> usize {
    program.kernels.values().filter(|kernel| kernel.name.contains("chunks")).count()
}

#[test]
fn sums_over_a_batch_have_two_levels() {
    for op in [Reducer::Sum, Reducer::Max] {
        for columns in [1, 3, 33] {
            for whole in [false, true] {
                let graph = reduced(columns, op, whole);
                for size in [0, 1, 5, 70] {
                    agree(&graph, &[("B", size)], 3);
                }
                let program = program(&fused(&graph));
                assert_eq!((chunked(&program), program.kernels.len()), (1, 2), "{program}");
            }
        }
        // Several chunks, the last of them short: of rows of 16384 entries a chunk has four.
        agree(&reduced(16_384, op, false), &[("B", 9)], 5);
        agree(&reduced(2, op, true), &[("B", 40_000)], 5);
    }
}

/// The mean of squares from the mean: the second sum is made of the first.
#[test]
fn a_sum_of_what_a_sum_is_part_of_waits_for_it() {
    let mut b = Builder::new();
    let batch = b.axis("B", Dim::var("B"));
    let c = b.axis("c", Dim::constant(5));
    let x = argument(&mut b, "x", &[batch, c], F32);
    let count = b.size(Dim::var("B"), F32);
    let sum = b.sum(x, &[batch]);
    let mean = b.div(sum, count);
    let centred = b.sub(x, mean);
    let square = b.mul(centred, centred);
    let y = b.sum(square, &[batch]);
    let graph = b.finish(vec![(Output { name: "y".into(), order: vec![c], updates: None }, y)]);
    for size in [1, 4, 70] {
        agree(&graph, &[("B", size)], 3);
    }
}
