//! Where text goes: results to standard output, messages to standard error; colour on terminals only.

use std::io::{self, ErrorKind, IsTerminal, Write};

use serde_json::{Value, json};

use crate::base::Sources;
use crate::diag::{self, Diagnostic};
use crate::formats::FormatError;
use crate::session::Timings;
use crate::train::errors::bad_file;

/// What ends a command early.
pub enum Stop {
    /// Diagnostics that are not shown yet; the sources are kept for their places.
    Diagnostics(Box<Sources>, Vec<Diagnostic>),
    /// A request that makes no sense, though every part of it is well formed.
    Usage(String),
}

/// A file that could not be read or written.
impl From<FormatError> for Stop {
    fn from(error: FormatError) -> Stop {
        Stop::Diagnostics(Box::default(), vec![bad_file(&error)])
    }
}

/// The output of one command.
pub struct Console {
    pub json: bool,
    /// Standard output is gone, or an error on it has been told.
    closed: bool,
    failed: bool,
    colour: bool,
}

impl Console {
    pub fn new(json: bool) -> Console {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Console { json, closed: false, failed: false, colour: wanted && io::stderr().is_terminal() }
    }

    /// A line of the result.
    pub fn say(&mut self, line: impl AsRef<str>) {
        self.write(line.as_ref(), true);
    }

    /// Text of the result, as it is.
    pub fn print(&mut self, text: &str) {
        self.write(text, false);
    }

    fn write(&mut self, text: &str, end: bool) {
        if self.closed {
            return;
        }
        let mut out = io::stdout().lock();
        let written =
            out.write_all(text.as_bytes()).and_then(|()| if end { out.write_all(b"\n") } else { Ok(()) });
        if let Err(error) = written.and_then(|()| out.flush()) {
            self.closed = true;
            // Who closes a pipe has read enough.
            if error.kind() != ErrorKind::BrokenPipe {
                self.failed = true;
                self.complain(&format!("error: cannot write to standard output: {error}"));
            }
        }
    }

    pub fn json(&mut self, value: &Value) {
        self.say(serde_json::to_string_pretty(value).unwrap_or_default());
    }

    /// A line to standard error.
    pub fn complain(&self, line: &str) {
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// Diagnostics, for people.
    pub fn show(&self, sources: &Sources, diagnostics: &[Diagnostic]) {
        let text = diag::render::render(sources, diagnostics, self.colour);
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Tells why a command ends here; gives its exit code.
    pub fn stop(&mut self, stop: Stop) -> u8 {
        match stop {
            Stop::Diagnostics(sources, diagnostics) => {
                if self.json {
                    self.json(
                        &json!({"ok": false, "diagnostics": diag::json::diagnostics(&sources, &diagnostics)}),
                    );
                } else {
                    self.show(&sources, &diagnostics);
                }
                diag::exit_code(&diagnostics)
            }
            Stop::Usage(message) => {
                if self.json {
                    self.json(&json!({"ok": false, "usage": message, "diagnostics": []}));
                } else {
                    self.complain(&format!("error: {message}"));
                }
                2
            }
        }
    }

    /// What the stages took, where it was asked for.
    pub fn timings(&mut self, wanted: bool, timings: &Timings) {
        if wanted {
            let stages = timings.stages().into_iter().chain([("total", timings.total())]);
            let shown: Vec<String> =
                stages.map(|(stage, time)| format!("{stage} {:.2} ms", time.as_secs_f64() * 1e3)).collect();
            self.complain(&shown.join("  "));
        }
    }

    /// The exit code of the process.
    pub fn finish(&self, code: u8) -> u8 {
        if self.failed && code == 0 { 3 } else { code }
    }
}
