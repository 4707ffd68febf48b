//! Every error code has a page, and what the page shows is so: the wrong program raises the code, the right one nothing.
//!
//! What a user is shown for each wrong program stands in tests/golden/reports, one file for each group of pages;
//! `NNC_BLESS=1 cargo test --release --test main pages` writes down what came.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use nnc::diag::Code;
use nnc::diag::pages::{Block, Page, groups};
use nnc::diag::render::render;
use nnc::formats::npy;
use nnc::session::{Session, Settings};
use nnc::tensor::Tensor;

use crate::command::nnc;
use crate::imports::rust_files;

/// Codes that no small program or command raises: bytes of other tools, sizes of whole machines, files that change while they
/// are read, defects. Their pages have no programs.
const WITHOUT_PROGRAM: [u16; 17] =
    [7, 404, 405, 503, 520, 524, 529, 532, 533, 534, 536, 538, 600, 602, 606, 698, 699];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The numbers of all codes in the sources: `Code(214)`, and the constructors that make one of a number.
fn codes_of_the_sources() -> BTreeSet<u16> {
    let mut found = Vec::new();
    rust_files(&root().join("src"), &mut found);
    let mut codes = BTreeSet::new();
    for file in found.iter().filter(|file| !file.starts_with(root().join("src/diag"))) {
        let text = fs::read_to_string(file).unwrap();
        // What a file's own tests make up is no code of the compiler.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for opening in ["Code(", "usage(", "in_file(", "of_input("] {
            for (at, _) in text.match_indices(opening) {
                let digits: String =
                    text[at + opening.len()..].chars().take_while(char::is_ascii_digit).collect();
                codes.extend(digits.parse::<u16>().ok());
            }
        }
    }
    codes
}

#[test]
fn every_code_has_a_page() {
    let pages: Vec<Page> = groups().into_iter().flat_map(|(_, pages)| pages).collect();
    let mut told = BTreeSet::new();
    for page in &pages {
        assert!(told.insert(page.code.0), "{} has two pages", page.code);
        assert!(!page.title.is_empty(), "{} has no title", page.code);
        let bare = page.blocks.is_empty();
        assert_eq!(bare, WITHOUT_PROGRAM.contains(&page.code.0), "{}: programs on its page", page.code);
    }
    let raised = codes_of_the_sources();
    assert!(raised.len() > 100, "the sources are not found");
    let missing: Vec<String> = raised.difference(&told).map(|code| Code(*code).to_string()).collect();
    assert!(missing.is_empty(), "no page in docs/errors for {missing:?}");
    let gone: Vec<String> = told.difference(&raised).map(|code| Code(*code).to_string()).collect();
    assert!(gone.is_empty(), "pages in docs/errors of codes that nothing raises: {gone:?}");
}

#[test]
fn pages_show_what_is_so() {
    // Limits of nesting are met on the stack that the command has.
    let worker = std::thread::Builder::new().stack_size(512 << 20).spawn(all_pages_show_what_is_so).unwrap();
    worker.join().unwrap();
}

fn all_pages_show_what_is_so() {
    let mut failures = String::new();
    let bless = std::env::var_os("NNC_BLESS").is_some();
    for (group, pages) in groups() {
        let mut reports = String::new();
        for page in pages {
            let mut file = None;
            for (block, text) in &page.blocks {
                let answer = match block {
                    Block::File => {
                        file = Some(text.as_str());
                        continue;
                    }
                    Block::Wrong => program(text, Some(page.code)),
                    Block::Right => program(text, None),
                    Block::WrongCommands => commands(text, file, Some(page.code)),
                    Block::RightCommands => commands(text, file, None),
                };
                match answer {
                    Ok(report) if matches!(block, Block::Wrong | Block::WrongCommands) => {
                        let _ = writeln!(reports, "--- {}\n{text}\n{}\n", page.code, report.trim_end());
                    }
                    Ok(_) => {}
                    Err(problem) => {
                        let _ = writeln!(failures, "{} {block:?}: {problem}\n{text}", page.code);
                    }
                }
            }
            let wrong = page.blocks.iter().filter(|(b, _)| matches!(b, Block::Wrong | Block::WrongCommands));
            let right = page.blocks.iter().filter(|(b, _)| matches!(b, Block::Right | Block::RightCommands));
            assert!(page.blocks.is_empty() || wrong.count() > 0 && right.count() > 0, "{}", page.code);
        }
        let group = group.to_lowercase().replace(',', "").replace(' ', "-");
        let golden = root().join("tests/golden/reports").join(format!("{group}.txt"));
        let known = fs::read_to_string(&golden).unwrap_or_default();
        if reports == known {
            continue;
        }
        if bless {
            fs::write(&golden, reports).unwrap();
            continue;
        }
        let differs =
            |(at, (left, right)): (usize, (&str, &str))| (left != right).then_some((at, right.to_owned()));
        let first =
            known.lines().chain(std::iter::repeat("")).zip(reports.lines()).enumerate().find_map(differs);
        let (at, line) = first.unwrap_or_else(|| (reports.lines().count(), "the end".to_owned()));
        let _ = writeln!(failures, "tests/golden/reports/{group}.txt:{}: now {line}", at + 1);
    }
    assert!(failures.is_empty(), "{failures}");
}

/// Checks a program: it raises exactly this code, or nothing at all. Gives what its user is shown.
fn program(text: &str, code: Option<Code>) -> Result<String, String> {
    let mut session = Session::of_text("page.nn", text, &root().join("examples"));
    let check = session.check(&Settings::default(), &|_| true);
    // The library may get a definition of any name.
    // What was left out behind a limit is no error.
    let hides = |one: &nnc::diag::Diagnostic| {
        one.code == Code(113) && code != Some(Code(113)) || one.code == Code(536)
    };
    let found: BTreeSet<String> = check
        .diagnostics
        .iter()
        .filter(|one| !hides(one))
        .map(|diagnostic| format!("{} {}", diagnostic.code, diagnostic.message))
        .collect();
    let expected = |one: &String| code.is_some_and(|code| one.starts_with(&code.to_string()));
    let fits = found.iter().all(expected) && (code.is_none() || !found.is_empty());
    let shown: Vec<_> = check.diagnostics.into_iter().filter(|one| !hides(one)).collect();
    match fits {
        true => Ok(without_folder(&render(&session.sources, &shown, false), &root().join("examples"))),
        false => Err(format!("{found:#?}")),
    }
}

/// Runs commands in a folder of their own: the last one raises the code, or all end well. Gives what the last one complains of.
fn commands(text: &str, file: Option<&str>, code: Option<Code>) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::create_dir(here.join("data")).unwrap();
    fs::copy(root().join("examples/data/digits.npz"), here.join("data/digits.npz")).unwrap();
    fs::write(here.join("page.nn"), file.unwrap_or_default()).unwrap();
    fs::write(here.join("small.nn"), "model small(x: f32[4]) -> f32[3] = x |> linear(3)\n").unwrap();
    fs::write(here.join("twice.nn"), "use \"small.nn\" as s\nuse \"page.nn\" as s\n").unwrap();
    fs::write(here.join("latin1.nn"), b"// caf\xe9\nfn f(x: f32) -> f32 = x\n").unwrap();
    let arrays = [
        ("three.npy", Tensor::from_vec(&[3], vec![1f32, 2.0, 3.0])),
        ("four.npy", Tensor::from_vec(&[4], vec![1f32, 2.0, 3.0, 4.0])),
        ("nan.npy", Tensor::from_vec(&[4], vec![1f32, f32::NAN, 3.0, 4.0])),
        ("label.npy", Tensor::from_vec(&[], vec![3i64])),
        ("large.npy", Tensor::from_vec(&[], vec![4i64])),
    ];
    for (name, array) in arrays {
        npy::save(&here.join(name), &array.unwrap()).unwrap();
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut complaint = String::new();
    for (index, line) in lines.iter().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words.first(), Some(&"nnc"), "{line}");
        let ran = nnc(here, &words[1..]);
        let fits = match code {
            Some(code) if index + 1 == lines.len() => ran.err.contains(&format!("[{code}]")),
            _ => ran.code == 0,
        };
        if !fits {
            return Err(format!("{line}: exit {}\n{}{}", ran.code, ran.out, ran.err));
        }
        complaint = ran.err;
    }
    Ok(without_folder(&complaint, here))
}

/// A message as it reads in every folder.
fn without_folder(message: &str, folder: &Path) -> String {
    let folder = folder.display().to_string();
    let message = message.replace(&format!("{folder}/"), "").replace(&folder, "FOLDER");
    let lines: Vec<String> = message.split('\n').map(without_amounts).collect();
    lines.join("\n")
}

/// A line without amounts of memory, `105.00 KiB`: every pass may change them.
fn without_amounts(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let is_unit = |word: &&str| ["KiB", "MiB", "GiB"].iter().any(|unit| word.starts_with(unit));
    let shown = words.iter().enumerate().map(|(at, word)| {
        let amount =
            word.contains('.') && word.parse::<f64>().is_ok() && words.get(at + 1).is_some_and(is_unit);
        if amount { "…" } else { *word }
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn explains() {
    let here = Path::new(".");
    let page = nnc(here, &["explain", "E0214"]);
    assert_eq!(page.code, 0);
    assert!(
        page.out.contains("E0214") && page.out.contains("wrong:") && page.out.contains("right:"),
        "{}",
        page.out
    );
    assert_eq!(nnc(here, &["explain", "214"]).out, page.out);
    let list = nnc(here, &["explain"]);
    assert!(list.code == 0 && list.out.lines().count() > 100, "{}", list.out);
    let unknown = nnc(here, &["explain", "E0299"]);
    assert!(unknown.code == 2 && unknown.err.contains("the nearest is E0301"), "{}", unknown.err);
    assert_eq!(nnc(here, &["explain", "E02x4"]).code, 2);
}
