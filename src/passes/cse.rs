//! `cse`: two nodes that compute the same from the same become one, also where the second stands in a loop. Loops themselves are not compared.

use std::collections::HashMap;

use cranelift_entity::SecondaryMap;
use smallvec::SmallVec;

use super::pipeline::Pass;
use crate::graph::{AxisSet, Graph, Node, Op, Region};
use crate::ops::ScalarFn;
use crate::tensor::DType;

/// Merges equal nodes.
pub const CSE: Pass = Pass { name: "cse", summary: "merge nodes that compute the same", run: cse };

pub fn cse(mut graph: Graph) -> Graph {
    let mut merging = Merging { same: SecondaryMap::new(), known: HashMap::new(), log: Vec::new() };
    let root = graph.root;
    merging.region(&mut graph, root);
    graph
}

/// Everything that a value depends on.
type Key = (Op, SmallVec<[Node; 3]>, DType, AxisSet);

struct Merging {
    same: SecondaryMap<Node, Option<Node>>,
    known: HashMap<Key, Node>,
    /// The keys in order of their coming; those of a region are forgotten behind it.
    log: Vec<Key>,
}

impl Merging {
    fn resolve(&self, node: Node) -> Node {
        self.same[node].unwrap_or(node)
    }

    fn region(&mut self, graph: &mut Graph, region: Region) {
        let mark = self.log.len();
        let mut nodes = std::mem::take(&mut graph.regions[region].nodes);
        nodes.retain(|node| !self.merge(graph, *node));
        graph.regions[region].nodes = nodes;
        for k in 0..graph.regions[region].results.len() {
            let result = graph.regions[region].results[k];
            graph.regions[region].results[k] = self.resolve(result);
        }
        for key in self.log.drain(mark..) {
            self.known.remove(&key);
        }
    }

    /// Whether the node is another one's double.
    fn merge(&mut self, graph: &mut Graph, node: Node) -> bool {
        let data = &mut graph.nodes[node];
        for arg in &mut data.args {
            *arg = self.same[*arg].unwrap_or(*arg);
        }
        if let Some(body) = data.op.region() {
            self.region(graph, body);
            return false;
        }
        // An alias is there to be told from others.
        if data.op == Op::Alias {
            return false;
        }
        if let Op::Project(index) = data.op {
            let first = first_of_equal(graph, graph.nodes[node].args[0], index);
            graph.nodes[node].op = Op::Project(first);
        }
        let data = &graph.nodes[node];
        let mut args = data.args.clone();
        if commutes(&data.op) {
            args.sort_unstable();
        }
        let key = (data.op.clone(), args, data.dtype, data.axes.clone());
        match self.known.get(&key) {
            Some(first) => {
                self.same[node] = Some(*first);
                true
            }
            None => {
                self.known.insert(key.clone(), node);
                self.log.push(key);
                false
            }
        }
    }
}

/// The first of a tuple's components that is the same value as this one.
fn first_of_equal(graph: &Graph, tuple: Node, index: u32) -> u32 {
    let (body, from) = match &graph.nodes[tuple].op {
        Op::Scan(scan) => (scan.body, scan.carries),
        Op::Fused(region) => (*region, 0),
        _ => return index,
    };
    // Components that are carries are the last ones, not the stacked ones.
    if (index as usize) < from {
        return index;
    }
    let results = &graph.regions[body].results;
    let found = results[from..].iter().position(|result| *result == results[index as usize]);
    found.map_or(index, |place| (place + from) as u32)
}

fn commutes(op: &Op) -> bool {
    use ScalarFn::{Add, And, Eq, Max, Min, Mul, Ne, Or};
    matches!(op, Op::Map(Add | Mul | Max | Min | Eq | Ne | And | Or))
}
