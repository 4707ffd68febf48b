//! Tokens, syntax tree and grammar of the nn language. A crate of its own so that edits elsewhere
//! do not rebuild the generated parser. Must never know what a program means, nor print anything.

pub mod ast;
pub mod build;
pub mod span;
pub mod tokens;

pub use lalrpop_util::ParseError;
pub use smol_str::SmolStr;

lalrpop_util::lalrpop_mod!(
    #[allow(clippy::all, clippy::pedantic, unused, unreachable_pub, reason = "lalrpop writes it")]
    nn
);
/// The generated parser of one item; a file's items are parsed one by one.
pub use nn::ItemParser;
