//! The demonstrations under examples/: each program's test blocks hold, and each train block that expects something takes its first
//! steps. Whether they reach what they expect is shown by `nnc test examples --full`, which takes an hour.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::command::nnc;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All programs of the topics.
fn programs() -> Vec<PathBuf> {
    let folders = fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.filter(|path| path.is_dir()).flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "nn"));
    files.sort();
    files
}

/// What a train block expects, as it is written.
struct Block {
    /// `vision/digits.nn`
    file: String,
    name: String,
    expects: Vec<String>,
}

fn blocks() -> Vec<Block> {
    let mut all: Vec<Block> = Vec::new();
    for program in programs() {
        let file = program.strip_prefix(root().join("examples")).unwrap().display().to_string();
        for line in fs::read_to_string(&program).unwrap().lines() {
            if let Some(rest) = line.strip_prefix("train ") {
                let name = rest.split(['(', ' ']).next().unwrap_or_default().to_owned();
                all.push(Block { file: file.clone(), name, expects: Vec::new() });
            } else if let (Some(expected), Some(block)) =
                (line.trim_start().strip_prefix("expect "), all.last_mut())
            {
                block.expects.push(expected.trim().to_owned());
            }
        }
    }
    all.retain(|block| !block.expects.is_empty());
    all
}

/// A table of what is expected, for `examples/README.md`.
pub fn table() -> String {
    let mut text = String::from(
        "\n## Demonstrations\n\n\
         What each training is to reach; `nnc test examples --full` trains them all, with three seeds, and \
         prints the figures. `nnc test examples` runs those that are no trainings: they are the test blocks of the programs.\n\n\
         | program | training | expected |\n|---|---|---|\n",
    );
    for block in blocks() {
        let expects: Vec<String> = block.expects.iter().map(|expect| format!("`{expect}`")).collect();
        let _ = writeln!(
            text,
            "| [{file}]({file}) | `{}` | {} |",
            block.name,
            expects.join(", "),
            file = block.file
        );
    }
    text
}

#[test]
fn what_the_programs_assert_holds() {
    let ran = nnc(root(), &["test", "examples"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

#[test]
fn every_training_takes_its_first_steps() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let mut wrong = String::new();
    for Block { file, name, expects } in blocks() {
        let target = format!("examples/{file}:{name}");
        let ran = nnc(root(), &["train", &target, "--steps", "2", "--out", out, "--json"]);
        let result: Value = serde_json::from_str(&ran.out).unwrap_or_default();
        let shown = result["expected"].as_array().map_or(0, Vec::len);
        if ran.code != 0 || shown != expects.len() {
            let _ = writeln!(wrong, "{target}: {}{}", ran.out, ran.err);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
