//! What can be wrong with a file.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::tensor::TensorError;

/// A file that cannot be read or written, and why.
#[derive(Debug, Error)]
#[error("{}: {problem}", file.display())]
pub struct FormatError {
    pub file: PathBuf,
    #[source]
    pub problem: Problem,
}

/// The defect of a file.
#[derive(Debug, Error)]
pub enum Problem {
    #[error("there is no such file")]
    Missing,
    #[error("{0}")]
    Io(io::Error),
    /// It does not begin as its format does.
    #[error("this is not {expected}")]
    Kind { expected: &'static str },
    #[error("the file ends too early: {what} needs {needed} bytes, {found} are there")]
    Truncated { what: String, needed: u64, found: u64 },
    /// Bytes that no header accounts for: either it or they are wrong.
    #[error("{what} needs {needed} bytes, and more follow; its header says less than there is")]
    Longer { what: String, needed: u64 },
    /// The format is right, its contents are not.
    #[error("{0}")]
    Malformed(String),
    /// An element type that no tensor has.
    #[error("{what} has elements of type {found}; {hint}")]
    ElementType { what: String, found: String, hint: &'static str },
    #[error("there is no array `{name}` in it; it holds {}", list(available))]
    NoEntry { name: String, available: Vec<String> },
    /// A place in a text file; both count from 1.
    #[error("line {line}, field {field}: {message}")]
    Field { line: usize, field: usize, message: String },
    #[error("{0}")]
    Tensor(#[from] TensorError),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Problem {
        match error.kind() {
            io::ErrorKind::NotFound => Problem::Missing,
            _ => Problem::Io(error),
        }
    }
}

impl Problem {
    pub(super) fn malformed(message: impl Into<String>) -> Problem {
        Problem::Malformed(message.into())
    }

    /// The problem as one of `file`.
    pub fn in_file(self, file: &Path) -> FormatError {
        FormatError { file: file.to_path_buf(), problem: self }
    }
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    if names.is_empty() {
        return "none".into();
    }
    let mut shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    if names.len() > SHOWN {
        shown.push(format!("{} more", names.len() - SHOWN));
    }
    shown.join(", ")
}
