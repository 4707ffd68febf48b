//! `nnc compile` to files: a library for C, its header, and weights beside it.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::base::Name;
use crate::check::core::Core;
use crate::check::train::TrainPlan;
use crate::codegen::object::Target;
use crate::elaborate::Part;
use crate::formats::safetensors::{self, Archive};
use crate::formats::write_atomic;
use crate::session::artifact::{Piece, Wishes, archive, artifact, is_prefix, shared_object};
use crate::session::{self, Settings};
use crate::tiles::Isa;
use crate::train::{Store, errors, load_renamed};

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
    let core = match &item.plan {
        Some(plan) => trained(plan, arguments)?,
        None => match batched.as_ref().or(item.core.as_ref()) {
            Some(core) => core,
            None => {
                return Err(stop(session, vec![session::errors::not_compiled_alone(item.span, &item.name)]));
            }
        },
    };
    let mut timings = session.timings;
    let broken = session::broken_constraints(core, &settings.dims);
    if !broken.is_empty() {
        return Err(stop(session, broken));
    }
    let parts: &[(Part, &str, &str)] = match item.plan {
        None => &[(Part::Body, "", "Runs it.")],
        Some(_) => &[
            (Part::Init, "_init", "Draws the first values of all weights."),
            (
                Part::Body,
                "_step",
                "Does one training step on a batch: gives the loss, and updates the weights.",
            ),
        ],
    };
    let mut pieces = Vec::new();
    for &(part, suffix, does) in parts {
        let graph =
            session::graph_of(core, part, &settings.dims, settings, None, &mut timings).map_err(&fail)?;
        let program = session::program_of(&graph, settings, &mut timings).map_err(&fail)?;
        pieces.push(Piece { suffix, does, graph, program });
    }
    let store = match &arguments.weights {
        None => None,
        Some(file) => {
            let memory = |error: crate::runtime::OutOfMemory| fail(Box::new(errors::not_run(&error.into())));
            let mut store = Store::of(core, &settings.dims).map_err(memory)?;
            load_renamed(file, &arguments.renames, &mut store).map_err(&fail)?;
            Some(store)
        }
    };
    let embedded = store.as_ref().filter(|_| !arguments.weights_file);
    let target = target(arguments.target)?;
    let wishes = Wishes { prefix: &prefix, target, weights: embedded, verify: settings.verify };
    let made = timings.codegen(|| artifact(core, &pieces, &settings.dims, &wishes)).map_err(&fail)?;
    let unpacked = |error: session::artifact::PackError| Stop::Usage(error.to_string());
    let name = output.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let bytes = match kind {
        Kind::Object => made.object,
        Kind::Archive => archive(&made.object, &format!("{prefix}.o")).map_err(unpacked)?,
        Kind::Shared => shared_object(&made.object, &name).map_err(unpacked)?,
    };
    let header = output.with_file_name(format!("{prefix}.h"));
    save(&output, &bytes)?;
    save(&header, made.header.as_bytes())?;
    let mut files = vec![output, header];
    if let Some(store) = store.as_ref().filter(|_| arguments.weights_file) {
        let file = files[0].with_file_name(format!("{prefix}.safetensors"));
        let archive = Archive { tensors: store.export(false), ..Archive::default() };
        safetensors::save(&file, &archive).map_err(unwritten)?;
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

/// The core of a train block whose step can be a library.
fn trained<'a>(plan: &'a TrainPlan, arguments: &LibraryArguments) -> Result<&'a Core, Stop> {
    if arguments.weights.is_some() {
        return Err(Stop::Usage(
            "a training step's weights are the caller's: --weights is for models".into(),
        ));
    }
    match plan.steps.as_slice() {
        [step] if step.every == 1 && plan.inits.is_empty() => Ok(&step.core),
        _ => Err(Stop::Usage(
            "a library trains by one optimizer on every batch, from weights that are drawn; `nnc train` does the rest".into(),
        )),
    }
}

fn target(cpu: Cpu) -> Result<Target, Stop> {
    let known = cfg!(target_arch = "x86_64");
    match cpu {
        Cpu::Any => Ok(Target::Any),
        Cpu::V3 if known => Ok(Target::V3),
        Cpu::V4 if known => Ok(Target::V4),
        Cpu::Native if !known => Ok(Target::Any),
        Cpu::Native => match Isa::best() {
            Isa::Avx512 => Ok(Target::V4),
            Isa::Avx2 => Ok(Target::V3),
            Isa::Portable => Err(Stop::Usage(
                "libraries need the instructions of x86-64-v3, which this machine lacks".into(),
            )),
        },
        Cpu::V3 | Cpu::V4 => {
            Err(Stop::Usage("this nnc compiles for its own kind of machine, which is no x86-64".into()))
        }
    }
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), Stop> {
    write_atomic(path, |file: &mut dyn io::Write| file.write_all(bytes)).map_err(unwritten)
}

fn unwritten(error: crate::formats::FormatError) -> Stop {
    Stop::Diagnostics(Box::default(), vec![errors::bad_file(&error)])
}
