//! Names that mean nothing, or something else.

use nn_grammar::ast;

use crate::base::{Name, Span};
use crate::diag::{Code, Diagnostic, Help};

use super::{nearest, renamed, written_here};
use crate::check::kind::Kind;

/// What a misspelt name at its place probably is.
pub fn meant(span: Span, name: &str) -> Help {
    Help::from(format!("did you mean `{name}`?")).replace(span, name)
}

fn with_nearest(diagnostic: Diagnostic, span: Span, nearest: Option<String>) -> Diagnostic {
    match nearest {
        Some(name) => diagnostic.help(meant(span, &name)),
        None => diagnostic,
    }
}

/// A name that nothing defines.
pub fn unknown_name(name: &ast::Ident, nearest: Option<String>) -> Diagnostic {
    let message = format!("nothing is called `{name}` here");
    let diagnostic = Diagnostic::error(Code(101), message).label(name.span, "not found");
    let other_case = nearest.as_ref().is_some_and(|near| near.eq_ignore_ascii_case(&name.name));
    let capital = name.name.chars().next().is_some_and(char::is_uppercase);
    match written_here(&name.name) {
        Some(help) => {
            let help = Help::from(help);
            diagnostic.help(match renamed(&name.name) {
                Some(here) => help.replace(name.span, here),
                None => help,
            })
        }
        None if capital && !other_case && name.name.chars().count() < 3 => diagnostic
            .help("a dim or an axis has its name from the type of an input, as in x: f32[B, D], or is a static argument, (B: dim)"),
        None => with_nearest(diagnostic, name.span, nearest),
    }
}

/// `x.foo` where x has no such part.
pub fn unknown_field(name: &ast::Ident, fields: &[Name]) -> Diagnostic {
    let message = format!("there is no `{name}` in it");
    let diagnostic = Diagnostic::error(Code(102), message).label(name.span, "not found");
    match nearest(&name.name, fields.iter().map(Name::as_str)) {
        Some(near) => diagnostic.help(meant(name.span, &near)),
        None if fields.is_empty() => diagnostic,
        None => {
            let mut known: Vec<_> = fields.iter().map(|field| format!("`{field}`")).collect();
            known.sort();
            known.truncate(12);
            diagnostic.help(format!("it has {}", known.join(", ")))
        }
    }
}

/// `d.y` of a data file where y has not as many rows as there are samples.
pub fn array_is_no_field(name: &ast::Ident, shape: &[usize], samples: usize) -> Diagnostic {
    let message = format!("the array `{name}` has the shape {shape:?}, and there are {samples} samples");
    Diagnostic::error(Code(102), message)
        .label(name.span, "not a row for each sample")
        .help("the arrays of `data` share their first axis; `let` gives the arrays of a file as a whole")
}

/// `e.foo` on a value without parts.
///
/// `function`: the name is that of a function or layer.
pub fn no_fields(span: Span, what: &str, name: &ast::Ident, function: bool) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code(103), format!("{what} has no named parts"))
        .label(span, format!("this is {what}"));
    match written_here(&name.name) {
        Some(help) => diagnostic.help(help),
        None if function => diagnostic.help(format!(
            "a function stands in front: {name}(x), or behind a pipe: x |> {name}",
            name = name.name
        )),
        None => diagnostic,
    }
}

/// `emb.w` before `emb` was applied, or a name that is no parameter.
pub fn unknown_parameter(name: &ast::Ident, layer: &str) -> Diagnostic {
    Diagnostic::error(Code(104), format!("`{layer}` has no parameter `{name}` here"))
        .label(name.span, "not found")
        .help("a layer's parameters can be read once it has been bound by `let` and applied")
}

pub fn unknown_type(span: Span, name: &str) -> Diagnostic {
    let known = [
        "f32", "f64", "bf16", "f16", "i32", "i64", "u8", "bool", "Idx", "float", "num", "any", "dim", "axis",
    ];
    if matches!(name, "dim" | "axis" | "str") {
        let message = format!("`{name}` is no type of a tensor");
        return Diagnostic::error(Code(105), message).label(span, "this is known when compiling").help(
            "what is known when compiling stands in a group of its own, before the tensors: fn f(k: dim = 2)(x: f32[N]) -> …",
        );
    }
    let message = format!("`{name}` is no type");
    let meant = match name {
        "float32" | "Float" | "single" | "Tensor" | "tensor" => Some("f32"),
        "float64" | "double" => Some("f64"),
        "float16" | "half" => Some("f16"),
        "bfloat16" => Some("bf16"),
        "int" | "int32" => Some("i32"),
        "long" | "int64" => Some("i64"),
        "byte" | "uint8" => Some("u8"),
        "boolean" => Some("bool"),
        _ => None,
    };
    let meant = meant.map(str::to_owned).or_else(|| nearest(name, known));
    with_nearest(Diagnostic::error(Code(105), message).label(span, "not a type"), span, meant)
}

pub fn unknown_kind(span: Span, name: &str) -> Diagnostic {
    let message = format!("`{name}` is no kind of axis");
    let near = nearest(name, Kind::ALL.iter().map(|kind| kind.as_str()));
    let diagnostic = Diagnostic::error(Code(106), message).label(span, "not a kind");
    match near {
        Some(near) => diagnostic.help(meant(span, &near)),
        None => diagnostic.help("the kinds are batch, set, ring, grid, causal and dim"),
    }
}

pub fn unknown_pack(span: Span, name: &str) -> Diagnostic {
    Diagnostic::error(Code(107), format!("`..{name}` stands for no axes here"))
        .label(span, "not a pack")
        .help("a pack is named in a parameter's type: fn f(x: f32[..S])")
}

pub fn unknown_reducer(name: &ast::Ident, nearest: Option<String>) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code(108), format!("`{name}` is no reducer"))
        .label(name.span, "before binders stands a reducer");
    match nearest {
        Some(near) => diagnostic.help(meant(name.span, &near)),
        None => diagnostic.help(
            "the reducers are sum, prod, mean, max, min, any, all, argmax, argmin, logsumexp and softmax",
        ),
    }
}

pub fn unknown_property(name: &ast::Ident) -> Diagnostic {
    Diagnostic::error(Code(109), format!("`{name}` cannot be assumed"))
        .label(name.span, "not a property")
        .help("what can be assumed is invariant, equivariant, causal or batch")
}

/// One name, two definitions in a file.
pub fn defined_twice(name: &str, first: Span, second: Span) -> Diagnostic {
    Diagnostic::error(Code(110), format!("`{name}` is defined twice"))
        .label(second, "defined again here")
        .label(first, "first defined here")
}

pub fn assign_unbound(name: &ast::Ident) -> Diagnostic {
    Diagnostic::error(Code(111), format!("`{name}` is given a new value, but it has none yet"))
        .label(name.span, "not bound before")
        .help(Help::from(format!("bind it first: let {name} = …")).before(name.span, "let "))
}

pub fn write_of_no_state(name: &ast::Ident) -> Diagnostic {
    Diagnostic::error(Code(112), format!("`:=` writes a state, and `{name}` is none of this layer's"))
        .label(name.span, "not a state")
        .help(format!("declare it with `state {name}: … = …`, or bind a new value with `=`"))
}

/// A user's definition that has a library name.
pub fn shadows_library(name: &str, span: Span) -> Diagnostic {
    Diagnostic::warning(Code(113), format!("`{name}` hides the library's `{name}` in this file"))
        .label(span, "defined here")
}
