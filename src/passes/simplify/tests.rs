use std::collections::HashMap;

use super::super::{PassCx, run};
use crate::autodiff::tests::{axes, finish, inputs, numbers, numbers_of, random_function, size, tensor};
use crate::autodiff::vjps;
use crate::axes::Dim;
use crate::graph::tests::{argument, output};
use crate::graph::*;
use crate::ops::ScalarFn;
use crate::passes::{cse, dce, simplify};
use crate::tensor::DType::{F32, F64, I32};

/// The text of the value of a function of `x[i]` and `y[i, j]` behind simplify, cse and dce.
fn simplified(function: impl FnOnce(&mut Builder, Node, Node, Axis, Axis) -> Node) -> String {
    let mut b = Builder::new();
    let (i, j) = (b.axis("i", Dim::var("N")), b.axis("j", 4.into()));
    let (x, y) = (argument(&mut b, "x", &[i], F32), argument(&mut b, "y", &[i, j], F32));
    let value = function(&mut b, x, y, i, j);
    let out = output(&b, "z", value);
    let graph = dce(cse(simplify(b.finish([out]))));
    verify(&graph).unwrap_or_else(|defect| panic!("{defect}\n{graph}"));
    let text = graph.to_string();
    let lines = text.lines().filter(|line| line.starts_with('%') && !line.contains("argument"));
    lines.map(|line| line.split(" : ").next().unwrap_or(line)).collect::<Vec<_>>().join("; ")
}

#[test]
fn arithmetic() {
    let text = simplified(|b, x, _, _, _| {
        let (zero, one) = (b.constant(0.0, F32), b.constant(1.0, F32));
        let x = b.mul(one, x);
        let x = b.add(x, zero);
        let x = b.neg(x);
        let x = b.neg(x);
        let two = b.add(one, one);
        b.map2(ScalarFn::Pow, x, two)
    });
    assert_eq!(text, "%1 = map mul(%0, %0)");
    // These are no identities of floats.
    let text = simplified(|b, x, _, _, _| {
        let zero = b.constant(0.0, F32);
        let nothing = b.mul(zero, x);
        let difference = b.sub(x, x);
        b.add(nothing, difference)
    });
    assert_eq!(text.matches("map").count(), 3);
}

#[test]
fn broadcasts_move_outwards() {
    let text = simplified(|b, x, y, _, j| {
        let wide = b.broadcast(x, &[j]);
        let exp = b.map1(ScalarFn::Exp, wide);
        b.mul(exp, y)
    });
    assert_eq!(text, "%2 = map exp(%0); %3 = map mul(%2, %1)");
    let text = simplified(|b, x, _, _, j| {
        let wide = b.broadcast(x, &[j]);
        b.sum(wide, &[j])
    });
    assert_eq!(text, "%1 = constant 4.0; %2 = map mul(%0, %1)");
}

#[test]
fn views_compose() {
    let text = simplified(|b, _, y, i, j| {
        let (k, l) = (b.axis("k", 2.into()), b.axis("l", 2.into()));
        let shifted = Index::axis(i).minus(&Index::constant(1)).unwrap();
        let y = b.view(y, IndexMap::new([(i, shifted)], Outside::Zero));
        let digits = Index::axis(k).times(&2.into()).unwrap().plus(&Index::axis(l)).unwrap();
        let split = b.view(y, IndexMap::new([(j, digits)], Outside::Never));
        let m = b.fresh(j);
        let merge = [(k, Index::axis(m).div(&2.into())), (l, Index::axis(m).rem(&2.into()))];
        b.view(split, IndexMap::new(merge, Outside::Never))
    });
    assert_eq!(text, "%1 = view(%0) i := i - 1, j := j'1 else 0");
    // Zeros around a slice are not what lies around it.
    let text = simplified(|b, _, y, _, j| {
        let (k, l) = (b.axis("k", 2.into()), b.axis("l", 4.into()));
        let inner = Index::axis(k).plus(&Index::constant(1)).unwrap();
        let slice = b.view(y, IndexMap::new([(j, inner)], Outside::Never));
        let outer = Index::axis(l).minus(&Index::constant(1)).unwrap();
        b.view(slice, IndexMap::new([(k, outer)], Outside::Zero))
    });
    assert_eq!(text.matches("view").count(), 2);
}

#[test]
fn loops_lose_what_they_do_not_need() {
    let text = simplified(|b, x, y, i, j| {
        let zero = b.constant(0.0, F32);
        let carries = b.begin_scan(i, &[zero, zero, x]);
        let kept = b.add(carries[0], x);
        let dead = b.mul(carries[1], kept);
        let row = b.sum(y, &[j]);
        let scan = b.end_scan(false, &[zero, zero, zero], &[kept, dead, carries[2]], &[row, kept, kept]);
        b.add(scan.yields[1], scan.yields[2])
    });
    assert_eq!(
        text,
        "%1 = constant 0.0; %2 = scan i (%3: f32 = %1) {; %5 = project 1 of %2; %6 = map add(%5, %5)"
    );
}

#[test]
fn equal_nodes_merge_across_loops() {
    let text = simplified(|b, x, _, i, _| {
        let sine = b.map1(ScalarFn::Sin, x);
        let total = b.sum(sine, &[i]);
        let carries = b.begin_scan(i, &[total]);
        let again = b.map1(ScalarFn::Sin, x);
        let again = b.mul(again, carries[0]);
        let scan = b.end_scan(false, &[total], &[again], &[]);
        scan.carries[0]
    });
    assert_eq!(text.matches("sin").count(), 1, "{text}");
}

#[test]
fn integer_constants_fold_as_they_would_run() {
    let text = simplified(|b, x, _, _, _| {
        let (large, two) = (b.constant(2147483647.0, I32), b.constant(2.0, I32));
        let wrapped = b.mul(large, two);
        let zero = b.constant(0.0, I32);
        let nothing = b.div(wrapped, zero);
        let sum = b.add(wrapped, nothing);
        let sum = b.cast(sum, F32);
        b.mul(x, sum)
    });
    assert_eq!(text, "%1 = constant -2.0; %2 = map mul(%0, %1)");
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 120, failure_persistence: None, ..Default::default() })]
    /// A random function and its gradient have the same values before the passes and behind each of them.
    #[test]
    fn passes_keep_values(choices in proptest::collection::vec(proptest::num::u8::ANY, 3..45)) {
        let types = ["ij", "jt"];
        let mut b = Builder::new();
        let all = axes(&mut b);
        let x = inputs(&mut b, &all, &types, "x");
        let y = random_function(&choices)(&mut b, &x);
        let one = b.constant(1.0, F64);
        let pairs: Vec<(Node, Node)> = y.iter().map(|y| (*y, one)).collect();
        let mut values = vjps(&mut b, &pairs, &x);
        values.extend(y);
        let graph = finish(b, &values);
        let value = |graph: &Graph, scale: f64| -> Vec<f64> {
            let inputs: Vec<_> = types
                .iter()
                .enumerate()
                .map(|(n, names)| {
                    let numbers: Vec<f64> = numbers(n as u64, size(names)).iter().map(|x| x * scale).collect();
                    tensor(names, &numbers)
                })
                .collect();
            let outputs = interpret(graph, &inputs, &HashMap::new()).unwrap_or_else(|e| panic!("{e}\n{graph}"));
            outputs.iter().flat_map(numbers_of).collect()
        };
        let expected = value(&graph, 1.0);
        // Roundings in another order move a value about as much as this: the sine of a large number by any amount.
        let nudged = value(&graph, 1.0 + 1e-13);
        for pass in super::super::PIPELINE {
            let mut cx = PassCx { verify: true, stop_after: Some(pass.name), ..PassCx::default() };
            let after = run(graph.clone(), &mut cx).unwrap_or_else(|broken| panic!("{broken}\n{graph}"));
            for ((actual, expected), nudged) in value(&after, 1.0).into_iter().zip(&expected).zip(&nudged) {
                let rounding = 1e-9 * (1.0 + expected.abs()) + 100.0 * (nudged - expected).abs();
                let close = (actual - expected).abs() <= rounding || actual.is_nan() && expected.is_nan() || rounding.is_nan();
                assert!(close, "{}: {actual}, not {expected}\n{graph}\n{after}", pass.name);
            }
        }
    }
}
