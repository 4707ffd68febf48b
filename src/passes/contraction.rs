//! Recognises sums of products.

use crate::axes::Dim;
use crate::graph::{Axis, Graph, Node, Op, Reducer};
use crate::ops::ScalarFn;
use crate::tensor::DType;

/// A contraction by the operands that have each axis.
pub struct Roles {
    /// The node that multiplies.
    pub product: Node,
    pub a: Node,
    pub b: Node,
    /// Of both operands, and kept.
    pub batch: Vec<Axis>,
    /// Of `a` alone, and kept.
    pub m: Vec<Axis>,
    /// Of `b` alone, and kept.
    pub n: Vec<Axis>,
    /// Summed.
    pub k: Vec<Axis>,
}

/// The value without what only repeats it or gives it another name.
pub(super) fn bare(graph: &Graph, mut node: Node) -> Node {
    while let Op::Broadcast(_) | Op::Alias | Op::StopGradient = graph.nodes[node].op {
        node = graph.nodes[node].args[0];
    }
    node
}

/// `reduce sum (mul a b)` in f32, if it is worth a contraction: both operands have summed axes in common, and each has one of its own.
/// `bound` are the axes of the scans around.
pub fn roles(graph: &Graph, node: Node, bound: &dyn Fn(Axis) -> bool) -> Option<Roles> {
    let size = |axis: &Axis| -> &Dim { &graph.axes[*axis].size };
    let one = |axes: &[Axis]| axes.iter().all(|axis| size(axis).as_const() == Some(1));
    products(graph, node, bound).filter(|roles| !one(&roles.m) && !one(&roles.n))
}

/// `reduce sum (mul a b)` in f32 whose operands have summed axes in common, such as a convolution of each feature by itself.
pub(super) fn products(graph: &Graph, node: Node, bound: &dyn Fn(Axis) -> bool) -> Option<Roles> {
    let data = &graph.nodes[node];
    let Op::Reduce { op: Reducer::Sum, over } = &data.op else { return None };
    let product = data.args[0];
    let factors = &graph.nodes[product];
    if data.dtype != DType::F32 || factors.op != Op::Map(ScalarFn::Mul) {
        return None;
    }
    let (a, b) = (bare(graph, factors.args[0]), bare(graph, factors.args[1]));
    let (of_a, of_b) = (&graph.nodes[a].axes, &graph.nodes[b].axes);
    let mut roles = Roles { product, a, b, batch: vec![], m: vec![], n: vec![], k: over.to_vec() };
    for axis in data.axes.iter().copied().filter(|axis| !bound(*axis)) {
        match (of_a.contains(&axis), of_b.contains(&axis)) {
            (true, true) => roles.batch.push(axis),
            (true, false) => roles.m.push(axis),
            (false, true) => roles.n.push(axis),
            (false, false) => return None,
        }
    }
    let shared = over.iter().any(|axis| of_a.contains(axis) && of_b.contains(axis));
    shared.then_some(roles)
}
