//! Arrays of numbers, whatever their type in the program.

use crate::tensor::{DType, Number, Tensor};

/// An array in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    pub shape: Vec<usize>,
    pub numbers: Vec<f64>,
}

impl Values {
    /// The array whose entry at each index is given.
    pub fn from_fn(shape: &[usize], mut entry: impl FnMut(&[usize]) -> f64) -> Values {
        let mut numbers = Vec::new();
        each_index(shape, &mut |at| numbers.push(entry(at)));
        Values { shape: shape.to_vec(), numbers }
    }

    pub fn of(tensor: &Tensor) -> Values {
        Values { shape: tensor.shape().to_vec(), numbers: tensor.numbers().map(Number::as_f64).collect() }
    }

    /// The entry at an index, which must lie inside.
    pub fn at(&self, index: &[usize]) -> f64 {
        let place = self.shape.iter().zip(index).fold(0, |place, (&size, &at)| place * size + at);
        self.numbers[place]
    }

    pub fn tensor(&self, dtype: DType) -> Option<Tensor> {
        Some(Tensor::from_vec(&self.shape, self.numbers.clone()).ok()?.cast(dtype))
    }

    /// The largest magnitude of a finite entry.
    pub fn largest(&self) -> f64 {
        self.numbers.iter().filter(|value| value.is_finite()).fold(0.0, |most, value| value.abs().max(most))
    }
}

/// All indices of a shape, in row-major order.
pub fn each_index(shape: &[usize], tell: &mut dyn FnMut(&[usize])) {
    let count: usize = shape.iter().product();
    let mut at = vec![0; shape.len()];
    for _ in 0..count {
        tell(&at);
        for (index, &size) in at.iter_mut().zip(shape).rev() {
            *index += 1;
            if *index < size {
                break;
            }
            *index = 0;
        }
    }
}

/// How far two numbers are apart; equal infinities and two NaN are not apart at all.
pub fn distance(left: f64, right: f64) -> f64 {
    if left == right || left.is_nan() && right.is_nan() {
        0.0
    } else if (left - right).is_nan() {
        f64::INFINITY
    } else {
        (left - right).abs()
    }
}
