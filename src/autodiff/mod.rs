//! Derivatives of values by values, as nodes appended to the current region.
//!
//! Reverse mode is forward mode transposed: `linearise` appends the tangents of all values between `wrt` and `y`, whose nodes are
//! linear in the tangents of `wrt`; `transpose` walks these nodes backwards and appends the cotangents; then they are taken out again.
//! What is appended are ordinary nodes, so both modes apply to their own results, to any order.
//!
//! Must never know the language, nor what becomes of the graph: dead nodes are left to the passes.

mod linearise;
mod scan;
mod transpose;

#[cfg(test)]
pub(crate) mod tests;

use crate::graph::{Builder, Node};
use linearise::{Tangents, linearise};
use transpose::Transposer;

/// The tangent of `y` where those of `wrt` are `tangents`. It has the axes and dtype of `y`.
///
/// `wrt` must be values of the current region, made by `alias` before `y` was computed from them: the derivative passes through
/// what reads these very values.
pub fn jvp(b: &mut Builder, y: Node, wrt: &[Node], tangents: &[Node]) -> Node {
    jvps(b, &[y], wrt, tangents)[0]
}

/// As `jvp`, of several values.
pub fn jvps(b: &mut Builder, ys: &[Node], wrt: &[Node], tangents: &[Node]) -> Vec<Node> {
    let mut known = Tangents::default();
    for (x, tangent) in wrt.iter().zip(tangents) {
        if !b.dtype(*x).is_float() {
            continue;
        }
        let axes = b.axes(*x).clone();
        let tangent = b.fit(*tangent, &axes);
        // As a value of its own, a tangent is told from the values that it may happen to be.
        let tangent = b.alias(tangent);
        known.set(*x, tangent);
    }
    linearise(b, ys, wrt, &mut known);
    ys.iter().map(|y| known.get(*y).unwrap_or_else(|| b.zeros_like(*y))).collect()
}

/// The cotangents of `wrt` where that of `y` is `cotangent`: for a scalar `y` and a cotangent of one, the gradient.
/// Each has the axes and dtype of its value; where `y` does not depend on it, or it is no float, it is zeros.
///
/// For `wrt`, see `jvp`.
pub fn vjp(b: &mut Builder, y: Node, wrt: &[Node], cotangent: Node) -> Vec<Node> {
    vjps(b, &[(y, cotangent)], wrt)
}

/// As `vjp`, for several values with their cotangents.
pub fn vjps(b: &mut Builder, ys: &[(Node, Node)], wrt: &[Node]) -> Vec<Node> {
    let region = b.region();
    let mark = b.graph().regions[region].nodes.len();
    let mut known = Tangents::default();
    let placeholders: Vec<Node> = wrt.iter().map(|x| b.alias(*x)).collect();
    for (x, placeholder) in wrt.iter().zip(&placeholders) {
        if b.dtype(*x).is_float() {
            known.set(*x, *placeholder);
        }
    }
    let values: Vec<Node> = ys.iter().map(|(y, _)| *y).collect();
    linearise(b, &values, wrt, &mut known);

    let mut transposer = Transposer::new(b, region, mark, &placeholders);
    for (y, cotangent) in ys {
        if let Some(tangent) = known.get(*y) {
            let axes = b.axes(*y).clone();
            let cotangent = b.fit(*cotangent, &axes);
            let cotangent = b.cast(cotangent, b.dtype(*y));
            transposer.start(b, tangent, cotangent);
        }
    }
    let gradients = transposer.run(b, &placeholders);
    let linear = transposer.linear();
    b.graph_mut().regions[region].nodes.retain(|node| !linear.contains(node));
    let results = wrt.iter().zip(gradients);
    results.map(|(x, gradient)| gradient.unwrap_or_else(|| b.zeros_like(*x))).collect()
}
