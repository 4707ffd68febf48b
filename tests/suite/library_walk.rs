//! The walk over the language's builtins, over operators and forms, and over every public definition of the library: each has samples in
//! tests/walk, and each sample is taken through all laws. A builtin or a definition without a sample fails the walk.
//!
//! - Native code, plain and fused, agrees with the interpreter at sizes 0, 1, odd and larger than a tile, in values and shapes: the value,
//!   and the derivative of the gradient along a direction.
//! - The forward derivative agrees with differences in f64, the gradient with the forward derivative, the derivative of the gradient with
//!   differences of the gradient.
//! - What is proved of a sample's axes holds when they are permuted, shifted or changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use nnc::axes::DimVar;
use nnc::check::Entry;
use nnc::check::core::Core;
use nnc::elaborate::Part;
use nnc::graph::{Graph, Role, interpret};
use nnc::runtime::Pool;
use nnc::session::{Session, Settings, broken_constraints, compile, graph_of};
use nnc::tensor::{Tensor, Tolerance};
use nnc::verify::{Draws, Subject, Verdict, evidence};

use super::agreement::native;

/// A sample: its name, its arguments as they are declared, the type of its result.
struct Sample {
    name: String,
    args: Vec<(String, String)>,
    result: String,
}

impl Sample {
    /// Reads `model NAME(ARGS) -> RESULT = …` or `… {`.
    fn read(line: &str) -> Option<Sample> {
        let (name, rest) = line.strip_prefix("model ")?.split_once('(')?;
        let (args, rest) = rest.split_once(") -> ")?;
        let end = rest.find(" = ").into_iter().chain(rest.find(" {")).min()?;
        let mut found = Vec::new();
        // Commas stand in types, too.
        for part in args.split(", ") {
            match part.split_once(": ") {
                Some((arg, ty)) => found.push((arg.to_owned(), ty.to_owned())),
                None => write!(found.last_mut()?.1, ", {part}").ok()?,
            }
        }
        Some(Sample { name: name.to_owned(), args: found, result: rest[..end].to_owned() })
    }

    fn floats(&self) -> impl Iterator<Item = &(String, String)> {
        self.args.iter().filter(|(_, ty)| ty.starts_with("f32"))
    }

    /// A model with these further arguments, in whose body `f` is the sample as a function of its float arguments.
    fn model(&self, name: &str, further: &[(String, String)], result: &str, body: &str) -> String {
        let declared = |(arg, ty): &(String, String)| format!("{arg}: {}", without_kinds(ty));
        let all: Vec<String> = self.args.iter().chain(further).map(declared).collect();
        let names: Vec<&str> = self.args.iter().map(|(arg, _)| arg.as_str()).collect();
        let floats: Vec<&str> = self.floats().map(|(arg, _)| arg.as_str()).collect();
        format!(
            "model {name}({}){result} {{\n  let net = {}\n  let f = fn({}) => net({})\n  {body}\n}}\n",
            all.join(", "),
            self.name,
            floats.join(", "),
            names.join(", "),
        )
    }

    /// The programs `plain`, `forward`, `gradient` and `second` behind the text of the samples.
    fn derivatives(&self) -> String {
        let floats: Vec<String> = self.floats().map(|(arg, _)| arg.clone()).collect();
        let directions: Vec<(String, String)> =
            self.floats().map(|(arg, ty)| (format!("v_{arg}"), without_kinds(ty))).collect();
        let cotangent = vec![("t_y".to_owned(), without_kinds(&self.result))];
        let x = floats.join(", ");
        let v = directions.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        let both: Vec<_> = cotangent.iter().chain(&directions).cloned().collect();
        let forward = format!("jvp(f)({x}, {v})");
        let gradient = format!("vjp(f)({x}, t_y)");
        let second = format!("jvp(fn({x}) => {gradient})({x}, {v})");
        [
            self.model("plain_of_it", &[], "", &format!("f({x})")),
            self.model("forward_of_it", &directions, "", &forward),
            self.model("gradient_of_it", &cotangent, "", &gradient),
            self.model("second_of_it", &both, "", &second),
        ]
        .concat()
    }
}

/// What an axis promises is the sample's affair: a gradient reads the future.
fn without_kinds(ty: &str) -> String {
    ["set ", "grid ", "ring ", "causal "].iter().fold(ty.to_owned(), |ty, kind| ty.replace(kind, ""))
}

/// Numbers between 0.3 and 1.7 without pattern, of which no two are close; they depend on the input's name and place alone.
fn given(graph: &Graph, dims: &BTreeMap<DimVar, i64>) -> Vec<Tensor> {
    let inputs = graph.inputs.iter().map(|input| {
        let shape: Vec<usize> = input
            .order
            .iter()
            .map(|&axis| graph.axes[axis].size.eval(dims).expect("a size") as usize)
            .collect();
        // In the derived programs the sample is called `net`.
        let name = input.name.strip_prefix("net.").unwrap_or(&input.name);
        let seed = name.bytes().fold(7usize, |sum, byte| (sum * 31 + usize::from(byte)) % 10_007);
        let value = |n: usize| match (&input.bound, input.role) {
            (Some(bound), _) => {
                (n * 7 + seed + n / 3) as f64 % bound.eval(dims).expect("a bound").max(1) as f64
            }
            (None, Role::Seed | Role::Step) => 3.0,
            (None, Role::Steps) => 9.0,
            (None, Role::Argument) if !input.dtype.is_float() => ((n * 5 + seed) % 4) as f64,
            _ => 0.3 + 1.4 * ((seed * 311 + n + 1) as f64 * 0.618_033_988_75).fract(),
        };
        let values: Vec<f64> = (0..shape.iter().product()).map(value).collect();
        Tensor::from_vec(&shape, values).expect("as many as entries").cast(input.dtype)
    });
    inputs.collect()
}

/// The sizes of a program's dims, all the same but for `M`, which is a little larger; `None` where it has a condition that they break.
fn sized(core: &Core, size: i64) -> Option<BTreeMap<DimVar, i64>> {
    let vars = core.inputs.iter().flat_map(|input| &input.axes).flat_map(|&axis| core.size(axis).vars());
    let positions = core.inputs.iter().filter_map(|input| match &input.elem {
        nnc::check::core::Elem::Idx(dim, _) => Some(dim.vars()),
        nnc::check::core::Elem::Of(_) => None,
    });
    let all = vars.chain(positions.flatten());
    let dims = all.map(|var| if var.as_str() == "M" { (var, size + 2) } else { (var, size) }).collect();
    broken_constraints(core, &dims).is_empty().then_some(dims)
}

/// A definition of a text, in f64 or as it is.
fn core(text: &str, name: &str, wide: bool) -> Core {
    let mut session = Session::of_text("walk.nn", text, Path::new("."));
    let settings = Settings { wide, ..Settings::default() };
    let check = session.check(&settings, &|entry| matches!(entry, Entry::Def(def) if def.name.name == *name));
    let render = || nnc::diag::render::render(&session.sources, &check.diagnostics, false);
    assert!(check.ok(), "{name}\n{}", render());
    check.items.into_iter().find_map(|item| item.core).unwrap_or_else(|| panic!("{name} is not compiled"))
}

fn elaborated(core: &Core) -> Graph {
    let settings = Settings { verify: true, ..Settings::default() };
    graph_of(core, Part::Body, &BTreeMap::new(), &settings, Some("elaborate"), &mut Default::default())
        .unwrap_or_else(|failure| panic!("{}", failure.message))
}

fn evaluate(graph: &Graph, inputs: &[Tensor], dims: &BTreeMap<DimVar, i64>) -> Vec<Tensor> {
    let dims: HashMap<DimVar, i64> = dims.iter().map(|(var, size)| (var.clone(), *size)).collect();
    interpret(graph, inputs, &dims).unwrap_or_else(|error| panic!("{error}\n{graph}"))
}

/// Plain and fused code against the interpreter, shapes and values. What rounding explains is measured: so far as the interpreter's numbers
/// are from those of the same program in f64, machine code may be from them, too.
fn executions_agree(cores: [&Core; 2], plain: &[bool], sizes: &[i64], pool: &Pool) {
    let [before, wide] = cores.map(elaborated);
    let compiled = plain.iter().map(|plain| {
        let settings = Settings { verify: true, fuse: !plain, ..Settings::default() };
        let compiled = compile(cores[0], Part::Body, &BTreeMap::new(), &settings, &mut Default::default());
        compiled.unwrap_or_else(|failure| panic!("plain {plain}: {}", failure.message))
    });
    let compiled: Vec<_> = compiled.collect();
    for &size in sizes {
        let Some(dims) = sized(cores[0], size) else { continue };
        // There are no positions on an axis that is empty, and a ring without places does not turn.
        let positions = before.inputs.iter().any(|input| is_empty_range(&before, input, &dims));
        if size == 0 && (positions || compiled.iter().any(|compiled| compiled.exec.bind(&dims).is_err())) {
            continue;
        }
        let inputs = given(&before, &dims);
        let expected = evaluate(&before, &inputs, &dims);
        let exact = evaluate(&wide, &given(&wide, &dims), &dims);
        for (compiled, plain) in compiled.iter().zip(plain) {
            let found = native(&compiled.exec, &compiled.graph, &inputs, &dims, pool);
            for (index, ((found, expected), exact)) in found.iter().zip(&expected).zip(&exact).enumerate() {
                let pairs = expected.numbers().zip(exact.numbers());
                let rounding = pairs.map(|(x, y)| (x.as_f64() - y.as_f64()).abs()).filter(|x| x.is_finite());
                let rounding = rounding.fold(0.0, f64::max);
                let tolerance = Tolerance::new(1e-4, 3e-5 + 32.0 * rounding);
                if let Err(difference) = found.compare(expected, tolerance) {
                    panic!("plain {plain}, output {index} at {size}: {difference:?}");
                }
            }
        }
    }
}

fn is_empty_range(graph: &Graph, input: &nnc::graph::Input, dims: &BTreeMap<DimVar, i64>) -> bool {
    let count: i64 =
        input.order.iter().map(|&axis| graph.axes[axis].size.eval(dims).expect("a size")).product();
    input.bound.as_ref().is_some_and(|bound| bound.eval(dims) == Ok(0)) && count > 0
}

fn entries(tensors: &[Tensor]) -> Vec<f64> {
    tensors.iter().flat_map(|tensor| tensor.numbers().map(|x| x.as_f64()).collect::<Vec<_>>()).collect()
}

/// Central differences, of fourth order, of a program's outputs when its arguments `x` move along their directions `v_x`.
fn differences(
    graph: &Graph,
    dims: &BTreeMap<DimVar, i64>,
    directions: &BTreeMap<String, Tensor>,
) -> Vec<f64> {
    let points = given(graph, dims);
    let step = 2e-4;
    let at = |steps: f64| {
        let moved =
            graph.inputs.iter().zip(&points).map(|(input, point)| match directions.get(&*input.name) {
                None => point.clone(),
                Some(direction) => {
                    let pairs = point.numbers().zip(direction.numbers());
                    let values = pairs.map(|(x, v)| x.as_f64() + steps * step * v.as_f64()).collect();
                    Tensor::from_vec(point.shape(), values).expect("as many")
                }
            });
        entries(&evaluate(graph, &moved.collect::<Vec<_>>(), dims))
    };
    let [a, b, c, d] = [-2.0, -1.0, 1.0, 2.0].map(at);
    (0..a.len()).map(|n| (a[n] - 8.0 * b[n] + 8.0 * c[n] - d[n]) / (12.0 * step)).collect()
}

#[track_caller]
fn close(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1.0f64, |most, x| most.max(x.abs()));
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let near = (found - expected).abs() <= 1e-6 * scale;
        assert!(near, "{what}, entry {at}: {found}, not {expected}");
    }
}

/// The derivatives of a sample against differences, in f64, at a small size.
fn derivatives_agree(text: &str, sample: &Sample, has_differences: bool) {
    let [plain, forward, gradient, second] =
        ["plain", "forward", "gradient", "second"].map(|which| core(text, &format!("{which}_of_it"), true));
    let Some(dims) = sized(&plain, 4) else { return };
    let [plain, forward, gradient, second] = [&plain, &forward, &gradient, &second].map(elaborated);
    let inputs = given(&second, &dims);
    let named: BTreeMap<String, Tensor> =
        second.inputs.iter().zip(inputs).map(|(input, value)| (input.name.to_string(), value)).collect();
    let directions: BTreeMap<String, Tensor> =
        sample.floats().map(|(arg, _)| (arg.clone(), named[&format!("v_{arg}")].clone())).collect();
    let tangents = entries(&evaluate(&forward, &given(&forward, &dims), &dims));
    let gradients = entries(&evaluate(&gradient, &given(&gradient, &dims), &dims));
    let moved = sample.floats().flat_map(|(arg, _)| entries(std::slice::from_ref(&directions[arg])));
    let left: f64 = entries(&[named["t_y"].clone()]).iter().zip(&tangents).map(|(t, y)| t * y).sum();
    let right: f64 = moved.zip(&gradients).map(|(v, g)| v * g).sum();
    close("the gradient", &[right], &[left]);
    let curvature = entries(&evaluate(&second, &given(&second, &dims), &dims));
    assert_eq!(curvature.len(), gradients.len(), "the derivative of the gradient");
    if has_differences {
        close("forward", &tangents, &differences(&plain, &dims, &directions));
        close("the derivative of the gradient", &curvature, &differences(&gradient, &dims, &directions));
    }
}

/// Tries what is proved of a sample's axes.
fn theorems_hold(text: &str, name: &str) {
    let mut session = Session::of_text("walk.nn", text, Path::new("."));
    let settings = Settings::default();
    let named = |entry: &Entry| matches!(entry, Entry::Def(def) if def.name.name == *name);
    let entry = session.items().into_iter().map(|(_, entry)| entry).find(named).expect("the sample");
    let mut draws = Draws::new(5);
    let Ok(subject) = Subject::of(&mut session, &entry, &settings, &mut draws) else { return };
    for found in evidence(&subject, &settings, &mut draws) {
        if let Verdict::Refuted(witness) = &found.verdict {
            panic!("`{}` is not {}: {witness:?}", found.axis, found.property);
        }
    }
}

/// The samples of a file, each with its text and that of the definitions that are no samples.
fn samples(file: &str) -> Vec<(Sample, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/walk").join(file);
    let text = std::fs::read_to_string(path).expect("the samples");
    let mut blocks: Vec<String> = Vec::new();
    for line in text.lines() {
        let begins = ["model ", "layer ", "fn ", "//"].iter().any(|word| line.starts_with(word));
        match blocks.last_mut() {
            Some(block) if !begins => *block += &format!("{line}\n"),
            _ => blocks.push(format!("{line}\n")),
        }
    }
    let others: String = blocks.iter().filter(|block| !block.starts_with("model ")).cloned().collect();
    let models = blocks.iter().filter(|block| block.starts_with("model "));
    let read = |block: &String| {
        let sample = Sample::read(block).unwrap_or_else(|| panic!("no sample: {block}"));
        (sample, format!("{block}{others}"))
    };
    models.map(read).collect()
}

/// Samples whose derivative is not that of their value: what is stopped, and what the program says by itself.
const WITHOUT_DIFFERENCES: [&str; 1] = ["stop_gradient"];

/// What of the language or the library a sample is for.
fn subject(sample: &Sample) -> String {
    sample.name.rsplit_once("__").map_or("", |(name, _)| name).replace("__", ".")
}

/// Takes a sample through all laws; says what it stumbles at.
fn passes((sample, text): &(Sample, String)) -> bool {
    let walked = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let pool = Pool::new(1).expect("a pool");
        let both = [false, true].map(|wide| core(text, &sample.name, wide));
        executions_agree([&both[0], &both[1]], &[true, false], &[0, 1, 7, 35], &pool);
        theorems_hold(text, &sample.name);
        if sample.result.starts_with("f32") && sample.floats().next().is_some() {
            let derived = format!("{text}{}", sample.derivatives());
            derivatives_agree(&derived, sample, !WITHOUT_DIFFERENCES.contains(&subject(sample).as_str()));
            let both = [false, true].map(|wide| core(&derived, "second_of_it", wide));
            executions_agree([&both[0], &both[1]], &[false], &[0, 1, 5], &pool);
        }
    }));
    if walked.is_err() {
        eprintln!("that was {}", sample.name);
    }
    walked.is_ok()
}

/// Takes all samples of a file through all laws; `wanted` are the names that must have one.
#[track_caller]
fn walk(file: &str, wanted: BTreeSet<String>) {
    let samples = samples(file);
    let found: BTreeSet<String> = samples.iter().map(|(sample, _)| subject(sample)).collect();
    let missing: Vec<&String> = wanted.difference(&found).collect();
    assert!(missing.is_empty(), "these have no sample in tests/walk/{file}: {missing:?}");
    let only = std::env::var("NNC_WALK").unwrap_or_default();
    let wanted: Vec<_> = samples.iter().filter(|(sample, _)| sample.name.contains(&only)).collect();
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            let own = wanted.iter().skip(half).step_by(2);
            scope.spawn(move || {
                own.filter(|sample| !passes(sample)).map(|(sample, _)| sample.name.as_str()).collect()
            })
        });
        halves.into_iter().flat_map(|half| half.join().unwrap_or_else(|_| vec!["?"])).collect()
    });
    assert!(failed.is_empty(), "the walk stumbles at {failed:?}");
}

/// What the checker knows by name, but for what reads files or stands in optimizers alone.
#[test]
fn every_builtin() {
    let elsewhere = ["npz", "npy", "csv", "idx", "folder", "text", "global_norm"];
    let names = nnc::check::Builtin::names().filter(|name| !elsewhere.contains(name));
    walk("builtins.nn", names.map(str::to_owned).collect());
}

/// The public definitions of the library, by their heads.
fn library(heads: &[&str]) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("stdlib");
    let mut names = Vec::new();
    for file in std::fs::read_dir(folder).expect("the library") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some((head, rest)) = line.split_once(' ') else { continue };
            if !["fn", "layer", "model", "optimizer"].contains(&head) {
                continue;
            }
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            assert!(
                at > 0 && lines[at - 1].starts_with("///"),
                "`{name}` of the library says not what it is"
            );
            if heads.contains(&head) {
                names.push(name);
            }
        }
    }
    names.sort();
    names
}

#[test]
fn every_definition_of_the_library() {
    walk("library.nn", library(&["fn", "layer", "model"]).into_iter().collect());
}

/// A step of every optimizer, of matrices, vectors and single numbers.
#[test]
fn every_optimizer() {
    let pool = Pool::new(1).expect("a pool");
    for name in library(&["optimizer"]) {
        let text = format!(
            "layer net(x: f32[4]) -> f32 {{ param scale: f32 = 1.5
  scale * sum((x |> linear(5) |> tanh |> linear(3)) ** 2) }}
train t {{ let f = net()
  loss f([0.5, 1.0, -0.3, 2.0])
  optim {name}(0.01)
  steps 5 }}"
        );
        let step = |wide: bool| {
            let mut session = Session::of_text("walk.nn", &text, Path::new("."));
            let settings = Settings { wide, ..Settings::default() };
            let check = session.check(&settings, &|entry| matches!(entry, Entry::Train(..)));
            let render = || nnc::diag::render::render(&session.sources, &check.diagnostics, false);
            assert!(check.ok(), "{name}\n{}", render());
            check.items.into_iter().find_map(|item| item.plan).expect("a train block").steps.remove(0).core
        };
        executions_agree([&step(false), &step(true)], &[true, false], &[1], &pool);
    }
}
