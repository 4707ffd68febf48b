//! Element types.

use std::fmt;
use std::str::FromStr;

/// The element type of a tensor. `Idx[N]` is stored as `I32`; its bound is known to the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    F32,
    F64,
    BF16,
    F16,
    I32,
    I64,
    U8,
    Bool,
}

impl DType {
    pub const ALL: [DType; 8] =
        [DType::F32, DType::F64, DType::BF16, DType::F16, DType::I32, DType::I64, DType::U8, DType::Bool];

    /// The name in the language.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::BF16 => "bf16",
            DType::F16 => "f16",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::U8 => "u8",
            DType::Bool => "bool",
        }
    }

    /// Bytes of an element; also its alignment.
    pub const fn size(self) -> usize {
        match self {
            DType::F64 | DType::I64 => 8,
            DType::F32 | DType::I32 => 4,
            DType::BF16 | DType::F16 => 2,
            DType::U8 | DType::Bool => 1,
        }
    }

    /// The dtype that numbers of this one are computed in: the floats of 16 bits are a way of storing f32.
    pub const fn computed(self) -> DType {
        match self {
            DType::BF16 | DType::F16 => DType::F32,
            other => other,
        }
    }

    pub const fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64 | DType::BF16 | DType::F16)
    }

    pub const fn is_integer(self) -> bool {
        matches!(self, DType::I32 | DType::I64 | DType::U8)
    }

    /// Bytes of a tensor; `None` where they, or the number of elements, do not fit in `isize`.
    /// A dimension of zero does not hide that the others overflow, as ndarray demands.
    pub fn bytes(self, shape: &[usize]) -> Option<usize> {
        let room = shape.iter().try_fold(self.size(), |bytes, &dim| bytes.checked_mul(dim.max(1)))?;
        isize::try_from(room).ok()?;
        Some(if shape.contains(&0) { 0 } else { room })
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DType {
    type Err = ();

    fn from_str(name: &str) -> Result<DType, ()> {
        DType::ALL.into_iter().find(|dtype| dtype.name() == name).ok_or(())
    }
}
