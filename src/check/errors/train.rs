//! Train blocks.

use nn_grammar::ast;

use crate::base::{Name, Span};
use crate::diag::{Code, Diagnostic};

use super::nearest;

const CLAUSES: [&str; 17] = [
    "data",
    "split",
    "loss",
    "metric",
    "optim",
    "batch",
    "epochs",
    "steps",
    "init",
    "expect",
    "average",
    "keep",
    "patience",
    "evaluate",
    "accumulate",
    "memory",
    "let",
];

/// Whether train blocks have clauses of this word.
pub fn is_clause(word: &str) -> bool {
    CLAUSES.contains(&word)
}

pub fn unknown_clause(word: &ast::Ident) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code(401), format!("`{word}` is no clause of a train block"))
        .label(word.span, "not a clause");
    match nearest(&word.name, CLAUSES) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None => diagnostic.help(
            "the clauses are data, split, let, loss, metric, optim, batch, epochs, steps, init, expect, average, keep, patience, evaluate, accumulate and memory",
        ),
    }
}

pub fn train_without(span: Span, clause: &str, example: &str) -> Diagnostic {
    Diagnostic::error(Code(402), format!("the train block has no `{clause}`"))
        .label(span, format!("needs `{clause}`"))
        .help(format!("for example: {example}"))
}

pub fn data_form(span: Span) -> Diagnostic {
    Diagnostic::error(Code(403), "data comes from a file that is named")
        .label(span, "not of this form")
        .help("write: data d = npz(\"data/digits.npz\"); its arrays are then d.x, d.y, …")
}

pub fn text_without_window(span: Span) -> Diagnostic {
    Diagnostic::error(Code(440), "how many characters a sample has is not said")
        .label(span, "a text without a window")
        .help("write: data d = text(\"plays.txt\", window: 64)")
}

pub fn unknown_data_option(span: Span, format: &str) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code(441), format!("`{format}` does not take this argument"))
        .label(span, "not taken");
    if format == "text" {
        diagnostic.help("besides the path it takes `window`: text(\"plays.txt\", window: 64)")
    } else {
        diagnostic.help("it takes the path alone")
    }
}

pub fn data_without_samples(span: Span, path: &str) -> Diagnostic {
    Diagnostic::error(Code(404), format!("`{path}` holds no array with an axis of samples"))
        .label(span, "no samples")
        .fault(crate::diag::Fault::File)
}

/// Arrays without entries along their first axis.
pub fn no_samples(span: Span, path: &str) -> Diagnostic {
    Diagnostic::error(
        Code(404),
        format!("`{path}` has no samples: its arrays have 0 entries along their first axis"),
    )
    .label(span, "no samples")
    .fault(crate::diag::Fault::File)
}

pub fn data_counts_differ(span: Span, before: usize, count: usize) -> Diagnostic {
    Diagnostic::error(Code(405), format!("the data have {before} and {count} samples"))
        .label(span, format!("{count} samples here"))
        .fault(crate::diag::Fault::File)
}

pub fn split_form(span: Span) -> Diagnostic {
    Diagnostic::error(Code(406), "the samples cannot be split like this")
        .label(span, "not a split")
        .help("write fractions: split (train: 0.8, test: 0.2, seed: 0), or a rule: split (test: fn(i) => i % 5 == 0)")
}

pub fn split_before_data(span: Span) -> Diagnostic {
    Diagnostic::error(Code(407), "`split` stands before `data`")
        .label(span, "how many samples are there?")
        .help("move it behind the data")
}

pub fn not_a_count(span: Span) -> Diagnostic {
    Diagnostic::error(Code(408), "a whole number of at least 1 is wanted here")
        .label(span, "not such a number")
}

pub fn not_a_measure(span: Span, given: &str) -> Diagnostic {
    Diagnostic::error(Code(409), "a loss or metric is one float, for each sample or for the batch")
        .label(span, format!("this is {given}"))
        .help("take a mean or a sum over the other axes")
}

pub fn not_an_optimizer(span: Span, name: &str) -> Diagnostic {
    Diagnostic::error(Code(410), format!("`{name}` is no optimizer"))
        .label(span, "not an optimizer")
        .help("for example: optim adam(1e-3)")
}

pub fn nothing_to_train(span: Span) -> Diagnostic {
    Diagnostic::error(Code(411), "the loss depends on no parameters").label(span, "nothing to train")
}

pub fn optimizer_result(span: Span, have: &str, want: &str) -> Diagnostic {
    Diagnostic::error(Code(412), format!("the optimizer gives {have} for a parameter that is {want}"))
        .label(span, "applied here")
}

/// `--set` of a name that the train block does not have.
pub fn unknown_setting(name: &str, block: &str, known: &[Name]) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code(413), format!("`{block}` has no parameter `{name}` to set"))
        .fault(crate::diag::Fault::Usage);
    match nearest(name, known.iter().map(Name::as_str)) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None if known.is_empty() => diagnostic,
        None => diagnostic.help(format!(
            "it has {}",
            known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        )),
    }
}

pub fn two_losses(span: Span, name: &str) -> Diagnostic {
    Diagnostic::error(Code(414), format!("there are two losses called `{name}`"))
        .label(span, "the second one")
        .help("give losses names: loss dl = …, and say who minimizes them: optim adam(lr, minimize: dl, update: dis)")
}

pub fn unknown_loss(span: Span, known: &[Name]) -> Diagnostic {
    let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    Diagnostic::error(Code(415), "`minimize:` names a loss")
        .label(span, "no loss")
        .help(format!("the losses are {}", known.join(", ")))
}

pub fn which_loss(span: Span) -> Diagnostic {
    Diagnostic::error(Code(416), "there are several losses: an optimizer says which one it minimizes")
        .label(span, "minimizes which?")
        .help("optim adam(lr, minimize: dl, update: dis)")
}

pub fn not_an_instance(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error(Code(417), "this names models of the train block")
        .label(span, format!("{what}, and no model with parameters"))
        .help("let dis = discriminator(), then update: dis, or update: (gen, dis)")
}

pub fn init_form(span: Span) -> Diagnostic {
    Diagnostic::error(Code(418), "`init` loads weights into a model")
        .label(span, "in another form")
        .help("init gen = safetensors(\"g.safetensors\"), or safetensors(\"g.safetensors\", only: \"stem\")")
}

pub fn gradients_of_an_optimizer(span: Span) -> Diagnostic {
    Diagnostic::error(Code(419), "`global_norm` is of the gradients that an optimizer is given")
        .label(span, "no gradient of an optimizer")
        .help("optimizer clipped(lr: f32)(w: f32[..S], g: f32[..S]) -> f32[..S] = w - lr * g / max(global_norm(g), 1.0)")
}

/// `npz("…")` in a function or a model, or under a binder of a block.
pub fn files_outside_of_blocks(span: Span) -> Diagnostic {
    Diagnostic::error(Code(442), "files are read by train and test blocks, outside of their loops")
        .label(span, "not read here")
        .help("let k = npz(\"data/karate.npz\") in the block, and pass k.x to what needs it")
}

pub fn split_overlaps(span: Span, index: usize) -> Diagnostic {
    Diagnostic::error(Code(443), format!("sample {index} is to train and to test"))
        .label(span, "both rules choose it")
        .help("what is measured on samples that were learnt says little; let the rules exclude each other")
}

pub fn expect_form(span: Span) -> Diagnostic {
    Diagnostic::error(Code(444), "`expect` compares measures, by <, <=, > or >=")
        .label(span, "no such comparison")
        .help(
            "write: expect accuracy >= 0.9, or expect residual >= plain + 0.1 for two metrics of these names",
        )
}

pub fn unknown_measure(name: &ast::Ident, known: &[Name]) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code(445), format!("the train block has no measure `{name}`"))
        .label(name.span, "not measured");
    match nearest(&name.name, known.iter().map(Name::as_str)) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None => diagnostic.help(format!("add it: metric {name} = …")),
    }
}

pub fn which_measure(name: &ast::Ident) -> Diagnostic {
    Diagnostic::error(Code(446), format!("there are two measures called `{name}`"))
        .label(name.span, "which of them?")
        .help(format!("give them names: metric first = {name}(…)"))
}

pub fn keep_form(span: Span) -> Diagnostic {
    Diagnostic::error(Code(447), "`keep` says of which measure the best epoch is wanted")
        .label(span, "not max or min of a measure")
        .help("write: keep max(accuracy), or keep min(loss)")
}

pub fn nothing_to_divide(span: Span) -> Diagnostic {
    Diagnostic::error(Code(449), "`accumulate` divides a batch, and there are no samples")
        .label(span, "into so many parts")
        .help("a block with samples has a clause such as data d = npz(\"data/digits.npz\")")
}

pub fn memory_without_unit(span: Span) -> Diagnostic {
    Diagnostic::error(Code(450), "an amount of memory is a number with a unit")
        .label(span, "of what?")
        .help("write: memory 512 MiB; the units are KiB, MiB and GiB")
}

pub fn unknown_unit(unit: &ast::Ident) -> Diagnostic {
    Diagnostic::error(Code(450), format!("`{unit}` is no unit of memory"))
        .label(unit.span, "not a unit")
        .help("the units are KiB, MiB and GiB: 1024, 1024² and 1024³ bytes")
}

pub fn clause_without_unit(word: &ast::Ident, unit: &ast::Ident) -> Diagnostic {
    Diagnostic::error(Code(450), format!("`{word}` takes no unit"))
        .label(unit.span, "not expected here")
        .help("only `memory` does: memory 512 MiB")
}

pub fn not_an_amount(span: Span) -> Diagnostic {
    Diagnostic::error(Code(450), "an amount of memory is a positive number that is known when compiling")
        .label(span, "not such a number")
        .help("write: memory 512 MiB")
}

pub fn patience_without_keep(span: Span) -> Diagnostic {
    Diagnostic::error(Code(447), "`patience` counts the evaluations that do not improve what `keep` names")
        .label(span, "nothing is kept")
        .help("write also: keep max(accuracy), or keep min(loss)")
}

pub fn average_result(span: Span, have: &str, want: &str) -> Diagnostic {
    Diagnostic::error(Code(448), "an average of weights has the type of the weights")
        .label(span, format!("gives {have} of {want}"))
        .help("for example: fn ema(decay: f32)(average: float[..S], w: float[..S]) -> float[..S]")
}
