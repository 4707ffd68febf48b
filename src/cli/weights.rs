//! `nnc weights`: what a model's weights are called, and files of them checked, renamed and converted.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::check::core::Core;
use crate::elaborate::Part;
use crate::formats::weights::{Kind, save};
use crate::session::{self, What};
use crate::tensor::Tensor;
use crate::train::{Store, errors, fill, load_renamed};

use super::arguments::{Global, WeightsArguments};
use super::console::{Console, Stop};
use super::prepare::{failed, prepare, stop};
use super::train::pool;

pub fn weights(global: &Global, arguments: &WeightsArguments, console: &mut Console) -> Result<u8, Stop> {
    let settings = global.settings();
    let allowed = [What::Model, What::Layer, What::Fn, What::Train];
    let prepared = prepare(&arguments.target, "model", &allowed, &settings, console)?;
    let (session, item) = (&prepared.session, &prepared.item);
    let fail = failed(session);
    let core: &Core = match &item.plan {
        Some(plan) => &plan.evaluate,
        None => item.alone().map_err(|found| stop(session, found))?,
    };
    let kind = match &arguments.output {
        None => None,
        Some(path) => Some(Kind::of(path).ok_or_else(|| {
            Stop::Usage(format!("`{}` is none of *.safetensors and *.npz", path.display()))
        })?),
    };
    let dtype = arguments.dtype.map(super::arguments::FloatType::dtype);
    if let (Some(kind), Some(dtype)) = (kind, dtype)
        && !kind.has(dtype)
    {
        return Err(Stop::Usage(format!("npz files have no {dtype}; safetensors have")));
    }
    let mut timings = session.timings;
    session::parameters_are_sized(core, &settings.dims).map_err(&fail)?;
    let memory = |error: crate::runtime::OutOfMemory| fail(Box::new(errors::not_run(&error.into())));
    let mut store = Store::of(core, &settings.dims).map_err(memory)?;
    let from = &arguments.from;
    match (&from.weights, from.seed) {
        (Some(file), _) => load_renamed(file, &from.renames, &mut store).map_err(&fail)?,
        (None, Some(seed)) => {
            let init =
                session::compile(core, Part::Init, &settings.dims, &settings, &mut timings).map_err(&fail)?;
            fill(&mut store, &init, &settings.dims, seed, &pool(global)?).map_err(&fail)?;
        }
        (None, None) if arguments.output.is_some() => {
            return Err(Stop::Usage(
                "a file wants values: those of another file, --weights FILE, or new ones, --seed N".into(),
            ));
        }
        (None, None) => {}
    }
    let cast = |tensor: Tensor| match dtype {
        Some(dtype) if tensor.dtype().is_float() => tensor.cast(dtype),
        _ => tensor,
    };
    let tensors: BTreeMap<String, Tensor> =
        store.export(false).into_iter().map(|(name, tensor)| (name, cast(tensor))).collect();
    if let Some(name) = tensors.iter().find(|(_, tensor)| !tensor.all_finite()).map(|(name, _)| name) {
        return Err(Stop::Usage(format!("`{name}` has entries that are too large for this type of floats")));
    }
    let total: usize = tensors.values().map(Tensor::len).sum();
    if console.json {
        let row = |(name, tensor): (&String, &Tensor)| -> Value {
            json!({"name": name, "dtype": tensor.dtype().to_string(), "shape": tensor.shape()})
        };
        let rows: Vec<Value> = tensors.iter().map(row).collect();
        console.json(&json!({"name": item.name.as_str(), "weights": rows, "elements": total}));
    } else {
        let wide = tensors.keys().map(|name| name.chars().count()).max().unwrap_or(0);
        let rows = tensors.iter().map(|(name, tensor)| {
            let pad = " ".repeat(wide - name.chars().count());
            format!("{name}{pad}  {}{:?}\n", tensor.dtype(), tensor.shape())
        });
        console.print(&rows.collect::<String>());
        console.say(format!("{}: {} tensors, {total} elements", item.name, tensors.len()));
    }
    if let (Some(path), Some(kind)) = (&arguments.output, kind) {
        save(path, kind, tensors).map_err(|error| fail(Box::new(errors::bad_file(&error))))?;
    }
    console.timings(global.timings, &timings);
    Ok(0)
}
