//! Checkpoints: everything that a training needs to go on as if it had never stopped.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use crate::base::Name;
use crate::check::train::InitPlan;
use crate::diag::Diagnostic;
use crate::formats::safetensors::{self, Archive};
use crate::formats::{self, Problem};

use super::errors;
use super::rename::{Rename, renamed};
use super::store::Store;

/// Where a training stands. The tensors are in the file beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Checkpoint {
    pub seed: u64,
    /// Steps done.
    pub step: u64,
    /// Samples of a step and of an epoch, which decide what the next step sees.
    pub batch: u64,
    pub samples: u64,
    pub epochs: u64,
    /// A checksum of the training samples; older files have none.
    pub data: Option<u32>,
    /// The sum of the losses of this epoch's steps, each times its samples.
    pub loss_sum: f64,
    /// The best value of the measure that is kept, and how many evaluations have not reached it since.
    pub best: Option<f64>,
    pub stale: u64,
}

impl Checkpoint {
    /// Writes the whole file or nothing.
    pub fn save(&self, path: &Path, store: &Store) -> Result<(), Box<Diagnostic>> {
        let number = |name: &str, value: u64| (name.to_owned(), value.to_string());
        let metadata: BTreeMap<String, String> = BTreeMap::from([
            number("seed", self.seed),
            number("step", self.step),
            number("batch", self.batch),
            number("samples", self.samples),
            number("epochs", self.epochs),
            // All bits of it: what is resumed gives the same numbers.
            ("loss_sum".to_owned(), format!("{:016x}", self.loss_sum.to_bits())),
            number("stale", self.stale),
        ]);
        let best = self.best.map(|best| ("best".to_owned(), format!("{:016x}", best.to_bits())));
        let data = self.data.map(|data| number("data", data.into()));
        let metadata = metadata.into_iter().chain(best).chain(data).collect();
        let archive = Archive { tensors: store.export(true), metadata };
        safetensors::save(path, &archive).map_err(|error| Box::new(errors::bad_file(&error)))
    }

    /// Reads a checkpoint into a store of the same program.
    pub fn load(path: &Path, store: &mut Store) -> Result<Checkpoint, Box<Diagnostic>> {
        let archive = safetensors::load(path).map_err(|error| match error.problem {
            Problem::Missing => Box::new(errors::nothing_to_resume(path)),
            _ => Box::new(errors::bad_file(&error)),
        })?;
        let text = |name: &str| {
            let missing = || Box::new(errors::not_a_checkpoint(path, &format!("it has no `{name}`")));
            archive.metadata.get(name).ok_or_else(missing)
        };
        let broken =
            |name: &str| Box::new(errors::not_a_checkpoint(path, &format!("its `{name}` is no number")));
        let number = |name: &str| text(name)?.parse::<u64>().map_err(|_| broken(name));
        let loss_sum = u64::from_str_radix(text("loss_sum")?, 16).map_err(|_| broken("loss_sum"))?;
        let checkpoint = Checkpoint {
            seed: number("seed")?,
            step: number("step")?,
            batch: number("batch")?,
            samples: number("samples")?,
            epochs: number("epochs")?,
            data: match archive.metadata.get("data") {
                Some(data) => Some(data.parse().map_err(|_| broken("data"))?),
                None => None,
            },
            loss_sum: f64::from_bits(loss_sum),
            best: match archive.metadata.get("best") {
                Some(best) => {
                    Some(f64::from_bits(u64::from_str_radix(best, 16).map_err(|_| broken("best"))?))
                }
                None => None,
            },
            stale: number("stale")?,
        };
        store
            .import(&archive.tensors, true)
            .map_err(|differences| Box::new(errors::weights_differ(path, &differences)))?;
        Ok(checkpoint)
    }
}

/// Writes what the model is: parameters and states, without the optimizer's.
pub fn save_weights(path: &Path, store: &Store) -> Result<(), Box<Diagnostic>> {
    let archive = Archive { tensors: store.export(false), metadata: BTreeMap::new() };
    safetensors::save(path, &archive).map_err(|error| Box::new(errors::bad_file(&error)))
}

/// Reads what an `init` clause says into a store; gives the bytes of its tensors that the file had, by path.
pub fn load_part(
    init: &InitPlan,
    path: &Path,
    store: &mut Store,
) -> Result<Vec<(Name, Range<usize>)>, Box<Diagnostic>> {
    let archive = safetensors::load(path).map_err(|error| Box::new(errors::unreadable(init.span, &error)))?;
    let taken = store.import_part(&archive.tensors, &init.instance, init.only.as_deref());
    taken.map_err(|differences| Box::new(errors::weights_differ(path, &differences)))
}

/// Reads weights into a store.
pub fn load_weights(path: &Path, store: &mut Store) -> Result<(), Box<Diagnostic>> {
    load_renamed(path, &[], store)
}

/// Reads weights into a store, some under other names.
pub fn load_renamed(path: &Path, renames: &[Rename], store: &mut Store) -> Result<(), Box<Diagnostic>> {
    let entries = formats::weights::load(path).map_err(|error| Box::new(errors::bad_file(&error)))?;
    let differ = |differences: Vec<String>| Box::new(errors::weights_differ(path, &differences));
    store.import(&renamed(entries, renames).map_err(differ)?, false).map_err(differ)
}
