//! What each form of the core demands of the axes, and which positions its entries depend on.
//!
//! This is the table of `docs/theorems.md`, over the forms of the core. A definition of the library has no rule of its
//! own: it is made of these forms. Demands and flow are two facts: a demand says which relabellings of an axis a form can
//! still commute with, the flow which entries it may read. When in doubt a rule demands more and reads more.

mod assumed;
mod demand;
mod distance;
mod few;
mod flow;
mod guard;
mod points;
mod reach;
pub mod weaken;

use std::collections::{BTreeMap, BTreeSet};

use super::core::*;

pub use demand::{Demand, Demanded};
pub use guard::conjuncts;
pub use points::Roots;
pub use reach::{Center, Flow, Flows, Reach, Window};

/// The facts of one core.
pub struct Facts<'a> {
    pub roots: Roots<'a>,
    pub flow: Flows,
    pub demands: Vec<Demanded>,
    /// The translations of a root with which everything commutes: the multiples. Missing: all.
    pub period: BTreeMap<Root, crate::axes::Scale>,
    /// What `assume` claims.
    pub assumed: BTreeSet<(Root, crate::base::Name)>,
}

/// Applies the table to everything that the outputs (and written states) are made of.
pub fn analyse(core: &Core) -> Facts<'_> {
    let roots = Roots::new(core);
    let written = core.states.iter().chain(&core.params).filter_map(|slot| slot.written);
    let outputs: Vec<Val> = core.outputs.iter().map(|output| output.val).chain(written).collect();
    let demands = demand::collect(&roots, &outputs);
    Facts {
        flow: flow::flows(&roots),
        demands: demands.all,
        period: demands.period,
        assumed: demands.assumed,
        roots,
    }
}

impl<'a> Facts<'a> {
    pub fn core(&self) -> &'a Core {
        self.roots.core
    }
}

/// The values that a value is made of.
pub fn arguments(core: &Core, val: Val) -> Vec<Val> {
    match &core.vals[val].form {
        Form::Input(_)
        | Form::Param(_)
        | Form::State(_)
        | Form::Carry(..)
        | Form::Seed
        | Form::Step
        | Form::Steps => Vec::new(),
        Form::Const(_)
        | Form::Size(_)
        | Form::Position(_)
        | Form::Number(_)
        | Form::Inside(..)
        | Form::Random { .. } => Vec::new(),
        Form::Scalar(_, args) => args.clone(),
        Form::Choice { condition, then, otherwise } => vec![*condition, *then, *otherwise],
        Form::Read { of, at, .. } => {
            let entries = at.iter().filter_map(|at| match at {
                At::Entry(index) => Some(*index),
                _ => None,
            });
            std::iter::once(*of).chain(entries).collect()
        }
        Form::Rename { of, .. }
        | Form::AsIndex(of)
        | Form::Reshape(of)
        | Form::Alias { of, .. }
        | Form::StopGradient(of)
        | Form::Component { of, .. }
        | Form::Sort { of, .. }
        | Form::Assume { of, .. } => vec![*of],
        Form::Tabulate { body, .. } => vec![*body],
        Form::Concat { parts, .. } => parts.clone(),
        Form::Reduce { guard, body, .. } => guard.iter().copied().chain([*body]).collect(),
        Form::Gradients { of, wrt } => std::iter::once(*of).chain(wrt.iter().copied()).collect(),
        Form::Checkpoint { body } => core.blocks[*body].results.clone(),
        Form::Cotangent { like, .. } => vec![*like],
        Form::Custom { of, cotangent, wrt, pulled, .. } => {
            [*of, *cotangent].into_iter().chain(wrt.iter().chain(pulled).copied()).collect()
        }
        Form::Tangent { of, wrt, along } => {
            std::iter::once(*of).chain(wrt.iter().chain(along).copied()).collect()
        }
        Form::Scan { inits, body, .. } => {
            inits.iter().copied().chain(core.blocks[*body].results.iter().copied()).collect()
        }
    }
}
