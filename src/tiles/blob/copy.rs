//! Copies of parts of the operands into a call's room, where they would otherwise come badly: their numbers apart, or falling into few sets
//! of a cache.

use crate::abi::{ROOM, Tile};
use crate::cut::Runs;
use crate::kernel::{Machine, Vector};

/// Rounded up; 0 where `b` is not positive: a division that could fail would be a call.
#[inline(always)]
pub fn quotient(a: i64, b: i64) -> i64 {
    if b > 0 { (a + b - 1) / b } else { 0 }
}

/// Bytes of the panel of B: 512 steps of 32 columns, so that C is seldom read and written again. A panel of 64 KB is read from L2, ahead of its
/// use; one that fits L1 was slower.
pub const ROOM_OF_B: i64 = 1 << 16;
/// Bytes of the part of A that is copied behind it, and the fewest steps of a run of it.
const ROOM_OF_A: i64 = ROOM as i64 - ROOM_OF_B;
const FEWEST_STEPS: i64 = 48;
/// How many steps ahead a copy asks for rows.
const COPY_AHEAD: isize = 24;
const PACK_AHEAD: isize = 4;

/// Whether panels of B are copied: where its columns are apart; where its rows fall into the same few sets of a cache; where they lie far
/// apart and cannot be taken in runs, since there are several blocks. Few rows of A are not worth the copy.
#[inline(always)]
pub fn copies(t: &Tile, m: i64) -> bool {
    let rows = m * t.mo;
    t.bcs != 4 || (t.brs % 4096 == 0 && rows >= 24) || (t.nb > 1 && t.brs >= 2048 && rows >= 40)
}

/// Whether A is copied, a run of steps at a time: where its steps lie apart, as in a gradient of weights, each would bring a line of its own
/// for a few numbers, into the same few sets of a cache. Few columns are not worth the copy.
#[inline(always)]
pub fn packs<M: Machine>(t: &Tile, m: i64, n: i64) -> bool {
    let long = t.k >= FEWEST_STEPS && most_packed_steps::<M>(m) >= FEWEST_STEPS;
    t.ras == 4 && t.cas >= 512 && n >= 96 && m >= 8 && t.nb == 1 && t.mo == 1 && long
}

/// How many steps of so many rows of A there is room for.
#[inline(always)]
pub fn most_packed_steps<M: Machine>(m: i64) -> i64 {
    let step = 4 * M::V::LANES as i64 * quotient(m, M::rows(2));
    // One more between strips, see `pack`.
    if step > 0 { ROOM_OF_A / step - 1 } else { 0 }
}

/// Copies a run of steps of `m` rows of A, which lie transposed, and tells where: strip by strip, each with a vector for a step, and a vector
/// between strips, so that they do not fall into one set of a cache.
#[inline(always)]
pub unsafe fn pack<M: Machine>(from: *const u8, t: &Tile, m: i64, steps: i64) -> *const u8 {
    let (lanes, cas) = (M::V::LANES as isize, t.cas as isize);
    // SAFETY: the caller's; `steps` are at most `most_packed_steps`.
    unsafe {
        let start = t.room.offset(ROOM_OF_B as isize);
        let mut p = 0;
        while p < steps as isize {
            let mut from = from.offset(p * cas) as *const f32;
            let mut to = (start as *mut f32).offset(p * lanes);
            for rows in Runs::of_at_most(m, M::rows(2)) {
                M::V::prefetch(from.wrapping_byte_offset(PACK_AHEAD * cas));
                M::V::load_masked(from, M::V::mask(rows)).store(to);
                from = from.offset(rows as isize);
                to = to.offset((steps as isize + 1) * lanes);
            }
            p += 1;
        }
        start
    }
}

/// Copies a panel of B, `steps` by `columns`, to rows of `pitch` bytes.
#[inline(always)]
pub unsafe fn copy<V: Vector>(
    from: *const u8,
    t: &Tile,
    steps: i64,
    columns: i64,
    to: *mut u8,
    pitch: isize,
) {
    let lanes = V::LANES as i64;
    let (brs, bcs) = (t.brs as isize, t.bcs as isize);
    // SAFETY: the caller's; no entry beyond the panel is touched.
    unsafe {
        if bcs == 4 {
            let (mut from, mut to, mut left) = (from as *const f32, to as *mut f32, steps);
            while left > 0 {
                // No prefetcher follows rows that lie a page apart.
                let ahead = from.wrapping_byte_offset(COPY_AHEAD * brs);
                let mut j = 0;
                while j < columns {
                    V::prefetch(ahead.wrapping_offset(j as isize));
                    j += 16;
                }
                let mut j = 0;
                while j + lanes <= columns {
                    V::load(from.offset(j as isize)).store(to.offset(j as isize));
                    j += lanes;
                }
                if j < columns {
                    let mask = V::mask(columns - j);
                    V::load_masked(from.offset(j as isize), mask).store_masked(to.offset(j as isize), mask);
                }
                from = from.byte_offset(brs);
                to = to.byte_offset(pitch);
                left -= 1;
            }
        } else if brs == 4 {
            let mut j = 0;
            while j < columns {
                let rows = if columns - j < lanes { columns - j } else { lanes };
                let mut p = 0;
                while p < steps {
                    let run = if steps - p < lanes { steps - p } else { lanes };
                    let at = from.offset(j as isize * bcs + 4 * p as isize);
                    V::transpose(at, bcs, rows, run, to.offset(p as isize * pitch + 4 * j as isize), pitch);
                    p += lanes;
                }
                j += lanes;
            }
        } else {
            let mut p = 0;
            while p < steps {
                let (mut at, mut row) =
                    (from.offset(p as isize * brs), to.offset(p as isize * pitch) as *mut f32);
                let mut left = columns;
                while left > 0 {
                    row.write_unaligned((at as *const f32).read_unaligned());
                    at = at.offset(bcs);
                    row = row.offset(1);
                    left -= 1;
                }
                p += 1;
            }
        }
    }
}
