//! Reverse mode: the nodes that are linear in the tangents, walked backwards.

use std::collections::{HashMap, HashSet};

use super::scan;
use crate::graph::walk::reads;
use crate::graph::{Axis, Builder, Node, Op, Reducer, Region};
use crate::ops::{Cotangent, Pullback, ScalarFn, Transpose};

/// The transposition of the linear nodes of one region.
pub(super) struct Transposer {
    /// The linear nodes of the region, in order.
    nodes: Vec<Node>,
    /// These, what else is linear that they read, and the same of the regions around.
    linear: HashSet<Node>,
    cotangents: HashMap<Node, Cotangent>,
    /// Of tuples, for each component.
    of_tuple: HashMap<Node, Vec<Option<Node>>>,
    /// What stands here for values of the region that are not linear: the cotangents go to another region.
    known: HashMap<Node, Node>,
}

impl Transposer {
    /// For the nodes of the current region from the `mark`th on that depend on `placeholders`, one after another.
    pub fn new(b: &Builder, region: Region, mark: usize, placeholders: &[Node]) -> Transposer {
        let mut linear: HashSet<Node> = placeholders.iter().copied().collect();
        let nodes = linear_nodes(b, &b.graph().regions[region].nodes[mark..], &mut linear);
        Transposer {
            nodes,
            linear,
            cotangents: HashMap::new(),
            of_tuple: HashMap::new(),
            known: HashMap::new(),
        }
    }

    /// For the body of a scan, whose parameters are linear; what is linear around is so inside.
    pub fn of_body(&self, b: &Builder, body: Region) -> Transposer {
        let mut linear = self.linear.clone();
        linear.extend(&b.graph().regions[body].params);
        let nodes = linear_nodes(b, &b.graph().regions[body].nodes, &mut linear);
        let known = self.known.clone();
        Transposer { nodes, linear, cotangents: HashMap::new(), of_tuple: HashMap::new(), known }
    }

    pub fn linear(self) -> HashSet<Node> {
        self.linear
    }

    pub fn is_linear(&self, node: Node) -> bool {
        self.linear.contains(&node)
    }

    /// Says what stands for a value that is not linear.
    pub fn know(&mut self, node: Node, here: Node) {
        self.known.insert(node, here);
    }

    pub fn known(&self, node: Node) -> Node {
        self.known.get(&node).copied().unwrap_or(node)
    }

    /// Adds to the cotangent of a value, if it is linear.
    pub fn start(&mut self, b: &mut Builder, node: Node, cotangent: Node) {
        self.add(b, node, Cotangent::plain(cotangent));
    }

    /// Walks back and gives the cotangents of these values.
    pub fn run(&mut self, b: &mut Builder, of: &[Node]) -> Vec<Option<Node>> {
        let span = b.span();
        for node in std::mem::take(&mut self.nodes).into_iter().rev() {
            b.at(b.graph().nodes[node].span);
            self.pull_back(b, node);
        }
        b.at(span);
        of.iter().map(|node| self.take(*node)).collect()
    }

    pub fn take(&mut self, node: Node) -> Option<Node> {
        self.cotangents.remove(&node).map(|cotangent| cotangent.value)
    }

    fn pull_back(&mut self, b: &mut Builder, node: Node) {
        if let Some(components) = self.of_tuple.remove(&node) {
            for (read, cotangent) in scan::transpose(self, b, node, components) {
                self.add(b, read, Cotangent::plain(cotangent));
            }
            return;
        }
        // A placeholder's is asked for in the end.
        let data = b.graph().nodes[node].clone();
        if !data.args.iter().any(|arg| self.linear.contains(arg)) {
            return;
        }
        let Some(cotangent) = self.cotangents.remove(&node) else { return };
        match (&data.op, &data.op.def().transpose) {
            (Op::Project(index), Transpose::Body) => {
                let count = components(b, data.args[0]);
                let of_tuple = self.of_tuple.entry(data.args[0]).or_insert_with(|| vec![None; count]);
                of_tuple[*index as usize] = Some(match of_tuple[*index as usize] {
                    Some(other) => b.add(other, cotangent.value),
                    None => cotangent.value,
                });
            }
            (_, Transpose::Rule(rule)) => {
                let known = data.args.iter().map(|arg| (!self.is_linear(*arg)).then(|| self.known(*arg)));
                let known: Vec<Option<Node>> = known.collect();
                let contraction = self.is_contraction(b, node);
                let pulled = rule(b, &Pullback { node: &data, known: &known, cotangent, contraction });
                for (arg, cotangent) in data.args.iter().zip(pulled) {
                    if let Some(cotangent) = cotangent.filter(|_| self.is_linear(*arg)) {
                        self.add(b, *arg, cotangent);
                    }
                }
            }
            (op, _) => unreachable!("{} of tangents", op.def().name),
        }
    }

    fn is_contraction(&self, b: &Builder, node: Node) -> bool {
        let sum = matches!(b.op(node), Op::Reduce { op: Reducer::Sum, .. });
        sum && *b.op(b.graph().nodes[node].args[0]) == Op::Map(ScalarFn::Mul)
    }

    /// Adds to the cotangent of a linear value, brought to its axes and dtype.
    fn add(&mut self, b: &mut Builder, node: Node, cotangent: Cotangent) {
        if !self.is_linear(node) {
            return;
        }
        let (axes, dtype) = (b.axes(node).clone(), b.dtype(node));
        let value = b.fit(cotangent.value, &axes);
        let value = b.cast(value, dtype);
        let mask = cotangent.mask.map(|mask| any_of(b, mask, &axes));
        let new = Cotangent { value, mask };
        let sum = match self.cotangents.get(&node).copied() {
            None => new,
            Some(old) => Cotangent {
                value: b.add(old.value, new.value),
                // Left out by all, or else not left out.
                mask: old.mask.zip(new.mask).map(|(x, y)| b.map2(ScalarFn::Or, x, y)),
            },
        };
        self.cotangents.insert(node, sum);
    }
}

/// A mask with no axes but these: true where any entry is.
fn any_of(b: &mut Builder, mask: Node, axes: &[Axis]) -> Node {
    use crate::graph::sets::without;
    let excess = without(&without(b.axes(mask), axes), &b.bound());
    b.reduce(Reducer::Any, mask, &excess)
}

fn components(b: &Builder, tuple: Node) -> usize {
    b.op(tuple).region().map_or(0, |region| b.graph().regions[region].results.len())
}

/// Those of `nodes` that read what is linear; they are so, too.
fn linear_nodes(b: &Builder, nodes: &[Node], linear: &mut HashSet<Node>) -> Vec<Node> {
    let mut found = Vec::new();
    for node in nodes {
        if linear.contains(node) {
            continue;
        }
        if reads(b.graph(), *node).iter().any(|read| linear.contains(read)) {
            linear.insert(*node);
            found.push(*node);
        }
    }
    found
}
