//! `accumulators`: a carry that only adds up a sum of products is one sum of products behind the loop.
//!
//! The gradient of a weight that a loop uses at every step is carried backwards through it: `dw' = dw + Σ_b x_t[b, i] g_t[b, o]`. Step by
//! step that is a small contraction, which reads and writes all of `dw`. Behind the loop it is `Σ_tb x[t, b, i] g[t, b, o]`, over what the
//! loop has read and yielded.

use cranelift_entity::{EntitySet, SecondaryMap};

use super::contraction::roles;
use crate::graph::sets::union;
use crate::graph::walk::use_counts;
use crate::graph::{Axis, AxisSet, Graph, Node, NodeData, Op, Reducer, Region, Scan};
use crate::ops::ScalarFn;

/// Moves accumulated sums of products behind their loops.
pub fn accumulators(graph: Graph) -> Graph {
    let uses = use_counts(&graph);
    let root = graph.root;
    let mut moving = Moving { graph, uses, new: SecondaryMap::new() };
    moving.region(root, &mut Vec::new());
    let Moving { mut graph, new, .. } = moving;
    let resolve = |node: &mut Node| *node = new[*node].unwrap_or(*node);
    graph.nodes.values_mut().for_each(|data| data.args.iter_mut().for_each(resolve));
    graph.regions.values_mut().for_each(|region| region.results.iter_mut().for_each(resolve));
    graph
}

struct Moving {
    graph: Graph,
    uses: SecondaryMap<Node, u32>,
    /// What is read instead of the last value of a carry.
    new: SecondaryMap<Node, Option<Node>>,
}

/// `next = carry + Σ_over x * g`, where nobody else reads the carry or what is added to it.
struct Accumulator {
    carry: usize,
    factors: [Node; 2],
    over: AxisSet,
}

impl Moving {
    fn region(&mut self, region: Region, bound: &mut Vec<Axis>) {
        let mut at = 0;
        while let Some(&node) = self.graph.regions[region].nodes.get(at) {
            if let Op::Scan(scan) = self.graph.nodes[node].op.clone() {
                bound.push(scan.axis);
                self.region(scan.body, bound);
                let found: Vec<Accumulator> =
                    (0..scan.carries).filter_map(|carry| self.find(&scan, carry, bound)).collect();
                bound.pop();
                for found in found {
                    at += self.write(region, node, &scan, found, at);
                }
            }
            at += 1;
        }
    }

    fn find(&self, scan: &Scan, carry: usize, bound: &[Axis]) -> Option<Accumulator> {
        let graph = &self.graph;
        // A body that is computed again stores nothing, and a loop of one turn gains nothing.
        if scan.recompute || graph.axes[scan.axis].size.as_const() == Some(1) {
            return None;
        }
        let body = &graph.regions[scan.body];
        let (param, next) = (body.params[carry], body.results[carry]);
        let own = |node: Node| body.nodes.contains(&node) && self.uses[node] == 1;
        if !own(next) || self.uses[param] != 1 || graph.nodes[next].op != Op::Map(ScalarFn::Add) {
            return None;
        }
        let args = &graph.nodes[next].args;
        let added = args.iter().copied().find(|arg| *arg != param && args.contains(&param) && own(*arg))?;
        let Op::Reduce { op: Reducer::Sum, over } = &graph.nodes[added].op else { return None };
        let roles = roles(graph, added, &|axis| bound.contains(&axis))?;
        if !own(roles.product) || !roles.batch.is_empty() {
            return None;
        }
        let [x, g] = graph.nodes[roles.product].args[..] else { return None };
        // Without the step's axis in one of them, the loop would add the same again and again.
        let varies = |node: Node| {
            body.nodes.contains(&node)
                || body.params.contains(&node)
                || graph.nodes[node].axes.contains(&scan.axis)
        };
        (varies(x) && varies(g)).then(|| Accumulator { carry, factors: [x, g], over: over.clone() })
    }

    /// Appends the sum behind the loop, whose carry stays what it was. Returns the number of new nodes.
    fn write(&mut self, region: Region, node: Node, scan: &Scan, found: Accumulator, at: usize) -> usize {
        let Accumulator { carry, factors, over } = found;
        let mut after = Vec::new();
        let first = self.graph.nodes[node].args[carry];
        let next = self.graph.regions[scan.body].results[carry];
        let data = self.graph.nodes[next].clone();
        let mut args = Vec::new();
        for factor in factors {
            args.push(self.outside(node, scan, factor, &mut after));
        }
        let axes = args.iter().fold(AxisSet::new(), |all, arg| union(&all, &self.graph.nodes[*arg].axes));
        let op = Op::Map(ScalarFn::Mul);
        let product = NodeData { op, args: args.into_iter().collect(), axes, ..data.clone() };
        let product = self.graph.nodes.push(product);
        let over = union(&over, &[scan.axis]);
        let axes = crate::graph::sets::without(&self.graph.nodes[product].axes, &over);
        let op = Op::Reduce { op: Reducer::Sum, over };
        let sum = NodeData { op, args: [product].into_iter().collect(), axes, ..data.clone() };
        let sum = self.graph.nodes.push(sum);
        let op = Op::Map(ScalarFn::Add);
        let axes = union(&self.graph.nodes[sum].axes, &self.graph.nodes[first].axes);
        let total = NodeData { op, args: [first, sum].into_iter().collect(), axes, ..data };
        let total = self.graph.nodes.push(total);
        after.extend([product, sum, total]);
        let param = self.graph.regions[scan.body].params[carry];
        self.graph.regions[scan.body].results[carry] = param;
        let mut last = EntitySet::new();
        for (other, data) in &self.graph.nodes {
            if data.op == Op::Project(carry as u32) && data.args[0] == node {
                last.insert(other);
            }
        }
        last.iter().for_each(|other| self.new[other] = Some(total));
        let count = after.len();
        self.graph.regions[region].nodes.splice(at + 1..at + 1, after);
        count
    }

    /// A value of the body behind the loop, for all steps; a yield is added if there is none.
    fn outside(&mut self, node: Node, scan: &Scan, value: Node, after: &mut Vec<Node>) -> Node {
        let body = &mut self.graph.regions[scan.body];
        if !body.nodes.contains(&value) && !body.params.contains(&value) {
            return value;
        }
        let known = body.results[scan.carries..].iter().position(|result| *result == value);
        let index = known.map_or(body.results.len(), |at| at + scan.carries);
        if known.is_none() {
            body.results.push(value);
        }
        let data = self.graph.nodes[value].clone();
        let axes = union(&data.axes, &[scan.axis]);
        let op = Op::Project(index as u32);
        let component = NodeData { op, args: [node].into_iter().collect(), axes, ..data };
        let component = self.graph.nodes.push(component);
        after.push(component);
        component
    }
}
