//! The exponential and what is made of it.

use super::{Format, polynomial};
use crate::kernel::{BodyBuilder, Val};

/// (e^r - 1 - r) / r² on |r| <= ln(2)/2: minimax, relative error 5e-20 of e^r for f64.
const EXP_F64: [f64; 11] = [
    0.5,
    0.16666666666666682,
    0.04166666666666609,
    0.008333333333316921,
    0.0013888888889117628,
    0.00019841269896672765,
    2.4801586923921192e-05,
    2.755723456573046e-06,
    2.7557583348031e-07,
    2.511214241974019e-08,
    2.0826375035717487e-09,
];
/// The same for f32 (coefficients of SLEEF's expf).
const EXP_F32: [f64; 6] = [
    0.5,
    0.16666667163372,
    0.04166648536920547,
    0.008333360776305199,
    0.0013930435525253415,
    0.00019852761761285365,
];

/// The largest arguments of f32 and f64 whose exponential is finite.
pub(super) const LARGEST: (f64, f64) = (88.72283172607422, 709.782712893384);

/// e^x, within 1 ulp; infinite beyond the largest number, zero where the result would be subnormal.
pub fn exp(b: &mut BodyBuilder, x: &[Val]) -> Val {
    let (x, f) = (x[0], Format::of(b, x[0]));
    // x = n ln 2 + r; the first part of ln 2 has trailing zeros, so n times it is exact.
    let (n, n_bits) = f.nearest_multiple(b, x, std::f64::consts::LOG2_E);
    let (hi, lo) =
        f.pick((0.693145751953125, 1.428606765330187e-6), (0.693147180559663, 2.8235290563031577e-13));
    let (minus_hi, minus_lo) = (b.number(f.dtype, -hi), b.number(f.dtype, -lo));
    let r = b.fma(n, minus_hi, x);
    let r = b.fma(n, minus_lo, r);
    let p = polynomial(b, r, f.pick::<&[f64]>(&EXP_F32, &EXP_F64));
    let square = b.mul(r, r);
    let one = b.number(f.dtype, 1.0);
    let p = b.fma(p, square, r);
    let p = b.add(p, one);
    let scaled = f.scale(b, p, n_bits);
    let smallest = b.number(f.dtype, f.pick(-87.33654022216797, -708.3964185322641));
    let largest = b.number(f.dtype, f.pick(LARGEST.0, LARGEST.1));
    let (zero, infinity) = (b.number(f.dtype, 0.0), b.number(f.dtype, f64::INFINITY));
    let tiny = b.lt(x, smallest);
    let finite = b.le(x, largest);
    let result = b.select(tiny, zero, scaled);
    // Infinity for large x and NaN for NaN.
    let beyond = b.add(x, infinity);
    b.select(finite, result, beyond)
}

/// 1 / (1 + e^-x), within 2.5 ulp, without overflow.
pub fn sigmoid(b: &mut BodyBuilder, x: &[Val]) -> Val {
    let (x, dtype) = (x[0], b.dtype(x[0]));
    let (zero, one) = (b.number(dtype, 0.0), b.number(dtype, 1.0));
    let size = b.abs(x);
    let minus = b.neg(size);
    let e = exp(b, &[minus]);
    let negative = b.lt(x, zero);
    let above = b.select(negative, e, one);
    let below = b.add(one, e);
    b.div(above, below)
}

/// (tanh(x)/x - 1) / x² in x², |x| <= 0.625 (Cephes).
const TANH_F32: [f64; 5] =
    [-3.33332819422e-1, 1.33314422036e-1, -5.37397155531e-2, 2.06390887954e-2, -5.70498872745e-3];
/// The same, minimax, relative error 1e-17.
const TANH_F64: [f64; 11] = [
    -0.33333333333332865,
    0.13333333333262895,
    -0.05396825393154221,
    0.021869487580426526,
    -0.00886322103715145,
    0.0035919892954919086,
    -0.0014549587930640729,
    0.0005863141957694288,
    -0.0002285557238053098,
    7.713086403832696e-05,
    -1.6064251206061978e-05,
];

/// The hyperbolic tangent, within 2 ulp.
pub fn tanh(b: &mut BodyBuilder, x: &[Val]) -> Val {
    let (x, f) = (x[0], Format::of(b, x[0]));
    let square = b.mul(x, x);
    let p = polynomial(b, square, f.pick::<&[f64]>(&TANH_F32, &TANH_F64));
    let cube = b.mul(square, x);
    let near = b.fma(p, cube, x);
    // 1 - 2 / (e^2|x| + 1), with the sign of x
    let size = b.abs(x);
    let twice = b.add(size, size);
    let e = exp(b, &[twice]);
    let (zero, one, two) = (b.number(f.dtype, 0.0), b.number(f.dtype, 1.0), b.number(f.dtype, 2.0));
    let below = b.add(e, one);
    let part = b.div(two, below);
    let far = b.sub(one, part);
    let minus = b.neg(far);
    let negative = b.lt(x, zero);
    let far = b.select(negative, minus, far);
    let bound = b.number(f.dtype, 0.625);
    let small = b.lt(size, bound);
    b.select(small, near, far)
}
