//! What compiled programs need while they run.
//!
//! This room knows machine code only as functions to call: nothing of graphs or operators.

pub mod pool;

pub use crate::tensor::random;
pub use pool::Pool;
