//! From matched tokens to what the grammar takes: line ends that end a statement become tokens, doc
//! comments find their definitions, and expressions that would make too high a tree are refused, so
//! that every later room may recurse over the tree.

use std::collections::HashMap;

use nn_grammar::tokens::{Comment, Lexeme, Token};

use crate::base::{FileId, Name, Span};

/// A token as the parser takes it.
pub type Spanned<'s> = (u32, Token<'s>, u32);

/// Highest syntax tree that is built, counted in nested brackets and chained operators.
pub const HIGHEST: u32 = 400;

/// Ends statements at line ends: where the innermost open bracket is `{` or none, the token before
/// can end an expression, and the token after can begin a statement; or where the token after begins a
/// statement and cannot do anything else.
///
/// The error is the place at which a tree would become higher than [`HIGHEST`].
pub fn lay_out<'s>(file: FileId, lexemes: &[Lexeme<'s>]) -> Result<Vec<Spanned<'s>>, Span> {
    let mut tokens: Vec<Spanned<'s>> = Vec::with_capacity(lexemes.len() + lexemes.len() / 8);
    let mut levels = vec![Level::new(true)];
    for (index, lexeme) in lexemes.iter().enumerate() {
        let Lexeme { token, start, end, indent } = *lexeme;
        let before = tokens.last().map(|&(_, before, end)| (before, end));
        let outermost = levels.len() == 1;
        let level = levels.last_mut().expect("the outermost level stays");
        let next = lexemes.get(index + 1).map(|next| next.token);
        let breaks =
            outermost && indent == Some(0) && begins_item(token, next) || begins_statement(token, next);
        if let (Some(_), true, Some((last, ended))) = (indent, level.lines, before)
            && (breaks && !matches!(last, Token::LeftBrace | Token::Semicolon)
                || last.ends_expression() && !token.continues_line())
        {
            tokens.push((ended, Token::Newline, ended));
            level.separate();
        }
        match token {
            Token::LeftParen | Token::LeftBracket | Token::LeftBrace => {
                // A call or an index wraps what stands before it.
                level.operators += u32::from(before.is_some_and(|(last, _)| last.ends_expression()));
                levels.push(Level::new(token == Token::LeftBrace));
            }
            Token::RightParen | Token::RightBracket | Token::RightBrace if !outermost => {
                let height = levels.pop().map_or(0, |level| level.highest.max(level.height())) + 1;
                let level = levels.last_mut().expect("the outermost level stays");
                level.inner = level.inner.max(height);
                if level.height() > HIGHEST {
                    return Err(Span::new(file, start, end));
                }
            }
            Token::Comma | Token::Semicolon => level.separate(),
            _ if wraps(token) => {
                level.operators += 1;
                if level.height() > HIGHEST {
                    return Err(Span::new(file, start, end));
                }
            }
            _ => {}
        }
        tokens.push((start, token, end));
    }
    Ok(tokens)
}

/// No expression goes on with these words: where one stands at the very start of a line, what is before
/// it is over, even if it is broken off.
pub fn begins_item(token: Token<'_>, next: Option<Token<'_>>) -> bool {
    use Token::*;
    match token {
        Fn => matches!(next, Some(Name(_))),
        Layer | Model | Optimizer | Train | Test | Use | Let => true,
        _ => false,
    }
}

/// As [`begins_item`], for statements: wherever one of these stands first in its line.
pub fn begins_statement(token: Token<'_>, next: Option<Token<'_>>) -> bool {
    use Token::*;
    match token {
        Let | Yield | Assert => true,
        Param | State => matches!(next, Some(Name(_))),
        _ => false,
    }
}

/// Between two brackets: an upper bound of the height of what stands there.
struct Level {
    /// Line ends count here.
    lines: bool,
    /// Operators since the last separator.
    operators: u32,
    /// The highest bracket since the last separator.
    inner: u32,
    /// The highest part before the last separator.
    highest: u32,
}

impl Level {
    fn new(lines: bool) -> Level {
        Level { lines, operators: 0, inner: 0, highest: 0 }
    }

    fn height(&self) -> u32 {
        self.operators + self.inner
    }

    fn separate(&mut self) {
        self.highest = self.highest.max(self.height());
        (self.operators, self.inner) = (0, 0);
    }
}

/// Each of these puts what stands beside it one node deeper.
fn wraps(token: Token<'_>) -> bool {
    use Token::*;
    matches!(
        token,
        Plus | Minus
            | Star
            | Slash
            | Percent
            | At
            | Power
            | Pipe
            | Dot
            | Equal
            | NotEqual
            | Less
            | LessEqual
            | Greater
            | GreaterEqual
            | Approx
            | In
            | And
            | Or
            | Not
            | As
            | Else
            | FatArrow
            | Arrow
            | Fn
    )
}

/// The text of the `///` lines right above a token, by the offset of the token.
pub fn docs(text: &str, lexemes: &[Lexeme<'_>], comments: &[Comment]) -> HashMap<u32, Name> {
    let mut docs = HashMap::new();
    let mut comments = comments.iter().peekable();
    while let Some(comment) = comments.next() {
        if !(comment.doc && comment.alone) {
            continue;
        }
        let after = lexemes.partition_point(|lexeme| lexeme.start < comment.end);
        let Some(below) = lexemes.get(after) else { break };
        let mut lines = vec![line(text, comment)];
        while let Some(next) = comments.next_if(|next| next.end <= below.start && next.doc && next.alone) {
            lines.push(line(text, next));
        }
        docs.insert(below.start, Name::from(lines.join("\n")));
    }
    docs
}

fn line<'t>(text: &'t str, comment: &Comment) -> &'t str {
    let line = &text[comment.start as usize + 3..comment.end as usize];
    line.strip_prefix(' ').unwrap_or(line)
}
