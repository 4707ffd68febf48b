//! What nodes and regions read.

use std::collections::HashSet;

use cranelift_entity::SecondaryMap;

use super::ir::*;

/// How often each value is an argument of a region's node, or a result.
pub fn use_counts(graph: &Graph) -> SecondaryMap<Node, u32> {
    let mut uses: SecondaryMap<Node, u32> = SecondaryMap::new();
    for region in graph.regions.values() {
        region.results.iter().for_each(|result| uses[*result] += 1);
        for node in &region.nodes {
            graph.nodes[*node].args.iter().for_each(|arg| uses[*arg] += 1);
        }
    }
    uses
}

/// All values that a node reads: its arguments, and what its body captures from outside.
pub fn reads(graph: &Graph, node: Node) -> Vec<Node> {
    let data = &graph.nodes[node];
    let mut all: Vec<Node> = data.args.to_vec();
    all.dedup();
    if let Some(body) = data.op.region() {
        let captured = captures(graph, body);
        all.retain(|arg| !captured.contains(arg));
        all.extend(captured);
    }
    all
}

/// What a region reads from outside, each value once, in order of first use.
pub fn captures(graph: &Graph, region: Region) -> Vec<Node> {
    let mut walk = Captures { graph, inside: HashSet::new(), seen: HashSet::new(), found: Vec::new() };
    walk.region(region);
    walk.found
}

struct Captures<'a> {
    graph: &'a Graph,
    inside: HashSet<Node>,
    seen: HashSet<Node>,
    found: Vec<Node>,
}

impl Captures<'_> {
    fn region(&mut self, region: Region) {
        let data = &self.graph.regions[region];
        self.inside.extend(data.params.iter().chain(&data.nodes).copied());
        for node in &data.nodes {
            let data = &self.graph.nodes[*node];
            data.args.iter().for_each(|arg| self.read(*arg));
            if let Some(body) = data.op.region() {
                self.region(body);
            }
        }
        data.results.iter().for_each(|result| self.read(*result));
    }

    fn read(&mut self, node: Node) {
        if !self.inside.contains(&node) && self.seen.insert(node) {
            self.found.push(node);
        }
    }
}

/// All nodes of a region and of the regions in it, parameters too, each before what reads it.
pub fn all_nodes(graph: &Graph, region: Region) -> Vec<Node> {
    fn collect(graph: &Graph, region: Region, into: &mut Vec<Node>) {
        let data = &graph.regions[region];
        into.extend(&data.params);
        for node in &data.nodes {
            if let Some(body) = graph.nodes[*node].op.region() {
                collect(graph, body, into);
            }
            into.push(*node);
        }
    }
    let mut nodes = Vec::new();
    collect(graph, region, &mut nodes);
    nodes
}
