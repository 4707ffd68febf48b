//! Random programs of layers: parameters and states, layers and functions as arguments, stacks, records, sorting, gathers and
//! scatters, scans with carried values, derivatives.

use super::expressions::{LIBRARY, Programs};

/// What the programs call besides: from rows `f32[K, 3]` to rows.
const LAYERS: &str = "layer wide(x: f32[K, 3]) -> f32[K, 3] = x + tanh(linear(3)(x))
layer pooled(x: f32[K, 3]) -> f32[K, 3] = x - 0.5 * linear(3)(mean(x, over: K))
layer looks(x: f32[K, 3]) -> f32[K, 3] {
  let (q, v) = (linear(3)(x), linear(3)(x))
  for t => { let a = softmax s => sum d => q[t, d] * x[s, d]
    for d => sum s => a[s] * v[s, d] }
}
layer looks_back(x: f32[K, 3]) -> f32[K, 3] {
  let q = linear(3)(x)
  for t => { let a = softmax s where s <= t => sum d => q[t, d] * x[s, d]
    for d => sum s where s <= t => a[s] * x[s, d] }
}
layer leaks(x: f32[K, 3]) -> f32[K, 3] {
  let q = linear(3)(x)
  for t => { let a = softmax s => sum d => q[t, d] * x[s, d]
    for d => sum s where s <= t => a[s] * x[s, d] }
}
layer drifts(x: f32[K, 3]) -> f32[K, 3] = x + linear(3)(shift(x, over: K, by: 1))
layer foresees(x: f32[K, 3]) -> f32[K, 3] = x + linear(3)(shift(x, over: K, by: -1))
layer recurs(x: f32[K, 3]) -> f32[K, 3] {
  param u: f32[3, 3] = glorot_uniform(fan_in: 3, fan_out: 3)
  scan t (h: f32[3] = 0, c: f32[3] = 0) {
    c = 0.5 * c + tanh(x[t] + h @ u)
    h = tanh(c) - 0.1 * h
    yield h
  }
}
layer recurs_back(x: f32[K, 3]) -> f32[K, 3] = scan reverse t (h: f32[3] = 0) { h = tanh(x[t] + 0.5 * h)
 yield h }
layer meters(x: f32[K, 3]) -> f32[K, 3] {
  state m: f32[3] = zeros
  let y = x - 0.5 * m
  m := 0.9 * m + 0.1 * mean(x, over: K)
  y
}
layer normed(x: f32[K, 3]) -> f32[K, 3] = x |> batch_norm(K)
layer modal(x: f32[K, 3]) -> f32[K, 3] = if training { x - mean(x, over: K) } else { tanh(x) }
layer plus(g: layer)(x: f32[K, 3]) -> f32[K, 3] = x + g(x)
layer twice(g: layer)(x: f32[K, 3]) -> f32[K, 3] = g(tanh(g(x)))
layer thrice(g: layer)(x: f32[K, 3]) -> f32[K, 3] { let h = x
 for w in [0.5, 0.25, 0.125] { h = h + w * g(h) }
 h }
fn centred(v: f32[K, 3]) -> f32[K, 3] = v - mean(v, over: K)
fn shifted(v: f32[K, 3]) -> f32[K, 3] = v + shift(v, over: K, by: 1)
fn past(v: f32[K, 3]) -> f32[K, 3] = for t, d => mean s where s <= t => v[s, d]
fn squashed(v: f32[K, 3]) -> f32[K, 3] = tanh(v) * v
fn apart(v: f32[K, 3]) -> (f32[K, 3], f32[3]) = (tanh(v), max(v, over: K))
fn energy(v: f32[K, 3]) -> f32 = sum i => sum j => tanh(v[i, 0] * v[j, 1] - v[i, 2])
fn own_energy(v: f32[K, 3]) -> f32 = sum i => tanh(v[i, 0] * v[i, 1] - v[i, 2])
fn next_energy(v: f32[K, 3]) -> f32 = sum i => if i + 1 in K { tanh(v[i, 0] * v[i + 1, 1]) } else { 0.0 }
fn ruled_rows(v: f32[K, 3]) -> f32[K, 3] { tanh(v) } grad(d) { d - mean(d, over: K) }
";

impl Programs {
    /// A whole program, whose definition is `f`.
    pub fn program(&mut self) -> String {
        // Of a dim everything is inferred; another kind refuses most of what is drawn.
        let kind = self.draws.pick(&["dim", "dim", "dim", "dim", "grid", "ring", "causal", "set", "batch"]);
        let (head, result, body) = match self.draws.below(5) {
            0..2 => {
                let (result, body) = self.of_expressions();
                ("fn", result, body)
            }
            _ => {
                let (result, body) = self.of_layers();
                ("layer", result, body)
            }
        };
        format!(
            "{LIBRARY}{LAYERS}{head} f(x: f32[{kind} N, 3], y: f32[N], g: f32[N, N], i: Idx[N][E], j: Idx[N][N], z: f32[E]) -> {result} = {body}\n"
        )
    }

    fn of_layers(&mut self) -> (String, String) {
        let mut lines = String::from("{ let h = x\n");
        let before = std::mem::replace(&mut self.rows, "h".to_owned());
        for _ in 0..1 + self.draws.below(4) {
            let rows = self.rows_of();
            lines += &format!("  h = {rows}\n");
        }
        let (result, last) = self.read_out();
        self.rows = before;
        (result, format!("{lines}  {last} }}"))
    }

    fn layer(&mut self) -> String {
        let plain = [
            "wide",
            "pooled",
            "looks",
            "looks_back",
            "leaks",
            "drifts",
            "foresees",
            "recurs",
            "recurs_back",
            "meters",
            "normed",
            "modal",
            "wide",
            "looks_back",
            "recurs",
        ];
        let one = self.draws.pick(&plain);
        match self.draws.below(8) {
            0 => format!("plus({one})"),
            1 => format!("twice({one})"),
            2 => format!("thrice({one})"),
            3 => "linear(3)".to_owned(),
            4 => format!("plus(fn(v) => {})", self.draws.pick(&["tanh(v)", "v * max(v)", "v[0 * 0] * v"])),
            _ => one.to_owned(),
        }
    }

    fn function(&mut self) -> &'static str {
        let all = ["centred", "shifted", "past", "squashed", "squashed", "ruled_rows"];
        all[self.draws.below(all.len())]
    }

    /// What the next rows are: `f32[N, 3]` of the rows h.
    fn rows_of(&mut self) -> String {
        let n = self.fresh();
        let over = [n.clone()];
        match self.draws.below(26) {
            0..4 => format!("{}(h)", self.layer()),
            4..6 => format!("h |> stack({}, {})", 2 + self.draws.below(2), self.layer()),
            6 => format!("iterate(2, {})(h)", self.function()),
            7 => format!("checkpoint {{ {}(h) }}", self.layer()),
            8 => {
                let of = self.draws.pick(&["energy", "own_energy", "next_energy"]);
                format!("grad({of})(h)")
            }
            9 => format!("grad(fn(v) => sum(tanh({}(v)) * v))(h)", self.function()),
            10 => {
                let term =
                    self.draws.pick(&["tanh(v[t, d])", "v[t, 0] * tanh(v[t, d])", "v[t, d] * mean(v)"]);
                let and = self.draws.pick(&["", ", u: N", ", u: 3", ", u: E"]);
                format!("grad(fn(v) => sum t: N, d: 3{and} => {term})(h)")
            }
            11 => format!("vjp({})(h, {})", self.function(), self.draws.pick(&["x", "h", "tanh(x)"])),
            12 => format!(
                "jvp({})(h, {})",
                self.function(),
                self.draws.pick(&["x", "h", "centred(x)", "shifted(x)"])
            ),
            13 => {
                let at = self.draws.pick(&[
                    "j[n]",
                    "j[j[n]]",
                    "argmax(y)",
                    "argsort(y)[n]",
                    "argsort(argsort(y))[n]",
                ]);
                if at.contains('(') && at.contains("[n]") {
                    return format!("(for n: N => h[{}] + x[n])", at.replace("[n]", "") + "[n]");
                }
                format!("(for n: N => h[{at}] + x[n])")
            }
            14 => "(for n: N, d => sum e where i[e] == n => z[e] * h[i[e], d])".to_owned(),
            15 => "(for n: N, d => sum m where j[m] == n => h[m, d])".to_owned(),
            16 => "(for n: N, d => max m where j[m] == j[n] => h[m, d])".to_owned(),
            17 => {
                let reverse = self.draws.pick(&["", "reverse "]);
                let first = self.draws.pick(&["0", "mean(h, over: N)", "h[0]"]);
                format!(
                    "(scan {reverse}t (a: f32[3] = {first}, b: f32[3] = 0) {{ b = 0.5 * a + b * 0.25\n a = tanh(h[t] + b)\n yield a - b }})"
                )
            }
            18 => {
                // What is carried has the axis.
                let n = self.fresh();
                let moved = self.draws.pick(&[
                    "shift(c, by: 1)",
                    "shift(c, by: -1)",
                    "c - mean(c)",
                    "tanh(c)",
                    "sort(c, into: R)[0 * 0] * c",
                    "for n: N => sum m where j[m] == n => c[m]",
                    "for n: N => sum m where m <= n => c[m]",
                ]);
                format!(
                    "(for {n}: N, d => h[{n}, d] + (scan k: 3 (c: f32[N] = y) {{ c = 0.5 * ({moved}) + (for n: N => h[n, k]) }})[{n}])"
                )
            }
            19 => "({ let (a, b) = apart(h)\n a * b })".to_owned(),
            20 => "assume equivariant(N) { flatten(h) as f32[N, 3] }".to_owned(),
            21 => {
                let key = self.draws.pick(&["y", "tanh(y)", "-y"]);
                let ties = self.draws.pick(&["", ", ties: any"]);
                match self.draws.below(3) {
                    0 => format!("({{ let t = top_k({key}, 2{ties})\n h * t.values[0] + h[t.indices[1]] }})"),
                    1 => format!("({{ let s = sort(h, by: {key}, over: N, into: R{ties})\n h + s[0] }})"),
                    _ => format!("({{ let t = top_k({key}, 2{ties})\n h * t.values[1] }})"),
                }
            }
            22 => {
                let by =
                    self.draws.pick(&["concat(h, x)", "concat(h, for n: N => [y[n]])", "concat(x, h, h)"]);
                format!("linear(3)({by})")
            }
            23 => {
                let window = self.draws.pick(&["n - m", "m - n", "(n - m) / 2", "(n - m) % 3"]);
                let guard = self.draws.pick(&["", "where m <= n", "where n - 2 <= m and m <= n + 1"]);
                let value = self.draws.pick(&["h[m, d]", "(h[m, d] + 0.5)"]);
                format!("(for n: N, d => sum m: N {guard} => {value} * tanh(({window}) as f32))")
            }
            24 => {
                let value = self.draws.pick(&["h[m, d]", "(h[m, d] + 0.5)"]);
                format!(
                    "({{ let r = for a: N, b: N => tanh(0.5 * ((a - b) as f32))\n for n: N, d => sum m: N => r[n, m] * {value} }})"
                )
            }
            _ => {
                let (first, second) = (self.scalar(&over, 2), self.scalar(&over, 1));
                format!("(for {n}: N => [{first}, {second}, h[{n}, 1]])")
            }
        }
    }

    fn read_out(&mut self) -> (String, String) {
        let (result, of) = match self.draws.below(10) {
            0..4 => ("f32[N, 3]", "h".to_owned()),
            4 => ("f32[N]", "for n: N => sum d => h[n, d]".to_owned()),
            5 => {
                let reducer = self.draws.pick(&["sum", "max", "mean"]);
                ("f32[3]", format!("{reducer}(h, over: N)"))
            }
            6 => ("(f32[N, 3], f32[3])", "(h, sum(h, over: N))".to_owned()),
            7 => ("Idx[N][N]", "for n: N => j[j[n]]".to_owned()),
            8 => ("f32[3]", "max(h[argmax(y)] * h, over: N)".to_owned()),
            _ => {
                let body = self.scalar(&["n".to_owned()], 2);
                return ("f32[N]".to_owned(), format!("for n: N => {body}"));
            }
        };
        (result.to_owned(), of)
    }
}
