//! Which loops run over a set of axes: their order, which of them are one loop, and which has lanes.

use std::collections::HashSet;

use smallvec::SmallVec;

use super::emit::Emitter;
use super::home::Home;
use super::index::{Atom, Ix, Place};
use super::scalar::{accumulation, combination};
use super::{LowerError, Lowering};
use crate::axes::{Dim, DimError};
use crate::graph::{Axis, Node, Op, Outside, Reducer};
use crate::kernel::{AccOp, Val};
use crate::tensor::DType;

/// Turns of loops inside of lanes that are written out, one after the other: what they read then has constant addresses, and what does not
/// change from place to place, such as the weights of a window, is loaded before the loop over the places.
const WRITTEN_OUT: i64 = 9;

/// What an evaluation reads, by the axes that have no index yet.
#[derive(Default)]
pub struct Reads {
    pub reads: Vec<Read>,
    /// Axes whose index is used as a number or decides a mask: they keep a loop of their own.
    pub bare: HashSet<Axis>,
    seen: HashSet<(Node, SmallVec<[Ix; 4]>)>,
}

/// One load or store.
pub struct Read {
    pub address: Ix,
    /// The open axes in the address, outermost in memory first.
    pub order: Vec<Axis>,
}

impl Read {
    /// The factor of an axis; nothing where it stands below a quotient.
    fn factor(&self, axis: Axis) -> Option<Dim> {
        let atom = Atom::Axis(axis);
        match self.address.coefficient(&atom) {
            Some(factor) => (!under_quotient(&self.address, &atom)).then(|| factor.clone()),
            None => (!self.address.mentions(&atom)).then(|| Dim::constant(0)),
        }
    }

    fn is_unit(&self, axis: Axis) -> bool {
        self.factor(axis).is_some_and(|factor| factor.as_const() == Some(1))
    }
}

fn under_quotient(ix: &Ix, atom: &Atom) -> bool {
    ix.terms.iter().any(|(a, _)| matches!(a, Atom::Div(parts) if parts.0.mentions(atom)))
}

impl Reads {
    fn mark_bare(&mut self, ix: &Ix) {
        ix.visit(&mut |atom| {
            if let Atom::Axis(axis) = atom {
                self.bare.insert(*axis);
            }
        });
    }

    /// The order of the given axes in which the largest read runs through memory.
    pub fn order(&self, axes: &[Axis]) -> Vec<Axis> {
        let shared = |read: &&Read| read.order.iter().filter(|axis| axes.contains(axis)).count();
        // The first of equals, so that a kernel does not depend on the order of its other reads.
        let largest = self.reads.iter().rev().max_by_key(shared);
        let mut order: Vec<Axis> = Vec::new();
        order.extend(axes.iter().filter(|axis| !largest.is_some_and(|read| read.order.contains(axis))));
        if let Some(read) = largest {
            order.extend(read.order.iter().filter(|axis| axes.contains(axis)));
        }
        order
    }

    /// How many reads are contiguous along an axis, and how many have a stride along it.
    pub fn contiguous(&self, axis: Axis) -> (usize, usize) {
        let atom = Atom::Axis(axis);
        let along: Vec<&Read> = self.reads.iter().filter(|read| read.address.mentions(&atom)).collect();
        let unit = along.iter().filter(|read| read.is_unit(axis)).count();
        (unit, along.len() - unit)
    }

    /// Whether something is read that moves with the axes of `lanes` and not with those of `row`: the weights of a row of windows.
    pub fn any_stays(&self, row: &[Axis], lanes: &[Axis]) -> bool {
        let moves =
            |read: &Read, axes: &[Axis]| axes.iter().any(|axis| read.address.mentions(&Atom::Axis(*axis)));
        self.reads.iter().any(|read| moves(read, lanes) && !moves(read, row))
    }

    /// The digit that is split from an axis everywhere: the one number by which quotients divide it.
    fn digit(&self, axis: Axis) -> Option<i64> {
        let atom = Atom::Axis(axis);
        let mut digit = None;
        for read in &self.reads {
            for (a, _) in &read.address.terms {
                let Atom::Div(parts) = a else { continue };
                let (of, by) = &**parts;
                if !of.mentions(&atom) {
                    continue;
                }
                let by = by.as_const().filter(|_| of.as_atom() == Some(&atom))?;
                if digit.replace(by).is_some_and(|other| other != by) {
                    return None;
                }
            }
        }
        digit
    }

    /// Whether two adjacent axes may be one loop: every address advances over the end of the inner one as over any other step.
    fn compose(&self, outer: Axis, inner: Axis, size: &Dim) -> Result<bool, DimError> {
        if self.bare.contains(&outer) || self.bare.contains(&inner) {
            return Ok(false);
        }
        for read in &self.reads {
            let (Some(a), Some(b)) = (read.factor(outer), read.factor(inner)) else { return Ok(false) };
            if a != b.mul(size)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A loop over one axis or several adjacent ones, outermost first; or a digit of an axis.
pub struct Run {
    pub axes: Vec<Axis>,
    pub extent: Dim,
    /// By how much a turn moves the axis on, where another run goes through its other digit.
    pub digit: Option<i64>,
}

impl Run {
    pub fn of(axis: Axis, extent: Dim) -> Run {
        Run { axes: vec![axis], extent, digit: None }
    }

    /// Whether it is all of one axis, which any lane loop can run through.
    pub fn is_axis(&self) -> bool {
        self.axes.len() == 1 && self.digit.is_none()
    }
}

/// Whether the lanes of a run fill few vectors: the features of a group.
fn is_short(run: &Run) -> bool {
    run.extent.as_const().is_some_and(|lanes| (4..64).contains(&lanes))
}

impl Lowering<'_> {
    /// A load or store of a home.
    pub fn read(&self, home: &Home, place: &Place) -> Result<Read, LowerError> {
        let mut order = Vec::new();
        for axis in &home.order {
            let ix = place.of(*axis);
            let mut axes: Vec<(Axis, i64)> = Vec::new();
            for (atom, coefficient) in &ix.terms {
                if let Atom::Axis(axis) = atom {
                    axes.push((*axis, coefficient.as_const().unwrap_or(i64::MAX)));
                }
            }
            axes.sort_by_key(|(_, coefficient)| std::cmp::Reverse(*coefficient));
            for (axis, _) in axes {
                // A window's axis moves along several axes of the array: `x[i - a, a]`.
                if !order.contains(&axis) {
                    order.push(axis);
                }
            }
        }
        Ok(Read { address: home.address(place)?, order })
    }
}

impl Emitter<'_, '_> {
    /// Collects what evaluating `node` at `place` reads.
    pub fn reads(&self, node: Node, place: &Place, out: &mut Reads) -> Result<(), LowerError> {
        let node = self.cx.resolve(node);
        let data = &self.cx.graph.nodes[node];
        let indices: SmallVec<[Ix; 4]> = data.axes.iter().map(|axis| place.of(*axis)).collect();
        if !out.seen.insert((node, indices)) {
            return Ok(());
        }
        if let Some(home) = self.readable(node) {
            out.reads.push(self.cx.read(home, place)?);
            return Ok(());
        }
        match &data.op {
            Op::Position(axis) => out.mark_bare(&place.of(*axis)),
            Op::View(map) => {
                let (inner, checks) = self.cx.view_place(map, place, self)?;
                if map.outside == Outside::Zero {
                    for (ix, size) in checks {
                        if !ix.lies_in(&size, self) {
                            out.mark_bare(&ix);
                        }
                    }
                }
                self.reads(data.args[0], &inner, out)?;
            }
            Op::Reduce { .. } if self.cx.partials.contains_key(&node) => {
                out.reads.push(self.cx.read(&self.cx.partials[&node].home, place)?);
            }
            Op::Reduce { over, .. } => {
                let mut inner = self.cx.outer_place();
                for axis in data.axes.iter().filter(|axis| !over.contains(axis)) {
                    inner.set(*axis, place.of(*axis));
                }
                self.reads(data.args[0], &inner, out)?;
            }
            Op::Gather { axis } => {
                self.reads(data.args[1], place, out)?;
                self.reads(data.args[0], &place.with(*axis, Ix::zero()), out)?;
            }
            Op::Random { order, .. } => {
                let mut flat = Ix::zero();
                for axis in order {
                    flat = flat.scale(&self.cx.size(*axis))?.add(&place.of(*axis))?;
                }
                out.reads.push(Read { address: flat, order: order.clone() });
            }
            _ => {
                for arg in &data.args {
                    self.reads(*arg, place, out)?;
                }
            }
        }
        Ok(())
    }

    /// Joins adjacent axes of `order` wherever all reads allow it. An axis with a single index needs no loop: the place gets it.
    pub fn runs(&self, order: &[Axis], reads: &Reads, place: &mut Place) -> Result<Vec<Run>, LowerError> {
        let mut runs: Vec<Run> = Vec::new();
        for axis in order {
            let size = self.cx.size(*axis);
            if size.as_const() == Some(1) {
                place.set(*axis, Ix::zero());
                continue;
            }
            if let Some(run) = runs.last_mut()
                && reads.compose(*run.axes.last().expect("a run has an axis"), *axis, &size)?
            {
                run.extent = run.extent.mul(&size)?;
                run.axes.push(*axis);
                continue;
            }
            runs.push(Run::of(*axis, size));
        }
        Ok(runs)
    }

    /// An axis whose digits are read apart, such as heads and their features, as two runs: then no turn divides, and what decides by the
    /// outer digit is the same in all lanes of the inner one.
    pub fn by_digits(&self, runs: Vec<Run>, reads: &Reads) -> Vec<Run> {
        let mut split = Vec::new();
        for run in runs {
            let digit = run.axes.first().filter(|_| run.is_axis()).and_then(|axis| reads.digit(*axis));
            match (digit, run.extent.as_const()) {
                (Some(by), Some(extent)) if extent > by && extent % by == 0 => {
                    let part = |extent, by| Run {
                        axes: run.axes.clone(),
                        extent: Dim::constant(extent),
                        digit: Some(by),
                    };
                    split.extend([part(extent / by, by), part(by, 1)]);
                }
                _ => split.push(run),
            }
        }
        split
    }

    /// Gives each axis of a run its index; returns these indices.
    pub fn spread(&self, run: &Run, var: Ix, place: &mut Place) -> Result<Vec<Ix>, LowerError> {
        if let (Some(by), [axis]) = (run.digit, &run.axes[..]) {
            let outer = place.get(*axis).cloned().unwrap_or_else(Ix::zero);
            let index = outer.add_scaled(&var, &Dim::constant(by))?;
            place.set(*axis, index.clone());
            return Ok(vec![index]);
        }
        let mut rest = var;
        let mut indices = Vec::new();
        for (i, axis) in run.axes.iter().enumerate().rev() {
            let size = self.cx.size(*axis);
            let index = match i {
                0 => rest.clone(),
                _ => rest.rem(&size, self)?,
            };
            rest = if i > 0 { rest.div(&size, self)? } else { rest };
            place.set(*axis, index.clone());
            indices.push(index);
        }
        Ok(indices)
    }

    /// Opens a loop over a whole run.
    pub fn open_run(&mut self, run: &Run, lanes: bool, place: &mut Place) -> Result<(), LowerError> {
        let var = self.open(&run.extent, lanes);
        let indices = self.spread(run, Ix::atom(Atom::Var(var)), place)?;
        self.covers(indices);
        Ok(())
    }

    /// A reduction, in the scope where its place is known; the reductions that can share its loop are emitted with it.
    pub fn reduce(&mut self, node: Node, place: &Place, mask: Option<Val>) -> Result<Val, LowerError> {
        let graph = self.cx.graph;
        let Op::Reduce { over, .. } = &graph.nodes[node].op else { unreachable!("{node} reduces") };
        if let Some(partial) = self.cx.partials.get(&node).cloned() {
            return self.second_level(node, &partial, place);
        }
        // A value inside may be kept in a home that has the turns' axes, though it has not.
        let mut inner = self.cx.outer_place();
        for axis in &graph.nodes[node].axes {
            inner.set(*axis, place.of(*axis));
        }
        let together = if mask.is_none() { self.companions(node, place) } else { vec![node] };
        let mut reads = Reads::default();
        for node in &together {
            self.reads(graph.nodes[*node].args[0], &inner, &mut reads)?;
        }
        let over: Vec<Axis> = over.iter().copied().filter(|axis| !self.cx.is_bound(*axis)).collect();
        let in_lanes = self.scopes[self.depth()].lanes;
        let mut order = reads.order(&over);
        // The contiguous axis innermost.
        if !in_lanes && let Some(unit) = order.iter().rposition(|axis| reads.contiguous(*axis).0 > 0) {
            let axis = order.remove(unit);
            order.push(axis);
        }
        let runs = self.runs(&order, &reads, &mut inner)?;
        if runs.is_empty() {
            // Nothing to combine: the entry itself.
            let value = self.value(graph.nodes[node].args[0], &inner, mask)?;
            return Ok(match graph.nodes[node].op {
                Op::Reduce { op: Reducer::ArgMax | Reducer::ArgMin, .. } => self.b.i32(0),
                _ => value,
            });
        }
        let (runs, taps) = match in_lanes {
            true => self.taps(&runs, &together),
            false => (&runs[..], &[][..]),
        };
        match runs.split_last() {
            // Lanes that are joined once, and not for each turn of the loops around.
            Some((last, outer)) if !in_lanes && !outer.is_empty() && is_short(last) => {
                self.open_run(last, true, &mut inner)?;
                for run in outer {
                    self.open_run(run, false, &mut inner)?;
                }
            }
            _ => {
                for (i, run) in runs.iter().enumerate() {
                    let last = i + 1 == runs.len();
                    let tiny = run.extent.as_const().is_some_and(|n| n < 8);
                    self.open_run(run, last && !in_lanes && !tiny, &mut inner)?;
                }
            }
        }
        self.in_progress.extend(together.iter().copied());
        let mut accs = self.terms(&together, taps, &inner, mask)?;
        for _ in runs {
            let outer = self.depth() - 1;
            let started: Vec<(AccOp, Val, Val)> = self.at(outer, |e| {
                let start = |e: &mut Self, (op, term): &(AccOp, Val)| {
                    let init = e.b.neutral(*op, e.b.dtype(*term));
                    (*op, init, *term)
                };
                accs.iter().map(|acc| start(e, acc)).collect()
            });
            let results = self.close(&started);
            accs = accs.iter().zip(results).map(|((op, _), val)| (*op, val)).collect();
        }
        let mut results = accs.into_iter();
        let mut own = None;
        for other in &together {
            let (_, mut val) = results.next().expect("an accumulator each");
            if let Op::Reduce { op: Reducer::ArgMax | Reducer::ArgMin, .. } = graph.nodes[*other].op {
                let (_, index) = results.next().expect("the index behind the best entry");
                // Over nothing it is 0.
                let (none, zero) = (self.b.i32(i32::MAX), self.b.i32(0));
                let nothing = self.b.eq(index, none);
                val = self.b.select(nothing, zero, index);
            }
            self.in_progress.remove(*other);
            match *other == node {
                true => own = Some(val),
                false => self.remember(*other, place, mask, val),
            }
        }
        Ok(own.expect("the reduction itself is among them"))
    }

    /// The runs that are loops, and behind them those whose few turns are written out: the taps of a window, in lanes.
    fn taps<'r>(&self, runs: &'r [Run], together: &[Node]) -> (&'r [Run], &'r [Run]) {
        let finds = |node: &Node| {
            let op = &self.cx.graph.nodes[*node].op;
            matches!(op, Op::Reduce { op: Reducer::ArgMax | Reducer::ArgMin, .. })
        };
        let (mut at, mut turns) = (runs.len(), 1);
        while at > 0
            && let Some(extent) = runs[at - 1].extent.as_const()
            && (1..=WRITTEN_OUT).contains(&(extent * turns))
        {
            turns *= extent;
            at -= 1;
        }
        if together.iter().any(finds) { (runs, &[]) } else { runs.split_at(at) }
    }

    /// What a turn adds to each reduction: its term, or those of all turns of the runs that are written out, joined as loops would.
    fn terms(
        &mut self,
        together: &[Node],
        taps: &[Run],
        place: &Place,
        mask: Option<Val>,
    ) -> Result<Vec<(AccOp, Val)>, LowerError> {
        if let Some((run, rest)) = taps.split_first() {
            let mut all: Vec<(AccOp, Val)> = Vec::new();
            for turn in 0..run.extent.as_const().expect("a few turns") {
                let mut at = place.clone();
                self.spread(run, Ix::constant(Dim::constant(turn)), &mut at)?;
                let terms = self.terms(together, rest, &at, mask)?;
                all = match all.is_empty() {
                    true => terms,
                    false => {
                        let joined = all.iter().zip(&terms);
                        joined
                            .map(|((op, a), (_, b))| (*op, self.b.op(combination(*op), &[*a, *b])))
                            .collect()
                    }
                };
            }
            return Ok(all);
        }
        let mut terms: Vec<(AccOp, Val)> = Vec::new();
        for node in together {
            let data = &self.cx.graph.nodes[*node];
            let Op::Reduce { op, over } = &data.op else { unreachable!("companions reduce") };
            let value = self.value(data.args[0], place, mask)?;
            match op {
                Reducer::ArgMax | Reducer::ArgMin => {
                    let (best, index) = match op {
                        Reducer::ArgMax => (AccOp::Max, AccOp::ArgMax),
                        _ => (AccOp::Min, AccOp::ArgMin),
                    };
                    let position = self.index_value(&place.of(over[0]))?;
                    let position = self.b.cast(position, DType::I32);
                    terms.extend([(best, value), (index, position)]);
                }
                op => terms.push((accumulation(*op), value)),
            }
        }
        Ok(terms)
    }

    /// The reduction and those that can run in the same loop: over the same axes, with the same axes left, none depending on another.
    fn companions(&self, node: Node, place: &Place) -> Vec<Node> {
        let graph = self.cx.graph;
        let Op::Reduce { over, .. } = &graph.nodes[node].op else { unreachable!("{node} reduces") };
        let mut together = vec![node];
        for &other in &self.reductions {
            let data = &graph.nodes[other];
            let same = matches!(&data.op, Op::Reduce { over: o, .. } if o == over)
                && data.axes == graph.nodes[node].axes;
            if !same
                || other == node
                || self.cx.partials.contains_key(&other)
                || self.in_progress.contains(other)
                || self.known(other, place).is_some()
            {
                continue;
            }
            if together.iter().all(|n| !self.depends(*n, other) && !self.depends(other, *n)) {
                together.push(other);
            }
        }
        together
    }

    /// Whether evaluating `node` in this kernel evaluates `on`.
    pub fn depends(&self, node: Node, on: Node) -> bool {
        let mut seen = HashSet::new();
        let mut todo = vec![node];
        while let Some(next) = todo.pop() {
            let next = self.cx.resolve(next);
            if next == on {
                return true;
            }
            if seen.insert(next) && self.readable(next).is_none() {
                todo.extend(self.cx.graph.nodes[next].args.iter().copied());
            }
        }
        false
    }
}
