//! Definitions and train blocks through the checker.

use std::sync::Arc;

use crate::base::{Name, Sources};
use crate::diag::Diagnostic;
use crate::syntax;
use crate::tensor::DType;

use super::certificate::{Property, certify};
use super::core::Core;
use super::train::{DataSource, Header, Headers, Overrides, TrainPlan, check_train};
use super::{Alone, Checker, Entry, Mode, Program, can_be_checked_alone, show_type, show_val};

const LIBRARY: [(&str, &str); 6] = [
    ("activations", include_str!("../../stdlib/activations.nn")),
    ("init", include_str!("../../stdlib/init.nn")),
    ("layers", include_str!("../../stdlib/layers.nn")),
    ("losses", include_str!("../../stdlib/losses.nn")),
    ("metrics", include_str!("../../stdlib/metrics.nn")),
    ("optim", include_str!("../../stdlib/optim.nn")),
];

struct Digits;

impl Headers for Digits {
    fn header(&self, _: &DataSource) -> Result<Header, Box<Diagnostic>> {
        let x = (Name::new("x"), DType::F32, vec![1797, 8, 8, 1]);
        Ok(Header { arrays: vec![x, (Name::new("y"), DType::I64, vec![1797])], symbols: None, classes: None })
    }
}

pub struct Loaded {
    sources: Sources,
    program: Program,
    user: super::Scope,
}

pub fn load(source: &str) -> Loaded {
    let mut sources = Sources::new();
    let mut program = Program::default();
    for (module, text) in LIBRARY {
        let file = sources.add(format!("std/{module}.nn"), text);
        program.add_library(module, file, text);
    }
    let file = sources.add("test.nn", source);
    let parsed = syntax::parse(&sources, file);
    assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
    let (user, _) = program.add(parsed.file);
    Loaded { sources, program, user }
}

impl Loaded {
    pub fn item(&self, name: &str) -> Result<Core, String> {
        self.item_in(name, Mode::default())
    }

    pub fn item_in(&self, name: &str, mode: Mode) -> Result<Core, String> {
        for entry in self.program.items(self.user) {
            if let Entry::Def(def) = entry
                && def.name.name == name
            {
                assert_eq!(can_be_checked_alone(def, &[]), Alone::Yes);
                let mut checker = Checker::new(&self.program, mode);
                let done = checker.item(def, self.user, &[]);
                if done.is_err() || !checker.diagnostics.is_empty() {
                    return Err(self.show(&checker.diagnostics));
                }
                return Ok(checker.core);
            }
        }
        panic!("no definition {name}")
    }

    /// Whether the file has this definition, and it can be checked by itself.
    pub fn has(&self, name: &str) -> bool {
        self.program.items(self.user).iter().any(|entry| {
            matches!(entry, Entry::Def(def) if def.name.name == name && can_be_checked_alone(def, &[]) == Alone::Yes)
        })
    }

    pub fn show(&self, diagnostics: &[Diagnostic]) -> String {
        crate::diag::render::render(&self.sources, diagnostics, false)
    }

    fn train(&self) -> Result<TrainPlan, String> {
        for entry in self.program.items(self.user) {
            if let Entry::Train(train, span) = entry {
                let (plan, diagnostics) = check_train(
                    &self.program,
                    &Arc::clone(train),
                    *span,
                    self.user,
                    &Digits,
                    &Overrides::default(),
                    false,
                );
                return plan.ok_or_else(|| self.show(&diagnostics));
            }
        }
        panic!("no train block")
    }
}

fn result_type(core: &Core) -> String {
    core.outputs.iter().map(|output| show_val(core, output.val)).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn has_type(source: &str, name: &str, wanted: &str) {
    match load(source).item(name) {
        Ok(core) => assert_eq!(result_type(&core), wanted),
        Err(shown) => panic!("{shown}"),
    }
}

#[test]
fn deep_sets_has_its_type() {
    let source = "model deep_sets(H: dim = 64, C: dim = 10)(x: f32[set N, D]) -> f32[C] {
  let h = x |> linear(H) |> relu |> linear(H)
  sum(h, over: N) |> linear(C)
}";
    has_type(source, "deep_sets", "f32[10]");
}

#[test]
fn attention_has_its_type() {
    let source = "fn attention(q: f32[T, D], k: f32[T, D], v: f32[T, E]) -> f32[T, E] {
  for t => {
    let a = softmax s where s <= t => (sum d => q[t, d] * k[s, d]) / sqrt(D)
    for e => sum s where s <= t => a[s] * v[s, e]
  }
}";
    has_type(source, "attention", "f32[T, E]");
}

#[test]
fn heads_are_split_and_joined() {
    let source = "fn heads(x: f32[T, heads * E]) -> f32[T, heads * E] where heads >= 1 { x }
fn pick(x: f32[N, 2 * E]) -> f32[N, E] { let (a, b) = split(x, 2)
  a * b }";
    has_type(source, "pick", "f32[N, E]");
}

#[test]
fn the_digits_train_block_is_a_plan() {
    let source = "model classifier(H: dim = 128)(x: f32[8, 8, 1]) -> f32[10] { flatten(x) |> linear(H) |> relu |> linear(10) }
train digits(lr: f32 = 1e-3) {
  data   d = npz(\"data/digits.npz\")
  split  (test: fn(i) => i % 5 == 0)
  let    net = classifier()
  loss   cross_entropy(net(d.x), d.y)
  metric accuracy(net(d.x), d.y)
  optim  adam(lr)
}";
    let plan = load(source).train().unwrap_or_else(|shown| panic!("{shown}"));
    let paths: Vec<_> = plan.steps[0].core.params.iter().map(|slot| slot.path.to_string()).collect();
    assert_eq!(paths, ["linear_0.w", "linear_0.b", "linear_1.w", "linear_1.b"]);
    let states: Vec<_> = plan.steps[0].core.states.iter().map(|slot| slot.path.to_string()).collect();
    assert!(states.contains(&"optim:0.m.linear_0.w".to_owned()), "{states:?}");
    let types: Vec<_> = plan.steps[0]
        .core
        .params
        .iter()
        .map(|slot| show_type(&plan.steps[0].core, &slot.elem, &slot.axes))
        .collect();
    assert_eq!(types, ["f32[64, 128]", "f32[128]", "f32[128, 10]", "f32[10]"]);
    assert_eq!(plan.measures.len(), 2);
}

#[test]
fn a_stack_has_one_array_for_each_parameter() {
    let source = "layer block(D: dim)(x: f32[D]) -> f32[D] { relu(x + linear(D)(x)) }
model deep(x: f32[32]) -> f32[32] { x |> stack(12, block(32)) }";
    let core = load(source).item("deep").unwrap_or_else(|shown| panic!("{shown}"));
    let shown: Vec<_> = core
        .params
        .iter()
        .map(|slot| format!("{} {}", slot.path, show_type(&core, &slot.elem, &slot.axes)))
        .collect();
    assert_eq!(shown, ["stack_0.*.linear_0.w f32[12, 32, 32]", "stack_0.*.linear_0.b f32[12, 32]"]);
}

#[test]
fn errors_are_in_the_users_terms() {
    for (source, wanted) in [
        ("fn f(a: f32[M, K], b: f32[J, N]) -> f32[M, N] = a @ b", "axes `K` and `J` differ"),
        ("fn f(a: f32[B]) -> f32[B] = a - (a as f32[B, 1])", "an axis of size 1 is not stretched"),
        ("fn f(a: f32[B]) -> f32[B] = lienar(a)", "did you mean `linear`?"),
        ("fn f(x: f32[N]) -> f32[M] = x", "M"),
        (
            "fn f(a: f32[M, K], b: f32[J, N]) -> f32[M, N] = a @ b",
            "the last axis of `f32[M, K]` and the first of `f32[J, N]`",
        ),
        ("fn f(x: f32[N]) -> f32 = x[-1]", "from the end it is N - 1"),
        ("fn f(x: f32[3]) -> f32 = x[-1]", "from the end it is 2"),
        ("fn f(x: f32[3]) -> f32 = x[3]", "there is no entry 3"),
        ("fn f(x: f32[N, D]) -> f32[D, N] = transpose(x)", "for j, i => x[i, j]"),
        ("fn f(x: f32[N, D]) -> f32[D, N] = x.T", "for j, i => x[i, j]"),
    ] {
        let shown = load(source).item("f").err().unwrap_or_else(|| panic!("{source} was accepted"));
        assert!(shown.contains(wanted), "{shown}");
    }
}

/// The properties that are proved of an axis of the only definition in `source`.
#[track_caller]
fn holds(source: &str, name: &str, axis: &str) -> Vec<&'static str> {
    let core = load(source).item(name).unwrap_or_else(|shown| panic!("{shown}"));
    let (certificate, _) = certify(name, &core, &core);
    let theorem =
        certificate.axes.iter().find(|theorem| theorem.name == axis).expect("the axis has a theorem");
    theorem
        .holds
        .iter()
        .copied()
        .map(Property::as_str)
        .filter(|word| !word.contains("shift") && !word.contains("translation"))
        .collect()
}

#[track_caller]
fn refused(source: &str, name: &str, wanted: &str) {
    let loaded = load(source);
    let core = loaded.item(name).unwrap_or_else(|shown| panic!("{shown}"));
    let (_, diagnostics) = certify(name, &core, &core);
    let shown = loaded.show(&diagnostics);
    assert!(shown.contains(wanted), "wanted {wanted:?} in:\n{shown}");
}

#[track_caller]
fn accepted(source: &str, name: &str) {
    let loaded = load(source);
    let core = loaded.item(name).unwrap_or_else(|shown| panic!("{shown}"));
    let (_, diagnostics) = certify(name, &core, &core);
    assert!(diagnostics.is_empty(), "{}", loaded.show(&diagnostics));
}

const SETS: &str = "model deep_sets(H: dim = 64, C: dim = 10)(x: f32[set N, D]) -> f32[C] {
  let h = x |> linear(H) |> relu |> linear(H)
  sum(h, over: N) |> linear(C)
}";

#[test]
fn deep_sets_is_invariant() {
    assert_eq!(holds(SETS, "deep_sets", "N"), ["permutation-invariant"]);
    assert_eq!(holds(SETS, "deep_sets", "D"), Vec::<&str>::new());
    accepted(SETS, "deep_sets");
}

#[test]
fn attention_is_causal_and_no_more() {
    let source = "fn attention(q: f32[causal T, D], k: f32[T, D], v: f32[T, E]) -> f32[T, E] {
  for t => {
    let a = softmax s where s <= t => (sum d => q[t, d] * k[s, d]) / sqrt(D)
    for e => sum s where s <= t => a[s] * v[s, e]
  }
}";
    assert_eq!(holds(source, "attention", "T"), ["causal"]);
    assert_eq!(holds(source, "attention", "D"), ["permutation-invariant"]);
    assert_eq!(holds(source, "attention", "E"), ["pointwise", "permutation-equivariant", "causal"]);
    accepted(source, "attention");
}

#[test]
fn what_breaks_a_kind_is_refused() {
    for (body, wanted) in [
        (
            "fn f(x: f32[set N, H]) -> f32[N * H] = flatten(x)",
            "axis `N` is a set, but `flatten` or a reshape depends on its order",
        ),
        (
            "layer f(x: f32[set N]) -> f32[N] { param w: f32[N] = zeros
  x * w }",
            "the parameter `w` is sized by it",
        ),
        ("layer f(x: f32[set N]) -> f32[10] = linear(10)(x)", "the parameter `linear_0.w`"),
        ("fn f(x: f32[set N]) -> f32[N] = for i => x[i] * position(i)", "uses the number of a position"),
        ("fn f(x: f32[set N]) -> f32[2 * N] = concat(x, x)", "joins along `N`"),
        ("fn f(x: f32[set N]) -> f32[N] = for i => sum j where j <= i => x[j]", "comes first"),
        ("fn f(x: f32[set N]) -> Idx[N] = argmax(x)", "the first is taken"),
        (
            "fn f(x: f32[set N]) -> f32[N] = scan t (h: f32 = 0) { h = h + x[t]
  yield h }",
            "`scan` depends on its order",
        ),
        ("fn f(x: f32[batch B, D]) -> f32[B, D] = x - mean(x, over: B)", "reads other samples"),
        ("fn f(x: f32[batch B]) -> f32 = sum(x)", "all samples at once"),
        ("fn f(x: f32[causal T]) -> f32[T] = for t => sum s where s <= t + 1 => x[s]", "the future"),
        ("fn f(x: f32[causal T]) -> f32[T] = x - mean(x)", "the future"),
        ("fn f(x: f32[causal T]) -> f32[T] = softmax(x)", "the future"),
        (
            "fn f(x: f32[causal T]) -> f32[T] = scan reverse t (h: f32 = 0) { h = h + x[t]
  yield h }",
            "the future",
        ),
    ] {
        refused(body, "f", wanted);
    }
}

#[test]
fn what_keeps_a_kind_is_accepted() {
    for body in [
        "fn f(x: f32[set N, H]) -> f32[H] = max(x, over: N)",
        "fn f(x: f32[set N, N]) -> f32[N, N] = for i, j => x[j, i]",
        "fn f(x: f32[set N]) -> f32[N] = for i => sum j where i == j => x[j]",
        "fn f(x: f32[set N, D], src: Idx[N][set E]) -> f32[E, D] = for e => x[src[e]]",
        "fn f(x: f32[set E, D], dst: Idx[N][E], y: f32[set N]) -> f32[N, D] = for n => sum e where dst[e] == n => x[e]",
        "fn f(x: f32[batch B, D]) -> f32[B, D] = softmax(x, over: D)",
        "fn f(x: f32[causal T]) -> f32[T] = for t => sum s where s <= t => x[s]",
        "fn f(x: f32[causal T]) -> f32 = mean(x)",
        "fn f(x: f32[causal T]) -> f32[T] = scan t (h: f32 = 0) { h = 0.5 * h + x[t]
  yield h }",
        "layer f(x: f32[set N, D]) -> f32[N, D] { x |> stack(3, g()) }
layer g(x: f32[D]) -> f32[D] = relu(linear(D)(x))",
    ] {
        accepted(body, "f");
    }
}

#[test]
fn a_layer_may_call_itself_under_a_static_condition() {
    let source =
        "layer r(d: dim)(x: f32[D]) -> f32[D] { if d == 0 { x } else { x |> linear(D) |> r(d - 1) } }
model m(x: f32[4]) -> f32[4] { x |> r(5) }";
    let core = load(source).item("m").unwrap_or_else(|shown| panic!("{shown}"));
    assert_eq!(core.params.len(), 10);
}

#[test]
fn what_reads_the_future_is_told_what_does_not() {
    let attend =
        "fn attend(q: f32[T, D], v: f32[S, D]) -> f32[T, D] = for t, d => q[t, d] * sum s => v[s, d]";
    let layer = |body: &str| format!("{attend}\nlayer f(x: f32[causal T, 4]) -> f32[T, 4] = {body}");
    for (body, wanted) in [
        ("attend(x, x)", "attend_causal(q, k, v)"),
        ("for t: T => x[t + 1]", "x[t - 1]"),
        ("for t, d => mean s where s <= t + 1 => x[s, d]", "guard the reduction"),
    ] {
        refused(&layer(body), "f", wanted);
    }
    accepted(&layer("for t: T => x[t - 1]"), "f");
    accepted(&layer("for t, d => mean s where s <= t => x[s, d]"), "f");
}
