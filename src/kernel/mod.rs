//! The kernel IR: loops over buffers. It does not know what an operator is, so that a second code generator can start here.

mod build;
mod cascade;
pub mod cost;
pub mod eval;
pub mod facts;
pub mod interpret;
mod ir;
pub mod math;
pub mod philox;
mod print;
mod prune;
#[cfg(test)]
mod tests;
mod shape;
mod types;
mod verify;
mod work;

pub use build::BodyBuilder;
pub use cascade::BLOCK;
pub use ir::*;
pub use shape::Shape;
pub use types::{computes, loaded};
pub use verify::{Defect, verify, verify_program};
pub use work::Work;
