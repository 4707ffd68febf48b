//! `project k of %t`: one component of a tuple.

use super::{Eval, Jvp, OpDef, Shape, Transpose, Typing, fused, scan};
use crate::graph::{Builder, Node, Op};

pub static OP: OpDef =
    OpDef { name: "project", shape, jvp: Jvp::Body, transpose: Transpose::Body, eval: Eval::Body, example };

fn shape(node: &Typing) -> Result<Shape, String> {
    let [tuple] = node.args()?;
    let Op::Project(index) = node.op else { unreachable!("a projection") };
    match &tuple.op {
        Op::Scan(scan) => scan::component(node.graph, scan, *index as usize),
        Op::Fused(region) => fused::component(node.graph, *region, *index as usize),
        _ => Err("its argument is no tuple".into()),
    }
}

fn example(b: &mut Builder) -> (Node, Vec<f64>) {
    let t = b.axis("t", 3.into());
    let (one, two) = (b.constant(1.0, crate::tensor::DType::F32), b.constant(2.0, crate::tensor::DType::F32));
    let carries = b.begin_scan(t, &[one]);
    let next = b.mul(carries[0], two);
    let scan = b.end_scan(false, &[one], &[next], &[]);
    (b.project(scan.scan, 0), vec![8.0])
}
