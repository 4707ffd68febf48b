//! The tutorial is run as its reader would: programs are written where it says, and commands answer what it shows.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::command::nnc;

#[test]
fn the_tutorial_is_true() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tutorial.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut failures = String::new();
    let mut commands = 0;
    for block in text.split("\n```").skip(1).step_by(2) {
        let (mark, body) = block.split_once('\n').unwrap();
        match mark.split_once(' ').unwrap_or((mark, "")) {
            ("nn", file) => {
                fs::write(folder.path().join(file), format!("{body}\n")).unwrap();
                let formatted = nnc(folder.path(), &["fmt", "--check", file]);
                let _ = write!(failures, "{}", formatted.out);
            }
            ("console", _) => {
                for session in body.split("$ nnc ").skip(1) {
                    let (command, shown) = session.split_once('\n').unwrap_or((session, ""));
                    let arguments: Vec<&str> = command.split_whitespace().collect();
                    let ran = nnc(folder.path(), &arguments);
                    commands += 1;
                    let answer = format!("{}{}", ran.out, ran.err);
                    let (shown, answered) = (lines(shown), lines(&answer));
                    if !agrees(&shown, &answered) {
                        let _ = writeln!(failures, "$ nnc {command}\n{answer}");
                    }
                }
            }
            _ => panic!("what is ```{mark}?"),
        }
    }
    assert!(commands > 10, "the tutorial shows {commands} commands");
    assert!(failures.is_empty(), "{failures}");
}

fn lines(text: &str) -> Vec<&str> {
    text.trim_end().lines().map(str::trim_end).collect()
}

/// `…` stands for any lines, and at a line's end for any rest of it.
fn agrees(shown: &[&str], answered: &[&str]) -> bool {
    match (shown, answered) {
        ([], []) => true,
        (["…", rest @ ..], _) => (0..=answered.len()).any(|skipped| agrees(rest, &answered[skipped..])),
        ([line, shown @ ..], [answer, answered @ ..]) => {
            let same = line.strip_suffix('…').map_or(line == answer, |start| answer.starts_with(start));
            same && agrees(shown, answered)
        }
        _ => false,
    }
}
