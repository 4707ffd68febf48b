//! Elements and conversions between them.
//!
//! Casts saturate: a value outside the target's range becomes the nearest end, NaN becomes 0.
//! Towards an integer, fractions are cut off. Towards a float, values round to nearest, ties to
//! even, in one step, and overflow to infinity. Towards bool, everything but zero is true.

use half::{bf16, f16};
use zerocopy::IntoBytes;

use super::dtype::DType;
use super::value::{ArcArrayD, Tensor};

/// An element on its way between types, without loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(value) => value as f64,
            Number::Float(value) => value,
        }
    }

    pub fn is_finite(self) -> bool {
        self.as_f64().is_finite()
    }
}

/// A Rust type that can be an element of a `Tensor`.
pub trait Element: Copy + PartialEq + Default + std::fmt::Debug + Send + Sync + 'static {
    const DTYPE: DType;

    fn to_number(self) -> Number;

    /// The nearest element, by the rules of this file.
    fn from_number(number: Number) -> Self;

    fn to_tensor(array: ArcArrayD<Self>) -> Tensor;

    /// The array of a tensor of this very dtype.
    fn of(tensor: &Tensor) -> Option<&ArcArrayD<Self>>;

    fn of_mut(tensor: &mut Tensor) -> Option<&mut ArcArrayD<Self>>;

    /// Appends elements as little-endian bytes.
    fn to_le_bytes(elements: &[Self], bytes: &mut Vec<u8>);

    /// Fills elements from little-endian bytes, `DTYPE.size()` for each. Gives the first that its bytes are none of.
    fn from_le_bytes(bytes: &[u8], elements: &mut [Self]) -> Result<(), usize>;
}

macro_rules! element {
    ($type:ident, $variant:ident, $to:expr, $from:expr) => {
        impl Element for $type {
            const DTYPE: DType = DType::$variant;

            fn to_number(self) -> Number {
                $to(self)
            }

            fn from_number(number: Number) -> $type {
                $from(number)
            }

            fn to_tensor(array: ArcArrayD<$type>) -> Tensor {
                Tensor::$variant(array)
            }

            fn of(tensor: &Tensor) -> Option<&ArcArrayD<$type>> {
                match tensor {
                    Tensor::$variant(array) => Some(array),
                    _ => None,
                }
            }

            fn of_mut(tensor: &mut Tensor) -> Option<&mut ArcArrayD<$type>> {
                match tensor {
                    Tensor::$variant(array) => Some(array),
                    _ => None,
                }
            }

            element!(@bytes $type);
        }
    };
    (@bytes bool) => {
        fn to_le_bytes(elements: &[bool], bytes: &mut Vec<u8>) {
            bytes.extend_from_slice(elements.as_bytes());
        }

        fn from_le_bytes(bytes: &[u8], elements: &mut [bool]) -> Result<(), usize> {
            match bytes.iter().position(|byte| *byte > 1) {
                Some(at) => Err(at),
                None => {
                    elements.iter_mut().zip(bytes).for_each(|(element, byte)| *element = *byte == 1);
                    Ok(())
                }
            }
        }
    };
    (@bytes $type:ident) => {
        fn to_le_bytes(elements: &[$type], bytes: &mut Vec<u8>) {
            if cfg!(target_endian = "little") {
                bytes.extend_from_slice(elements.as_bytes());
            } else {
                elements.iter().for_each(|element| bytes.extend_from_slice(&element.to_le_bytes()));
            }
        }

        fn from_le_bytes(bytes: &[u8], elements: &mut [$type]) -> Result<(), usize> {
            elements.as_mut_bytes().copy_from_slice(bytes);
            if cfg!(target_endian = "big") {
                elements.iter_mut().for_each(|element| *element = <$type>::from_le_bytes(element.to_ne_bytes()));
            }
            Ok(())
        }
    };
}

element!(f32, F32, |x| Number::Float(f64::from(x)), |number| match number {
    Number::Int(value) => value as f32,
    Number::Float(value) => value as f32,
});
element!(f64, F64, Number::Float, Number::as_f64);
element!(bf16, BF16, |x: bf16| Number::Float(x.to_f64()), |n| bf16::from_f32(to_odd(n)));
element!(f16, F16, |x: f16| Number::Float(x.to_f64()), |n| f16::from_f32(to_odd(n)));
element!(i32, I32, |x| Number::Int(i64::from(x)), |number| match number {
    Number::Int(value) => value.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32,
    Number::Float(value) => value as i32,
});
element!(i64, I64, Number::Int, |number| match number {
    Number::Int(value) => value,
    Number::Float(value) => value as i64,
});
element!(u8, U8, |x| Number::Int(i64::from(x)), |number| match number {
    Number::Int(value) => value.clamp(0, i64::from(u8::MAX)) as u8,
    Number::Float(value) => value as u8,
});
element!(bool, Bool, |x| Number::Int(i64::from(x)), |number| match number {
    Number::Int(value) => value != 0,
    Number::Float(value) => value != 0.0,
});

/// The number rounded to odd: what f32 does not hold becomes the neighbour towards zero with its
/// last bit set. Rounding that to nearest in 16 bits is the same as rounding once
/// (Boldo and Melquiond 2008), which `half` does not do for f64.
fn to_odd(number: Number) -> f32 {
    let exact = match number {
        Number::Float(value) => value,
        // Beyond 2^53 an integer keeps, for its low bits, a bit that says whether there were any.
        Number::Int(value) => match value & 0x7ff {
            low if low != 0 && value.unsigned_abs() >> 53 != 0 => (value - low + 0x400) as f64,
            _ => value as f64,
        },
    };
    let near = exact as f32;
    if near.is_nan() || f64::from(near) == exact {
        return near;
    }
    let beyond = f64::from(near).abs() > exact.abs();
    f32::from_bits((near.to_bits() - u32::from(beyond)) | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cast<S: Element, T: Element>(value: S) -> T {
        T::from_number(value.to_number())
    }

    #[test]
    fn casts_saturate() {
        assert_eq!(cast::<f32, u8>(300.0), 255);
        assert_eq!(cast::<f32, u8>(-1.0), 0);
        assert_eq!(cast::<f32, i32>(-2.9), -2);
        assert_eq!(cast::<f64, i64>(1e30), i64::MAX);
        assert_eq!(cast::<f64, i32>(f64::NAN), 0);
        assert_eq!(cast::<f32, i32>(f32::NEG_INFINITY), i32::MIN);
        assert_eq!(cast::<i64, i32>(1 << 40), i32::MAX);
        assert_eq!(cast::<i64, i32>(-(1 << 40)), i32::MIN);
        assert_eq!(cast::<i32, u8>(-5), 0);
        assert_eq!(cast::<bool, f32>(true), 1.0);
        assert!(cast::<f32, bool>(f32::NAN) && cast::<f32, bool>(0.5) && !cast::<f32, bool>(-0.0));
        assert_eq!(cast::<f64, f32>(1e300), f32::INFINITY);
    }

    #[test]
    fn narrow_floats_round_once() {
        assert_eq!(cast::<f32, bf16>(1.0 + 1.0 / 256.0), bf16::from_f32(1.0));
        assert_eq!(cast::<f32, f16>(65520.0), f16::INFINITY);
        assert_eq!(cast::<f32, f16>(65519.0).to_f32(), 65504.0);
        // One above a tie of bf16 (8 bits), far below the precision of f64.
        let tie = (1i64 << 62) + (1 << 54);
        assert_eq!(cast::<i64, bf16>(tie).to_f64(), 2f64.powi(62));
        assert!(cast::<i64, bf16>(tie + 1).to_f64() > 2f64.powi(62));
        let above = 1.0 + 2f64.powi(-8) + 2f64.powi(-40);
        assert_eq!(cast::<f64, bf16>(above).to_f64(), 1.0 + 2f64.powi(-7));
        assert_eq!(cast::<f64, f16>(1e300), f16::INFINITY);
        assert_eq!(cast::<f64, f16>(-1e-300).to_f64(), 0.0);
        assert!(cast::<f64, bf16>(f64::NAN).is_nan());
        assert_eq!(cast::<i64, f32>(i64::MAX), 2f32.powi(63));
    }
}
