//! `scatter op(values, index) over e into n`: `out[…, n] = op over e of values where index == n`.
//! Where no entry of `index` is `n`, the result is what the reducer gives over nothing. The entries of `index` are in range.

use super::array::{Array, EvalCx, EvalError, combine};
use super::reduce::others;
use super::{Cotangent, Eval, Jvp, OpDef, Pullback, Pulled, ScalarFn, Shape, Transpose, Typing};
use crate::graph::sets::{is_set, union, without};
use crate::graph::{Axis, Builder, Node, NodeData, Op, Reducer};
use crate::tensor::{DType, Number};

pub static OP: OpDef = OpDef {
    name: "scatter",
    shape,
    jvp: Jvp::Rule(jvp),
    transpose: Transpose::Rule(transpose),
    eval: Eval::Rule(eval),
    example,
};

fn shape(node: &Typing) -> Result<Shape, String> {
    let [values, index] = node.args()?;
    let Op::Scatter { op, into, over } = node.op else { unreachable!("a scatter") };
    if !index.dtype.is_integer() {
        return Err(format!("an index of {}", index.dtype));
    }
    if matches!(op, Reducer::ArgMax | Reducer::ArgMin) {
        return Err(format!("{} does not scatter", op.name()));
    }
    if !is_set(over) {
        return Err("the axes that vanish are no set".into());
    }
    let all = union(&values.axes, &index.axes);
    if let Some(axis) = over.iter().find(|axis| !all.contains(axis)) {
        return Err(format!("combines over {}, which its arguments do not have", node.name(*axis)));
    }
    let kept = without(&all, over);
    if kept.contains(into) {
        return Err(format!("makes {}, which its arguments have already", node.name(*into)));
    }
    Ok(Shape { axes: union(&kept, &[*into]), dtype: op.dtype(values.dtype)? })
}

/// As `reduce` has it, among the entries that meet.
fn jvp(b: &mut Builder, node: Node, tangents: &[Option<Node>]) -> Option<Node> {
    let tangent = tangents[0]?;
    let (args, op) = (b.args(node), b.op(node).clone());
    let Op::Scatter { op, into, over } = op else { unreachable!("a scatter") };
    let (values, index) = (args[0], args[1]);
    let weight = match op {
        Reducer::Sum => return Some(b.scatter(Reducer::Sum, tangent, index, &over, into)),
        Reducer::Max | Reducer::Min => {
            let extremes = b.gather(node, into, index);
            let ties = b.map2(ScalarFn::Eq, values, extremes);
            let ties = b.cast(ties, b.dtype(values));
            let counts = b.scatter(Reducer::Sum, ties, index, &over, into);
            let count = b.gather(counts, into, index);
            b.div(ties, count)
        }
        Reducer::Prod => {
            let values = b.broadcast(values, &over);
            let meet = |b: &mut Builder, pairs: &[(Axis, Axis)]| {
                let other = b.rename(index, pairs);
                b.map2(ScalarFn::Eq, index, other)
            };
            others(b, values, &over, Some(&meet))
        }
        _ => return None,
    };
    let weighted = b.mul(weight, tangent);
    Some(b.scatter(Reducer::Sum, weighted, index, &over, into))
}

fn transpose(b: &mut Builder, pullback: &Pullback) -> Pulled {
    let Op::Scatter { op: Reducer::Sum, into, .. } = pullback.node.op else {
        unreachable!("only sums are linear")
    };
    let index = pullback.known[1].expect("an index is no tangent");
    let value = b.gather(pullback.cotangent.value, into, index);
    [Some(Cotangent::plain(value)), None].into_iter().collect()
}

fn eval(cx: &EvalCx, node: &NodeData, args: &[Array]) -> Result<Array, EvalError> {
    let Op::Scatter { op, into, over } = &node.op else { unreachable!("a scatter") };
    let all = union(&args[0].axes, &args[1].axes);
    let (axes, kept) = (cx.free(&node.axes), without(&all, over));
    let from = cx.shape(&all)?;
    let (values, indices) = (args[0].spread(&all, &from), args[1].spread(&all, &from));
    let mut hits: ndarray::ArrayD<Vec<Number>> = ndarray::ArrayD::default(cx.shape(&axes)?);
    for (number, at) in ndarray::indices(ndarray::IxDyn(&from)).into_iter().enumerate() {
        let Number::Int(index) = indices[number] else { unreachable!("an integer") };
        let index = cx.check(*into, index)?;
        let place: Vec<usize> = (axes.iter())
            .map(|axis| match kept.contains(axis) {
                true => at[all.iter().position(|own| own == axis).unwrap_or(0)],
                false => index,
            })
            .collect();
        hits[ndarray::IxDyn(&place)].push(values[number]);
    }
    let values = hits.mapv(|entries| combine(*op, node.dtype, entries.into_iter()));
    Ok(Array { axes, dtype: node.dtype, values })
}

fn example(b: &mut Builder) -> (Node, Vec<f64>) {
    let (n, e) = (b.axis("n", 3.into()), b.axis("e", 4.into()));
    let x = b.position(e, DType::I32);
    let two = b.constant(2.0, DType::I32);
    let index = b.map2(ScalarFn::Rem, x, two);
    (b.scatter(Reducer::Sum, x, index, &[e], n), vec![2.0, 4.0, 0.0])
}
