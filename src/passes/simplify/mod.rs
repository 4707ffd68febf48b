//! `simplify`: rewrites that make a value cheaper and never change it, but for the sign of a zero and the order of a sum.
//!
//! What holds for numbers does not always hold for NaN and infinity: `0 * x`, `x - x` and `x == x` stay as they are for floats.
//! A node is rewritten after its arguments, in its place, so one walk is enough for chains of rewrites.

mod maps;
mod tuples;
mod views;

use cranelift_entity::SecondaryMap;
use smallvec::SmallVec;

use super::pipeline::Pass;
use crate::graph::sets::union;
use crate::graph::{AxisSet, Graph, Literal, Node, NodeData, Op, Reducer, Region};
use crate::ops::{ScalarFn, Typing};
use crate::tensor::DType;

/// Cheaper forms of the same values.
pub const SIMPLIFY: Pass = Pass {
    name: "simplify",
    summary: "fold constants, drop what does nothing, compose views",
    run: simplify,
};

pub fn simplify(graph: Graph) -> Graph {
    let mut uses: SecondaryMap<Node, u32> = SecondaryMap::new();
    for data in graph.nodes.values() {
        data.args.iter().for_each(|arg| uses[*arg] += 1);
    }
    for region in graph.regions.values() {
        region.results.iter().for_each(|result| uses[*result] += 1);
    }
    let root = graph.root;
    let home = SecondaryMap::new();
    let mut rewriting =
        Rewriting { graph, same: SecondaryMap::new(), uses, home, bound: AxisSet::new(), out: vec![] };
    rewriting.region(root);
    rewriting.graph
}

/// What a rule makes of a node.
#[expect(clippy::large_enum_variant, reason = "made and taken apart at once, never stored")]
enum Rewrite {
    /// Nothing.
    Keep,
    /// Another value is the same.
    Same(Node),
    /// Another operator does it.
    Op(Op, SmallVec<[Node; 3]>),
}

struct Rewriting {
    graph: Graph,
    /// Nodes that are gone, and what is read instead.
    same: SecondaryMap<Node, Option<Node>>,
    /// Readers of a node before any rewriting: one means that nobody else is known to read it.
    uses: SecondaryMap<Node, u32>,
    /// The region of a node that has been passed.
    home: SecondaryMap<Node, Option<Region>>,
    /// The axes that loops around have bound.
    bound: AxisSet,
    /// The nodes of the current region as they will be.
    out: Vec<Node>,
}

impl Rewriting {
    fn resolve(&self, mut node: Node) -> Node {
        while let Some(next) = self.same[node] {
            node = next;
        }
        node
    }

    fn region(&mut self, region: Region) {
        let nodes = std::mem::take(&mut self.graph.regions[region].nodes);
        let outer = std::mem::replace(&mut self.out, Vec::with_capacity(nodes.len()));
        for param in self.graph.regions[region].params.clone() {
            self.home[param] = Some(region);
        }
        for node in nodes {
            self.node(node, region);
        }
        self.graph.regions[region].nodes = std::mem::replace(&mut self.out, outer);
        for k in 0..self.graph.regions[region].results.len() {
            let result = self.graph.regions[region].results[k];
            self.graph.regions[region].results[k] = self.resolve(result);
        }
    }

    fn node(&mut self, node: Node, region: Region) {
        let mut args = std::mem::take(&mut self.graph.nodes[node].args);
        args.iter_mut().for_each(|arg| *arg = self.resolve(*arg));
        self.graph.nodes[node].args = args;
        if let Op::Scan(scan) = self.graph.nodes[node].op.clone() {
            self.constant_carries(node, &scan);
            let outer = self.bound.clone();
            self.bound = union(&outer, &[scan.axis]);
            self.region(scan.body);
            self.bound = outer;
        } else if let Some(body) = self.graph.nodes[node].op.region() {
            self.region(body);
        }
        self.relabel(node);
        // Each rewrite makes the node simpler, so this ends; the bound is for the day when that is wrong.
        for _ in 0..16 {
            match self.rewrite(node, region) {
                Rewrite::Keep => break,
                Rewrite::Same(other) => {
                    let other = self.resolve(other);
                    self.uses[other] += self.uses[node];
                    self.same[node] = Some(other);
                    return;
                }
                Rewrite::Op(op, args) => {
                    args.iter().for_each(|arg| self.uses[*arg] += 1);
                    let data = &mut self.graph.nodes[node];
                    (data.op, data.args) = (op, args);
                }
            }
        }
        self.relabel(node);
        self.home[node] = Some(region);
        self.out.push(node);
    }

    /// Inside of loops, whether a value has a bound axis may change with what it reads.
    fn relabel(&mut self, node: Node) {
        let data = &self.graph.nodes[node];
        if self.bound.is_empty() || data.op.is_tuple() {
            return;
        }
        let typing = Typing { graph: &self.graph, op: &data.op, args: &data.args, dtype: data.dtype };
        if let Ok(shape) = (data.op.def().shape)(&typing) {
            self.graph.nodes[node].axes = shape.axes;
        }
    }

    /// A new node before the current one. `None` where the operator does not take these arguments, which no rule means to happen.
    fn insert(&mut self, op: Op, args: &[Node], like: Node, region: Region) -> Option<Node> {
        let NodeData { dtype, span, .. } = self.graph.nodes[like];
        self.insert_of(op, args, dtype, span, region)
    }

    fn insert_of(
        &mut self,
        op: Op,
        args: &[Node],
        dtype: DType,
        span: crate::base::Span,
        region: Region,
    ) -> Option<Node> {
        let shape = (op.def().shape)(&Typing { graph: &self.graph, op: &op, args, dtype }).ok()?;
        args.iter().for_each(|arg| self.uses[*arg] += 1);
        let data = NodeData { op, args: args.into(), dtype: shape.dtype, axes: shape.axes, span };
        let node = self.graph.nodes.push(data);
        self.uses[node] = 1;
        self.home[node] = Some(region);
        self.out.push(node);
        Some(node)
    }

    fn rewrite(&mut self, node: Node, region: Region) -> Rewrite {
        let data = &self.graph.nodes[node];
        match &data.op {
            Op::Alias | Op::StopGradient | Op::Custom => Rewrite::Same(data.args[0]),
            Op::Size(dim) => match dim.as_const() {
                Some(value) => {
                    let number = crate::ops::saturate(crate::tensor::Number::Int(value), data.dtype);
                    Rewrite::Op(Op::Constant(maps::literal(number, data.dtype)), SmallVec::new())
                }
                None => Rewrite::Keep,
            },
            Op::Map(function) => self.map(node, *function, region),
            Op::View(map) => {
                let map = map.clone();
                self.view(node, map, region)
            }
            Op::Fold(map) => {
                let map = map.clone();
                self.fold(node, &map)
            }
            Op::Broadcast(axes) => {
                let axes = axes.clone();
                self.broadcast(node, &axes)
            }
            Op::Reduce { op, over } => {
                let (op, over) = (*op, over.clone());
                self.reduce(node, op, &over, region)
            }
            Op::Gather { axis } => {
                let axis = *axis;
                self.gather(node, axis)
            }
            Op::Scatter { op: Reducer::Sum, into, over } if over.is_empty() => {
                let into = *into;
                self.one_hot(node, into, region).unwrap_or(Rewrite::Keep)
            }
            Op::Project(index) => {
                let index = *index as usize;
                self.project(node, index)
            }
            _ => Rewrite::Keep,
        }
    }

    /// The scalar that a value is everywhere.
    fn constant(&self, node: Node) -> Option<Literal> {
        match &self.graph.nodes[node].op {
            Op::Constant(literal) => Some(*literal),
            Op::Broadcast(_) => self.constant(self.graph.nodes[node].args[0]),
            _ => None,
        }
    }

    /// Broadcasting what is broadcast already, or over axes that are there.
    fn broadcast(&mut self, node: Node, axes: &AxisSet) -> Rewrite {
        let arg = self.graph.nodes[node].args[0];
        let inner = &self.graph.nodes[arg];
        if inner.axes == self.graph.nodes[node].axes {
            return Rewrite::Same(arg);
        }
        match &inner.op {
            Op::Broadcast(more) => Rewrite::Op(Op::Broadcast(union(axes, more)), inner.args.clone()),
            _ => Rewrite::Keep,
        }
    }

    /// What is put into one entry each, without a sum, is a choice by position.
    fn one_hot(&mut self, node: Node, into: crate::graph::Axis, region: Region) -> Option<Rewrite> {
        let args = self.graph.nodes[node].args.clone();
        let index = self.graph.nodes[args[1]].dtype;
        let dtype = self.graph.nodes[node].dtype;
        if !dtype.is_float() || !matches!(index, DType::I32 | DType::I64) {
            return None;
        }
        let span = self.graph.nodes[node].span;
        let position = self.insert_of(Op::Position(into), &[], index, span, region)?;
        let hit = self.insert(Op::Map(ScalarFn::Eq), &[position, args[1]], node, region)?;
        let zero = self.insert_of(Op::Constant(Literal::Float(0.0)), &[], dtype, span, region)?;
        let select = Op::Map(ScalarFn::Select);
        let typing = Typing { graph: &self.graph, op: &select, args: &[hit, args[0], zero], dtype };
        let same = (select.def().shape)(&typing).is_ok_and(|shape| shape.axes == self.graph.nodes[node].axes);
        same.then(|| Rewrite::Op(select, [hit, args[0], zero].into_iter().collect()))
    }

    /// A reduction of a reduction of the same kind is one; a sum over axes along which nothing changes is a product.
    fn reduce(&mut self, node: Node, op: Reducer, over: &AxisSet, region: Region) -> Rewrite {
        let arg = self.graph.nodes[node].args[0];
        let inner = &self.graph.nodes[arg];
        match &inner.op {
            Op::Reduce { op: same, over: more }
                if *same == op && self.uses[arg] == 1 && !matches!(op, Reducer::ArgMax | Reducer::ArgMin) =>
            {
                Rewrite::Op(Op::Reduce { op, over: union(over, more) }, inner.args.clone())
            }
            Op::Broadcast(_) => {
                let x = inner.args[0];
                if crate::graph::sets::is_subset(over, &self.graph.nodes[x].axes) {
                    self.broadcast_of_reduction(node, x, op, over, region).unwrap_or(Rewrite::Keep)
                } else if op == Reducer::Sum {
                    self.sum_of_broadcast(node, x, over, region).unwrap_or(Rewrite::Keep)
                } else {
                    Rewrite::Keep
                }
            }
            _ => Rewrite::Keep,
        }
    }

    /// What repeats along axes that stay is reduced once.
    fn broadcast_of_reduction(
        &mut self,
        node: Node,
        x: Node,
        op: Reducer,
        over: &AxisSet,
        region: Region,
    ) -> Option<Rewrite> {
        let wide = self.graph.nodes[node].axes.clone();
        let narrow = self.insert(Op::Reduce { op, over: over.clone() }, &[x], node, region)?;
        Some(Rewrite::Op(Op::Broadcast(wide), [narrow].into_iter().collect()))
    }

    fn sum_of_broadcast(&mut self, node: Node, x: Node, over: &AxisSet, region: Region) -> Option<Rewrite> {
        use crate::graph::sets::{common, without};
        let own = self.graph.nodes[x].axes.clone();
        let (rest, constant) = (common(over, &own), without(over, &own));
        let mut count = crate::axes::Dim::from(1);
        for axis in &constant {
            count = count.mul(&self.graph.axes[*axis].size).ok()?;
        }
        if constant.is_empty() {
            return None;
        }
        let mut sum = x;
        if !rest.is_empty() {
            sum = self.insert(Op::Reduce { op: Reducer::Sum, over: rest }, &[x], node, region)?;
        }
        let count = self.insert(Op::Size(count), &[], node, region)?;
        if let Rewrite::Op(op, args) = self.rewrite(count, region) {
            (self.graph.nodes[count].op, self.graph.nodes[count].args) = (op, args);
        }
        let (op, wanted) = (Op::Map(ScalarFn::Mul), self.graph.nodes[node].axes.clone());
        if self.graph.nodes[sum].axes == wanted {
            return Some(Rewrite::Op(op, [sum, count].into_iter().collect()));
        }
        let product = self.insert(op, &[sum, count], node, region)?;
        Some(Rewrite::Op(Op::Broadcast(wanted), [product].into_iter().collect()))
    }
}

#[cfg(test)]
mod tests;
