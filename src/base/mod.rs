//! What every room stands on: places in source text, the table of sources, names.
//! Must never know the language, nor read a file: text is handed in.

mod sources;

pub use nn_grammar::SmolStr;
pub use nn_grammar::span::{FileId, Span};
pub use sources::{NotAccepted, Position, Reason, Source, Sources};

/// A name of the user's program. Short ones are stored inline; cloning never copies text.
pub type Name = SmolStr;
