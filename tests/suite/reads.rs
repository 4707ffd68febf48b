//! Reads outside of grids, rings and causal axes: convolution, pooling and their kin, against their definitions, in the
//! three executions, and backwards.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use nnc::axes::DimVar;
use nnc::check::Entry;
use nnc::elaborate::Part;
use nnc::graph::interpret;
use nnc::session::{Session, Settings, graph_of};
use nnc::tensor::{DType, Tensor};

use super::agreement::source_agrees;

const LAYERS: &str = "
fn conv1d(s: dim = 2, d: dim = 2, p: dim = 3)(x: f32[grid T, C], w: f32[3, C, D]) -> f32[(T + 2*p - 2*d - 1) / s + 1, D] =
  for i: (T + 2*p - 2*d - 1) / s + 1, o => sum a: 3, c => x[s*i + d*a - p, c] * w[a, c, o]
fn conv2d(s: dim = 1, p: dim = 1)(x: f32[grid H, grid W, C], w: f32[3, 3, C, D]) -> f32[(H + 2*p - 3) / s + 1, (W + 2*p - 3) / s + 1, D] =
  for i: (H + 2*p - 3) / s + 1, j: (W + 2*p - 3) / s + 1, o =>
    sum a: 3, b: 3, c => x[s*i + a - p, s*j + b - p, c] * w[a, b, c, o]
fn highest(x: f32[grid H, grid W, C]) -> f32[(H + 1) / 2, (W + 1) / 2, C] =
  for i: (H + 1) / 2, j: (W + 1) / 2, c => max a: 3, b: 3 where 2*i + a - 1 in H and 2*j + b - 1 in W => x[2*i + a - 1, 2*j + b - 1, c]
fn average(x: f32[grid T, C]) -> f32[T, C] = for i: T, c => mean a: 3 where i + a - 1 in T => x[i + a - 1, c]
fn padded_average(x: f32[grid T, C]) -> f32[T, C] = for i: T, c => mean a: 3 => x[i + a - 1, c]
fn round(x: f32[ring T, C]) -> f32[T, C] = for i: T, c => x[i - 1, c] - 2 * x[i, c] + x[i + 2, c]
fn past(x: f32[causal T, C], w: f32[3, C, D]) -> f32[T, D] = for t: T, o => sum a: 3, c => x[t - 2*a, c] * w[a, c, o]
fn transposed(x: f32[grid T, C], w: f32[3, C, D]) -> f32[2*T + 1, D] =
  for i: 2*T + 1, o => sum a: 3, c where (i - a) % 2 == 0 => x[(i - a) / 2, c] * w[a, c, o]
fn larger(x: f32[grid H, grid W, C]) -> f32[2*H, 3*W, C] = for i: 2*H, j: 3*W, c => x[i / 2, j / 3, c]
fn turned(x: f32[dim T, C]) -> f32[T, C] = for i: T, c => x[T - 1 - i, c]
fn band(x: f32[causal T, C]) -> f32[T, C] = for t, c => sum u where t - 2 <= u and u <= t => x[u, c]
fn differences(x: f32[dim T, C]) -> f32[T, C] = for t: T, c => if t >= 1 { x[t, c] - x[t - 1, c] } else { x[t, c] }
fn later(x: f32[T, C]) -> f32[T, C] = shift(x, over: T, by: 1) + 2 * shift(x, over: T, by: -2, fill: 1)
fn labels(y: Idx[5][T]) -> Idx[5][T] = shift(y, over: T, by: 1, fill: 4)
fn constant(C: dim = 2)(x: f32[grid T]) -> f32[T] { let ones: f32[T] = for t: T => 1.0
  for t: T => x[t] * ones[t - 1] }
";

fn scalar(name: &str, params: &str, args: &str) -> String {
    format!("fn loss_{name}({params}) -> f32 = sum({name}({args}) ** 2.0)\n")
}

#[test]
fn reads_outside_agree() {
    let sizes: &[&[(&str, i64)]] = &[
        &[("T", 7), ("H", 6), ("W", 5), ("C", 2), ("D", 3)],
        &[("T", 1), ("H", 1), ("W", 2), ("C", 1), ("D", 1)],
        &[("T", 40), ("H", 33), ("W", 18), ("C", 4), ("D", 17)],
    ];
    source_agrees(LAYERS, sizes);
}

#[test]
fn derivatives_of_reads_outside_agree() {
    let (one, weights) = ("x: f32[T, C]", "x: f32[T, C], w: f32[3, C, D]");
    let image = "x: f32[H, W, C]";
    let mut source = LAYERS.to_owned();
    for (name, params, args) in [
        ("conv1d", weights, "x, w"),
        ("past", weights, "x, w"),
        ("transposed", weights, "x, w"),
        ("average", one, "x"),
        ("padded_average", one, "x"),
        ("round", one, "x"),
        ("band", one, "x"),
        ("differences", one, "x"),
        ("turned", one, "x"),
        ("later", one, "x"),
        ("highest", image, "x"),
        ("larger", image, "x"),
        ("conv2d", "x: f32[H, W, C], w: f32[3, 3, C, D]", "x, w"),
    ] {
        source.push_str(&scalar(name, params, args));
        source.push_str(&format!("fn back_{name}({params}) = grad(loss_{name})({args})\n"));
    }
    let sizes: &[&[(&str, i64)]] = &[
        &[("T", 7), ("H", 6), ("W", 5), ("C", 2), ("D", 3)],
        &[("T", 2), ("H", 1), ("W", 3), ("C", 1), ("D", 1)],
        &[("T", 19), ("H", 9), ("W", 17), ("C", 3), ("D", 4)],
    ];
    source_agrees(&source, sizes);
}

/// The interpreter's result for a definition of `LAYERS`, its arguments given as shapes and entries.
fn value(name: &str, dims: &[(&str, i64)], args: &[(&[usize], &[f64])]) -> Vec<f64> {
    let mut session = Session::of_text("test.nn", LAYERS, Path::new(env!("CARGO_MANIFEST_DIR")));
    let check = session.check(&Settings::default(), &|entry| matches!(entry, Entry::Def(_)));
    assert!(check.ok());
    let item = check.items.iter().find(|item| &*item.name == name).expect("the definition");
    let core = item.core.as_ref().expect("checked");
    let settings = Settings { verify: true, ..Settings::default() };
    let graph = graph_of(core, Part::Body, &BTreeMap::new(), &settings, None, &mut Default::default());
    let graph = graph.unwrap_or_else(|failure| panic!("{}", failure.message));
    let given: Vec<Tensor> = args
        .iter()
        .zip(&graph.inputs)
        .map(|((shape, entries), input)| {
            Tensor::from_vec(shape, entries.to_vec()).expect("as many entries").cast(input.dtype)
        })
        .collect();
    let dims: HashMap<DimVar, i64> = dims.iter().map(|(name, size)| (DimVar::new(name), *size)).collect();
    let outputs = interpret(&graph, &given, &dims).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    outputs[0].cast(DType::F64).as_slice::<f64>().expect("of f64").to_vec()
}

#[test]
fn outside_of_a_grid_are_zeros() {
    let x = [1.0, 2.0, 3.0, 4.0, 5.0];
    let of = |name| value(name, &[("T", 5), ("C", 1)], &[(&[5, 1], &x)]);
    assert_eq!(
        of("padded_average").iter().map(|x| (x * 3.0).round()).collect::<Vec<_>>(),
        [3., 6., 9., 12., 9.]
    );
    assert_eq!(of("average"), [1.5, 2.0, 3.0, 4.0, 4.5]);
    assert_eq!(of("round"), [5. - 2. + 3., 1. - 4. + 4., 2. - 6. + 5., 3. - 8. + 1., 4. - 10. + 2.]);
    assert_eq!(of("turned"), [5., 4., 3., 2., 1.]);
    assert_eq!(of("band"), [1., 3., 6., 9., 12.]);
    assert_eq!(of("differences"), [1., 1., 1., 1., 1.]);
    assert_eq!(of("later"), [6., 1. + 8., 2. + 10., 3. + 2., 4. + 2.]);
    let ones = value("constant", &[("T", 3)], &[(&[3], &[5., 6., 7.])]);
    assert_eq!(ones, [0., 6., 7.], "a value that is the same everywhere is zero outside all the same");
    let labels = value("labels", &[("T", 3)], &[(&[3], &[1., 2., 3.])]);
    assert_eq!(labels, [4., 1., 2.]);
}

#[test]
fn convolutions_are_their_sums() {
    let x: Vec<f64> = (0..6).map(|i| f64::from(i * i) - 3.0).collect();
    let w = [2.0, -1.0, 0.5];
    let at = |i: i64| usize::try_from(i).ok().and_then(|i| x.get(i)).copied().unwrap_or(0.0);
    let given: [(&[usize], &[f64]); 2] = [(&[6, 1], &x), (&[3, 1, 1], &w)];
    let dims = [("T", 6), ("C", 1), ("D", 1)];
    let taps = |index: &dyn Fn(i64) -> i64| (0..3).map(|a| w[a as usize] * at(index(a))).sum::<f64>();
    let conv: Vec<f64> = (0..4).map(|i| taps(&|a| 2 * i + 2 * a - 3)).collect();
    assert_eq!(value("conv1d", &dims, &given), conv);
    let past: Vec<f64> = (0..6).map(|t| taps(&|a| t - 2 * a)).collect();
    assert_eq!(value("past", &dims, &given), past);
    let mut spread = vec![0.0; 13];
    for i in 0..6 {
        for a in 0..3 {
            spread[2 * i + a] += x[i] * w[a];
        }
    }
    assert_eq!(value("transposed", &dims, &given), spread);
}
