//! The scores that a derivative reads are made again for it, so that the loop that makes the result does not hang together with it.
//!
//! Between the scores of attention and the derivative by them stands all that follows in the network, which no loop over queries can hold.
//! What is large and needed on both sides is repeated behind: from the factors and the statistics of rows, which are small.

use std::collections::{HashMap, HashSet};

use crate::graph::sets::is_subset;
use crate::graph::walk::reads;
use crate::graph::{Axis, Graph, Node, Region};

/// Repeats for the nodes of `large` that depend on others of them by way of more than statistics of rows what they read of these others.
/// Gives the nodes that stand behind; none where nothing had to be repeated.
pub(super) fn apart(
    graph: &mut Graph,
    region: Region,
    seed: Node,
    rows: Axis,
    large: &HashSet<Node>,
) -> HashSet<Node> {
    let nodes = graph.regions[region].nodes.clone();
    let own = graph.nodes[seed].axes.clone();
    let (mut depends, mut behind): (HashSet<Node>, HashSet<Node>) = (large.clone(), HashSet::new());
    for &node in &nodes {
        let read = reads(graph, node);
        let axes = &graph.nodes[node].axes;
        let statistics = axes.contains(&rows) && is_subset(axes, &own);
        let leaves = !large.contains(&node) && !statistics && read.iter().any(|read| depends.contains(read));
        if leaves || read.iter().any(|read| behind.contains(read)) {
            behind.insert(node);
        }
        if read.iter().any(|read| depends.contains(read)) {
            depends.insert(node);
        }
    }
    let late: HashSet<Node> = large.intersection(&behind).copied().collect();
    let early: HashSet<Node> = large.difference(&behind).copied().collect();
    let mut repeated: HashMap<Node, Node> = HashMap::new();
    let mut out = Vec::with_capacity(nodes.len());
    for node in nodes {
        if late.contains(&node) {
            let mut args = graph.nodes[node].args.clone();
            for arg in &mut args {
                *arg = repeat(graph, *arg, &early, &mut repeated, &mut out);
            }
            graph.nodes[node].args = args;
        }
        out.push(node);
    }
    graph.regions[region].nodes = out;
    if repeated.is_empty() { HashSet::new() } else { late }
}

/// A node again, with all that it is made of among the `early` ones.
fn repeat(
    graph: &mut Graph,
    node: Node,
    early: &HashSet<Node>,
    repeated: &mut HashMap<Node, Node>,
    out: &mut Vec<Node>,
) -> Node {
    if !early.contains(&node) {
        return node;
    }
    if let Some(known) = repeated.get(&node) {
        return *known;
    }
    let mut data = graph.nodes[node].clone();
    for arg in &mut data.args {
        *arg = repeat(graph, *arg, early, repeated, out);
    }
    let copy = graph.nodes.push(data);
    out.push(copy);
    repeated.insert(node, copy);
    copy
}
