//! Diagnostics for people. The only file that knows ariadne.

use std::collections::BTreeMap;
use std::ops::Range;

use ariadne::{Color, Config, IndexType, Label, LabelAttach, Report, ReportKind};

use crate::base::{FileId, Position, Sources, Span};

use super::{Diagnostic, Severity};

/// Characters of a line that are shown; of a longer one a part around its first label.
const WIDEST: usize = 160;
/// Characters shown before the first label of a long line.
const LEAD: usize = 60;

/// One text of all diagnostics, in the order given, with an empty line after each. With colour, it has
/// ANSI escapes. Equal input gives equal text.
pub fn render(sources: &Sources, diagnostics: &[Diagnostic], colour: bool) -> String {
    diagnostics.iter().map(|diagnostic| one(sources, diagnostic, colour) + "\n").collect()
}

/// One diagnostic: head line, excerpts with labels, helps and notes.
pub fn one(sources: &Sources, diagnostic: &Diagnostic, colour: bool) -> String {
    let paint = match diagnostic.severity {
        Severity::Error => Color::Red,
        Severity::Warning => Color::Yellow,
        Severity::Note => Color::Blue,
    };
    let head = format!("{}[{}]", diagnostic.severity, diagnostic.code);
    let mut excerpts: BTreeMap<FileId, Excerpt> = BTreeMap::new();
    for label in &diagnostic.labels {
        let file = label.span.file;
        excerpts.entry(file).or_insert_with(|| Excerpt::of(sources, diagnostic, file));
    }
    let place = |span: Span| (span.file, excerpts[&span.file].place(sources, span));
    let nowhere = (FileId(0), 0..0);
    let mut report =
        Report::build(ReportKind::Custom(&head, paint), diagnostic.primary().map_or(nowhere, place))
            .with_message(&diagnostic.message)
            .with_config(
                Config::new()
                    .with_color(colour)
                    .with_index_type(IndexType::Char)
                    .with_label_attach(LabelAttach::Start),
            );
    // Ariadne puts labels into one excerpt as long as their lines ascend.
    let file = diagnostic.primary().map(|span| span.file);
    let mut labels: Vec<_> = diagnostic.labels.iter().enumerate().collect();
    labels.sort_by_key(|(_, label)| (Some(label.span.file) != file, label.span.end, label.span.start));
    for (index, label) in labels {
        let mut shown = Label::new(place(label.span))
            .with_color(if index == 0 { paint } else { Color::Cyan })
            .with_priority(if index == 0 { 1 } else { 0 });
        match label.message.as_str() {
            // Without a text ariadne does not mark the place.
            "" if index == 0 => shown = shown.with_message("here"),
            "" => {}
            text => shown = shown.with_message(text),
        }
        report = report.with_label(shown);
    }
    let mut bytes = Vec::new();
    let texts = excerpts.iter().map(|(&file, excerpt)| (file, excerpt.text.clone().into())).collect();
    let names = Names { sources, texts };
    // Writing to memory cannot fail.
    let _ = report.finish().write(names, &mut bytes);
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if !colour {
        text = without_escapes(&text);
    }
    for (&file, excerpt) in &excerpts {
        excerpt.correct_columns(sources.name(file), &mut text);
    }
    let mut shown = String::with_capacity(text.len());
    for line in text.lines() {
        shown.push_str(line.trim_end());
        shown.push('\n');
    }
    let more = diagnostic.told_helps().map(|help| ("help", &help.text));
    for (word, text) in more.chain(diagnostic.notes.iter().map(|note| ("note", note))) {
        let word = if colour { format!("\x1b[1m{word}\x1b[0m") } else { word.to_string() };
        shown.push_str(&format!("  = {word}: {}\n", text.replace('\n', "\n    ")));
    }
    shown
}

/// Ariadne paints the head line even where no colour is wanted.
fn without_escapes(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_string();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

/// Ariadne's texts by file, shown under the names of the sources.
struct Names<'a> {
    sources: &'a Sources,
    texts: BTreeMap<FileId, ariadne::Source<String>>,
}

impl ariadne::Cache<FileId> for Names<'_> {
    type Storage = String;

    fn fetch(&mut self, id: &FileId) -> Result<&ariadne::Source<String>, impl std::fmt::Debug> {
        self.texts.get(id).ok_or("no label lies in this file")
    }

    fn display<'b>(&self, id: &'b FileId) -> Option<impl std::fmt::Display + 'b> {
        Some(self.sources.name(*id).to_string())
    }
}

/// The lines of a file that a diagnostic shows, at their numbers; all others are empty. Long lines are
/// cut, characters without a shape are made visible, and each line ends in a space, so that a place at
/// its end can be marked.
struct Excerpt {
    text: String,
    /// Offset in characters of each line of `text`.
    starts: Vec<usize>,
    /// Characters left out at the start of a line, by the line's number.
    cut: BTreeMap<u32, usize>,
}

impl Excerpt {
    fn of(sources: &Sources, diagnostic: &Diagnostic, file: FileId) -> Excerpt {
        // The first column of interest of each line with an end of a label.
        let mut wanted: BTreeMap<u32, u32> = BTreeMap::new();
        for label in diagnostic.labels.iter().filter(|label| label.span.file == file) {
            for Position { line, column } in [sources.start(label.span), sources.end(label.span)] {
                let first = wanted.entry(line).or_insert(column);
                *first = column.min(*first);
            }
        }
        let last = wanted.keys().next_back().copied().unwrap_or(1);
        let source = sources.get(file);
        let mut excerpt = Excerpt { text: String::new(), starts: Vec::new(), cut: BTreeMap::new() };
        let mut offset = 0;
        for line in 1..=last {
            excerpt.starts.push(offset);
            let near = wanted.range(line.saturating_sub(2)..=line + 2).next().is_some();
            if near {
                let range = source.line_start(line) as usize..source.line_start(line + 1) as usize;
                let text = source.text()[range].trim_end_matches(['\n', '\r']);
                let skipped = excerpt.push_line(text, wanted.get(&line).copied().unwrap_or(1) as usize);
                offset += skipped.1;
                if skipped.0 > 0 {
                    excerpt.cut.insert(line, skipped.0);
                }
            }
            excerpt.text.push_str(" \n");
            offset += 2;
        }
        excerpt
    }

    /// Adds a line; gives the number of characters left out at its start, and of those that were added.
    fn push_line(&mut self, line: &str, column: usize) -> (usize, usize) {
        let short = line.char_indices().nth(WIDEST).is_none();
        let skipped = if short || column <= LEAD { 0 } else { column - 1 - LEAD };
        let mut count = 0;
        for (index, character) in line.chars().skip(skipped).enumerate() {
            let end = index + 1 == WIDEST && !short;
            self.text.push(if end || skipped > 0 && index == 0 { '…' } else { visible(character) });
            count += 1;
            if end {
                break;
            }
        }
        (skipped, count)
    }

    /// Where a span lies in the excerpt, in characters; at least one character wide.
    fn place(&self, sources: &Sources, span: Span) -> Range<usize> {
        let start = self.offset(sources.start(span));
        let end = self.offset(sources.end(span));
        start..end.max(start + 1)
    }

    fn offset(&self, at: Position) -> usize {
        let line = at.line as usize - 1;
        let start = self.starts[line];
        let length = self.starts.get(line + 1).map_or_else(|| self.total() - start, |next| next - start);
        let column = (at.column as usize - 1).saturating_sub(self.cut.get(&at.line).copied().unwrap_or(0));
        // Not beyond the space that ends the line.
        start + column.min(length - 2)
    }

    fn total(&self) -> usize {
        self.starts
            .last()
            .map_or(0, |last| last + self.text.lines().last().map_or(0, |line| line.chars().count()) + 1)
    }

    /// Ariadne counts columns in the excerpt; the places in head lines are those in the file.
    fn correct_columns(&self, name: &str, text: &mut String) {
        for (line, cut) in &self.cut {
            let head = format!("{name}:{line}:");
            let Some(at) = text.find(&head).map(|at| at + head.len()) else { continue };
            let digits = text[at..].bytes().take_while(u8::is_ascii_digit).count();
            if let Ok(column) = text[at..at + digits].parse::<usize>() {
                text.replace_range(at..at + digits, &(column + cut).to_string());
            }
        }
    }
}

/// A character as it is shown: control characters as their pictures, anything that would break or
/// reorder the line as a replacement character.
fn visible(character: char) -> char {
    match character {
        '\t' => ' ',
        '\0'..='\u{1f}' => char::from_u32(0x2400 + character as u32).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            '\u{fffd}'
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Code;

    fn sources() -> Sources {
        let mut sources = Sources::new();
        sources.add("a.nn", "fn f(x: f32[set N]) -> f32 {\n\tlet φ = x + y\n}\n");
        sources.add(
            "b.nn",
            "let long = ".to_string() + &"é + ".repeat(500) + "here + " + &"z + ".repeat(500) + "1",
        );
        sources
    }

    fn span(file: u32, start: u32, end: u32) -> Span {
        Span::new(FileId(file), start, end)
    }

    #[test]
    fn head_labels_and_help_are_shown() {
        let error = Diagnostic::error(Code(214), "axis `N` is a set, but `+` depends on its order")
            .label(span(0, 39, 44), "here")
            .label(span(0, 12, 17), "declared a set here")
            .help("declare `dim N`")
            .with_note("over two\nlines");
        let expected = "\
error[E0214]: axis `N` is a set, but `+` depends on its order
   ╭─[ a.nn:2:10 ]
   │
 1 │ fn f(x: f32[set N]) -> f32 {
   │             ┬────
   │             ╰────── declared a set here
 2 │  let φ = x + y
   │          ┬────
   │          ╰────── here
───╯
  = help: declare `dim N`
  = note: over two
    lines
";
        assert_eq!(one(&sources(), &error, false), expected);
        assert_eq!(one(&sources(), &error, false), expected);
        assert!(one(&sources(), &error, true).contains("\x1b[31m"));
    }

    #[test]
    fn empty_spans_and_the_end_of_the_text_have_a_place() {
        let sources = sources();
        let end = sources.text(FileId(0)).len() as u32;
        for at in [0, 28, 29, end - 1, end] {
            let error = Diagnostic::warning(Code(1), "m").label(span(0, at, at), "this place");
            let shown = one(&sources, &error, false);
            assert!(shown.starts_with("warning[E0001]: m\n"), "{shown}");
            assert!(shown.contains("╰── this place"), "{at}:\n{shown}");
        }
        let whole = Diagnostic::note(Code(1), "m").label(span(0, 0, end), "all of it");
        assert!(one(&sources, &whole, false).contains("all of it"));
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let sources = sources();
        let start = sources.text(FileId(1)).find("here").expect("it is there") as u32;
        let error = Diagnostic::error(Code(1), "m").label(span(1, start, start + 4), "this");
        let shown = one(&sources, &error, false);
        let column = sources.start(span(1, start, start)).column;
        assert!(shown.contains(&format!("[ b.nn:1:{column} ]")), "{shown}");
        assert!(shown.contains("here"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() < 200), "{shown}");
    }

    #[test]
    fn two_files_and_no_file() {
        let sources = sources();
        let error = Diagnostic::error(Code(1), "m").label(span(0, 3, 4), "one").label(span(1, 4, 8), "other");
        let shown = one(&sources, &error, false);
        assert!(shown.contains("a.nn:1:4") && shown.contains("b.nn:1:5"), "{shown}");
        let error = Diagnostic::error(Code(500), "no file `x.npz`").help("look again");
        assert_eq!(one(&sources, &error, false), "error[E0500]: no file `x.npz`\n  = help: look again\n");
    }

    #[test]
    fn characters_without_a_shape_are_shown() {
        let mut sources = Sources::new();
        let file = sources.add("c.nn", "a\0\u{202e}b\u{2028}c");
        let error = Diagnostic::error(Code(2), "m").label(Span::new(file, 1, 2), "this");
        assert!(one(&sources, &error, false).contains("a␀\u{fffd}b\u{fffd}c"));
    }
}
