//! What the kernels of a bound program do in one run.

use cranelift_entity::SecondaryMap;

use super::bind::{Bound, BoundRun, BoundStep};
use super::exec::Executable;
use crate::kernel::KernelId;

/// The work of a kernel in one run of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KernelWork {
    /// How often it is started.
    pub runs: u64,
    /// Operations on floats, as they are executed; see [`crate::kernel::Work`].
    pub flops: f64,
    /// Bytes of the elements that it reads and writes, each counted once a start: the traffic if nothing stayed in a cache between kernels.
    pub bytes: f64,
}

impl Executable {
    /// The work of each kernel at these sizes.
    pub fn work(&self, bound: &Bound) -> SecondaryMap<KernelId, KernelWork> {
        let mut found = SecondaryMap::new();
        self.count(bound, &bound.steps, 1, &mut found);
        found
    }

    fn count(
        &self,
        bound: &Bound,
        steps: &[BoundStep],
        times: u64,
        found: &mut SecondaryMap<KernelId, KernelWork>,
    ) {
        for step in steps {
            match step {
                BoundStep::Run(run) => self.add(bound, run, times, &mut found[run.kernel]),
                BoundStep::Loop { count, body, .. } => {
                    self.count(bound, body, times * (*count).max(0) as u64, found);
                }
                BoundStep::Copy { .. } | BoundStep::Sort(_) => {}
            }
        }
    }

    fn add(&self, bound: &Bound, run: &BoundRun, times: u64, found: &mut KernelWork) {
        let kernel = &self.program().kernels[run.kernel];
        let work = kernel.work(&run.sizes);
        found.runs += times;
        found.flops += times as f64 * work.flops;
        for ((arg, decl), reference) in kernel.pointers().zip(&run.args) {
            let held = bound.lens[reference.buffer] as f64;
            found.bytes += times as f64 * work.touched[arg].min(held) * decl.dtype.size() as f64;
        }
    }
}
