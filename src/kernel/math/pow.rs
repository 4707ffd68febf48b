//! Powers.

use super::exp::{LARGEST, exp};
use super::log::ATANH_F64;
use super::{Format, polynomial};
use crate::kernel::{BodyBuilder, KOp, Val};
use crate::tensor::DType;

/// (atanh(q)/q - 1) / q² in q² (N. Juffa's powf).
const ATANH_F32: [f64; 4] = [0.3333332539, 0.2000148296, 0.1419928074, 0.1293334961];

/// x^y. Floats: within 2 ulp (f64: 8 ulp where the result is beyond 1e±250), and as IEEE 754 says at zeros, infinities and negative x.
/// Integers wrap; a negative exponent gives 0 unless x is 1 or -1.
pub fn pow(b: &mut BodyBuilder, x: &[Val]) -> Val {
    if b.dtype(x[0]).is_float() { real(b, x[0], x[1]) } else { integer(b, x[0], x[1]) }
}

fn real(b: &mut BodyBuilder, x: Val, y: Val) -> Val {
    let f = Format::of(b, x);
    let (zero, one) = (b.number(f.dtype, 0.0), b.number(f.dtype, 1.0));
    let (infinity, nan) = (b.number(f.dtype, f64::INFINITY), b.number(f.dtype, f64::NAN));
    let size = b.abs(x);
    let power = positive(b, &f, size, y);
    // Zero and infinity to a power
    let smallest = b.number(f.dtype, f.pick(f64::from(f32::MIN_POSITIVE), f64::MIN_POSITIVE));
    let falling = b.lt(y, zero);
    let of_zero = b.select(falling, infinity, zero);
    let of_infinity = b.select(falling, zero, infinity);
    let vanishes = b.lt(size, smallest);
    let infinite = b.eq(size, infinity);
    let power = b.select(vanishes, of_zero, power);
    let power = b.select(infinite, of_infinity, power);
    // Negative x: only whole exponents, and odd ones keep the sign.
    let half = b.number(f.dtype, 0.5);
    let floor = b.op(KOp::Floor, &[y]);
    let whole = b.eq(floor, y);
    let halved = b.mul(y, half);
    let floor = b.op(KOp::Floor, &[halved]);
    let fraction = b.ne(floor, halved);
    let odd = b.and(whole, fraction);
    let bits = b.bitcast(x, f.bits);
    let zero_bits = f.int(b, 0);
    let negative = b.lt(bits, zero_bits);
    let minus = b.neg(power);
    let flips = b.and(odd, negative);
    let power = b.select(flips, minus, power);
    let below = b.lt(x, zero);
    let broken = b.not(whole);
    let finite = b.lt(size, infinity);
    let complex = b.and(below, broken);
    let complex = b.and(complex, finite);
    let power = b.select(complex, nan, power);
    // NaN stays, but x^0 = 1^y = (-1)^(±infinity) = 1.
    let sum = b.add(x, y);
    let (x_nan, y_nan) = (b.ne(x, x), b.ne(y, y));
    let unknown = b.or(x_nan, y_nan);
    let power = b.select(unknown, sum, power);
    let unit = b.eq(size, one);
    let y_size = b.abs(y);
    let endless = b.eq(y_size, infinity);
    let endless = b.and(unit, endless);
    let trivial = b.eq(y, zero);
    let unit = b.eq(x, one);
    let trivial = b.or(trivial, unit);
    let trivial = b.or(trivial, endless);
    b.select(trivial, one, power)
}

/// x^y for normal positive x: e^(y log x) with the logarithm in two parts (N. Juffa's scheme).
fn positive(b: &mut BodyBuilder, f: &Format, x: Val, y: Val) -> Val {
    let (one, two) = (b.number(f.dtype, 1.0), b.number(f.dtype, 2.0));
    let (e, m) = f.split(b, x);
    // q = (m - 1) / (m + 1), in two parts
    let above = b.sub(m, one);
    let below = b.add(m, one);
    let inverse = b.div(one, below);
    let q = b.mul(inverse, above);
    let minus_two = b.neg(two);
    let rest = b.fma(q, minus_two, above);
    let minus_above = b.neg(above);
    let rest = b.fma(q, minus_above, rest);
    let q_lo = b.mul(inverse, rest);
    // q², q³
    let s = b.mul(q, q);
    let minus_s = b.neg(s);
    let twice_lo = b.add(q_lo, q_lo);
    let s_lo = b.fma(q, q, minus_s);
    let s_lo = b.fma(q, twice_lo, s_lo);
    let p = b.mul(s, q);
    let minus_p = b.neg(p);
    let p_lo = b.fma(s, q, minus_p);
    let p_lo = b.fma(s_lo, q, p_lo);
    let p_lo = b.fma(s, q_lo, p_lo);
    // log x = e ln 2 + 2 (q + q³ r(q²))
    let r = polynomial(b, s, f.pick::<&[f64]>(&ATANH_F32, &ATANH_F64));
    let tail = b.fma(r, p_lo, q_lo);
    let tail = b.fma(r, p, tail);
    let (hi, lo) = f
        .pick((0.6931471824645996, -1.9046542121259336e-9), (std::f64::consts::LN_2, 2.3190468138462996e-17));
    let (hi, lo) = (b.number(f.dtype, hi), b.number(f.dtype, lo));
    let twice = b.add(q, q);
    let t = b.fma(hi, e, twice);
    let minus_hi = b.neg(hi);
    let part = b.fma(minus_hi, e, t);
    let lost = b.sub(twice, part);
    let tail = b.fma(two, tail, lost);
    let tail = b.fma(lo, e, tail);
    let log = b.add(t, tail);
    let gone = b.sub(t, log);
    let log_lo = b.add(gone, tail);
    // y log x, in two parts
    let hi = b.mul(log, y);
    let minus = b.neg(hi);
    let lo = b.fma(log, y, minus);
    let lo = b.fma(log_lo, y, lo);
    let main = exp(b, &[hi]);
    // e^(hi + lo) = e^hi + lo e^hi where that is finite.
    let corrected = b.fma(lo, main, main);
    let bound = b.number(f.dtype, f.pick(LARGEST.0, LARGEST.1));
    let size = b.abs(hi);
    let moderate = b.le(size, bound);
    b.select(moderate, corrected, main)
}

/// By squaring, a step for each bit of the exponent.
fn integer(b: &mut BodyBuilder, x: Val, y: Val) -> Val {
    let dtype = b.dtype(x);
    let one = b.number(dtype, 1.0);
    let zero = b.number(dtype, 0.0);
    let bits = match dtype {
        DType::U8 => 8,
        DType::I32 => 31,
        _ => 63,
    };
    let (mut power, mut base) = (one, x);
    for bit in 0..bits {
        let mask = b.number(dtype, (1u64 << bit) as f64);
        let set = b.and(y, mask);
        let set = b.ne(set, zero);
        let product = b.mul(power, base);
        power = b.select(set, product, power);
        base = b.mul(base, base);
    }
    if dtype == DType::U8 {
        return power;
    }
    let minus = b.number(dtype, -1.0);
    let odd = b.and(y, one);
    let odd = b.ne(odd, zero);
    let of_minus = b.select(odd, minus, one);
    let is_minus = b.eq(x, minus);
    let is_one = b.eq(x, one);
    let inverse = b.select(is_minus, of_minus, zero);
    let inverse = b.select(is_one, one, inverse);
    let falling = b.lt(y, zero);
    b.select(falling, inverse, power)
}
