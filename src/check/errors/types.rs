//! Element types, conditions, and values of the wrong sort.

use nn_grammar::ast;

use crate::base::Span;
use crate::diag::{Code, Diagnostic};
use crate::tensor::DType;

pub fn wrong_elem(span: Span, wanted: &str, given: &str, place: Span) -> Diagnostic {
    Diagnostic::error(Code(301), format!("{wanted} is wanted, and {given} is given"))
        .label(span, format!("this is {given}"))
        .label(place, format!("{wanted} is declared here"))
        .help(format!("a conversion is written: x as {wanted}"))
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
        .help("a conversion is written: x as f32")
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

pub fn positions_are_no_numbers(span: Span, given: &str) -> Diagnostic {
    Diagnostic::error(Code(307), format!("{given} is a position on an axis, not a number"))
        .label(span, "used as a number")
        .help("position(i) makes a number of it; an axis that is a set does not allow that")
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
    Diagnostic::error(Code(311), "a tensor or a number is wanted here").label(span, format!("this is {what}"))
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
    Diagnostic::error(Code(316), format!("{count} names for {given}")).label(span, "does not fit the value")
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

pub fn gradient_of_non_scalar(span: Span, given: &str) -> Diagnostic {
    Diagnostic::error(Code(321), "only a scalar float has a gradient")
        .label(span, format!("this is {given}"))
        .help("take a sum or a mean first")
}

pub fn gradient_of_nothing(span: Span) -> Diagnostic {
    Diagnostic::error(Code(322), "no argument of this gradient is a float tensor")
        .label(span, "nothing to differentiate by")
}
