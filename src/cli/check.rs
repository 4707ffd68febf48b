//! `nnc check`: diagnostics, and what is proved.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::axes::{Ratio, Scale};
use crate::base::Sources;
use crate::check::Kind;
use crate::check::certificate::{AxisTheorem, Broken, Certificate, Property};
use crate::diag;
use crate::session::{Check, Checked, Session, Settings, What, errors, name_of, theorem};
use crate::verify::{Draws, Search, Subject, search};

use super::arguments::{CheckArguments, Global};
use super::console::{Console, Stop};
use super::target::what;

pub fn check(global: &Global, arguments: &CheckArguments, console: &mut Console) -> Result<u8, Stop> {
    let settings = global.settings();
    let mut session = Session::open(&arguments.target.file);
    if arguments.target.item.is_some() && session.user.is_some() {
        let all = [What::Fn, What::Layer, What::Model, What::Optimizer, What::Train, What::Test];
        let picked = arguments.target.pick(&session, "item", &all);
        picked
            .map_err(|diagnostic| Stop::Diagnostics(Box::new(session.sources.clone()), vec![*diagnostic]))?;
    }
    let wanted = arguments.target.item.clone();
    let mut check =
        session.check(&settings, &|entry| wanted.as_ref().is_none_or(|name| name_of(entry).0 == *name));
    check.diagnostics.extend(unused_dims(&session, &settings));
    if let Some(name) = &arguments.explain {
        return explain(&session, &check, name, console);
    }
    if console.json {
        let mut value = result(&session.sources, &check);
        if arguments.counterexample {
            let found = counterexamples(&mut session, &check, &settings);
            value["counterexamples"] = found.iter().map(|found| found.value()).collect();
        }
        console.json(&value);
    } else {
        console.show(&session.sources, &check.diagnostics);
        for item in check.items.iter().filter(|item| item.what != What::Test) {
            console.print(&theorem(item));
        }
        let errors = check.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
        match errors {
            0 => {}
            1 => console.complain("1 error"),
            _ => console.complain(&format!("{errors} errors")),
        }
        if arguments.counterexample {
            let found = counterexamples(&mut session, &check, &settings);
            let refused = check.diagnostics.iter().any(|one| matches!(one.code.0, 214 | 250 | 251));
            match (found.is_empty(), refused) {
                (true, true) => {
                    console.say("what is refused shows at equal entries alone, which draws do not have")
                }
                (true, false) => console.say("no definition is rejected for what an axis is declared to be"),
                _ => {}
            }
            for found in found {
                console.say(found.sentence());
            }
        }
    }
    console.timings(global.timings, &session.timings);
    let code = check.exit_code();
    // The process ends: its memory need not be given back piece by piece.
    std::mem::forget((check, session));
    Ok(code)
}

/// `--dim` of names that no definition of the file has.
fn unused_dims(session: &Session, settings: &Settings) -> Vec<diag::Diagnostic> {
    let mut known: Vec<String> = Vec::new();
    for (_, entry) in session.items() {
        if what(&entry) != What::Train {
            known.extend(super::prepare::dims_of(&entry));
        }
    }
    let unknown = settings.dims.keys().filter(|dim| !known.iter().any(|name| name == dim.as_str()));
    let file = session.user.map_or("the file", |(_, file)| session.sources.name(file));
    unknown.map(|dim| crate::session::errors::unknown_dim(dim.as_str(), file, &known)).collect()
}

/// `check --json`: whether all is well, the theorems, the diagnostics.
fn result(sources: &Sources, check: &Check) -> Value {
    let shown =
        |item: &&Checked| matches!(item.what, What::Fn | What::Layer | What::Model) && !item.when_used;
    let items: Vec<Value> = check.items.iter().filter(shown).map(|item| self::item(sources, item)).collect();
    json!({
        "ok": check.ok(),
        "items": items,
        "diagnostics": diag::json::diagnostics(sources, &check.diagnostics),
    })
}

fn item(sources: &Sources, item: &Checked) -> Value {
    let certificate = item.certificate.as_ref();
    let axes = |certificate: &Certificate| -> Vec<Value> {
        certificate.axes.iter().map(|theorem| axis(sources, theorem)).collect()
    };
    json!({
        "name": item.name.as_str(),
        "kind": item.what.as_str(),
        "type": certificate.map(|certificate| certificate.signature.clone()),
        "where": certificate.map_or_else(Vec::new, |certificate| certificate.conditions.clone()),
        "axes": certificate.map_or_else(Vec::new, axes),
    })
}

fn axis(sources: &Sources, axis: &AxisTheorem) -> Value {
    let words = |set: &BTreeSet<Property>| -> Vec<String> { set.iter().map(ToString::to_string).collect() };
    let broken: Vec<Value> = axis
        .broken
        .iter()
        .map(|broken| {
            let at = sources.start(broken.span);
            json!({
                "property": broken.property.to_string(),
                "by": broken.by,
                "file": sources.name(broken.span.file),
                "line": at.line,
                "column": at.column,
                "message": broken.message,
            })
        })
        .collect();
    let grid = axis.grid.as_ref();
    let ratio = |ratio: Ratio| match ratio.as_whole() {
        Some(whole) => json!(whole),
        None => json!(ratio.to_f64()),
    };
    // A number, or the product of dims that it is.
    let scale = |scale: &Scale| scale.as_ratio().map_or_else(|| json!(scale.to_string()), ratio);
    let assumed: Vec<&str> = axis.assumed.iter().map(|name| name.as_str()).collect();
    json!({
        "name": axis.name.as_str(),
        "kind": axis.kind.as_str(),
        "declared": axis.declared,
        "holds": words(&axis.holds),
        "holds_at_inference": words(&axis.at_inference),
        "assumed": assumed,
        "stride": grid.and_then(|grid| grid.stride.as_ref()).map(scale),
        "period": grid.map(|grid| scale(&grid.period)),
        "field": grid.and_then(|grid| grid.field).map(|(low, high)| json!([ratio(low), ratio(high)])),
        "broken": broken,
    })
}

/// `--explain NAME`: what holds of each axis, what is assumed, and what breaks the rest, with its place.
fn explain(session: &Session, check: &Check, name: &str, console: &mut Console) -> Result<u8, Stop> {
    let Some(item) = check.items.iter().find(|item| item.name == name) else {
        let known: Vec<_> = check.items.iter().map(|item| item.name.clone()).collect();
        return Err(super::prepare::stop(session, vec![errors::no_such_block("definition", name, &known)]));
    };
    let place = |span: crate::base::Span| {
        let at = session.sources.start(span);
        format!("{}:{}:{}", session.sources.name(span.file), at.line, at.column)
    };
    if console.json {
        console.json(&self::item(&session.sources, item));
        return Ok(check.exit_code());
    }
    let of_item = |diagnostic: &&diag::Diagnostic| diagnostic.is_error();
    let diagnostics: Vec<_> = check.diagnostics.iter().filter(of_item).cloned().collect();
    console.show(&session.sources, &diagnostics);
    let Some(certificate) = &item.certificate else {
        console.say(theorem(item).trim_end());
        return Ok(check.exit_code());
    };
    console.say(format!("{} : {}", certificate.name, certificate.signature));
    for condition in &certificate.conditions {
        console.say(format!("  where {condition}"));
    }
    for axis in &certificate.axes {
        let kind = if axis.declared { format!(", declared {}", axis.kind) } else { String::new() };
        console.say(format!("\n{}{kind}", axis.name));
        for property in &axis.holds {
            console.say(format!("  holds    {property}"));
        }
        for property in &axis.at_inference {
            console.say(format!("  holds    {property}, at inference only"));
        }
        for property in &axis.assumed {
            console.say(format!("  assumed  {property}"));
        }
        // What one operation breaks is told together.
        let same = |one: &Broken, other: &Broken| {
            (one.span, one.inside, &one.message) == (other.span, other.inside, &other.message)
        };
        for together in axis.broken.chunk_by(same) {
            let properties: Vec<&str> = together.iter().map(|broken| broken.property.as_str()).collect();
            let Broken { by, span, inside, message, .. } = &together[0];
            let inside = inside.map_or_else(String::new, |inside| format!(" ({})", place(inside)));
            let at = place(*span);
            console.say(format!("  broken   {} by {by} at {at}{inside}: {message}", properties.join(", ")));
        }
    }
    Ok(check.exit_code())
}

/// What a search for a counterexample came to.
struct Counterexample {
    item: String,
    axis: String,
    kind: String,
    search: Search,
}

/// Looks for a counterexample for each axis of each rejected definition whose kind is not kept.
fn counterexamples(session: &mut Session, check: &Check, settings: &Settings) -> Vec<Counterexample> {
    let entries: Vec<_> = session.items().into_iter().map(|(_, entry)| entry).collect();
    let mut found = Vec::new();
    for item in &check.items {
        let Some(certificate) = &item.certificate else { continue };
        let Some(entry) = entries.iter().find(|entry| name_of(entry) == (item.name.clone(), item.span))
        else {
            continue;
        };
        for axis in certificate.axes.iter().filter(|axis| axis.declared && !is_kept(axis)) {
            let mut draws = Draws::new(0);
            let search = match Subject::of(session, entry, settings, &mut draws) {
                Ok(subject) => search(&subject, axis, settings, &mut draws),
                Err(why) => Search::Untried(why),
            };
            let (item, kind) = (item.name.to_string(), axis.kind.to_string());
            found.push(Counterexample { item, axis: axis.name.to_string(), kind, search });
        }
    }
    found
}

/// Whether what an axis is declared to be is proved of it.
fn is_kept(axis: &AxisTheorem) -> bool {
    let has = |property: Property| axis.holds.contains(&property);
    match axis.kind {
        Kind::Batch => has(Property::Pointwise),
        Kind::Set => {
            has(Property::PermutationInvariant)
                || has(Property::PermutationEquivariant)
                || has(Property::PermutationEquivariantExceptTies)
        }
        Kind::Ring => has(Property::ShiftInvariant) || has(Property::ShiftEquivariant),
        Kind::Grid => has(Property::TranslationInvariant) || has(Property::TranslationEquivariant),
        // An output without the axis may depend on all of it.
        Kind::Causal => !axis.broken.iter().any(|broken| broken.property == Property::Causal),
        Kind::Dim => true,
    }
}

impl Counterexample {
    fn sentence(&self) -> String {
        let Counterexample { item, axis, kind, search } = self;
        match search {
            Search::Found(witness) => {
                format!("{item}: {axis} is declared {kind}; {}", super::verify::sentence(witness))
            }
            Search::NotFound(trials) => format!(
                "{item}: none of {trials} trials breaks what `{kind} {axis}` promises: the rejection may be too strict"
            ),
            Search::Untried(why) => format!("{item}: `{kind} {axis}` was not tried: {why}"),
        }
    }

    fn value(&self) -> Value {
        let mut value = json!({"item": self.item, "axis": self.axis, "kind": self.kind});
        match &self.search {
            Search::Found(witness) => value["witness"] = super::verify::witness_value(witness),
            Search::NotFound(trials) => value["trials"] = (*trials).into(),
            Search::Untried(why) => value["untried"] = why.as_str().into(),
        }
        value
    }
}
