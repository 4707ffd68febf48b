//! `Array`: bytes of one dtype that kernels read and write in place, aligned to cache lines.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use half::{bf16, f16};
use thiserror::Error;

use crate::tensor::{DType, Element, Number, Tensor, TensorError};

/// What every array and the arena are aligned to.
pub const ALIGN: usize = 64;

/// The system has no such memory.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no memory for {0} bytes")]
pub struct OutOfMemory(pub usize);

/// Elements of one dtype without a shape. Its address does not change while it lives.
pub struct Array {
    dtype: DType,
    bytes: Block,
    stamp: Stamp,
}

/// Names the contents of an array: it changes whenever the array may be written, and what has one stamp has the same contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(u64);

impl Stamp {
    fn new() -> Stamp {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Stamp(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Owned, zeroed, aligned memory.
pub(super) struct Block {
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: the block owns its memory, like a `Box<[u8]>`.
unsafe impl Send for Block {}
// SAFETY: a shared block gives shared access only.
unsafe impl Sync for Block {}

impl Block {
    pub fn zeroed(len: usize) -> Result<Block, OutOfMemory> {
        let layout = Layout::from_size_align(len, ALIGN).map_err(|_| OutOfMemory(len))?;
        if len == 0 {
            let at = NonNull::without_provenance(std::num::NonZeroUsize::new(ALIGN).ok_or(OutOfMemory(0))?);
            return Ok(Block { at, len });
        }
        // SAFETY: the layout's size is not zero.
        let at = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(OutOfMemory(len))?;
        Ok(Block { at, len })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn as_ptr(&self) -> *const u8 {
        self.at.as_ptr()
    }

    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.at.as_ptr()
    }

    fn as_slice(&self) -> &[u8] {
        // SAFETY: `len` bytes at `at` are ours and initialised.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let (true, Ok(layout)) = (self.len > 0, Layout::from_size_align(self.len, ALIGN)) {
            // SAFETY: allocated in `zeroed` with this layout.
            unsafe { dealloc(self.at.as_ptr(), layout) }
        }
    }
}

impl Array {
    /// `len` zeros.
    pub fn zeros(dtype: DType, len: usize) -> Result<Array, OutOfMemory> {
        let bytes = len.checked_mul(dtype.size()).ok_or(OutOfMemory(usize::MAX))?;
        Ok(Array { dtype, bytes: Block::zeroed(bytes)?, stamp: Stamp::new() })
    }

    /// The elements of a tensor in row-major order.
    pub fn from_tensor(tensor: &Tensor) -> Result<Array, OutOfMemory> {
        let mut array = Array::zeros(tensor.dtype(), tensor.len())?;
        array.bytes_mut().copy_from_slice(&tensor.to_le_bytes());
        Ok(array)
    }

    pub fn from_slice<T: Element>(elements: &[T]) -> Result<Array, OutOfMemory> {
        let mut array = Array::zeros(T::DTYPE, elements.len())?;
        if let Some(place) = array.as_mut_slice() {
            place.copy_from_slice(elements);
        }
        Ok(array)
    }

    /// A copy in this shape, row-major.
    pub fn to_tensor(&self, shape: &[usize]) -> Result<Tensor, TensorError> {
        Tensor::from_le_bytes(self.dtype, shape, self.bytes())
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len / self.dtype.size()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.len == 0
    }

    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// Whoever writes a `Bool` array writes only 0 and 1.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.stamp = Stamp::new();
        self.bytes.as_mut_slice()
    }

    /// The elements; `None` for another type.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        // SAFETY: the memory holds `len` elements of this dtype, aligned to more than any; bools are 0 or 1.
        (T::DTYPE == self.dtype)
            .then(|| unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.len()) })
    }

    /// The elements; `None` for another type.
    pub fn as_mut_slice<T: Element>(&mut self) -> Option<&mut [T]> {
        let len = self.len();
        self.stamp = Stamp::new();
        // SAFETY: as above, and `self` is borrowed alone.
        (T::DTYPE == self.dtype)
            .then(|| unsafe { std::slice::from_raw_parts_mut(self.bytes.as_mut_ptr().cast(), len) })
    }

    /// The first element.
    pub fn first(&self) -> Option<Number> {
        self.of_each(|elements| elements.next())
    }

    /// Whether no element is infinite or NaN.
    pub fn all_finite(&self) -> bool {
        !self.dtype.is_float() || self.of_each(|mut all| Iterator::all(&mut all, |x| x.is_finite()))
    }

    /// Does something with the elements as numbers.
    fn of_each<R>(&self, with: impl FnOnce(&mut dyn Iterator<Item = Number>) -> R) -> R {
        fn numbers<T: Element>(array: &Array) -> impl Iterator<Item = Number> {
            array.as_slice::<T>().unwrap_or_default().iter().map(|element| element.to_number())
        }
        match self.dtype {
            DType::F32 => with(&mut numbers::<f32>(self)),
            DType::F64 => with(&mut numbers::<f64>(self)),
            DType::BF16 => with(&mut numbers::<bf16>(self)),
            DType::F16 => with(&mut numbers::<f16>(self)),
            DType::I32 => with(&mut numbers::<i32>(self)),
            DType::I64 => with(&mut numbers::<i64>(self)),
            DType::U8 => with(&mut numbers::<u8>(self)),
            DType::Bool => with(&mut numbers::<bool>(self)),
        }
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.stamp = Stamp::new();
        self.bytes.as_mut_ptr()
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }
}

impl std::fmt::Debug for Array {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.dtype, self.len())
    }
}

impl Clone for Array {
    /// Aborts like every allocation of the standard library where memory ends.
    fn clone(&self) -> Array {
        let Ok(mut copy) = Array::zeros(self.dtype, self.len()) else {
            std::alloc::handle_alloc_error(Layout::for_value(self.bytes()))
        };
        copy.bytes_mut().copy_from_slice(self.bytes());
        copy
    }
}
