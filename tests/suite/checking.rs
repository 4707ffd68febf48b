//! Programs as long as people write them are checked as a whole.

use std::fmt::Write;
use std::fs;

use super::command::nnc;

/// Definitions of the sorts that programs are made of, each with a number for `@`.
const DEFINITIONS: [&str; 10] = [
    "layer block_@(D: dim, hidden: dim)(x: f32[D]) -> f32[D] {
  let h = x |> layer_norm() |> linear(hidden) |> gelu
  let g = x |> linear(D) |> sigmoid
  x + g * linear(D)(h)
}",
    "layer heads_@(heads: dim)(x: f32[T, D]) -> f32[T, D] where D % heads == 0 {
  let q = linear(D)(x) as f32[T, heads, D / heads]
  let k = linear(D)(x) as f32[T, heads, D / heads]
  let v = linear(D)(x) as f32[T, heads, D / heads]
  let a = for t, h => softmax s => (sum e => q[t, h, e] * k[s, h, e]) / sqrt(D / heads)
  let y = for t, h, e => sum s => a[t, h, s] * v[s, h, e]
  flatten(y, over: (heads, D / heads)) |> linear(D)
}",
    "model classifier_@(H: dim = 64, C: dim = 10)(x: f32[set N, D]) -> f32[C] {
  let h = x |> linear(H) |> relu |> linear(H) |> relu
  let m = max(h, over: N)
  concat(m, mean(h, over: N)) |> linear(C)
}",
    "model vision_@(x: f32[grid H, grid W, 3]) -> f32[10] {
  let h = x |> conv2d(16, 3) |> relu |> conv2d(32, 3, stride: 2) |> relu
  let h = h + (h |> conv2d(32, 3) |> relu |> conv2d(32, 3))
  h |> mean(over: (H, W)) |> linear(10)
}",
    "fn energy_@(x: f32[set N, 3], q: f32[N]) -> f32 {
  let d = for i, j => sum c => (x[i, c] - x[j, c]) ** 2
  let e = for i, j => if i == j { 0 } else { q[i] * q[j] / sqrt(d[i, j] + 1e-6) }
  0.5 * sum(e)
}",
    "layer cell_@(H: dim)(x: f32[causal T, I]) -> f32[T, H] {
  let gates = linear(3 * H)
  scan t (h: f32[H] = 0) {
    let (r, z, n) = split(gates(concat(x[t], h)), 3)
    h = (1 - sigmoid(z)) * tanh(n + sigmoid(r)) + sigmoid(z) * h
    yield h
  }
}",
    "layer graph_@(H: dim)(x: f32[set N, D], src: Idx[N][set E], dst: Idx[N][E]) -> f32[N, H] {
  let msg = linear(H)
  let upd = linear(H)
  let m = for e => relu(msg(concat(x[src[e]], x[dst[e]])))
  let agg = for n => sum e where dst[e] == n => m[e]
  upd(concat(x, agg)) |> relu
}",
    "fn loss_@(z: f32[B, C], y: Idx[C][B], smoothing: f32 = 0.1) -> f32 {
  let p = log_softmax(z)
  let hit = mean b => -p[b, y[b]]
  let all = -mean(p)
  (1 - smoothing) * hit + smoothing * all
}",
    "model auto_@(x: f32[784]) -> f32[784] {
  let (mu, logvar) = x |> linear(256) |> relu |> linear(64) |> split(2)
  let z = mu + exp(logvar / 2) * random.normal(32)
  z |> linear(256) |> relu |> linear(784) |> sigmoid
}",
    "layer causal_block_@(D: dim)(x: f32[causal T, D]) -> f32[T, D] {
  let a = x + (x |> layer_norm() |> self_attention(4, causal: true))
  a + (a |> layer_norm() |> linear(4 * D) |> gelu |> linear(D))
}
model language_@(V: dim = 256, D: dim = 64)(x: Idx[V][causal T]) -> f32[T, V] {
  let h = embedding(V, D)(x)
  let h = h |> stack(4, causal_block_@(D))
  h |> layer_norm() |> linear(V)
}",
];

/// A program of at least so many lines.
fn program(lines: usize) -> String {
    let mut text = String::new();
    for number in 0.. {
        if text.lines().count() >= lines {
            break;
        }
        let definition = DEFINITIONS[number % DEFINITIONS.len()].replace('@', &number.to_string());
        let _ = writeln!(text, "{definition}\n");
    }
    text
}

fn check(lines: usize) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("long.nn"), program(lines)).unwrap();
    let ran = nnc(folder.path(), &["check", "--timings", "long.nn"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    ran.out + &ran.err
}

#[test]
fn a_program_of_many_sorts_of_definitions() {
    let shown = check(80);
    assert!(shown.contains("graph_6") && shown.contains("language_9"), "{shown}");
}

/// `cargo test --release --test main a_program_of_a_thousand_lines -- --ignored --nocapture` prints how long the check takes.
#[test]
#[ignore = "for its time"]
fn a_program_of_a_thousand_lines() {
    let shown = check(1000);
    println!("{}", shown.lines().find(|line| line.starts_with("parse")).unwrap_or_default());
}
