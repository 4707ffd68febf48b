//! The tiles on 256-bit vectors: 16 registers. Masked moves are slow here, so columns that fill no vector make a panel of their own.

use core::marker::PhantomData;

use crate::abi::Tile;
use crate::cut::Runs;
use crate::kernel::{Machine, Place, Vector, tiles};

/// The tiles of these registers, whatever a lane holds.
pub struct Avx2<V>(PhantomData<V>);

impl<V: Vector> Machine for Avx2<V> {
    type V = V;
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
    unsafe fn tile(vectors: i64, rows: i64, masked: bool, t: &Tile, at: Place<V::Mask>) {
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
    unsafe fn copying_tile(_: i64, rows: i64, t: &Tile, at: Place<V::Mask>) {
        // SAFETY: the caller's.
        unsafe { tiles!(rows, 2, false, true, t, at; 4 5 6) }
    }
}
