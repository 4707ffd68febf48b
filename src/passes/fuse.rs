//! `fuse`: groups nodes that become one kernel. Nothing is computed twice but what is free.
//!
//! In order of execution, each map, reduction that is no contraction, gather or draw joins the groups of its producers, if
//! - no path leaves the group and comes back;
//! - the group has one domain; or all its values share outer axes that are outermost in memory (a row is then one point of the kernel's
//!   grid, and its reductions are phases); or whatever its reductions combine is read by nobody else.
//!
//! Free are constants, positions, sizes and views: they are evaluated where they are read, so paths run through them.

use std::cell::RefCell;
use std::collections::BTreeSet;

use cranelift_entity::{EntitySet, SecondaryMap};
use smallvec::SmallVec;

use super::contraction::roles;
use super::recompute::{is_cheap_from_places, join_copies, recompute};
use super::regroup::regroup;
use super::{layout, scalar_cost};
use crate::graph::sets::common;
use crate::graph::walk::captures;
use crate::graph::{Axis, AxisSet, Graph, Literal, Node, Op, Region};
use crate::ops::ScalarFn;

/// Nodes of a group at most: compile time stays linear.
const LARGEST: usize = 200;
/// A value that is read at several places of a window is computed for each if it costs no more.
const CHEAP: u32 = 4;

/// Groups the nodes of every region.
pub fn fuse(mut graph: Graph) -> Graph {
    let mut regions = Vec::new();
    bodies(&graph, graph.root, &mut Vec::new(), &mut regions);
    let copies: Vec<EntitySet<Node>> =
        regions.iter().map(|(region, bound)| recompute(&mut graph, *region, bound)).collect();
    let orders = layout::orders(&graph);
    let users = users(&graph);
    let mut groups = Vec::new();
    for ((region, bound), copies) in regions.iter().zip(&copies) {
        let mut grouping = Grouping::new(&graph, &orders, &users, bound, copies);
        for node in &graph.regions[*region].nodes {
            grouping.add(*node);
        }
        grouping.settle();
        groups.push((*region, grouping.of, grouping.groups));
    }
    for ((region, of, groups), copies) in groups.into_iter().zip(&copies) {
        let gone = join_copies(&mut graph, region, copies, &|node| of[node]);
        let groups = groups
            .into_iter()
            .map(|group| group.nodes.into_iter().filter(|node| !gone.contains(*node)).collect::<Vec<Node>>());
        regroup(&mut graph, region, groups.filter(|nodes| nodes.len() > 1).collect());
    }
    graph
}

/// The region and the bodies of its scans, with the axes that the scans around have bound.
fn bodies(graph: &Graph, region: Region, bound: &mut Vec<Axis>, out: &mut Vec<(Region, Vec<Axis>)>) {
    for node in &graph.regions[region].nodes {
        if let Op::Scan(scan) = &graph.nodes[*node].op {
            bound.push(scan.axis);
            bodies(graph, scan.body, bound, out);
            bound.pop();
        }
    }
    out.push((region, bound.clone()));
}

/// Who reads a node; a result of a region is read by somebody, too.
struct Users {
    by: SecondaryMap<Node, Vec<Node>>,
    results: EntitySet<Node>,
}

fn users(graph: &Graph) -> Users {
    let mut users = Users { by: SecondaryMap::new(), results: EntitySet::new() };
    for region in graph.regions.values() {
        users.results.extend(region.results.iter().copied());
        for node in &region.nodes {
            for arg in &graph.nodes[*node].args {
                users.by[*arg].push(*node);
            }
        }
    }
    users
}

/// Whether the node is the next value of a loop's carry that it adds something to, of which it is the only reader.
fn is_sum_onto(graph: &Graph, node: Node, carry: Node) -> bool {
    let Op::Carry(index) = graph.nodes[carry].op else { return false };
    let at = index as usize;
    let mut bodies = graph.regions.values().filter(|region| region.params.get(at) == Some(&carry));
    bodies.any(|body| {
        body.results.iter().filter(|result| **result == node).count() == 1 && body.results[at] == node
    })
}

/// Evaluated where it is read.
pub(super) fn is_free(op: &Op) -> bool {
    use Op::*;
    matches!(op, Constant(_) | Position(_) | Size(_) | View(_) | Broadcast(_) | StopGradient | Alias)
}

/// What a node reads: a value that is computed by a step, and how.
#[derive(Clone)]
struct Dep {
    node: Node,
    /// The axes whose index changes on the way.
    moved: AxisSet,
    /// It must be in memory: the reader looks anywhere in it.
    whole: bool,
}

struct Grouping<'a> {
    graph: &'a Graph,
    orders: &'a SecondaryMap<Node, Vec<Axis>>,
    users: &'a Users,
    bound: &'a [Axis],
    /// Copies that belong to their only reader: they join its group and no other.
    copies: &'a EntitySet<Node>,
    /// The group of each node that is computed by a step.
    of: SecondaryMap<Node, Option<usize>>,
    groups: Vec<Group>,
    /// The place of each node among those that were added, from 1; 0 for others.
    place: SecondaryMap<Node, u32>,
    count: u32,
    deps: SecondaryMap<Node, SmallVec<[Dep; 4]>>,
    /// Who has a node among its `deps`.
    readers: SecondaryMap<Node, SmallVec<[Node; 2]>>,
    contractions: EntitySet<Node>,
    /// The groups that the search at hand has seen, by its number.
    seen: RefCell<(u32, Vec<u32>)>,
}

#[derive(Clone, Default)]
struct Group {
    /// In order of execution.
    nodes: Vec<Node>,
    /// Whether other nodes may join.
    open: bool,
    /// The latest place of its nodes and of those of all groups that it comes behind.
    latest: u32,
}

impl<'a> Grouping<'a> {
    fn new(
        graph: &'a Graph,
        orders: &'a SecondaryMap<Node, Vec<Axis>>,
        users: &'a Users,
        bound: &'a [Axis],
        copies: &'a EntitySet<Node>,
    ) -> Grouping<'a> {
        Grouping {
            graph,
            orders,
            users,
            bound,
            copies,
            of: SecondaryMap::new(),
            groups: Vec::new(),
            place: SecondaryMap::new(),
            count: 0,
            deps: SecondaryMap::new(),
            readers: SecondaryMap::new(),
            contractions: EntitySet::new(),
            seen: RefCell::new((0, Vec::new())),
        }
    }

    fn free_axes(&self, node: Node) -> AxisSet {
        self.graph.nodes[node].axes.iter().copied().filter(|axis| !self.bound.contains(axis)).collect()
    }

    fn is_contraction(&self, node: Node) -> bool {
        roles(self.graph, node, &|axis| self.bound.contains(&axis)).is_some()
    }

    /// Whether the node was added before.
    fn is_here(&self, node: Node) -> bool {
        self.place[node] > 0
    }

    /// Whether a node may share a kernel: not a contraction, nor a product that only contractions read.
    fn can_join(&self, node: Node) -> bool {
        match &self.graph.nodes[node].op {
            Op::Reduce { .. } => !self.is_contraction(node),
            Op::Map(_) => {
                let users = &self.users.by[node];
                let product = !users.is_empty() && users.iter().all(|user| self.is_contraction(*user));
                !product || self.users.results.contains(node)
            }
            Op::Gather { .. } | Op::Random { .. } => true,
            _ => false,
        }
    }

    fn add(&mut self, node: Node) {
        self.count += 1;
        self.place[node] = self.count;
        let op = &self.graph.nodes[node].op;
        if is_free(op) || matches!(op, Op::Project(_)) {
            return;
        }
        let deps = self.find_deps(node);
        let own = self.groups.len();
        let open = self.can_join(node);
        if matches!(op, Op::Reduce { .. }) && !open {
            self.contractions.insert(node);
        }
        let before = deps.iter().filter_map(|dep| self.of[dep.node]).map(|group| self.groups[group].latest);
        let latest = before.fold(self.count, u32::max);
        self.groups.push(Group { nodes: vec![node], open, latest });
        self.of[node] = Some(own);
        for dep in &deps {
            self.readers[dep.node].push(node);
        }
        self.deps[node] = deps;
        if let Some(contraction) = self.is_tail_of(node) {
            self.merge(contraction, own);
            self.groups[contraction].open = false;
            return;
        }
        if open && !self.copies.contains(node) {
            self.join(node, false);
        }
    }

    /// Copies that could not join their reader join each other. Not what they are copied from, whose loops may be others: an image that reads
    /// what was pooled from it would spoil the pooling's.
    fn settle(&mut self) {
        let mut left: Vec<Node> = self.copies.iter().filter(|copy| self.is_here(*copy)).collect();
        left.sort_unstable_by_key(|copy| self.place[*copy]);
        for copy in left {
            if let Some(group) = self.of[copy]
                && self.groups[group].open
                && self.groups[group].nodes.iter().all(|node| self.copies.contains(*node))
            {
                self.join(copy, true);
            }
        }
    }

    /// Merges the node's group with those of its producers, perhaps with those of copies alone, as far as that may be.
    fn join(&mut self, node: Node, copies_alone: bool) {
        let mut candidates: BTreeSet<usize> = self.producers(&self.deps[node]);
        // The latest first: it is the one that most of the others come before.
        while let Some(other) = candidates.pop_last() {
            let own = self.of[node].expect("the node is in a group");
            if other == own || !self.groups[other].open || self.groups[other].nodes.is_empty() {
                continue;
            }
            let copies = self.groups[other].nodes.iter().all(|node| self.copies.contains(*node));
            if (copies || !copies_alone) && self.may_merge(other, own) {
                if copies {
                    // Whatever the copies are made of may join as well.
                    for copy in self.groups[other].nodes.clone() {
                        candidates.extend(self.producers(&self.deps[copy]));
                    }
                }
                self.merge(other, own);
            }
        }
    }

    fn producers(&self, deps: &[Dep]) -> BTreeSet<usize> {
        deps.iter().filter(|dep| !dep.whole).filter_map(|dep| self.of[dep.node]).collect()
    }

    /// The group of the contraction to which the node adds a bias, or whose negative entries it makes zero, if nobody else reads those.
    fn is_tail_of(&self, node: Node) -> Option<usize> {
        let data = &self.graph.nodes[node];
        let [x, y] = data.args[..] else { return None };
        for (sum, other) in [(x, y), (y, x)] {
            let Some(group) = self.of[sum] else { continue };
            let nodes = &self.groups[group].nodes;
            let (Some(first), Some(last)) = (nodes.first(), nodes.last()) else { continue };
            if !self.contractions.contains(*first) {
                continue;
            }
            let Some(roles) = roles(self.graph, *first, &|axis| self.bound.contains(&axis)) else { continue };
            let private = *last == sum && self.users.by[sum].len() == 1 && !self.users.results.contains(sum);
            let axes = self.free_axes(other);
            let bias = |own: &[Axis]| axes.len() == 1 && own.len() == 1 && axes[0] == own[0];
            let fits = match data.op {
                Op::Map(ScalarFn::Add) => {
                    nodes.len() == 1
                        && (bias(&roles.m) || bias(&roles.n) || is_sum_onto(self.graph, node, other))
                }
                Op::Map(ScalarFn::Max) => self.graph.nodes[other].op == Op::Constant(Literal::Float(0.0)),
                _ => false,
            };
            let own = self.of[node].expect("the node is in a group");
            if private && fits && !self.is_between(group, own) {
                return Some(group);
            }
        }
        None
    }

    fn merge(&mut self, into: usize, from: usize) {
        let Group { nodes, latest, .. } = std::mem::take(&mut self.groups[from]);
        for node in &nodes {
            self.of[*node] = Some(into);
        }
        self.groups[into].nodes.extend(nodes);
        let place = &self.place;
        self.groups[into].nodes.sort_unstable_by_key(|node| place[*node]);
        self.groups[into].latest = self.groups[into].latest.max(latest);
        self.pass_on(into);
    }

    /// What comes behind a group comes behind all that it has taken in.
    fn pass_on(&mut self, group: usize) {
        let Grouping { groups, of, readers, .. } = self;
        let mut todo = vec![group];
        while let Some(group) = todo.pop() {
            let latest = groups[group].latest;
            for at in 0..groups[group].nodes.len() {
                for reader in &readers[groups[group].nodes[at]] {
                    let behind = of[*reader].expect("a reader is in a group");
                    if groups[behind].latest < latest {
                        groups[behind].latest = latest;
                        todo.push(behind);
                    }
                }
            }
        }
    }

    /// Whether a path leads from one group to the other through a third.
    fn is_between(&self, from: usize, to: usize) -> bool {
        let mut seen = self.seen.borrow_mut();
        seen.0 += 1;
        let (number, seen) = &mut *seen;
        seen.resize(self.groups.len(), 0);
        // A group comes behind `from` only if it comes behind a node that stands behind the first of `from`.
        let first = self.groups[from].nodes.first().map_or(0, |node| self.place[*node]);
        let mut todo = vec![to];
        seen[to] = *number;
        while let Some(group) = todo.pop() {
            for node in &self.groups[group].nodes {
                for dep in &self.deps[*node] {
                    let Some(before) = self.of[dep.node] else { continue };
                    if before == from && group != to {
                        return true;
                    }
                    if before != from && seen[before] != *number && self.groups[before].latest > first {
                        seen[before] = *number;
                        todo.push(before);
                    }
                }
            }
        }
        false
    }

    fn may_merge(&self, a: usize, b: usize) -> bool {
        let nodes: Vec<Node> = [&self.groups[a].nodes[..], &self.groups[b].nodes].concat();
        nodes.len() <= LARGEST && self.fits(&nodes) && !self.is_between(a, b) && !self.is_between(b, a)
    }

    /// Whether these nodes make one kernel.
    fn fits(&self, nodes: &[Node]) -> bool {
        let mut members: EntitySet<Node> = EntitySet::new();
        members.extend(nodes.iter().copied());
        // A comparison of positions is evaluated wherever it is wanted, like the positions.
        let evaluated = |node: &Node| self.copies.contains(*node) && is_cheap_from_places(self.graph, *node);
        let stored: Vec<Node> = nodes.iter().copied().filter(|node| !evaluated(node)).collect();
        let nodes = if stored.is_empty() { nodes } else { &stored };
        let axes: Vec<AxisSet> = nodes.iter().map(|node| self.free_axes(*node)).collect();
        let shared = axes.iter().skip(1).fold(axes[0].clone(), |all, axes| common(&all, axes));
        let reductions: Vec<Node> = nodes
            .iter()
            .copied()
            .filter(|node| matches!(self.graph.nodes[*node].op, Op::Reduce { .. }))
            .collect();
        for node in nodes {
            for dep in self.deps[*node].iter().filter(|dep| members.contains(dep.node)) {
                let elsewhere = !common(&dep.moved, &shared).is_empty();
                let dear = !dep.moved.is_empty() && self.cost(dep.node, &members) > CHEAP;
                if dep.whole || elsewhere || dear {
                    return false;
                }
            }
        }
        if reductions.is_empty() && axes.iter().all(|other| *other == axes[0]) {
            return true;
        }
        if reductions
            .iter()
            .any(|outer| reductions.iter().any(|inner| self.repeats(*outer, *inner, &members)))
        {
            return false;
        }
        let outermost = |order: &[Axis]| {
            let order: Vec<Axis> = order.iter().copied().filter(|axis| !self.bound.contains(axis)).collect();
            order.iter().take(shared.len()).all(|axis| shared.contains(axis))
        };
        let rows = !shared.is_empty()
            && nodes.iter().all(|node| {
                let arg = self.graph.nodes[*node].args.first().filter(|_| reductions.contains(node));
                outermost(&self.orders[*node]) && arg.is_none_or(|arg| outermost(&self.orders[*arg]))
            });
        // Or everything is made for reductions of one domain, or from them.
        let same = |node: &Node| self.free_axes(*node) == shared;
        rows || (!reductions.is_empty()
            && reductions.iter().all(same)
            && nodes.iter().all(|node| same(node) || self.is_private(*node, &members)))
    }

    /// Whether a reduction would compute another one once for each of its own entries: a mean of places, say, of which a layer takes
    /// products with weights.
    fn repeats(&self, outer: Node, inner: Node, members: &EntitySet<Node>) -> bool {
        let (kept, of) = (&self.graph.nodes[outer].axes, &self.graph.nodes[inner].axes);
        let Op::Reduce { over, .. } = &self.graph.nodes[outer].op else { return false };
        let summed = over.iter().any(|axis| of.contains(axis));
        summed && kept.iter().any(|axis| !of.contains(axis)) && self.reads(outer, inner, members)
    }

    /// Whether a node reads another one, directly or through members.
    fn reads(&self, node: Node, other: Node, members: &EntitySet<Node>) -> bool {
        let (mut todo, mut seen) = (vec![node], EntitySet::new());
        while let Some(node) = todo.pop() {
            let deps = self.deps[node].iter().map(|dep| dep.node);
            for dep in deps.filter(|dep| members.contains(*dep)).collect::<Vec<Node>>() {
                if dep == other {
                    return true;
                }
                if seen.insert(dep) {
                    todo.push(dep);
                }
            }
        }
        false
    }

    /// Whether only members read a node.
    fn is_private(&self, node: Node, members: &EntitySet<Node>) -> bool {
        if self.users.results.contains(node) {
            return false;
        }
        self.users.by[node].iter().all(|user| {
            members.contains(*user)
                || (is_free(&self.graph.nodes[*user].op) && self.is_private(*user, members))
        })
    }

    /// The instructions to compute a value once more from what is not a member.
    fn cost(&self, node: Node, members: &EntitySet<Node>) -> u32 {
        let own = match &self.graph.nodes[node].op {
            Op::Map(function) => scalar_cost(*function),
            _ => 100,
        };
        let deps = &self.deps[node];
        let rest = deps
            .iter()
            .filter(|dep| members.contains(dep.node))
            .map(|dep| self.cost_within(dep.node, members, CHEAP));
        own + rest.sum::<u32>()
    }

    /// As `cost`, but stops at a limit.
    fn cost_within(&self, node: Node, members: &EntitySet<Node>, limit: u32) -> u32 {
        if limit == 0 {
            return 1;
        }
        let own = match &self.graph.nodes[node].op {
            Op::Map(function) => scalar_cost(*function),
            _ => 100,
        };
        if own > limit {
            return own;
        }
        let deps = &self.deps[node];
        own + deps
            .iter()
            .filter(|dep| members.contains(dep.node))
            .map(|dep| self.cost_within(dep.node, members, limit - own))
            .sum::<u32>()
    }

    /// What a node reads, through what is free. A node with a body reads what the body reads.
    fn find_deps(&self, node: Node) -> SmallVec<[Dep; 4]> {
        let mut deps = SmallVec::new();
        let data = &self.graph.nodes[node];
        for (i, arg) in data.args.iter().enumerate() {
            let whole = i == 0 && matches!(data.op, Op::Gather { .. });
            self.trace(*arg, AxisSet::new(), whole, &mut deps);
        }
        if let Some(region) = data.op.region() {
            for captured in captures(self.graph, region) {
                self.trace(captured, AxisSet::new(), true, &mut deps);
            }
        }
        deps
    }

    fn trace(&self, node: Node, moved: AxisSet, whole: bool, deps: &mut SmallVec<[Dep; 4]>) {
        if !self.is_here(node) {
            return;
        }
        let data = &self.graph.nodes[node];
        match &data.op {
            Op::View(map) => {
                let mut moved = moved;
                moved.extend(
                    map.at
                        .iter()
                        .filter(|(axis, index)| index.as_axis() != Some(*axis))
                        .map(|(axis, _)| *axis),
                );
                self.trace(data.args[0], moved, whole, deps);
            }
            op if is_free(op) => {
                data.args.iter().for_each(|arg| self.trace(*arg, moved.clone(), whole, deps))
            }
            Op::Project(_) => self.trace(data.args[0], moved, whole, deps),
            _ => deps.push(Dep { node, moved, whole }),
        }
    }
}
