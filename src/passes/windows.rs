//! `windows`: sums of products read windows of padded copies.
//!
//! A convolution reads `x[s*i + a - p, …]`, zero outside. Where the copy of `x` has a border of zeros (and zeros between its entries, where
//! the window divides: the transpose of a stride), every read lies inside and its address is affine, so that the sum needs no mask
//! and nothing is as large as all windows together. The copy is an ordinary value: what makes `x` may make it too.

use std::collections::HashMap;

use super::contraction::{Roles, products, roles};
use crate::axes::{Dim, DimError};
use crate::graph::sets::{union, without};
use crate::graph::{
    Affine, Axis, AxisData, AxisSet, Graph, Index, IndexMap, Node, NodeData, Op, Outside, Region,
};
use crate::ops::ScalarFn;

/// Gives the masked operands of contractions their padded copies.
pub fn windows(mut graph: Graph) -> Graph {
    let root = graph.root;
    let mut padding = Padding { copies: HashMap::new() };
    padding.region(&mut graph, root, &mut Vec::new());
    graph
}

/// How one axis is copied: entry `p` of the copy is the entry `form(p + low)` of the array, zero where there is none.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Border {
    low: Dim,
    size: Dim,
    form: Form,
}

/// What an index makes of an affine sum.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    Plain,
    /// `sum / by`, and far outside where it does not divide.
    Exact {
        by: Dim,
        far: Dim,
    },
}

/// Which array in which region, with which borders.
type Padded = (Region, Node, Vec<(Axis, Border)>);

struct Padding {
    /// The copies that stand already, and their axes.
    copies: HashMap<Padded, (Node, Vec<Axis>)>,
}

impl Padding {
    fn region(&mut self, graph: &mut Graph, region: Region, bound: &mut Vec<Axis>) {
        let mut at = 0;
        while let Some(&node) = graph.regions[region].nodes.get(at) {
            if let Op::Scan(scan) = &graph.nodes[node].op {
                let (axis, body) = (scan.axis, scan.body);
                bound.push(axis);
                self.region(graph, body, bound);
                bound.pop();
            }
            let is_bound = |axis: Axis| bound.contains(&axis);
            let contraction = roles(graph, node, &is_bound);
            if let Some(roles) = contraction.or_else(|| each_by_itself(graph, node, &is_bound)) {
                for operand in [roles.a, roles.b] {
                    at += self.operand(graph, region, operand, roles.product, at, bound);
                }
            }
            at += 1;
        }
    }

    /// Lets the product read the padded copy of what an operand views. Returns the number of new nodes, which stand before the contraction.
    fn operand(
        &mut self,
        graph: &mut Graph,
        region: Region,
        operand: Node,
        product: Node,
        at: usize,
        bound: &[Axis],
    ) -> usize {
        let Op::View(map) = graph.nodes[operand].op.clone() else { return 0 };
        if map.outside != Outside::Zero {
            return 0;
        }
        let array = graph.nodes[operand].args[0];
        let Ok(Some(borders)) = borders(graph, &map, bound) else { return 0 };
        let changed: Vec<(Axis, Border)> =
            borders.iter().filter_map(|(axis, border, _)| Some((*axis, border.clone()?))).collect();
        if changed.is_empty() {
            return 0;
        }
        let before = graph.nodes.len();
        let key = (region, array, changed.clone());
        let (copy, padded) = match self.copies.get(&key) {
            Some(known) => known.clone(),
            None => {
                let made = pad(graph, array, &changed);
                self.copies.insert(key, made.clone());
                made
            }
        };
        let mut new: Vec<Node> = graph.nodes.keys().skip(before).collect();
        let to = |axis: Axis| changed.iter().position(|(own, _)| *own == axis).map(|at| padded[at]);
        let at_copy = borders.into_iter().map(|(axis, _, index)| (to(axis).unwrap_or(axis), index));
        let map = IndexMap::new(at_copy.collect::<Vec<_>>(), Outside::Never);
        let data = graph.nodes[operand].clone();
        let args = [copy].into_iter().collect();
        let view = graph.nodes.push(NodeData { op: Op::View(map), args, ..data });
        new.push(view);
        // The operand may stand behind broadcasts: the product does not need them.
        let bare = |graph: &Graph, node: Node| super::contraction::bare(graph, node);
        for i in 0..graph.nodes[product].args.len() {
            if bare(graph, graph.nodes[product].args[i]) == operand {
                graph.nodes[product].args[i] = view;
            }
        }
        let nodes = &mut graph.regions[region].nodes;
        let count = new.len();
        // A copy that stands already was made for another product, which may stand behind this one: then it comes here, with its view.
        let stands = |node: &Node| nodes.iter().position(|other| other == node);
        if stands(&copy) > stands(&product) {
            let own = [graph.nodes[copy].args[0], copy];
            nodes.retain(|node| !own.contains(node));
            new.splice(0..0, own);
        }
        let place = nodes.iter().position(|node| *node == product).unwrap_or(at);
        nodes.splice(place..place, new);
        count
    }
}

/// A convolution of each feature by itself, or the gradient of its taps: one operand reads windows.
fn each_by_itself(graph: &Graph, node: Node, bound: &dyn Fn(Axis) -> bool) -> Option<Roles> {
    let roles = products(graph, node, bound)?;
    [roles.a, roles.b].into_iter().any(|operand| slides(graph, operand, &roles.k)).then_some(roles)
}

/// The operands of a sum of products that read windows, each entry several times.
pub(super) fn sliding(graph: &Graph, node: Node, bound: &dyn Fn(Axis) -> bool) -> Vec<Node> {
    let Some(roles) = products(graph, node, bound) else { return Vec::new() };
    [roles.a, roles.b].into_iter().filter(|operand| slides(graph, *operand, &roles.k)).collect()
}

/// Whether a view reads at sums of a summed axis and a kept one.
fn slides(graph: &Graph, operand: Node, summed: &[Axis]) -> bool {
    let Op::View(map) = &graph.nodes[operand].op else { return false };
    map.at.iter().any(|(_, index)| {
        let axes = index.mentioned();
        index.as_affine().is_some()
            && axes.iter().any(|axis| summed.contains(axis))
            && axes.iter().any(|axis| !summed.contains(axis))
    })
}

/// For each axis that a map names: its border, where it needs one, and the index into the copy (or the array). `None` where an index is of
/// no form that a copy serves.
#[allow(clippy::type_complexity, reason = "one row for each axis, read once")]
fn borders(
    graph: &Graph,
    map: &IndexMap,
    bound: &[Axis],
) -> Result<Option<Vec<(Axis, Option<Border>, Index)>>, DimError> {
    let size = |axis: Axis| graph.axes[axis].size.clone();
    let mut found = Vec::new();
    for (axis, index) in &map.at {
        if index.mentioned().iter().any(|axis| bound.contains(axis)) {
            return Ok(None);
        }
        let Some((sum, form)) = form(index) else { return Ok(None) };
        let extent = size(*axis);
        let Some((low, high)) = sum.bounds(&size) else { return Ok(None) };
        let inside = low.at_least(0) && extent.sub(&high)?.at_least(1);
        if form == Form::Plain && inside {
            found.push((*axis, None, index.clone()));
            continue;
        }
        let length = high.sub(&low)?.add(&Dim::constant(1))?;
        let shifted = sum.plus(&Affine::constant(low.neg()?))?;
        found.push((*axis, Some(Border { low, size: length, form }), Index::Affine(shifted)));
    }
    Ok(Some(found))
}

fn form(index: &Index) -> Option<(Affine, Form)> {
    match index {
        Index::Affine(sum) => Some((sum.clone(), Form::Plain)),
        Index::Sum(parts) => {
            let [(one, Index::Div(sum, by)), (far, Index::Rem(same, divisor))] = &parts[..] else {
                return None;
            };
            let exact = one.as_const() == Some(1) && sum == same && by == divisor;
            let sum = sum.as_affine().filter(|_| exact)?;
            Some((sum.clone(), Form::Exact { by: by.clone(), far: far.clone() }))
        }
        _ => None,
    }
}

/// The padded copy of an array and its padded axes, in the order of `borders`. It is a map, so that it exists in memory.
fn pad(graph: &mut Graph, array: Node, borders: &[(Axis, Border)]) -> (Node, Vec<Axis>) {
    let mut axes = Vec::new();
    let mut at = Vec::new();
    for (axis, border) in borders {
        let name = graph.axes[*axis].name.clone();
        let padded = graph.axes.push(AxisData { name, size: border.size.clone() });
        axes.push(padded);
        let sum = Index::Affine(Affine {
            constant: border.low.clone(),
            terms: [(padded, Dim::constant(1))].into_iter().collect(),
        });
        let index = match &border.form {
            Form::Plain => sum,
            Form::Exact { by, far } => {
                Index::Sum(vec![(Dim::constant(1), sum.clone().div(by)), (far.clone(), sum.rem(by))])
            }
        };
        at.push((*axis, index));
    }
    let data = graph.nodes[array].clone();
    let map = IndexMap::new(at, Outside::Zero);
    let own: AxisSet = union(&without(&data.axes, &map.named()), &map.mentioned());
    let dtype = data.dtype;
    let view = NodeData { op: Op::View(map), args: [array].into_iter().collect(), axes: own, ..data };
    let view = graph.nodes.push(view);
    let copy = NodeData {
        op: Op::Map(ScalarFn::Cast(dtype)),
        args: [view].into_iter().collect(),
        ..graph.nodes[view].clone()
    };
    (graph.nodes.push(copy), axes)
}
