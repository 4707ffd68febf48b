//! Readers and writers of array files: npy, npz, safetensors, csv, idx and plain text.
//!
//! Files are not trusted: whatever is in them, reading ends in a value or a `FormatError`, and no
//! size that a file declares is allocated before that many bytes have been read. This room knows
//! tensors and nothing of programs; how an error is shown is decided above.

pub mod csv;
pub mod idx;
pub mod npy;
pub mod npz;
pub mod safetensors;
pub mod source;
pub mod text;
pub mod weights;
mod error;
mod write;
#[cfg(test)]
mod tests;

pub use error::{FormatError, Problem};
pub use write::{replace, write_atomic};

use crate::tensor::DType;

/// What a file's header says of one array. The name is empty where the format has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayInfo {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
}
