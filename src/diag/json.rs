//! Diagnostics for programs that read them.

use serde_json::{Value, json};

use crate::base::Sources;

use super::{Diagnostic, Label};

/// `{code, severity, message, file, line, column, labels, helps, notes}`: the place is that of the primary
/// label, or null; a label is `{line, column, end_line, end_column, message, primary}` and, where it
/// lies in another file than the primary one, `file`. Lines and columns count from 1, columns in
/// characters; the end is the position after the last character.
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
        "helps": diagnostic.helps,
        "notes": diagnostic.notes,
    })
}

/// All of them, in the order given.
pub fn diagnostics(sources: &Sources, all: &[Diagnostic]) -> Value {
    all.iter().map(|one| diagnostic(sources, one)).collect()
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
