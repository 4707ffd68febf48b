//! The definitions of all files, and what a name of the file level means.
//!
//! A name is looked up in its own file, then in the library, whose public names form a prelude.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use nn_grammar::ast;

use crate::base::{FileId, Name, Span};
use crate::syntax;

/// A file's names. Scope 0.. are files in the order in which they were added.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Scope(pub u32);

/// One file. The library's are parsed when one of their names is used: most programs want few of them.
#[derive(Clone, Debug)]
struct FileNames {
    library: Option<Library>,
    content: OnceLock<Content>,
    /// `use "…" as o`
    uses: HashMap<Name, Scope>,
}

/// A file of the library before it is parsed.
#[derive(Clone, Debug)]
struct Library {
    file: FileId,
    text: &'static str,
    names: HashSet<&'static str>,
}

/// What a file defines.
#[derive(Clone, Debug, Default)]
struct Content {
    defs: HashMap<Name, Arc<ast::Def>>,
    lets: HashMap<Name, Arc<ast::Let>>,
    /// What items define that did not parse: using it is no second error.
    broken: HashSet<Name>,
    items: Vec<Entry>,
}

impl FileNames {
    fn content(&self) -> &Content {
        self.content.get_or_init(|| match &self.library {
            Some(library) => Content::of(syntax::parse_text(library.file, library.text).file).0,
            None => Content::default(),
        })
    }
}

impl Content {
    /// The items of a file, and the names that it defines twice, each with both places.
    fn of(file: ast::File) -> (Content, Vec<(Name, Span, Span)>) {
        let mut names = Content::default();
        let mut twice = Vec::new();
        for item in file.items {
            match item.kind {
                ast::ItemKind::Def(def) => {
                    let def: Arc<ast::Def> = Arc::from(def);
                    if let Some(first) = names.defs.get(&def.name.name) {
                        twice.push((def.name.name.clone(), first.name.span, def.name.span));
                        continue;
                    }
                    names.defs.insert(def.name.name.clone(), def.clone());
                    names.items.push(Entry::Def(def));
                }
                ast::ItemKind::Train(train) => names.items.push(Entry::Train(Arc::new(train), item.span)),
                ast::ItemKind::Test(test) => names.items.push(Entry::Test(Arc::new(test))),
                ast::ItemKind::Let(binding) => {
                    if let ast::PatKind::Name(name) = &binding.pat.kind {
                        names.lets.insert(name.name.clone(), Arc::new(binding));
                    }
                }
                ast::ItemKind::Error { defines } => {
                    names.broken.extend(defines.into_iter().map(|name| name.name))
                }
                ast::ItemKind::Use(_) => {}
            }
        }
        (names, twice)
    }
}

/// The names that a text defines, by the first words of its lines. In formatted text, as the library's is, a line of the file level alone
/// begins with such a word.
pub fn defined_names(text: &str) -> impl Iterator<Item = &str> {
    const HEADS: [&str; 5] = ["fn ", "layer ", "model ", "optimizer ", "let "];
    text.lines().filter_map(|line| {
        let rest = HEADS.iter().find_map(|head| line.strip_prefix(head))?;
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        Some(&rest[..end])
    })
}

/// An item of a file, in source order.
#[derive(Clone, Debug)]
pub enum Entry {
    Def(Arc<ast::Def>),
    Train(Arc<ast::Train>, Span),
    Test(Arc<ast::Test>),
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
    Def(Arc<ast::Def>, Scope),
    Let(Arc<ast::Let>, Scope),
    Module(Scope),
    /// Defined by an item that did not parse.
    Broken,
}

impl Program {
    /// Adds a file. Returns its scope and the names that it defines twice, each with both places.
    pub fn add(&mut self, file: ast::File) -> (Scope, Vec<(Name, Span, Span)>) {
        let (content, twice) = Content::of(file);
        (self.push(None, OnceLock::from(content)), twice)
    }

    /// Adds a file of the library: its definitions become visible everywhere. They are parsed when one is used.
    pub fn add_library(&mut self, module: &str, file: FileId, text: &'static str) -> Scope {
        let names: HashSet<&'static str> = defined_names(text).collect();
        let prelude: Vec<Name> = names.iter().map(Name::new).collect();
        let scope = self.push(Some(Library { file, text, names }), OnceLock::new());
        self.prelude.extend(prelude.into_iter().map(|name| (name, scope)));
        self.modules.insert(Name::new(module), scope);
        scope
    }

    fn push(&mut self, library: Option<Library>, content: OnceLock<Content>) -> Scope {
        self.files.push(FileNames { library, content, uses: HashMap::new() });
        Scope(self.files.len() as u32 - 1)
    }

    /// Makes another file's names readable under `alias`.
    pub fn link(&mut self, scope: Scope, alias: Name, target: Scope) {
        self.files[scope.0 as usize].uses.insert(alias, target);
    }

    pub fn items(&self, scope: Scope) -> &[Entry] {
        &self.files[scope.0 as usize].content().items
    }

    pub fn is_library(&self, scope: Scope) -> bool {
        self.files[scope.0 as usize].library.is_some()
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
        if file.library.as_ref().is_some_and(|library| !library.names.contains(name)) {
            return None;
        }
        let file = file.content();
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
        let content = file.content();
        let own = content.defs.keys().chain(content.lets.keys());
        own.chain(file.uses.keys()).chain(self.prelude.keys())
    }

    /// The file in which a place lies belongs to the library.
    pub fn is_library_file(&self, file: FileId) -> bool {
        self.files.iter().filter_map(|names| names.library.as_ref()).any(|library| library.file == file)
    }
}
