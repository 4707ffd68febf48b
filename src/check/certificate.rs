//! What is proved of each axis of a definition, and whether its declared kinds are kept.

use std::collections::BTreeSet;
use std::fmt;

use crate::axes::Ratio;
use crate::base::{Name, Span};
use crate::diag::{Code, Diagnostic};
use crate::ops::ScalarFn;

use super::core::*;
use super::kind::Kind;
use super::rules::weaken::{self, Weakening};
use super::rules::{Center, Demand, Demanded, Facts, Reach, Roots, Window, analyse};
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
    /// What a translation of the axis does, where it does something even.
    pub grid: Option<GridTheorem>,
}

/// How the outputs move when a grid or a ring is translated.
#[derive(Clone, Debug, PartialEq)]
pub struct GridTheorem {
    /// Neighbouring entries of the output lie this far apart on the axis; `None`: no output has the axis.
    pub stride: Option<Ratio>,
    /// The translations that the theorem speaks of: the multiples.
    pub period: i64,
    /// An entry of the output depends on the places from `at + low` to `at + high`, `at` its own; where it is bounded.
    pub field: Option<(Ratio, Ratio)>,
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

impl Certificate {
    /// Leaves out what does not hold for another choice of the static arguments.
    pub fn restrict(&mut self, other: &Certificate) {
        for theorem in &mut self.axes {
            let Some(other) = other.axes.iter().find(|axis| axis.name == theorem.name) else { continue };
            let lost = |property: &Property| !other.holds.contains(property);
            theorem.broken.extend(
                other.broken.iter().filter(|broken| theorem.holds.contains(&broken.property)).cloned(),
            );
            theorem.holds.retain(|property| !lost(property));
            theorem
                .at_inference
                .retain(|property| other.holds.contains(property) || other.at_inference.contains(property));
            if other.grid != theorem.grid {
                theorem.grid = None;
                let of_grids = [Property::TranslationInvariant, Property::TranslationEquivariant];
                theorem.holds.retain(|property| !of_grids.contains(property));
            }
        }
    }
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
        diagnostics.extend(diagonal(training, root));
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

/// The axes of an output that run over the root, at any rate.
fn places(roots: &Roots, val: Val, root: Root) -> Vec<AxisVar> {
    let visible = &roots.core.vals[val].visible;
    visible.iter().copied().filter(|&axis| roots.has(axis, root)).collect()
}

/// Whether an output's entry depends only on what `fits` says, where the output has the axis, entry by entry.
fn keeps_to(
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

fn is_own(center: Center, window: &Window) -> bool {
    *window == Window::OWN && center != Center::First
}

fn is_past(_: Center, window: &Window) -> bool {
    window.high <= Ratio::ZERO && !window.wraps
}

fn theorem(core: &Core, facts: &Facts, root: Root) -> AxisTheorem {
    let info = &core.roots[root];
    let roots = Roots::new(core);
    let demands: Vec<&Demanded> = facts.demands.iter().filter(|demanded| demanded.root == root).collect();
    let outputs: Vec<(Vec<AxisVar>, Option<&Reach>)> = core
        .outputs
        .iter()
        .map(|output| {
            let reach = facts.flow[output.val].get(&root);
            (places(&roots, output.val, root), reach)
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
    let grid = holds.contains(&translation).then(|| grid_theorem(&roots, facts, root, &outputs));
    let all = |fits: &dyn Fn(Center, &Window) -> bool| {
        outputs.iter().all(|(places, reach)| keeps_to(&roots, root, places, *reach, fits))
    };
    if all(&is_own) && written(core, facts, root).is_none() {
        holds.insert(Property::Pointwise);
    } else {
        broken.extend(flow_break(core, facts, root, Property::Pointwise, &is_own));
    }
    let causal = outputs
        .iter()
        .all(|(places, reach)| places.is_empty() || keeps_to(&roots, root, places, *reach, &is_past));
    if kept && causal {
        holds.insert(Property::Causal);
    } else if kept {
        broken.extend(flow_break(core, facts, root, Property::Causal, &is_past));
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
fn written(core: &Core, facts: &Facts, root: Root) -> Option<Val> {
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
    let rates = with_axis.iter().flat_map(|(places, _)| places).map(|&axis| roots.rate(axis, root));
    let rates: BTreeSet<Option<Ratio>> = rates.collect();
    let stride = match (rates.first(), rates.len()) {
        (Some(rate), 1) => *rate,
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
    let period = facts.period.get(&root).copied().unwrap_or(1);
    GridTheorem { stride, period, field: field.filter(|_| bounded) }
}

fn break_of(core: &Core, property: Property, demanded: &Demanded, axis: &str) -> Broken {
    Broken {
        property,
        by: operation(core, demanded.by),
        span: core.vals[demanded.by].span,
        message: reason(core, demanded.by, demanded.demand, axis),
    }
}

/// The first value, from the inputs on, whose entries depend on more than a property lets them.
fn flow_break(
    core: &Core,
    facts: &Facts,
    root: Root,
    property: Property,
    fits: &dyn Fn(Center, &Window) -> bool,
) -> Option<Broken> {
    let outputs = core.outputs.iter().map(|output| output.val);
    let output = outputs.chain(written(core, facts, root)).find(|&val| exceeds(facts, root, fits, val))?;
    let guilty = guilty(core, facts, root, fits, output);
    let name = &core.roots[root].name;
    Some(Broken {
        property,
        by: operation(core, guilty),
        span: core.vals[guilty].span,
        message: format!("{} reads more of `{name}` than one entry's share", operation(core, guilty)),
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
fn guilty(
    core: &Core,
    facts: &Facts,
    root: Root,
    fits: &dyn Fn(Center, &Window) -> bool,
    output: Val,
) -> Val {
    let roots = Roots::new(core);
    let mut seen = BTreeSet::from([output]);
    let mut rest = vec![output];
    let mut mixing = None;
    while let Some(at) = rest.pop() {
        if mixing.is_none() && mixes(&roots, root, at) {
            mixing = Some(at);
        }
        let mut made_of = makers(&roots, root, at);
        made_of.retain(|arg| exceeds(facts, root, fits, *arg));
        if made_of.is_empty() {
            return at;
        }
        // The first one is looked at first.
        rest.extend(made_of.into_iter().rev().filter(|arg| seen.insert(*arg)));
    }
    // A loop hands it round: all that is in it exceeds, and one of them makes it so.
    mixing.unwrap_or(output)
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
            Form::Gradients { wrt, .. } => wrt.get(*index).copied().into_iter().collect(),
            _ => super::rules::arguments(core, *of),
        },
        Form::Tangent { along, .. } => along.clone(),
        _ => super::rules::arguments(core, val),
    }
}

// ---- declared kinds ----------------------------------------------------------------------------

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

fn violations(core: &Core, facts: &Facts, root: Root, kind: Kind, declared: Span) -> Vec<Diagnostic> {
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
    let roots = Roots::new(core);
    let outside: Option<(&OutputInfo, &str)> = core.outputs.iter().find_map(|output| {
        let places = places(&roots, output.val, root);
        let reach = facts.flow[output.val].get(&root);
        let own = keeps_to(&roots, root, &places, reach, &is_own);
        let past = keeps_to(&roots, root, &places, reach, &is_past);
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
    let kept = (kind == Kind::Batch).then(|| written(core, facts, root)).flatten();
    if let Some((output, what)) = outside.or(kept.map(|val| (val, "all samples at once"))) {
        let fits: &dyn Fn(Center, &Window) -> bool = match kind {
            Kind::Batch => &is_own,
            _ => &is_past,
        };
        let by = guilty(core, facts, root, fits, output);
        found.push(flow_refused(core, by, kind, declared, name, what));
    }
    found
}

/// A grid that runs along two axes of one input is translated along both at once.
fn diagonal(core: &Core, root: Root) -> Option<Diagnostic> {
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
    diagnostic.help(match kind {
        Kind::Batch => format!("a definition that sees all samples declares `set {name}`"),
        _ => causal_instead(core, by).to_owned(),
    })
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
        Form::Read { .. } => "read what came before, as in x[t - 1]: before the start there are zeros",
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

/// What people call the operation of a value.
fn operation(core: &Core, val: Val) -> String {
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
fn reason(core: &Core, val: Val, demand: Demand, axis: &str) -> String {
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
        if self.period != 1 {
            text.push_str(&format!(" by multiples of {}", self.period));
        }
        if !cyclic {
            text.push_str(", away from its border");
        }
        if let Some(stride) = self.stride.filter(|stride| *stride != Ratio::ONE) {
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
            let all = self.holds.union(&self.at_inference).copied().collect();
            sentence = format!("{sentence}; at inference {}", words(&all));
        }
        sentence
    }
}
