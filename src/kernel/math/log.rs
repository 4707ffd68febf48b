//! The natural logarithm.

use super::{Format, polynomial};
use crate::kernel::{BodyBuilder, Val};

/// (log(1 + x) - x + x²/2) / x³ for 1 + x in [sqrt(1/2), sqrt(2)] (Cephes).
const LOG_F32: [f64; 9] = [
    3.3333331174e-1,
    -2.4999993993e-1,
    2.0000714765e-1,
    -1.6668057665e-1,
    1.4249322787e-1,
    -1.2420140846e-1,
    1.1676998740e-1,
    -1.1514610310e-1,
    7.0376836292e-2,
];
/// (atanh(s)/s - 1) / s² in s², |s| <= (sqrt(2) - 1) / (sqrt(2) + 1): minimax, relative error 9e-21.
pub(super) const ATANH_F64: [f64; 8] = [
    0.3333333333333333,
    0.20000000000003348,
    0.142857142844705,
    0.11111111334332385,
    0.09090886956491141,
    0.07693583738285759,
    0.06624193297611429,
    0.06633543317070736,
];

/// The natural logarithm, within 1 ulp. Of zeros (and subnormal numbers) minus infinity, NaN below.
pub fn log(b: &mut BodyBuilder, x: &[Val]) -> Val {
    let (x, f) = (x[0], Format::of(b, x[0]));
    let (e, m) = f.split(b, x);
    let one = b.number(f.dtype, 1.0);
    let r = b.sub(m, one);
    let half = b.number(f.dtype, 0.5);
    let square = b.mul(r, r);
    let result = if f.pick(true, false) {
        let p = polynomial(b, r, &LOG_F32);
        let cube = b.mul(square, r);
        let (lo, hi) = (b.number(f.dtype, -2.12194440e-4), b.number(f.dtype, 0.693359375));
        let tail = b.mul(e, lo);
        let tail = b.fma(p, cube, tail);
        let minus_half = b.neg(half);
        let tail = b.fma(minus_half, square, tail);
        let sum = b.add(r, tail);
        b.fma(e, hi, sum)
    } else {
        // Sun's form: log(1 + r) = r - (h - s (h + R)), s = r / (2 + r), h = r²/2.
        let two = b.f64(2.0);
        let below = b.add(two, r);
        let s = b.div(r, below);
        let z = b.mul(s, s);
        let p = polynomial(b, z, &ATANH_F64);
        let h = b.mul(half, square);
        let z2 = b.add(z, z);
        let hr = b.fma(p, z2, h);
        let (hi, lo) = (b.f64(0.6931471803691238), b.f64(1.9082149292705877e-10));
        let tail = b.mul(e, lo);
        let tail = b.fma(s, hr, tail);
        let tail = b.sub(h, tail);
        let tail = b.sub(tail, r);
        let whole = b.mul(e, hi);
        b.sub(whole, tail)
    };
    let smallest = b.number(f.dtype, f.pick(f64::from(f32::MIN_POSITIVE), f64::MIN_POSITIVE));
    let (zero, infinity) = (b.number(f.dtype, 0.0), b.number(f.dtype, f64::INFINITY));
    let (nan, minus_infinity) = (b.number(f.dtype, f64::NAN), b.number(f.dtype, f64::NEG_INFINITY));
    let tiny = b.lt(x, smallest);
    let negative = b.lt(x, zero);
    let special = b.select(negative, nan, minus_infinity);
    let finite = b.lt(x, infinity);
    // Infinity and NaN stay.
    let result = b.select(finite, result, x);
    b.select(tiny, special, result)
}
