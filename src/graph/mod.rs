//! The tensor IR: its data, builder, verifier, printer and interpreter.

mod ir;

pub use ir::*;
