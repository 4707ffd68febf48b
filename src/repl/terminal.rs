//! The session on a terminal: prompt, history, completion, lines that go on.

use std::path::PathBuf;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Editor, Helper};

use super::command::COMMANDS;
use super::worker::Worker;
use super::{is_command, is_whole_command, tell};
use crate::syntax::is_unfinished;

/// What the editor asks while a line is typed.
struct Assistant {
    names: Vec<String>,
}

impl Helper for Assistant {}
impl Highlighter for Assistant {}
impl Hinter for Assistant {
    type Hint = String;
}

impl Validator for Assistant {
    fn validate(&self, cx: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = cx.input();
        let goes_on = match is_command(text) {
            true => !is_whole_command(text),
            false => is_unfinished(text),
        };
        let ended = text.ends_with('\n');
        let blank = text.trim().is_empty();
        Ok(if goes_on && !ended && !blank {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        Ok(complete(&self.names, line, at))
    }
}

/// The names that begin like the word before the cursor; at the start of a line the commands.
fn complete(names: &[String], line: &str, at: usize) -> (usize, Vec<Pair>) {
    let before = &line[..at];
    let pair = |name: String| Pair { display: name.clone(), replacement: name };
    if let Some(word) = before.trim_start().strip_prefix(':')
        && !word.contains(char::is_whitespace)
    {
        let found = COMMANDS.iter().filter(|command| command.word.starts_with(word));
        return (at - word.len(), found.map(|command| pair(command.word.to_owned())).collect());
    }
    let start = before
        .rfind(|c: char| !c.is_alphanumeric() && c != '_' && c != '.')
        .map_or(0, |end| end + before[end..].chars().next().map_or(1, char::len_utf8));
    let word = &before[start..];
    if word.is_empty() {
        return (at, Vec::new());
    }
    let found = names.iter().filter(|name| name.starts_with(word));
    (start, found.map(|name| pair(name.clone())).collect())
}

/// Reads and answers until the end of input.
pub fn run(worker: &mut Worker) {
    let config = Config::builder().auto_add_history(true).max_history_size(10_000);
    let config = match config {
        Ok(config) => config.build(),
        Err(_) => Config::default(),
    };
    let Ok(mut editor) = Editor::<Assistant, FileHistory>::with_config(config) else {
        eprintln!("error: the terminal cannot be used");
        return;
    };
    println!("nnc {}  (:help lists the commands, Ctrl-D ends)", env!("CARGO_PKG_VERSION"));
    let names = worker.ask(":").names;
    editor.set_helper(Some(Assistant { names }));
    let history = history_file();
    if let Some(history) = &history {
        let _ = editor.load_history(history);
    }
    loop {
        match editor.readline("nn> ") {
            Ok(text) => {
                if text.trim().is_empty() {
                    continue;
                }
                let reply = worker.ask(text.trim_end());
                tell(&reply);
                if reply.quit {
                    break;
                }
                if let Some(assistant) = editor.helper_mut()
                    && !reply.names.is_empty()
                {
                    assistant.names = reply.names;
                }
            }
            // Ctrl-C leaves the line; the session goes on.
            Err(ReadlineError::Interrupted) => {}
            Err(_) => break,
        }
    }
    if let Some(history) = &history {
        let _ = history.parent().map(std::fs::create_dir_all);
        let _ = editor.save_history(history);
    }
}

/// Where the history of all sessions is kept: `$XDG_STATE_HOME/nnc/history`.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("nnc/history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completes_names_and_commands() {
        let names = ["relu".to_owned(), "reverse".to_owned(), "random.normal".to_owned()];
        let words = |line: &str| -> (usize, Vec<String>) {
            let (start, pairs) = complete(&names, line, line.len());
            (start, pairs.into_iter().map(|pair| pair.replacement).collect())
        };
        assert_eq!(words("x |> re"), (5, vec!["relu".into(), "reverse".into()]));
        assert_eq!(words("2 * random.n"), (4, vec!["random.normal".into()]));
        assert_eq!(words(":ti"), (1, vec!["time".into()]));
        assert_eq!(words("é |> rel"), (6, vec!["relu".into()]));
        assert_eq!(words("x + "), (4, vec![]));
    }
}
