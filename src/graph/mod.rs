//! The tensor IR: its data, builder, verifier, printer and interpreter.

mod build;
mod index;
mod ir;
pub mod sets;

pub use build::{Builder, ScanResults};
pub use ir::*;
