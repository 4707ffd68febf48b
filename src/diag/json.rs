//! Diagnostics for programs that read them.

use serde_json::{Value, json};

use crate::base::{Sources, Span};

use super::{Diagnostic, Help, Label};

/// `{code, severity, message, file, line, column, labels, helps, notes, fixes}`: the place is that of the primary
/// label, or null; a label is `{line, column, end_line, end_column, message, primary}` and, where it
/// lies in another file than the primary one, `file`. Lines and columns count from 1, columns in
/// characters; the end is the position after the last character. A fix is a help whose changes are known,
/// `{message, edits}`, and an edit `{file, line, column, end_line, end_column, text}`: the text takes the place.
pub fn diagnostic(sources: &Sources, diagnostic: &Diagnostic) -> Value {
    let primary = diagnostic.primary();
    let at = primary.map(|span| sources.start(span));
    let labels = diagnostic.labels.iter().enumerate().map(|(index, label)| {
        let mut value = self::label(sources, label, index == 0);
        if primary.is_some_and(|primary| primary.file != label.span.file) {
            value["file"] = sources.name(label.span.file).into();
        }
        value
    });
    let labels: Vec<Value> = labels.collect();
    json!({
        "code": diagnostic.code.to_string(),
        "severity": diagnostic.severity.to_string(),
        "message": diagnostic.message,
        "file": primary.map(|span| sources.name(span.file)),
        "line": at.map(|at| at.line),
        "column": at.map(|at| at.column),
        "labels": labels,
        "helps": diagnostic.told_helps().map(|help| help.text.as_str()).collect::<Vec<_>>(),
        "notes": diagnostic.notes,
        "fixes": diagnostic.helps.iter().filter_map(|help| fix(sources, help)).collect::<Vec<_>>(),
    })
}

/// All of them, in the order given.
pub fn diagnostics(sources: &Sources, all: &[Diagnostic]) -> Value {
    all.iter().map(|one| diagnostic(sources, one)).collect()
}

fn fix(sources: &Sources, help: &Help) -> Option<Value> {
    let edit = |(span, text): (Span, String)| {
        let (start, end) = (sources.start(span), sources.end(span));
        json!({
            "file": sources.name(span.file),
            "line": start.line,
            "column": start.column,
            "end_line": end.line,
            "end_column": end.column,
            "text": text,
        })
    };
    let edits: Vec<Value> = help.changes(sources).into_iter().map(edit).collect();
    (!edits.is_empty()).then(|| json!({"message": help.text, "edits": edits}))
}

fn label(sources: &Sources, label: &Label, primary: bool) -> Value {
    let (start, end) = (sources.start(label.span), sources.end(label.span));
    json!({
        "line": start.line,
        "column": start.column,
        "end_line": end.line,
        "end_column": end.column,
        "message": label.message,
        "primary": primary,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Code;

    #[test]
    fn the_form_is_as_documented() {
        let mut sources = Sources::new();
        let (a, b) = (sources.add("a.nn", "φ\nψχ"), sources.add("b.nn", "x"));
        let error = Diagnostic::error(Code(203), "m")
            .label(Span::new(a, 5, 7), "one")
            .label(Span::new(b, 0, 1), "")
            .help("h")
            .help(Help::from("c").replace(Span::new(a, 3, 5), "x"));
        let expected = json!({
            "code": "E0203", "severity": "error", "message": "m", "file": "a.nn", "line": 2, "column": 2,
            "labels": [
                {"line": 2, "column": 2, "end_line": 2, "end_column": 3, "message": "one", "primary": true},
                {"line": 1, "column": 1, "end_line": 1, "end_column": 2, "message": "", "primary": false, "file": "b.nn"},
            ],
            "helps": ["h", "c"], "notes": [],
            "fixes": [{"message": "c", "edits": [
                {"file": "a.nn", "line": 2, "column": 1, "end_line": 2, "end_column": 2, "text": "x"},
            ]}],
        });
        assert_eq!(diagnostic(&sources, &error), expected);
        assert_eq!(diagnostics(&sources, &[Diagnostic::note(Code(1), "n")])[0]["line"], Value::Null);
    }
}
