//! A checked definition without inputs to its values: initial parameters, machine code, a run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::check::core::Core;
use crate::diag::Diagnostic;
use crate::elaborate::Part;
use crate::runtime::Pool;
use crate::session::{self, Settings, Timings};
use crate::tensor::Tensor;
use crate::train::{Clock, Store, errors, fill};

/// The values of a core's outputs, and what they took.
pub struct Values {
    pub tensors: Vec<Tensor>,
    pub timings: Timings,
    /// The fastest run.
    pub run: Duration,
    pub runs: u32,
    pub kernels: usize,
}

/// Evaluates a core that has no inputs; `budget` bounds the time for repeated runs, of which there is at least one.
pub fn evaluate(
    core: &Core,
    settings: &Settings,
    seed: u64,
    pool: &Pool,
    budget: Duration,
) -> Result<Values, Box<Diagnostic>> {
    let mut timings = Timings::default();
    let none = BTreeMap::new();
    let memory = |error: crate::runtime::OutOfMemory| Box::new(errors::not_run(&error.into()));
    let mut store = Store::of(core, &none).map_err(memory)?;
    if !store.tensors.is_empty() {
        let init = session::compile(core, Part::Init, &none, settings, &mut timings)?;
        fill(&mut store, &init, &none, seed, pool)?;
    }
    timings = Timings::default();
    let unit = session::compile(core, Part::Body, &none, settings, &mut timings)?;
    let shapes: Vec<Vec<usize>> = unit.output_shapes(&none).map(|(shape, _)| shape).collect();
    let clock = Clock { seed, ..Clock::default() };
    let begun = Instant::now();
    let (mut best, mut runs) = (Duration::MAX, 0);
    let arrays = loop {
        let start = Instant::now();
        let arrays = unit.run(&none, &[], &mut store, clock, pool)?;
        best = best.min(start.elapsed());
        runs += 1;
        if begun.elapsed() >= budget || runs >= 10_000 {
            break arrays;
        }
    };
    let tensors = arrays.iter().zip(&shapes).filter_map(|(array, shape)| array.to_tensor(shape).ok());
    let kernels = unit.exec.program().kernels.len();
    Ok(Values { tensors: tensors.collect(), timings, run: best, runs, kernels })
}
