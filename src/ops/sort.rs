//! `sort what(x) along i into r`: the entries along `i` in ascending order (or descending), whose places are the axis `r`.
//!
//! `values` are the entries, `order` the indices at which they stand, an i32, and `rank` says of each index how many entries stand strictly
//! before its own, an i32: entries that are equal have one rank. Equal entries keep their order, ±0 are equal, NaN stands last.
//!
//! Derivative of `values`: equal entries share the tangents evenly, so that it does not depend on which of them came first:
//! the tangents' mean over each rank, read in order.

use std::cmp::Ordering;

use super::array::{Array, EvalCx, EvalError};
use super::{Eval, Jvp, OpDef, ScalarFn, Shape, Transpose, Typing};
use crate::graph::sets::{union, without};
use crate::graph::{Builder, Node, NodeData, Op, Reducer};
use crate::tensor::{DType, Number, Sorted};

pub static OP: OpDef = OpDef {
    name: "sort",
    shape,
    jvp: Jvp::Rule(jvp),
    transpose: Transpose::Never,
    eval: Eval::Rule(eval),
    example,
};

fn shape(node: &Typing) -> Result<Shape, String> {
    let [x] = node.args()?;
    let Op::Sort { what, axis, into, .. } = node.op else { unreachable!("a sort") };
    if x.dtype == DType::Bool || x.dtype.computed() != x.dtype {
        return Err(format!("sorts {}", x.dtype));
    }
    if !x.axes.contains(axis) {
        return Err(format!("sorts along {}, which its argument does not have", node.name(*axis)));
    }
    let kept = without(&x.axes, &[*axis]);
    if kept.contains(into) {
        return Err(format!("makes {}, which its argument has already", node.name(*into)));
    }
    let dtype = if *what == Sorted::Values { x.dtype } else { DType::I32 };
    Ok(Shape { axes: union(&kept, &[*into]), dtype })
}

fn jvp(b: &mut Builder, node: Node, tangents: &[Option<Node>]) -> Option<Node> {
    let tangent = tangents[0]?;
    let (x, op) = (b.args(node)[0], b.op(node).clone());
    let Op::Sort { what: Sorted::Values, axis, into, descending } = op else { return None };
    let dtype = b.dtype(tangent);
    let order = b.sort(Sorted::Order, x, axis, into, descending);
    let (places, classes) = (b.fresh(axis), b.fresh(axis));
    let rank = b.sort(Sorted::Rank, x, axis, places, descending);
    let rank = b.rename(rank, &[(places, axis)]);
    let tangent = b.broadcast(tangent, &[axis]);
    let sum = b.scatter(Reducer::Sum, tangent, rank, &[axis], classes);
    let one = b.constant(1.0, dtype);
    let count = b.scatter(Reducer::Sum, one, rank, &[axis], classes);
    // Ranks that no entry has are not read; they shall not divide by zero.
    let count = b.map2(ScalarFn::Max, count, one);
    let mean = b.div(sum, count);
    let shared = b.gather(mean, classes, rank);
    Some(b.gather(shared, axis, order))
}

/// NaN behind all else, also where the greatest come first.
fn compare(x: Number, y: Number, descending: bool) -> Ordering {
    let (lone, order) = match (x, y) {
        (Number::Int(x), Number::Int(y)) => (Ordering::Equal, x.cmp(&y)),
        (x, y) => {
            let (x, y) = (x.as_f64(), y.as_f64());
            (x.is_nan().cmp(&y.is_nan()), x.partial_cmp(&y).unwrap_or(Ordering::Equal))
        }
    };
    lone.then(if descending { order.reverse() } else { order })
}

fn eval(cx: &EvalCx, node: &NodeData, args: &[Array]) -> Result<Array, EvalError> {
    let Op::Sort { what, axis, into, descending } = node.op else { unreachable!("a sort") };
    let (x, axes) = (&args[0], cx.free(&node.axes));
    let size = cx.size(axis)?;
    Array::from_fn(cx, axes.clone(), node.dtype, |at| {
        let entry = |index: usize| {
            let place: Vec<usize> = (x.axes.iter())
                .map(|own| if *own == axis { index } else { at[place_of(&axes, *own)] })
                .collect();
            x.number(&place)
        };
        let here = at[place_of(&axes, into)];
        if what == Sorted::Rank {
            let before = |index: &usize| compare(entry(*index), entry(here), descending) == Ordering::Less;
            return Ok(Number::Int((0..size).filter(before).count() as i64));
        }
        let mut order: Vec<usize> = (0..size).collect();
        order.sort_by(|i, j| compare(entry(*i), entry(*j), descending));
        Ok(match what {
            Sorted::Values => entry(order[here]),
            _ => Number::Int(order[here] as i64),
        })
    })
}

fn place_of(axes: &[crate::graph::Axis], axis: crate::graph::Axis) -> usize {
    axes.iter().position(|own| *own == axis).expect("an axis of the value")
}

fn example(b: &mut Builder) -> (Node, Vec<f64>) {
    let (i, r) = (b.axis("i", 4.into()), b.axis("r", 4.into()));
    let x = b.position(i, DType::I32);
    let three = b.constant(3.0, DType::I32);
    let x = b.map2(ScalarFn::Rem, x, three);
    (b.sort(Sorted::Order, x, i, r, false), vec![0.0, 3.0, 1.0, 2.0])
}
