//! A compiler for neural networks: [`compile`] gives a program's models, which run. The rooms, from the cellar up: each imports only those
//! before it.

pub mod base;
pub mod diag;
pub mod syntax;
pub mod axes;
pub mod tensor;
pub mod tiles;
pub mod kernel;
pub mod graph;
pub mod ops;
pub mod autodiff;
pub mod check;
pub mod elaborate;
pub mod passes;
pub mod lower;
pub mod codegen;
pub mod runtime;
pub mod formats;
pub mod train;
pub mod session;
pub mod interface;
pub mod verify;
pub mod repl;
pub mod lsp;
pub mod cli;

pub use interface::{Error, Model, Program, compile, compile_file, compile_with};
pub use ndarray;
pub use tensor::{DType, Tensor};

/// Tests that stand in `tests/` and are run inside, too, name the crate as they do outside.
#[cfg(test)]
extern crate self as nnc;
