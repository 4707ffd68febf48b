//! `reduce op(x) over i, j`: combines all entries along the axes.
//!
//! Over nothing, sum is 0, prod 1, max the least value (−∞), min the greatest, any false, all true, argmax and argmin 0.
//! Max and min are NaN if any entry is; argmax and argmin then give the first NaN.

use super::{OpDef, Shape, Typing};
use crate::graph::sets::{is_set, without};
use crate::graph::{Op, Reducer};

pub static OP: OpDef = OpDef { name: "reduce", shape };

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
