//! What is proved of each axis of a definition, and whether its declared kinds are kept.

use std::collections::BTreeSet;
use std::fmt;

use crate::base::{Name, Span};
use crate::diag::{Code, Diagnostic};
use crate::ops::ScalarFn;

use super::core::*;
use super::kind::Kind;
use super::rules::{Demand, Demanded, Facts, Flow, Reach, analyse};
use super::show::show_type;

/// What can hold of an axis. The words are those of the JSON form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Property {
    Pointwise,
    PermutationInvariant,
    PermutationEquivariant,
    PermutationEquivariantExceptTies,
    ShiftInvariant,
    ShiftEquivariant,
    TranslationInvariant,
    TranslationEquivariant,
    Causal,
}

impl Property {
    pub fn as_str(self) -> &'static str {
        match self {
            Property::Pointwise => "pointwise",
            Property::PermutationInvariant => "permutation-invariant",
            Property::PermutationEquivariant => "permutation-equivariant",
            Property::PermutationEquivariantExceptTies => "permutation-equivariant-except-ties",
            Property::ShiftInvariant => "shift-invariant",
            Property::ShiftEquivariant => "shift-equivariant",
            Property::TranslationInvariant => "translation-invariant",
            Property::TranslationEquivariant => "translation-equivariant",
            Property::Causal => "causal",
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a property does not hold.
#[derive(Clone, Debug)]
pub struct Broken {
    pub property: Property,
    /// The operation, in the user's terms.
    pub by: String,
    pub span: Span,
    pub message: String,
}

/// The theorem about one axis.
#[derive(Clone, Debug)]
pub struct AxisTheorem {
    pub name: Name,
    /// As declared, or `dim` where nothing was.
    pub kind: Kind,
    pub declared: bool,
    pub holds: BTreeSet<Property>,
    /// What holds in an inference compilation only.
    pub at_inference: BTreeSet<Property>,
    pub assumed: Vec<Name>,
    pub broken: Vec<Broken>,
}

/// The theorems of one definition.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub name: Name,
    /// `f32[N, D] -> f32[10]`
    pub signature: String,
    pub conditions: Vec<String>,
    pub axes: Vec<AxisTheorem>,
}

/// Proves what can be proved, in training and at inference, and checks the declared kinds.
pub fn certify(name: &str, training: &Core, inference: &Core) -> (Certificate, Vec<Diagnostic>) {
    let (facts, quiet) = (analyse(training), analyse(inference));
    let mut diagnostics = Vec::new();
    let mut axes = Vec::new();
    for (root, info) in training.roots.iter() {
        let mut theorem = theorem(training, &facts, root);
        if inference.roots.get(root).is_some_and(|other| other.name == info.name) {
            let other = self::theorem(inference, &quiet, root);
            let both: BTreeSet<_> = theorem.holds.intersection(&other.holds).copied().collect();
            theorem.at_inference = other.holds.difference(&both).copied().collect();
            theorem.holds = both;
        }
        for (core, facts) in [(training, &facts), (inference, &quiet)] {
            if let Some((kind, place)) = core.roots.get(root).and_then(|info| info.kind) {
                let found = violations(core, facts, root, kind, place);
                if !found.is_empty() {
                    diagnostics.extend(found);
                    break;
                }
            }
        }
        axes.push(theorem);
    }
    let inputs: Vec<_> =
        inference.inputs.iter().map(|input| show_type(inference, &input.elem, &input.axes)).collect();
    let outputs: Vec<_> =
        inference.outputs.iter().map(|output| super::show_val(inference, output.val)).collect();
    let joined = |parts: Vec<String>| {
        if parts.len() == 1 { parts.concat() } else { format!("({})", parts.join(", ")) }
    };
    let mut conditions: Vec<String> =
        inference.constraints.iter().map(|constraint| constraint.text.clone()).collect();
    conditions.sort();
    conditions.dedup();
    let signature = format!("{} -> {}", joined(inputs), joined(outputs));
    (Certificate { name: Name::new(name), signature, conditions, axes }, diagnostics)
}

/// The positions at which an output has the axis.
fn places(core: &Core, val: Val, root: Root) -> Vec<AxisVar> {
    core.vals[val].visible.iter().copied().filter(|&axis| core.axes[axis].root == Some(root)).collect()
}

fn theorem(core: &Core, facts: &Facts, root: Root) -> AxisTheorem {
    let info = &core.roots[root];
    let demands: Vec<&Demanded> = facts.demands.iter().filter(|demanded| demanded.root == root).collect();
    let outputs: Vec<(Vec<AxisVar>, Option<&Reach>)> = core
        .outputs
        .iter()
        .map(|output| {
            (
                places(core, output.val, root),
                facts.flow.get(&output.val).and_then(|flow: &Flow| flow.get(&root)),
            )
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
    let worst = demands.iter().max_by_key(|demanded| demanded.demand);
    match worst {
        // What commutes with every permutation commutes with the cyclic ones.
        None => holds.extend([permutation, shift, translation]),
        Some(worst) => {
            if worst.demand == Demand::Tie {
                holds.insert(Property::PermutationEquivariantExceptTies);
            }
            for property in [permutation, shift, translation] {
                broken.push(break_of(core, property, worst, &info.name));
            }
        }
    }
    let pointwise = outputs.iter().all(|(places, reach)| match (places.as_slice(), reach) {
        ([axis], Some(Reach::Near(near))) => {
            near.iter().all(|(other, range)| other == axis && *range == (Some(0), 0))
        }
        ([_], None) => true,
        _ => false,
    });
    let causal = kept
        && outputs.iter().all(|(places, reach)| match (places.as_slice(), reach) {
            ([], _) | (_, None) => true,
            ([axis], Some(Reach::Near(near))) => {
                near.iter().all(|(other, (_, high))| other == axis && *high <= 0)
            }
            _ => false,
        });
    if pointwise {
        holds.insert(Property::Pointwise);
    } else {
        broken.extend(flow_break(core, facts, root, Property::Pointwise, &|range| *range == (Some(0), 0)));
    }
    if causal {
        holds.insert(Property::Causal);
    } else if kept {
        broken.extend(flow_break(core, facts, root, Property::Causal, &|(_, high)| *high <= 0));
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
    }
}

fn break_of(core: &Core, property: Property, demanded: &Demanded, axis: &str) -> Broken {
    Broken {
        property,
        by: operation(core, demanded.by),
        span: core.vals[demanded.by].span,
        message: reason(core, demanded.by, demanded.demand, axis),
    }
}

/// A range of positions, relative to an index: from (without end: `None`) to.
type Range = (Option<i64>, i64);

/// The first value, from the inputs on, whose entries depend on more than a property lets them.
fn flow_break(
    core: &Core,
    facts: &Facts,
    root: Root,
    property: Property,
    fits: &dyn Fn(&Range) -> bool,
) -> Option<Broken> {
    let guilty = guilty(core, facts, root, fits)?;
    let name = &core.roots[root].name;
    Some(Broken {
        property,
        by: operation(core, guilty),
        span: core.vals[guilty].span,
        message: format!("{} reads more of `{name}` than one entry's share", operation(core, guilty)),
    })
}

/// Walks from the outputs to the value at which the flow first exceeds what is allowed.
fn guilty(core: &Core, facts: &Facts, root: Root, fits: &dyn Fn(&Range) -> bool) -> Option<Val> {
    let exceeds = |val: Val| match facts.flow.get(&val).and_then(|flow| flow.get(&root)) {
        Some(Reach::All) => true,
        Some(Reach::Near(near)) => near.values().any(|range| !fits(range)),
        None => false,
    };
    let mut at = core.outputs.iter().map(|output| output.val).find(|&val| exceeds(val))?;
    while let Some(next) = super::rules::arguments(core, at).into_iter().find(|&arg| exceeds(arg)) {
        at = next;
    }
    Some(at)
}

// ---- declared kinds ----------------------------------------------------------------------------

/// Whether a kind allows a demand.
fn grants(kind: Kind, demand: Demand) -> bool {
    match kind {
        Kind::Batch | Kind::Set => false,
        Kind::Ring | Kind::Grid => demand == Demand::Shift,
        Kind::Causal => {
            matches!(demand, Demand::Shift | Demand::Position | Demand::Order | Demand::FirstEntry)
        }
        Kind::Dim => true,
    }
}

fn violations(core: &Core, facts: &Facts, root: Root, kind: Kind, declared: Span) -> Vec<Diagnostic> {
    let name = &core.roots[root].name;
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for demanded in
        facts.demands.iter().filter(|demanded| demanded.root == root && !grants(kind, demanded.demand))
    {
        let diagnostic = demand_refused(core, demanded, kind, declared, name);
        if seen.insert(diagnostic.primary().map(|span| (span.file, span.start, span.end))) {
            found.push(diagnostic);
        }
    }
    if !found.is_empty() {
        return found;
    }
    let outside: Option<(&OutputInfo, &str)> = core.outputs.iter().find_map(|output| {
        let places = places(core, output.val, root);
        let reach = facts.flow.get(&output.val).and_then(|flow| flow.get(&root));
        let verdict = match (kind, places.as_slice(), reach) {
            (Kind::Batch, [axis], Some(Reach::Near(near))) => {
                let own = near.iter().all(|(other, range)| other == axis && *range == (Some(0), 0));
                (!own).then_some("other samples")
            }
            (Kind::Batch, [_], None) => None,
            (Kind::Batch, [_], Some(Reach::All)) => Some("other samples"),
            (Kind::Batch, [], None) => None,
            (Kind::Batch, [], Some(_)) => Some("all samples at once"),
            (Kind::Batch, _, _) => Some("pairs of samples"),
            (Kind::Causal, [], _) | (Kind::Causal, _, None) => None,
            (Kind::Causal, [axis], Some(Reach::Near(near))) => {
                let past = near.iter().all(|(other, (_, high))| other == axis && *high <= 0);
                (!past).then_some("the future")
            }
            (Kind::Causal, _, Some(_)) => Some("the future"),
            _ => None,
        };
        verdict.map(|verdict| (output, verdict))
    });
    if let Some((output, what)) = outside {
        let fits: &dyn Fn(&Range) -> bool = match kind {
            Kind::Batch => &|range| *range == (Some(0), 0),
            _ => &|(_, high)| *high <= 0,
        };
        let by = guilty(core, facts, root, fits).unwrap_or(output.val);
        found.push(flow_refused(core, by, kind, declared, name, what));
    }
    found
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
        Demand::FirstEntry | Demand::Position | Demand::Order | Demand::Shift => "depends on its order",
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
    diagnostic.help(match demanded.demand {
        Demand::Tie => format!("declare `dim {name}` if the place of equal entries may matter"),
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
    diagnostic.help(match kind {
        Kind::Batch => format!("a definition that sees all samples declares `set {name}`"),
        _ => "guard the reduction: sum s where s <= t => …".to_owned(),
    })
}

fn with_article(kind: Kind) -> String {
    match kind {
        Kind::Causal => "causal".to_owned(),
        Kind::Dim => "a dim".to_owned(),
        other => format!("a {other}"),
    }
}

/// What people call the operation of a value.
fn operation(core: &Core, val: Val) -> String {
    let name = match &core.vals[val].form {
        Form::Param(index) => return format!("the parameter `{}`", core.params[*index].path),
        Form::State(index) => return format!("the state `{}`", core.states[*index].path),
        Form::Number(_) | Form::Position(_) => "a position",
        Form::Scalar(ScalarFn::Cast(_), _) => "a position",
        Form::Scalar(ScalarFn::Lt | ScalarFn::Le, _) => "a comparison",
        Form::Scalar(..) => "an operation",
        Form::Read { at, .. } if at.iter().any(|at| matches!(at, At::Entry(_))) => "a gather",
        Form::Read { .. } => "a read",
        Form::Reshape(_) => "`flatten` or a reshape",
        Form::Concat { .. } => "`concat`",
        Form::Reduce { op, .. } => return format!("`{}`", op.name()),
        Form::Scan { .. } | Form::Component { .. } => "`scan`",
        Form::Gradients { .. } => "`grad`",
        Form::Size(_) => "its size",
        _ => "an operation",
    };
    name.to_owned()
}

/// One sentence of why, in the user's terms.
fn reason(core: &Core, val: Val, demand: Demand, axis: &str) -> String {
    match demand {
        Demand::ParameterSize => {
            format!("{} has an entry for each position of `{axis}`", operation(core, val))
        }
        Demand::Tie => format!("of equal entries along `{axis}` the first is taken"),
        Demand::Order => format!("asks which of two positions of `{axis}` comes first"),
        Demand::Shift => format!("reads a neighbour along `{axis}`"),
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
            parts.join("; ")
        };
        let mut sentence = words(&self.holds);
        if sentence.is_empty() {
            sentence = "nothing is promised".to_owned();
        }
        if !self.at_inference.is_empty() {
            let all = self.holds.union(&self.at_inference).copied().collect();
            sentence = format!("{sentence}; at inference {}", words(&all));
        }
        sentence
    }
}
