//! `gather(x, index) along i`: `x` read along `i` at the entries of `index`, an integer that lies in range.
//! Other axes that both have are shared: `out[o…] = x[i := index[o…], o…]`.

use super::{OpDef, Shape, Typing};
use crate::graph::Op;
use crate::graph::sets::{union, without};

pub static OP: OpDef = OpDef { name: "gather", shape };

fn shape(node: &Typing) -> Result<Shape, String> {
    let [x, index] = node.args()?;
    let Op::Gather { axis } = node.op else { unreachable!("a gather") };
    if !index.dtype.is_integer() {
        return Err(format!("an index of {}", index.dtype));
    }
    if !x.axes.contains(axis) {
        return Err(format!("reads along {}, which its argument does not have", node.name(*axis)));
    }
    Ok(Shape { axes: union(&without(&x.axes, &[*axis]), &index.axes), dtype: x.dtype })
}
