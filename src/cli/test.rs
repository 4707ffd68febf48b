//! `nnc test`: the test blocks of a program or of the library.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::check::core::Core;
use crate::diag;
use crate::elaborate::Part;
use crate::graph::interpret;
use crate::runtime::{Dims, Pool};
use crate::session::{self, Checked, Session, Settings, Timings};
use crate::tensor::Tensor;
use crate::train::{Clock, Store, errors, fill};

use super::arguments::{Global, TestArguments};
use super::console::{Console, Stop};
use super::prepare::stop;
use super::target::what;
use super::train::pool;

/// An assertion that does not hold.
struct Failure {
    line: u32,
    column: u32,
    /// Both sides of a comparison.
    sides: Option<(Tensor, Tensor)>,
}

pub fn test(global: &Global, arguments: &TestArguments, console: &mut Console) -> Result<u8, Stop> {
    let settings = global.settings();
    let mut session = match &arguments.file {
        Some(target) => Session::open(&target.file),
        None => Session::library(),
    };
    if session.has_errors() {
        return Err(stop(&session, session.diagnostics.clone()));
    }
    let wanted = arguments.file.as_ref().and_then(|target| target.item.clone());
    let check = session.check(&settings, &|entry| {
        what(entry) == session::What::Test
            && wanted.as_ref().is_none_or(|name| session::name_of(entry).0 == *name)
    });
    if !check.ok() {
        return Err(stop(&session, check.diagnostics));
    }
    let pool = pool(global)?;
    let mut timings = session.timings;
    let (mut failed, mut shown) = (0, Vec::new());
    for item in &check.items {
        let failures = run(&session, item, &settings, arguments.interpret, &pool, &mut timings)?;
        failed += usize::from(!failures.is_empty());
        let at = session.sources.start(item.span);
        let file = session.sources.name(item.span.file);
        if console.json {
            shown.push(json!({
                "name": item.name.as_str(),
                "file": file,
                "line": at.line,
                "ok": failures.is_empty(),
                "failures": failures.iter().map(failure).collect::<Vec<Value>>(),
            }));
            continue;
        }
        let verdict = if failures.is_empty() { "ok  " } else { "FAIL" };
        console.say(format!("{verdict}  {}  ({file}:{})", item.name, at.line));
        for failure in failures {
            let place = format!("{file}:{}:{}", failure.line, failure.column);
            console.say(match &failure.sides {
                Some((left, right)) => {
                    format!(
                        "      {place}: the sides differ\n        left  {left:.6}\n        right {right:.6}"
                    )
                }
                None => format!("      {place}: does not hold"),
            });
        }
    }
    if console.json {
        console.json(&json!({"ok": failed == 0, "tests": shown, "diagnostics": []}));
    } else {
        console.say(format!("{} tests, {failed} failed", check.items.len()));
    }
    console.timings(global.timings, &timings);
    Ok(u8::from(failed > 0))
}

fn failure(failure: &Failure) -> Value {
    let shown = |tensor: &Tensor| tensor.to_string();
    json!({
        "line": failure.line,
        "column": failure.column,
        "left": failure.sides.as_ref().map(|(left, _)| shown(left)),
        "right": failure.sides.as_ref().map(|(_, right)| shown(right)),
    })
}

/// Runs one test block, natively or in the interpreter.
fn run(
    session: &Session,
    item: &Checked,
    settings: &Settings,
    interpreted: bool,
    pool: &Pool,
    timings: &mut Timings,
) -> Result<Vec<Failure>, Stop> {
    let Some(core) = &item.core else { return Ok(Vec::new()) };
    let fail = super::prepare::failed(session);
    let values = values(core, settings, interpreted, pool, timings).map_err(fail)?;
    let mut values = values.into_iter();
    let mut failures = Vec::new();
    for assertion in &core.assertions {
        let holds = values.next().is_some_and(|holds| holds.numbers().all(|number| number.as_f64() != 0.0));
        let sides = match assertion.sides {
            Some(_) => values.next().zip(values.next()),
            None => None,
        };
        if !holds {
            let at = session.sources.start(assertion.span);
            failures.push(Failure { line: at.line, column: at.column, sides });
        }
    }
    Ok(failures)
}

/// The outputs of a test's graph: for each assertion whether it holds, then its sides.
fn values(
    core: &Core,
    settings: &Settings,
    interpreted: bool,
    pool: &Pool,
    timings: &mut Timings,
) -> Result<Vec<Tensor>, Box<diag::Diagnostic>> {
    let none = Dims::new();
    let mut store = Store::of(core, &none).map_err(|error| Box::new(errors::not_run(&error.into())))?;
    if !store.tensors.is_empty() {
        let init = session::compile(core, Part::Init, &none, settings, timings)?;
        fill(&mut store, &init, &none, 0, pool)?;
    }
    if interpreted {
        let graph = session::graph_of(core, Part::Assertions, &none, settings, Some("elaborate"), timings)?;
        let inputs = crate::train::tensors_for(&graph, &store, Clock::default());
        return interpret(&graph, &inputs, &HashMap::new())
            .map_err(|error| Box::new(session::errors::not_interpreted(&error)));
    }
    let unit = session::compile(core, Part::Assertions, &none, settings, timings)?;
    let shapes: Vec<_> = unit.output_shapes(&none).map(|(shape, _)| shape).collect();
    let arrays = unit.run(&none, &[], &mut store, Clock::default(), pool)?;
    let tensors = arrays.iter().zip(shapes).filter_map(|(array, shape)| array.to_tensor(&shape).ok());
    Ok(tensors.collect())
}
