//! Values as the interpreter has them: arrays of numbers whose axes stand in ascending order.

use cranelift_entity::SecondaryMap;
use ndarray::{ArrayD, Axis as Place, Dimension, IxDyn};
use thiserror::Error;

use crate::axes::{Dim, DimError, DimVar};
use crate::graph::sets::without;
use crate::graph::{Affine, Axis, AxisSet, Graph, Index, Reducer};
use crate::ops::value::{max, min, round};
use crate::tensor::{DType, Number};

/// A value: elements of `dtype`, one dimension for each axis.
#[derive(Clone, Debug)]
pub struct Array {
    pub axes: AxisSet,
    pub dtype: DType,
    pub values: ArrayD<Number>,
}

/// Why a graph has no value.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum EvalError {
    #[error(transparent)]
    Size(#[from] DimError),
    #[error("a value of {0:?} elements is too large to be interpreted")]
    TooLarge(Vec<usize>),
    #[error("axis `{axis}` has {size} indices, but {index} is read")]
    OutOfRange { axis: String, size: usize, index: i64 },
    #[error("axis `{axis}` has a negative size, {size}")]
    Negative { axis: String, size: i64 },
    #[error("input `{name}` is {found}, but must be {expected}")]
    Input { name: String, found: String, expected: String },
}

/// No value of the interpreter has more elements.
const MOST: usize = 1 << 28;

/// What evaluation knows besides the arguments.
pub struct EvalCx<'a> {
    pub graph: &'a Graph,
    pub dims: &'a dyn Fn(&DimVar) -> Option<i64>,
    /// The current index of the axes that scans have bound.
    pub bound: SecondaryMap<Axis, Option<i64>>,
}

impl EvalCx<'_> {
    pub fn dim(&self, dim: &Dim) -> Result<i64, DimError> {
        dim.as_const().map_or_else(|| dim.eval_with(self.dims), Ok)
    }

    pub fn size(&self, axis: Axis) -> Result<usize, EvalError> {
        let data = &self.graph.axes[axis];
        let size = self.dim(&data.size)?;
        usize::try_from(size).map_err(|_| EvalError::Negative { axis: data.name.to_string(), size })
    }

    pub fn shape(&self, axes: &[Axis]) -> Result<Vec<usize>, EvalError> {
        let shape = axes.iter().map(|axis| self.size(*axis)).collect::<Result<Vec<_>, _>>()?;
        let count = shape.iter().try_fold(1usize, |count, size| count.checked_mul((*size).max(1)));
        if count.is_none_or(|count| count > MOST) {
            return Err(EvalError::TooLarge(shape));
        }
        Ok(shape)
    }

    /// The axes that a value has here, without those that are bound.
    pub fn free(&self, axes: &[Axis]) -> AxisSet {
        axes.iter().copied().filter(|axis| self.bound[*axis].is_none()).collect()
    }

    /// `index`, if it lies within the axis.
    pub fn check(&self, axis: Axis, index: i64) -> Result<usize, EvalError> {
        let size = self.size(axis)?;
        match usize::try_from(index) {
            Ok(index) if index < size => Ok(index),
            _ => Err(EvalError::OutOfRange { axis: self.graph.axes[axis].name.to_string(), size, index }),
        }
    }

    /// The expression with numbers for dims, and for bound axes.
    pub fn resolve(&self, index: &Index) -> Result<Index, DimError> {
        Ok(match index {
            Index::Affine(affine) => {
                let mut resolved = Affine::constant(self.dim(&affine.constant)?);
                for (axis, factor) in &affine.terms {
                    let factor = Dim::from(self.dim(factor)?);
                    let term = match self.bound[*axis] {
                        Some(at) => Affine::constant(at),
                        None => Affine::axis(*axis),
                    };
                    resolved = resolved.plus(&term.times(&factor)?)?;
                }
                Index::Affine(resolved)
            }
            Index::Sum(parts) => {
                let parts = parts.iter().map(|(f, part)| Ok((Dim::from(self.dim(f)?), self.resolve(part)?)));
                Index::Sum(parts.collect::<Result<_, DimError>>()?)
            }
            Index::Div(index, by) => Index::Div(Box::new(self.resolve(index)?), self.dim(by)?.into()),
            Index::Rem(index, by) => Index::Rem(Box::new(self.resolve(index)?), self.dim(by)?.into()),
        })
    }
}

impl Array {
    pub fn scalar(dtype: DType, value: Number) -> Array {
        Array { axes: AxisSet::new(), dtype, values: ArrayD::from_elem(IxDyn(&[]), value) }
    }

    /// An array whose entries are a function of their coordinates, which come in the order of the axes.
    pub fn from_fn(
        cx: &EvalCx,
        axes: AxisSet,
        dtype: DType,
        mut entry: impl FnMut(&[usize]) -> Result<Number, EvalError>,
    ) -> Result<Array, EvalError> {
        let shape = cx.shape(&axes)?;
        let mut values = Vec::with_capacity(shape.iter().product());
        for at in ndarray::indices(IxDyn(&shape)) {
            values.push(entry(at.slice())?);
        }
        let values = ArrayD::from_shape_vec(IxDyn(&shape), values).expect("one value for each index");
        Ok(Array { axes, dtype, values })
    }

    /// The values repeated along the axes (a superset of the array's) that it does not have, in row-major order.
    pub fn spread(&self, axes: &[Axis], shape: &[usize]) -> Vec<Number> {
        let mut view = self.values.view();
        for (place, axis) in axes.iter().enumerate() {
            if !self.axes.contains(axis) {
                view = view.insert_axis(Place(place));
            }
        }
        let view = view.broadcast(IxDyn(shape)).expect("an axis has one size");
        view.iter().copied().collect()
    }

    /// The array's entry at one index of an axis.
    pub fn entry(&self, axis: Axis, index: usize) -> Array {
        let Some(place) = self.axes.iter().position(|own| *own == axis) else { return self.clone() };
        let values = self.values.index_axis(Place(place), index).to_owned();
        Array { axes: without(&self.axes, &[axis]), dtype: self.dtype, values }
    }

    /// Position of an axis among the array's.
    pub fn place(&self, axis: Axis) -> Option<usize> {
        self.axes.iter().position(|own| *own == axis)
    }

    pub fn number(&self, at: &[usize]) -> Number {
        self.values[IxDyn(at)]
    }
}

/// What a reducer gives over nothing.
pub fn neutral(op: Reducer, dtype: DType) -> Number {
    let (least, most) = match dtype {
        DType::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        DType::U8 => (0, 255),
        _ => (i64::MIN, i64::MAX),
    };
    let float = dtype.is_float();
    match op {
        Reducer::Sum if float => Number::Float(0.0),
        Reducer::Prod if float => Number::Float(1.0),
        Reducer::Max if float => Number::Float(f64::NEG_INFINITY),
        Reducer::Min if float => Number::Float(f64::INFINITY),
        Reducer::Sum | Reducer::Any | Reducer::ArgMax | Reducer::ArgMin => Number::Int(0),
        Reducer::Prod | Reducer::All => Number::Int(1),
        Reducer::Max => Number::Int(least),
        Reducer::Min => Number::Int(most),
    }
}

/// All entries combined. Sums and products of floats are taken in f64 and rounded once, so that they are as good as the dtype allows.
pub fn combine(op: Reducer, dtype: DType, entries: impl Iterator<Item = Number>) -> Number {
    let start = neutral(op, dtype);
    match op {
        Reducer::ArgMax | Reducer::ArgMin => {
            let mut best: Option<(usize, Number)> = None;
            for (at, entry) in entries.enumerate() {
                let better = best.is_none_or(|(_, best)| match (entry, best) {
                    (Number::Int(x), Number::Int(y)) => {
                        if op == Reducer::ArgMax {
                            x > y
                        } else {
                            x < y
                        }
                    }
                    (x, y) => {
                        let (x, y) = (x.as_f64(), y.as_f64());
                        !y.is_nan() && (x.is_nan() || if op == Reducer::ArgMax { x > y } else { x < y })
                    }
                });
                if better {
                    best = Some((at, entry));
                }
            }
            Number::Int(best.map_or(0, |(at, _)| at as i64))
        }
        _ => round(entries.fold(start, |total, entry| two(op, total, entry)), dtype),
    }
}

fn two(op: Reducer, x: Number, y: Number) -> Number {
    match (x, y) {
        (Number::Float(x), Number::Float(y)) => Number::Float(match op {
            Reducer::Sum => x + y,
            Reducer::Prod => x * y,
            Reducer::Max => max(x, y),
            _ => min(x, y),
        }),
        (Number::Int(x), Number::Int(y)) => Number::Int(match op {
            Reducer::Sum => x.wrapping_add(y),
            Reducer::Prod => x.wrapping_mul(y),
            Reducer::Max | Reducer::Any => x.max(y),
            _ => x.min(y),
        }),
        (x, _) => x,
    }
}
