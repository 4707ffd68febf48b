//! Messages about source files, data files and requests: E05xx.

use std::path::Path;

use crate::base::{Name, NotAccepted, Reason, Span};
use crate::check::errors::nearest;
use crate::diag::{Code, Diagnostic, Fault};
use crate::formats::FormatError;
use crate::ops::EvalError;

use super::inputs::Given;
use super::placement::shown;

fn usage(code: u16, message: String) -> Diagnostic {
    Diagnostic::error(Code(code), message).fault(Fault::Usage)
}

fn in_file(code: u16, message: String) -> Diagnostic {
    Diagnostic::error(Code(code), message).fault(Fault::File)
}

/// A source file that cannot be read; the place is that of the `use`, where there is one.
pub fn unreadable_source(path: &Path, error: &std::io::Error, used: Option<Span>) -> Diagnostic {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::IsADirectory => "this is a folder".to_owned(),
        _ => error.to_string(),
    };
    let diagnostic = in_file(501, format!("cannot read {}: {why}", path.display()));
    match used {
        Some(span) => diagnostic.label(span, "used here"),
        None => diagnostic,
    }
}

/// Bytes that are no source text.
pub fn not_accepted(refused: NotAccepted) -> Diagnostic {
    match refused.reason {
        Reason::NotUtf8 => {
            in_file(502, "a source file is text in UTF-8".into()).label(refused.at, "these bytes are not")
        }
        Reason::TooLong => in_file(503, "the file is longer than 4 GiB".into())
            .label(refused.at, "not read")
            .fault(Fault::Limit),
    }
}

/// `use "../../secret.nn"`: files lie in the folder of the program or below it.
pub fn use_escapes(span: Span, folder: &Path) -> Diagnostic {
    in_file(504, "a program uses only files of its own folder".into())
        .label(span, format!("this lies outside of {}", folder.display()))
}

pub fn use_cycle(span: Span, path: &str) -> Diagnostic {
    Diagnostic::error(Code(505), format!("`{path}` uses itself, directly or through others"))
        .label(span, "closes the cycle")
        .help("move what both files need to a third one")
}

/// The same name for two files.
pub fn used_twice(span: Span, alias: &str) -> Diagnostic {
    Diagnostic::error(Code(506), format!("two files are used as `{alias}`"))
        .label(span, "the second one")
        .help("give it another name: use \"…\" as other")
}

pub const DATA_FORMATS: [&str; 6] = ["npz", "npy", "csv", "idx", "folder", "text"];

pub fn unknown_data_format(span: Span, format: &str) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code(507), format!("`{format}` is no format of data"))
        .label(span, "in this data clause");
    match nearest(format, DATA_FORMATS) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None => diagnostic.help("write: data d = npz(\"data/digits.npz\")"),
    }
}

/// A data file that cannot be read, at the place where the program names it.
pub fn unreadable_data(span: Span, error: &FormatError) -> Diagnostic {
    let diagnostic = in_file(508, error.to_string()).label(span, "named here");
    match error.problem {
        crate::formats::Problem::Missing => {
            diagnostic.help("paths are relative to the folder of the .nn file")
        }
        _ => diagnostic,
    }
}

/// A parameter whose size is not known when compiling.
pub fn unknown_parameter_size(span: Span, parameter: &str, dims: &[String]) -> Diagnostic {
    let flags: Vec<String> = dims.iter().map(|dim| format!("--dim {dim}=…")).collect();
    usage(509, format!("the size of parameter `{parameter}` is not known: it depends on {}", list(dims)))
        .label(span, "its type")
        .help(format!("give it on the command line: {}", flags.join(" ")))
}

/// `--dim` of a name that the definition does not have.
pub fn unknown_dim(name: &str, item: &str, known: &[String]) -> Diagnostic {
    let diagnostic = usage(510, format!("--dim {name}: `{item}` has no dim `{name}`"));
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None if known.is_empty() => diagnostic,
        None => diagnostic.help(format!("it has {}", list(known))),
    }
}

/// `F:NAME` names nothing, or not what is wanted.
pub fn no_such_block(what: &str, name: &str, known: &[Name]) -> Diagnostic {
    let diagnostic = usage(511, format!("the file has no {what} `{name}`"));
    if let Some(near) = nearest(name, known.iter().map(Name::as_str)) {
        return diagnostic.help(format!("did you mean `{near}`?"));
    }
    match known {
        [] => diagnostic,
        _ => diagnostic.help(format!("it has {}", list(known))),
    }
}

/// Nothing of the wanted sort, or several and no choice.
pub fn which_block(file: &str, what: &str, known: &[Name]) -> Diagnostic {
    match known {
        [] => usage(512, format!("{file} has no {what}")),
        [first, ..] => usage(512, format!("{file} has several {what}s: {}", list(known)))
            .help(format!("name one: {file}:{first}")),
    }
}

/// A definition that only its uses make concrete.
pub fn not_compiled_alone(span: Span, name: &str) -> Diagnostic {
    Diagnostic::error(Code(513), format!("`{name}` cannot be compiled by itself"))
        .label(span, "a static parameter has no value")
        .help("give the parameter a default, or compile a model that uses it")
}

/// There is more to check, from this item on, and nobody would read it.
pub fn checking_stopped(next: Span) -> Diagnostic {
    Diagnostic::note(Code(536), "what follows was not checked: there are errors enough, or a limit was met")
        .label(next, "not checked from here on")
}

/// The two compilations of a model disagree about what it owns.
pub fn modes_differ(span: Span, path: &str, in_training: bool) -> Diagnostic {
    let (here, there) = if in_training { ("training", "inference") } else { ("inference", "training") };
    Diagnostic::error(Code(514), format!("`{path}` is declared in {here} only, not in {there}"))
        .label(span, "declared here")
        .help("declare it outside of `if training { … }`")
}

pub fn not_interpreted(error: &EvalError) -> Diagnostic {
    Diagnostic::error(Code(698), format!("the interpreter stopped: {error}"))
}

// ---- arrays for inputs ----

fn of_input(code: u16, span: Span, message: String) -> Diagnostic {
    in_file(code, message).label(span, "this input")
}

pub fn wrong_shape(span: Span, given: &Given, wanted: &str) -> Diagnostic {
    let have = given.array.shape();
    of_input(516, span, format!("{} has shape {have:?}, the input is {wanted}", given.file.display()))
        .help(format!("further axes in front are mapped over; the last ones must be those of {wanted}"))
}

pub fn wrong_dtype(span: Span, given: &Given, wanted: &str) -> Diagnostic {
    let have = given.array.dtype();
    of_input(517, span, format!("{} has elements of {have}, the input is {wanted}", given.file.display()))
}

/// Two inputs are mapped over axes that do not agree.
pub fn batches_differ(span: Span, first: &Given, second: &Given) -> Diagnostic {
    let (one, other) = (first.array.shape(), second.array.shape());
    let (first, second) = (first.file.display(), second.file.display());
    of_input(
        516,
        span,
        format!("{first} {one:?} and {second} {other:?} have different axes in front to map over"),
    )
}

pub fn no_such_input(given: &Given, names: &[&Name]) -> Diagnostic {
    let file = given.file.display();
    let diagnostic = match &given.name {
        Some(name) => usage(518, format!("there is no input `{name}` for {file}")),
        None => usage(518, format!("for which input is {file}?")),
    };
    let near = given.name.as_ref().and_then(|name| nearest(name, names.iter().map(|name| name.as_str())));
    match near {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None if names.is_empty() => diagnostic.help("it has no inputs"),
        None => diagnostic.help(format!("the inputs are {}", list(names))),
    }
}

pub fn input_twice(name: &str) -> Diagnostic {
    usage(518, format!("input `{name}` is given twice"))
}

pub fn missing_input(span: Span, name: &str, wanted: &str) -> Diagnostic {
    usage(519, format!("nothing is given for the input `{name}`: {wanted}"))
        .label(span, "this input")
        .help(format!("give it an array: --input {name}=FILE.npy, or --input {name}=FILE.npz:ARRAY"))
}

pub fn input_not_finite(span: Span, given: &Given, at: &[usize]) -> Diagnostic {
    let place: Vec<String> = at.iter().map(usize::to_string).collect();
    of_input(
        521,
        span,
        format!("{}: the element [{}] is not a finite number", given.file.display(), place.join(", ")),
    )
}

pub fn input_out_of_range(span: Span, given: &Given, position: usize, value: f64, bound: i64) -> Diagnostic {
    let file = given.file.display();
    of_input(522, span, format!("{file}: element {position} is {value}, not in 0..{bound}"))
}

fn list<T: std::fmt::Display>(names: &[T]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// `memory 1 MiB` for a step that takes more wherever it is computed again: `held` is what takes it, the largest first.
pub fn memory_is_too_little(span: Span, given: u64, least: u64, held: &[(Span, usize)]) -> Diagnostic {
    let diagnostic =
        Diagnostic::error(Code(537), format!("the temporaries of a step do not fit into {}", shown(given)))
            .label(span, format!("the least that was reached is {}", shown(least)));
    let mut places: Vec<(Span, usize)> = Vec::new();
    for &(place, bytes) in held {
        match places.iter_mut().find(|(known, _)| *known == place) {
            Some((_, sum)) => *sum += bytes,
            None => places.push((place, bytes)),
        }
    }
    places.sort_by_key(|&(_, bytes)| std::cmp::Reverse(bytes));
    let diagnostic = places.iter().take(3).fold(diagnostic, |diagnostic, &(place, bytes)| {
        diagnostic.label(place, format!("{} of it are held for this", shown(bytes as u64)))
    });
    diagnostic.help("a smaller batch takes less, and so does the same batch in parts: accumulate 2")
}
