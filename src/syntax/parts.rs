//! The parts of a token stream whose brackets match: items, statements, clauses.

use std::ops::Range;

use nn_grammar::tokens::Token;

use super::layout::Spanned;

/// The items of a file: what stands between separators outside of all brackets.
pub fn items<'t, 's>(tokens: &'t [Spanned<'s>]) -> impl Iterator<Item = &'t [Spanned<'s>]> {
    let mut depth = 0i32;
    tokens
        .split(move |&(_, token, _)| {
            depth += nesting(token);
            depth == 0 && is_separator(token)
        })
        .filter(|item| !item.is_empty())
}

pub fn is_separator(token: Token<'_>) -> bool {
    matches!(token, Token::Semicolon | Token::Newline)
}

/// The statement or clause around a token: what stands between separators in the innermost braces, or
/// further out where that is one error token already. None is the whole item.
pub fn enclosing_part(tokens: &[Spanned<'_>], at: usize) -> Option<Range<usize>> {
    /// An open bracket, and where the part that is under way in it begins.
    struct Open {
        brace: bool,
        part: usize,
    }
    let mut open: Vec<Open> = Vec::new();
    for (index, &(_, token, _)) in tokens.iter().enumerate().take(at) {
        match token {
            Token::LeftParen | Token::LeftBracket => open.push(Open { brace: false, part: index + 1 }),
            Token::LeftBrace => open.push(Open { brace: true, part: index + 1 }),
            Token::RightParen | Token::RightBracket | Token::RightBrace => {
                open.pop();
            }
            Token::Semicolon | Token::Newline => {
                if let Some(innermost) = open.last_mut() {
                    innermost.part = index + 1;
                }
            }
            _ => {}
        }
    }
    while let Some(Open { brace, part }) = open.pop() {
        if !brace {
            continue;
        }
        let end = part + part_length(&tokens[part..]);
        let already = matches!(tokens[part..end], [(_, Token::Error(_), _)]);
        if part < end && !already {
            return Some(part..end);
        }
    }
    None
}

/// The number of tokens up to a separator or the end of the block.
fn part_length(tokens: &[Spanned<'_>]) -> usize {
    let mut depth = 0i32;
    let ends = |&(_, token, _): &Spanned<'_>| {
        depth += nesting(token);
        depth < 0 || depth == 0 && is_separator(token)
    };
    tokens.iter().position(ends).unwrap_or(tokens.len())
}

/// The number of tokens from an opening bracket, which is the first, to its closing one, both included.
pub fn matched(tokens: &[Spanned<'_>]) -> usize {
    let mut depth = 0i32;
    let closes = |&(_, token, _): &Spanned<'_>| {
        depth += nesting(token);
        depth == 0
    };
    tokens.iter().position(closes).map_or(tokens.len(), |last| last + 1)
}

/// 1 for an opening bracket, -1 for a closing one.
fn nesting(token: Token<'_>) -> i32 {
    match token {
        Token::LeftParen | Token::LeftBracket | Token::LeftBrace => 1,
        Token::RightParen | Token::RightBracket | Token::RightBrace => -1,
        _ => 0,
    }
}
