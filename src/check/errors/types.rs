//! Element types, conditions, and values of the wrong sort.

use nn_grammar::ast;

use crate::base::Span;
use crate::check::types;
use crate::diag::{Code, Diagnostic, Help};
use crate::tensor::DType;

pub fn wrong_elem(span: Span, wanted: &str, given: &str, place: Span) -> Diagnostic {
    Diagnostic::error(Code(301), format!("{wanted} is wanted, and {given} is given"))
        .label(span, format!("this is {given}"))
        .label(place, format!("{wanted} is declared here"))
        .help(format!("a conversion is written: x as {wanted}"))
}

/// The same of an argument, whose value may be converted as it is.
pub fn wrong_elem_given(span: Span, wanted: &str, given: &str, place: Span) -> Diagnostic {
    let mut error = wrong_elem(span, wanted, given, place);
    if dtype_of(wanted).is_some() && dtype_of(given).is_some() {
        error.helps = vec![converted(span, wanted)];
    }
    error
}

/// A conversion of what stands at a place.
fn converted(span: Span, wanted: &str) -> Help {
    Help::from(format!("a conversion is written: x as {wanted}"))
        .before(span, "(")
        .after(span, format!(" as {wanted})"))
}

pub fn dtypes_differ(left: Span, left_type: &str, right: Span, right_type: &str) -> Diagnostic {
    Diagnostic::error(Code(302), format!("{left_type} and {right_type} do not mix"))
        .label(
            left,
            if left == right {
                format!("{left_type} and {right_type}")
            } else {
                format!("this is {left_type}")
            },
        )
        .label(right, format!("this is {right_type}"))
        .help(match (dtype_of(left_type), dtype_of(right_type)) {
            (Some(to), Some(from)) if to.is_float() && !from.is_float() && left != right => {
                converted(right, to.name())
            }
            (Some(from), Some(to)) if to.is_float() && !from.is_float() && left != right => {
                converted(left, to.name())
            }
            _ => Help::from("a conversion is written: x as f32"),
        })
}

/// The element type of a shown type, `bool[T]`.
fn dtype_of(shown: &str) -> Option<DType> {
    types::dtype_of(shown.split('[').next().unwrap_or(shown), false)
}

/// A guard asks of many entries at once: `where mask` for `where mask[t]`.
pub fn guard_of_many(span: Span, given: &str, index: &str) -> Diagnostic {
    Diagnostic::error(Code(303), "a condition is wanted here").label(span, format!("this is {given}")).help(
        Help::from(format!("name the entry that is meant, [{index}]")).after(span, format!("[{index}]")),
    )
}

pub fn not_a_condition(span: Span, given: &str) -> Diagnostic {
    Diagnostic::error(Code(303), "a condition is wanted here")
        .label(span, format!("this is {given}"))
        .help("compare: x > 0; of many entries, any(x > 0) or all(x > 0)")
}

pub fn not_a_number(span: Span, given: &str) -> Diagnostic {
    Diagnostic::error(Code(304), format!("{given} is no number to calculate with"))
        .label(span, "arithmetic")
        .help("position(i) makes a number of a position")
}

pub fn not_a_float(span: Span, given: &str) -> Diagnostic {
    Diagnostic::error(Code(305), format!("this function takes floats, not {given}"))
        .label(span, "applied here")
        .help("convert first: x as f32")
}

pub fn fraction_as_integer(span: Span, value: f64, dtype: DType) -> Diagnostic {
    Diagnostic::error(Code(306), format!("{value} is no {dtype}"))
        .label(span, "the other side is an integer")
        .help("convert the other side: x as f32")
}

/// `dtype`: that of the number it is calculated with.
pub fn positions_are_no_numbers(span: Span, given: &str, dtype: DType) -> Diagnostic {
    Diagnostic::error(Code(307), format!("{given} is a position on an axis, not a number"))
        .label(span, "used as a number")
        .help(
            Help::from("position(i) makes a number of it; an axis that is a set does not allow that")
                .before(span, "(position(")
                .after(span, format!(") as {dtype})")),
        )
}

pub fn numbers_are_no_positions(span: Span, given: &str, param: &ast::Param) -> Diagnostic {
    Diagnostic::error(Code(308), format!("{given} is no position on an axis"))
        .label(span, format!("this is {given}"))
        .label(param.ty.span, format!("`{}` is declared here", param.name))
        .help("positions come from data (integer labels), from argmax, or from binders")
}

pub fn two_bounds(span: Span, name: &str, first: &crate::axes::Dim, second: &crate::axes::Dim) -> Diagnostic {
    Diagnostic::error(
        Code(309),
        format!("`{name}` is used as positions on an axis of {first} and of {second} entries"),
    )
    .label(span, "used again here")
}

pub fn not_a_tensor(span: Span, what: &str, param: &ast::Param) -> Diagnostic {
    Diagnostic::error(Code(310), format!("`{}` is a tensor, and {what} is given", param.name))
        .label(span, format!("this is {what}"))
        .label(param.ty.span, "declared here")
}

pub fn expected_tensor(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error(Code(311), "a tensor or a number is wanted here")
        .label(span, format!("this is {what}"))
        .maybe(not_applied(what))
}

/// What is missing where a layer stands for its result.
fn not_applied(what: &str) -> Option<Help> {
    let text = match what {
        "a layer" => "a layer is applied to a tensor: linear(10)(x), or x |> linear(10)",
        "a function" => "a function is applied to a tensor: relu(x), or x |> relu",
        _ => return None,
    };
    Some(Help::from(text))
}

pub fn not_a_tensor_type(span: Span) -> Diagnostic {
    Diagnostic::error(Code(312), "a tensor type is wanted here")
        .label(span, "not a tensor type")
        .help("for example: f32[N, D] or Idx[C]")
}

pub fn wrong_value(span: Span, given: &str, place: Span) -> Diagnostic {
    Diagnostic::error(Code(313), "the value does not have the declared type")
        .label(span, format!("this is {given}"))
        .label(place, "declared here")
        .maybe(not_applied(given))
}

pub fn arms_differ(span: Span, then: &str, otherwise: &str) -> Diagnostic {
    Diagnostic::error(Code(314), format!("one arm of `if` is {then}, the other {otherwise}"))
        .label(span, "the arms must agree")
}

pub fn if_without_else(span: Span) -> Diagnostic {
    Diagnostic::error(Code(315), "`if` on a tensor selects a value, so it needs an `else`")
        .label(span, "no `else`")
        .help("only an `if` whose condition is known when compiling may stand without one")
}

pub fn pattern_mismatch(span: Span, count: usize, given: &str) -> Diagnostic {
    let error = Diagnostic::error(Code(316), format!("{count} names for {given}"))
        .label(span, "does not fit the value");
    match given.starts_with('(') {
        true => error,
        false => error.help("it is one value: let h = …; split(x, 2) cuts a tensor into two"),
    }
}

pub fn unused_value(span: Span) -> Diagnostic {
    Diagnostic::error(Code(317), "the value of this expression is not used")
        .label(span, "not used")
        .help("bind it with `let`; or did you mean to continue the previous line? An operator at the line's end continues it")
}

pub fn empty_list(span: Span) -> Diagnostic {
    Diagnostic::error(Code(318), "an empty list is no tensor").label(span, "has no entries")
}

pub fn ragged_list(span: Span) -> Diagnostic {
    Diagnostic::error(Code(319), "the entries of this list have different shapes").label(span, "not a tensor")
}

pub fn not_a_list(span: Span, what: &str) -> Diagnostic {
    let error = Diagnostic::error(Code(320), "a list that is known when compiling is wanted here")
        .label(span, format!("this is {what}"));
    match what {
        "a tensor" => error.help("over the entries of a tensor: for i => x[i], sum i => x[i], or scan t (…) { … } for steps that follow each other"),
        _ => error.help("for example: for width in [64, 32] { … }"),
    }
}

/// `len(x)` of what is no list.
pub fn no_length(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error(Code(320), "a list that is known when compiling is wanted here")
        .label(span, format!("this is {what}"))
        .help("the sizes of a tensor are the names in its type: of x: f32[N, D] they are N and D")
}

pub fn gradient_of_non_scalar(span: Span, given: &str) -> Diagnostic {
    Diagnostic::error(Code(321), "only a scalar float has a gradient")
        .label(span, format!("this is {given}"))
        .help("take a sum or a mean first")
}

pub fn gradient_of_nothing(span: Span) -> Diagnostic {
    Diagnostic::error(Code(322), "no argument of this gradient is a float tensor")
        .label(span, "nothing to differentiate by")
}
