//! What each stage took.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Time spent in each stage so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    pub parse: Duration,
    pub check: Duration,
    pub elaborate: Duration,
    pub passes: Duration,
    pub lower: Duration,
    pub codegen: Duration,
}

impl Timings {
    pub fn parse<T>(&mut self, work: impl FnOnce() -> T) -> T {
        timed(&mut self.parse, work)
    }

    pub fn check<T>(&mut self, work: impl FnOnce() -> T) -> T {
        timed(&mut self.check, work)
    }

    pub fn elaborate<T>(&mut self, work: impl FnOnce() -> T) -> T {
        timed(&mut self.elaborate, work)
    }

    pub fn passes<T>(&mut self, work: impl FnOnce() -> T) -> T {
        timed(&mut self.passes, work)
    }

    pub fn lower<T>(&mut self, work: impl FnOnce() -> T) -> T {
        timed(&mut self.lower, work)
    }

    pub fn codegen<T>(&mut self, work: impl FnOnce() -> T) -> T {
        timed(&mut self.codegen, work)
    }

    /// The stages in order, by name.
    pub fn stages(&self) -> [(&'static str, Duration); 6] {
        [
            ("parse", self.parse),
            ("check", self.check),
            ("elaborate", self.elaborate),
            ("passes", self.passes),
            ("lower", self.lower),
            ("codegen", self.codegen),
        ]
    }

    pub fn total(&self) -> Duration {
        self.stages().iter().map(|(_, time)| *time).sum()
    }

    /// Milliseconds, by stage.
    pub fn json(&self) -> Value {
        let mut value = json!({});
        for (stage, time) in self.stages() {
            value[stage] = milliseconds(time).into();
        }
        value["total"] = milliseconds(self.total()).into();
        value
    }
}

/// To the microsecond.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}
