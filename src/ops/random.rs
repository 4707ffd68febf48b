//! `random draw(seed, step)`: numbers that depend on seed, site, step and the coordinates along `order` only
//! (Philox4x32-10; `tensor::random` holds the law).

use super::{OpDef, Shape, Typing};
use crate::graph::Op;
use crate::graph::sets::set;
use crate::tensor::DType;

pub static OP: OpDef = OpDef { name: "random", shape };

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
