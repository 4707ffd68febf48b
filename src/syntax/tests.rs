//! The language's samples parse; broken programs are told what is wrong with them, where, and all at
//! once; hostile text is refused in time.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Parsed, dump, parse};
use crate::base::{Position, Sources};
use crate::diag::{self, Diagnostic, Fault};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/syntax").join(name)
}

fn parsed(text: &str) -> (Sources, Parsed) {
    let mut sources = Sources::new();
    let file = sources.add("test.nn", text);
    let parsed = parse(&sources, file);
    (sources, parsed)
}

fn tree(text: &str) -> String {
    let (sources, parsed) = parsed(text);
    assert!(parsed.diagnostics.is_empty(), "{}", diag::render::render(&sources, &parsed.diagnostics, false));
    dump::tree(&parsed.file)
}

/// `line:column message` of each diagnostic.
fn told(text: &str) -> Vec<String> {
    let (sources, parsed) = parsed(text);
    let line = |diagnostic: &Diagnostic| {
        let Position { line, column } = sources.start(diagnostic.primary().expect("a place"));
        format!("{line}:{column} {}", diagnostic.message)
    };
    parsed.diagnostics.iter().map(line).collect()
}

#[test]
fn the_samples_parse() {
    for name in ["language.nn", "models.nn", "forms.nn"] {
        let text = fs::read_to_string(golden(name)).expect("a sample");
        assert!(tree(&text).len() > text.len() / 2, "{name}");
    }
}

#[test]
fn the_tree_says_what_was_written() {
    let cases = [
        ("let a = 1 + 2*3 - 4", "(let a (- (+ 1 (* 2 3)) 4))"),
        ("let a = -x ** 2", "(let a (- (** x 2)))"),
        ("let a = not b and c or d", "(let a (or (and (not b) c) d))"),
        ("let a = x |> f |> g(1)", "(let a (|> (|> x f) (call g 1)))"),
        ("let a = sum i => x[i] |> f", "(let a (bind sum (i) (|> (index x i) f)))"),
        (
            "let a = 1 + sum i: K where i < k and i != 0 => x[i] + 2",
            "(let a (+ 1 (bind sum ((i K)) (where (and (< i k) (!= i 0))) (+ (index x i) 2))))",
        ),
        ("let a = (x)", "(let a x)"),
        ("let a = (x,)", "(let a (tuple x))"),
        ("let a = (mu: x)", "(let a (tuple (mu: x)))"),
        ("let a = ()", "(let a (tuple))"),
        ("let a = f((batch, ..S), ..T)", "(let a (call f (tuple batch ..S) ..T))"),
        ("let a = x as f32[T, 2*E] @ w", "(let a (@ (as x (f32 T (* 2 E))) w))"),
        ("let a = (x as Idx[N][set E, F])[0, ..2]", "(let a (index (as x (Idx (N) (set E) F)) 0 (.. _ 2)))"),
        ("let (a, _, (b, c)) = d", "(let (tuple a _ (tuple b c)) d)"),
        ("let a = \"\\u{3c6}\\n\\\"\"", "(let a \"φ\\n\\\"\")"),
        ("let a = 18446744073709551615", "(let a 18446744073709551615)"),
        ("let a = {\n  b\n  |> c\n}", "(let a (block (value (|> b c))))"),
        ("let a = {\n  b\n  -c\n}", "(let a (block b (value (- c))))"),
        ("fn f(x: f32) -> f32 = x", "(fn f (statics) (tensors (x f32)) (result f32) x)"),
        ("fn f(n: dim)() = n", "(fn f (statics (n dim)) (tensors) n)"),
        ("train { batch 64; loss l = a }", "(train _ (statics) (batch 64) (loss l a))"),
    ];
    for (text, expected) in cases {
        let (_, parsed) = parsed(text);
        assert_eq!(dump::tree(&parsed.file).trim_end(), expected, "{text}");
    }
}

#[test]
fn docs_belong_to_what_they_stand_above() {
    let text = "/// Sums.\n///\n///   twice\nfn f(x: f32) -> f32 {\n  /// The weight.\n  param w: f32 = 1\n  x }\n//// no doc\nlet a = 1";
    let tree = tree(text);
    assert!(tree.starts_with("(doc \"Sums.\\n\\n  twice\""), "{tree}");
    assert!(tree.contains("(doc \"The weight.\" (param w f32 1))"), "{tree}");
    assert!(tree.ends_with("(let a 1)\n"), "{tree}");
}

/// Cases begin with `--- name : parse`; below a line of a program stand the diagnostics that begin on it:
/// carets under the place, code and message. `NNC_BLESS=1` writes them anew.
#[test]
fn errors_are_as_recorded() {
    let path = golden("errors.nn");
    let recorded = fs::read_to_string(&path).expect("the table of errors");
    let actual: String = recorded
        .split_inclusive('\n')
        .fold(vec![String::new()], |mut cases, line| {
            if line.starts_with("--- ") {
                cases.push(String::new());
            }
            cases.last_mut().expect("a case").push_str(line);
            cases
        })
        .iter()
        .map(|case| annotated(case))
        .collect();
    if std::env::var_os("NNC_BLESS").is_some() {
        fs::write(&path, actual).expect("tests/golden is writable");
        return;
    }
    for (number, (recorded, actual)) in recorded.lines().zip(actual.lines()).enumerate() {
        assert_eq!(
            recorded,
            actual,
            "{}:{}: to accept: NNC_BLESS=1 cargo test --release errors_are_as_recorded",
            path.display(),
            number + 1
        );
    }
    assert_eq!(recorded.len(), actual.len());
}

/// A case with the annotations that its program gets.
fn annotated(case: &str) -> String {
    let is_annotation = |line: &str| {
        let words = line.strip_prefix("//").unwrap_or("").trim_start_matches([' ', '^']);
        line.contains('^') && words.starts_with('E') || line.starts_with("//<")
    };
    let (head, program) = match case.strip_prefix("--- ").and_then(|_| case.split_once('\n')) {
        Some((head, program)) => (format!("{head}\n"), program),
        None => return case.to_string(),
    };
    let program: Vec<&str> = program.lines().filter(|line| !is_annotation(line)).collect();
    let (sources, parsed) = parsed(&program.join("\n"));
    let mut text = head;
    for (index, line) in program.iter().enumerate() {
        text.push_str(line);
        text.push('\n');
        for diagnostic in &parsed.diagnostics {
            let span = diagnostic.primary().expect("a place");
            let (start, end) = (sources.start(span), sources.end(span));
            if start.line as usize != index + 1 {
                continue;
            }
            let width = if end.line == start.line { (end.column - start.column).max(1) } else { 1 };
            let carets = "^".repeat(width as usize);
            let place = match (start.column as usize).checked_sub(3) {
                Some(spaces) => format!("//{}{carets}", " ".repeat(spaces)),
                None => format!("//<{carets}"),
            };
            text.push_str(&format!("{place} {} {}\n", diagnostic.code, diagnostic.message));
        }
    }
    text
}

#[test]
fn independent_errors_are_told_together() {
    let text = "\
fn f(x: f32) -> f32 {
  let a = 1 +
  let b = if a = 2 { 1 } else { 2 }
  let c = [1, 2
  let d = for t { x[t] }
}
fn g(y) -> f32 { let b = ; b }
train t { optim adam(lr: ) }
";
    assert_eq!(
        told(text),
        [
            "2:14 expected an expression, found the end of the line",
            "3:16 `=` does not compare",
            "4:11 this `[` is never closed",
            "5:17 expected `=>`, found `{`",
            "7:6 the parameter `y` needs a type",
            "7:26 expected an expression, found `;`",
            "8:26 expected an expression, found `)`",
        ]
    );
}

#[test]
fn broken_parts_define_their_names() {
    let text = "fn f(x: f32 -> f32 { x }\nfn g() = { let (a, b): = 1; a }\nlayer h(x) { x }\ntrain { loss l = ; batch 1 }";
    let (_, parsed) = parsed(text);
    let tree = dump::tree(&parsed.file);
    assert_eq!(parsed.diagnostics.len(), 4, "{:#?}", parsed.diagnostics);
    assert_eq!(tree.matches("(error a b)").count(), 1, "{tree}");
    assert_eq!(tree.matches("(error l)").count(), 1, "{tree}");
    assert_eq!(tree.matches("(error h)").count(), 1, "{tree}");
}

#[test]
fn what_is_too_deep_is_a_limit() {
    let n = 100_000;
    let wrap = |before: &str, after: &str| format!("let a = {}x{}", before.repeat(n), after.repeat(n));
    let texts = [
        wrap("(", ")"),
        wrap("(", ""),
        wrap("[", "}"),
        wrap("{", "}"),
        wrap("- ", ""),
        wrap("not ", ""),
        wrap("sum i => ", ""),
        wrap("fn(x) => ", ""),
        wrap("2 ** ", ""),
        wrap("", " + x"),
        wrap("", " |> f"),
        wrap("", ".f"),
        wrap("", "(x)"),
        wrap("", "[0]"),
        wrap("if c { x } else ", ""),
        wrap("f(", ")"),
        format!("fn f(x: {}f32) = x", "fn() -> ".repeat(n)),
    ];
    for text in texts {
        let start = Instant::now();
        let (_, parsed) = parsed(&text);
        let limit = parsed.diagnostics.iter().find(|diagnostic| diagnostic.fault == Fault::Limit);
        assert!(limit.is_some(), "{}", &text[..40]);
        assert_eq!(diag::exit_code(&parsed.diagnostics), 4);
        assert!(start.elapsed() < Duration::from_secs(60), "{}", &text[..40]);
    }
}

#[test]
fn what_is_just_high_enough_parses() {
    tree(&format!("let a = x{}", " + x".repeat(390)));
    tree(&format!("let a = {}x{}", "(".repeat(250), ")".repeat(250)));
    tree(&format!("let a = [{}]", "1.0, ".repeat(100_000)));
}

#[test]
fn hostile_text_ends_in_errors() {
    let texts = [
        "\0".repeat(1_000_000),
        "$ a ".repeat(300_000),
        "a b c\n".repeat(200_000),
        "([)]".repeat(100_000),
        ")".repeat(300_000),
        "let a = \"".to_string() + &"\\u{".repeat(300_000) + "\"",
        "let a = \"".to_string() + &"x".repeat(1_000_000),
        "let a = ".to_string() + &"9".repeat(1_000_000),
        "/*".to_string() + &"x\n".repeat(500_000),
        "/* */ ".repeat(200_000) + "$",
        "fn f(x: f32) -> f32 {\n".to_string() + &"let a b c\n".repeat(100_000) + "}",
        "fn f() { (\nlet a = 1 }\n".repeat(50_000),
        "let a = 'b' && c ^ ! d += ** == \u{202e} } ] ) \\ \u{feff}".to_string(),
    ];
    for text in texts {
        let start = Instant::now();
        let (sources, parsed) = parsed(&text);
        assert!(!parsed.diagnostics.is_empty());
        assert!(parsed.diagnostics.len() <= 101);
        let shown = diag::render::render(&sources, &parsed.diagnostics, true);
        assert!(shown.len() < 500_000, "{}", shown.len());
        assert!(start.elapsed() < Duration::from_secs(60), "{}", &text[..8]);
    }
}

/// Every prefix of a sample, and every sample without one of its tokens, gives errors or none, but always
/// a tree.
#[test]
fn text_that_is_being_typed_is_no_disaster() {
    let text = fs::read_to_string(golden("forms.nn")).expect("a sample");
    let cuts = text.char_indices().map(|(at, _)| at).step_by(7);
    for cut in cuts {
        let (sources, half) = parsed(&text[..cut]);
        let _ = diag::render::render(&sources, &half.diagnostics, false);
        let next = text[cut..].find([' ', '\n', ')']).map_or(text.len(), |length| cut + length);
        let (_, without) = parsed(&format!("{}{}", &text[..cut], &text[next..]));
        assert!(without.diagnostics.len() < 20, "{:#?}", without.diagnostics);
    }
}

#[test]
fn a_thousand_lines_have_no_mistakes() {
    let text = fs::read_to_string(golden("models.nn")).expect("a sample").repeat(10);
    assert!(text.lines().count() > 1000);
    assert!(parsed(&text).1.diagnostics.is_empty());
}
