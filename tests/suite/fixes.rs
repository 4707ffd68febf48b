//! What a message proposes as a change of the text is done: the fault is gone then, and no other one comes.
//!
//! The programs are those of the error pages, the golden files of the checker, and the refused ones among the verdicts.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use nnc::base::{Sources, Span};
use nnc::diag::pages::{Block, groups};
use nnc::diag::{Code, Diagnostic, Help};
use nnc::session::{Session, Settings};

/// At least so many changes are proposed for these programs.
const PROPOSED: usize = 150;

#[test]
fn proposed_changes_mend_programs() {
    // Programs of the pages nest as deep as may be.
    let worker = std::thread::Builder::new().stack_size(512 << 20).spawn(all_changes_mend).unwrap();
    worker.join().unwrap();
}

fn all_changes_mend() {
    let (mut failures, mut proposed) = (String::new(), 0);
    for program in programs() {
        let (sources, user, before) = checked(&program);
        for diagnostic in &before {
            for help in diagnostic.helps.iter().filter(|help| !help.changes(&sources).is_empty()) {
                proposed += 1;
                if let Err(problem) = mends(&sources, user, &program, &before, diagnostic, help) {
                    let _ = writeln!(failures, "{problem}\n");
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert!(proposed >= PROPOSED, "only {proposed} changes are proposed");
}

fn checked(program: &str) -> (Sources, nnc::base::FileId, Vec<Diagnostic>) {
    let mut session = Session::of_text("program.nn", program, Path::new(env!("CARGO_MANIFEST_DIR")));
    let (_, user) = session.user.unwrap();
    let check = session.check(&Settings::default(), &|_| true);
    (session.sources, user, check.diagnostics)
}

/// Whether the change takes the error away without making another one.
fn mends(
    sources: &Sources,
    user: nnc::base::FileId,
    program: &str,
    before: &[Diagnostic],
    diagnostic: &Diagnostic,
    help: &Help,
) -> Result<(), String> {
    let mut changes: Vec<(Span, String)> = help.changes(sources);
    changes.sort_by_key(|(span, _)| span.start);
    let told = format!("{} {}\nhelp: {help}\n{program}", diagnostic.code, diagnostic.message);
    if changes.iter().any(|(span, _)| span.file != user) {
        return Err(format!("changes another file\n{told}"));
    }
    if changes.windows(2).any(|pair| pair[0].0.end > pair[1].0.start) {
        return Err(format!("changes that meet\n{told}"));
    }
    let mut changed = program.to_owned();
    for (span, text) in changes.iter().rev() {
        changed.replace_range(span.range(), text);
    }
    let (_, _, after) = checked(&changed);
    // A word that is misspelt twice is told of twice, one after the other.
    let errors = |all: &[Diagnostic]| all.iter().filter(|one| one.is_error()).count();
    let again =
        after.first().is_some_and(|next| next.code == Code(105) && next.primary() > diagnostic.primary());
    // Whether axes fit is asked once the element types do.
    let next = |one: &Diagnostic| diagnostic.code == Code(302) && one.code == Code(203);
    let known = |one: &Diagnostic| before.iter().any(|old| old.code == one.code) || next(one);
    let new = after.iter().find(|one| one.is_error() && !known(one));
    match new {
        Some(new) => Err(format!("{} {} comes of it\n{told}\n{changed}", new.code, new.message)),
        None if errors(&after) >= errors(before) && !again && !after.iter().any(next) => {
            Err(format!("does not help\n{told}\n{changed}"))
        }
        None => Ok(()),
    }
}

fn programs() -> Vec<String> {
    let pages = groups().into_iter().flat_map(|(_, pages)| pages);
    let blocks = pages.flat_map(|page| page.blocks);
    let mut programs: Vec<String> =
        blocks.filter(|(block, _)| *block == Block::Wrong).map(|(_, text)| text).collect();
    for file in ["check", "errors", "verdicts"].iter().flat_map(|folder| nn_files(folder)) {
        let text = fs::read_to_string(&file).unwrap();
        let mut own = String::new();
        for line in text.lines().chain(["--- end"]) {
            if line.starts_with("--- ") {
                programs.push(std::mem::take(&mut own));
            } else if !is_expectation(line) {
                own += line;
                own.push('\n');
            }
        }
    }
    programs
}

fn nn_files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn is_expectation(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("//") else { return false };
    rest.starts_with(['>', '!']) || rest.trim_start().starts_with("<^") || rest.trim_start().starts_with('^')
}
