//! The contraction on 256-bit vectors: 16 registers. Masked moves are slow here, so columns that fill no vector make a panel of their own.
#![no_std]

#[path = "../abi.rs"]
mod abi;
mod cut;
mod kernel;

use abi::Tile;
use core::arch::x86_64::*;
use cut::Runs;
use kernel::{Machine, Place, Vector, tiles};

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
    fn panels(m: i64, vectors: i64) -> Runs {
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
    unsafe fn splat(from: *const f32) -> Self {
        unsafe { _mm256_set1_ps(from.read_unaligned()) }
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
        unsafe { _mm256_fmadd_ps(a, b, self) }
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // vmaxps yields its second operand where one is NaN or both are zero.
        unsafe { _mm256_max_ps(_mm256_setzero_ps(), self) }
    }
    /// Half as many numbers a step arrive in time by themselves.
    const AHEAD: isize = 0;
    #[inline(always)]
    fn prefetch(_: *const f32) {}
}
