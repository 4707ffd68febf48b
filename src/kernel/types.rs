//! The typing rule of every instruction: one table for builder, verifier and code generators.

use std::hash::{Hash, Hasher};

use super::{AccOp, Const, KOp};
use crate::tensor::DType;

impl Const {
    pub fn dtype(self) -> DType {
        match self {
            Const::F32(_) => DType::F32,
            Const::F64(_) => DType::F64,
            Const::I32(_) => DType::I32,
            Const::I64(_) => DType::I64,
            Const::U8(_) => DType::U8,
            Const::Bool(_) => DType::Bool,
        }
    }

    /// The number of `dtype` nearest to `value`, integers saturating; `None` for a dtype that kernels do not compute in.
    pub fn number(dtype: DType, value: f64) -> Option<Const> {
        Some(match dtype {
            DType::F32 => Const::F32(value as f32),
            DType::F64 => Const::F64(value),
            DType::I32 => Const::I32(value as i32),
            DType::I64 => Const::I64(value as i64),
            DType::U8 => Const::U8(value as u8),
            DType::Bool => Const::Bool(value != 0.0),
            _ => return None,
        })
    }

    /// Dtype and bits: equal exactly when two constants are the same value, NaN and signed zeros told apart.
    pub fn bits(self) -> (DType, u64) {
        let bits = match self {
            Const::F32(x) => u64::from(x.to_bits()),
            Const::F64(x) => x.to_bits(),
            Const::I32(x) => u64::from(x as u32),
            Const::I64(x) => x as u64,
            Const::U8(x) => u64::from(x),
            Const::Bool(x) => u64::from(x),
        };
        (self.dtype(), bits)
    }
}

impl PartialEq for Const {
    fn eq(&self, other: &Const) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for Const {}

impl Hash for Const {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}

/// Whether kernels compute in this dtype; the floats of 16 bits are only loaded and stored.
pub fn computes(dtype: DType) -> bool {
    dtype.computed() == dtype
}

/// The dtype of what a load gives and a store takes: the floats of 16 bits are their bits, in an i32 with zeros above
/// ([`math::decode`](super::math::decode)).
pub fn loaded(dtype: DType) -> DType {
    if computes(dtype) { dtype } else { DType::I32 }
}

fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64)
}

fn is_wide_int(dtype: DType) -> bool {
    matches!(dtype, DType::I32 | DType::I64)
}

impl KOp {
    pub fn arity(self) -> usize {
        use KOp::*;
        match self {
            Neg | Abs | Sqrt | Floor | Ceil | Trunc | Nearest | Not | Low | Cast(_) | Bitcast(_) => 1,
            Fma | Select => 3,
            Add | Sub | Mul | Div | Rem | Max | Min | Lt | Le | Eq | Ne | And | Or | Xor | Shl | ShrU
            | ShrS | MulHiU => 2,
        }
    }

    /// The dtype of the result on operands of these dtypes; `None` where the instruction does not exist.
    ///
    /// Numbers are F32, F64, I32, I64 and U8; U8 has arithmetic modulo 256 but neither `Neg` nor shifts.
    pub fn result(self, operands: &[DType]) -> Option<DType> {
        use DType::*;
        use KOp::*;
        if operands.len() != self.arity() || !operands.iter().all(|&d| computes(d)) {
            return None;
        }
        let first = operands[0];
        let uniform = operands.iter().all(|&d| d == first);
        let number = first != Bool;
        match self {
            Add | Sub | Mul | Div | Rem | Max | Min => {
                (uniform && number && !(self == Rem && is_float(first))).then_some(first)
            }
            Neg | Abs => (is_float(first) || is_wide_int(first)).then_some(first),
            Fma => (uniform && is_float(first)).then_some(first),
            Sqrt | Floor | Ceil | Trunc | Nearest => is_float(first).then_some(first),
            Lt | Le => (uniform && number).then_some(Bool),
            Eq | Ne => uniform.then_some(Bool),
            And | Or | Xor => (uniform && !is_float(first)).then_some(first),
            Not => (!is_float(first)).then_some(first),
            Shl | ShrU | ShrS => (uniform && is_wide_int(first)).then_some(first),
            MulHiU => (uniform && first == I32).then_some(I32),
            Select => (first == Bool && operands[1] == operands[2]).then_some(operands[1]),
            Low => (first == I64).then_some(I32),
            Cast(to) => computes(to).then_some(to),
            Bitcast(to) => match (first, to) {
                (F32, I32) | (I32, F32) | (F64, I64) | (I64, F64) => Some(to),
                _ => (first == to).then_some(to),
            },
        }
    }
}

impl AccOp {
    /// The value that combines with x to x; `None` where the operator does not accept the dtype.
    /// For `ArgMax` and `ArgMin`, whose partner's neutral value may be a true entry, it is the largest index.
    pub fn neutral(self, dtype: DType) -> Option<Const> {
        use DType::*;
        Some(match (self, dtype) {
            (AccOp::Sum, F32 | F64 | I32 | I64 | U8) => Const::number(dtype, 0.0)?,
            (AccOp::Prod, F32 | F64 | I32 | I64 | U8) => Const::number(dtype, 1.0)?,
            (AccOp::Max, F32 | F64 | I32 | I64 | U8) => Const::number(dtype, f64::NEG_INFINITY)?,
            (AccOp::Min, F32 | F64 | I32 | I64 | U8) => Const::number(dtype, f64::INFINITY)?,
            (AccOp::Any, Bool) => Const::Bool(false),
            (AccOp::All, Bool) => Const::Bool(true),
            (AccOp::ArgMax | AccOp::ArgMin, I32) => Const::I32(i32::MAX),
            _ => return None,
        })
    }
}
