//! The read-eval-print loop: a program that grows line by line, compiled by the same stages as any other.
//!
//! The engine runs in a thread of its own: what it cannot survive ends that thread and not the session, which goes on with a
//! new engine that is given the accepted inputs again. On a terminal there are a prompt, history and completion; through a
//! pipe there are results only, and the exit code of the first error.

mod command;
mod engine;
mod evaluate;
mod show;
mod terminal;
mod worker;

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use crate::axes::DimVar;
use crate::syntax::is_unfinished;

use worker::Worker;

/// How a session begins.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--dim D=64`
    pub dims: BTreeMap<DimVar, i64>,
    /// `--float f64`
    pub wide: bool,
    pub threads: usize,
    /// The seed of parameters and random draws.
    pub seed: u64,
    /// A file whose definitions are loaded first.
    pub file: Option<PathBuf>,
}

/// What an input came to.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The result.
    pub out: String,
    /// Messages.
    pub err: String,
    /// The exit code of an error.
    pub failed: Option<u8>,
    pub quit: bool,
    /// The input changed the session: a new engine must be given it again.
    pub kept: bool,
    /// What can be completed.
    pub names: Vec<String>,
}

/// Runs a session on standard input and output; gives the exit code.
pub fn run(options: &Options) -> u8 {
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut worker = Worker::start(options.clone(), interactive);
    let mut first = 0;
    if let Some(file) = &options.file {
        let reply = worker.ask(&format!(":load {}", file.display()));
        first = reply.failed.unwrap_or(0);
        tell(&reply);
    }
    if interactive {
        terminal::run(&mut worker);
        return 0;
    }
    let mut inputs = Inputs { lines: std::io::stdin().lock(), ahead: None };
    while let Some(text) = inputs.next_input() {
        let reply = worker.ask(text.trim_end());
        tell(&reply);
        if first == 0 {
            first = reply.failed.unwrap_or(0);
        }
        if reply.quit {
            break;
        }
    }
    first
}

/// The inputs of a pipe: lines, joined where one goes on.
struct Inputs<R> {
    lines: R,
    /// A command ends what is unfinished before it; it is the next input.
    ahead: Option<String>,
}

impl<R: BufRead> Inputs<R> {
    fn next_input(&mut self) -> Option<String> {
        let mut text = String::new();
        while let Some(line) = self.ahead.take().or_else(|| self.line()) {
            if is_command(&line) && !text.trim().is_empty() {
                self.ahead = Some(line);
                return Some(text);
            }
            // An empty line ends what is not finished, as it does on a terminal.
            let blank = line.trim().is_empty();
            text.push_str(&line);
            let goes_on = if is_command(&text) { !is_whole_command(&text) } else { is_unfinished(&text) };
            if !text.trim().is_empty() && (blank || !goes_on) {
                return Some(text);
            }
        }
        Some(text).filter(|text| !text.trim().is_empty())
    }

    fn line(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        match self.lines.read_until(b'\n', &mut bytes) {
            Ok(count) if count > 0 => Some(String::from_utf8_lossy(&bytes).into_owned()),
            _ => None,
        }
    }
}

fn is_command(text: &str) -> bool {
    text.trim_start().starts_with(':')
}

/// A command ends with its line, unless the expression that it is given goes on.
pub(crate) fn is_whole_command(text: &str) -> bool {
    let Some(rest) = text.trim_start().strip_prefix(':') else { return false };
    let (word, argument) = command::split(rest);
    !(command::takes_expression(word) && !argument.is_empty() && is_unfinished(argument))
}

/// Writes a reply: a closed pipe is no error.
fn tell(reply: &Reply) {
    let _ = std::io::stdout().write_all(reply.out.as_bytes()).and_then(|()| std::io::stdout().flush());
    let _ = std::io::stderr().write_all(reply.err.as_bytes());
}
