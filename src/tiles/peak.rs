//! The most that one core computes: multiply-adds that wait for nothing.

use std::time::{Duration, Instant};

use super::Isa;

/// Multiply-adds of each accumulator in a burst.
const STEPS: usize = 1000;

/// GFLOP/s of one core with these instructions, measured in a few milliseconds; a multiply-add counts twice.
/// `None` where it cannot be measured: no such instructions, or none that this room knows.
pub fn peak(isa: Isa) -> Option<f64> {
    let burst = burst(isa)?;
    let begun = Instant::now();
    let mut best = f64::INFINITY;
    let mut operations = 0.0;
    // The clock may have to rise first; whatever else the machine does only adds to a time.
    while begun.elapsed() < Duration::from_millis(20) {
        let start = Instant::now();
        operations = (0..20).map(|_| burst()).sum();
        best = best.min(start.elapsed().as_secs_f64());
    }
    (operations > 0.0).then(|| operations / best / 1e9)
}

#[cfg(target_arch = "x86_64")]
fn burst(isa: Isa) -> Option<fn() -> f64> {
    use std::arch::asm;
    // In assembler, so that it is the same code however this crate is built.
    macro_rules! burst {
        ($name:ident, $registers:literal, $lanes:literal, $($fma:literal),+) => {
            #[allow(clippy::missing_safety_doc, reason = "private: the machine has these instructions")]
            unsafe fn $name() -> f64 {
                // SAFETY: only vector registers change, all of which are declared. Zeros take as long as other
                // numbers; subnormal ones would not.
                unsafe {
                    asm!(
                        "vzeroall",
                        "2:",
                        $($fma,)+
                        "dec {steps}",
                        "jnz 2b",
                        "vzeroupper",
                        steps = inout(reg) STEPS => _,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                        out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                        out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                        options(nomem, nostack),
                    )
                };
                (STEPS * $registers * $lanes * 2) as f64
            }
        };
    }
    burst!(
        burst_512,
        14,
        16,
        "vfmadd231ps zmm0, zmm14, zmm15",
        "vfmadd231ps zmm1, zmm14, zmm15",
        "vfmadd231ps zmm2, zmm14, zmm15",
        "vfmadd231ps zmm3, zmm14, zmm15",
        "vfmadd231ps zmm4, zmm14, zmm15",
        "vfmadd231ps zmm5, zmm14, zmm15",
        "vfmadd231ps zmm6, zmm14, zmm15",
        "vfmadd231ps zmm7, zmm14, zmm15",
        "vfmadd231ps zmm8, zmm14, zmm15",
        "vfmadd231ps zmm9, zmm14, zmm15",
        "vfmadd231ps zmm10, zmm14, zmm15",
        "vfmadd231ps zmm11, zmm14, zmm15",
        "vfmadd231ps zmm12, zmm14, zmm15",
        "vfmadd231ps zmm13, zmm14, zmm15"
    );
    burst!(
        burst_256,
        14,
        8,
        "vfmadd231ps ymm0, ymm14, ymm15",
        "vfmadd231ps ymm1, ymm14, ymm15",
        "vfmadd231ps ymm2, ymm14, ymm15",
        "vfmadd231ps ymm3, ymm14, ymm15",
        "vfmadd231ps ymm4, ymm14, ymm15",
        "vfmadd231ps ymm5, ymm14, ymm15",
        "vfmadd231ps ymm6, ymm14, ymm15",
        "vfmadd231ps ymm7, ymm14, ymm15",
        "vfmadd231ps ymm8, ymm14, ymm15",
        "vfmadd231ps ymm9, ymm14, ymm15",
        "vfmadd231ps ymm10, ymm14, ymm15",
        "vfmadd231ps ymm11, ymm14, ymm15",
        "vfmadd231ps ymm12, ymm14, ymm15",
        "vfmadd231ps ymm13, ymm14, ymm15"
    );
    burst!(
        burst_128,
        14,
        4,
        "vfmadd231ps xmm0, xmm14, xmm15",
        "vfmadd231ps xmm1, xmm14, xmm15",
        "vfmadd231ps xmm2, xmm14, xmm15",
        "vfmadd231ps xmm3, xmm14, xmm15",
        "vfmadd231ps xmm4, xmm14, xmm15",
        "vfmadd231ps xmm5, xmm14, xmm15",
        "vfmadd231ps xmm6, xmm14, xmm15",
        "vfmadd231ps xmm7, xmm14, xmm15",
        "vfmadd231ps xmm8, xmm14, xmm15",
        "vfmadd231ps xmm9, xmm14, xmm15",
        "vfmadd231ps xmm10, xmm14, xmm15",
        "vfmadd231ps xmm11, xmm14, xmm15",
        "vfmadd231ps xmm12, xmm14, xmm15",
        "vfmadd231ps xmm13, xmm14, xmm15"
    );
    match isa {
        // SAFETY: the machine has AVX-512F.
        Isa::Avx512 if isa.is_supported() => Some(|| unsafe { burst_512() }),
        // SAFETY: the machine has AVX2 and FMA.
        Isa::Avx2 if isa.is_supported() => Some(|| unsafe { burst_256() }),
        // SAFETY: with AVX2 and FMA the machine has FMA on short vectors.
        Isa::Portable if Isa::Avx2.is_supported() => Some(|| unsafe { burst_128() }),
        _ => None,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn burst(_: Isa) -> Option<fn() -> f64> {
    None
}
