//! How long a program takes: the same run again and again on the same arrays, as a whole and kernel by kernel.

use std::time::{Duration, Instant};

use crate::diag::Diagnostic;
use crate::kernel::KernelId;
use crate::runtime::{Array, Dims, KernelWork, Pool};

use super::errors;
use super::store::Store;
use super::unit::{Clock, Unit};

/// Runs that a measurement has at least and at most.
const RUNS: std::ops::RangeInclusive<usize> = 5..=100_000;

/// Programs that are run one after the other, and what they run on.
pub struct Bench<'a> {
    pub units: &'a [Unit],
    /// How many times each of them runs before the next does.
    pub repeats: &'a [usize],
    pub dims: &'a Dims,
    pub arguments: &'a [Array],
    pub store: Store,
    pub seed: u64,
    pub pool: &'a Pool,
}

/// What a kernel takes in one run of all programs, in the median.
#[derive(Clone, Copy, Debug)]
pub struct KernelTime {
    /// The program that it belongs to.
    pub unit: usize,
    pub kernel: KernelId,
    pub time: Duration,
    pub work: KernelWork,
}

/// Times of a number of runs, sorted.
#[derive(Clone, Debug)]
pub struct Spread(Vec<Duration>);

impl Spread {
    pub fn runs(&self) -> usize {
        self.0.len()
    }

    /// The time that this share of the runs does not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get((share * last as f64).round() as usize).copied().unwrap_or_default()
    }

    pub fn median(&self) -> Duration {
        self.quantile(0.5)
    }
}

impl Bench<'_> {
    /// Runs for so long; what comes first is not counted, for memory and branches are cold.
    ///
    /// # Errors
    /// As [`Unit::run`].
    pub fn steps(&mut self, long: Duration) -> Result<Spread, Box<Diagnostic>> {
        let mut outputs = self.outputs()?;
        let mut clock = Clock { seed: self.seed, step: 0, steps: *RUNS.end() as u64 };
        let mut times = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < long / 10 || clock.step < 2 {
            self.step(clock, &mut outputs, None)?;
            clock.step += 1;
        }
        let begun = Instant::now();
        while times.len() < *RUNS.start() || (begun.elapsed() < long && times.len() < *RUNS.end()) {
            let start = Instant::now();
            self.step(clock, &mut outputs, None)?;
            times.push(start.elapsed());
            clock.step += 1;
        }
        times.sort_unstable();
        Ok(Spread(times))
    }

    /// Runs for so long with a look at each kernel: those that run at all, the costliest first.
    ///
    /// # Errors
    /// As [`Unit::run`].
    pub fn profile(&mut self, long: Duration) -> Result<Vec<KernelTime>, Box<Diagnostic>> {
        let mut outputs = self.outputs()?;
        let mut kernels = self.kernels()?;
        let mut times: Vec<Vec<Duration>> = vec![Vec::new(); kernels.len()];
        let mut clock = Clock { seed: self.seed, step: 0, steps: *RUNS.end() as u64 };
        let begun = Instant::now();
        let mut sums = vec![Duration::ZERO; kernels.len()];
        while clock.step < *RUNS.start() as u64 || (begun.elapsed() < long && clock.step < 10_000) {
            sums.fill(Duration::ZERO);
            self.step(clock, &mut outputs, Some(&mut sums))?;
            for (times, sum) in times.iter_mut().zip(&sums) {
                times.push(*sum);
            }
            clock.step += 1;
        }
        for (kernel, times) in kernels.iter_mut().zip(times) {
            let mut times = times;
            times.sort_unstable();
            kernel.time = Spread(times).median();
        }
        kernels.retain(|kernel| kernel.work.runs > 0);
        kernels.sort_by_key(|kernel| std::cmp::Reverse(kernel.time));
        Ok(kernels)
    }

    /// All kernels of all programs with their work, in order.
    ///
    /// # Errors
    /// Sizes for which there is no program.
    pub fn kernels(&self) -> Result<Vec<KernelTime>, Box<Diagnostic>> {
        let mut kernels = Vec::new();
        for (unit, program) in self.units.iter().enumerate() {
            let bound = program.exec.bind(self.dims).map_err(|error| Box::new(errors::not_bound(&error)))?;
            let work = program.exec.work(&bound);
            let repeats = self.repeats[unit];
            let of = |kernel| {
                let KernelWork { runs, flops, bytes } = work[kernel];
                let times = repeats as f64;
                let (runs, flops, bytes) = (runs * repeats as u64, flops * times, bytes * times);
                let work = KernelWork { runs, flops, bytes };
                KernelTime { unit, kernel, time: Duration::ZERO, work }
            };
            kernels.extend(program.exec.program().kernels.keys().map(of));
        }
        Ok(kernels)
    }

    fn outputs(&self) -> Result<Vec<Vec<Array>>, Box<Diagnostic>> {
        self.units.iter().map(|unit| unit.outputs(self.dims)).collect()
    }

    /// One run of each program, or as many as it is to have; `times` has a place for each of [`Bench::kernels`].
    fn step(
        &mut self,
        clock: Clock,
        outputs: &mut [Vec<Array>],
        mut times: Option<&mut [Duration]>,
    ) -> Result<(), Box<Diagnostic>> {
        let mut first = 0;
        for ((unit, outputs), &repeats) in self.units.iter().zip(outputs).zip(self.repeats) {
            let count = unit.exec.program().kernels.len();
            let (dims, arguments, store, pool) = (self.dims, self.arguments, &mut self.store, self.pool);
            for _ in 0..repeats {
                match times.as_deref_mut().map(|times| &mut times[first..first + count]) {
                    None => unit.run_into(dims, arguments, store, clock, pool, outputs)?,
                    Some(times) => {
                        let mut observe = |kernel: KernelId, time| times[kernel.as_u32() as usize] += time;
                        unit.run_observed(dims, arguments, store, clock, pool, outputs, Some(&mut observe))?;
                    }
                }
            }
            first += count;
        }
        Ok(())
    }
}
