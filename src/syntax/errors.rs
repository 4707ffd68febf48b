//! The errors of this room: one constructor each, the codes E0001 to E0011 and the limits.

use nn_grammar::build;
use nn_grammar::tokens::{Problem, ProblemKind, Token};

use crate::base::{NotAccepted, Reason, Sources, Span};
use crate::diag::{Code, Diagnostic, Fault, Help};

use super::brackets::DEEPEST;
use super::expected::shortened;
use super::layout::HIGHEST;

/// The tokens do not form a program.
pub const UNEXPECTED: Code = Code(1);
/// A character that begins no token.
pub const INVALID_CHARACTER: Code = Code(2);
/// A string without its end, or in the wrong quotes.
pub const BAD_STRING: Code = Code(3);
pub const BAD_ESCAPE: Code = Code(4);
/// A number that is too large, or runs into a name.
pub const BAD_NUMBER: Code = Code(5);
/// A bracket that is not closed, or closes nothing.
pub const BRACKETS: Code = Code(6);
pub const NOT_UTF8: Code = Code(7);
/// An operator or comment of another language.
pub const FOREIGN: Code = Code(8);
/// A type that is not formed like one.
pub const BAD_TYPE: Code = Code(9);
/// A word that the language does not know at its place.
pub const UNKNOWN_WORD: Code = Code(10);
/// `<-` for `:=`
pub const LEFT_ARROW: Code = Code(11);
pub const TOO_DEEP: Code = Code(601);
pub const TOO_LONG: Code = Code(602);

/// A file's bytes are not source text.
pub fn not_accepted(sources: &Sources, error: NotAccepted) -> Diagnostic {
    let name = sources.name(error.at.file);
    match error.reason {
        Reason::NotUtf8 => Diagnostic::error(NOT_UTF8, format!("`{name}` is not text in UTF-8"))
            .label(error.at, "these bytes are no character")
            .help("save the file as UTF-8")
            .fault(Fault::File),
        Reason::TooLong => Diagnostic::error(TOO_LONG, format!("`{name}` is longer than 4 GiB"))
            .label(error.at, "")
            .fault(Fault::Limit),
    }
}

/// What the lexer stumbled over. `text` is what stands there.
pub fn lexical(span: Span, text: &str, problem: Problem) -> Diagnostic {
    match problem.kind {
        ProblemKind::Invalid => invalid_characters(span, text),
        ProblemKind::UnterminatedString => {
            Diagnostic::error(BAD_STRING, "a string does not end").label(span, "starts here").help(format!(
                "close it with `{}` on the same line; a line break in a string is written `\\n`",
                &text[..1]
            ))
        }
        ProblemKind::SingleQuotes => Diagnostic::error(BAD_STRING, "strings stand in double quotes")
            .label(span, "this stands in single quotes")
            .help(
                Help::from(format!("write \"{}\"", shortened(&text[1..text.len() - 1])))
                    .replace(span, format!("\"{}\"", &text[1..text.len() - 1])),
            ),
        ProblemKind::BadEscape => {
            let message = format!("`{text}` is not an escape");
            let message =
                if text.starts_with("\\u") { "this is no character's number".into() } else { message };
            Diagnostic::error(BAD_ESCAPE, message)
                .label(span, "")
                .help("the escapes are \\n \\t \\r \\0 \\\" \\\\ and \\u{3c6}; a backslash itself is \\\\")
        }
        ProblemKind::IntTooLarge => Diagnostic::error(BAD_NUMBER, "this integer is too large")
            .label(span, "larger than 18446744073709551615")
            .help("as a floating-point number it is written with a point or an exponent: 1e30"),
        ProblemKind::FloatTooLarge => Diagnostic::error(BAD_NUMBER, "this number is too large")
            .label(span, "larger than the largest f64, about 1.8e308"),
        ProblemKind::NumberThenName => {
            let split = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
            let error = Diagnostic::error(BAD_NUMBER, "a number runs into a name").label(span, "");
            match text.as_bytes() {
                [b'0', b'x' | b'b' | b'o', ..] => error.help("integers are written in decimal"),
                _ => {
                    let (number, name) = text.split_at(split);
                    error.help(format!("a product is written {} * {}", shortened(number), shortened(name)))
                }
            }
        }
        ProblemKind::Operator(ours) => {
            Diagnostic::error(FOREIGN, format!("`{text}` is no operator of nn: write `{ours}`"))
                .label(span, format!("write `{ours}`"))
                .help(Help::from(format!("write `{ours}`")).replace(span, ours))
        }
        ProblemKind::CompoundAssign(op) => Diagnostic::error(FOREIGN, format!("nn has no `{text}`"))
            .label(span, "")
            .help(format!("write it out: h = h {op} …")),
        ProblemKind::HashComment | ProblemKind::BlockComment => {
            Diagnostic::error(FOREIGN, "a comment starts with `//`")
                .label(span, "write `//`")
                .with_note("a comment reaches to the end of its line")
        }
    }
}

fn invalid_characters(span: Span, text: &str) -> Diagnostic {
    let first = text.chars().next().unwrap_or('\0');
    let shown = match first {
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{a0}' => {
            format!("the character U+{:04X}", first as u32)
        }
        _ => format!("`{first}`"),
    };
    let error = Diagnostic::error(INVALID_CHARACTER, format!("{shown} has no meaning here")).label(span, "");
    let instead = match first {
        '“' | '”' | '„' => "strings stand in plain double quotes: \"…\"",
        '‘' | '’' | '`' => "strings stand in double quotes: \"…\"",
        '×' | '·' | '⋅' => "a product is written `*`, a matrix product `@`",
        '−' | '–' | '—' => "minus is the plain `-`",
        '≤' => "write `<=`",
        '≥' => "write `>=`",
        '≠' => "write `!=`",
        '≈' => "write `~=`",
        '→' => "write `->`",
        '⇒' => "write `=>`",
        '∈' => "write `in`",
        'Σ' | '∑' => "a sum is written: sum i => x[i]",
        '&' | '|' => "write `and`, `or`, or `|>` for a pipe",
        '\\' => "a statement goes on by itself where a line starts with an operator such as `|>`",
        '~' => "write `~=` to compare within a tolerance, `not` to negate",
        '?' => "a choice is written: if c { a } else { b }",
        '\0' => "is this a binary file?",
        '\u{a0}' | '\u{200b}'..='\u{200f}' | '\u{feff}' => "it looks like a space but is none: retype it",
        _ => return error,
    };
    error.help(instead)
}

/// A bracket that is never closed. `taken` is the closer of its neighbour that was taken for its own.
pub fn unclosed(open: Span, closer: Token<'_>, taken: Option<Span>) -> Diagnostic {
    let opener = opener(closer);
    let error = Diagnostic::error(BRACKETS, format!("this `{opener}` is never closed"))
        .label(open, format!("no `{}` belongs to it", symbol(closer)));
    match taken {
        Some(taken) => error.label(taken, "this one stands further to the left and seems to close another"),
        None => error,
    }
}

/// A closing bracket that closes nothing.
pub fn stray_closer(span: Span, closer: Token<'_>) -> Diagnostic {
    Diagnostic::error(BRACKETS, format!("this `{}` closes nothing", symbol(closer)))
        .label(span, format!("there is no `{}` before it", opener(closer)))
}

/// `( … ]`
pub fn wrong_closer(open: Span, wanted: Token<'_>, closer: Span, found: Token<'_>) -> Diagnostic {
    let (wanted, found) = (symbol(wanted), symbol(found));
    Diagnostic::error(BRACKETS, format!("expected `{wanted}`, found `{found}`"))
        .label(closer, format!("write `{wanted}`"))
        .label(open, "to close this one")
}

fn symbol(closer: Token<'_>) -> char {
    match closer {
        Token::RightParen => ')',
        Token::RightBracket => ']',
        _ => '}',
    }
}

fn opener(closer: Token<'_>) -> char {
    match closer {
        Token::RightParen => '(',
        Token::RightBracket => '[',
        _ => '{',
    }
}

/// ```text
/// fn f(x: f32) -> f32
/// {
/// ```
pub fn body_on_next_line(brace: Span) -> Diagnostic {
    Diagnostic::error(UNEXPECTED, "a body begins on the line of its head")
        .label(brace, "this `{` belongs to the end of the line before")
}

/// More brackets are open than any reader or stack can follow.
pub fn brackets_too_deep(span: Span) -> Diagnostic {
    Diagnostic::error(TOO_DEEP, format!("more than {DEEPEST} brackets are open here"))
        .label(span, "one too many")
        .help("give inner parts a name with `let`")
        .fault(Fault::Limit)
}

/// A chain of operators without end.
pub fn expression_too_high(span: Span) -> Diagnostic {
    Diagnostic::error(TOO_DEEP, format!("an expression of more than {HIGHEST} nested operators"))
        .label(span, "one too many")
        .help("give parts of it a name with `let`, or put the operands into a list")
        .fault(Fault::Limit)
}

/// What the grammar lets pass and the language does not. `text` is what stands there.
pub fn not_allowed(span: Span, text: &str, problem: build::Problem) -> Diagnostic {
    match problem {
        build::Problem::IdxRange => Diagnostic::error(BAD_TYPE, "`Idx` needs the axis that it points into")
            .label(span, "which axis?")
            .help("Idx[N] is a position on N, Idx[N][E] one for each entry of E, Idx[10] a class out of ten"),
        build::Problem::SecondAxes => Diagnostic::error(BAD_TYPE, "a type has one group of axes")
            .label(span, "a second group")
            .help("separate axes by commas: f32[N, D]; only `Idx` has two groups, its range and its axes"),
        build::Problem::NotGrad => Diagnostic::error(
            UNKNOWN_WORD,
            format!("`{}` cannot follow the body of a definition", shortened(text)),
        )
        .label(span, "")
        .help("a custom derivative is written: fn f(…) -> … { … } grad(g) { … }"),
        build::Problem::NotReverse => {
            Diagnostic::error(UNKNOWN_WORD, format!("a scan has no direction `{}`", shortened(text)))
                .label(span, "")
                .help("`scan t (…)` runs forward, `scan reverse t (…)` backward")
        }
        build::Problem::NotTruncate => {
            Diagnostic::error(UNKNOWN_WORD, format!("a scan has no clause `{}`", shortened(text)))
                .label(span, "")
                .help("`truncate 64` cuts the back-propagation every 64 steps")
        }
        build::Problem::LeftArrow => Diagnostic::error(LEFT_ARROW, "state is written with `:=`")
            .label(span, "this compares with a negated value")
            .help("m := …"),
    }
}

/// The file has more errors than anybody reads.
pub fn more_errors(last: Span) -> Diagnostic {
    Diagnostic::error(UNEXPECTED, "there are more errors in this file")
        .label(last, "those after this one are not shown")
}
