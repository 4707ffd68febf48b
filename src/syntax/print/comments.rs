//! Comments and empty lines, put back where they stood: before the row, or at the end of the line, that
//! they belonged to. A comment in the middle of an expression moves above its row.

use std::collections::HashSet;

use nn_grammar::tokens::Comment;

use crate::base::Span;

use super::doc::Doc;

/// Prints nodes in the order of the text; each comment is taken once.
pub struct Printer<'a> {
    pub text: &'a str,
    pub parens: &'a HashSet<Span>,
    comments: &'a [Comment],
}

impl<'a> Printer<'a> {
    pub fn new(text: &'a str, comments: &'a [Comment], parens: &'a HashSet<Span>) -> Printer<'a> {
        Printer { text, parens, comments }
    }

    pub fn slice(&self, span: Span) -> &'a str {
        &self.text[span.range()]
    }

    fn comment(&self, comment: &Comment) -> &'a str {
        self.text[comment.start as usize..comment.end as usize].trim_end()
    }

    /// The next comment, if it begins before an offset.
    pub fn take_before(&mut self, offset: u32) -> Option<&'a Comment> {
        let (first, rest) = self.comments.split_first()?;
        (first.start < offset).then(|| {
            self.comments = rest;
            first
        })
    }

    /// The comment at the end of the line on which a node ends, if nothing else follows the node there
    /// but separators: `limit` is where the next node begins or the bracket closes.
    pub fn trailing(&mut self, end: u32, limit: u32) -> Doc {
        let comment = self.comments.first().filter(|comment| {
            comment.start >= end
                && comment.start < limit
                && !comment.alone
                && !self.broken(end, comment.start)
        });
        match comment {
            Some(comment) => {
                self.comments = &self.comments[1..];
                Doc::Comment(self.comment(comment).to_string())
            }
            None => Doc::empty(),
        }
    }

    /// Comments before an offset as rows of their own, each ended by a line end.
    pub fn lines_before(&mut self, offset: u32) -> Doc {
        let mut lines = Vec::new();
        while let Some(comment) = self.take_before(offset) {
            lines.extend([self.comment(comment).into(), Doc::HardLine]);
        }
        Doc::Concat(lines)
    }

    /// Whether a line ends between two offsets.
    pub fn broken(&self, start: u32, end: u32) -> bool {
        self.text.get(start as usize..end as usize).is_some_and(|between| between.contains('\n'))
    }

    /// Whether an empty line stands right above an offset.
    fn blank_before(&self, offset: u32) -> bool {
        let before = &self.text[..offset as usize];
        let white = &before[before.trim_end().len()..];
        white.bytes().filter(|&byte| byte == b'\n').count() > 1
    }

    /// Where the bracket that follows an offset closes; comments in between are passed over.
    pub fn closing(&self, from: u32, bracket: u8) -> u32 {
        let bytes = self.text.as_bytes();
        let mut at = from as usize;
        while at < bytes.len() && bytes[at] != bracket {
            if bytes[at..].starts_with(b"//") {
                at += bytes[at..].iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len() - at);
            } else {
                at += 1;
            }
        }
        at as u32
    }

    /// Nodes one below the other up to the offset `end`. Where `join` holds, nodes that shared a line
    /// still do, separated by `;`, if they fit.
    pub fn rows<T>(
        &mut self,
        nodes: &[(Span, T)],
        end: u32,
        join: bool,
        mut print: impl FnMut(&mut Self, usize, &T) -> Doc,
    ) -> Doc {
        let mut rows = Rows::default();
        for (index, (span, node)) in nodes.iter().enumerate() {
            let mut joined = join && index > 0 && !self.broken(nodes[index - 1].0.end, span.start);
            while let Some(comment) = self.take_before(span.start) {
                rows.next_row(self.blank_before(comment.start));
                rows.add(self.comment(comment).into());
                joined = false;
            }
            let blank = self.blank_before(span.start);
            let doc = print(self, index, node);
            // What is left in the middle of the node.
            while let Some(comment) = self.take_before(span.end) {
                rows.next_row(false);
                rows.add(self.comment(comment).into());
                joined = false;
            }
            if joined {
                rows.join();
            } else {
                rows.next_row(blank);
            }
            rows.add(doc);
            let limit = nodes.get(index + 1).map_or(end, |(next, _)| next.start);
            rows.comment = self.trailing(span.end, limit);
        }
        while let Some(comment) = self.take_before(end) {
            rows.next_row(self.blank_before(comment.start));
            rows.add(self.comment(comment).into());
        }
        rows.finish()
    }
}

/// Rows that are finished, and the one under way.
#[derive(Default)]
struct Rows {
    done: Vec<Doc>,
    row: Vec<Doc>,
    /// At the end of the row under way; outside of its group, which it must not break.
    comment: Doc,
}

impl Default for Doc {
    fn default() -> Doc {
        Doc::empty()
    }
}

impl Rows {
    fn add(&mut self, doc: Doc) {
        self.row.push(doc);
    }

    fn join(&mut self) {
        self.row.extend([Doc::IfFlat(";"), Doc::Line]);
    }

    fn next_row(&mut self, blank: bool) {
        if !self.row.is_empty() {
            self.end_row();
            self.done.push(Doc::HardLine);
            if blank {
                self.done.push(Doc::HardLine);
            }
        }
    }

    fn end_row(&mut self) {
        self.done.push(Doc::Concat(std::mem::take(&mut self.row)).group());
        self.done.push(std::mem::take(&mut self.comment));
    }

    fn finish(mut self) -> Doc {
        self.end_row();
        Doc::Concat(self.done)
    }
}
