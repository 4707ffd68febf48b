//! The walk over all primitives and scalar functions: documented examples, shape rules against values, values against the law.
//! Derivatives are walked in `autodiff::tests`.

use std::collections::{HashMap, HashSet};

use super::{ALL, Derivative, Eval, Jvp, ScalarFn, Transpose};
use crate::graph::tests::output;
use crate::graph::{Builder, Op, interpret, verify, walk};
use crate::tensor::DType::{self, BF16, Bool, F16, F32, F64, I32, I64, U8};
use crate::tensor::{Number, Tensor};

#[test]
fn the_examples_hold() {
    let mut names = HashSet::new();
    for def in ALL {
        assert!(names.insert(def.name), "{} stands twice in the list", def.name);
        let mut b = Builder::new();
        let (node, expected) = (def.example)(&mut b);
        let result = output(&b, "y", node);
        let graph = b.finish([result]);
        verify(&graph).unwrap_or_else(|defect| panic!("{}: {defect}\n{graph}", def.name));
        let used = walk::all_nodes(&graph, graph.root);
        assert!(
            used.iter().any(|node| std::ptr::eq(graph.nodes[*node].op.def(), def)),
            "{}\n{graph}",
            def.name
        );
        let inputs: Vec<Tensor> =
            graph.inputs.iter().map(|input| Tensor::zeros(input.dtype, &[]).unwrap()).collect();
        let values =
            interpret(&graph, &inputs, &HashMap::new()).unwrap_or_else(|e| panic!("{}: {e}", def.name));
        let values: Vec<f64> = values[0].numbers().map(|number| number.as_f64()).collect();
        assert_eq!(values, expected, "{}\n{graph}", def.name);
    }
}

/// What has a body is done by those who know bodies, in all three ways or in none.
#[test]
fn rules_are_complete() {
    for def in ALL {
        let body = matches!(def.name, "scan" | "project");
        assert_eq!(
            matches!(def.jvp, Jvp::Body),
            body || matches!(def.name, "fused" | "custom"),
            "{}",
            def.name
        );
        assert_eq!(matches!(def.transpose, Transpose::Body), body, "{}", def.name);
        let given = body || matches!(def.name, "fused" | "input" | "carry");
        assert_eq!(matches!(def.eval, Eval::Body), given, "{}", def.name);
    }
    for function in ScalarFn::ALL {
        let def = function.def();
        assert_eq!(Op::Map(function).def().name, "map");
        let arity = match def.derivative {
            Derivative::Partial(_) => 1,
            _ => def.arity,
        };
        assert_eq!(arity, def.arity, "{}: a partial derivative is of one argument", def.name);
    }
}

fn value(function: ScalarFn, dtype: DType, args: &[f64]) -> f64 {
    let number = |x: &f64| if dtype.is_float() { Number::Float(*x) } else { Number::Int(*x as i64) };
    function.eval(dtype, &args.iter().map(number).collect::<Vec<_>>()).as_f64()
}

#[test]
fn floats_have_the_values_of_the_law() {
    use ScalarFn::*;
    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;
    let cases: &[(ScalarFn, &[f64], f64)] = &[
        (Neg, &[2.0], -2.0),
        (Abs, &[-2.0], 2.0),
        (Sign, &[-3.0], -1.0),
        (Sign, &[0.0], 0.0),
        (Sign, &[NAN], NAN),
        (Sqrt, &[4.0], 2.0),
        (Sqrt, &[-1.0], NAN),
        (Exp, &[0.0], 1.0),
        (Exp, &[-INF], 0.0),
        (Log, &[0.0], -INF),
        (Sin, &[0.0], 0.0),
        (Cos, &[0.0], 1.0),
        (Tanh, &[INF], 1.0),
        (Sigmoid, &[-1000.0], 0.0),
        (Sigmoid, &[1000.0], 1.0),
        (Sigmoid, &[0.0], 0.5),
        (Erf, &[INF], 1.0),
        (Floor, &[-0.5], -1.0),
        (Ceil, &[0.5], 1.0),
        (Round, &[2.5], 2.0),
        (Round, &[3.5], 4.0),
        (Add, &[1.0, 2.0], 3.0),
        (Sub, &[1.0, 2.0], -1.0),
        (Mul, &[0.0, INF], NAN),
        (Div, &[1.0, 0.0], INF),
        (Rem, &[-1.0, 3.0], 2.0),
        (Rem, &[1.0, -3.0], -2.0),
        (Pow, &[0.0, 0.0], 1.0),
        (Max, &[NAN, 1.0], NAN),
        (Max, &[1.0, NAN], NAN),
        (Min, &[1.0, NAN], NAN),
        (Min, &[1.0, 2.0], 1.0),
        (Lt, &[NAN, 1.0], 0.0),
        (Le, &[1.0, 1.0], 1.0),
        (Eq, &[NAN, NAN], 0.0),
        (Ne, &[NAN, NAN], 1.0),
    ];
    for (function, args, expected) in cases {
        for dtype in [F32, F64] {
            let found = value(*function, dtype, args);
            let same = found == *expected || found.is_nan() && expected.is_nan();
            assert!(same, "{} {dtype} {args:?}: {found}, not {expected}", function.name());
        }
    }
    let covered: HashSet<&str> = cases.iter().map(|(function, ..)| function.name()).collect();
    let missing: Vec<&str> =
        ScalarFn::ALL.iter().map(|f| f.name()).filter(|name| !covered.contains(name)).collect();
    assert_eq!(missing, ["not", "f32", "and", "or", "select"], "these have tests of their own");
}

#[test]
fn f32_is_computed_in_f32_without_denormals() {
    let third = value(ScalarFn::Div, F32, &[1.0, 3.0]);
    assert_eq!(third, f64::from(1f32 / 3.0));
    assert_eq!(value(ScalarFn::Mul, F32, &[1e-30, 1e-10]), 0.0);
    assert_ne!(value(ScalarFn::Mul, F64, &[1e-300, 1e-10]), 0.0);
}

#[test]
fn integers_wrap_and_round_down() {
    use ScalarFn::*;
    let cases: &[(ScalarFn, DType, &[f64], f64)] = &[
        (Add, I32, &[2147483647.0, 1.0], -2147483648.0),
        (Sub, U8, &[3.0, 5.0], 254.0),
        (Mul, U8, &[16.0, 17.0], 16.0),
        (Neg, I32, &[-2147483648.0], -2147483648.0),
        (Abs, I32, &[-2147483648.0], -2147483648.0),
        (Div, I64, &[-7.0, 2.0], -4.0),
        (Div, I32, &[7.0, 0.0], 0.0),
        (Div, I32, &[-2147483648.0, -1.0], -2147483648.0),
        (Rem, I64, &[-7.0, 2.0], 1.0),
        (Rem, I64, &[7.0, -2.0], -1.0),
        (Rem, I32, &[7.0, 0.0], 0.0),
        (Sign, I32, &[-5.0], -1.0),
        (Max, I32, &[-5.0, 3.0], 3.0),
        (Min, U8, &[5.0, 3.0], 3.0),
        (Not, Bool, &[1.0], 0.0),
        (And, Bool, &[1.0, 0.0], 0.0),
        (Or, Bool, &[1.0, 0.0], 1.0),
        (Eq, Bool, &[1.0, 1.0], 1.0),
        (Select, I32, &[0.0, 1.0, 2.0], 2.0),
    ];
    for (function, dtype, args, expected) in cases {
        assert_eq!(value(*function, *dtype, args), *expected, "{} {dtype} {args:?}", function.name());
    }
}

#[test]
fn casts_saturate() {
    let cases: &[(DType, f64, DType, f64)] = &[
        (F32, 3e9, I32, 2147483647.0),
        (F32, f64::NAN, I32, 0.0),
        (F32, -1.5, I32, -1.0),
        (F64, 300.0, U8, 255.0),
        (F64, -1.0, U8, 0.0),
        (I64, 1e12, I32, 2147483647.0),
        (F32, f64::NAN, Bool, 1.0),
        (F64, 1e300, F32, f64::INFINITY),
        (Bool, 1.0, F16, 1.0),
        (F64, 257.0, BF16, 256.0),
        (F32, 259.0, BF16, 260.0),
        (F32, 90000.0, F16, f64::INFINITY),
        (F32, 1e-38, BF16, 0.0),
        (F64, 6e-8, F16, 5.960464477539063e-8),
    ];
    for (from, x, to, expected) in cases {
        let found = value(ScalarFn::Cast(*to), *from, &[*x]);
        assert_eq!(found, *expected, "{from} {x} to {to}");
    }
}

#[test]
fn what_reducers_give_over_nothing() {
    use crate::graph::Reducer;
    let mut b = Builder::new();
    let none = b.axis("none", 0.into());
    let mut values = Vec::new();
    for (dtype, op) in [
        (F32, Reducer::Sum),
        (F32, Reducer::Prod),
        (F32, Reducer::Max),
        (F32, Reducer::Min),
        (I32, Reducer::Max),
        (U8, Reducer::Min),
        (F32, Reducer::ArgMax),
        (Bool, Reducer::Any),
        (Bool, Reducer::All),
    ] {
        let x = b.filled(0.0, dtype, &[none]);
        values.push(b.reduce(op, x, &[none]));
    }
    let outputs: Vec<_> = values.iter().map(|value| output(&b, "y", *value)).collect();
    let graph = b.finish(outputs);
    let found = interpret(&graph, &[], &HashMap::new()).unwrap();
    let found: Vec<f64> = found.iter().flat_map(|tensor| tensor.numbers().map(|n| n.as_f64())).collect();
    let inf = f64::INFINITY;
    assert_eq!(found, [0.0, 1.0, -inf, inf, -2147483648.0, 255.0, 0.0, 0.0, 1.0]);
}

#[test]
fn argmax_takes_the_first_and_nan_is_the_largest() {
    use super::array::combine;
    use crate::graph::Reducer::{ArgMax, ArgMin, Max};
    let of = |op, values: &[f64]| combine(op, F64, values.iter().map(|x| Number::Float(*x))).as_f64();
    assert_eq!(of(ArgMax, &[1.0, 3.0, 3.0]), 1.0);
    assert_eq!(of(ArgMin, &[2.0, 1.0, 1.0]), 1.0);
    assert_eq!(of(ArgMax, &[1.0, f64::NAN, 3.0, f64::NAN]), 1.0);
    assert!(of(Max, &[1.0, f64::NAN, 3.0]).is_nan());
}

#[test]
fn reading_out_of_range_is_an_error() {
    let mut b = Builder::new();
    let i = b.axis("i", 3.into());
    let x = b.position(i, I32);
    let five = b.constant(5.0, I32);
    let read = b.gather(x, i, five);
    let result = output(&b, "y", read);
    let graph = b.finish([result]);
    let error = interpret(&graph, &[], &HashMap::new()).unwrap_err();
    assert_eq!(error.to_string(), "axis `i` has 3 indices, but 5 is read");
}
