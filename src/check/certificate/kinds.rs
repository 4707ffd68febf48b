//! Whether a definition keeps the kinds that it declares, and what is said where it does not.

use std::collections::BTreeSet;

use crate::base::Span;
use crate::diag::{Code, Diagnostic};

use super::super::core::*;
use super::super::kind::Kind;
use super::super::rules::{Center, Demand, Demanded, Facts, Window};
use super::broken::guilty;
use super::theorem::{is_own, is_past, keeps_to, places, written};
use super::words::{operation, reason};

/// Whether a kind allows a demand.
fn grants(kind: Kind, demand: Demand) -> bool {
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
        let diagnostic = demand_refused(core, demanded, kind, declared, name);
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
        found.push(flow_refused(core, by, kind, declared, name, what));
    }
    found
}

/// A grid that runs along two axes of one input is translated along both at once.
pub(super) fn diagonal(core: &Core, root: Root) -> Option<Diagnostic> {
    let info = &core.roots[root];
    let (Some((Kind::Grid, place)), name) = (info.kind, &info.name) else { return None };
    let twice = |input: &&InputInfo| {
        input.axes.iter().filter(|&&axis| core.axes[axis].root == Some(root)).count() > 1
    };
    let input = core.inputs.iter().find(twice)?;
    let message =
        format!("`{name}` is two axes of `{}`: only translations along both at once are meant", input.name);
    Some(
        Diagnostic::warning(Code(252), message)
            .label(place, format!("one grid, twice in `{}`", input.name))
            .help("give height and width names of their own: f32[grid H, grid W, 3]"),
    )
}

/// The place in the definition that declared the kind: the operation, or the call that leads to it; and the way down from it.
fn place(core: &Core, val: Val) -> (Span, Vec<(Span, String)>) {
    let data = &core.vals[val];
    let mut calls = Vec::new();
    let mut path = data.path.clone();
    while let Some(call) = path {
        calls.push((call.span, call.callee.clone()));
        path = call.outer.clone();
    }
    calls.reverse();
    match calls.split_first() {
        None => (data.span, Vec::new()),
        Some(((first, _), rest)) => {
            let mut way: Vec<(Span, String)> =
                rest.iter().map(|(span, callee)| (*span, format!("calls `{callee}`"))).collect();
            way.push((data.span, "here".to_owned()));
            (*first, way)
        }
    }
}

/// A kind forbids what an operation needs of the axis.
fn demand_refused(core: &Core, demanded: &Demanded, kind: Kind, declared: Span, name: &str) -> Diagnostic {
    let (primary, way) = place(core, demanded.by);
    let operation = operation(core, demanded.by);
    let what = match demanded.demand {
        Demand::ParameterSize => "sizes a parameter by it",
        Demand::Tie => "chooses among equal entries by their place",
        Demand::Border | Demand::Distance => "depends on where it ends",
        _ => "depends on its order",
    };
    let article = if kind == Kind::Batch { "is mapped over as a batch" } else { "is a set" };
    let article = match kind {
        Kind::Batch | Kind::Set => article.to_owned(),
        other => format!("is declared {other}"),
    };
    let mut diagnostic =
        Diagnostic::error(Code(214), format!("axis `{name}` {article}, but {operation} {what}"))
            .label(primary, reason(core, demanded.by, demanded.demand, name))
            .label(declared, format!("declared {} here", with_article(kind)));
    for (span, message) in way {
        diagnostic = diagnostic.label(span, message);
    }
    diagnostic.help(match (demanded.demand, kind) {
        (Demand::Tie, Kind::Set) => {
            format!("write `ties: any` at the operation if any of equal entries will do, or declare `dim {name}`")
        }
        (Demand::Tie, _) => format!("declare `dim {name}` if the place of equal entries may matter"),
        (Demand::Shift | Demand::Distance | Demand::Position, Kind::Ring)
            if matches!(&core.vals[demanded.by].form, Form::Number(point) if point.axes().len() > 1) =>
        {
            format!("a distance on a ring goes round: write (i - j) % {name}")
        }
        (Demand::Border, Kind::Ring) => "a ring has no end: every index lies on it".to_owned(),
        (Demand::Shift, Kind::Ring) => format!(
            "a ring wants as many entries as go round: every second one needs `where {name} % 2 == 0`; or declare `grid {name}`"
        ),
        (Demand::Distance, Kind::Grid) => format!("bound the reduction from both sides, as in sum s where s <= t + 2 and s >= t - 2, or declare `dim {name}`"),
        (Demand::Distance | Demand::Order | Demand::FirstEntry | Demand::Position, Kind::Ring | Kind::Grid) => {
            format!("read neighbours at a fixed distance, bound a sum from both sides, or declare `dim {name}`")
        }
        _ => format!("reduce over `{name}` first, as in sum(h, over: {name}), or declare `dim {name}`"),
    })
}

/// A kind bounds what an entry may depend on.
fn flow_refused(core: &Core, by: Val, kind: Kind, declared: Span, name: &str, what: &str) -> Diagnostic {
    let (primary, way) = place(core, by);
    let operation = operation(core, by);
    let code = if kind == Kind::Batch { Code(250) } else { Code(251) };
    let mut diagnostic =
        Diagnostic::error(code, format!("axis `{name}` is declared {kind}, but {operation} reads {what}"))
            .label(primary, format!("an entry of the result depends on {what}"))
            .label(declared, format!("declared {} here", with_article(kind)));
    for (span, message) in way {
        diagnostic = diagnostic.label(span, message);
    }
    if let Some(others) = other_axes(core, by, name) {
        let kept = if kind == Kind::Batch { "each sample" } else { "each step" };
        diagnostic = diagnostic.help(format!("for {kept} by itself, name the other axes: over: {others}"));
    }
    diagnostic.help(match kind {
        Kind::Batch => format!("a definition that sees all samples declares `set {name}`"),
        _ => causal_instead(core, by).to_owned(),
    })
}

/// What `over:` names where a reduction that the definition itself calls leaves out the axis of this name: `C`, `(H, W)`.
fn other_axes(core: &Core, by: Val, name: &str) -> Option<String> {
    let data = &core.vals[by];
    let Form::Reduce { over, body, .. } = &data.form else { return None };
    let visible = &core.vals[*body].visible;
    if data.path.is_some() || !over.iter().all(|axis| visible.contains(axis)) {
        return None;
    }
    let others: Vec<&str> =
        over.iter().map(|&axis| core.axes[axis].name.as_str()).filter(|other| *other != name).collect();
    match others[..] {
        [] => None,
        [other] => Some(other.to_owned()),
        _ => Some(format!("({})", others.join(", "))),
    }
}

/// What may be written instead of an operation that reads the future: by the library's name for it, where a call leads to it.
fn causal_instead(core: &Core, by: Val) -> &'static str {
    let mut path = core.vals[by].path.as_deref();
    let mut known = None;
    while let Some(call) = path {
        known = match &*call.callee {
            "self_attention" | "relative_attention" | "transformer_block" => Some("ask for it: causal: true"),
            "attend" => Some("attend_causal(q, k, v) looks at the past alone"),
            "conv1d" => Some("causal_conv1d(O, k) looks at the past alone"),
            _ => known,
        };
        path = call.outer.as_deref();
    }
    known.unwrap_or(match &core.vals[by].form {
        Form::Read { .. } | Form::Inside(..) => {
            "read what came before, as in x[t - 1]: before the start there are zeros"
        }
        Form::Scan { .. } | Form::Component { .. } => "let the scan run forward",
        _ => "guard the reduction: sum s where s <= t => …",
    })
}

fn with_article(kind: Kind) -> String {
    match kind {
        Kind::Causal => "causal".to_owned(),
        Kind::Dim => "a dim".to_owned(),
        other => format!("a {other}"),
    }
}
