//! Kernels to machine code.

pub mod cranelift;
