//! `guards`: the guard of a sum of products moves to one factor, or behind the sum.
//!
//! `Σ_s select(m, a[t, s] v[s, e], 0)` is no contraction, and its product is as large as all operands together. Where one factor has the
//! mask's axes it is `Σ_s select(m, a, 0) v`, and where the mask does not depend on the summed axes it stands behind the sum. So attention
//! in all its parts, with its derivative, is contractions, and no mask is as large as a product.
//!
//! An entry that the guard leaves out counts as 0 times the other factor: the same for all numbers, but not for infinities and NaN.

use std::collections::HashMap;

use cranelift_entity::{EntityRef, SecondaryMap};

use super::contraction::roles;
use crate::graph::sets::{common, is_subset, union, without};
use crate::graph::{Axis, AxisSet, Graph, Literal, Node, NodeData, Op, Reducer, Region};
use crate::ops::ScalarFn;

/// Moves guards out of the way of contractions.
pub fn guards(mut graph: Graph) -> Graph {
    let root = graph.root;
    Moving { graph: &mut graph, new: SecondaryMap::new(), known: HashMap::new() }
        .region(root, &mut Vec::new());
    graph
}

struct Moving<'a> {
    graph: &'a mut Graph,
    /// What is read instead of a sum whose guard stands behind it.
    new: SecondaryMap<Node, Option<Node>>,
    /// `select(mask, value, 0)` by value and mask, as far as it stands before the node at hand.
    known: HashMap<(Node, Node), Node>,
}

/// A sum of products without its guards.
struct Bare {
    factors: [Node; 2],
    masks: Vec<Node>,
}

impl Moving<'_> {
    fn region(&mut self, region: Region, bound: &mut Vec<Axis>) {
        let nodes = std::mem::take(&mut self.graph.regions[region].nodes);
        let mut out = Vec::with_capacity(nodes.len());
        let outer = self.known.clone();
        for node in nodes {
            let mut args = self.graph.nodes[node].args.clone();
            args.iter_mut().for_each(|arg| *arg = self.new[*arg].unwrap_or(*arg));
            self.graph.nodes[node].args = args;
            if let Op::Scan(scan) = &self.graph.nodes[node].op {
                let (axis, body) = (scan.axis, scan.body);
                bound.push(axis);
                self.region(body, bound);
                bound.pop();
            } else if let Some(inner) = self.graph.nodes[node].op.region() {
                self.region(inner, bound);
            }
            self.sum(node, bound, &mut out);
            if let Some((mask, value)) = self.guarded(node) {
                self.known.entry((value, mask)).or_insert(node);
            }
        }
        self.known = outer;
        self.graph.regions[region].nodes = out;
        for k in 0..self.graph.regions[region].results.len() {
            let result = self.graph.regions[region].results[k];
            self.graph.regions[region].results[k] = self.new[result].unwrap_or(result);
        }
    }

    /// Appends a node, and what its guards become if it is a guarded sum of products.
    fn sum(&mut self, node: Node, bound: &[Axis], out: &mut Vec<Node>) {
        let data = self.graph.nodes[node].clone();
        let Op::Reduce { op: Reducer::Sum, over } = &data.op else { return out.push(node) };
        let Some(Bare { mut factors, masks }) = self.bare(data.args[0], bound) else { return out.push(node) };
        if masks.is_empty() {
            return out.push(node);
        }
        let mut behind = Vec::new();
        let mut inside: Vec<(usize, Node)> = Vec::new();
        for mask in masks {
            let axes = &self.graph.nodes[mask].axes;
            if common(axes, over).is_empty() {
                behind.push(mask);
                continue;
            }
            let has = |factor: &Node| is_subset(&without(axes, bound), &self.graph.nodes[*factor].axes);
            let Some(at) = factors.iter().position(has) else { return out.push(node) };
            inside.push((at, mask));
        }
        // Every axis that the sum keeps must still be there: a mask may have been the only one to have it.
        let own = union(&self.graph.nodes[factors[0]].axes, &self.graph.nodes[factors[1]].axes);
        let all = inside.iter().fold(own, |all, (_, mask)| union(&all, &self.graph.nodes[*mask].axes));
        let kept = without(&all, over);
        let made = behind.iter().fold(kept.clone(), |all, mask| union(&all, &self.graph.nodes[*mask].axes));
        if !is_subset(over, &all) || made != data.axes {
            return out.push(node);
        }
        let first = self.graph.nodes.len();
        for (at, mask) in inside {
            factors[at] = self.masked(factors[at], mask, out);
        }
        let product = NodeData {
            op: Op::Map(ScalarFn::Mul),
            args: factors.into_iter().collect(),
            axes: all,
            ..data.clone()
        };
        let product = self.graph.nodes.push(product);
        let args = [product].into_iter().collect();
        let sum = self.graph.nodes.push(NodeData { args, axes: kept, ..data.clone() });
        if roles(self.graph, sum, &|axis| bound.contains(&axis)).is_none() {
            // Not worth it: an ordinary sum may as well be guarded where it is.
            out.retain(|node| node.index() < first);
            self.known.retain(|_, node| node.index() < first);
            return out.push(node);
        }
        out.extend([product, sum]);
        let guarded = behind.into_iter().fold(sum, |value, mask| self.masked(value, mask, out));
        self.new[node] = Some(guarded);
    }

    /// The factors of a product and the masks outside of which it is zero. A mask stays in its factor if it does not widen it:
    /// along axes that loops around have bound there is one entry.
    fn bare(&self, node: Node, bound: &[Axis]) -> Option<Bare> {
        let mut masks = Vec::new();
        let mut product = node;
        while let Some((mask, value)) = self.guarded(product) {
            masks.push(mask);
            product = value;
        }
        let data = &self.graph.nodes[product];
        let (Op::Map(ScalarFn::Mul), [x, y]) = (&data.op, &data.args[..]) else { return None };
        let mut factors = [*x, *y];
        for factor in &mut factors {
            while let Some((mask, value)) = self.guarded(*factor)
                && !is_subset(&without(&self.graph.nodes[mask].axes, bound), &self.graph.nodes[value].axes)
            {
                if !masks.contains(&mask) {
                    masks.push(mask);
                }
                *factor = value;
            }
        }
        Some(Bare { factors, masks })
    }

    /// Mask and value of `select(mask, value, 0)`.
    fn guarded(&self, node: Node) -> Option<(Node, Node)> {
        let data = &self.graph.nodes[node];
        let (Op::Map(ScalarFn::Select), [mask, value, other]) = (&data.op, &data.args[..]) else {
            return None;
        };
        let zero = self.graph.nodes[*other].op == Op::Constant(Literal::Float(0.0));
        zero.then_some((*mask, *value))
    }

    /// `select(mask, value, 0)`, or the value where it is that already.
    fn masked(&mut self, value: Node, mask: Node, out: &mut Vec<Node>) -> Node {
        if self.guarded(value).is_some_and(|(own, _)| own == mask) {
            return value;
        }
        if let Some(known) = self.known.get(&(value, mask)) {
            return *known;
        }
        let data = self.graph.nodes[value].clone();
        let constant = NodeData {
            op: Op::Constant(Literal::Float(0.0)),
            args: Default::default(),
            axes: AxisSet::new(),
            ..data.clone()
        };
        let zero = self.graph.nodes.push(constant);
        let axes = union(&data.axes, &self.graph.nodes[mask].axes);
        let args = [mask, value, zero].into_iter().collect();
        let select = self.graph.nodes.push(NodeData { op: Op::Map(ScalarFn::Select), args, axes, ..data });
        out.extend([zero, select]);
        self.known.insert((value, mask), select);
        select
    }
}
