//! The commands that begin with a colon.

/// A command: its word, what it takes, what it does.
pub struct Command {
    pub word: &'static str,
    pub takes: &'static str,
    pub does: &'static str,
}

pub const COMMANDS: [Command; 13] = [
    Command { word: "type", takes: "EXPR", does: "the type of an expression, without computing it" },
    Command {
        word: "grad",
        takes: "EXPR",
        does: "the derivatives of a scalar by the bound tensors that it uses",
    },
    Command { word: "time", takes: "EXPR", does: "what compiling and running take" },
    Command {
        word: "emit",
        takes: "STAGE EXPR",
        does: "a stage: tokens, ast, types, graph, after=PASS, kernels, clif, asm",
    },
    Command { word: "check", takes: "[NAME]", does: "what is proved of a definition, or of all" },
    Command { word: "load", takes: "FILE", does: "the definitions of a file, as if they had been typed" },
    Command { word: "names", takes: "", does: "what was defined and bound" },
    Command { word: "doc", takes: "NAME", does: "the text above a definition, and its head" },
    Command { word: "seed", takes: "N", does: "another seed for parameters and random draws" },
    Command { word: "explain", takes: "CODE", does: "the page of an error code" },
    Command { word: "reset", takes: "", does: "forget everything" },
    Command { word: "help", takes: "", does: "this list" },
    Command { word: "quit", takes: "", does: "end the session; so does Ctrl-D" },
];

/// The word of a command and what follows it.
pub fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    }
}

pub fn takes_expression(word: &str) -> bool {
    COMMANDS.iter().any(|command| command.word == word && command.takes.ends_with("EXPR"))
}

/// The command that a word or its unambiguous beginning means.
///
/// # Errors
/// The nearest word, for a message.
pub fn find(word: &str) -> Result<&'static Command, Option<String>> {
    if let Some(exact) = COMMANDS.iter().find(|command| command.word == word) {
        return Ok(exact);
    }
    let mut beginnings = COMMANDS.iter().filter(|command| !word.is_empty() && command.word.starts_with(word));
    match (beginnings.next(), beginnings.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(crate::check::errors::nearest(word, COMMANDS.iter().map(|command| command.word))),
    }
}

pub fn help() -> String {
    let mut text = String::from(
        "Type an expression to compute it, `let x = …` to name a value, or a definition (`fn`, `layer`, `model`).\n\
         A line goes on while a bracket is open or an operator waits; an empty line ends it.\n\n",
    );
    for command in &COMMANDS {
        let form = format!(":{} {}", command.word, command.takes);
        text.push_str(&format!("  {form:<18} {}\n", command.does));
    }
    text
}
