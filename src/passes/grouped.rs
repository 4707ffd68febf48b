//! `grouped`: convolutions in many narrow groups become fewer, wider ones.
//!
//! `y[p, g, o] = Σ_c x[p, g, c] w[g, c, o]` with four features o fills a quarter of a vector. With u groups side by side it is
//! `y[p, G, t, o] = Σ_vc x[p, G, v, c] w'[G, v, c, t, o]`, where `w'` is `w` for v = t and zero elsewhere: u times the products, on whole
//! vectors. Where the sum is long and the result short, as for the gradient of w, nothing is filled with zeros: of
//! `z[G, v, c, t, o] = Σ_p x[p, G, v, c] y[p, G, t, o]` the entries with v = t are read.

use super::contraction::roles;
use super::simplify::simplify;
use crate::axes::Dim;
use crate::graph::sets::{set, union, without};
use crate::graph::{
    Axis, AxisData, AxisSet, Graph, Index, IndexMap, Literal, Node, NodeData, Op, Outside, Reducer, Region,
};
use crate::ops::ScalarFn;
use crate::tensor::DType;

/// Columns that fill a vector.
const COLUMNS: i64 = 16;
/// Steps of a sum from which the groups are told apart behind it.
const LONG: i64 = 4096;

/// Puts groups side by side where each has too few columns.
pub fn grouped(mut graph: Graph) -> Graph {
    let root = graph.root;
    match region(&mut graph, root, &mut Vec::new()) {
        // A window of groups is one view again.
        true => simplify(graph),
        false => graph,
    }
}

fn region(graph: &mut Graph, region_: Region, bound: &mut Vec<Axis>) -> bool {
    let (mut at, mut any) = (0, false);
    while let Some(&node) = graph.regions[region_].nodes.get(at) {
        if let Op::Scan(scan) = &graph.nodes[node].op {
            let (axis, body) = (scan.axis, scan.body);
            bound.push(axis);
            any |= region(graph, body, bound);
            bound.pop();
        }
        if let Some(found) = find(graph, node, bound) {
            let new = found.write(graph, node);
            any = true;
            let nodes = &mut graph.regions[region_].nodes;
            let count = new.len();
            nodes.splice(at..at, new);
            at += count;
        }
        at += 1;
    }
    any
}

struct Groups {
    /// The operand with the narrow columns, and the other one.
    narrow: Node,
    other: Node,
    group: Axis,
    /// How many groups stand side by side.
    side: i64,
    /// Whether the sum is long: then all pairs of groups are made.
    long: bool,
}

fn find(graph: &Graph, node: Node, bound: &[Axis]) -> Option<Groups> {
    let roles = roles(graph, node, &|axis| bound.contains(&axis))?;
    let count = |axes: &[Axis]| {
        axes.iter().try_fold(1_i64, |all, axis| all.checked_mul(graph.axes[*axis].size.as_const()?))
    };
    let (of_a, of_b) = (count(&roles.m), count(&roles.n));
    let (narrow, other, columns, rows) = match (of_a, of_b) {
        (Some(m), Some(n)) if m < n => (roles.a, roles.b, m, Some(n)),
        (Some(m), None) => (roles.a, roles.b, m, None),
        (_, Some(n)) => (roles.b, roles.a, n, of_a),
        (None, None) => return None,
    };
    if columns >= COLUMNS || rows.is_some_and(|rows| rows < COLUMNS) {
        return None;
    }
    let long = count(&roles.k).is_none_or(|steps| steps >= LONG);
    // Zeros are worth it only in what is small, as weights are.
    let small = graph.nodes[narrow].axes.iter().all(|axis| graph.axes[*axis].size.as_const().is_some());
    if !long && !small {
        return None;
    }
    let groups = |axis: &Axis| Some((*axis, graph.axes[*axis].size.as_const()?));
    let (group, groups) = roles.batch.iter().filter_map(groups).max_by_key(|(_, groups)| *groups)?;
    let fills = |side: &i64| groups % side == 0 && side * columns >= COLUMNS;
    let side = (2..=COLUMNS).find(fills).filter(|side| side * columns < 2 * COLUMNS)?;
    Some(Groups { narrow, other, group, side, long })
}

impl Groups {
    /// Makes the node a view of the wider sum; returns the new nodes, which stand before it.
    fn write(self, graph: &mut Graph, node: Node) -> Vec<Node> {
        let Op::Reduce { over, .. } = graph.nodes[node].op.clone() else {
            unreachable!("a contraction reduces")
        };
        let data = graph.nodes[node].clone();
        let name = graph.axes[self.group].name.clone();
        let side = Dim::constant(self.side);
        let blocks = graph.axes[self.group].size.div(&side).expect("a part of the groups");
        let mut axis = |size: &Dim| graph.axes.push(AxisData { name: name.clone(), size: size.clone() });
        let (block, of_narrow, of_other) = (axis(&blocks), axis(&side), axis(&side));
        let mut new = Vec::new();
        let mut push = |graph: &mut Graph, op: Op, args: &[Node], dtype: DType, axes: AxisSet| {
            let args = args.iter().copied().collect();
            let made = graph.nodes.push(NodeData { op, args, dtype, axes, ..data.clone() });
            new.push(made);
            made
        };
        // Group g is number `inner` of block `block`.
        let apart = |graph: &Graph, operand: Node, inner: Axis| {
            let parts = [(side.clone(), Index::axis(block)), (Dim::constant(1), Index::axis(inner))];
            let map =
                IndexMap::new([(self.group, Index::sum(parts).expect("small numbers"))], Outside::Never);
            let axes = union(&without(&graph.nodes[operand].axes, &[self.group]), &set([block, inner]));
            (Op::View(map), axes)
        };
        let (op, axes) = apart(graph, self.other, of_other);
        let other = push(graph, op, &[self.other], data.dtype, axes);
        let (op, axes) = apart(graph, self.narrow, of_narrow);
        let mut narrow = push(graph, op, &[self.narrow], data.dtype, axes);
        if !self.long {
            let (int, bool_) = (DType::I32, DType::Bool);
            let one = |axis: Axis| AxisSet::from_slice(&[axis]);
            let here = push(graph, Op::Position(of_narrow), &[], int, one(of_narrow));
            let there = push(graph, Op::Position(of_other), &[], int, one(of_other));
            let both = union(&one(of_narrow), &one(of_other));
            let same = push(graph, Op::Map(ScalarFn::Eq), &[here, there], bool_, both.clone());
            let zero = push(graph, Op::Constant(Literal::Float(0.0)), &[], data.dtype, AxisSet::new());
            let axes = union(&graph.nodes[narrow].axes, &both);
            narrow = push(graph, Op::Map(ScalarFn::Select), &[same, narrow, zero], data.dtype, axes);
        }
        let all = union(&graph.nodes[narrow].axes, &graph.nodes[other].axes);
        let product = push(graph, Op::Map(ScalarFn::Mul), &[other, narrow], data.dtype, all.clone());
        let over = if self.long { over } else { union(&over, &AxisSet::from_slice(&[of_other])) };
        let kept = without(&all, &over);
        let sum = push(graph, Op::Reduce { op: Reducer::Sum, over }, &[product], data.dtype, kept);
        let rest = Index::axis(self.group).rem(&side);
        let mut at = vec![(block, Index::axis(self.group).div(&side)), (of_narrow, rest.clone())];
        if self.long {
            at.push((of_other, rest));
        }
        graph.nodes[node].op = Op::View(IndexMap::new(at, Outside::Never));
        graph.nodes[node].args = [sum].into_iter().collect();
        new
    }
}
