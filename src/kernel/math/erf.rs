//! The error function.

use super::{Format, exp, polynomial};
use crate::kernel::{BodyBuilder, Val};

/// erf(x)/x - 1 in x², |x| <= 0.9277 (N. Juffa's erff, with the coefficients below).
const NEAR_F32: [f64; 6] =
    [1.28379166e-1, -3.76125336e-1, 1.12819925e-1, -2.67681349e-2, 4.99119423e-3, -5.96761703e-4];
/// log(1 - erf(x)) + x in x, x > 0.9277; the constant is zero.
const FAR_F32: [f64; 7] = [
    -1.28717512e-1,
    -6.34846687e-1,
    -1.06777877e-1,
    2.42546219e-2,
    -3.88396438e-3,
    3.83197126e-4,
    -1.72853470e-5,
];
/// erf(x)/x - 1 in x², |x| <= 1: minimax, relative error 2e-19.
const NEAR_F64: [f64; 13] = [
    0.1283791670955126,
    -0.3761263890318375,
    0.11283791670954828,
    -0.026866170645067095,
    0.005223977624722141,
    -0.0008548326975243983,
    0.00012055330905143357,
    -1.4925590247895812e-05,
    1.6460919156146575e-06,
    -1.6349442757882445e-07,
    1.4653877440701641e-08,
    -1.1349892150823176e-09,
    5.918103909851503e-11,
];
/// (1 - erf(x)) e^(x²) in (x - 3) / (x + 3), 1 <= x <= 6: minimax, relative error 7e-19.
const FAR_F64: [f64; 17] = [
    0.17900115118138996,
    -0.3262335600430372,
    0.2456038017123309,
    -0.15011593650077584,
    0.07166583719797455,
    -0.0243924993187891,
    0.004269136333024049,
    0.0007077464434994342,
    -0.0005970619520615941,
    4.525520286775582e-05,
    6.405656598048368e-05,
    -1.2859366760673405e-05,
    -7.977635466388037e-06,
    2.1125723310507186e-06,
    1.2458702840847448e-06,
    -2.694882037161091e-07,
    -2.037376105325494e-07,
];

/// erf(x) = 2/sqrt(pi) times the integral of e^(-t²) from 0 to x, within 2 ulp.
pub fn erf(b: &mut BodyBuilder, x: &[Val]) -> Val {
    let (x, f) = (x[0], Format::of(b, x[0]));
    let size = b.abs(x);
    let square = b.mul(x, x);
    let p = polynomial(b, square, f.pick::<&[f64]>(&NEAR_F32, &NEAR_F64));
    let near = b.fma(p, x, x);
    let (zero, one) = (b.number(f.dtype, 0.0), b.number(f.dtype, 1.0));
    let rest = if f.pick(true, false) {
        let p = polynomial(b, size, &FAR_F32);
        let minus = b.neg(size);
        let exponent = b.fma(p, size, minus);
        exp(b, &[exponent])
    } else {
        let (three, six) = (b.f64(3.0), b.f64(6.0));
        let size = b.min(size, six);
        let (above, below) = (b.sub(size, three), b.add(size, three));
        let t = b.div(above, below);
        let p = polynomial(b, t, &FAR_F64);
        let square = b.mul(size, size);
        let minus = b.neg(square);
        let e = exp(b, &[minus]);
        b.mul(p, e)
    };
    let far = b.sub(one, rest);
    let minus = b.neg(far);
    let negative = b.lt(x, zero);
    let far = b.select(negative, minus, far);
    let bound = b.number(f.dtype, f.pick(0.927734375, 1.0));
    let beyond = b.lt(bound, size);
    // NaN takes the near side and stays.
    b.select(beyond, far, near)
}
