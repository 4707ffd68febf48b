//! Calls, layers, parameters and states.

use nn_grammar::ast;

use crate::base::{Name, Span};
use crate::diag::{Code, Diagnostic, Help};

use super::{meant, nearest};

pub fn not_a_function(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error(Code(330), format!("{what} cannot be called")).label(span, format!("this is {what}"))
}

pub fn wrong_count(span: Span, callee: &str, wanted: usize, given: usize) -> Diagnostic {
    let arguments = if wanted == 1 { "argument" } else { "arguments" };
    Diagnostic::error(Code(331), format!("`{callee}` takes {wanted} {arguments}, and {given} are given"))
        .label(span, "called here")
}

pub fn parameter_without_type(span: Span) -> Diagnostic {
    Diagnostic::error(Code(358), "a parameter without a type, beside others that have one")
        .label(span, "what is this?")
        .help("give types to all parameters of the function, or to none")
}

pub fn too_many_statics(span: Span, callee: &str, wanted: usize, given: usize) -> Diagnostic {
    Diagnostic::error(Code(332), format!("the first group of `{callee}` takes {wanted} arguments, and {given} are given"))
        .label(span, "called here")
        .help(format!("the first group holds what is known when compiling, the second the tensors: {callee}(…)(x), or x |> {callee}(…)"))
}

/// `numbered`: the axis whose number was given, as elsewhere.
pub fn unknown_argument<'a>(
    label: &ast::Ident,
    callee: &str,
    known: impl Iterator<Item = &'a Name>,
    numbered: Option<String>,
) -> Diagnostic {
    let known: Vec<&str> = known.map(Name::as_str).collect();
    let diagnostic = Diagnostic::error(Code(333), format!("`{callee}` has no argument `{label}`"))
        .label(label.span, "not an argument");
    let elsewhere = ["dim", "axis", "dims", "axes"].contains(&&*label.name) && known.contains(&"over");
    match nearest(&label.name, known.iter().copied()) {
        _ if elsewhere => diagnostic.help(format!(
            "an axis is given by its name, not by its number: over: {}",
            numbered.unwrap_or_else(|| "N".to_owned())
        )),
        Some(near) => diagnostic.help(meant(label.span, &near)),
        None if known.is_empty() => diagnostic,
        None => diagnostic.help(format!("it has {}", known.join(", "))),
    }
}

pub fn given_twice(span: Span, name: &str) -> Diagnostic {
    Diagnostic::error(Code(334), format!("`{name}` is given twice")).label(span, "given again")
}

pub fn missing_static(span: Span, callee: &str, param: &ast::Param) -> Diagnostic {
    let name = &param.name;
    let error = Diagnostic::error(Code(335), format!("`{callee}` needs a value for `{name}`"))
        .label(span, format!("`{name}` is not given"))
        .label(name.span, "declared here, without a default");
    match &param.ty.kind {
        ast::TypeKind::Named { name: ty, .. } if ty.name == "axis" => error.help(format!(
            "it is an axis that the definition names: {callee}(B) where an input has one, as in x: f32[set B, D]"
        )),
        _ => error,
    }
}

pub fn wrong_static(span: Span, what: &str, param: &ast::Param) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code(336), format!("`{}` does not take {what}", param.name))
        .label(span, format!("this is {what}"))
        .label(param.ty.span, "declared here");
    let truth = matches!(&param.ty.kind, ast::TypeKind::Named { name, .. } if name.name == "bool");
    match what {
        "a number" if truth => {
            diagnostic.help("a layer takes the size of what it gives; that of its input follows from the input: linear(10)(x)")
        }
        "a tensor" | "a list" => diagnostic
            .help("the first group of arguments is what is known when compiling; tensors come in the second: f()(x), or x |> f"),
        _ => diagnostic,
    }
}

/// `head`: the word `fn` of the definition, where it may as well be a layer.
pub fn instance_in_function(span: Span, layer: &str, head: Option<Span>) -> Diagnostic {
    Diagnostic::error(Code(337), format!("`{layer}` owns parameters, and a function owns none"))
        .label(span, "a layer is applied here")
        .help(as_a_layer("make the definition a `layer`, or pass the layer in as an argument", head))
}

fn as_a_layer(text: &str, head: Option<Span>) -> Help {
    match head {
        Some(head) => Help::from(text).replace(head, "layer"),
        None => Help::from(text),
    }
}

pub fn parameter_in_function(span: Span, name: &ast::Ident, head: Option<Span>) -> Diagnostic {
    Diagnostic::error(Code(338), format!("a function owns no parameters, and `{name}` is one"))
        .label(span, "declared in a function")
        .help(as_a_layer("make the definition a `layer`", head))
}

/// `uses`: the call that needs other axes, and the one that made the instance.
pub fn slot_changes(
    span: Span,
    path: &str,
    have: &str,
    want: &str,
    first: Span,
    uses: Option<(Span, Span)>,
) -> Diagnostic {
    let error = Diagnostic::error(
        Code(339),
        format!("`{path}` has the axes {have}, and this use of the same instance needs {want}"),
    );
    let error = match uses {
        Some((here, made)) => error
            .label(here, format!("{want} here"))
            .label(made, format!("made with {have} here"))
            .label(span, "declared here"),
        None => error.label(span, format!("{want} here")).label(first, format!("made with {have} here")),
    };
    error.help(
        "an instance that is applied twice shares its parameters; make two instances where the shapes differ",
    )
}

pub fn state_type(span: Span, name: &str, given: &str, wanted: &str, place: Span) -> Diagnostic {
    Diagnostic::error(
        Code(340),
        format!("state `{name}` has the axes {wanted}, and {given} is written to it"),
    )
    .label(span, format!("this is {given}"))
    .label(place, "declared here")
}

pub fn initial_of_a_run(span: Span, name: &str, place: Span) -> Diagnostic {
    Diagnostic::error(Code(359), format!("the first value of `{name}` uses what is computed in a run"))
        .label(span, "is computed once, before anything runs")
        .label(place, "has a value in a run only")
        .help("write it with constants, sizes, static parameters and random draws: param w: f32[D] = normal(0.02)")
}

pub fn state_of_a_sample(span: Span, name: &str) -> Diagnostic {
    Diagnostic::error(Code(341), format!("`{name}` would get a different value from each sample"))
        .label(span, "depends on an axis that is mapped over")
        .help(
            "a layer that must see the batch names it: layer batch_norm(batch: axis)(x: f32[batch, ..S, C])",
        )
}

pub fn state_in_a_loop(span: Span, name: &str) -> Diagnostic {
    Diagnostic::error(Code(349), format!("`{name}` is written by every member of a stack"))
        .label(span, "written anew by each member")
        .help("let each member own a state, or write a scan, whose turns share what they own")
}

pub fn stack_changes_shape(span: Span, before: &str, after: &str) -> Diagnostic {
    Diagnostic::error(Code(342), "a block that is stacked gives back the type that it takes")
        .label(span, format!("it takes {before} and gives {after}"))
}

pub fn carry_without_value(name: &ast::Ident) -> Diagnostic {
    Diagnostic::error(Code(343), format!("the carry `{name}` needs a first value"))
        .label(name.span, "write: name: type = value")
}

pub fn carry_changes(span: Span, name: &str, before: &str, after: &str) -> Diagnostic {
    Diagnostic::error(Code(344), format!("the carry `{name}` changes its type from turn to turn"))
        .label(span, format!("starts as {before}, becomes {after}"))
}

pub fn scan_over_several(span: Span) -> Diagnostic {
    Diagnostic::error(Code(345), "a scan runs along one axis").label(span, "several binders")
}

pub fn scan_value(span: Span) -> Diagnostic {
    Diagnostic::error(Code(346), "the body of a scan has no value of its own")
        .label(span, "not used")
        .help("give the next carries with `h = …` and stack values with `yield`")
}

pub fn yield_outside(span: Span) -> Diagnostic {
    Diagnostic::error(Code(347), "`yield` stands in the body of a scan only").label(span, "no scan around")
}

pub fn only_in_training(span: Span, name: &str) -> Diagnostic {
    Diagnostic::error(Code(348), format!("`training.{name}` has a value in training only"))
        .label(span, "used in inference")
        .help("write: if training { … } else { … }")
}

pub fn calls_too_deep(span: Span, callee: &str, limit: usize) -> Diagnostic {
    Diagnostic::error(Code(601), format!("calls nest more than {limit} deep"))
        .label(span, format!("`{callee}` again"))
        .help("a static recursion must end: if depth == 0 { … } else { … }")
        .fault(crate::diag::Fault::Limit)
}

pub fn truncate_without_range(span: Span) -> Diagnostic {
    Diagnostic::error(Code(350), "a truncated scan in reverse says over which axis it runs")
        .label(span, "carried along an axis that is not known yet")
        .help("scan reverse t: T (h: f32[H] = 0) truncate 64 { … }")
}

pub fn directions_do_not_fit(span: Span, count: usize) -> Diagnostic {
    Diagnostic::error(
        Code(351),
        "`jvp(f)` takes the arguments of f, then a direction for each of them that holds floats",
    )
    .label(span, format!("{count} values are given"))
    .help("jvp(f)(x, v) is the derivative of f at x along v")
}

pub fn direction_of_other_type(span: Span, want: &str, have: &str) -> Diagnostic {
    Diagnostic::error(Code(352), "a direction has the type of its argument, a cotangent that of the result")
        .label(span, format!("this is {have}, and {want} is wanted"))
}

pub fn one_cotangent(span: Span, count: usize) -> Diagnostic {
    Diagnostic::error(Code(353), "a custom derivative is of one result")
        .label(span, format!("{count} names"))
        .help("grad(g) { … }: g is what comes back to the result; give what comes back to each argument")
}

pub fn rule_gives_other_count(span: Span, want: usize, have: usize) -> Diagnostic {
    Diagnostic::error(Code(354), "a custom derivative gives one value for each argument of floats")
        .label(span, format!("{have} here, and the arguments are {want}"))
}

pub fn rule_not_linear(span: Span, name: &str) -> Diagnostic {
    Diagnostic::error(
        Code(355),
        format!("a derivative is linear in what comes back, and this is not known to be linear in `{name}`"),
    )
    .label(span, "no sum of products with it")
    .help(format!(
        "multiply `{name}` by what does not depend on it; read, select, sum up or join such products"
    ))
}

pub fn rule_of_local_function(span: Span, name: &str) -> Diagnostic {
    Diagnostic::error(
        Code(356),
        "a local function has no custom derivative: it would miss what the function captures",
    )
    .label(span, "its derivative by captured values would be lost")
    .help(format!("write `{name}` outside, with all that it needs as arguments"))
}

pub fn function_leaves_a_checkpoint(span: Span) -> Diagnostic {
    Diagnostic::error(Code(357), "a function leaves this checkpoint with values that are not stored")
        .label(span, "made here")
        .help("give back tensors, or make the function behind the block")
}
