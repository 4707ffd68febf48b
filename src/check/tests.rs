//! Definitions and train blocks through the checker.

use std::rc::Rc;

use crate::base::{Name, Sources, Span};
use crate::diag::Diagnostic;
use crate::syntax;
use crate::tensor::DType;

use super::core::Core;
use super::train::{Header, Headers, Overrides, TrainPlan, check_train};
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
    fn header(&self, _: &str, _: &str, _: Span) -> Result<Header, Box<Diagnostic>> {
        Ok(vec![(Name::new("x"), DType::F32, vec![1797, 8, 8, 1]), (Name::new("y"), DType::I64, vec![1797])])
    }
}

struct Loaded {
    sources: Sources,
    program: Program,
    user: super::Scope,
}

fn load(source: &str) -> Loaded {
    let mut sources = Sources::new();
    let mut program = Program::default();
    for (module, text) in LIBRARY {
        let file = sources.add(format!("std/{module}.nn"), text);
        let parsed = syntax::parse(&sources, file);
        assert!(parsed.diagnostics.is_empty(), "{module}: {:?}", parsed.diagnostics);
        program.add(module, true, parsed.file);
    }
    let file = sources.add("test.nn", source);
    let parsed = syntax::parse(&sources, file);
    assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
    let (user, _) = program.add("test", false, parsed.file);
    Loaded { sources, program, user }
}

impl Loaded {
    fn item(&self, name: &str) -> Result<Core, String> {
        for entry in self.program.items(self.user) {
            if let Entry::Def(def) = entry
                && def.name.name == name
            {
                assert_eq!(can_be_checked_alone(def, &[]), Alone::Yes);
                let mut checker = Checker::new(&self.program, Mode::default());
                let done = checker.item(def, self.user, &[]);
                if done.is_err() || !checker.diagnostics.is_empty() {
                    return Err(self.show(&checker.diagnostics));
                }
                return Ok(checker.core);
            }
        }
        panic!("no definition {name}")
    }

    fn show(&self, diagnostics: &[Diagnostic]) -> String {
        crate::diag::render::render(&self.sources, diagnostics, false)
    }

    fn train(&self) -> Result<TrainPlan, String> {
        for entry in self.program.items(self.user) {
            if let Entry::Train(train, span) = entry {
                let (plan, diagnostics) =
                    check_train(&self.program, &Rc::clone(train), *span, self.user, &Digits, &Overrides::default(), false);
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
    let plan = load(include_str!("../../examples/digits.nn")).train().unwrap_or_else(|shown| panic!("{shown}"));
    let paths: Vec<_> = plan.step.params.iter().map(|slot| slot.path.to_string()).collect();
    assert_eq!(paths, ["linear_0.w", "linear_0.b", "linear_1.w", "linear_1.b"]);
    let states: Vec<_> = plan.step.states.iter().map(|slot| slot.path.to_string()).collect();
    assert!(states.contains(&"optim.m.linear_0.w".to_owned()), "{states:?}");
    let types: Vec<_> = plan.step.params.iter().map(|slot| show_type(&plan.step, &slot.elem, &slot.axes)).collect();
    assert_eq!(types, ["f32[64, 128]", "f32[128]", "f32[128, 10]", "f32[10]"]);
    assert_eq!(plan.measures.len(), 2);
}

#[test]
fn a_stack_has_one_array_for_each_parameter() {
    let source = "layer block(D: dim)(x: f32[D]) -> f32[D] { relu(x + linear(D)(x)) }
model deep(x: f32[32]) -> f32[32] { x |> stack(12, block(32)) }";
    let core = load(source).item("deep").unwrap_or_else(|shown| panic!("{shown}"));
    let shown: Vec<_> = core.params.iter().map(|slot| format!("{} {}", slot.path, show_type(&core, &slot.elem, &slot.axes))).collect();
    assert_eq!(shown, ["stack_0.*.linear_0.w f32[12, 32, 32]", "stack_0.*.linear_0.b f32[12, 32]"]);
}

#[test]
fn errors_are_in_the_users_terms() {
    for (source, wanted) in [
        ("fn f(a: f32[M, K], b: f32[J, N]) -> f32[M, N] = a @ b", "axes `K` and `J` differ"),
        ("fn f(a: f32[B]) -> f32[B] = a - (a as f32[B, 1])", "an axis of size 1 is not stretched"),
        ("fn f(a: f32[B]) -> f32[B] = lienar(a)", "did you mean `linear`?"),
        ("fn f(x: f32[N]) -> f32[M] = x", "M"),
    ] {
        let shown = load(source).item("f").err().unwrap_or_else(|| panic!("{source} was accepted"));
        assert!(shown.contains(wanted), "{shown}");
    }
}
