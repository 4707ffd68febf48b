//! Weakenings of the rules, tried on random programs: what a weakened checker certifies and the whole one does not must be contradicted by the
//! interpreter, or the random programs would not miss what was left out.

// The files of tests/suite/soundness, which name this crate by its name.
#[allow(dead_code, reason = "a part of what they offer is used here")]
#[path = "../../tests/suite/soundness/draws.rs"]
mod draws;
#[allow(dead_code, reason = "a part of what they offer is used here")]
#[path = "../../tests/suite/soundness/expressions.rs"]
mod expressions;
#[allow(dead_code, reason = "a part of what they offer is used here")]
#[path = "../../tests/suite/soundness/forms.rs"]
mod forms;
#[allow(dead_code, reason = "a part of what they offer is used here")]
#[path = "../../tests/suite/soundness/properties.rs"]
mod properties;
#[allow(dead_code, reason = "a part of what they offer is used here")]
#[path = "../../tests/suite/soundness/run.rs"]
mod run;

use std::collections::BTreeMap;
use std::path::Path;

use crate::check::certificate::{Certificate, certify};
use crate::check::core::Core;
use crate::check::rules::weaken::{Weakening, all, with};
use crate::elaborate::Part;
use crate::graph::Graph;

use super::{Session, Settings, graph_of, name_of};

use draws::Draws;
use expressions::Programs;
use properties::{SIZES, refute};
use run::Run;

/// What none of two thousand random programs shows: the traps and the refused programs do.
const NOT_NOTICED: &[Weakening] = &[
    // No axis of an input has arithmetic in its size, no list of numbers is read as positions, all static dims have values.
    Weakening::Demands("input"),
    Weakening::Demands("as index"),
    Weakening::AnySized,
    // Parameters of the axis' size, states that are told of it, axes that are joined or said to be as long as another one: no program has them.
    Weakening::Demands("param"),
    Weakening::Demands("rename"),
    Weakening::Demands("concat"),
    Weakening::Unwritten,
    Weakening::AnyPosition,
    // Nearly every program in which these matter is refused for something else, too.
    Weakening::Flow("size"),
    Weakening::Flow("inside"),
    Weakening::AnyRound,
    Weakening::AnyRate,
    Weakening::AnyDistance,
    Weakening::AnyTerm,
    Weakening::FewRounds,
    Weakening::NoLead,
];

/// A program with its graphs.
struct Generated {
    inference: Core,
    training: Option<Core>,
    graphs: Vec<(bool, Graph)>,
    draws: Draws,
}

impl Generated {
    fn of(seed: u64, index: u64) -> Option<Generated> {
        let draws = Draws(seed.wrapping_mul(1_000_003).wrapping_add(index * 7919));
        let mut programs = Programs { draws, names: 0, rows: "x".to_owned() };
        let source = programs.program();
        let mut session = Session::of_text("test.nn", &source, Path::new(env!("CARGO_MANIFEST_DIR")));
        let settings = Settings { wide: true, ..Settings::default() };
        let item = session.check(&settings, &|entry| name_of(entry).0 == *"f").items.pop()?;
        let (inference, training) = (item.core?, item.training);
        let mut graphs = Vec::new();
        for (mode, core) in [(false, Some(&inference)), (true, training.as_ref())] {
            let Some(core) = core else { continue };
            let graph =
                graph_of(core, Part::Body, &BTreeMap::new(), &settings, None, &mut Default::default());
            graphs.push((mode, graph.ok()?));
        }
        Some(Generated { inference, training, graphs, draws: programs.draws })
    }

    fn certificate(&self) -> Certificate {
        certify("f", self.training.as_ref().unwrap_or(&self.inference), &self.inference).0
    }

    /// Whether a trial contradicts something that is certified in `weak` and not in `whole`.
    fn contradicts(&mut self, weak: &Certificate, whole: &Certificate) -> bool {
        let mut draws = Draws(self.draws.0);
        let axes = weak.axes.iter().zip(&whole.axes).filter(|(axis, _)| ["N", "E"].contains(&&*axis.name));
        for (theorem, known) in axes {
            for &property in theorem.holds.difference(&known.holds) {
                for (training, graph) in &self.graphs {
                    let core = self.training.as_ref().filter(|_| *training).unwrap_or(&self.inference);
                    let run = Run { graph, core, axis: &theorem.name, size: 5 };
                    let fits = SIZES.iter().all(|&size| Run { size, ..run }.fits());
                    let mut trials = (0..4).map(|trial| trial % 2 == 0);
                    if fits && trials.any(|ties| refute(run, property, theorem, ties, &mut draws).is_some()) {
                        return true;
                    }
                }
            }
        }
        false
    }
}

/// The weakenings that none of so many programs contradicts.
fn missed(programs: u64) -> Vec<Weakening> {
    let mut missed = all();
    for index in 0..programs {
        let Some(mut program) = Generated::of(1, index) else { continue };
        let whole = program.certificate();
        missed.retain(|&weakening| {
            let weak = with(weakening, || program.certificate());
            !program.contradicts(&weak, &whole)
        });
        if missed.iter().all(|weakening| NOT_NOTICED.contains(weakening)) {
            break;
        }
    }
    missed
}

#[test]
fn random_programs_miss_what_is_left_out() {
    let missed = missed(60);
    let noticed = all().len() - missed.len();
    println!("{noticed} weakenings are noticed; not {missed:?}");
    assert!(noticed >= 8, "only {noticed} weakenings are noticed; not {missed:?}");
}

/// As many as there are, which takes three minutes: `cargo test --release --lib random_programs_miss_all -- --ignored`.
#[test]
#[ignore = "minutes"]
fn random_programs_miss_all_that_is_left_out() {
    let missed = missed(2000);
    println!("not noticed: {missed:?}");
    let wrong: Vec<_> = missed.iter().filter(|weakening| !NOT_NOTICED.contains(weakening)).collect();
    assert!(wrong.is_empty(), "no random program needs {wrong:?}");
}
