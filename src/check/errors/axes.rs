//! Axes and shapes that do not agree.

use crate::axes::Dim;
use crate::base::Span;
use crate::check::kind::Kind;
use crate::diag::{Code, Diagnostic, Help};

use super::AxisAt;
use crate::check::origin::Pairing;

/// An axis that is given is not the one that is wanted.
pub fn axis_mismatch(given: AxisAt, wanted: AxisAt) -> Diagnostic {
    Diagnostic::error(Code(201), format!("axis `{}` is wanted, but `{}` is given", wanted.name, given.name))
        .label(given.span, format!("this has `{}`", given.name))
        .label(wanted.span, format!("`{}` is wanted here", wanted.name))
}

/// `kept`: what a reduction over all axes would name to leave the last ones.
pub fn too_few_axes(span: Span, wanted: usize, given: &str, place: Span, kept: Option<String>) -> Diagnostic {
    let axes = if wanted == 1 { "axis" } else { "axes" };
    Diagnostic::error(Code(202), format!("a value with at least {wanted} {axes} is wanted"))
        .label(
            span,
            if given == "[]" { "this is a scalar".to_owned() } else { format!("this has the axes {given}") },
        )
        .label(place, "as declared here")
        .maybe((wanted == 3 && given.matches(',').count() == 1).then(|| {
            Help::from("a picture without channels gets one by its indices: for i, j, c: 1 => x[i, j]")
        }))
        .maybe(kept.map(|axes| {
            Help::from(format!("without `over:` all axes are reduced; to keep the last: over: {axes}"))
                .argument(span, format!("over: {axes}"))
        }))
}

/// Operands of an operator whose axes differ: the type of each, and its axis.
pub fn shapes_differ(span: Span, sides: &[(String, String); 2], pairing: Pairing) -> Diagnostic {
    let [(left, left_axis), (right, right_axis)] = sides;
    let diagnostic = Diagnostic::error(Code(203), format!("axes `{left_axis}` and `{right_axis}` differ"))
        .label(span, format!("`{left}` and `{right}` do not fit"));
    let last = "the axes of one must be the last axes of the other, name by name; nothing else is broadcast";
    match pairing {
        Pairing::Stretched => diagnostic.help(
            "an axis of size 1 is not stretched; leave it out, and the value is mapped over the other's axes",
        ),
        Pairing::Indices { all, short } => diagnostic
            .help(last)
            .help(format!("other axes are paired by their indices: for {all} => x[{all}] … y[{short}]")),
        Pairing::TwoNames => diagnostic
            .help("if both are one axis, give it one name; two names never agree, whatever their sizes")
            .help("for each entry of one with each of the other, write the indices: for i, j => x[i] … y[j]"),
        Pairing::None => diagnostic.help(last),
    }
}

/// `kept`: the given type, where it has further axes in front of what is wanted.
pub fn wrong_rank(span: Span, wanted: &str, given: &str, place: Span, kept: Option<Kept>) -> Diagnostic {
    let named = |axes: &str| if axes == "[]" { "no axes".to_owned() } else { axes.to_owned() };
    let (wanted, given) = (named(wanted), named(given));
    let error = Diagnostic::error(
        Code(204),
        format!("axes {wanted} are wanted, but {given} are given").replace("axes no", "no"),
    )
    .label(span, format!("this has {given}"))
    .label(place, format!("{wanted} declared here"));
    match kept {
        None => error,
        Some(Kept::Named { further, ty }) => error
            .help(Help::from(format!("all is mapped over {further}: the result keeps it, {ty}")).replace(place, ty))
            .help(format!("a model is written for one sample, without {further}; or reduce over it")),
        Some(Kept::Sized(further)) => error.help(format!(
            "what names the last axes only is mapped over the others, {further}: reduce over them, or flatten first"
        )),
    }
}

/// Axes in front of those that are wanted.
pub enum Kept {
    /// They have names: the type that would be right.
    Named { further: String, ty: String },
    /// They have none.
    Sized(String),
}

pub fn mapped_axes_differ(span: Span, callee: &str, given: &str, other: &str) -> Diagnostic {
    Diagnostic::error(Code(205), format!("`{callee}` cannot be mapped over {given} and {other} at once"))
        .label(span, format!("this has the further axes {given}"))
        .help("the arguments' further axes must be the last of the longest list, name by name")
}

pub fn mapped_twice(span: Span, axis: &str) -> Diagnostic {
    Diagnostic::error(Code(206), format!("axis `{axis}` occurs twice among the axes that are mapped over"))
        .label(span, "which of the two is meant?")
        .help("write the indices: for i, j => …")
}

pub fn two_kinds(span: Span, name: &str, kind: Kind, first: Kind, place: Span) -> Diagnostic {
    Diagnostic::error(Code(207), format!("axis `{name}` is declared {kind} and {first}"))
        .label(span, format!("{kind} here"))
        .label(place, format!("{first} here"))
}

pub fn cannot_solve(span: Span, name: &str, pattern: &str, target: &str) -> Diagnostic {
    Diagnostic::error(Code(208), format!("no `{name}` makes `{pattern}` equal to `{target}`"))
        .label(span, format!("this axis has {target} entries"))
}

/// The places of sorted entries are given where the axis that was sorted is wanted; `sort` gave them, and `name` is free.
pub fn places_of_a_sort(sort: Span, wanted: &str, place: Option<Span>, name: &str) -> Help {
    let help = Help::from(format!(
        "sorted entries have places of their own, not the positions of `{wanted}`: name them, sort(…, into: {name}), and declare the result over `{name}`"
    ));
    match place {
        Some(place) => help.argument(sort, format!("into: {name}")).replace(place, name),
        None => help,
    }
}

/// `over: N` where the value has no N.
pub fn axis_not_there(span: Span, name: &str, value: &str, axes: &[String], hidden: bool) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code(209), format!("there is no axis `{name}` in {value}"))
        .label(span, "not an axis of the value");
    if hidden {
        return diagnostic.help(format!(
            "the function is mapped over `{name}`, so it sees one entry at a time; a function that needs the whole axis names it in its type"
        ));
    }
    match axes {
        [] => diagnostic,
        axes => diagnostic.help(format!("its axes are {}", axes.join(", "))),
    }
}

pub fn axis_twice(span: Span, name: &str, value: &str) -> Diagnostic {
    Diagnostic::error(Code(210), format!("`{name}` is the size of more than one axis of {value}"))
        .label(span, "which of them is meant?")
        .help("write the indices: sum i => … x[i, j], or name the axes apart")
}

pub fn not_an_axis(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error(Code(211), "an axis is wanted here")
        .label(span, format!("this is {what}"))
        .help("an axis is a name that stands between the brackets of a parameter's type")
}

pub fn not_a_dim(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error(Code(212), "a dim is wanted here: a whole number, or a name for one")
        .label(span, format!("this is {what}"))
}

pub fn negative_dim(span: Span, dim: &Dim) -> Diagnostic {
    Diagnostic::error(Code(213), format!("a dim cannot be negative, and this is {dim}"))
        .label(span, "negative")
}

pub fn reshape_count(span: Span, value: &str, have: &str, want: &str, place: Span) -> Diagnostic {
    Diagnostic::error(Code(215), format!("{value} has {have} entries, and the new shape has {want}"))
        .label(span, "reshaped here")
        .label(place, format!("{want} entries"))
}

/// `why`: how the two differ, in words.
pub fn concat_shapes(span: Span, first: &str, other: &str, why: &str) -> Diagnostic {
    Diagnostic::error(Code(216), format!("{first} and {other} cannot be joined"))
        .label(span, format!("this is {other}: {why}"))
        .help("the parts must agree in all axes but the one that is joined, and in their element type")
}

pub fn concat_of_scalars(span: Span) -> Diagnostic {
    Diagnostic::error(Code(217), "a scalar has no axis to join or split along").label(span, "no axis")
}

pub fn split_uneven(span: Span, value: &str, parts: i64, size: &Dim) -> Diagnostic {
    let diagnostic =
        Diagnostic::error(Code(218), format!("the axis of {value} cannot be split into {parts} equal parts"))
            .label(span, "the parts would differ in size");
    match size.as_const() {
        Some(size) => {
            let (less, more) = (size - size.rem_euclid(parts), size - size.rem_euclid(parts) + parts);
            diagnostic.help(format!("{size} is no multiple of {parts}; {less} and {more} are"))
        }
        None => diagnostic.help(format!("where it can be split, state so: where {size} % {parts} == 0")),
    }
}

pub fn flatten_nothing(span: Span) -> Diagnostic {
    Diagnostic::error(Code(219), "a scalar has no axes to flatten").label(span, "no axes")
}

pub fn flatten_apart(span: Span, value: &str) -> Diagnostic {
    Diagnostic::error(Code(220), format!("the axes to flatten do not follow each other in {value}"))
        .label(span, "flattens axes that are apart")
        .help("bring them together first: for h, w, c => …")
}

/// `values`: what the names in it are.
pub fn constraint_fails(span: Span, values: &str) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code(221), "this condition on dims does not hold");
    match values {
        "" => diagnostic.label(span, "never true"),
        values => diagnostic.label(span, format!("false, since {values}")),
    }
}

pub fn constraint_form(span: Span) -> Diagnostic {
    Diagnostic::error(Code(222), "`where` takes comparisons of dims, joined by `and`")
        .label(span, "not such a comparison")
        .help("for example: where D % heads == 0 and T <= MAX")
}

pub fn matmul_of_scalars(span: Span, left: &str, right: &str) -> Diagnostic {
    Diagnostic::error(Code(223), format!("`@` multiplies vectors and matrices, not {left} and {right}"))
        .label(span, "at least one axis each is wanted")
}

/// The sum of `@` would run over two different axes.
///
/// `turned`: the last axis of the right one would fit.
pub fn matmul_axes_differ(
    span: Span,
    (want, left): (&str, &str),
    (have, right): (&str, &str),
    turned: bool,
) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code(203), format!("axes `{want}` and `{have}` differ"))
        .label(span, format!("`@` sums over the last axis of `{left}` and the first of `{right}`"));
    match turned {
        true => diagnostic.help("to sum over the last axis of both: for j => sum k => x[k] * w[j, k]"),
        false => diagnostic
            .help("by their indices any two axes are multiplied: for i, j => sum k => x[i, k] * w[j, k]"),
    }
}

pub fn matmul_rank(span: Span, right: &str) -> Diagnostic {
    Diagnostic::error(Code(224), format!("the right side of `@` has one or two axes, and this is {right}"))
        .label(span, "too many axes")
        .help("write the sum: for …, o => sum k => a[…, k] * b[k, o]")
}

/// `ties: first`
pub fn ties_other_than_any(span: Span) -> Diagnostic {
    Diagnostic::error(Code(253), "`ties:` is `any`, or is left out")
        .label(span, "says nothing of equal entries")
        .help("`ties: any` accepts that of equal entries any one is taken; without it a set is refused here")
}
