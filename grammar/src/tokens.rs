//! Text to tokens. Every byte of a file is a token, a comment or white space; what is none of them
//! is reported, stood in for by its nearest token, and lexing goes on.
//! Must never know which tokens may follow one another.

use logos::{Lexer, Logos};
use smol_str::{SmolStr, SmolStrBuilder};

/// A token. Literals carry their text as written; [`unescape`], [`int_value`] and [`float_value`]
/// give the values.
#[derive(Logos, Debug, Clone, Copy, PartialEq)]
#[logos(skip r"[ \t\r\f]+")]
pub enum Token<'s> {
    #[regex(r"[\p{XID_Start}_]\p{XID_Continue}*", |lexer| lexer.slice())]
    Name(&'s str),
    #[regex(r"[0-9][0-9_]*", |lexer| lexer.slice())]
    Int(&'s str),
    #[regex(r"[0-9][0-9_]*(\.[0-9][0-9_]*([eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)", |lexer| lexer.slice())]
    Float(&'s str),
    /// With its quotes; without the closing one where the string does not end.
    #[token("\"", string)]
    #[token("'", string)]
    Str(&'s str),

    #[token("fn")]
    Fn,
    #[token("layer")]
    Layer,
    #[token("model")]
    Model,
    #[token("optimizer")]
    Optimizer,
    #[token("train")]
    Train,
    #[token("test")]
    Test,
    #[token("use")]
    Use,
    #[token("let")]
    Let,
    #[token("param")]
    Param,
    #[token("state")]
    State,
    #[token("for")]
    For,
    #[token("in")]
    In,
    #[token("if")]
    If,
    #[token("else")]
    Else,
    #[token("where")]
    Where,
    #[token("scan")]
    Scan,
    #[token("yield")]
    Yield,
    #[token("assert")]
    Assert,
    #[token("assume")]
    Assume,
    #[token("checkpoint")]
    Checkpoint,
    #[token("as")]
    As,
    #[token("true")]
    True,
    #[token("false")]
    False,
    #[token("and")]
    And,
    #[token("or")]
    Or,
    #[token("not")]
    Not,

    #[token("(")]
    LeftParen,
    #[token(")")]
    RightParen,
    #[token("[")]
    LeftBracket,
    #[token("]")]
    RightBracket,
    #[token("{")]
    LeftBrace,
    #[token("}")]
    RightBrace,
    #[token(",")]
    Comma,
    #[token(":")]
    Colon,
    #[token(".")]
    Dot,
    #[token("..")]
    DotDot,
    #[token("=")]
    Assign,
    #[token(":=")]
    Write,
    #[token("->")]
    Arrow,
    #[token("=>")]
    FatArrow,
    #[token("|>")]
    Pipe,
    #[token("==")]
    Equal,
    #[token("!=")]
    NotEqual,
    #[token("<")]
    Less,
    #[token("<=")]
    LessEqual,
    #[token(">")]
    Greater,
    #[token(">=")]
    GreaterEqual,
    #[token("~=")]
    Approx,
    #[token("+")]
    Plus,
    #[token("-")]
    Minus,
    #[token("*")]
    Star,
    #[token("/")]
    Slash,
    #[token("%")]
    Percent,
    #[token("@")]
    At,
    #[token("**")]
    Power,

    /// `;`
    #[token(";")]
    Semicolon,
    /// The end of a line that ends a statement: the layout makes it, the grammar takes it for `;`.
    Newline,
    /// The n-th part that did not parse, where a statement, clause or item should stand.
    Error(u32),

    // What follows never leaves `lex`.
    #[token("\n")]
    LineEnd,
    #[regex(r"//[^\n]*", allow_greedy = true)]
    Comment,
    #[regex(r"#[^\n]*", allow_greedy = true)]
    HashComment,
    #[token("/*", block_comment)]
    BlockComment,
    #[regex(r"[0-9][0-9_]*(\.[0-9][0-9_]*)?([eE][+-]?[0-9]+)?\p{XID_Start}\p{XID_Continue}*", priority = 1)]
    NumberThenName,
    #[token("&&")]
    #[token("||")]
    #[token("!")]
    #[token("^")]
    #[token("===")]
    #[token("<>")]
    #[token("+=")]
    #[token("-=")]
    #[token("*=")]
    #[token("/=")]
    Foreign,
}

/// Takes a string to its closing quote, or to the end of its line.
fn string<'s>(lexer: &mut Lexer<'s, Token<'s>>) -> &'s str {
    let quote = lexer.slice().as_bytes()[0];
    let rest = lexer.remainder().as_bytes();
    let mut at = 0;
    while at < rest.len() && rest[at] != b'\n' {
        match rest[at] {
            byte if byte == quote => {
                at += 1;
                break;
            }
            // An escaped line end still ends the line.
            b'\\' if rest.get(at + 1).is_some_and(|&next| next != b'\n' && next < 0x80) => at += 2,
            _ => at += 1,
        }
    }
    lexer.bump(at);
    lexer.slice()
}

/// Takes a comment of another language to its end.
fn block_comment<'s>(lexer: &mut Lexer<'s, Token<'s>>) {
    let length = lexer.remainder().find("*/").map_or(lexer.remainder().len(), |at| at + 2);
    lexer.bump(length);
}

/// A token and its place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lexeme<'s> {
    pub token: Token<'s>,
    pub start: u32,
    pub end: u32,
    /// The number of bytes of white space before it, where it is the first token of its line.
    pub indent: Option<u32>,
}

/// A comment: from its slashes to the end of its line, which is not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comment {
    pub start: u32,
    pub end: u32,
    /// `///`: belongs to the definition below it.
    pub doc: bool,
    /// Nothing stands before it on its line.
    pub alone: bool,
}

/// What is wrong with the characters from `start` to `end`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Problem {
    pub kind: ProblemKind,
    pub start: u32,
    pub end: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ProblemKind {
    /// Characters that begin no token.
    Invalid,
    UnterminatedString,
    SingleQuotes,
    BadEscape,
    IntTooLarge,
    FloatTooLarge,
    /// `4H`
    NumberThenName,
    /// `&&`: the operator to write is given.
    Operator(&'static str),
    /// `+=`: the operator without `=` is given.
    CompoundAssign(&'static str),
    HashComment,
    BlockComment,
}

/// All tokens of a text, without `Newline`; all comments; all problems, in order of their places.
#[derive(Debug, Clone, Default)]
pub struct Lexed<'s> {
    pub lexemes: Vec<Lexeme<'s>>,
    pub comments: Vec<Comment>,
    pub problems: Vec<Problem>,
}

/// Splits a text into tokens. Takes time linear in its length.
pub fn lex(text: &str) -> Lexed<'_> {
    let mut lexed = Lexed::default();
    let mut line_start = Some(0);
    let mut lexer = Token::lexer(text);
    while let Some(result) = lexer.next() {
        let slice = lexer.slice();
        let (start, end) = (lexer.span().start as u32, lexer.span().end as u32);
        let token = match result {
            Err(()) => {
                match lexed.problems.last_mut() {
                    Some(last) if last.kind == ProblemKind::Invalid && last.end == start => last.end = end,
                    _ => lexed.problem(ProblemKind::Invalid, start, end),
                }
                continue;
            }
            Ok(Token::LineEnd) => {
                line_start = Some(end);
                continue;
            }
            Ok(Token::Comment | Token::HashComment | Token::BlockComment) => {
                match slice.as_bytes() {
                    [b'#', ..] => lexed.problem(ProblemKind::HashComment, start, start + 1),
                    [b'/', b'*', ..] => lexed.problem(ProblemKind::BlockComment, start, start + 2),
                    _ => {}
                }
                let doc = slice.starts_with("///") && !slice.starts_with("////");
                let end = start + slice.trim_end().len() as u32;
                lexed.comments.push(Comment { start, end, doc, alone: line_start.is_some() });
                continue;
            }
            Ok(Token::NumberThenName) => {
                lexed.problem(ProblemKind::NumberThenName, start, end);
                Token::Int("0")
            }
            Ok(Token::Foreign) => {
                let (token, kind) = ours(slice);
                lexed.problem(kind, start, end);
                token
            }
            Ok(token) => {
                lexed.check_literal(token, start, end);
                token
            }
        };
        let indent = line_start.take().map(|line| start - line);
        lexed.lexemes.push(Lexeme { token, start, end, indent });
    }
    lexed
}

impl Lexed<'_> {
    fn problem(&mut self, kind: ProblemKind, start: u32, end: u32) {
        self.problems.push(Problem { kind, start, end });
    }

    fn check_literal(&mut self, token: Token<'_>, start: u32, end: u32) {
        match token {
            Token::Int(digits) if int_value(digits).is_none() => {
                self.problem(ProblemKind::IntTooLarge, start, end);
            }
            Token::Float(digits) if float_value(digits).is_none() => {
                self.problem(ProblemKind::FloatTooLarge, start, end);
            }
            Token::Str(raw) if !is_closed(raw) => self.problem(ProblemKind::UnterminatedString, start, end),
            Token::Str(raw) if raw.starts_with('\'') => self.problem(ProblemKind::SingleQuotes, start, end),
            Token::Str(raw) => {
                unescape(raw, |at, length| {
                    let at = start + at as u32;
                    self.problem(ProblemKind::BadEscape, at, at + length as u32);
                });
            }
            _ => {}
        }
    }
}

/// Our token for an operator of other languages.
fn ours(foreign: &str) -> (Token<'static>, ProblemKind) {
    match foreign {
        "&&" => (Token::And, ProblemKind::Operator("and")),
        "||" => (Token::Or, ProblemKind::Operator("or")),
        "!" => (Token::Not, ProblemKind::Operator("not")),
        "^" => (Token::Power, ProblemKind::Operator("**")),
        "===" => (Token::Equal, ProblemKind::Operator("==")),
        "<>" => (Token::NotEqual, ProblemKind::Operator("!=")),
        "+=" => (Token::Assign, ProblemKind::CompoundAssign("+")),
        "-=" => (Token::Assign, ProblemKind::CompoundAssign("-")),
        "*=" => (Token::Assign, ProblemKind::CompoundAssign("*")),
        _ => (Token::Assign, ProblemKind::CompoundAssign("/")),
    }
}

/// Whether a raw string's last character is a closing quote and not an escaped one.
fn is_closed(raw: &str) -> bool {
    let quote = &raw[..1];
    let Some(body) = raw[1..].strip_suffix(quote) else { return false };
    body.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 0
}

/// The value of an integer literal; none from 2⁶⁴ on.
pub fn int_value(digits: &str) -> Option<u64> {
    digits
        .bytes()
        .filter(u8::is_ascii_digit)
        .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

/// The nearest f64; none beyond the largest one.
pub fn float_value(digits: &str) -> Option<f64> {
    let value: f64 = match digits.contains('_') {
        true => digits.replace('_', "").parse().ok()?,
        false => digits.parse().ok()?,
    };
    value.is_finite().then_some(value)
}

/// The value of a string literal as written: `\n \t \r \0 \" \' \\ \u{3c6}` are escapes. Calls `bad`
/// with the place and length in bytes of each other one, and leaves it out.
pub fn unescape(raw: &str, mut bad: impl FnMut(usize, usize)) -> SmolStr {
    let quote = raw.as_bytes().first().copied().unwrap_or(b'"') as char;
    let body = raw.get(1..).unwrap_or("");
    let body = if raw.len() >= 2 { body.strip_suffix(quote).unwrap_or(body) } else { body };
    if !body.contains('\\') {
        return SmolStr::new(body);
    }
    let mut value = SmolStrBuilder::new();
    let mut rest = body;
    while let Some(at) = rest.find('\\') {
        value.push_str(&rest[..at]);
        let (escaped, length) = escape(&rest[at..]);
        match escaped {
            Some(character) => value.push(character),
            None => bad(1 + body.len() - rest.len() + at, length),
        }
        rest = &rest[at + length..];
    }
    value.push_str(rest);
    value.finish()
}

/// The character that the escape at the start of `text` stands for, and the escape's length.
fn escape(text: &str) -> (Option<char>, usize) {
    let Some(second) = text[1..].chars().next() else { return (None, 1) };
    let simple = match second {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        '0' => '\0',
        '"' | '\'' | '\\' => second,
        'u' if text[2..].starts_with('{') => {
            let digits = text[3..].bytes().take(8).take_while(u8::is_ascii_hexdigit).count();
            if !text[3 + digits..].starts_with('}') {
                return (None, 3 + digits);
            }
            let code = u32::from_str_radix(&text[3..3 + digits], 16).ok().and_then(char::from_u32);
            return (code, 3 + digits + 1);
        }
        _ => return (None, 1 + second.len_utf8()),
    };
    (Some(simple), 2)
}

impl Token<'_> {
    /// A name, a literal or a closing bracket: an expression may end here.
    pub fn ends_expression(self) -> bool {
        use Token::*;
        matches!(
            self,
            Name(_) | Int(_) | Float(_) | Str(_) | True | False | RightParen | RightBracket | RightBrace
        )
    }

    /// No statement can start here, so a line that does continues the one before it.
    pub fn continues_line(self) -> bool {
        use Token::*;
        matches!(
            self,
            Pipe | Dot
                | Plus
                | Star
                | Slash
                | Percent
                | At
                | Power
                | Equal
                | NotEqual
                | Less
                | LessEqual
                | Greater
                | GreaterEqual
                | Approx
                | Assign
                | FatArrow
                | Arrow
                | Comma
                | RightParen
                | RightBracket
                | RightBrace
                | And
                | Or
                | Else
                | Where
                | In
                | As
        )
    }

    /// The words that no definition, parameter or local name can have.
    pub fn is_keyword(self) -> bool {
        use Token::*;
        matches!(
            self,
            Fn | Layer
                | Model
                | Optimizer
                | Train
                | Test
                | Use
                | Let
                | Param
                | State
                | For
                | In
                | If
                | Else
                | Where
                | Scan
                | Yield
                | Assert
                | Assume
                | Checkpoint
                | As
                | True
                | False
                | And
                | Or
                | Not
        )
    }
}
