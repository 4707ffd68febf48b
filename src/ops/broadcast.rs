//! `broadcast(x) over i, j`: `x`, the same at every index of these axes. Axes that `x` already has are left as they are.

use super::array::{Array, EvalCx, EvalError};
use super::{Cotangent, Eval, Jvp, OpDef, Pullback, Pulled, Shape, Transpose, Typing};
use crate::graph::sets::{is_set, union};
use crate::graph::{Builder, Node, NodeData, Op};

pub static OP: OpDef = OpDef {
    name: "broadcast",
    shape,
    jvp: Jvp::Rule(jvp),
    transpose: Transpose::Rule(transpose),
    eval: Eval::Rule(eval),
    example,
};

fn shape(node: &Typing) -> Result<Shape, String> {
    let [arg] = node.args()?;
    let Op::Broadcast(axes) = node.op else { unreachable!("a broadcast") };
    if !is_set(axes) {
        return Err("the axes are no set".into());
    }
    Ok(Shape { axes: union(&arg.axes, axes), dtype: arg.dtype })
}

/// The tangent is constant along the new axes, too.
fn jvp(_: &mut Builder, _: Node, tangents: &[Option<Node>]) -> Option<Node> {
    tangents[0]
}

/// Summed over the new axes.
fn transpose(_: &mut Builder, pullback: &Pullback) -> Pulled {
    let Cotangent { value, mask } = pullback.cotangent;
    Cotangent { value, mask }.alone()
}

fn eval(cx: &EvalCx, node: &NodeData, args: &[Array]) -> Result<Array, EvalError> {
    let axes = cx.free(&node.axes);
    let entries = args[0].spread(&axes, &cx.shape(&axes)?);
    let mut at = 0;
    Array::from_fn(cx, axes, node.dtype, |_| {
        at += 1;
        Ok(entries[at - 1])
    })
}

fn example(b: &mut Builder) -> (Node, Vec<f64>) {
    let i = b.axis("i", 3.into());
    let x = b.constant(2.0, crate::tensor::DType::F32);
    (b.broadcast(x, &[i]), vec![2.0; 3])
}
