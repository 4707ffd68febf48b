//! Sine and cosine.

use super::{Format, polynomial};
use crate::kernel::{BodyBuilder, KOp, Val};

/// (sin(r)/r - 1) / r² in r² (Cephes).
const SIN_F32: [f64; 3] = [-1.6666654611e-1, 8.3321608736e-3, -1.9515295891e-4];
/// (cos(r) - 1 + r²/2) / r⁴ in r² (Cephes).
const COS_F32: [f64; 3] = [4.166664568298827e-2, -1.388731625493765e-3, 2.443315711809948e-5];
/// Minimax on |r| <= 0.81, relative error 3e-21.
const SIN_F64: [f64; 7] = [
    -0.16666666666666666,
    0.008333333333333318,
    -0.00019841269841250087,
    2.755731921162876e-06,
    -2.505210425069498e-08,
    1.6058283315629875e-10,
    -7.574614729217291e-13,
];
const COS_F64: [f64; 7] = [
    0.041666666666666664,
    -0.0013888888888888868,
    2.480158730156613e-05,
    -2.7557319213107756e-07,
    2.0876753863766333e-09,
    -1.147023721819237e-11,
    4.735624232492109e-14,
];

/// The sine: within 2 ulp for |x| <= 1e5 (f64: 1e9). The error then grows; from about 4e6 (f64: 2e15) on the result is only
/// a number in -1..1. NaN of infinities.
pub fn sin(b: &mut BodyBuilder, x: &[Val]) -> Val {
    turn(b, x[0], 0)
}

/// The cosine, with the bounds of [`sin`].
pub fn cos(b: &mut BodyBuilder, x: &[Val]) -> Val {
    turn(b, x[0], 1)
}

/// sin(x + quarters * pi/2)
fn turn(b: &mut BodyBuilder, x: Val, quarters: i64) -> Val {
    let f = Format::of(b, x);
    // x = n pi/2 + r. With one rounding a step the first difference is exact and the others round it once each (Cody and Waite 1980).
    let (n, n_bits) = f.nearest_multiple(b, x, std::f64::consts::FRAC_2_PI);
    let parts: [f64; 3] = f.pick(
        [1.5707963705062866, -4.371138828673793e-8, -1.7151245100058819e-15],
        [std::f64::consts::FRAC_PI_2, 6.123233995736766e-17, -1.4973849048591698e-33],
    );
    let mut r = x;
    for part in parts {
        let part = b.number(f.dtype, -part);
        r = b.fma(n, part, r);
    }
    // Far beyond the range where n is exact r is no rest any more; NaN stays.
    let (zero, one) = (b.number(f.dtype, 0.0), b.number(f.dtype, 1.0));
    let size = b.abs(r);
    let lost = b.lt(one, size);
    let r = b.select(lost, zero, r);
    let shift = f.int(b, quarters);
    let quarter = b.add(n_bits, shift);
    sin_in_quarter(b, r, quarter)
}

/// sin(r + quarter * pi/2), |r| <= 0.81: within 1 ulp. `quarter` is an integer of the float's width, of which the low two bits count.
pub(in crate::kernel) fn sin_in_quarter(b: &mut BodyBuilder, r: Val, quarter: Val) -> Val {
    let f = Format::of(b, r);
    let one = b.number(f.dtype, 1.0);
    let z = b.mul(r, r);
    let p = polynomial(b, z, f.pick::<&[f64]>(&SIN_F32, &SIN_F64));
    let cube = b.mul(z, r);
    let sine = b.fma(p, cube, r);
    let p = polynomial(b, z, f.pick::<&[f64]>(&COS_F32, &COS_F64));
    let minus_half = b.number(f.dtype, -0.5);
    let near = b.fma(minus_half, z, one);
    let fourth = b.mul(z, z);
    let cosine = b.fma(p, fourth, near);
    let bit0 = f.int(b, 1);
    let odd = b.and(quarter, bit0);
    let odd = b.eq(odd, bit0);
    let value = b.select(odd, cosine, sine);
    // The second bit of the quarter is the sign.
    let sign = b.shift(KOp::ShrU, quarter, 1);
    let sign = b.shift(KOp::Shl, sign, f.pick(31, 63));
    let bits = b.bitcast(value, f.bits);
    let bits = b.xor(bits, sign);
    b.bitcast(bits, f.dtype)
}
