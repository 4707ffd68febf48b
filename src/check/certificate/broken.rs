//! Which operation breaks a property: the first one, from the inputs on, that does.

use std::collections::BTreeSet;

use crate::base::Span;

use super::super::core::*;
use super::super::rules::{Center, Demanded, Facts, Reach, Roots, Window, arguments};
use super::refused::place;
use super::theorem::written;
use super::words::{operation, reason};
use super::{Broken, Property};

pub(super) fn break_of(core: &Core, property: Property, demanded: &Demanded, axis: &str) -> Broken {
    Broken {
        property,
        by: operation(core, demanded.by),
        span: place(core, demanded.by).0,
        inside: inside(core, demanded.by),
        message: reason(core, demanded.by, demanded.demand, axis),
    }
}

/// Where an operation stands, if not in the definition itself.
fn inside(core: &Core, val: Val) -> Option<Span> {
    let data = &core.vals[val];
    data.path.as_ref().map(|_| data.span)
}

/// The first value, from the inputs on, whose entries depend on more than a property lets them.
pub(super) fn flow_break(
    facts: &Facts,
    root: Root,
    property: Property,
    fits: &dyn Fn(Center, &Window) -> bool,
) -> Option<Broken> {
    let core = facts.core();
    let outputs = core.outputs.iter().map(|output| output.val);
    let output = outputs.chain(written(facts, root)).find(|&val| exceeds(facts, root, fits, val))?;
    let guilty = guilty(facts, root, fits, output);
    let name = &core.roots[root].name;
    Some(Broken {
        property,
        by: operation(core, guilty),
        span: place(core, guilty).0,
        inside: inside(core, guilty),
        message: match property {
            Property::Causal => format!(
                "an entry of the result depends on later entries of `{name}`, or on how many there are"
            ),
            _ => format!(
                "an entry of the result depends on other entries of `{name}`, or on how many there are"
            ),
        },
    })
}

/// Whether a value depends on more than is allowed.
fn exceeds(facts: &Facts, root: Root, fits: &dyn Fn(Center, &Window) -> bool, val: Val) -> bool {
    match facts.flow[val].get(&root) {
        Some(Reach::All) => true,
        Some(Reach::Near(near)) => near.iter().any(|(center, window)| !fits(*center, window)),
        None => false,
    }
}

/// Walks from an output to a value that exceeds what is allowed and is made of values that do not: through scans and blocks, and round
/// through what they carry.
pub(super) fn guilty(facts: &Facts, root: Root, fits: &dyn Fn(Center, &Window) -> bool, output: Val) -> Val {
    let (roots, core) = (&facts.roots, facts.core());
    let mut seen = BTreeSet::from([output]);
    let mut rest = vec![output];
    let (mut mixing, mut looping) = (None, None);
    while let Some(at) = rest.pop() {
        if let Form::Component { of, .. } = &core.vals[at].form
            && matches!(&core.vals[*of].form, Form::Scan { axis, .. } if roots.has(*axis, root))
        {
            looping = Some(at);
        }
        if mixing.is_none() && mixes(roots, root, at) {
            mixing = Some(at);
        }
        let mut made_of = makers(roots, root, at);
        made_of.retain(|arg| exceeds(facts, root, fits, *arg));
        if made_of.is_empty() {
            return at;
        }
        // The first one is looked at first.
        rest.extend(made_of.into_iter().rev().filter(|arg| seen.insert(*arg)));
    }
    // A loop hands it round: all that is in it exceeds, and one of them makes it so, or the loop itself.
    mixing.or(looping).unwrap_or(output)
}

/// Whether an entry of a value is made of several entries along a root, or of another one than its own.
fn mixes(roots: &Roots, root: Root, val: Val) -> bool {
    let core = roots.core;
    match &core.vals[val].form {
        Form::Reduce { over, .. } => over.iter().any(|&axis| roots.has(axis, root)),
        Form::Sort { axis, .. } => roots.has(*axis, root),
        Form::Read { of, at, .. } => core.vals[*of].visible.iter().zip(at).any(|(&axis, at)| {
            let plain = |point: &Point| point.as_axis().is_some_and(|own| roots.agree(own, axis));
            roots.has(axis, root)
                && match at {
                    At::Keep => false,
                    At::Point(point) => !plain(point),
                    At::Entry(_) => true,
                }
        }),
        Form::Size(_) | Form::Inside(..) => true,
        _ => false,
    }
}

/// The values that a value is made of; of a component and of a carry, those that give it. What a loop or a derivative itself makes of
/// them is not theirs: a loop backwards reads what lies behind, a derivative what its function reaches.
fn makers(roots: &Roots, root: Root, val: Val) -> Vec<Val> {
    let core = roots.core;
    let of_block = |body: BlockId, index: usize| core.blocks[body].results.get(index).copied();
    match &core.vals[val].form {
        Form::Carry(body, index) => {
            let inits = core.vals.values().find_map(|data| match &data.form {
                Form::Scan { inits, body: of, .. } if of == body => inits.get(*index).copied(),
                _ => None,
            });
            inits.into_iter().chain(of_block(*body, *index)).collect()
        }
        Form::Component { of, index } => match &core.vals[*of].form {
            Form::Scan { axis, reverse: true, inits, .. } if roots.has(*axis, root) => {
                inits.get(*index).copied().into_iter().collect()
            }
            Form::Scan { inits, body, .. } => {
                inits.get(*index).copied().into_iter().chain(of_block(*body, *index)).collect()
            }
            Form::Checkpoint { body } => of_block(*body, *index).into_iter().collect(),
            Form::Gradients { of, wrt } => {
                let by = wrt.get(*index).copied();
                let shown = by.map(|by| core.vals[by].visible.as_slice()).unwrap_or_default();
                // By what has no entries along the root, it reads what its function does.
                let own = shown.iter().all(|&axis| !roots.has(axis, root));
                by.into_iter().chain(own.then_some(*of)).collect()
            }
            _ => arguments(core, *of),
        },
        Form::Tangent { along, .. } => along.clone(),
        _ => arguments(core, val),
    }
}
