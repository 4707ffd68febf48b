//! An open document: its text and its places, as the protocol counts them.

use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use crate::base::{FileId, Sources, Span};

/// What a path's letters are not in an address.
const KEPT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// The file that an address means; of an unsaved document its name alone.
pub fn path_of(uri: &str) -> PathBuf {
    let path = uri.strip_prefix("file://").unwrap_or(uri);
    PathBuf::from(percent_decode_str(path).decode_utf8_lossy().into_owned())
}

pub fn uri_of(path: &Path) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    format!("file://{}", utf8_percent_encode(&whole.to_string_lossy(), KEPT))
}

/// A place of the protocol: lines from 0, and in them 16-bit units of UTF-16.
pub fn position(sources: &Sources, file: FileId, offset: u32) -> Value {
    let source = sources.get(file);
    let line = source.position(offset).line;
    let start = source.line_start(line) as usize;
    let end = (offset as usize).clamp(start, source.text().len());
    let units = source.text().get(start..end).map_or(0, |text| text.encode_utf16().count());
    json!({"line": line - 1, "character": units})
}

pub fn range(sources: &Sources, span: Span) -> Value {
    json!({"start": position(sources, span.file, span.start), "end": position(sources, span.file, span.end)})
}

/// The offset of a place; places beyond the end of their line are its end.
pub fn offset(sources: &Sources, file: FileId, at: &Value) -> Option<usize> {
    let line = u32::try_from(at["line"].as_u64()?).ok()?;
    let wanted = usize::try_from(at["character"].as_u64()?).ok()?;
    let source = sources.get(file);
    let start = source.line_start(line.checked_add(1)?) as usize;
    let text = source.text().get(start..)?;
    let text = text.split('\n').next().unwrap_or_default();
    let mut units = 0;
    for (index, letter) in text.char_indices() {
        if units >= wanted {
            return Some(start + index);
        }
        units += letter.len_utf16();
    }
    Some(start + text.len())
}

/// The name at a place, its span, and the name before the dot in front of it.
pub fn name_at(text: &str, offset: usize) -> Option<(std::ops::Range<usize>, Option<&str>)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '\'';
    let begin_of = |end: usize| {
        text[..end].char_indices().rev().take_while(|(_, c)| is_part(*c)).last().map_or(end, |(at, _)| at)
    };
    if !text.is_char_boundary(offset) {
        return None;
    }
    let begin = begin_of(offset);
    let end = text[offset..].find(|c| !is_part(c)).map_or(text.len(), |length| offset + length);
    if begin == end || text[begin..].starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let before = text[..begin].strip_suffix('.').map(|rest| &text[begin_of(rest.len())..rest.len()]);
    Some((begin..end, before.filter(|name| !name.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_as_the_protocol_has_them() {
        let mut sources = Sources::new();
        let file = sources.add("a.nn", "// 😀é\nfn f(x: f32) -> f32 = o.g(x')\n");
        for (place, at) in [((0, 3), 3), ((0, 5), 7), ((0, 6), 9), ((0, 99), 9), ((1, 0), 10), ((1, 3), 13)] {
            let value = json!({"line": place.0, "character": place.1});
            assert_eq!(offset(&sources, file, &value), Some(at), "{place:?}");
            if place.1 < 99 {
                assert_eq!(position(&sources, file, at as u32), value);
            }
        }
        let text = sources.text(file);
        let name = |needle: &str| {
            let (range, before) = name_at(text, text.find(needle).unwrap() + 1).unwrap();
            (&text[range], before)
        };
        assert_eq!(name("f("), ("f", None));
        assert_eq!(name("g("), ("g", Some("o")));
        assert_eq!(name("x'"), ("x'", None));
        let path = Path::new("/tmp/a b/%é.nn");
        assert_eq!(path_of(&uri_of(path)), path);
    }
}
