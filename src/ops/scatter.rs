//! `scatter op(values, index) over e into n`: `out[…, n] = op over e of values where index == n`.
//! Where no entry of `index` is `n`, the result is what the reducer gives over nothing. The entries of `index` are in range.

use super::{OpDef, Shape, Typing};
use crate::graph::sets::{is_set, union, without};
use crate::graph::{Op, Reducer};

pub static OP: OpDef = OpDef { name: "scatter", shape };

fn shape(node: &Typing) -> Result<Shape, String> {
    let [values, index] = node.args()?;
    let Op::Scatter { op, into, over } = node.op else { unreachable!("a scatter") };
    if !index.dtype.is_integer() {
        return Err(format!("an index of {}", index.dtype));
    }
    if matches!(op, Reducer::ArgMax | Reducer::ArgMin) {
        return Err(format!("{} does not scatter", op.name()));
    }
    if !is_set(over) {
        return Err("the axes that vanish are no set".into());
    }
    let all = union(&values.axes, &index.axes);
    if let Some(axis) = over.iter().find(|axis| !all.contains(axis)) {
        return Err(format!("combines over {}, which its arguments do not have", node.name(*axis)));
    }
    let kept = without(&all, over);
    if kept.contains(into) {
        return Err(format!("makes {}, which its arguments have already", node.name(*into)));
    }
    Ok(Shape { axes: union(&kept, &[*into]), dtype: op.dtype(values.dtype)? })
}
