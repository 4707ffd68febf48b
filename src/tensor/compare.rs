//! Comparison within tolerances, and a report of where two tensors differ most.

use std::fmt;

use super::cast::Number;
use super::dtype::DType;
use super::value::{Tensor, unravel};

/// `actual` agrees with `expected` when `|actual - expected| <= absolute + relative * |expected|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    pub relative: f64,
    pub absolute: f64,
}

impl Tolerance {
    pub const EXACT: Tolerance = Tolerance { relative: 0.0, absolute: 0.0 };

    pub const fn new(relative: f64, absolute: f64) -> Tolerance {
        Tolerance { relative, absolute }
    }
}

/// How well two tensors within tolerance agree: the largest `|actual - expected|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    pub deviation: f64,
}

/// How two tensors differ.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    DType { expected: DType, actual: DType },
    Shape { expected: Vec<usize>, actual: Vec<usize> },
    Values { at: Vec<usize>, expected: f64, actual: f64, outside: usize, of: usize, tolerance: Tolerance },
}

impl Tensor {
    /// Compares `self` with what it should be. NaN agrees with NaN, an infinity with itself.
    ///
    /// The report names the element that exceeds its tolerance by the largest factor.
    pub fn compare(&self, expected: &Tensor, tolerance: Tolerance) -> Result<Agreement, Box<Difference>> {
        let difference = |difference| Err(Box::new(difference));
        if self.dtype() != expected.dtype() {
            return difference(Difference::DType { expected: expected.dtype(), actual: self.dtype() });
        }
        if self.shape() != expected.shape() {
            let (expected, actual) = (expected.shape().to_vec(), self.shape().to_vec());
            return difference(Difference::Shape { expected, actual });
        }
        let mut deviation = 0f64;
        let mut outside = 0;
        // Excess over the tolerance, then distance; infinities order what both cannot.
        let mut worst: Option<((f64, f64), usize)> = None;
        for (position, (actual, expected)) in self.numbers().zip(expected.numbers()).enumerate() {
            let Some(distance) = distance(actual, expected) else {
                continue;
            };
            let allowed = tolerance.absolute + tolerance.relative * expected.as_f64().abs();
            if distance <= allowed && distance.is_finite() {
                deviation = deviation.max(distance);
                continue;
            }
            outside += 1;
            let excess = if distance.is_finite() { distance / allowed } else { f64::INFINITY };
            if worst.is_none_or(|(other, _)| (excess, distance) > other) {
                worst = Some(((excess, distance), position));
            }
        }
        let Some((_, position)) = worst else {
            return Ok(Agreement { deviation });
        };
        let value = |tensor: &Tensor| tensor.number(position).map_or(f64::NAN, Number::as_f64);
        difference(Difference::Values {
            at: unravel(position, self.shape()),
            expected: value(expected),
            actual: value(self),
            outside,
            of: self.len(),
            tolerance,
        })
    }
}

/// `|actual - expected|`, infinite where that is NaN; `None` where the two agree without tolerance.
fn distance(actual: Number, expected: Number) -> Option<f64> {
    if actual == expected {
        return None;
    }
    if let (Number::Int(a), Number::Int(b)) = (actual, expected) {
        return Some(a.abs_diff(b) as f64);
    }
    let (actual, expected) = (actual.as_f64(), expected.as_f64());
    if actual.is_nan() && expected.is_nan() {
        return None;
    }
    let distance = (actual - expected).abs();
    Some(if distance.is_nan() { f64::INFINITY } else { distance })
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::DType { expected, actual } => {
                write!(f, "the element type is {actual}, not {expected}")
            }
            Difference::Shape { expected, actual } => {
                write!(f, "the shape is {actual:?}, not {expected:?}")
            }
            Difference::Values { at, expected, actual, outside, of, tolerance } => {
                let distance = (actual - expected).abs();
                let Tolerance { relative, absolute } = tolerance;
                write!(
                    f,
                    "at {at:?} the value is {actual:?}, not {expected:?}: they differ by {distance:.3e}"
                )?;
                write!(f, " (allowed: {absolute:e} + {relative:e} * |expected|);")?;
                write!(f, " {outside} of {of} elements are outside the tolerance")
            }
        }
    }
}

impl std::error::Error for Difference {}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::from_vec(&[values.len()], values.to_vec()).unwrap()
    }

    #[test]
    fn the_worst_element_is_reported() {
        let expected = tensor(&[1.0, 100.0, 0.0]);
        let actual = tensor(&[1.1, 100.5, 0.0]);
        let tolerance = Tolerance::new(0.01, 0.0);
        let report = actual.compare(&expected, tolerance).unwrap_err();
        let Difference::Values { at, outside, of, .. } = &*report else { panic!("{report}") };
        assert_eq!((&at[..], *outside, *of), (&[0][..], 1, 3));
        assert!(report.to_string().starts_with("at [0] the value is 1.1"), "{report}");
        let agreement = actual.compare(&expected, Tolerance::new(0.2, 0.0)).unwrap();
        assert!((agreement.deviation - 0.5).abs() < 1e-6);
    }

    #[test]
    fn special_values_agree_with_themselves_alone() {
        let special = tensor(&[f32::NAN, f32::INFINITY, -0.0]);
        let loose = Tolerance::new(1e9, 1e9);
        assert!(special.compare(&tensor(&[f32::NAN, f32::INFINITY, 0.0]), Tolerance::EXACT).is_ok());
        for other in [[1.0, f32::INFINITY, 0.0], [f32::NAN, f32::NEG_INFINITY, 0.0], [f32::NAN, 1.0, 0.0]] {
            let report = special.compare(&tensor(&other), loose).unwrap_err();
            assert!(matches!(*report, Difference::Values { outside: 1, .. }), "{report}");
            assert!(tensor(&other).compare(&special, loose).is_err());
        }
    }

    #[test]
    fn types_shapes_and_large_integers_are_compared() {
        let one = Tensor::scalar(1i64);
        assert!(matches!(
            *one.compare(&Tensor::scalar(1i32), Tolerance::EXACT).unwrap_err(),
            Difference::DType { .. }
        ));
        assert!(matches!(
            *tensor(&[1.0]).compare(&tensor(&[]), Tolerance::EXACT).unwrap_err(),
            Difference::Shape { .. }
        ));
        let next = Tensor::scalar(i64::MAX - 1);
        assert!(Tensor::scalar(i64::MAX).compare(&next, Tolerance::EXACT).is_err());
    }
}
