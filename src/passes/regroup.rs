//! Turns chosen groups of nodes into `Fused` regions.
//!
//! Views and constants that stand between members are copied into the group; the originals stay outside, over the group's results, where
//! somebody else reads them.

use std::collections::{HashMap, HashSet};

use cranelift_entity::{EntitySet, SecondaryMap};

use super::fuse::is_free;
use crate::graph::walk::captures;
use crate::graph::{Graph, Node, NodeData, Op, Region, RegionData};
use crate::ops::Shape;

/// Replaces each group of nodes of the region by one fused node and its components.
pub fn regroup(graph: &mut Graph, region: Region, groups: Vec<Vec<Node>>) {
    if groups.is_empty() {
        return;
    }
    let mut of: SecondaryMap<Node, Option<usize>> = SecondaryMap::new();
    for (i, group) in groups.iter().enumerate() {
        for node in group {
            of[*node] = Some(i);
        }
    }
    let nodes = graph.regions[region].nodes.clone();
    let mut here: EntitySet<Node> = EntitySet::new();
    here.extend(nodes.iter().copied());
    let inner: Vec<Vec<Node>> =
        groups.iter().enumerate().map(|(i, group)| with_free(graph, group, i, &of)).collect();
    let read_outside = read_outside(graph, region, &nodes, &of, &inner);
    let mut placing = Placing {
        graph,
        of,
        inner,
        read_outside,
        here,
        placed: EntitySet::new(),
        order: Vec::new(),
        components: HashMap::new(),
    };
    for node in nodes {
        placing.place(node);
    }
    let Placing { order, components, .. } = placing;
    graph.regions[region].nodes = order;
    redirect(graph, region, &components);
}

/// The members of a group and copies of the free nodes between them, in order.
fn with_free(
    graph: &mut Graph,
    group: &[Node],
    index: usize,
    of: &SecondaryMap<Node, Option<usize>>,
) -> Vec<Node> {
    let mut copies: HashMap<Node, Option<Node>> = HashMap::new();
    let mut list = Vec::new();
    for node in group {
        for i in 0..graph.nodes[*node].args.len() {
            let arg = graph.nodes[*node].args[i];
            if let Some(copy) = copy_free(graph, arg, index, of, &mut copies, &mut list) {
                graph.nodes[*node].args[i] = copy;
            }
        }
        list.push(*node);
    }
    list
}

/// A copy of a free node that depends on a member, in the group.
fn copy_free(
    graph: &mut Graph,
    node: Node,
    index: usize,
    of: &SecondaryMap<Node, Option<usize>>,
    copies: &mut HashMap<Node, Option<Node>>,
    list: &mut Vec<Node>,
) -> Option<Node> {
    if !is_free(&graph.nodes[node].op) {
        return None;
    }
    if let Some(copy) = copies.get(&node) {
        return *copy;
    }
    let mut data = graph.nodes[node].clone();
    let mut inside = false;
    for arg in &mut data.args {
        inside |= of[*arg] == Some(index);
        if let Some(copy) = copy_free(graph, *arg, index, of, copies, list) {
            *arg = copy;
            inside = true;
        }
    }
    let copy = inside.then(|| graph.nodes.push(data));
    list.extend(copy);
    copies.insert(node, copy);
    copy
}

/// The members that something outside of their group reads.
fn read_outside(
    graph: &Graph,
    region: Region,
    nodes: &[Node],
    of: &SecondaryMap<Node, Option<usize>>,
    inner: &[Vec<Node>],
) -> EntitySet<Node> {
    let copied: HashSet<Node> = inner.iter().flatten().copied().collect();
    // A free node counts only if it is read itself.
    let mut read = EntitySet::new();
    let mut todo: Vec<Node> = graph.regions[region].results.clone();
    for node in nodes {
        if of[*node].is_none() && !is_free(&graph.nodes[*node].op) {
            todo.extend(graph.nodes[*node].args.iter().copied());
            if let Some(body) = graph.nodes[*node].op.region() {
                todo.extend(captures(graph, body));
            }
        }
    }
    for (i, group) in inner.iter().enumerate() {
        for node in group {
            todo.extend(
                graph.nodes[*node]
                    .args
                    .iter()
                    .copied()
                    .filter(|arg| of[*arg] != Some(i) && !copied.contains(arg)),
            );
            todo.extend(
                graph.nodes[*node]
                    .args
                    .iter()
                    .copied()
                    .filter(|arg| of[*arg].is_some_and(|other| other != i)),
            );
        }
    }
    while let Some(node) = todo.pop() {
        if read.insert(node) && of[node].is_none() && is_free(&graph.nodes[node].op) {
            todo.extend(graph.nodes[node].args.iter().copied());
        }
    }
    read
}

/// Puts nodes and groups into an order in which each stands behind what it reads.
struct Placing<'a> {
    graph: &'a mut Graph,
    of: SecondaryMap<Node, Option<usize>>,
    inner: Vec<Vec<Node>>,
    read_outside: EntitySet<Node>,
    here: EntitySet<Node>,
    placed: EntitySet<Node>,
    order: Vec<Node>,
    /// The component that holds a member.
    components: HashMap<Node, Node>,
}

impl Placing<'_> {
    fn place(&mut self, node: Node) {
        if !self.here.contains(node) || self.placed.contains(node) {
            return;
        }
        match self.of[node] {
            Some(group) => self.place_group(group),
            None => {
                if is_free(&self.graph.nodes[node].op) && !self.read_outside.contains(node) {
                    return;
                }
                self.placed.insert(node);
                for read in self.reads(node) {
                    self.place(read);
                }
                self.order.push(node);
            }
        }
    }

    fn reads(&self, node: Node) -> Vec<Node> {
        let data = &self.graph.nodes[node];
        let mut reads = data.args.to_vec();
        if let Some(body) = data.op.region() {
            reads.extend(captures(self.graph, body));
        }
        reads
    }

    fn place_group(&mut self, group: usize) {
        let nodes = std::mem::take(&mut self.inner[group]);
        self.placed.extend(nodes.iter().copied());
        for node in &nodes {
            for read in self.reads(*node) {
                self.place(read);
            }
        }
        let results: Vec<Node> = nodes
            .iter()
            .copied()
            .filter(|n| self.of[*n].is_some() && self.read_outside.contains(*n))
            .collect();
        let last = *results.last().or(nodes.last()).expect("a group has members");
        let span = self.graph.nodes[last].span;
        let inner =
            self.graph.regions.push(RegionData { params: Vec::new(), nodes, results: results.clone() });
        let Shape { axes, dtype } = Shape::tuple();
        let tuple = NodeData { op: Op::Fused(inner), args: Default::default(), dtype, axes, span };
        let fused = self.graph.nodes.push(tuple);
        self.order.push(fused);
        for (i, result) in results.into_iter().enumerate() {
            let data = self.graph.nodes[result].clone();
            let args = [fused].into_iter().collect();
            let component = self.graph.nodes.push(NodeData { op: Op::Project(i as u32), args, ..data });
            self.order.push(component);
            self.components.insert(result, component);
        }
    }
}

/// Makes everything in the region but the groups themselves read components instead of members.
fn redirect(graph: &mut Graph, region: Region, components: &HashMap<Node, Node>) {
    let mut todo: Vec<(Region, HashSet<Node>)> = vec![(region, HashSet::new())];
    while let Some((region, members)) = todo.pop() {
        let nodes = graph.regions[region].nodes.clone();
        for node in nodes {
            for arg in &mut graph.nodes[node].args {
                if let Some(component) = components.get(arg)
                    && !members.contains(arg)
                {
                    *arg = *component;
                }
            }
            if let Some(inner) = graph.nodes[node].op.region() {
                let fused = matches!(graph.nodes[node].op, Op::Fused(_));
                let mut inside = members.clone();
                if fused {
                    inside.extend(graph.regions[inner].nodes.iter().copied());
                }
                todo.push((inner, inside));
            }
        }
        let results = graph.regions[region].results.clone();
        let results = results.into_iter().map(|result| match components.get(&result) {
            Some(component) if !members.contains(&result) => *component,
            _ => result,
        });
        graph.regions[region].results = results.collect();
    }
}
