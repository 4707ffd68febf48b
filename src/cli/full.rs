//! The trainings of `nnc test --full`: each block that expects something is trained with several seeds.

use std::io::{IsTerminal, stderr};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::check::train::TrainPlan;
use crate::runtime::Pool;
use crate::session::{Session, Settings, Timings};
use crate::train::{Begin, EpochEnd, Measured, Outcome, StepEnd, Watcher};

use super::console::{Console, Stop};
use super::progress::measures;
use super::train::{Block, Run};

/// One `expect` clause, and what it came to.
pub struct Row {
    /// `examples/digits.nn:digits`
    block: String,
    text: String,
    figures: Vec<Figures>,
    /// Whether the bar is a number, the same for all seeds.
    fixed: bool,
    /// Of one training.
    seconds: f64,
}

/// Both sides of a clause with one seed.
struct Figures {
    seed: u64,
    /// And whether it holds; `None`: the training ended with an error.
    sides: Option<(f64, f64, bool)>,
}

impl Row {
    pub fn holds(&self) -> bool {
        self.figures.iter().all(|figures| figures.sides.is_some_and(|(.., holds)| holds))
    }

    fn verdict(&self) -> &'static str {
        match self.figures.iter().any(|figures| figures.sides.is_none()) {
            true => "FAILED",
            false if self.holds() => "ok",
            false => "MISSED",
        }
    }

    /// `0.9722`, or `0.9722 vs 0.9611` where the bar is measured, too.
    fn shown(&self, seed: u64) -> String {
        let sides =
            self.figures.iter().find(|figures| figures.seed == seed).and_then(|figures| figures.sides);
        match sides {
            Some((left, ..)) if self.fixed => significant(left),
            Some((left, right, _)) => format!("{} vs {}", significant(left), significant(right)),
            None => "-".to_owned(),
        }
    }

    pub fn json(&self) -> Value {
        let figures = self.figures.iter().map(|figures| match figures.sides {
            Some((left, right, holds)) => {
                json!({"seed": figures.seed, "left": left, "right": right, "holds": holds})
            }
            None => json!({"seed": figures.seed, "left": null, "right": null, "holds": false}),
        });
        json!({
            "block": self.block,
            "text": self.text,
            "holds": self.holds(),
            "seeds": figures.collect::<Vec<Value>>(),
            "seconds": self.seconds,
        })
    }
}

/// Four digits that say something.
fn significant(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-2 { format!("{value:.1e}") } else { format!("{value:.4}") }
}

/// Figure against bar, one line for each clause.
pub fn table(rows: &[Row], seeds: Range<u64>) -> String {
    let head = ["", "training", "expected"].map(str::to_owned).into_iter();
    let head =
        head.chain(seeds.clone().map(|seed| format!("seed {seed}"))).chain(["seconds each".to_owned()]);
    let mut lines: Vec<Vec<String>> = vec![head.collect()];
    for row in rows {
        let mut line = vec![row.verdict().to_owned(), row.block.clone(), row.text.clone()];
        line.extend(seeds.clone().map(|seed| row.shown(seed)));
        line.push(format!("{:.1}", row.seconds));
        lines.push(line);
    }
    let columns = lines[0].len();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The trainings of one command, one after the other.
pub struct Trainings<'a> {
    seeds: Range<u64>,
    settings: &'a Settings,
    pool: &'a Pool,
    interrupted: &'a AtomicBool,
    /// How many blocks there are, and how many have begun.
    blocks: usize,
    begun: usize,
}

/// What a block came to: rows also where some of its seeds failed, and where it was interrupted those of the seeds before.
#[derive(Default)]
pub struct Ended {
    pub rows: Vec<Row>,
    pub stops: Vec<Stop>,
}

impl<'a> Trainings<'a> {
    pub fn new(
        seeds: Range<u64>,
        blocks: usize,
        settings: &'a Settings,
        pool: &'a Pool,
        interrupted: &'a AtomicBool,
    ) -> Trainings<'a> {
        Trainings { seeds, settings, pool, interrupted, blocks, begun: 0 }
    }

    pub fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Trains a block with each seed, and tells how far the command is.
    pub fn run(
        &mut self,
        session: &Session,
        plan: &TrainPlan,
        timings: &mut Timings,
        console: &Console,
    ) -> Ended {
        self.begun += 1;
        let begun = Instant::now();
        let block = match Block::new(session, plan, self.settings, timings) {
            Ok(block) => block,
            Err(stop) => {
                let failed = self.seeds.clone().map(|seed| (seed, None)).collect();
                return Ended { rows: self.rows(session, plan, failed, 0.0), stops: vec![stop] };
            }
        };
        let folder = std::env::temp_dir().join(format!("nnc-test-{}", std::process::id()));
        let width = self.blocks.to_string().len();
        let mut trained: Vec<(u64, Option<Measured>)> = Vec::new();
        let mut stops = Vec::new();
        for seed in self.seeds.clone() {
            let since = Instant::now();
            let title =
                format!("[{:width$}/{}] {}, seed {seed}", self.begun, self.blocks, name(session, plan));
            let run =
                Run { seed, fixed_seed: true, resume: false, folder: &folder, interrupted: self.interrupted };
            let mut live = Live::new(title.clone(), console);
            let outcome = block.train(&run, self.pool, &mut live);
            drop(live);
            // What it wrote is nobody's.
            let _ = std::fs::remove_dir_all(&folder);
            let told = match outcome {
                Ok(Outcome::Finished { measured, .. }) => {
                    let told = measures(&measured, 4);
                    trained.push((seed, Some(measured)));
                    told
                }
                Ok(Outcome::Interrupted { .. }) => break,
                Err(stop) => {
                    trained.push((seed, None));
                    stops.push(stop);
                    "failed".to_owned()
                }
            };
            if !console.json {
                console.complain(&format!("{title}: {told}  ({:.1} s)", since.elapsed().as_secs_f64()));
            }
        }
        let seconds = begun.elapsed().as_secs_f64() / trained.len().max(1) as f64;
        let rows = if trained.is_empty() { Vec::new() } else { self.rows(session, plan, trained, seconds) };
        Ended { rows, stops }
    }

    fn rows(
        &self,
        session: &Session,
        plan: &TrainPlan,
        trained: Vec<(u64, Option<Measured>)>,
        seconds: f64,
    ) -> Vec<Row> {
        let rows = plan.expects.iter().map(|expect| Row {
            block: name(session, plan),
            text: session.sources.slice(expect.span).to_owned(),
            figures: trained
                .iter()
                .map(|(seed, measured)| Figures {
                    seed: *seed,
                    sides: measured.as_ref().map(|measured| {
                        (expect.left.value(measured), expect.right.value(measured), expect.holds(measured))
                    }),
                })
                .collect(),
            fixed: !expect.right.is_measured(),
            seconds,
        });
        rows.collect()
    }
}

/// `examples/digits.nn:digits`
fn name(session: &Session, plan: &TrainPlan) -> String {
    format!("{}:{}", session.sources.name(plan.span.file), plan.name)
}

/// A live line on a terminal while a block trains, and nothing elsewhere.
struct Live {
    title: String,
    bar: ProgressBar,
    wanted: bool,
}

impl Live {
    fn new(title: String, console: &Console) -> Live {
        Live { title, bar: ProgressBar::hidden(), wanted: stderr().is_terminal() && !console.json }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Watcher for Live {
    fn begin(&mut self, begin: &Begin) {
        if !self.wanted {
            return;
        }
        let style = ProgressStyle::with_template("{prefix} {bar:24} {msg}  {eta} left");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let target = ProgressDrawTarget::stderr();
        self.bar = ProgressBar::with_draw_target(Some(begin.steps), target).with_style(style);
        self.bar.set_prefix(self.title.clone());
    }

    fn step(&mut self, step: &StepEnd) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_position(step.step);
        self.bar.set_message(format!("loss {:.4}", step.loss));
    }

    fn epoch(&mut self, _: &EpochEnd) {}
}
