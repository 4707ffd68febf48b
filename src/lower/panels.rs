//! Large weights that do not change stand in panels: 32 columns, step by step, one panel behind the other. A product then reads one stream of
//! memory where it would read as many pieces of rows as there are steps, each on another page.
//!
//! The copy reads parameters alone, so it is made once (`prepare`). It changes no bit of a product.

use super::contract::factor_of;
use super::emit::Emitter;
use super::home::{Home, Storage};
use super::index::{Atom, Ix};
use super::nest::{Read, Run};
use super::{LowerError, Lowering};
use crate::axes::Dim;
use crate::graph::{Axis, Node};
use crate::kernel::{Address, Buffer, BufferDecl, BufferKind, Coord, Range, Size, Transpose, Var};
use crate::tensor::DType;
use crate::tiles::PANEL;

/// Entries of weights that are worth a second place in memory, at least: what fits a cache beside all else is read well as it lies. And at
/// most: a table of words would take its size again.
const LEAST: i64 = 1 << 18;
const MOST: i64 = 1 << 24;

fn are_large(columns: i64, depth: i64) -> bool {
    columns % PANEL == 0 && columns > PANEL && (LEAST..=MOST).contains(&columns.saturating_mul(depth))
}

/// Weights that do not move with a loop, as a product reads them: the buffer, the first entry, the strides of columns and steps, how many.
pub type Weights = (Buffer, [i64; 5]);

/// B of a product in panels.
#[derive(Clone, Copy)]
pub struct Panels {
    buffer: Buffer,
    /// Its steps.
    depth: i64,
}

impl Panels {
    /// From step to step, in elements.
    pub const STEP: i64 = PANEL;

    /// Where the panel lies that a call for `PANEL` columns at `index` reads, less the columns before it.
    pub fn at(&self, e: &mut Emitter<'_, '_>, index: Var) -> Address {
        let apart = e.b.size(&Dim::constant(PANEL * (self.depth - 1)));
        Address::of([(Coord::Var(index), apart)])
    }

    pub fn buffer(&self) -> Buffer {
        self.buffer
    }
}

impl Lowering<'_> {
    /// Whether a large parameter is read best from where it is, to be copied to panels: one axis of columns, one of steps.
    pub(super) fn wants_panels(&self, node: Node, n: &[Axis], k: &[Axis]) -> Result<bool, LowerError> {
        let ([n], [k], Some((home, _))) = (n, k, self.linear(node)?) else { return Ok(false) };
        let extents = (self.size(*n).as_const(), self.size(*k).as_const());
        Ok(self.is_fixed(&home)
            && matches!(extents, (Some(columns), Some(depth)) if are_large(columns, depth)))
    }

    fn is_fixed(&self, home: &Home) -> bool {
        let Storage::Buffer(buffer) = home.storage else { return false };
        matches!(self.program.buffers[buffer].kind, BufferKind::Input(input) if self.fixed[input as usize])
    }

    /// B in panels, if it is a parameter that the program does not write, and large; `n` and `k` are the runs of its columns and steps.
    pub(super) fn panels(
        &mut self,
        node: Node,
        (home, read): (&Home, &Read),
        n: &[Run],
        k: &[Run],
    ) -> Result<Option<Panels>, LowerError> {
        let ([n], [k]) = (n, k) else { return Ok(None) };
        let (Some(columns), Some(depth)) = (n.extent.as_const(), k.extent.as_const()) else {
            return Ok(None);
        };
        let Storage::Buffer(from) = home.storage else { return Ok(None) };
        let whole =
            [n, k].iter().all(|run| run.axes.iter().all(|axis| factor_of(read, *axis).as_const() != Some(0)));
        if !self.is_fixed(home) || !whole || !are_large(columns, depth) {
            return Ok(None);
        }
        let weights = weights(from, read, n, k);
        if let Some(known) = weights.and_then(|weights| self.in_panels.get(&weights)) {
            return Ok(Some(*known));
        }
        let name = self.unique("panels");
        let buffer = self.program.buffers.push(BufferDecl {
            name,
            dtype: DType::F32,
            len: Dim::constant(columns * depth),
            kind: BufferKind::Temp,
        });
        let panels = Panels { buffer, depth };
        self.early(node, |cx| cx.copy_to_panels(node, &panels, n, k))?;
        self.in_panels.extend(weights.map(|weights| (weights, panels)));
        Ok(Some(panels))
    }

    fn copy_to_panels(&mut self, node: Node, panels: &Panels, n: &Run, k: &Run) -> Result<(), LowerError> {
        // The place may be another one here.
        let (home, read) = self.linear(node)?.expect("it is read as it lies");
        let (name, span) = (self.unique("panels"), self.graph.nodes[node].span);
        let mut place = self.outer_place();
        for axis in n.axes.iter().chain(&k.axes) {
            place.set(*axis, Ix::zero());
        }
        let mut e = Emitter::new(self, name, span);
        let of = e.b.size(&n.extent);
        let index = e.grid(&n.extent.div(&Dim::constant(PANEL))?);
        let steps = Range::Full(e.b.size(&k.extent));
        let mut stride = |run: &Run| {
            let last = run.axes.last().expect("a run has an axis");
            e.b.size(&factor_of(&read, *last))
        };
        let (from_m, from_n) = (stride(k), stride(n));
        let (from_arg, from) = e.operand_at((&home, &read), &place, false)?;
        let to_arg = e.arg(panels.buffer, Vec::new(), true);
        let to = panels.at(&mut e, index);
        e.b.transpose(Transpose {
            m: steps,
            n: Range::Chunk { of, by: PANEL, index },
            from,
            from_arg,
            from_m,
            from_n,
            to,
            to_arg,
            to_m: Size::Const(Panels::STEP),
        });
        let (kernel, args) = e.finish();
        self.run(kernel, args);
        Ok(())
    }
}

/// What several products may read; none where it moves with a loop.
fn weights(from: Buffer, read: &Read, n: &Run, k: &Run) -> Option<Weights> {
    let here =
        |atom: &Atom| matches!(atom, Atom::Axis(axis) if n.axes.contains(axis) || k.axes.contains(axis));
    let stride = |run: &Run| factor_of(read, *run.axes.last()?).as_const();
    let still = read.address.terms.iter().all(|(atom, _)| here(atom));
    let numbers =
        [read.address.base.as_const()?, stride(n)?, stride(k)?, n.extent.as_const()?, k.extent.as_const()?];
    still.then_some((from, numbers))
}
