//! Contractions with few entries and long sums: the gradients of weights.
//!
//! The outermost summed run is cut into chunks of a constant size. Each chunk has its own sum of all entries, so that its operands stay in
//! the cache while all tiles read them, and threads have something to share; a second kernel adds the sums in order. **Invariant:** the
//! cuts depend on static sizes alone, so the order of a sum is the same on any machine.

use super::emit::Emitter;
use super::home::{Home, Storage};
use super::index::{Atom, Ix};
use super::nest::Run;
use super::{LowerError, Lowering};
use crate::axes::Dim;
use crate::graph::Node;
use crate::kernel::{AccOp, Address, Buffer, BufferKind, Coord, Range};
use crate::tensor::DType;

/// Steps of a chunk, about: at least so many, and one for each so many entries, so that partial sums stay small beside the operands.
const STEPS: i64 = 2048;
/// The same where each step of A lies in another page of memory and a call has few columns: the rows of a tile come back to the same pages.
const FAR_STEPS: i64 = 256;
const ENTRIES_OF_STEP: i64 = 32;
/// Entries of a result that has partial sums, at most.
const ENTRIES: i64 = 1 << 18;
/// Entries that a grid point of the last sum adds up.
const COLUMNS: i64 = 512;

/// The partial sums of a contraction.
pub struct Split {
    /// Indices of the outermost summed run in a chunk.
    pub by: i64,
    pub chunks: Dim,
    /// Holds the sums of all chunks, one after another.
    pub partial: Buffer,
    /// Entries of the result.
    pub len: i64,
}

/// Chunk size and entries of a contraction that is to be split: `entries` are the runs of its result, `sums` those that it sums.
fn wanted(entries: &[&Run], sums: &[Run], far: bool) -> Option<(i64, i64)> {
    let product =
        |runs: &[&Run]| runs.iter().try_fold(1i64, |all, run| all.checked_mul(run.extent.as_const()?));
    let len = product(entries).filter(|len| *len <= ENTRIES)?;
    let (outer, inner) = sums.split_first()?;
    let steps = if far { FAR_STEPS } else { STEPS.max(len / ENTRIES_OF_STEP) };
    let by = (steps / product(&inner.iter().collect::<Vec<_>>())?.max(1)).max(1);
    let long = match outer.extent.as_const() {
        Some(extent) => extent > by,
        // The batch alone is seldom long.
        None => !inner.is_empty() || outer.axes.len() > 1,
    };
    long.then_some((by, len))
}

impl Lowering<'_> {
    /// Decides on a split, and allocates the partial sums. `far`: see `FAR_STEPS`.
    pub(super) fn split(
        &mut self,
        home: &Home,
        entries: &[&Run],
        sums: &[Run],
        far: bool,
    ) -> Result<Option<Split>, LowerError> {
        let Some((by, len)) = wanted(entries, sums, far) else { return Ok(None) };
        if home.order.iter().any(|axis| self.is_bound(*axis)) || !home.is_dense(|axis| self.size(axis)) {
            return Ok(None);
        }
        let chunks = sums[0].extent.add(&Dim::constant(by - 1))?.div(&Dim::constant(by))?;
        let all = chunks.mul(&Dim::constant(len))?;
        let name = self.unique("partial");
        let partial = self.program.buffers.push(crate::kernel::BufferDecl {
            name,
            dtype: DType::F32,
            len: all,
            kind: BufferKind::Temp,
        });
        Ok(Some(Split { by, chunks, partial, len }))
    }

    /// Adds the partial sums into the result's home.
    pub(super) fn join_split(&mut self, split: &Split, node: Node, home: &Home) -> Result<(), LowerError> {
        let name = self.unique("matmul_sum");
        let span = self.graph.nodes[node].span;
        let Storage::Buffer(to) = home.storage else { unreachable!("contractions write buffers") };
        let len = Dim::constant(split.len);
        let mut e = Emitter::new(self, name, span);
        let target = e.arg(to, Vec::new(), true);
        let source = e.arg(split.partial, Vec::new(), false);
        let points = len.add(&Dim::constant(COLUMNS - 1))?.div(&Dim::constant(COLUMNS))?;
        let index = e.grid(&points);
        let (of, one) = (e.b.size(&len), e.b.size(&Dim::constant(1)));
        let entry = e.open_range(Range::Chunk { of, by: COLUMNS, index }, &len, true);
        let zero = e.b.f32(0.0);
        let chunk = e.open(&split.chunks, false);
        let at = Address::of([(Coord::Var(chunk), of), (Coord::Var(entry), one)]);
        let term = e.b.load(source, at);
        let sum = e.close(&[(AccOp::Sum, zero, term)]);
        let at = e.address(&Ix::atom(Atom::Var(entry)))?;
        e.b.store(target, at, sum[0]);
        e.close(&[]);
        let (kernel, args) = e.finish();
        self.run(kernel, args);
        Ok(())
    }
}
