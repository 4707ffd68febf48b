//! The contraction of `abi.rs` over any kind of vector register.
//!
//! Everything here is inlined into one function a machine, whose bytes are copied about: so no constant tables, no calls and no panics,
//! and every loop over registers is unrolled by macro, for an array of registers that is indexed by a variable lives in memory.

use crate::abi::{ACCUMULATE, RELU, Tile};
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
    /// The widths of the panels, in vectors, that an output of `m` rows by `vectors` is cut into.
    fn panels(m: i64, vectors: i64) -> Runs;
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
pub(crate) use tiles;

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
        for q in 0..t.nb {
            let a = if t.ao.is_null() { at.a } else { at.a.offset(*t.ao.offset(q as isize) as isize) };
            let mut b = if t.bo.is_null() { at.b } else { at.b.offset(*t.bo.offset(q as isize) as isize) };
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

/// The steps of a run over all of C: what a run reads again then stays near, and C is read and written again once a run.
#[inline(always)]
fn run_of_steps(t: &Tile, m: i64) -> i64 {
    if t.nb != 1 {
        // Runs would change the order, and blocks are short.
        t.k
    } else if m <= 6 && t.k * t.brs > 1 << 20 {
        // B only streams through: few rows at a time, for the memory's prefetcher follows few streams (28 instead of 19 GB/s).
        64
    } else if t.brs % 4096 == 0 {
        // These rows of B fall into the same few sets of every cache.
        256
    } else {
        512
    }
}

/// The whole contraction: runs of steps, in them panels of columns, so that a panel of B stays near, and in each the strips of rows.
///
/// # Safety
/// As `abi.rs` says.
#[inline(always)]
pub unsafe fn contract<M: Machine>(t: *const Tile, a: *const u8, b: *const u8, c: *mut u8, m: i64, n: i64) {
    // SAFETY: the caller's; the runs cover all steps in order, each but the first on what C holds.
    unsafe {
        let t = &*t;
        let (mut a, mut b, mut left) = (a, b, t.k);
        let (mut bias, mut start) = (t.bias, t.flags & ACCUMULATE);
        let mut runs = Runs::of_at_most(t.k, run_of_steps(t, m));
        loop {
            // Without a step C becomes its start.
            let steps = runs.next().unwrap_or(0);
            left -= steps;
            let flags = if left > 0 { start } else { start | t.flags & RELU };
            panels::<M>(t, Place { a, b, c, bias, flags, steps, last: M::V::mask(1) }, m, n);
            if left <= 0 {
                return;
            }
            a = a.offset((steps * t.cas) as isize);
            b = b.offset((steps * t.brs) as isize);
            (bias, start) = (ptr::null(), ACCUMULATE);
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
    let mut panels = M::panels(m, vectors);
    let mut tail = M::TAIL_APART && part > 0;
    let (mut panel, mut columns) = (at, n);
    // SAFETY: the caller's; panels and strips cover m by n exactly.
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
            let mut strip = Place { last: M::V::mask(width - (v - 1) * lanes), ..panel };
            for rows in Runs::of_at_most(m, M::rows(v)) {
                M::tile(v, rows, masked, t, strip);
                strip.a = strip.a.offset((rows * t.ras) as isize);
                strip.c = strip.c.offset((rows * t.ldc) as isize);
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
