//! Source text and the syntax tree: parsing, printing, formatting.
//! Must never know what a program means.

pub use nn_grammar::ast;
