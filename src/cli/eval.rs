//! `nnc eval`: the measures of trained weights on the samples that are held out.

use crate::elaborate::Part;
use crate::session::{self, What};
use crate::train::{Dataset, Store, errors, evaluate, load_weights, split};

use super::arguments::{EvalArguments, Global};
use super::console::{Console, Stop};
use super::prepare::{failed, prepare};
use super::progress::measures;
use super::train::{pool, result};

pub fn eval(global: &Global, arguments: &EvalArguments, console: &mut Console) -> Result<u8, Stop> {
    let mut settings = global.settings();
    settings.overrides = arguments.overrides.overrides(None);
    let prepared = prepare(&arguments.target, "train block", &[What::Train], &settings, console)?;
    let (session, item) = (&prepared.session, &prepared.item);
    let fail = failed(session);
    let Some(plan) = &item.plan else { return Ok(1) };
    let mut store = Store::of(&plan.evaluate, &settings.dims)
        .map_err(|error| fail(Box::new(errors::not_run(&error.into()))))?;
    load_weights(&arguments.weights, &mut store).map_err(&fail)?;
    let on_disk = session.on_disk();
    let split = split(plan).map_err(&fail)?;
    let data = Dataset::load(plan, &|path, span| on_disk.path(path, span)).map_err(&fail)?;
    let mut timings = session.timings;
    let unit = session::compile(&plan.evaluate, Part::Body, &settings.dims, &settings, &mut timings)
        .map_err(&fail)?;
    console.timings(global.timings, &timings);
    let pool = pool(global)?;
    let measured = evaluate(plan, &unit, &mut store, &data, &split.test, &pool).map_err(&fail)?;
    if console.json {
        console.json(&result(&measured, split.test.len()));
    } else {
        console.say(format!("{}  ({} test samples)", measures(&measured, 6), split.test.len()));
    }
    Ok(0)
}
