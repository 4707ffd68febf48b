//! Passes from graph to graph.

mod accumulators;
mod blocks;
mod contraction;
mod cse;
mod dce;
mod distribute;
mod factor;
mod fuse;
mod grouped;
mod guards;
pub mod layout;
mod phases;
mod pipeline;
mod recompute;
mod regroup;
mod residuals;
mod simplify;
mod strides;
mod unfold;
mod unify;
mod windows;

#[cfg(test)]
mod bench;

pub use accumulators::accumulators;
pub use blocks::{Limits, blocks, blocks_within};
pub use contraction::{Roles, roles};
pub use cse::cse;
pub use dce::dce;
pub use distribute::distribute;
pub use factor::factor;
pub use fuse::fuse;
pub use grouped::grouped;
pub use guards::guards;
pub use phases::phases;
pub use pipeline::{Broken, PIPELINE, Pass, PassCx, find, run};
pub use residuals::residuals;
pub use simplify::simplify;
pub use strides::strides;
pub use unfold::unfold;
pub use unify::unify;
pub use windows::windows;

use crate::ops::ScalarFn;

/// The instructions of a function, roughly: what decides whether a value is kept or computed again.
pub fn scalar_cost(function: ScalarFn) -> u32 {
    use ScalarFn::*;
    match function {
        Exp | Log | Sin | Cos | Tanh | Sigmoid | Erf => 16,
        Pow => 40,
        Div | Rem | Sqrt => 4,
        _ => 1,
    }
}
