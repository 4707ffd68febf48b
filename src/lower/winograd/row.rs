//! A row of tiles: their inputs go to scratch transformed, the products there come back as outputs.

use super::{Scratch, TAPS, TILE, WINDOW, Winograd, chunk, moved, within};
use crate::kernel::{Address, Arg, BodyBuilder, Coord, Range, Size, Val, Var};

/// A row of tiles.
pub(super) struct Row {
    pub(super) arg: Arg,
    /// Its first place in the image.
    pub(super) at: Address,
    /// From row to row and from column to column there.
    pub(super) steps: [i64; 2],
    /// The number of its first tile in the block.
    pub(super) number: Vec<(Coord, i64)>,
    /// Whether it has all rows of its tiles: the last one of an odd image has one.
    pub(super) whole: bool,
}

impl Row {
    /// Calls `emit` for the tiles of a row, one vector of channels after another: with the tile's number in scratch, its offset from the
    /// row's first place, and whether it lies in the image as a whole.
    pub(super) fn tiles(
        &self,
        b: &mut BodyBuilder,
        plan: &Winograd,
        mut emit: impl FnMut(&mut BodyBuilder, Option<Var>, i64, bool),
    ) {
        let whole = plan.columns.size / TILE;
        if whole > 0 {
            b.for_each(Range::Full(Size::Const(whole)), |b, tile| emit(b, Some(tile), 0, true));
        }
        if plan.columns.is_odd() {
            emit(b, None, whole, false);
        }
    }

    /// The place of a tile's entry at these steps from its first.
    pub(super) fn entry(&self, lane: Var, tile: Option<Var>, from: i64, [i, j]: [i64; 2]) -> Address {
        let along = TILE * self.steps[1];
        let by = i * self.steps[0] + j * self.steps[1] + from * along;
        let tile = tile.map(|tile| (tile.into(), along));
        moved(&self.at, by, &[(lane.into(), 1)].into_iter().chain(tile).collect::<Vec<_>>())
    }

    /// The place in scratch of a point of a tile.
    pub(super) fn point(
        &self,
        s: &Scratch,
        lane: Var,
        tile: Option<Var>,
        from: i64,
        point: usize,
    ) -> Address {
        let number = self.number.iter().copied().chain(tile.map(|tile| (tile.into(), 1)));
        let mut terms: Vec<(Coord, i64)> = number.map(|(coord, by)| (coord, by * s.pitch)).collect();
        terms.push((lane.into(), 1));
        moved(&Address::default(), point as i64 * s.point + from * s.pitch, &terms)
    }

    /// `Bᵀ d B`. Of the channels a block has `by`, counted by the variable, or all.
    pub(super) fn inputs(
        &self,
        b: &mut BodyBuilder,
        plan: &Winograd,
        to: &Scratch,
        (part, by): (Option<Var>, i64),
    ) {
        let sides = [&plan.rows, &plan.columns].map(|side| if side.flipped { TAPS - 1 } else { 0 });
        b.for_lanes(chunk(plan.depth, part, by), |b, lane| {
            self.tiles(b, plan, |b, tile, from, whole| {
                let half: [[Val; WINDOW]; WINDOW] = std::array::from_fn(|j| {
                    let column = std::array::from_fn(|i| {
                        let beyond = (i + 1 == WINDOW && !self.whole) || (j + 1 == WINDOW && !whole);
                        if beyond {
                            return b.f32(0.0);
                        }
                        let at = self.entry(lane, tile, from, [i as i64 - sides[0], j as i64 - sides[1]]);
                        b.load(self.arg, at)
                    });
                    inputs(b, column)
                });
                for p in 0..WINDOW {
                    let row = inputs(b, half.map(|column| column[p]));
                    for (q, value) in row.into_iter().enumerate() {
                        let at = self.point(to, lane, tile, from, p * WINDOW + q);
                        b.store(to.arg, within(at, part, by), value);
                    }
                }
            });
        });
    }

    /// `Aᵀ m A`, with a bias and a relu behind. Of the features a block has `by`, counted by the variable.
    pub(super) fn outputs(
        &self,
        b: &mut BodyBuilder,
        plan: &Winograd,
        from: &Scratch,
        (part, by): (Option<Var>, i64),
        bias: Option<&(Arg, Address)>,
        relu: bool,
    ) {
        b.for_lanes(chunk(plan.width, part, by), |b, lane| {
            let bias = bias.map(|(arg, at)| b.load(*arg, moved(at, 0, &[(lane.into(), 1)])));
            self.tiles(b, plan, |b, tile, first, whole| {
                let half: [[Val; TILE as usize]; WINDOW] = std::array::from_fn(|q| {
                    let column = std::array::from_fn(|p| {
                        let at = self.point(from, lane, tile, first, p * WINDOW + q);
                        b.load(from.arg, within(at, part, by))
                    });
                    outputs(b, column)
                });
                for i in 0..TILE as usize {
                    let row = outputs(b, half.map(|column| column[i]));
                    for (j, mut value) in row.into_iter().enumerate() {
                        if (i > 0 && !self.whole) || (j > 0 && !whole) {
                            continue;
                        }
                        if let Some(bias) = bias {
                            value = b.add(value, bias);
                        }
                        if relu {
                            let zero = b.f32(0.0);
                            value = b.max(value, zero);
                        }
                        b.store(self.arg, self.entry(lane, tile, first, [i as i64, j as i64]), value);
                    }
                }
            });
        });
    }
}

/// `Bᵀ d`
fn inputs(b: &mut BodyBuilder, d: [Val; WINDOW]) -> [Val; WINDOW] {
    [b.sub(d[0], d[2]), b.add(d[1], d[2]), b.sub(d[2], d[1]), b.sub(d[1], d[3])]
}

/// `Aᵀ m`
fn outputs(b: &mut BodyBuilder, m: [Val; WINDOW]) -> [Val; TILE as usize] {
    let (inner, outer) = (b.add(m[1], m[2]), b.sub(m[1], m[2]));
    [b.add(m[0], inner), b.sub(outer, m[3])]
}
