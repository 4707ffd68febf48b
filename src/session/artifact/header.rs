//! The C header of an object file.

use std::fmt::Write;

use super::names::Identifiers;
use super::{Piece, Weight, Wishes};
use crate::codegen::object::{Entry, Given, Parameter, Taken, Target};
use crate::graph::{Axis, Graph, Role};
use crate::kernel::BufferKind;
use crate::tensor::DType;

/// The header of entries whose plans have so many words.
pub fn header(
    pieces: &[Piece],
    entries: &[Entry<'_>],
    weights: &[Weight],
    wishes: &Wishes<'_>,
    words: &[usize],
) -> String {
    let p = wishes.prefix;
    let guard = format!("{}_H", p.to_uppercase());
    let mut text = format!("/* `{p}`: compiled by nnc {}. */\n", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(text, "#ifndef {guard}\n#define {guard}\n\n#include <stddef.h>\n#include <stdint.h>\n");
    text += "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n";
    text += HOW;
    let _ = writeln!(text, "typedef struct {p}_threads {{\n{THREADS}}} {p}_threads;\n");
    text += &table(entries, weights, p);
    for ((piece, entry), words) in pieces.iter().zip(entries).zip(words) {
        text += &functions(piece, entry, wishes, *words);
    }
    text += "#ifdef __cplusplus\n}\n#endif\n\n#endif\n";
    text
}

/// How everything in a header is used.
const HOW: &str = "\
/*
 * How it is used: bind once for given dims, take a workspace of as many bytes as it says, then run as often as you like.
 * Nothing here allocates, keeps anything between calls, or has global state. Several threads may run one plan at the same
 * time, each with a workspace and outputs of its own. Arrays are dense and row-major. Results have the same bits with any
 * number of threads, and as nnc itself has them. Codes are 0 where all is well, else an error; nothing is written then.
 */

/*
 * Threads that the caller lends to a run. `parallel_for` calls task(state, i, t) once for each i of 0 .. tasks, in any order,
 * and returns when all calls have. t is of 0 .. count and tells threads apart: no two calls with the same t overlap.
 */
";

const THREADS: &str = "    int64_t count;
    void *context;
    void (*parallel_for)(void *context, int64_t tasks, void (*task)(void *state, int64_t i, int64_t t), void *state);
";

/// The four functions of an entry.
fn functions(piece: &Piece, entry: &Entry<'_>, wishes: &Wishes<'_>, words: usize) -> String {
    let (n, prefix) = (&entry.name, wishes.prefix);
    let mut names = Identifiers::default();
    let dims: String = entry.dims.iter().map(|dim| format!(", int64_t {}", names.of(dim.as_str()))).collect();
    let needs = match wishes.target {
        _ if !cfg!(target_arch = "x86_64") => "",
        Target::V4 => " The processor must have x86-64-v3's instructions and AVX-512F.",
        Target::Any | Target::V3 => " The processor must have the instructions of x86-64-v3.",
    };
    let (comments, arguments) = parameters(&piece.graph, entry, prefix, &mut names);
    format!(
        "/* All numbers of a run of {n} for given dims. Made by {n}_bind; of no use to any other build. */
typedef struct {n}_plan {{
    int64_t words[{words}];
}} {n}_plan;

/* Makes a plan for these dims.{needs} */
int {n}_bind({n}_plan *plan{dims});

/* Bytes of workspace for a run on so many threads; SIZE_MAX where that is no number. Any alignment will do. */
size_t {n}_workspace(const {n}_plan *plan, int64_t threads);

/*
 * {}
{comments} */
int {n}_run({});

/* What a code means. */
const char *{n}_message(int code);

",
        piece.does,
        arguments.join(", ")
    )
}

/// The arguments of `run`, and what is to be said of them.
fn parameters(
    graph: &Graph,
    entry: &Entry<'_>,
    prefix: &str,
    names: &mut Identifiers,
) -> (String, Vec<String>) {
    let n = &entry.name;
    let mut comments = String::new();
    let mut say = |name: &str, what: &str| {
        let _ = writeln!(comments, " *   {name}: {what}");
    };
    let mut arguments = Vec::new();
    for parameter in entry.parameters() {
        arguments.push(match parameter {
            Parameter::Plan => format!("const {n}_plan *plan"),
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
                format!("const {prefix}_threads *threads")
            }
        });
    }
    (comments, arguments)
}

/// The table of weights.
fn table(entries: &[Entry<'_>], weights: &[Weight], prefix: &str) -> String {
    let upper = prefix.to_uppercase();
    let embedded = |entry: &Entry<'_>| entry.inputs.iter().any(|given| matches!(given, Given::Embedded(_)));
    if entries.iter().any(embedded) {
        return "/* The library holds the weights. */\n\n".to_owned();
    }
    if weights.is_empty() {
        return "/* There are no weights. */\n\n".to_owned();
    }
    let written = |place: usize| {
        entries.iter().any(|entry| {
            let updated = entry.inputs.iter().zip(&entry.program.inputs).any(|(given, buffer)| {
                *given == Given::Weight(place)
                    && matches!(entry.program.buffers[*buffer].kind, BufferKind::InOut(..))
            });
            updated || entry.outputs.contains(&Taken::Weight(place))
        })
    };
    let mut names = Identifiers::default();
    let mut places = String::new();
    let mut rows = String::new();
    for (place, Weight { path, dtype, shape }) in weights.iter().enumerate() {
        let name = format!("{upper}_{}", names.of(path).to_uppercase());
        let sizes: String = shape.iter().map(|size| format!("[{size}]")).collect();
        let path = path.replace("*/", "* /");
        let note = if written(place) { ", written" } else { "" };
        let _ = writeln!(places, "    {name} = {place}, /* {path}: {}{sizes}{note} */", element(*dtype));
        let count = shape.iter().fold(1i64, |count, &size| count.saturating_mul(size));
        let _ = write!(rows, " \\\n    X({name}, \"{path}\", {count}, {})", dtype.size());
    }
    format!(
        "/*
 * The weights: the places of their pointers in `weights`. A `*` in a name stands for the members of a stack, which follow one
 * another in memory and have entries of their own in files: stack_0.0.w, stack_0.1.w …
 */
enum {{
{places}    {upper}_WEIGHTS = {}
}};

/* X(place, name, number of elements, bytes of an element) for each weight. */
#define {upper}_EACH_WEIGHT(X){rows}

",
        weights.len()
    )
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
