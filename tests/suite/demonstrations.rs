//! The demonstrations under examples/: each program's test blocks hold, and each train block that expects something takes its first
//! steps. Whether they reach what they expect is shown by `nnc test examples --full`, which takes an hour; `tests/zoo/seen.json` keeps
//! what it came to.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::command::nnc;
use crate::zoo::files;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the course's notes claim, and the program that shows it.
const CLAIMS: [(&str, &str); 33] = [
    (
        "a perceptron's mistakes end where a plane separates the classes, and nowhere else",
        "training/perceptron.nn",
    ),
    ("a hidden layer solves XOR", "training/xor.nn"),
    ("sigmoids make gradients vanish, relus keep them", "training/vanishing.nn"),
    ("a dead relu stays dead", "training/vanishing.nn"),
    ("batch norm lets deep sigmoids learn", "training/batch_norm.nn"),
    ("a way past lets depth train", "vision/depth.nn"),
    ("dropout has two scalings, which do the same", "training/dropout.nn"),
    ("other images of the same thing, in training and when asked", "training/augmentation.nn"),
    ("an ensemble is better than its members", "training/ensemble.nn"),
    ("averaged weights are better than the last ones", "training/averaging.nn"),
    ("half of the weights can go, by optimal brain damage", "training/brain_damage.nn"),
    ("small networks, each on what the others left (tiling)", "training/tiling.nn"),
    ("checkpointing takes time for memory", "training/checkpointing.nn"),
    ("ten times as deep in the memory of activations", "training/deeper.nn"),
    ("a receptive field, by derivatives and by the certificate", "sequences/wavenet_writes.nn"),
    ("occlusion and activation pictures", "vision/pictures.nn"),
    ("memory cells keep what plain recurrent networks forget", "sequences/gunpoint_cells.nn"),
    ("attention is a graph layer: the same numbers", "graphs/layers_as_graphs.nn"),
    ("a convolution is a graph layer: the same numbers", "graphs/layers_as_graphs.nn"),
    ("Deep Sets do not see an order, for every number of entries", "graphs/set_sums.nn"),
    ("three flavours of graph layers", "graphs/molecules.nn"),
    ("vectors of nodes from walks and edges alone", "graphs/node_embeddings.nn"),
    ("two graphs that no message passing tells apart, and a position that does", "graphs/limits.nn"),
    ("a ring's waves are Fourier's", "graphs/spectrum.nn"),
    ("beliefs spread by messages", "graphs/belief_propagation.nn"),
    ("coordinates break the theorem of translations, and find places", "vision/coordinates.nn"),
    ("transposed convolutions, and pooling that adapts", "vision/sizes.nn"),
    ("a radiance field shows a scene from sides that it was not shown", "fields/two_balls.nn"),
    ("sines represent a photograph and its derivatives", "fields/photograph.nn"),
    ("a small architecture search", "vision/search.nn"),
    ("from words to pictures by a prior and a decoder", "generative/spoken_digits.nn"),
    ("what a model of characters must beat", "language/ngrams.nn"),
    ("derivatives are cut where a text is, and the state goes on", "language/truncated.nn"),
];

/// The claims with their programs and the commands that the programs name.
pub fn claims() -> String {
    let mut text = String::from(
        "\n## Claims, shown\n\nWhat the notes of a course say of neural networks, and what to run to see it.\n\n\
         | claim | program | commands |\n|---|---|---|\n",
    );
    for (claim, file) in CLAIMS {
        let program = fs::read_to_string(root().join("examples").join(file)).unwrap();
        let head = program.lines().map_while(|line| line.strip_prefix("///"));
        let commands: Vec<String> = head
            .filter_map(|line| line.strip_prefix("     nnc "))
            .map(|command| format!("`nnc {command}`"))
            .collect();
        assert!(!commands.is_empty(), "{file} names no command");
        assert!(commands.iter().all(|command| command.contains(file)), "{file} tells to run {commands:?}");
        let _ = writeln!(text, "| {claim} | [{file}]({file}) | {} |", commands.join("<br>"));
    }
    text
}

/// What a train block expects, as it is written.
struct Block {
    /// `vision/digits.nn`
    file: String,
    name: String,
    expects: Vec<String>,
}

/// Those that expect something.
fn blocks() -> Vec<Block> {
    let mut all = all_blocks();
    all.retain(|block| !block.expects.is_empty());
    all
}

fn all_blocks() -> Vec<Block> {
    let mut all: Vec<Block> = Vec::new();
    for program in files() {
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
    all
}

/// What each clause came to, by block and clause: a line for each seed.
fn seen() -> Value {
    serde_json::from_str(&fs::read_to_string(root().join("tests/zoo/seen.json")).unwrap()).unwrap()
}

/// A table of what is expected and of what it came to, for `examples/README.md`.
pub fn table() -> String {
    let mut text = String::from(
        "\n## Demonstrations\n\n\
         What each training is to reach, and what it came to: figures by seed (with the bar, where that is measured, too). \
         `nnc test examples --full` trains them all, with three seeds, and prints such a table; `--seeds 1 --seed 7` takes one, and programs \
         and blocks can be named. `nnc test examples` runs those that are no trainings: they are the test blocks of the programs.\n\n\
         | training | expected | came to |\n|---|---|---|\n",
    );
    let seen = seen();
    for Block { file, name, expects } in blocks() {
        for expected in expects {
            let figures = seen[format!("{file}:{name}")][&expected].as_object();
            let figures = figures
                .into_iter()
                .flatten()
                .map(|(seed, figure)| format!("{} ({seed})", figure.as_str().unwrap()));
            let figures: Vec<String> = figures.collect();
            let _ = writeln!(text, "| [{file}]({file}):`{name}` | `{expected}` | {} |", figures.join(", "));
        }
    }
    text
}

/// What is kept was seen of the clauses that stand there now.
#[test]
fn what_was_seen_is_what_is_expected() {
    let blocks = blocks();
    for (name, clauses) in seen().as_object().unwrap() {
        let block = blocks.iter().find(|block| format!("{}:{}", block.file, block.name) == *name);
        let block = block.unwrap_or_else(|| panic!("{name} expects nothing any more"));
        for clause in clauses.as_object().unwrap().keys() {
            assert!(block.expects.contains(clause), "{name} does not expect {clause} any more");
        }
    }
}

#[test]
fn what_the_programs_assert_holds() {
    let ran = nnc(root(), &["test", "examples"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

/// The most memory that a step takes at once.
#[test]
fn checkpointing_takes_a_third_of_the_memory() {
    let peak = |block: &str| {
        let target = format!("examples/training/checkpointing.nn:{block}");
        let ran = nnc(root(), &["compile", &target, "--train", "--summary", "--json"]);
        let summary: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}", ran.err));
        summary["memory"]["peak"]["value"].as_u64().unwrap()
    };
    let (kept, again) = (peak("all_kept"), peak("computed_again"));
    assert!(3 * again <= kept, "{again} of {kept} bytes");
}

#[test]
fn every_training_takes_its_first_steps() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let mut wrong = String::new();
    for Block { file, name, expects } in all_blocks() {
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
