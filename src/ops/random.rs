//! `random draw(seed, step)`: numbers that depend on seed, site, step and the coordinates along `order` only
//! (Philox4x32-10; `tensor::random` holds the law).

use super::array::{Array, EvalCx, EvalError};
use super::{Eval, Jvp, OpDef, Shape, Transpose, Typing};
use crate::graph::sets::set;
use crate::graph::{Builder, Draw, Node, NodeData, Op};
use crate::tensor::random::Key;
use crate::tensor::{DType, Number};

pub static OP: OpDef = OpDef {
    name: "random",
    shape,
    jvp: Jvp::Zero,
    transpose: Transpose::Never,
    eval: Eval::Rule(eval),
    example,
};

fn shape(node: &Typing) -> Result<Shape, String> {
    let args: [_; 2] = node.args()?;
    let Op::Random { order, .. } = node.op else { unreachable!("a draw") };
    if args.iter().any(|arg| arg.dtype != DType::I64 || !arg.axes.is_empty()) {
        return Err("seed and step are scalars of i64".into());
    }
    if !matches!(node.dtype, DType::F32 | DType::F64) {
        return Err(format!("draws are f32 or f64, not {}", node.dtype));
    }
    let axes = set(order.iter().copied());
    if axes.len() != order.len() {
        return Err("an axis stands twice in the order".into());
    }
    Ok(Shape { axes, dtype: node.dtype })
}

fn eval(cx: &EvalCx, node: &NodeData, args: &[Array]) -> Result<Array, EvalError> {
    let Op::Random { draw, site, order } = &node.op else { unreachable!("a draw") };
    let scalar = |k: usize| match args[k].number(&[]) {
        Number::Int(value) => value as u64,
        Number::Float(_) => unreachable!("seed and step are integers"),
    };
    let (key, step) = (Key::new(scalar(0), *site), scalar(1));
    let axes = cx.free(&node.axes);
    let sizes = cx.shape(order)?;
    Array::from_fn(cx, axes.clone(), node.dtype, |at| {
        let index = order.iter().zip(&sizes).fold(0u64, |index, (axis, size)| {
            let place = axes.iter().position(|own| own == axis);
            let here = place.map_or_else(|| cx.bound[*axis].unwrap_or(0) as u64, |place| at[place] as u64);
            index * *size as u64 + here
        });
        let value = match draw {
            Draw::Uniform => key.uniform(step, index),
            Draw::Normal => key.normal(step, index),
        };
        Ok(Number::Float(value.into()))
    })
}

fn example(b: &mut Builder) -> (Node, Vec<f64>) {
    let i = b.axis("i", 2.into());
    let (seed, step) = (b.constant(1.0, DType::I64), b.constant(3.0, DType::I64));
    let key = Key::new(1, 2);
    let values = (0..2).map(|index| key.uniform(3, index).into()).collect();
    (b.random(Draw::Uniform, 2, &[i], seed, step, DType::F32), values)
}
