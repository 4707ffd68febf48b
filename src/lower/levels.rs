//! Sums of long axes to few entries, in two levels: gradients of biases over a batch, the loss, the statistics of a batch norm.
//!
//! The outermost summed run is cut into chunks of a constant size. A first kernel sums each chunk, row by row as memory lies; the kernel that
//! wants the sum adds up the chunks in order. Where summed features lie side by side and the entries apart, as in a group norm, each feature has a sum of
//! its own in the first kernel, which so reads memory as it lies. **Invariant:** the cuts depend on static sizes alone, so the order of a sum is the same on any
//! machine and at any number of threads.

use std::collections::HashSet;

use super::emit::Emitter;
use super::home::{Home, Storage};
use super::index::{Atom, Ix, Place};
use super::nest::{Reads, Run};
use super::scalar::{accumulation, combination};
use super::{LowerError, Lowering};
use crate::axes::Dim;
use crate::graph::{Axis, Node, Op, Reducer};
use crate::kernel::{Address, BLOCK, BufferDecl, BufferKind, Coord, Range, Val};

/// Entries of a result that has sums of chunks, at most.
const ENTRIES: i64 = 1 << 14;
/// Entries that a chunk combines, about.
const CHUNK: i64 = 1 << 16;
/// A sum of fewer terms has one level, where their number is known.
const LONG: i64 = 1024;

/// The sums of a reduction's chunks.
#[derive(Clone)]
pub struct Partial {
    /// Where the first chunk's are; those of the next follow.
    pub home: Home,
    pub chunks: Dim,
    /// Sums of a chunk: for each entry of the result as many as there are features.
    pub len: i64,
    pub features: i64,
}

impl Lowering<'_> {
    /// Sums the chunks of a kernel's long reductions, where all that it computes has the same few entries.
    pub(super) fn first_level(&mut self, roots: &[Node], inside: &[Node]) -> Result<(), LowerError> {
        let graph = self.graph;
        let reductions: Vec<Node> = inside
            .iter()
            .copied()
            .filter(|node| matches!(graph.nodes[*node].op, Op::Reduce { .. }))
            .collect();
        let Some(&first) = reductions.first() else { return Ok(()) };
        let kept: HashSet<Axis> = self.free_axes(first).into_iter().collect();
        let same = |node: &Node| {
            let axes = self.free_axes(*node);
            axes.len() == kept.len() && axes.iter().all(|axis| kept.contains(axis))
        };
        let few = kept.iter().try_fold(1i64, |len, axis| len.checked_mul(self.size(*axis).as_const()?));
        let Some(len) = few.filter(|len| *len <= ENTRIES) else { return Ok(()) };
        if !roots.iter().chain(&reductions).all(same) {
            return Ok(());
        }
        for node in reductions {
            let Op::Reduce { op, over } = &graph.nodes[node].op else { unreachable!("a reduction") };
            let over: Vec<Axis> = over.iter().copied().filter(|axis| !self.is_bound(*axis)).collect();
            let known = over.iter().try_fold(1i64, |all, axis| all.checked_mul(self.size(*axis).as_const()?));
            let indexed = matches!(op, Reducer::ArgMax | Reducer::ArgMin);
            // One number for each sample: the batch alone is seldom long.
            let alone = known.is_none() && kept.is_empty() && over.len() == 1;
            let short = alone || known.is_some_and(|terms| terms < LONG);
            if indexed || over.is_empty() || short || self.needs_a_sum(node, inside) {
                // What comes later may depend on it, and would compute it anew.
                return Ok(());
            }
            self.sum_chunks(node, *op, &over, inside, len)?;
        }
        Ok(())
    }

    /// Whether the terms of a reduction are made of another one in the same kernel: they would add up its chunks again and again.
    fn needs_a_sum(&self, node: Node, inside: &[Node]) -> bool {
        let mut todo = self.graph.nodes[node].args.to_vec();
        let mut seen = HashSet::new();
        while let Some(next) = todo.pop() {
            let next = self.resolve(next);
            let data = &self.graph.nodes[next];
            let read = self.homes[next].is_some() && !inside.contains(&next);
            if !read && seen.insert(next) {
                if matches!(data.op, Op::Reduce { .. }) {
                    return true;
                }
                todo.extend(data.args.iter().copied());
            }
        }
        false
    }

    fn sum_chunks(
        &mut self,
        node: Node,
        op: Reducer,
        over: &[Axis],
        inside: &[Node],
        len: i64,
    ) -> Result<(), LowerError> {
        let graph = self.graph;
        let data = &graph.nodes[node];
        let name = self.name_of(node);
        let kernel = self.unique(&format!("{name}_chunks"));
        let mut place = self.outer_place();
        let kept: Vec<Axis> =
            self.orders[node].iter().copied().filter(|axis| !self.is_bound(*axis)).collect();
        let storage = Storage::Buffer(self.program.buffers.next_key());
        // Its length is known once the chunks are.
        let decl = BufferDecl { name, dtype: data.dtype, len: Dim::constant(0), kind: BufferKind::Temp };
        let buffer = self.program.buffers.push(decl);

        let mut e = Emitter::new(self, kernel, data.span);
        e.inside.extend(inside.iter().copied().filter(|other| *other != node));
        let mut reads = Reads::default();
        e.reads(data.args[0], &place, &mut reads)?;
        let features = side_by_side(&reads, &kept, over).filter(|axis| {
            let size = e.cx.size(*axis).as_const();
            over.len() > 1 && size.is_some_and(|size| size.saturating_mul(len) <= ENTRIES)
        });
        let over: Vec<Axis> = over.iter().copied().filter(|axis| Some(*axis) != features).collect();
        let order = reads.order(&over);
        let columns: Vec<Axis> = kept.iter().copied().chain(features).collect();
        let (home, _) = Home::dense(storage, columns.clone(), |axis| e.cx.size(axis))?;
        let features = features.and_then(|axis| e.cx.size(axis).as_const()).unwrap_or(1);
        let len = len * features;
        let rows = e.runs(&order, &reads, &mut place)?;
        let columns = e.runs(&columns, &reads, &mut place)?;
        let Some((outer, inner)) = rows.split_first() else {
            // One term: nothing to cut.
            e.cx.program.buffers[buffer].len = Dim::constant(0);
            return Ok(());
        };
        let product = |runs: &[Run]| {
            let each = runs.iter().map(|run| run.extent.as_const().unwrap_or(64).max(1));
            each.fold(1i64, i64::saturating_mul)
        };
        // A chunk that is one run has one sum in each lane.
        let most = if columns.is_empty() && inner.is_empty() { BLOCK } else { CHUNK };
        let by = (CHUNK / len.max(1).saturating_mul(product(inner)).max(1)).clamp(1, most);
        let chunks = outer.extent.add(&Dim::constant(by - 1))?.div(&Dim::constant(by))?;
        e.cx.program.buffers[buffer].len = chunks.mul(&Dim::constant(len))?;
        let index = e.grid(&chunks);
        let target = e.arg(buffer, Vec::new(), true);
        let pitch = e.b.size(&Dim::constant(len));
        let acc = accumulation(op);
        let neutral = e.b.neutral(acc, data.dtype);
        let entry = |e: &mut Emitter<'_, '_>, place: &Place| -> Result<Address, LowerError> {
            let at = home.address(place)?;
            Ok(e.address(&at)?.with(Coord::Var(index), pitch))
        };
        if columns.is_empty() {
            // All terms are combined to one: as in a reduction of one level, but for the chunk.
            let levels = open_rows(&mut e, outer, inner, (by, index), true, &mut place)?;
            let value = e.value(data.args[0], &place, None)?;
            let mut result = value;
            for _ in 0..levels {
                result = e.close(&[(acc, neutral, result)])[0];
            }
            let at = entry(&mut e, &place)?;
            e.b.store(target, at, result);
        } else {
            let mut at_start = place.clone();
            open_columns(&mut e, &columns, &mut at_start)?;
            let at = entry(&mut e, &at_start)?;
            e.b.store(target, at, neutral);
            columns.iter().for_each(|_| drop(e.close(&[])));
            let levels = open_rows(&mut e, outer, inner, (by, index), false, &mut place)?;
            open_columns(&mut e, &columns, &mut place)?;
            let value = e.value(data.args[0], &place, None)?;
            let at = entry(&mut e, &place)?;
            let before = e.b.load(target, at.clone());
            let combined = e.b.op(combination(acc), &[before, value]);
            e.b.store(target, at, combined);
            (0..columns.len() + levels).for_each(|_| drop(e.close(&[])));
        }
        let (kernel, args) = e.finish();
        self.run(kernel, args);
        let mut home = home;
        home.order.truncate(kept.len());
        home.strides.truncate(kept.len());
        self.partials.insert(node, Partial { home, chunks, len, features });
        Ok(())
    }
}

/// The summed axis along which everything is read as it lies in memory, where something is not along the innermost kept one.
pub fn side_by_side(reads: &Reads, kept: &[Axis], over: &[Axis]) -> Option<Axis> {
    let inner = kept.last()?;
    let along = over.iter().copied().find(|axis| matches!(reads.contiguous(*axis), (1.., 0)))?;
    (reads.contiguous(*inner).1 > 0).then_some(along)
}

/// Opens the loops over the rows of a chunk; gives their number.
fn open_rows(
    e: &mut Emitter<'_, '_>,
    outer: &Run,
    inner: &[Run],
    (by, index): (i64, crate::kernel::Var),
    lanes: bool,
    place: &mut Place,
) -> Result<usize, LowerError> {
    let of = e.b.size_in_table(&outer.extent);
    let var = e.open_range(Range::Chunk { of, by, index }, &outer.extent, lanes && inner.is_empty());
    e.spread(outer, Ix::atom(Atom::Var(var)), place)?;
    for (i, run) in inner.iter().enumerate() {
        let var = e.open(&run.extent, lanes && i + 1 == inner.len());
        e.spread(run, Ix::atom(Atom::Var(var)), place)?;
    }
    Ok(1 + inner.len())
}

fn open_columns(e: &mut Emitter<'_, '_>, columns: &[Run], place: &mut Place) -> Result<(), LowerError> {
    for (i, run) in columns.iter().enumerate() {
        let var = e.open(&run.extent, i + 1 == columns.len());
        e.spread(run, Ix::atom(Atom::Var(var)), place)?;
    }
    Ok(())
}

impl Emitter<'_, '_> {
    /// The sum over the chunks, in order.
    pub fn second_level(&mut self, node: Node, partial: &Partial, place: &Place) -> Result<Val, LowerError> {
        let Op::Reduce { op, .. } = &self.cx.graph.nodes[node].op else { unreachable!("{node} reduces") };
        let acc = accumulation(*op);
        let in_lanes = self.scopes[self.depth()].lanes;
        let start = self.b.neutral(acc, self.cx.graph.nodes[node].dtype);
        let Storage::Buffer(buffer) = partial.home.storage else { unreachable!("chunks lie in a buffer") };
        let from = self.arg(buffer, Vec::new(), false);
        let at = partial.home.address(place)?;
        let chunk = self.open(&partial.chunks, !in_lanes && partial.len == 1);
        let pitch = self.b.size(&Dim::constant(partial.len));
        let mut at = self.address(&at)?.with(Coord::Var(chunk), pitch);
        if partial.features == 1 {
            let term = self.b.load(from, at);
            return Ok(self.close(&[(acc, start, term)])[0]);
        }
        let feature = self.open(&Dim::constant(partial.features), false);
        let one = self.b.size(&Dim::constant(1));
        at = at.with(Coord::Var(feature), one);
        let term = self.b.load(from, at);
        let inner = self.depth() - 1;
        let neutral = self.at(inner, |e| e.b.neutral(acc, e.cx.graph.nodes[node].dtype));
        let term = self.close(&[(acc, neutral, term)])[0];
        Ok(self.close(&[(acc, start, term)])[0])
    }
}
