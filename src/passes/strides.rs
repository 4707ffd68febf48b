//! `strides`: a guard that a division leaves nothing becomes part of the view that divides.
//!
//! A transposed convolution says `x[(i + p - a) / s]` where `(i + p - a) % s == 0`. As a view that reads zero where s does not divide, the
//! form that `unfold` gives to the transpose of a stride, it is what `phases` takes apart. Its own transpose is a fold of what the same guard
//! lets through: as a fold that drops what s does not divide it has one entry for each tap, and is a convolution with that stride.

use super::contraction::bare;
use super::dce;
use super::unfold::{divisions, exactly};
use crate::axes::Dim;
use crate::graph::sets::{is_subset, union};
use crate::graph::{Affine, Graph, Index, IndexMap, Literal, Node, Op, Outside, Region};
use crate::ops::ScalarFn;

/// Moves guards of exact division into views and folds, then writes the folds that are left as sums over views.
pub fn strides(mut graph: Graph) -> Graph {
    let regions: Vec<Region> = graph.regions.keys().collect();
    for region in regions {
        for at in 0..graph.regions[region].nodes.len() {
            let node = graph.regions[region].nodes[at];
            match graph.nodes[node].op.clone() {
                Op::Map(ScalarFn::Select) => read(&mut graph, node),
                Op::Fold(map) => made(&mut graph, node, map),
                _ => {}
            }
        }
    }
    // What has lost its readers would count as one.
    dce(divisions(graph))
}

/// `select(divides and …, view, 0)`: the view reads zero where nothing divides.
fn read(graph: &mut Graph, node: Node) {
    let Some((mask, value)) = guarded(graph, node) else { return };
    let view = bare(graph, value);
    let Op::View(map) = graph.nodes[view].op.clone() else { return };
    let guard = guard(graph, mask);
    let Some(map) = exact(&map, &guard.divides) else { return };
    // What else the mask says would be lost, and so would axes that only it has.
    if !guard.whole || union(&graph.nodes[view].axes, &map.mentioned()) != graph.nodes[node].axes {
        return;
    }
    graph.nodes[node].args = graph.nodes[view].args.clone();
    graph.nodes[node].op = Op::View(map);
}

/// `fold(select(divides and …, x, 0))`: what does not divide adds nothing.
fn made(graph: &mut Graph, node: Node, map: IndexMap) {
    let arg = graph.nodes[node].args[0];
    let Some((mask, value)) = guarded(graph, bare(graph, arg)) else { return };
    let guard = guard(graph, mask);
    let Some(map) = exact(&map, &guard.divides) else { return };
    graph.nodes[node].op = Op::Fold(map);
    if guard.whole && is_subset(&graph.nodes[arg].axes, &graph.nodes[value].axes) {
        graph.nodes[node].args[0] = value;
    }
}

/// Mask and value of `select(mask, value, 0)`.
fn guarded(graph: &Graph, node: Node) -> Option<(Node, Node)> {
    let data = &graph.nodes[node];
    let (Op::Map(ScalarFn::Select), [mask, value, other]) = (&data.op, &data.args[..]) else { return None };
    (graph.nodes[*other].op == Op::Constant(Literal::Float(0.0))).then_some((*mask, *value))
}

/// What a mask says of divisions.
struct Guard {
    /// Sums and what divides them.
    divides: Vec<(Affine, i64)>,
    /// Whether that is all it says.
    whole: bool,
}

fn guard(graph: &Graph, mask: Node) -> Guard {
    let mut guard = Guard { divides: Vec::new(), whole: true };
    let mut work = vec![mask];
    while let Some(mask) = work.pop() {
        let data = &graph.nodes[bare(graph, mask)];
        match &data.op {
            Op::Map(ScalarFn::And) => work.extend(&data.args),
            _ => match divides(graph, bare(graph, mask)) {
                Some(found) => guard.divides.push(found),
                None => guard.whole = false,
            },
        }
    }
    guard
}

/// `P % s == 0` with positions in P.
fn divides(graph: &Graph, mask: Node) -> Option<(Affine, i64)> {
    let data = &graph.nodes[mask];
    let (Op::Map(ScalarFn::Eq), [left, right]) = (&data.op, &data.args[..]) else { return None };
    let zero = |node: &Node| graph.nodes[*node].op == Op::Constant(Literal::Int(0));
    let rest = if zero(right) { *left } else { Some(*right).filter(|_| zero(left))? };
    let data = &graph.nodes[bare(graph, rest)];
    let (Op::Map(ScalarFn::Rem), [sum, by]) = (&data.op, &data.args[..]) else { return None };
    let Op::Constant(Literal::Int(by)) = graph.nodes[*by].op else { return None };
    Some((affine(graph, *sum)?, by))
}

/// An integer as a sum of positions.
fn affine(graph: &Graph, node: Node) -> Option<Affine> {
    let data = &graph.nodes[bare(graph, node)];
    let of = |at: usize| affine(graph, data.args[at]);
    match &data.op {
        Op::Position(axis) => Some(Affine::axis(*axis)),
        Op::Constant(Literal::Int(value)) => Some(Affine::constant(*value)),
        Op::Size(size) => Some(Affine::constant(size.clone())),
        Op::Map(ScalarFn::Neg) => of(0)?.times(&Dim::constant(-1)).ok(),
        Op::Map(ScalarFn::Add) => of(0)?.plus(&of(1)?).ok(),
        Op::Map(ScalarFn::Sub) => of(0)?.plus(&of(1)?.times(&Dim::constant(-1)).ok()?).ok(),
        Op::Map(ScalarFn::Mul) => {
            let (a, b) = (of(0)?, of(1)?);
            let (factor, other) = if a.terms.is_empty() { (a, b) } else { (b, a) };
            if factor.terms.is_empty() { other.times(&factor.constant).ok() } else { None }
        }
        _ => None,
    }
}

/// The map with exact quotients wherever one of these sums is divided, if it divides all of them.
fn exact(map: &IndexMap, divides: &[(Affine, i64)]) -> Option<IndexMap> {
    let mut at = map.at.clone();
    for (sum, by) in divides {
        let (sum, by) = (Index::Affine(sum.clone()), Dim::constant(*by));
        let quotient = sum.clone().div(&by);
        let (_, index) = at.iter_mut().find(|(_, index)| *index == quotient)?;
        *index = exactly(sum, &by).ok()?;
    }
    (!divides.is_empty()).then(|| IndexMap::new(at, Outside::Zero))
}
