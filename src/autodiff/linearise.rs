//! Forward mode: tangents of the nodes between two values.

use std::collections::{HashMap, HashSet};

use super::scan;
use crate::graph::walk::reads;
use crate::graph::{Builder, Node, Op, Region};
use crate::ops::Jvp;

/// The tangents of values; a value without one has the tangent zero.
#[derive(Default)]
pub(super) struct Tangents {
    of: HashMap<Node, Node>,
    /// Of tuples, for each component.
    of_tuple: HashMap<Node, Vec<Option<Node>>>,
}

impl Tangents {
    pub fn get(&self, node: Node) -> Option<Node> {
        self.of.get(&node).copied()
    }

    pub fn set(&mut self, node: Node, tangent: Node) {
        self.of.insert(node, tangent);
    }

    pub fn set_tuple(&mut self, node: Node, tangents: Vec<Option<Node>>) {
        self.of_tuple.insert(node, tangents);
    }
}

/// Appends the tangents of what leads from the values that have some to `ys`.
pub(super) fn linearise(b: &mut Builder, ys: &[Node], from: &[Node], tangents: &mut Tangents) {
    let nodes = between(b, b.region(), from, ys);
    tangents_of(b, &nodes, tangents);
}

/// The nodes of a region that depend on `from` and on which `to` depends, in order.
pub(super) fn between(b: &Builder, region: Region, from: &[Node], to: &[Node]) -> Vec<Node> {
    let graph = b.graph();
    let nodes = &graph.regions[region].nodes;
    let mut dependent: HashSet<Node> = from.iter().copied().collect();
    let mut candidates = Vec::new();
    for node in nodes {
        let all = reads(graph, *node);
        if all.iter().any(|read| dependent.contains(read)) {
            dependent.insert(*node);
            candidates.push((*node, all));
        }
    }
    let mut wanted: HashSet<Node> = to.iter().copied().collect();
    let mut nodes = Vec::new();
    for (node, reads) in candidates.into_iter().rev() {
        if wanted.contains(&node) {
            wanted.extend(reads);
            nodes.push(node);
        }
    }
    nodes.reverse();
    nodes
}

/// Appends the tangents of these nodes, which stand in the current region, in order.
pub(super) fn tangents_of(b: &mut Builder, nodes: &[Node], tangents: &mut Tangents) {
    let span = b.span();
    for node in nodes {
        if tangents.get(*node).is_some() {
            continue;
        }
        let data = &b.graph().nodes[*node];
        let at = data.span;
        let (op, args, dtype) = (data.op.clone(), data.args.clone(), data.dtype);
        b.at(at);
        let tangent = match (&op, &op.def().jvp) {
            (Op::Scan(_), Jvp::Body) => {
                let components = scan::linearise(b, *node, tangents);
                tangents.set_tuple(*node, components);
                continue;
            }
            (Op::Custom, Jvp::Body) => {
                let (wrt, pulled) = args[2..].split_at(args.len() / 2 - 1);
                let known = wrt.iter().zip(pulled);
                let pairs: Vec<(Node, Node)> =
                    known.filter_map(|(x, p)| Some((*p, tangents.get(*x)?))).collect();
                if pairs.is_empty() { None } else { Some(super::vjps(b, &pairs, &args[1..2])[0]) }
            }
            (Op::Project(index), Jvp::Body) => {
                tangents.of_tuple.get(&args[0]).and_then(|components| components[*index as usize])
            }
            (op, Jvp::Body) => unreachable!("{} stands in no graph that is differentiated", op.def().name),
            (_, Jvp::Zero) => None,
            (_, Jvp::Rule(rule)) => {
                let of_args: Vec<Option<Node>> = args.iter().map(|arg| tangents.get(*arg)).collect();
                let any = dtype.is_float() && of_args.iter().any(Option::is_some);
                if any { rule(b, *node, &of_args) } else { None }
            }
        };
        if let Some(tangent) = tangent {
            let axes = b.axes(*node).clone();
            let tangent = b.fit(tangent, &axes);
            tangents.set(*node, tangent);
        }
    }
    b.at(span);
}
