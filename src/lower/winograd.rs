//! Convolutions of 3 x 3 taps and stride 1 by Winograd's F(2x2, 3x3) (Lavin and Gray 2016): 16 products for 36.
//!
//! Four outputs side by side are `Aᵀ [(G g Gᵀ) ∘ (Bᵀ d B)] A` of the 4 x 4 inputs d that they read and the taps g, summed over channels
//! before `A`. So a kernel transforms the weights, and another one takes tiles of four outputs, block by block: it transforms their inputs
//! to scratch, multiplies there, sixteen small matrix products, and transforms the products back. A block's scratch fits a cache, so that
//! nothing larger than the image is ever in memory.
//!
//! **Invariant:** a tile's arithmetic does not depend on its block, so the bits depend neither on the batch nor on threads.
//!
//! The transpose of a convolution is one as well, with its taps the other way round; `gradient` has the weights' gradient, `row` what
//! is done to a row of tiles.

mod gradient;
mod row;

use self::row::Row;
use super::contract::Tail;
use super::emit::Emitter;
use super::home::Home;
use super::index::{Atom, Ix, Place};
use super::nest::Read;
use super::{LowerError, Lowering};
use crate::axes::Dim;
use crate::graph::{Axis, Node};
use crate::kernel::{
    Address, Arg, BodyBuilder, Buffer, BufferDecl, BufferKind, Contract, Coord, Range, Size, Val, Var,
};
use crate::passes::Roles;
use crate::tensor::DType;
use crate::tiles::cut;

/// Taps along a side.
const TAPS: i64 = 3;
/// Places along a side of a tile of outputs, and of its inputs.
const TILE: i64 = 2;
const WINDOW: usize = 4;
/// Products of a tile for each channel and feature.
const POINTS: i64 = (WINDOW * WINDOW) as i64;
/// Columns of the transformed weights that lie together: two vectors of 512 bits.
const PANEL: i64 = 32;
/// Fewer channels or features than this, or products of a point, are not worth the transforms.
const CHANNELS: i64 = 16;
const PRODUCTS: i64 = 512;
/// Features of a block at most: each block transforms its inputs anew.
const COLUMNS: i64 = 128;
/// Entries of a block's scratch, three quarters of a cache of 1 MB, and its tiles at least and at most.
const ENTRIES: i64 = 3 << 16;
const LEAST_TILES: i64 = 28;
const MOST_TILES: i64 = 224;
/// Tiles from which on the transform of a weight is worth its memory, and the guess of how many images there are.
const ENOUGH_TILES: i64 = 32;
const IMAGES: i64 = 16;

/// A side of the image: an axis of places and one of taps.
struct Side {
    places: Axis,
    taps: Axis,
    size: i64,
    /// From place to place in A, in entries.
    step: i64,
    /// Whether the taps run against the places.
    flipped: bool,
}

impl Side {
    fn tiles(&self) -> i64 {
        (self.size + TILE - 1) / TILE
    }

    /// Whether the last tile reaches beyond the image by a place.
    fn is_odd(&self) -> bool {
        self.size % TILE != 0
    }
}

/// A convolution: the contraction's axes by what they are in it.
pub(super) struct Winograd {
    /// The kept axes of A beside the places, such as the batch.
    images: Vec<Axis>,
    rows: Side,
    columns: Side,
    channels: Axis,
    depth: i64,
    features: Axis,
    width: i64,
}

/// Where A, B and C live, and how each is read.
pub(super) type Operands<'a> = [(&'a Home, &'a Read); 3];

/// What of an image a grid point computes.
struct Block {
    images: i64,
    /// Rows of tiles.
    rows: i64,
    /// Features: a multiple of the panel, or all.
    columns: i64,
}

/// The loops of a block.
struct Frame {
    /// Which features, if not all.
    columns: Option<Var>,
    /// The axis of images, of which a block has several.
    images: Option<(Axis, Dim, Range)>,
    /// Rows of tiles.
    rows: Range,
    /// Where blocks share all tiles: the block's number, its tiles, and all of them.
    part: Option<(Var, i64, Dim)>,
}

/// Rows of channels or features: entry `[point, tile, channel]` of a block.
struct Scratch {
    arg: Arg,
    pitch: i64,
    point: i64,
}

impl Winograd {
    /// The axes of the weights, in the order in which they are transformed.
    pub(super) fn weights(&self) -> [Axis; 4] {
        [self.rows.taps, self.columns.taps, self.channels, self.features]
    }

    /// Whether the weights can be transformed as they lie.
    pub(super) fn reads(&self, read: &Read) -> bool {
        let [p, q, channels, features] = self.weights();
        let known = [p, q, channels].iter().all(|axis| constant(read, *axis).is_some());
        known && constant(read, features) == Some(1) && read.address.base.as_const().is_some()
    }

    /// The columns of the panels that the transformed weights are kept in.
    fn panel(&self) -> i64 {
        if self.width <= PANEL + PANEL / 2 { self.width } else { PANEL }
    }

    fn panels(&self) -> i64 {
        (self.width + self.panel() - 1) / self.panel()
    }

    /// Entries of the transformed weights from point to point.
    fn point(&self) -> i64 {
        pitch(self.depth * self.panels() * self.panel())
    }

    fn tiles(&self) -> i64 {
        self.rows.tiles() * self.columns.tiles()
    }

    fn block(&self) -> Block {
        let columns = cut(self.width, COLUMNS, self.panel());
        let tiles = (ENTRIES / POINTS / (self.depth + columns)).clamp(LEAST_TILES, MOST_TILES);
        match tiles / self.tiles() {
            0 => Block { images: 1, rows: cut(self.rows.tiles(), tiles / self.columns.tiles(), 1), columns },
            images => Block { images, rows: self.rows.tiles(), columns },
        }
    }

    /// Whether the products that are saved outweigh the transforms.
    fn is_worth(&self, images: Option<i64>) -> bool {
        let covered = TILE * TILE * self.tiles();
        let places = self.rows.size * self.columns.size;
        self.depth >= CHANNELS
            && self.width >= CHANNELS
            && self.depth * self.width >= PRODUCTS
            && 2 * places >= covered
            && images.unwrap_or(IMAGES) * self.tiles() >= ENOUGH_TILES
    }
}

/// Entries from row to row of scratch, from point to point: an odd number of lines of a cache, so that neither share a few of its sets.
fn pitch(row: i64) -> i64 {
    const LINE: i64 = 16;
    (((row + LINE - 1) / LINE) | 1) * LINE
}

fn constant(read: &Read, axis: Axis) -> Option<i64> {
    match read.address.coefficient(&Atom::Axis(axis)) {
        Some(factor) => factor.as_const(),
        None => Some(0),
    }
}

fn moved(at: &Address, by: i64, terms: &[(Coord, i64)]) -> Address {
    let base = match at.base {
        None => 0,
        Some(Size::Const(base)) => base,
        Some(Size::Sym(_)) => unreachable!("a plan has constant offsets"),
    };
    let mut at = at.clone();
    at.base = (base + by != 0).then_some(Size::Const(base + by));
    for (coord, factor) in terms {
        at = at.with(*coord, Size::Const(*factor));
    }
    at
}

/// All of an axis, or a part of `by`.
fn chunk(of: i64, part: Option<Var>, by: i64) -> Range {
    match part {
        Some(index) => Range::Chunk { of: Size::Const(of), by, index },
        None => Range::Full(Size::Const(of)),
    }
}

/// A place in scratch, which holds a part of `by` alone.
fn within(at: Address, part: Option<Var>, by: i64) -> Address {
    match part {
        Some(index) => moved(&at, 0, &[(index.into(), -by)]),
        None => at,
    }
}

/// `G g`
fn weights(b: &mut BodyBuilder, g: [Val; TAPS as usize]) -> [Val; WINDOW] {
    let half = b.f32(0.5);
    let (ends, middle) = (b.add(g[0], g[2]), b.mul(g[1], half));
    let ends = b.mul(ends, half);
    [g[0], b.add(ends, middle), b.sub(ends, middle), g[2]]
}

impl Lowering<'_> {
    /// The convolution that a contraction is, if Winograd's algorithm is faster. `a` is how A is read.
    pub(super) fn winograd_plan(&self, roles: &Roles, a: &Read, c: &Read) -> Option<Winograd> {
        self.winograd_axes(roles, &roles.m, &roles.k, a, c)
    }

    /// The convolution whose A has these axes of images and places, and those of taps and channels.
    fn winograd_axes(
        &self,
        roles: &Roles,
        places: &[Axis],
        taps: &[Axis],
        a: &Read,
        c: &Read,
    ) -> Option<Winograd> {
        let (&[features], [_, _, _]) = (&roles.n[..], taps) else { return None };
        if !roles.batch.is_empty()
            || a.address.base.as_const().is_none()
            || c.address.base.as_const().is_none()
        {
            return None;
        }
        let size = |axis: Axis| self.size(axis).as_const();
        let mut images = places.to_vec();
        let mut sides = Vec::new();
        for &taps in taps.iter().filter(|axis| size(**axis) == Some(TAPS)) {
            let along = constant(a, taps).filter(|step| *step != 0);
            let places = images.iter().position(|axis| {
                let step = constant(a, *axis);
                step.is_some() && step.map(i64::abs) == along.map(i64::abs) && size(*axis).is_some()
            });
            let (Some(along), Some(places)) = (along, places) else { continue };
            let places = images.remove(places);
            let step = constant(a, places)?;
            sides.push(Side { places, taps, size: size(places)?, step, flipped: step != along });
            constant(c, places)?;
        }
        let Ok([p, q]) = <[Side; 2]>::try_from(sides) else { return None };
        let channels = taps.iter().copied().find(|axis| ![p.taps, q.taps].contains(axis))?;
        let (rows, columns) = if p.step.abs() >= q.step.abs() { (p, q) } else { (q, p) };
        let (depth, width) = (size(channels)?, size(features)?);
        let plan = Winograd { images, rows, columns, channels, depth, features, width };
        let lanes = constant(a, channels) == Some(1) && constant(c, features) == Some(1);
        let images = plan.images.iter().try_fold(1i64, |all, axis| all.checked_mul(size(*axis)?));
        (lanes && plan.is_worth(images)).then_some(plan)
    }

    /// Lowers a convolution: the transform of its weights, and its blocks. `b` has the features contiguous.
    pub(super) fn winograd(
        &mut self,
        plan: &Winograd,
        node: Node,
        [a, b, c]: Operands<'_>,
        (bias, tail): (Option<&(Home, Read)>, &Tail),
    ) -> Result<(), LowerError> {
        let name = self.unique("winograd_weights");
        let transformed = self.program.buffers.push(BufferDecl {
            name: name.clone(),
            dtype: DType::F32,
            len: Dim::constant(POINTS * plan.point()),
            kind: BufferKind::Temp,
        });
        let span = self.graph.nodes[node].span;
        let mut e = Emitter::new(self, name, span);
        e.winograd_weights(plan, b, transformed)?;
        let (kernel, args) = e.finish();
        self.run(kernel, args);
        let name = self.unique("winograd");
        let mut e = Emitter::new(self, name, span);
        e.winograd_blocks(plan, (a, transformed, c), bias, tail.relu)?;
        let (kernel, args) = e.finish();
        self.run(kernel, args);
        Ok(())
    }
}

impl Emitter<'_, '_> {
    /// `G g Gᵀ`, panel by panel: entry `[point, panel, channel, column]`.
    fn winograd_weights(
        &mut self,
        plan: &Winograd,
        weight: (&Home, &Read),
        to: Buffer,
    ) -> Result<(), LowerError> {
        let mut place = self.cx.outer_place();
        for axis in plan.weights() {
            place.set(axis, Ix::zero());
        }
        let to = self.arg(to, Vec::new(), true);
        let (from, at) = self.operand_at(weight, &place, false)?;
        let step = |axis: Axis| constant(weight.1, axis).expect("a plan reads its weights");
        let (row, column) = (step(plan.rows.taps), step(plan.columns.taps));
        let (wide, panels) = (plan.panel(), plan.panels());
        let panel = self.grid(&Dim::constant(panels));
        let b = &mut self.b;
        let features = match panels {
            1 => Range::Full(Size::Const(wide)),
            _ => Range::Chunk { of: Size::Const(plan.width), by: wide, index: panel },
        };
        b.for_lanes(features, |b, lane| {
            b.for_each(Range::Full(Size::Const(plan.depth)), |b, channel| {
                let half = [0, 1, 2].map(|q| {
                    let taps = [0, 1, 2].map(|p| {
                        let of = |tap: i64, side: &Side| if side.flipped { TAPS - 1 - tap } else { tap };
                        let by = of(p, &plan.rows) * row + of(q, &plan.columns) * column;
                        let terms = [(channel.into(), step(plan.channels)), (lane.into(), 1)];
                        b.load(from, moved(&at, by, &terms))
                    });
                    weights(b, taps)
                });
                let [left, middle, right] = half;
                for p in 0..WINDOW {
                    let row = weights(b, [left[p], middle[p], right[p]]);
                    for (q, value) in row.into_iter().enumerate() {
                        let point = (p * WINDOW + q) as i64 * plan.point();
                        let terms = [
                            (channel.into(), wide),
                            (panel.into(), (plan.depth - 1) * wide),
                            (lane.into(), 1),
                        ];
                        b.store(to, moved(&Address::default(), point, &terms), value);
                    }
                }
            });
        });
        Ok(())
    }

    /// The blocks: transformed inputs, products, outputs.
    fn winograd_blocks(
        &mut self,
        plan: &Winograd,
        (a, weight, c): ((&Home, &Read), Buffer, (&Home, &Read)),
        bias: Option<&(Home, Read)>,
        relu: bool,
    ) -> Result<(), LowerError> {
        let block = plan.block();
        let (across, down) = (plan.columns.tiles(), plan.rows.tiles());
        let mut place = self.cx.outer_place();
        let sides = [plan.rows.places, plan.columns.places, plan.rows.taps, plan.columns.taps];
        for axis in sides.into_iter().chain([plan.channels, plan.features]).chain(plan.images.iter().copied())
        {
            place.set(axis, Ix::zero());
        }
        self.operand_at(c, &place, true)?;
        // The grid: features outermost, so that their weights stay near; then images and rows of tiles.
        let mut frame =
            Frame { columns: None, images: None, rows: Range::Full(Size::Const(down)), part: None };
        if block.columns < plan.width {
            frame.columns = Some(self.grid(&Dim::constant((plan.width + block.columns - 1) / block.columns)));
        }
        for (k, axis) in plan.images.iter().enumerate() {
            let size = self.cx.size(*axis);
            if k + 1 < plan.images.len() || block.images == 1 {
                let var = self.grid(&size);
                place.set(*axis, Ix::atom(Atom::Var(var)));
                continue;
            }
            let chunks = size.add(&Dim::constant(block.images - 1))?.div(&Dim::constant(block.images))?;
            let index = self.grid(&chunks);
            frame.part =
                Some((index, block.images * down * across, size.mul(&Dim::constant(down * across))?));
            let of = self.b.size(&size);
            frame.images = Some((*axis, size, Range::Chunk { of, by: block.images, index }));
        }
        if block.rows < down {
            let index = self.grid(&Dim::constant((down + block.rows - 1) / block.rows));
            frame.part = Some((index, block.rows * across, Dim::constant(down * across)));
            frame.rows = Range::Chunk { of: Size::Const(down), by: block.rows, index };
        }
        let tiles = block.images * block.rows * across;
        let (from, to) =
            (self.winograd_scratch(tiles, plan.depth), self.winograd_scratch(tiles, block.columns));
        self.winograd_rows(plan, &frame, &place, (a, false), &|b, row| {
            row.inputs(b, plan, &from, (None, 0))
        })?;
        self.winograd_products(plan, &block, &frame, (&from, weight, &to))?;
        let bias = match bias {
            Some((home, read)) => Some(self.operand_at((home, read), &place, false)?),
            None => None,
        };
        self.winograd_rows(plan, &frame, &place, (c, true), &|b, row| {
            row.outputs(b, plan, &to, (frame.columns, block.columns), bias.as_ref(), relu);
        })
    }

    /// Scratch for a block of tiles.
    fn winograd_scratch(&mut self, tiles: i64, row: i64) -> Scratch {
        let pitch_of_row = pitch(row);
        let point = pitch(tiles * pitch_of_row);
        Scratch { arg: self.b.scratch(DType::F32, Size::Const(POINTS * point)), pitch: pitch_of_row, point }
    }

    /// Emits what is done to each row of tiles of a block.
    fn winograd_rows(
        &mut self,
        plan: &Winograd,
        frame: &Frame,
        place: &Place,
        (operand, write): ((&Home, &Read), bool),
        emit: &dyn Fn(&mut BodyBuilder, &Row),
    ) -> Result<(), LowerError> {
        let (across, down) = (plan.columns.tiles(), plan.rows.tiles());
        let mut place = place.clone();
        let mut number: Vec<(Coord, i64)> = Vec::new();
        if let Some((index, tiles, _)) = &frame.part {
            number.push(((*index).into(), -tiles));
        }
        if let Some((axis, size, range)) = &frame.images {
            let image = self.open_range(*range, size, false);
            place.set(*axis, Ix::atom(Atom::Var(image)));
            number.push((image.into(), down * across));
        }
        let row = self.open_range(frame.rows, &Dim::constant(down), false);
        place.set(plan.rows.places, Ix::atom(Atom::Var(row)).scale(&Dim::constant(TILE))?);
        number.push((row.into(), across));
        let (arg, at) = self.operand_at(operand, &place, write)?;
        let mut row_of_tiles = Row { arg, at, steps: [0; 2], number, whole: true };
        row_of_tiles.steps = [&plan.rows, &plan.columns]
            .map(|side| constant(operand.1, side.places).expect("a plan has constant steps"));
        if plan.rows.is_odd() {
            let (index, last) = (self.b.index(row), self.b.i64(down - 1));
            let inside = self.b.lt(index, last);
            self.b.when(inside, |b| emit(b, &row_of_tiles));
            let at_edge = self.b.not(inside);
            row_of_tiles.whole = false;
            self.b.when(at_edge, |b| emit(b, &row_of_tiles));
        } else {
            emit(&mut self.b, &row_of_tiles);
        }
        self.close(&[]);
        if frame.images.is_some() {
            self.close(&[]);
        }
        Ok(())
    }

    /// Sixteen products of a block's tiles with the weights, panel by panel.
    fn winograd_products(
        &mut self,
        plan: &Winograd,
        block: &Block,
        frame: &Frame,
        (from, weight, to): (&Scratch, Buffer, &Scratch),
    ) -> Result<(), LowerError> {
        let (wide, panels) = (plan.panel(), plan.panels());
        let tiles = block.images * block.rows * plan.columns.tiles();
        let (m, skipped) = match &frame.part {
            Some((index, by, of)) => {
                let of = self.b.size(of);
                (Range::Chunk { of, by: *by, index: *index }, Some((*index, *by)))
            }
            None => (Range::Full(Size::Const(tiles)), None),
        };
        // A chunk's first row is the scratch's first.
        let first = |pitch: i64| skipped.map(|(index, by)| (Coord::Var(index), -by * pitch));
        let mut within = Range::Full(Size::Const(panels));
        if let Some(index) = frame.columns {
            within = Range::Chunk { of: Size::Const(panels), by: block.columns / wide, index };
        }
        let b_arg = self.arg(weight, Vec::new(), false);
        let fixed = |terms: Vec<(Coord, i64)>| moved(&Address::default(), 0, &terms);
        self.b.for_each(Range::Full(Size::Const(POINTS)), |b, point| {
            b.for_each(within, |b, panel| {
                let n = Range::Chunk { of: Size::Const(plan.width), by: wide, index: panel };
                let rows = [(Coord::Var(point), from.point)].into_iter().chain(first(from.pitch));
                let columns =
                    [(Coord::Var(point), plan.point()), (Coord::Var(panel), (plan.depth - 1) * wide)];
                let results = [(Coord::Var(point), to.point)].into_iter().chain(first(to.pitch));
                let results = results.chain(frame.columns.map(|index| (index.into(), -block.columns)));
                b.contract(Contract {
                    m,
                    n,
                    k: Range::Full(Size::Const(plan.depth)),
                    a: fixed(rows.collect()),
                    a_arg: from.arg,
                    a_m: Size::Const(from.pitch),
                    a_k: Size::Const(1),
                    b: fixed(columns.to_vec()),
                    b_arg,
                    b_k: Size::Const(wide),
                    b_n: Size::Const(1),
                    c: fixed(results.collect()),
                    c_arg: to.arg,
                    c_m: Size::Const(to.pitch),
                    groups: None,
                    blocks: Vec::new(),
                    accumulate: false,
                    bias: None,
                    relu: false,
                });
            });
        });
        Ok(())
    }
}
