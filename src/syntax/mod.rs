//! Source text and the syntax tree: parsing, printing, formatting.
//! Must never know what a program means.

mod brackets;
pub mod dump;
pub mod errors;
mod expected;
mod layout;
mod mistakes;
mod parse;
mod parts;
mod print;

pub use nn_grammar::ast;
pub use nn_grammar::tokens::Comment;
pub use parse::{Parsed, is_unfinished, parse, parse_statements, parse_text};
pub use print::format;

#[cfg(test)]
mod tests;
