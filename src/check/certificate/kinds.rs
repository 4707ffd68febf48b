//! Whether a definition keeps the kinds that it declares.

use std::collections::BTreeSet;

use crate::base::Span;
use crate::diag::Diagnostic;

use super::super::core::*;
use super::super::kind::Kind;
use super::super::rules::{Center, Demand, Demanded, Facts, Window};
use super::broken::guilty;
use super::refused::{demand_refused, flow_refused};
use super::theorem::{is_own, is_past, keeps_to, places, written};

/// Whether a kind allows a demand.
pub(super) fn grants(kind: Kind, demand: Demand) -> bool {
    match kind {
        Kind::Batch | Kind::Set => false,
        Kind::Ring => demand == Demand::Cycle,
        Kind::Grid => matches!(demand, Demand::Cycle | Demand::Shift | Demand::Border),
        // Which of equal entries comes first is no secret of the past.
        Kind::Causal => demand != Demand::ParameterSize,
        Kind::Dim => true,
    }
}

pub(super) fn violations(facts: &Facts, root: Root, kind: Kind, declared: Span) -> Vec<Diagnostic> {
    let (roots, core) = (&facts.roots, facts.core());
    let name = &core.roots[root].name;
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    // The strongest demand of a place is the one to tell.
    let agreed = |demanded: &Demanded| {
        kind == Kind::Set && demanded.demand == Demand::Tie && core.any_ties.contains(&demanded.by)
    };
    let refused =
        |demanded: &&Demanded| demanded.root == root && !grants(kind, demanded.demand) && !agreed(demanded);
    for demanded in facts.demands.iter().rev().filter(refused) {
        // What is merged with others is refused where it is merged; a parameter of that size follows from it.
        let merged = |other: &Demanded| {
            other.demand == Demand::Position
                && matches!(core.vals[other.by].form, Form::Reshape(_) | Form::Concat { .. })
        };
        if demanded.demand == Demand::ParameterSize
            && sized_by_more(core, demanded)
            && facts.demands.iter().filter(refused).any(merged)
        {
            continue;
        }
        let diagnostic = demand_refused(facts, demanded, kind, declared, name);
        if seen.insert(diagnostic.primary().map(|span| (span.file, span.start, span.end))) {
            found.push(diagnostic);
        }
    }
    if !found.is_empty() {
        return found;
    }
    let outside: Option<(&OutputInfo, &str)> = core.outputs.iter().find_map(|output| {
        let places = places(roots, output.val, root);
        let reach = facts.flow[output.val].get(&root);
        let own = keeps_to(roots, root, &places, reach, &is_own);
        let past = keeps_to(roots, root, &places, reach, &is_past);
        let verdict = match (kind, places.as_slice(), reach) {
            (Kind::Batch, [], None) => None,
            (Kind::Batch, [], Some(_)) => Some("all samples at once"),
            (Kind::Batch, [_], _) => (!own).then_some("other samples"),
            (Kind::Batch, ..) => Some("pairs of samples"),
            (Kind::Causal, [], _) | (Kind::Causal, _, None) => None,
            (Kind::Causal, ..) => (!past).then_some("the future"),
            _ => None,
        };
        verdict.map(|verdict| (output, verdict))
    });
    let outside = outside.map(|(output, what)| (output.val, what));
    let kept = (kind == Kind::Batch).then(|| written(facts, root)).flatten();
    if let Some((output, what)) = outside.or(kept.map(|val| (val, "all samples at once"))) {
        let fits: &dyn Fn(Center, &Window) -> bool = match kind {
            Kind::Batch => &is_own,
            _ => &is_past,
        };
        let by = guilty(facts, root, fits, output);
        let instead = kept_instead(facts, root, kind, declared);
        found.push(flow_refused(core, by, kind, declared, name, what, instead));
    }
    found
}

/// The strongest kind that promises less than the declared one and is kept; none where the declared kind also says what lies outside of
/// the axis, so that with another one the definition would mean something else.
fn kept_instead(facts: &Facts, root: Root, kind: Kind, declared: Span) -> Option<Kind> {
    let weaker: &[Kind] = match kind {
        _ if reads_outside(facts, root) => &[],
        Kind::Batch => &[Kind::Set, Kind::Causal, Kind::Dim],
        _ => &[Kind::Dim],
    };
    weaker.iter().copied().find(|&kind| violations(facts, root, kind, declared).is_empty())
}

/// Whether entries outside of an axis are read: what is there follows from the declared kind.
pub(super) fn reads_outside(facts: &Facts, root: Root) -> bool {
    let (core, roots) = (facts.core(), &facts.roots);
    let ring = core.roots[root].kind.is_some_and(|(kind, _)| kind == Kind::Ring);
    core.vals.values().any(|data| match &data.form {
        Form::Read { of, at, outside, .. } => {
            let visible = &core.vals[*of].visible;
            let round = |at: &At| ring && matches!(at, At::Point(Point::Rem(..) | Point::Sum(_)));
            visible
                .iter()
                .zip(at)
                .any(|(&axis, at)| roots.has(axis, root) && (*outside == Outside::Zero || round(at)))
        }
        _ => false,
    })
}

/// Whether a parameter has an axis whose size is made of the root's name and of more than that.
fn sized_by_more(core: &Core, demanded: &Demanded) -> bool {
    let Form::Param(index) = &core.vals[demanded.by].form else { return false };
    core.params[*index].axes.iter().all(|&axis| core.axes[axis].root != Some(demanded.root))
}
