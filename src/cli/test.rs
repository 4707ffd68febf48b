//! `nnc test`: the test blocks of programs or of the library; with `--full` their trainings, too, against what they expect. Whatever goes
//! wrong in one block, the others are run.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nn_grammar::ast::ClauseKind;
use serde_json::{Value, json};

use crate::base::{Name, Span};
use crate::check::Entry;
use crate::diag;
use crate::session::{Checked, Session, Settings, What, name_of};

use super::arguments::{Global, TestArguments};
use super::asserted::{self, Failure};
use super::console::{Console, Stop};
use super::full::{self, Row, Trainings};
use super::prepare::stop;
use super::target::{Target, what};
use super::train::{interruption, pool};

/// A program, and which of its blocks are meant.
struct Chosen {
    session: Session,
    blocks: Vec<(Name, Span)>,
}

/// What the blocks have come to so far.
#[derive(Default)]
struct Report {
    /// Programs with errors, and blocks that could not be run.
    broken: usize,
    /// The exit code that the first of them asks for.
    code: u8,
    tests: usize,
    failed: usize,
    rows: Vec<Row>,
    /// Of test blocks and of what is broken, for programs that read them.
    shown: Vec<Value>,
    diagnostics: Vec<Value>,
}

pub fn test(global: &Global, arguments: &TestArguments, console: &mut Console) -> Result<u8, Stop> {
    let settings = global.settings();
    let pool = pool(global)?;
    let mut chosen = chosen(arguments)?;
    // Of many programs, the table at the end is what is read.
    let each = chosen.len() == 1;
    // Without trainings Ctrl-C ends the process at once.
    let interrupted = if arguments.full { interruption() } else { Arc::default() };
    let seeds = arguments.seed..arguments.seed.saturating_add(arguments.seeds.into());
    let trained = chosen.iter().map(Chosen::trainings).sum();
    let mut trainings = Trainings::new(seeds.clone(), trained, &settings, &pool, &interrupted);
    let mut report = Report::default();
    'programs: for Chosen { session, blocks } in &mut chosen {
        let Some(items) = report.checked(session, blocks, &settings, console) else { continue };
        let mut timings = session.timings;
        for item in &items {
            if let Some(plan) = &item.plan {
                let ended = trainings.run(session, plan, &mut timings, console);
                report.rows.extend(ended.rows);
                ended.stops.into_iter().for_each(|stop| report.stopped(stop, console));
                if trainings.interrupted() {
                    break 'programs;
                }
                continue;
            }
            match asserted::run(session, item, &settings, arguments.interpret, &pool, &mut timings) {
                Ok(failures) => report.test(session, item, &failures, each, console),
                Err(stop) => report.stopped(stop, console),
            }
        }
        console.timings(global.timings, &timings);
    }
    report.show(arguments.full.then_some(seeds), console);
    Ok(if trainings.interrupted() { 130 } else { report.code() })
}

/// The programs in the order in which they are named, no block twice.
fn chosen(arguments: &TestArguments) -> Result<Vec<Chosen>, Stop> {
    if arguments.std {
        let session = Session::library();
        let blocks = tests_of(&session, false);
        return Ok(vec![Chosen { session, blocks }]);
    }
    let mut all: Vec<Chosen> = Vec::new();
    let mut seen: HashMap<PathBuf, Vec<Name>> = HashMap::new();
    for target in &arguments.files {
        let files = if target.file.is_dir() { below(&target.file)? } else { vec![target.file.clone()] };
        for file in files {
            let path = file.canonicalize().unwrap_or_else(|_| file.clone());
            let session = Session::open(&file);
            let mut blocks = match &target.item {
                Some(name) if !session.has_errors() => vec![picked(&session, target, name, arguments.full)?],
                _ => tests_of(&session, arguments.full),
            };
            let met = seen.contains_key(&path);
            let before = seen.entry(path).or_default();
            blocks.retain(|(name, _)| !before.contains(name));
            before.extend(blocks.iter().map(|(name, _)| name.clone()));
            // A program with errors is told once.
            if !met || !blocks.is_empty() {
                all.push(Chosen { session, blocks });
            }
        }
    }
    Ok(all)
}

/// All programs in a folder and below it, by name.
fn below(folder: &Path) -> Result<Vec<PathBuf>, Stop> {
    let mut files = Vec::new();
    programs(folder, &mut files)
        .map_err(|error| Stop::Usage(format!("cannot read the folder {}: {error}", folder.display())))?;
    if files.is_empty() {
        return Err(Stop::Usage(format!("there is no program (*.nn) in {}", folder.display())));
    }
    files.sort();
    Ok(files)
}

fn programs(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            programs(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "nn") {
            found.push(path);
        }
    }
    Ok(())
}

/// The test blocks of a program, and those that train towards something.
fn tests_of(session: &Session, full: bool) -> Vec<(Name, Span)> {
    let items = session.items().into_iter().map(|(_, entry)| entry);
    items
        .filter(|entry| matches!(entry, Entry::Test(_)) || full && expects(entry))
        .map(|entry| name_of(&entry))
        .collect()
}

fn expects(entry: &Entry) -> bool {
    let Entry::Train(train, _) = entry else { return false };
    train
        .clauses
        .iter()
        .any(|clause| matches!(&clause.kind, ClauseKind::Word { word, .. } if word.name == "expect"))
}

/// The block that is named.
fn picked(session: &Session, target: &Target, name: &str, full: bool) -> Result<(Name, Span), Stop> {
    let entry = target.pick(session, "test or train block", &[What::Test, What::Train]);
    let entry = entry.map_err(|diagnostic| stop(session, vec![*diagnostic]))?;
    let file = target.file.display();
    match what(&entry) {
        What::Train if !full => Err(Stop::Usage(format!(
            "`{name}` is a train block: nnc test {file}:{name} --full trains it and compares, nnc train {file}:{name} trains it"
        ))),
        What::Train if !expects(&entry) => {
            Err(Stop::Usage(format!("`{name}` expects nothing: nnc train {file}:{name} trains it")))
        }
        _ => Ok(name_of(&entry)),
    }
}

impl Chosen {
    /// How many of its blocks train.
    fn trainings(&self) -> usize {
        let items = self.session.items().into_iter().map(|(_, entry)| entry);
        items.filter(|entry| expects(entry) && self.blocks.contains(&name_of(entry))).count()
    }
}

impl Report {
    /// The blocks of a program, where it has no errors.
    fn checked(
        &mut self,
        session: &mut Session,
        blocks: &[(Name, Span)],
        settings: &Settings,
        console: &Console,
    ) -> Option<Vec<Checked>> {
        if session.has_errors() {
            self.stopped(stop(session, session.diagnostics.clone()), console);
            return None;
        }
        let check = session.check(settings, &|entry| blocks.contains(&name_of(entry)));
        if !check.ok() {
            self.stopped(stop(session, check.diagnostics), console);
            return None;
        }
        Some(check.items)
    }

    /// A test block that was run.
    fn test(
        &mut self,
        session: &Session,
        item: &Checked,
        failures: &[Failure],
        each: bool,
        console: &mut Console,
    ) {
        self.tests += 1;
        self.failed += usize::from(!failures.is_empty());
        let at = session.sources.start(item.span);
        let file = session.sources.name(item.span.file);
        if console.json {
            self.shown.push(json!({
                "name": item.name.as_str(),
                "file": file,
                "line": at.line,
                "ok": failures.is_empty(),
                "failures": failures.iter().map(Failure::json).collect::<Vec<Value>>(),
            }));
            return;
        }
        if each || !failures.is_empty() {
            let verdict = if failures.is_empty() { "ok  " } else { "FAIL" };
            console.say(format!("{verdict}  {}  ({file}:{})", item.name, at.line));
        }
        for failure in failures {
            console.say(format!("      {file}:{failure}"));
        }
    }

    /// What could not be run, and why.
    fn stopped(&mut self, stop: Stop, console: &Console) {
        self.broken += 1;
        let code = match stop {
            Stop::Diagnostics(sources, diagnostics) => {
                if console.json {
                    let all = diagnostics.iter().map(|one| diag::json::diagnostic(&sources, one));
                    self.diagnostics.extend(all);
                } else {
                    console.show(&sources, &diagnostics);
                }
                diag::exit_code(&diagnostics)
            }
            Stop::Usage(message) => {
                console.complain(&format!("error: {message}"));
                2
            }
        };
        if self.code == 0 {
            self.code = code;
        }
    }

    fn missed(&self) -> usize {
        self.rows.iter().filter(|row| !row.holds()).count()
    }

    fn code(&self) -> u8 {
        match self.code {
            0 => u8::from(self.failed + self.missed() > 0),
            code => code,
        }
    }

    /// The table and the counts at the end; `seeds` where there were to be trainings.
    fn show(&self, seeds: Option<Range<u64>>, console: &mut Console) {
        if console.json {
            let bars: Vec<Value> = self.rows.iter().map(Row::json).collect();
            console.json(&json!({
                "ok": self.code() == 0,
                "broken": self.broken,
                "tests": self.shown,
                "expected": bars,
                "diagnostics": self.diagnostics,
            }));
            return;
        }
        if let Some(seeds) = seeds.filter(|_| !self.rows.is_empty()) {
            console.print(&full::table(&self.rows, seeds));
        }
        if self.tests > 0 || self.broken == 0 {
            console.say(format!("{} tests, {} failed", self.tests, self.failed));
        }
        if !self.rows.is_empty() {
            console.say(format!(
                "{} expectations of trainings, {} not reached",
                self.rows.len(),
                self.missed()
            ));
        }
        if self.broken > 0 {
            console.say(format!("{} not run, or not to the end, because of errors", self.broken));
        }
    }
}
