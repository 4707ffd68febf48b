//! The contraction of f64 on 512-bit vectors.
#![no_std]

#[path = "../abi.rs"]
mod abi;
mod copy;
mod cut;
mod kernel;
mod tiles_512;

use abi::Tile;
use core::arch::asm;
use core::arch::x86_64::*;
use kernel::{Vector, each, splat};
use tiles_512::Avx512;

/// The contraction of `abi.rs`.
///
/// # Safety
/// As `abi.rs` says; the processor has AVX-512F, BW, DQ and VL.
#[unsafe(no_mangle)]
pub unsafe extern "sysv64" fn nnc_contract_avx512_f64(
    t: *const Tile,
    a: *const u8,
    b: *const u8,
    c: *mut u8,
    m: i64,
    n: i64,
) {
    // SAFETY: the caller's.
    unsafe { kernel::contract::<Avx512<__m512d>>(t, a, b, c, m, n) }
}

impl Vector for __m512d {
    type Number = f64;
    const LANES: usize = 8;
    type Mask = __mmask8;

    #[inline(always)]
    unsafe fn mask(n: i64) -> __mmask8 {
        (0xff_u32 >> (8 - n)) as __mmask8
    }
    #[inline(always)]
    fn zero() -> Self {
        // SAFETY: the whole file is compiled for these instructions, here and below.
        unsafe { _mm512_setzero_pd() }
    }
    #[inline(always)]
    unsafe fn splat<const ROW: usize>(group: *const u8, pitch: isize, thrice: isize) -> Self {
        splat!("vbroadcastsd {0}, qword ptr ", ROW, zmm_reg, group, pitch, thrice)
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        unsafe { _mm512_loadu_pd(from) }
    }
    #[inline(always)]
    unsafe fn load_masked(from: *const f64, mask: __mmask8) -> Self {
        unsafe { _mm512_maskz_loadu_pd(mask, from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        unsafe { _mm512_storeu_pd(to, self) }
    }
    #[inline(always)]
    unsafe fn store_masked(self, to: *mut f64, mask: __mmask8) {
        unsafe { _mm512_mask_storeu_pd(to, mask, self) }
    }
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        let mut sum = self;
        unsafe {
            asm!("vfmadd231pd {0}, {1}, {2}", inout(zmm_reg) sum, in(zmm_reg) a, in(zmm_reg) b, options(nomem, nostack, preserves_flags))
        };
        sum
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // vmaxpd yields its second operand where one is NaN or both are zero.
        unsafe { _mm512_max_pd(_mm512_setzero_pd(), self) }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const u8, pitch: isize, rows: i64, steps: i64, to: *mut u8, to_pitch: isize) {
        // SAFETY: the caller's; masks choose the entries that exist.
        unsafe {
            let (across, down) = (Self::mask(steps), Self::mask(rows));
            let mut r = [Self::zero(); 8];
            each!(i < 8, {
                if (i as i64) < rows {
                    r[i] = Self::load_masked(from.offset(i as isize * pitch) as *const f64, across);
                }
            });
            // Pairs of rows, and twice quarters of registers.
            let mut s = r;
            each!(i < 4, {
                s[2 * i] = _mm512_unpacklo_pd(r[2 * i], r[2 * i + 1]);
                s[2 * i + 1] = _mm512_unpackhi_pd(r[2 * i], r[2 * i + 1]);
            });
            each!(i < 2, {
                let (x, y) = (
                    _mm512_shuffle_f64x2::<0x88>(s[i], s[2 + i]),
                    _mm512_shuffle_f64x2::<0x88>(s[4 + i], s[6 + i]),
                );
                let (z, w) = (
                    _mm512_shuffle_f64x2::<0xdd>(s[i], s[2 + i]),
                    _mm512_shuffle_f64x2::<0xdd>(s[4 + i], s[6 + i]),
                );
                r[i] = _mm512_shuffle_f64x2::<0x88>(x, y);
                r[2 + i] = _mm512_shuffle_f64x2::<0x88>(z, w);
                r[4 + i] = _mm512_shuffle_f64x2::<0xdd>(x, y);
                r[6 + i] = _mm512_shuffle_f64x2::<0xdd>(z, w);
            });
            each!(i < 8, {
                if (i as i64) < steps {
                    r[i].store_masked(to.offset(i as isize * to_pitch) as *mut f64, down);
                }
            });
        }
    }
    /// Rows of B that lie in L2 then come at 94 % of the peak instead of 89 %.
    const AHEAD: isize = 4;
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
