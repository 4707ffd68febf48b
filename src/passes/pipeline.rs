//! The passes as data: a list of named pure functions from graph to graph, and what runs them.

use std::time::{Duration, Instant};

use thiserror::Error;

use super::{
    accumulators, blocks, cse, dce, distribute, factor, fuse, grouped, guards, phases, residuals, simplify,
    strides, unfold, unify, windows,
};
use crate::graph::{Defect, Graph, verify};

/// A step from graph to graph. The name is that of `--emit after=NAME`, of golden files and of timings.
pub struct Pass {
    pub name: &'static str,
    pub summary: &'static str,
    pub run: fn(Graph) -> Graph,
}

/// What is asked of a run, and what is learnt of it.
#[derive(Default)]
pub struct PassCx {
    /// Whether the graph is verified before the first pass and behind each.
    pub verify: bool,
    /// Leaves `fuse` out: every node is a kernel of its own then.
    pub plain: bool,
    /// The last pass that runs; all do where it is `None`.
    pub stop_after: Option<&'static str>,
    pub timings: Vec<(&'static str, Duration)>,
}

/// A pass (or what came before the first) has broken the graph: a defect of the compiler.
#[derive(Clone, Debug, Error)]
#[error("the graph is broken after {after}: {defect}")]
pub struct Broken {
    pub after: &'static str,
    pub defect: Defect,
}

/// In order of execution.
pub static PIPELINE: &[Pass] = &[
    simplify::SIMPLIFY,
    UNFOLD,
    UNIFY,
    FACTOR,
    cse::CSE,
    GUARDS,
    STRIDES,
    ACCUMULATORS,
    DISTRIBUTE,
    PHASES,
    GROUPED,
    RESIDUALS,
    dce::DCE,
    BLOCKS,
    WINDOWS,
    FUSE,
];

const UNIFY: Pass =
    Pass { name: "unify", summary: "make axes one that only have different names", run: unify };
const UNFOLD: Pass =
    Pass { name: "unfold", summary: "write transposed views as sums over views", run: unfold };
const FACTOR: Pass =
    Pass { name: "factor", summary: "take out of sums what they do not run along", run: factor };
const ACCUMULATORS: Pass = Pass {
    name: "accumulators",
    summary: "sums of products that a loop adds up are one behind it",
    run: accumulators,
};
const GUARDS: Pass = Pass {
    name: "guards",
    summary: "guards of sums of products move to a factor or behind the sum",
    run: guards,
};
const STRIDES: Pass =
    Pass { name: "strides", summary: "guards of quotients become part of what reads there", run: strides };
const DISTRIBUTE: Pass = Pass {
    name: "distribute",
    summary: "sums over views of sums of products become one sum",
    run: distribute,
};
const PHASES: Pass =
    Pass { name: "phases", summary: "transposed strides become sums over their phases", run: phases };
const GROUPED: Pass =
    Pass { name: "grouped", summary: "narrow groups of features stand side by side", run: grouped };
const RESIDUALS: Pass = Pass {
    name: "residuals",
    summary: "loops store as little as can be for those of their derivatives",
    run: residuals,
};
const BLOCKS: Pass = Pass {
    name: "blocks",
    summary: "what is as large as the product of two long axes is made block by block",
    run: blocks,
};
const WINDOWS: Pass =
    Pass { name: "windows", summary: "contractions read windows of padded copies", run: windows };
const FUSE: Pass = Pass { name: "fuse", summary: "group the nodes that become one kernel", run: fuse };

/// The pass of this name.
pub fn find(name: &str) -> Option<&'static Pass> {
    PIPELINE.iter().find(|pass| pass.name == name)
}

/// Runs the pipeline.
pub fn run(mut graph: Graph, cx: &mut PassCx) -> Result<Graph, Broken> {
    let wanted = cx.verify;
    let check = |graph: &Graph, after| match wanted {
        true => verify(graph).map_err(|defect| Broken { after, defect }),
        false => Ok(()),
    };
    check(&graph, "elaborate")?;
    let plain = cx.plain;
    for pass in PIPELINE.iter().filter(|pass| !plain || pass.name != FUSE.name) {
        let start = Instant::now();
        graph = (pass.run)(graph);
        cx.timings.push((pass.name, start.elapsed()));
        check(&graph, pass.name)?;
        if cx.stop_after == Some(pass.name) {
            break;
        }
    }
    Ok(graph)
}
