//! Makes brackets match. The parser sees balanced tokens only, so that one lost bracket costs the
//! statement or definition that it stands in and never the rest of the file.
//! Must never know the grammar beyond which words begin a line.

use nn_grammar::tokens::{Lexeme, Token};

use crate::base::{FileId, Span};
use crate::diag::Diagnostic;

use super::errors;
use super::layout::{begins_item, begins_statement};

/// Most brackets open at once.
pub const DEEPEST: usize = 256;

/// What became of a file's brackets.
pub enum Brackets<'s> {
    /// They match.
    Balanced,
    /// They match now: lost ones were put in, stray ones left out.
    Repaired { lexemes: Vec<Lexeme<'s>>, diagnostics: Vec<Diagnostic>, damaged: Vec<Span> },
    /// More than [`DEEPEST`] are open at this place.
    TooDeep(Span),
}

/// Matches brackets; repairs them only where they do not match. Linear in the number of tokens.
pub fn match_up<'s>(file: FileId, lexemes: &[Lexeme<'s>]) -> Brackets<'s> {
    let mut open = Vec::new();
    for lexeme in lexemes {
        match lexeme.token {
            token if closer(token).is_some() => open.push(token),
            Token::RightParen | Token::RightBracket | Token::RightBrace
                if open.pop().and_then(closer) != Some(lexeme.token) =>
            {
                return repair(file, lexemes);
            }
            _ => {}
        }
        if open.len() > DEEPEST {
            return Brackets::TooDeep(Span::new(file, lexeme.start, lexeme.end));
        }
    }
    if open.is_empty() { Brackets::Balanced } else { repair(file, lexemes) }
}

/// The bracket that closes an opening one.
fn closer(token: Token<'_>) -> Option<Token<'static>> {
    match token {
        Token::LeftParen => Some(Token::RightParen),
        Token::LeftBracket => Some(Token::RightBracket),
        Token::LeftBrace => Some(Token::RightBrace),
        _ => None,
    }
}

/// An open bracket.
#[derive(Clone, Copy)]
struct Open {
    closer: Token<'static>,
    span: Span,
    /// The indentation of its line.
    indent: u32,
}

struct Repair<'s> {
    file: FileId,
    open: Vec<Open>,
    done: Vec<Lexeme<'s>>,
    diagnostics: Vec<Diagnostic>,
    damaged: Vec<Span>,
    /// A `{` of this item whose `}` stands further to the left than its line: probably the one that
    /// was not closed, and its neighbour's `}` was taken for its own.
    suspect: Option<(Open, Span)>,
}

fn repair<'s>(file: FileId, lexemes: &[Lexeme<'s>]) -> Brackets<'s> {
    let (open, done) = (Vec::new(), Vec::with_capacity(lexemes.len() + 8));
    let (diagnostics, damaged) = (Vec::new(), Vec::new());
    let mut repair = Repair { file, open, done, diagnostics, damaged, suspect: None };
    let mut indent = 0;
    for (index, lexeme) in lexemes.iter().enumerate() {
        let next = lexemes.get(index + 1).map(|next| next.token);
        if let Some(new) = lexeme.indent {
            indent = new;
            repair.start_line(lexeme, next);
        }
        let span = Span::new(file, lexeme.start, lexeme.end);
        if let Some(closer) = closer(lexeme.token) {
            if repair.open.len() == DEEPEST {
                return Brackets::TooDeep(span);
            }
            repair.open.push(Open { closer, span, indent });
        } else if matches!(lexeme.token, Token::RightParen | Token::RightBracket | Token::RightBrace) {
            if repair.close(lexeme, span) {
                repair.done.push(Lexeme { token: repair.done_closer(lexeme.token), ..*lexeme });
                repair.open.pop();
            }
            continue;
        }
        repair.done.push(*lexeme);
    }
    let end = lexemes.last().map_or(0, |last| last.end);
    repair.close_all(end);
    let Repair { done, diagnostics, damaged, .. } = repair;
    Brackets::Repaired { lexemes: done, diagnostics, damaged }
}

impl<'s> Repair<'s> {
    /// The first token of a line may show that brackets before it were not closed.
    fn start_line(&mut self, lexeme: &Lexeme<'s>, next: Option<Token<'s>>) {
        if lexeme.indent == Some(0) && begins_item(lexeme.token, next) {
            self.close_all(lexeme.start);
            self.suspect = None;
            return;
        }
        let top = self.open.last().map(|open| open.closer);
        if begins_statement(lexeme.token, next) && top.is_some_and(|closer| closer != Token::RightBrace) {
            let brace = self.open.iter().rposition(|open| open.closer == Token::RightBrace);
            self.close_down_to(brace.map_or(0, |at| at + 1), lexeme.start);
        }
    }

    /// Prepares for a closing bracket; whether it is to be kept, as the closer of the last open one.
    fn close(&mut self, lexeme: &Lexeme<'s>, span: Span) -> bool {
        let Some(top) = self.open.last().copied() else {
            self.stray(span, lexeme.token);
            return false;
        };
        if top.closer == lexeme.token {
            if let (Token::RightBrace, Some(indent)) = (lexeme.token, lexeme.indent)
                && indent < top.indent
                && self.suspect.is_none()
            {
                self.suspect = Some((top, span));
            }
            return true;
        }
        // A closing brace looks past other brackets; the others do not look past a brace.
        let brace = lexeme.token == Token::RightBrace;
        let inside = |open: &&Open| brace || open.closer != Token::RightBrace;
        let skipped = self.open.iter().rev().take_while(inside).position(|open| open.closer == lexeme.token);
        if let Some(skipped) = skipped {
            self.close_down_to(self.open.len() - skipped, lexeme.start);
            return true;
        }
        if brace || top.closer == Token::RightBrace {
            self.stray(span, lexeme.token);
            return false;
        }
        self.diagnostics.push(errors::wrong_closer(top.span, top.closer, span, lexeme.token));
        self.damaged.push(top.span.to(span));
        true
    }

    /// The token to close the last open bracket with, whatever was written.
    fn done_closer(&self, written: Token<'s>) -> Token<'s> {
        self.open.last().map_or(written, |open| open.closer)
    }

    fn stray(&mut self, span: Span, token: Token<'_>) {
        self.diagnostics.push(errors::stray_closer(span, token));
        self.damaged.push(span);
    }

    /// Puts in the closers of all open brackets from the given one on, and reports one of them.
    fn close_down_to(&mut self, kept: usize, at: u32) {
        let Some(first) = self.open.get(kept) else { return };
        // Behind the last token, so that a new line still begins where it begins.
        let end = self.done.last().map_or(at, |lexeme| lexeme.end);
        self.damaged.push(Span::new(self.file, first.span.start, end));
        let last = self.open[self.open.len() - 1];
        match self.suspect.take() {
            Some((suspect, closed)) if last.closer == Token::RightBrace => {
                self.damaged.push(suspect.span.to(closed));
                self.diagnostics.push(errors::unclosed(suspect.span, suspect.closer, Some(closed)));
            }
            _ => self.diagnostics.push(errors::unclosed(last.span, last.closer, None)),
        }
        for open in self.open.drain(kept..).rev() {
            self.done.push(Lexeme { token: open.closer, start: end, end, indent: None });
        }
    }

    fn close_all(&mut self, at: u32) {
        self.close_down_to(0, at);
    }
}
