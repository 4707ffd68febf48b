//! The contraction on 256-bit vectors: 16 registers. Masked moves are slow here, so columns that fill no vector make a panel of their own.
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
/// As `abi.rs` says; the processor has AVX2 and FMA.
#[unsafe(no_mangle)]
pub unsafe extern "sysv64" fn nnc_contract_avx2(
    t: *const Tile,
    a: *const u8,
    b: *const u8,
    c: *mut u8,
    m: i64,
    n: i64,
) {
    // SAFETY: the caller's.
    unsafe { kernel::contract::<Avx2>(t, a, b, c, m, n) }
}

struct Avx2;

impl Machine for Avx2 {
    type V = __m256;
    const TAIL_APART: bool = true;

    #[inline(always)]
    fn rows(vectors: i64) -> i64 {
        match vectors {
            1 => 12,
            2 => 6,
            3 => 4,
            4 => 2,
            _ => 1,
        }
    }

    /// Few rows take wide panels, for a register's next multiply-add waits 4 cycles for its last: eight independent ones keep two units busy.
    #[inline(always)]
    fn panels(m: i64, _: i64, vectors: i64) -> Runs {
        match m {
            1 => Runs::of_at_most(vectors, 8),
            2 => Runs::of_at_most(vectors, 4),
            _ => Runs::of_at_least(vectors, 2),
        }
    }

    #[inline(always)]
    unsafe fn tile(vectors: i64, rows: i64, masked: bool, t: &Tile, at: Place<__m256i>) {
        // SAFETY: the caller's.
        unsafe {
            match vectors {
                1 if masked => tiles!(rows, 1, true, t, at; 1 2 3 4 5 6 7 8 9 10 11 12),
                1 => tiles!(rows, 1, false, t, at; 1 2 3 4 5 6 7 8 9 10 11 12),
                2 => tiles!(rows, 2, false, t, at; 1 2 3 4 5 6),
                3 => tiles!(rows, 3, false, t, at; 1 2 3 4),
                4 => tiles!(rows, 4, false, t, at; 1 2),
                5 => tiles!(rows, 5, false, t, at; 1),
                6 => tiles!(rows, 6, false, t, at; 1),
                7 => tiles!(rows, 7, false, t, at; 1),
                8 => tiles!(rows, 8, false, t, at; 1),
                _ => {}
            }
        }
    }

    #[inline(always)]
    fn copies(vectors: i64, rows: i64) -> bool {
        vectors == 2 && rows >= 4
    }

    #[inline(always)]
    unsafe fn copying_tile(_: i64, rows: i64, t: &Tile, at: Place<__m256i>) {
        // SAFETY: the caller's.
        unsafe { tiles!(rows, 2, false, true, t, at; 4 5 6) }
    }
}

impl Vector for __m256 {
    const LANES: usize = 8;
    type Mask = __m256i;

    #[inline(always)]
    unsafe fn mask(n: i64) -> __m256i {
        // One byte a lane, spread to 32 bits with its sign: a table of masks would be a relocation.
        let bytes = u64::MAX >> (64 - 8 * n);
        // SAFETY: the whole file is compiled for these instructions, here and below.
        unsafe { _mm256_cvtepi8_epi32(_mm_cvtsi64_si128(bytes as i64)) }
    }
    #[inline(always)]
    fn zero() -> Self {
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat<const ROW: usize>(group: *const u8, pitch: isize, thrice: isize) -> Self {
        splat!(ROW, ymm_reg, group, pitch, thrice)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_masked(from: *const f32, mask: __m256i) -> Self {
        unsafe { _mm256_maskload_ps(from, mask) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm256_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn store_masked(self, to: *mut f32, mask: __m256i) {
        unsafe { _mm256_maskstore_ps(to, mask, self) }
    }
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        let mut sum = self;
        unsafe {
            asm!("vfmadd231ps {0}, {1}, {2}", inout(ymm_reg) sum, in(ymm_reg) a, in(ymm_reg) b, options(nomem, nostack, preserves_flags))
        };
        sum
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // vmaxps yields its second operand where one is NaN or both are zero.
        unsafe { _mm256_max_ps(_mm256_setzero_ps(), self) }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const u8, pitch: isize, rows: i64, steps: i64, to: *mut u8, to_pitch: isize) {
        // SAFETY: the caller's; masks choose the entries that exist.
        unsafe {
            let (across, down) = (Self::mask(steps), Self::mask(rows));
            let mut r = [Self::zero(); 8];
            each!(i < 8, {
                let row = from.offset(i as isize * pitch) as *const f32;
                if (i as i64) < rows {
                    r[i] = if steps == 8 { Self::load(row) } else { Self::load_masked(row, across) };
                }
            });
            // Pairs of rows, pairs of pairs, and halves of registers.
            let mut s = r;
            each!(i < 4, {
                s[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                s[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            });
            each!(i < 2, {
                r[4 * i] = _mm256_shuffle_ps::<0x44>(s[4 * i], s[4 * i + 2]);
                r[4 * i + 1] = _mm256_shuffle_ps::<0xee>(s[4 * i], s[4 * i + 2]);
                r[4 * i + 2] = _mm256_shuffle_ps::<0x44>(s[4 * i + 1], s[4 * i + 3]);
                r[4 * i + 3] = _mm256_shuffle_ps::<0xee>(s[4 * i + 1], s[4 * i + 3]);
            });
            each!(i < 4, {
                s[i] = _mm256_permute2f128_ps::<0x20>(r[i], r[4 + i]);
                s[4 + i] = _mm256_permute2f128_ps::<0x31>(r[i], r[4 + i]);
            });
            each!(i < 8, {
                let row = to.offset(i as isize * to_pitch) as *mut f32;
                if (i as i64) < steps {
                    if rows == 8 { s[i].store(row) } else { s[i].store_masked(row, down) }
                }
            });
        }
    }
    /// Half as many numbers a step arrive in time by themselves.
    const AHEAD: isize = 0;
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
