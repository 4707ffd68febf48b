//! From demands and flow to theorems: what holds of one root.

use std::collections::BTreeSet;

use crate::axes::{Ratio, Scale};

use super::super::core::*;
use super::super::kind::Kind;
use super::super::rules::weaken::{self, Weakening};
use super::super::rules::{Center, Demand, Demanded, Facts, Reach, Roots, Window};
use super::broken::{break_of, flow_break};
use super::{AxisTheorem, GridTheorem, Property};

/// The axes of an output that run over the root, at any rate.
pub(super) fn places(roots: &Roots, val: Val, root: Root) -> Vec<AxisVar> {
    let visible = &roots.core.vals[val].visible;
    visible.iter().copied().filter(|&axis| roots.has(axis, root)).collect()
}

/// Whether an output's entry depends only on what `fits` says, where the output has the axis, entry by entry.
pub(super) fn keeps_to(
    roots: &Roots,
    root: Root,
    places: &[AxisVar],
    reach: Option<&Reach>,
    fits: &dyn Fn(Center, &Window) -> bool,
) -> bool {
    match (places, reach) {
        ([_], None) => true,
        ([axis], Some(Reach::Near(near))) => {
            let whole = roots.is_whole(*axis, root) || weaken::is(Weakening::AnyRate);
            let here = |center: &Center| *center == Center::Index(*axis) || *center == Center::First;
            whole && near.iter().all(|(center, window)| here(center) && fits(*center, window))
        }
        _ => false,
    }
}

pub(super) fn is_own(center: Center, window: &Window) -> bool {
    *window == Window::OWN && center != Center::First
}

pub(super) fn is_past(_: Center, window: &Window) -> bool {
    window.high <= Ratio::ZERO && !window.wraps
}

pub(super) fn theorem(facts: &Facts, root: Root) -> AxisTheorem {
    let (roots, core) = (&facts.roots, facts.core());
    let info = &core.roots[root];
    let demands: Vec<&Demanded> = facts.demands.iter().filter(|demanded| demanded.root == root).collect();
    let outputs: Vec<(Vec<AxisVar>, Option<&Reach>)> = core
        .outputs
        .iter()
        .map(|output| {
            let reach = facts.flow[output.val].get(&root);
            (places(roots, output.val, root), reach)
        })
        .collect();
    let mut holds = BTreeSet::new();
    let mut broken = Vec::new();
    // Positions on the axis move with it, as its entries do.
    let position =
        |output: &OutputInfo| matches!(core.vals[output.val].elem, Elem::Idx(_, Some(of)) if of == root);
    let kept = outputs.iter().any(|(places, _)| !places.is_empty()) || core.outputs.iter().any(position);
    let (permutation, shift, translation) = if kept {
        (Property::PermutationEquivariant, Property::ShiftEquivariant, Property::TranslationEquivariant)
    } else {
        (Property::PermutationInvariant, Property::ShiftInvariant, Property::TranslationInvariant)
    };
    // What commutes with every permutation commutes with the cyclic ones, and these are translations away from the border.
    let against = |granted: &[Demand]| {
        demands
            .iter()
            .filter(|demanded| !granted.contains(&demanded.demand))
            .max_by_key(|d| d.demand)
            .copied()
    };
    for (property, granted) in [
        (permutation, &[][..]),
        (shift, &[Demand::Cycle][..]),
        (translation, &[Demand::Cycle, Demand::Shift, Demand::Border][..]),
    ] {
        match against(granted) {
            None => drop(holds.insert(property)),
            Some(guilty) => broken.push(break_of(core, property, guilty, &info.name)),
        }
    }
    if demands.iter().all(|demanded| demanded.demand == Demand::Tie) && !demands.is_empty() {
        holds.insert(Property::PermutationEquivariantExceptTies);
    }
    let grid = holds.contains(&translation).then(|| grid_theorem(roots, facts, root, &outputs));
    let all = |fits: &dyn Fn(Center, &Window) -> bool| {
        outputs.iter().all(|(places, reach)| keeps_to(roots, root, places, *reach, fits))
    };
    if all(&is_own) && written(facts, root).is_none() {
        holds.insert(Property::Pointwise);
    } else {
        broken.extend(flow_break(facts, root, Property::Pointwise, &is_own));
    }
    let causal = outputs
        .iter()
        .all(|(places, reach)| places.is_empty() || keeps_to(roots, root, places, *reach, &is_past));
    if kept && causal {
        holds.insert(Property::Causal);
    } else if kept {
        broken.extend(flow_break(facts, root, Property::Causal, &is_past));
    }
    let assumed = facts
        .assumed
        .iter()
        .filter(|(other, _)| *other == root)
        .map(|(_, property)| property.clone())
        .collect();
    AxisTheorem {
        name: info.name.clone(),
        kind: info.kind.map_or(Kind::Dim, |(kind, _)| kind),
        declared: info.kind.is_some(),
        holds,
        at_inference: BTreeSet::new(),
        assumed,
        broken,
        grid,
    }
}

/// What is written to a state and depends on the axis: the next sample will be told of this one.
pub(super) fn written(facts: &Facts, root: Root) -> Option<Val> {
    let core = facts.core();
    let depends = |val: &Val| facts.flow[*val].contains_key(&root);
    let mut written = core.states.iter().filter_map(|slot| slot.written);
    if weaken::is(Weakening::Unwritten) { None } else { written.find(depends) }
}

fn grid_theorem(
    roots: &Roots,
    facts: &Facts,
    root: Root,
    outputs: &[(Vec<AxisVar>, Option<&Reach>)],
) -> GridTheorem {
    let with_axis: Vec<_> = outputs.iter().filter(|(places, _)| !places.is_empty()).collect();
    let rates = with_axis.iter().flat_map(|(places, _)| places).map(|&axis| roots.scale(axis, root));
    let rates: Vec<Option<&Scale>> = rates.collect();
    let stride = match rates.split_first() {
        Some((rate, others)) if others.iter().all(|other| other == rate) => rate.cloned(),
        _ => None,
    };
    let mut field: Option<(Ratio, Ratio)> = None;
    let mut bounded = !with_axis.is_empty();
    for (places, reach) in with_axis {
        match (places.as_slice(), reach) {
            ([_], None) => {}
            ([axis], Some(Reach::Near(near)))
                if near.keys().all(|center| *center == Center::Index(*axis)) =>
            {
                for window in near.values() {
                    let Some(low) = window.low else {
                        bounded = false;
                        continue;
                    };
                    let (least, most) = field.unwrap_or((low, window.high));
                    field = Some((least.min(low), most.max(window.high)));
                }
            }
            _ => bounded = false,
        }
    }
    let period = facts.period.get(&root).cloned().unwrap_or(Scale::ONE);
    GridTheorem { stride, period, field: field.filter(|_| bounded) }
}
