//! Derivatives against differences, forward against backward mode, to the second order, in f64.

use std::collections::HashMap;

use super::{jvps, vjps};
use crate::graph::tests::{argument, output};
use crate::graph::*;
use crate::ops::ScalarFn;
use crate::tensor::DType::{self, Bool, F64, I32};
use crate::tensor::{Sorted, Tensor};

/// A function on tensors, as it appends itself.
type Function<'a> = &'a dyn Fn(&mut Builder, &[Node]) -> Vec<Node>;

/// Axes that all functions of a test share.
pub(crate) struct Axes {
    i: Axis,
    j: Axis,
    k: Axis,
    t: Axis,
}

pub(crate) fn axes(b: &mut Builder) -> Axes {
    let mut axis = |name: &str, size: i64| b.axis(name, size.into());
    Axes { i: axis("i", 3), j: axis("j", 2), k: axis("k", 4), t: axis("t", 5) }
}

fn axes_named(axes: &Axes, names: &str) -> Vec<Axis> {
    let axis = |name| match name {
        'i' => axes.i,
        'j' => axes.j,
        'k' => axes.k,
        _ => axes.t,
    };
    names.chars().map(axis).collect()
}

/// Numbers without pattern, between 0.3 and 1.7, no two of them close to each other in a small array.
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f64> {
    (0..count).map(|n| 0.3 + 1.4 * ((seed * 31 + n as u64 + 1) as f64 * 0.618_033_988_75).fract()).collect()
}

pub(crate) fn size(names: &str) -> usize {
    names
        .chars()
        .map(|name| match name {
            'i' => 3,
            'j' => 2,
            'k' => 4,
            _ => 5,
        })
        .product()
}

fn shape(names: &str) -> Vec<usize> {
    names.chars().map(|name| size(&name.to_string())).collect()
}

pub(crate) fn tensor(names: &str, values: &[f64]) -> Tensor {
    Tensor::from_vec(&shape(names), values.to_vec()).unwrap()
}

pub(crate) fn numbers_of(tensor: &Tensor) -> Vec<f64> {
    tensor.numbers().map(|number| number.as_f64()).collect()
}

fn run(graph: &Graph, inputs: &[Tensor]) -> Vec<Vec<f64>> {
    if let Err(defect) = verify(graph) {
        panic!("{defect}\n{graph}");
    }
    let outputs =
        interpret(graph, inputs, &HashMap::new()).unwrap_or_else(|error| panic!("{error}\n{graph}"));
    outputs.iter().map(numbers_of).collect()
}

pub(crate) fn inputs(b: &mut Builder, axes: &Axes, types: &[&str], prefix: &str) -> Vec<Node> {
    let mut values = Vec::new();
    for (n, names) in types.iter().enumerate() {
        let input = argument(b, &format!("{prefix}{n}"), &axes_named(axes, names), F64);
        values.push(b.alias(input));
    }
    values
}

pub(crate) fn finish(mut b: Builder, values: &[Node]) -> Graph {
    let outputs: Vec<_> = values.iter().map(|value| output(&b, "y", *value)).collect();
    b.at(b.span());
    b.finish(outputs)
}

fn near(what: &str, actual: f64, expected: f64, graph: &Graph) {
    let close = (actual - expected).abs() <= 2e-6 * (1.0 + actual.abs().max(expected.abs()));
    assert!(close, "{what}: {actual}, not {expected}\n{graph}");
}

/// Checks both modes of a function of arguments that have these axes.
fn first_order(types: &[&str], random: bool, function: Function) {
    let points: Vec<Vec<f64>> =
        types.iter().enumerate().map(|(n, names)| numbers(n as u64, size(names))).collect();
    let directions: Vec<Vec<f64>> =
        types.iter().enumerate().map(|(n, names)| numbers(n as u64 + 17, size(names))).collect();
    let tensors = |values: &[Vec<f64>]| -> Vec<Tensor> {
        types.iter().zip(values).map(|(n, v)| tensor(n, v)).collect()
    };

    let mut b = Builder::new();
    let all = axes(&mut b);
    let x = inputs(&mut b, &all, types, "x");
    let y = function(&mut b, &x);
    let plain = finish(b, &y);

    let mut b = Builder::new();
    let all = axes(&mut b);
    let x = inputs(&mut b, &all, types, "x");
    let v = inputs(&mut b, &all, types, "v");
    let y = function(&mut b, &x);
    let dy = jvps(&mut b, &y, &x, &v);
    let forward = finish(b, &dy);

    let mut b = Builder::new();
    let all = axes(&mut b);
    let x = inputs(&mut b, &all, types, "x");
    let y = function(&mut b, &x);
    let mut pairs = Vec::new();
    let mut cotangents: Vec<Vec<f64>> = Vec::new();
    let mut cotangent_tensors = Vec::new();
    for (n, y) in y.iter().enumerate() {
        let order = b.axes(*y).to_vec();
        let shape: Vec<usize> =
            order.iter().map(|axis| b.axis_size(*axis).as_const().unwrap() as usize).collect();
        let values = numbers(n as u64 + 40, shape.iter().product());
        cotangent_tensors.push(Tensor::from_vec(&shape, values.clone()).unwrap());
        cotangents.push(values);
        pairs.push((*y, argument(&mut b, "ct", &order, F64)));
    }
    let gradients = vjps(&mut b, &pairs, &x);
    let backward = finish(b, &gradients);

    let at = |offset: f64| {
        let moved = points
            .iter()
            .zip(&directions)
            .map(|(p, d)| p.iter().zip(d).map(|(p, d)| p + offset * d).collect());
        run(&plain, &tensors(&moved.collect::<Vec<_>>()))
    };
    let dot = |x: &[Vec<f64>], y: &[Vec<f64>]| -> f64 {
        x.iter().flatten().zip(y.iter().flatten()).map(|(x, y)| x * y).sum()
    };
    // Differences of the fourth order.
    let difference = |step: f64| -> Vec<f64> {
        let around = [-2.0, -1.0, 1.0, 2.0].map(|n| at(n * step).concat());
        let [a, b, c, d] = around;
        (0..a.len()).map(|n| (a[n] - 8.0 * b[n] + 8.0 * c[n] - d[n]) / (12.0 * step)).collect()
    };
    let (coarse, fine) = (difference(2e-4), difference(1e-4));
    let tangents = run(&forward, &[tensors(&points), tensors(&directions)].concat());
    for (n, tangent) in tangents.iter().flatten().enumerate() {
        // A random function may be too wild, or have a kink here.
        let wild = random && (coarse[n] - fine[n]).abs() > 1e-7 * (1.0 + fine[n].abs());
        if !wild {
            near("jvp", *tangent, fine[n], &forward);
        }
    }
    let gradients = run(&backward, &[tensors(&points), cotangent_tensors].concat());
    near("vjp", dot(&gradients, &directions), dot(&cotangents, &tangents), &backward);
}

/// Checks a function and the function that gives its gradients for some fixed cotangents, which takes both modes through both modes.
fn both_orders(types: &[&str], function: Function) {
    to_second_order(types, false, function);
}

fn to_second_order(types: &[&str], random: bool, function: Function) {
    first_order(types, random, function);
    first_order(types, random, &|b, x| {
        let x: Vec<Node> = x.iter().map(|x| b.alias(*x)).collect();
        let y = function(b, &x);
        let mut pairs = Vec::new();
        for y in y {
            // Not all alike: something of the position.
            let mut cotangent = b.constant(0.7, F64);
            for axis in b.axes(y).clone() {
                let position = b.position(axis, I32);
                let position = b.cast(position, F64);
                let sine = b.map1(ScalarFn::Sin, position);
                cotangent = b.add(cotangent, sine);
            }
            pairs.push((y, cotangent));
        }
        vjps(b, &pairs, &x)
    });
    first_order(types, random, &|b, x| {
        let x: Vec<Node> = x.iter().map(|x| b.alias(*x)).collect();
        let y = function(b, &x);
        let v: Vec<Node> = x.iter().map(|x| b.map1(ScalarFn::Cos, *x)).collect();
        jvps(b, &y, &x, &v)
    });
}

fn ids(b: &Builder, count: usize) -> Vec<Axis> {
    b.graph().axes.keys().take(count).collect()
}

#[test]
fn every_scalar_function() {
    for function in ScalarFn::ALL {
        let def = function.def();
        let (count, name) = (def.arity, def.name);
        println!("{name}");
        let float = function.dtype(&vec![F64; count]);
        match (function, float) {
            (ScalarFn::Select, _) => both_orders(&["i", "j"], &|b, x| {
                let one = b.constant(1.0, F64);
                let condition = b.map2(ScalarFn::Lt, x[0], one);
                vec![b.select(condition, x[0], x[1])]
            }),
            (ScalarFn::Cast(_), _) => {}
            (_, Ok(F64)) => both_orders(&["i", "j"][..count], &|b, x| vec![b.map(function, x)]),
            _ => {}
        }
    }
}

#[test]
fn negative_arguments() {
    both_orders(&["i"], &|b, x| {
        let one = b.constant(1.0, F64);
        let x = b.sub(x[0], one);
        [ScalarFn::Abs, ScalarFn::Neg, ScalarFn::Tanh, ScalarFn::Erf, ScalarFn::Sigmoid]
            .map(|f| b.map1(f, x))
            .to_vec()
    });
}

#[test]
fn contractions_and_broadcasts() {
    both_orders(&["ij", "jk", "k"], &|b, x| {
        let [j, k] = [ids(b, 3)[1], ids(b, 3)[2]];
        let product = b.mul(x[0], x[1]);
        let y = b.sum(product, &[j]);
        let y = b.add(y, x[2]);
        let y = b.map1(ScalarFn::Tanh, y);
        let total = b.sum(y, &[k]);
        let wide = b.broadcast(total, &[k]);
        vec![y, b.mul(wide, x[2])]
    });
}

#[test]
fn reductions() {
    for op in [Reducer::Sum, Reducer::Prod, Reducer::Max, Reducer::Min] {
        both_orders(&["ijk"], &|b, x| {
            let [i, _, k] = ids(b, 3)[..] else { unreachable!() };
            let y = b.reduce(op, x[0], &[i, k]);
            vec![b.map1(ScalarFn::Sin, y)]
        });
    }
}

#[test]
fn softmax() {
    both_orders(&["ik"], &|b, x| {
        let k = ids(b, 3)[2];
        let max = b.reduce(Reducer::Max, x[0], &[k]);
        let shifted = b.sub(x[0], max);
        let e = b.map1(ScalarFn::Exp, shifted);
        let sum = b.sum(e, &[k]);
        vec![b.div(e, sum)]
    });
}

#[test]
fn views_and_folds() {
    both_orders(&["ik", "t"], &|b, x| {
        let [i, j, k] = ids(b, 3)[..] else { unreachable!() };
        let t = ids(b, 4)[3];
        let index = Index::axis(j).times(&2.into()).unwrap().plus(&Index::axis(i)).unwrap();
        // x[2 j + i - 1, i], zero outside.
        let window = index.minus(&Index::constant(1)).unwrap();
        let y = b.view(x[0], IndexMap::new([(k, window)], Outside::Zero));
        let y = b.map1(ScalarFn::Sin, y);
        let half = Index::axis(k).plus(&Index::constant(1)).unwrap().div(&2.into());
        let z = b.view(x[1], IndexMap::new([(t, half)], Outside::Never));
        let z = b.mul(z, z);
        let folded = b.fold(z, IndexMap::new([(j, Index::axis(k).rem(&2.into()))], Outside::Never));
        vec![y, b.mul(folded, folded)]
    });
}

#[test]
fn gathers_and_scatters() {
    for op in [Reducer::Sum, Reducer::Max, Reducer::Min, Reducer::Prod] {
        both_orders(&["ik", "it"], &|b, x| {
            let [i, _, k, t] = ids(b, 4)[..] else { unreachable!() };
            let (place, row) = (b.position(t, I32), b.position(i, I32));
            let (three, four) = (b.constant(3.0, I32), b.constant(4.0, I32));
            let index = b.mul(place, three);
            let index = b.add(index, row);
            let index = b.map2(ScalarFn::Rem, index, four);
            let gathered = b.gather(x[0], k, index);
            let product = b.mul(gathered, x[1]);
            let scattered = b.scatter(op, product, index, &[t], k);
            // What nothing reaches is infinite for max and min: leave it out.
            let hundred = b.constant(100.0, F64);
            let size = b.map1(ScalarFn::Abs, scattered);
            let reached = b.map2(ScalarFn::Lt, size, hundred);
            let squared = b.mul(scattered, scattered);
            let zero = b.constant(0.0, F64);
            vec![b.select(reached, squared, zero)]
        });
    }
}

#[test]
fn sorted_values() {
    for descending in [false, true] {
        both_orders(&["ik", "t"], &|b, x| {
            let [_, _, k, t] = ids(b, 4)[..] else { unreachable!() };
            let (r, q) = (b.axis("r", 4.into()), b.axis("q", 5.into()));
            let sorted = b.sort(Sorted::Values, x[0], k, r, descending);
            let place = b.position(r, I32);
            let place = b.cast(place, F64);
            let weighted = b.mul(sorted, place);
            let squares = b.mul(x[1], x[1]);
            let other = b.sort(Sorted::Values, squares, t, q, descending);
            let weighted = b.mul(weighted, weighted);
            vec![weighted, other]
        });
    }
}

/// Equal entries share what comes back.
#[test]
fn a_sort_splits_evenly_at_ties() {
    let mut b = Builder::new();
    let k = b.axis("k", 4.into());
    let x = argument(&mut b, "x", &[k], F64);
    let x = b.alias(x);
    let r = b.axis("r", 4.into());
    let sorted = b.sort(Sorted::Values, x, k, r, false);
    let (place, one) = (b.position(r, I32), b.constant(1.0, F64));
    let place = b.cast(place, F64);
    let weights = b.add(place, one);
    let gradient = vjps(&mut b, &[(sorted, weights)], &[x]);
    let graph = finish(b, &gradient);
    let tensor = Tensor::from_vec(&[4], vec![2.0, 1.0, 2.0, 2.0]).unwrap();
    assert_eq!(run(&graph, &[tensor]), [[3.0, 1.0, 3.0, 3.0]]);
}

#[test]
fn scans() {
    for reverse in [false, true] {
        both_orders(&["it", "i", "i"], &|b, x| {
            let k = ids(b, 3)[2];
            // A matrix of weights [i, k].
            let position = b.position(k, I32);
            let position = b.cast(position, F64);
            let weights = b.add(x[1], position);
            let weights = b.map1(ScalarFn::Sin, weights);
            let shorter = b.axis("k", 3.into());
            let weights = b.view(weights, IndexMap::new([(k, Index::axis(shorter))], Outside::Never));
            recurrence(b, x[0], weights, shorter, x[2], reverse)
        });
    }
}

/// A recurrence with captured sequence and weights, and two carries of which one has no derivative to start with.
fn recurrence(
    b: &mut Builder,
    sequence: Node,
    weights: Node,
    column: Axis,
    first: Node,
    reverse: bool,
) -> Vec<Node> {
    let [i, _, _, t] = ids(b, 4)[..] else { unreachable!() };
    let zero = b.constant(0.0, F64);
    let carries = b.begin_scan(t, &[first, zero]);
    let turned = b.rename(carries[0], &[(i, column)]);
    let product = b.mul(turned, weights);
    let product = b.sum(product, &[column]);
    let sum = b.add(product, sequence);
    let next = b.map1(ScalarFn::Tanh, sum);
    let squared = b.mul(next, next);
    let count = b.add(carries[1], squared);
    let yielded = b.mul(count, carries[0]);
    let scan = b.end_scan(reverse, &[first, zero], &[next, count], &[yielded, next]);
    vec![scan.carries[0], scan.carries[1], scan.yields[0]]
}

#[test]
fn nested_scans() {
    both_orders(&["it", "k", "i"], &|b, x| {
        let [_, _, k, t] = ids(b, 4)[..] else { unreachable!() };
        let outer = b.begin_scan(t, &[x[2]]);
        let start = b.map1(ScalarFn::Sin, outer[0]);
        let inner = b.begin_scan(k, &[start]);
        let product = b.mul(inner[0], x[1]);
        let product = b.mul(product, x[0]);
        let next = b.add(product, outer[0]);
        let next = b.map1(ScalarFn::Tanh, next);
        let yielded = b.mul(next, x[1]);
        let done = b.end_scan(true, &[start], &[next], &[yielded]);
        let sum = b.sum(done.yields[0], &[k]);
        let next = b.add(sum, done.carries[0]);
        let next = b.map1(ScalarFn::Sin, next);
        let scan = b.end_scan(false, &[x[2]], &[next], &[done.carries[0]]);
        vec![scan.carries[0], scan.yields[0]]
    });
}

#[test]
fn a_stack_of_blocks() {
    // Parameters with the scan's axis, a carry of more axes.
    both_orders(&["ikt", "it", "ij"], &|b, x| {
        let [i, _, k, t] = ids(b, 4)[..] else { unreachable!() };
        let carries = b.begin_scan(t, &[x[2]]);
        let product = b.mul(carries[0], x[0]);
        let hidden = b.sum(product, &[i]);
        let hidden = b.map1(ScalarFn::Tanh, hidden);
        let product = b.mul(hidden, x[0]);
        let back = b.sum(product, &[k]);
        let back = b.add(back, x[1]);
        let next = b.add(carries[0], back);
        let scan = b.end_scan(false, &[x[2]], &[next], &[]);
        vec![scan.carries[0]]
    });
}

#[test]
fn reading_a_carry_at_the_step() {
    // A buffer h: at step t, h[t] is read and all of it changes.
    both_orders(&["t"], &|b, x| {
        let t = ids(b, 4)[3];
        let place = b.axis("p", 5.into());
        let buffer = b.rename(x[0], &[(t, place)]);
        let carries = b.begin_scan(t, &[buffer]);
        let here = b.view(carries[0], IndexMap::new([(place, Index::axis(t))], Outside::Never));
        let product = b.mul(carries[0], here);
        let next = b.map1(ScalarFn::Sin, product);
        let scan = b.end_scan(false, &[buffer], &[next], &[here]);
        vec![scan.carries[0], scan.yields[0]]
    });
}

#[test]
fn a_gradient_inside_of_a_loop() {
    // Steps of gradient descent on a learned quadratic form.
    both_orders(&["i", "ik"], &|b, x| {
        let [i, _, k, t] = ids(b, 4)[..] else { unreachable!() };
        let carries = b.begin_scan(t, &[x[0]]);
        let point = b.alias(carries[0]);
        let product = b.mul(point, x[1]);
        let image = b.sum(product, &[i]);
        let image = b.map1(ScalarFn::Sin, image);
        let energy = b.mul(image, image);
        let energy = b.sum(energy, &[k]);
        let one = b.constant(1.0, F64);
        let gradient = super::vjp(b, energy, &[point], one)[0];
        let rate = b.constant(0.1, F64);
        let step = b.mul(rate, gradient);
        let next = b.sub(carries[0], step);
        let scan = b.end_scan(false, &[x[0]], &[next], &[energy]);
        vec![scan.carries[0], scan.yields[0]]
    });
}

/// The gradient of `f` at the points of `i`, summed up.
fn gradient_at(points: &[f64], function: &dyn Fn(&mut Builder, Node) -> Node) -> Vec<f64> {
    let mut b = Builder::new();
    let i = b.axis("i", (points.len() as i64).into());
    let x = argument(&mut b, "x", &[i], F64);
    let x = b.alias(x);
    let y = function(&mut b, x);
    let one = b.constant(1.0, F64);
    let gradient = super::vjp(&mut b, y, &[x], one)[0];
    let graph = finish(b, &[gradient]);
    run(&graph, &[Tensor::from_vec(&[points.len()], points.to_vec()).unwrap()]).remove(0)
}

#[test]
fn the_side_not_taken_counts_nothing() {
    let logarithm = gradient_at(&[-1.0, 0.0, 2.0], &|b, x| {
        let zero = b.constant(0.0, F64);
        let positive = b.map2(ScalarFn::Lt, zero, x);
        let log = b.map1(ScalarFn::Log, x);
        b.select(positive, log, zero)
    });
    assert_eq!(logarithm, [0.0, 0.0, 0.5]);
    let elu = gradient_at(&[1000.0, -1.0], &|b, x| {
        let (zero, one) = (b.constant(0.0, F64), b.constant(1.0, F64));
        let negative = b.map2(ScalarFn::Lt, x, zero);
        let exp = b.map1(ScalarFn::Exp, x);
        let less = b.sub(exp, one);
        b.select(negative, less, x)
    });
    assert_eq!(elu, [1.0, (-1f64).exp()]);
    let root = gradient_at(&[0.0, 4.0], &|b, x| {
        let (zero, one) = (b.constant(0.0, F64), b.constant(1.0, F64));
        let root = b.map1(ScalarFn::Sqrt, x);
        let inverse = b.div(one, root);
        let positive = b.map2(ScalarFn::Lt, zero, x);
        b.select(positive, inverse, zero)
    });
    assert_eq!(root, [0.0, -0.5 / 8.0]);
}

#[test]
fn ties_split_evenly() {
    let largest = gradient_at(&[2.0, 1.0, 2.0, 0.0], &|b, x| {
        let i = b.axes(x)[0];
        b.reduce(Reducer::Max, x, &[i])
    });
    assert_eq!(largest, [0.5, 0.0, 0.5, 0.0]);
    let pair = gradient_at(&[3.0, -3.0], &|b, x| {
        let three = b.constant(3.0, F64);
        b.map2(ScalarFn::Max, x, three)
    });
    assert_eq!(pair, [0.5, 0.0]);
}

#[test]
fn products_with_zeros() {
    let product = |b: &mut Builder, x: Node| {
        let i = b.axes(x)[0];
        b.reduce(Reducer::Prod, x, &[i])
    };
    assert_eq!(gradient_at(&[2.0, 0.0, 3.0], &product), [0.0, 6.0, 0.0]);
    assert_eq!(gradient_at(&[0.0, 0.0, 3.0], &product), [0.0, 0.0, 0.0]);
}

#[test]
fn integers_bools_and_stopped_values_have_no_gradient() {
    let mut b = Builder::new();
    let i = b.axis("i", 3.into());
    let x = argument(&mut b, "x", &[i], F64);
    let n = argument(&mut b, "n", &[i], I32);
    let (x, n) = (b.alias(x), b.alias(n));
    let stopped = b.stop_gradient(x);
    let rounded = b.cast(x, I32);
    let back = b.cast(rounded, F64);
    let sum = b.add(stopped, back);
    let as_float = b.cast(n, F64);
    let y = b.mul(sum, as_float);
    let one = b.constant(1.0, F64);
    let gradients = super::vjp(&mut b, y, &[x, n], one);
    assert_eq!([b.dtype(gradients[0]), b.dtype(gradients[1])], [F64, I32]);
    let graph = finish(b, &gradients);
    let values = run(
        &graph,
        &[
            Tensor::from_vec(&[3], vec![1.0, 2.0, 3.0]).unwrap(),
            Tensor::from_vec(&[3], vec![1i32, 2, 3]).unwrap(),
        ],
    );
    assert_eq!(values, vec![vec![0.0; 3]; 2]);
}

#[test]
fn a_loop_over_nothing() {
    let mut b = Builder::new();
    let (t, i) = (b.axis("t", 0.into()), b.axis("i", 2.into()));
    let (h, w) = (argument(&mut b, "h", &[i], F64), argument(&mut b, "w", &[i], F64));
    let (h, w) = (b.alias(h), b.alias(w));
    let carries = b.begin_scan(t, &[h]);
    let next = b.mul(carries[0], w);
    let scan = b.end_scan(false, &[h], &[next], &[next]);
    let one = b.constant(1.0, F64);
    let gradients = super::vjp(&mut b, scan.carries[0], &[h, w], one);
    let graph = finish(b, &[scan.yields[0], gradients[0], gradients[1]]);
    let x = Tensor::from_vec(&[2], vec![3.0, 4.0]).unwrap();
    assert_eq!(run(&graph, &[x.clone(), x]), vec![vec![], vec![1.0; 2], vec![0.0; 2]]);
}

fn fit_to(b: &mut Builder, x: Node, like: Node) -> Node {
    let axes = b.axes(like).clone();
    b.fit(x, &axes)
}

/// A random function of two arguments from a list of choices; each appends one value computed from earlier ones.
pub(crate) fn random_function(choices: &[u8]) -> impl Fn(&mut Builder, &[Node]) -> Vec<Node> + '_ {
    move |b, x| {
        let axes = ids(b, 4);
        let mut values = x.to_vec();
        let mut open: Vec<(Vec<Node>, Axis, Node)> = Vec::new();
        for choice in choices.chunks_exact(3) {
            let pick = |n: u8| values[values.len() - 1 - n as usize % values.len().min(4)];
            let (x, y) = (pick(choice[1]), pick(choice[2]));
            let own = b.axes(x).clone();
            let axis = own.get(choice[2] as usize % own.len().max(1)).copied();
            let free = axis.filter(|axis| !b.bound().contains(axis));
            let value = match (choice[0] % 12, free) {
                (0, _) => b.add(x, y),
                (1, _) => {
                    let bounded = b.map1(ScalarFn::Sin, y);
                    b.mul(x, bounded)
                }
                (2, _) => b.map1(ScalarFn::Sin, x),
                (3, _) => b.map1(ScalarFn::Tanh, x),
                (4, _) => {
                    let scaled = b.map1(ScalarFn::Sigmoid, y);
                    b.div(x, scaled)
                }
                (5, Some(axis)) => b.sum(x, &[axis]),
                (6, Some(axis)) => {
                    let shifted = Index::axis(axis).minus(&Index::constant(1)).unwrap();
                    b.view(x, IndexMap::new([(axis, shifted)], Outside::Zero))
                }
                (7, _) => {
                    let condition = b.map2(ScalarFn::Lt, x, y);
                    b.select(condition, x, y)
                }
                (8, Some(axis)) => {
                    let place = b.position(axis, I32);
                    let two = b.constant(2.0, I32);
                    let index = b.map2(ScalarFn::Rem, place, two);
                    b.gather(x, axis, index)
                }
                (9, _) if open.len() < 2 => {
                    let axis = axes[choice[2] as usize % 4];
                    if b.bound().contains(&axis) || b.axes(x).contains(&axis) {
                        continue;
                    }
                    let carry = b.begin_scan(axis, &[x])[0];
                    open.push((values.clone(), axis, x));
                    values.push(carry);
                    carry
                }
                (10, _) => match open.pop() {
                    Some((outer, _, first)) => {
                        let shrunk = b.map1(ScalarFn::Sin, x);
                        // A carry with more axes might get one that a loop inside runs along.
                        let shrunk = fit_to(b, shrunk, first);
                        let scan = b.end_scan(choice[1].is_multiple_of(2), &[first], &[shrunk], &[y]);
                        values = outer;
                        values.push(scan.carries[0]);
                        scan.yields[0]
                    }
                    None => continue,
                },
                (11, Some(axis)) => {
                    let less = b.map1(ScalarFn::Cos, x);
                    let mean = b.reduce(Reducer::Max, less, &[axis]);
                    b.mul(mean, x)
                }
                _ => continue,
            };
            values.push(value);
        }
        while let Some((outer, _, first)) = open.pop() {
            let last = values[values.len() - 1];
            let shrunk = b.map1(ScalarFn::Sin, last);
            let shrunk = fit_to(b, shrunk, first);
            let scan = b.end_scan(false, &[first], &[shrunk], &[last]);
            values = outer;
            values.push(scan.yields[0]);
            values.push(scan.carries[0]);
        }
        vec![values[values.len() - 1], values[values.len() / 2]]
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 150, failure_persistence: None, ..Default::default() })]
    #[test]
    fn random_graphs(choices in proptest::collection::vec(proptest::num::u8::ANY, 3..36)) {
        let function = random_function(&choices);
        to_second_order(&["ij", "jt"], true, &function);
    }
}

#[test]
fn bools_pass_through_a_loop() {
    first_order(&["it"], false, &|b, x| {
        let t = ids(b, 4)[3];
        let (one, no) = (b.constant(1.0, F64), b.constant(0.0, Bool));
        let zero = b.constant(0.0, F64);
        let carries = b.begin_scan(t, &[no, zero]);
        let large = b.map2(ScalarFn::Lt, one, x[0]);
        let seen = b.map2(ScalarFn::Or, carries[0], large);
        let sum = b.add(carries[1], x[0]);
        let next = b.select(seen, sum, carries[1]);
        let scan = b.end_scan(false, &[no, zero], &[seen, next], &[]);
        vec![scan.carries[1]]
    });
    let _: DType = Bool;
}
