//! `unify`: axes that a renaming view connects become one, wherever no value has both. What then renames nothing is gone.
//!
//! Comprehensions give each binder an axis of its own, so without it hardly two values would share an axis, and nothing would fuse.

use std::collections::{HashMap, HashSet};

use cranelift_entity::{EntityRef, SecondaryMap};

use crate::graph::sets::set;
use crate::graph::{Axis, AxisSet, Graph, Index, IndexMap, Node, Op};

/// Merges axes that only have different names.
pub fn unify(mut graph: Graph) -> Graph {
    let mut classes = Classes::new(&graph);
    let renames: Vec<(Axis, Axis)> = graph
        .nodes
        .values()
        .filter_map(|data| match &data.op {
            Op::View(map) | Op::Fold(map) => Some(map),
            _ => None,
        })
        .flat_map(|map| map.at.iter().filter_map(|(from, index)| Some((*from, index.as_axis()?))))
        .collect();
    for (from, to) in renames {
        if graph.axes[from].size == graph.axes[to].size {
            classes.join(from, to);
        }
    }
    rewrite(&mut graph, &mut classes);
    graph
}

/// Disjoint sets of axes, and which of them some value has together.
struct Classes {
    parent: Vec<usize>,
    conflicts: HashMap<usize, HashSet<usize>>,
    fixed: HashSet<usize>,
}

impl Classes {
    fn new(graph: &Graph) -> Classes {
        let mut classes = Classes {
            parent: (0..graph.axes.len()).collect(),
            conflicts: HashMap::new(),
            fixed: HashSet::new(),
        };
        for data in graph.nodes.values() {
            let mut together: Vec<Axis> = data.axes.to_vec();
            match &data.op {
                Op::View(map) | Op::Fold(map) if map.as_rename().is_some() => {}
                Op::Scan(scan) => drop(classes.fixed.insert(scan.axis.index())),
                op => together.extend(op.consumed()),
            }
            let together = set(together);
            for a in &together {
                for b in &together {
                    if a != b {
                        classes.conflicts.entry(a.index()).or_default().insert(b.index());
                    }
                }
            }
        }
        classes
    }

    fn find(&mut self, axis: usize) -> usize {
        let parent = self.parent[axis];
        if parent == axis {
            return axis;
        }
        let root = self.find(parent);
        self.parent[axis] = root;
        root
    }

    /// Makes two axes one, unless a value has both or a scan binds one of them.
    fn join(&mut self, a: Axis, b: Axis) {
        let (a, b) = (self.find(a.index()), self.find(b.index()));
        if a == b || self.fixed.contains(&a) || self.fixed.contains(&b) {
            return;
        }
        let of_a: Vec<usize> = self.conflicts.get(&a).into_iter().flatten().copied().collect();
        if of_a.into_iter().any(|other| self.find(other) == b) {
            return;
        }
        let (keep, gone) = (a.min(b), a.max(b));
        self.parent[gone] = keep;
        let moved = self.conflicts.remove(&gone).unwrap_or_default();
        for other in &moved {
            self.conflicts.entry(*other).or_default().insert(keep);
        }
        self.conflicts.entry(keep).or_default().extend(moved);
    }
}

fn rewrite(graph: &mut Graph, classes: &mut Classes) {
    let new: Vec<Axis> = (0..graph.axes.len()).map(|axis| Axis::new(classes.find(axis))).collect();
    let axis = |axis: Axis| new[axis.index()];
    let all = |axes: &AxisSet| -> AxisSet { set(axes.iter().map(|a| axis(*a))) };
    let mut same: SecondaryMap<Node, Option<Node>> = SecondaryMap::new();
    let nodes: Vec<Node> = graph.nodes.keys().collect();
    for node in nodes {
        let data = &mut graph.nodes[node];
        data.axes = all(&data.axes);
        match &mut data.op {
            Op::Position(at) | Op::Gather { axis: at } => *at = axis(*at),
            Op::Reduce { over, .. } | Op::Broadcast(over) => *over = all(over),
            Op::Scatter { into, over, .. } => {
                *into = axis(*into);
                *over = all(over);
            }
            Op::Sort { axis: of, into, .. } => {
                *of = axis(*of);
                *into = axis(*into);
            }
            Op::Random { order, .. } => order.iter_mut().for_each(|at| *at = axis(*at)),
            Op::View(map) | Op::Fold(map) => {
                let at = map.at.iter().map(|(named, index)| (axis(*named), renamed(index, &axis)));
                *map = IndexMap::new(at.collect::<Vec<_>>(), map.outside);
                map.drop_identities();
                if map.at.is_empty() {
                    same[node] = Some(data.args[0]);
                }
            }
            _ => {}
        }
    }
    for input in &mut graph.inputs {
        input.order.iter_mut().for_each(|at| *at = axis(*at));
    }
    for output in &mut graph.outputs {
        output.order.iter_mut().for_each(|at| *at = axis(*at));
    }
    replace(graph, &same);
}

/// The index over other axes, otherwise as it is.
fn renamed(index: &Index, axis: &dyn Fn(Axis) -> Axis) -> Index {
    match index {
        Index::Affine(sum) => {
            let mut sum = sum.clone();
            sum.terms.iter_mut().for_each(|(at, _)| *at = axis(*at));
            sum.terms.sort_by_key(|(at, _)| *at);
            Index::Affine(sum)
        }
        Index::Div(inner, by) => Index::Div(Box::new(renamed(inner, axis)), by.clone()),
        Index::Rem(inner, by) => Index::Rem(Box::new(renamed(inner, axis)), by.clone()),
        Index::Sum(parts) => {
            Index::Sum(parts.iter().map(|(factor, part)| (factor.clone(), renamed(part, axis))).collect())
        }
    }
}

/// Reads other nodes instead of those that are the same, which vanish from their regions.
fn replace(graph: &mut Graph, same: &SecondaryMap<Node, Option<Node>>) {
    let resolve = |mut node: Node| {
        while let Some(next) = same[node] {
            node = next;
        }
        node
    };
    for data in graph.nodes.values_mut() {
        data.args.iter_mut().for_each(|arg| *arg = resolve(*arg));
    }
    for region in graph.regions.values_mut() {
        region.nodes.retain(|node| same[*node].is_none());
        region.results.iter_mut().for_each(|result| *result = resolve(*result));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axes::Dim;
    use crate::graph::tests::{argument, output};
    use crate::graph::{Builder, verify};
    use crate::tensor::DType;

    #[test]
    fn a_rename_between_values_is_gone_but_an_outer_product_stays() {
        let mut b = Builder::new();
        let [i, j, k] = ["i", "j", "k"].map(|name| b.axis(name, Dim::constant(4)));
        let x = argument(&mut b, "x", &[i], DType::F32);
        let renamed = b.rename(x, &[(i, j)]);
        let plain = b.neg(renamed);
        let other = b.rename(x, &[(i, k)]);
        let outer = b.mul(plain, other);
        let results = [output(&b, "y", plain), output(&b, "z", outer)];
        let graph = unify(b.finish(results));
        verify(&graph).unwrap();
        let views =
            graph.regions[graph.root].nodes.iter().filter(|n| matches!(graph.nodes[**n].op, Op::View(_)));
        assert_eq!(views.count(), 1, "{graph}");
    }
}
