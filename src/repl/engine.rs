//! One input after the other: what it is, what it gives.

use std::path::Path;
use std::time::Duration;

use crate::check::core::{Core, Form};
use crate::check::show_val;
use crate::diag::{self, Diagnostic, pages, render};
use crate::elaborate::Part;
use crate::runtime::Pool;
use crate::session::{
    Checked, Input, Interactive, Session, Settings, Stage, Statement, Timings, What, emit_core, theorem,
};

use super::evaluate::{Values, evaluate};
use super::{Options, Reply, command, show};

/// A session's state.
pub struct Engine {
    program: Interactive,
    settings: Settings,
    threads: usize,
    pool: Option<Pool>,
    seed: u64,
    colour: bool,
}

/// Why an input gives nothing.
enum Failed {
    Diagnostics(Vec<Diagnostic>),
    Usage(String),
}

impl From<Vec<Diagnostic>> for Failed {
    fn from(diagnostics: Vec<Diagnostic>) -> Failed {
        Failed::Diagnostics(diagnostics)
    }
}

impl From<Box<Diagnostic>> for Failed {
    fn from(diagnostic: Box<Diagnostic>) -> Failed {
        Failed::Diagnostics(vec![*diagnostic])
    }
}

type Done = Result<String, Failed>;

impl Engine {
    pub fn new(options: &Options, colour: bool) -> Engine {
        Engine {
            program: Interactive::new(Path::new("")),
            settings: Settings { dims: options.dims.clone(), wide: options.wide, ..Settings::default() },
            threads: options.threads,
            pool: None,
            seed: options.seed,
            colour,
        }
    }

    /// The reply to an input: a command, definitions, or statements.
    pub fn input(&mut self, text: &str) -> Reply {
        let mut reply = Reply::default();
        let done = match text.trim_start().strip_prefix(':') {
            Some(rest) => self.command(rest, &mut reply),
            None => self.program_text(text, &mut reply),
        };
        match done {
            Ok(out) => reply.out = out,
            Err(Failed::Usage(message)) => {
                reply.err = format!("error: {message}\n");
                reply.failed = Some(2);
            }
            Err(Failed::Diagnostics(diagnostics)) => {
                reply.err = self.rendered(&diagnostics);
                reply.failed = Some(diag::exit_code(&diagnostics).max(1));
            }
        }
        reply.names = self.program.visible_names();
        reply
    }

    fn rendered(&self, diagnostics: &[Diagnostic]) -> String {
        render::render(self.program.sources(), diagnostics, self.colour)
    }

    fn program_text(&mut self, text: &str, reply: &mut Reply) -> Done {
        match self.program.read(text)? {
            Input::Nothing => Ok(String::new()),
            Input::Definitions(items) => {
                let check = self.program.define(items, &self.settings)?;
                reply.kept = true;
                reply.err = self.rendered(&check.diagnostics);
                Ok(check.items.iter().map(defined).collect())
            }
            Input::Statement(statement) => {
                let out = self.statement(&statement)?;
                reply.kept = !statement.is_expression;
                self.program.keep(statement);
                Ok(out)
            }
        }
    }

    /// The value of an expression; of a binding its type.
    fn statement(&mut self, statement: &Statement) -> Done {
        if statement.is_expression {
            return match self.values(statement, Duration::ZERO) {
                Ok((session, core, values)) => Ok(shown(&session, &core, &values)),
                // A function has no value to show: its name shows what it is.
                Err(failed) => statement.as_name().and_then(|name| self.documentation(name)).ok_or(failed),
            };
        }
        match self.program.check(statement, &self.settings) {
            Ok((_, item)) => {
                let core = core_of(item)?;
                // A function, a list or a string was bound: nothing to show, and nothing wrong.
                Ok(types(&core))
            }
            Err(found) => {
                let statics = found.iter().all(|diagnostic| matches!(diagnostic.code.0, 311 | 318 | 319));
                if !statics {
                    return Err(found.into());
                }
                self.program.check(&statement.without_value(), &self.settings)?;
                Ok(String::new())
            }
        }
    }

    fn documentation(&self, name: &str) -> Option<String> {
        self.program.documentation(name).map(|text| text + "\n")
    }

    fn values(&mut self, statement: &Statement, budget: Duration) -> Result<(Session, Core, Values), Failed> {
        let (session, item) = self.program.check(statement, &self.settings)?;
        let core = core_of(item)?;
        if self.pool.is_none() {
            let pool = Pool::new(self.threads)
                .map_err(|error| Failed::Usage(format!("cannot start {} threads: {error}", self.threads)))?;
            self.pool = Some(pool);
        }
        let Some(pool) = &self.pool else { return Err(Failed::Usage("no threads".to_owned())) };
        let values = evaluate(&core, &self.settings, self.seed, pool, budget)?;
        Ok((session, core, values))
    }

    /// Reads an expression that a command is given.
    fn expression(&mut self, word: &str, text: &str) -> Result<Statement, Failed> {
        if text.is_empty() {
            return Err(Failed::Usage(format!(":{word} wants an expression")));
        }
        match self.program.read(text)? {
            Input::Statement(statement) if statement.is_expression => Ok(statement),
            _ => Err(Failed::Usage(format!(":{word} wants an expression"))),
        }
    }

    fn command(&mut self, text: &str, reply: &mut Reply) -> Done {
        let (word, argument) = command::split(text);
        if word.is_empty() {
            return Ok(String::new());
        }
        let command = command::find(word).map_err(|near| {
            let near =
                near.map_or("; :help lists them".to_owned(), |near| format!("; did you mean `:{near}`?"));
            Failed::Usage(format!("there is no command `:{word}`{near}"))
        })?;
        match command.word {
            "type" => {
                let statement = self.expression("type", argument)?;
                let (_, item) = self.program.check(&statement, &self.settings)?;
                Ok(types(&core_of(item)?))
            }
            "grad" => self.grad(argument),
            "time" => {
                let statement = self.expression("time", argument)?;
                let (_, core, values) = self.values(&statement, Duration::from_millis(300))?;
                Ok(format!("{}{}", types(&core), times(&values)))
            }
            "emit" => self.emit(argument),
            "check" => self.check(argument),
            "load" => {
                if argument.is_empty() {
                    return Err(Failed::Usage(":load wants a file".to_owned()));
                }
                let check = self.program.load(Path::new(argument), &self.settings)?;
                reply.kept = true;
                reply.err = self.rendered(&check.diagnostics);
                Ok(check.items.iter().map(defined).collect())
            }
            "names" => {
                let names = self.program.own_names();
                let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
                Ok(if names.is_empty() { String::new() } else { names.join("  ") + "\n" })
            }
            "doc" => self.documentation(argument).ok_or_else(|| {
                Failed::Usage(format!("nothing is called `{argument}`, or the compiler itself provides it"))
            }),
            "seed" => {
                self.seed =
                    argument.parse().map_err(|_| Failed::Usage(":seed wants a whole number".to_owned()))?;
                reply.kept = true;
                Ok(String::new())
            }
            "explain" => match pages::parse(argument).and_then(pages::page) {
                Some(page) => Ok(page.show()),
                None => Err(Failed::Usage(format!("there is no error code `{argument}`"))),
            },
            "reset" => {
                self.program = Interactive::new(Path::new(""));
                Ok(String::new())
            }
            "help" => Ok(command::help()),
            _ => {
                reply.quit = true;
                Ok(String::new())
            }
        }
    }

    /// The derivatives of a scalar by every bound tensor of floats that its text names.
    fn grad(&mut self, text: &str) -> Done {
        let statement = self.expression("grad", text)?;
        let words: Vec<&str> =
            text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
        let mut by: Vec<String> = Vec::new();
        for name in self.program.bound_names() {
            let name = name.to_string();
            if words.contains(&name.as_str()) && !by.contains(&name) && self.is_float(&name) {
                by.push(name);
            }
        }
        if by.is_empty() {
            // An error of the expression itself is the better message.
            self.program.check(&statement, &self.settings)?;
            return Err(Failed::Usage(
                ":grad differentiates by bound tensors: let w = [1.0, 2.0], then :grad sum(w * w)".to_owned(),
            ));
        }
        let list = by.join(", ");
        let gradient = self.expression("grad", &format!("grad(fn({list}) => {text})({list})"))?;
        let (session, core, values) = self.values(&gradient, Duration::ZERO)?;
        let mut shown = String::new();
        for ((name, output), tensor) in by.iter().zip(&core.outputs).zip(&values.tensors) {
            shown += &format!("d/d{name} : {}\n", show_val(&core, output.val));
            shown += &show::tensor(tensor, &axes(&session, &core, output.val));
        }
        Ok(shown)
    }

    fn is_float(&mut self, name: &str) -> bool {
        let Ok(Input::Statement(statement)) = self.program.read(name) else { return false };
        let Ok((_, item)) = self.program.check(&statement, &self.settings) else { return false };
        let Some(core) = item.core else { return false };
        core.outputs.iter().all(|output| {
            let val = &core.vals[output.val];
            val.elem.is_float() && !matches!(val.form, Form::Const(_))
        })
    }

    fn emit(&mut self, argument: &str) -> Done {
        let (stage, text) = command::split(argument);
        let stage: Stage = stage.parse().map_err(Failed::Usage)?;
        let statement = self.expression("emit", text)?;
        if let Stage::Tokens | Stage::Ast = stage {
            return Ok(self.program.emit_syntax(&statement, &stage));
        }
        let defined = match statement.as_name() {
            Some(name) => self.program.definition(name, &self.settings),
            None => None,
        };
        let core = match defined {
            Some(item) => core_of(item)?,
            None => {
                let (_, item) = self.program.check(&statement, &self.settings)?;
                core_of(item)?
            }
        };
        Ok(emit_core(&core, Part::Body, &stage, &self.settings, &mut Timings::default())?)
    }

    fn check(&mut self, name: &str) -> Done {
        let check = self.program.check_all(&self.settings);
        let items: Vec<&Checked> =
            check.items.iter().filter(|item| name.is_empty() || item.name == *name).collect();
        if items.is_empty() && !name.is_empty() {
            return Err(Failed::Usage(format!("no definition is called `{name}`")));
        }
        Ok(items.into_iter().map(theorem).collect())
    }
}

/// The core of an item that can be compiled.
fn core_of(item: Checked) -> Result<Core, Failed> {
    let whole = !item.open && !item.when_used;
    item.core
        .filter(|_| whole)
        .ok_or_else(|| Failed::Usage(format!("`{}` is compiled where it is used: apply it", item.name)))
}

/// What a definition is, in a line.
fn defined(item: &Checked) -> String {
    if item.what == What::Test {
        return format!("test \"{}\" is well formed; `nnc test` runs it\n", item.name);
    }
    theorem(item)
}

fn types(core: &Core) -> String {
    let types = core
        .outputs
        .iter()
        .map(|output| format!("{}{}\n", label(core, &output.name), show_val(core, output.val)));
    types.collect()
}

/// What stands before the type of one of several values.
fn label(core: &Core, name: &str) -> String {
    if core.outputs.len() == 1 {
        return String::new();
    }
    let name = name.strip_prefix("(input)").unwrap_or(name);
    format!("{name} : ")
}

fn shown(session: &Session, core: &Core, values: &Values) -> String {
    let mut text = String::new();
    for (output, tensor) in core.outputs.iter().zip(&values.tensors) {
        let (label, ty) = (label(core, &output.name), show_val(core, output.val));
        let body = show::tensor(tensor, &axes(session, core, output.val));
        if tensor.shape().is_empty() {
            text += &format!("{label}{ty}  {}\n", body.trim());
        } else {
            text += &format!("{label}{ty}\n{body}");
        }
    }
    text
}

/// The names that the user gave to a value's axes; empty for sizes, and for names of the library.
fn axes(session: &Session, core: &Core, val: crate::check::core::Val) -> Vec<String> {
    let name = |&axis: &crate::check::core::AxisVar| {
        let info = &core.axes[axis];
        let own = !session.program.is_library_file(info.span.file);
        let named = info.name.starts_with(char::is_alphabetic) && info.name != "for";
        if own && named { info.name.to_string() } else { String::new() }
    };
    core.vals[val].visible.iter().map(name).collect()
}

fn times(values: &Values) -> String {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let stages: Vec<String> = values
        .timings
        .stages()
        .into_iter()
        .filter(|(_, time)| !time.is_zero())
        .map(|(stage, time)| format!("{stage} {:.2}", milliseconds(time)))
        .collect();
    format!(
        "  compiled in {:.2} ms ({}), {} kernels\n  runs in {:.4} ms, the best of {}\n",
        milliseconds(values.timings.total()),
        stages.join(", "),
        values.kernels,
        milliseconds(values.run),
        values.runs
    )
}
