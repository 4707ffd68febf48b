//! Source files: the library, the program's file, and the files that these use.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use nn_grammar::ast::{Def, File, ItemKind, Use};

use crate::base::{FileId, Name, Sources, Span};
use crate::check::{Entry, Named, Program, Scope, errors as check_errors};
use crate::diag::Diagnostic;
use crate::syntax;

use super::{errors, library};

/// Everything that was read, and what was wrong with it.
pub struct Loaded {
    pub sources: Sources,
    pub program: Program,
    /// The file that was asked for; `None` where it could not be read.
    pub user: Option<(Scope, FileId)>,
    /// The folder of each file of the program.
    pub folders: HashMap<FileId, PathBuf>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a program: the library, the file, and what it uses.
pub fn load(path: &Path) -> Loaded {
    let mut loader = Loader::new();
    match std::fs::read(path) {
        Ok(bytes) => loader.user_file(path, bytes),
        Err(error) => loader.loaded.diagnostics.push(errors::unreadable_source(path, &error, None)),
    }
    loader.loaded
}

/// The same for text that is not in a file; it may use files of `folder`.
pub fn load_text(name: &str, text: &str, folder: &Path) -> Loaded {
    let mut loader = Loader::new();
    loader.user_file(&folder.join(name), text.as_bytes().to_vec());
    loader.loaded
}

/// The library alone.
pub fn load_library() -> Loaded {
    Loader::new().loaded
}

/// Items that were parsed already, of several texts, as one file on top of a loaded library. A `use` is looked for in the folder of
/// the text in which it stands.
pub fn load_items(
    library: &Loaded,
    sources: Sources,
    folders: HashMap<FileId, PathBuf>,
    folder: &Path,
    file: File,
) -> Loaded {
    let loaded = Loaded {
        sources,
        program: library.program.clone(),
        user: None,
        folders,
        diagnostics: library.diagnostics.clone(),
    };
    let root = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_path_buf() };
    let mut loader = Loader { loaded, root, done: HashMap::new(), open: Vec::new() };
    let id = file.span.file;
    let scope = loader.items(&folder.join("repl"), file);
    loader.loaded.user = Some((scope, id));
    loader.loaded
}

/// The names that the library defines.
pub fn library_names(program: &Program) -> Vec<Name> {
    let scopes = (0..library::FILES.len() as u32).map(Scope);
    scopes
        .flat_map(|scope| program.items(scope).iter().filter_map(definition_name).collect::<Vec<_>>())
        .collect()
}

/// A definition of the library.
pub fn library_definition(program: &Program, name: &str) -> Option<Def> {
    match program.resolve(Scope(0), name)? {
        Named::Def(def, _) => Some((*def).clone()),
        _ => None,
    }
}

fn definition_name(entry: &Entry) -> Option<Name> {
    match entry {
        Entry::Def(def) => Some(def.name.name.clone()),
        _ => None,
    }
}

struct Loader {
    loaded: Loaded,
    /// Files outside of this folder are not read.
    root: PathBuf,
    done: HashMap<PathBuf, Scope>,
    /// The files whose `use`s are being followed.
    open: Vec<PathBuf>,
}

impl Loader {
    fn new() -> Loader {
        let mut sources = Sources::new();
        let mut program = Program::default();
        for (module, text) in library::FILES {
            let file = sources.add(library::shown_name(module), text);
            program.add_library(module, file, text);
        }
        let loaded =
            Loaded { sources, program, user: None, folders: HashMap::new(), diagnostics: Vec::new() };
        Loader { loaded, root: PathBuf::new(), done: HashMap::new(), open: Vec::new() }
    }

    fn user_file(&mut self, path: &Path, bytes: Vec<u8>) {
        self.root = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
            _ => PathBuf::from("."),
        };
        self.loaded.user = self.file(path, bytes);
    }

    /// Adds a file and follows its `use`s.
    fn file(&mut self, path: &Path, bytes: Vec<u8>) -> Option<(Scope, FileId)> {
        let sources = &mut self.loaded.sources;
        let file = match sources.add_bytes(path.display().to_string(), bytes) {
            Ok(file) => file,
            Err(refused) => {
                self.loaded.diagnostics.push(errors::not_accepted(refused));
                return None;
            }
        };
        let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        self.loaded.folders.insert(file, folder);
        let parsed = syntax::parse(sources, file);
        self.loaded.diagnostics.extend(parsed.diagnostics);
        Some((self.items(path, parsed.file), file))
    }

    /// Adds the items of a file and follows its `use`s.
    fn items(&mut self, path: &Path, file: File) -> Scope {
        let uses: Vec<Use> = file
            .items
            .iter()
            .filter_map(|item| match &item.kind {
                ItemKind::Use(used) => Some(used.clone()),
                _ => None,
            })
            .collect();
        let (scope, twice) = self.loaded.program.add(file);
        for (name, first, second) in twice {
            self.loaded.diagnostics.push(check_errors::defined_twice(&name, first, second));
        }
        let key = canonical(path);
        self.done.insert(key.clone(), scope);
        self.open.push(key);
        let mut aliases: Vec<String> = Vec::new();
        for used in uses {
            let alias = used
                .alias
                .as_ref()
                .map_or_else(|| stem(Path::new(&*used.path.value)), |name| name.to_string());
            let place = used.alias.as_ref().map_or(used.path.span, |name| name.span);
            if aliases.contains(&alias) {
                self.loaded.diagnostics.push(errors::used_twice(place, &alias));
                continue;
            }
            let folder = self.loaded.folders.get(&used.path.span.file).cloned().unwrap_or_default();
            if let Some(target) = self.used(&folder, &used.path.value, used.path.span) {
                self.loaded.program.link(scope, alias.as_str().into(), target);
            }
            aliases.push(alias);
        }
        self.open.pop();
        scope
    }

    /// The file that `use "path"` in a file of `folder` names.
    fn used(&mut self, folder: &Path, written: &str, span: Span) -> Option<Scope> {
        let path = tidy(&folder.join(written));
        let key = canonical(&path);
        let inside = !Path::new(written).is_absolute() && key.starts_with(canonical(&self.root));
        if !inside {
            self.loaded.diagnostics.push(errors::use_escapes(span, &self.root));
            return None;
        }
        if self.open.contains(&key) {
            self.loaded.diagnostics.push(errors::use_cycle(span, written));
            return None;
        }
        if let Some(&scope) = self.done.get(&key) {
            return Some(scope);
        }
        match std::fs::read(&path) {
            Ok(bytes) => self.file(&path, bytes).map(|(scope, _)| scope),
            Err(error) => {
                self.loaded.diagnostics.push(errors::unreadable_source(&path, &error, Some(span)));
                None
            }
        }
    }
}

/// `layers` of `a/layers.nn`.
fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "main".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// The path with its links resolved; of one that does not exist, its text without `.` and `..`.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| {
        let whole = std::env::current_dir().map_or_else(|_| path.to_path_buf(), |here| here.join(path));
        tidy(&whole)
    })
}

/// Without `.`, and without `a/..`.
fn tidy(path: &Path) -> PathBuf {
    let mut parts: Vec<Component<'_>> = Vec::new();
    for part in path.components() {
        match (part, parts.last()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.iter().collect()
}
