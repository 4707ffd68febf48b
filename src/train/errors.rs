//! Messages about data, weights and checkpoints: E05xx from E0520 on.

use std::path::Path;

use super::blame::Blame;
use crate::base::{Name, Span};
use crate::check::errors::nearest;
use crate::diag::{Code, Diagnostic, Fault};
use crate::formats::FormatError;
use crate::runtime::{BindError, RunError};

fn in_file(code: u16, message: String) -> Diagnostic {
    Diagnostic::error(Code(code), message).fault(Fault::File)
}

/// An array of the data is not what its header said when the program was checked.
pub fn data_changed(span: Span, file: &Path, field: &str) -> Diagnostic {
    in_file(520, format!("{}: `{field}` has changed since it was checked", file.display()))
        .label(span, "named here")
}

pub fn unreadable(span: Span, error: &FormatError) -> Diagnostic {
    in_file(508, error.to_string()).label(span, "named here")
}

/// A NaN or an infinity among the data of a file, of which the line may be known.
pub fn not_finite(span: Span, file: &str, field: &str, at: &[usize], value: f64) -> Diagnostic {
    let sample = at.first().map_or(String::new(), |sample| format!("sample {sample}: "));
    in_file(521, format!("{}: {sample}`{field}{}` is {}", file, place(at), number(value)))
        .label(span, "these data")
        .help("data must be finite numbers; leave such samples out, or fill the gaps before training")
}

/// A label beyond the classes of the model.
pub fn out_of_range(span: Span, file: &str, field: &str, at: &[usize], value: i64, bound: i64) -> Diagnostic {
    let sample = at.first().map_or(String::new(), |sample| format!("sample {sample}: "));
    in_file(522, format!("{}: {sample}`{field}{}` is {value}, not in 0..{bound}", file, place(at)))
        .label(span, "these data")
        .help(format!("the program uses `{field}` as a position among {bound}"))
}

pub fn no_training_samples(span: Span) -> Diagnostic {
    in_file(523, "the split leaves no samples to train with".into()).label(span, "in this train block")
}

pub fn too_many_samples(span: Span, count: usize) -> Diagnostic {
    in_file(524, format!("{count} samples are more than 2^31 - 1"))
        .label(span, "in this train block")
        .fault(Fault::Limit)
}

/// A batch that is larger than the data.
pub fn short_batch(span: Span, batch: usize, count: usize) -> Diagnostic {
    Diagnostic::warning(
        Code(525),
        format!("the batch of {batch} is larger than the {count} training samples"),
    )
    .label(span, "each epoch is one short batch")
}

/// What a training stops at.
pub enum Wrong {
    Loss(f64),
    /// A parameter or a state, after a step with a finite loss.
    Weight(Name),
}

/// The loss is NaN or infinite, or the weights that a step leaves are.
pub fn loss_not_finite(
    span: Span,
    wrong: &Wrong,
    step: u64,
    epoch: usize,
    kept: &Path,
    blame: Option<&Blame>,
) -> Diagnostic {
    let message = match wrong {
        Wrong::Loss(loss) => format!("the loss is {} at step {step}, in epoch {epoch}", number(*loss)),
        Wrong::Weight(path) => {
            format!("`{path}` is not finite after step {step}, in epoch {epoch}, though its loss was finite")
        }
    };
    let diagnostic = Diagnostic::error(Code(526), message);
    let diagnostic = match blame {
        Some(Blame { step, span, operator }) => diagnostic
            .label(*span, format!("in step {step} this made the first infinity or NaN: `{operator}`")),
        None => diagnostic.label(span, "training stopped"),
    };
    diagnostic
        .help(format!("the last good weights are in {}", kept.display()))
        .help("a smaller learning rate often helps: --set lr=…, where the block has such a parameter")
}

/// Weights that do not belong to this program: everything that differs, at once.
pub fn weights_differ(file: &Path, differences: &[String]) -> Diagnostic {
    const SHOWN: usize = 20;
    let mut diagnostic = in_file(527, format!("{}: these are not this program's weights", file.display()));
    for difference in differences.iter().take(SHOWN) {
        diagnostic = diagnostic.with_note(difference.clone());
    }
    if differences.len() > SHOWN {
        diagnostic = diagnostic.with_note(format!("and {} differences more", differences.len() - SHOWN));
    }
    diagnostic
}

pub fn bad_file(error: &FormatError) -> Diagnostic {
    in_file(528, error.to_string())
}

/// The folder for weights and metrics cannot be made.
pub fn no_folder(folder: &Path, error: &std::io::Error) -> Diagnostic {
    in_file(535, format!("cannot make the folder {}: {error}", folder.display()))
        .help("another one can be named: --out DIR")
}

/// A checkpoint that lacks what it needs to go on.
pub fn not_a_checkpoint(file: &Path, what: &str) -> Diagnostic {
    in_file(529, format!("{}: this is no checkpoint: {what}", file.display()))
}

/// `--resume` with other settings than those of the checkpoint.
pub fn cannot_resume(file: &Path, what: &str, had: &str, wants: &str) -> Diagnostic {
    in_file(530, format!("{}: was written with {what} {had}, now it is {wants}", file.display()))
        .help("resume with the same settings, or start again without --resume")
}

/// `--resume` with other samples than those of the checkpoint.
pub fn other_data(file: &Path) -> Diagnostic {
    in_file(530, format!("{}: was written by a training on other data", file.display())).help(
        "resume with the same data and the same split; to go on with others, begin with these weights: init",
    )
}

/// Two trainings with one folder.
pub fn folder_in_use(folder: &Path) -> Diagnostic {
    in_file(538, format!("another training writes to the folder {}", folder.display()))
        .help("wait for its end, or name another folder: --out DIR")
}

pub fn nothing_to_resume(file: &Path) -> Diagnostic {
    in_file(531, format!("{}: there is no checkpoint to resume from", file.display()))
}

pub fn not_bound(error: &BindError) -> Diagnostic {
    in_file(532, error.to_string()).fault(match error {
        BindError::Memory { .. } => Fault::Limit,
        _ => Fault::File,
    })
}

pub fn not_run(error: &RunError) -> Diagnostic {
    match error {
        RunError::OutOfMemory(_) => in_file(533, error.to_string()).fault(Fault::Limit),
        _ => in_file(534, error.to_string()),
    }
}

/// The line about a name that the file does not have.
pub fn missing_entry<'a>(name: &str, shape: &[usize], there: impl Iterator<Item = &'a str>) -> String {
    match nearest(name, there) {
        Some(near) => format!("no `{name}` {shape:?}; did it mean `{near}`?"),
        None => format!("no `{name}` {shape:?}"),
    }
}

fn place(at: &[usize]) -> String {
    let parts: Vec<String> = at.iter().map(usize::to_string).collect();
    if parts.is_empty() { String::new() } else { format!("[{}]", parts.join(", ")) }
}

pub fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value > 0.0 {
        "infinite".into()
    } else {
        "minus infinity".into()
    }
}
