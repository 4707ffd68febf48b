//! The order of axes of each value, should it be materialised: outermost first.
//!
//! Inputs have their people's order. What is computed takes the order of its largest argument, further axes stand outside; a contraction's
//! result ends with axes of its second operand that are contiguous there. Static axes stand inside of symbolic ones. Wishes of outputs run
//! backwards through what keeps the axes.

use cranelift_entity::SecondaryMap;

use crate::graph::sets::without;
use crate::graph::{Axis, AxisSet, Graph, Node, Op};

/// An order of all axes of each node.
pub fn orders(graph: &Graph) -> SecondaryMap<Node, Vec<Axis>> {
    let mut orders: SecondaryMap<Node, Vec<Axis>> = SecondaryMap::new();
    let wishes = wishes(graph);
    let mut nodes = Vec::new();
    in_order(graph, graph.root, &mut nodes);
    for node in nodes {
        let data = &graph.nodes[node];
        orders[node] = match (&data.op, &wishes[node]) {
            (Op::Input(index), _) => graph.inputs[*index as usize].order.clone(),
            (_, Some(wish)) => complete(graph, wish.clone(), &data.axes),
            _ => computed(graph, node, &orders),
        };
    }
    orders
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

/// Orders that outputs ask for, handed down to what they are made of as long as the axes stay the same.
fn wishes(graph: &Graph) -> SecondaryMap<Node, Option<Vec<Axis>>> {
    let mut wishes: SecondaryMap<Node, Option<Vec<Axis>>> = SecondaryMap::new();
    let results = &graph.regions[graph.root].results;
    let mut todo: Vec<(Node, Vec<Axis>)> =
        results.iter().zip(&graph.outputs).map(|(node, output)| (*node, output.order.clone())).collect();
    while let Some((node, order)) = todo.pop() {
        let data = &graph.nodes[node];
        let same = order.len() == data.axes.len() && order.iter().all(|axis| data.axes.contains(axis));
        if !same || wishes[node].is_some() || matches!(data.op, Op::Input(_) | Op::Carry(_)) {
            continue;
        }
        wishes[node] = Some(order.clone());
        match &data.op {
            Op::Map(_) | Op::StopGradient | Op::Alias => {
                todo.extend(data.args.iter().map(|arg| (*arg, order.clone())));
            }
            Op::Project(index) => {
                let tuple = &graph.nodes[data.args[0]];
                if let Some(region) = tuple.op.region() {
                    todo.push((graph.regions[region].results[*index as usize], order));
                }
            }
            _ => {}
        }
    }
    wishes
}

fn computed(graph: &Graph, node: Node, orders: &SecondaryMap<Node, Vec<Axis>>) -> Vec<Axis> {
    let data = &graph.nodes[node];
    let of_arg = |arg: Node| -> Vec<Axis> {
        let order = &orders[arg];
        match &data.op {
            // A view's axes stand where the axes stood that they index.
            Op::View(map) => {
                let mut seen = Vec::new();
                for axis in order {
                    let new = match map.get(*axis) {
                        Some(index) => index.mentioned().to_vec(),
                        None => vec![*axis],
                    };
                    for axis in new {
                        if !seen.contains(&axis) {
                            seen.push(axis);
                        }
                    }
                }
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
            let mut args: Vec<Vec<Axis>> = data.args.iter().map(|arg| of_arg(*arg)).collect();
            // The largest first, of equals the earliest.
            args.sort_by_key(|order| std::cmp::Reverse(shared(order)));
            let mut order = args.first().cloned().unwrap_or_default();
            for other in args.iter().skip(1) {
                order.extend(
                    other.iter().copied().filter(|axis| !orders_contain(&order, *axis)).collect::<Vec<_>>(),
                );
            }
            complete(graph, order, &data.axes)
        }
    }
}

fn orders_contain(order: &[Axis], axis: Axis) -> bool {
    order.contains(&axis)
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
