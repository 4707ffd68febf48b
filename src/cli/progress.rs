//! A training as its user sees it: a live line on a terminal, a plain line for each epoch.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::train::{Begin, EpochEnd, Measured, StepEnd, Watcher};

use super::console::Console;

/// Between two redraws of the live line.
const PAUSE: Duration = Duration::from_millis(80);

/// Tells a console about a training.
pub struct Progress<'a> {
    console: &'a mut Console,
    /// Hidden until the training begins, and where there is no terminal.
    bar: ProgressBar,
    begin: Option<Begin>,
    /// When the live line was drawn last.
    drawn: Instant,
    /// What the last epoch was measured at.
    measured: String,
}

impl<'a> Progress<'a> {
    pub fn new(console: &'a mut Console) -> Progress<'a> {
        Progress {
            console,
            bar: ProgressBar::hidden(),
            begin: None,
            drawn: Instant::now(),
            measured: String::new(),
        }
    }

    fn line(&mut self, line: String) {
        let console = &mut *self.console;
        if !console.json {
            self.bar.suspend(|| console.say(line));
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Watcher for Progress<'_> {
    fn begin(&mut self, begin: &Begin) {
        self.begin = Some(begin.clone());
        let what = match begin.samples {
            Some((train, test)) => {
                format!("{train} samples to train, {test} to test, batch {}", begin.batch)
            }
            None => format!("{} steps", begin.steps),
        };
        self.line(format!("{}: {} parameters, {what}", begin.name, begin.parameters));
        if !stderr().is_terminal() || self.console.json {
            return;
        }
        let style = ProgressStyle::with_template("{prefix} {bar:24} {msg}  {eta} left");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let target = ProgressDrawTarget::stderr();
        self.bar = ProgressBar::with_draw_target(Some(begin.steps), target).with_style(style);
        self.bar.set_position(begin.done);
        self.bar.reset_eta();
    }

    fn step(&mut self, step: &StepEnd) {
        let Some(begin) = &self.begin else { return };
        if self.bar.is_hidden() || self.drawn.elapsed() < PAUSE {
            return;
        }
        self.drawn = Instant::now();
        self.bar.set_position(step.step);
        self.bar.set_prefix(format!("epoch {}/{}", step.epoch, begin.epochs));
        let rate = thousands(step.samples_per_second);
        let unit = unit(begin);
        self.bar.set_message(format!("loss {:.4}  {}{rate} {unit}/s", step.loss, self.measured));
    }

    fn epoch(&mut self, epoch: &EpochEnd) {
        let epochs = self.begin.as_ref().map_or(epoch.epoch, |begin| begin.epochs);
        let width = epochs.to_string().len();
        // The loss on the line is that of the steps; the other measures are those of the epoch before.
        let others: Measured = epoch.measured.iter().skip(1).cloned().collect();
        let test = match epoch.measured.as_slice() {
            [] => String::new(),
            measured => format!("test {}  ", measures(&measured.to_vec(), 4)),
        };
        self.measured = if others.is_empty() { String::new() } else { measures(&others, 4) + "  " };
        let left = (epochs - epoch.epoch) as f64 * epoch.seconds;
        self.line(format!(
            "epoch {:width$}/{epochs}  train loss {:.4}  {test}{} {}/s  {} left",
            epoch.epoch,
            epoch.loss,
            thousands(epoch.samples_per_second),
            self.begin.as_ref().map_or("samples", unit),
            duration(left),
        ));
    }
}

/// What the speed of a training is counted in.
fn unit(begin: &Begin) -> &'static str {
    if begin.samples.is_some() { "samples" } else { "steps" }
}

/// `loss 0.1234  accuracy 0.9694`
pub fn measures(measured: &Measured, digits: usize) -> String {
    let shown: Vec<String> =
        measured.iter().map(|(name, value)| format!("{name} {value:.digits$}")).collect();
    shown.join("  ")
}

/// `12 345`, without a fraction.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

/// `3 s`, `2 min 5 s`, `1 h 10 min`
fn duration(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(seconds.clamp(0.0, 1e9)).as_secs();
    match whole {
        0 if seconds > 0.0 => "1 s".to_owned(),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}
