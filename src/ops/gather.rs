//! `gather(x, index) along i`: `x` read along `i` at the entries of `index`, an integer that lies in range.
//! Other axes that both have are shared: `out[o…] = x[i := index[o…], o…]`.

use super::array::{Array, EvalCx, EvalError};
use super::{Cotangent, Eval, Jvp, OpDef, Pullback, Pulled, Shape, Transpose, Typing};
use crate::graph::sets::{union, without};
use crate::graph::{AxisSet, Builder, Node, NodeData, Op, Reducer};
use crate::tensor::{DType, Number};

pub static OP: OpDef = OpDef {
    name: "gather",
    shape,
    jvp: Jvp::Rule(jvp),
    transpose: Transpose::Rule(transpose),
    eval: Eval::Rule(eval),
    example,
};

fn shape(node: &Typing) -> Result<Shape, String> {
    let [x, index] = node.args()?;
    let Op::Gather { axis } = node.op else { unreachable!("a gather") };
    if !index.dtype.is_integer() {
        return Err(format!("an index of {}", index.dtype));
    }
    if !x.axes.contains(axis) {
        return Err(format!("reads along {}, which its argument does not have", node.name(*axis)));
    }
    Ok(Shape { axes: union(&without(&x.axes, &[*axis]), &index.axes), dtype: x.dtype })
}

fn jvp(b: &mut Builder, node: Node, tangents: &[Option<Node>]) -> Option<Node> {
    let (Op::Gather { axis }, args) = (b.op(node).clone(), b.args(node)) else { unreachable!("a gather") };
    Some(b.gather(tangents[0]?, axis, args[1]))
}

fn transpose(b: &mut Builder, pullback: &Pullback) -> Pulled {
    let Op::Gather { axis } = pullback.node.op else { unreachable!("a gather") };
    let index = pullback.known[1].expect("an index is no tangent");
    let x = b.axes(pullback.node.args[0]);
    let shared = without(x, &[axis]);
    let over: AxisSet = without(&without(b.axes(index), &shared), &b.bound());
    let value = b.scatter(Reducer::Sum, pullback.cotangent.value, index, &over, axis);
    [Some(Cotangent::plain(value)), None].into_iter().collect()
}

fn eval(cx: &EvalCx, node: &NodeData, args: &[Array]) -> Result<Array, EvalError> {
    let Op::Gather { axis } = node.op else { unreachable!("a gather") };
    let (x, axes) = (&args[0], cx.free(&node.axes));
    let indices = args[1].spread(&axes, &cx.shape(&axes)?);
    let places: Vec<Option<usize>> = (x.axes.iter())
        .map(|own| axes.iter().position(|other| other == own).filter(|_| *own != axis))
        .collect();
    let mut next = indices.iter();
    Array::from_fn(cx, axes, node.dtype, |at| {
        let Some(Number::Int(index)) = next.next().copied() else {
            unreachable!("an integer for each entry")
        };
        let index = cx.check(axis, index)?;
        let place: Vec<usize> = places.iter().map(|place| place.map_or(index, |place| at[place])).collect();
        Ok(x.number(&place))
    })
}

fn example(b: &mut Builder) -> (Node, Vec<f64>) {
    let (i, e) = (b.axis("i", 3.into()), b.axis("e", 2.into()));
    let (x, place) = (b.position(i, DType::I32), b.position(e, DType::I32));
    let two = b.constant(2.0, DType::I32);
    let (x, index) = (b.mul(x, x), b.sub(two, place));
    (b.gather(x, i, index), vec![4.0, 1.0])
}
