//! The gradient of a convolution's weights by the same algorithm: `Gᵀ [Σ (A e Aᵀ) ∘ (Bᵀ d B)] G`, the sum over all tiles, of whose outputs
//! e are the gradients.
//!
//! Images are cut into chunks. Each has its own sixteen sums of products, to which block after block adds; a second kernel adds the chunks
//! up, in order, and transforms the sums. **Invariant:** the cuts depend on static sizes alone, so the order of a sum is the same anywhere.

use super::row::Row;
use super::{Frame, POINTS, Scratch, TAPS, TILE, WINDOW, Winograd, chunk, constant, moved, within};
use crate::axes::Dim;
use crate::graph::Node;
use crate::kernel::{
    AccOp, Address, BodyBuilder, Buffer, BufferDecl, BufferKind, Contract, Coord, Range, Size, Val, Var,
};
use crate::lower::emit::Emitter;
use crate::lower::home::Home;
use crate::lower::index::{Atom, Ix};
use crate::lower::nest::Read;
use crate::lower::{LowerError, Lowering};
use crate::passes::Roles;
use crate::tensor::DType;
use crate::tiles::cut;

/// Channels and features of which a grid point has the products.
const CHANNELS: i64 = 64;
const FEATURES: i64 = 128;
/// Entries of a block's scratch, and its tiles at most.
const ENTRIES: i64 = 1 << 17;
const TILES: i64 = 256;
/// Tiles of a chunk, about: at least so many, and one for each so many products of a point, so that sums stay small beside the operands.
const CHUNK: i64 = 512;
const PRODUCTS_OF_TILE: i64 = 64;

/// How the tiles are cut.
struct Cuts {
    /// Images of a block, or rows of tiles of one where it has several blocks.
    images: i64,
    rows: i64,
    /// Blocks of a chunk, or images where they have several blocks.
    per: i64,
    channels: i64,
    features: i64,
}

impl Cuts {
    fn of(plan: &Winograd) -> Cuts {
        let (channels, features) = (cut(plan.depth, CHANNELS, 16), cut(plan.width, FEATURES, 16));
        let tiles = (ENTRIES / POINTS / (channels + features)).clamp(1, TILES);
        let wanted = CHUNK.max(plan.depth * plan.width / PRODUCTS_OF_TILE);
        let (all, down) = (plan.tiles(), plan.rows.tiles());
        let (images, rows, each) = match tiles / all {
            0 => (1, cut(down, tiles / plan.columns.tiles(), 1), all),
            images => (images, down, images * all),
        };
        Cuts { images, rows, per: (wanted + each - 1) / each, channels, features }
    }

    fn tiles(&self, plan: &Winograd) -> i64 {
        self.images * self.rows * plan.columns.tiles()
    }

    /// Whether an image has several blocks.
    fn splits_images(&self, plan: &Winograd) -> bool {
        self.rows < plan.rows.tiles()
    }
}

/// `A e`, its last entry with the other sign.
fn gradients(b: &mut BodyBuilder, e: [Val; TILE as usize]) -> [Val; WINDOW] {
    [e[0], b.add(e[0], e[1]), b.sub(e[0], e[1]), e[1]]
}

/// `Gᵀ s`, where the last sum has the other sign.
fn taps(b: &mut BodyBuilder, s: [Val; WINDOW]) -> [Val; TAPS as usize] {
    let half = b.f32(0.5);
    let (sum, difference) = (b.add(s[1], s[2]), b.sub(s[1], s[2]));
    let (sum, difference) = (b.mul(sum, half), b.mul(difference, half));
    [b.add(s[0], sum), difference, b.sub(sum, s[3])]
}

impl Lowering<'_> {
    /// The convolution of whose weights a contraction is the gradient, if Winograd's algorithm is faster. A reads the images, B the gradients
    /// of the outputs.
    pub(in crate::lower) fn winograd_gradient_plan(
        &self,
        roles: &Roles,
        (a, b, c): (&Read, &Read, &Read),
    ) -> Option<Winograd> {
        let plan = self.winograd_axes(roles, &roles.k, &roles.m, a, c)?;
        let sides = [&plan.rows, &plan.columns];
        let plain = sides.iter().all(|side| {
            !side.flipped && constant(b, side.places).is_some() && constant(c, side.taps).is_some()
        });
        let known = constant(b, plan.features) == Some(1)
            && constant(c, plan.channels).is_some()
            && b.address.base.as_const().is_some();
        (plain && known && plan.images.len() <= 1).then_some(plan)
    }

    /// Lowers the gradient of a convolution's weights.
    pub(in crate::lower) fn winograd_gradient(
        &mut self,
        plan: &Winograd,
        node: Node,
        [a, b, c]: super::Operands<'_>,
    ) -> Result<(), LowerError> {
        let cuts = Cuts::of(plan);
        let (images, chunks) = self.winograd_chunks(plan, &cuts)?;
        let point = super::pitch(plan.depth * plan.width);
        let name = self.unique("winograd_sums");
        let sums = self.program.buffers.push(BufferDecl {
            name: name.clone(),
            dtype: DType::F32,
            len: chunks.mul(&Dim::constant(POINTS * point))?,
            kind: BufferKind::Temp,
        });
        let span = self.graph.nodes[node].span;
        let mut e = Emitter::new(self, name, span);
        e.winograd_sums(plan, &cuts, (a, b), (sums, point), (&images, &chunks))?;
        let (kernel, args) = e.finish();
        self.run(kernel, args);
        let name = self.unique("winograd_gradient");
        let mut e = Emitter::new(self, name, span);
        e.winograd_join(plan, (sums, point, &chunks), c)?;
        let (kernel, args) = e.finish();
        self.run(kernel, args);
        Ok(())
    }

    /// The number of images, and of chunks.
    fn winograd_chunks(&self, plan: &Winograd, cuts: &Cuts) -> Result<(Dim, Dim), LowerError> {
        let images = plan.images.first().map_or(Dim::constant(1), |axis| self.size(*axis));
        let upwards = |dim: &Dim, by: i64| dim.add(&Dim::constant(by - 1))?.div(&Dim::constant(by));
        let blocks = if cuts.splits_images(plan) { images.clone() } else { upwards(&images, cuts.images)? };
        let chunks = upwards(&blocks, cuts.per)?;
        Ok((images, chunks))
    }
}

impl Emitter<'_, '_> {
    /// The sums of all chunks: entry `[chunk, point, channel, feature]`.
    fn winograd_sums(
        &mut self,
        plan: &Winograd,
        cuts: &Cuts,
        (a, b): ((&Home, &Read), (&Home, &Read)),
        (sums, point): (Buffer, i64),
        (images, chunks): (&Dim, &Dim),
    ) -> Result<(), LowerError> {
        let (across, down) = (plan.columns.tiles(), plan.rows.tiles());
        let to = self.arg(sums, Vec::new(), true);
        let mut part = |of: i64, by: i64| (by < of).then(|| self.grid(&Dim::constant((of + by - 1) / by)));
        let (features, channels) = (part(plan.width, cuts.features), part(plan.depth, cuts.channels));
        let of_chunk = self.grid(chunks);
        let tiles = cuts.tiles(plan);
        let (inputs, outputs) =
            (self.winograd_scratch(tiles, cuts.channels), self.winograd_scratch(tiles, cuts.features));
        let of_features = chunk(plan.width, features, cuts.features);
        let of_channels = chunk(plan.depth, channels, cuts.channels);
        let sum = |terms: &[(Coord, i64)]| {
            let all = [&[(of_chunk.into(), POINTS * point)], terms].concat();
            moved(&Address::default(), 0, &all)
        };
        self.b.for_each(Range::Full(Size::Const(POINTS)), |b, at| {
            b.for_each(of_channels, |b, channel| {
                b.for_lanes(of_features, |b, lane| {
                    let zero = b.f32(0.0);
                    let terms = [(at.into(), point), (channel.into(), plan.width), (lane.into(), 1)];
                    b.store(to, sum(&terms), zero);
                });
            });
        });
        let mut place = self.cx.outer_place();
        let sides = [plan.rows.places, plan.columns.places, plan.rows.taps, plan.columns.taps];
        for axis in sides.into_iter().chain([plan.channels, plan.features]) {
            place.set(axis, Ix::zero());
        }
        // The blocks of a chunk.
        let mut frame =
            Frame { columns: None, images: None, rows: Range::Full(Size::Const(down)), part: None };
        let of = self.b.size(images);
        if cuts.splits_images(plan) {
            let image = self.open_range(Range::Chunk { of, by: cuts.per, index: of_chunk }, images, false);
            if let Some(axis) = plan.images.first() {
                place.set(*axis, Ix::atom(Atom::Var(image)));
            }
            let blocks = Dim::constant((down + cuts.rows - 1) / cuts.rows);
            let index = self.open(&blocks, false);
            frame.part = Some((index, cuts.rows * across, Dim::constant(down * across)));
            frame.rows = Range::Chunk { of: Size::Const(down), by: cuts.rows, index };
        } else if let Some(axis) = plan.images.first() {
            let by = cuts.images;
            let blocks = images.add(&Dim::constant(by - 1))?.div(&Dim::constant(by))?;
            let number = self.b.size(&blocks);
            let range = Range::Chunk { of: number, by: cuts.per, index: of_chunk };
            let index = self.open_range(range, &blocks, false);
            frame.part = Some((index, by * down * across, images.mul(&Dim::constant(down * across))?));
            frame.images = Some((*axis, images.clone(), Range::Chunk { of, by, index }));
        }
        self.winograd_rows(plan, &frame, &place, (a, false), &|b, row| {
            row.inputs(b, plan, &inputs, (channels, cuts.channels));
        })?;
        self.winograd_rows(plan, &frame, &place, (b, false), &|b, row| {
            row.gradients(b, plan, &outputs, (features, cuts.features));
        })?;
        let (k, skipped) = match &frame.part {
            Some((index, by, of)) => {
                let of = self.b.size(of);
                (Range::Chunk { of, by: *by, index: *index }, Some((*index, *by)))
            }
            None => (Range::Full(Size::Const(tiles)), None),
        };
        self.b.for_each(Range::Full(Size::Const(POINTS)), |b, at| {
            let operand = |s: &Scratch, part: Option<Var>, by: i64| {
                let first = skipped.map(|(index, tiles)| (index.into(), -tiles * s.pitch));
                let terms: Vec<_> = [(at.into(), s.point)].into_iter().chain(first).collect();
                within(moved(&Address::default(), 0, &terms), part, by)
            };
            b.contract(Contract {
                m: of_channels,
                n: of_features,
                k,
                a: operand(&inputs, channels, cuts.channels),
                a_arg: inputs.arg,
                a_m: Size::Const(1),
                a_k: Size::Const(inputs.pitch),
                b: operand(&outputs, features, cuts.features),
                b_arg: outputs.arg,
                b_k: Size::Const(outputs.pitch),
                b_n: Size::Const(1),
                c: sum(&[(at.into(), point)]),
                c_arg: to,
                c_m: Size::Const(plan.width),
                groups: None,
                blocks: Vec::new(),
                accumulate: true,
                bias: None,
                relu: false,
            });
        });
        while self.depth() > 0 {
            self.close(&[]);
        }
        Ok(())
    }

    /// Adds the sums of all chunks, and transforms them.
    fn winograd_join(
        &mut self,
        plan: &Winograd,
        (sums, point, chunks): (Buffer, i64, &Dim),
        c: (&Home, &Read),
    ) -> Result<(), LowerError> {
        let mut place = self.cx.outer_place();
        let channel = self.grid(&Dim::constant(plan.depth));
        for axis in plan.weights() {
            place.set(axis, Ix::zero());
        }
        place.set(plan.channels, Ix::atom(Atom::Var(channel)));
        let (to, at) = self.operand_at(c, &place, true)?;
        let from = self.arg(sums, Vec::new(), false);
        let step = |axis| constant(c.1, axis).expect("a plan has constant steps");
        let (row, column) = (step(plan.rows.taps), step(plan.columns.taps));
        let chunks = Range::Full(self.b.size(chunks));
        let b = &mut self.b;
        b.for_lanes(Range::Full(Size::Const(plan.width)), |b, lane| {
            let zero = b.f32(0.0);
            let s = b.fold(chunks, false, [(AccOp::Sum, zero); POINTS as usize], |b, chunk| {
                std::array::from_fn(|k| {
                    let terms =
                        [(chunk.into(), POINTS * point), (channel.into(), plan.width), (lane.into(), 1)];
                    b.load(from, moved(&Address::default(), k as i64 * point, &terms))
                })
            });
            let half: [[Val; TAPS as usize]; WINDOW] =
                std::array::from_fn(|q| taps(b, std::array::from_fn(|p| s[p * WINDOW + q])));
            for p in 0..TAPS {
                for (q, value) in taps(b, half.map(|column| column[p as usize])).into_iter().enumerate() {
                    b.store(to, moved(&at, p * row + q as i64 * column, &[(lane.into(), 1)]), value);
                }
            }
        });
        Ok(())
    }
}

impl Row {
    /// `A e Aᵀ` up to signs. Of the features a block has `by`, counted by the variable, or all.
    fn gradients(&self, b: &mut BodyBuilder, plan: &Winograd, to: &Scratch, (part, by): (Option<Var>, i64)) {
        b.for_lanes(chunk(plan.width, part, by), |b, lane| {
            self.tiles(b, plan, |b, tile, from, whole| {
                let half: [[Val; WINDOW]; TILE as usize] = std::array::from_fn(|j| {
                    let column = std::array::from_fn(|i| {
                        if (i > 0 && !self.whole) || (j > 0 && !whole) {
                            return b.f32(0.0);
                        }
                        b.load(self.arg, self.entry(lane, tile, from, [i as i64, j as i64]))
                    });
                    gradients(b, column)
                });
                for p in 0..WINDOW {
                    let row = gradients(b, half.map(|column| column[p]));
                    for (q, value) in row.into_iter().enumerate() {
                        let at = self.point(to, lane, tile, from, p * WINDOW + q);
                        b.store(to.arg, within(at, part, by), value);
                    }
                }
            });
        });
    }
}
