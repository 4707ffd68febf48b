//! How near to the machine's peak the contractions come, called in chunks as generated code calls them.
//!
//! `cargo test --release tile::tests::speed -- --ignored --nocapture`, on an idle machine.

use std::ptr;
use std::time::Instant;

use super::{Blocking, Contraction, Extents, Isa, PANEL, Tile, peak};

/// m, n, k and whether A lies transposed: cubes; the layers of an MLP of 784-256-128-10 at batch 64, their gradients for weights (A transposed)
/// and for inputs; products with a vector; layers of a transformer.
const SHAPES: [(i64, i64, i64, bool); 22] = [
    (64, 64, 64, false),
    (128, 128, 128, false),
    (256, 256, 256, false),
    (512, 512, 512, false),
    (768, 768, 768, false),
    (1024, 1024, 1024, false),
    (64, 256, 784, false),
    (64, 128, 256, false),
    (64, 10, 128, false),
    (784, 256, 64, true),
    (256, 128, 64, true),
    (128, 10, 64, true),
    (64, 256, 128, false),
    (64, 128, 10, false),
    (1, 256, 784, false),
    (1, 1024, 1024, false),
    (4, 1024, 1024, false),
    (1, 4096, 4096, false),
    (197, 192, 64, false),
    (512, 768, 768, false),
    (512, 3072, 768, false),
    (512, 768, 3072, false),
];

/// Prints the speed of each shape.
///
/// # Safety
/// `code` is a contraction's code that this machine can run.
pub(crate) unsafe fn report(isa: Isa, code: Contraction) {
    let nothing = tile(0, (0, 0), 0, 0);
    // SAFETY: the caller's; a contraction of no rows touches nothing.
    let call = seconds(|| {
        (0..1000).for_each(|_| unsafe { code(&nothing, ptr::null(), ptr::null(), ptr::null_mut(), 0, 0) })
    }) / 1000.0;
    println!("{isa}: an empty call takes {:.1} ns", call * 1e9);
    for (m, n, k, transposed) in SHAPES {
        let blocking = Blocking::choose(Extents { m: Some(m), n: Some(n), k: Some(k), b_pitch: Some(n) });
        let peak = peak(isa).unwrap_or(f64::NAN);
        let (a, b) = (vec![0.5f32; (m * k) as usize], vec![0.5f32; (k * n) as usize]);
        let mut c = vec![0f32; (m * n) as usize];
        let mut panels = vec![0f32; ((n + PANEL) * k) as usize];
        // SAFETY: the caller's; the operands have these extents.
        let time = seconds(|| unsafe {
            multiply(
                code,
                blocking,
                (m, n, k),
                transposed,
                a.as_ptr(),
                b.as_ptr(),
                c.as_mut_ptr(),
                &mut panels,
            )
        });
        let speed = (2 * m * n * k) as f64 / time / 1e9;
        let memory = (4 * n * k) as f64 / time / 1e9;
        println!(
            "{isa:8} {m:4} x {n:4} x {k:4}{} {:9.2} µs {speed:6.1} GFLOP/s, {:3.0} % of {peak:5.1}; B at {memory:5.1} GB/s; {blocking:?}",
            if transposed { "'" } else { " " },
            time * 1e6,
            100.0 * speed / peak,
        );
    }
}

fn tile(k: i64, (ras, cas): (i64, i64), brs: i64, ldc: i64) -> Tile {
    Tile { nb: 1, ao: ptr::null(), bo: ptr::null(), k, ras, cas, brs, ldc, bias: ptr::null(), flags: 0 }
}

/// What generated code does.
#[allow(clippy::too_many_arguments, reason = "the operands of a matrix product, as generated code has them")]
unsafe fn multiply(
    code: Contraction,
    blocking: Blocking,
    (m, n, k): (i64, i64, i64),
    transposed: bool,
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    panels: &mut [f32],
) {
    let (ras, cas) = if transposed { (1, m) } else { (k, 1) };
    let at = |p: *const f32, index: i64| p.wrapping_offset(index as isize);
    if blocking.pack {
        for (j, to) in (0..n).step_by(PANEL as usize).zip(panels.chunks_mut((PANEL * k) as usize)) {
            let width = PANEL.min(n - j);
            for (p, to) in to.chunks_mut(PANEL as usize).enumerate() {
                // SAFETY: row p of B, from column j on.
                unsafe { ptr::copy_nonoverlapping(at(b, p as i64 * n + j), to.as_mut_ptr(), width as usize) };
            }
        }
    }
    let columns = if blocking.pack { PANEL } else { blocking.columns };
    for i in (0..m).step_by(blocking.rows as usize) {
        for j in (0..n).step_by(columns as usize) {
            let (from, pitch) =
                if blocking.pack { (at(panels.as_ptr(), j * k), PANEL) } else { (at(b, j), n) };
            let tile = tile(k, (4 * ras, 4 * cas), 4 * pitch, 4 * n);
            let (from_a, to) = (at(a, i * ras), at(c, i * n + j).cast_mut());
            // SAFETY: a part of the operands.
            unsafe {
                code(
                    &tile,
                    from_a.cast(),
                    from.cast(),
                    to.cast(),
                    blocking.rows.min(m - i),
                    columns.min(n - j),
                )
            };
        }
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
