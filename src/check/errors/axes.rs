//! Axes and shapes that do not agree.

use crate::axes::Dim;
use crate::base::Span;
use crate::check::kind::Kind;
use crate::diag::{Code, Diagnostic};

use super::AxisAt;

/// An axis that is given is not the one that is wanted.
pub fn axis_mismatch(given: AxisAt, wanted: AxisAt) -> Diagnostic {
    Diagnostic::error(Code(201), format!("axis `{}` is wanted, but `{}` is given", wanted.name, given.name))
        .label(given.span, format!("this has `{}`", given.name))
        .label(wanted.span, format!("`{}` is wanted here", wanted.name))
}

pub fn too_few_axes(span: Span, wanted: usize, given: &str, place: Span) -> Diagnostic {
    let axes = if wanted == 1 { "axis" } else { "axes" };
    Diagnostic::error(Code(202), format!("a value with at least {wanted} {axes} is wanted"))
        .label(
            span,
            if given == "[]" { "this is a scalar".to_owned() } else { format!("this has the axes {given}") },
        )
        .label(place, "as declared here")
}

/// Operands of an operator whose axes differ.
pub fn shapes_differ(span: Span, have: AxisAt, want: AxisAt, left: &str, right: &str) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code(203), format!("axes `{}` and `{}` differ", want.name, have.name))
        .label(span, format!("`{left}` and `{right}` do not fit"));
    if have.name == "1" || want.name == "1" {
        return diagnostic.help(
            "an axis of size 1 is not stretched; leave it out, and the value is mapped over the other's axes",
        );
    }
    diagnostic
        .help("the axes of one must be the last axes of the other, name by name; nothing else is broadcast")
}

pub fn wrong_rank(span: Span, wanted: &str, given: &str, place: Span) -> Diagnostic {
    Diagnostic::error(Code(204), format!("axes {wanted} are wanted, but {given} are given"))
        .label(span, format!("this has {given}"))
        .label(place, format!("{wanted} is declared here"))
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

pub fn cannot_solve(span: Span, name: &str, pattern: &Dim, target: &Dim) -> Diagnostic {
    Diagnostic::error(Code(208), format!("no `{name}` makes `{pattern}` equal to `{target}`"))
        .label(span, format!("this axis has {target} entries"))
}

/// `over: N` where the value has no N.
pub fn axis_not_there(span: Span, name: &str, value: &str, hidden: bool) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code(209), format!("there is no axis `{name}` in {value}"))
        .label(span, "not an axis of the value");
    if hidden {
        return diagnostic.help(format!(
            "the function is mapped over `{name}`, so it sees one entry at a time; a function that needs the whole axis names it in its type"
        ));
    }
    diagnostic
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

pub fn reshape_count(span: Span, value: &str, have: &Dim, want: &Dim, place: Span) -> Diagnostic {
    Diagnostic::error(Code(215), format!("{value} has {have} entries, and the new shape has {want}"))
        .label(span, "reshaped here")
        .label(place, format!("{want} entries"))
}

pub fn concat_shapes(span: Span, first: &str, other: &str) -> Diagnostic {
    Diagnostic::error(Code(216), format!("{first} and {other} cannot be joined"))
        .label(span, format!("this is {other}"))
        .help("the parts must agree in all axes but the one that is joined, and in their element type")
}

pub fn concat_of_scalars(span: Span) -> Diagnostic {
    Diagnostic::error(Code(217), "a scalar has no axis to join or split along").label(span, "no axis")
}

pub fn split_uneven(span: Span, value: &str, parts: i64) -> Diagnostic {
    Diagnostic::error(Code(218), format!("the axis of {value} cannot be split into {parts} equal parts"))
        .label(span, "the parts would differ in size")
        .help(format!("where the size is symbolic, state what holds: where D % {parts} == 0"))
}

pub fn flatten_nothing(span: Span) -> Diagnostic {
    Diagnostic::error(Code(219), "a scalar has no axes to flatten").label(span, "no axes")
}

pub fn flatten_apart(span: Span, value: &str) -> Diagnostic {
    Diagnostic::error(Code(220), format!("the axes to flatten do not follow each other in {value}"))
        .label(span, "flattens axes that are apart")
        .help("bring them together first: for h, w, c => …")
}

pub fn constraint_fails(span: Span) -> Diagnostic {
    Diagnostic::error(Code(221), "this condition on dims does not hold").label(span, "false for these dims")
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
pub fn matmul_axes_differ(span: Span, have: AxisAt, want: AxisAt, left: &str, right: &str) -> Diagnostic {
    Diagnostic::error(Code(203), format!("axes `{}` and `{}` differ", want.name, have.name))
        .label(span, format!("`@` sums over the last axis of {left} and the first of {right}"))
        .help("by their indices any two axes are multiplied: for i, j => sum k => a[i, k] * b[j, k]")
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
