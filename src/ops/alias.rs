//! `alias(x)`: `x`, as a new value: what `grad` differentiates by.

use super::{OpDef, Shape, Typing};

pub static OP: OpDef = OpDef { name: "alias", shape };

fn shape(node: &Typing) -> Result<Shape, String> {
    let [arg] = node.args()?;
    Ok(Shape { axes: arg.axes.clone(), dtype: arg.dtype })
}
