//! A program that grows input by input: definitions, bindings, expressions.
//!
//! Each input is a text of its own, so that a message shows what was typed. Bindings are kept as they were written and
//! evaluated with the expression that uses them: as random numbers and parameters are keyed by seed and place, they have the
//! same values every time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use nn_grammar::ast::{
    Block, Def, Expr, ExprKind, File, Head, Ident, Item, ItemKind, Let, Pat, PatKind, Stmt, StmtKind, UnaryOp,
};

use crate::base::{FileId, Name, Sources, Span};
use crate::diag::Diagnostic;
use crate::syntax;

use super::check::Check;
use super::compile::Settings;
use super::load::{self, Loaded};
use super::{Checked, Session, Stage, Timings, errors, name_of};

/// The definition that evaluates an input. No program can have this name.
const INPUT: &str = "(input)";

/// What was typed so far, as far as it was accepted.
pub struct Interactive {
    library: Loaded,
    /// All texts, also those with errors: places stay good.
    sources: Sources,
    folders: HashMap<FileId, PathBuf>,
    folder: PathBuf,
    items: Vec<Item>,
    statements: Vec<Stmt>,
    inputs: usize,
}

/// What a text holds.
pub enum Input {
    Nothing,
    Definitions(Vec<Item>),
    Statement(Statement),
}

/// Statements, and the value that is asked for.
#[derive(Clone, Debug)]
pub struct Statement {
    statements: Vec<Stmt>,
    /// The expression at the end, or the names that a binding gives.
    pub value: Option<Expr>,
    /// It ends in an expression.
    pub is_expression: bool,
    span: Span,
}

impl Interactive {
    /// Files and data are looked for in `folder`.
    pub fn new(folder: &Path) -> Interactive {
        let library = load::load_library();
        let sources = library.sources.clone();
        Interactive {
            library,
            sources,
            folders: HashMap::new(),
            folder: folder.to_path_buf(),
            items: Vec::new(),
            statements: Vec::new(),
            inputs: 0,
        }
    }

    /// Every text so far, for showing diagnostics.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Parses an input.
    ///
    /// # Errors
    /// What does not parse. Nothing of such an input is kept.
    pub fn read(&mut self, text: &str) -> Result<Input, Vec<Diagnostic>> {
        self.inputs += 1;
        let file = self.sources.add(format!("input {}", self.inputs), text);
        self.folders.insert(file, self.folder.clone());
        let first = text.split(|c: char| !c.is_alphanumeric() && c != '_').find(|word| !word.is_empty());
        // `fn(x) => …` is a value, and `///` above a definition is no word.
        let code = text.lines().map(str::trim_start).find(|line| !line.is_empty() && !line.starts_with("//"));
        let starts = |word: &str| {
            code.is_some_and(|line| line.strip_prefix(word).is_some_and(|rest| rest.starts_with(' ')))
        };
        let heads = ["fn", "layer", "model", "optimizer", "train", "test", "use", "pub", "def", "import"];
        if heads.iter().any(|head| starts(head)) {
            let parsed = syntax::parse(&self.sources, file);
            return match parsed.diagnostics.is_empty() {
                true => Ok(Input::Definitions(parsed.file.items)),
                false => Err(parsed.diagnostics),
            };
        }
        let (block, diagnostics) = syntax::parse_statements(&self.sources, file);
        if !diagnostics.is_empty() {
            return Err(diagnostics);
        }
        if first.is_none() && block.stmts.is_empty() && block.tail.is_none() {
            return Ok(Input::Nothing);
        }
        Ok(Input::Statement(Statement::of(block)))
    }

    /// Adds definitions, which replace earlier ones of their names, and checks them.
    ///
    /// # Errors
    /// Everything that is wrong with them; then nothing changes.
    pub fn define(&mut self, items: Vec<Item>, settings: &Settings) -> Result<Check, Vec<Diagnostic>> {
        let names: Vec<Name> = items.iter().filter_map(defined).collect();
        // A text that defines a name twice is told so.
        let mut all: Vec<Item> = self.items.clone();
        all.retain(|item| defined(item).is_none_or(|name| !names.contains(&name)));
        all.extend(items.iter().cloned());
        let before = std::mem::replace(&mut self.items, all);
        let mut session = self.session(Vec::new(), None);
        let new: Vec<Span> = items.iter().map(|item| item.span).collect();
        let inside = |span: Span| {
            new.iter().any(|item| item.file == span.file && item.start <= span.start && span.end <= item.end)
        };
        let mut check = session.check(settings, &|entry| inside(name_of(entry).1));
        check
            .diagnostics
            .retain(|diagnostic| diagnostic.is_error() || diagnostic.primary().is_some_and(inside));
        self.sources = session.sources;
        if check.ok() {
            return Ok(check);
        }
        self.items = before;
        Err(check.diagnostics)
    }

    /// The definitions of a file, as if they had been typed.
    ///
    /// # Errors
    /// A file that cannot be read, and everything that is wrong with it.
    pub fn load(&mut self, path: &Path, settings: &Settings) -> Result<Check, Vec<Diagnostic>> {
        let bytes =
            std::fs::read(path).map_err(|error| vec![errors::unreadable_source(path, &error, None)])?;
        let file = self
            .sources
            .add_bytes(path.display().to_string(), bytes)
            .map_err(|refused| vec![errors::not_accepted(refused)])?;
        self.folders.insert(file, path.parent().map_or_else(PathBuf::new, Path::to_path_buf));
        let parsed = syntax::parse(&self.sources, file);
        if !parsed.diagnostics.is_empty() {
            return Err(parsed.diagnostics);
        }
        self.define(parsed.file.items, settings)
    }

    /// Checks a statement behind all that were kept: the definition that gives its value, with the program around it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check(
        &mut self,
        statement: &Statement,
        settings: &Settings,
    ) -> Result<(Session, Checked), Vec<Diagnostic>> {
        let mut session = self.session(statement.statements.clone(), Some(statement));
        let mut check = session.check(settings, &|entry| name_of(entry).0 == INPUT);
        self.sources = session.sources.clone();
        check.diagnostics.retain(Diagnostic::is_error);
        match check.items.pop() {
            Some(item) if check.diagnostics.is_empty() => Ok((session, item)),
            _ => Err(check.diagnostics),
        }
    }

    /// Keeps what a statement binds.
    pub fn keep(&mut self, statement: Statement) {
        let binds = |stmt: &Stmt| !matches!(stmt.kind, StmtKind::Expr(_) | StmtKind::Assert(_));
        self.statements.extend(statement.statements.into_iter().filter(binds));
    }

    /// A definition by its name, checked.
    ///
    /// # Errors
    /// There is none, or it has errors.
    pub fn definition(&mut self, name: &str, settings: &Settings) -> Option<Checked> {
        let mut session = self.session(Vec::new(), None);
        let mut check = session.check(settings, &|entry| name_of(entry).0 == *name);
        self.sources = session.sources;
        check.items.pop()
    }

    /// All definitions, checked.
    pub fn check_all(&mut self, settings: &Settings) -> Check {
        let mut session = self.session(Vec::new(), None);
        let check = session.check(settings, &|_| true);
        self.sources = session.sources;
        check
    }

    /// The names that definitions and bindings give.
    pub fn own_names(&self) -> Vec<Name> {
        let mut names: Vec<Name> = self.items.iter().filter_map(defined).collect();
        names.extend(self.bound_names());
        names
    }

    /// The names that bindings give.
    pub fn bound_names(&self) -> Vec<Name> {
        let mut names = Vec::new();
        for stmt in &self.statements {
            if let StmtKind::Let(binding) = &stmt.kind {
                names_of(&binding.pat, &mut |name| names.push(name.name.clone()));
            }
        }
        names
    }

    /// Names that can be written: own ones, those of the library and of the compiler.
    pub fn visible_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.own_names().iter().map(ToString::to_string).collect();
        let library = load::library_names(&self.library.program);
        names.extend(library.into_iter().map(|name| name.to_string()));
        names.extend(crate::check::Builtin::names().map(str::to_owned));
        names.sort();
        names.dedup();
        names
    }

    /// The text above a definition and its head, as they are written.
    pub fn documentation(&self, name: &str) -> Option<String> {
        let own = self.items.iter().rev().find_map(|item| match &item.kind {
            ItemKind::Def(def) if def.name.name == name => Some((**def).clone()),
            _ => None,
        });
        let def = own.or_else(|| load::library_definition(&self.library.program, name))?;
        let head = Span { end: def.body.span.start, ..def.span };
        let head = self.sources.slice(head).trim_end().trim_end_matches(['=', '{']).trim_end();
        Some(def.doc.iter().map(|doc| doc.as_str()).chain([head]).collect::<Vec<_>>().join("\n"))
    }

    /// The tokens or the tree of what was read last.
    pub fn emit_syntax(&self, statement: &Statement, stage: &Stage) -> String {
        let file = statement.span.file;
        match stage {
            Stage::Tokens => syntax::dump::tokens(&self.sources, file),
            _ => statement.value.as_ref().map_or_else(String::new, syntax::dump::expression),
        }
    }

    /// The program so far, with the statement's evaluation where there is one.
    fn session(&self, more: Vec<Stmt>, statement: Option<&Statement>) -> Session {
        let mut timings = Timings::default();
        let mut items = self.items.clone();
        items.extend(self.constants());
        let mut span = Span::new(FileId(0), 0, 0);
        if let Some(statement) = statement {
            span = statement.span;
            items.push(evaluation(self.statements.iter().cloned().chain(more).collect(), statement));
        }
        let file = File { items, parens: Default::default(), span };
        let sources = self.sources.clone();
        let loaded = timings
            .parse(|| load::load_items(&self.library, sources, self.folders.clone(), &self.folder, file));
        let Loaded { sources, program, user, folders, diagnostics } = loaded;
        Session { sources, program, user, folders, library: false, diagnostics, timings }
    }

    /// Bound numbers, which definitions may use: a later binding of the same name is the one that counts. Other bindings are values
    /// of the inputs, and no definition sees them.
    fn constants(&self) -> Vec<Item> {
        let mut constants: Vec<(Name, Item)> = Vec::new();
        for stmt in &self.statements {
            let StmtKind::Let(Let { pat: Pat { kind: PatKind::Name(name), .. }, value, .. }) = &stmt.kind
            else {
                continue;
            };
            constants.retain(|(known, _)| *known != name.name);
            if is_number(value)
                && let StmtKind::Let(binding) = &stmt.kind
            {
                let item = Item { kind: ItemKind::Let(binding.clone()), doc: None, span: stmt.span };
                constants.push((name.name.clone(), item));
            }
        }
        constants.into_iter().map(|(_, item)| item).collect()
    }
}

fn is_number(value: &Expr) -> bool {
    match &value.kind {
        ExprKind::Int(_) | ExprKind::Float(_) | ExprKind::Bool(_) => true,
        ExprKind::Unary { op: UnaryOp::Neg, operand } => is_number(operand),
        _ => false,
    }
}

/// `layer (input)() { statements; value }`
fn evaluation(stmts: Vec<Stmt>, statement: &Statement) -> Item {
    let span = statement.span;
    let zero = Expr { kind: ExprKind::Float(0.0), span };
    let tail = Some(Box::new(statement.value.clone().unwrap_or(zero)));
    let body = Expr { kind: ExprKind::Block(Block { stmts, tail, span }), span };
    let def = Def {
        head: Head::Layer,
        head_span: span,
        name: Ident { name: Name::new(INPUT), span },
        statics: Vec::new(),
        tensors: Vec::new(),
        result: None,
        constraint: None,
        body,
        grad: None,
        doc: None,
        span,
    };
    Item { kind: ItemKind::Def(Box::new(def)), doc: None, span }
}

/// The name that an item defines.
fn defined(item: &Item) -> Option<Name> {
    match &item.kind {
        ItemKind::Def(def) => Some(def.name.name.clone()),
        ItemKind::Train(train) => train.name.as_ref().map(|name| name.name.clone()),
        ItemKind::Test(test) => Some(test.name.value.clone()),
        ItemKind::Use(used) => {
            used.alias.as_ref().map(|alias| alias.name.clone()).or(Some(used.path.value.clone()))
        }
        _ => None,
    }
}

fn names_of(pat: &Pat, tell: &mut dyn FnMut(&Ident)) {
    match &pat.kind {
        PatKind::Name(name) => tell(name),
        PatKind::Tuple(parts) => parts.iter().for_each(|part| names_of(part, tell)),
        PatKind::Ignore => {}
    }
}

impl Statement {
    fn of(block: Block) -> Statement {
        let span = block.span;
        let is_expression = block.tail.is_some();
        let value = block.tail.map(|tail| *tail).or_else(|| {
            let name = |name: &Ident| Expr { kind: ExprKind::Name(name.clone()), span: name.span };
            let mut names = Vec::new();
            match block.stmts.last().map(|stmt| &stmt.kind) {
                Some(StmtKind::Let(binding)) => names_of(&binding.pat, &mut |one| names.push(name(one))),
                Some(StmtKind::Assign { name: one, .. }) => names.push(name(one)),
                _ => {}
            }
            match names.len() {
                0 | 1 => names.pop(),
                _ => {
                    let args = names
                        .into_iter()
                        .map(|value| nn_grammar::ast::Arg { label: None, span: value.span, value })
                        .collect();
                    Some(Expr { kind: ExprKind::Tuple(args), span })
                }
            }
        });
        Statement { statements: block.stmts, value, is_expression, span }
    }

    /// The same statements without a value that is asked for.
    pub fn without_value(&self) -> Statement {
        Statement { value: None, ..self.clone() }
    }

    /// The name, where the statement is nothing else.
    pub fn as_name(&self) -> Option<&str> {
        match (&self.value, self.statements.as_slice()) {
            (Some(Expr { kind: ExprKind::Name(name), .. }), []) => Some(name.as_str()),
            _ => None,
        }
    }
}
