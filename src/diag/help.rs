//! What the user can do about a diagnostic: in words, and as changes of the text where these are known.

use std::fmt;

use crate::base::{Sources, Span};

/// An advice. With edits it is concrete: they are made together, and then the fault that is told of is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Help {
    pub text: String,
    pub edits: Vec<Edit>,
}

/// One change of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The text takes the place of the span; an empty span is a place where it is put in.
    Replace(Span, String),
    /// The text becomes the last argument of the call that ends with the span, which may be a bare name: `|> self_attention`.
    Argument(Span, String),
    /// The text becomes the last argument of the first group of the call that the span is: `self_attention(4)` of `self_attention(4)(x)`.
    /// It is put nowhere where something else is called, or the argument is given already.
    Static { call: Span, callee: String, label: String, value: String },
}

impl Help {
    /// The text takes the place of the span.
    pub fn replace(mut self, span: Span, text: impl Into<String>) -> Help {
        self.edits.push(Edit::Replace(span, text.into()));
        self
    }

    /// The text is put in front of the span.
    pub fn before(self, span: Span, text: impl Into<String>) -> Help {
        self.replace(Span::new(span.file, span.start, span.start), text)
    }

    /// The text is put behind the span.
    pub fn after(self, span: Span, text: impl Into<String>) -> Help {
        self.replace(Span::new(span.file, span.end, span.end), text)
    }

    /// The text becomes the last argument of the call that ends with the span.
    pub fn argument(mut self, call: Span, text: impl Into<String>) -> Help {
        self.edits.push(Edit::Argument(call, text.into()));
        self
    }

    /// `label: value` becomes the last argument of the first group of a call of `callee`.
    pub fn static_argument(mut self, call: Span, callee: &str, label: &str, value: &str) -> Help {
        let [callee, label, value] = [callee, label, value].map(str::to_owned);
        self.edits.push(Edit::Static { call, callee, label, value });
        self
    }

    /// The changes as texts that take the places of spans, none of which meets another; empty where the help is words alone.
    pub fn changes(&self, sources: &Sources) -> Vec<(Span, String)> {
        let change = |edit: &Edit| match edit {
            Edit::Replace(span, text) => Some((*span, text.clone())),
            Edit::Argument(call, text) => Some(last_argument(sources, *call, text)),
            Edit::Static { call, callee, label, value } => {
                let written = sources.slice(*call);
                let group = written.strip_prefix(callee.as_str())?;
                let length = group_end(group).unwrap_or(0);
                if group[..length].contains(&format!("{label}:")) {
                    return None;
                }
                let end = call.start + (callee.len() + length) as u32;
                let call = Span::new(call.file, call.start, end);
                Some(last_argument(sources, call, &format!("{label}: {value}")))
            }
        };
        let changes: Option<Vec<_>> = self.edits.iter().map(change).collect();
        changes.unwrap_or_default()
    }
}

/// Where and how an argument is put into the call that ends with the span.
fn last_argument(sources: &Sources, call: Span, text: &str) -> (Span, String) {
    let (back, text) = match sources.slice(call).strip_suffix(')') {
        None => (0, format!("({text})")),
        Some(rest) if rest.ends_with('(') => (1, text.to_owned()),
        Some(_) => (1, format!(", {text}")),
    };
    (Span::new(call.file, call.end - back, call.end - back), text)
}

/// Behind the first group of arguments.
fn group_end(call: &str) -> Option<usize> {
    let mut open = 0;
    for (at, letter) in call.char_indices() {
        open += match letter {
            '(' | '[' | '{' => 1,
            ')' | ']' | '}' => -1,
            _ => continue,
        };
        if open == 0 && letter == ')' {
            return Some(at + 1);
        }
    }
    None
}

impl From<String> for Help {
    fn from(text: String) -> Help {
        Help { text, edits: Vec::new() }
    }
}

impl From<&str> for Help {
    fn from(text: &str) -> Help {
        Help::from(text.to_owned())
    }
}

impl fmt::Display for Help {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_find_their_place() {
        let mut sources = Sources::new();
        let file = sources.add("a.nn", "f(x, 1) g() h");
        let place = |start, end| {
            let changes = Help::from("").argument(Span::new(file, start, end), "a: b").changes(&sources);
            let [(span, text)] = &changes[..] else { panic!("one change") };
            (span.start, span.end, text.clone())
        };
        assert_eq!(place(0, 7), (6, 6, ", a: b".to_owned()));
        assert_eq!(place(8, 11), (10, 10, "a: b".to_owned()));
        assert_eq!(place(12, 13), (13, 13, "(a: b)".to_owned()));
        let file = sources.add("b.nn", "f(g(1))(x)");
        let changes = Help::from("").static_argument(Span::new(file, 0, 10), "f", "a", "b").changes(&sources);
        assert_eq!(changes, [(Span::new(file, 6, 6), ", a: b".to_owned())]);
        let other = Help::from("").static_argument(Span::new(file, 0, 10), "h", "a", "b");
        assert_eq!(other.changes(&sources), []);
    }
}
