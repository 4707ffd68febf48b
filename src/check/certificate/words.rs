//! How operations, demands and theorems read.

use std::collections::BTreeSet;

use crate::axes::{Ratio, Scale};
use crate::ops::ScalarFn;

use super::super::core::*;
use super::super::rules::Demand;
use super::{AxisTheorem, GridTheorem, Property};

/// What people call the operation of a value.
pub(super) fn operation(core: &Core, val: Val) -> String {
    let name = match &core.vals[val].form {
        Form::Param(index) => return format!("the parameter `{}`", core.params[*index].path),
        Form::State(index) => return format!("the state `{}`", core.states[*index].path),
        Form::Number(_) | Form::Position(_) => "a position",
        Form::Inside(..) => "`in`",
        Form::Input(index) => return format!("the input `{}`", core.inputs[*index].name),
        Form::Scalar(ScalarFn::Cast(_), _) => "a position",
        Form::Scalar(ScalarFn::Lt | ScalarFn::Le, _) => "a comparison",
        Form::Scalar(..) => "an operation",
        Form::Read { at, .. } if at.iter().any(|at| matches!(at, At::Entry(_))) => "a gather",
        Form::Read { .. } => "a read",
        Form::Reshape(_) => "`flatten` or a reshape",
        Form::Concat { .. } => "`concat`",
        Form::Reduce { op, .. } => return format!("`{}`", op.name()),
        Form::Scan { .. } => "`scan`",
        Form::Component { of, .. } => return operation(core, *of),
        Form::Gradients { .. } | Form::Tangent { .. } => "a derivative",
        Form::Sort { .. } => "a sort",
        Form::Assume { .. } => "`assume`",
        Form::Size(_) => "its size",
        _ => "an operation",
    };
    name.to_owned()
}

/// One sentence of why, in the user's terms.
pub(super) fn reason(core: &Core, val: Val, demand: Demand, axis: &str) -> String {
    match demand {
        Demand::ParameterSize => {
            format!("{} has an entry for each position of `{axis}`", operation(core, val))
        }
        Demand::Tie => format!("of equal entries along `{axis}` the first is taken"),
        Demand::Order => format!("asks which of two positions of `{axis}` comes first"),
        Demand::Cycle | Demand::Round => format!("reads a neighbour along `{axis}`"),
        Demand::Shift => match &core.vals[val].form {
            Form::Scalar(..) | Form::Number(_) => {
                format!("uses how far two positions of `{axis}` are apart, or every so many of them")
            }
            Form::Input(_) => format!("has an axis whose size is made of `{axis}`"),
            _ => format!("reads a neighbour along `{axis}`"),
        },
        Demand::Border => format!("asks whether an index lies on `{axis}`"),
        Demand::Distance => format!("uses how far two positions of `{axis}` are apart, however far that is"),
        Demand::FirstEntry => format!("reads the first entry of `{axis}`"),
        Demand::Position => match &core.vals[val].form {
            Form::Reshape(_) => {
                format!("merges or splits `{axis}`: which entry lands where depends on its order")
            }
            Form::Concat { .. } => format!("joins along `{axis}`: what follows what depends on its order"),
            _ => format!("uses the number of a position of `{axis}`"),
        },
    }
}

fn permutes(holds: &BTreeSet<Property>) -> bool {
    holds.contains(&Property::PermutationInvariant) || holds.contains(&Property::PermutationEquivariant)
}

impl GridTheorem {
    /// The period as a number; `None` where dims are in it.
    pub fn steps(&self) -> Option<i64> {
        self.period.as_ratio()?.as_whole()
    }

    /// `commutes with translations of H by multiples of 4, away from its border; field [-3, 3]`
    fn sentence(&self, name: &str, holds: &BTreeSet<Property>) -> String {
        let cyclic = holds.contains(&Property::ShiftEquivariant) || holds.contains(&Property::ShiftInvariant);
        let kept =
            holds.contains(&Property::ShiftEquivariant) || holds.contains(&Property::TranslationEquivariant);
        let moves = if cyclic { "cyclic shifts" } else { "translations" };
        let mut text = match kept {
            true => format!("commutes with {moves} of {name}"),
            false => format!("invariant under {moves} of {name}"),
        };
        if self.period != Scale::ONE {
            text.push_str(&format!(" by multiples of {}", self.period));
        }
        if !cyclic {
            text.push_str(", away from its border");
        }
        if let Some(stride) = self.stride.as_ref().filter(|stride| **stride != Scale::ONE) {
            text.push_str(&format!(", at stride {stride}"));
        }
        if let Some((low, high)) = self.field.filter(|field| *field != (Ratio::ZERO, Ratio::ZERO)) {
            text.push_str(&format!("; receptive field [{low}, {high}]"));
        }
        text
    }
}

impl AxisTheorem {
    /// The strongest of what holds, in words.
    pub fn sentence(&self) -> String {
        let name = &self.name;
        let words = |holds: &BTreeSet<Property>| {
            let mut parts = Vec::new();
            if holds.contains(&Property::Pointwise) {
                parts.push(format!("each entry of the output depends on its own entry of {name} alone"));
            } else if holds.contains(&Property::Causal) {
                parts.push(format!(
                    "an entry of the output depends on the entries up to its own along {name}"
                ));
            }
            if holds.contains(&Property::PermutationInvariant) {
                parts.push(format!("invariant under permutations of {name}"));
            } else if holds.contains(&Property::PermutationEquivariant) {
                parts.push(format!("equivariant under permutations of {name}"));
            } else if holds.contains(&Property::PermutationEquivariantExceptTies) {
                parts.push(format!("equivariant under permutations of {name}, except at ties"));
            }
            if let (Some(grid), false) = (&self.grid, permutes(holds)) {
                parts.push(grid.sentence(name, holds));
            }
            parts.join("; ")
        };
        let mut sentence = words(&self.holds);
        if sentence.is_empty() {
            sentence = "nothing is promised".to_owned();
        }
        if !self.at_inference.is_empty() {
            // What is said already is left out.
            let all = words(&self.holds.union(&self.at_inference).copied().collect());
            let said: Vec<&str> = sentence.split("; ").collect();
            let more: Vec<&str> = all.split("; ").filter(|part| !said.contains(part)).collect();
            sentence = format!("{sentence}; at inference {}", more.join("; "));
        }
        sentence
    }
}
