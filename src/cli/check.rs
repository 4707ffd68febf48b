//! `nnc check`: diagnostics, and what is proved.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::axes::Ratio;
use crate::base::Sources;
use crate::check::certificate::{AxisTheorem, Certificate, Property};
use crate::diag;
use crate::session::{Check, Checked, Session, Settings, What, name_of, theorem};

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
    if console.json {
        console.json(&result(&session.sources, &check));
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
    }
    console.timings(global.timings, &session.timings);
    Ok(check.exit_code())
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
    let assumed: Vec<&str> = axis.assumed.iter().map(|name| name.as_str()).collect();
    json!({
        "name": axis.name.as_str(),
        "kind": axis.kind.as_str(),
        "declared": axis.declared,
        "holds": words(&axis.holds),
        "holds_at_inference": words(&axis.at_inference),
        "assumed": assumed,
        "stride": grid.and_then(|grid| grid.stride).map(ratio),
        "period": grid.map(|grid| grid.period),
        "field": grid.and_then(|grid| grid.field).map(|(low, high)| json!([ratio(low), ratio(high)])),
        "broken": broken,
    })
}
