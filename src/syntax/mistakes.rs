//! Why a part did not parse: the classic mistakes, told apart by the tokens around the place, and
//! "expected …, found …" for all others.

use std::borrow::Cow;
use std::ops::Range;

use nn_grammar::tokens::Token;

use crate::base::{FileId, Span};
use crate::diag::{Diagnostic, Help};

use super::errors::UNEXPECTED;
use super::expected::{Expected, found, shortened};
use super::layout::Spanned;

/// Where the parser stopped.
pub struct Stop<'t, 's> {
    pub file: FileId,
    pub text: &'s str,
    /// The tokens of the item.
    pub tokens: &'t [Spanned<'s>],
    /// The first token that does not fit; the number of tokens where the end does not.
    pub at: usize,
    /// The statement, clause or item around it.
    pub part: Range<usize>,
    pub expected: Expected<'t>,
}

/// One error for the place at which the parser stopped.
pub fn unexpected(stop: &Stop<'_, '_>) -> Diagnostic {
    stop.habit()
        .or_else(|| stop.head())
        .or_else(|| stop.word_as_name())
        .or_else(|| stop.declaration())
        .or_else(|| stop.choice())
        .or_else(|| stop.conditions())
        .or_else(|| stop.binder())
        .or_else(|| stop.equals())
        .or_else(|| stop.operators())
        .or_else(|| stop.numbers())
        .or_else(|| stop.brackets())
        .unwrap_or_else(|| stop.plain())
}

impl<'s> Stop<'_, 's> {
    fn token(&self, index: usize) -> Option<Token<'s>> {
        self.tokens.get(index).map(|&(_, token, _)| token)
    }

    fn here(&self) -> Option<Token<'s>> {
        self.token(self.at)
    }

    /// The n-th token before the place.
    fn before(&self, n: usize) -> Option<Token<'s>> {
        self.token(self.at.checked_sub(n)?)
    }

    fn span_of(&self, index: usize) -> Span {
        match (self.tokens.get(index), self.tokens.last()) {
            (Some(&(start, _, end)), _) => Span::new(self.file, start, end),
            (None, Some(&(_, _, end))) => Span::new(self.file, end, end),
            (None, None) => Span::new(self.file, 0, 0),
        }
    }

    fn span(&self) -> Span {
        self.span_of(self.at)
    }

    fn text_of(&self, index: usize) -> Cow<'s, str> {
        shortened(&self.text[self.span_of(index).range()])
    }

    fn found(&self) -> String {
        found(self.here(), &self.text_of(self.at))
    }

    fn error(&self, message: impl Into<String>, label: impl Into<String>) -> Diagnostic {
        Diagnostic::error(UNEXPECTED, message).label(self.span(), label)
    }

    /// What stands at the place is another language's word for `ours`.
    fn write(&self, message: impl Into<String>, ours: &str) -> Diagnostic {
        let text = format!("write `{ours}`");
        let help = Help::from(text.as_str()).replace(self.span(), ours);
        self.error(message, text).help(help)
    }

    /// An expression could end just before the place. The parser's list is no witness: it may have closed
    /// the expression before it found that the next token does not fit.
    fn after_value(&self) -> bool {
        !self.expected.expression() && self.before(1).is_some_and(Token::ends_expression)
    }

    fn plain(&self) -> Diagnostic {
        if self.expected.has("use") {
            let error = self.error(format!("no definition starts with {}", self.found()), "");
            return error.help("definitions start with fn, layer, model, optimizer, train, test, use or let");
        }
        let expected = self.expected.describe(self.after_value());
        let error = self
            .error(format!("expected {expected}, found {}", self.found()), format!("expected {expected}"));
        match (self.here(), self.token(self.at + 1)) {
            (Some(Token::Where), Some(Token::LeftParen)) if self.expected.expression() => {
                error.help("a choice is written: if c { a } else { b }")
            }
            (Some(Token::Param | Token::State), _) if self.expected.expression() => {
                error.help("it is declared by a statement of its own: param w: f32[I, O] = zeros")
            }
            (Some(Token::DotDot), _) if self.same_level().any(|token| token == Token::In) => error.help(
                "`for` in statements runs over a list, for width in [64, 32] { … }; blocks follow one another by stack(L, block), a step is repeated by iterate(n, f)(x)",
            ),
            _ => error,
        }
    }

    /// `set` of `N: set`, at the colon.
    fn kind_behind(&self) -> Option<&'s str> {
        let kinds = ["batch", "set", "ring", "grid", "causal", "dim"];
        let named = matches!(self.before(1), Some(Token::Name(_)));
        match self.token(self.at + 1) {
            Some(Token::Name(kind)) if named && kinds.contains(&kind) => Some(kind),
            _ => None,
        }
    }

    /// The innermost bracket that is open at the place, and its index.
    fn bracket(&self) -> Option<(Token<'s>, usize)> {
        let mut closed = 0;
        for index in (0..self.at.min(self.tokens.len())).rev() {
            match self.tokens[index].1 {
                Token::RightParen | Token::RightBracket | Token::RightBrace => closed += 1,
                token @ (Token::LeftParen | Token::LeftBracket | Token::LeftBrace) => {
                    if closed == 0 {
                        return Some((token, index));
                    }
                    closed -= 1;
                }
                _ => {}
            }
        }
        None
    }

    /// Tokens of the part before the place that no bracket of the part encloses, last first.
    fn same_level(&self) -> impl Iterator<Item = Token<'s>> {
        let from = self.bracket().map_or(0, |(_, index)| index + 1).max(self.part.start);
        let mut depth = 0u32;
        (from..self.at.min(self.tokens.len())).rev().map(|index| self.tokens[index].1).filter(move |token| {
            match token {
                Token::RightParen | Token::RightBracket | Token::RightBrace => {
                    depth += 1;
                    depth == 1
                }
                Token::LeftParen | Token::LeftBracket | Token::LeftBrace => {
                    depth = depth.saturating_sub(1);
                    false
                }
                _ => depth == 0,
            }
        })
    }

    /// Words of other languages at the start of a statement or item.
    fn habit(&self) -> Option<Diagnostic> {
        let start = self.part.start;
        let Some(Token::Name(word)) = self.token(start) else { return None };
        if self.at > start + 2 {
            return None;
        }
        let help = match word {
            "return" => "the last expression of a block is its value; nothing leaves a block early",
            "var" | "const" | "val" | "mut" | "auto" => "a local value is written: let x = …",
            "while" | "loop" | "repeat" => {
                "a recurrence is written with `scan`, a loop over a literal list with `for x in [ … ] { … }`"
            }
            "def" | "func" | "function" | "pub" | "export" | "inline" => {
                "a function is written: fn name(x: f32[N]) -> f32[N] { … }"
            }
            "class" | "struct" | "module" => {
                "a layer with parameters is written: layer name(H: dim)(x: f32[N]) -> f32[H] { … }"
            }
            "import" | "from" | "include" | "require" => "another file is used by: use \"other.nn\" as other",
            "elif" | "elsif" | "elseif" => "write: } else if … {",
            "switch" | "match" | "case" => "a choice is written: if … { … } else if … { … } else { … }",
            "weight" | "weights" | "parameter" | "buffer" => {
                "a trained parameter is written: param w: f32[I, O] = zeros"
            }
            _ => return None,
        };
        let span = self.span_of(start);
        Some(Diagnostic::error(UNEXPECTED, format!("nn has no `{word}`")).label(span, "").help(help))
    }

    /// Heads of definitions.
    fn head(&self) -> Option<Diagnostic> {
        use Token::*;
        let first = self.token(self.part.start)?;
        if !matches!(first, Fn | Layer | Model | Optimizer)
            || self.bracket().is_some_and(|(t, _)| t == LeftBrace)
        {
            return None;
        }
        let parameter = matches!((self.before(2), self.before(1)), (Some(LeftParen | Comma), Some(Name(_))));
        if parameter && self.expected.has(":") {
            let name = self.text_of(self.at - 1);
            let error = Diagnostic::error(UNEXPECTED, format!("the parameter `{name}` needs a type"))
                .label(self.span_of(self.at - 1), "of what type?");
            return Some(error.help(format!("for a vector {name}: f32[N], for a number {name}: f32")));
        }
        if self.expected.has("->") {
            return match self.here() {
                Some(FatArrow | Colon) => Some(self.write("the result's type follows `->`", "->")),
                Some(Name(_)) => {
                    let error = self.error("the result's type follows `->`", "write `->` before it");
                    Some(error)
                }
                None | Some(Newline) => {
                    let error = self.error("this definition has no body", "expected `{` or `=`");
                    Some(error.help("the `{` of a body stands at the end of the line of its head"))
                }
                _ => None,
            };
        }
        if self.here().is_none() && self.expected.has("{") && !self.expected.expression() {
            let error = self.error("this definition has no body", "expected `{` or `=`");
            return Some(error.help("the `{` of a body stands at the end of the line of its head"));
        }
        None
    }

    /// A word of the language where a name should stand.
    fn word_as_name(&self) -> Option<Diagnostic> {
        let here = self.here()?;
        (self.expected.name() && here.is_keyword()).then(|| {
            let word = self.text_of(self.at);
            if here == Token::Optimizer {
                let error = self.error("the clause of a train block is `optim`", "write `optim`");
                return error.help(Help::from("write `optim`").replace(self.span(), "optim"));
            }
            self.error(
                format!("`{word}` is a word of the language and cannot be a name"),
                "choose another name",
            )
        })
    }

    /// `sum i x[i]`, `for t { … }`, and two names in a row.
    fn binder(&self) -> Option<Diagnostic> {
        let guarded =
            self.here() == Some(Token::Assign) && self.same_level().any(|token| token == Token::Where);
        if !self.expected.has("=>") || guarded {
            return None;
        }
        if let Some(found @ (Token::Arrow | Token::Assign | Token::Equal | Token::Greater)) = self.here() {
            let help = if found == Token::Arrow {
                "`->` stands before a type only"
            } else {
                "for example: sum i => x[i]"
            };
            return Some(self.write("the body follows `=>`", "=>").help(help));
        }
        let reducer = match (self.before(2), self.before(1)) {
            (Some(Token::For), Some(Token::Name(_))) => "for",
            (Some(Token::Name(reducer)), Some(Token::Name(_))) => reducer,
            _ => {
                let expected = self.expected.describe(self.after_value());
                let message = format!("expected {expected}, found {}", self.found());
                return Some(self.error(message, "the body follows `=>`"));
            }
        };
        let index = self.text_of(self.at - 1);
        let reducers = [
            "for",
            "sum",
            "prod",
            "mean",
            "max",
            "min",
            "any",
            "all",
            "argmax",
            "argmin",
            "logsumexp",
            "softmax",
        ];
        if reducers.contains(&reducer) {
            let error = self.error(format!("expected `=>`, found {}", self.found()), "the body follows `=>`");
            return Some(error.help(format!("for example: {reducer} {index} => x[{index}]")));
        }
        let pair = self.span_of(self.at - 2).to(self.span_of(self.at - 1));
        let error = Diagnostic::error(UNEXPECTED, format!("nothing joins `{reducer}` and `{index}`"))
            .label(pair, "two names in a row");
        Some(error.help(format!("a call is written {reducer}({index}), a product {reducer} * {index}")))
    }

    /// `=` where it does not assign.
    fn equals(&self) -> Option<Diagnostic> {
        use Token::*;
        if self.here() != Some(Assign) {
            return None;
        }
        if self.expected.expression() && self.part.start + 1 == self.at {
            let word = self.text_of(self.part.start);
            let error = self.error(format!("`{word}` takes a value, not `=`"), "");
            return Some(error.help(format!("write {word} 64, or {word} name = …")));
        }
        if !self.after_value() || self.bracket().is_some_and(|(bracket, _)| bracket == LeftBracket) {
            return None;
        }
        let bracket = self.bracket().filter(|&(_, index)| index >= self.part.start);
        let conditions = |token| matches!(token, If | Where | Assert | And | Or | Not);
        let labelled = matches!(bracket, Some((LeftParen, index))
            if index + 2 == self.at || self.before(2) == Some(Comma))
            && !bracket.is_some_and(|(_, index)| index > 0 && self.token(index - 1).is_some_and(conditions));
        if let (true, Some(Name(name))) = (labelled, self.before(1)) {
            let error = self.write("a named argument is written with `:`", ":");
            return Some(error.help(format!("{name}: …")));
        }
        let whole = self.part.start..self.at;
        let declares = matches!(self.token(self.part.start), Some(Let | Param | State));
        if bracket.is_some() || declares || self.tokens[whole].iter().any(|&(_, token, _)| conditions(token))
        {
            return Some(self.write("`=` does not compare", "=="));
        }
        Some(match self.before(1) {
            Some(RightBracket) => self
                .error("an entry of a tensor cannot be assigned", "")
                .help("tensors are values: make the new one with `for i => …`"),
            _ => self
                .error("only a name can be assigned", "")
                .help("names for the parts of a tuple are given by `let`: let (a, b) = …"),
        })
    }

    /// `where a, b`
    fn conditions(&self) -> Option<Diagnostic> {
        if self.here() != Some(Token::Comma) || !self.after_value() {
            return None;
        }
        let mut back = self.same_level().take_while(|token| *token != Token::FatArrow);
        back.any(|token| token == Token::Where).then(|| {
            let error = self.error("conditions are joined by `and`", "write `and`");
            error
                .help(Help::from("write `and`").replace(self.span(), " and"))
                .help("for example: where H % 2 == 0 and W % 2 == 0")
        })
    }

    /// Operators that the grammar keeps apart.
    fn operators(&self) -> Option<Diagnostic> {
        use Token::*;
        let here = self.here()?;
        let compares = |token| {
            matches!(token, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual | Approx | In)
        };
        if compares(here) && self.expected.has("and") && self.same_level().any(compares) {
            let error = self.error("comparisons do not chain", "a second comparison");
            return Some(error.help("join two comparisons by `and`: a <= x and x < b"));
        }
        if matches!(here, Plus | Minus | Star | Slash | Percent | At | Power) {
            if self.same_level().take_while(|&token| !compares(token)).any(|token| token == Pipe) {
                let error = self.error(format!("`{}` after a pipe", self.text_of(self.at)), "");
                return Some(
                    error.help("put the pipe in parentheses, (x |> f) + 1, or name its value with `let`"),
                );
            }
            if self.expected.expression() {
                let error = self.error(
                    format!("`{}` has nothing on its left", self.text_of(self.at)),
                    "expected an expression before it",
                );
                return Some(error);
            }
        }
        if here == Comma && self.after_value() && self.same_level().any(|token| token == Where) {
            let error = self.error("conditions are joined by `and`, not by a comma", "write `and`");
            return Some(error.help("where D % heads == 0 and heads <= D"));
        }
        if here == As && self.after_value() {
            let error = self.error("`as` after a product needs parentheses", "which value is reshaped?");
            return Some(error.help("write (a * b) as f32[…], or a * (b as f32[…])"));
        }
        if self.before(1) == Some(Pipe) && self.expected.expression() {
            let error = self.error(format!("expected a function after `|>`, found {}", self.found()), "");
            return Some(error.help("x |> f(a) calls f(x, a)"));
        }
        if here == Arrow && self.after_value() {
            return Some(
                self.error("`->` stands before the type of a result only", "").help("a body follows `=>`"),
            );
        }
        None
    }

    /// `if c then a else b`, `if c: a`
    fn choice(&self) -> Option<Diagnostic> {
        // A name before `then` makes a reducer of it, and `then` the binder.
        let binder = self.expected.has("=>") && self.before(1) == Some(Token::Name("then"));
        let at = if binder { self.at - 1 } else { self.at };
        let written = matches!(self.token(at), Some(Token::Name("then") | Token::Colon));
        let chooses = (binder || self.expected.has("{")) && self.same_level().any(|token| token == Token::If);
        (written && chooses).then(|| {
            let message = format!("a choice has no `{}`", self.text_of(at));
            let error = Diagnostic::error(UNEXPECTED, message).label(self.span_of(at), "write `{`");
            error.help("if … { … } else { … }")
        })
    }

    /// `.5` and `1.`
    fn numbers(&self) -> Option<Diagnostic> {
        match (self.before(1), self.here(), self.token(self.at + 1)) {
            (_, Some(Token::Dot), Some(Token::Int(digits))) if self.expected.expression() => {
                Some(self.error("a number starts with a digit", "").help(format!("write 0.{digits}")))
            }
            (Some(Token::Dot), _, _) if self.expected.name() => match self.before(2) {
                Some(Token::Int(digits)) => {
                    Some(self.error("a number ends with a digit", "").help(format!("write {digits}.0")))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Separators that do not belong between these brackets, and no separator at all.
    fn brackets(&self) -> Option<Diagnostic> {
        use Token::*;
        let (bracket, index) = self.bracket()?;
        let here = self.here()?;
        // Of a block that is a value, the first statement.
        let value = self.part.start == index + 1
            && !index
                .checked_sub(1)
                .and_then(|before| self.token(before))
                .is_some_and(|before| before.ends_expression() || matches!(before, Else | Checkpoint));
        match (bracket, here) {
            (LeftBrace, Colon | Comma) if value => {
                let error = self.error("braces hold statements, not a tuple", "");
                Some(error.help("a tuple is written (a, b) or (mu: a, logvar: b)"))
            }
            (LeftBracket, Colon) if self.expected.expression() => {
                let error = self.error("`:` stands for no whole axis", "name an index for it");
                Some(error.help("a column is written: for i => x[i, 0]"))
            }
            (LeftBracket, Colon) if self.kind_behind().is_some() => {
                let (name, kind) = (self.text_of(self.at - 1), self.kind_behind()?);
                let whole = self.span_of(self.at - 1).to(self.span_of(self.at + 1));
                let text = format!("{kind} {name}");
                let error = Diagnostic::error(UNEXPECTED, "the kind of an axis stands before its name");
                let help = Help::from(format!("write `{text}`")).replace(whole, text);
                Some(error.label(whole, help.text.clone()).help(help))
            }
            (LeftBracket, Colon) if self.after_value() => {
                Some(self.write("a slice is written with `..`", "..").help("x[a..b], x[..b], x[a..]"))
            }
            (LeftParen | LeftBracket, Semicolon) => Some(self.error("expected `,`, found `;`", "write `,`")),
            (LeftBrace, Comma) => {
                let error = self.error("expected a new line, found `,`", "");
                Some(error.help("statements stand on lines of their own, or are separated by `;`"))
            }
            (LeftBrace, Name(_) | Int(_) | Float(_) | Str(_))
                if self.after_value() && self.expected.has("NEWLINE") =>
            {
                let before = self.text_of(self.at - 1);
                let error =
                    self.error(format!("nothing joins `{before}` and `{}`", self.text_of(self.at)), "");
                Some(error.help("an operator is missing, or a new line"))
            }
            _ => None,
        }
    }

    /// `param w: f32[N]` and `let x` without a value, `param w = 3` without a type.
    fn declaration(&self) -> Option<Diagnostic> {
        use Token::*;
        let what = match self.token(self.part.start)? {
            Param => "a parameter",
            State => "a state",
            Let => "`let`",
            _ => return None,
        };
        if self.here() == Some(Assign) && self.expected.has(":") && !self.expected.has("=") {
            let name = self.text_of(self.at - 1);
            let error = self.error(format!("{what} needs a type"), "expected `:`");
            return Some(error.help(format!("for a vector {name}: f32[N], for a number {name}: f32")));
        }
        let ended = matches!(self.here(), None | Some(Newline | Semicolon | RightBrace));
        if !ended || !self.expected.has("=") || self.expected.expression() {
            return None;
        }
        // Where the line ended, not where the next one begins.
        let end = self.span_of(self.at.checked_sub(1)?).after();
        let error = Diagnostic::error(UNEXPECTED, format!("{what} needs a value")).label(end, "expected `=`");
        Some(match what {
            "`let`" => error,
            _ => error.help("the value that it begins with, for example: = zeros"),
        })
    }
}
