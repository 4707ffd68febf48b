//! "expected …, found …" in the user's terms: the parser's list of tokens boiled down to a few words,
//! and tokens as a reader calls them.

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

    /// An expression could go on here.
    pub fn operator(&self) -> bool {
        self.has("|>") || self.has("+") || self.has("**")
    }

    /// A name and nothing else that has a value.
    pub fn name(&self) -> bool {
        self.has("NAME") && !self.expression() && !self.has("fn") && !self.operator()
    }

    /// A type could start here.
    pub fn ty(&self) -> bool {
        self.has("NAME") && self.has("fn") && self.has("layer") && !self.expression() && !self.has("use")
    }

    /// `an expression, `,` or `)``: at most five things, most telling first.
    pub fn describe(&self) -> String {
        let mut things: Vec<String> = Vec::new();
        let mut covered: &[&str] = &[];
        if self.has("use") {
            things.push(
                "a definition (`fn`, `layer`, `model`, `optimizer`, `train`, `test`, `use` or `let`)".into(),
            );
            covered = &["fn", "layer", "model", "optimizer", "train", "test", "use", "let"];
        } else if self.has("yield") {
            things.push("a statement".into());
            covered = &[
                "let",
                "param",
                "state",
                "for",
                "yield",
                "assert",
                "fn",
                "layer",
                "model",
                "optimizer",
                "-",
                "not",
            ];
        } else if self.expression() {
            things.push("an expression".into());
            covered = &[
                "-",
                "not",
                "for",
                "fn",
                "..",
                "train",
                "test",
                "model",
                "layer",
                "state",
                "param",
                "optimizer",
            ];
        } else if self.ty() {
            things.push("a type".into());
            covered = &["fn", "layer", "(", "["];
        } else if self.name() {
            things.push("a name".into());
            covered = &["train", "test", "model", "layer", "state", "param", "optimizer"];
        }
        const VALUES: [&str; 12] = [
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
        ];
        const OPERATORS: [&str; 22] = [
            "+", "-", "*", "/", "%", "@", "**", "==", "!=", "<", "<=", ">", ">=", "~=", "in", "as", "and",
            "or", "|>", ".", "(", "[",
        ];
        let values = self.expression() || self.has("yield") || self.name() || self.ty();
        let hidden = |terminal: &str| {
            covered.contains(&terminal)
                || matches!(terminal, "ERROR" | ";")
                || values && (VALUES[..10].contains(&terminal) || self.expression() && terminal == "{")
                || values && self.expression() && VALUES.contains(&terminal)
                || self.operator() && (OPERATORS.contains(&terminal) || terminal == "NAME")
        };
        for terminal in self.terminals.iter().copied().filter(|terminal| !hidden(terminal)) {
            things.push(match terminal {
                "NEWLINE" => "a new line".into(),
                "NAME" => "a name".into(),
                "STRING" => "a string".into(),
                _ => format!("`{terminal}`"),
            });
        }
        if things.len() > 1 {
            // A new line is possible after nearly everything: not worth a word next to others.
            things.retain(|thing| thing != "a new line");
        }
        if things.is_empty() {
            things.push(if self.operator() {
                "an operator or a new line".into()
            } else {
                "a new line".into()
            });
        }
        things.truncate(5);
        let last = things.pop().unwrap_or_default();
        if things.is_empty() { last } else { format!("{} or {last}", things.join(", ")) }
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
