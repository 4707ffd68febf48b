//! `blocks`: what is as large as the product of two long axes exists for a block of one of them at a time.
//!
//! The scores of attention over T words are T × T numbers, made from T × d and read by sums that leave T × d. So everything that has both
//! axes becomes the body of a loop over blocks of queries: what has queries reads its block of them; a sum over keys (a row's maximum, the
//! row of the result) is the block's; a sum over queries (the derivatives by keys and values) is carried from block to block. What stands
//! behind a mask, a softmax or any other row by row function is no case of its own, nor is the derivative. Each sum of products is
//! summed in the order that it had.
//!
//! Where what follows in the network stands between, result and derivative have loops of their own (`apart`).
//!
//! Only where both sizes are known, so that blocks divide them.

mod apart;

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use super::contraction::roles;
use super::scalar_cost;
use crate::axes::Dim;
use crate::graph::sets::{union, without};
use crate::graph::walk::reads;
use crate::graph::{
    Axis, AxisData, Graph, Index, IndexMap, Literal, Node, NodeData, Op, Outside, Reducer, Region,
    RegionData, Scan,
};
use crate::ops::{ScalarFn, Shape, Typing};

/// Which axes are cut, and how.
pub struct Limits {
    /// Both axes are at least so long.
    pub long: i64,
    /// Rows of a block: at least, and at most.
    pub rows: RangeInclusive<i64>,
}

const LIMITS: Limits = Limits { long: 256, rows: 16..=64 };
/// The product is at least so many times as large as its factors.
const LARGER: i64 = 4;
/// Maps from places to a mask, at most, beside the last one.
const DEEPEST: u32 = 3;

/// Makes loops over blocks, in all regions.
pub fn blocks(graph: Graph) -> Graph {
    blocks_within(graph, &LIMITS)
}

/// The same with other limits.
pub fn blocks_within(mut graph: Graph, limits: &Limits) -> Graph {
    let root = graph.root;
    visit(&mut graph, root, limits, &mut Vec::new());
    graph
}

fn visit(graph: &mut Graph, region: Region, limits: &Limits, bound: &mut Vec<Axis>) {
    let nodes = graph.regions[region].nodes.clone();
    for node in &nodes {
        if let Op::Scan(scan) = graph.nodes[*node].op.clone() {
            bound.push(scan.axis);
            visit(graph, scan.body, limits, bound);
            bound.pop();
        }
    }
    for node in nodes {
        // An earlier loop may have taken it.
        if !graph.regions[region].nodes.contains(&node) {
            continue;
        }
        let pairs = pairs(graph, node, limits, bound);
        let found = pairs.iter().find_map(|&axes| {
            let by = block(graph, axes.0, limits)?;
            Blocked::of(graph, region, bound, node, axes, by)
        });
        match found {
            Some(found) => found.write(graph, region, bound),
            None => {
                let both = pairs.iter().find_map(|&axes| in_two(graph, region, limits, bound, node, axes));
                if let Some(both) = both {
                    *graph = both;
                }
            }
        }
    }
}

/// The graph with a loop for a result and one for its derivative, which makes again what is large; `None` where either is none.
fn in_two(
    graph: &Graph,
    region: Region,
    limits: &Limits,
    bound: &[Axis],
    seed: Node,
    axes: (Axis, Axis),
) -> Option<Graph> {
    let mut graph = graph.clone();
    let by = block(&graph, axes.0, limits)?;
    let large = Large::of(&graph, region, axes).around(seed);
    let late = apart::apart(&mut graph, region, seed, axes.0, &large);
    if late.is_empty() {
        return None;
    }
    Blocked::of(&graph, region, bound, seed, axes, by)?.write(&mut graph, region, bound);
    let nodes = graph.regions[region].nodes.clone();
    let behind = nodes.into_iter().filter(|node| late.contains(node)).find_map(|node| {
        let mut found = pairs(&graph, node, limits, bound).into_iter();
        found.find_map(|axes| Blocked::of(&graph, region, bound, node, axes, block(&graph, axes.0, limits)?))
    });
    behind?.write(&mut graph, region, bound);
    Some(graph)
}

/// The nodes of a region that have two axes, both long.
struct Large<'g> {
    graph: &'g Graph,
    here: HashSet<Node>,
    users: HashMap<Node, Vec<Node>>,
    axes: (Axis, Axis),
}

impl<'g> Large<'g> {
    fn of(graph: &'g Graph, region: Region, axes: (Axis, Axis)) -> Large<'g> {
        let nodes = &graph.regions[region].nodes;
        let mut users: HashMap<Node, Vec<Node>> = HashMap::new();
        for node in nodes {
            for read in reads(graph, *node) {
                users.entry(read).or_default().push(*node);
            }
        }
        Large { graph, here: nodes.iter().copied().collect(), users, axes }
    }

    fn users(&self, node: Node) -> &[Node] {
        self.users.get(&node).map_or(&[], |users| users)
    }

    /// Whether a loop's body may have it.
    fn is_movable(&self, node: Node) -> bool {
        use Op::*;
        self.here.contains(&node)
            && matches!(
                self.graph.nodes[node].op,
                Map(_) | Reduce { .. } | View(_) | Broadcast(_) | StopGradient | Alias
            )
    }

    fn has(&self, node: Node) -> bool {
        let axes = &self.graph.nodes[node].axes;
        axes.contains(&self.axes.0) && axes.contains(&self.axes.1) && self.is_movable(node)
    }

    /// What is large and hangs together with what `seed` sums up.
    fn around(&self, seed: Node) -> HashSet<Node> {
        let mut found = HashSet::new();
        let mut todo = vec![seed, self.graph.nodes[seed].args[0]];
        while let Some(node) = todo.pop() {
            if self.has(node) && found.insert(node) {
                let near = self.graph.nodes[node].args.iter().chain(self.users(node));
                todo.extend(near.copied());
            }
        }
        found
    }
}

/// The long axes of a sum of products that is far larger than its factors: those of which one may be cut, with the other one.
fn pairs(graph: &Graph, node: Node, limits: &Limits, bound: &[Axis]) -> Vec<(Axis, Axis)> {
    let Some(roles) = roles(graph, node, &|axis| bound.contains(&axis)) else { return Vec::new() };
    let size = |axis: &Axis| graph.axes[*axis].size.as_const();
    let all = |axes: &[Axis]| axes.iter().try_fold(1i64, |all, axis| all.checked_mul(size(axis)?));
    let (Some(m), Some(n), Some(k)) = (all(&roles.m), all(&roles.n), all(&roles.k)) else {
        return Vec::new();
    };
    let large = m.saturating_mul(n) >= LARGER.saturating_mul(k).saturating_mul(m.saturating_add(n));
    let long =
        |axes: &[Axis]| axes.iter().copied().find(|axis| size(axis).is_some_and(|size| size >= limits.long));
    match (long(&roles.m), long(&roles.n)) {
        (Some(m), Some(n)) if large => vec![(m, n), (n, m)],
        _ => Vec::new(),
    }
}

/// The most rows that blocks of the axis may have.
fn block(graph: &Graph, rows: Axis, limits: &Limits) -> Option<i64> {
    let all = graph.axes[rows].size.as_const()?;
    limits.rows.clone().rev().find(|by| all % by == 0)
}

/// Nodes that are to be the body of a loop over blocks of `rows`.
struct Blocked {
    rows: Axis,
    /// Rows of a block; divides all.
    by: i64,
    /// In order.
    members: Vec<Node>,
    /// The members that sum over the rows.
    carried: Vec<Node>,
    /// The other members that somebody else reads.
    yielded: Vec<Node>,
}

impl Blocked {
    /// Everything around `seed` that has both axes and what stands between, where that may be computed block by block.
    fn of(
        graph: &Graph,
        region: Region,
        bound: &[Axis],
        seed: Node,
        (rows, columns): (Axis, Axis),
        by: i64,
    ) -> Option<Blocked> {
        let nodes = &graph.regions[region].nodes;
        let known = Large::of(graph, region, (rows, columns));
        let users = |node: &Node| known.users(*node);
        let movable = |node: Node| known.is_movable(node);
        let large = |node: Node| known.has(node);
        // What is large and hangs together, and what sums it up.
        let mut members = known.around(seed);
        members.extend([seed, graph.nodes[seed].args[0]]);
        let sums = |user: &Node| movable(*user) && matches!(graph.nodes[*user].op, Op::Reduce { .. });
        let summed: Vec<Node> =
            members.iter().filter(|node| large(**node)).flat_map(users).copied().filter(sums).collect();
        members.extend(summed);
        // What depends on a member and is needed by one: rows of statistics. They may make more hang together.
        loop {
            let (mut behind, mut before): (HashSet<Node>, HashSet<Node>) = (members.clone(), members.clone());
            for node in nodes {
                if reads(graph, *node).iter().any(|read| behind.contains(read)) {
                    behind.insert(*node);
                }
            }
            for node in nodes.iter().rev() {
                if users(node).iter().any(|user| before.contains(user)) {
                    before.insert(*node);
                }
            }
            let between: Vec<Node> =
                nodes.iter().copied().filter(|node| behind.contains(node) && before.contains(node)).collect();
            if between.len() == members.len() {
                break;
            }
            members.extend(between);
        }
        let members: Vec<Node> = nodes.iter().copied().filter(|node| members.contains(node)).collect();
        let set: HashSet<Node> = members.iter().copied().collect();
        let results = &graph.regions[region].results;
        let (mut carried, mut yielded) = (Vec::new(), Vec::new());
        for &node in &members {
            if !movable(node) {
                return None;
            }
            let data = &graph.nodes[node];
            let read_inside = users(&node).iter().any(|user| set.contains(user));
            let read_outside = users(&node).iter().any(|user| !set.contains(user)) || results.contains(&node);
            let has_rows = data.axes.contains(&rows);
            match &data.op {
                Op::Reduce { op, over } if over.contains(&rows) => {
                    let sums =
                        *op == Reducer::Sum && roles(graph, node, &|axis| bound.contains(&axis)).is_some();
                    if !sums || read_inside {
                        return None;
                    }
                    carried.push(node);
                    continue;
                }
                Op::View(map)
                    if set.contains(&data.args[0])
                        && (map.names(rows) || map.mentioned().contains(&rows)) =>
                {
                    return None;
                }
                _ => {}
            }
            if !has_rows || (read_outside && large(node)) {
                return None;
            }
            if read_outside {
                yielded.push(node);
            }
        }
        Some(Blocked { rows, by, members, carried, yielded })
    }

    fn write(self, graph: &mut Graph, region: Region, bound: &[Axis]) {
        let Blocked { rows, by, members, carried, yielded } = self;
        let AxisData { name, size } = graph.axes[rows].clone();
        let count = size.as_const().expect("rows are counted") / by;
        let mut axis =
            |size: i64| graph.axes.push(AxisData { name: name.clone(), size: Dim::constant(size) });
        let (block, row) = (axis(count), axis(by));
        let terms = [(Dim::constant(by), Index::axis(block)), (Dim::constant(1), Index::axis(row))];
        let place = Index::sum(terms).expect("a place is less than the axis is long");
        let mut body =
            Body { graph, rows, row, place, made: HashMap::new(), parts: HashMap::new(), nodes: Vec::new() };
        for node in &members {
            body.member(*node);
        }
        // What is carried: first zeros, then sums.
        let (mut before, mut firsts, mut params, mut results) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (i, node) in carried.iter().enumerate() {
            let data = body.graph.nodes[*node].clone();
            let axes = without(&data.axes, bound);
            let make = |graph: &mut Graph, op: Op, args: &[Node], axes| {
                graph.nodes.push(NodeData { op, args: args.iter().copied().collect(), axes, ..data.clone() })
            };
            let zero = make(body.graph, Op::Constant(Literal::Float(0.0)), &[], Default::default());
            let first = make(body.graph, Op::Broadcast(axes.clone()), &[zero], axes.clone());
            before.extend([zero, first]);
            firsts.push(first);
            let param = make(body.graph, Op::Carry(i as u32), &[], axes);
            params.push(param);
            let part = body.made[node];
            let next = body.push(Op::Map(ScalarFn::Add), &[param, part], *node);
            results.push(next);
        }
        results.extend(yielded.iter().map(|node| body.made[node]));
        let nodes = body.nodes;
        let yields: Vec<Node> = results[carried.len()..].to_vec();
        let inner = graph.regions.push(RegionData { params, nodes, results });
        let span = graph.nodes[members[0]].span;
        let scan =
            Scan { axis: block, reverse: false, recompute: false, body: inner, carries: carried.len() };
        let (args, Shape { axes, dtype }) = (firsts.into_iter().collect(), Shape::tuple());
        let scan = graph.nodes.push(NodeData { op: Op::Scan(scan), args, axes, dtype, span });
        before.push(scan);
        let mut instead: HashMap<Node, Node> = HashMap::new();
        for (i, node) in carried.iter().chain(&yielded).enumerate() {
            let data = graph.nodes[*node].clone();
            let yielded = i.checked_sub(carried.len()).map(|at| yields[at]);
            let axes = match yielded {
                Some(value) => union(&graph.nodes[value].axes, &[block]),
                None => data.axes.clone(),
            };
            let op = Op::Project(i as u32);
            let component =
                graph.nodes.push(NodeData { op, args: [scan].into_iter().collect(), axes, ..data.clone() });
            before.push(component);
            let value = match yielded {
                None => component,
                Some(_) => {
                    let by = Dim::constant(by);
                    let at = [(block, Index::axis(rows).div(&by)), (row, Index::axis(rows).rem(&by))];
                    let op = Op::View(IndexMap::new(at, Outside::Never));
                    let whole =
                        graph.nodes.push(NodeData { op, args: [component].into_iter().collect(), ..data });
                    before.push(whole);
                    whole
                }
            };
            instead.insert(*node, value);
        }
        place_loop(graph, region, &members, before);
        let own: HashSet<Node> = graph.regions[inner].nodes.iter().copied().collect();
        let replace = |node: &mut Node| {
            if let Some(value) = instead.get(node) {
                *node = *value;
            }
        };
        for (node, data) in graph.nodes.iter_mut() {
            if !own.contains(&node) {
                data.args.iter_mut().for_each(replace);
            }
        }
        graph.regions.values_mut().for_each(|region| region.results.iter_mut().for_each(replace));
    }
}

/// Puts the loop where the last member was; what reads members and stood before it follows.
fn place_loop(graph: &mut Graph, region: Region, members: &[Node], new: Vec<Node>) {
    let nodes = std::mem::take(&mut graph.regions[region].nodes);
    let last = nodes.iter().rposition(|node| members.contains(node)).expect("members stand in their region");
    let mut behind: HashSet<Node> = members.iter().copied().collect();
    let (mut early, mut late) = (Vec::new(), Vec::new());
    for (i, node) in nodes.into_iter().enumerate() {
        if behind.contains(&node) {
            continue;
        }
        let follows = i > last || reads(graph, node).iter().any(|read| behind.contains(read));
        if follows && i < last {
            behind.insert(node);
        }
        if follows { late.push(node) } else { early.push(node) }
    }
    early.extend(new);
    early.extend(late);
    graph.regions[region].nodes = early;
}

/// The members as they are for one block.
struct Body<'a> {
    graph: &'a mut Graph,
    rows: Axis,
    row: Axis,
    /// `by * block + row`
    place: Index,
    made: HashMap<Node, Node>,
    /// Blocks of values from outside.
    parts: HashMap<Node, Node>,
    nodes: Vec<Node>,
}

impl Body<'_> {
    fn member(&mut self, node: Node) {
        let data = self.graph.nodes[node].clone();
        let mut op = data.op.clone();
        match &mut op {
            Op::Reduce { over: axes, .. } | Op::Broadcast(axes) if axes.contains(&self.rows) => {
                *axes = union(&without(axes, &[self.rows]), &[self.row]);
            }
            Op::View(map) if map.mentioned().contains(&self.rows) => {
                let (rows, place) = (self.rows, self.place.clone());
                let replace = |axis: Axis| (axis == rows).then(|| place.clone());
                let graph = &*self.graph;
                let size = |axis: Axis| graph.axes[axis].size.clone();
                let at = map.at.iter().map(|(axis, index)| {
                    let index =
                        index.substitute(&replace, &size).expect("a place is less than the axis is long");
                    (*axis, index)
                });
                *map = IndexMap::new(at.collect::<Vec<_>>(), map.outside);
            }
            _ => {}
        }
        let moves =
            matches!(&data.op, Op::View(map) if map.mentioned().contains(&self.rows) || map.names(self.rows));
        let args: Vec<Node> = data
            .args
            .iter()
            .map(|arg| match self.made.get(arg) {
                Some(made) => *made,
                None if moves || !self.graph.nodes[*arg].axes.contains(&self.rows) => *arg,
                None => self.part(*arg),
            })
            .collect();
        let made = self.push(op, &args, node);
        self.made.insert(node, made);
    }

    /// A value from outside as far as it belongs to the block. What is made of places alone, such as a causal mask, is made again there.
    fn part(&mut self, node: Node) -> Node {
        if let Some(part) = self.parts.get(&node) {
            return *part;
        }
        let part = if !self.is_of_places(node, DEEPEST) {
            let map = IndexMap::new([(self.rows, self.place.clone())], Outside::Never);
            self.push(Op::View(map), &[node], node)
        } else {
            let data = self.graph.nodes[node].clone();
            let mut args = data.args.to_vec();
            for arg in &mut args {
                if self.graph.nodes[*arg].axes.contains(&self.rows) {
                    *arg = self.part(*arg);
                }
            }
            self.push(data.op, &args, node)
        };
        self.parts.insert(node, part);
        part
    }

    /// Whether a map of places and numbers, so many maps deep.
    fn is_of_places(&self, node: Node, deepest: u32) -> bool {
        let data = &self.graph.nodes[node];
        match &data.op {
            Op::Map(function) => {
                let place = |arg: &Node| {
                    let free =
                        matches!(self.graph.nodes[*arg].op, Op::Position(_) | Op::Constant(_) | Op::Size(_));
                    free || deepest > 0 && self.is_of_places(*arg, deepest - 1)
                };
                scalar_cost(*function) == 1 && data.args.iter().all(place)
            }
            _ => false,
        }
    }

    fn push(&mut self, op: Op, args: &[Node], like: Node) -> Node {
        let data = self.graph.nodes[like].clone();
        let typing = Typing { graph: self.graph, op: &op, args, dtype: data.dtype };
        let shape = (op.def().shape)(&typing).expect("a member's arguments fit it as before");
        let args = args.iter().copied().collect();
        let node = self.graph.nodes.push(NodeData { op, args, axes: shape.axes, ..data });
        self.nodes.push(node);
        node
    }
}

#[cfg(test)]
mod tests {
    use super::blocks;
    use crate::graph::tests::argument;
    use crate::graph::{Builder, Graph, Op, Output, verify};
    use crate::tensor::DType::F32;

    /// softmax(q k) v for so many queries and keys, of one head; `keep` gives the scores out, too.
    fn attention(queries: i64, keep: bool) -> Graph {
        let mut b = Builder::new();
        let [t, s, e, f] =
            [("t", queries), ("s", 256), ("e", 4), ("f", 4)].map(|(name, size)| b.axis(name, size.into()));
        let q = argument(&mut b, "q", &[t, e], F32);
        let k = argument(&mut b, "k", &[s, e], F32);
        let v = argument(&mut b, "v", &[s, f], F32);
        let product = b.mul(q, k);
        let scores = b.sum(product, &[e]);
        let exp = b.map1(crate::ops::ScalarFn::Exp, scores);
        let sum = b.sum(exp, &[s]);
        let weights = b.div(exp, sum);
        let product = b.mul(weights, v);
        let y = b.sum(product, &[s]);
        let mut outputs = vec![(Output { name: "y".into(), order: vec![t, f], updates: None }, y)];
        if keep {
            outputs.push((Output { name: "scores".into(), order: vec![t, s], updates: None }, scores));
        }
        b.finish(outputs)
    }

    fn loops(graph: Graph) -> usize {
        let graph = blocks(graph);
        verify(&graph).unwrap_or_else(|defect| panic!("{defect}\n{graph}"));
        graph.nodes.values().filter(|data| matches!(data.op, Op::Scan(_))).count()
    }

    #[test]
    fn scores_that_nobody_else_reads_are_made_block_by_block() {
        assert_eq!(loops(attention(512, false)), 1);
        assert_eq!(loops(attention(512, true)), 0);
        // No block divides a prime, and few queries are no matter.
        assert_eq!(loops(attention(257, false)), 0);
        assert_eq!(loops(attention(64, false)), 0);
    }
}
