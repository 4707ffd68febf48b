//! `Scan` in one kernel: where each entry of the next carries is made of the same entry of the old ones, entries do not meet, and each runs
//! through all turns by itself. So do running sums and averages, decays, gated and diagonal recurrences.
//!
//! A carry stays where it lives: a turn loads it, and stores the next one behind everything that it computes.

use cranelift_entity::EntitySet;

use super::emit::Emitter;
use super::home::Home;
use super::index::{Atom, Ix, Place};
use super::nest::Reads;
use super::{LowerError, Lowering};
use crate::axes::Dim;
use crate::graph::{Axis, AxisSet, Node, Op, Scan};

/// Entries of a grid point: their turns follow each other, so that more of them would only take the work of other threads.
const LINE: i64 = 16;

/// Where a scan's components live: the carries, and the yields that somebody reads.
pub struct Components<'a> {
    pub carries: &'a [Home],
    pub stacked: &'a [Option<Home>],
}

impl Lowering<'_> {
    /// Emits the kernel of a scan whose first carries are in their homes; false where entries meet, so that it has to be a loop of steps.
    pub(super) fn recurrence(
        &mut self,
        node: Node,
        scan: &Scan,
        to: &Components<'_>,
    ) -> Result<bool, LowerError> {
        let Some(turning) = self.turning(scan) else { return Ok(false) };
        let free = |home: &Home| -> AxisSet {
            let axes = home.order.iter().copied();
            crate::graph::sets::set(axes.filter(|axis| *axis != scan.axis && !self.is_bound(*axis)))
        };
        let mut homes = to.carries.iter().chain(to.stacked.iter().flatten());
        let Some(first) = homes.next() else { return Ok(false) };
        let domain = free(first);
        if !homes.all(|home| free(home) == domain) {
            return Ok(false);
        }
        let order: Vec<Axis> = first.order.iter().copied().filter(|axis| domain.contains(axis)).collect();
        let graph = self.graph;
        let name = self.unique("scan");
        let place = self.outer_place();
        let mut emitter = Emitter::new(self, name, graph.nodes[node].span);
        emitter.recurrence(scan, turning, to, &order, place)?;
        let (kernel, args) = emitter.finish();
        self.run(kernel, args);
        Ok(true)
    }

    /// What changes with the carries, if a turn only maps them, entry by entry, and what it reads else is made where it is read.
    fn turning(&self, scan: &Scan) -> Option<EntitySet<Node>> {
        let graph = self.graph;
        let body = &graph.regions[scan.body];
        let mut turning: EntitySet<Node> = EntitySet::new();
        turning.extend(body.params.iter().copied());
        let groups = body.nodes.iter().flat_map(|node| match &graph.nodes[*node].op {
            Op::Fused(inner) => graph.regions[*inner].nodes.as_slice(),
            _ => std::slice::from_ref(node),
        });
        for node in groups {
            let data = &graph.nodes[*node];
            let turns = data.args.iter().any(|arg| turning.contains(self.resolve(*arg)));
            match &data.op {
                Op::Map(_) | Op::StopGradient | Op::Alias | Op::Project(_) => {}
                Op::Constant(_)
                | Op::Size(_)
                | Op::Position(_)
                | Op::View(_)
                | Op::Broadcast(_)
                | Op::Gather { .. }
                | Op::Random { .. }
                    if !turns => {}
                _ => return None,
            }
            if turns {
                turning.insert(*node);
            }
        }
        Some(turning)
    }
}

impl Emitter<'_, '_> {
    fn recurrence(
        &mut self,
        scan: &Scan,
        turning: EntitySet<Node>,
        to: &Components<'_>,
        order: &[Axis],
        mut place: Place,
    ) -> Result<(), LowerError> {
        let graph = self.cx.graph;
        let body = &graph.regions[scan.body];
        let (next, yields) = body.results.split_at(scan.carries);
        let mut stores: Vec<(Node, &Home)> = Vec::new();
        for ((param, result), home) in body.params.iter().zip(next).zip(to.carries) {
            if self.cx.resolve(*result) != *param {
                stores.push((*result, home));
            }
        }
        stores.extend(yields.iter().zip(to.stacked).filter_map(|(node, home)| Some((*node, home.as_ref()?))));

        let mut reads = Reads::default();
        for (node, home) in &stores {
            self.reads(*node, &place, &mut reads)?;
            reads.reads.push(self.cx.read(home, &place)?);
        }
        let runs = self.runs(order, &reads, &mut place)?;
        if let Some((lanes, grid)) = self.by_digits(runs, &reads).split_last() {
            self.open_all(grid, lanes, LINE, &mut place)?;
        }
        let size = self.cx.size(scan.axis);
        let turn = Ix::atom(Atom::Var(self.open(&size, false)));
        let index = match scan.reverse {
            true => Ix::constant(size.sub(&Dim::constant(1))?).sub(&turn)?,
            false => turn,
        };
        place.set(scan.axis, index);
        self.turning = (turning, self.depth());
        // Carries are loaded through the argument that they are stored through.
        for home in to.carries {
            self.element(home, &place, true)?;
        }
        let mut values = Vec::new();
        for (node, _) in &stores {
            values.push(self.value(*node, &place, None)?);
        }
        for ((_, home), value) in stores.iter().zip(values) {
            self.store(home, &place, value)?;
        }
        while self.depth() > 0 {
            self.close(&[]);
        }
        Ok(())
    }
}
