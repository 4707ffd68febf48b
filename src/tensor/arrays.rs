//! Tensors from and to the arrays of ndarray and the vectors of Rust.

use ndarray::{ArrayBase, ArrayD, Data, Dimension};

use super::{Element, Tensor, TensorError};

/// An array of any rank, owned or a view; its elements are shared where they can be.
///
/// ```
/// use nnc::ndarray::{Array2, array};
///
/// let tensor = nnc::Tensor::from(array![[1.0f32, 2.0], [3.0, 4.0]].t());
/// assert_eq!(tensor.contiguous().as_slice::<f32>().unwrap(), [1.0, 3.0, 2.0, 4.0]);
/// let back: Array2<f32> = nnc::ndarray::ArrayD::try_from(tensor)?.into_dimensionality().unwrap();
/// assert_eq!(back, array![[1.0, 3.0], [2.0, 4.0]]);
/// # Ok::<(), nnc::tensor::TensorError>(())
/// ```
impl<S: Data, D: Dimension> From<ArrayBase<S, D>> for Tensor
where
    S::Elem: Element,
{
    fn from(array: ArrayBase<S, D>) -> Tensor {
        S::Elem::to_tensor(array.into_dyn().into_owned().into_shared())
    }
}

/// A tensor of one axis.
impl<T: Element> From<Vec<T>> for Tensor {
    fn from(elements: Vec<T>) -> Tensor {
        Tensor::from(ndarray::Array1::from_vec(elements))
    }
}

/// The array of a tensor of this very element type; [`Tensor::cast`] converts others.
impl<T: Element> TryFrom<Tensor> for ArrayD<T> {
    type Error = TensorError;

    fn try_from(tensor: Tensor) -> Result<ArrayD<T>, TensorError> {
        let array = tensor.array::<T>().cloned();
        let found = tensor.dtype();
        // The tensor's own share is gone, so that elements nobody else has are moved, not copied.
        drop(tensor);
        array.map(|array| array.into_owned()).ok_or(TensorError::Dtype { wanted: T::DTYPE, found })
    }
}
