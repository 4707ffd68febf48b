//! Text to tree. A file is parsed item by item. Where an item does not parse, the statement or clause
//! around the place is reported, replaced by an error token, and the item is parsed again: so errors
//! are independent, and what follows a broken part is read as if that part were whole.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use nn_grammar::ast::{Block, File, Ident, Item, ItemKind};
use nn_grammar::build::Builder;
use nn_grammar::tokens::{Comment, Lexed, Lexeme, ProblemKind, Token, lex};
use nn_grammar::{ItemParser, ParseError};

use crate::base::{FileId, Name, Sources, Span};
use crate::diag::Diagnostic;

use super::brackets::{Brackets, match_up};
use super::errors;
use super::expected::Expected;
use super::layout::{Spanned, docs, lay_out};
use super::mistakes::{Stop, unexpected};
use super::parts::{enclosing_part, is_separator, items, matched};

/// Most errors that one item is parsed again for; what is left of it then counts as broken.
const ERRORS_PER_ITEM: usize = 20;
/// Most errors that are reported for one file.
const ERRORS_PER_FILE: usize = 100;

/// Most errors that are kept to choose from: bounds the work on text that is no program at all.
const ERRORS_KEPT: usize = 10 * ERRORS_PER_FILE;

/// What parsing a file gives. The tree is whole even where there are errors: broken parts are error
/// nodes.
#[derive(Debug, Clone)]
pub struct Parsed {
    pub file: File,
    pub diagnostics: Vec<Diagnostic>,
    pub comments: Vec<Comment>,
}

/// Parses a file of the table. Takes time linear in its length, but for a bounded number of errors.
pub fn parse(sources: &Sources, file: FileId) -> Parsed {
    parse_text(file, sources.text(file))
}

/// The same for the text of a file, wherever it is kept.
pub fn parse_text(file: FileId, text: &str) -> Parsed {
    let lexed = lex(text);
    let mut parser = Parser::new(file, text, &lexed);
    let mut tokens = parser.balance(&lexed.lexemes);
    parser.join_bodies(&mut tokens);
    let items = items(&tokens).map(|item| parser.item(item)).collect();
    let Parser { diagnostics, parens, .. } = parser;
    let span = Span::new(file, 0, text.len() as u32);
    let diagnostics = in_order(diagnostics);
    Parsed { file: File { items, parens, span }, diagnostics, comments: lexed.comments }
}

/// Parses a file of the table that holds statements, as between the braces of a body.
pub fn parse_statements(sources: &Sources, file: FileId) -> (Block, Vec<Diagnostic>) {
    let text = sources.text(file);
    let lexed = lex(text);
    let mut parser = Parser::new(file, text, &lexed);
    let mut tokens = parser.balance(&lexed.lexemes);
    let end = text.len() as u32;
    while tokens.last().is_some_and(|&(_, token, _)| is_separator(token)) {
        tokens.pop();
    }
    let first = tokens.iter().position(|&(_, token, _)| !is_separator(token)).unwrap_or(tokens.len());
    // They become the body of a test, whose head needs nothing.
    let head = [Token::Test, Token::Str("\"\""), Token::LeftBrace].map(|token| (0, token, 0));
    let body = tokens.split_off(first);
    let whole: Vec<Spanned<'_>> =
        head.into_iter().chain(body).chain([(end, Token::RightBrace, end)]).collect();
    let item = parser.item(&whole);
    let block = match item.kind {
        ItemKind::Test(test) => test.body,
        _ => Block { stmts: Vec::new(), tail: None, span: Span::new(file, 0, end) },
    };
    (block, in_order(parser.diagnostics))
}

/// Whether a text plainly goes on: a bracket is open, an operator waits for its right side, a definition for its body.
pub fn is_unfinished(text: &str) -> bool {
    let lexed = lex(text);
    let mut open = 0i64;
    let (mut body, mut last) = (false, None);
    for lexeme in &lexed.lexemes {
        match lexeme.token {
            Token::LeftParen | Token::LeftBracket => open += 1,
            Token::LeftBrace => {
                body |= open == 0;
                open += 1;
            }
            Token::RightParen | Token::RightBracket | Token::RightBrace => open -= 1,
            Token::Assign => body |= open == 0,
            _ => {}
        }
        if !is_separator(lexeme.token) {
            last = Some(lexeme.token);
        }
    }
    let head = lexed.lexemes.first().is_some_and(|first| {
        matches!(first.token, Token::Fn | Token::Layer | Token::Model | Token::Optimizer | Token::Train)
    });
    // A value of a function type begins with `fn`, too, and has no body.
    let lambda = lexed.lexemes.iter().any(|lexeme| lexeme.token == Token::FatArrow);
    open > 0 || head && !body && !lambda || last.is_some_and(|last| !last.ends_expression())
}

/// The tokens of a file as the grammar takes them, errors unreported.
pub fn tokens_of(sources: &Sources, file: FileId) -> Vec<Spanned<'_>> {
    let text = sources.text(file);
    let lexed = lex(text);
    Parser::new(file, text, &lexed).balance(&lexed.lexemes)
}

/// By place, and not more than anybody reads.
fn in_order(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by_key(Diagnostic::primary);
    if diagnostics.len() > ERRORS_PER_FILE {
        // A limit that was met decides the exit code: it is kept.
        diagnostics.sort_by_key(|diagnostic| (diagnostic.fault == Default::default(), diagnostic.primary()));
        diagnostics.truncate(ERRORS_PER_FILE);
        diagnostics.sort_by_key(Diagnostic::primary);
        if let Some(last) = diagnostics.last().and_then(Diagnostic::primary) {
            diagnostics.push(errors::more_errors(last));
        }
    }
    diagnostics
}

struct Parser<'s> {
    file: FileId,
    text: &'s str,
    grammar: ItemParser,
    docs: HashMap<u32, Name>,
    diagnostics: Vec<Diagnostic>,
    /// Places of errors that were found before parsing: a part around one is broken for a reason that
    /// is told already. In order.
    damaged: Vec<Span>,
    parens: HashSet<Span>,
}

impl<'s> Parser<'s> {
    fn new(file: FileId, text: &'s str, lexed: &Lexed<'s>) -> Parser<'s> {
        let (mut diagnostics, mut damaged) = (Vec::new(), Vec::new());
        let mut foreign_comment = false;
        for problem in lexed.problems.iter().take(ERRORS_KEPT) {
            let span = Span::new(file, problem.start, problem.end);
            if matches!(problem.kind, ProblemKind::Invalid | ProblemKind::UnterminatedString) {
                damaged.push(span);
            }
            // Who writes comments like that writes all of them like that.
            let comment = matches!(problem.kind, ProblemKind::HashComment | ProblemKind::BlockComment);
            let told = comment && foreign_comment;
            foreign_comment |= comment;
            if !told {
                diagnostics.push(errors::lexical(span, &text[span.range()], *problem));
            }
        }
        let docs = docs(text, &lexed.lexemes, &lexed.comments);
        Parser { file, text, grammar: ItemParser::new(), docs, diagnostics, damaged, parens: HashSet::new() }
    }

    /// Matches brackets and ends statements. Where a limit is met nothing is left to parse.
    fn balance(&mut self, lexemes: &[Lexeme<'s>]) -> Vec<Spanned<'s>> {
        let tokens = match match_up(self.file, lexemes) {
            Brackets::Balanced => lay_out(self.file, lexemes),
            Brackets::Repaired { lexemes, diagnostics, damaged } => {
                self.diagnostics.extend(diagnostics);
                self.damaged.extend(damaged);
                lay_out(self.file, &lexemes)
            }
            Brackets::TooDeep(span) => {
                self.diagnostics.push(errors::brackets_too_deep(span));
                return Vec::new();
            }
        };
        tokens.unwrap_or_else(|place| {
            self.diagnostics.push(errors::expression_too_high(place));
            Vec::new()
        })
    }

    /// A `{` at the start of a line outside of all brackets: the body of the head before it. Reported,
    /// and read as if it stood at that head's end.
    fn join_bodies(&mut self, tokens: &mut Vec<Spanned<'s>>) {
        let (mut depth, mut kept, mut first) = (0u32, 0, None);
        for index in 0..tokens.len() {
            let (start, token, end) = tokens[index];
            match token {
                Token::LeftParen | Token::LeftBracket | Token::LeftBrace => depth += 1,
                Token::RightParen | Token::RightBracket | Token::RightBrace => depth -= 1,
                _ => {}
            }
            let has_body = |token| {
                matches!(
                    token,
                    Token::Fn | Token::Layer | Token::Model | Token::Optimizer | Token::Train | Token::Test
                )
            };
            if (depth, token) == (1, Token::LeftBrace)
                && kept > 0
                && tokens[kept - 1].1 == Token::Newline
                && first.is_some_and(has_body)
            {
                self.diagnostics.push(errors::body_on_next_line(Span::new(self.file, start, end)));
                kept -= 1;
            }
            if depth == 0 && kept > 0 && is_separator(tokens[kept - 1].1) {
                first = Some(token);
            }
            first.get_or_insert(token);
            tokens[kept] = tokens[index];
            kept += 1;
        }
        tokens.truncate(kept);
    }

    fn item(&mut self, tokens: &[Spanned<'s>]) -> Item {
        let mut tokens = tokens.to_vec();
        let mut broken: Vec<Vec<Ident>> = Vec::new();
        let whole = self.span(&tokens);
        let defines = self.defines(&tokens);
        for _ in 0..ERRORS_PER_ITEM {
            let at = Cell::new(0);
            let mut builder = Builder::new(self.file, &self.docs, &broken);
            let input = tokens.iter().enumerate().map(|(index, &token)| {
                at.set(index);
                Ok(token)
            });
            let expected = match self.grammar.parse(&mut builder, input) {
                Ok(item) => {
                    self.parens.extend(builder.parens);
                    let told = |(problem, span): (_, Span)| {
                        errors::not_allowed(span, &self.text[span.range()], problem)
                    };
                    self.diagnostics.extend(builder.problems.into_iter().map(told).take(ERRORS_KEPT));
                    return *item;
                }
                Err(ParseError::UnrecognizedToken { expected, .. }) => expected,
                Err(ParseError::UnrecognizedEof { expected, .. }) => {
                    at.set(tokens.len());
                    expected
                }
                Err(ParseError::User { error }) => match error {},
                Err(ParseError::InvalidToken { .. } | ParseError::ExtraToken { .. }) => Vec::new(),
            };
            let at = at.get();
            let part = enclosing_part(&tokens, at);
            self.report(&tokens, at, part.clone().unwrap_or(0..tokens.len()), &expected);
            let Some(part) = part else {
                self.body_of_broken_item(&tokens, at);
                break;
            };
            let span = self.span(&tokens[part.clone()]);
            broken.push(self.defines(&tokens[part.clone()]));
            let error = Token::Error(broken.len() as u32 - 1);
            tokens.splice(part, [(span.start, error, span.end)]);
        }
        Item { kind: ItemKind::Error { defines }, doc: None, span: whole }
    }

    /// Reports a place, unless the part around it was damaged before parsing.
    fn report(&mut self, tokens: &[Spanned<'s>], at: usize, part: Range<usize>, expected: &[String]) {
        if self.diagnostics.len() >= ERRORS_KEPT {
            return;
        }
        let mut span = self.span(&tokens[part.clone()]);
        // What was left out may lie between the part and the next token or the end of the line.
        let rest = &self.text[span.end as usize..];
        let next = tokens.get(part.end).map_or(span.end, |&(start, _, _)| start);
        span.end = next.max(span.end + rest.find('\n').unwrap_or(rest.len()) as u32);
        if self.damaged.iter().any(|damage| damage.start <= span.end && span.start <= damage.end) {
            return;
        }
        let expected = Expected::new(expected);
        let stop = Stop { file: self.file, text: self.text, tokens, at, part, expected };
        self.diagnostics.push(unexpected(&stop));
    }

    /// The head of an item is broken: its body may have errors of its own. It is parsed as the body of
    /// an item whose head is whole, for the sake of its errors.
    fn body_of_broken_item(&mut self, tokens: &[Spanned<'s>], at: usize) {
        let Some(&(_, first, _)) = tokens.first() else { return };
        let brace = (at..tokens.len()).find(|&index| tokens[index].1 == Token::LeftBrace);
        let Some(brace) = brace.filter(|&brace| brace > 0) else { return };
        let end = brace + matched(&tokens[brace..]);
        let place = tokens[brace].0;
        let head: &[Token<'_>] = match first {
            Token::Train => &[Token::Train],
            Token::Fn | Token::Layer | Token::Model | Token::Optimizer | Token::Test => {
                &[Token::Test, Token::Str("\"\"")]
            }
            _ => return,
        };
        let mut body: Vec<Spanned<'s>> = head.iter().map(|&token| (place, token, place)).collect();
        body.extend_from_slice(&tokens[brace..end]);
        // Ends here: this head is whole.
        let _for_its_errors = self.item(&body);
    }

    fn span(&self, tokens: &[Spanned<'s>]) -> Span {
        let start = tokens.first().map_or(0, |&(start, _, _)| start);
        let end = tokens.last().map_or(start, |&(_, _, end)| end);
        Span::new(self.file, start, end.max(start))
    }

    /// The names that a part which does not parse would have defined, as far as its tokens tell.
    fn defines(&self, part: &[Spanned<'s>]) -> Vec<Ident> {
        let name = |&(start, token, end): &Spanned<'s>| match token {
            Token::Name(name) => {
                Some(Ident { name: Name::new(name), span: Span::new(self.file, start, end) })
            }
            _ => None,
        };
        match part {
            [(_, Token::Let, _), rest @ ..] => {
                let stops = |token| matches!(token, Token::Assign | Token::Colon);
                rest.iter().take_while(|&&(_, token, _)| !stops(token)).filter_map(name).collect()
            }
            [
                (
                    _,
                    Token::Param | Token::State | Token::Fn | Token::Layer | Token::Model | Token::Optimizer,
                    _,
                ),
                second,
                ..,
            ] => name(second).into_iter().collect(),
            // A clause: `loss dl = …`
            [(_, Token::Name(_), _), second, (_, Token::Assign, _), ..] => name(second).into_iter().collect(),
            _ => Vec::new(),
        }
    }
}
