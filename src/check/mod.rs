//! From the syntax tree to the typed core: names, static arguments, shapes, calls, and what follows for each axis.
//!
//! The checker is an evaluator: it walks a definition with everything that is known when compiling, and emits the core,
//! in which every call is resolved. So a definition is checked for exactly the uses that it has; by itself it is checked
//! with its dims symbolic. It must never read a file, and never know the tensor IR beyond the names of its scalar functions.

mod accumulate;
mod apply;
mod arithmetic;
mod binder;
mod branch;
mod builtin;
mod call;
pub mod certificate;
mod checkpoint;
mod claim;
mod condition;
mod convert;
pub mod core;
mod custom;
pub mod data;
mod derivative;
pub mod errors;
mod eval;
mod expect;
mod guard;
mod index;
mod instance;
mod item;
mod keep;
mod kind;
mod loops;
mod mapping;
mod memory;
mod names;
mod optimize;
mod origin;
mod positions;
mod program;
mod read;
mod result;
pub mod rules;
mod scan;
mod show;
mod sizes;
mod slot;
mod sort;
mod stack;
mod state;
mod stmt;
pub mod train;
mod types;
mod value;

pub use builtin::Builtin;
pub use item::{Alone, can_be_checked_alone, choices, stand_ins};
pub use kind::Kind;
pub use program::{Entry, Named, Program, Scope, defined_names};
pub use show::{show_axis, show_elem, show_type, show_val};
pub use state::{Checker, Mode, Reported};
pub use value::{Num, Value};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod traps;
