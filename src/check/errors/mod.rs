//! The checker's messages: one constructor for each, in the user's terms, grouped by what went wrong.
//!
//! E01xx names, E02xx axes and shapes, E03xx types and calls, E04xx training blocks, E06xx limits.

mod axes;
mod calls;
mod elsewhere;
mod indices;
mod limits;
mod names;
mod train;
mod types;

pub use axes::*;
pub use calls::*;
use elsewhere::{renamed, written_here};
pub use indices::*;
pub use limits::*;
pub use names::*;
pub use train::*;
pub use types::*;

use crate::base::Span;

/// An axis as it is shown, and the place where it matters.
#[derive(Clone, Debug)]
pub struct AxisAt {
    pub name: String,
    pub span: Span,
}

/// The known name that a misspelt one probably means.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // A letter or two are near to everything; and names of very different lengths are never near, so a name of megabytes
    // is compared with nothing.
    if word.chars().count() < 3 {
        return None;
    }
    let similar = |name: &&str| {
        let (short, long) = (word.len().min(name.len()), word.len().max(name.len()));
        long - short <= 4 * 1.max(short / 3)
    };
    known
        .into_iter()
        .filter(similar)
        // Letters of the other case are the smallest mistake.
        .map(|name| match name.eq_ignore_ascii_case(word) {
            true => (0, name),
            false => (strsim::damerau_levenshtein(word, name), name),
        })
        .filter(|(distance, name)| *distance <= 1.max(word.len().min(name.len()) / 3))
        .min()
        .map(|(_, name)| name.to_owned())
}
