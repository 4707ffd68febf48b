//! What a program computes before its derivatives, in order, and how much of it there is: from this it is decided where checkpoints go.
//!
//! Amounts are those of the values as they are written, before anything is fused: they are good for comparing parts of a program, not for
//! telling what it takes.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::axes::DimVar;
use crate::check::core::{BlockId, Core, Form, Val};
use crate::graph::{Axis, Graph, Node, Op, Region};

use super::segmented::draws;
use super::{Made, Part, Walk};

/// The values of one block, in order.
#[derive(Debug, Default)]
pub struct Outline {
    pub items: Vec<Item>,
}

/// A value that is computed before the derivatives.
#[derive(Debug)]
pub struct Item {
    pub val: Val,
    /// It may be part of a checkpoint.
    pub movable: bool,
    /// Bytes of all that is computed for it.
    pub made: u64,
    /// Bytes of what it is, where they are no other value's and nothing that is given.
    pub held: u64,
    /// The place in the list behind the last item that reads it.
    pub until: usize,
    pub turns: Option<Loop>,
}

/// A loop whose number of turns is known.
#[derive(Debug)]
pub struct Loop {
    pub turns: i64,
    /// Each turn draws random numbers of its own.
    pub draws: bool,
    pub body: Outline,
}

impl Outline {
    /// Of the program's body, at these sizes. It is empty where no derivative is taken.
    pub fn of(core: &Core, dims: &BTreeMap<DimVar, i64>) -> Outline {
        let mut walk = Walk::new(core, dims);
        let outputs = super::outputs(core, Part::Body);
        walk.find_needed(outputs.iter().map(|(_, val, _)| *val));
        walk.declare_inputs();
        walk.ordered();
        let mut amounts = HashMap::new();
        let graph = walk.builder.graph();
        count(graph, graph.root, &mut Vec::new(), dims, &mut |node, bytes| {
            if let Some(val) = walk.origins[node] {
                *amounts.entry(val).or_default() += bytes;
            }
        });
        let outer = walk.needed.iter().copied().filter(|val| !walk.inner.contains_key(val));
        let outer: Vec<Val> = outer.collect();
        // The optimizer's derivative is the last one.
        let end = outer.iter().rposition(|&val| matches!(core.vals[val].form, Form::Gradients { .. }));
        Outliner { walk: &walk, dims, amounts }.block(&outer[..end.unwrap_or(0)], &mut Vec::new())
    }
}

/// A value that takes no memory, or that is there anyway: a view, a constant, an input.
fn is_given(graph: &Graph, node: Node) -> bool {
    matches!(
        graph.nodes[node].op,
        Op::Input(_)
            | Op::Constant(_)
            | Op::Size(_)
            | Op::Position(_)
            | Op::Broadcast(_)
            | Op::View(_)
            | Op::Alias
            | Op::StopGradient
            | Op::Custom
            | Op::Scan(_)
    )
}

/// What a view is a view of.
fn base(graph: &Graph, node: Node) -> Node {
    let data = &graph.nodes[node];
    match data.op {
        Op::Broadcast(_) | Op::View(_) | Op::Alias | Op::StopGradient | Op::Custom => {
            base(graph, data.args[0])
        }
        _ => node,
    }
}

/// Tells the bytes of all values that a region computes, each of one turn of the loops around, whose axes are `bound`.
fn count(
    graph: &Graph,
    region: Region,
    bound: &mut Vec<Axis>,
    dims: &BTreeMap<DimVar, i64>,
    tell: &mut dyn FnMut(Node, u64),
) {
    for &node in &graph.regions[region].nodes {
        match &graph.nodes[node].op {
            Op::Scan(scan) => {
                bound.push(scan.axis);
                count(graph, scan.body, bound, dims, tell);
                bound.pop();
            }
            Op::Project(_) => {}
            _ if is_given(graph, node) => {}
            _ => tell(node, bytes(graph, node, bound, dims)),
        }
    }
}

fn bytes(graph: &Graph, node: Node, bound: &[Axis], dims: &BTreeMap<DimVar, i64>) -> u64 {
    let data = &graph.nodes[node];
    let axes = data.axes.iter().filter(|axis| !bound.contains(axis));
    let sizes = axes.map(|&axis| graph.axes[axis].size.eval(dims).unwrap_or(1).max(0) as u64);
    sizes.fold(data.dtype.size() as u64, u64::saturating_mul)
}

struct Outliner<'a> {
    walk: &'a Walk<'a>,
    dims: &'a BTreeMap<DimVar, i64>,
    /// Bytes made for each value itself; in a loop, of one turn where they have not its axis.
    amounts: HashMap<Val, u64>,
}

impl Outliner<'_> {
    fn block(&self, vals: &[Val], bound: &mut Vec<Axis>) -> Outline {
        let core = self.walk.core;
        let place: HashMap<Val, usize> = vals.iter().enumerate().map(|(at, &val)| (val, at)).collect();
        // Readers in inner blocks count for the loop that they stand in, which comes next in the list.
        let until = |val: &Val| {
            let last = self.walk.last_reader.get(val);
            last.map_or(0, |last| vals.partition_point(|other| other < last) + 1).min(vals.len())
        };
        let given = |val: &Val| self.walk.given.contains(val);
        let mut seen: HashSet<Node> = HashSet::new();
        let mut items: Vec<Item> = Vec::with_capacity(vals.len());
        for &val in vals {
            let form = &core.vals[val].form;
            let movable = !matches!(
                form,
                Form::Input(_)
                    | Form::Param(_)
                    | Form::State(_)
                    | Form::Carry(..)
                    | Form::Alias { .. }
                    | Form::Gradients { .. }
                    | Form::Tangent { .. }
                    | Form::Cotangent { .. }
            );
            let graph = self.walk.builder.graph();
            let turns = self.turns(val, bound);
            let own = self.amounts.get(&val).copied().unwrap_or(0);
            let made = match (form, &turns) {
                (_, Some(turns)) => turns.body.total().saturating_mul(turns.turns.max(0) as u64),
                (Form::Scan { body, .. } | Form::Checkpoint { body }, None) => {
                    self.block(&self.inside(*body), bound).total()
                }
                _ => own,
            };
            let nodes: &[Node] = match self.walk.nodes.get(&val) {
                Some(Made::One(node)) => std::slice::from_ref(node),
                // Its components are values, too.
                Some(Made::Tuple(_)) | None => &[],
            };
            let new = nodes.iter().map(|&node| base(graph, node));
            let new = new.filter(|&node| !is_given(graph, node) && seen.insert(node));
            let held = new.map(|node| bytes(graph, node, bound, self.dims)).sum();
            let until = if given(&val) { vals.len() } else { until(&val) };
            items.push(Item { val, movable, made, held, until, turns });
        }
        // A view holds what it is a view of.
        for at in (0..items.len()).rev() {
            for arg in crate::check::rules::arguments(core, items[at].val) {
                if let Some(&before) = place.get(&arg)
                    && items[at].held == 0
                {
                    items[before].until = items[before].until.max(items[at].until);
                }
            }
        }
        Outline { items }
    }

    fn turns(&self, val: Val, bound: &mut Vec<Axis>) -> Option<Loop> {
        let Form::Scan { axis, body, .. } = &self.walk.core.vals[val].form else { return None };
        let axis = self.walk.axes.get(axis)?;
        let graph = self.walk.builder.graph();
        let turns = graph.axes[*axis].size.eval(self.dims).ok()?;
        let Some(Made::Tuple(nodes)) = self.walk.nodes.get(&val) else { return None };
        let scan = graph.nodes[*nodes.first()?].args[0];
        let Op::Scan(scan) = &graph.nodes[scan].op else { return None };
        graph.axes[*axis].size.as_const()?;
        let draws = draws(&self.walk.builder, scan);
        bound.push(scan.axis);
        let body = self.block(&self.inside(*body), bound);
        bound.pop();
        Some(Loop { turns, draws, body })
    }

    fn inside(&self, body: BlockId) -> Vec<Val> {
        let vals = self.walk.core.blocks[body].vals.iter();
        vals.copied().filter(|val| self.walk.needed.contains(val)).collect()
    }
}

impl Outline {
    /// Bytes of all that is computed.
    pub fn total(&self) -> u64 {
        self.items.iter().fold(0, |sum, item| sum.saturating_add(item.made))
    }
}
