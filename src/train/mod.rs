//! Training: data into batches, batches through the compiled step, weights into files.
//!
//! It knows checked train blocks and compiled graphs. It must never know a terminal: whoever watches a training is told of it.

mod averages;
mod batches;
mod blame;
mod checkpoint;
mod data;
pub mod errors;
mod evaluate;
mod feed;
mod journal;
mod measure;
mod rename;
mod store;
mod trainer;
mod unit;

pub use checkpoint::{Checkpoint, load_part, load_renamed, load_weights, save_weights};
pub use data::{Dataset, Split, split, whole_arrays};
pub use evaluate::{Measured, evaluate, sized as batch_dims};
pub use measure::{Bench, KernelTime, Spread};
pub use rename::Rename;
pub use store::{Owned, Ownership, Store};
pub use trainer::{Begin, EpochEnd, Outcome, Place, Step, StepEnd, Trainer, Watcher, fill, initial};
pub use unit::{Clock, Unit, tensors_for};
