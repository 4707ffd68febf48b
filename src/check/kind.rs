//! The kinds of axes.

use std::fmt;

/// What a signature promises of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Batch,
    Set,
    Ring,
    Grid,
    Causal,
    Dim,
}

impl Kind {
    pub const ALL: [Kind; 6] = [Kind::Batch, Kind::Set, Kind::Ring, Kind::Grid, Kind::Causal, Kind::Dim];

    pub fn parse(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Batch => "batch",
            Kind::Set => "set",
            Kind::Ring => "ring",
            Kind::Grid => "grid",
            Kind::Causal => "causal",
            Kind::Dim => "dim",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
