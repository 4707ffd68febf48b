//! Programs that lie about an axis: what each claims must not be certified, and every weakening of the rules must make the
//! checker believe one of them.

use super::certificate::{Property, certify};
use super::core::Core;
use super::rules::weaken::{Weakening, with};
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
    ("the neighbour in a batch", "fn f(x: f32[B]) -> f32[B] = for b: B => x[(b + 1) % B]", "B", Pointwise),
];

fn walked() -> Vec<Core> {
    let walk = |source: &&str| load(source).item("f").unwrap_or_else(|shown| panic!("{shown}"));
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
    let demands = [
        "input", "param", "number", "inside", "cast", "scalar", "read", "rename", "as index", "reshape",
        "concat", "reduce", "sort", "scan",
    ];
    let flows = ["read", "reduce", "size", "sort", "inside"];
    let others = [
        Weakening::AnyWeight,
        Weakening::AnyRound,
        Weakening::NoWrap,
        Weakening::OpenBand,
        Weakening::Reverse,
        Weakening::AnyRate,
        Weakening::Derivative,
    ];
    let table = demands.into_iter().map(Weakening::Demands).chain(flows.into_iter().map(Weakening::Flow));
    let cores = walked();
    let noticed = || TRAPS.iter().zip(&cores).any(|(trap, core)| believes(trap, core));
    let missed: Vec<Weakening> = table.chain(others).filter(|&weakening| !with(weakening, noticed)).collect();
    assert!(missed.is_empty(), "no trap needs {missed:?}");
}
