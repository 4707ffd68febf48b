//! `Scan` as a loop of steps: its kernels are emitted once, whatever the number of turns.
//!
//! A carry has one buffer. The next carry is written into it by the kernel that computes it, where nothing reads the old one any more,
//! else copied at the end of the turn. A yield is written into its slice: its home has the scan's axis, whose index is the turn.

use std::collections::HashSet;

use super::home::{Home, Storage};
use super::recurrence::Components;
use super::{LowerError, Lowering, Turn, in_place};
use crate::graph::{Axis, Node, Op, Scan};
use crate::kernel::{Buffer, Step, StepVar};

use cranelift_entity::EntityRef;

impl Lowering<'_> {
    pub(super) fn scan(&mut self, node: Node, scan: &Scan) -> Result<(), LowerError> {
        let graph = self.graph;
        let body = &graph.regions[scan.body];
        // The components that are read, and those of them whose home is given.
        let mut components: Vec<Vec<Node>> = vec![Vec::new(); body.results.len()];
        for user in &self.users[node] {
            if let Op::Project(index) = graph.nodes[*user].op {
                components[index as usize].push(*user);
            }
        }
        let given: Vec<Option<Home>> =
            components.iter().map(|nodes| nodes.iter().find_map(|node| self.homes[*node].clone())).collect();

        let mut carries = Vec::new();
        for (i, param) in body.params.iter().enumerate() {
            let home = match &given[i] {
                Some(home) => home.clone(),
                None => {
                    let order =
                        self.orders[*param].iter().copied().filter(|axis| !self.is_bound(*axis)).collect();
                    self.temporary(*param, order)?
                }
            };
            self.kernel(&[(graph.nodes[node].args[i], home.clone())], &[])?;
            self.homes[*param] = Some(home.clone());
            carries.push(home);
        }
        let mut stacked = Vec::new();
        for i in scan.carries..body.results.len() {
            stacked.push(match (&given[i], components[i].first()) {
                (Some(home), _) => Some(home.clone()),
                (None, Some(component)) => {
                    let order: Vec<Axis> = self.orders[*component]
                        .iter()
                        .copied()
                        .filter(|axis| !self.is_bound(*axis))
                        .collect();
                    Some(self.temporary(*component, order)?)
                }
                (None, None) => None,
            });
        }

        let to = Components { carries: &carries, stacked: &stacked };
        if !self.recurrence(node, scan, &to)? {
            self.turns_of(node, scan, &to)?;
        }

        for (nodes, home) in components.iter().zip(carries.into_iter().map(Some).chain(stacked)) {
            let Some(home) = home else { continue };
            for node in nodes {
                match self.homes[*node].clone() {
                    // A second output of the same component.
                    Some(other) if buffer(&other) != buffer(&home) => {
                        self.homes[*node] = Some(home.clone());
                        self.kernel(&[(*node, other)], &[])?;
                    }
                    _ => self.homes[*node] = Some(home.clone()),
                }
            }
        }
        Ok(())
    }

    /// The loop of steps of a scan whose first carries are in their homes.
    fn turns_of(&mut self, node: Node, scan: &Scan, to: &Components<'_>) -> Result<(), LowerError> {
        let graph = self.graph;
        let body = &graph.regions[scan.body];
        let Components { carries, stacked } = to;
        let var = StepVar::new(self.next_turn as usize);
        self.next_turn += 1;
        self.turns.push(Turn {
            axis: scan.axis,
            body: scan.body,
            var,
            span: graph.nodes[node].span,
            table: None,
        });
        self.steps.push(Vec::new());
        let mut wanted: Vec<(Node, Home)> = Vec::new();
        for (home, result) in stacked.iter().zip(&body.results[scan.carries..]) {
            wanted.extend(home.clone().map(|home| (*result, home)));
        }
        // A next carry that is no kernel's result may be made of old carries: it takes a detour.
        let mut next: Vec<Option<Home>> = Vec::new();
        for (param, result) in body.params.iter().zip(&body.results) {
            let target = self.resolve(*result);
            let computed = self.is_in(target, scan.body) && self.has_kernel(target);
            let detour = if computed || target == *param {
                None
            } else {
                let order = self.homes[*param].as_ref().expect("a carry has a home").order.clone();
                Some(self.temporary(*result, order)?)
            };
            wanted.extend(detour.clone().map(|home| (*result, home)));
            next.push(detour);
        }
        self.region(scan.body, wanted)?;
        let mut late = Vec::new();
        for (i, (param, result)) in body.params.iter().zip(&body.results).enumerate() {
            let target = self.resolve(*result);
            if target == *param {
                continue;
            }
            let to = buffer(&carries[i]);
            match &next[i] {
                Some(home) => late.push((buffer(home), to, i)),
                None => {
                    let home = self.homes[target].clone().expect("a next carry is materialised");
                    let whole = home.order == carries[i].order && home.is_dense(|axis| self.size(axis));
                    let from = buffer(&home);
                    // It was added to where it stands.
                    if from == to {
                        continue;
                    }
                    let own = !stacked.iter().flatten().any(|stack| buffer(stack) == from)
                        && !carries.iter().any(|carry| buffer(carry) == from);
                    match whole && own {
                        true => late.push((from, to, i)),
                        false => self.kernel(&[(*result, carries[i].clone())], &[])?,
                    }
                }
            }
        }
        for (from, to, _) in late {
            let steps = self.steps.last_mut().expect("the loop's steps");
            if !in_place::merge(&mut self.program, steps, from, to) {
                self.copy_buffer(from, to);
            }
        }
        let steps = self.steps.pop().expect("the loop's steps");
        self.turns.pop();
        let count = self.size(scan.axis);
        self.push(Step::Loop { var, count, reverse: scan.reverse, body: steps });
        Ok(())
    }

    /// Emits the steps that make something of a value alone: before the loops that do not change it.
    pub(super) fn early<R>(&mut self, of: Node, emit: impl FnOnce(&mut Self) -> R) -> R {
        let depth = self.depends_on_turns(of);
        let (turns, steps) = (self.turns.split_off(depth), self.steps.split_off(depth + 1));
        let result = emit(self);
        self.turns.extend(turns);
        self.steps.extend(steps);
        result
    }

    /// How many of the loops around, from the outermost, have to run for a value to be there.
    pub(super) fn depends_on_turns(&self, of: Node) -> usize {
        let mut depth = 0;
        let mut todo = vec![of];
        let mut seen = HashSet::new();
        while let Some(node) = todo.pop() {
            let node = self.resolve(node);
            let data = &self.graph.nodes[node];
            let made = |turn: &Turn| {
                let body = &self.graph.regions[turn.body];
                data.axes.contains(&turn.axis) || body.params.contains(&node) || self.is_in(node, turn.body)
            };
            depth = depth.max(self.turns.iter().rposition(made).map_or(0, |at| at + 1));
            if self.homes[node].is_none() && seen.insert(node) {
                todo.extend(data.args.iter().copied());
            }
        }
        depth
    }

    /// Whether a node stands in a region or in a group of it.
    fn is_in(&self, node: Node, region: crate::graph::Region) -> bool {
        self.graph.regions[region].nodes.iter().any(|other| {
            *other == node
                || matches!(&self.graph.nodes[*other].op, Op::Fused(inner) if self.graph.regions[*inner].nodes.contains(&node))
        })
    }
}

fn buffer(home: &Home) -> Buffer {
    match home.storage {
        Storage::Buffer(buffer) => buffer,
        Storage::Scratch(_) => unreachable!("what a scan keeps outlives its kernels"),
    }
}
