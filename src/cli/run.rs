//! `nnc run`: a model on arrays from files.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::elaborate::Part;
use crate::formats::{FormatError, npy, npz};
use crate::runtime::Array;
use crate::session::{self, Given, What, sizing_dims};
use crate::tensor::{Number, Tensor};
use crate::train::{Clock, Store, errors, fill, load_renamed};

use super::arguments::{Global, RunArguments};
use super::console::{Console, Stop};
use super::prepare::{failed, prepare, stop};
use super::train::pool;

pub fn run(global: &Global, arguments: &RunArguments, console: &mut Console) -> Result<u8, Stop> {
    let settings = global.settings();
    let prepared =
        prepare(&arguments.target, "model", &[What::Model, What::Layer, What::Fn], &settings, console)?;
    let (session, item) = (&prepared.session, &prepared.item);
    let fail = failed(session);
    let mut given = Vec::new();
    for (name, file) in &arguments.inputs {
        let array = array(file).map_err(|error| fail(Box::new(errors::bad_file(&error))))?;
        given.push(Given { name: name.clone(), file: file.clone(), array });
    }
    let fitted = session.fit(item, given, &settings).map_err(|found| stop(session, found))?;
    let core = &fitted.core;
    // What sizes a parameter is fixed; all other sizes stay open, and one program serves them all.
    let sizing = sizing_dims(core);
    let mut fixed = settings.dims.clone();
    fixed.extend(
        fitted.dims.iter().filter(|(dim, _)| sizing.contains(*dim)).map(|(dim, size)| (dim.clone(), *size)),
    );
    let mut timings = session.timings;
    let unit = session::compile(core, Part::Body, &fixed, &settings, &mut timings).map_err(&fail)?;
    let memory = |error: crate::runtime::OutOfMemory| fail(Box::new(errors::not_run(&error.into())));
    let mut store = Store::of(core, &fixed).map_err(memory)?;
    let pool = pool(global)?;
    let from = &arguments.from;
    match (&from.weights, from.seed) {
        (Some(file), _) => load_renamed(file, &from.renames, &mut store).map_err(&fail)?,
        (None, Some(seed)) if !store.tensors.is_empty() => {
            let init = session::compile(core, Part::Init, &fixed, &settings, &mut timings).map_err(&fail)?;
            fill(&mut store, &init, &BTreeMap::new(), seed, &pool).map_err(&fail)?;
        }
        (None, None) if !store.tensors.is_empty() => {
            return Err(Stop::Usage(format!(
                "`{}` has parameters: give trained ones with --weights FILE, or draw new ones with --seed N",
                item.name
            )));
        }
        _ => {}
    }
    console.timings(global.timings, &timings);
    let arrays: Result<Vec<Array>, _> = fitted.arrays.iter().map(Array::from_tensor).collect();
    let clock = Clock { seed: from.seed.unwrap_or(0), ..Clock::default() };
    let shapes: Vec<(Vec<usize>, _)> = unit.output_shapes(&fitted.dims).collect();
    let values = unit.run(&fitted.dims, &arrays.map_err(memory)?, &mut store, clock, &pool).map_err(&fail)?;
    let names = unit
        .graph
        .outputs
        .iter()
        .filter(|output| output.updates.is_none())
        .map(|output| output.name.to_string());
    let mut results = Vec::new();
    for ((name, (shape, _)), value) in names.zip(shapes).zip(values) {
        let tensor = value.to_tensor(&shape).map_err(|error| Stop::Usage(error.to_string()))?;
        results.push((name, tensor));
    }
    deliver(arguments, results, console)
}

/// `a.npy`, or `a.npz:x`, which is the array `x` of an archive.
fn array(file: &Path) -> Result<Tensor, FormatError> {
    let text = file.to_string_lossy();
    match text.rsplit_once(".npz:") {
        Some((stem, name)) if !file.exists() => npz::load(Path::new(&format!("{stem}.npz")), name),
        _ => npy::load(file),
    }
}

/// Writes the outputs that have a file, prints the others.
fn deliver(
    arguments: &RunArguments,
    results: Vec<(String, Tensor)>,
    console: &mut Console,
) -> Result<u8, Stop> {
    let known: Vec<&str> = results.iter().map(|(name, _)| name.as_str()).collect();
    for (name, file) in &arguments.outputs {
        let there = match name {
            Some(name) => known.contains(&name.as_str()),
            None => known.len() == 1,
        };
        if !there {
            let wanted = name.as_deref().map_or_else(|| file.display().to_string(), str::to_owned);
            return Err(Stop::Usage(format!("no output `{wanted}`; the outputs are {}", known.join(", "))));
        }
    }
    let mut shown = Vec::new();
    for (name, tensor) in &results {
        let file =
            arguments.outputs.iter().find(|(wanted, _)| wanted.as_ref().is_none_or(|wanted| wanted == name));
        if let Some((_, file)) = file {
            npy::save(file, tensor)?;
        }
        if console.json {
            let mut value =
                json!({"name": name, "dtype": tensor.dtype().to_string(), "shape": tensor.shape()});
            match file {
                Some((_, file)) => value["file"] = file.display().to_string().into(),
                None => value["values"] = nested(tensor, tensor.shape(), &mut 0),
            }
            shown.push(value);
        } else if file.is_none() {
            console.say(format!("{name} : {}{:?}", tensor.dtype(), tensor.shape()));
            console.say(format!("{tensor:.4}"));
        }
    }
    if console.json {
        console.json(&json!({"ok": true, "outputs": shown}));
    }
    Ok(0)
}

/// Lists of lists; what JSON cannot say, like NaN, is null.
fn nested(tensor: &Tensor, shape: &[usize], at: &mut usize) -> Value {
    match shape {
        [] => {
            *at += 1;
            match tensor.number(*at - 1) {
                Some(Number::Int(value)) => value.into(),
                Some(Number::Float(value)) => value.into(),
                None => Value::Null,
            }
        }
        [size, rest @ ..] => (0..*size).map(|_| nested(tensor, rest, at)).collect(),
    }
}
