//! The programs under examples/: each states in a doc comment what it is proved to be, an architecture also what it owns and computes,
//! and all of it is measured here. `examples/README.md` is the table of what they state.
//!
//! ```text
//! /// LeNet-5 (LeCun et al. 1998): two sentences.
//! ///
//! ///     nnc compile examples/vision/lenet5.nn:lenet5_1998 --summary
//! ///     60,000 parameters, 325,680 multiply-adds
//! ///     published: 60,000 (LeCun et al. 1998)
//! ///     proved of maps: H, W translation-equivariant (stride 4, field 0..15)
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use nnc::formats::npz;
use nnc::tensor::Tensor;
use serde_json::Value;

use crate::command::nnc;

/// A page and a half.
const LINES: usize = 110;

/// What a doc comment states of one model and one choice of its sizes; of a demonstration, only what is proved.
#[derive(Debug)]
struct Stated {
    file: PathBuf,
    /// `LeNet-5`, and the year of its paper.
    system: String,
    year: String,
    command: String,
    /// Empty for a demonstration.
    figures: String,
    published: String,
    /// What is proved, of the model itself (an empty name) or of a part.
    proved: Vec<(String, String)>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All programs under examples/, in their order.
pub fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("examples")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "nn") {
                files.push(path);
            }
        }
    }
    // Those that are in no folder come first, as they do for a reader.
    files.sort_by_key(|path| (path.components().count(), path.clone()));
    files
}

/// Every command with what is stated below it, in the order of the files.
fn stated() -> Vec<Stated> {
    let mut all: Vec<Stated> = Vec::new();
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let relative = file.strip_prefix(root()).unwrap().to_owned();
        let (mut system, mut year) = (String::new(), String::new());
        // Whether a paragraph begins: its first line names a system.
        let mut fresh = true;
        for line in text.lines() {
            let doc = line.strip_prefix("///").unwrap_or("");
            let line = doc.trim();
            if fresh && !line.is_empty() && !doc.starts_with("     ") {
                (system, year) = heading(line);
            }
            fresh = line.is_empty();
            if line.starts_with("nnc ") && doc.starts_with("     ") {
                all.push(Stated {
                    file: relative.clone(),
                    system: system.clone(),
                    year: year.clone(),
                    command: line.to_owned(),
                    figures: String::new(),
                    published: String::new(),
                    proved: Vec::new(),
                });
            }
            let Some(last) = all.last_mut().filter(|last| last.file == relative) else { continue };
            if let Some((_, rest)) = line.split_once(" parameters").filter(|_| doc.starts_with("     ")) {
                assert!(rest.is_empty() || rest.starts_with(", "), "{}: {line}", file.display());
                last.figures = line.to_owned();
            } else if let Some(published) = line.strip_prefix("published: ") {
                last.published = published.to_owned();
            } else if let Some(proved) = line.strip_prefix("proved: ") {
                last.proved.push((String::new(), proved.to_owned()));
            } else if let Some((part, proved)) =
                line.strip_prefix("proved of ").and_then(|rest| rest.split_once(": "))
            {
                last.proved.push((part.to_owned(), proved.to_owned()));
            }
        }
    }
    all
}

/// `LeNet-5 (LeCun et al. 1998): …`
fn heading(line: &str) -> (String, String) {
    let Some((system, rest)) = line.split_once(" (") else { return (line.to_owned(), String::new()) };
    let paper = rest.split(')').next().unwrap_or("");
    (system.to_owned(), paper.rsplit(' ').next().unwrap_or("").to_owned())
}

impl Stated {
    fn arguments(&self) -> Vec<&str> {
        self.command.split_whitespace().skip(1).collect()
    }

    /// Puts what is proved in the place of what was stated.
    fn rewrite(&self, part: &str, proved: &str, found: &str) {
        let path = root().join(&self.file);
        let text = fs::read_to_string(&path).unwrap();
        let head = if part.is_empty() { "proved".to_owned() } else { format!("proved of {part}") };
        let (before, after) = text.split_once(&format!("{}\n", self.command)).unwrap();
        let after = after.replacen(&format!("{head}: {proved}\n"), &format!("{head}: {found}\n"), 1);
        fs::write(&path, format!("{before}{}\n{after}", self.command)).unwrap();
    }

    /// The model that the command names; without a name it is the only one of the file.
    fn model(&self) -> Option<&str> {
        self.arguments()[1].split_once(".nn:").map(|(_, model)| model)
    }

    /// Whether it states what a model owns and computes.
    fn is_architecture(&self) -> bool {
        self.command.contains("--summary") && !self.command.contains("--train")
    }
}

/// 61706 -> 61,706; an expression as it is, its numbers likewise.
fn grouped(text: &str) -> String {
    let mut out = String::new();
    let digits: Vec<char> = text.chars().collect();
    for (index, &c) in digits.iter().enumerate() {
        out.push(c);
        let rest = digits[index + 1..].iter().take_while(|c| c.is_ascii_digit()).count();
        if c.is_ascii_digit() && rest > 0 && rest % 3 == 0 {
            out.push(',');
        }
    }
    out
}

fn number(value: &Value) -> String {
    grouped(&value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn json(arguments: &[&str]) -> Value {
    let ran = nnc(root(), arguments);
    assert_eq!(ran.code, 0, "nnc {}:\n{}{}", arguments.join(" "), ran.out, ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn figures_are_as_stated() {
    let mut wrong = String::new();
    for stated in stated().into_iter().filter(Stated::is_architecture) {
        let mut arguments = stated.arguments();
        arguments.push("--json");
        let summary = json(&arguments);
        let (parameters, macs) = (number(&summary["parameters"]), number(&summary["macs"]));
        let full = format!("{parameters} parameters, {macs} multiply-adds");
        if stated.figures != full && stated.figures != format!("{parameters} parameters") {
            let _ = writeln!(wrong, "{}\n  states   {}\n  measured {full}", stated.command, stated.figures);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn certificates_are_as_stated() {
    let mut wrong = String::new();
    let mut items: BTreeMap<PathBuf, Value> = BTreeMap::new();
    for stated in stated().iter().filter(|stated| stated.is_architecture() || !stated.proved.is_empty()) {
        let check = items
            .entry(stated.file.clone())
            .or_insert_with(|| json(&["check", "--json", stated.file.to_str().unwrap()]));
        let silent = stated.is_architecture() && stated.proved.is_empty();
        assert!(!silent, "{}: nothing is said of what is proved", stated.command);
        for (part, proved) in &stated.proved {
            let name = if part.is_empty() { stated.model() } else { Some(part.as_str()) };
            let mut listed = check["items"].as_array().unwrap().iter();
            let item = listed
                .find(|item| name.map_or(item["kind"] == "model", |name| item["name"] == name))
                .unwrap_or_else(|| panic!("{}: nothing is called {name:?}", stated.file.display()));
            let found = certificate(item);
            if *proved != found && std::env::var_os("NNC_BLESS").is_some() {
                stated.rewrite(part, proved, &found);
            } else if *proved != found {
                let _ = writeln!(wrong, "{} {part}\n  states {proved}\n  proved {found}", stated.command);
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{wrong}NNC_BLESS=1 cargo test --release --test main zoo writes what is proved"
    );
}

/// `T causal; H, W translation-equivariant (stride 32, field -64..130)`
fn certificate(item: &Value) -> String {
    let mut parts: Vec<(String, Vec<&str>)> = Vec::new();
    for axis in item["axes"].as_array().unwrap() {
        let text = promised(axis);
        if text.is_empty() {
            continue;
        }
        let name = axis["name"].as_str().unwrap();
        match parts.iter_mut().find(|(other, _)| *other == text) {
            Some((_, names)) => names.push(name),
            None => parts.push((text, vec![name])),
        }
    }
    let parts: Vec<String> =
        parts.iter().map(|(text, names)| format!("{} {text}", names.join(", "))).collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join("; ") }
}

/// What is proved of one axis, without what follows from it.
fn promised(axis: &Value) -> String {
    let list = |key: &str| -> Vec<&str> {
        axis[key].as_array().unwrap().iter().map(|property| property.as_str().unwrap()).collect()
    };
    let (holds, inference) = (list("holds"), list("holds_at_inference"));
    let starting = |start: &str| holds.iter().find(|property| property.starts_with(start)).copied();
    let mut found = Vec::new();
    if holds.contains(&"pointwise") {
        found.push("pointwise".to_owned());
    } else if let Some(property) = starting("permutation") {
        found.push(property.to_owned());
    } else {
        found.extend(starting("causal").map(str::to_owned));
        let motion = starting("shift").or(starting("translation"));
        found.extend(motion.map(|property| {
            let number = |key: &str| axis[key].as_i64().filter(|&number| number != 1);
            let mut details = Vec::new();
            match (number("stride"), number("period")) {
                (Some(stride), _) => details.push(format!("stride {stride}")),
                (None, Some(period)) => details.push(format!("period {period}")),
                (None, None) => {}
            }
            if let Some(field) = axis["field"].as_array() {
                let end =
                    |index: usize| field[index].as_str().map_or(field[index].to_string(), str::to_owned);
                details.push(format!("field {}..{}", end(0), end(1)));
            }
            if details.is_empty() {
                property.to_owned()
            } else {
                format!("{property} ({})", details.join(", "))
            }
        }));
    }
    if inference.contains(&"pointwise") && !holds.contains(&"pointwise") {
        found.push("pointwise at inference".to_owned());
    }
    found.join(", ")
}

#[test]
fn every_program_is_formatted_and_a_page_and_a_half() {
    let mut wrong = String::new();
    for file in files() {
        let ran = nnc(root(), &["fmt", "--check", file.to_str().unwrap()]);
        if ran.code != 0 {
            let _ = writeln!(wrong, "{}{}", ran.out, ran.err);
        }
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        if lines > LINES {
            let _ = writeln!(wrong, "{} has {lines} lines", file.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A reader who opens a program finds a source, two sentences, a command that names it, and what is proved.
#[test]
fn every_program_says_what_it_is() {
    let mut wrong = String::new();
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let doc: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("///")).collect();
        let (commands, prose): (Vec<&str>, Vec<&str>) =
            doc.iter().partition(|line| line.starts_with("     "));
        let prose = prose.join(" ");
        // Of `(Hochreiter 1991)`, `Xu et al. 2018`.
        let words: Vec<&str> = prose.split([' ', '(', ')', ',', ';', ':', '.']).collect();
        let is_year =
            |word: &str| word.len() == 4 && word.parse().is_ok_and(|year| (1700..2100).contains(&year));
        let ends = prose.split_whitespace().filter(|word| {
            word.ends_with(['.', '?'])
                && !["al.", "vs.", "e.g.", "i.e."].contains(word)
                && !word.contains(":")
        });
        let file = file.strip_prefix(root()).unwrap().display().to_string();
        let lacks = [
            ("a source with its year", words.iter().any(|word| is_year(word))),
            ("a second sentence", ends.count() + prose.matches(": ").count() >= 2),
            (
                "a command",
                commands.iter().any(|line| line.trim().starts_with("nnc ") && line.contains(&file)),
            ),
            (
                "what is proved",
                ["proved", "certificate"].iter().any(|word| doc.iter().any(|line| line.contains(word))),
            ),
        ];
        for (what, _) in lacks.iter().filter(|(_, there)| !there) {
            let _ = writeln!(wrong, "{file} begins without {what}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// One architecture of each family.
struct Family {
    name: &'static str,
    /// What its input lies on, and the symmetries that this asks for (Bronstein et al. 2021).
    domain: &'static str,
    asks: &'static str,
    /// The definition whose certificate speaks for it, and the axes of its domain; the others are features or samples.
    file: &'static str,
    definition: &'static str,
    axes: &'static [&'static str],
}

const fn family(
    name: &'static str,
    [domain, asks]: [&'static str; 2],
    [file, definition]: [&'static str; 2],
    axes: &'static [&'static str],
) -> Family {
    Family { name, domain, asks, file, definition, axes }
}

const IMAGES: [&str; 2] = ["grid", "translations"];
const PLACES: &[&str] = &["H", "W"];
const MOMENTS: &[&str] = &["T"];
const POINTS: [&str; 2] = ["set", "permutations"];
const NODES: [&str; 2] = ["graph", "permutations"];
const NODES_AND_EDGES: &[&str] = &["N", "E"];

const FAMILIES: [Family; 18] = [
    family("multilayer perceptron", ["numbers", "nothing"], ["vision/mlp.nn", "perceptron"], &[]),
    family("convolutions of LeNet-5", IMAGES, ["vision/lenet5.nn", "maps"], PLACES),
    family("convolutions of AlexNet", IMAGES, ["vision/alexnet.nn", "features"], PLACES),
    family("U-Net with padding", IMAGES, ["vision/unet.nn", "unet_padded"], PLACES),
    family("residual network, its mean place at the end", IMAGES, ["vision/resnet.nn", "resnet50"], PLACES),
    family("convolutions, then layers that see all", IMAGES, ["vision/lenet5.nn", "lenet5"], PLACES),
    family("convolutions that are told their place", IMAGES, ["vision/coordinates.nn", "located"], PLACES),
    family("vision transformer, with positions", IMAGES, ["vision/vit.nn", "vit"], PLACES),
    family("recurrent network", ["time", "causality"], ["sequences/recurrent.nn", "lstm_states"], MOMENTS),
    family(
        "dilated causal convolutions",
        ["time", "causality, translations"],
        ["sequences/wavenet.nn", "wavenet"],
        MOMENTS,
    ),
    family("transformer's decoder", ["time", "causality"], ["language/gpt2.nn", "gpt2"], MOMENTS),
    family(
        "transformer's encoder, with positions",
        ["words", "nothing"],
        ["language/bert.nn", "bert"],
        MOMENTS,
    ),
    family("sum over a set", POINTS, ["graphs/deep_sets.nn", "deep_sets"], &["N"]),
    family("maximum over points", POINTS, ["graphs/pointnet.nn", "pointnet_vanilla"], &["N"]),
    family("graph convolution", NODES, ["graphs/citations.nn", "gcn_cora"], NODES_AND_EDGES),
    family("graph attention", NODES, ["graphs/citations.nn", "gat_cora"], NODES_AND_EDGES),
    family(
        "a transformer's attention, as a layer of a graph",
        NODES,
        ["graphs/layers_as_graphs.nn", "graph_attention"],
        NODES_AND_EDGES,
    ),
    family("belief propagation", NODES, ["graphs/belief_propagation.nn", "beliefs"], NODES_AND_EDGES),
];

#[test]
fn the_table_is_up_to_date() {
    let path = root().join("examples/README.md");
    let text = readme();
    if std::env::var_os("NNC_BLESS").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    let old = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        old == text,
        "examples/README.md is out of date; NNC_BLESS=1 cargo test --release --test main zoo writes it"
    );
}

fn readme() -> String {
    let mut text = String::from(
        "# Examples\n\n\
         Generated from the programs by `tests/suite/zoo.rs`, which also measures what they state.\n\n\
         ## Architectures\n\n\
         Parameters and multiply-adds (products in convolutions and matrix products, for one sample unless `--dim B` says otherwise) are \
         counted from shapes: nothing is allocated, so `nnc compile … --summary` takes less than a second for 540 billion parameters, \
         too. What is proved holds for every input and all weights.\n\n\
         | system | file | year | parameters | published | multiply-adds | proved | command |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for stated in stated().iter().filter(|stated| stated.is_architecture()) {
        let (parameters, macs) =
            stated.figures.split_once(" parameters").unwrap_or((stated.figures.as_str(), ""));
        let macs = macs.trim_start_matches(", ").trim_end_matches(" multiply-adds");
        let file = stated.file.strip_prefix("examples").unwrap().display().to_string();
        let proved: Vec<String> = stated
            .proved
            .iter()
            .map(|(part, proved)| if part.is_empty() { proved.clone() } else { format!("{part}: {proved}") })
            .collect();
        let or_dash = |text: &str| if text.is_empty() { "–".to_owned() } else { text.to_owned() };
        let cells = [
            stated.system.clone(),
            format!("[{file}]({file})"),
            stated.year.clone(),
            parameters.to_owned(),
            or_dash(&stated.published),
            or_dash(macs),
            proved.join("; "),
            format!("`{}`", stated.command),
        ];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text.push_str(
        "\n## Equal to PyTorch\n\n\
         The same weights and the same input give the same numbers: the largest difference, divided by the largest number. \
         `tests/zoo/equal.py` has measured it, with the time and memory of `nnc run` from reading the weights to writing the \
         output, of an unoptimised build of nnc on two busy cores.\n\n\
         | system | difference | seconds | gigabytes |\n\
         |---|---|---|---|\n",
    );
    let equal = fs::read_to_string(root().join("tests/zoo/equal.json")).unwrap();
    let equal: Value = serde_json::from_str(&equal).unwrap();
    for (system, row) in equal.as_object().unwrap() {
        let difference = row["difference"].as_str().unwrap();
        let _ = writeln!(text, "| {system} | {difference} | {} | {} |", row["seconds"], row["gigabytes"]);
    }
    text.push_str(
        "\n## Families side by side\n\n\
         What the input lies on asks for something (Bronstein et al. 2021): what a grid shows is the same elsewhere, a set has no order, \
         the nodes of a graph no numbers, and what comes later in time is not known yet. What a family builds in, it need not learn; where \
         there is a dash, it must. The last five columns are not told but proved, by `nnc check examples/PROGRAM`, for all weights and \
         inputs. Where the input moves, by any multiple of the stated number of entries, the output moves along (equivariant) or does not \
         change (invariant), as long as nothing crosses a border; the receptive field is how many entries an entry of the output may \
         depend on. A permutation of nodes (N) takes the edges that join them along; the order in which edges are listed (E) is a matter of \
         its own. Causal: an entry depends on those up to its own moment.\n\n\
         | family | lies on | which asks for | program | translations | by multiples of | receptive field | permutations | causal |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for Family { name, domain, asks, file, definition, axes } in FAMILIES {
        let check = json(&["check", "--json", &format!("examples/{file}")]);
        let item = check["items"].as_array().unwrap().iter().find(|item| item["name"] == definition);
        let [translations, periods, fields, permutations, causal] = columns(item.unwrap(), axes);
        let _ = writeln!(
            text,
            "| {name} | {domain} | {asks} | [{definition}]({file}) | {translations} | {periods} | {fields} | {permutations} | {causal} |"
        );
    }
    text.push_str(&crate::demonstrations::claims());
    text.push_str(&crate::demonstrations::table());
    text
}

/// Translations, their period, receptive field, permutations and causality along some axes of a definition.
fn columns(item: &Value, wanted: &[&str]) -> [String; 5] {
    let mut columns: [Vec<(String, &str)>; 5] = Default::default();
    for axis in item["axes"].as_array().unwrap() {
        let name = axis["name"].as_str().unwrap();
        if !wanted.contains(&name) {
            continue;
        }
        let holds = |word: &str| axis["holds"].as_array().unwrap().iter().any(|property| property == word);
        let permutes = ["invariant", "equivariant"].iter().any(|kind| holds(&format!("permutation-{kind}")));
        let mut tell = |column: usize, text: String| columns[column].push((text, name));
        for kind in ["invariant", "equivariant"] {
            // Whoever may be permuted may be moved.
            if holds(&format!("translation-{kind}")) && !permutes {
                tell(0, kind.to_owned());
                tell(1, axis["period"].to_string());
                if let Some(field) = axis["field"].as_array() {
                    let ends: Vec<f64> = field.iter().map(|end| end.as_f64().unwrap_or(f64::NAN)).collect();
                    tell(2, (ends[1] - ends[0] + 1.0).to_string());
                }
            }
            if holds(&format!("permutation-{kind}")) {
                tell(3, kind.to_owned());
            }
        }
        if holds("causal") {
            tell(4, "yes".to_owned());
        }
    }
    columns.map(|told| {
        let mut grouped: Vec<(String, Vec<&str>)> = Vec::new();
        for (text, name) in told {
            match grouped.iter_mut().find(|(other, _)| *other == text) {
                Some((_, names)) => names.push(name),
                None => grouped.push((text, vec![name])),
            }
        }
        let shown: Vec<String> =
            grouped.iter().map(|(text, names)| format!("{text} ({})", names.join(", "))).collect();
        if shown.is_empty() { "–".to_owned() } else { shown.join(", ") }
    })
}

/// A model at a size at which a step of training is cheap: its file, the call, what it reads (`i` a position below a bound), and a
/// pattern of letters for what it gives. Whatever it gives is pushed towards 0.
type Small = (&'static str, &'static str, &'static [Reads], &'static str);

/// A name, sizes, and for positions how many there are.
type Reads = (&'static str, &'static [usize], usize);

const IMAGE: &[Reads] = &[("x", &[32, 32, 3], 0)];
const WORDS: &[Reads] = &[("i", &[12], 50)];
const SCENE: &[Reads] = &[("x", &[64, 64, 3], 0), ("boxes", &[3, 4], 0)];

const SMALL: &[Small] = &[
    ("vision/mlp.nn", "perceptron(hidden: 16)", &[("x", &[784], 0)], "a"),
    ("vision/lenet5.nn", "lenet5_1998()", &[("x", &[32, 32, 1], 0)], "a"),
    ("vision/lenet5.nn", "lenet5()", &[("x", &[32, 32, 1], 0)], "a"),
    ("vision/alexnet.nn", "alexnet_2012(width: 6, hidden: 16, size: 67)", &[("x", &[67, 67, 3], 0)], "a"),
    ("vision/alexnet.nn", "zfnet(width: 6, hidden: 16, size: 64)", &[("x", &[64, 64, 3], 0)], "a"),
    ("vision/vgg.nn", "vgg16(width: 4, hidden: 16, size: 32)", IMAGE, "a"),
    ("vision/resnet.nn", "resnet18(width: 4)", IMAGE, "a"),
    ("vision/resnet.nn", "resnet50(width: 4)", IMAGE, "a"),
    ("vision/densenet.nn", "densenet121(growth: 2)", IMAGE, "a"),
    ("vision/unet.nn", "unet(width: 2, size: 188)", &[("x", &[188, 188, 1], 0)], "a"),
    ("vision/segnet.nn", "segnet(width: 2, H: 36, W: 48)", &[("x", &[36, 48, 3], 0)], "a"),
    ("vision/stn.nn", "stn()", &[("x", &[28, 28, 1], 0)], "a"),
    ("vision/vit.nn", "vit(D: 16, heads: 2, L: 2, patch: 8, size: 32)", IMAGE, "a"),
    ("vision/detection.nn", "rpn(C: 16)", &[("x", &[6, 6, 16], 0)], "(a, b)"),
    (
        "vision/detection.nn",
        "fast_rcnn(width: 4, hidden: 16)",
        &[("x", &[64, 64, 3], 0), ("boxes", &[3, 4], 0)],
        "(a, b)",
    ),
    (
        "vision/pixelnet.nn",
        "pixelnet(width: 4, hidden: 16, size: 32)",
        &[("x", &[32, 32, 3], 0), ("pixels", &[7, 2], 0)],
        "a",
    ),
    ("vision/darts.nn", "darts(C: 4)", &[("x", &[16, 16, 3], 0)], "a"),
    (
        "language/transformer.nn",
        "transformer(V: 50, D: 16, heads: 2, hidden: 32, L: 2)",
        &[("i", &[9], 50), ("j", &[7], 50)],
        "a",
    ),
    ("language/gpt2.nn", "gpt2(V: 50, D: 16, heads: 2, L: 2, longest: 16)", WORDS, "a"),
    (
        "language/bert.nn",
        "bert(V: 50, D: 16, heads: 2, L: 2, longest: 16)",
        &[("i", &[12], 50), ("j", &[12], 2)],
        "(a, b)",
    ),
    ("language/palm.nn", "palm(V: 50, D: 16, heads: 2, L: 2)", WORDS, "a"),
    ("language/captions.nn", "captions(V: 50, H: 8, I: 6)", &[("x", &[6], 0), ("i", &[12], 50)], "a"),
    ("language/captions.nn", "neuraltalk2(V: 50, H: 8, I: 6)", &[("x", &[6], 0), ("i", &[12], 50)], "a"),
    ("sequences/recurrent.nn", "rnn_states(H: 8, I: 3)", &[("x", &[12, 3], 0)], "a"),
    ("sequences/recurrent.nn", "lstm_states(H: 8, I: 3)", &[("x", &[12, 3], 0)], "a"),
    ("sequences/recurrent.nn", "gru_states(H: 8, I: 3)", &[("x", &[12, 3], 0)], "a"),
    ("sequences/wavenet.nn", "wavenet(R: 4, S: 8)", &[("i", &[40], 256)], "a"),
    ("graphs/deep_sets.nn", "deep_sets()", &[("x", &[9, 3], 0)], "a"),
    ("graphs/pointnet.nn", "pointnet_vanilla()", &[("x", &[9, 3], 0)], "a"),
    (
        "graphs/citations.nn",
        "gcn_cora(words: 5)",
        &[("x", &[6, 5], 0), ("i", &[14], 6), ("j", &[14], 6)],
        "a",
    ),
    (
        "graphs/citations.nn",
        "gat_cora(words: 5)",
        &[("x", &[6, 5], 0), ("i", &[14], 6), ("j", &[14], 6)],
        "a",
    ),
    ("fields/nerf.nn", "nerf(H: 16)", &[("x", &[3], 0), ("d", &[3], 0)], "(a, b)"),
    ("fields/siren.nn", "siren(H: 16)", &[("x", &[2], 0)], "a"),
    (
        "generative/clip.nn",
        "clip(V: 50, T: 6, D: 64, L: 1, wide: 64, patch: 4, size: 8)",
        &[("x", &[2, 8, 8, 3], 0), ("i", &[2, 6], 50)],
        "a",
    ),
    ("generative/ddpm.nn", "ddpm(C: 32, size: 8)", &[("x", &[8, 8, 3], 0), ("t", &[], 0)], "a"),
    ("vision/mask_rcnn.nn", "faster_rcnn(classes: 5)", SCENE, "(a, b, (p, q, r, s))"),
    ("vision/mobilenet.nn", "faster_rcnn_mobile(classes: 5)", SCENE, "(a, b, (p, q))"),
];

/// Those whose widths are fixed by tables: some seconds each.
const LARGE: &[Small] = &[
    ("vision/mask_rcnn.nn", "mask_rcnn(classes: 5)", SCENE, "(a, b, c, (p, q, r, s))"),
    ("vision/alexnet.nn", "alexnet(width: 8, hidden: 16, size: 63)", &[("x", &[63, 63, 3], 0)], "a"),
    ("vision/vgg.nn", "vgg19(width: 4, hidden: 16, size: 32)", IMAGE, "a"),
    ("vision/resnet.nn", "resnet152(width: 4)", IMAGE, "a"),
    ("vision/resnet.nn", "resnet50_late(width: 4)", IMAGE, "a"),
    ("vision/resnet.nn", "resnet152_late(width: 4)", IMAGE, "a"),
    ("vision/squeezenet.nn", "squeezenet(classes: 10)", IMAGE, "a"),
    ("vision/squeezenet.nn", "squeezenet_1_1(classes: 10)", IMAGE, "a"),
    ("vision/googlenet.nn", "googlenet()", IMAGE, "a"),
    ("vision/googlenet.nn", "googlenet_norm()", IMAGE, "a"),
    ("vision/inception.nn", "inception_v3()", &[("x", &[75, 75, 3], 0)], "a"),
    ("vision/efficientnet.nn", "efficientnet_b0()", IMAGE, "a"),
    ("vision/unet.nn", "unet_padded(width: 2)", &[("x", &[32, 32, 1], 0)], "a"),
    ("vision/nasnet.nn", "nasnet(C: 8)", &[("x", &[64, 64, 3], 0)], "a"),
    ("vision/yolo.nn", "yolo(hidden: 16, size: 64)", &[("x", &[64, 64, 3], 0)], "a"),
    ("vision/yolo.nn", "yolo_tiny()", &[("x", &[448, 448, 3], 0)], "a"),
    ("graphs/pointnet.nn", "pointnet()", &[("x", &[9, 3], 0)], "a"),
    (
        "language/bert.nn",
        "bert_words(V: 50, D: 16, heads: 2, L: 2, longest: 16)",
        &[("i", &[12], 50), ("j", &[12], 2)],
        "a",
    ),
];

#[test]
fn every_architecture_trains() {
    steps(SMALL);
}

/// `cargo test --release --test main zoo -- --ignored`
#[test]
#[ignore = "a minute"]
fn large_architectures_train() {
    steps(LARGE);
}

fn steps(models: &[Small]) {
    let mut wrong = String::new();
    for (number, (file, call, reads, outputs)) in models.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let samples = 4;
        let arrays: Vec<(&str, Tensor)> = reads
            .iter()
            .map(|(name, sizes, bound)| {
                let shape: Vec<usize> = [samples].iter().chain(*sizes).copied().collect();
                let places = 0..shape.iter().product::<usize>();
                let tensor = match bound {
                    0 => Tensor::from_vec(
                        &shape,
                        places.map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect(),
                    ),
                    _ => Tensor::from_vec(&shape, places.map(|i| (i * 37 % 101 % bound) as i64).collect()),
                };
                (*name, tensor.unwrap())
            })
            .collect();
        let arrays: Vec<(&str, &Tensor)> = arrays.iter().map(|(name, tensor)| (*name, tensor)).collect();
        npz::save(&folder.path().join("data.npz"), &arrays).unwrap();
        let given: Vec<String> = reads.iter().map(|(name, ..)| format!("d.{name}")).collect();
        let letters = outputs.chars().filter(char::is_ascii_lowercase);
        let loss: Vec<String> = letters.map(|name| format!("mean({name} ** 2)")).collect();
        fs::copy(root().join("examples").join(file), folder.path().join("zoo.nn")).unwrap();
        let program = format!(
            "use \"zoo.nn\" as zoo\n\ntrain small {{\n  data   d = npz(\"data.npz\")\n  let    net = zoo.{call}\n  let    {outputs} = net({})\n  \
             loss   {}\n  optim  sgd(1e-3)\n  batch  2\n  epochs 1\n}}\n",
            given.join(", "),
            loss.join(" + "),
        );
        fs::write(folder.path().join("small.nn"), &program).unwrap();
        let ran = nnc(folder.path(), &["train", "small.nn"]);
        if ran.code != 0 {
            let _ = writeln!(wrong, "{number}. {file} {call}\n{}{}", ran.out, ran.err);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
