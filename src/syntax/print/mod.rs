//! The formatter, `nnc fmt`: one canonical style, two columns of indentation, a hundred columns.
//!
//! What it keeps of the author's layout: parentheses, comments, single empty lines, statements that
//! share a line, blocks on one line, pipes broken at `|>`, and whether a product is written `4*H` or
//! `4 * H`. All else follows from the tree, so formatting twice changes nothing.
//! Must never know what a program means.

mod comments;
mod doc;
mod expr;
mod items;

use crate::base::{FileId, Sources};
use crate::diag::Diagnostic;

use super::{Parsed, dump, parse};
use comments::Printer;

/// Columns of a line, where that is possible.
const WIDTH: usize = 100;
/// Most times that a text is printed again.
const ROUNDS: usize = 3;

/// A file in the canonical style. A file with syntax errors is not formatted.
///
/// # Errors
/// The file's syntax errors.
pub fn format(sources: &Sources, file: FileId) -> Result<String, Vec<Diagnostic>> {
    let parsed = parse(sources, file);
    if !parsed.diagnostics.is_empty() {
        return Err(parsed.diagnostics);
    }
    let text = sources.text(file);
    let printed = settle(text, &parsed);
    // Formatting never changes a program. Should it ever do so, the text stays as it was.
    Ok(printed.filter(|printed| same(text, &parsed, printed)).unwrap_or_else(|| text.to_string()))
}

/// Prints until printing changes nothing: what no longer fits on a line may decide anew what is next to
/// it. None where a printed text does not parse.
fn settle(text: &str, parsed: &Parsed) -> Option<String> {
    let mut printed = print(text, parsed);
    for _ in 0..ROUNDS {
        let mut sources = Sources::new();
        let file = sources.add("formatted", printed.as_str());
        let again = parse(&sources, file);
        let next = again.diagnostics.is_empty().then(|| print(&printed, &again))?;
        if next == printed {
            break;
        }
        printed = next;
    }
    Some(printed)
}

fn print(text: &str, parsed: &Parsed) -> String {
    let mut printer = Printer::new(text, &parsed.comments, &parsed.file.parens);
    let doc = printer.file(&parsed.file);
    doc::render(&doc, WIDTH)
}

/// Whether the printed text has the tree and the comments of the original.
fn same(text: &str, parsed: &Parsed, printed: &str) -> bool {
    let mut sources = Sources::new();
    let file = sources.add("formatted", printed);
    let again = parse(&sources, file);
    again.diagnostics.is_empty()
        && dump::tree(&again.file) == dump::tree(&parsed.file)
        && words(text, parsed) == words(printed, &again)
}

/// The words of all comments: two comments may have come to stand on one line, or a comment above its row.
fn words<'t>(text: &'t str, parsed: &Parsed) -> Vec<&'t str> {
    let comments = parsed.comments.iter().map(|comment| &text[comment.start as usize..comment.end as usize]);
    let mut words: Vec<&str> = comments.flat_map(str::split_whitespace).collect();
    words.sort_unstable();
    words
}

#[cfg(test)]
mod tests;
