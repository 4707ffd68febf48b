//! Tokens, syntax tree and grammar of the nn language. A crate of its own so that edits elsewhere
//! do not rebuild the generated parser. Must never know what a program means, nor print anything.

pub mod ast;
pub mod span;

pub use smol_str::SmolStr;
