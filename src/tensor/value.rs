//! `Tensor`: an array of one of the eight element types, shared until it is written to.

use std::fmt;

use half::{bf16, f16};
use ndarray::{ArcArray, Axis, IxDyn};
use thiserror::Error;

use super::cast::{Element, Number};
use super::dtype::DType;

/// A shared array of any rank.
pub type ArcArrayD<T> = ArcArray<T, IxDyn>;

/// A host value. Cloning shares the elements.
#[derive(Clone, Debug, PartialEq)]
pub enum Tensor {
    F32(ArcArrayD<f32>),
    F64(ArcArrayD<f64>),
    BF16(ArcArrayD<bf16>),
    F16(ArcArrayD<f16>),
    I32(ArcArrayD<i32>),
    I64(ArcArrayD<i64>),
    U8(ArcArrayD<u8>),
    Bool(ArcArrayD<bool>),
}

/// Why a tensor cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TensorError {
    #[error("{dtype}{shape:?} has more elements than memory can address")]
    TooLarge { dtype: DType, shape: Vec<usize> },
    #[error("no memory for {dtype}{shape:?}, {bytes} bytes")]
    OutOfMemory { dtype: DType, shape: Vec<usize>, bytes: usize },
    #[error("{found} do not fill {dtype}{shape:?}")]
    Count { dtype: DType, shape: Vec<usize>, found: String },
    #[error("element {at} of a bool tensor is the byte {byte}, neither 0 nor 1")]
    NotBool { at: usize, byte: u8 },
    #[error("the elements are {found}, not {wanted}")]
    Dtype { wanted: DType, found: DType },
}

/// Runs an expression with the array of a tensor, whatever its element type.
macro_rules! each {
    ($tensor:expr, $array:ident => $body:expr) => {
        match $tensor {
            Tensor::F32($array) => $body,
            Tensor::F64($array) => $body,
            Tensor::BF16($array) => $body,
            Tensor::F16($array) => $body,
            Tensor::I32($array) => $body,
            Tensor::I64($array) => $body,
            Tensor::U8($array) => $body,
            Tensor::Bool($array) => $body,
        }
    };
}

/// Runs an expression with the Rust type of a dtype.
macro_rules! with_type {
    ($dtype:expr, $type:ident => $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $type = f32;
                $body
            }
            DType::F64 => {
                type $type = f64;
                $body
            }
            DType::BF16 => {
                type $type = bf16;
                $body
            }
            DType::F16 => {
                type $type = f16;
                $body
            }
            DType::I32 => {
                type $type = i32;
                $body
            }
            DType::I64 => {
                type $type = i64;
                $body
            }
            DType::U8 => {
                type $type = u8;
                $body
            }
            DType::Bool => {
                type $type = bool;
                $body
            }
        }
    };
}

impl Tensor {
    /// A tensor of zeros (`false` for bool).
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Tensor, TensorError> {
        with_type!(dtype, T => {
            let mut elements: Vec<T> = reserve(shape)?;
            elements.resize(elements.capacity(), T::default());
            Tensor::from_vec(shape, elements)
        })
    }

    pub fn scalar<T: Element>(value: T) -> Tensor {
        T::to_tensor(ArcArrayD::from_elem(IxDyn(&[]), value))
    }

    /// A tensor from its elements in row-major order.
    pub fn from_vec<T: Element>(shape: &[usize], elements: Vec<T>) -> Result<Tensor, TensorError> {
        let (dtype, count) = (T::DTYPE, elements.len());
        let needed = dtype.bytes(shape);
        let needed = needed.ok_or_else(|| TensorError::TooLarge { dtype, shape: shape.to_vec() })?;
        let array = ArcArrayD::from_shape_vec(IxDyn(shape), elements);
        match array {
            Ok(array) if needed == count * dtype.size() => Ok(T::to_tensor(array)),
            _ => {
                let found = format!("{count} elements");
                Err(TensorError::Count { dtype, shape: shape.to_vec(), found })
            }
        }
    }

    /// A tensor from the little-endian bytes of its elements in row-major order.
    pub fn from_le_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor, TensorError> {
        if dtype.bytes(shape) != Some(bytes.len()) {
            let found = format!("{} bytes", bytes.len());
            return Err(TensorError::Count { dtype, shape: shape.to_vec(), found });
        }
        with_type!(dtype, T => {
            let mut elements: Vec<T> = reserve(shape)?;
            elements.resize(bytes.len() / dtype.size(), T::default());
            <T as Element>::from_le_bytes(bytes, &mut elements)
                .map_err(|at| TensorError::NotBool { at, byte: bytes[at] })?;
            Tensor::from_vec(shape, elements)
        })
    }

    /// The elements in row-major order as little-endian bytes.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        fn append<T: Element>(array: &ArcArrayD<T>, bytes: &mut Vec<u8>) {
            match array.as_slice() {
                Some(elements) => T::to_le_bytes(elements, bytes),
                None => array.iter().for_each(|element| T::to_le_bytes(&[*element], bytes)),
            }
        }
        let mut bytes = Vec::with_capacity(self.len() * self.dtype().size());
        each!(self, array => append(array, &mut bytes));
        bytes
    }

    pub fn dtype(&self) -> DType {
        match self {
            Tensor::F32(_) => DType::F32,
            Tensor::F64(_) => DType::F64,
            Tensor::BF16(_) => DType::BF16,
            Tensor::F16(_) => DType::F16,
            Tensor::I32(_) => DType::I32,
            Tensor::I64(_) => DType::I64,
            Tensor::U8(_) => DType::U8,
            Tensor::Bool(_) => DType::Bool,
        }
    }

    pub fn shape(&self) -> &[usize] {
        each!(self, array => array.shape())
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        each!(self, array => array.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The array, where the elements are of type `T`.
    pub fn array<T: Element>(&self) -> Option<&ArcArrayD<T>> {
        T::of(self)
    }

    /// The elements in row-major order, where they are of type `T` and lie so in memory.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        T::of(self)?.as_slice()
    }

    /// As `as_slice`; shared elements are copied first, others put in order.
    pub fn as_mut_slice<T: Element>(&mut self) -> Option<&mut [T]> {
        let array = T::of_mut(self)?;
        if !array.is_standard_layout() {
            *array = array.as_standard_layout().into_owned().into_shared();
        }
        array.as_slice_mut()
    }

    /// The same elements in row-major order in memory; shares them where they already are.
    pub fn contiguous(&self) -> Tensor {
        fn standard<T: Element>(array: &ArcArrayD<T>) -> Tensor {
            match array.is_standard_layout() {
                true => T::to_tensor(array.clone()),
                false => T::to_tensor(array.as_standard_layout().into_owned().into_shared()),
            }
        }
        each!(self, array => standard(array))
    }

    /// The first element, of `len() * dtype().size()` bytes in row-major order; `None` where they do
    /// not lie so (see `contiguous`). The pointer is valid for reads while the tensor lives.
    pub fn as_ptr(&self) -> Option<*const u8> {
        each!(self, array => array.is_standard_layout().then(|| array.as_ptr().cast()))
    }

    /// As `as_ptr`, for writing: the elements are made unshared and put in order. Whoever writes
    /// keeps bytes of a bool tensor 0 or 1.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        fn pointer<T: Element>(tensor: &mut Tensor) -> *mut u8 {
            // The element type is the tensor's own, so there is a slice.
            tensor.as_mut_slice::<T>().map_or(std::ptr::null_mut(), |slice| slice.as_mut_ptr().cast())
        }
        with_type!(self.dtype(), T => pointer::<T>(self))
    }

    /// The same elements under another shape of as many; `None` where the counts differ.
    pub fn reshape(&self, shape: &[usize]) -> Option<Tensor> {
        fn reshaped<T: Element>(array: &ArcArrayD<T>, shape: &[usize]) -> Option<Tensor> {
            array.to_shape(IxDyn(shape)).ok()?;
            let array = match array.is_standard_layout() {
                true => array.clone(),
                false => array.as_standard_layout().into_owned().into_shared(),
            };
            Some(T::to_tensor(array.into_shape_with_order(IxDyn(shape)).ok()?))
        }
        if self.dtype().bytes(shape)? != self.len() * self.dtype().size() {
            return None;
        }
        each!(self, array => reshaped(array, shape))
    }

    /// The same elements with all axes in reverse order, shared.
    pub fn reversed_axes(&self) -> Tensor {
        fn reversed<T: Element>(array: &ArcArrayD<T>) -> Tensor {
            T::to_tensor(array.clone().reversed_axes())
        }
        each!(self, array => reversed(array))
    }

    /// The same elements with axis `axes[i]` as axis i, shared; `None` where `axes` are not all axes, each once.
    pub fn permuted(&self, axes: &[usize]) -> Option<Tensor> {
        fn permuted<T: Element>(array: &ArcArrayD<T>, axes: &[usize]) -> Tensor {
            T::to_tensor(array.clone().permuted_axes(IxDyn(axes)))
        }
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        let all = sorted.into_iter().eq(0..self.shape().len());
        all.then(|| each!(self, array => permuted(array, axes)))
    }

    /// The rows of the first axis with these indices, in this order; `None` where the tensor has no
    /// axis or an index is out of range.
    pub fn take_rows(&self, indices: &[usize]) -> Option<Tensor> {
        fn taken<T: Element>(array: &ArcArrayD<T>, indices: &[usize]) -> Tensor {
            T::to_tensor(array.select(Axis(0), indices).into_shared())
        }
        let rows = *self.shape().first()?;
        let in_range = indices.iter().all(|&index| index < rows);
        in_range.then(|| each!(self, array => taken(array, indices)))
    }

    /// The element at a row-major position, as a number.
    pub fn number(&self, position: usize) -> Option<Number> {
        let mut rest = position;
        let mut index = vec![0; self.shape().len()];
        for (index, &size) in index.iter_mut().zip(self.shape()).rev() {
            *index = rest.checked_rem(size)?;
            rest /= size;
        }
        if rest != 0 {
            return None;
        }
        each!(self, array => array.get(IxDyn(&index)).map(|x| x.to_number()))
    }

    /// All elements in row-major order, as numbers.
    pub fn numbers(&self) -> Box<dyn Iterator<Item = Number> + '_> {
        each!(self, array => Box::new(array.iter().map(|x| x.to_number())))
    }

    /// The tensor with elements of another type, converted as `cast.rs` says.
    pub fn cast(&self, dtype: DType) -> Tensor {
        fn converted<S: Element, T: Element>(array: &ArcArrayD<S>) -> Tensor {
            T::to_tensor(array.map(|&x| T::from_number(x.to_number())).into_shared())
        }
        if dtype == self.dtype() {
            return self.clone();
        }
        each!(self, array => with_type!(dtype, T => converted::<_, T>(array)))
    }

    /// Whether no element is infinite or NaN.
    pub fn all_finite(&self) -> bool {
        match self {
            Tensor::F32(array) => array.iter().all(|x| x.is_finite()),
            Tensor::F64(array) => array.iter().all(|x| x.is_finite()),
            Tensor::BF16(array) => array.iter().all(|x| x.is_finite()),
            Tensor::F16(array) => array.iter().all(|x| x.is_finite()),
            Tensor::I32(_) | Tensor::I64(_) | Tensor::U8(_) | Tensor::Bool(_) => true,
        }
    }

    /// The indices of the first element that is infinite or NaN.
    pub fn first_non_finite(&self) -> Option<Vec<usize>> {
        let position = self.numbers().position(|number| !number.is_finite())?;
        Some(unravel(position, self.shape()))
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        each!(self, array => fmt::Display::fmt(array, f))
    }
}

/// Room for exactly the elements of a shape, or an error in place of an abort.
fn reserve<T: Element>(shape: &[usize]) -> Result<Vec<T>, TensorError> {
    let dtype = T::DTYPE;
    let bytes = dtype.bytes(shape);
    let bytes = bytes.ok_or_else(|| TensorError::TooLarge { dtype, shape: shape.to_vec() })?;
    let mut elements = Vec::new();
    match elements.try_reserve_exact(bytes / dtype.size()) {
        Ok(()) => Ok(elements),
        Err(_) => Err(TensorError::OutOfMemory { dtype, shape: shape.to_vec(), bytes }),
    }
}

/// The indices of a row-major position, which must lie within `shape`.
pub(super) fn unravel(position: usize, shape: &[usize]) -> Vec<usize> {
    let mut rest = position;
    let mut index = vec![0; shape.len()];
    for (index, &size) in index.iter_mut().zip(shape).rev() {
        *index = rest % size;
        rest /= size;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Tensor {
        Tensor::from_vec(&[2, 3], vec![0f32, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap()
    }

    #[test]
    fn bytes_round_trip() {
        for dtype in DType::ALL {
            let tensor = matrix().cast(dtype);
            let bytes = tensor.to_le_bytes();
            assert_eq!(bytes.len(), 6 * dtype.size());
            assert_eq!(Tensor::from_le_bytes(dtype, &[2, 3], &bytes), Ok(tensor));
            let short = Tensor::from_le_bytes(dtype, &[2, 3], &bytes[1..]);
            assert!(matches!(short, Err(TensorError::Count { .. })));
        }
        let wrong = Tensor::from_le_bytes(DType::Bool, &[2], &[1, 2]);
        assert_eq!(wrong, Err(TensorError::NotBool { at: 1, byte: 2 }));
    }

    #[test]
    fn sizes_are_checked() {
        let huge = [usize::MAX, 2];
        assert!(matches!(Tensor::zeros(DType::F32, &huge), Err(TensorError::TooLarge { .. })));
        let hidden = [0, usize::MAX, usize::MAX];
        assert!(matches!(Tensor::zeros(DType::U8, &hidden), Err(TensorError::TooLarge { .. })));
        let large = [1 << 58];
        assert!(matches!(Tensor::zeros(DType::F64, &large), Err(TensorError::OutOfMemory { .. })));
        assert_eq!(Tensor::zeros(DType::F64, &[0, 7]).unwrap().len(), 0);
        assert!(matches!(Tensor::from_vec(&[3], vec![1i32]), Err(TensorError::Count { .. })));
        assert!(matches!(Tensor::from_vec(&[0], vec![1i32]), Err(TensorError::Count { .. })));
    }

    #[test]
    fn writing_leaves_clones_alone() {
        let first = matrix();
        let mut second = first.clone();
        assert_eq!(first.as_ptr(), second.as_ptr());
        second.as_mut_slice::<f32>().unwrap()[0] = 9.0;
        assert_eq!(first.number(0), Some(Number::Float(0.0)));
        assert_eq!(second.number(0), Some(Number::Float(9.0)));
        assert_eq!(second.as_mut_ptr().cast_const(), second.as_ptr().unwrap());
        assert!(second.as_slice::<f64>().is_none());
    }

    #[test]
    fn transposed_arrays_are_put_in_order() {
        let turned = matrix().reversed_axes();
        assert_eq!(turned.as_ptr(), None);
        assert_eq!(turned.contiguous().as_slice::<f32>().unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(turned.reshape(&[6]).unwrap(), turned.contiguous().reshape(&[6]).unwrap());
        assert_eq!(turned.number(1), Some(Number::Float(3.0)));
        assert_eq!(turned.number(6), None);
        assert_eq!(turned.cast(DType::I32).number(5), Some(Number::Int(5)));
        assert_eq!(turned.reshape(&[5]), None);
    }

    #[test]
    fn rows_are_taken_in_order() {
        let taken = matrix().take_rows(&[1, 0, 1]).unwrap();
        assert_eq!(taken.shape(), [3, 3]);
        assert_eq!(taken.number(0), Some(Number::Float(3.0)));
        assert_eq!(matrix().take_rows(&[2]), None);
        assert_eq!(Tensor::scalar(1f32).take_rows(&[0]), None);
    }

    #[test]
    fn finiteness_is_seen() {
        assert!(matrix().all_finite());
        let mut tensor = matrix();
        tensor.as_mut_slice::<f32>().unwrap()[4] = f32::NAN;
        assert!(!tensor.all_finite());
        assert_eq!(tensor.first_non_finite(), Some(vec![1, 1]));
    }
}
