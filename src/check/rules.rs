//! What each form of the core demands of the axes, and which positions its entries depend on.
//!
//! This is the table of `docs/theorems.md`, as one function over the forms. A definition of the library has no rule of its
//! own: it is made of these forms.

use std::collections::BTreeSet;

use super::core::*;

/// The hidden axes that a value depends on by itself: those of its free index variables.
pub fn free_axes(core: &Core, val: Val) -> BTreeSet<AxisVar> {
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    let mut rest = vec![val];
    while let Some(val) = rest.pop() {
        if !seen.insert(val) {
            continue;
        }
        let data = &core.vals[val];
        match &data.form {
            Form::Read { at, .. } => {
                for at in at {
                    if let At::Point(point) = at {
                        found.extend(point.axes());
                    }
                }
            }
            Form::Number(point) => found.extend(point.axes()),
            Form::Position(axis) => {
                found.insert(*axis);
            }
            Form::Alias { ambient, .. } | Form::Random { ambient, .. } => found.extend(ambient),
            _ => {}
        }
        rest.extend(arguments(core, val));
    }
    found
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
        Form::Const(_) | Form::Size(_) | Form::Position(_) | Form::Number(_) | Form::Random { .. } => {
            Vec::new()
        }
        Form::Scalar(_, args) => args.clone(),
        Form::Choice(then, otherwise) => vec![*then, *otherwise],
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
        | Form::Assume { of, .. } => vec![*of],
        Form::Tabulate { body, .. } => vec![*body],
        Form::Concat { parts, .. } => parts.clone(),
        Form::Reduce { guard, body, .. } => guard.iter().copied().chain([*body]).collect(),
        Form::Gradients { of, wrt } => std::iter::once(*of).chain(wrt.iter().copied()).collect(),
        Form::Scan { inits, body, .. } => {
            inits.iter().copied().chain(core.blocks[*body].results.iter().copied()).collect()
        }
    }
}
