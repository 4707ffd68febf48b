//! Entries that do not meet run through all turns in one kernel; others are a loop of steps.

use super::{agree, fused, program};
use crate::axes::Dim;
use crate::graph::tests::argument;
use crate::graph::{Axis, Builder, Graph, Node, Output};
use crate::kernel::Step;
use crate::tensor::DType::F32;

/// A scan over `x[t, d]` with a carry of `d`, whose next value a function of carry and `x[t]` gives; its yields are the output, by the name of
/// another axis of that size.
fn scan(reverse: bool, next: impl Fn(&mut Builder, Axis, Node, Node) -> Node) -> Graph {
    let mut b = Builder::new();
    let [t, d, time] = [("t", "T"), ("d", "D"), ("time", "T")].map(|(name, dim)| b.axis(name, Dim::var(dim)));
    let x = argument(&mut b, "x", &[t, d], F32);
    let first = b.filled(0.25, F32, &[d]);
    let carries = b.begin_scan(t, &[first]);
    let next = next(&mut b, d, carries[0], x);
    let scan = b.end_scan(reverse, &[first], &[next], &[next]);
    let yields = b.rename(scan.yields[0], &[(t, time)]);
    let output = Output { name: "y".into(), order: vec![time, d], updates: None };
    b.finish(vec![(output, yields)])
}

#[test]
fn a_decay_is_a_kernel_behind_the_one_of_its_first_carry() {
    for reverse in [false, true] {
        let graph = scan(reverse, |b, _, h, x| {
            let half = b.constant(0.5, F32);
            let kept = b.mul(half, h);
            b.add(kept, x)
        });
        for (t, d) in [(5, 3), (1, 17), (0, 2), (9, 1), (4, 70)] {
            agree(&graph, &[("T", t), ("D", d)], 5);
        }
        let program = program(&fused(&graph));
        let runs = program.steps.iter().filter(|step| matches!(step, Step::Run { .. })).count();
        // The yields are stored where the output lies.
        assert_eq!((runs, program.steps.len()), (2, 2), "{program}");
    }
}

#[test]
fn entries_that_meet_are_a_loop_of_steps() {
    let graph = scan(false, |b, d, h, x| {
        let sum = b.sum(h, &[d]);
        b.add(sum, x)
    });
    for (t, d) in [(5, 3), (1, 17), (0, 2)] {
        agree(&graph, &[("T", t), ("D", d)], 5);
    }
    let program = program(&fused(&graph));
    assert!(program.steps.iter().any(|step| matches!(step, Step::Loop { .. })), "{program}");
}
