//! The functions that are an instruction or a few, under the signature of the table.

use crate::kernel::{BodyBuilder, KOp, Val};
use crate::tensor::DType;

pub fn neg(b: &mut BodyBuilder, x: &[Val]) -> Val {
    // Of U8, modulo 256.
    if b.dtype(x[0]) == DType::U8 {
        let zero = b.number(DType::U8, 0.0);
        return b.sub(zero, x[0]);
    }
    b.neg(x[0])
}

pub fn abs(b: &mut BodyBuilder, x: &[Val]) -> Val {
    if b.dtype(x[0]) == DType::U8 { x[0] } else { b.abs(x[0]) }
}

/// -1, 0 or 1; zeros and NaN stay what they are.
pub fn sign(b: &mut BodyBuilder, x: &[Val]) -> Val {
    let (x, dtype) = (x[0], b.dtype(x[0]));
    let (zero, one) = (b.number(dtype, 0.0), b.number(dtype, 1.0));
    let positive = b.lt(zero, x);
    let upper = b.select(positive, one, x);
    if dtype == DType::U8 {
        return upper;
    }
    let minus = b.number(dtype, -1.0);
    let negative = b.lt(x, zero);
    b.select(negative, minus, upper)
}

/// Correctly rounded; NaN below zero.
pub fn sqrt(b: &mut BodyBuilder, x: &[Val]) -> Val {
    b.sqrt(x[0])
}

/// Exact; integers stay.
pub fn floor(b: &mut BodyBuilder, x: &[Val]) -> Val {
    rounding(b, KOp::Floor, x[0])
}

/// Exact; integers stay.
pub fn ceil(b: &mut BodyBuilder, x: &[Val]) -> Val {
    rounding(b, KOp::Ceil, x[0])
}

/// Half to even; integers stay.
pub fn round(b: &mut BodyBuilder, x: &[Val]) -> Val {
    rounding(b, KOp::Nearest, x[0])
}

fn rounding(b: &mut BodyBuilder, op: KOp, x: Val) -> Val {
    if b.dtype(x).is_float() { b.op(op, &[x]) } else { x }
}

pub fn not(b: &mut BodyBuilder, x: &[Val]) -> Val {
    b.not(x[0])
}

pub fn add(b: &mut BodyBuilder, x: &[Val]) -> Val {
    b.add(x[0], x[1])
}

pub fn sub(b: &mut BodyBuilder, x: &[Val]) -> Val {
    b.sub(x[0], x[1])
}

pub fn mul(b: &mut BodyBuilder, x: &[Val]) -> Val {
    b.mul(x[0], x[1])
}

/// Floats: correctly rounded. Integers: floor division, i / 0 = 0.
pub fn div(b: &mut BodyBuilder, x: &[Val]) -> Val {
    b.div(x[0], x[1])
}

/// The remainder of floor division: x - floor(x / y) * y. Integers: i % 0 = 0. Floats: within 2 ulp of |y| while |x / y| < 2^23 (2^52).
pub fn rem(b: &mut BodyBuilder, x: &[Val]) -> Val {
    let (x, y) = (x[0], x[1]);
    if !b.dtype(x).is_float() {
        return b.rem(x, y);
    }
    let quotient = b.div(x, y);
    let quotient = b.op(KOp::Floor, &[quotient]);
    let minus = b.neg(quotient);
    b.fma(minus, y, x)
}

/// NaN if either is NaN.
pub fn max(b: &mut BodyBuilder, x: &[Val]) -> Val {
    b.max(x[0], x[1])
}

/// NaN if either is NaN.
pub fn min(b: &mut BodyBuilder, x: &[Val]) -> Val {
    b.min(x[0], x[1])
}

pub fn lt(b: &mut BodyBuilder, x: &[Val]) -> Val {
    b.lt(x[0], x[1])
}

pub fn le(b: &mut BodyBuilder, x: &[Val]) -> Val {
    b.le(x[0], x[1])
}

pub fn eq(b: &mut BodyBuilder, x: &[Val]) -> Val {
    b.eq(x[0], x[1])
}

pub fn ne(b: &mut BodyBuilder, x: &[Val]) -> Val {
    b.ne(x[0], x[1])
}

pub fn and(b: &mut BodyBuilder, x: &[Val]) -> Val {
    b.and(x[0], x[1])
}

pub fn or(b: &mut BodyBuilder, x: &[Val]) -> Val {
    b.or(x[0], x[1])
}

/// `x[0] ? x[1] : x[2]`
pub fn select(b: &mut BodyBuilder, x: &[Val]) -> Val {
    b.select(x[0], x[1], x[2])
}

/// Saturating: floats to integers towards zero, NaN to 0; to bool: whether it is not zero; to a float of 16 bits: the nearest one, in f32.
pub fn cast(b: &mut BodyBuilder, x: &[Val], to: DType) -> Val {
    if to.computed() == to { b.cast(x[0], to) } else { super::rounded(b, x[0], to) }
}
