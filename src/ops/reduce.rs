//! `reduce op(x) over i, j`: combines all entries along the axes.
//!
//! Over nothing, sum is 0, prod 1, max the least value (−∞), min the greatest, any false, all true, argmax and argmin 0.
//! Max and min are NaN if any entry is; argmax and argmin then give the first NaN.
//!
//! The derivative of max and min is split evenly at ties. That of prod is the product of all other entries, taken as such: right at zeros
//! and of any order, at the price of as many products as there are entries.

use super::array::{Array, EvalCx, EvalError, combine};
use super::{Cotangent, Eval, Jvp, OpDef, Pullback, Pulled, ScalarFn, Shape, Transpose, Typing};
use crate::graph::sets::{is_set, without};
use crate::graph::{Axis, AxisSet, Builder, Node, NodeData, Op, Reducer};
use crate::tensor::{DType, Number};

pub static OP: OpDef = OpDef {
    name: "reduce",
    shape,
    jvp: Jvp::Rule(jvp),
    transpose: Transpose::Rule(transpose),
    eval: Eval::Rule(eval),
    example,
};

fn shape(node: &Typing) -> Result<Shape, String> {
    let [arg] = node.args()?;
    let Op::Reduce { op, over } = node.op else { unreachable!("a reduce") };
    if !is_set(over) || over.is_empty() {
        return Err("the reduced axes are no set of at least one".into());
    }
    if let Some(axis) = over.iter().find(|axis| !arg.axes.contains(axis)) {
        return Err(format!("reduces over {}, which its argument does not have", node.name(*axis)));
    }
    if matches!(op, Reducer::ArgMax | Reducer::ArgMin) && over.len() != 1 {
        return Err(format!("{} is along one axis, not {}", op.name(), over.len()));
    }
    Ok(Shape { axes: without(&arg.axes, over), dtype: op.dtype(arg.dtype)? })
}

fn jvp(b: &mut Builder, node: Node, tangents: &[Option<Node>]) -> Option<Node> {
    let tangent = tangents[0]?;
    let (x, op) = (b.args(node)[0], b.op(node).clone());
    let Op::Reduce { op, over } = op else { unreachable!("a reduce") };
    let weight = match op {
        Reducer::Sum => return Some(b.sum(tangent, &over)),
        Reducer::Max | Reducer::Min => {
            let ties = b.map2(ScalarFn::Eq, x, node);
            let ties = b.cast(ties, b.dtype(x));
            let count = b.sum(ties, &over);
            b.div(ties, count)
        }
        Reducer::Prod => others(b, x, &over, None),
        _ => return None,
    };
    let weighted = b.mul(weight, tangent);
    Some(b.sum(weighted, &over))
}

/// Appends the bool that says whether an entry counts for its renaming.
type Condition<'a> = &'a dyn Fn(&mut Builder, &[(Axis, Axis)]) -> Node;

/// For each entry of `x`, the product of the other entries along the axes, of those where `same` (of an entry and a renaming of it) holds.
pub(super) fn others(b: &mut Builder, x: Node, over: &[Axis], same: Option<Condition>) -> Node {
    let pairs: Vec<(Axis, Axis)> = over.iter().map(|axis| (*axis, b.fresh(*axis))).collect();
    let renamed = b.rename(x, &pairs);
    let mut itself = b.constant(1.0, DType::Bool);
    for (axis, other) in &pairs {
        let (here, there) = (b.position(*axis, DType::I32), b.position(*other, DType::I32));
        let equal = b.map2(ScalarFn::Eq, here, there);
        itself = b.map2(ScalarFn::And, itself, equal);
    }
    let mut left_out = itself;
    if let Some(same) = same {
        let same = same(b, &pairs);
        let apart = b.map1(ScalarFn::Not, same);
        left_out = b.map2(ScalarFn::Or, itself, apart);
    }
    let one = b.constant(1.0, b.dtype(x));
    let factor = b.select(left_out, one, renamed);
    let fresh: AxisSet = pairs.iter().map(|(_, other)| *other).collect();
    b.reduce(Reducer::Prod, factor, &fresh)
}

fn transpose(b: &mut Builder, pullback: &Pullback) -> Pulled {
    let Op::Reduce { op: Reducer::Sum, over } = &pullback.node.op else {
        unreachable!("only sums are linear")
    };
    let mask = pullback.cotangent.mask.filter(|_| !pullback.contraction);
    Cotangent { value: b.broadcast(pullback.cotangent.value, over), mask }.alone()
}

fn eval(cx: &EvalCx, node: &NodeData, args: &[Array]) -> Result<Array, EvalError> {
    let Op::Reduce { op, over } = &node.op else { unreachable!("a reduce") };
    let x = &args[0];
    let axes = without(&x.axes, over);
    let order: Vec<usize> = axes.iter().chain(over).filter_map(|axis| x.place(*axis)).collect();
    let rows: Vec<Number> = x.values.view().permuted_axes(order).iter().copied().collect();
    let length: usize = cx.shape(over)?.iter().product();
    let mut row = 0;
    Array::from_fn(cx, axes, node.dtype, |_| {
        let entries = rows[row * length..][..length].iter().copied();
        row += 1;
        Ok(combine(*op, x.dtype, entries))
    })
}

fn example(b: &mut Builder) -> (Node, Vec<f64>) {
    let (i, j) = (b.axis("i", 2.into()), b.axis("j", 3.into()));
    let (x, y) = (b.position(i, DType::I32), b.position(j, DType::I32));
    let sum = b.add(x, y);
    (b.reduce(Reducer::Sum, sum, &[j]), vec![3.0, 6.0])
}
