//! The C header of an object file.

use std::fmt::Write;

use super::Wishes;
use super::names::Identifiers;
use crate::codegen::object::{Entry, Given, Parameter, Target};
use crate::graph::{Axis, Graph, Role};
use crate::kernel::BufferKind;
use crate::tensor::DType;

/// The header of an entry whose plan has so many words.
pub fn header(graph: &Graph, entry: &Entry<'_>, wishes: &Wishes<'_>, words: usize) -> String {
    let mut names = Identifiers::default();
    let dims: Vec<String> = entry.dims.iter().map(|dim| names.of(dim.as_str())).collect();
    let p = &entry.name;
    let guard = format!("{}_H", p.to_uppercase());
    let mut text = String::new();
    let mut line = |written: &str| {
        text.push_str(written);
        text.push('\n');
    };
    line(&format!("/* `{p}`: a model compiled by nnc {}. */", env!("CARGO_PKG_VERSION")));
    line(&format!("#ifndef {guard}\n#define {guard}\n\n#include <stddef.h>\n#include <stdint.h>\n"));
    line("#ifdef __cplusplus\nextern \"C\" {\n#endif\n");
    line("/*");
    line(
        " * How it is used: bind once for given dims, take a workspace of as many bytes as it says, then run as often as you like.",
    );
    line(
        " * Nothing here allocates, keeps anything between calls, or has global state. Several threads may run one plan at the same",
    );
    line(
        " * time, each with a workspace and outputs of its own. Arrays are dense and row-major. Results have the same bits with any",
    );
    line(
        " * number of threads, and as `nnc run` has them. Codes are 0 where all is well, else an error; nothing is written then.",
    );
    line(" */");
    line("");
    line(&format!(
        "/* All numbers of a run for given dims. Made by {p}_bind; of no use to any other build of the model. */"
    ));
    line(&format!("typedef struct {p}_plan {{\n    int64_t words[{words}];\n}} {p}_plan;\n"));
    line("/*");
    line(
        " * Threads that the caller lends to a run. `parallel_for` calls task(state, i, t) once for each i of 0 .. tasks, in any order,",
    );
    line(
        " * and returns when all calls have. t is of 0 .. count and tells threads apart: no two calls with the same t overlap.",
    );
    line(" */");
    line(&format!("typedef struct {p}_threads {{"));
    line("    int64_t count;");
    line("    void *context;");
    line(
        "    void (*parallel_for)(void *context, int64_t tasks, void (*task)(void *state, int64_t i, int64_t t), void *state);",
    );
    line(&format!("}} {p}_threads;\n"));
    let needs = match wishes.target {
        _ if !cfg!(target_arch = "x86_64") => "",
        Target::V4 => " The processor must have x86-64-v3's instructions and AVX-512F.",
        Target::Any | Target::V3 => " The processor must have the instructions of x86-64-v3.",
    };
    line(&format!("/* Makes a plan for these dims.{needs} */"));
    let given: String = dims.iter().map(|dim| format!(", int64_t {dim}")).collect();
    line(&format!("int {p}_bind({p}_plan *plan{given});\n"));
    line(
        "/* Bytes of workspace for a run on so many threads; SIZE_MAX where that is no number. Any alignment will do. */",
    );
    line(&format!("size_t {p}_workspace(const {p}_plan *plan, int64_t threads);\n"));
    line(&weights(graph, entry));
    let (comments, arguments) = parameters(graph, entry, &mut names);
    line(&format!("/*\n * Runs the model.\n{comments} */"));
    line(&format!("int {p}_run({});\n", arguments.join(", ")));
    line("/* What a code means. */");
    line(&format!("const char *{p}_message(int code);\n"));
    line("#ifdef __cplusplus\n}\n#endif\n\n#endif");
    text
}

/// The arguments of `run`, and what is to be said of them.
fn parameters(graph: &Graph, entry: &Entry<'_>, names: &mut Identifiers) -> (String, Vec<String>) {
    let p = &entry.name;
    let mut comments = String::new();
    let mut say = |name: &str, what: &str| {
        let _ = writeln!(comments, " *   {name}: {what}");
    };
    let mut arguments = Vec::new();
    for parameter in entry.parameters() {
        arguments.push(match parameter {
            Parameter::Plan => format!("const {p}_plan *plan"),
            Parameter::Input(index) => {
                let input = &graph.inputs[index];
                let name = names.of(&input.name);
                let mut what = format!("{}{}", element(input.dtype), shape(graph, &input.order));
                if let Some(bound) = &input.bound {
                    let _ = write!(what, ", entries in 0 .. {bound}");
                }
                say(&name, &what);
                format!("const {} *{name}", ctype(input.dtype))
            }
            Parameter::Output(index) => {
                let output = &graph.outputs[index];
                let dtype = entry.program.buffers[entry.program.outputs[index]].dtype;
                // A definition's only result is called like the definition, which says nothing here.
                let outputs =
                    entry.parameters().iter().filter(|other| matches!(other, Parameter::Output(_))).count();
                let name = match outputs {
                    1 => names.of("out"),
                    _ => names.of(&format!("out_{}", output.name)),
                };
                say(&name, &format!("{}{}, written", element(dtype), shape(graph, &output.order)));
                format!("{} *{name}", ctype(dtype))
            }
            Parameter::Weights => {
                say("weights", "a pointer for each weight, in the order above");
                "void *const weights[]".to_owned()
            }
            Parameter::Number(index) => {
                let (name, what) = match graph.inputs[index].role {
                    Role::Step => ("step", "the number of the training step, from 0"),
                    Role::Steps => ("steps", "steps of the whole training"),
                    _ => ("seed", "of all random draws"),
                };
                let name = names.of(name);
                say(&name, what);
                format!("int64_t {name}")
            }
            Parameter::Workspace => "void *workspace".to_owned(),
            Parameter::WorkspaceBytes => "size_t workspace_bytes".to_owned(),
            Parameter::Threads => {
                say("threads", "may be null: then the calling thread does all");
                format!("const {p}_threads *threads")
            }
        });
    }
    (comments, arguments)
}

/// The table of weights.
fn weights(graph: &Graph, entry: &Entry<'_>) -> String {
    let (p, upper) = (&entry.name, entry.name.to_uppercase());
    let mut names = Identifiers::default();
    let mut text = String::new();
    let of = |given: &Given<'_>| matches!(given, Given::Weight(_));
    let count = entry.inputs.iter().filter(|given| of(given)).count();
    if count == 0 {
        text += match entry.inputs.iter().any(|given| matches!(given, Given::Embedded(_))) {
            true => "/* The object file holds the weights. */\n",
            false => "/* The model has no weights. */\n",
        };
        return text;
    }
    let _ = writeln!(
        text,
        "/* The weights: the places of the pointers that {p}_run takes, by name in files of weights. */\nenum {{"
    );
    for (index, input) in graph.inputs.iter().enumerate() {
        if let Given::Weight(place) = entry.inputs[index] {
            let written =
                matches!(entry.program.buffers[entry.program.inputs[index]].kind, BufferKind::InOut(..));
            let _ = writeln!(
                text,
                "    {upper}_{} = {place}, /* `{}`: {}{}{} */",
                names.of(&input.name).to_uppercase(),
                input.name.replace("*/", "* /"),
                element(input.dtype),
                shape(graph, &input.order),
                if written { ", written by each run" } else { "" }
            );
        }
    }
    let _ = writeln!(text, "    {upper}_WEIGHTS = {count}\n}};");
    text
}

fn shape(graph: &Graph, order: &[Axis]) -> String {
    order.iter().map(|&axis| format!("[{}]", graph.axes[axis].size)).collect()
}

fn element(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "uint8_t (0 or 1)",
        other => ctype(other),
    }
}

fn ctype(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float",
        DType::F64 => "double",
        DType::I32 => "int32_t",
        DType::I64 => "int64_t",
        DType::U8 | DType::Bool => "uint8_t",
        DType::F16 | DType::BF16 => "uint16_t",
    }
}
