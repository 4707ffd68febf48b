//! `residuals`: what a loop keeps for the loop of its derivative is as little as can be.
//!
//! A derivative reads values of each step of the loop that it was taken of: by themselves they are stored for all steps. Many of them are
//! made entry by entry from few: a gelu's derivative and its value from what the gelu was applied to, queries, keys and values from one
//! product. So of all sets of values from which those that are read can be made again by maps and views, the one with the fewest bytes is
//! stored: a minimum cut between what only the first loop can compute and what the second one reads. The maps are copied there, where they
//! cost less than the memory that they save; a reader has the same bits as before. So does a short sum of products that is far larger than
//! its factors: the scores of attention over a long sequence are never stored for more than one layer.

use std::collections::{HashMap, HashSet, VecDeque};

use cranelift_entity::{EntitySet, SecondaryMap};

use super::contraction::roles;
use super::scalar_cost;
use crate::graph::sets::{set, union, without};
use crate::graph::walk::all_nodes;
use crate::graph::{AxisSet, Graph, Node, NodeData, Op, Region, Scan};

/// Instructions from what is stored to what is read, at most.
const DEEPEST: u32 = 128;
/// A sum of products is made again where it is so many times larger than its factors. A cell's gates are three or four times as large as what it
/// carries: to make them again takes longer than to load them.
const LARGER: u64 = 6;
/// The size that a dim without a number is taken for.
const TYPICAL: u64 = 64;
/// The same where it decides whether a product is large.
const LONG: u64 = 1024;
/// Terms of a sum of products that may be made again, at most.
const SHORT: i64 = 128;

/// Stores less of each loop for the loops that read it step by step.
pub fn residuals(mut graph: Graph) -> Graph {
    let root = graph.root;
    visit(&mut graph, root);
    graph
}

fn visit(graph: &mut Graph, region: Region) {
    let scans: Vec<(Node, Scan)> = graph.regions[region]
        .nodes
        .iter()
        .filter_map(|node| match &graph.nodes[*node].op {
            Op::Scan(scan) => Some((*node, scan.clone())),
            _ => None,
        })
        .collect();
    for (node, scan) in &scans {
        visit(graph, scan.body);
        if scan.recompute {
            continue;
        }
        let later = scans.iter().filter(|(_, other)| other.axis == scan.axis && !other.recompute);
        let later: Vec<Region> =
            later.map(|(_, other)| other.body).filter(|body| *body != scan.body).collect();
        if let Some(kept) = Kept::of(graph, region, *node, scan, &later) {
            kept.write(graph, region, *node, scan, &later);
        }
    }
}

/// What is stored of a loop, and what its readers make of it.
struct Kept {
    /// The components that readers read, by the value of the body that they are.
    read: HashMap<Node, Node>,
    stored: HashSet<Node>,
}

impl Kept {
    /// `later` are the bodies of the loops that may read step by step. `None` where nothing is better than what is.
    fn of(graph: &Graph, region: Region, node: Node, scan: &Scan, later: &[Region]) -> Option<Kept> {
        let body = &graph.regions[scan.body];
        let inside: HashSet<Node> = later.iter().flat_map(|body| all_nodes(graph, *body)).collect();
        let mut components: HashMap<Node, Node> = HashMap::new();
        for other in &graph.regions[region].nodes {
            let data = &graph.nodes[*other];
            if let Op::Project(index) = data.op
                && data.args[0] == node
                && index as usize >= scan.carries
            {
                components.insert(*other, body.results[index as usize]);
            }
        }
        // Components that others read, too, are stored anyway.
        let mut pinned: HashSet<Node> = HashSet::new();
        // The arena may hold regions that nothing runs any more.
        let mut all = vec![graph.root];
        let bodies = all_nodes(graph, graph.root);
        all.extend(bodies.iter().filter_map(|node| graph.nodes[*node].op.region()));
        for region in all {
            let data = &graph.regions[region];
            let ours = later.contains(&region);
            let mut pin = |x: &Node| pinned.extend(components.get(x));
            if !ours && !data.nodes.iter().any(|node| inside.contains(node)) {
                data.results.iter().for_each(&mut pin);
            }
            for reader in &data.nodes {
                if !(ours || inside.contains(reader)) {
                    graph.nodes[*reader].args.iter().for_each(&mut pin);
                }
            }
        }
        let read: HashMap<Node, Node> = components
            .into_iter()
            .filter(|(_, value)| {
                !pinned.contains(value) && (body.nodes.contains(value) || body.params.contains(value))
            })
            .collect();
        if read.is_empty() {
            return None;
        }
        let mut flow = Flow::new(graph, scan, &pinned);
        let wanted: HashSet<Node> = read.values().copied().collect();
        let stored = flow.cut(&wanted)?;
        (stored != wanted).then_some(Kept { read, stored })
    }

    fn write(self, graph: &mut Graph, region: Region, node: Node, scan: &Scan, later: &[Region]) {
        // What is stored is a yield, read by a component.
        let mut sources: HashMap<Node, Node> = HashMap::new();
        let pinned: Vec<Node> = graph.regions[region]
            .nodes
            .iter()
            .copied()
            .filter(|other| {
                matches!(graph.nodes[*other].op, Op::Project(k) if k as usize >= scan.carries)
                    && graph.nodes[*other].args[0] == node
            })
            .collect();
        for component in pinned {
            let Op::Project(index) = graph.nodes[component].op else {
                unreachable!("only components were kept")
            };
            let value = graph.regions[scan.body].results[index as usize];
            if self.stored.contains(&value) || !self.read.values().any(|read| *read == value) {
                sources.entry(value).or_insert(component);
            }
        }
        let mut stored: Vec<Node> = self.stored.iter().copied().collect();
        stored.sort();
        for value in stored {
            if sources.contains_key(&value) {
                continue;
            }
            let results = &mut graph.regions[scan.body].results;
            let index = results.len() as u32;
            results.push(value);
            let data = &graph.nodes[value];
            let axes = union(&data.axes, &[scan.axis]);
            let data =
                NodeData { op: Op::Project(index), args: [node].into_iter().collect(), axes, ..data.clone() };
            let component = graph.nodes.push(data);
            sources.insert(value, component);
        }
        // They stand before all readers: a component that is there already may come behind one that did not read it until now.
        let mut components: Vec<Node> = sources.values().copied().collect();
        components.sort();
        let nodes = &mut graph.regions[region].nodes;
        nodes.retain(|other| !components.contains(other));
        let at = nodes.iter().position(|other| *other == node).expect("the loop is there");
        nodes.splice(at + 1..at + 1, components);
        let mut own: EntitySet<Node> = EntitySet::new();
        let first = &graph.regions[scan.body];
        own.extend(first.params.iter().chain(&first.nodes).copied());
        for body in later {
            let mut again = Again {
                graph,
                kept: &self,
                sources: &sources,
                own: &own,
                copies: HashMap::new(),
                order: Vec::new(),
            };
            let nodes = std::mem::take(&mut again.graph.regions[*body].nodes);
            for reader in nodes {
                again.reader(reader);
                again.order.push(reader);
            }
            for k in 0..again.graph.regions[*body].results.len() {
                let result = again.graph.regions[*body].results[k];
                again.graph.regions[*body].results[k] = again.read(result);
            }
            let order = std::mem::take(&mut again.order);
            graph.regions[*body].nodes = order;
        }
    }
}

/// Makes values of the first loop again in a later one.
struct Again<'a> {
    graph: &'a mut Graph,
    kept: &'a Kept,
    sources: &'a HashMap<Node, Node>,
    /// The values of the first loop's body.
    own: &'a EntitySet<Node>,
    copies: HashMap<Node, Node>,
    order: Vec<Node>,
}

impl Again<'_> {
    /// Lets a node, and all in its body, read copies. These stand before it.
    fn reader(&mut self, node: Node) {
        for k in 0..self.graph.nodes[node].args.len() {
            let arg = self.graph.nodes[node].args[k];
            self.graph.nodes[node].args[k] = self.read(arg);
        }
        if let Some(body) = self.graph.nodes[node].op.region() {
            for inner in self.graph.regions[body].nodes.clone() {
                self.reader(inner);
            }
            for k in 0..self.graph.regions[body].results.len() {
                let result = self.graph.regions[body].results[k];
                self.graph.regions[body].results[k] = self.read(result);
            }
        }
    }

    fn read(&mut self, node: Node) -> Node {
        let Some(value) = self.kept.read.get(&node).copied() else { return node };
        let copy = self.value(value);
        let missing = without(&self.graph.nodes[node].axes, &self.graph.nodes[copy].axes);
        if missing.is_empty() {
            return copy;
        }
        let data = &self.graph.nodes[copy];
        let axes = union(&data.axes, &missing);
        let data =
            NodeData { op: Op::Broadcast(missing), args: [copy].into_iter().collect(), axes, ..data.clone() };
        let wide = self.graph.nodes.push(data);
        self.order.push(wide);
        wide
    }

    fn value(&mut self, value: Node) -> Node {
        if let Some(component) = self.sources.get(&value) {
            return *component;
        }
        if !self.own.contains(value) {
            return value;
        }
        if let Some(copy) = self.copies.get(&value) {
            return *copy;
        }
        let mut data = self.graph.nodes[value].clone();
        data.args = data.args.iter().map(|arg| self.value(*arg)).collect();
        let axes = |node: &Node| -> &AxisSet { &self.graph.nodes[*node].axes };
        data.axes = match &data.op {
            Op::View(map) => {
                let named: Vec<_> = map.at.iter().map(|(axis, _)| *axis).collect();
                union(&without(axes(&data.args[0]), &named), &map.mentioned())
            }
            Op::Broadcast(more) => union(axes(&data.args[0]), more),
            Op::Position(axis) => set([*axis]),
            Op::Reduce { over, .. } => without(axes(&data.args[0]), over),
            _ => data.args.iter().fold(AxisSet::new(), |all, arg| union(&all, axes(arg))),
        };
        let copy = self.graph.nodes.push(data);
        self.order.push(copy);
        self.copies.insert(value, copy);
        copy
    }
}

/// The network of a body's values: a path from what only the loop can compute to what is read, through the maps and views between.
struct Flow {
    /// For each edge: where it leads, what it still takes. The next edge is its reverse.
    edges: Vec<(usize, u64)>,
    out: Vec<Vec<usize>>,
    /// Number of each value's first node; the second one follows.
    place: HashMap<Node, usize>,
    values: Vec<Node>,
}

const SOURCE: usize = 0;
const SINK: usize = 1;
const ENDLESS: u64 = u64::MAX / 4;

impl Flow {
    fn new(graph: &Graph, scan: &Scan, pinned: &HashSet<Node>) -> Flow {
        let body = &graph.regions[scan.body];
        let mut flow = Flow {
            edges: Vec::new(),
            out: vec![Vec::new(), Vec::new()],
            place: HashMap::new(),
            values: Vec::new(),
        };
        let mut deep: SecondaryMap<Node, u32> = SecondaryMap::new();
        for value in body.params.iter().chain(&body.nodes).copied() {
            let data = &graph.nodes[value];
            if data.op.is_tuple() {
                continue;
            }
            let first = flow.out.len();
            flow.out.extend([Vec::new(), Vec::new()]);
            flow.place.insert(value, first);
            flow.values.push(value);
            let mut bytes = match pinned.contains(&value) {
                true => 0,
                false => entries(graph, &data.axes, scan, TYPICAL).saturating_mul(data.dtype.size() as u64),
            };
            // What a view shows lies in memory already: to store the view is a copy.
            if matches!(data.op, Op::View(_) | Op::Broadcast(_)) {
                bytes += bytes / 8;
            }
            // A sum is in memory anyway, what is made of it entry by entry may not be.
            let of_sum = |arg: &Node| {
                let arg = &graph.nodes[*arg];
                matches!(arg.op, Op::Reduce { .. }) && arg.axes == data.axes
            };
            if matches!(data.op, Op::Map(f) if scalar_cost(f) > 1) && data.args.iter().any(of_sum) {
                bytes += bytes / 16;
            }
            flow.edge(first, first + 1, bytes);
            let own = match &data.op {
                Op::Map(function) => Some(scalar_cost(*function)),
                Op::Reduce { .. } => product_cost(graph, value, scan),
                Op::View(_) | Op::Broadcast(_) | Op::Constant(_) | Op::Size(_) | Op::Position(_) => Some(0),
                _ => None,
            };
            let cost = own.map(|own| own + data.args.iter().map(|arg| deep[*arg]).max().unwrap_or(0));
            match cost.filter(|cost| *cost <= DEEPEST) {
                Some(cost) => {
                    deep[value] = cost;
                    for arg in &data.args {
                        if let Some(from) = flow.place.get(arg).copied() {
                            flow.edge(from + 1, first, ENDLESS);
                        } else if body.nodes.contains(arg) {
                            // A component of something else: only the loop has it.
                            flow.edge(SOURCE, first, ENDLESS);
                        }
                    }
                }
                None => flow.edge(SOURCE, first, ENDLESS),
            }
        }
        flow
    }

    fn edge(&mut self, from: usize, to: usize, takes: u64) {
        self.out[from].push(self.edges.len());
        self.edges.push((to, takes));
        self.out[to].push(self.edges.len());
        self.edges.push((from, 0));
    }

    /// The cheapest values to store, of equals those nearest to the ones that are read.
    fn cut(&mut self, wanted: &HashSet<Node>) -> Option<HashSet<Node>> {
        for value in wanted {
            let first = *self.place.get(value)?;
            self.edge(first + 1, SINK, ENDLESS);
        }
        while self.augment() {}
        // What still leads to the sink lies behind the cut.
        let mut behind = vec![false; self.out.len()];
        behind[SINK] = true;
        let mut todo = vec![SINK];
        while let Some(at) = todo.pop() {
            for edge in &self.out[at] {
                let from = self.edges[*edge].0;
                if !behind[from] && self.edges[edge ^ 1].1 > 0 {
                    behind[from] = true;
                    todo.push(from);
                }
            }
        }
        let cut = self.values.iter().filter(|value| {
            let first = self.place[value];
            !behind[first] && behind[first + 1]
        });
        Some(cut.copied().collect())
    }

    /// Sends as much as goes along a shortest path.
    fn augment(&mut self) -> bool {
        let mut by: Vec<Option<usize>> = vec![None; self.out.len()];
        let mut todo = VecDeque::from([SOURCE]);
        while let Some(at) = todo.pop_front() {
            for edge in &self.out[at] {
                let (to, takes) = self.edges[*edge];
                if takes > 0 && to != SOURCE && by[to].is_none() {
                    by[to] = Some(*edge);
                    todo.push_back(to);
                }
            }
        }
        let mut path = Vec::new();
        let mut at = SINK;
        while at != SOURCE {
            let Some(edge) = by[at] else { return false };
            path.push(edge);
            at = self.edges[edge ^ 1].0;
        }
        let least = path.iter().map(|edge| self.edges[*edge].1).min().unwrap_or(0);
        for edge in path {
            self.edges[edge].1 -= least;
            self.edges[edge ^ 1].1 += least;
        }
        true
    }
}

/// What an entry of a short sum of products costs that is far larger than its factors: the scores of attention, which need not be stored
/// where queries and keys are. Tiles take a sixteenth of an instruction for a product; what is counted here is eight times that.
fn product_cost(graph: &Graph, node: Node, scan: &Scan) -> Option<u32> {
    let data = &graph.nodes[node];
    let roles = roles(graph, node, &|axis| axis == scan.axis)?;
    let terms =
        roles.k.iter().try_fold(1, |all: i64, axis| all.checked_mul(graph.axes[*axis].size.as_const()?))?;
    let size = |node: Node| entries(graph, &graph.nodes[node].axes, scan, LONG);
    let factors = size(roles.a).saturating_add(size(roles.b));
    let large = entries(graph, &data.axes, scan, LONG) >= factors.saturating_mul(LARGER);
    (large && terms <= SHORT).then_some(terms as u32 / 2)
}

/// How many entries a value has at each step, with this number for a dim that has none.
fn entries(graph: &Graph, axes: &AxisSet, scan: &Scan, dim: u64) -> u64 {
    let size = |axis| {
        let size = graph.axes[axis].size.eval_with(&|_| Some(dim as i64));
        size.map_or(dim, |n| n.max(1) as u64)
    };
    axes.iter()
        .filter(|axis| **axis != scan.axis)
        .fold(1, |all: u64, axis| all.saturating_mul(size(*axis)))
        .min(1 << 40)
}
