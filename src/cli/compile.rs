//! `nnc compile`: a definition to a library, or a definition or a training step to any stage.

use std::collections::BTreeMap;

use serde_json::json;

use crate::check::core::Core;
use crate::elaborate::Part;
use crate::session::{self, Stage, What, emit_core};

use super::arguments::{CompileArguments, Global};
use super::console::{Console, Stop};
use super::library;
use super::prepare::{failed, prepare, stop};
use super::summary::{Summary, summarise};

pub fn compile(global: &Global, arguments: &CompileArguments, console: &mut Console) -> Result<u8, Stop> {
    let mut settings = global.settings();
    settings.fuse = !arguments.plain;
    let allowed: &[What] = match arguments.train {
        true => &[What::Train],
        false => &[What::Model, What::Train, What::Layer, What::Fn],
    };
    if let Some(stage @ (Stage::Tokens | Stage::Ast)) = &arguments.emit {
        let session = session::Session::open(&arguments.source.file);
        let text = session.user.and_then(|(_, file)| session.emit_syntax(file, stage));
        console.print(&text.unwrap_or_default());
        console.show(&session.sources, &session.diagnostics);
        return Ok(crate::diag::exit_code(&session.diagnostics));
    }
    let called = if arguments.train { "train block" } else { "model" };
    let mut prepared = prepare(&arguments.source, called, allowed, &settings, console)?;
    let mut timings = prepared.session.timings;
    let item = &prepared.item;
    let core: &Core = match &item.plan {
        Some(plan) => &plan.steps[0].core,
        None => item.alone().map_err(|found| stop(&prepared.session, found))?,
    };
    let run = item.plan.as_ref().map_or(core, |plan| plan.steps[0].run_core());
    let fail = failed(&prepared.session);
    if let Some(stage) = &arguments.emit {
        let text = emit_core(run, Part::Body, stage, &settings, &mut timings).map_err(fail)?;
        console.print(&text);
        console.timings(global.timings, &timings);
        return Ok(0);
    }
    if !arguments.summary && (item.plan.is_none() || arguments.train) {
        return library::write(global, &arguments.library, &prepared, &settings, console);
    }
    library::refuse(&arguments.library)?;
    let unit = session::compile(run, Part::Body, &settings.dims, &settings, &mut timings).map_err(fail)?;
    prepared.session.timings = timings;
    let dims: BTreeMap<_, _> = match &item.plan {
        Some(plan) => {
            let parts = plan.steps[0].in_parts.as_ref().map_or(1, |parts| parts.count);
            let batch = plan.batch.min(plan.count).div_ceil(parts) as i64;
            plan.samples.iter().map(|samples| (samples.clone(), batch)).collect()
        }
        None => settings.dims.clone(),
    };
    let summary: Summary = summarise(core, &item.name, &unit, &settings.dims, &dims);
    if console.json {
        let mut value = summary.json();
        value["name"] = item.name.as_str().into();
        value["compile_ms"] = timings.json();
        if !arguments.summary {
            value = json!({"name": value["name"], "parameters": value["parameters"], "compile_ms": value["compile_ms"]});
        }
        console.json(&value);
    } else {
        console.say(format!(
            "{}: {} parameters, {} kernels, {} bytes of machine code, compiled in {:.1} ms",
            item.name,
            summary.parameters,
            unit.exec.program().kernels.len(),
            unit.exec.code().size(),
            timings.total().as_secs_f64() * 1e3
        ));
        if arguments.summary {
            console.print(&summary.table());
        }
    }
    console.timings(global.timings, &timings);
    Ok(0)
}
