//! Programs that lie about an axis: what each claims must not be certified, and every weakening of the rules must make the
//! checker believe one of them.

use super::Mode;
use super::certificate::{Property, certify};
use super::core::Core;
use super::rules::weaken::{Weakening, all, with};
use super::tests::load;

use Property::{
    Causal, PermutationEquivariant as Equivariant, PermutationInvariant as Invariant, Pointwise,
    ShiftEquivariant as Cyclic, TranslationEquivariant as Translated,
};

/// A definition `f`, an axis of it, and a property that it does not have.
const TRAPS: &[(&str, &str, &str, Property)] = &[
    (
        "a parameter for each element",
        "layer f(x: f32[N]) -> f32[N] { param w: f32[N] = zeros\n x * w }",
        "N",
        Equivariant,
    ),
    (
        "flattened into a linear layer",
        "layer f(x: f32[N, 3]) -> f32[4] = flatten(x) |> linear(4)",
        "N",
        Invariant,
    ),
    (
        "a positional encoding",
        "fn f(x: f32[N]) -> f32[N] = for i => x[i] + (position(i) as f32)",
        "N",
        Equivariant,
    ),
    ("a parity", "fn f(x: f32[N]) -> f32[N] = for i => x[i] * ((position(i) % 2) as f32)", "N", Equivariant),
    ("a masked order", "fn f(x: f32[N]) -> f32[N] = for i => sum j where j <= i => x[j]", "N", Equivariant),
    (
        "an order as a value",
        "fn f(x: f32[N]) -> f32[N] = for i => sum j => if j < i { x[j] } else { 0 }",
        "N",
        Equivariant,
    ),
    ("a set reshaped", "fn f(x: f32[N, 2]) -> f32[2 * N] = flatten(x)", "N", Equivariant),
    (
        "reshaped and reduced",
        "fn f(x: f32[N, 4]) -> f32[N] = for n => sum j => (x as f32[4, N])[j, n]",
        "N",
        Equivariant,
    ),
    ("joined", "fn f(x: f32[N], y: f32[N]) -> f32 = sum((concat(x, y)) ** 2)", "N", Invariant),
    ("argmax as a number", "fn f(x: f32[N]) -> f32 = position(argmax(x)) as f32", "N", Invariant),
    ("a position as a number", "fn f(x: f32[N], i: Idx[N]) -> f32 = position(i) as f32", "N", Invariant),
    ("the first of the largest", "fn f(x: f32[N], y: f32[N]) -> f32 = y[argmax(x)]", "N", Invariant),
    (
        "sorted with a payload",
        "fn f(x: f32[N], y: f32[N]) -> f32 = { let s = sort(y, by: x)\n sum r => s[r] * (position(r) as f32) }",
        "N",
        Invariant,
    ),
    (
        "a recurrence over a set",
        "fn f(x: f32[N]) -> f32 = scan t (h: f32 = 0) { h = 0.5 * h + x[t] }",
        "N",
        Invariant,
    ),
    ("the first element", "fn f(x: f32[N]) -> f32 = x[0]", "N", Invariant),
    ("a slice", "fn f(x: f32[N]) -> f32 where N >= 1 = sum(x[0..N - 1])", "N", Invariant),
    ("flipped", "fn f(x: f32[N]) -> f32[N] = for i: N => x[N - 1 - i]", "N", Equivariant),
    ("a roll", "fn f(x: f32[N]) -> f32[N] = for i: N => x[(i + 1) % N]", "N", Equivariant),
    (
        "a convolution over a set",
        "fn f(x: f32[grid N]) -> f32[N] = for i: N => x[i - 1] + x[i + 1]",
        "N",
        Equivariant,
    ),
    (
        "pairs of a batch",
        "fn f(x: f32[N, 2]) -> f32[N / 2, 2] = for i: N / 2, c => max a: 2 => x[2*i + a, c]",
        "N",
        Equivariant,
    ),
    (
        "an end that is asked for",
        "fn f(x: f32[N]) -> f32[N] = for i => if i + 1 in N { x[i] } else { 0 }",
        "N",
        Equivariant,
    ),
    (
        "labels as plain integers",
        "fn g(z: f32[C], y: Idx[C]) -> f32 = z[y]\nfn f(z: f32[N], y: i64) -> f32 = g(z, y)",
        "N",
        Invariant,
    ),
    (
        "a class token as position",
        "fn f(x: f32[N, 2], i: Idx[N]) -> f32 = if i == 0 { 1 } else { x[i, 0] }",
        "N",
        Invariant,
    ),
    (
        "adjacency used along one axis",
        "fn f(a: f32[N, N], x: f32[N]) -> f32[N] = for i => sum j => a[j, i] * (position(j) as f32)",
        "N",
        Equivariant,
    ),
    (
        "two names of one size",
        "fn f(x: f32[N], y: f32[M]) -> f32[M] where N == M = for m => x[m] + y[m]",
        "N",
        Invariant,
    ),
    ("renamed to another name", "fn f(x: f32[N], y: f32[M]) -> f32[M] where N == M = x + y", "N", Invariant),
    ("mirrored on a grid", "fn f(x: f32[grid N]) -> f32[N] = for i: N => x[2 - i]", "N", Translated),
    (
        "weights of all distances",
        "fn f(x: f32[grid T]) -> f32[T] = for t: T => sum s => (x[s] + 1) * ((position(s) - position(t)) as f32)",
        "T",
        Translated,
    ),
    (
        "every second one, however far",
        "fn f(x: f32[grid T]) -> f32[T] = for t: T => sum s where (s - t) % 2 == 0 => x[s] + 1",
        "T",
        Translated,
    ),
    ("points added", "fn f(x: f32[grid N]) -> f32[N] = for i: N => sum j: N => x[i + j]", "N", Translated),
    ("stride without a rate", "fn f(x: f32[grid N]) -> f32[N] = for i: N => x[2 * i]", "N", Translated),
    (
        "a sum of what lies before",
        "fn f(x: f32[grid N]) -> f32[N] = for i => sum j where j <= i => x[j]",
        "N",
        Translated,
    ),
    ("an odd ring halved", "fn f(x: f32[N]) -> f32[N / 2] = for i: N / 2 => x[2 * i]", "N", Cyclic),
    (
        "every second entry of an odd ring",
        "fn f(x: f32[N]) -> f32 = sum i: N / 2 => x[2 * i]",
        "N",
        Property::ShiftInvariant,
    ),
    ("zeros around a ring", "fn f(x: f32[N]) -> f32[N] = shift(x, over: N, by: 1)", "N", Cyclic),
    ("all of an axis twice as long", "fn f(x: f32[2 * N]) -> f32 = sum(x)", "N", Invariant),
    ("an axis twice as long", "fn f(x: f32[2 * N]) -> f32[2 * N] = x", "N", Equivariant),
    ("the next entry", "fn f(x: f32[causal T]) -> f32[T] = for t: T => x[t + 1]", "T", Causal),
    (
        "a guard that lets the next entry in",
        "fn f(x: f32[T]) -> f32[T] = for t => sum s where s <= t + 1 => x[s]",
        "T",
        Causal,
    ),
    ("normalised over time", "fn f(x: f32[T]) -> f32[T] = x - mean(x)", "T", Causal),
    (
        "attention without a mask",
        "fn f(q: f32[T, D], v: f32[T]) -> f32[T] = for t => { let a = softmax s => sum d => q[t, d] * q[s, d]\n sum s where s <= t => a[s] * v[s] }",
        "T",
        Causal,
    ),
    (
        "a mask along the wrong axis",
        "fn f(x: f32[T]) -> f32[T] = for t => sum s where t <= s => x[s]",
        "T",
        Causal,
    ),
    ("token shift the wrong way", "fn f(x: f32[T]) -> f32[T] = x + shift(x, over: T, by: -1)", "T", Causal),
    ("what comes behind the start", "fn f(x: f32[ring T]) -> f32[T] = for t: T => x[t - 1]", "T", Causal),
    (
        "a scan backwards",
        "fn f(x: f32[T]) -> f32[T] = scan reverse t (h: f32 = 0) { h = 0.5 * h + x[t]\n yield h }",
        "T",
        Causal,
    ),
    (
        "the last carry for all",
        "fn f(x: f32[T]) -> f32[T] = { let last = scan t (h: f32 = 0) { h = h + x[t] }\n for t => x[t] * last }",
        "T",
        Causal,
    ),
    ("the length", "fn f(x: f32[T]) -> f32[T] = x / T", "T", Causal),
    ("an arm by the length", "fn f(x: f32[T]) -> f32[T] = if T > 4 { x } else { 2 * x }", "T", Causal),
    ("another rate", "fn f(x: f32[T]) -> f32[T / 2] = for q: T / 2 => x[2 * q]", "T", Causal),
    ("positions from values", "fn f(x: f32[T], i: Idx[T][T]) -> f32[T] = for t => x[i[t]]", "T", Causal),
    ("sorted", "fn f(x: f32[T]) -> f32[T] = { let s = sort(x)\n for t => x[t] * s[0] }", "T", Causal),
    (
        "the end that is seen",
        "fn f(x: f32[T]) -> f32[T] = for t => if t + 1 in T { x[t] } else { 0 }",
        "T",
        Causal,
    ),
    (
        "the gradient of a sum of the past",
        "fn f(x: f32[T]) -> f32[T] = grad(fn(v) => sum t => tanh(sum s where s <= t => v[s]))(x)",
        "T",
        Causal,
    ),
    ("a batch normalised", "fn f(x: f32[B, 3]) -> f32[B, 3] = x - mean(x, over: B)", "B", Pointwise),
    (
        "a number before its range is known",
        "fn f(x: f32[N]) -> f32 = sum i => (i as f32) * x[i]",
        "N",
        Invariant,
    ),
    (
        "a number of a range that is written",
        "fn f(x: f32[set N]) -> f32[N] where N == 8 = for i: 8 => (i as f32) * x[i]",
        "N",
        Equivariant,
    ),
    (
        "a position that is kept",
        "layer f(x: f32[N], q: Idx[N]) -> f32 where N >= 1 { state p: Idx[N] = argmax(random.uniform(N))\n let y = x[p]\n p := q\n y }",
        "N",
        Invariant,
    ),
    (
        "positions of two sets of one size",
        "fn f(x: f32[N], i: Idx[N], j: Idx[M]) -> f32 where N == M { let k = if x[i] > 0 { i } else { j }\n x[k] }",
        "N",
        Invariant,
    ),
    (
        "a carried position of another set",
        "fn f(x: f32[N], i: Idx[N], j: Idx[M], y: f32[4]) -> f32 where N == M { let k = scan t (p: Idx[N] = i) { p = if y[t] > 0 { j } else { p } }\n x[k] }",
        "N",
        Invariant,
    ),
    (
        "the length by the places of what is sorted",
        "fn f(x: f32[T]) -> f32[T] { let s = sort(x, into: R)\n let n = sum r: R => 1.0\n for t => x[t] / n }",
        "T",
        Causal,
    ),
    (
        "the last entry by a shorter axis",
        "fn f(x: f32[T]) -> f32[T] where T >= 1 = for t => if t in (T - 1) { x[t] } else { 0 }",
        "T",
        Pointwise,
    ),
    (
        "ones that end before the axis does",
        "fn f(x: f32[causal T]) -> f32[T] where T >= 2 { let h = for i: T => 1.0\n for t: T => x[t] * h[t + 1] }",
        "T",
        Causal,
    ),
    (
        "a rule of the past, forwards",
        "fn g(v: f32[T]) -> f32[T] { tanh(v) } grad(d) { for t: T => if t - 1 in T { d[t - 1] } else { 0 } }\nfn f(x: f32[T], d: f32[T]) -> f32[T] = jvp(g)(x, d)",
        "T",
        Causal,
    ),
    (
        "a rule that mixes samples",
        "fn g(v: f32[B]) -> f32[B] { tanh(v) } grad(d) { d - mean(d) }\nfn f(x: f32[B]) -> f32[B] = grad(fn(v) => sum(g(v)))(x)",
        "B",
        Pointwise,
    ),
    (
        "the derivative of neighbours",
        "fn f(x: f32[causal T]) -> f32[T] = grad(fn(v) => sum t: T => tanh(v[t] * v[t - 1]))(x)",
        "T",
        Causal,
    ),
    (
        "a batch's mean for the next batch",
        "layer f(x: f32[B]) -> f32[B] { state m: f32 = zeros\n let y = x - m\n m := 0.9 * m + 0.1 * mean(x)\n y }",
        "B",
        Pointwise,
    ),
    ("the second entry", "fn f(x: f32[T]) -> f32[T] where T >= 2 = for t => x[t] - x[1]", "T", Causal),
    (
        "the first entry of all",
        "fn f(x: f32[B]) -> f32[B] where B >= 1 = for b => x[b] - x[0]",
        "B",
        Pointwise,
    ),
    (
        "weights of a softmax with others",
        "fn f(x: f32[T]) -> f32[T] = for t => { let a = softmax s where s <= t => x[s]\n sum s => (a[s] + 0.1) * x[s] }",
        "T",
        Causal,
    ),
    (
        "weights of a softmax, transposed",
        "fn f(x: f32[T]) -> f32[T] { let a = for t => softmax s where s <= t => x[s]\n for t => sum s => a[s, t] * x[s] }",
        "T",
        Causal,
    ),
    (
        "a mask that leaves ones",
        "fn f(x: f32[T]) -> f32[T] = for t => sum s => if s <= t { x[s] } else { 1.0 }",
        "T",
        Causal,
    ),
    (
        "a masked mean",
        "fn f(x: f32[T]) -> f32[T] = for t => mean s => if s <= t { x[s] } else { 0.0 }",
        "T",
        Causal,
    ),
    (
        "how often a term counts",
        "fn f(x: f32[causal T]) -> f32[T] = grad(fn(v) => sum t: T, u: T => tanh(v[t]))(x)",
        "T",
        Causal,
    ),
    (
        "what carries hand on to each other",
        "fn f(x: f32[causal T]) -> f32[T] = scan t (a: f32 = 0, b: f32 = 0, c: f32 = 0, d: f32 = 0, e: f32 = 0, g: f32 = 0, h: f32 = 0, i: f32 = 0, j: f32 = 0, k: f32 = 0, l: f32 = 0) {\n  l = k\n  k = j\n  j = i\n  i = h\n  h = g\n  g = e\n  e = d\n  d = c\n  c = b\n  b = a\n  a = sum(x)\n  yield l + x[t]\n}",
        "T",
        Causal,
    ),
    (
        "distances of all, in a table",
        "fn f(x: f32[grid T]) -> f32[T] { let d = for s: T, t: T => (position(s) - position(t)) as f32\n for t: T => sum s => (x[s] + 1) * d[s, t] }",
        "T",
        Translated,
    ),
    (
        "distances of all, sorted",
        "fn f(x: f32[grid T]) -> f32[T] = for t: T => { let d = for s: T => (position(s) - position(t)) as f32 + x[s]\n let q = sort(d, into: R)\n sum r: R => q[r] * exp(-1.0 * (position(r) as f32)) }",
        "T",
        Translated,
    ),
    (
        "pairs on either side",
        "fn f(x: f32[grid T]) -> f32[T] = for t: T => sum s: T, u: T where s - t == t - u => (x[s] + 1) * (x[u] + 1)",
        "T",
        Translated,
    ),
    (
        "three points in one read",
        "fn f(x: f32[grid T]) -> f32[T] = for t: T => sum s: T, u: T => x[s + (u - t)]",
        "T",
        Translated,
    ),
    (
        "three points that lie inside",
        "fn f(x: f32[grid T]) -> f32[T] = for t: T => sum s: T, u: T where s + (u - t) in T => x[s] + 1",
        "T",
        Translated,
    ),
    (
        "all, reflected",
        "fn f(x: f32[grid T]) -> f32[T] = for t: T => sum s: T => x[t + (t - s)]",
        "T",
        Translated,
    ),
    (
        "a bound beyond the end of a shorter axis",
        "fn f(x: f32[causal T]) -> f32[T] where T >= 2 { let h = for q: T - 1 => sum s: T - 1 where q - 1 <= s and s <= q + 1 => x[s]\n for t: T => if t - 1 in (T - 1) { h[t - 1] } else { 0.0 } }",
        "T",
        Causal,
    ),
    (
        "an assumption about what enters it",
        "fn f(x: f32[set N]) -> f32[N] { let h = for i => x[i] * (position(i) as f32)\n assume equivariant(N) { tanh(h) } }",
        "N",
        Equivariant,
    ),
    (
        "a causal assumption about what enters it",
        "fn f(x: f32[causal T]) -> f32[T] { let h = x - mean(x)\n assume causal(T) { tanh(h) } }",
        "T",
        Causal,
    ),
    (
        "an assumption about a batch that enters it",
        "fn f(x: f32[batch B]) -> f32[B] { let h = x - mean(x)\n assume batch(B) { tanh(h) } }",
        "B",
        Pointwise,
    ),
    (
        "a step back that may be one forward",
        "fn f(k: dim)(x: f32[causal T]) -> f32[T] = for t: T => x[t - (k - 1)]",
        "T",
        Causal,
    ),
    (
        "a band as wide as a size",
        "fn f(k: dim)(x: f32[causal T]) -> f32[T] = for t: T => sum s where t - k <= s and s <= t + k => x[s]",
        "T",
        Causal,
    ),
    (
        "a window that ends behind its place",
        "fn f(k: dim)(x: f32[causal T]) -> f32[T] = for t: T => sum j: k + 2 => x[t - k + j]",
        "T",
        Causal,
    ),
    (
        "a learner that is told of the next step",
        "fn f(x: f32[causal T]) -> f32[T] = scan t: T (w: f32 = 0) { w = w - 0.1 * grad(fn(u) => (u - x[t + 1]) ** 2)(w)\n yield w }",
        "T",
        Causal,
    ),
    (
        "a rule of a learner that is told of the next step",
        "fn g(u: f32, y: f32) -> f32 { u * u } grad(d) { (d * y, 0.0) }\nfn f(x: f32[causal T]) -> f32[T] = for t: T => grad(fn(u) => g(u, x[t + 1]))(x[t])",
        "T",
        Causal,
    ),
    (
        "two halves of a ring as they come",
        "fn f(x: f32[R], w: f32[2]) -> f32[R] = for i: R => x[i] * w[i % 2]",
        "R",
        Cyclic,
    ),
    (
        "every second one, twice over",
        "fn f(x: f32[ring R]) -> f32[R] where R % 2 == 0 = for i: R => x[i / 2]",
        "R",
        Cyclic,
    ),
    (
        "a border, seen from how far round it is",
        "fn f(x: f32[R]) -> f32[R] { let g = shift(x * 0 + 1, over: R, by: 1)\n for i: R => sum j => g[j] * (position((i - j) % R) as f32) + x[j] }",
        "R",
        Translated,
    ),
    (
        "the middle of what is not sorted",
        "fn f(x: f32[N]) -> f32 where N >= 1 = x[(N - 1) / 2]",
        "N",
        Invariant,
    ),
    ("the neighbour in a batch", "fn f(x: f32[B]) -> f32[B] = for b: B => x[(b + 1) % B]", "B", Pointwise),
];

fn walked() -> Vec<Core> {
    let mode = Mode { training: true, ..Mode::default() };
    let walk =
        |source: &&str| load(source).item_in("f", mode.clone()).unwrap_or_else(|shown| panic!("{shown}"));
    TRAPS.iter().map(|(_, source, ..)| walk(source)).collect()
}

/// Whether the checker certifies what a trap claims.
fn believes((_, _, axis, property): &(&str, &str, &str, Property), core: &Core) -> bool {
    let (certificate, _) = certify("f", core, core);
    let theorem = certificate.axes.iter().find(|theorem| theorem.name == *axis).expect("an axis of `f`");
    theorem.holds.contains(property)
}

#[test]
fn no_trap_is_believed() {
    for (trap, core) in TRAPS.iter().zip(&walked()) {
        assert!(!believes(trap, core), "{}: {} is certified of\n{}", trap.0, trap.3, trap.1);
    }
}

#[test]
fn every_weakening_is_noticed() {
    let cores = walked();
    let noticed = || TRAPS.iter().zip(&cores).any(|(trap, core)| believes(trap, core));
    let missed: Vec<Weakening> = all().into_iter().filter(|&weakening| !with(weakening, noticed)).collect();
    assert!(missed.is_empty(), "no trap needs {missed:?}");
}

/// Weakenings that the traps alone show: whoever joins a set and reads what is joined, or sorts a causal axis, is refused for something else, too.
const NOT_IN_VERDICTS: &[Weakening] = &[Weakening::Demands("concat"), Weakening::Flow("sort")];

/// With a weakening in force, a program of `tests/golden/verdicts` that is refused is accepted.
#[test]
fn every_weakening_accepts_a_refused_program() {
    let text = include_str!("../../tests/golden/verdicts/refused.nn");
    let programs = text.split("\n--- ").skip(1).filter_map(|case| Some(case.split_once('\n')?.1));
    let mut cores = Vec::new();
    for program in programs {
        let loaded = load(program);
        if !loaded.has("f") {
            continue;
        }
        let walk = |training| loaded.item_in("f", Mode { training, ..Mode::default() });
        cores.extend(walk(true).ok().zip(walk(false).ok()));
    }
    let refused = |(training, inference): &(Core, Core)| {
        certify("f", training, inference).1.iter().any(crate::diag::Diagnostic::is_error)
    };
    // Some are refused for another choice of what is static.
    cores.retain(refused);
    assert!(cores.len() > 80, "{} programs of the verdicts are walked", cores.len());
    let accepted = || !cores.iter().all(refused);
    let missed = all().into_iter().filter(|&weakening| !with(weakening, accepted));
    let missed: Vec<Weakening> = missed.filter(|weakening| !NOT_IN_VERDICTS.contains(weakening)).collect();
    assert!(missed.is_empty(), "no refused program needs {missed:?}");
}
