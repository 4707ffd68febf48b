//! `fused { … }`: a group of nodes that becomes one kernel. Its value is a tuple: the region's results.

use super::{Eval, Jvp, OpDef, Shape, Transpose, Typing};
use crate::graph::{Builder, Graph, Node, Region};

pub static OP: OpDef =
    OpDef { name: "fused", shape, jvp: Jvp::Body, transpose: Transpose::Never, eval: Eval::Body, example };

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

fn example(b: &mut Builder) -> (Node, Vec<f64>) {
    let two = b.constant(2.0, crate::tensor::DType::F32);
    let group = b.fused(|b| {
        let square = b.mul(two, two);
        vec![b.mul(square, two), square]
    });
    (group[0], vec![8.0])
}
