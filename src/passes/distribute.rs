//! `distribute`: a sum over a view of a sum of products is one sum of products of views.
//!
//! The transpose of a convolution comes as `Σ_ab view(Σ_k g[…, k] w[a, b, …, k])`: first the products for all taps, then their sum at each
//! place. As one sum over `(a, b, k)` it is a contraction that never stores the taps, and has the same number of products.

use cranelift_entity::SecondaryMap;

use crate::graph::sets::{common, is_subset, set, union};
use crate::graph::walk::use_counts;
use crate::graph::{Axis, AxisSet, Graph, Index, IndexMap, Node, NodeData, Op, Outside, Reducer, Region};
use crate::ops::ScalarFn;

/// Moves views from sums of products to their factors, where a further sum follows.
pub fn distribute(mut graph: Graph) -> Graph {
    let uses = use_counts(&graph);
    let regions: Vec<Region> = graph.regions.keys().collect();
    for region in regions {
        let mut at = 0;
        while let Some(&node) = graph.regions[region].nodes.get(at) {
            if let Some(found) = find(&graph, &uses, node) {
                at = found.write(&mut graph, region, node, at);
            }
            at += 1;
        }
    }
    graph
}

/// `node = Σ_outer view(Σ_inner x * w)`, where nobody else reads what is between; without an inner sum where each feature is by itself.
struct Chain {
    map: IndexMap,
    view: Node,
    inner: Option<Node>,
    product: Node,
    over: AxisSet,
}

fn find(graph: &Graph, uses: &SecondaryMap<Node, u32>, node: Node) -> Option<Chain> {
    let private = |node: Node| uses[node] == 1;
    let Op::Reduce { op: Reducer::Sum, over } = &graph.nodes[node].op else { return None };
    let view = graph.nodes[node].args[0];
    let Op::View(map) = &graph.nodes[view].op else { return None };
    let below = graph.nodes[view].args[0];
    let (inner, first) = match &graph.nodes[below].op {
        Op::Reduce { op: Reducer::Sum, over } => (Some(below), over.clone()),
        _ => (None, AxisSet::new()),
    };
    let product = inner.map_or(below, |inner| graph.nodes[inner].args[0]);
    let factors = &graph.nodes[product];
    // The summed axes must mean the same behind the view, which then has not got them.
    let apart = common(&first, &graph.nodes[view].axes).is_empty() && common(&first, &map.named()).is_empty();
    let fits = factors.op == Op::Map(ScalarFn::Mul) && factors.dtype.is_float();
    let [x, w] = factors.args[..] else { return None };
    // Without an inner sum one factor has the taps and stays as it is; else the product is better made once.
    let moved: AxisSet =
        map.at.iter().filter(|(_, index)| index.as_axis().is_none()).map(|(axis, _)| *axis).collect();
    let renamed = |axis: Axis| map.get(axis).and_then(Index::as_axis).unwrap_or(axis);
    let stays = |factor: Node| {
        let axes = &graph.nodes[factor].axes;
        is_subset(over, &set(axes.iter().map(|axis| renamed(*axis)))) && common(axes, &moved).is_empty()
    };
    let fits = fits && (inner.is_some() || stays(x) || stays(w));
    (private(view) && inner.is_none_or(private) && private(product) && apart && fits && x != w)
        .then(|| Chain { map: map.clone(), view, inner, product, over: union(over, &first) })
}

impl Chain {
    /// Puts the views of the factors and their product before the node; returns its new position.
    fn write(self, graph: &mut Graph, region: Region, node: Node, at: usize) -> usize {
        let data = graph.nodes[node].clone();
        let mut before = Vec::new();
        let mut factors = graph.nodes[self.product].args.clone();
        for factor in &mut factors {
            let own = graph.nodes[*factor].clone();
            let named = self.map.at.iter().filter(|(axis, _)| own.axes.contains(axis)).cloned();
            let named: Vec<(Axis, Index)> = named.collect();
            // A new name alone leaves nothing outside.
            let renamed = |(axis, index): &(Axis, Index)| {
                index.as_axis().is_some_and(|to| graph.axes[to].size == graph.axes[*axis].size)
            };
            let outside = if named.iter().all(renamed) { Outside::Never } else { self.map.outside };
            let mut map = IndexMap::new(named, outside);
            map.drop_identities();
            if map.at.is_empty() {
                continue;
            }
            let axes = union(&crate::graph::sets::without(&own.axes, &map.named()), &map.mentioned());
            let args = [*factor].into_iter().collect();
            *factor = graph.nodes.push(NodeData { op: Op::View(map), args, axes, ..own });
            before.push(*factor);
        }
        let axes = factors.iter().fold(AxisSet::new(), |all, f| union(&all, &graph.nodes[*f].axes));
        let product = NodeData { op: Op::Map(ScalarFn::Mul), args: factors, axes, ..data.clone() };
        let product = graph.nodes.push(product);
        before.push(product);
        graph.nodes[node].op = Op::Reduce { op: Reducer::Sum, over: self.over };
        graph.nodes[node].args = [product].into_iter().collect();
        let nodes = &mut graph.regions[region].nodes;
        nodes.splice(at..at, before);
        nodes.retain(|node| ![self.view, self.product].contains(node) && self.inner != Some(*node));
        nodes.iter().position(|other| *other == node).expect("the node stays where it is")
    }
}
