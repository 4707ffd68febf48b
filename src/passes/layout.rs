//! The order of axes of each value, should it be materialised: outermost first.
//!
//! Inputs have their people's order. What is computed takes the order of its largest argument, further axes stand outside; a product with
//! weights ends with the weights' axes. Static axes stand inside of symbolic ones.
//!
//! Wishes run backwards through what keeps the axes: those of outputs first. Then an order of all that was not wished is made, and seen
//! where readers would be happier with another one, which costs a contraction nothing (any of its axes may be its rows or its columns) and
//! what is made of positions neither: beside a value whose order is given, they stand as it does; where a view makes one axis of several,
//! the one that runs fastest is innermost. With these wishes the order is made again.

use cranelift_entity::{EntitySet, SecondaryMap};

use self::wishes::{of_outputs, of_readers};
use crate::graph::sets::without;
use crate::graph::{Axis, AxisSet, Graph, Node, Op, Role};
use crate::ops::ScalarFn;

mod wishes;

/// An order for each node, or none.
type Wishes = SecondaryMap<Node, Option<Vec<Axis>>>;
/// An order of all axes of each node.
pub type Orders = SecondaryMap<Node, Vec<Axis>>;

/// An order of all axes of each node.
pub fn orders(graph: &Graph) -> Orders {
    let mut nodes = Vec::new();
    in_order(graph, graph.root, &mut nodes);
    let weights = weights(graph, &nodes);
    let mut wishes = of_outputs(graph);
    let first = made(graph, &nodes, &wishes, &weights);
    match of_readers(graph, &nodes, &first, &mut wishes) {
        true => made(graph, &nodes, &wishes, &weights),
        false => first,
    }
}

fn made(graph: &Graph, nodes: &[Node], wishes: &Wishes, weights: &EntitySet<Node>) -> Orders {
    let mut orders: Orders = SecondaryMap::new();
    for &node in nodes {
        let data = &graph.nodes[node];
        orders[node] = match (&data.op, &wishes[node]) {
            (Op::Input(index), _) => graph.inputs[*index as usize].order.clone(),
            (_, Some(wish)) => complete(graph, wish.clone(), &data.axes),
            _ => computed(graph, node, &orders, weights),
        };
    }
    orders
}

/// What is made of parameters, states and constants alone.
fn weights(graph: &Graph, nodes: &[Node]) -> EntitySet<Node> {
    let mut weights = EntitySet::new();
    for &node in nodes {
        let data = &graph.nodes[node];
        let is = match &data.op {
            Op::Input(index) => matches!(graph.inputs[*index as usize].role, Role::Param | Role::State),
            Op::Map(_) | Op::View(_) | Op::Broadcast(_) | Op::StopGradient | Op::Alias => {
                data.args.iter().all(|arg| weights.contains(*arg))
            }
            Op::Constant(_) | Op::Size(_) => true,
            _ => false,
        };
        if is {
            weights.insert(node);
        }
    }
    weights
}

/// All nodes, bodies before the nodes that execute them.
fn in_order(graph: &Graph, region: crate::graph::Region, out: &mut Vec<Node>) {
    out.extend(graph.regions[region].params.iter().copied());
    for node in &graph.regions[region].nodes {
        if let Some(inner) = graph.nodes[*node].op.region() {
            in_order(graph, inner, out);
        }
        out.push(*node);
    }
}

fn computed(graph: &Graph, node: Node, orders: &Orders, weights: &EntitySet<Node>) -> Vec<Axis> {
    let data = &graph.nodes[node];
    let of_arg = |arg: Node| -> Vec<Axis> {
        let order = &orders[arg];
        match &data.op {
            // A view's axes stand where the axes stood that they index; one that indexes several, where the innermost of them stood.
            Op::View(map) => {
                let mut seen = Vec::new();
                for axis in order.iter().rev() {
                    let new = match map.get(*axis) {
                        Some(index) => index.mentioned().to_vec(),
                        None => vec![*axis],
                    };
                    for axis in new.into_iter().rev() {
                        if !seen.contains(&axis) {
                            seen.push(axis);
                        }
                    }
                }
                seen.reverse();
                seen
            }
            Op::Fold(map) => {
                let mut seen = Vec::new();
                for axis in order {
                    let made = map.at.iter().find(|(_, index)| index.mentioned().contains(axis));
                    let new = made.map_or(*axis, |(named, _)| *named);
                    if !seen.contains(&new) {
                        seen.push(new);
                    }
                }
                seen
            }
            _ => order.clone(),
        }
    };
    let shared = |order: &Vec<Axis>| order.iter().filter(|axis| data.axes.contains(axis)).count();
    match &data.op {
        Op::Project(index) => {
            let tuple = &graph.nodes[data.args[0]].op;
            let result = tuple.region().map(|region| graph.regions[region].results[*index as usize]);
            let order = result.map_or_else(Vec::new, |result| orders[result].clone());
            let mut order = complete(graph, order, &data.axes);
            // What a loop yields stands as one turn after another: its places do not depend on the number of turns.
            if let Op::Scan(scan) = tuple
                && let Some(at) = order.iter().position(|axis| *axis == scan.axis)
            {
                order[..=at].rotate_right(1);
            }
            order
        }
        Op::Random { order, .. } => order.clone(),
        Op::Scatter { into, .. } => {
            let mut order = of_arg(data.args[0]);
            order.insert(0, *into);
            complete(graph, order, &data.axes)
        }
        Op::Sort { into, .. } => {
            // Rows are sorted where they lie.
            let mut order = of_arg(data.args[0]);
            order.retain(|axis| data.axes.contains(axis) && axis != into);
            order = complete(graph, order, &without(&data.axes, &[*into]));
            order.push(*into);
            order
        }
        Op::Gather { .. } => {
            // Rows where the table stands: the index's axes, then what is left of the table's.
            let mut order = of_arg(data.args[1]);
            let rest = of_arg(data.args[0]);
            order.extend(rest.into_iter().filter(|axis| !orders[data.args[1]].contains(axis)));
            complete(graph, order, &data.axes)
        }
        _ => {
            // The largest first, of equals the earliest; but weights behind what they are multiplied with.
            let product = data.op == Op::Map(ScalarFn::Mul);
            let mut args: Vec<(bool, Vec<Axis>)> = data
                .args
                .iter()
                .map(|arg| (product && weights.contains(*arg), of_arg(*arg)))
                .filter(|(_, order)| !order.is_empty())
                .collect();
            args.sort_by_key(|(weights, order)| (*weights, std::cmp::Reverse(shared(order))));
            let mut order = Vec::new();
            for (_, other) in args {
                order.extend(other.into_iter().filter(|axis| !order.contains(axis)).collect::<Vec<Axis>>());
            }
            complete(graph, order, &data.axes)
        }
    }
}

/// The order restricted to these axes; missing ones outside, and symbolic sizes outside of static ones.
fn complete(graph: &Graph, order: Vec<Axis>, axes: &AxisSet) -> Vec<Axis> {
    let mut all: Vec<Axis> = axes.iter().copied().filter(|axis| !order.contains(axis)).collect();
    let mut known = Vec::new();
    for axis in order {
        if axes.contains(&axis) && !known.contains(&axis) {
            known.push(axis);
        }
    }
    all.extend(known);
    let (symbolic, fixed): (Vec<Axis>, Vec<Axis>) =
        all.into_iter().partition(|axis| graph.axes[*axis].size.as_const().is_none());
    symbolic.into_iter().chain(fixed).collect()
}
