//! The floats of 16 bits: stored as such, computed in f32. A kernel's value of dtype bf16 or f16 is an f32 that the dtype holds.
//!
//! f16 (IEEE 754 binary16) keeps its subnormal numbers, which are normal in f32. Those of bf16 (the upper half of an f32) are those of f32,
//! so they count as zero wherever f32's do.

use crate::kernel::{BodyBuilder, KOp, Val};
use crate::tensor::DType;

/// 2^-14, the smallest normal f16.
const SMALLEST: f32 = 6.103_515_6e-5;
/// Halfway between the largest f16 and what would follow it: from here on numbers round to infinity.
const BEYOND: f32 = 65520.0;

/// The number with these bits (an i32 below 2^16), exactly; values of other dtypes are themselves.
pub fn decode(b: &mut BodyBuilder, bits: Val, dtype: DType) -> Val {
    match dtype {
        DType::BF16 => {
            let bits = b.shift(KOp::Shl, bits, 16);
            b.bitcast(bits, DType::F32)
        }
        DType::F16 => {
            let low = b.i32(0x7fff);
            let magnitude = b.and(bits, low);
            let sign = b.xor(bits, magnitude);
            let sign = b.shift(KOp::Shl, sign, 16);
            let magnitude = b.shift(KOp::Shl, magnitude, 13);
            // The exponents' biases are 127 and 15.
            let rebias = b.i32(112 << 23);
            let normal = b.add(magnitude, rebias);
            // Infinity and NaN have the largest exponent of either format.
            let special = b.add(normal, rebias);
            let infinity = b.i32(0x7c00 << 13);
            let finite = b.lt(magnitude, infinity);
            let normal = b.select(finite, normal, special);
            // (1 + m) 2^-14 - 2^-14, of which the hidden bit is thus taken away again.
            let one = b.i32(1 << 23);
            let subnormal = b.add(normal, one);
            let subnormal = b.bitcast(subnormal, DType::F32);
            let smallest = b.f32(SMALLEST);
            let subnormal = b.sub(subnormal, smallest);
            let subnormal = b.bitcast(subnormal, DType::I32);
            let is_normal = b.le(one, magnitude);
            let magnitude = b.select(is_normal, normal, subnormal);
            let bits = b.or(magnitude, sign);
            b.bitcast(bits, DType::F32)
        }
        _ => bits,
    }
}

/// The bits of an f32 that the dtype holds; values of other dtypes are themselves.
pub fn encode(b: &mut BodyBuilder, x: Val, dtype: DType) -> Val {
    match dtype {
        DType::BF16 => {
            let bits = b.bitcast(x, DType::I32);
            b.shift(KOp::ShrU, bits, 16)
        }
        DType::F16 => {
            let bits = b.bitcast(x, DType::I32);
            let low = b.i32(i32::MAX);
            let magnitude = b.and(bits, low);
            let sign = b.xor(bits, magnitude);
            let sign = b.shift(KOp::ShrU, sign, 16);
            let rebias = b.i32(112 << 23);
            let normal = b.sub(magnitude, rebias);
            let special = b.sub(normal, rebias);
            let infinity = b.i32(0x7f80_0000);
            let finite = b.lt(magnitude, infinity);
            let normal = b.select(finite, normal, special);
            let normal = b.shift(KOp::ShrU, normal, 13);
            // Beside 1/2 the low bits of an f32 count 2^-24, as a subnormal f16 does.
            let half = b.f32(0.5);
            let size = b.bitcast(magnitude, DType::F32);
            let subnormal = b.add(size, half);
            let subnormal = b.bitcast(subnormal, DType::I32);
            let half = b.bitcast(half, DType::I32);
            let subnormal = b.sub(subnormal, half);
            let smallest = b.i32(SMALLEST.to_bits() as i32);
            let is_normal = b.le(smallest, magnitude);
            let magnitude = b.select(is_normal, normal, subnormal);
            b.or(magnitude, sign)
        }
        _ => x,
    }
}

/// The f32 nearest to a number among those that the dtype holds, ties to even: rounded once, from any dtype.
pub fn rounded(b: &mut BodyBuilder, x: Val, dtype: DType) -> Val {
    let x = to_odd(b, x);
    // Subnormal numbers become zero where kernels have none.
    let one = b.f32(1.0);
    let x = b.mul(x, one);
    let bits = b.bitcast(x, DType::I32);
    let (cut, below_half) = if dtype == DType::BF16 { (16, 0x7fff) } else { (13, 0xfff) };
    let (below_half, one, kept) = (b.i32(below_half), b.i32(1), b.i32(-1 << cut));
    let odd = b.shift(KOp::ShrU, bits, cut);
    let odd = b.and(odd, one);
    let sum = b.add(bits, below_half);
    let sum = b.add(sum, odd);
    let near = b.and(sum, kept);
    let mut near = b.bitcast(near, DType::F32);
    if dtype == DType::F16 {
        let (low, minus) = (b.i32(i32::MAX), b.i32(i32::MIN));
        let magnitude = b.and(bits, low);
        let size = b.bitcast(magnitude, DType::F32);
        let sign = b.and(bits, minus);
        let signed = |b: &mut BodyBuilder, value: Val| {
            let bits = b.bitcast(value, DType::I32);
            let bits = b.or(bits, sign);
            b.bitcast(bits, DType::F32)
        };
        // Multiples of 2^-24 are what an f32 beside 1/2 can hold.
        let half = b.f32(0.5);
        let small = b.add(size, half);
        let small = b.sub(small, half);
        let small = signed(b, small);
        let smallest = b.f32(SMALLEST);
        let is_small = b.lt(size, smallest);
        near = b.select(is_small, small, near);
        let (beyond, infinity) = (b.f32(BEYOND), b.f32(f32::INFINITY));
        let infinity = signed(b, infinity);
        let is_beyond = b.le(beyond, size);
        near = b.select(is_beyond, infinity, near);
    }
    // A NaN whose bits are all low ones would become infinite.
    let nan = b.f32(f32::NAN);
    let is_nan = b.ne(x, x);
    b.select(is_nan, nan, near)
}

/// The number as an f32, rounded to odd: what f32 does not hold becomes the neighbour towards zero with its last bit set. Rounding that
/// to nearest in 16 bits is the same as rounding once (Boldo and Melquiond 2008).
fn to_odd(b: &mut BodyBuilder, x: Val) -> Val {
    let exact = match b.dtype(x) {
        DType::F32 => return x,
        DType::U8 | DType::Bool => return b.cast(x, DType::F32),
        // Beyond 2^53 an integer keeps, for its low bits, a bit that says whether there were any.
        DType::I64 => {
            let (low, zero, middle) = (b.i64(0x7ff), b.i64(0), b.i64(0x400));
            let low = b.and(x, low);
            let some = b.ne(low, zero);
            let high = b.abs(x);
            let high = b.shift(KOp::ShrU, high, 53);
            let large = b.ne(high, zero);
            let both = b.and(some, large);
            let cut = b.sub(x, low);
            let cut = b.add(cut, middle);
            let x = b.select(both, cut, x);
            b.cast(x, DType::F64)
        }
        _ => b.cast(x, DType::F64),
    };
    let near = b.cast(exact, DType::F32);
    let back = b.cast(near, DType::F64);
    let inexact = b.ne(back, exact);
    let (size, found) = (b.abs(exact), b.abs(back));
    let beyond = b.lt(size, found);
    let (one, zero) = (b.i32(1), b.i32(0));
    let less = b.select(beyond, one, zero);
    let bits = b.bitcast(near, DType::I32);
    let odd = b.sub(bits, less);
    let odd = b.or(odd, one);
    let bits = b.select(inexact, odd, bits);
    b.bitcast(bits, DType::F32)
}
