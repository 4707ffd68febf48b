//! Kernels to machine code.
//!
//! This room knows the kernel IR and the contractions' blobs. It must never know a graph, a tensor's values or a thread.

mod code;
pub mod cranelift;
mod entry;
pub mod object;
mod wide;

pub use code::{Code, CodegenError, KernelFn};
