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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Span;
    use crate::diag::Code;

    #[test]
    fn the_form_is_as_documented() {
        let mut sources = Sources::new();
        let (a, b) = (sources.add("a.nn", "φ\nψχ"), sources.add("b.nn", "x"));
        let error = Diagnostic::error(Code(203), "m")
            .label(Span::new(a, 5, 7), "one")
            .label(Span::new(b, 0, 1), "")
            .help("h");
        let expected = json!({
            "code": "E0203", "severity": "error", "message": "m", "file": "a.nn", "line": 2, "column": 2,
            "labels": [
                {"line": 2, "column": 2, "end_line": 2, "end_column": 3, "message": "one", "primary": true},
                {"line": 1, "column": 1, "end_line": 1, "end_column": 2, "message": "", "primary": false, "file": "b.nn"},
            ],
            "helps": ["h"], "notes": [],
        });
        assert_eq!(diagnostic(&sources, &error), expected);
        assert_eq!(diagnostics(&sources, &[Diagnostic::note(Code(1), "n")])[0]["line"], Value::Null);
    }
}
