//! The one integration binary: every stage on golden files, the command line as users call it, and what must agree.

#[path = "suite/agreement.rs"]
mod agreement;
#[path = "suite/checking.rs"]
mod checking;
#[path = "suite/command.rs"]
mod command;
#[path = "suite/data.rs"]
mod data;
#[path = "suite/demonstrations.rs"]
mod demonstrations;
#[path = "suite/derivatives.rs"]
mod derivatives;
#[path = "suite/documents.rs"]
mod documents;
#[path = "suite/evidence.rs"]
mod evidence;
#[path = "suite/examples.rs"]
mod examples;
#[path = "suite/fixes.rs"]
mod fixes;
#[path = "suite/golden.rs"]
mod golden;
#[path = "suite/hostile.rs"]
mod hostile;
#[path = "suite/imports.rs"]
mod imports;
#[path = "suite/library_walk.rs"]
mod library_walk;
#[path = "suite/libraries.rs"]
mod libraries;
#[path = "suite/killed.rs"]
mod killed;
#[path = "suite/memory.rs"]
mod memory;
#[path = "suite/numbers.rs"]
mod numbers;
#[path = "suite/objects.rs"]
mod objects;
#[path = "suite/pages.rs"]
mod pages;
#[path = "suite/reads.rs"]
mod reads;
#[path = "suite/repl.rs"]
mod repl;
#[path = "suite/random_programs.rs"]
mod random_programs;
#[path = "suite/samples.rs"]
mod samples;
#[path = "suite/soundness.rs"]
mod soundness;
#[path = "suite/stacks.rs"]
mod stacks;
#[path = "suite/trained.rs"]
mod trained;
#[path = "suite/training.rs"]
mod training;
#[path = "suite/tutorial.rs"]
mod tutorial;
#[path = "suite/walk.rs"]
mod walk;
#[path = "suite/weights.rs"]
mod weights;
#[path = "suite/zoo.rs"]
mod zoo;
