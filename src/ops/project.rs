//! `project k of %t`: one component of a tuple.

use super::{OpDef, Shape, Typing, fused, scan};
use crate::graph::Op;

pub static OP: OpDef = OpDef { name: "project", shape };

fn shape(node: &Typing) -> Result<Shape, String> {
    let [tuple] = node.args()?;
    let Op::Project(index) = node.op else { unreachable!("a projection") };
    match &tuple.op {
        Op::Scan(scan) => scan::component(node.graph, scan, *index as usize),
        Op::Fused(region) => fused::component(node.graph, *region, *index as usize),
        _ => Err("its argument is no tuple".into()),
    }
}
