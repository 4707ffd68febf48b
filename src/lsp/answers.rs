//! What is said of a program: its errors, its names, its text in the canonical style.

use std::path::Path;

use serde_json::{Value, json};

use crate::base::{FileId, Sources, Span};
use crate::check::{Entry, Named, Scope};
use crate::diag::{Diagnostic, Label, Severity};
use crate::session::{Check, Session, Settings, name_of, theorem};
use crate::syntax;

use super::document::{name_at, offset, position, range, uri_of};

/// A checked document.
pub struct Analysis {
    session: Session,
    check: Check,
}

impl Analysis {
    /// Checks a text as if it were in the file at `path`.
    pub fn of(path: &Path, text: &str) -> Analysis {
        let name =
            path.file_name().map_or_else(|| "main.nn".into(), |name| name.to_string_lossy().into_owned());
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut session = Session::of_text(&name, text, folder);
        let check = session.check(&Settings::default(), &|_| true);
        Analysis { session, check }
    }

    fn file(&self) -> Option<(Scope, FileId)> {
        self.session.user
    }

    /// Errors and warnings. One of another file, which this one uses, stands at this one's beginning.
    pub fn diagnostics(&self) -> Value {
        let all = self.check.diagnostics.iter();
        all.map(|diagnostic| self.diagnostic(diagnostic)).collect()
    }

    fn diagnostic(&self, found: &Diagnostic) -> Value {
        let sources = &self.session.sources;
        let own = |label: &&Label| self.file().is_some_and(|(_, file)| label.span.file == file);
        let main = found.labels.first().filter(own);
        let nothing = json!({"line": 0, "character": 0});
        let place = main
            .map_or_else(|| json!({"start": nothing, "end": nothing}), |label| range(sources, label.span));
        let mut message = found.message.clone();
        if let Some(label) = main.filter(|label| !label.message.is_empty()) {
            message += &format!("\n{}", label.message);
        }
        found.notes.iter().for_each(|note| message += &format!("\nnote: {note}"));
        found.told_helps().for_each(|help| message += &format!("\nhelp: {help}"));
        let rest = found.labels.iter().skip(usize::from(main.is_some()));
        let related: Vec<Value> = rest
            .map(|label| {
                let location = json!({"uri": self.uri(label.span.file), "range": range(sources, label.span)});
                json!({"location": location, "message": label.message})
            })
            .collect();
        json!({
            "range": place,
            "severity": match found.severity {
                Severity::Error => 1,
                Severity::Warning => 2,
                Severity::Note => 3,
            },
            "code": found.code.to_string(),
            "source": "nnc",
            "message": message,
            "relatedInformation": related,
        })
    }

    /// The changes that are proposed for what is wrong between two places of the document.
    pub fn actions(&self, uri: &str, place: &Value) -> Value {
        let sources = &self.session.sources;
        let Some((_, file)) = self.file() else { return json!([]) };
        let at = |end: &str| offset(sources, file, &place[end]).unwrap_or(0) as u32;
        let (start, end) = (at("start"), at("end"));
        let touched = |found: &&Diagnostic| {
            let place = found.primary().filter(|span| span.file == file);
            place.is_some_and(|span| span.start <= end && start <= span.end)
        };
        let mut actions = Vec::new();
        for found in self.check.diagnostics.iter().filter(touched) {
            for help in &found.helps {
                let changes = help.changes(sources);
                // What lies in another file is told, not changed.
                if changes.is_empty() || changes.iter().any(|(span, _)| span.file != file) {
                    continue;
                }
                let edit =
                    |(span, text): (Span, String)| json!({"range": range(sources, span), "newText": text});
                let edits: Vec<Value> = changes.into_iter().map(edit).collect();
                actions.push(json!({
                    "title": help.text,
                    "kind": "quickfix",
                    "diagnostics": [self.diagnostic(found)],
                    "edit": {"changes": {uri: edits}},
                }));
            }
        }
        Value::Array(actions)
    }

    /// The address of a file. Those of the library lie in the binary: they are written where an editor can read them.
    fn uri(&self, file: FileId) -> String {
        let name = self.session.sources.name(file);
        if !self.session.program.is_library_file(file) {
            return uri_of(Path::new(name));
        }
        let copy = std::env::temp_dir().join(format!("nnc-{}", env!("CARGO_PKG_VERSION"))).join(name);
        let text = self.session.sources.text(file);
        if std::fs::read_to_string(&copy).ok().as_deref() != Some(text) {
            let folder = copy.parent().unwrap_or(Path::new("."));
            // Where it cannot be written the editor says that there is no such file.
            let _ = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&copy, text));
        }
        uri_of(&copy)
    }

    /// The definition that the name at a place means, and the span of the name.
    fn named(&self, at: &Value) -> Option<(Named, Span)> {
        let (scope, file) = self.file()?;
        let sources = &self.session.sources;
        let text = sources.text(file);
        let (word, before) = name_at(text, offset(sources, file, at)?)?;
        let span = Span::new(file, word.start as u32, word.end as u32);
        let program = &self.session.program;
        let named = match before.and_then(|module| program.resolve(scope, module)) {
            Some(Named::Module(module)) => program.member(module, &text[word])?,
            _ => program.resolve(scope, &text[word])?,
        };
        Some((named, span))
    }

    /// Where the name at a place is defined; null where it is none of a definition.
    pub fn definition(&self, at: &Value) -> Value {
        let span = match self.named(at) {
            Some((Named::Def(def, _), _)) => def.name.span,
            Some((Named::Let(binding, _), _)) => binding.pat.span,
            _ => return Value::Null,
        };
        json!({"uri": self.uri(span.file), "range": range(&self.session.sources, span)})
    }

    /// How the definition that a name means begins, what its text says of it, and what is proved of it.
    pub fn hover(&self, at: &Value) -> Value {
        let sources = &self.session.sources;
        let Some((Named::Def(def, _), word)) = self.named(at) else { return Value::Null };
        let whole = sources.slice(def.span);
        let body = (def.body.span.start.saturating_sub(def.span.start) as usize).min(whole.len());
        let head = whole.get(..body).unwrap_or(whole).trim_end().trim_end_matches(['=', '{']).trim_end();
        let mut text = format!("```nn\n{head}\n```\n");
        if let Some(doc) = &def.doc {
            text += &format!("\n{}\n", doc.trim());
        }
        let item = self.check.items.iter().find(|item| item.span == def.name.span);
        if let Some(item) = item {
            text += &format!("\n```\n{}\n```\n", theorem(item).trim_end());
        }
        json!({"contents": {"kind": "markdown", "value": text}, "range": range(sources, word)})
    }

    /// Names that can be written here.
    pub fn completion(&self) -> Value {
        let Some((scope, _)) = self.file() else { return json!([]) };
        let mut names: Vec<&str> =
            self.session.program.visible_names(scope).map(|name| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| json!({"label": name})).collect()
    }

    /// The items of the document.
    pub fn symbols(&self) -> Value {
        let sources = &self.session.sources;
        let symbol = |(_, entry): (Scope, Entry)| {
            let (name, span) = name_of(&entry);
            let (kind, whole) = match &entry {
                Entry::Def(def) => (12, def.span),
                Entry::Train(_, span) => (2, *span),
                Entry::Test(_) => (6, span),
            };
            json!({"name": name.as_str(), "kind": kind, "range": range(sources, whole.to(span)), "selectionRange": range(sources, span)})
        };
        self.session.items().into_iter().map(symbol).collect()
    }
}

/// The edit that brings a text into the canonical style; null where it does not parse.
pub fn formatting(text: &str) -> Value {
    let mut sources = Sources::new();
    let Ok(file) = sources.add_bytes("main.nn", text.as_bytes().to_vec()) else { return Value::Null };
    match syntax::format(&sources, file) {
        Ok(after) if after == text => json!([]),
        Ok(after) => {
            let end = position(&sources, file, sources.text(file).len() as u32);
            json!([{"range": {"start": {"line": 0, "character": 0}, "end": end}, "newText": after}])
        }
        Err(_) => Value::Null,
    }
}
