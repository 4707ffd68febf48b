//! The table of source files: text by id, and where a byte offset lies for a reader.

use super::{FileId, Span};

/// Line and column as people count them: both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

/// One file: the name it is shown by (its path as given, or `std/layers.nn`), and its text.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    text: String,
    /// Offsets of the first byte of each line; never empty.
    lines: Vec<u32>,
}

/// All files of a session. Grows only, so a [`FileId`] stays good for as long as the table lives.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<Source>,
}

/// Why a file's bytes are no source text. The file is in the table all the same, so that the place
/// can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAccepted {
    pub at: Span,
    pub reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The span covers the replacement characters that stand for the first bad bytes.
    NotUtf8,
    /// Offsets are 32 bits wide.
    TooLong,
}

/// Bytes of the longest accepted file.
const LONGEST: usize = u32::MAX as usize - 1;

impl Sources {
    pub fn new() -> Sources {
        Sources::default()
    }

    /// Adds a file. A byte order mark at its start is no part of the text.
    ///
    /// # Panics
    /// On text of 4 GiB or more; [`Sources::add_bytes`] refuses it instead.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> FileId {
        let mut text = text.into();
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        assert!(text.len() <= LONGEST, "source text is longer than 4 GiB");
        let ends = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at as u32 + 1)).collect();
        let id = FileId(self.files.len() as u32);
        self.files.push(Source { name: name.into(), text, lines });
        id
    }

    /// Adds a file as it was read from disk.
    pub fn add_bytes(&mut self, name: impl Into<String>, bytes: Vec<u8>) -> Result<FileId, NotAccepted> {
        if bytes.len() > LONGEST {
            let file = self.add(name, "");
            return Err(NotAccepted { at: Span::new(file, 0, 0), reason: Reason::TooLong });
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(self.add(name, text)),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let mut text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                // Replacement characters may be longer than what they replace.
                if text.len() > LONGEST {
                    text = text[..good].to_owned() + "\u{fffd}";
                }
                let length = text.len();
                let file = self.add(name, text);
                // A byte order mark that `add` dropped shifts everything to the left.
                let start = (good - (length - self.text(file).len())) as u32;
                let bad = '\u{fffd}'.len_utf8() as u32;
                Err(NotAccepted { at: Span::new(file, start, start + bad), reason: Reason::NotUtf8 })
            }
        }
    }

    pub fn get(&self, file: FileId) -> &Source {
        &self.files[file.0 as usize]
    }

    pub fn name(&self, file: FileId) -> &str {
        &self.get(file).name
    }

    pub fn text(&self, file: FileId) -> &str {
        &self.get(file).text
    }

    /// The text under a span.
    pub fn slice(&self, span: Span) -> &str {
        &self.text(span.file)[span.range()]
    }

    /// Where a span starts.
    pub fn start(&self, span: Span) -> Position {
        self.get(span.file).position(span.start)
    }

    /// Where a span ends: the position just after its last character.
    pub fn end(&self, span: Span) -> Position {
        self.get(span.file).position(span.end)
    }

    pub fn ids(&self) -> impl Iterator<Item = FileId> + use<> {
        (0..self.files.len() as u32).map(FileId)
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

impl Source {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The place of a byte offset; offsets beyond the end count as the end.
    pub fn position(&self, offset: u32) -> Position {
        let offset = offset.min(self.text.len() as u32);
        let line = self.lines.partition_point(|&start| start <= offset) - 1;
        let before = &self.text.as_bytes()[self.lines[line] as usize..offset as usize];
        // Every byte that does not continue a character begins one.
        let column = before.iter().filter(|&&byte| byte & 0xC0 != 0x80).count();
        Position { line: line as u32 + 1, column: column as u32 + 1 }
    }

    /// The offset of the first byte of a line that counts from 1, or the end of the text.
    pub fn line_start(&self, line: u32) -> u32 {
        let end = self.text.len() as u32;
        line.checked_sub(1).and_then(|line| self.lines.get(line as usize)).copied().unwrap_or(end)
    }

    pub fn line_count(&self) -> u32 {
        self.lines.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let mut sources = Sources::new();
        let file = sources.add("a.nn", "let φ = 1\nψ\n");
        let source = sources.get(file);
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(7), Position { line: 1, column: 7 });
        assert_eq!(source.position(11), Position { line: 2, column: 1 });
        assert_eq!(source.position(13), Position { line: 2, column: 2 });
        assert_eq!(source.position(999), Position { line: 3, column: 1 });
    }

    #[test]
    fn a_byte_order_mark_is_no_text() {
        let mut sources = Sources::new();
        let file = sources.add("a.nn", "\u{feff}let");
        assert_eq!(sources.text(file), "let");
    }

    #[test]
    fn bad_bytes_have_a_place() {
        let mut sources = Sources::new();
        let error = sources.add_bytes("a.nn", b"\xEF\xBB\xBFok\n \xFF x".to_vec()).unwrap_err();
        assert_eq!(error.reason, Reason::NotUtf8);
        assert_eq!(sources.start(error.at), Position { line: 2, column: 2 });
        assert_eq!(sources.slice(error.at), "\u{fffd}");
    }
}
