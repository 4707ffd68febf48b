//! Axes: their sizes as polynomials over dim variables, and what may be done with them.
//!
//! Pure algebra. This room knows no syntax tree, no tensor and no operator.

pub mod dim;
mod facts;
mod fold;
mod least;
mod poly;
mod range;
mod ratio;
mod scale;
mod show;
#[cfg(test)]
mod tests;

pub use dim::{Dim, DimError, DimVar, solve_one};
pub use facts::Facts;
pub use fold::Algebra;
pub use least::Solutions;
pub use ratio::Ratio;
pub use scale::Scale;
