//! Libraries on other processors, of whole programs, and of the examples: they give the bits of this process, or what their target allows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nnc::axes::DimVar;
use nnc::check::core::Core;
use nnc::codegen::object::Target;
use nnc::elaborate::Part;
use nnc::formats::{npy, npz, safetensors};
use nnc::runtime::{Array, Pool};
use nnc::session::artifact::{Piece, Purpose, Wishes, artifact};
use nnc::session::{
    Session, Settings, Timings, broken_constraints, compile, graph_of, program_of, sizing_dims,
};
use nnc::tensor::Tensor;
use nnc::train::{Clock, Store, fill};

use crate::examples::arguments;
use crate::objects::{draw, have, nnc, numbers, run, succeeds};

const CLOCK: Clock = Clock { seed: 4, step: 3, steps: 9 };

/// What a run leaves: outputs, then all weights, as bytes.
type Bytes = Vec<u8>;

/// A program as a library with a `main` that reads its inputs from files and writes what it gives to `out`.
struct Library {
    folder: tempfile::TempDir,
    expected: Bytes,
    /// Of the object file, and of compiling it.
    bytes: usize,
    milliseconds: f64,
}

impl Library {
    fn new(core: &Core, dims: &BTreeMap<DimVar, i64>, target: Target) -> Library {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        let settings = Settings::default();
        let (mut timings, pool) = (Timings::default(), Pool::new(2).unwrap());
        let sizing = sizing_dims(core);
        let fixed: BTreeMap<DimVar, i64> = dims
            .iter()
            .filter(|(dim, _)| sizing.contains(*dim))
            .map(|(dim, &size)| (dim.clone(), size))
            .collect();
        let begun = Instant::now();
        let graph = graph_of(core, Part::Body, &fixed, &settings, None, &mut timings).unwrap();
        let program = program_of(&graph, &settings, &mut timings).unwrap();
        let piece = Piece {
            purpose: Purpose::Run,
            suffix: String::new(),
            does: "Runs it.".into(),
            core,
            graph,
            program,
            presets: Vec::new(),
        };
        let wishes = Wishes { prefix: "m", target, weights: None, verify: true };
        let made = artifact(&[piece], &fixed, &wishes).unwrap();
        let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
        std::fs::write(here.join("m.o"), &made.object).unwrap();
        std::fs::write(here.join("m.h"), &made.header).unwrap();
        if let Some(files) = &made.files {
            std::fs::write(here.join("m_files.h"), files).unwrap();
        }

        let unit = compile(core, Part::Body, &fixed, &settings, &mut timings).unwrap();
        let mut store = Store::of(core, &fixed).unwrap();
        if !store.tensors.is_empty() {
            let init = compile(core, Part::Init, &fixed, &settings, &mut timings).unwrap();
            fill(&mut store, &init, &fixed, 1, &pool).unwrap();
        }
        let weights = safetensors::Archive { tensors: store.export(true), ..Default::default() };
        safetensors::save(&here.join("w.safetensors"), &weights).unwrap();
        let tensors = arguments(core, dims);
        for (index, tensor) in tensors.iter().enumerate() {
            std::fs::write(here.join(format!("x{index}")), tensor.contiguous().to_le_bytes()).unwrap();
        }
        let arrays: Vec<Array> = tensors.iter().map(|tensor| Array::from_tensor(tensor).unwrap()).collect();
        let results = unit.run(dims, &arrays, &mut store, CLOCK, &pool).unwrap();
        let mut expected = Vec::new();
        results.iter().for_each(|array| expected.extend_from_slice(array.bytes()));
        store.tensors.values().for_each(|owned| expected.extend_from_slice(owned.array.bytes()));
        let sizes: Vec<usize> = results.iter().map(|array| array.bytes().len()).collect();
        std::fs::write(here.join("main.c"), caller(&made.header, dims, &sizes, made.files.is_some()))
            .unwrap();
        Library { bytes: made.object.len(), folder, expected, milliseconds }
    }

    fn build(&self, cc: &str) {
        let flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "main.c", "m.o", "-o", "main"];
        // A program for another machine finds no libraries here.
        let whole: &[&str] = if cc == "cc" { &[] } else { &["-static"] };
        succeeds(self.folder.path(), cc, &[&flags[..], whole].concat());
    }

    /// What the program gives, started by these words, on three threads.
    fn run(&self, with: &[&str]) -> Bytes {
        self.run_on("3", with)
    }

    fn run_on(&self, threads: &str, with: &[&str]) -> Bytes {
        let here = self.folder.path();
        let words: Vec<&str> = with.iter().copied().chain(["./main", threads]).collect();
        succeeds(here, words[0], &words[1..]);
        std::fs::read(here.join("out")).unwrap()
    }
}

/// The arguments of a function of a header, as it declares them.
fn declared<'h>(header: &'h str, begin: &str) -> Vec<&'h str> {
    let rest = header.split_once(begin).unwrap_or_else(|| panic!("no {begin}")).1;
    rest.split_once(')').unwrap().0.split(", ").collect()
}

/// A program that runs a library; it knows of it what the header says.
fn caller(header: &str, dims: &BTreeMap<DimVar, i64>, outputs: &[usize], weights: bool) -> String {
    let mut bind = String::new();
    for argument in &declared(header, "static inline int m_bind(")[1..] {
        let dim = DimVar::new(argument.strip_prefix("int64_t ").unwrap());
        let _ = write!(bind, ", {}", dims[&dim]);
    }
    let (mut run, mut before, mut behind) = (String::from("&plan"), String::new(), String::new());
    let (mut given, mut taken) = (0, 0);
    for argument in &declared(header, "int m_run(const m_plan *plan, ") {
        let word = match *argument {
            "void *const weights[]" => "weights".to_owned(),
            "void *workspace" => "workspace".to_owned(),
            "size_t workspace_bytes" => "bytes".to_owned(),
            "const m_threads *threads" => "&threads".to_owned(),
            "int64_t seed" => CLOCK.seed.to_string(),
            "int64_t step" => CLOCK.step.to_string(),
            "int64_t steps" => CLOCK.steps.to_string(),
            input if input.starts_with("const ") => {
                let _ = writeln!(before, "    void *x{given} = read_all(\"x{given}\");");
                given += 1;
                format!("x{}", given - 1)
            }
            _ => {
                let bytes = outputs[taken];
                let _ = writeln!(before, "    void *y{taken} = malloc({bytes} + 1);");
                let _ = writeln!(behind, "    fwrite(y{taken}, 1, {bytes}, out);");
                taken += 1;
                format!("y{}", taken - 1)
            }
        };
        let _ = write!(run, ", {word}");
    }
    let (include, load, save) = match weights {
        true => (
            "#include \"m_files.h\"",
            "    void *weights[M_WEIGHTS];\n    char message[2000];\n    if (m_new_weights(weights)) return 3;\n    \
             if (m_load(\"w.safetensors\", 1, weights, message, sizeof message)) { puts(message); return 4; }\n",
            "#define SAVE(place, name, count, bytes) fwrite(weights[place], bytes, count, out);\n    M_EACH_WEIGHT(SAVE)\n    \
             if (m_save(\"again.safetensors\", 1, weights, message, sizeof message)) return 8;\n    m_free_weights(weights);\n",
        ),
        false => ("#include \"m.h\"", "", ""),
    };
    format!(
        r#"{include}
#include <stdio.h>
#include <stdlib.h>
static void in_order(void *context, int64_t tasks, void (*task)(void *, int64_t, int64_t), void *state) {{
    for (int64_t i = tasks; i-- > 0;) task(state, i, i % *(int64_t *)context);
}}
static inline void *read_all(const char *name) {{
    FILE *file = fopen(name, "rb");
    if (!file || fseek(file, 0, SEEK_END)) exit(2);
    size_t size = (size_t)ftell(file);
    rewind(file);
    void *bytes = malloc(size + 1);
    if (!bytes || fread(bytes, 1, size, file) != size) exit(2);
    fclose(file);
    return bytes;
}}
int main(int argc, char **argv) {{
    FILE *out = fopen("out", "wb");
    int64_t count = argc > 1 ? atoi(argv[1]) : 3;
    m_threads threads = {{count, &count, in_order}};
    m_plan plan;
{load}{before}    int code = m_bind(&plan{bind});
    if (code) {{ fprintf(stderr, "%s\n", m_message(code)); return 40 + code; }}
    size_t bytes = m_workspace(&plan, count);
    void *workspace = malloc(bytes);
    if (!out || !workspace) return 6;
    code = m_run({run});
    if (code) {{ fprintf(stderr, "%s\n", m_message(code)); return 40 + code; }}
{behind}{save}    return fclose(out);
}}
"#
    )
}

fn model(text: &str) -> Core {
    let mut session = Session::of_text("a.nn", text, Path::new("."));
    let check = session.check(&Settings::default(), &|_| true);
    assert!(check.ok(), "{:?}", check.diagnostics);
    check.items.into_iter().find_map(|item| item.core).expect("a model")
}

/// Convolutions, contractions, a recurrence, normalisation, sorts of floats and of numbers, gathers, transcendental functions and draws.
const ALL_SORTS: &str = "model everything(x: f32[N, 24], k: Idx[11][N]) -> (a: f32[N, 24], order: Idx[24][N, R], soft: f32[N, 24], r: f32[N, 6]) {
  param table: f32[11, 24] = normal(0.0, 1.0)
  let h = x |> linear(40) |> layer_norm |> gelu |> linear(24)
  let picked = for n => table[k[n]]
  let seen = tanh(h + picked) + sin(x) / (1 + exp(x)) + sqrt(abs(x)) ** 1.5
  (a: sort(seen, over: 24), order: argsort(seen, over: 24, into: R), soft: softmax(seen, over: 24), r: seen |> linear(6) |> relu)
}";

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
}

/// Whether two runs of a program whose numbers are all of 32 bits differ by little; places of a sort may not.
#[track_caller]
fn close(found: &[u8], expected: &[u8]) {
    assert_eq!(found.len(), expected.len());
    for (index, (x, y)) in f32s(found).into_iter().zip(f32s(expected)).enumerate() {
        assert!(
            x.to_bits() == y.to_bits() || (x - y).abs() <= 1e-5 * (1.0 + y.abs()),
            "number {index}: {x} and {y}"
        );
    }
}

#[test]
fn libraries_on_other_processors() {
    if !have("cc") {
        return;
    }
    let dims: BTreeMap<DimVar, i64> = [(DimVar::new("N"), 37)].into();
    let core = model(ALL_SORTS);
    let emulated = cfg!(target_arch = "x86_64") && have("qemu-x86_64");
    if cfg!(target_arch = "x86_64") {
        let any = Library::new(&core, &dims, Target::X86);
        any.build("cc");
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            assert!(any.run(&[]) == any.expected, "the default library has the bits of this process");
        }
        let old = Library::new(&core, &dims, Target::V2);
        old.build("cc");
        close(&old.run(&[]), &old.expected);
        if emulated {
            // From no SSE4 over each feature that is missing to all that the emulator knows.
            for (cpu, runs, runs_old) in [
                ("qemu64", false, false),
                ("Nehalem", false, true),
                ("SandyBridge", false, true),
                ("Haswell,-fma", false, true),
                ("Haswell,-avx2", false, true),
                ("Haswell,-bmi2", false, true),
                ("Haswell,-abm", false, true),
                ("Haswell", true, true),
                ("max", true, true),
            ] {
                for (library, runs) in [(&any, runs), (&old, runs_old)] {
                    let with = ["qemu-x86_64", "-cpu", cpu];
                    if runs {
                        let bits = library.run(&with);
                        match std::ptr::eq(library, &any) {
                            true => assert!(bits == library.expected, "{cpu}"),
                            false => close(&bits, &library.expected),
                        }
                        continue;
                    }
                    let done = run(library.folder.path(), with[0], &["-cpu", cpu, "./main"]);
                    let said = String::from_utf8_lossy(&done.stderr);
                    assert_eq!(done.status.code(), Some(41), "{cpu}: {said}");
                    assert!(said.contains("this processor lacks instructions"), "{cpu}: {said}");
                }
            }
        }
    }
    if have("aarch64-linux-gnu-gcc") && have("qemu-aarch64") {
        let arm = Library::new(&core, &dims, Target::Aarch64);
        arm.build("aarch64-linux-gnu-gcc");
        close(&arm.run(&["qemu-aarch64"]), &arm.expected);
    }
}

/// What a contraction alone has not: windows, masks in a softmax, draws, integers.
const KINDS: [&str; 4] = [
    "model windows(x: f32[9, 9, 3]) -> f32[5] { x |> conv2d(6, 3) |> relu |> max_pool(2) |> flatten |> linear(5) }",
    "model attention(q: f32[T, D], k: f32[T, D], v: f32[T, E]) -> f32[T, E] {
  for t => {
    let a = softmax s where s <= t => (sum d => q[t, d] * k[s, d]) / sqrt(D)
    for e => sum s where s <= t => a[s] * v[s, e]
  }
}",
    "model draws(x: f32[N, M]) -> f32[N, M] { x + random.uniform(low: -1.0, high: 1.0) * random.normal() }",
    "model words(k: Idx[13][T]) -> f32[T, 4] {
  param table: f32[13, 8] = normal(0.0, 1.0)
  (for t, d => table[k[t], d]) |> layer_norm |> gru(4)
}",
];

/// What is stored in 16 bits: parameters, inputs, outputs, what a loop carries.
const SIXTEEN: &str =
    "model sixteen(x: bf16[N, 9], y: f16[N, 9]) -> (a: f32[N, 5], b: bf16[N, 9], c: f16[N, 9]) {
  param w: bf16[9, 5] = normal(0.0, 1.0)
  param shift: f16[5] = normal(0.0, 1.0)
  let steps = for n => scan i (h: f16 = 0) { h = h / 2 + y[n, i]; yield h }
  (a: (x as f32) @ (w as f32) + (shift as f32), b: exp(x) - x * x, c: steps)
}";

#[test]
fn sixteen_bits_in_c() {
    if !have("cc") {
        return;
    }
    let core = model(SIXTEEN);
    let dims: BTreeMap<DimVar, i64> = [(DimVar::new("N"), 53)].into();
    if let Some(own) = Target::of_this_machine() {
        let library = Library::new(&core, &dims, own);
        library.build("cc");
        assert!(library.run(&[]) == library.expected);
    }
    let old = Library::new(&core, &dims, Target::V2);
    if cfg!(target_arch = "x86_64") {
        old.build("cc");
        assert_eq!(old.run(&[]).len(), old.expected.len());
    }
}

#[test]
fn models_of_other_kinds_on_arm() {
    if !have("cc") || !have("aarch64-linux-gnu-gcc") || !have("qemu-aarch64") {
        return;
    }
    for text in KINDS {
        let core = model(text);
        let vars = core.inputs.iter().flat_map(|input| &input.axes).flat_map(|&axis| core.size(axis).vars());
        let dims: BTreeMap<DimVar, i64> = vars.map(|var| (var, 19)).collect();
        let arm = Library::new(&core, &dims, Target::Aarch64);
        arm.build("aarch64-linux-gnu-gcc");
        close(&arm.run(&["qemu-aarch64"]), &arm.expected);
    }
}

/// A training step too: other kernels, states that are written, several tasks, subnormal gradients.
#[test]
fn a_training_step_on_other_processors() {
    if !have("cc") {
        return;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits.nn");
    let mut session = Session::open(&source);
    let check = session.check(&Settings::default(), &|_| true);
    let plan = check.items.iter().find_map(|item| item.plan.as_ref()).unwrap();
    let dims: BTreeMap<DimVar, i64> = [(plan.samples.clone().unwrap(), 16)].into();
    if let Some(own) = Target::of_this_machine() {
        let library = Library::new(&plan.steps[0].core, &dims, own);
        library.build("cc");
        assert!(own == Target::V2 || library.run(&[]) == library.expected);
    }
    if have("aarch64-linux-gnu-gcc") && have("qemu-aarch64") {
        let arm = Library::new(&plan.steps[0].core, &dims, Target::Aarch64);
        arm.build("aarch64-linux-gnu-gcc");
        close(&arm.run(&["qemu-aarch64"]), &arm.expected);
    }
}

#[test]
fn nothing_is_wrong_for_valgrind() {
    if !have("cc") || !have("valgrind") {
        return;
    }
    let dims: BTreeMap<DimVar, i64> = [(DimVar::new("N"), 5)].into();
    let library = Library::new(&model(ALL_SORTS), &dims, Target::of_this_architecture().unwrap());
    library.build("cc");
    // Outputs and inputs are not freed, the process ends.
    let found = library.run(&["valgrind", "-q", "--error-exitcode=9", "--leak-check=no"]);
    assert!(found == library.expected);
    let again = safetensors::load(&library.folder.path().join("again.safetensors")).unwrap();
    assert_eq!(again, safetensors::load(&library.folder.path().join("w.safetensors")).unwrap());
}

#[test]
fn a_program_in_c_learns_digits() {
    if !have("cc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["x", "y"] {
        let array = npz::load(&root.join("examples/data/digits.npz"), name).unwrap();
        npy::save(&here.join(format!("{name}.npy")), &array).unwrap();
    }
    let source = root.join("examples/digits.nn");
    let source = source.to_str().unwrap();
    nnc(here, &["compile", source, "--train", "--prefix", "digits"]);
    let program = root.join("examples/c/train.c");
    let flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-I."];
    succeeds(
        here,
        "cc",
        &[&flags[..], &[program.to_str().unwrap(), "digits.a", "-lpthread", "-o", "train"]].concat(),
    );
    let mut weights = Vec::new();
    for threads in ["1", "3"] {
        succeeds(here, "./train", &["x.npy", "y.npy", "3", threads]);
        weights.push(std::fs::read(here.join("digits.safetensors")).unwrap());
    }
    assert!(weights[0] == weights[1], "the number of threads changes no bit");
    let told = nnc(here, &["eval", source, "--weights", "digits.safetensors", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(told["measures"]["accuracy"].as_f64().unwrap() > 0.85, "{told}");
    let refused = run(here, "./train", &["y.npy", "x.npy"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("elements of another type"));
}

const SEVERAL: &str = "
model generator(z: f32[2]) -> f32[4] { z |> linear(6) |> relu |> linear(4) }
model discriminator(x: f32[4]) -> f32 { sum(x |> linear(6) |> relu |> linear(1)) }
fn is(real: f32)(z: f32) -> f32 = log(1 + exp(if real > 0.5 { -z } else { z }))
train game {
  data d = npz(\"data.npz\")
  let gen = generator()
  let dis = discriminator()
  init gen = safetensors(\"gen.safetensors\", only: \"linear_0\")
  let fake = gen(for b: B => random.normal(2))
  loss dl = is(1)(dis(d.x)) + is(0)(dis(stop_gradient(fake)))
  loss gl = is(1)(dis(fake))
  optim adam(0.01, minimize: dl, update: dis, every: 2)
  optim adam(0.02, minimize: gl, update: gen)
  batch 16
}
";

/// Two optimizers, of which one rests every other step, and weights that begin as a file has them.
#[test]
fn several_optimizers_in_c_take_turns_as_in_nnc() {
    if !have("cc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("a.nn"), SEVERAL).unwrap();
    let x = numbers(&[16, 4], -1.0, 2.0);
    npz::save(&here.join("data.npz"), &[("x", &x)]).unwrap();
    std::fs::write(here.join("x"), x.to_le_bytes()).unwrap();
    draw(&here.join("a.nn"), "generator", &here.join("gen.safetensors"));
    nnc(here, &["compile", "a.nn", "--train", "--prefix", "game"]);
    // The file is in the library.
    std::fs::rename(here.join("gen.safetensors"), here.join("kept")).unwrap();
    let header = std::fs::read_to_string(here.join("game.h")).unwrap();
    assert!(header.contains("only where the step's number is a multiple of 2"), "{header}");
    let program = r#"
        #include "game_files.h"
        static char workspace[1 << 20];
        static int check(int code) { if (code) { puts(game_step_dl_message(code)); exit(5); } return code; }
        int main(void) {
            float x[64], loss;
            void *weights[GAME_WEIGHTS];
            char message[500];
            FILE *file = fopen("x", "rb");
            if (!file || fread(x, 4, 64, file) != 64 || game_new_weights(weights)) return 1;
            fclose(file);
            game_init_dl_plan di;
            game_init_gl_plan gi;
            game_step_dl_plan ds;
            game_step_gl_plan gs;
            check(game_init_dl_bind(&di) || game_init_gl_bind(&gi) || game_step_dl_bind(&ds, 16) || game_step_gl_bind(&gs, 16));
            check(game_init_dl_run(&di, weights, 3, workspace, sizeof workspace, NULL));
            check(game_init_gl_run(&gi, weights, 3, workspace, sizeof workspace, NULL));
            for (int step = 0; step < 5; step++) {
                if (step % 2 == 0) check(game_step_dl_run(&ds, x, &loss, weights, 3, step, workspace, sizeof workspace, NULL));
                check(game_step_gl_run(&gs, x, &loss, weights, 3, step, workspace, sizeof workspace, NULL));
            }
            if (game_save("weights.safetensors", 0, weights, message, sizeof message)) { puts(message); return 2; }
            game_free_weights(weights);
            return 0;
        }
    "#;
    let arguments = |name: &str| -> String {
        let declared = declared(&header, &format!("int game_{name}_run("));
        let known = |word: &&str| ["int64_t seed", "int64_t step", "int64_t steps"].contains(word);
        let words: Vec<&str> = declared.iter().filter(|word| known(word)).copied().collect();
        let value = |word: &&str| match *word {
            "int64_t seed" => "3, ",
            "int64_t step" => "step, ",
            _ => "5, ",
        };
        words.iter().map(value).collect()
    };
    let mut program = program.to_owned();
    for name in ["step_dl", "step_gl"] {
        let call =
            format!("game_{name}_run(&{}s, x, &loss, weights, ", if name == "step_dl" { 'd' } else { 'g' });
        program = program.replace(&format!("{call}3, step, "), &format!("{call}{}", arguments(name)));
    }
    std::fs::write(here.join("main.c"), program).unwrap();
    succeeds(
        here,
        "cc",
        &["-std=c11", "-Wall", "-Wextra", "-Werror", "-I.", "main.c", "game.a", "-o", "main"],
    );
    succeeds(here, "./main", &[]);
    std::fs::rename(here.join("kept"), here.join("gen.safetensors")).unwrap();

    let mut session = Session::open(&here.join("a.nn"));
    let check = session.check(&Settings::default(), &|_| true);
    let plan = check.items.iter().find_map(|item| item.plan.as_ref()).unwrap();
    let (settings, none, pool) = (Settings::default(), BTreeMap::new(), Pool::new(1).unwrap());
    let mut timings = Timings::default();
    let mut store = Store::of_all(plan.steps.iter().map(|step| &step.core), &none).unwrap();
    let mut all = |part| -> Vec<_> {
        plan.steps
            .iter()
            .map(|step| compile(&step.core, part, &none, &settings, &mut timings).unwrap())
            .collect()
    };
    let (inits, steps) = (all(Part::Init), all(Part::Body));
    inits.iter().for_each(|init| fill(&mut store, init, &none, 3, &pool).unwrap());
    let entries = safetensors::load(&here.join("gen.safetensors")).unwrap().tensors;
    store.import_part(&entries, "gen", Some("linear_0")).unwrap();
    let array = [Array::from_tensor(&x).unwrap()];
    for step in 0..5u64 {
        for (unit, turn) in steps.iter().zip(&plan.steps) {
            if step % turn.every == 0 {
                let clock = Clock { seed: 3, step, steps: 5 };
                unit.run(&[(plan.samples.clone().unwrap(), 16)].into(), &array, &mut store, clock, &pool)
                    .unwrap();
            }
        }
    }
    let found = safetensors::load(&here.join("weights.safetensors")).unwrap();
    assert_eq!(found.tensors, store.export(false));
}

/// Sizes for all open dims that the definition accepts.
fn sizes(core: &Core) -> Option<BTreeMap<DimVar, i64>> {
    let vars: Vec<DimVar> =
        core.inputs.iter().flat_map(|input| &input.axes).flat_map(|&axis| core.size(axis).vars()).collect();
    [5, 6, 8, 16, 32, 64, 96, 128, 224, 299].into_iter().find_map(|size| {
        let dims: BTreeMap<DimVar, i64> = vars.iter().map(|var| (var.clone(), size)).collect();
        let sized = core
            .inputs
            .iter()
            .flat_map(|input| &input.axes)
            .all(|&axis| core.size(axis).eval(&dims).is_ok_and(|size| size > 0));
        (sized && broken_constraints(core, &dims).is_empty()).then_some(dims)
    })
}

fn examples_agree(wanted: &dyn Fn(&Path, &str) -> bool) -> usize {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(ending) if ending == "nn" => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    let mut count = 0;
    for file in files {
        let mut session = Session::open(&file);
        let check = session.check(&Settings::default(), &|_| true);
        for item in &check.items {
            if !wanted(&file, &item.name) {
                continue;
            }
            let name = format!("{}:{}", file.file_stem().unwrap().to_string_lossy(), item.name);
            if let Some(plan) = &item.plan {
                // A tenth of the batch: what a step is made of does not change with it.
                let batch = plan.batch.min(plan.count).div_ceil(10).max(2) as i64;
                let dims: BTreeMap<DimVar, i64> =
                    plan.samples.iter().map(|dim| (dim.clone(), batch)).collect();
                for (number, step) in plan.steps.iter().enumerate() {
                    example_agrees(&format!("{name}, step {number}"), &step.core, &dims);
                }
                example_agrees(&format!("{name}, measures"), &plan.evaluate, &dims);
                count += 1;
            }
            let Some(core) =
                item.core.as_ref().filter(|_| item.what == nnc::session::What::Model && !item.open)
            else {
                continue;
            };
            let Some(dims) = sizes(core) else {
                println!("{name}: no sizes");
                continue;
            };
            example_agrees(&name, core, &dims);
            count += 1;
        }
    }
    count
}

/// The bits of this process at any number of threads; so has nnc its own.
fn example_agrees(name: &str, core: &Core, dims: &BTreeMap<DimVar, i64>) {
    let library = Library::new(core, dims, Target::of_this_machine().unwrap());
    library.build("cc");
    for threads in ["1", "2", "3", "8"] {
        assert!(library.run_on(threads, &[]) == library.expected, "{name}, {dims:?}, {threads} threads");
    }
    println!("{name}: {} bytes, {:.0} ms", library.bytes, library.milliseconds);
}

#[test]
fn models_of_examples_have_the_same_bits_in_c() {
    if Target::of_this_machine().is_none_or(|own| own == Target::V2) || !have("cc") {
        return;
    }
    let few = ["classifier", "perceptron", "digits_mlp", "motion", "gunpoint", "lenet"];
    let count = examples_agree(&|file, name| {
        file.parent().is_some_and(|folder| folder.ends_with("examples")) && few.contains(&name)
    });
    assert!(count >= 3);
}

/// Models and training steps: `NNC_EXAMPLES=vision cargo test --release --test main all_examples -- --ignored --nocapture`
#[test]
#[ignore = "minutes, and gigabytes of weights"]
fn all_examples_have_the_same_bits_in_c() {
    let wanted = std::env::var("NNC_EXAMPLES").unwrap_or_default();
    let count = examples_agree(&|file, name| file.to_string_lossy().contains(&wanted) || name == wanted);
    assert!(count > 0);
}

/// The same numbers as a tensor, for whoever reads a test's output.
#[test]
fn the_caller_that_these_tests_write_can_fail() {
    if !have("cc") || Target::of_this_machine().is_none_or(|own| own == Target::V2) {
        return;
    }
    let dims: BTreeMap<DimVar, i64> = [(DimVar::new("N"), 3)].into();
    let library = Library::new(
        &model("model m(x: f32[N]) -> f32[N] = x + 1"),
        &dims,
        Target::of_this_machine().unwrap(),
    );
    library.build("cc");
    assert!(library.run(&[]) == library.expected);
    let other = Tensor::from_vec(&[3], vec![0f32; 3]).unwrap();
    std::fs::write(library.folder.path().join("x0"), other.to_le_bytes()).unwrap();
    assert!(library.run(&[]) != library.expected);
}
