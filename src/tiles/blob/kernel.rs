//! The contraction of `abi.rs` over any kind of vector register.
//!
//! Everything here is inlined into one function a machine, whose bytes are copied about: so no constant tables, no calls and no panics,
//! and every loop over registers is unrolled by macro, for an array of registers that is indexed by a variable lives in memory.

use crate::abi::{ACCUMULATE, COPY, RELU, Tile};
use crate::copy::{ROOM_OF_B, copies, copy, most_packed_steps, pack, packs, quotient};
use crate::cut::Runs;
use core::ptr;

/// A kind of vector register of f32.
pub trait Vector: Copy {
    /// Lanes in a register.
    const LANES: usize;
    /// Chooses the first lanes of a register.
    type Mask: Copy;
    /// The mask of the first `n` lanes, 0 < n <= LANES.
    unsafe fn mask(n: i64) -> Self::Mask;
    fn zero() -> Self;
    /// The number at `group + ROW * pitch` in each lane, for `ROW` < [`GROUP`]; `thrice` is 3 * `pitch`.
    unsafe fn splat<const ROW: usize>(group: *const u8, pitch: isize, thrice: isize) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    /// Zero where the mask is off, which is not read.
    unsafe fn load_masked(from: *const f32, mask: Self::Mask) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn store_masked(self, to: *mut f32, mask: Self::Mask);
    /// `a * b + self`, rounded once.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// Zero where negative; NaN and -0 stay.
    unsafe fn relu(self) -> Self;
    /// Copies the transpose: `to[p, j] = from[j, p]` for j < `rows` and p < `steps`, both at most `LANES`. `pitch` and `to_pitch` are the bytes
    /// from row to row; the entries of a row follow each other.
    unsafe fn transpose(from: *const u8, pitch: isize, rows: i64, steps: i64, to: *mut u8, to_pitch: isize);
    /// How many steps ahead rows of B are asked for; 0: never.
    const AHEAD: isize;
    /// Asks for the memory of a vector, which need not exist.
    fn prefetch(from: *const f32);
    /// The same, into the second cache.
    fn prefetch_far(from: *const u8);
}

/// Where a tile lies.
#[derive(Clone, Copy)]
pub struct Place<M> {
    pub a: *const u8,
    pub b: *const u8,
    pub c: *mut u8,
    /// As `Tile` has them, but for the run of steps at hand.
    pub bias: *const f32,
    pub flags: i64,
    pub steps: i64,
    /// The lanes of the last vector.
    pub last: M,
    /// Asked for into the second cache while the tile works, a line at each step, and how far these lie apart.
    pub ahead: *const u8,
    pub apart: isize,
    /// Where a copying tile puts the rows of B, one behind the other.
    pub panel: *mut u8,
}

/// A machine's tiles, and how it cuts an output into them.
pub trait Machine {
    type V: Vector;
    /// The tile of `rows` by `vectors`; `masked` if its last vector is not full.
    unsafe fn tile(vectors: i64, rows: i64, masked: bool, t: &Tile, at: Place<<Self::V as Vector>::Mask>);
    /// Whether there is a tile that copies B on the way, which costs nothing as long as multiply-adds take longer than loads and stores.
    fn copies(vectors: i64, rows: i64) -> bool;
    /// That tile.
    unsafe fn copying_tile(vectors: i64, rows: i64, t: &Tile, at: Place<<Self::V as Vector>::Mask>);
    /// The most rows of a tile of so many vectors.
    fn rows(vectors: i64) -> i64;
    /// The widths of the panels, in vectors, that an output of `m` rows by `vectors` is cut into; A's rows are `pitch` bytes apart.
    fn panels(m: i64, pitch: i64, vectors: i64) -> Runs;
    /// Whether a vector that is not full makes a panel of its own.
    const TAIL_APART: bool;
}

/// Repeats a block for every constant `i` below `n`, at most 16 times.
macro_rules! each {
    ($i:ident < $n:expr, $body:block) => { each!(@ $i, $n, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15) };
    (@ $i:ident, $n:expr, $body:block, $($x:literal)*) => {
        {
            $(if $x < $n {
                #[allow(non_upper_case_globals, reason = "the caller names the constant as a variable")]
                const $i: usize = $x;
                $body
            })*
        }
    };
}

/// `match $rows { r => tile::<_, r, $vectors, $masked>(…) }` over the listed rows.
macro_rules! tiles {
    ($rows:expr, $vectors:literal, $masked:literal, $t:expr, $at:expr; $($r:literal)*) => {
        tiles!($rows, $vectors, $masked, false, $t, $at; $($r)*)
    };
    ($rows:expr, $vectors:literal, $masked:literal, $copying:literal, $t:expr, $at:expr; $($r:literal)*) => {
        match $rows {
            $($r => $crate::kernel::tile::<Self::V, $r, $vectors, $masked, $copying>($t, $at),)*
            _ => {}
        }
    };
}

/// A number of A in all lanes, loaded where it stands in the text: see [`Vector::add_product`].
macro_rules! splat {
    ($row:expr, $class:ident, $group:expr, $pitch:expr, $thrice:expr) => {
        match $row {
            0 => splat!(@ $class, "[{1}]", $group, $pitch),
            1 => splat!(@ $class, "[{1} + {2}]", $group, $pitch),
            2 => splat!(@ $class, "[{1} + 2 * {2}]", $group, $pitch),
            3 => splat!(@ $class, "[{1} + {2}]", $group, $thrice),
            _ => splat!(@ $class, "[{1} + 4 * {2}]", $group, $pitch),
        }
    };
    (@ $class:ident, $address:literal, $group:expr, $pitch:expr) => {{
        let x;
        // SAFETY: the caller's: the number can be read.
        unsafe {
            asm!(
                concat!("vbroadcastss {0}, dword ptr ", $address, "/* {2} */"),
                out($class) x, in(reg) $group, in(reg) $pitch,
                options(readonly, nostack, preserves_flags)
            )
        };
        x
    }};
}
pub(crate) use {each, splat, tiles};

/// Inside of a call: the blocks of B follow each other.
const FOLLOW: i64 = 1 << 16;

/// Rows of A that share a pointer: those that an address reaches with the pitch once, twice, thrice or four times.
pub const GROUP: usize = 5;

/// `MR` rows by `NV` vectors of C, the last masked if `MASKED`. `COPYING`: the rows of B go to a panel, too.
///
/// # Safety
/// As `abi.rs` says, for m = `MR` and n = the lanes of the tile.
#[inline(always)]
pub unsafe fn tile<V: Vector, const MR: usize, const NV: usize, const MASKED: bool, const COPYING: bool>(
    t: &Tile,
    at: Place<V::Mask>,
) {
    // SAFETY: the caller's; only the lanes of the last vector are masked.
    unsafe {
        let load = |from: *const f32, v: usize| {
            let from = from.add(v * V::LANES);
            if MASKED && v + 1 == NV { V::load_masked(from, at.last) } else { V::load(from) }
        };
        let mut acc = [[V::zero(); NV]; MR];
        if at.flags & ACCUMULATE != 0 {
            each!(i < MR, {
                let row = at.c.offset(i as isize * t.ldc as isize) as *const f32;
                each!(v < NV, { acc[i][v] = load(row, v) });
            });
        } else if !at.bias.is_null() {
            each!(v < NV, {
                let start = load(at.bias, v);
                each!(i < MR, { acc[i][v] = start });
            });
        }
        let (ras, cas, brs) = (t.ras as isize, t.cas as isize, t.brs as isize);
        let (ahead, thrice) = (V::AHEAD * brs, 3 * ras);
        let mut b = at.b;
        let (mut far, mut panel) = (at.ahead, at.panel as *mut f32);
        for q in 0..t.nb {
            let a = if t.ao.is_null() { at.a } else { at.a.offset(*t.ao.offset(q as isize) as isize) };
            if !t.bo.is_null() {
                b = at.b.offset(*t.bo.offset(q as isize) as isize);
            } else if at.flags & FOLLOW == 0 {
                b = at.b;
            }
            let mut group = [a; 3];
            each!(g < MR.div_ceil(GROUP), { group[g] = a.offset((g * GROUP) as isize * ras) });
            let mut steps = at.steps;
            while steps > 0 {
                let mut row = [V::zero(); NV];
                each!(v < NV, { row[v] = load(b as *const f32, v) });
                if COPYING {
                    each!(v < NV, { row[v].store(panel.add(v * V::LANES)) });
                    panel = panel.add(NV * V::LANES);
                }
                each!(i < MR, {
                    let x = V::splat::<{ i % GROUP }>(group[i / GROUP], ras, thrice);
                    each!(v < NV, { acc[i][v] = acc[i][v].add_product(x, row[v]) });
                });
                each!(g < MR.div_ceil(GROUP), { group[g] = group[g].offset(cas) });
                b = b.offset(brs);
                if V::AHEAD > 0 {
                    each!(v < NV, {
                        V::prefetch((b.wrapping_offset(ahead) as *const f32).wrapping_add(v * V::LANES))
                    });
                }
                V::prefetch_far(far);
                far = far.wrapping_offset(at.apart);
                steps -= 1;
            }
        }
        if at.flags & RELU != 0 {
            each!(i < MR, { each!(v < NV, { acc[i][v] = acc[i][v].relu() }) });
        }
        each!(i < MR, {
            let row = at.c.offset(i as isize * t.ldc as isize) as *mut f32;
            each!(v < NV, {
                let to = row.add(v * V::LANES);
                if MASKED && v + 1 == NV { acc[i][v].store_masked(to, at.last) } else { acc[i][v].store(to) }
            });
        });
    }
}

/// The steps of a run over all of C, at most: what a run reads again then stays near, and C is read and written again once a run.
#[inline(always)]
fn most_steps(t: &Tile, m: i64) -> i64 {
    if t.nb != 1 {
        // Runs would change the order, and blocks are short.
        t.k
    } else if m <= 6 && t.mo == 1 && t.k * t.brs > 1 << 20 {
        // B only streams through: few rows at a time, for the memory's prefetcher follows few streams (28 instead of 19 GB/s).
        64
    } else if t.brs % 4096 == 0 {
        // These rows of B fall into the same few sets of every cache.
        256
    } else {
        512
    }
}

/// The whole contraction: runs of steps, in them panels of columns, so that a panel of B stays near, and in each the strips of rows. Where B
/// is copied, a run is as many blocks, or steps of one, as the panel holds.
///
/// # Safety
/// As `abi.rs` says.
#[inline(always)]
pub unsafe fn contract<M: Machine>(t: *const Tile, a: *const u8, b: *const u8, c: *mut u8, m: i64, n: i64) {
    // SAFETY: the caller's; the runs cover all blocks and steps in order, each but the first on what C holds.
    unsafe {
        let t = &*t;
        if t.flags & COPY != 0 {
            copy::<M::V>(b, t, t.k, n, c, t.ldc as isize);
            return;
        }
        if m <= 0 || t.mo <= 0 || n <= 0 {
            return;
        }
        let (copies, packs) = (copies(t, m), packs::<M>(t, m, n));
        let lanes = M::V::LANES as i64;
        let panels =
            |vectors| if packs { Runs::of_at_most(vectors, 2) } else { M::panels(m, t.ras, vectors) };
        let vectors = if M::TAIL_APART { n / lanes } else { quotient(n, lanes) };
        let widest = panels(vectors).next().unwrap_or(1);
        let mut most = if copies { quotient(ROOM_OF_B, 4 * widest * lanes + 1) } else { most_steps(t, m) };
        if packs {
            most = most.min(most_packed_steps::<M>(m));
        }
        let run = quotient(t.k, quotient(t.k, most));
        let whole = if run < t.k { 1 } else { (most - run).max(0) / run.max(1) + 1 };
        // The operands of a run as the strips see them: with A as it is or copied, and with B as it is and, if so, as it is copied.
        let (mut direct, mut copied) = (*t, *t);
        let (mut bias, mut flags) = (t.bias, t.flags & ACCUMULATE);
        // The block and the step that come next.
        let (mut q, mut p) = (0, 0);
        loop {
            let steps = if t.k - p < run { t.k - p } else { run };
            direct.nb = if copies { (t.nb - q).min(whole) } else { t.nb - q };
            direct.bo = if t.bo.is_null() { t.bo } else { t.bo.offset(q as isize) };
            direct.ao = if t.ao.is_null() { t.ao } else { t.ao.offset(q as isize) };
            let (mut from_a, from_b) = (a.offset((p * t.cas) as isize), b.offset((p * t.brs) as isize));
            if packs {
                let offset = if t.ao.is_null() { 0 } else { *t.ao };
                from_a = pack::<M>(from_a.offset(offset as isize), t, m, steps);
                (direct.ras, direct.cas, direct.ao) = (4, 4 * lanes, ptr::null());
            }
            (copied.nb, copied.ao, copied.ras, copied.cas) = (direct.nb, direct.ao, direct.ras, direct.cas);
            copied.bo = ptr::null();
            p += steps;
            if p >= t.k {
                p = 0;
                q += direct.nb;
            }
            let ends = q >= t.nb;
            if ends {
                flags |= t.flags & RELU;
            }
            let mut at = Place {
                a: from_a,
                b: from_b,
                c,
                bias,
                flags,
                steps,
                last: M::V::mask(1),
                ahead: from_b,
                apart: 0,
                panel: t.room,
            };
            let (mut panels, mut left) = (panels(vectors), n);
            while left > 0 {
                // Where the whole vectors end, the last lanes make a panel of their own.
                let v = panels.next().unwrap_or(1);
                let width = if left < v * lanes { left } else { v * lanes };
                let beside = (width * t.bcs) as isize;
                at.last = M::V::mask(width - (v - 1) * lanes);
                left -= width;
                let rows = if packs { M::rows(2) } else { M::rows(v) };
                copied.brs = 4 * v * lanes;
                let first = Runs::of_at_most(m, rows).next().unwrap_or(0);
                let mut on_the_way = copies && t.bcs == 4 && M::copies(v, first);
                if copies && !on_the_way {
                    let mut panel = t.room;
                    for block in 0..direct.nb {
                        let offset = if direct.bo.is_null() { 0 } else { *direct.bo.offset(block as isize) };
                        copy::<M::V>(
                            at.b.offset(offset as isize),
                            t,
                            steps,
                            width,
                            panel,
                            copied.brs as isize,
                        );
                        panel = panel.offset((steps * copied.brs) as isize);
                    }
                }
                // Where B is one panel without gaps, the next one lies behind it.
                let (lies_behind, follows) = (t.brs == 4 * n, left > 0);
                let mut lines = if follows || lies_behind { quotient(4 * width, 64) } else { 0 };
                let after = if follows { beside } else { (steps * t.brs) as isize };
                let mut next = at.b.wrapping_offset(after);
                let mut group = at;
                for _ in 0..t.mo {
                    let mut strip = group;
                    for rows in Runs::of_at_most(m, rows) {
                        // The first strips ask for the next panel, line by line.
                        (strip.ahead, strip.apart) =
                            if lines > 0 { (next, t.brs as isize) } else { (strip.a, 0) };
                        next = next.wrapping_offset(64);
                        lines -= 1;
                        if on_the_way {
                            M::copying_tile(v, rows, &direct, strip);
                            on_the_way = false;
                        } else if copies {
                            strip.b = t.room;
                            strip.flags |= FOLLOW;
                            M::tile(v, rows, width < v * lanes, &copied, strip);
                        } else {
                            M::tile(v, rows, width < v * lanes, &direct, strip);
                        }
                        // Copied strips lie one behind the other.
                        let below = if packs { 4 * (steps + 1) * lanes } else { rows * t.ras };
                        strip.a = strip.a.offset(below as isize);
                        strip.c = strip.c.offset((rows * t.ldc) as isize);
                    }
                    group.a = group.a.offset(t.rao as isize);
                    group.c = group.c.offset(t.rco as isize);
                }
                at.b = at.b.offset(beside);
                at.c = at.c.offset(4 * width as isize);
                if !at.bias.is_null() {
                    at.bias = at.bias.offset(width as isize);
                }
            }
            if ends {
                return;
            }
            (bias, flags) = (ptr::null(), ACCUMULATE);
        }
    }
}
