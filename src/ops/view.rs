//! `view(x) i := 2*a + k`: `out[o…] = x[map(o…)]`, a reading of `x` at computed places: rename, window, slice, flip, split,
//! merge, diagonal.

use super::{OpDef, Shape, Typing};
use crate::graph::sets::{common, union, without};
use crate::graph::{IndexMap, Op};

pub static OP: OpDef = OpDef { name: "view", shape };

fn shape(node: &Typing) -> Result<Shape, String> {
    let [arg] = node.args()?;
    let Op::View(map) = node.op else { unreachable!("a view") };
    well_formed(map)?;
    if let Some((axis, _)) = map.at.iter().find(|(axis, _)| !arg.axes.contains(axis)) {
        return Err(format!("reads along {}, which its argument does not have", node.name(*axis)));
    }
    let (kept, mentioned) = (without(&arg.axes, &map.named()), map.mentioned());
    if let Some(axis) = common(&kept, &mentioned).first() {
        return Err(format!("mentions {}, which its argument keeps: it must be named too", node.name(*axis)));
    }
    Ok(Shape { axes: union(&kept, &mentioned), dtype: arg.dtype })
}

/// Named axes ascend, terms of affine indices too.
pub(super) fn well_formed(map: &IndexMap) -> Result<(), String> {
    use crate::graph::Index;
    fn index_is_well_formed(index: &Index) -> bool {
        match index {
            Index::Affine(affine) => affine.terms.is_sorted_by(|(a, _), (b, _)| a < b),
            Index::Div(index, _) | Index::Rem(index, _) => index_is_well_formed(index),
            Index::Sum(parts) => parts.iter().all(|(_, part)| index_is_well_formed(part)),
        }
    }
    if !map.at.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Err("the map's axes are not in ascending order, each once".into());
    }
    if !map.at.iter().all(|(_, index)| index_is_well_formed(index)) {
        return Err("the terms of an index are not in ascending order of their axes, each once".into());
    }
    Ok(())
}
