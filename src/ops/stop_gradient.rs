//! `stop_gradient(x)`: `x`; its derivative is zero.

use super::{OpDef, Shape, Typing};

pub static OP: OpDef = OpDef { name: "stop_gradient", shape };

fn shape(node: &Typing) -> Result<Shape, String> {
    let [arg] = node.args()?;
    Ok(Shape { axes: arg.axes.clone(), dtype: arg.dtype })
}
