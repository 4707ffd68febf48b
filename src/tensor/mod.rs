//! Host values: what a program reads, writes and compares, on ndarray.
//!
//! A `Tensor` has a dtype, a shape and elements, nothing else: this room knows no axis names, no
//! graph and no machine code.

mod arrays;
mod cast;
mod compare;
mod dtype;
pub mod random;
mod sort;
mod value;

pub use cast::{Element, Number};
pub use compare::{Agreement, Difference, Tolerance};
pub use dtype::DType;
pub use sort::{Sorted, sort_row, sorts};
pub use value::{ArcArrayD, Tensor, TensorError};
