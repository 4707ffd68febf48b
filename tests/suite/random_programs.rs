//! Random programs: the interpreter, plain and fused native code give the same values and gradients, and the gradients are those of
//! finite differences in f64. `NNC_SEED=7 cargo test --release random_programs` runs one seed; a failure is shrunk and shown.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use nnc::axes::DimVar;
use nnc::check::Entry;
use nnc::elaborate::Part;
use nnc::graph::interpret;
use nnc::session::{Session, Settings, graph_of};
use nnc::tensor::Tensor;

use super::agreement::{Draws, agree, inputs};

/// The type of a value of a program.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    /// `f32[N, D]`
    Matrix,
    /// `f32[N]`
    Column,
    /// `f32[D]`
    Row,
}

/// `let v3 = …`, and the values that it names.
#[derive(Clone, Debug)]
struct Line {
    name: String,
    ty: Type,
    text: String,
}

struct Generator {
    draws: Draws,
    lines: Vec<Line>,
}

impl Generator {
    fn below(&mut self, count: usize) -> usize {
        (self.draws.next() >> 7) as usize % count
    }

    /// Some value of this type: the recent ones more often.
    fn pick(&mut self, ty: Type) -> String {
        let given = match ty {
            Type::Matrix => "x",
            Type::Column => "v",
            Type::Row => "r",
        };
        let known: Vec<String> =
            self.lines.iter().filter(|line| line.ty == ty).map(|line| line.name.clone()).collect();
        if known.is_empty() || self.below(5) == 0 {
            return given.to_owned();
        }
        let first = if self.below(2) == 0 { 0 } else { known.len().saturating_sub(2) };
        known[first + self.below(known.len() - first)].clone()
    }

    fn line(&mut self) {
        use Type::*;
        let ty = [Matrix, Matrix, Matrix, Column, Row][self.below(5)];
        let (a, b) = (self.pick(ty), self.pick(ty));
        let (m, o) = (self.pick(Matrix), self.pick(Matrix));
        let (c, r) = (self.pick(Column), self.pick(Row));
        let any = [
            format!("tanh({a}) * {b}"),
            format!("sin({a} + 0.5 * {b})"),
            format!("max({a}, {b}) - 0.25 * min({a}, 0.5)"),
            format!("if {a} > {b} {{ {a} * {b} }} else {{ sigmoid({b}) }}"),
            format!("{a} / (1.5 + {b} ** 2)"),
            format!("checkpoint {{\n    let inner = exp(-{a} ** 2) * {b}\n    inner * cos(inner)\n  }}"),
            format!("iterate(3, fn(h) => 0.5 * tanh(h + {b}))({a})"),
            format!("grad(fn(z) => sum(sin(z * {b}) * z))({a})"),
            format!("jvp(fn(z) => tanh(z) * z)({a}, {b})"),
            format!("abs({a}) * 0.5 + stop_gradient({b})"),
        ];
        let own = match ty {
            Matrix => vec![
                format!("tanh({m} @ w)"),
                format!("{m} + {r}"),
                format!("for n => softmax({m}[n])"),
                format!("for n, d => {m}[n, d] * {c}[n]"),
                format!("for n, d => 0.3 * sum s where s <= n => {m}[s, d] * {o}[s, d]"),
                format!("for n, d => mean s where s >= n => {m}[s, d] * {c}[s]"),
                format!(
                    "scan n (h: f32[D] = 0) {{\n    h = tanh({m}[n] + 0.5 * h * {o}[n])\n    yield h * {r}\n  }}"
                ),
                format!(
                    "scan reverse n: N (h: f32[D] = 0) truncate 2 {{\n    h = 0.5 * h + {m}[n]\n    yield h\n  }}"
                ),
                format!("for n => {m}[i[n]] * {o}[n]"),
                format!("for n, d => {c}[n] * sum e where i[e] == n => {m}[e, d]"),
                format!("for n, d => sum m => 0.2 * {m}[n, d] * {o}[m, d] * {o}[m, 0]"),
            ],
            Column => vec![
                format!("mean({m}, over: D)"),
                format!("for n => logsumexp({m}[n])"),
                format!("for n => sum p => 0.2 * sort({m}[n])[p] * (position(p) as f32)"),
                format!("for n => top_k({m}[n], 1).values[0] * {c}[n]"),
                format!("for n => {m}[n] @ {r}"),
                format!("for n => prod d => 0.5 + 0.2 * {m}[n, d]"),
            ],
            Row => vec![
                format!("sum({m}, over: N) * 0.3"),
                format!("max({m}, over: N) + {r}"),
                format!("scan n (h: f32[D] = 0) {{ h = sin(h + {m}[n] * {c}[n]) }}"),
                format!("for d => sum n => {m}[n, d] * {c}[n] * 0.3"),
                format!("w @ {r}"),
            ],
        };
        let text = match self.below(2) {
            0 => any[self.below(any.len())].clone(),
            _ => own[self.below(own.len())].clone(),
        };
        // Values stay small, so that rounding errors do.
        let name = format!("v{}", self.lines.len());
        self.lines.push(Line { name, ty, text });
    }
}

/// The program of the lines that the `last` ones of them need.
fn source(lines: &[Line]) -> String {
    let mut needed: Vec<&Line> = Vec::new();
    for line in lines.iter().rev() {
        let words = |text: &str| -> Vec<String> {
            text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_owned).collect()
        };
        if needed.is_empty() || needed.iter().any(|other| words(&other.text).contains(&line.name)) {
            needed.push(line);
        }
    }
    needed.reverse();
    let body: String = needed.iter().map(|line| format!("  let {} = {}\n", line.name, line.text)).collect();
    let last = &lines[lines.len() - 1].name;
    let arguments = "x: f32[N, D], w: f32[D, D], v: f32[N], r: f32[D], i: Idx[N][N]";
    format!(
        "fn value({arguments}) -> f32 where D >= 1 {{\n{body}  mean(tanh({last}))\n}}
fn gradient({arguments}) -> (f32[N, D], f32[D, D], f32[N], f32[D]) = grad(value)(x, w, v, r, i)\n"
    )
}

/// Everything that must hold of a program, or a panic.
fn holds(source: &str, seed: u64) {
    let check = |wide: bool| {
        let settings = Settings { wide, ..Settings::default() };
        let mut session = Session::of_text("random.nn", source, Path::new(env!("CARGO_MANIFEST_DIR")));
        let check = session.check(&settings, &|entry| matches!(entry, Entry::Def(_)));
        let shown = nnc::diag::render::render(&session.sources, &check.diagnostics, false);
        assert!(check.ok(), "{shown}");
        check.items
    };
    let sizes = [[3, 2], [1, 1], [5, 4]];
    let dims = |[n, d]: [i64; 2]| BTreeMap::from([(DimVar::new("N"), n), (DimVar::new("D"), d)]);
    for item in check(false) {
        for size in sizes {
            agree(item.core.as_ref().expect("a core"), Part::Body, &dims(size), &item.name);
        }
    }
    // Along one direction, in f64.
    let items = check(true);
    let graphs: Vec<_> = items
        .iter()
        .map(|item| {
            let core = item.core.as_ref().expect("a core");
            let settings = Settings { wide: true, ..Settings::default() };
            graph_of(
                core,
                Part::Body,
                &BTreeMap::new(),
                &settings,
                Some("elaborate"),
                &mut Default::default(),
            )
            .unwrap_or_else(|failure| panic!("{}", failure.message))
        })
        .collect();
    let at = dims(sizes[0]);
    let by_name: HashMap<DimVar, i64> = at.iter().map(|(var, value)| (var.clone(), *value)).collect();
    let mut draws = Draws(seed + 99);
    let point = inputs(&graphs[0], &at, &mut draws);
    let direction = inputs(&graphs[0], &at, &mut draws);
    let run = |graph: usize, inputs: &[Tensor]| -> Vec<Vec<f64>> {
        let values = interpret(&graphs[graph], inputs, &by_name).unwrap_or_else(|error| panic!("{error}"));
        values.iter().map(|value| value.numbers().map(|number| number.as_f64()).collect()).collect()
    };
    let moved = |by: f64| -> Vec<Tensor> {
        let pairs = point.iter().zip(&direction);
        let moved = pairs.map(|(x, v)| match x.dtype().is_float() {
            false => x.clone(),
            true => {
                let entries = x.numbers().zip(v.numbers()).map(|(x, v)| x.as_f64() + by * v.as_f64());
                Tensor::from_vec(x.shape(), entries.collect::<Vec<f64>>()).expect("the same shape")
            }
        });
        moved.collect()
    };
    let step = 1e-5;
    let difference = (run(0, &moved(step))[0][0] - run(0, &moved(-step))[0][0]) / (2.0 * step);
    let gradients = run(1, &point);
    let along: f64 = gradients
        .iter()
        .zip(direction.iter().filter(|v| v.dtype().is_float()))
        .flat_map(|(g, v)| g.iter().zip(v.numbers()).map(|(g, v)| g * v.as_f64()).collect::<Vec<_>>())
        .sum();
    // What stands behind a stopped gradient or a truncation is meant to differ.
    let cut = source.contains("stop_gradient") || source.contains("truncate");
    let close = (along - difference).abs() <= 1e-5 * (1.0 + along.abs().max(difference.abs()));
    assert!(cut || close, "the gradient is {along}, differences give {difference}");
}

fn passes(lines: &[Line], seed: u64) -> Result<(), String> {
    let source = source(lines);
    catch_unwind(AssertUnwindSafe(|| holds(&source, seed))).map_err(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

#[test]
fn random_programs_agree() {
    let only = std::env::var("NNC_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let begun = std::time::Instant::now();
    for seed in only.map_or(0..60, |seed| seed..seed + 1) {
        // On a slow machine fewer programs are tried.
        if begun.elapsed().as_secs() > 25 {
            println!("stopped in front of seed {seed}");
            return;
        }
        let mut generator = Generator { draws: Draws(seed * 7919 + 13), lines: Vec::new() };
        for _ in 0..4 + generator.below(6) {
            generator.line();
        }
        if passes(&generator.lines, seed).is_ok() {
            continue;
        }
        // The first value that fails, with what it needs.
        let mut lines = generator.lines;
        if let Some(count) = (1..lines.len()).find(|&count| passes(&lines[..count], seed).is_err()) {
            lines.truncate(count);
        }
        let problem = passes(&lines, seed).err().unwrap_or_default();
        panic!("NNC_SEED={seed}: {problem}\n{}", source(&lines));
    }
}
