//! Passes from graph to graph.

mod contraction;
mod cse;
mod dce;
mod fuse;
pub mod layout;
mod pipeline;
mod regroup;
mod simplify;
mod unfold;
mod unify;

pub use contraction::{Roles, roles};
pub use cse::cse;
pub use dce::dce;
pub use fuse::fuse;
pub use pipeline::{Broken, PIPELINE, Pass, PassCx, find, run};
pub use simplify::simplify;
pub use unfold::unfold;
pub use unify::unify;

use crate::graph::Graph;
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

/// What a pass may know beside the graph.
#[derive(Debug, Default)]
pub struct PassCx {}

/// A pass from graph to graph.
pub struct Pass {
    pub name: &'static str,
    pub summary: &'static str,
    pub run: fn(Graph, &mut PassCx) -> Graph,
}

/// The passes in their order.
pub const PIPELINE: &[Pass] = &[
    Pass { name: "unfold", summary: "write folds as sums over views", run: |graph, _| unfold(graph) },
    Pass { name: "unify", summary: "merge axes that only differ in name", run: |graph, _| unify(graph) },
    Pass { name: "fuse", summary: "group nodes that become one kernel", run: |graph, _| fuse(graph) },
];
