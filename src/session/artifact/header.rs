//! The C header of an object file.

use std::fmt::Write;

use super::names::Identifiers;
use super::{Piece, Weight, Wishes};
use crate::codegen::object::{Entry, Given, Parameter, Plan, Refusal, Taken};
use crate::graph::{Axis, Graph, Role};
use crate::kernel::BufferKind;
use crate::tensor::DType;

/// The header of entries with these plans.
pub fn header(
    pieces: &[Piece<'_>],
    entries: &[Entry<'_>],
    weights: &[Weight],
    wishes: &Wishes<'_>,
    plans: &[Plan],
) -> String {
    let (p, upper) = (wishes.prefix, wishes.prefix.to_uppercase());
    // Constants share one room of names.
    let mut constants = Identifiers::default();
    let codes: Vec<(String, &str)> = Refusal::ALL
        .into_iter()
        .map(|refusal| (format!("{upper}_{}", constants.of(refusal.name())), refusal.text()))
        .collect();
    for word in ["E_DIMS", "H", "FILES_H", "WEIGHTS", "EACH_WEIGHT", "NEW_WEIGHT", "MARK", "TELL", "COPY"] {
        constants.of(word);
    }
    let tables = table(entries, weights, p, &mut constants);
    let needs = format!("It runs on {}.", wishes.target.needs());
    let mut text = format!("/*\n * `{p}`: compiled by nnc {}. {needs}\n", env!("CARGO_PKG_VERSION"));
    text += HOW;
    for (piece, entry) in pieces.iter().zip(entries) {
        text += &usage(piece, entry, &upper);
    }
    text += &RULES.replace("@p@", p).replace("@P@", &upper);
    let _ =
        writeln!(text, "#ifndef {upper}_H\n#define {upper}_H\n\n#include <stddef.h>\n#include <stdint.h>\n");
    text += "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n";
    let _ = writeln!(
        text,
        "/* What calls give. Behind these come the demands that a model makes on its dims. */\nenum {{"
    );
    for (code, (name, meaning)) in codes.iter().enumerate() {
        let _ = writeln!(text, "    {name} = {code}, /* {meaning} */");
    }
    let _ = writeln!(
        text,
        "    {upper}_E_DIMS = {} /* from here on: the dims break a demand; the message tells it */\n}};\n",
        codes.len()
    );
    let _ = writeln!(text, "{THREADS_ARE}typedef struct {p}_threads {{\n{THREADS}}} {p}_threads;\n");
    text += &tables;
    for ((piece, entry), plan) in pieces.iter().zip(entries).zip(plans) {
        text += &functions(piece, entry, wishes, *plan);
    }
    text += "#ifdef __cplusplus\n}\n#endif\n\n#endif\n";
    text
}

const HOW: &str = " *
 * How it is used: bind once for given dims, take a workspace of as many bytes as it says, then run as often as you like.
 *
";

/// What holds for everything in a header.
const RULES: &str = " * Nothing here allocates, keeps anything between calls, prints, or needs another library, not even that of C. All state is in
 * the plan, the workspace and the arrays that you pass, so threads may do as they like with those of their own; they may share
 * a plan, which a run only reads. A plan is freed by forgetting it.
 *
 * Arrays are dense and row-major: x[N][D] has entry (n, d) at x[n * D + d]. They need no more alignment than C gives their
 * elements. Outputs overlap neither inputs nor each other. The processor rounds to nearest, as every program begins.
 * Floats that are given must be finite; that is not checked. Integers that select something are checked. Where a call gives
 * another code than @P@_OK, nothing has been written but the plan.
 *
 * Results have the same bits with any number of threads, on every processor that the library is for, and as nnc has them.
 */
";

const THREADS_ARE: &str = "\
/*
 * Threads that the caller lends to a run. `parallel_for` calls task(state, i, t) once for each i of 0 .. tasks, in any order,
 * and returns when all calls have. t is of 0 .. count and tells threads apart: no two calls with the same t overlap.
 */
";

const THREADS: &str = "    int64_t count;
    void *context; /* the first argument of parallel_for */
    void (*parallel_for)(void *context, int64_t tasks, void (*task)(void *state, int64_t i, int64_t t), void *state);
";

/// How one entry is called, as an example.
fn usage(piece: &Piece<'_>, entry: &Entry<'_>, upper: &str) -> String {
    let n = &entry.name;
    let mut names = Identifiers::default();
    let dims: String = entry.dims.iter().map(|dim| format!(", {}", names.of(dim.as_str()))).collect();
    let (_, arguments) = parameters(piece, entry, "", &mut names);
    let word = |argument: &String| -> String {
        let word = argument.rsplit([' ', '*']).next().unwrap_or_default().trim_end_matches("[]");
        match word {
            "plan" => "&plan".to_owned(),
            "workspace_bytes" => "bytes".to_owned(),
            "threads" => "NULL".to_owned(),
            word => word.to_owned(),
        }
    };
    let arguments: Vec<String> = arguments.iter().map(word).collect();
    format!(
        " *     {n}_plan plan;
 *     int code = {n}_bind(&plan{dims});
 *     size_t bytes = {n}_workspace(&plan, 1);
 *     void *workspace = malloc(bytes);
 *     if (code == {upper}_OK && workspace) code = {n}_run({});
 *     if (code != {upper}_OK) puts({n}_message(code));
 *
",
        arguments.join(", ")
    )
}

/// The functions of an entry.
fn functions(piece: &Piece<'_>, entry: &Entry<'_>, wishes: &Wishes<'_>, plan: Plan) -> String {
    let (n, prefix) = (&entry.name, wishes.prefix);
    let mut names = Identifiers::default();
    let dims: Vec<String> = entry.dims.iter().map(|dim| names.of(dim.as_str())).collect();
    let typed: String = dims.iter().map(|dim| format!(", int64_t {dim}")).collect();
    let passed: String = dims.iter().map(|dim| format!(", {dim}")).collect();
    let demands: String =
        entry.demands.iter().map(|demand| format!(" * It demands `{}`.\n", comment(&demand.text))).collect();
    let (comments, arguments) = parameters(piece, entry, prefix, &mut names);
    format!(
        "/* All numbers of a run of {n} for given dims. Made by {n}_bind. */
typedef struct {n}_plan {{
    int64_t words[{}];
}} {n}_plan;

/* What {n}_bind calls: `build` tells the library which header its caller has; any other than its own is refused. */
int {n}_bind_built({n}_plan *plan, int64_t build{typed});

/*
 * Makes a plan for these dims; asks the processor what it can do, once.
{demands} */
static inline int {n}_bind({n}_plan *plan{typed}) {{
    return {n}_bind_built(plan, {}{passed});
}}

/* Bytes of workspace for a run on so many threads; SIZE_MAX where that is no number. Any alignment will do. */
size_t {n}_workspace(const {n}_plan *plan, int64_t threads);

/*
 * {}
{comments} */
int {n}_run({});

/* What a code means. */
const char *{n}_message(int code);

",
        plan.words,
        plan.build,
        piece.does,
        arguments.join(", ")
    )
}

/// A text that ends no comment.
fn comment(text: &str) -> String {
    text.replace("*/", "* /")
}

/// The arguments of `run`, and what is to be said of them.
fn parameters(
    piece: &Piece<'_>,
    entry: &Entry<'_>,
    prefix: &str,
    names: &mut Identifiers,
) -> (String, Vec<String>) {
    let (n, graph) = (&entry.name, &piece.graph);
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
                    1 if piece.suffix.is_empty() => names.of("out"),
                    1 => names.of(&output.name),
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
fn table(entries: &[Entry<'_>], weights: &[Weight], prefix: &str, constants: &mut Identifiers) -> String {
    let upper = prefix.to_uppercase();
    let embedded = |entry: &Entry<'_>| entry.inputs.iter().any(|given| matches!(given, Given::Embedded(_)));
    if entries.iter().any(embedded) {
        return "/* The weights are in the library. */\n\n".to_owned();
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
            let preset = entry.presets.iter().any(|(own, ..)| *own == place);
            updated || preset || entry.outputs.contains(&Taken::Weight(place))
        })
    };
    let mut places = String::new();
    let mut rows = String::new();
    for (place, Weight { path, dtype, shape, .. }) in weights.iter().enumerate() {
        let name = format!("{upper}_{}", constants.of(&path.to_uppercase()));
        let sizes: String = shape.iter().map(|size| format!("[{size}]")).collect();
        let path = comment(path);
        let note = if written(place) { ", written" } else { "" };
        let _ = writeln!(places, "    {name} = {place}, /* {path}: {}{sizes}{note} */", element(*dtype));
        let count = shape.iter().fold(1i64, |count, &size| count.saturating_mul(size));
        let _ = write!(rows, " \\\n    X({name}, \"{path}\", {count}, {})", dtype.size());
    }
    format!(
        "/*
 * The weights: the places of their pointers in `weights`. A `*` in a name stands for the members of a stack, which follow one
 * another in memory and have entries of their own in files: stack_0.0.w, stack_0.1.w … {prefix}_files.h reads and writes them.
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
