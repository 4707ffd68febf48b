//! The programs in the documents are programs: each block of nn code checks.

use std::fs;
use std::path::Path;

use nnc::session::{Session, Settings};

/// Blocks marked ```nn of a document. One that is marked ```nn E0214 shows that error.
#[test]
fn programs_in_the_documents_check() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut failures = String::new();
    for document in ["README.md", "docs/language.md"] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let mut blocks = 0;
        for block in text.split("\n```nn").skip(1) {
            let (mark, rest) = block.split_once('\n').unwrap();
            let source = rest.split("\n```").next().unwrap();
            blocks += 1;
            // A train block may use definitions that are not shown, and data that are read nowhere here.
            let shown = format!("{}{source}\n", if source.starts_with("train") { CLASSIFIER } else { "" });
            let mut session = Session::of_text("block.nn", &shown, &root.join("examples"));
            let check = session.check(&Settings::default(), &|_| true);
            let found: Vec<String> = check
                .diagnostics
                .iter()
                .filter(|one| one.is_error())
                .map(|one| format!("{} {}", one.code, one.message))
                .collect();
            let expected = match mark.trim() {
                "" => found.is_empty(),
                code => !found.is_empty() && found.iter().all(|one| one.starts_with(code)),
            };
            if !expected {
                failures += &format!("{document}: {found:#?}\n{source}\n\n");
            }
        }
        assert!(blocks > 0, "{document} has no programs");
    }
    assert!(failures.is_empty(), "{failures}");
}

const CLASSIFIER: &str = "model classifier()(x: f32[8, 8, 1]) -> f32[10] = flatten(x) |> linear(10)\n";
