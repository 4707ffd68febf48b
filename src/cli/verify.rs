//! `nnc verify`: numeric evidence for the theorems of a program.

use serde_json::{Value, json};

use crate::check::Entry;
use crate::session::{Session, What, name_of};
use crate::verify::{Draws, Evidence, Subject, Verdict, Witness, evidence};

use super::arguments::{Global, VerifyArguments};
use super::console::{Console, Stop};
use super::prepare::stop;
use super::target::what;

pub fn verify(global: &Global, arguments: &VerifyArguments, console: &mut Console) -> Result<u8, Stop> {
    let settings = global.settings();
    let mut session = Session::open(&arguments.target.file);
    if session.has_errors() {
        return Err(stop(&session, session.diagnostics.clone()));
    }
    let allowed = [What::Fn, What::Layer, What::Model];
    if arguments.target.item.is_some() {
        let picked = arguments.target.pick(&session, "definition", &allowed);
        picked.map_err(|diagnostic| stop(&session, vec![*diagnostic]))?;
    }
    let wanted = |entry: &Entry| {
        allowed.contains(&what(entry))
            && arguments.target.item.as_ref().is_none_or(|name| name_of(entry).0 == *name)
    };
    let check = session.check(&settings, &wanted);
    if !check.ok() {
        return Err(stop(&session, check.diagnostics));
    }
    let entries: Vec<Entry> = session.items().into_iter().map(|(_, entry)| entry).filter(wanted).collect();
    let (mut refuted, mut held, mut untried, mut shown) = (0, 0, 0, Vec::new());
    for entry in entries {
        let mut draws = Draws::new(arguments.seed);
        let name = name_of(&entry).0;
        let subject = match Subject::of(&mut session, &entry, &settings, &mut draws) {
            Ok(subject) => subject,
            Err(why) => {
                if !console.json {
                    console.say(format!("{name}: not tried: {why}"));
                }
                shown.push(json!({"item": name.as_str(), "verdict": "untried", "reason": why}));
                continue;
            }
        };
        let found = evidence(&subject, &settings, &mut draws);
        let width = found.iter().map(|one| claim(one).chars().count()).max().unwrap_or(0);
        for one in found {
            refuted += usize::from(matches!(one.verdict, Verdict::Refuted(_)));
            held += usize::from(matches!(one.verdict, Verdict::Holds { .. }));
            untried += usize::from(matches!(one.verdict, Verdict::Untried(_)));
            if !console.json {
                console.say(format!("{:width$}  {}", claim(&one), verdict(&one.verdict)));
            }
            shown.push(value(&one));
        }
    }
    if console.json {
        console.json(&json!({"ok": refuted == 0, "theorems": shown, "diagnostics": []}));
    } else {
        let untried = if untried > 0 { format!(", {untried} not tried") } else { String::new() };
        console.say(format!("{held} theorems hold in every trial, {refuted} refuted{untried}"));
    }
    console.timings(global.timings, &session.timings);
    Ok(u8::from(refuted > 0))
}

/// `deep_sets  N  permutation-invariant`
fn claim(one: &Evidence) -> String {
    let training = if one.training { " (training)" } else { "" };
    format!("{}  {}  {}{training}", one.item, one.axis, one.property)
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Holds { deviation, tolerance, trials } => {
            format!("holds in {trials} trials, largest deviation {deviation:.1e} (rounding: {tolerance:.1e})")
        }
        Verdict::Untried(why) => format!("not tried: {why}"),
        Verdict::Refuted(witness) => format!("REFUTED: {}", sentence(witness)),
    }
}

/// A witness in a sentence.
pub fn sentence(witness: &Witness) -> String {
    let Witness { sizes, change, entry, expected, found, .. } = witness;
    let with = if sizes.is_empty() { String::new() } else { format!("with {sizes}, ") };
    format!("{with}{change} gives {entry} = {found:.6}, and it should be {expected:.6}")
}

/// A witness for programs.
pub fn witness_value(witness: &Witness) -> Value {
    let number = |value: f64| if value.is_finite() { json!(value) } else { Value::Null };
    json!({
        "sizes": witness.sizes,
        "change": witness.change,
        "entry": witness.entry,
        "expected": number(witness.expected),
        "found": number(witness.found),
        "deviation": number(witness.deviation),
        "tolerance": number(witness.tolerance),
    })
}

fn value(one: &Evidence) -> Value {
    let mut value = json!({
        "item": one.item.as_str(),
        "axis": one.axis.as_str(),
        "property": one.property.to_string(),
        "training": one.training,
    });
    match &one.verdict {
        Verdict::Holds { deviation, tolerance, trials } => {
            value["verdict"] = "holds".into();
            value["deviation"] = (*deviation).into();
            value["tolerance"] = (*tolerance).into();
            value["trials"] = (*trials).into();
        }
        Verdict::Untried(why) => {
            value["verdict"] = "untried".into();
            value["reason"] = why.as_str().into();
        }
        Verdict::Refuted(witness) => {
            value["verdict"] = "refuted".into();
            value["witness"] = witness_value(witness);
        }
    }
    value
}
