//! The stages strung together: files to diagnostics, definitions to executables.
//!
//! It reads source files and the headers of data files, and writes nothing. It must never know a terminal: it hands back values.

pub mod artifact;
mod check;
mod compile;
mod costs;
mod diagram;
mod emit;
pub mod errors;
mod headers;
mod inputs;
mod interactive;
mod library;
mod load;
#[cfg(test)]
mod mutations;
mod placement;
mod side_by_side;
mod timings;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::base::{FileId, Name, Sources, Span};
use crate::check::{Entry, Program, Scope};
use crate::diag::Diagnostic;

pub use check::{Check, Checked, What, given_dims};
pub use compile::{
    Failure, Settings, broken_constraints, compile, graph_of, parameters_are_sized, program_of, sizing_dims,
};
pub use costs::{LayerCost, layer_costs};
pub use diagram::{BoxKind, Diagram, DiagramBox, diagram};
pub use emit::{Stage, emit_core, theorem};
pub use headers::OnDisk;
pub use inputs::{Fitted, Given};
pub use interactive::{Input, Interactive, Statement};
pub use timings::{Timings, milliseconds};

/// One program: its text, its names, and what loading found wrong.
pub struct Session {
    pub sources: Sources,
    pub program: Program,
    /// What the command names; `None` where it could not be read, and for the library alone.
    pub user: Option<(Scope, FileId)>,
    folders: HashMap<FileId, PathBuf>,
    /// Its items are those of the library.
    library: bool,
    /// Of loading: files and syntax.
    pub diagnostics: Vec<Diagnostic>,
    pub timings: Timings,
}

impl Session {
    /// Reads a program from a file.
    pub fn open(path: &Path) -> Session {
        Session::timed(|| load::load(path))
    }

    /// A program that is not in a file; `use` and data are looked for in `folder`.
    pub fn of_text(name: &str, text: &str, folder: &Path) -> Session {
        Session::timed(|| load::load_text(name, text, folder))
    }

    /// The library without a program.
    pub fn library() -> Session {
        Session { library: true, ..Session::timed(load::load_library) }
    }

    fn timed(load: impl FnOnce() -> load::Loaded) -> Session {
        let mut timings = Timings::default();
        let loaded = timings.parse(load);
        let load::Loaded { sources, program, user, folders, diagnostics } = loaded;
        Session { sources, program, user, folders, library: false, diagnostics, timings }
    }

    /// Data files as the program names them.
    pub fn on_disk(&self) -> OnDisk<'_> {
        OnDisk { folders: &self.folders }
    }

    /// The items of the program's file; of the whole library where there is no program.
    pub fn items(&self) -> Vec<(Scope, Entry)> {
        let scopes: Vec<Scope> = match self.user {
            Some((scope, _)) => vec![scope],
            None if self.library => (0..library::FILES.len() as u32).map(Scope).collect(),
            None => Vec::new(),
        };
        let of = |scope: Scope| self.program.items(scope).iter().map(move |entry| (scope, entry.clone()));
        scopes.into_iter().flat_map(of).collect()
    }

    /// Whether anything is wrong that keeps all items from being used.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// What an item is called, and where it stands.
pub fn name_of(entry: &Entry) -> (Name, Span) {
    match entry {
        Entry::Def(def) => (def.name.name.clone(), def.name.span),
        Entry::Train(train, span) => {
            let name = train.name.as_ref();
            (
                name.map_or_else(|| Name::new("train"), |name| name.name.clone()),
                name.map_or(*span, |name| name.span),
            )
        }
        Entry::Test(test) => (test.name.value.clone(), test.name.span),
    }
}
