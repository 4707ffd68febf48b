//! `nnc test`: the test blocks of programs or of the library; with `--full` their trainings, too, against what they expect.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::diag;
use crate::elaborate::Part;
use crate::graph::{Role, interpret};
use crate::runtime::{Array, Dims, Pool, RunError};
use crate::session::{self, Check, Checked, Session, Settings, Timings, What};
use crate::tensor::Tensor;
use crate::train::{Clock, Store, errors, fill, tensors_for, whole_arrays};

use super::arguments::{Global, TestArguments};
use super::console::{Console, Stop};
use super::full;
use super::prepare::stop;
use super::target::{Target, what};
use super::train::{interruption, pool};

/// An assertion that does not hold.
struct Failure {
    line: u32,
    column: u32,
    /// Both sides of a comparison.
    sides: Option<(Tensor, Tensor)>,
}

pub fn test(global: &Global, arguments: &TestArguments, console: &mut Console) -> Result<u8, Stop> {
    let settings = global.settings();
    let pool = pool(global)?;
    let targets: Vec<Option<Target>> = match &arguments.file {
        None => vec![None],
        Some(target) if target.file.is_dir() => {
            let mut files = Vec::new();
            programs(&target.file, &mut files).map_err(|error| {
                Stop::Usage(format!("cannot read the folder {}: {error}", target.file.display()))
            })?;
            files.sort();
            files.into_iter().map(|file| Some(Target { file, item: None })).collect()
        }
        Some(target) => vec![Some(target.clone())],
    };
    let whole_folder = targets.len() != 1;
    let wanted = |entry: &crate::check::Entry, item: Option<&String>| match what(entry) {
        What::Test => item.is_none_or(|name| session::name_of(entry).0 == *name),
        What::Train => arguments.full && item.is_none_or(|name| session::name_of(entry).0 == *name),
        _ => false,
    };
    // Without trainings Ctrl-C ends the process at once.
    let interrupted = if arguments.full { interruption() } else { Arc::default() };
    let (mut broken, mut failed, mut count) = (0, 0, 0);
    let (mut shown, mut rows) = (Vec::new(), Vec::new());
    for target in targets {
        let mut session = match &target {
            Some(target) => Session::open(&target.file),
            None => Session::library(),
        };
        let name = target.and_then(|target| target.item);
        let check = match session.has_errors() {
            true => Check { items: Vec::new(), diagnostics: session.diagnostics.clone() },
            false => session.check(&settings, &|entry| wanted(entry, name.as_ref())),
        };
        if !check.ok() {
            if !whole_folder {
                return Err(stop(&session, check.diagnostics));
            }
            // The other programs of the folder are tested all the same.
            console.show(&session.sources, &check.diagnostics);
            broken += 1;
            continue;
        }
        let mut timings = session.timings;
        for item in &check.items {
            if let Some(plan) = &item.plan {
                if plan.expects.is_empty() {
                    continue;
                }
                let seeds = arguments.seed..arguments.seed.saturating_add(arguments.seeds.into());
                let new = full::reached(&session, plan, &settings, seeds, &pool, &interrupted, &mut timings)?;
                let Some(new) = new else { return Ok(130) };
                for row in new {
                    if !console.json {
                        console.say(row.line());
                    }
                    rows.push(row);
                }
                continue;
            }
            let failures = run(&session, item, &settings, arguments.interpret, &pool, &mut timings)?;
            count += 1;
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
            // Of a folder, the table at the end is what is read.
            if !whole_folder || !failures.is_empty() {
                let verdict = if failures.is_empty() { "ok  " } else { "FAIL" };
                console.say(format!("{verdict}  {}  ({file}:{})", item.name, at.line));
            }
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
        console.timings(global.timings, &timings);
    }
    let missed = rows.iter().filter(|row| !row.holds()).count();
    if console.json {
        let bars: Vec<Value> = rows.iter().map(full::Row::json).collect();
        let ok = failed + missed + broken == 0;
        console
            .json(&json!({"ok": ok, "broken": broken, "tests": shown, "expected": bars, "diagnostics": []}));
    } else {
        console.say(format!("{count} tests, {failed} failed"));
        if broken > 0 {
            console.say(format!("{broken} programs have errors"));
        }
        if arguments.full {
            console.say(format!("{} expectations of trainings, {missed} not reached", rows.len()));
        }
    }
    Ok(u8::from(failed + missed + broken > 0))
}

/// All programs in a folder and below it.
fn programs(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            programs(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "nn") {
            found.push(path);
        }
    }
    Ok(())
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
    let values = values(session, item, settings, interpreted, pool, timings).map_err(fail)?;
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
    session: &Session,
    item: &Checked,
    settings: &Settings,
    interpreted: bool,
    pool: &Pool,
    timings: &mut Timings,
) -> Result<Vec<Tensor>, Box<diag::Diagnostic>> {
    let Some(core) = &item.core else { return Ok(Vec::new()) };
    let on_disk = session.on_disk();
    let files = whole_arrays(&item.files, core, &|path, span| on_disk.path(path, span))?;
    let none = Dims::new();
    let mut store = Store::of(core, &none).map_err(|error| Box::new(errors::not_run(&error.into())))?;
    if !store.tensors.is_empty() {
        let init = session::compile(core, Part::Init, &none, settings, timings)?;
        fill(&mut store, &init, &none, 0, pool)?;
    }
    if interpreted {
        let graph = session::graph_of(core, Part::Assertions, &none, settings, Some("elaborate"), timings)?;
        let mut owned = tensors_for(&graph, &store, Clock::default()).into_iter();
        let mut files = files.into_iter();
        let inputs = graph.inputs.iter().filter_map(|input| match input.role {
            Role::Argument => files.next(),
            _ => owned.next(),
        });
        return interpret(&graph, &inputs.collect::<Vec<_>>(), &HashMap::new())
            .map_err(|error| Box::new(session::errors::not_interpreted(&error)));
    }
    let unit = session::compile(core, Part::Assertions, &none, settings, timings)?;
    let shapes: Vec<_> = unit.output_shapes(&none).map(|(shape, _)| shape).collect();
    let arguments = files.iter().map(Array::from_tensor).collect::<Result<Vec<_>, _>>();
    let arguments = arguments.map_err(|error| Box::new(errors::not_run(&RunError::OutOfMemory(error))))?;
    let arrays = unit.run(&none, &arguments, &mut store, Clock::default(), pool)?;
    let tensors = arrays.iter().zip(shapes).filter_map(|(array, shape)| array.to_tensor(&shape).ok());
    Ok(tensors.collect())
}
