//! The trainings of `nnc test --full`: each block that expects something is trained with several seeds.

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde_json::{Value, json};

use crate::check::train::TrainPlan;
use crate::runtime::Pool;
use crate::session::{Session, Settings, Timings};
use crate::train::{Begin, EpochEnd, Measured, Outcome, StepEnd, Watcher};

use super::console::Stop;
use super::train::{Block, Run};

/// One `expect` clause, and what it came to.
pub struct Row {
    /// `examples/digits.nn:digits`
    block: String,
    text: String,
    /// Left side, right side and whether it holds, for each seed.
    figures: Vec<(f64, f64, bool)>,
    /// Of one training.
    seconds: f64,
}

impl Row {
    pub fn holds(&self) -> bool {
        self.figures.iter().all(|(.., holds)| *holds)
    }

    /// `ok    examples/digits.nn:digits  accuracy >= 0.9  0.9722 0.9667 0.9750  1.2 s`
    pub fn line(&self) -> String {
        let fixed = self.figures.iter().all(|figure| figure.1.to_bits() == self.figures[0].1.to_bits());
        let shown = |(left, right, _): &(f64, f64, bool)| {
            if fixed { significant(*left) } else { format!("{}/{}", significant(*left), significant(*right)) }
        };
        let figures: Vec<String> = self.figures.iter().map(shown).collect();
        let verdict = if self.holds() { "ok    " } else { "MISSED" };
        format!(
            "{verdict}  {:<46}  {:<34}  {}  ({:.1} s)",
            self.block,
            self.text,
            figures.join(" "),
            self.seconds
        )
    }

    pub fn json(&self) -> Value {
        let figures = self.figures.iter();
        let figures: Vec<Value> = figures
            .map(|(left, right, holds)| json!({"left": left, "right": right, "holds": holds}))
            .collect();
        json!({"block": self.block, "text": self.text, "holds": self.holds(), "seeds": figures, "seconds": self.seconds})
    }
}

/// Four digits that say something.
fn significant(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-2 { format!("{value:.1e}") } else { format!("{value:.4}") }
}

/// What the expectations of a block come to; `None`: interrupted.
pub fn reached(
    session: &Session,
    plan: &TrainPlan,
    settings: &Settings,
    seeds: Range<u64>,
    pool: &Pool,
    interrupted: &AtomicBool,
    timings: &mut Timings,
) -> Result<Option<Vec<Row>>, Stop> {
    let block = Block::new(session, plan, settings, timings)?;
    let folder = std::env::temp_dir().join(format!("nnc-test-{}", std::process::id()));
    let begun = Instant::now();
    let mut trained: Vec<Measured> = Vec::new();
    for seed in seeds {
        let run = Run { seed, fixed_seed: true, resume: false, folder: &folder, interrupted };
        let outcome = block.train(&run, pool, &mut Silent);
        // What it wrote is nobody's.
        let _ = std::fs::remove_dir_all(&folder);
        match outcome? {
            Outcome::Finished { measured, .. } => trained.push(measured),
            Outcome::Interrupted { .. } => return Ok(None),
        }
    }
    let seconds = begun.elapsed().as_secs_f64() / trained.len().max(1) as f64;
    let file = session.sources.name(plan.span.file);
    let rows = plan.expects.iter().map(|expect| Row {
        block: format!("{file}:{}", plan.name),
        text: session.sources.slice(expect.span).to_owned(),
        figures: trained
            .iter()
            .map(|measured| {
                (expect.left.value(measured), expect.right.value(measured), expect.holds(measured))
            })
            .collect(),
        seconds,
    });
    Ok(Some(rows.collect()))
}

/// Watches without a word.
struct Silent;

impl Watcher for Silent {
    fn begin(&mut self, _: &Begin) {}
    fn step(&mut self, _: &StepEnd) {}
    fn epoch(&mut self, _: &EpochEnd) {}
}
