//! The contraction of `abi.rs` over any kind of vector register.
//!
//! Everything here is inlined into one function a machine, whose bytes are copied about: so no constant tables, no calls and no panics,
//! and every loop over registers is unrolled by macro, for an array of registers that is indexed by a variable lives in memory.

use crate::abi::{ACCUMULATE, COPY, RELU, Tile};
use crate::cut::Runs;
use core::mem::MaybeUninit;
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
    /// The number in each lane.
    unsafe fn splat(from: *const f32) -> Self;
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
}

/// A machine's tiles, and how it cuts an output into them.
pub trait Machine {
    type V: Vector;
    /// The tile of `rows` by `vectors`; `masked` if its last vector is not full.
    unsafe fn tile(vectors: i64, rows: i64, masked: bool, t: &Tile, at: Place<<Self::V as Vector>::Mask>);
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
        match $rows {
            $($r => $crate::kernel::tile::<Self::V, $r, $vectors, $masked>($t, $at),)*
            _ => {}
        }
    };
}
pub(crate) use {each, tiles};

/// Inside of a call: the blocks of B follow each other.
const FOLLOW: i64 = 1 << 16;

/// Rows of A that share a pointer. More rows would be reached by a chain of additions as long as the multiply-adds take.
const GROUP: usize = 5;

/// The same pointer, of unknown origin: otherwise the optimiser folds the pointers of all groups into one chain.
#[inline(always)]
fn opaque(mut p: *const u8) -> *const u8 {
    // SAFETY: the assembly is empty.
    unsafe { core::arch::asm!("/* {0} */", inout(reg) p, options(pure, nomem, nostack, preserves_flags)) };
    p
}

/// `MR` rows by `NV` vectors of C, the last masked if `MASKED`.
///
/// # Safety
/// As `abi.rs` says, for m = `MR` and n = the lanes of the tile.
#[inline(always)]
pub unsafe fn tile<V: Vector, const MR: usize, const NV: usize, const MASKED: bool>(
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
        let ahead = V::AHEAD * brs;
        let mut b = at.b;
        for q in 0..t.nb {
            let a = if t.ao.is_null() { at.a } else { at.a.offset(*t.ao.offset(q as isize) as isize) };
            if !t.bo.is_null() {
                b = at.b.offset(*t.bo.offset(q as isize) as isize);
            } else if at.flags & FOLLOW == 0 {
                b = at.b;
            }
            let mut group = [a; MR];
            each!(g < MR.div_ceil(GROUP), { group[g] = opaque(a.offset((g * GROUP) as isize * ras)) });
            let mut steps = at.steps;
            while steps > 0 {
                let mut row = [V::zero(); NV];
                each!(v < NV, { row[v] = load(b as *const f32, v) });
                each!(i < MR, {
                    let x = V::splat(group[i / GROUP].offset((i % GROUP) as isize * ras) as *const f32);
                    each!(v < NV, { acc[i][v] = acc[i][v].add_product(x, row[v]) });
                });
                each!(g < MR.div_ceil(GROUP), { group[g] = group[g].offset(cas) });
                b = b.offset(brs);
                if V::AHEAD > 0 {
                    each!(v < NV, {
                        V::prefetch((b.wrapping_offset(ahead) as *const f32).wrapping_add(v * V::LANES))
                    });
                }
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

/// Rounded up; 0 where `b` is not positive: a division that could fail would be a call.
#[inline(always)]
fn quotient(a: i64, b: i64) -> i64 {
    if b > 0 { (a + b - 1) / b } else { 0 }
}

/// Numbers of the panel of B on the stack: 512 steps of 32 columns, so that C is seldom read and written again. A panel of 64 KB is read from
/// L2, ahead of its use; one that fits L1 was slower.
const BUFFER: i64 = 16384;
/// How many steps ahead a copy asks for rows.
const COPY_AHEAD: isize = 24;

/// Whether panels of B are copied to the stack: where its columns are apart; where its rows fall into the same few sets of a cache; where
/// they lie far apart and cannot be taken in runs, since there are several blocks. Few rows of A are not worth the copy.
#[inline(always)]
fn copies(t: &Tile, m: i64) -> bool {
    let rows = m * t.mo;
    t.bcs != 4 || (t.brs % 4096 == 0 && rows >= 24) || (t.nb > 1 && t.brs >= 2048 && rows >= 40)
}

/// Numbers of the part of A on the stack, and the fewest steps of a run that it holds.
const ROWS_BUFFER: i64 = 16384;
const FEWEST_STEPS: i64 = 48;

/// From step to step where A is copied: an odd number of lines of 64 bytes, so that the steps use all sets of a cache.
#[inline(always)]
fn packed_pitch(m: i64) -> i64 {
    (quotient(4 * m, 64) | 1) * 64
}

/// Whether A is copied to the stack, step by step, a run at a time: where its steps lie apart, as in a gradient of weights, each would bring
/// a line of its own for a few numbers, into the same few sets of a cache; so do its rows where they are a multiple of 4096 bytes apart.
/// Few columns are not worth the copy.
#[inline(always)]
fn packs(t: &Tile, m: i64, n: i64) -> bool {
    let fits = m >= 8 && FEWEST_STEPS * packed_pitch(m) <= 4 * ROWS_BUFFER;
    t.ras == 4 && t.cas >= 512 && n >= 96 && fits && t.nb == 1 && t.mo == 1 && t.k >= FEWEST_STEPS
}

/// Copies a panel of B, `steps` by `columns`, to rows of `pitch` bytes.
#[inline(always)]
unsafe fn copy<V: Vector>(from: *const u8, t: &Tile, steps: i64, columns: i64, to: *mut u8, pitch: isize) {
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
                let (mut at, mut row) = (from.offset(p as isize * brs), to.offset(p as isize * pitch) as *mut f32);
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

/// The whole contraction: runs of steps, in them panels of columns, so that a panel of B stays near, and in each the strips of rows. Where B
/// is copied, a run is as many blocks, or steps of one, as the panel on the stack holds.
///
/// # Safety
/// As `abi.rs` says.
#[inline(always)]
pub unsafe fn contract<M: Machine>(t: *const Tile, a: *const u8, b: *const u8, c: *mut u8, m: i64, n: i64) {
    let mut buffer = MaybeUninit::<[f32; BUFFER as usize]>::uninit();
    let mut rows_buffer = MaybeUninit::<[f32; ROWS_BUFFER as usize]>::uninit();
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
        let (copies, packs) = (copies(t, m), packs(t, m, n));
        let lanes = M::V::LANES as i64;
        let total = quotient(n, lanes);
        let rows_pitch = packed_pitch(m);
        let ras = if packs { 4 } else { t.ras };
        let wide = match M::panels(m, ras, total).next() {
            Some(first) if copies => first,
            _ => total,
        };
        let pitch = 4 * wide * lanes;
        let mut most = if copies { quotient(4 * BUFFER, pitch + 1) } else { most_steps(t, m) };
        if packs {
            most = most.min(4 * ROWS_BUFFER / rows_pitch.max(1));
        }
        let run = quotient(t.k, quotient(t.k, most));
        let whole = if run < t.k { 1 } else { (most - run).max(0) / run.max(1) + 1 };
        let mut part = *t;
        // Where A is copied, it is copied as B would be: its rows are the columns there.
        let rows_as_columns = Tile { brs: t.cas, bcs: t.ras, ..*t };
        let (mut bias, mut flags) = (t.bias, t.flags & ACCUMULATE);
        // The block and the step that come next.
        let (mut q, mut p) = (0, 0);
        loop {
            let steps = if t.k - p < run { t.k - p } else { run };
            let (mut from_a, from_b) = (a.offset((p * t.cas) as isize), b.offset((p * t.brs) as isize));
            if packs {
                let to = rows_buffer.as_mut_ptr() as *mut u8;
                let offset = if t.ao.is_null() { 0 } else { *t.ao };
                from_a = from_a.offset(offset as isize);
                copy::<M::V>(from_a, &rows_as_columns, steps, m, to, rows_pitch as isize);
                (part.ras, part.cas, part.ao) = (4, rows_pitch, ptr::null());
                from_a = rows_buffer.as_ptr() as *const u8;
            }
            part.nb = t.nb - q;
            if copies {
                part.nb = part.nb.min(whole);
                part.ao = if t.ao.is_null() { t.ao } else { t.ao.offset(q as isize) };
                (part.brs, part.bo) = (pitch, ptr::null());
            }
            let first = q;
            p += steps;
            if p >= t.k {
                p = 0;
                q += part.nb;
            }
            let ends = q >= t.nb;
            if ends {
                flags |= t.flags & RELU;
            }
            let mut j = 0;
            while j < n {
                let width = if n - j < wide * lanes { n - j } else { wide * lanes };
                let to = c.offset(4 * j as isize);
                let bias = if bias.is_null() { bias } else { bias.offset(j as isize) };
                let from = from_b.offset((j * t.bcs) as isize);
                let mut at = Place { a: from_a, b: from, c: to, bias, flags, steps, last: M::V::mask(1) };
                if copies {
                    let mut panel = buffer.as_mut_ptr() as *mut u8;
                    for block in first..first + part.nb {
                        let offset = if t.bo.is_null() { 0 } else { *t.bo.offset(block as isize) };
                        copy::<M::V>(from.offset(offset as isize), t, steps, width, panel, pitch as isize);
                        panel = panel.offset((steps * pitch) as isize);
                    }
                    at.b = buffer.as_ptr() as *const u8;
                    at.flags |= FOLLOW;
                }
                panels::<M>(&part, at, m, width);
                j += width;
            }
            if ends {
                return;
            }
            (bias, flags) = (ptr::null(), ACCUMULATE);
        }
    }
}

/// A run of steps.
#[inline(always)]
unsafe fn panels<M: Machine>(t: &Tile, at: Place<<M::V as Vector>::Mask>, m: i64, n: i64) {
    let lanes = M::V::LANES as i64;
    let whole = n / lanes;
    let part = n % lanes;
    let vectors = if M::TAIL_APART || part <= 0 { whole } else { whole + 1 };
    let mut panels = M::panels(m, t.ras, vectors);
    let mut tail = M::TAIL_APART && part > 0;
    let (mut panel, mut columns) = (at, n);
    // SAFETY: the caller's; panels and strips cover all groups of m rows by n exactly.
    unsafe {
        while columns > 0 {
            let v = match panels.next() {
                Some(v) => v,
                None if tail => {
                    tail = false;
                    1
                }
                None => return,
            };
            let width = if columns < v * lanes { columns } else { v * lanes };
            let masked = !M::TAIL_APART || width < lanes;
            panel.last = M::V::mask(width - (v - 1) * lanes);
            let mut group = panel;
            for _ in 0..t.mo {
                let mut strip = group;
                for rows in Runs::of_at_most(m, M::rows(v)) {
                    M::tile(v, rows, masked, t, strip);
                    strip.a = strip.a.offset((rows * t.ras) as isize);
                    strip.c = strip.c.offset((rows * t.ldc) as isize);
                }
                group.a = group.a.offset(t.rao as isize);
                group.c = group.c.offset(t.rco as isize);
            }
            panel.b = panel.b.offset(4 * width as isize);
            panel.c = panel.c.offset(4 * width as isize);
            if !panel.bias.is_null() {
                panel.bias = panel.bias.offset(width as isize);
            }
            columns -= width;
        }
    }
}
