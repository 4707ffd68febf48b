//! What each layer of a program owns and computes: read off the graph's shapes, before any pass, so nothing is compiled for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::axes::{Dim, DimVar};
use crate::base::Name;
use crate::check::core::{CallPath, Core, Slot, Val};
use crate::check::show_val;
use crate::elaborate::{Part, elaborate_with_origins};
use crate::graph::{Axis, Graph, Literal, Node, Op, Reducer, Region};
use crate::ops::ScalarFn;

/// A layer that was applied, without the layers inside of it. The costs of all add up to those of the program.
#[derive(Debug)]
pub struct LayerCost {
    /// `enc.linear_0`; empty for what belongs to no layer.
    pub path: Name,
    /// The definition: `linear`; of what belongs to no layer that of the program.
    pub op: Name,
    /// `f32[T, 64]`
    pub output: String,
    /// Numbers in the parameters that it owns itself.
    pub parameters: Dim,
    /// Multiplications with an addition in matrix products and convolutions, gradients included where the program has any.
    pub macs: Dim,
}

/// The costs of a program of this name, for the dims that are known; in the order of application.
pub fn layer_costs(core: &Core, name: &Name, dims: &BTreeMap<DimVar, i64>) -> Vec<LayerCost> {
    let show = |vals: &[Val]| -> String {
        let shown: Vec<String> = vals.iter().map(|&val| show_val(core, val)).collect();
        if shown.len() == 1 { shown.concat() } else { format!("({})", shown.join(", ")) }
    };
    let zero = Dim::constant(0);
    let outputs: Vec<Val> = core.outputs.iter().map(|output| output.val).collect();
    let program = LayerCost {
        path: Name::new(""),
        op: name.clone(),
        output: show(&outputs),
        parameters: zero.clone(),
        macs: zero.clone(),
    };
    let mut costs = vec![program];
    for layer in core.layers.iter().filter(|layer| !layer.path.is_empty()) {
        // An instance that is applied again shares its parameters; it stands where it was applied first.
        if costs.iter().all(|cost| cost.path != layer.path) {
            costs.push(LayerCost {
                path: layer.path.clone(),
                op: layer.callee.clone(),
                output: show(&layer.outputs),
                parameters: zero.clone(),
                macs: zero.clone(),
            });
        }
    }
    let row = |costs: &[LayerCost], path: &str| costs.iter().position(|cost| cost.path == path).unwrap_or(0);
    let fixed: BTreeMap<DimVar, Dim> =
        dims.iter().map(|(var, value)| (var.clone(), Dim::constant(*value))).collect();
    for slot in &core.params {
        let path = slot.path.rsplit_once('.').map_or("", |(path, _)| path);
        let at = row(&costs, path);
        let count = entries(core, slot, &fixed);
        costs[at].parameters = plus(&costs[at].parameters, &count);
    }
    let (graph, origins) = elaborate_with_origins(core, Part::Body, dims);
    products(&graph, graph.root, &Dim::constant(1), &mut Vec::new(), &mut |node, count| {
        let instance = origins[node].and_then(|val| instance(&core.vals[val].path));
        let at = row(&costs, instance.as_deref().unwrap_or(""));
        costs[at].macs = plus(&costs[at].macs, &count);
    });
    costs.retain(|cost| !cost.path.is_empty() || cost.parameters != zero || cost.macs != zero);
    // A layer that only passes on what its layers give is told by those.
    let inner = |path: &str, other: &str| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    let paths: Vec<Name> = costs.iter().map(|cost| cost.path.clone()).collect();
    costs.retain(|cost| {
        let leaf = paths.iter().all(|other| !inner(&cost.path, other));
        leaf || cost.parameters != zero || cost.macs != zero
    });
    costs
}

/// The sum; where it would be too large to be written, the one that it is added to.
fn plus(sum: &Dim, more: &Dim) -> Dim {
    sum.add(more).unwrap_or_else(|_| sum.clone())
}

/// The number of entries of a parameter.
fn entries(core: &Core, slot: &Slot, fixed: &BTreeMap<DimVar, Dim>) -> Dim {
    slot.axes.iter().fold(Dim::constant(1), |count, &axis| {
        let size = core.size(axis);
        let size = size.substitute(fixed).unwrap_or(size);
        count.mul(&size).unwrap_or(count)
    })
}

/// The layer in whose body a value was made.
fn instance(path: &Option<Arc<CallPath>>) -> Option<Name> {
    let mut path = path.as_ref();
    while let Some(call) = path {
        if call.instance.is_some() {
            return call.instance.clone();
        }
        path = call.outer.as_ref();
    }
    None
}

/// Tells of every matrix product and convolution: how many multiply-adds it is, `times` as often as its region runs, once for
/// each turn of the scans around, which bind the axes `turns`.
fn products(
    graph: &Graph,
    region: Region,
    times: &Dim,
    turns: &mut Vec<Axis>,
    tell: &mut dyn FnMut(Node, Dim),
) {
    for &node in &graph.regions[region].nodes {
        let data = &graph.nodes[node];
        match &data.op {
            Op::Scan(scan) => {
                let times = times.mul(&graph.axes[scan.axis].size).unwrap_or_else(|_| times.clone());
                turns.push(scan.axis);
                products(graph, scan.body, &times, turns, tell);
                turns.pop();
            }
            Op::Fused(inner) => products(graph, *inner, times, turns, tell),
            Op::Reduce { op: Reducer::Sum, over } => {
                let (product, share) = unguarded(graph, data.args[0]);
                let factors = &graph.nodes[product];
                if factors.op != Op::Map(ScalarFn::Mul) {
                    continue;
                }
                let [left, right] = [factors.args[0], factors.args[1]];
                let axes = |node: Node| &graph.nodes[node].axes;
                // Both factors run along what is summed. Factors with the same axes are a matrix product only where one is a
                // parameter: else it is a statistic, such as a variance or the length of a vector.
                let summed = over.iter().all(|axis| axes(left).contains(axis) && axes(right).contains(axis));
                let matrix =
                    axes(left) != axes(right) || is_parameter(graph, left) || is_parameter(graph, right);
                if summed && matrix {
                    // Along the axis of a scan a value stands for its entry at the present turn: the turns are counted already.
                    let axes = axes(data.args[0]).iter().filter(|axis| !turns.contains(axis));
                    let count = axes.fold(times.clone(), |count, &axis| {
                        count.mul(&graph.axes[axis].size).unwrap_or(count)
                    });
                    tell(node, count.div(&Dim::constant(share)).unwrap_or(count));
                }
            }
            _ => {}
        }
    }
}

/// The value below a guard and what only widens it; and one in how many products the guard lets through, as far as it is a matter
/// of remainders: in the transpose of a convolution with stride s it meets an entry at one in s places, and zeros between them.
fn unguarded(graph: &Graph, node: Node) -> (Node, i64) {
    let data = &graph.nodes[node];
    let constant = |node: Node| matches!(graph.nodes[skip_broadcast(graph, node)].op, Op::Constant(_));
    match &data.op {
        Op::Broadcast(_) | Op::Alias | Op::StopGradient => unguarded(graph, data.args[0]),
        Op::Map(ScalarFn::Select) if constant(data.args[2]) => {
            let (product, share) = unguarded(graph, data.args[1]);
            (product, share.saturating_mul(one_in(graph, data.args[0])))
        }
        _ => (node, 1),
    }
}

/// One in how many places a condition holds that asks for remainders: `i % 2 == 0 and j % 2 == 0` in one of four. What else it asks
/// for counts as true.
fn one_in(graph: &Graph, condition: Node) -> i64 {
    let data = &graph.nodes[skip_broadcast(graph, condition)];
    match &data.op {
        Op::Map(ScalarFn::And) => one_in(graph, data.args[0]).saturating_mul(one_in(graph, data.args[1])),
        Op::Map(ScalarFn::Eq) => {
            let modulus = |side: Node| {
                let side = &graph.nodes[skip_broadcast(graph, side)];
                let Op::Map(ScalarFn::Rem) = side.op else { return None };
                match graph.nodes[skip_broadcast(graph, side.args[1])].op {
                    Op::Constant(Literal::Int(modulus)) if modulus > 0 => Some(modulus),
                    _ => None,
                }
            };
            data.args.iter().find_map(|&side| modulus(side)).unwrap_or(1)
        }
        _ => 1,
    }
}

fn skip_broadcast(graph: &Graph, node: Node) -> Node {
    match graph.nodes[node].op {
        Op::Broadcast(_) => skip_broadcast(graph, graph.nodes[node].args[0]),
        _ => node,
    }
}

fn is_parameter(graph: &Graph, node: Node) -> bool {
    let data = &graph.nodes[node];
    match data.op {
        Op::Input(index) => graph.inputs[index as usize].role == crate::graph::Role::Param,
        Op::View(_) | Op::Broadcast(_) | Op::Alias | Op::StopGradient | Op::Map(ScalarFn::Cast(_)) => {
            is_parameter(graph, data.args[0])
        }
        _ => false,
    }
}
