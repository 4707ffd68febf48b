//! Machine code for any processor that Cranelift knows.

mod accs;
mod address;
#[cfg(test)]
mod bench;
mod contract;
mod emit;
mod jit;
mod lane_loops;
mod lanes;
mod loops;
#[cfg(test)]
mod half_tests;
#[cfg(test)]
mod math_tests;
pub(in crate::codegen) mod place;
mod scalar;
#[cfg(test)]
mod tests;
pub mod tile;
mod wide_loops;

pub use jit::{Options, compile, text};
pub use wide_loops::Widen;
