//! Limits, and what is not compiled yet.

use crate::axes::DimError;
use crate::base::Span;
use crate::diag::{Code, Diagnostic, Fault};

pub fn too_much_unrolling(span: Span, limit: usize) -> Diagnostic {
    Diagnostic::error(Code(602), format!("the program unrolls into more than {limit} values"))
        .label(span, "given up here")
        .help("stack(L, block) repeats a layer without unrolling it")
        .fault(Fault::Limit)
}

pub fn dim_arithmetic(span: Span, error: &DimError) -> Diagnostic {
    let fault = if matches!(error, DimError::TooLarge) { Fault::Limit } else { Fault::Program };
    Diagnostic::error(Code(603), format!("the size of an axis cannot be computed: {error}"))
        .label(span, "computed here")
        .fault(fault)
}

pub fn too_many_axes(span: Span, limit: usize) -> Diagnostic {
    Diagnostic::error(Code(606), format!("the signature names more than {limit} axes"))
        .label(span, "one too many")
        .fault(Fault::Limit)
}

pub fn number_too_large(span: Span) -> Diagnostic {
    Diagnostic::error(Code(604), "this whole number is too large")
        .label(span, "beyond 64 bits")
        .help("write it as a float: 1e30")
}

pub fn division_by_zero(span: Span) -> Diagnostic {
    Diagnostic::error(Code(605), "a dim is divided by zero").label(span, "division by zero")
}
