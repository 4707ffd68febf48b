//! Which registers are free. A body is straight lines, so that a register is taken where a value is made and free behind its last use.

use super::encode::{K, R, Z};

/// Free registers, the lowest first.
#[derive(Clone)]
pub struct Pool(u32);

impl Pool {
    pub fn of(registers: impl IntoIterator<Item = u8>) -> Pool {
        Pool(registers.into_iter().fold(0, |set, register| set | 1 << register))
    }

    /// All vector registers.
    pub fn vectors() -> Pool {
        Pool(u32::MAX)
    }

    /// The mask registers but 0, which means no mask, 1, the lanes that are there, and 2, which instructions use among themselves.
    pub fn masks() -> Pool {
        Pool::of(3..8)
    }

    /// The general registers but those with a purpose and the stack's: first those that a function may change.
    pub fn addresses() -> Pool {
        Pool::of([2, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15])
    }

    pub fn take(&mut self) -> Option<u8> {
        let first = self.0.trailing_zeros();
        if first == 32 {
            return None;
        }
        self.0 &= !(1 << first);
        Some(first as u8)
    }

    pub fn give(&mut self, register: u8) {
        self.0 |= 1 << register;
    }
}

/// Whether a function has to restore a general register.
pub fn is_kept(r: R) -> bool {
    matches!(r, 3 | 5 | 12..=15)
}

/// Where a value of the loop is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    Vector(Z),
    /// A truth.
    Mask(K),
}
