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
    let printed = print(text, &parsed);
    // Formatting never changes a program. Should it ever do so, the text stays as it was.
    Ok(if same(text, &parsed, &printed) { printed } else { text.to_string() })
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
    // Two comments may have come to stand on one line: their words are what counts.
    let comments = |text: &str, parsed: &Parsed| {
        let all =
            parsed.comments.iter().flat_map(|c| text[c.start as usize..c.end as usize].split_whitespace());
        let mut words: Vec<String> = all.map(str::to_string).collect();
        words.sort();
        words
    };
    again.diagnostics.is_empty()
        && dump::tree(&again.file) == dump::tree(&parsed.file)
        && comments(text, parsed) == comments(printed, &again)
}

#[cfg(test)]
mod tests;
