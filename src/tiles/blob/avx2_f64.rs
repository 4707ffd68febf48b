//! The contraction of f64 on 256-bit vectors.
#![no_std]

#[path = "../abi.rs"]
mod abi;
mod copy;
mod cut;
mod kernel;
mod tiles_256;

use abi::Tile;
use core::arch::asm;
use core::arch::x86_64::*;
use kernel::{Vector, each, splat};
use tiles_256::Avx2;

/// The contraction of `abi.rs`.
///
/// # Safety
/// As `abi.rs` says; the processor has AVX2 and FMA.
#[unsafe(no_mangle)]
pub unsafe extern "sysv64" fn nnc_contract_avx2_f64(
    t: *const Tile,
    a: *const u8,
    b: *const u8,
    c: *mut u8,
    m: i64,
    n: i64,
) {
    // SAFETY: the caller's.
    unsafe { kernel::contract::<Avx2<__m256d>>(t, a, b, c, m, n) }
}

impl Vector for __m256d {
    type Number = f64;
    const LANES: usize = 4;
    type Mask = __m256i;

    #[inline(always)]
    unsafe fn mask(n: i64) -> __m256i {
        // One byte a lane, spread to 64 bits with its sign: a table of masks would be a relocation.
        let bytes = u64::MAX >> (64 - 8 * n);
        // SAFETY: the whole file is compiled for these instructions, here and below.
        unsafe { _mm256_cvtepi8_epi64(_mm_cvtsi64_si128(bytes as i64)) }
    }
    #[inline(always)]
    fn zero() -> Self {
        unsafe { _mm256_setzero_pd() }
    }
    #[inline(always)]
    unsafe fn splat<const ROW: usize>(group: *const u8, pitch: isize, thrice: isize) -> Self {
        splat!("vbroadcastsd {0}, qword ptr ", ROW, ymm_reg, group, pitch, thrice)
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        unsafe { _mm256_loadu_pd(from) }
    }
    #[inline(always)]
    unsafe fn load_masked(from: *const f64, mask: __m256i) -> Self {
        unsafe { _mm256_maskload_pd(from, mask) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        unsafe { _mm256_storeu_pd(to, self) }
    }
    #[inline(always)]
    unsafe fn store_masked(self, to: *mut f64, mask: __m256i) {
        unsafe { _mm256_maskstore_pd(to, mask, self) }
    }
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        let mut sum = self;
        unsafe {
            asm!("vfmadd231pd {0}, {1}, {2}", inout(ymm_reg) sum, in(ymm_reg) a, in(ymm_reg) b, options(nomem, nostack, preserves_flags))
        };
        sum
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // vmaxpd yields its second operand where one is NaN or both are zero.
        unsafe { _mm256_max_pd(_mm256_setzero_pd(), self) }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const u8, pitch: isize, rows: i64, steps: i64, to: *mut u8, to_pitch: isize) {
        // SAFETY: the caller's; masks choose the entries that exist.
        unsafe {
            let (across, down) = (Self::mask(steps), Self::mask(rows));
            let mut r = [Self::zero(); 4];
            each!(i < 4, {
                let row = from.offset(i as isize * pitch) as *const f64;
                if (i as i64) < rows {
                    r[i] = if steps == 4 { Self::load(row) } else { Self::load_masked(row, across) };
                }
            });
            // Pairs of rows, and halves of registers.
            let mut s = r;
            each!(i < 2, {
                s[2 * i] = _mm256_unpacklo_pd(r[2 * i], r[2 * i + 1]);
                s[2 * i + 1] = _mm256_unpackhi_pd(r[2 * i], r[2 * i + 1]);
            });
            each!(i < 2, {
                r[i] = _mm256_permute2f128_pd::<0x20>(s[i], s[2 + i]);
                r[2 + i] = _mm256_permute2f128_pd::<0x31>(s[i], s[2 + i]);
            });
            each!(i < 4, {
                let row = to.offset(i as isize * to_pitch) as *mut f64;
                if (i as i64) < steps {
                    if rows == 4 { r[i].store(row) } else { r[i].store_masked(row, down) }
                }
            });
        }
    }
    /// Half as many numbers a step arrive in time by themselves.
    const AHEAD: isize = 0;
    #[inline(always)]
    fn prefetch(from: *const f64) {
        // SAFETY: a prefetch does nothing that can be seen.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from as *const i8) }
    }
    #[inline(always)]
    fn prefetch_far(from: *const u8) {
        // SAFETY: a prefetch does nothing that can be seen.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from as *const i8) }
    }
}
