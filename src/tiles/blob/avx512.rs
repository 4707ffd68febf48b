//! The contraction on 512-bit vectors: 32 registers, and masks that cost nothing.
#![no_std]

#[path = "../abi.rs"]
mod abi;
mod copy;
mod cut;
mod kernel;

use abi::Tile;
use core::arch::asm;
use core::arch::x86_64::*;
use cut::Runs;
use kernel::{Machine, Place, Vector, each, splat, tiles};

/// The contraction of `abi.rs`.
///
/// # Safety
/// As `abi.rs` says; the processor has AVX-512F, BW, DQ and VL.
#[unsafe(no_mangle)]
pub unsafe extern "sysv64" fn nnc_contract_avx512(
    t: *const Tile,
    a: *const u8,
    b: *const u8,
    c: *mut u8,
    m: i64,
    n: i64,
) {
    // SAFETY: the caller's.
    unsafe { kernel::contract::<Avx512>(t, a, b, c, m, n) }
}

struct Avx512;

impl Machine for Avx512 {
    type V = __m512;
    const TAIL_APART: bool = false;

    #[inline(always)]
    fn rows(vectors: i64) -> i64 {
        match vectors {
            1 | 2 => 14,
            3 => 9,
            4 => 6,
            _ => 1,
        }
    }

    /// Few rows take wide panels, for a register's next multiply-add waits 4 cycles for its last: eight independent ones keep two units busy.
    #[inline(always)]
    fn panels(m: i64, pitch: i64, vectors: i64) -> Runs {
        match m {
            1 => Runs::of_at_most(vectors, 8),
            2..=6 => Runs::of_at_most(vectors, 4),
            // Such rows of A share one set of a cache, which holds twelve lines or eight: six rows at most.
            _ if pitch % 4096 == 0 => Runs::of_at_most(vectors, 4),
            _ => Runs::of_at_least(vectors, 2),
        }
    }

    #[inline(always)]
    unsafe fn tile(vectors: i64, rows: i64, _: bool, t: &Tile, at: Place<__mmask16>) {
        // SAFETY: the caller's.
        unsafe {
            match vectors {
                1 => tiles!(rows, 1, true, t, at; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
                2 => tiles!(rows, 2, true, t, at; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
                3 => tiles!(rows, 3, true, t, at; 1 2 3 4 5 6 7 8 9),
                4 => tiles!(rows, 4, true, t, at; 1 2 3 4 5 6),
                5 => tiles!(rows, 5, true, t, at; 1),
                6 => tiles!(rows, 6, true, t, at; 1),
                7 => tiles!(rows, 7, true, t, at; 1),
                8 => tiles!(rows, 8, true, t, at; 1),
                _ => {}
            }
        }
    }

    #[inline(always)]
    fn copies(vectors: i64, rows: i64) -> bool {
        match vectors {
            1 | 2 => rows >= 8,
            4 => rows >= 4,
            _ => false,
        }
    }

    #[inline(always)]
    unsafe fn copying_tile(vectors: i64, rows: i64, t: &Tile, at: Place<__mmask16>) {
        // SAFETY: the caller's.
        unsafe {
            match vectors {
                1 => tiles!(rows, 1, true, true, t, at; 8 9 10 11 12 13 14),
                2 => tiles!(rows, 2, true, true, t, at; 8 9 10 11 12 13 14),
                4 => tiles!(rows, 4, true, true, t, at; 4 5 6),
                _ => {}
            }
        }
    }
}

impl Vector for __m512 {
    const LANES: usize = 16;
    type Mask = __mmask16;

    #[inline(always)]
    unsafe fn mask(n: i64) -> __mmask16 {
        (0xffff_u32 >> (16 - n)) as __mmask16
    }
    #[inline(always)]
    fn zero() -> Self {
        // SAFETY: the whole file is compiled for these instructions, here and below.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat<const ROW: usize>(group: *const u8, pitch: isize, thrice: isize) -> Self {
        splat!(ROW, zmm_reg, group, pitch, thrice)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_masked(from: *const f32, mask: __mmask16) -> Self {
        unsafe { _mm512_maskz_loadu_ps(mask, from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn store_masked(self, to: *mut f32, mask: __mmask16) {
        unsafe { _mm512_mask_storeu_ps(to, mask, self) }
    }
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        let mut sum = self;
        unsafe {
            asm!("vfmadd231ps {0}, {1}, {2}", inout(zmm_reg) sum, in(zmm_reg) a, in(zmm_reg) b, options(nomem, nostack, preserves_flags))
        };
        sum
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // vmaxps yields its second operand where one is NaN or both are zero.
        unsafe { _mm512_max_ps(_mm512_setzero_ps(), self) }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const u8, pitch: isize, rows: i64, steps: i64, to: *mut u8, to_pitch: isize) {
        // SAFETY: the caller's; masks choose the entries that exist.
        unsafe {
            let (across, down) = (Self::mask(steps), Self::mask(rows));
            let mut r = [Self::zero(); 16];
            each!(i < 16, {
                if (i as i64) < rows {
                    r[i] = Self::load_masked(from.offset(i as isize * pitch) as *const f32, across);
                }
            });
            // Pairs of rows, pairs of pairs, and twice quarters of registers.
            let mut s = r;
            each!(i < 8, {
                s[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                s[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            });
            let pair = |a, b| (_mm512_castps_pd(a), _mm512_castps_pd(b));
            each!(i < 4, {
                let ((a, c), (b, d)) = (pair(s[4 * i], s[4 * i + 2]), pair(s[4 * i + 1], s[4 * i + 3]));
                r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
                r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
                r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
                r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
            });
            each!(i < 4, {
                let (x, y) = (
                    _mm512_shuffle_f32x4::<0x88>(r[i], r[4 + i]),
                    _mm512_shuffle_f32x4::<0x88>(r[8 + i], r[12 + i]),
                );
                let (z, w) = (
                    _mm512_shuffle_f32x4::<0xdd>(r[i], r[4 + i]),
                    _mm512_shuffle_f32x4::<0xdd>(r[8 + i], r[12 + i]),
                );
                s[i] = _mm512_shuffle_f32x4::<0x88>(x, y);
                s[4 + i] = _mm512_shuffle_f32x4::<0x88>(z, w);
                s[8 + i] = _mm512_shuffle_f32x4::<0xdd>(x, y);
                s[12 + i] = _mm512_shuffle_f32x4::<0xdd>(z, w);
            });
            each!(i < 16, {
                if (i as i64) < steps {
                    s[i].store_masked(to.offset(i as isize * to_pitch) as *mut f32, down);
                }
            });
        }
    }
    /// Rows of B that lie in L2 then come at 94 % of the peak instead of 89 %.
    const AHEAD: isize = 4;
    #[inline(always)]
    fn prefetch(from: *const f32) {
        // SAFETY: a prefetch does nothing that can be seen.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from as *const i8) }
    }
    #[inline(always)]
    fn prefetch_far(from: *const u8) {
        // SAFETY: a prefetch does nothing that can be seen.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from as *const i8) }
    }
}
