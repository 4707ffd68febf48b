//! `dce`: what no output needs is gone: nodes, carries and yields of loops, axes. What stays is numbered anew, without gaps.

use std::collections::HashMap;

use cranelift_entity::{EntitySet, PrimaryMap, SecondaryMap};

use super::pipeline::Pass;
use crate::graph::{Axis, AxisSet, Graph, Node, NodeData, Op, Region, RegionData};

/// Removes what is not needed.
pub const DCE: Pass = Pass { name: "dce", summary: "remove what no output needs", run: dce };

pub fn dce(graph: Graph) -> Graph {
    let live = Live::of(&graph);
    Copying::new(graph, live).run()
}

/// What the outputs need.
struct Live {
    nodes: EntitySet<Node>,
    /// Of tuples, which components.
    components: HashMap<Node, Vec<bool>>,
}

impl Live {
    fn of(graph: &Graph) -> Live {
        // The loop, and the place in it, whose carry a parameter is.
        let mut carry_of: HashMap<Node, (Node, usize)> = HashMap::new();
        let mut regions = vec![graph.root];
        while let Some(region) = regions.pop() {
            for node in &graph.regions[region].nodes {
                if let Some(body) = graph.nodes[*node].op.region() {
                    let params = graph.regions[body].params.iter().enumerate();
                    carry_of.extend(params.map(|(k, param)| (*param, (*node, k))));
                    regions.push(body);
                }
            }
        }
        let mut live = Live { nodes: EntitySet::new(), components: HashMap::new() };
        let mut work: Vec<(Node, Option<usize>)> =
            graph.regions[graph.root].results.iter().map(|result| (*result, None)).collect();
        while let Some((node, component)) = work.pop() {
            let data = &graph.nodes[node];
            if let Some(index) = component {
                let Some(body) = data.op.region() else { continue };
                let results = &graph.regions[body].results;
                let known = live.components.entry(node).or_insert_with(|| vec![false; results.len()]);
                if std::mem::replace(&mut known[index], true) {
                    continue;
                }
                live.nodes.insert(node);
                work.push((results[index], None));
                // A carry's first value; yields have none.
                work.extend(data.args.get(index).map(|first| (*first, None)));
                continue;
            }
            if !live.nodes.insert(node) {
                continue;
            }
            match &data.op {
                Op::Project(index) => work.push((data.args[0], Some(*index as usize))),
                Op::Carry(_) => work.extend(carry_of.get(&node).map(|(scan, index)| (*scan, Some(*index)))),
                _ => work.extend(data.args.iter().map(|arg| (*arg, None))),
            }
        }
        live
    }
}

/// Makes the new graph.
struct Copying {
    old: Graph,
    live: Live,
    new: Graph,
    nodes: SecondaryMap<Node, Option<Node>>,
    axes: SecondaryMap<Axis, Option<Axis>>,
}

impl Copying {
    fn new(mut old: Graph, live: Live) -> Copying {
        let (mut axes, mut new_axes) = (SecondaryMap::new(), PrimaryMap::new());
        let mut used: EntitySet<Axis> = EntitySet::new();
        for (node, data) in &old.nodes {
            if live.nodes.contains(node) {
                used.extend(data.axes.iter().copied().chain(data.op.all_axes()));
            }
        }
        let orders = old.inputs.iter().map(|input| &input.order).chain(old.outputs.iter().map(|o| &o.order));
        used.extend(orders.flatten().copied());
        for (axis, data) in &old.axes {
            if used.contains(axis) {
                axes[axis] = Some(new_axes.push(data.clone()));
            }
        }
        let mut regions = PrimaryMap::new();
        let root = regions.push(RegionData::default());
        let new = Graph {
            axes: new_axes,
            nodes: PrimaryMap::with_capacity(live.nodes.keys().count()),
            regions,
            root,
            inputs: std::mem::take(&mut old.inputs),
            outputs: std::mem::take(&mut old.outputs),
        };
        Copying { old, live, new, nodes: SecondaryMap::new(), axes }
    }

    fn run(mut self) -> Graph {
        let axes = &self.axes;
        let orders = (self.new.inputs.iter_mut().map(|input| &mut input.order))
            .chain(self.new.outputs.iter_mut().map(|output| &mut output.order));
        for axis in orders.flatten() {
            *axis = axes[*axis].unwrap_or(*axis);
        }
        let (from, to) = (self.old.root, self.new.root);
        let all = vec![true; self.old.regions[from].results.len()];
        self.region(from, to, &all);
        self.new
    }

    fn region(&mut self, from: Region, to: Region, wanted: &[bool]) {
        let RegionData { params, nodes, results } = std::mem::take(&mut self.old.regions[from]);
        for (param, _) in params.iter().zip(wanted).filter(|(_, wanted)| **wanted) {
            let mut data = self.data(*param);
            data.op = Op::Carry(self.new.regions[to].params.len() as u32);
            let copy = self.put(*param, data);
            self.new.regions[to].params.push(copy);
        }
        for node in nodes {
            if self.live.nodes.contains(node) {
                self.node(node, to);
            }
        }
        for (result, _) in results.iter().zip(wanted).filter(|(_, wanted)| **wanted) {
            let result = self.here(*result);
            self.new.regions[to].results.push(result);
        }
    }

    fn node(&mut self, node: Node, to: Region) {
        let mut data = self.data(node);
        match &mut data.op {
            Op::Scan(scan) => {
                let wanted = self.live.components.get(&node).cloned().unwrap_or_default();
                data.args = keep(&data.args, &wanted);
                let body = self.new.regions.push(RegionData::default());
                self.region(scan.body, body, &wanted);
                scan.body = body;
                scan.carries = data.args.len();
            }
            Op::Fused(region) => {
                let wanted = self.live.components.get(&node).cloned().unwrap_or_default();
                let body = self.new.regions.push(RegionData::default());
                self.region(*region, body, &wanted);
                *region = body;
            }
            Op::Project(index) => {
                let wanted = self.live.components.get(&data.args[0]);
                let before =
                    wanted.map_or(0, |wanted| wanted[..*index as usize].iter().filter(|w| **w).count());
                *index = before as u32;
            }
            _ => {}
        }
        let args = data.args.iter().map(|arg| self.here(*arg)).collect();
        data.args = args;
        let copy = self.put(node, data);
        self.new.regions[to].nodes.push(copy);
    }

    /// A node's data with the new axes and the old arguments.
    fn data(&mut self, node: Node) -> NodeData {
        let old = &self.old.nodes[node];
        let NodeData { mut op, args, dtype, axes, span } = old.clone();
        let new = |axis: Axis| self.axes[axis].unwrap_or(axis);
        op.map_axes(&new);
        // The new axes stand in the order of the old.
        let axes: AxisSet = axes.into_iter().map(new).collect();
        NodeData { op, args, dtype, axes, span }
    }

    fn put(&mut self, old: Node, data: NodeData) -> Node {
        let node = self.new.nodes.push(data);
        self.nodes[old] = Some(node);
        node
    }

    fn here(&self, node: Node) -> Node {
        self.nodes[node].expect("what a live node reads is live and stands before it")
    }
}

fn keep<T: Copy, U: FromIterator<T>>(all: &[T], wanted: &[bool]) -> U {
    all.iter().zip(wanted).filter(|(_, wanted)| **wanted).map(|(one, _)| *one).collect()
}
