//! Random scalar expressions over index variables of N and E, and the programs that are made of them.

use super::draws::Draws;

/// What the programs call.
pub const LIBRARY: &str = "fn ap(g: fn(f32[K]) -> f32[K])(v: f32[K]) -> f32[K] = g(v)
fn centre(v: f32[K]) -> f32[K] = v - mean(v)
fn before(v: f32[K]) -> f32[K] = shift(v, by: 1)
fn ruled(v: f32[K]) -> f32[K] { tanh(v) } grad(d) { shift(d, by: 1) }
";

/// Scalar expressions over index variables of N and E.
pub struct Programs {
    pub draws: Draws,
    pub names: usize,
    /// The f32[N, 3] whose entries expressions read.
    pub rows: String,
}

impl Programs {
    pub fn fresh(&mut self) -> String {
        self.names += 1;
        format!("b{}", self.names)
    }

    pub fn scalar(&mut self, over: &[String], depth: usize) -> String {
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
            9 if self.draws.below(2) == 0 => {
                // What a carry has read passes on from one to the next.
                let (b, body) = (self.fresh(), self.names);
                let first = match self.draws.below(2) {
                    0 => "mean(y)".to_owned(),
                    _ => self.scalar(std::slice::from_ref(&b), depth.min(2) - 1),
                };
                let carries: Vec<String> = (0..6).map(|index| format!("h{body}c{index}")).collect();
                let zeros: Vec<String> = carries.iter().map(|carry| format!("{carry}: f32 = 0")).collect();
                let moved: Vec<String> =
                    carries.windows(2).rev().map(|pair| format!("{} = {}\n", pair[1], pair[0])).collect();
                let scan = format!(
                    "(scan {b} ({}) {{ {}{} = {first} + 0.0 * y[{b}]\n yield {} }})",
                    zeros.join(", "),
                    moved.concat(),
                    carries[0],
                    carries[5]
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
        let v = match self.draws.below(4) {
            0 => format!("(for {b}: N => if {b} - 1 in N {{ {inner} }} else {{ 1.0 }})"),
            _ => format!("(for {b}: N => {inner})"),
        };
        let of = match self.draws.below(20) {
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
            14 if !over.is_empty() => {
                // As many places away, or as many steps, as there are entries.
                let (places, a) = (self.fresh(), self.binder(over));
                return format!(
                    "({{ let s = sort(y, into: R{places})\n sum {places}: R{places} => s[{places}] * {v}[({a} + {places}) % N] }})"
                );
            }
            15 => {
                let places = self.fresh();
                format!(
                    "({{ let s = sort(y, into: R{places})\n scan {places}: R{places} (h{places}: f32[N] = {v}) {{ h{places} = before(h{places}) * (1 + s[{places}]) }} }})"
                )
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
        match self.draws.below(5) {
            4 => format!("(sum {b}: N => exp(if {} {{ {body} }} else {{ 0.0 }}))", order(&b, which)),
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
        match self.draws.below(20) {
            11 => format!("({a} - 1) % N"),
            8 => format!("({a} + N / 2) % N"),
            9 => format!("(2 * {a} - {b}) % N"),
            10 => format!("2 * {a} - {b}"),
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
        match self.draws.below(10) {
            8..=9 => match self.draws.below(6) {
                0 => format!("(y[{a}] / N)"),
                1..=3 if a != b => format!("(0.1 * (position({a} - {b}) as f32))"),
                4 => format!("(if 2 * {a} in N {{ y[2 * {a}] }} else {{ 0.0 }})"),
                _ => format!("(if {a} + 1 in N {{ y[{a}] }} else {{ 1.0 }})"),
            },
            0 => format!("g[{a}, {b}]"),
            1 => format!("{}[{a}, {}]", self.rows, self.draws.below(3)),
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
            3 => format!("{a} {} 1 in N", self.draws.pick(&["-", "+"])),
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
        if reducer == "sum" && self.draws.below(6) == 0 {
            // Of an axis that ends earlier: whether its last entry is there says how long the other one is.
            return format!("(sum {b}: N - 1 {guard} => y[{b}])");
        }
        format!("({reducer} {b}: N {guard} => {body})")
    }

    /// A function of an expression.
    pub fn of_expressions(&mut self) -> (String, String) {
        // Large ones are often refused for several things at once, small ones for one alone.
        let depth = 1 + self.draws.below(4);
        match self.draws.below(8) {
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
        }
    }
}
