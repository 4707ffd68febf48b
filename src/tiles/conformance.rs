//! Holds a contraction's code to the law of `abi.rs`, to the bit, with an unreadable page behind each operand. The code generator's tests
//! call it, for they place the blobs as generated code does.

use std::ptr;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{ACCUMULATE, COPY, Contraction, RELU, ROOM, Tile};

/// One contraction to try.
#[derive(Clone, Debug)]
struct Case {
    m: i64,
    n: i64,
    k: i64,
    nb: i64,
    /// Groups of m rows.
    mo: i64,
    /// A is read along its columns.
    transposed: bool,
    /// From column to column of B: next to each other, a row apart (then its steps are next to each other), or two apart.
    columns: Columns,
    /// Distance of rows in B and C beyond what they hold.
    gap: i64,
    accumulate: bool,
    bias: bool,
    relu: bool,
    /// Whether a single block has offset tables.
    tables: bool,
    seed: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Columns {
    Together,
    Transposed,
    Apart,
}

/// m, n, k, nb, gap.
type Sizes = (i64, i64, i64, i64, i64);

/// Edges of tiles, several blocks, nothing at all.
fn shallow() -> impl Strategy<Value = Sizes> {
    let m = prop_oneof![0..4i64, 0..40i64];
    let n = prop_oneof![0..4i64, 0..20i64, 0..150i64];
    let k = prop_oneof![0..4i64, 0..40i64];
    (m, n, k, 0..4i64, 0..20i64)
}

/// More steps than are done at once, with rows of B that begin at the same place in their pages, or not.
fn deep() -> impl Strategy<Value = Sizes> {
    let sizes = (1..45i64, 1..40i64, 60..1200i64, 1..3i64);
    (sizes, any::<bool>())
        .prop_map(|((m, n, k, nb), aliased)| (m, n, k, nb, if aliased { 1024 - n } else { 3 }))
}

/// Enough columns, and steps far enough apart, for a part of A to be copied: a gradient of weights.
fn wide() -> impl Strategy<Value = Sizes> {
    (6..60i64, 90..130i64, 40..300i64, 1..3i64, 120..140i64)
}

/// The same, with more of A than a run's room holds.
fn tall() -> impl Strategy<Value = Sizes> {
    (200..220i64, 96..100i64, 380..400i64, Just(1i64), 0..3i64)
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = prop_oneof![90 => shallow(), 10 => deep(), 5 => wide(), 1 => tall()];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<u32>());
    let columns = prop_oneof![
        4 => Just(Columns::Together),
        2 => Just(Columns::Transposed),
        1 => Just(Columns::Apart)
    ];
    let form = (prop_oneof![3 => Just(1i64), 1 => 0..4i64], columns);
    (sizes, flags, form).prop_map(|(sizes, flags, (mo, columns))| {
        let ((m, n, k, nb, gap), (transposed, accumulate, bias, relu, tables, seed)) = (sizes, flags);
        Case { m, n, k, nb, mo, transposed, columns, gap, accumulate, bias, relu, tables, seed }
    })
}

/// Checks `code` on random cases. `fused`: a multiply-add rounds once; else the product is rounded too.
///
/// # Safety
/// `code` is a contraction's code that this machine can run.
pub(crate) unsafe fn check(code: Contraction, fused: bool) {
    let config = Config { cases: 600, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(Default::default()),
    );
    let verdict = runner.run(&cases(), |case| {
        // SAFETY: the caller's.
        unsafe {
            check_case(code, fused, &case);
            check_copy(code, &case);
        }
        Ok(())
    });
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
}

/// Small numbers with many bits, some of them negative; in every other case now and then what is special, which long sums do not survive.
struct Numbers {
    state: u32,
    special: bool,
}

impl Numbers {
    fn next(&mut self) -> f32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        match self.state % 997 {
            0 if self.special => f32::NAN,
            1 if self.special => f32::INFINITY,
            2 => -0.0,
            _ => (self.state >> 8) as f32 / (1 << 23) as f32 - 1.0,
        }
    }

    fn fill(&mut self, len: i64) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }
}

/// The extent of a matrix up to its last entry: behind it lies the unreadable page.
fn extent(offsets: &[i64], dims: &[(i64, i64)]) -> i64 {
    match offsets.iter().max() {
        Some(&far) if dims.iter().all(|(count, _)| *count > 0) => {
            (far + dims.iter().map(|(count, stride)| (count - 1) * stride).sum::<i64>()) / 4 + 1
        }
        _ => 0,
    }
}

impl Case {
    /// From step to step and from column to column of B, in bytes.
    fn strides_of_b(&self) -> (i64, i64) {
        match self.columns {
            Columns::Together => (4 * (self.n + self.gap), 4),
            Columns::Transposed => (4, 4 * (self.k + self.gap)),
            Columns::Apart => (8 * (self.n + self.gap), 8),
        }
    }
}

/// C becomes B, and nothing else changes.
unsafe fn check_copy(code: Contraction, case: &Case) {
    let &Case { n, k, gap, .. } = case;
    let mut numbers = Numbers { state: case.seed | 1, special: false };
    let ((brs, bcs), ldc) = (case.strides_of_b(), 4 * (n + gap));
    let b = Guarded::new(&numbers.fill(extent(&[0], &[(k, brs), (n, bcs)])));
    let before = numbers.fill(extent(&[0], &[(k, ldc), (n, 4)]));
    let c = Guarded::new(&before);
    let tile = Tile {
        nb: 0,
        ao: ptr::null(),
        bo: ptr::null(),
        k,
        ras: 0,
        cas: 0,
        brs,
        bcs,
        ldc,
        mo: 0,
        rao: 0,
        rco: 0,
        bias: ptr::null(),
        flags: COPY,
        room: ptr::null_mut(),
    };
    // SAFETY: the operands have the extents that the strides reach.
    unsafe { code(&tile, ptr::null(), b.start() as *const u8, c.start() as *mut u8, 0, n) };
    let mut expected = before;
    for p in 0..k {
        for j in 0..n {
            expected[(p * ldc / 4 + j) as usize] = b.get()[((p * brs + j * bcs) / 4) as usize];
        }
    }
    assert!(c.get().iter().zip(&expected).all(|(is, should)| is.to_bits() == should.to_bits()));
}

unsafe fn check_case(code: Contraction, fused: bool, case: &Case) {
    let &Case { m, n, k, nb, mo, transposed, gap, .. } = case;
    let mut numbers = Numbers { state: case.seed | 1, special: case.seed.is_multiple_of(2) };
    // Blocks overlap, as the taps of a convolution do.
    let (ao, bo): (Vec<i64>, Vec<i64>) =
        (0..nb).map(|q| if case.tables || nb > 1 { (4 * q, 4 * (nb - 1 - q) * 3) } else { (0, 0) }).unzip();
    let (ras, cas) = if transposed { (4, 4 * (m + gap)) } else { (4 * (k + gap), 4) };
    let ((brs, bcs), ldc) = (case.strides_of_b(), 4 * (n + gap));
    // Groups overlap in A, and stand apart in C.
    let (rao, rco) = (if transposed { 4 } else { ras }, (m.max(1) + 1) * ldc);
    let reads = mo > 0 && m > 0 && n > 0;
    let a =
        Guarded::new(&numbers.fill(if reads { extent(&ao, &[(mo, rao), (m, ras), (k, cas)]) } else { 0 }));
    let b = Guarded::new(&numbers.fill(if reads { extent(&bo, &[(k, brs), (n, bcs)]) } else { 0 }));
    let bias = Guarded::new(&numbers.fill(n));
    let before = numbers.fill(extent(&[0], &[(mo, rco), (m, ldc), (n, 4)]));
    let c = Guarded::new(&before);
    let (accumulate, relu) = (if case.accumulate { ACCUMULATE } else { 0 }, if case.relu { RELU } else { 0 });
    let tables = case.tables || nb > 1;
    let room = Guarded::new(&vec![0.0; ROOM / 4]);
    let tile = Tile {
        nb,
        ao: if tables { ao.as_ptr() } else { ptr::null() },
        bo: if tables { bo.as_ptr() } else { ptr::null() },
        k,
        ras,
        cas,
        brs,
        bcs,
        ldc,
        mo,
        rao,
        rco,
        bias: if case.bias { bias.start() } else { ptr::null() },
        flags: accumulate | relu,
        room: room.start() as *mut u8,
    };
    // SAFETY: the operands have the extents that the strides reach.
    unsafe { code(&tile, a.start() as *const u8, b.start() as *const u8, c.start() as *mut u8, m, n) };

    let mut expected = before.clone();
    let rows = (0..mo).flat_map(|o| (0..m).map(move |i| (o * rao + i * ras, o * rco + i * ldc)));
    for (from, to) in rows {
        for j in 0..n {
            let entry = &mut expected[(to / 4 + j) as usize];
            let mut sum = match (case.accumulate, case.bias) {
                (true, _) => *entry,
                (false, true) => bias.get()[j as usize],
                (false, false) => 0.0,
            };
            for q in 0..nb as usize {
                for p in 0..k {
                    let x = a.get()[((ao[q] + from + p * cas) / 4) as usize];
                    let y = b.get()[((bo[q] + p * brs + j * bcs) / 4) as usize];
                    sum = if fused { x.mul_add(y, sum) } else { x * y + sum };
                }
            }
            *entry = if case.relu && sum < 0.0 { 0.0 } else { sum };
        }
    }
    for (at, (&is, &should)) in c.get().iter().zip(&expected).enumerate() {
        let same = is.to_bits() == should.to_bits() || (is.is_nan() && should.is_nan());
        assert!(same, "entry {at} is {is:e}, should be {should:e}");
    }
}

/// Numbers that end where an unreadable page begins.
struct Guarded {
    map: *mut u8,
    pages: usize,
    len: usize,
}

#[cfg(unix)]
mod system {
    unsafe extern "C" {
        pub fn mmap(at: *mut u8, len: usize, access: i32, flags: i32, file: i32, offset: i64) -> *mut u8;
        pub fn munmap(at: *mut u8, len: usize) -> i32;
        pub fn mprotect(at: *mut u8, len: usize, access: i32) -> i32;
    }
    pub const READ_WRITE: i32 = 3;
    #[cfg(target_os = "linux")]
    pub const PRIVATE_ANONYMOUS: i32 = 0x22;
    #[cfg(not(target_os = "linux"))]
    pub const PRIVATE_ANONYMOUS: i32 = 0x1002;
}

/// A multiple of every system's page.
const PAGE: usize = 1 << 16;

#[cfg(unix)]
impl Guarded {
    fn new(numbers: &[f32]) -> Guarded {
        let pages = (4 * numbers.len()).div_ceil(PAGE);
        let len = (pages + 1) * PAGE;
        // SAFETY: fresh memory, the last page of which is taken away; the numbers end before it.
        unsafe {
            let map =
                system::mmap(ptr::null_mut(), len, system::READ_WRITE, system::PRIVATE_ANONYMOUS, -1, 0);
            assert_ne!(map as isize, -1, "no memory");
            assert_eq!(system::mprotect(map.add(pages * PAGE), PAGE, 0), 0);
            let guarded = Guarded { map, pages, len: numbers.len() };
            ptr::copy_nonoverlapping(numbers.as_ptr(), guarded.start(), numbers.len());
            guarded
        }
    }
}

#[cfg(unix)]
impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`.
        unsafe { system::munmap(self.map, (self.pages + 1) * PAGE) };
    }
}

#[cfg(not(unix))]
impl Guarded {
    fn new(numbers: &[f32]) -> Guarded {
        let pages = (4 * numbers.len()).div_ceil(PAGE);
        let mut memory = vec![0u8; (pages + 1) * PAGE];
        let guarded = Guarded { map: memory.as_mut_ptr(), pages, len: numbers.len() };
        std::mem::forget(memory);
        // SAFETY: the memory is large enough. A test may leak it.
        unsafe { ptr::copy_nonoverlapping(numbers.as_ptr(), guarded.start(), numbers.len()) };
        guarded
    }
}

impl Guarded {
    fn start(&self) -> *mut f32 {
        // SAFETY: inside the map.
        unsafe { self.map.add(self.pages * PAGE - 4 * self.len) as *mut f32 }
    }

    fn get(&self) -> &[f32] {
        // SAFETY: written by `new`.
        unsafe { std::slice::from_raw_parts(self.start(), self.len) }
    }
}
