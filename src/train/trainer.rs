//! The loop: epochs, steps, measures, files.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use smallvec::SmallVec;

use crate::check::core::Core;
use crate::check::train::{StepPlan, TrainPlan};
use crate::diag::Diagnostic;
use crate::formats::Problem;
use crate::runtime::{Array, Dims, Pool};

use super::averages::with_averages;
use super::batches::shuffled;
use super::checkpoint::{Checkpoint, load_part, load_weights, save_weights};
use super::data::{Dataset, Split};
use super::errors;
use super::evaluate::{Measured, evaluate, scalar, sized};
use super::feed::Feed;
use super::journal::Journal;
use super::store::Store;
use super::unit::{Clock, Unit};

/// Everything that a training needs.
pub struct Trainer<'a> {
    pub plan: &'a TrainPlan,
    /// One for each optimizer, as the plan has them: the first values of what its step owns, and the step.
    pub inits: &'a [Unit],
    pub steps: &'a [Step],
    /// Finds the file that is written at a place.
    pub locate: &'a dyn Fn(&str, crate::base::Span) -> PathBuf,
    pub evaluate: &'a Unit,
    pub data: &'a Dataset,
    pub split: &'a Split,
    pub pool: &'a Pool,
    /// Where files go.
    pub folder: &'a Path,
    pub seed: u64,
    pub resume: bool,
    /// A seed that was asked for: a checkpoint must have the same.
    pub fixed_seed: bool,
    /// Set from outside: the step under way is the last one.
    pub interrupted: &'a AtomicBool,
}

/// What one optimizer does with a batch.
pub struct Step {
    /// All of it; or with parts, adding up the gradients of one.
    pub unit: Unit,
    /// In how many parts the batch is taken, and the update behind the last.
    pub parts: Option<(usize, Unit)>,
}

/// One program of a step, on some of the batch's samples.
pub(super) struct Turn<'a> {
    pub unit: &'a Unit,
    pub core: &'a Core,
    pub rows: &'a [u32],
    pub clock: Clock,
}

/// What a training begins with.
#[derive(Clone, Debug)]
pub struct Begin {
    pub name: String,
    pub parameters: usize,
    /// How many train and how many test, where there are samples.
    pub samples: Option<(usize, usize)>,
    pub batch: usize,
    pub epochs: usize,
    /// Steps of the whole training, and those that are done already.
    pub steps: u64,
    pub done: u64,
}

/// Where a training stands after a step. All numbers count from 1.
#[derive(Clone, Copy, Debug)]
pub struct StepEnd {
    pub epoch: usize,
    pub step: u64,
    /// The mean of this epoch's steps so far.
    pub loss: f64,
    pub samples_per_second: f64,
}

/// What an epoch ended with.
#[derive(Clone, Debug)]
pub struct EpochEnd {
    pub epoch: usize,
    pub step: u64,
    /// The mean of the losses of the epoch's steps.
    pub loss: f64,
    /// On the samples that are held out, after the epoch.
    pub measured: Measured,
    /// Of the steps alone.
    pub seconds: f64,
    pub samples_per_second: f64,
}

/// Who is told how a training goes.
pub trait Watcher {
    fn begin(&mut self, begin: &Begin);
    fn step(&mut self, step: &StepEnd);
    fn epoch(&mut self, epoch: &EpochEnd);
}

/// How a training ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    Finished { measured: Measured, weights: PathBuf },
    Interrupted { checkpoint: PathBuf, epoch: usize, step: u64 },
}

/// The files of a training.
pub struct Place {
    pub weights: PathBuf,
    pub metrics: PathBuf,
    pub checkpoint: PathBuf,
}

impl Place {
    pub fn of(folder: &Path) -> Place {
        Place {
            weights: folder.join("weights.safetensors"),
            metrics: folder.join("metrics.jsonl"),
            checkpoint: folder.join("checkpoint.safetensors"),
        }
    }
}

impl Trainer<'_> {
    /// Trains to the end, or to an interruption.
    ///
    /// # Errors
    /// A loss that is not finite: the weights of the last whole epoch are written. A file that cannot be written or resumed from.
    pub fn run(&self, watcher: &mut dyn Watcher) -> Result<Outcome, Box<Diagnostic>> {
        let batch = self.plan.batch.min(self.split.train.len());
        thread::scope(|scope| {
            let feed = Feed::new(self.data, self.pool, batch, scope);
            self.epochs(batch, Steps::new(self, feed)?, watcher)
        })
    }

    fn epochs(
        &self,
        batch: usize,
        mut training: Steps<'_>,
        watcher: &mut dyn Watcher,
    ) -> Result<Outcome, Box<Diagnostic>> {
        let place = Place::of(self.folder);
        let io = |path: &Path, error: std::io::Error| {
            Box::new(errors::bad_file(&Problem::from(error).in_file(path)))
        };
        std::fs::create_dir_all(self.folder)
            .map_err(|error| Box::new(errors::no_folder(self.folder, &error)))?;
        let _own = self.own_folder()?;
        let steps_per_epoch = self.split.train.len().div_ceil(batch);
        let steps = self.plan.length.unwrap_or((self.plan.epochs * steps_per_epoch) as u64);
        let epochs = steps.div_ceil(steps_per_epoch as u64) as usize;
        let (mut store, mut state) = self.start(&place, batch, epochs)?;
        let done = if state.step == steps { epochs } else { (state.step / steps_per_epoch as u64) as usize };
        let mut journal = Journal::open(&place.metrics, done).map_err(|error| io(&place.metrics, error))?;
        watcher.begin(&Begin {
            name: self.plan.name.to_string(),
            parameters: store.parameter_count(),
            samples: self.plan.samples.as_ref().map(|_| (self.split.train.len(), self.split.test.len())),
            batch,
            epochs,
            steps,
            done: state.step,
        });
        let clock = Clock { seed: state.seed, step: 0, steps };
        let mut measured = None;
        // The first epoch may be one that is resumed in its middle.
        for epoch in done..epochs {
            if self.has_waited(&state) {
                break;
            }
            // Should the loss go wrong in this epoch.
            let good = store.clone();
            let from = state.step;
            let order = shuffled(&self.split.train, state.seed, epoch as u64);
            let first = (state.step - (epoch * steps_per_epoch) as u64) as usize;
            let begun = Instant::now();
            let (mut seen, mut behind) = (0, first * batch);
            let left = (steps - state.step) as usize;
            let mut batches = order.chunks(batch).enumerate().skip(first).take(left).peekable();
            while let Some((index, rows)) = batches.next() {
                // Of the next epoch's order nobody asks before this one is over.
                let next = batches.peek().map_or(&[][..], |(_, rows)| rows);
                let now = Clock { step: state.step, ..clock };
                let loss = training.step(self, (rows, next), &mut store, now)?;
                let stop = self.interrupted.load(Ordering::Relaxed);
                // A loss tells of the weights before its step: those that are written need a look of their own.
                let wrong = match loss.is_finite() {
                    false => Some(errors::Wrong::Loss(loss)),
                    true if stop || next.is_empty() => store.not_finite().map(errors::Wrong::Weight),
                    true => None,
                };
                if let Some(wrong) = wrong {
                    let batches: Vec<&[u32]> =
                        order.chunks(batch).skip(first).take(index + 1 - first).collect();
                    let blame = self.blame(&batches, good.clone(), Clock { step: from, ..clock })?;
                    with_averages(&mut { good }, |good| save_weights(&place.weights, good))?;
                    return Err(Box::new(errors::loss_not_finite(
                        self.plan.span,
                        &wrong,
                        state.step + 1,
                        epoch + 1,
                        &place.weights,
                        blame.as_ref(),
                    )));
                }
                state.step += 1;
                state.loss_sum += loss * rows.len() as f64;
                seen += rows.len();
                behind += rows.len();
                watcher.step(&StepEnd {
                    epoch: epoch + 1,
                    step: state.step,
                    loss: state.loss_sum / behind as f64,
                    samples_per_second: rate(seen, begun),
                });
                if stop && index + 1 < steps_per_epoch && state.step < steps {
                    state.save(&place.checkpoint, &store)?;
                    return Ok(Outcome::Interrupted {
                        checkpoint: place.checkpoint,
                        epoch: epoch + 1,
                        step: state.step,
                    });
                }
            }
            let (seconds, samples_per_second) = (begun.elapsed().as_secs_f64(), rate(seen, begun));
            let last = state.step == steps;
            let due = last || (epoch + 1).is_multiple_of(self.plan.evaluate_every);
            let now = if due { self.measure(&mut store)? } else { Measured::new() };
            if due {
                self.keep(&now, &mut state, &mut store, &place)?;
            }
            let end = EpochEnd {
                epoch: epoch + 1,
                step: state.step,
                loss: state.loss_sum / behind.max(1) as f64,
                measured: now.clone(),
                seconds,
                samples_per_second,
            };
            journal.write(&end).map_err(|error| io(&place.metrics, error))?;
            watcher.epoch(&end);
            measured = due.then_some(now);
            state.loss_sum = 0.0;
            state.save(&place.checkpoint, &store)?;
            if self.interrupted.load(Ordering::Relaxed) && epoch + 1 < epochs {
                return Ok(Outcome::Interrupted {
                    checkpoint: place.checkpoint,
                    epoch: epoch + 1,
                    step: state.step,
                });
            }
        }
        let measured = match (self.plan.keep, measured) {
            // The best epoch's weights were written when it was over.
            (Some(_), _) if state.best.is_some() => {
                load_weights(&place.weights, &mut store)?;
                evaluate(self.plan, self.evaluate, &mut store, self.data, &self.split.test, self.pool)?
            }
            (_, measured) => {
                with_averages(&mut store, |store| save_weights(&place.weights, store))?;
                match measured {
                    Some(measured) => measured,
                    // Resumed behind the last epoch.
                    None => self.measure(&mut store)?,
                }
            }
        };
        Ok(Outcome::Finished { measured, weights: place.weights })
    }

    /// The folder, locked while the file that is given back is open: the system unlocks it however this process ends. Where it cannot be
    /// opened or locked, as on some network disks, nobody is kept out.
    ///
    /// # Errors
    /// Another training writes there.
    fn own_folder(&self) -> Result<Option<File>, Box<Diagnostic>> {
        let Ok(folder) = File::open(self.folder) else { return Ok(None) };
        match folder.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Box::new(errors::folder_in_use(self.folder))),
            _ => Ok(Some(folder)),
        }
    }

    /// The measures of the weights as they would be given back now.
    fn measure(&self, store: &mut Store) -> Result<Measured, Box<Diagnostic>> {
        with_averages(store, |store| {
            evaluate(self.plan, self.evaluate, store, self.data, &self.split.test, self.pool)
        })
    }

    /// Writes the weights of an epoch that is better than all before it.
    fn keep(
        &self,
        measured: &Measured,
        state: &mut Checkpoint,
        store: &mut Store,
        place: &Place,
    ) -> Result<(), Box<Diagnostic>> {
        let Some(keep) = self.plan.keep else { return Ok(()) };
        let value = measured.get(keep.measure).map_or(f64::NAN, |(_, value)| *value);
        if keep.improves(value, state.best) {
            (state.best, state.stale) = (Some(value), 0);
            with_averages(store, |store| save_weights(&place.weights, store))
        } else {
            state.stale += 1;
            Ok(())
        }
    }

    /// So many evaluations have improved nothing that the training ends.
    fn has_waited(&self, state: &Checkpoint) -> bool {
        self.plan.patience.is_some_and(|patience| state.stale >= patience)
    }

    /// Fresh tensors, or those of the checkpoint.
    fn start(
        &self,
        place: &Place,
        batch: usize,
        epochs: usize,
    ) -> Result<(Store, Checkpoint), Box<Diagnostic>> {
        let samples = self.split.train.len() as u64;
        let now = Checkpoint {
            seed: self.seed,
            batch: batch as u64,
            samples,
            epochs: epochs as u64,
            data: Some(self.data.checksum(&self.split.train)),
            ..Checkpoint::default()
        };
        let mut store = initial(self.plan, self.inits, self.seed, self.pool)?;
        if !self.resume {
            for init in &self.plan.inits {
                load_part(init, &(self.locate)(&init.path, init.span), &mut store)?;
            }
            return Ok((store, now));
        }
        let was = Checkpoint::load(&place.checkpoint, &mut store)?;
        for (what, had, wants) in [
            ("a seed of", was.seed, if self.fixed_seed { now.seed } else { was.seed }),
            ("a batch of", was.batch, now.batch),
            ("a number of training samples of", was.samples, now.samples),
        ] {
            if had != wants {
                let (had, wants) = (had.to_string(), wants.to_string());
                return Err(Box::new(errors::cannot_resume(&place.checkpoint, what, &had, &wants)));
            }
        }
        if was.data.is_some() && was.data != now.data {
            return Err(Box::new(errors::other_data(&place.checkpoint)));
        }
        Ok((store, Checkpoint { epochs: now.epochs, data: now.data, ..was }))
    }
}

/// The first values of everything that a train block owns.
pub fn initial(plan: &TrainPlan, inits: &[Unit], seed: u64, pool: &Pool) -> Result<Store, Box<Diagnostic>> {
    let dims = Dims::new();
    let sums = plan.steps.iter().filter_map(|step| step.in_parts.as_ref()).map(|parts| &parts.gradients);
    let cores = plan.steps.iter().map(|step| &step.core).chain(sums);
    let mut store = Store::of_all(cores, &dims).map_err(|error| Box::new(errors::not_run(&error.into())))?;
    for init in inits {
        fill(&mut store, init, &dims, seed, pool)?;
    }
    Ok(store)
}

/// Puts the outputs of an initialisation, which are named like the tensors, into a store.
pub fn fill(
    store: &mut Store,
    init: &Unit,
    dims: &Dims,
    seed: u64,
    pool: &Pool,
) -> Result<(), Box<Diagnostic>> {
    let values = init.run(dims, &[], store, Clock { seed, ..Clock::default() }, pool)?;
    for (output, value) in init.graph.outputs.iter().zip(values) {
        if let Some(owned) = store.tensors.get_mut(&output.name) {
            owned.array = value;
        }
    }
    Ok(())
}

impl Trainer<'_> {
    /// The programs of the steps whose turn it is on these samples, in their order, with the number of the optimizer.
    pub(super) fn turns<'a>(
        &'a self,
        rows: &'a [u32],
        clock: Clock,
    ) -> impl Iterator<Item = (usize, Turn<'a>)> {
        let due = move |(_, (_, plan)): &(usize, (&Step, &StepPlan))| clock.step.is_multiple_of(plan.every);
        let steps = self.steps.iter().zip(&self.plan.steps).enumerate().filter(due);
        steps.flat_map(move |(index, (step, plan))| {
            let turns: SmallVec<[Turn<'a>; 1]> = match (&step.parts, &plan.in_parts) {
                (Some((count, update)), Some(in_parts)) => {
                    let part = rows.len().div_ceil(*count).max(1);
                    // Each part has draws of its own.
                    let drawn = |part: usize| {
                        (part as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(clock.seed)
                    };
                    let parts = rows.chunks(part).enumerate().map(|(index, rows)| {
                        let clock = Clock { seed: drawn(index), ..clock };
                        Turn { unit: &step.unit, core: &in_parts.gradients, rows, clock }
                    });
                    let rows = rows.chunks(part).last().unwrap_or(rows);
                    parts.chain([Turn { unit: update, core: &in_parts.update, rows, clock }]).collect()
                }
                _ => SmallVec::from_iter([Turn { unit: &step.unit, core: &plan.core, rows, clock }]),
            };
            turns.into_iter().map(move |turn| (index, turn))
        })
    }
}

/// What steps run on from one to the next.
struct Steps<'a> {
    feed: Feed<'a>,
    /// What the program of each optimizer that has a loss gives back.
    losses: Vec<Vec<Array>>,
    /// The loss of the first optimizer's last step.
    last: f64,
}

impl<'a> Steps<'a> {
    fn new(trainer: &Trainer<'a>, feed: Feed<'a>) -> Result<Steps<'a>, Box<Diagnostic>> {
        let dims = sized(trainer.plan, 1);
        let losses = trainer.steps.iter().map(|step| step.unit.outputs(&dims));
        Ok(Steps { feed, losses: losses.collect::<Result<_, _>>()?, last: f64::NAN })
    }

    /// One step of each optimizer whose turn it is, on these samples; gives the loss of the first, or one that is not finite. Behind it comes
    /// a step on the samples `next`.
    fn step(
        &mut self,
        trainer: &Trainer<'_>,
        (rows, next): (&[u32], &[u32]),
        store: &mut Store,
        clock: Clock,
    ) -> Result<f64, Box<Diagnostic>> {
        let mut means = SmallVec::<[f64; 2]>::from_elem(0.0, trainer.steps.len());
        let mut due = false;
        let following = Clock { step: clock.step + 1, ..clock };
        let behind = trainer.turns(next, following).next().map_or(&[][..], |(_, turn)| turn.rows);
        let mut turns = trainer.turns(rows, clock).peekable();
        while let Some((index, turn)) = turns.next() {
            let dims = sized(trainer.plan, turn.rows.len());
            self.feed.take(turn.rows)?;
            self.feed.prepare(turns.peek().map_or(behind, |(_, turn)| turn.rows));
            let arrays = self.feed.take(turn.rows)?;
            let has_loss = !turn.core.outputs.is_empty();
            let losses = if has_loss { self.losses[index].as_mut_slice() } else { &mut [] };
            turn.unit.run_into(&dims, arrays, store, turn.clock, trainer.pool, losses)?;
            if let Some(loss) = losses.first().map(scalar) {
                if !loss.is_finite() {
                    return Ok(loss);
                }
                means[index] += loss * (turn.rows.len() as f64 / rows.len() as f64);
                due |= index == 0;
            }
        }
        if due {
            self.last = means[0];
        }
        // Of a step whose turn it was not, the last one.
        Ok(self.last)
    }
}

fn rate(samples: usize, begun: Instant) -> f64 {
    samples as f64 / begun.elapsed().as_secs_f64().max(1e-9)
}
