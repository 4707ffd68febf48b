//! Diagnostics as values: what is wrong, where, and what to do about it.

mod help;
pub mod json;
pub mod pages;
pub mod render;

use std::fmt;

use crate::base::Span;

pub use help::{Edit, Help};

/// The number of a kind of error, as in `nnc explain E0214`.
///
/// By room: E00xx syntax, E01xx names, E02xx axes and shapes, E03xx types and calls, E04xx training
/// blocks, E05xx data and files, E06xx limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "E{:04}", self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Error,
    Warning,
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        })
    }
}

/// Where the fault lies; it decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fault {
    /// In the program.
    #[default]
    Program,
    /// In a file or in data.
    File,
    /// In the command line.
    Usage,
    /// A limit of resources was met: memory, nesting, static unrolling, size of polynomials.
    Limit,
}

impl Fault {
    pub fn exit_code(self) -> u8 {
        match self {
            Fault::Program => 1,
            Fault::Usage => 2,
            Fault::File => 3,
            Fault::Limit => 4,
        }
    }
}

/// A place and what is to be said about it; the text may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    pub span: Span,
    pub message: String,
}

/// One message to the user. Its first label is the primary one: the place that is shown in the head
/// line and that editors jump to. A diagnostic without labels is about no place in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Diagnostic {
    pub severity: Severity,
    pub code: Code,
    pub message: String,
    pub labels: Vec<Label>,
    pub helps: Vec<Help>,
    pub notes: Vec<String>,
    pub fault: Fault,
}

impl Diagnostic {
    pub fn error(code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Error, code, message.into())
    }

    pub fn warning(code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Warning, code, message.into())
    }

    pub fn note(code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Note, code, message.into())
    }

    fn new(severity: Severity, code: Code, message: String) -> Diagnostic {
        let (labels, helps, notes) = (Vec::new(), Vec::new(), Vec::new());
        Diagnostic { severity, code, message, labels, helps, notes, fault: Fault::Program }
    }

    /// The first call gives the primary label, later ones the secondary labels.
    pub fn label(mut self, span: Span, message: impl Into<String>) -> Diagnostic {
        self.labels.push(Label { span, message: message.into() });
        self
    }

    /// What the user can do.
    pub fn help(mut self, help: impl Into<Help>) -> Diagnostic {
        self.helps.push(help.into());
        self
    }

    /// The help, where there is one.
    pub fn maybe(self, help: Option<Help>) -> Diagnostic {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    /// A fact that explains the message.
    pub fn with_note(mut self, text: impl Into<String>) -> Diagnostic {
        self.notes.push(text.into());
        self
    }

    pub fn fault(mut self, fault: Fault) -> Diagnostic {
        self.fault = fault;
        self
    }

    /// The helps that say what no label says already.
    pub fn told_helps(&self) -> impl Iterator<Item = &Help> {
        self.helps.iter().filter(|help| self.labels.iter().all(|label| label.message != help.text))
    }

    /// The place of the primary label.
    pub fn primary(&self) -> Option<Span> {
        self.labels.first().map(|label| label.span)
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The exit code of a command that ends with these diagnostics: 0 without errors, otherwise that of
/// the first error.
pub fn exit_code(diagnostics: &[Diagnostic]) -> u8 {
    diagnostics.iter().find(|diagnostic| diagnostic.is_error()).map_or(0, |error| error.fault.exit_code())
}
