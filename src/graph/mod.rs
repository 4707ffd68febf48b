//! The tensor IR: its data, builder, verifier, printer and interpreter.

mod build;
mod index;
mod interpret;
mod ir;
mod print;
pub mod sets;
mod verify;
pub mod walk;

pub use build::{Builder, ScanResults};
pub use interpret::{first_not_finite, interpret};
pub use ir::*;
pub use print::Names;
pub use verify::{Defect, verify};

#[cfg(test)]
pub(crate) mod tests;
