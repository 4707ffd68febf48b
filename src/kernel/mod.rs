//! The kernel IR: loops over buffers. It does not know what an operator is, so that a second code generator can start here.

mod ir;

pub use ir::*;
