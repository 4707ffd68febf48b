//! `broadcast(x) over i, j`: `x`, the same at every index of these axes. Axes that `x` already has are left as they are.

use super::{OpDef, Shape, Typing};
use crate::graph::Op;
use crate::graph::sets::{is_set, union};

pub static OP: OpDef = OpDef { name: "broadcast", shape };

fn shape(node: &Typing) -> Result<Shape, String> {
    let [arg] = node.args()?;
    let Op::Broadcast(axes) = node.op else { unreachable!("a broadcast") };
    if !is_set(axes) {
        return Err("the axes are no set".into());
    }
    Ok(Shape { axes: union(&arg.axes, axes), dtype: arg.dtype })
}
