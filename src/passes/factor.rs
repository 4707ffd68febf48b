//! `factor`: what a sum does not run along stands behind it.
//!
//! `Σ_n a[n] b` is `(Σ_n a[n]) b`: the sum of fewer numbers, and less to multiply. So the sum over a set behind a linear layer is the layer
//! behind the sum, and the gradient of its weights is a product of sums: `Σ_n (Σ_i x[n, i] w[i, o] + b[o]) = Σ_i (Σ_n x[n, i]) w[i, o] + N b[o]`.
//! The order in which numbers are added changes, and where an infinity meets a zero what comes out.

use cranelift_entity::SecondaryMap;

use super::contraction::bare;
use crate::axes::Dim;
use crate::graph::sets::{common, is_subset, union, without};
use crate::graph::walk::use_counts;
use crate::graph::{AxisSet, Graph, Node, NodeData, Op, Reducer, Region};
use crate::ops::ScalarFn;

/// Takes factors and summands out of the sums that do not run along them.
pub fn factor(mut graph: Graph) -> Graph {
    let uses = use_counts(&graph);
    let regions: Vec<Region> = graph.regions.keys().collect();
    for region in regions {
        let mut out = Vec::new();
        for node in std::mem::take(&mut graph.regions[region].nodes) {
            Factoring { graph: &mut graph, uses: &uses, before: &mut out }.sum(node);
            out.push(node);
        }
        graph.regions[region].nodes = out;
    }
    graph
}

struct Factoring<'a> {
    graph: &'a mut Graph,
    uses: &'a SecondaryMap<Node, u32>,
    /// The nodes of the region before the one at hand.
    before: &'a mut Vec<Node>,
}

/// `Σ over (a b)`, of which `apart` is only along `a`.
struct Parts {
    a: Node,
    b: Node,
    over: AxisSet,
    apart: AxisSet,
}

impl Factoring<'_> {
    fn sum(&mut self, node: Node) {
        let data = self.graph.nodes[node].clone();
        let Op::Reduce { op: Reducer::Sum, over } = &data.op else { return };
        if !data.dtype.is_float() {
            return;
        }
        if let Some(parts) = self.parts(data.args[0], over)
            && let Some((op, args)) = self.product(&data, parts)
        {
            (self.graph.nodes[node].op, self.graph.nodes[node].args) = (op, args.into_iter().collect());
            return;
        }
        let inner = data.args[0];
        let sum = &self.graph.nodes[inner];
        if sum.op != Op::Map(ScalarFn::Add) || self.uses[inner] != 1 {
            return;
        }
        let [x, y] = sum.args[..] else { return };
        for (x, y) in [(x, y), (y, x)] {
            let apart = without(over, self.axes(y));
            let whole = is_subset(over, self.axes(x));
            // Only what becomes less to multiply is worth two sums.
            if apart.is_empty() || !whole || self.uses[x] != 1 {
                continue;
            }
            let Some(parts) = self.parts(x, over) else { continue };
            let axes = without(&self.graph.nodes[x].axes, over);
            let Some((op, args)) = self.product(&NodeData { axes: axes.clone(), ..data.clone() }, parts)
            else {
                continue;
            };
            let product = self.make(NodeData { op, args: args.into_iter().collect(), axes, ..data.clone() });
            let Some(rest) = self.times(y, &apart, over, &data) else { continue };
            let args = [product, rest].into_iter().collect();
            (self.graph.nodes[node].op, self.graph.nodes[node].args) = (Op::Map(ScalarFn::Add), args);
            return;
        }
    }

    fn axes(&self, node: Node) -> &AxisSet {
        &self.graph.nodes[bare(self.graph, node)].axes
    }

    /// What a sum over `over` of this value is made of, if one factor has axes of its own there.
    fn parts(&self, value: Node, over: &AxisSet) -> Option<Parts> {
        let mut all = over.clone();
        let mut product = value;
        if let Op::Reduce { op: Reducer::Sum, over: inner } = &self.graph.nodes[value].op {
            if self.uses[value] != 1 {
                return None;
            }
            all = union(&all, inner);
            product = self.graph.nodes[value].args[0];
        }
        let factors = &self.graph.nodes[product];
        let (Op::Map(ScalarFn::Mul), [x, y]) = (&factors.op, &factors.args[..]) else { return None };
        for (a, b) in [(*x, *y), (*y, *x)] {
            // What is multiplied by a number for others, too, is there to be summed.
            if self.uses[product] > 1 && self.axes(b).is_empty() {
                continue;
            }
            let own = without(&common(&all, self.axes(a)), self.axes(b));
            // A contraction's own summed axes belong to both factors; what only one has is summed first.
            if !own.is_empty() && is_subset(&all, &union(self.axes(a), self.axes(b))) {
                return Some(Parts { a, b, over: all, apart: own });
            }
        }
        None
    }

    /// The operation and arguments of `Σ (Σ_apart a) b`, whose axes are to be those of `data`.
    fn product(&mut self, data: &NodeData, parts: Parts) -> Option<(Op, Vec<Node>)> {
        let Parts { a, b, over, apart } = parts;
        let (a, b) = (bare(self.graph, a), bare(self.graph, b));
        let inner = without(&self.graph.nodes[a].axes, &apart);
        let axes = union(&inner, &self.graph.nodes[b].axes);
        let rest = without(&over, &apart);
        if without(&axes, &rest) != data.axes {
            return None;
        }
        let sum = Op::Reduce { op: Reducer::Sum, over: apart };
        let sum =
            self.make(NodeData { op: sum, args: [a].into_iter().collect(), axes: inner, ..data.clone() });
        if rest.is_empty() {
            return Some((Op::Map(ScalarFn::Mul), vec![sum, b]));
        }
        let args = [sum, b].into_iter().collect();
        let product = self.make(NodeData { op: Op::Map(ScalarFn::Mul), args, axes, ..data.clone() });
        Some((Op::Reduce { op: Reducer::Sum, over: rest }, vec![product]))
    }

    /// The sum over `over` of a value that does not run along `apart`: so often its sum over the rest.
    fn times(&mut self, value: Node, apart: &AxisSet, over: &AxisSet, like: &NodeData) -> Option<Node> {
        let value = bare(self.graph, value);
        let mut count = Dim::constant(1);
        for axis in apart {
            count = count.mul(&self.graph.axes[*axis].size).ok()?;
        }
        let (args, axes) = (Default::default(), AxisSet::new());
        let count = self.make(NodeData { op: Op::Size(count), args, axes, ..like.clone() });
        let rest = without(over, apart);
        let mut sum = value;
        let mut axes = self.graph.nodes[value].axes.clone();
        if !rest.is_empty() {
            axes = without(&axes, &rest);
            let op = Op::Reduce { op: Reducer::Sum, over: rest };
            let args = [value].into_iter().collect();
            sum = self.make(NodeData { op, args, axes: axes.clone(), ..like.clone() });
        }
        let args = [sum, count].into_iter().collect();
        Some(self.make(NodeData { op: Op::Map(ScalarFn::Mul), args, axes, ..like.clone() }))
    }

    fn make(&mut self, data: NodeData) -> Node {
        let node = self.graph.nodes.push(data);
        self.before.push(node);
        node
    }
}
