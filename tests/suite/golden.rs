//! Golden files: programs with what a stage makes of them.
//!
//! A file holds cases, each under a head `--- name : stage`. The stage is one of `--emit`, `check`, `theorems`, or `report`, which is
//! the messages as a user sees them, with all labels; stages behind checking are those of the last definition or train block.
//! The expectation stands under the program in lines `//>`; a diagnostic under the line that it points to:
//! ```text
//! --- inner-axes-must-agree : check
//! fn f(a: f32[M, K], b: f32[J, N]) -> f32[M, N] = a @ b
//! //                                              ^^^^^ E0203 axes `K` and `J` differ
//! ```
//! A place that begins in one of the first two columns is marked `//<` (or `// <`) and carets; one in another file is named
//! in a line `//! file:line`. The folder `syntax` belongs to the parser's own tests.
//! What is not expected fails; `NNC_BLESS=1 cargo test --release golden` writes down what came.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use nnc::base::FileId;
use nnc::diag::Diagnostic;
use nnc::diag::render::render;
use nnc::elaborate::Part;
use nnc::session::{Checked, Session, Settings, Stage, Timings, What, emit_core, theorem};

/// One program and its stage.
struct Case {
    head: String,
    stage: String,
    source: String,
}

#[test]
fn golden() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files = Vec::new();
    nn_files(&root, &mut files);
    assert!(!files.is_empty(), "no golden files in {}", root.display());
    let bless = std::env::var_os("NNC_BLESS").is_some();
    let mut failures = String::new();
    for file in files {
        let before = fs::read_to_string(&file).unwrap();
        let mut after = String::new();
        for case in cases(&before) {
            let answer = answer(&case, file.parent().unwrap());
            if let Some(wrong) = wrong_verdict(&file, &case, &answer) {
                let _ = writeln!(failures, "{wrong}: {}{answer}", case.head);
            }
            after += &case.head;
            after += &answer;
        }
        if before == after {
            continue;
        }
        if bless {
            fs::write(&file, after).unwrap();
        } else {
            let shown = file.strip_prefix(&root).unwrap_or(&file);
            let _ = writeln!(failures, "tests/golden/{}:\n{}", shown.display(), difference(&before, &after));
        }
    }
    assert!(failures.is_empty(), "{failures}\nif that is right: NNC_BLESS=1 cargo test --release golden");
}

/// In `verdicts/` blessing does not help: what is accepted has no error, and what is refused is so by a theorem.
fn wrong_verdict(file: &Path, case: &Case, answer: &str) -> Option<&'static str> {
    if case.stage.is_empty() || file.parent()?.file_name()? != "verdicts" {
        return None;
    }
    let errors = answer.lines().any(|line| is_expectation(line) && line.contains(" E0"));
    let theorem = ["E0214", "E0250", "E0251"].iter().any(|code| answer.contains(code));
    match file.file_stem()?.to_str()? {
        "accepted" => errors.then_some("a program that keeps its promises is refused"),
        _ => (!theorem).then_some("a program that lies is not refused by a theorem"),
    }
}

fn nn_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "syntax") {
            nn_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "nn") {
            found.push(path);
        }
    }
}

/// The cases of a file, without their expectations. What stands before the first head is kept as it is.
fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("--- ") {
            let stage = head.split_once(" : ").map_or("check", |(_, stage)| stage.trim());
            cases.push(Case { head: format!("{line}\n"), stage: stage.to_owned(), source: String::new() });
            continue;
        }
        let Some(case) = cases.last_mut() else {
            cases.push(Case { head: format!("{line}\n"), stage: String::new(), source: String::new() });
            continue;
        };
        if !is_expectation(line) {
            case.source += line;
            case.source.push('\n');
        }
    }
    cases
}

fn is_expectation(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("//") else { return false };
    rest.starts_with(['>', '!']) || rest.trim_start().starts_with("<^") || rest.trim_start().starts_with('^')
}

/// The case's program with what its stage makes of it.
fn answer(case: &Case, folder: &Path) -> String {
    if case.stage.is_empty() {
        return case.source.clone();
    }
    let settings = Settings { verify: true, ..Settings::default() };
    let mut session = Session::of_text("case.nn", &case.source, folder);
    let (_, file) = session.user.unwrap();
    if let Ok(stage @ (Stage::Tokens | Stage::Ast)) = case.stage.parse::<Stage>() {
        return with_text(&case.source, &session.emit_syntax(file, &stage).unwrap_or_default());
    }
    let check = session.check(&settings, &|_| true);
    if case.stage == "report" {
        let report = render(&session.sources, &check.diagnostics, false);
        return with_text(&case.source, &report.replace(&format!("{}/", folder.display()), ""));
    }
    if case.stage == "check" || !check.ok() {
        return with_diagnostics(&case.source, &session, file, &check.diagnostics);
    }
    let text = match case.stage.as_str() {
        "theorems" => check.items.iter().map(theorem).collect(),
        stage => match stage.strip_prefix("graph ").unwrap_or(stage).parse::<Stage>() {
            Ok(stage) => emitted(&check.items, &stage, &settings),
            Err(problem) => panic!("{}{problem}", case.head),
        },
    };
    with_text(&case.source, &text)
}

fn emitted(items: &[Checked], stage: &Stage, settings: &Settings) -> String {
    let last = items
        .iter()
        .rev()
        .find(|item| item.what != What::Test && (item.core.is_some() || item.plan.is_some()));
    let Some(item) = last else { return "nothing to compile".to_owned() };
    let core = item.plan.as_ref().map_or_else(|| item.core.as_ref().unwrap(), |plan| &plan.steps[0].core);
    match emit_core(core, Part::Body, stage, settings, &mut Timings::default()) {
        Ok(text) => text,
        Err(failure) => format!("{} {}", failure.code, failure.message),
    }
}

fn with_text(source: &str, text: &str) -> String {
    let mut shown = source.trim_end().to_owned() + "\n";
    for line in text.trim_end().lines() {
        shown += format!("//> {line}").trim_end();
        shown.push('\n');
    }
    shown.push('\n');
    shown
}

fn with_diagnostics(source: &str, session: &Session, file: FileId, diagnostics: &[Diagnostic]) -> String {
    let lines: Vec<&str> = source.trim_end().lines().collect();
    let mut below: Vec<Vec<String>> = vec![Vec::new(); lines.len() + 1];
    for diagnostic in diagnostics {
        let text = format!("{} {}", diagnostic.code, diagnostic.message);
        let Some(span) = diagnostic.primary() else {
            below[lines.len()].push(format!("//! {text}"));
            continue;
        };
        let (start, end) = (session.sources.start(span), session.sources.end(span));
        let line = (start.line as usize - 1).min(lines.len().saturating_sub(1));
        if span.file != file {
            below[lines.len()].push(format!("//! {}:{} {text}", session.sources.name(span.file), start.line));
            continue;
        }
        let last = if end.line == start.line { end.column } else { lines[line].chars().count() as u32 + 1 };
        let width = last.saturating_sub(start.column).max(1) as usize;
        below[line].push(match start.column {
            0..3 => format!("//{}<{} {text}", " ".repeat(start.column as usize - 1), "^".repeat(width)),
            column => format!("//{}{} {text}", " ".repeat(column as usize - 3), "^".repeat(width)),
        });
    }
    let mut shown = String::new();
    let rest = below.pop().unwrap_or_default();
    for (line, below) in lines.iter().zip(below) {
        for line in std::iter::once((*line).to_owned()).chain(below) {
            shown += &line;
            shown.push('\n');
        }
    }
    for line in rest {
        shown += &line;
        shown.push('\n');
    }
    shown.push('\n');
    shown
}

/// The lines that differ, with the three before them.
fn difference(before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let from = same.saturating_sub(3);
    let tail =
        old[same..].iter().rev().zip(new[same..].iter().rev()).take_while(|(old, new)| old == new).count();
    let mut shown = String::new();
    for line in &old[from..same] {
        let _ = writeln!(shown, "    {line}");
    }
    for line in old[same..old.len() - tail].iter().take(40) {
        let _ = writeln!(shown, "  - {line}");
    }
    for line in new[same..new.len() - tail].iter().take(40) {
        let _ = writeln!(shown, "  + {line}");
    }
    shown
}
