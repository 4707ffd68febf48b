//! `nnc compile` to files: a library for C, its header, and weights beside it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::base::Name;
use crate::check::core::Core;
use crate::check::train::{StepPlan, TrainPlan, Weighting, average_path};
use crate::codegen::object::Target;
use crate::elaborate::Part;
use crate::formats::safetensors::{self, Archive};
use crate::formats::write_atomic;
use crate::session::artifact::{
    Piece, Preset, Purpose, Wishes, archive, artifact, is_prefix, plain, shared_object,
};
use crate::session::{self, Settings};
use crate::train::{Store, errors, load_part, load_renamed};

use super::arguments::{Cpu, Global, LibraryArguments};
use super::console::{Console, Stop};
use super::prepare::{Prepared, failed, stop};

/// What a library is, by the ending of its file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Archive,
    Object,
    Shared,
}

/// Refuses wishes for a library where none is written.
pub fn refuse(arguments: &LibraryArguments) -> Result<(), Stop> {
    let LibraryArguments { output, prefix, weights, batch, .. } = arguments;
    if output.is_some() || prefix.is_some() || weights.is_some() || batch.is_some() {
        return Err(Stop::Usage(
            "the library of a train block is its training step: --train writes it".into(),
        ));
    }
    Ok(())
}

/// Compiles the picked definition and writes its files: all of them or, where anything is wrong with the program or the weights, none.
pub fn write(
    global: &Global,
    arguments: &LibraryArguments,
    prepared: &Prepared,
    settings: &Settings,
    console: &mut Console,
) -> Result<u8, Stop> {
    let Prepared { session, item } = prepared;
    let prefix = arguments.prefix.clone().unwrap_or_else(|| item.name.to_string());
    if !is_prefix(&prefix) {
        return Err(Stop::Usage(format!(
            "`{prefix}` cannot begin names of C: --prefix NAME chooses a word of letters, digits and _ that is none of C's own"
        )));
    }
    let output = arguments.output.clone().unwrap_or_else(|| PathBuf::from(format!("{prefix}.a")));
    let kind = match output.extension().and_then(|ending| ending.to_str()) {
        Some("a") => Kind::Archive,
        Some("o") => Kind::Object,
        Some("so") => Kind::Shared,
        _ => return Err(Stop::Usage(format!("`{}` is none of *.a, *.o and *.so", output.display()))),
    };
    let fail = failed(session);
    let batched: Option<Core> = match &arguments.batch {
        None => None,
        Some(name) => {
            let word = name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let own = item.core.iter().flat_map(|core| core.roots.values()).any(|root| root.name == *name);
            if !word || own || settings.dims.keys().any(|dim| dim.as_str() == name) {
                return Err(Stop::Usage(format!("--batch wants a new name, such as N; `{name}` is none")));
            }
            let core = session.mapped(item, &[Name::new(name)], &|_| true, settings);
            Some(core.map_err(|found| stop(session, found))?)
        }
    };
    let mut timings = session.timings;
    let parts = match &item.plan {
        Some(plan) => trained(plan, prepared, arguments)?,
        None => match batched.as_ref().or(item.core.as_ref()) {
            Some(core) => vec![Planned {
                core,
                purpose: Purpose::Run,
                suffix: String::new(),
                does: "Runs the model.".into(),
                presets: Vec::new(),
            }],
            None => {
                return Err(stop(session, vec![session::errors::not_compiled_alone(item.span, &item.name)]));
            }
        },
    };
    let mut pieces = Vec::new();
    for Planned { core, purpose, suffix, does, presets } in parts {
        let broken = session::broken_constraints(core, &settings.dims);
        if !broken.is_empty() {
            return Err(stop(session, broken));
        }
        let part = if purpose == Purpose::Init { Part::Init } else { Part::Body };
        let graph =
            session::graph_of(core, part, &settings.dims, settings, None, &mut timings).map_err(&fail)?;
        let program = session::program_of(&graph, settings, &mut timings).map_err(&fail)?;
        pieces.push(Piece { purpose, suffix, does, core, graph, program, presets });
    }
    let store = match &arguments.weights {
        None => None,
        Some(file) => {
            let memory = |error: crate::runtime::OutOfMemory| fail(Box::new(errors::not_run(&error.into())));
            let mut store = Store::of(pieces[0].core, &settings.dims).map_err(memory)?;
            load_renamed(file, &arguments.renames, &mut store).map_err(&fail)?;
            Some(store)
        }
    };
    let embedded = store.as_ref().filter(|_| !arguments.weights_file);
    let target = target(arguments.target)?;
    let wishes = Wishes { prefix: &prefix, target, weights: embedded, verify: settings.verify };
    let made = timings.codegen(|| artifact(&pieces, &settings.dims, &wishes)).map_err(&fail)?;
    let unpacked = |error: session::artifact::PackError| Stop::Usage(error.to_string());
    let name = output.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let bytes = match kind {
        Kind::Object => made.object,
        Kind::Archive => archive(&made.object, &format!("{prefix}.o")).map_err(unpacked)?,
        Kind::Shared => shared_object(&made.object, &name, target).map_err(unpacked)?,
    };
    let header = output.with_file_name(format!("{prefix}.h"));
    save(&output, &bytes)?;
    save(&header, made.header.as_bytes())?;
    let mut files = vec![output, header];
    if let Some(text) = made.files {
        let path = files[0].with_file_name(format!("{prefix}_files.h"));
        save(&path, text.as_bytes())?;
        files.push(path);
    }
    if let Some(store) = store.as_ref().filter(|_| arguments.weights_file) {
        let file = files[0].with_file_name(format!("{prefix}.safetensors"));
        let archive = Archive { tensors: store.export(false), ..Archive::default() };
        safetensors::save(&file, &archive)?;
        files.push(file);
    }
    let shown: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    if console.json {
        let value = json!({"name": item.name.as_str(), "files": shown, "bytes": made.code, "compile_ms": timings.json()});
        console.json(&value);
    } else {
        console.say(format!(
            "{}: {} kernels, {} bytes without weights, compiled in {:.1} ms: {}",
            item.name,
            pieces.iter().map(|piece| piece.program.kernels.len()).sum::<usize>(),
            made.code,
            timings.total().as_secs_f64() * 1e3,
            shown.join(", ")
        ));
    }
    console.timings(global.timings, &timings);
    Ok(0)
}

/// A part of a core that becomes functions of the library.
struct Planned<'a> {
    core: &'a Core,
    purpose: Purpose,
    suffix: String,
    does: String,
    presets: Vec<Preset>,
}

/// The parts of a training: for each optimizer the first values of its weights, and its step; then the measures.
fn trained<'a>(
    plan: &'a TrainPlan,
    prepared: &Prepared,
    arguments: &LibraryArguments,
) -> Result<Vec<Planned<'a>>, Stop> {
    if arguments.weights.is_some() {
        return Err(Stop::Usage(
            "a training step's weights are the caller's: --weights is for models".into(),
        ));
    }
    let fail = failed(&prepared.session);
    let on_disk = prepared.session.on_disk();
    let cores = plan.steps.iter().map(|step| &step.core);
    let store = Store::of_all(cores, &BTreeMap::new());
    let mut store = store.map_err(|error| fail(Box::new(errors::not_run(&error.into()))))?;
    let mut taken = Vec::new();
    for init in &plan.inits {
        let file = on_disk.path(&init.path, init.span);
        taken.extend(load_part(init, &file, &mut store).map_err(&fail)?);
    }
    let preset = |(path, range): &(Name, Range<usize>)| {
        let bytes = store.tensors[path].array.bytes()[range.clone()].to_vec();
        Preset { path: path.clone(), offset: range.start, bytes }
    };
    let presets: Vec<Preset> = taken.iter().map(preset).collect();
    let mut parts: Vec<Planned> = Vec::new();
    for step in &plan.steps {
        // Several optimizers are told apart by their losses; those that have one loss are numbered.
        let loss = plain(&step.loss);
        let same = |other: &&StepPlan| plain(&other.loss) == loss;
        let name = match parts.len() / 2 {
            _ if plan.steps.len() == 1 => String::new(),
            earlier if plan.steps.iter().filter(same).count() > 1 => format!("_{loss}_{}", earlier + 1),
            _ => format!("_{loss}"),
        };
        let also =
            if plan.steps.len() == 1 { "" } else { " Call those of all optimizers before the first step." };
        let kept = if presets.is_empty() {
            ""
        } else {
            " Some come from the files that the program names, as they were when it was compiled."
        };
        let turn = match (plan.steps.len(), step.every) {
            (1, _) => String::new(),
            (_, 1) => {
                " On each batch the steps of the optimizers follow one another in the order of this header."
                    .into()
            }
            (_, every) => format!(
                " On each batch the steps of the optimizers follow one another in the order of this header; this one only where the step's number is a multiple of {every}."
            ),
        };
        parts.push(Planned {
            core: &step.core,
            purpose: Purpose::Init,
            suffix: format!("_init{name}"),
            does: format!("Draws the first values of all weights.{kept}{also}"),
            presets: presets.clone(),
        });
        parts.push(Planned {
            core: &step.core,
            purpose: Purpose::Step,
            suffix: format!("_step{name}"),
            does: format!(
                "Does one training step on a batch: gives the loss, and updates the weights.{turn}"
            ),
            presets: Vec::new(),
        });
    }
    // All first values, then all steps.
    parts.sort_by_key(|part| part.purpose != Purpose::Init);
    parts.push(Planned {
        core: &plan.evaluate,
        purpose: Purpose::Evaluate,
        suffix: "_evaluate".into(),
        does: measured(plan),
        presets: Vec::new(),
    });
    Ok(parts)
}

/// What an evaluation gives, for people.
fn measured(plan: &TrainPlan) -> String {
    let named = |wanted: Weighting| {
        let names = plan.measures.iter().filter(|(_, weighting)| *weighting == wanted);
        names.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let mut text = "Measures the weights on a batch, as in inference; it updates none.".to_owned();
    let averaged = plan.steps.iter().flat_map(|step| &step.core.states);
    if averaged.clone().any(|slot| plan.evaluate.params.iter().any(|p| average_path(&p.path) == slot.path)) {
        text += " It measures their averages.";
    }
    let (sums, means) = (named(Weighting::Sum), named(Weighting::PerBatch));
    if !sums.is_empty() {
        text += &format!("\n *   Sums over the samples of the batch: {sums}.");
    }
    if !means.is_empty() {
        text += &format!("\n *   One number for the batch: {means}.");
    }
    text
}

fn target(cpu: Cpu) -> Result<Target, Stop> {
    let own = |target: Option<Target>| {
        target.ok_or_else(|| Stop::Usage("there is no code for this machine: --target names another".into()))
    };
    match cpu {
        Cpu::Any => own(Target::of_this_architecture()),
        Cpu::Native => own(Target::of_this_machine()),
        Cpu::V2 => Ok(Target::V2),
        Cpu::V3 => Ok(Target::V3),
        Cpu::V4 => Ok(Target::V4),
        Cpu::Aarch64 => Ok(Target::Aarch64),
    }
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), Stop> {
    Ok(write_atomic(path, |file: &mut dyn io::Write| file.write_all(bytes))?)
}
