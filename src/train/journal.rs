//! `metrics.jsonl`: a line for each finished epoch.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::formats::replace;

use super::trainer::EpochEnd;

/// The open file.
pub struct Journal(File);

impl Journal {
    /// Starts the file anew, or goes on behind the line of epoch `done`.
    pub fn open(path: &Path, done: usize) -> io::Result<Journal> {
        let kept: String = match fs::read_to_string(path) {
            Ok(text) if done > 0 => {
                text.lines().take_while(|line| before(line, done)).map(|line| format!("{line}\n")).collect()
            }
            _ => String::new(),
        };
        // As a whole: whoever is killed here loses no line.
        replace(path, |file| file.write_all(kept.as_bytes()))?;
        Ok(Journal(OpenOptions::new().append(true).open(path)?))
    }

    pub fn write(&mut self, epoch: &EpochEnd) -> io::Result<()> {
        let mut line = json!({"epoch": epoch.epoch, "step": epoch.step, "train_loss": epoch.loss});
        for (name, value) in &epoch.measured {
            line[name.as_str()] = (*value).into();
        }
        line["seconds"] = epoch.seconds.into();
        writeln!(self.0, "{line}")
    }
}

/// Whether a line tells of an epoch up to `done`.
fn before(line: &str, done: usize) -> bool {
    let value: Option<Value> = serde_json::from_str(line).ok();
    value.and_then(|value| value["epoch"].as_u64()).is_some_and(|epoch| epoch <= done as u64)
}
