//! `nnc train`: compiles a train block's step, and runs it until it is done.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::check::train::TrainPlan;
use crate::elaborate::Part;
use crate::runtime::Pool;
use crate::session::{self, Session, Settings, Timings, What};
use crate::train::{Dataset, Measured, Outcome, Split, Step, Trainer, Unit, Watcher, errors, split};

use super::arguments::{Global, TrainArguments};
use super::console::{Console, Stop};
use super::prepare::{failed, prepare};
use super::progress::{Progress, measures};

/// A train block that can be run: for each seed anew.
pub struct Block<'a> {
    session: &'a Session,
    plan: &'a TrainPlan,
    inits: Vec<Unit>,
    steps: Vec<Step>,
    evaluate: Unit,
    data: Dataset,
    pub split: Split,
}

/// How a block is run.
pub struct Run<'a> {
    pub seed: u64,
    /// A seed that was asked for.
    pub fixed_seed: bool,
    pub resume: bool,
    /// Where files go.
    pub folder: &'a Path,
    pub interrupted: &'a AtomicBool,
}

impl<'a> Block<'a> {
    /// Reads a block's data and compiles its steps.
    pub fn new(
        session: &'a Session,
        plan: &'a TrainPlan,
        settings: &Settings,
        timings: &mut Timings,
    ) -> Result<Block<'a>, Stop> {
        let fail = failed(session);
        let on_disk = session.on_disk();
        let split = split(plan).map_err(&fail)?;
        let data = Dataset::load(plan, &|path, span| on_disk.path(path, span)).map_err(&fail)?;
        let mut compile =
            |core, part| session::compile(core, part, &settings.dims, settings, timings).map_err(&fail);
        let inits: Vec<Unit> =
            plan.steps.iter().map(|step| compile(&step.core, Part::Init)).collect::<Result<_, _>>()?;
        let steps = plan.steps.iter().map(|step| {
            let unit = compile(step.run_core(), Part::Body)?;
            let parts = match &step.in_parts {
                Some(parts) => Some((parts.count, compile(&parts.update, Part::Body)?)),
                None => None,
            };
            Ok(Step { unit, parts })
        });
        let steps: Vec<Step> = steps.collect::<Result<_, Stop>>()?;
        let evaluate = compile(&plan.evaluate, Part::Body)?;
        Ok(Block { session, plan, inits, steps, evaluate, data, split })
    }

    pub fn train(&self, run: &Run<'_>, pool: &Pool, watcher: &mut dyn Watcher) -> Result<Outcome, Stop> {
        let on_disk = self.session.on_disk();
        let trainer = Trainer {
            plan: self.plan,
            inits: &self.inits,
            steps: &self.steps,
            locate: &|path, span| on_disk.path(path, span),
            evaluate: &self.evaluate,
            data: &self.data,
            split: &self.split,
            pool,
            folder: run.folder,
            seed: run.seed,
            resume: run.resume,
            fixed_seed: run.fixed_seed,
            interrupted: run.interrupted,
        };
        trainer.run(watcher).map_err(failed(self.session))
    }
}

pub fn train(global: &Global, arguments: &TrainArguments, console: &mut Console) -> Result<u8, Stop> {
    let mut settings = global.settings();
    settings.overrides = arguments.overrides.overrides(arguments.epochs);
    settings.overrides.steps = arguments.steps;
    let prepared = prepare(&arguments.target, "train block", &[What::Train], &settings, console)?;
    let (session, item) = (&prepared.session, &prepared.item);
    let Some(plan) = &item.plan else { return Ok(1) };
    let mut timings = session.timings;
    let block = Block::new(session, plan, &settings, &mut timings)?;
    if plan.batch > block.split.train.len() && !console.json {
        console
            .show(&session.sources, &[errors::short_batch(plan.span, plan.batch, block.split.train.len())]);
    }
    console.timings(global.timings, &timings);
    let pool = pool(global)?;
    let folder = arguments.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(plan.name.as_str()));
    let interrupted = interruption();
    let run = Run {
        seed: arguments.seed.unwrap_or(0),
        fixed_seed: arguments.seed.is_some(),
        resume: arguments.resume,
        folder: &folder,
        interrupted: &interrupted,
    };
    let outcome = block.train(&run, &pool, &mut Progress::new(console))?;
    match outcome {
        Outcome::Finished { measured, weights } => {
            let expected = plan.expects.iter().map(|expect| {
                let (left, right) = (expect.left.value(&measured), expect.right.value(&measured));
                (session.sources.slice(expect.span).to_owned(), left, right, expect.holds(&measured))
            });
            if console.json {
                let mut value = result(&measured, block.split.test.len());
                value["weights"] = weights.display().to_string().into();
                value["expected"] = expected
                    .map(|(text, left, right, holds)| json!({"text": text, "left": left, "right": right, "holds": holds}))
                    .collect();
                console.json(&value);
            } else {
                let of = match plan.samples {
                    Some(_) => format!("  ({} test samples)", block.split.test.len()),
                    None => String::new(),
                };
                console.say(format!("{}{of}", measures(&measured, 6)));
                for (text, left, right, holds) in expected {
                    let verdict = if holds { "holds" } else { "does not hold" };
                    console.say(format!("expect {text}: {verdict} ({left:.6} and {right:.6})"));
                }
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
pub fn interruption() -> Arc<AtomicBool> {
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
