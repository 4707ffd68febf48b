//! Machine code for any processor that Cranelift knows.

mod address;
mod contract;
mod emit;
mod jit;
mod lanes;
mod loops;
mod scalar;
#[cfg(test)]
mod tests;
pub mod tile;

pub use jit::{Options, compile, text};
