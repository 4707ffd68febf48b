//! "expected …, found …" in the user's terms: the parser's list of tokens boiled down to a few words,
//! and tokens as a reader calls them.

use std::borrow::Cow;

use nn_grammar::tokens::Token;

/// The terminals that the parser would have taken.
pub struct Expected<'e> {
    terminals: Vec<&'e str>,
}

impl<'e> Expected<'e> {
    /// From the names of the grammar's terminals, as the generated parser lists them.
    pub fn new(listed: &'e [String]) -> Expected<'e> {
        Expected { terminals: listed.iter().map(|terminal| terminal.trim_matches('"')).collect() }
    }

    pub fn has(&self, terminal: &str) -> bool {
        self.terminals.contains(&terminal)
    }

    /// An expression could start here.
    pub fn expression(&self) -> bool {
        self.has("INT")
    }

    /// A name and nothing else that has a value.
    pub fn name(&self) -> bool {
        self.has("NAME") && !self.expression() && !self.has("fn") && !self.has("|>")
    }

    /// A type could start here.
    pub fn ty(&self) -> bool {
        self.has("NAME") && self.has("fn") && self.has("layer") && !self.expression() && !self.has("use")
    }

    /// "an expression, `,` or `)`": at most five things, the most telling first. `after_value`: the token
    /// before could end an expression, so an operator could follow; that goes without saying.
    pub fn describe(&self, after_value: bool) -> String {
        let mut things: Vec<String> = Vec::new();
        // What the first thing stands for.
        let mut said: &[&str] = &[];
        if self.has("use") {
            things.push("a definition".into());
            said = &["fn", "layer", "model", "optimizer", "train", "test", "use", "let"];
        } else if self.has("yield") {
            things.push("a statement".into());
            said = &["let", "param", "state", "for", "yield", "assert", "fn", "layer", "model", "optimizer"];
        } else if self.has("let") {
            things.push("a clause".into());
            said = &["NAME", "let", "model"];
        } else if self.expression() {
            things.push("an expression".into());
            said = &["for", "fn", "..", "train", "test", "model", "layer", "state", "param", "optimizer"];
        } else if self.ty() {
            things.push("a type".into());
            said = &["NAME", "fn", "layer", "(", "["];
        } else if self.name() && !after_value {
            things.push("a name".into());
            said = &["NAME", "train", "test", "model", "layer", "state", "param", "optimizer"];
        }
        let value = self.expression() || self.has("yield");
        let obvious = |terminal: &str| {
            said.contains(&terminal)
                || value && VALUES.contains(&terminal)
                || after_value && (OPERATORS.contains(&terminal) || terminal == "NAME")
                || matches!(terminal, "ERROR" | ";" | "NEWLINE")
        };
        let others = self.terminals.iter().copied().filter(|terminal| !obvious(terminal));
        things.extend(others.map(|terminal| match terminal {
            "NAME" => "a name".into(),
            "STRING" => "a string".into(),
            _ => format!("`{terminal}`"),
        }));
        if self.has("NEWLINE") && !value && !self.has("let") {
            // Between statements: that the block may end here as well is no help.
            things.retain(|thing| thing != "`}`");
            things.push("a new line".into());
        }
        if things.is_empty() {
            things.push("a new line".into());
        }
        things.truncate(5);
        let last = things.pop().unwrap_or_default();
        if things.is_empty() { last } else { format!("{} or {last}", things.join(", ")) }
    }
}

/// What an expression may start with.
const VALUES: [&str; 15] = [
    "NAME",
    "INT",
    "FLOAT",
    "STRING",
    "true",
    "false",
    "if",
    "scan",
    "assume",
    "checkpoint",
    "(",
    "[",
    "{",
    "-",
    "not",
];

/// What may go on an expression.
const OPERATORS: [&str; 22] = [
    "+", "-", "*", "/", "%", "@", "**", "==", "!=", "<", "<=", ">", ">=", "~=", "in", "as", "and", "or",
    "|>", ".", "(", "[",
];

/// A text of the user's as part of a message: not more of it than is needed to recognise it.
pub fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(40) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// A token as a reader calls it; none is the end of the text.
pub fn found(token: Option<Token<'_>>, text: &str) -> String {
    match token {
        None => "the end of the definition".into(),
        Some(Token::Newline) => "the end of the line".into(),
        Some(Token::Str(_)) => "a string".into(),
        Some(_) if text.is_empty() => "the end of the block".into(),
        Some(_) => format!("`{text}`"),
    }
}
