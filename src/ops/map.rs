//! `map f(a, b…)`: one scalar function, entry by entry, over the union of the arguments' axes.

use super::{OpDef, Shape, Typing};
use crate::graph::sets::union;
use crate::graph::{AxisSet, Op};
use crate::tensor::DType;

pub static OP: OpDef = OpDef { name: "map", shape };

fn shape(node: &Typing) -> Result<Shape, String> {
    let Op::Map(function) = node.op else { unreachable!("a map") };
    let dtypes: smallvec::SmallVec<[DType; 3]> =
        node.args.iter().map(|arg| node.graph.nodes[*arg].dtype).collect();
    let dtype = function.dtype(&dtypes)?;
    let axes = node.args.iter().fold(AxisSet::new(), |all, arg| union(&all, &node.graph.nodes[*arg].axes));
    Ok(Shape { axes, dtype })
}
