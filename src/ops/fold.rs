//! `fold(x) i := 2*a + k`: the transpose of the view with this map, `out[map(o…)] += x[o…]`; entries that nothing reaches are 0.
//! What the view would read outside of its argument is dropped.

use super::view::well_formed;
use super::{OpDef, Shape, Typing};
use crate::graph::Op;
use crate::graph::sets::{common, union, without};

pub static OP: OpDef = OpDef { name: "fold", shape };

fn shape(node: &Typing) -> Result<Shape, String> {
    let [arg] = node.args()?;
    let Op::Fold(map) = node.op else { unreachable!("a fold") };
    well_formed(map)?;
    if arg.dtype == crate::tensor::DType::Bool {
        return Err("adds up bools".into());
    }
    let mentioned = map.mentioned();
    if let Some(axis) = mentioned.iter().find(|axis| !arg.axes.contains(axis)) {
        return Err(format!("mentions {}, which its argument does not have", node.name(*axis)));
    }
    let (kept, named) = (without(&arg.axes, &mentioned), map.named());
    if let Some(axis) = common(&kept, &named).first() {
        return Err(format!("makes {}, which its argument has already", node.name(*axis)));
    }
    Ok(Shape { axes: union(&kept, &named), dtype: arg.dtype })
}
