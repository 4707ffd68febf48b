//! `scan t (h = h0…) { … }`: the body once for each index of `t`, in order (or from the last to the first), carrying values.
//!
//! Its value is a tuple: the final carries, then the yields, which have `t`. Over nothing, the final carries are the first ones.
//! Inside, a value that has `t` stands for its entry at the current step. The verifier checks the body.

use super::{Eval, Jvp, OpDef, Shape, Transpose, Typing};
use crate::graph::sets::{union, without};
use crate::graph::{Builder, Graph, Node, Op, Scan};

pub static OP: OpDef =
    OpDef { name: "scan", shape, jvp: Jvp::Body, transpose: Transpose::Body, eval: Eval::Body, example };

fn shape(node: &Typing) -> Result<Shape, String> {
    let Op::Scan(scan) = node.op else { unreachable!("a scan") };
    if node.args.len() != scan.carries {
        return Err(format!("{} carries, but {} first values", scan.carries, node.args.len()));
    }
    Ok(Shape::tuple())
}

/// The type of one component.
pub(super) fn component(graph: &Graph, scan: &Scan, index: usize) -> Result<Shape, String> {
    let body = &graph.regions[scan.body];
    let result = *body.results.get(index).ok_or("the scan has no such component")?;
    let result = &graph.nodes[result];
    Ok(match body.params.get(index) {
        Some(carry) if index < scan.carries => {
            Shape { axes: without(&graph.nodes[*carry].axes, &[scan.axis]), dtype: result.dtype }
        }
        _ => Shape { axes: union(&result.axes, &[scan.axis]), dtype: result.dtype },
    })
}

fn example(b: &mut Builder) -> (Node, Vec<f64>) {
    let t = b.axis("t", 4.into());
    let dtype = crate::tensor::DType::I32;
    let (x, first) = (b.position(t, dtype), b.constant(0.0, dtype));
    let carries = b.begin_scan(t, &[first]);
    let sum = b.add(carries[0], x);
    let scan = b.end_scan(false, &[first], &[sum], &[sum]);
    (scan.yields[0], vec![0.0, 1.0, 3.0, 6.0])
}
