//! `alias(x)`: `x`, as a new value: what `grad` differentiates by.

use super::array::{Array, EvalCx, EvalError};
use super::{Cotangent, Eval, Jvp, OpDef, Pullback, Pulled, Shape, Transpose, Typing};
use crate::graph::{Builder, Node, NodeData};

pub static OP: OpDef = OpDef {
    name: "alias",
    shape,
    jvp: Jvp::Rule(jvp),
    transpose: Transpose::Rule(transpose),
    eval: Eval::Rule(eval),
    example,
};

fn shape(node: &Typing) -> Result<Shape, String> {
    let [arg] = node.args()?;
    Ok(Shape { axes: arg.axes.clone(), dtype: arg.dtype })
}

fn jvp(_: &mut Builder, _: Node, tangents: &[Option<Node>]) -> Option<Node> {
    tangents[0]
}

fn transpose(_: &mut Builder, pullback: &Pullback) -> Pulled {
    let Cotangent { value, mask } = pullback.cotangent;
    Cotangent { value, mask }.alone()
}

fn eval(_: &EvalCx, _: &NodeData, args: &[Array]) -> Result<Array, EvalError> {
    Ok(args[0].clone())
}

fn example(b: &mut Builder) -> (Node, Vec<f64>) {
    let x = b.constant(3.0, crate::tensor::DType::F32);
    (b.alias(x), vec![3.0])
}
