//! What compiled programs need while they run.
//!
//! This room knows machine code only as functions to call: nothing of graphs or operators.

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod allocations;
mod array;
mod bind;
#[cfg(all(test, target_arch = "x86_64"))]
mod detached;
mod exec;
#[cfg(test)]
mod peak;
pub mod memory;
pub mod pool;
pub mod slots;
mod work;

pub use crate::tensor::random;
pub use array::{Array, OutOfMemory};
pub use bind::{BindError, Bound, Dims, temporaries};
pub use exec::{Executable, Observer, RunError, Slot};
pub use pool::Pool;
pub use work::KernelWork;
