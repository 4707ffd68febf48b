//! What is cheap to make again is made where it is read, and never stored: `x - mean`, a norm's scale and shift with the relu behind
//! them and its mask, a causal mask.
//!
//! A map is *derived* if, through few instructions, it depends on at most one value as large as itself: its root. Whoever reads a derived
//! value reads the root instead, which costs no more memory traffic, and computes the rest. So each reader gets copies of the maps between,
//! which belong to its kernel alone.

use std::collections::HashMap;

use cranelift_entity::{EntitySet, SecondaryMap};

use super::contraction::{bare, roles};
use super::fuse::is_free;
use super::scalar_cost;
use super::windows::sliding;
use crate::graph::walk::captures;
use crate::graph::{Axis, Graph, Node, Op, Region};

/// Instructions between a root and what is derived from it, at most.
const LIMIT: u32 = 12;
/// Instructions on positions alone that cost no more than to read their value from memory.
const CHEAP: u32 = 4;

/// Copies what is derived for each of its readers in a region; gives the copies.
pub(super) fn recompute(graph: &mut Graph, region: Region, bound: &[Axis]) -> EntitySet<Node> {
    let derived = Derivation::new(graph, region, bound).run();
    let mut copies = EntitySet::new();
    let mut order = Vec::new();
    for node in std::mem::take(&mut graph.regions[region].nodes) {
        if derived[node].is_some() {
            continue;
        }
        let mut known = HashMap::new();
        for i in 0..graph.nodes[node].args.len() {
            let arg = graph.nodes[node].args[i];
            let copy = copied(graph, &derived, arg, &mut known, &mut order, &mut copies);
            graph.nodes[node].args[i] = copy;
        }
        order.push(node);
    }
    graph.regions[region].nodes = order;
    copies
}

/// The copy of a derived value, behind copies of what it is derived through; anything else itself.
fn copied(
    graph: &mut Graph,
    derived: &SecondaryMap<Node, Option<Derived>>,
    node: Node,
    known: &mut HashMap<Node, Node>,
    order: &mut Vec<Node>,
    copies: &mut EntitySet<Node>,
) -> Node {
    if derived[node].is_none() {
        return node;
    }
    if let Some(copy) = known.get(&node) {
        return *copy;
    }
    let mut data = graph.nodes[node].clone();
    for arg in &mut data.args {
        *arg = copied(graph, derived, *arg, known, order, copies);
    }
    let copy = graph.nodes.push(data);
    order.push(copy);
    copies.insert(copy);
    known.insert(node, copy);
    copy
}

/// What a derived value needs.
#[derive(Clone, Copy, PartialEq)]
struct Derived {
    /// The only value as large as it; none if it is made of smaller ones and positions.
    root: Option<Node>,
    cost: u32,
}

struct Derivation<'a> {
    graph: &'a Graph,
    region: Region,
    bound: &'a [Axis],
    here: EntitySet<Node>,
    /// What is in memory anyway.
    stored: EntitySet<Node>,
    derived: SecondaryMap<Node, Option<Derived>>,
}

impl<'a> Derivation<'a> {
    fn new(graph: &'a Graph, region: Region, bound: &'a [Axis]) -> Derivation<'a> {
        let mut here = EntitySet::new();
        here.extend(graph.regions[region].nodes.iter().copied());
        let (stored, derived) = (EntitySet::new(), SecondaryMap::new());
        Derivation { graph, region, bound, here, stored, derived }
    }

    fn run(mut self) -> SecondaryMap<Node, Option<Derived>> {
        let graph = self.graph;
        let data = &graph.regions[self.region];
        data.results.iter().for_each(|result| self.store(*result));
        for node in &data.nodes {
            let own = &graph.nodes[*node];
            if let Some(body) = own.op.region() {
                captures(graph, body).into_iter().for_each(|read| self.store(read));
            }
            let bound = |axis: Axis| self.bound.contains(&axis);
            if let Some(roles) = roles(graph, *node, &bound) {
                [roles.a, roles.b, roles.product].into_iter().for_each(|read| self.store(read));
            }
            // Windows would make each entry again for every tap.
            sliding(graph, *node, &bound).into_iter().for_each(|read| self.store(read));
            match &own.op {
                // What is smaller is made once, before the loop over the larger, unless that is a mere comparison of positions.
                Op::Map(_) => {
                    let small = own
                        .args
                        .iter()
                        .copied()
                        .filter(|arg| self.is_small(*arg, *node) && !is_cheap_from_places(graph, *arg));
                    small.collect::<Vec<_>>().into_iter().for_each(|arg| self.store(arg));
                }
                Op::Reduce { .. } => {}
                op if is_free(op) => {}
                _ => own.args.iter().for_each(|arg| self.store(*arg)),
            }
        }
        for node in &data.nodes {
            self.derived[*node] = self.derive(*node);
        }
        self.derived
    }

    /// Marks what a reader looks up in memory, through what is evaluated where it is read.
    fn store(&mut self, node: Node) {
        self.stored.insert(node);
        let data = &self.graph.nodes[node];
        if is_free(&data.op) || matches!(data.op, Op::Project(_)) {
            data.args.iter().for_each(|arg| self.store(*arg));
        }
    }

    fn derive(&self, node: Node) -> Option<Derived> {
        let data = &self.graph.nodes[node];
        if self.stored.contains(node) {
            return None;
        }
        let own = match &data.op {
            Op::Map(function) => scalar_cost(*function),
            Op::View(_) => {
                // Between two places: what it derives from is as large as the view says.
                let of = self.derived[data.args[0]]?;
                return Some(Derived { root: of.root.map(|_| node), ..of });
            }
            _ => return None,
        };
        let mut all = Derived { root: None, cost: own };
        for arg in &data.args {
            let of = match self.derived[*arg] {
                Some(of) => of,
                None if self.is_small(*arg, node) => continue,
                None => Derived { root: Some(*arg), cost: 0 },
            };
            all.cost += of.cost;
            match (all.root, of.root) {
                (Some(one), Some(other)) if one != other => return None,
                (None, root) => all.root = root,
                _ => {}
            }
        }
        (all.cost <= LIMIT && self.here.contains(node)).then_some(all)
    }

    /// Whether a value has fewer entries than one that is made of it, or none in memory.
    fn is_small(&self, node: Node, of: Node) -> bool {
        let data = &self.graph.nodes[bare(self.graph, node)];
        let own = data.axes.iter().filter(|axis| !self.bound.contains(axis)).count();
        let all = self.graph.nodes[of].axes.iter().filter(|axis| !self.bound.contains(axis)).count();
        own < all || matches!(data.op, Op::Constant(_) | Op::Size(_) | Op::Position(_))
    }
}

/// Whether a value is made of positions and constants alone, for no more than it costs to read it from memory.
pub(super) fn is_cheap_from_places(graph: &Graph, node: Node) -> bool {
    cost_from_places(graph, node) <= CHEAP
}

/// The instructions that make a value of positions and constants alone; above [`CHEAP`] where it needs more, or more than these.
fn cost_from_places(graph: &Graph, node: Node) -> u32 {
    let data = &graph.nodes[node];
    let own = match &data.op {
        Op::Constant(_) | Op::Size(_) | Op::Position(_) => return 0,
        Op::View(_) | Op::Broadcast(_) | Op::Alias => 0,
        Op::Map(function) => scalar_cost(*function).max(1),
        _ => return CHEAP + 1,
    };
    let mut cost = own;
    for arg in &data.args {
        if cost <= CHEAP {
            cost += cost_from_places(graph, *arg);
        }
    }
    cost
}

/// Joins copies that are the same in one group. `group` tells the group of a node.
pub(super) fn join_copies(
    graph: &mut Graph,
    region: Region,
    copies: &EntitySet<Node>,
    group: &dyn Fn(Node) -> Option<usize>,
) -> EntitySet<Node> {
    let mut first: HashMap<(Option<usize>, Op, Vec<Node>), Node> = HashMap::new();
    let mut same: HashMap<Node, Node> = HashMap::new();
    for node in graph.regions[region].nodes.clone() {
        for arg in &mut graph.nodes[node].args {
            *arg = same.get(arg).copied().unwrap_or(*arg);
        }
        if !copies.contains(node) {
            continue;
        }
        let data = &graph.nodes[node];
        let key = (group(node), data.op.clone(), data.args.to_vec());
        let one = *first.entry(key).or_insert(node);
        if one != node {
            same.insert(node, one);
        }
    }
    let mut gone = EntitySet::new();
    gone.extend(same.into_keys());
    graph.regions[region].nodes.retain(|node| !gone.contains(*node));
    gone
}
