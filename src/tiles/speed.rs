//! How near to the machine's peak the contractions come, called in chunks as generated code calls them.
//!
//! `cargo test --release --lib tile::tests::speed -- --ignored --nocapture`, on an idle machine; `NNC_TILES=avx512` prints one kind alone.

use std::ptr;
use std::time::Instant;

use super::{Blocking, Contraction, Extents, Isa, ROOM, Tile, peak};

/// m, n, k, whether A lies transposed and whether B does: cubes; the layers of an MLP of 784-256-128-10 at batch 64, their gradients for
/// weights (A transposed) and for inputs (B transposed); products with a vector; layers of a transformer.
const SHAPES: [(i64, i64, i64, bool, bool); 32] = [
    (64, 64, 64, false, false),
    (128, 128, 128, false, false),
    (256, 256, 256, false, false),
    (512, 512, 512, false, false),
    (768, 768, 768, false, false),
    (1024, 1024, 1024, false, false),
    (1024, 1024, 1024, false, true),
    (64, 256, 784, false, false),
    (64, 128, 256, false, false),
    (64, 10, 128, false, false),
    (784, 256, 64, true, false),
    (256, 128, 64, true, false),
    (128, 10, 64, true, false),
    (64, 784, 256, false, true),
    (64, 256, 128, false, true),
    (64, 128, 10, false, true),
    (1, 256, 784, false, false),
    (1, 256, 784, false, true),
    (1, 1024, 1024, false, false),
    (4, 1024, 1024, false, false),
    (1, 4096, 4096, false, false),
    (197, 192, 64, false, false),
    (512, 768, 768, false, false),
    (512, 3072, 768, false, false),
    (512, 768, 3072, false, false),
    (128, 3072, 768, false, false),
    (128, 768, 3072, false, false),
    (1024, 1024, 256, false, false),
    (1024, 1024, 256, true, false),
    (1024, 1024, 256, false, true),
    (1024, 256, 1024, true, false),
    (100, 100, 100, false, false),
];

/// Prints the speed of each shape.
///
/// # Safety
/// `code` is a contraction's code that this machine can run.
pub(crate) unsafe fn report(isa: Isa, code: Contraction) {
    let mut room = numbers(ROOM as i64 / 4);
    let room = room.as_mut_ptr().cast();
    let nothing = tile(0, (0, 0), (0, 4), 0, room);
    // SAFETY: the caller's; a contraction of no rows touches nothing.
    let call = seconds(|| {
        (0..1000).for_each(|_| unsafe { code(&nothing, ptr::null(), ptr::null(), ptr::null_mut(), 0, 0) })
    }) / 1000.0;
    println!("{isa}: an empty call takes {:.1} ns", call * 1e9);
    for (m, n, k, a_transposed, b_transposed) in SHAPES {
        let blocking = Blocking::choose(Extents {
            m: Some(m),
            n: Some(n),
            depth: Some(k),
            alone: true,
            apart: b_transposed,
        });
        let peak = peak(isa).unwrap_or(f64::NAN);
        let (a, b, mut c) = (numbers(m * k), numbers(k * n), numbers(m * n));
        let strides =
            (if a_transposed { (1, m) } else { (k, 1) }, if b_transposed { (1, k) } else { (n, 1) });
        // SAFETY: the caller's; the operands have these extents.
        let time = seconds(|| unsafe {
            multiply(
                code,
                blocking,
                (m, n, k),
                strides,
                a.as_ptr().cast(),
                b.as_ptr().cast(),
                c.as_mut_ptr().cast(),
                room,
            )
        });
        let speed = (2 * m * n * k) as f64 / time / 1e9;
        let memory = (4 * n * k) as f64 / time / 1e9;
        let mark = |transposed| if transposed { "'" } else { " " };
        println!(
            "{isa:8} {m:4} x {n:4} x {k:4}{}{} {:9.2} µs {speed:6.1} GFLOP/s, {:3.0} % of {peak:5.1}; B at {memory:5.1} GB/s; {blocking:?}",
            mark(a_transposed),
            mark(b_transposed),
            time * 1e6,
            100.0 * speed / peak,
        );
    }
}

/// A line of a cache: operands lie as they do in a program's arena.
#[derive(Clone)]
#[repr(align(64))]
struct Line {
    _numbers: [f32; 16],
}

fn numbers(count: i64) -> Vec<Line> {
    vec![Line { _numbers: [0.5; 16] }; (count as usize).div_ceil(16)]
}

fn tile(k: i64, (ras, cas): (i64, i64), (brs, bcs): (i64, i64), ldc: i64, room: *mut u8) -> Tile {
    let (ao, bo, bias) = (ptr::null(), ptr::null(), ptr::null());
    Tile { nb: 1, ao, bo, k, ras, cas, brs, bcs, ldc, mo: 1, rao: 0, rco: 0, bias, flags: 0, room }
}

/// What generated code does. The strides of A and B from row to row and from column to column, in numbers.
#[allow(clippy::too_many_arguments, reason = "an operand each")]
unsafe fn multiply(
    code: Contraction,
    Blocking { rows, columns, rows_within }: Blocking,
    (m, n, k): (i64, i64, i64),
    ((ras, cas), (brs, bcs)): ((i64, i64), (i64, i64)),
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    room: *mut u8,
) {
    let at = |p: *const f32, index: i64| p.wrapping_offset(index as isize);
    let tile = tile(k, (4 * ras, 4 * cas), (4 * brs, 4 * bcs), 4 * n, room);
    let part = |i: i64, j: i64| {
        let (from_a, from_b, to) = (at(a, i * ras), at(b, j * bcs), at(c, i * n + j).cast_mut());
        // SAFETY: a part of the operands.
        unsafe { code(&tile, from_a.cast(), from_b.cast(), to.cast(), rows.min(m - i), columns.min(n - j)) };
    };
    let (starts_m, starts_n) = ((0..m).step_by(rows as usize), (0..n).step_by(columns as usize));
    if rows_within {
        starts_n.for_each(|j| starts_m.clone().for_each(|i| part(i, j)));
    } else {
        starts_m.for_each(|i| starts_n.clone().for_each(|j| part(i, j)));
    }
}

/// The least time of many: whatever else the machine does only adds to it.
fn seconds(mut work: impl FnMut()) -> f64 {
    let mut once = |times: u32| {
        let start = Instant::now();
        (0..times).for_each(|_| work());
        start.elapsed().as_secs_f64() / f64::from(times)
    };
    let times = (2e-4 / once(1)).clamp(1.0, 1e4) as u32;
    let tries = (0.3 / (once(times) * f64::from(times))).clamp(30.0, 1500.0) as u32;
    (0..tries).map(|_| once(times)).fold(f64::INFINITY, f64::min)
}
