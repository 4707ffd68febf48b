//! `fused { … }`: a group of nodes that becomes one kernel. Its value is a tuple: the region's results.

use super::{OpDef, Shape, Typing};
use crate::graph::{Graph, Region};

pub static OP: OpDef = OpDef { name: "fused", shape };

fn shape(node: &Typing) -> Result<Shape, String> {
    let [] = node.args()?;
    Ok(Shape::tuple())
}

/// The type of one component.
pub(super) fn component(graph: &Graph, region: Region, index: usize) -> Result<Shape, String> {
    let result = *graph.regions[region].results.get(index).ok_or("the group has no such component")?;
    let result = &graph.nodes[result];
    Ok(Shape { axes: result.axes.clone(), dtype: result.dtype })
}
