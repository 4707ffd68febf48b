//! The loss and the metrics of a model on many samples.

use crate::base::Name;
use crate::check::train::{TrainPlan, Weighting};
use crate::diag::Diagnostic;
use crate::runtime::{Array, Dims, Pool};

use super::data::Dataset;
use super::store::Store;
use super::unit::{Clock, Unit};

/// Measures by name: the loss, then the metrics, each the mean over the samples.
pub type Measured = Vec<(Name, f64)>;

/// Samples of one run, where measures add up over them: the sums do not depend on the batch of the training.
const CHUNK: usize = 256;

/// Measures a model on these samples, which are taken in order.
pub fn evaluate(
    plan: &TrainPlan,
    unit: &Unit,
    store: &mut Store,
    data: &Dataset,
    samples: &[u32],
    pool: &Pool,
) -> Result<Measured, Box<Diagnostic>> {
    let adds_up = plan.measures.iter().all(|(_, weighting)| *weighting == Weighting::Sum);
    let size = if adds_up { CHUNK } else { plan.batch };
    let mut sums = vec![0f64; plan.measures.len()];
    let mut batch: Vec<Array> = Vec::new();
    let mut filled = 0;
    for rows in samples.chunks(size.max(1)) {
        if rows.len() != filled {
            batch = data.batch(rows.len())?;
            filled = rows.len();
        }
        data.gather(rows, &mut batch, Some(pool));
        let outputs = unit.run(&sized(plan, rows.len()), &batch, store, Clock::default(), pool)?;
        for ((sum, (_, weighting)), output) in sums.iter_mut().zip(&plan.measures).zip(&outputs) {
            let value = scalar(output);
            *sum += match weighting {
                Weighting::Sum => value,
                Weighting::PerBatch => value * rows.len() as f64,
            };
        }
    }
    let count = samples.len() as f64;
    Ok(plan.measures.iter().zip(sums).map(|((name, _), sum)| (name.clone(), sum / count)).collect())
}

/// The dims of a run on so many samples.
pub fn sized(plan: &TrainPlan, count: usize) -> Dims {
    plan.samples.iter().map(|samples| (samples.clone(), count as i64)).collect()
}

/// The one number of an array.
pub fn scalar(array: &Array) -> f64 {
    array.first().map_or(f64::NAN, |number| number.as_f64())
}
