//! Libraries that `nnc compile` writes: C programs that are linked with them have the numbers of `nnc run`, to the last bit.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use nnc::check::Entry;
use nnc::elaborate::Part;
use nnc::formats::{npy, safetensors};
use nnc::runtime::{Array, Pool};
use nnc::session::{Session, Settings, Timings, compile};
use nnc::tensor::{DType, Tensor, random::Key};
use nnc::train::{Clock, Store, fill};

pub fn run(folder: &Path, program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"))
}

/// Whether a program that these tests may want is here; says so where it is not.
pub fn have(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok_and(|done| done.status.success());
    if !there {
        eprintln!("skipped: there is no {program}");
    }
    there
}

/// What a command that must succeed prints.
#[track_caller]
pub fn succeeds(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let done = run(folder, program, arguments);
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {arguments:?}: {:?}\n{errors}", done.status);
    String::from_utf8(done.stdout).unwrap()
}

#[track_caller]
pub fn nnc(folder: &Path, arguments: &[&str]) -> String {
    succeeds(folder, env!("CARGO_BIN_EXE_nnc"), arguments)
}

/// Weights as `nnc run --seed 3` draws them, in a file.
pub fn draw(source: &Path, model: &str, to: &Path) {
    let settings = Settings::default();
    let mut session = Session::open(source);
    let check =
        session.check(&settings, &|entry| matches!(entry, Entry::Def(def) if def.name.name == *model));
    let core = check.items.iter().find_map(|item| item.core.as_ref()).expect("a model");
    let (dims, mut timings) = (BTreeMap::new(), Timings::default());
    let mut store = Store::of(core, &dims).unwrap();
    let init = compile(core, Part::Init, &dims, &settings, &mut timings).unwrap();
    fill(&mut store, &init, &dims, 3, &Pool::new(1).unwrap()).unwrap();
    let tensors = store.export(false);
    safetensors::save(to, &safetensors::Archive { tensors, ..Default::default() }).unwrap();
}

/// Numbers in `from .. from + span` that are the same in every run.
pub fn numbers(shape: &[usize], from: f32, span: f32) -> Tensor {
    let len: usize = shape.iter().product();
    let key = Key::new(5, 0);
    let elements: Vec<f32> = (0..len).map(|i| from + span * key.uniform(0, i as u64)).collect();
    Tensor::from_vec(shape, elements).unwrap()
}

#[test]
fn the_example_in_c_classifies_as_nnc_run_does() {
    if !have("cc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = root.join("examples/digits.nn");
    draw(&source, "classifier", &here.join("w.safetensors"));
    let images = numbers(&[203, 8, 8, 1], 0.0, 16.0);
    npy::save(&here.join("x.npy"), &images).unwrap();
    let source = source.to_str().unwrap();
    nnc(here, &["run", source, "--weights", "w.safetensors", "--input", "x.npy", "--output", "y.npy"]);
    let expected = npy::load(&here.join("y.npy")).unwrap();
    let expected: Vec<u32> = expected.as_slice::<f32>().unwrap().iter().map(|x| x.to_bits()).collect();
    let example = root.join("examples/c/classify.c");
    let example = example.to_str().unwrap();
    let model = ["compile", source, "--weights", "w.safetensors", "--batch", "N", "--prefix", "digits"];
    for (file, target) in
        [("digits.a", "any"), ("digits.o", "x86-64-v3"), ("libdigits.so", "any"), ("digits.a", "native")]
    {
        if target == "x86-64-v3" && !cfg!(target_arch = "x86_64") {
            continue;
        }
        nnc(here, &[&model[..], &["-o", file, "--target", target]].concat());
        let linked = [
            "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-I.",
            example,
            file,
            "-lpthread",
            "-lm",
            "-Wl,-rpath,.",
            "-o",
            "classify",
        ];
        succeeds(here, "cc", &linked);
        for threads in ["1", "2", "3", "8"] {
            let printed = succeeds(here, "./classify", &["x.npy", threads, "scores"]);
            let scores: Vec<u32> =
                printed.split_whitespace().map(|score| score.parse::<f32>().unwrap().to_bits()).collect();
            assert!(scores == expected, "{file}, {target}, {threads} threads: {printed}");
        }
        let lines = succeeds(here, "./classify", &["x.npy"]);
        assert!(lines.lines().count() == 203 && lines.lines().all(|line| line.ends_with(" %")), "{lines}");
        let exported = if file.ends_with("so") { &["-D", "--defined-only"][..] } else { &["-g"] };
        let names = succeeds(here, "nm", &[exported, &[file]].concat());
        let names: Vec<&str> = names.lines().filter_map(|line| line.split(' ').nth(2)).collect();
        assert_eq!(
            names,
            ["digits_bind_built", "digits_message", "digits_run", "digits_workspace"],
            "{file}"
        );
        // Nothing is asked of anyone.
        let wanted = succeeds(here, "nm", &["-u", file]);
        assert!(!wanted.contains(" U "), "{wanted}");
    }
    // Weights under other names and of another type are the same weights.
    let mut other = safetensors::load(&here.join("w.safetensors")).unwrap();
    let moved = |name: String| name.replacen("linear_0", "hidden", 1);
    other.tensors =
        other.tensors.into_iter().map(|(name, tensor)| (moved(name), tensor.cast(DType::F64))).collect();
    safetensors::save(&here.join("other.safetensors"), &other).unwrap();
    let files = ["w.safetensors", "other.safetensors"].map(|file| {
        let map: &[&str] = if file == "w.safetensors" { &[] } else { &["--map", "hidden=linear_0"] };
        let wish = ["compile", source, "--weights", file, "-o", "held.o"];
        nnc(here, &[&wish, map].concat());
        std::fs::read(here.join("held.o")).unwrap()
    });
    assert!(files[0] == files[1]);
    let wish = ["compile", source, "--weights", "other.safetensors", "--map", "linear_0=hidden"];
    let refused = String::from_utf8(run(here, env!("CARGO_BIN_EXE_nnc"), &wish).stderr).unwrap();
    assert!(refused.contains("`linear_0` is not in the file"), "{refused}");
    nnc(here, &["compile", source, "-o", "bare.a"]);
    let size = std::fs::metadata(here.join("bare.a")).unwrap().len();
    assert!(size < 300_000, "{size} bytes");
    let first = std::fs::read(here.join("bare.a")).unwrap();
    nnc(here, &["compile", source, "-o", "bare.a"]);
    assert!(first == std::fs::read(here.join("bare.a")).unwrap(), "files are the same to the byte");
}

/// What C code must be refused, and by which text.
#[test]
fn two_models_in_one_program_and_their_refusals() {
    if !have("cc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(
        here.join("a.nn"),
        "model table(V: dim = 7, D: dim = 3)(t: Idx[V][N]) -> f32[N, D] {\n\
           param w: f32[V, D] = normal(0.0, 1.0)\n  for n => w[t[n]]\n}\n\
         model pairs(x: f32[N, M]) -> f32[M] where M < 5 = sum(x * 2, over: N)\n",
    )
    .unwrap();
    for model in ["table", "pairs"] {
        let done = run(here, env!("CARGO_BIN_EXE_nnc"), &["compile", &format!("a.nn:{model}")]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let program = r#"
        #include "pairs.h"
        #include "table.h"
        #include <stdio.h>
        #include <string.h>
        static char workspace[1 << 16];
        static int failures;
        static void expect(const char *what, int code, const char *message) {
            if (strcmp(pairs_message(code), message)) { printf("%s: %s\n", what, pairs_message(code)); failures++; }
        }
        int main(void) {
            float x[] = {1, 2, 3, 4, 5, 6}, sums[3], rows[6], w[21];
            int32_t at[] = {6, 0};
            for (int i = 0; i < 21; i++) w[i] = (float)i;
            void *weights[TABLE_WEIGHTS] = {w};
            pairs_plan p;
            table_plan t;
            expect("bind", pairs_bind(&p, 2, 3), "fine");
            size_t bytes = pairs_workspace(&p, 1);
            expect("run", pairs_run(&p, x, sums, workspace + 1, bytes, NULL), "fine");
            if (sums[0] != 10 || sums[1] != 14 || sums[2] != 18) { printf("%g %g %g\n", sums[0], sums[1], sums[2]); failures++; }
            expect("small", pairs_run(&p, x, sums, workspace, bytes - 1, NULL), "the workspace is too small");
            expect("null", pairs_run(&p, NULL, sums, workspace, bytes, NULL), "a pointer is null");
            expect("no plan", pairs_run(NULL, x, sums, workspace, bytes, NULL), "a pointer is null");
            expect("negative", pairs_bind(&p, -1, 3), "a dim is negative");
            expect("unbound", pairs_run(&p, x, sums, workspace, bytes, NULL), "the plan was not made by this model's bind, or bind refused");
            if (pairs_workspace(&p, 1) != SIZE_MAX) { puts("workspace of no plan"); failures++; }
            expect("demand", pairs_bind(&p, 2, 5), "the dims break `M < 5`");
            expect("large", pairs_bind(&p, INT64_MAX / 2, 4), "these dims need more memory than can be addressed");
            expect("build", pairs_bind_built(&p, 77, 2, 3), "the header belongs to another build of the library");
            if (pairs_bind(&p, 2, 5) != PAIRS_E_DIMS || pairs_bind(NULL, 2, 3) != PAIRS_E_NULL) { puts("codes"); failures++; }
            expect("code", 77, "this is no code of the model");
            expect("table", table_bind(&t, 2), "fine");
            if (table_run(&t, at, rows, weights, workspace, sizeof workspace, NULL)) { puts("table"); failures++; }
            if (rows[0] != 18 || rows[2] != 20 || rows[3] != 0 || rows[5] != 2) { puts("rows"); failures++; }
            at[1] = 7;
            expect("above", table_run(&t, at, rows, weights, workspace, sizeof workspace, NULL), "an entry of an integer input lies outside of its range");
            at[1] = -1;
            expect("below", table_run(&t, at, rows, weights, workspace, sizeof workspace, NULL), "an entry of an integer input lies outside of its range");
            at[1] = 0;
            weights[0] = NULL;
            expect("weight", table_run(&t, at, rows, weights, workspace, sizeof workspace, NULL), "a pointer is null");
            memcpy(&t, &p, sizeof p < sizeof t ? sizeof p : sizeof t);
            expect("mixed", table_run(&t, at, rows, weights, workspace, sizeof workspace, NULL), "the plan was not made by this model's bind, or bind refused");
            return failures;
        }
    "#;
    std::fs::write(here.join("main.c"), program).unwrap();
    succeeds(
        here,
        "cc",
        &["-Wall", "-Wextra", "-Werror", "-I.", "main.c", "table.a", "pairs.a", "-o", "main"],
    );
    let done = run(here, "./main", &[]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}

/// The command refuses what cannot be, and then writes nothing.
#[test]
fn wishes_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("a.nn"), "model m(x: f32[N, 4]) -> f32[N, 2] = linear(2)(x)\nmodel s(x: f32[N]) -> f32[R] = sort(x, into: R)\n").unwrap();
    std::fs::write(here.join("w.safetensors"), "no weights").unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits.nn");
    let root = root.to_str().unwrap();
    for (arguments, code, text) in [
        (&["a.nn:m", "-o", "m.lib"][..], 2, "none of *.a, *.o and *.so"),
        (&["a.nn:m", "--prefix", "int"], 2, "--prefix NAME"),
        (&["a.nn:m", "--prefix", "a-b"], 2, "--prefix NAME"),
        (&["a.nn:m", "--batch", "N"], 2, "--batch wants a new name"),
        (&["a.nn:m", "--weights-file"], 2, "--weights"),
        (&["a.nn:m", "--target", "pdp-11"], 2, "x86-64-v3"),
        (&["a.nn:m", "--summary", "-o", "m.a"], 2, "cannot be used with"),
        (&["a.nn:m", "--weights", "w.safetensors"], 3, "w.safetensors"),
        (&["a.nn:m", "-o", "no/m.a"], 3, "no/m.a"),
        (&[&format!("{root}:digits"), "-o", "t.a"], 2, "--train writes it"),
        (&[root, "--train", "--weights", "w.safetensors"], 2, "--weights is for models"),
    ] {
        let done = run(here, env!("CARGO_BIN_EXE_nnc"), &[&["compile"], arguments].concat());
        let errors = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(text), "{arguments:?}: {errors}");
    }
    let mut left: Vec<_> = std::fs::read_dir(here).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["a.nn", "w.safetensors"]);
    let done = Command::new(env!("CARGO_BIN_EXE_nnc"))
        .args(["compile", "a.nn:m", "-o", "m.so"])
        .current_dir(here)
        .env("PATH", here)
        .env_remove("CC")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&done.stderr).contains("needs a linker"), "{done:?}");
    assert!(!here.join("m.so").exists());
}

/// Steps of training in C: losses and weights have the bits that they have here.
#[test]
fn a_training_step_in_c_is_the_one_of_nnc() {
    if !have("cc") {
        return;
    }
    const BATCHES: [usize; 3] = [32, 32, 7];
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits.nn");
    nnc(here, &["compile", source.to_str().unwrap(), "--train", "--prefix", "digits"]);
    let settings = Settings::default();
    let mut session = Session::open(&source);
    let check = session.check(&settings, &|entry| matches!(entry, Entry::Train(..)));
    let plan = check.items[0].plan.as_ref().expect("a train block");
    let core = &plan.steps[0].core;
    let (none, mut timings, pool) = (BTreeMap::new(), Timings::default(), Pool::new(2).unwrap());
    let mut store = Store::of(core, &none).unwrap();
    let mut compiled = |part| compile(core, part, &none, &settings, &mut timings).unwrap();
    let (init, step) = (compiled(Part::Init), compiled(Part::Body));
    fill(&mut store, &init, &none, 7, &pool).unwrap();
    let types: Vec<_> = core.inputs.iter().map(|input| input.elem.dtype()).collect();
    let mut expected = Vec::new();
    for (index, &batch) in BATCHES.iter().enumerate() {
        let images = numbers(&[batch, 8, 8, 1], index as f32, 16.0).cast(types[0]);
        let labels: Vec<i32> = (0..batch).map(|i| (i * 7 + index) as i32 % 10).collect();
        let labels = Tensor::from_vec(&[batch], labels).unwrap().cast(types[1]);
        std::fs::write(here.join(format!("x{index}")), images.to_le_bytes()).unwrap();
        std::fs::write(here.join(format!("y{index}")), labels.to_le_bytes()).unwrap();
        let arrays = [&images, &labels].map(|tensor| Array::from_tensor(tensor).unwrap());
        let dims = plan.samples.iter().map(|samples| (samples.clone(), batch as i64)).collect();
        let clock = Clock { seed: 7, step: index as u64, steps: 3 };
        let loss = step.run(&dims, &arrays, &mut store, clock, &pool).unwrap();
        expected.extend_from_slice(loss[0].bytes());
    }
    store.tensors.values().for_each(|owned| expected.extend_from_slice(owned.array.bytes()));
    let header = std::fs::read_to_string(here.join("digits.h")).unwrap();
    // The model draws nothing and its rate may or may not follow a schedule: only what the step reads is an argument.
    let clock: String = [("seed", "7"), ("step", "index"), ("steps", "3")]
        .iter()
        .filter(|(name, _)| {
            header.split("int digits_step_run(").nth(1).unwrap().contains(&format!("int64_t {name},"))
        })
        .map(|(_, value)| format!("{value}, "))
        .collect();
    let program = r#"
        #include "digits.h"
        #include <stdio.h>
        #include <stdlib.h>
        static void in_order(void *context, int64_t tasks, void (*task)(void *, int64_t, int64_t), void *state) {
            for (int64_t i = tasks; i-- > 0;) task(state, i, i % *(int64_t *)context);
        }
        static void read(const char *name, int index, void *to, size_t most) {
            char path[64];
            snprintf(path, sizeof path, "%s%d", name, index);
            FILE *file = fopen(path, "rb");
            if (!file || fread(to, 1, most, file) == 0) exit(3);
            fclose(file);
        }
        #define MAKE(place, name, count, bytes) weights[place] = calloc(count, bytes);
        #define SAVE(place, name, count, bytes) fwrite(weights[place], bytes, count, out);
        int main(void) {
            static double x[32 * 64], y[32];
            void *weights[DIGITS_WEIGHTS];
            DIGITS_EACH_WEIGHT(MAKE)
            int64_t count = 2;
            digits_threads threads = {count, &count, in_order};
            digits_init_plan init;
            digits_step_plan step;
            size_t most = 1 << 24;
            void *workspace = malloc(most);
            FILE *out = fopen("out", "wb");
            if (!out || digits_init_bind(&init) || digits_init_run(&init, weights, 7, workspace, most, &threads)) return 1;
            int batches[] = {32, 32, 7};
            for (int index = 0; index < 3; index++) {
                float loss;
                read("x", index, x, sizeof x);
                read("y", index, y, sizeof y);
                if (digits_step_bind(&step, batches[index])) return 2;
                if (digits_step_workspace(&step, count) > most) return 4;
                int code = digits_step_run(&step, (void *)x, (void *)y, &loss, weights, CLOCK workspace, most, &threads);
                if (code) { puts(digits_step_message(code)); return 5; }
                fwrite(&loss, sizeof loss, 1, out);
            }
            DIGITS_EACH_WEIGHT(SAVE)
            return fclose(out);
        }
    "#;
    std::fs::write(here.join("main.c"), program.replace("CLOCK", &clock)).unwrap();
    succeeds(here, "cc", &["-Wall", "-Werror", "-I.", "main.c", "digits.a", "-o", "main"]);
    succeeds(here, "./main", &[]);
    let found = std::fs::read(here.join("out")).unwrap();
    assert_eq!(found.len(), expected.len());
    assert!(found == expected, "losses and weights have the same bits");
}
