//! What is said where a definition does not keep a kind that it declares: the operation, the declaration, the way between, and what to do.

use crate::base::Span;
use crate::diag::{Code, Diagnostic, Help};

use super::super::core::*;
use super::super::kind::Kind;
use super::super::rules::{Demand, Demanded, Facts};
use super::kinds::{grants, reads_outside};
use super::words::{operation, reason};

/// A declaration of another kind in the place of the present one.
fn declares(text: String, kind: Kind, name: &str, declared: Span) -> Help {
    Help::from(text).replace(declared, format!("{kind} {name}"))
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
pub(super) fn place(core: &Core, val: Val) -> (Span, Vec<(Span, String)>) {
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
pub(super) fn demand_refused(
    facts: &Facts,
    demanded: &Demanded,
    kind: Kind,
    declared: Span,
    name: &str,
) -> Diagnostic {
    let core = facts.core();
    let (primary, way) = place(core, demanded.by);
    let operation = operation(core, demanded.by);
    let what = match demanded.demand {
        Demand::ParameterSize => "is sized by it",
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
    let path = &core.vals[demanded.by].path;
    let other = match (demanded.demand, kind) {
        (Demand::Tie, Kind::Set) => {
            let help = Help::from("write `ties: any` at the operation if any of equal entries will do");
            let called = match &core.vals[demanded.by].form {
                Form::Reduce { over, body, .. } => {
                    over.iter().all(|axis| core.vals[*body].visible.contains(axis))
                }
                _ => true,
            };
            // Where the definition itself calls it.
            let here = path.is_none() && called;
            return diagnostic
                .help(if here { help.argument(primary, "ties: any") } else { help })
                .help(declares_dims(facts, demanded.by, demanded.root));
        }
        (Demand::Tie, _) => format!("declare `dim {name}` if the place of equal entries may matter"),
        (Demand::ParameterSize, _) => {
            format!(
                "leave `{name}` out of its type, so that all entries share it, or reduce over `{name}` first"
            )
        }
        (Demand::Shift | Demand::Distance | Demand::Position, Kind::Ring) if matches!(&core.vals[demanded.by].form, Form::Number(point) if point.axes().len() > 1) =>
        {
            format!("a distance on a ring goes round: write (i - j) % {name}")
        }
        (Demand::Border, Kind::Ring) => "a ring has no end: every index lies on it".to_owned(),
        (Demand::Shift, Kind::Ring) => format!(
            "a ring wants as many entries as go round: every second one needs `where {name} % 2 == 0`"
        ),
        (Demand::Distance, Kind::Grid) => {
            "bound the reduction from both sides, as in sum s where s <= t + 2 and s >= t - 2".to_owned()
        }
        (Demand::Position, _) if matches!(core.vals[demanded.by].form, Form::Reshape(_)) => {
            format!("reduce over `{name}` first, as in mean(h, over: {name})")
        }
        (
            Demand::Distance | Demand::Order | Demand::FirstEntry | Demand::Position,
            Kind::Ring | Kind::Grid,
        ) => "read neighbours at a fixed distance, or bound a sum from both sides".to_owned(),
        _ => format!("reduce over `{name}` first, as in sum(h, over: {name})"),
    };
    diagnostic.help(other).help(declares_dims(facts, demanded.by, demanded.root))
}

/// A kind bounds what an entry may depend on.
///
/// `instead`: a kind that is kept.
pub(super) fn flow_refused(
    core: &Core,
    by: Val,
    kind: Kind,
    declared: Span,
    name: &str,
    what: &str,
    instead: Option<Kind>,
) -> Diagnostic {
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
    if kind != Kind::Batch {
        diagnostic = diagnostic.help(causal_instead(core, by, declared, name));
    }
    diagnostic.maybe(instead.map(|instead| {
        let text = match (kind, instead) {
            (Kind::Batch, Kind::Set) => format!("a definition that sees all samples declares `set {name}`"),
            _ => format!("or declare `{instead} {name}`, if an entry may depend on {what}"),
        };
        declares(text, instead, name, declared)
    }))
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
fn causal_instead(core: &Core, by: Val, declared: Span, name: &str) -> Help {
    let mut path = core.vals[by].path.as_deref();
    let mut known = None;
    while let Some(call) = path {
        // A call of the definition's own file can be changed.
        let own = call.span.file == declared.file;
        known = match &*call.callee {
            "self_attention" | "relative_attention" | "transformer_block" => {
                let help = Help::from("ask for it: causal: true");
                Some(match own {
                    true => help.static_argument(call.span, &call.callee, "causal", "true"),
                    false => help,
                })
            }
            "attend" => Some(Help::from("attend_causal(q, k, v) looks at the past alone")),
            "conv1d" => Some(Help::from("causal_conv1d(O, k) looks at the past alone")),
            _ => known,
        };
        path = call.outer.as_deref();
    }
    let t = name.to_lowercase();
    known.unwrap_or_else(|| match &core.vals[by].form {
        Form::Read { .. } | Form::Inside(..) => {
            Help::from("read what came before, as in x[t - 1]: before the start there are zeros")
        }
        Form::Scan { .. } | Form::Component { .. } => Help::from("let the scan run forward"),
        Form::Reduce { op, .. } => {
            let (reducer, s) = (op.name(), if t == "s" { "r" } else { "s" });
            let t = if t == name { "t" } else { &t };
            Help::from(format!("guard the reduction: for {t} => {reducer} {s} where {s} <= {t} => …"))
        }
        _ => Help::from("guard the reduction: sum s where s <= t => …"),
    })
}

fn with_article(kind: Kind) -> String {
    match kind {
        Kind::Causal => "causal".to_owned(),
        Kind::Dim => "a dim".to_owned(),
        other => format!("a {other}"),
    }
}

/// Declarations as dims of all axes that an operation needs more of than their kinds grant.
fn declares_dims(facts: &Facts, by: Val, root: Root) -> Help {
    let core = facts.core();
    let refused = |(other, info): (Root, &RootInfo)| {
        let (kind, place) = info.kind?;
        let mut own = facts.demands.iter().filter(|demanded| demanded.by == by && demanded.root == other);
        (other == root || own.any(|demanded| !grants(kind, demanded.demand))).then_some((other, place))
    };
    let all: Vec<(Root, Span)> = core.roots.iter().filter_map(refused).collect();
    let name = |other: Root| core.roots[other].name.as_str();
    let names: Vec<String> = all.iter().map(|&(other, _)| format!("`dim {}`", name(other))).collect();
    let promise = if names.len() == 1 { "promises" } else { "promise" };
    let help = Help::from(format!("or declare {}, which {promise} nothing", names.join(" and ")));
    if all.iter().any(|&(other, _)| reads_outside(facts, other)) {
        return help;
    }
    all.iter().fold(help, |help, &(other, place)| help.replace(place, format!("dim {}", name(other))))
}
