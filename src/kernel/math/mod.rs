//! Scalar functions as kernel instructions: one function each, `fn(&mut BodyBuilder, &[Val]) -> Val`, for every dtype that has it.
//!
//! Every code generator gets the same instructions, so results agree to the bit wherever `Fma` is rounded once. Errors are stated in ulp
//! of the result's dtype. In f32, subnormal operands count as zero and subnormal results are zero; NaN stays NaN everywhere.

mod basic;
mod erf;
mod exp;
mod half;
mod log;
mod pow;
mod trig;

pub use basic::*;
pub use erf::erf;
pub use exp::{exp, sigmoid, tanh};
pub use half::{decode, encode, rounded};
pub use log::log;
pub use pow::pow;
pub(super) use trig::sin_in_quarter;
pub use trig::{cos, sin};

use super::{BodyBuilder, KOp, Val};
use crate::tensor::DType;

/// `Σ coefficients[i] * x^i` by Horner's rule.
fn polynomial(b: &mut BodyBuilder, x: Val, coefficients: &[f64]) -> Val {
    let dtype = b.dtype(x);
    let (last, rest) = coefficients.split_last().expect("a polynomial has a coefficient");
    let mut sum = b.number(dtype, *last);
    for &c in rest.iter().rev() {
        let c = b.number(dtype, c);
        sum = b.fma(sum, x, c);
    }
    sum
}

/// The layout of a float dtype.
struct Format {
    dtype: DType,
    /// The integers of the same width.
    bits: DType,
    /// Bits of the significand behind the point.
    fraction: u32,
    bias: i64,
    /// 1.5 * 2^fraction: adding it rounds to an integer that then stands in the low bits.
    magic: f64,
}

impl Format {
    fn of(b: &BodyBuilder, x: Val) -> Format {
        match b.dtype(x) {
            DType::F32 => {
                Format { dtype: DType::F32, bits: DType::I32, fraction: 23, bias: 127, magic: 12582912.0 }
            }
            DType::F64 => Format {
                dtype: DType::F64,
                bits: DType::I64,
                fraction: 52,
                bias: 1023,
                magic: 6755399441055744.0,
            },
            other => panic!("a function of real numbers on {other}"),
        }
    }

    /// One of two choices by width.
    fn pick<T>(&self, single: T, double: T) -> T {
        if self.dtype == DType::F32 { single } else { double }
    }

    /// An integer of the float's width.
    fn int(&self, b: &mut BodyBuilder, value: i64) -> Val {
        match self.dtype {
            DType::F32 => b.i32(value as i32),
            _ => b.i64(value),
        }
    }

    /// `x * factor` rounded to an integer: as a float, and in the low bits of an integer.
    fn nearest_multiple(&self, b: &mut BodyBuilder, x: Val, factor: f64) -> (Val, Val) {
        let (factor, magic) = (b.number(self.dtype, factor), b.number(self.dtype, self.magic));
        let shifted = b.fma(x, factor, magic);
        (b.sub(shifted, magic), b.bitcast(shifted, self.bits))
    }

    /// `x * 2^n`, n in the low bits of `n`; result and x must be normal.
    fn scale(&self, b: &mut BodyBuilder, x: Val, n: Val) -> Val {
        let exponent = b.shift(KOp::Shl, n, self.fraction);
        let bits = b.bitcast(x, self.bits);
        let bits = b.add(bits, exponent);
        b.bitcast(bits, self.dtype)
    }

    /// x = 2^e * m with m in [sqrt(1/2), sqrt(2)), e as a float, for normal positive x.
    fn split(&self, b: &mut BodyBuilder, x: Val) -> (Val, Val) {
        let half = self.pick(
            i64::from(std::f32::consts::FRAC_1_SQRT_2.to_bits()),
            std::f64::consts::FRAC_1_SQRT_2.to_bits() as i64,
        );
        let one = self.bias << self.fraction;
        let bits = b.bitcast(x, self.bits);
        let (offset, half) = (self.int(b, one - half), self.int(b, half));
        let shifted = b.add(bits, offset);
        let biased = b.shift(KOp::ShrS, shifted, self.fraction);
        let fraction = self.int(b, (1 << self.fraction) - 1);
        let fraction = b.and(shifted, fraction);
        let m = b.add(fraction, half);
        let m = b.bitcast(m, self.dtype);
        // Integers below 2^51 as floats by their bits: machines of 128 bits have no vector conversion from i64.
        let bits_of_magic = self.pick(i64::from((self.magic as f32).to_bits()), self.magic.to_bits() as i64);
        let offset = self.int(b, bits_of_magic - self.bias);
        let e = b.add(biased, offset);
        let e = b.bitcast(e, self.dtype);
        let magic = b.number(self.dtype, self.magic);
        (b.sub(e, magic), m)
    }
}
