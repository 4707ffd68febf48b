//! The tiles on 512-bit vectors: 32 registers, and masks that cost nothing.

use core::marker::PhantomData;

use crate::abi::Tile;
use crate::cut::Runs;
use crate::kernel::{Machine, Place, Vector, tiles};

/// The tiles of these registers, whatever a lane holds.
pub struct Avx512<V>(PhantomData<V>);

impl<V: Vector> Machine for Avx512<V> {
    type V = V;
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
    unsafe fn tile(vectors: i64, rows: i64, _: bool, t: &Tile, at: Place<V::Mask>) {
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
    unsafe fn copying_tile(vectors: i64, rows: i64, t: &Tile, at: Place<V::Mask>) {
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
