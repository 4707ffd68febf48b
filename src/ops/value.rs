//! Values of the scalar functions, and arrays of them as the interpreter has them.
//!
//! f32 is computed in f32, f64 in f64, integers with wrapping; the floats of 16 bits are only cast, rounded once.
//! Denormal numbers of f32 and bf16 are zero, as in generated code; f64 and f16 keep them.

use half::{bf16, f16};

use crate::tensor::{DType, Number};

/// How a value comes about from the arguments' values.
#[derive(Clone, Copy)]
pub enum Value {
    Float1(fn(f32) -> f32, fn(f64) -> f64),
    Float2(fn(f32, f32) -> f32, fn(f64, f64) -> f64),
    /// The function on floats is exact, so that f64 serves all.
    Number1(fn(f64) -> f64, fn(i64) -> i64),
    Number2(fn(f32, f32) -> f32, fn(f64, f64) -> f64, fn(i64, i64) -> i64),
    /// Exact in f64 for all floats, in i64 for all others.
    Compare(fn(f64, f64) -> bool, fn(i64, i64) -> bool),
    /// Of one argument: the second is false.
    Logic(fn(bool, bool) -> bool),
    /// The second argument where the first is true, else the third.
    Select,
    Cast(DType),
}

impl Value {
    /// The value for arguments whose last one has this dtype, before it is brought to the result's dtype.
    fn raw(self, dtype: DType, args: &[Number]) -> Number {
        let float = |k: usize| args[k].as_f64();
        let int = |k: usize| as_int(args[k]);
        let narrow = dtype != DType::F64;
        match self {
            Value::Float1(single, _) if narrow => Number::Float(single(float(0) as f32).into()),
            Value::Float1(_, double) => Number::Float(double(float(0))),
            Value::Float2(single, _) if narrow => {
                Number::Float(single(float(0) as f32, float(1) as f32).into())
            }
            Value::Float2(_, double) => Number::Float(double(float(0), float(1))),
            Value::Number1(of_float, _) if dtype.is_float() => Number::Float(of_float(float(0))),
            Value::Number1(_, of_int) => Number::Int(of_int(int(0))),
            Value::Number2(_, _, of_int) if !dtype.is_float() => Number::Int(of_int(int(0), int(1))),
            Value::Number2(single, _, _) if narrow => {
                Number::Float(single(float(0) as f32, float(1) as f32).into())
            }
            Value::Number2(_, double, _) => Number::Float(double(float(0), float(1))),
            Value::Compare(of_float, _) if dtype.is_float() => truth(of_float(float(0), float(1))),
            Value::Compare(_, of_int) => truth(of_int(int(0), int(1))),
            Value::Logic(function) => truth(function(int(0) != 0, args.len() > 1 && int(1) != 0)),
            Value::Select => args[if int(0) != 0 { 1 } else { 2 }],
            Value::Cast(_) => args[0],
        }
    }
}

impl super::ScalarFn {
    /// The value for arguments of these dtypes, or rather of the last one's: the function's dtype rule fixes the others.
    pub fn eval(self, dtype: DType, args: &[Number]) -> Number {
        let value = self.def().value;
        let raw = value.raw(dtype, args);
        match value {
            Value::Cast(to) => saturate(raw, to),
            Value::Compare(..) | Value::Logic(_) => raw,
            _ => round(raw, dtype),
        }
    }
}

fn truth(value: bool) -> Number {
    Number::Int(value.into())
}

fn as_int(number: Number) -> i64 {
    match number {
        Number::Int(value) => value,
        Number::Float(value) => value as i64,
    }
}

/// The number as an element of this dtype: floats rounded, integers wrapped.
pub fn round(number: Number, dtype: DType) -> Number {
    match (dtype, number) {
        (DType::I32, Number::Int(value)) => Number::Int(i64::from(value as i32)),
        (DType::U8, Number::Int(value)) => Number::Int(i64::from(value as u8)),
        (DType::F32, Number::Float(value)) => Number::Float(flush(value as f32).into()),
        _ => number,
    }
}

/// The number converted to this dtype, as casts do: saturating.
pub fn saturate(number: Number, dtype: DType) -> Number {
    use crate::tensor::Element;
    match dtype {
        DType::F32 => Number::Float(flush(f32::from_number(number)).into()),
        DType::F64 => f64::from_number(number).to_number(),
        DType::BF16 => {
            let value = bf16::from_number(number);
            // What lies below the smallest normal f32 is zero before it is rounded, too.
            let denormal = number.as_f64().abs() < f64::from(f32::MIN_POSITIVE);
            Number::Float(if denormal { 0f64.copysign(value.to_f64()) } else { value.to_f64() })
        }
        DType::F16 => f16::from_number(number).to_number(),
        DType::I32 => i32::from_number(number).to_number(),
        DType::I64 => i64::from_number(number).to_number(),
        DType::U8 => u8::from_number(number).to_number(),
        DType::Bool => bool::from_number(number).to_number(),
    }
}

fn flush(value: f32) -> f32 {
    if value.is_subnormal() { 0f32.copysign(value) } else { value }
}

pub(super) fn sign(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() { x } else { x.signum() }
}

pub(super) fn sigmoid32(x: f32) -> f32 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

pub(super) fn sigmoid64(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

pub(super) fn rem32(x: f32, y: f32) -> f32 {
    x - y * (x / y).floor()
}

pub(super) fn rem64(x: f64, y: f64) -> f64 {
    x - y * (x / y).floor()
}

/// NaN if either is.
pub(super) fn max<T: PartialOrd>(x: T, y: T) -> T {
    #[expect(clippy::eq_op, reason = "the test for NaN, for both widths")]
    if x != x || x > y { x } else { y }
}

/// NaN if either is.
pub(super) fn min<T: PartialOrd>(x: T, y: T) -> T {
    #[expect(clippy::eq_op, reason = "the test for NaN, for both widths")]
    if x != x || x < y { x } else { y }
}

pub(super) fn floor_div(x: i64, y: i64) -> i64 {
    if y == 0 {
        return 0;
    }
    let quotient = x.wrapping_div(y);
    let inexact = x.wrapping_rem(y) != 0;
    if inexact && (x < 0) != (y < 0) { quotient - 1 } else { quotient }
}

pub(super) fn floor_rem(x: i64, y: i64) -> i64 {
    if y == 0 {
        return 0;
    }
    x.wrapping_sub(y.wrapping_mul(floor_div(x, y)))
}
