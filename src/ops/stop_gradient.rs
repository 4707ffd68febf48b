//! `stop_gradient(x)`: `x`; its derivative is zero.

use super::array::{Array, EvalCx, EvalError};
use super::{Eval, Jvp, OpDef, Shape, Transpose, Typing};
use crate::graph::{Builder, Node, NodeData};

pub static OP: OpDef = OpDef {
    name: "stop_gradient",
    shape,
    jvp: Jvp::Zero,
    transpose: Transpose::Never,
    eval: Eval::Rule(eval),
    example,
};

fn shape(node: &Typing) -> Result<Shape, String> {
    let [arg] = node.args()?;
    Ok(Shape { axes: arg.axes.clone(), dtype: arg.dtype })
}

fn eval(_: &EvalCx, _: &NodeData, args: &[Array]) -> Result<Array, EvalError> {
    Ok(args[0].clone())
}

fn example(b: &mut Builder) -> (Node, Vec<f64>) {
    let x = b.constant(3.0, crate::tensor::DType::F32);
    (b.stop_gradient(x), vec![3.0])
}
