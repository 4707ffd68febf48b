//! What the checker certifies holds: random programs over the primitives, run by the interpreter on inputs that are
//! permuted, shifted, translated, perturbed and lengthened.
//!
//! `NNC_SEED=7 cargo test --release soundness` runs other programs, `NNC_PROGRAMS` more of them. With `NNC_STRICT=1` it also counts the
//! properties that are not certified though no trial contradicts them, in a half of a second for each program, and says which forms are
//! blamed for it; with `NNC_STRICT=causal` it shows the programs that miss that one.

#[path = "soundness/draws.rs"]
mod draws;
#[path = "soundness/expressions.rs"]
mod expressions;
#[path = "soundness/forms.rs"]
mod forms;
#[path = "soundness/properties.rs"]
mod properties;
#[path = "soundness/run.rs"]
mod run;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use nnc::check::certificate::{AxisTheorem, Property};
use nnc::elaborate::Part;
use nnc::session::{Session, Settings, graph_of, name_of};

use draws::Draws;
use expressions::Programs;
use properties::{SIZES, can_refute, refute};
use run::Run;

/// Trials of each property of a program: of entries that differ, and of many equal ones.
const TRIALS: [bool; 2] = [false, true];

/// The program of this number.
fn program(seed: u64, index: u64) -> (String, Draws) {
    let draws = Draws(seed.wrapping_mul(1_000_003).wrapping_add(index * 7919));
    let mut programs = Programs { draws, names: 0, rows: "x".to_owned() };
    let source = programs.program();
    (source, programs.draws)
}

#[derive(Default)]
struct Tally {
    checked: usize,
    failures: String,
    theorems: BTreeMap<String, usize>,
    strict: Strict,
}

/// What is not certified and yet not contradicted, of what trials could contradict.
#[derive(Default)]
struct Strict {
    certified: usize,
    refuted: usize,
    missed: BTreeMap<String, usize>,
    /// By what each of them is said to be broken.
    forms: BTreeMap<String, usize>,
}

impl Strict {
    fn report(&self) {
        let missed: usize = self.missed.values().sum();
        let rate = 100.0 * missed as f64 / (missed + self.certified).max(1) as f64;
        println!(
            "of {} properties that no trial contradicts {missed} are not proved ({rate:.1} %), {} are refuted",
            missed + self.certified,
            self.refuted
        );
        for (what, counts) in [("property", &self.missed), ("blamed", &self.forms)] {
            let mut counts: Vec<_> = counts.iter().collect();
            counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            counts.iter().for_each(|(name, count)| println!("  {count:4}  {what}: {name}"));
        }
    }
}

impl Tally {
    fn program(&mut self, seed: u64, index: u64, strict: Option<&str>) {
        let (source, mut draws) = program(seed, index);
        let mut session = Session::of_text("test.nn", &source, Path::new(env!("CARGO_MANIFEST_DIR")));
        let settings = Settings { wide: true, ..Settings::default() };
        let mut check = session.check(&settings, &|entry| name_of(entry).0 == *"f");
        let Some(item) = check.items.pop() else { return };
        let (Some(core), Some(certificate)) = (&item.core, &item.certificate) else { return };
        let cores = [(false, Some(core)), (true, item.training.as_ref())];
        let mut compiled = Vec::new();
        for (training, core) in cores {
            let Some(core) = core else { continue };
            let graph =
                graph_of(core, Part::Body, &BTreeMap::new(), &settings, None, &mut Default::default());
            let Ok(graph) = graph else { return };
            compiled.push((training, core, graph));
        }
        self.checked += 1;
        for theorem in certificate.axes.iter().filter(|axis| ["N", "E"].contains(&&*axis.name)) {
            for property in &theorem.holds {
                *self.theorems.entry(format!("{} {property}", theorem.name)).or_default() += 1;
            }
            let mut claimed: Vec<(Property, bool)> =
                theorem.holds.iter().map(|&property| (property, true)).collect();
            claimed.extend(theorem.at_inference.iter().map(|&property| (property, false)));
            let mut refuted = None;
            for (training, core, graph) in &compiled {
                let run = Run { graph, core, axis: &theorem.name, size: 5 };
                if SIZES.iter().any(|&size| !Run { size, ..run }.fits()) {
                    return;
                }
                for (property, always) in &claimed {
                    if *training && !always {
                        continue;
                    }
                    let mut tried =
                        TRIALS.iter().filter_map(|&ties| refute(run, *property, theorem, ties, &mut draws));
                    if refuted.is_none()
                        && let Some(found) = tried.next()
                    {
                        refuted = Some(format!("{} {property}: {found}", theorem.name));
                    }
                }
            }
            if let Some(found) = refuted {
                let _ = writeln!(self.failures, "program {index} of seed {seed}: {found}\n{source}");
            }
            if let (Some(shown), "N") = (strict, &*theorem.name) {
                self.strict(theorem, &compiled[0], &source, shown, &mut draws);
            }
        }
    }

    /// Counts what is not certified of inference and yet not contradicted in many trials.
    fn strict(
        &mut self,
        theorem: &AxisTheorem,
        (_, core, graph): &(bool, &nnc::check::core::Core, nnc::graph::Graph),
        source: &str,
        shown: &str,
        draws: &mut Draws,
    ) {
        let run = Run { graph, core, axis: &theorem.name, size: 5 };
        let certified = theorem.holds.union(&theorem.at_inference);
        self.strict.certified += certified.filter(|&&property| can_refute(run, property, draws)).count();
        for broken in &theorem.broken {
            let property = broken.property;
            let known = theorem.holds.contains(&property) || theorem.at_inference.contains(&property);
            if known || !can_refute(run, property, draws) {
                continue;
            }
            let mut trials = (0..8).map(|trial| trial % 2 == 0);
            if trials.any(|ties| refute(run, property, theorem, ties, draws).is_some()) {
                self.strict.refuted += 1;
                continue;
            }
            *self.strict.missed.entry(property.to_string()).or_default() += 1;
            *self.strict.forms.entry(broken.by.clone()).or_default() += 1;
            if shown == property.as_str() {
                let own: Vec<&str> = source.lines().skip_while(|line| !line.contains(" f(x")).collect();
                println!("{property} is not proved: {} {}\n{}", broken.by, broken.message, own.join("\n"));
            }
        }
    }
}

#[test]
fn what_is_certified_holds() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (seed, count) = (number("NNC_SEED", 1), number("NNC_PROGRAMS", 200));
    let shown = std::env::var("NNC_STRICT").ok();
    println!("seed {seed}, {count} programs");
    let mut tally = Tally::default();
    for index in 0..count {
        tally.program(seed, index, shown.as_deref());
    }
    let Tally { checked, failures, theorems, strict } = tally;
    println!("{checked} well-formed programs, {theorems:?}");
    if shown.is_some() {
        strict.report();
    }
    assert!(failures.is_empty(), "{failures}");
    assert!(checked * 3 > count as usize, "{checked} of {count} programs are well-formed");
    let over_n = theorems.keys().filter(|key| key.starts_with('N')).count();
    assert!(over_n >= 8, "{theorems:?}");
}
