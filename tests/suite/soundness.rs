//! What the checker certifies holds: random programs over the primitives, run by the interpreter on inputs that are
//! permuted, shifted, translated and perturbed.
//!
//! `NNC_SEED=7 cargo test --release soundness` runs other programs, `NNC_PROGRAMS` more of them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::Path;

use nnc::axes::{DimVar, Ratio};
use nnc::check::Entry;
use nnc::check::certificate::{AxisTheorem, Property};
use nnc::check::core::{Constraint, ConstraintOp};
use nnc::elaborate::Part;
use nnc::graph::{Graph, interpret};
use nnc::session::{Session, Settings, graph_of};
use nnc::tensor::{DType, Tensor};

/// A generator that no library's version changes.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len())]
    }

    /// In (-1, 1).
    fn unit(&mut self) -> f64 {
        self.next() as f64 / (1u64 << 30) as f64 - 1.0
    }
}

// ---- programs ----------------------------------------------------------------------------------

/// What the programs call.
const LIBRARY: &str = "fn ap(g: fn(f32[K]) -> f32[K])(v: f32[K]) -> f32[K] = g(v)
fn centre(v: f32[K]) -> f32[K] = v - mean(v)
fn before(v: f32[K]) -> f32[K] = shift(v, by: 1)
fn ruled(v: f32[K]) -> f32[K] { tanh(v) } grad(d) { shift(d, by: 1) }
";

/// Scalar expressions over index variables of N and E.
struct Programs {
    draws: Draws,
    names: usize,
}

impl Programs {
    fn fresh(&mut self) -> String {
        self.names += 1;
        format!("b{}", self.names)
    }

    fn scalar(&mut self, over: &[String], depth: usize) -> String {
        let leaf = depth == 0 || self.draws.below(6) == 0;
        if over.is_empty() && leaf {
            return match self.draws.below(5) {
                0 => "mean(y)".into(),
                1 => "max(y)".into(),
                2 => "sum(x)".into(),
                3 => "y[argmax(y)]".into(),
                _ => "0.5".into(),
            };
        }
        if leaf {
            return self.entry(over);
        }
        let one = |cx: &mut Self| cx.scalar(over, depth - 1);
        match self.draws.below(22) {
            13..=14 => self.vector(over, depth),
            15..=16 => self.weighted(over, depth),
            17 => {
                let body = one(self);
                let number = self.binder_or(over, "argmax(y)");
                format!("({body} * (0.1 * (position({number}) as f32)))")
            }
            18 if !over.is_empty() => {
                let a = self.binder(over);
                format!("(({a} as f32) * {})", one(self))
            }
            19 if !over.is_empty() => {
                let (a, b) = (self.binder(over), self.binder(over));
                let k = self.fresh();
                let window = self.draws.pick(&["- 1", "- 2", "+ 1", ""]);
                let sign = self.draws.pick(&["+", "-"]);
                format!(
                    "(y[{b}] + sum {k}: 3 where {a} {sign} {k} {window} in N => y[{a} {sign} {k} {window}])"
                )
            }
            20 if !over.is_empty() => {
                let (a, b) = (self.binder(over), self.binder(over));
                let condition = self.condition(over, depth);
                format!("y[if {condition} {{ {a} }} else {{ {b} }}]")
            }
            0..=2 => {
                let (a, b) = (one(self), one(self));
                let op = self.draws.pick(&["+", "-", "*"]);
                format!("({a} {op} {b})")
            }
            3 => format!("tanh({})", one(self)),
            4..=6 => self.reduction(over, depth),
            7 => {
                let (a, b) = (one(self), one(self));
                let condition = self.condition(over, depth);
                format!("(if {condition} {{ {a} }} else {{ {b} }})")
            }
            8 => {
                let (b, body) = (self.fresh(), self.names);
                let inner = self.scalar(std::slice::from_ref(&b), depth.min(2) - 1);
                let reverse = self.draws.pick(&["", "reverse "]);
                let carry = format!("h{body}");
                let scan = format!(
                    "(scan {reverse}{b} ({carry}: f32 = 0) {{ {carry} = 0.5 * {carry} + {inner} + 0.0 * y[{b}]\n yield {carry} }})"
                );
                self.at(&scan, over)
            }
            9 => {
                // A value of its own, read like an input.
                let b = self.fresh();
                let inner = self.scalar(std::slice::from_ref(&b), depth - 1);
                self.at(&format!("(for {b}: N => {inner})"), over)
            }
            10 => {
                let (b, q) = (self.fresh(), self.fresh());
                let inner = self.scalar(std::slice::from_ref(&b), depth.min(2) - 1);
                let stride = format!("(for {b}: N => {inner})");
                let half = self.draws.pick(&["N / 2", "(N + 1) / 2"]);
                let reducer = self.draws.pick(&["sum", "max", "mean"]);
                format!("({reducer} {q}: {half} where 2*{q} in N => {stride}[2*{q}])")
            }
            11 => {
                let b = self.fresh();
                let derivative = "grad(fn(v) => sum(tanh(v) * v * mean(v)))(y)";
                let local = format!("grad(fn(v) => sum {b} => tanh(v[{b}]) * v[{b}])(y)");
                let of = if self.draws.below(2) == 0 { derivative.to_owned() } else { local };
                self.at(&of, over)
            }
            _ => {
                let kind = self.draws.pick(&[
                    "sort(y)",
                    "softmax(y)",
                    "shift(y, over: N, by: 1)",
                    "shift(y, by: -1)",
                ]);
                match (kind, over.is_empty()) {
                    ("sort(y)", _) => "(sum(sort(y) ** 2))".into(),
                    (other, false) => self.at(other, over),
                    (other, true) => format!("sum({other})"),
                }
            }
        }
    }

    /// An entry of a vector that calls, functions as arguments, derivatives, joins and shorter axes have made.
    fn vector(&mut self, over: &[String], depth: usize) -> String {
        let b = self.fresh();
        let inner = self.scalar(std::slice::from_ref(&b), depth.min(2) - 1);
        let v = format!("(for {b}: N => {inner})");
        let of = match self.draws.below(15) {
            0 => format!("ap(centre)({v})"),
            1 => format!("ap(before)({v})"),
            2 => format!("ap(fn(v) => v * v[0 * 0])({v})"),
            3 => format!("iterate(2, before)({v})"),
            4 => format!("iterate(2, centre)({v})"),
            5 => format!("grad(fn(v) => sum(ruled(v)))({v})"),
            6 => format!("jvp(ruled)({v}, y)"),
            7 => format!("jvp(before)({v}, y)"),
            8 => format!("grad(fn(v) => sum({v} * tanh(v)))(y)"),
            9 => format!("checkpoint {{ {v} }}"),
            10 => "(x as f32[3, N])[1]".to_owned(),
            11 => "(flatten(x) as f32[N, 3])[.., 2]".to_owned(),
            12 => {
                let places = self.fresh();
                return format!(
                    "({{ let s = sort({v}, into: R{places})\n sum {places}: R{places} => s[{places}] * exp(-1.0 * (position({places}) as f32)) }})"
                );
            }
            13 => {
                let places = self.fresh();
                return format!("({{ let s = sort(y, into: R{places})\n sum {places}: R{places} => 1.0 }})");
            }
            _ => {
                // An axis that ends elsewhere.
                let Some(first) = over.first() else { return format!("sum(concat({v}, y))") };
                let (length, index) = match self.draws.below(4) {
                    0 => ("N - 1", first.clone()),
                    1 => ("N / 2", format!("{first} / 2")),
                    2 => ("(N + 1) / 2", format!("{first} / 2")),
                    _ => ("N + 2", format!("{first} + 1")),
                };
                let q = self.fresh();
                return format!(
                    "({{ let w = for {q}: {length} => if {q} in N {{ y[{q}] }} else {{ 1.0 }}\n if {index} in ({length}) {{ w[{index}] }} else {{ 0.5 }} }})"
                );
            }
        };
        self.at(&of, over)
    }

    /// A sum whose terms are weighted by masks or by a softmax.
    fn weighted(&mut self, over: &[String], depth: usize) -> String {
        let Some(a) = over.first().cloned() else { return "sum(softmax(y) * y)".to_owned() };
        let (b, c) = (self.fresh(), self.fresh());
        let inner = [over, std::slice::from_ref(&b)].concat();
        let body = self.scalar(&inner, depth.min(2) - 1);
        let order = |b: &str, at: usize| match at {
            0 => format!("{b} <= {a}"),
            1 => format!("not ({b} > {a})"),
            2 => format!("{a} <= {b}"),
            3 => format!("({b} - {a}) % N == 1"),
            _ => format!("{b} <= {a} and {a} - {b} < 2"),
        };
        let which = self.draws.below(5);
        match self.draws.below(4) {
            0 => format!("(sum {b}: N => if {} {{ {body} }} else {{ 0.0 }})", order(&b, which)),
            1 => format!("(sum {b}: N => (if {} {{ 1.0 }} else {{ 0.0 }}) * {body})", order(&b, which)),
            2 => format!(
                "({{ let w = softmax {c}: N where {} => y[{c}]\n sum {b}: N => w[{b}] * {body} }})",
                order(&c, which)
            ),
            _ => format!("(sum {b}: N => if {} {{ {body} }} else {{ 0.5 }})", order(&b, which)),
        }
    }

    fn binder_or(&mut self, over: &[String], other: &str) -> String {
        if over.is_empty() { other.to_owned() } else { self.binder(over) }
    }

    /// One entry of a vector over N.
    fn at(&mut self, of: &str, over: &[String]) -> String {
        if over.is_empty() {
            return format!("(sum({of}))");
        }
        let index = self.index(over);
        format!("{of}[{index}]")
    }

    fn binder(&mut self, over: &[String]) -> String {
        over[self.draws.below(over.len())].clone()
    }

    /// Mostly a plain binder; otherwise what only some kinds allow.
    fn index(&mut self, over: &[String]) -> String {
        let (a, b) = (self.binder(over), self.binder(over));
        match self.draws.below(16) {
            0 => format!("{a} - 1"),
            1 => format!("{a} + 1"),
            2 => format!("{a} - 2"),
            3 => format!("({a} + 1) % N"),
            4 => format!("N - 1 - {a}"),
            5 => format!("{a} + {b}"),
            6 => format!("{a} / 2"),
            7 => "0".into(),
            _ => a,
        }
    }

    fn entry(&mut self, over: &[String]) -> String {
        let (a, b) = (self.binder(over), self.binder(over));
        match self.draws.below(8) {
            0 => format!("g[{a}, {b}]"),
            1 => format!("x[{a}, {}]", self.draws.below(3)),
            2 => "0.25".into(),
            3 if self.draws.below(3) == 0 => format!("(0.1 * (position({a}) as f32))"),
            _ => self.at("y", over),
        }
    }

    fn condition(&mut self, over: &[String], depth: usize) -> String {
        if over.is_empty() {
            return format!("{} > 0.0", self.scalar(over, depth - 1));
        }
        let (a, b) = (self.binder(over), self.binder(over));
        match self.draws.below(10) {
            0 => format!("{a} == {b}"),
            1 => format!("{a} <= {b}"),
            2 => format!("{a} % 2 == 0"),
            3 => format!("{a} - 1 in N"),
            4 => format!("{a} < 1"),
            _ => format!("{} > 0.0", self.scalar(over, depth - 1)),
        }
    }

    fn reduction(&mut self, over: &[String], depth: usize) -> String {
        let b = self.fresh();
        let mut inner = over.to_vec();
        inner.push(b.clone());
        let reducer = self.draws.pick(&["sum", "max", "mean", "logsumexp"]);
        if self.draws.below(5) == 0 && !over.is_empty() {
            let a = self.binder(over);
            return format!("(sum {b}: E where i[{b}] == {a} => z[{b}])");
        }
        if self.draws.below(5) == 0 {
            return format!("(sum {b}: E => z[{b}] * y[i[{b}]])");
        }
        let body = self.scalar(&inner, depth - 1);
        let guard = match over.first() {
            None => String::new(),
            Some(_) => {
                let a = self.binder(over);
                match self.draws.below(9) {
                    0 => format!("where {b} <= {a}"),
                    1 => format!("where {b} < {a}"),
                    2 => format!("where {a} <= {b}"),
                    3 => format!("where {b} <= {a} + 1"),
                    4 => format!("where {b} == {a}"),
                    5 => format!("where {a} - 2 <= {b} and {b} <= {a}"),
                    6 => format!("where {a} - 1 <= {b} and {b} <= {a} + 1"),
                    _ => String::new(),
                }
            }
        };
        // What a guard leaves out of a maximum or a mean is infinite or no number: sums take their place.
        let reducer = if guard.is_empty() { reducer } else { "sum" };
        format!("({reducer} {b}: N {guard} => {body})")
    }

    fn program(&mut self) -> String {
        let kind = self.draws.pick(&["dim", "grid", "ring", "causal", "set", "batch"]);
        let depth = 2 + self.draws.below(3);
        let (result, body) = match self.draws.below(8) {
            0 => ("f32".to_owned(), self.scalar(&[], depth)),
            1 => {
                let over = ["n".to_owned(), "m".to_owned()];
                ("f32[N, N]".to_owned(), format!("for n: N, m: N => {}", self.scalar(&over, depth)))
            }
            2 => {
                let body = self.scalar(&["n".to_owned()], depth - 1);
                (
                    "f32[N / 2]".to_owned(),
                    format!("{{ let v = for n: N => {body}\n  for q: N / 2 => v[2*q] }}"),
                )
            }
            3 => {
                let body = self.scalar(&["n".to_owned()], depth - 1);
                ("f32[2*N]".to_owned(), format!("{{ let v = for n: N => {body}\n  for q: 2*N => v[q / 2] }}"))
            }
            _ => ("f32[N]".to_owned(), format!("for n: N => {}", self.scalar(&["n".to_owned()], depth))),
        };
        format!(
            "{LIBRARY}fn f(x: f32[{kind} N, 3], y: f32[N], g: f32[N, N], i: Idx[N][E], z: f32[E]) -> {result} = {body}\n"
        )
    }
}

// ---- running them ------------------------------------------------------------------------------

/// A program with its graph; all its inputs and outputs by the sizes of their axes.
struct Run {
    graph: Graph,
    size: i64,
    /// What the program wants of its sizes.
    conditions: Vec<Constraint>,
}

const EDGES: i64 = 5;

impl Run {
    /// Whether the program can be run with these sizes.
    fn fits(&self) -> bool {
        let dims: BTreeMap<DimVar, i64> = self.dims().into_iter().collect();
        self.conditions.iter().all(|condition| {
            match (condition.left.eval(&dims), condition.right.eval(&dims), condition.op) {
                (Ok(left), Ok(right), ConstraintOp::Eq) => left == right,
                (Ok(left), Ok(right), ConstraintOp::Le) => left <= right,
                (Ok(left), Ok(right), ConstraintOp::Lt) => left < right,
                _ => false,
            }
        })
    }

    fn dims(&self) -> HashMap<DimVar, i64> {
        HashMap::from([(DimVar::new("N"), self.size), (DimVar::new("E"), EDGES)])
    }

    fn shapes(&self) -> Vec<Vec<usize>> {
        let dims: BTreeMap<DimVar, i64> = self.dims().into_iter().collect();
        let size = |axis| self.graph.axes[axis].size.eval(&dims).expect("a size") as usize;
        self.graph.inputs.iter().map(|input| input.order.iter().map(|&axis| size(axis)).collect()).collect()
    }

    fn run(&self, inputs: &[Vec<f64>]) -> (Vec<usize>, Vec<f64>) {
        let given: Vec<Tensor> = inputs
            .iter()
            .zip(self.shapes())
            .zip(&self.graph.inputs)
            .map(|((entries, shape), input)| {
                Tensor::from_vec(&shape, entries.clone()).expect("as many entries").cast(input.dtype)
            })
            .collect();
        let outputs =
            interpret(&self.graph, &given, &self.dims()).unwrap_or_else(|error| panic!("{error:?}"));
        (outputs[0].shape().to_vec(), outputs[0].cast(DType::F64).as_slice::<f64>().expect("f64").to_vec())
    }

    /// Whether an input's axis of this number runs over N: by name, not by size.
    fn over(&self, input: usize) -> Vec<bool> {
        let order = &self.graph.inputs[input].order;
        order.iter().map(|&axis| self.graph.axes[axis].size.to_string() == "N").collect()
    }

    /// Inputs whose entries along N are moved by a map of positions; positions on N move with them.
    fn moved(&self, inputs: &[Vec<f64>], to: &dyn Fn(usize) -> usize) -> Vec<Vec<f64>> {
        let shapes = self.shapes();
        (0..inputs.len())
            .map(|index| {
                let over = self.over(index);
                let mut moved = relabel(&inputs[index], &shapes[index], &over, to);
                if self.graph.inputs[index].bound.is_some() {
                    moved.iter_mut().for_each(|entry| *entry = to(*entry as usize) as f64);
                }
                moved
            })
            .collect()
    }
}

fn coordinates(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut found = vec![0; shape.len()];
    for (place, size) in found.iter_mut().zip(shape).rev() {
        *place = flat % size;
        flat /= size;
    }
    found
}

/// `out[π(i)] = entries[i]` along the axes that `over` names.
fn relabel(entries: &[f64], shape: &[usize], over: &[bool], to: &dyn Fn(usize) -> usize) -> Vec<f64> {
    let mut moved = vec![0.0; entries.len()];
    for (flat, entry) in entries.iter().enumerate() {
        let at = coordinates(flat, shape);
        let target = at.iter().zip(over).zip(shape);
        let target = target
            .fold(0, |flat, ((&place, &over), &size)| flat * size + if over { to(place) } else { place });
        moved[target] = *entry;
    }
    moved
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
}

fn inputs(run: &Run, draws: &mut Draws) -> Vec<Vec<f64>> {
    let shapes = run.shapes();
    let bound = |index: usize| run.graph.inputs[index].bound.is_some();
    (0..shapes.len())
        .map(|index| {
            let count = shapes[index].iter().product();
            (0..count)
                .map(|_| if bound(index) { draws.below(run.size as usize) as f64 } else { draws.unit() })
                .collect()
        })
        .collect()
}

// ---- properties --------------------------------------------------------------------------------

/// The first difference between what is certified and what is computed.
fn refute(
    graph: &Graph,
    conditions: &[Constraint],
    theorem: &AxisTheorem,
    draws: &mut Draws,
) -> Option<String> {
    let run = |size| Run { graph: graph.clone(), size, conditions: conditions.to_vec() };
    if [5, 6, 44].iter().any(|&size| !run(size).fits()) {
        return None;
    }
    for property in &theorem.holds {
        if matches!(property, Property::Pointwise | Property::Causal) {
            let size = 4 + draws.below(3) as i64;
            if let Some(found) = lengthened(&run(size), &run(size + 1 + draws.below(2) as i64), draws) {
                return Some(format!("{property}, with more entries: {found}"));
            }
        }
        let found = match property {
            // What is drawn has no two entries that are equal.
            Property::PermutationInvariant
            | Property::PermutationEquivariant
            | Property::PermutationEquivariantExceptTies => permuted(&run(5), draws),
            Property::ShiftInvariant | Property::ShiftEquivariant => cyclic(&run(6), theorem, draws),
            Property::TranslationInvariant | Property::TranslationEquivariant => {
                translated(&run(44), theorem, draws)
            }
            Property::Pointwise => perturbed(&run(5), draws, &|out, place| out != place),
            Property::Causal => perturbed(&run(5), draws, &|out, place| out < place),
        };
        if let Some(found) = found {
            return Some(format!("{property}: {found}"));
        }
    }
    None
}

fn compare(shape: &[usize], left: &[f64], right: &[f64]) -> Option<String> {
    let differs = left.iter().zip(right).position(|(a, b)| !close(*a, *b))?;
    Some(format!("entry {:?}: {} and {}", coordinates(differs, shape), left[differs], right[differs]))
}

fn permuted(run: &Run, draws: &mut Draws) -> Option<String> {
    let given = inputs(run, draws);
    let size = run.size as usize;
    let mut to: Vec<usize> = (0..size).collect();
    for last in (1..size).rev() {
        to.swap(last, draws.below(last + 1));
    }
    let (shape, before) = run.run(&given);
    let (_, after) = run.run(&run.moved(&given, &|place| to[place]));
    let over: Vec<bool> = shape.iter().map(|&own| own == size).collect();
    compare(&shape, &relabel(&before, &shape, &over, &|place| to[place]), &after)
}

/// How far an output's axis moves when N moves by `by`: one of N / 2 entries moves half as far.
fn moves(size: usize, own: usize, by: usize) -> Option<usize> {
    let rate = Ratio::new(size as i64, own as i64)?;
    usize::try_from(Ratio::whole(by as i64).div(rate)?.as_whole()?).ok()
}

fn cyclic(run: &Run, theorem: &AxisTheorem, draws: &mut Draws) -> Option<String> {
    let period = theorem.grid.as_ref().map_or(1, |grid| grid.period) as usize;
    let size = run.size as usize;
    let by = period * (1 + draws.below(2));
    let given = inputs(run, draws);
    let (shape, before) = run.run(&given);
    let (_, after) = run.run(&run.moved(&given, &|place| (place + by) % size));
    let mut expected = before;
    for axis in 0..shape.len() {
        let only: Vec<bool> = (0..shape.len()).map(|other| other == axis).collect();
        let Some(step) = moves(size, shape[axis], by) else {
            return Some(format!("an axis of {} entries cannot move by {by}", shape[axis]));
        };
        expected = relabel(&expected, &shape, &only, &|place| (place + step) % shape[axis]);
    }
    compare(&shape, &expected, &after)
}

/// Inputs that are zero near the border before and after: outputs agree away from it.
fn translated(run: &Run, theorem: &AxisTheorem, draws: &mut Draws) -> Option<String> {
    const MARGIN: usize = 18;
    let period = theorem.grid.as_ref().map_or(1, |grid| grid.period) as usize;
    if period > 4 {
        return None;
    }
    let size = run.size as usize;
    let inside = MARGIN..size - MARGIN - period;
    let shapes = run.shapes();
    let mut given = inputs(run, draws);
    for (index, entries) in given.iter_mut().enumerate() {
        let over = run.over(index);
        let bound = run.graph.inputs[index].bound.is_some();
        for (flat, entry) in entries.iter_mut().enumerate() {
            let at = coordinates(flat, &shapes[index]);
            if at.iter().zip(&over).any(|(place, over)| *over && !inside.contains(place)) {
                *entry = 0.0;
            }
            if bound {
                *entry = (inside.start + *entry as usize % inside.len()) as f64;
            }
        }
    }
    let (shape, before) = run.run(&given);
    // What is moved over the end is zero.
    let (_, after) = run.run(&run.moved(&given, &|place| (place + period) % size));
    for (flat, entry) in before.iter().enumerate() {
        let at = coordinates(flat, &shape);
        let mut target = 0;
        let mut near = false;
        for (&place, &own) in at.iter().zip(&shape) {
            let step = moves(size, own, period)?;
            let margin = MARGIN.saturating_sub(6) * own / size;
            near |= place < margin || place + step + margin >= own;
            target = target * own + (place + step) % own;
        }
        if !near && !close(*entry, after[target]) {
            return Some(format!("entry {at:?}: {entry} and {} after moving by {period}", after[target]));
        }
    }
    None
}

/// Appending entries changes no earlier one.
fn lengthened(run: &Run, longer: &Run, draws: &mut Draws) -> Option<String> {
    if !run.fits() || !longer.fits() {
        return None;
    }
    let given = inputs(run, draws);
    let mut more = inputs(longer, draws);
    for (index, entries) in given.iter().enumerate() {
        let (short, long) = (&run.shapes()[index], &longer.shapes()[index]);
        for (flat, entry) in entries.iter().enumerate() {
            let at = coordinates(flat, short);
            let target = at.iter().zip(long).fold(0, |flat, (place, size)| flat * size + place);
            more[index][target] = *entry;
        }
    }
    let ((shape, before), (long, after)) = (run.run(&given), longer.run(&more));
    // A result without the axis may depend on all of it.
    if shape == long {
        return None;
    }
    for (flat, entry) in before.iter().enumerate() {
        let at = coordinates(flat, &shape);
        let target = at.iter().zip(&long).fold(0, |flat, (place, size)| flat * size + place);
        if !close(*entry, after[target]) {
            return Some(format!(
                "entry {at:?} of {} and of {}: {entry} and {}",
                run.size, longer.size, after[target]
            ));
        }
    }
    None
}

/// Changing the entries at one place changes no output of which `spared` says so.
fn perturbed(run: &Run, draws: &mut Draws, spared: &dyn Fn(usize, usize) -> bool) -> Option<String> {
    let size = run.size as usize;
    let given = inputs(run, draws);
    let place = draws.below(size);
    let shapes = run.shapes();
    let mut other = given.clone();
    for (index, entries) in other.iter_mut().enumerate() {
        let over = run.over(index);
        for (flat, entry) in entries.iter_mut().enumerate() {
            let at = coordinates(flat, &shapes[index]);
            if at.iter().zip(&over).any(|(own, over)| *over && *own == place) {
                *entry = draws.unit();
            }
        }
    }
    let ((shape, before), (_, after)) = (run.run(&given), run.run(&other));
    for (flat, (a, b)) in before.iter().zip(&after).enumerate() {
        let at = coordinates(flat, &shape);
        let along = at.iter().zip(&shape).filter(|(_, own)| **own == size).map(|(at, _)| *at);
        let all_spared = along.clone().count() > 0 && along.clone().all(|out| spared(out, place));
        if all_spared && !close(*a, *b) {
            return Some(format!("entry {at:?} changes with entry {place}: {a} and {b}"));
        }
    }
    None
}

#[test]
fn what_is_certified_holds() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (seed, count) = (number("NNC_SEED", 1), number("NNC_PROGRAMS", 400));
    println!("seed {seed}, {count} programs");
    let mut failures = String::new();
    let (mut checked, mut theorems) = (0, BTreeMap::<&str, usize>::new());
    for index in 0..count {
        let mut programs =
            Programs { draws: Draws(seed.wrapping_mul(1_000_003).wrapping_add(index * 7919)), names: 0 };
        let source = programs.program();
        let mut session = Session::of_text("test.nn", &source, Path::new(env!("CARGO_MANIFEST_DIR")));
        let settings = Settings { wide: true, ..Settings::default() };
        let check = session.check(&settings, &|entry| matches!(entry, Entry::Def(_)));
        let Some(item) = check.items.iter().find(|item| item.name == "f") else { continue };
        let (Some(core), Some(certificate)) = (&item.core, &item.certificate) else { continue };
        let graph = graph_of(core, Part::Body, &BTreeMap::new(), &settings, None, &mut Default::default());
        let Ok(graph) = graph else { continue };
        checked += 1;
        let theorem = certificate.axes.iter().find(|axis| axis.name == "N").expect("N has a theorem");
        for property in &theorem.holds {
            *theorems.entry(property.as_str()).or_default() += 1;
        }
        for _ in 0..2 {
            if let Some(found) = refute(&graph, &core.constraints, theorem, &mut programs.draws) {
                let _ = writeln!(failures, "program {index} of seed {seed}: {found}\n{source}");
                break;
            }
        }
    }
    println!("{checked} well-formed programs, {theorems:?}");
    assert!(failures.is_empty(), "{failures}");
    assert!(checked * 3 > count, "{checked} of {count} programs are well-formed");
    assert!(theorems.values().all(|count| *count >= 1) && theorems.len() >= 8, "{theorems:?}");
}
