//! `distribute`: a sum over a view of a sum of products is one sum of products of views.
//!
//! The transpose of a convolution comes as `Σ_ab view(Σ_k g[…, k] w[a, b, …, k])`: first the products for all taps, then their sum at each
//! place. As one sum over `(a, b, k)` it is a contraction that never stores the taps, and has the same number of products.

use cranelift_entity::SecondaryMap;

use crate::graph::sets::{common, union};
use crate::graph::walk::use_counts;
use crate::graph::{AxisSet, Graph, IndexMap, Node, NodeData, Op, Reducer, Region};
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

/// `node = Σ_outer view(Σ_inner x * w)`, where nobody else reads what is between.
struct Chain {
    map: IndexMap,
    view: Node,
    inner: Node,
    product: Node,
    over: AxisSet,
}

fn find(graph: &Graph, uses: &SecondaryMap<Node, u32>, node: Node) -> Option<Chain> {
    let private = |node: Node| uses[node] == 1;
    let Op::Reduce { op: Reducer::Sum, over } = &graph.nodes[node].op else { return None };
    let view = graph.nodes[node].args[0];
    let Op::View(map) = &graph.nodes[view].op else { return None };
    let inner = graph.nodes[view].args[0];
    let Op::Reduce { op: Reducer::Sum, over: first } = &graph.nodes[inner].op else { return None };
    let product = graph.nodes[inner].args[0];
    let factors = &graph.nodes[product];
    // The summed axes must mean the same behind the view, which then has not got them.
    let apart = common(first, &graph.nodes[view].axes).is_empty() && common(first, &map.named()).is_empty();
    let fits = factors.op == Op::Map(ScalarFn::Mul) && factors.dtype.is_float();
    let [x, w] = factors.args[..] else { return None };
    (private(view) && private(inner) && private(product) && apart && fits && x != w).then(|| Chain {
        map: map.clone(),
        view,
        inner,
        product,
        over: union(over, first),
    })
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
            let mut map = IndexMap::new(named.collect::<Vec<_>>(), self.map.outside);
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
        nodes.retain(|node| ![self.view, self.inner, self.product].contains(node));
        nodes.iter().position(|other| *other == node).expect("the node stays where it is")
    }
}
