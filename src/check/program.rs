//! The definitions of all files, and what a name of the file level means.
//!
//! A name is looked up in its own file, then in the library, whose public names form a prelude.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use nn_grammar::ast;

use crate::base::{FileId, Name, Span};

/// A file's names. Scope 0.. are files in the order in which they were added.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Scope(pub u32);

/// One parsed file.
#[derive(Clone, Debug)]
struct FileNames {
    /// `layers` of `std/layers.nn`.
    module: Name,
    library: bool,
    defs: HashMap<Name, Rc<ast::Def>>,
    lets: HashMap<Name, Rc<ast::Let>>,
    /// What items define that did not parse: using it is no second error.
    broken: HashSet<Name>,
    /// `use "…" as o`
    uses: HashMap<Name, Scope>,
    items: Vec<Entry>,
}

/// An item of a file, in source order.
#[derive(Clone, Debug)]
pub enum Entry {
    Def(Rc<ast::Def>),
    Train(Rc<ast::Train>, Span),
    Test(Rc<ast::Test>),
}

/// All files of a program: the library and the user's.
#[derive(Clone, Debug, Default)]
pub struct Program {
    files: Vec<FileNames>,
    prelude: HashMap<Name, Scope>,
    modules: HashMap<Name, Scope>,
}

/// What a name of the file level stands for.
#[derive(Clone, Debug)]
pub enum Named {
    Def(Rc<ast::Def>, Scope),
    Let(Rc<ast::Let>, Scope),
    Module(Scope),
    /// Defined by an item that did not parse.
    Broken,
}

impl Program {
    /// Adds a file. The definitions of a library file become visible everywhere.
    /// Returns its scope and the names that it defines twice, each with both places.
    pub fn add(&mut self, module: &str, library: bool, file: ast::File) -> (Scope, Vec<(Name, Span, Span)>) {
        let scope = Scope(self.files.len() as u32);
        let mut names = FileNames {
            module: Name::new(module),
            library,
            defs: HashMap::new(),
            lets: HashMap::new(),
            broken: HashSet::new(),
            uses: HashMap::new(),
            items: Vec::new(),
        };
        let mut twice = Vec::new();
        for item in file.items {
            match item.kind {
                ast::ItemKind::Def(def) => {
                    let def: Rc<ast::Def> = Rc::from(def);
                    if let Some(first) = names.defs.get(&def.name.name) {
                        twice.push((def.name.name.clone(), first.name.span, def.name.span));
                        continue;
                    }
                    names.defs.insert(def.name.name.clone(), def.clone());
                    names.items.push(Entry::Def(def));
                }
                ast::ItemKind::Train(train) => names.items.push(Entry::Train(Rc::new(train), item.span)),
                ast::ItemKind::Test(test) => names.items.push(Entry::Test(Rc::new(test))),
                ast::ItemKind::Let(binding) => {
                    if let ast::PatKind::Name(name) = &binding.pat.kind {
                        names.lets.insert(name.name.clone(), Rc::new(binding));
                    }
                }
                ast::ItemKind::Error { defines } => {
                    names.broken.extend(defines.into_iter().map(|name| name.name))
                }
                ast::ItemKind::Use(_) => {}
            }
        }
        if library {
            for name in names.defs.keys().chain(names.lets.keys()) {
                self.prelude.insert(name.clone(), scope);
            }
            self.modules.insert(names.module.clone(), scope);
        }
        self.files.push(names);
        (scope, twice)
    }

    /// Makes another file's names readable under `alias`.
    pub fn link(&mut self, scope: Scope, alias: Name, target: Scope) {
        self.files[scope.0 as usize].uses.insert(alias, target);
    }

    pub fn items(&self, scope: Scope) -> &[Entry] {
        &self.files[scope.0 as usize].items
    }

    pub fn is_library(&self, scope: Scope) -> bool {
        self.files[scope.0 as usize].library
    }

    /// What a name means in a file.
    pub fn resolve(&self, scope: Scope, name: &str) -> Option<Named> {
        if let Some(named) = self.member(scope, name) {
            return Some(named);
        }
        let file = &self.files[scope.0 as usize];
        if let Some(&target) = file.uses.get(name) {
            return Some(Named::Module(target));
        }
        if let Some(&home) = self.prelude.get(name) {
            return self.member(home, name);
        }
        self.modules.get(name).map(|&module| Named::Module(module))
    }

    /// A definition of exactly this file.
    pub fn member(&self, scope: Scope, name: &str) -> Option<Named> {
        let file = &self.files[scope.0 as usize];
        if let Some(def) = file.defs.get(name) {
            return Some(Named::Def(def.clone(), scope));
        }
        if file.broken.contains(name) {
            return Some(Named::Broken);
        }
        file.lets.get(name).map(|binding| Named::Let(binding.clone(), scope))
    }

    /// All names that can be written in a file, for suggestions and completion.
    pub fn visible_names(&self, scope: Scope) -> impl Iterator<Item = &Name> {
        let file = &self.files[scope.0 as usize];
        file.defs.keys().chain(file.lets.keys()).chain(file.uses.keys()).chain(self.prelude.keys())
    }

    /// The file in which a place lies belongs to the library.
    pub fn is_library_file(&self, file: FileId) -> bool {
        self.files.iter().any(|names| {
            names.library
                && names.items.iter().any(|item| matches!(item, Entry::Def(def) if def.span.file == file))
        })
    }
}
