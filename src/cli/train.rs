//! `nnc train`: compiles a train block's step, and runs it until it is done.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::elaborate::Part;
use crate::runtime::Pool;
use crate::session::{self, What};
use crate::train::{Dataset, Measured, Outcome, Trainer, errors, split};

use super::arguments::{Global, TrainArguments};
use super::console::{Console, Stop};
use super::prepare::{failed, prepare};
use super::progress::{Progress, measures};

pub fn train(global: &Global, arguments: &TrainArguments, console: &mut Console) -> Result<u8, Stop> {
    let mut settings = global.settings();
    settings.overrides = arguments.overrides.overrides(arguments.epochs);
    let prepared = prepare(&arguments.target, "train block", &[What::Train], &settings, console)?;
    let (session, item) = (&prepared.session, &prepared.item);
    let fail = failed(session);
    let Some(plan) = &item.plan else { return Ok(1) };
    let on_disk = session.on_disk();
    let split = split(plan).map_err(&fail)?;
    let data = Dataset::load(plan, &|path, span| on_disk.path(path, span)).map_err(&fail)?;
    if plan.batch > split.train.len() && !console.json {
        console.show(&session.sources, &[errors::short_batch(plan.span, plan.batch, split.train.len())]);
    }
    let mut timings = session.timings;
    let mut compile =
        |core, part| session::compile(core, part, &settings.dims, &settings, &mut timings).map_err(&fail);
    let mut compile_all =
        |part| -> Result<Vec<_>, _> { plan.steps.iter().map(|step| compile(&step.core, part)).collect() };
    let (steps, inits) = (compile_all(Part::Body)?, compile_all(Part::Init)?);
    let evaluate = compile(&plan.evaluate, Part::Body)?;
    console.timings(global.timings, &timings);
    let pool = pool(global)?;
    let folder = arguments.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(plan.name.as_str()));
    let interrupted = interruption();
    let trainer = Trainer {
        plan,
        inits: &inits,
        steps: &steps,
        locate: &|path, span| on_disk.path(path, span),
        evaluate: &evaluate,
        data: &data,
        split: &split,
        pool: &pool,
        folder: &folder,
        seed: arguments.seed.unwrap_or(0),
        resume: arguments.resume,
        fixed_seed: arguments.seed.is_some(),
        interrupted: &interrupted,
    };
    let outcome = trainer.run(&mut Progress::new(console)).map_err(&fail)?;
    match outcome {
        Outcome::Finished { measured, weights } => {
            if console.json {
                let mut value = result(&measured, split.test.len());
                value["weights"] = weights.display().to_string().into();
                console.json(&value);
            } else {
                console.say(format!("{}  ({} test samples)", measures(&measured, 6), split.test.len()));
                console.say(format!("weights in {}", weights.display()));
            }
            Ok(0)
        }
        Outcome::Interrupted { checkpoint, epoch, step } => {
            if console.json {
                let checkpoint = checkpoint.display().to_string();
                console.json(&json!({"ok": false, "interrupted": {"epoch": epoch, "step": step, "checkpoint": checkpoint}}));
            } else {
                console.complain(&format!(
                    "interrupted in epoch {epoch}, after step {step}; go on with --resume from {}",
                    checkpoint.display()
                ));
            }
            Ok(130)
        }
    }
}

/// The measures of a model, as JSON.
pub fn result(measured: &Measured, samples: usize) -> Value {
    let mut measures = json!({});
    for (name, value) in measured {
        measures[name.as_str()] = (*value).into();
    }
    json!({"ok": true, "measures": measures, "samples": samples})
}

/// The threads that kernels run on.
pub fn pool(global: &Global) -> Result<Pool, Stop> {
    Pool::new(global.threads())
        .map_err(|error| Stop::Usage(format!("cannot start {} threads: {error}", global.threads())))
}

/// Becomes true at the first Ctrl-C; the second one ends the process.
fn interruption() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&interrupted);
    // Without a handler Ctrl-C ends the process at once, which the files survive.
    let _ = ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    interrupted
}
