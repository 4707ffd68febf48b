//! Weakenings of the rules, which exist in tests only: each leaves out one line of the table or one of its conditions, and
//! some program that lies must then be believed. A rule that no test would miss is not tested.

/// What is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakening {
    /// The demands of the forms with this name.
    Demands(&'static str),
    /// What the forms with this name read beyond the entries that their arguments read.
    Flow(&'static str),
    /// An index need not move exactly as the axis that it reads.
    AnyWeight,
    /// Every read goes round a ring, and borders count for nothing.
    AnyRound,
    /// A read that goes round counts as one that does not.
    NoWrap,
    /// `i <= j + 1` bounds i by j.
    OpenBand,
    /// A scan backwards counts as one forwards.
    Reverse,
    /// An output at another rate counts as one entry by entry.
    AnyRate,
    /// A derivative reads what its function reads.
    Derivative,
    /// Whether there is an entry does not depend on where its axis ends.
    NoEnd,
    /// A distance counts as a bounded one.
    AnyDistance,
    /// A position that is a value by itself is one wherever it stands.
    AnyPosition,
    /// What is written to a state is no output.
    Unwritten,
    /// A sum is guarded by what is a part of its terms, not only by what makes them zero.
    AnyTerm,
    /// The number of entries under another name is no number of entries.
    OtherLength,
    /// A rule's reads do not count for the derivatives of its value.
    Unruled,
    /// How often a term of a sum counts does not matter to its derivative.
    AnyCount,
    /// What carries hand on to each other is followed for a few steps only.
    FewRounds,
    /// A guard's bound is a place that is there.
    NoLead,
    /// What sizes say lies in the past.
    AnySized,
    /// What is assumed of some braces is assumed of what enters them.
    AnyAssumed,
}

/// Every weakening of the rules.
#[cfg(test)]
pub fn all() -> Vec<Weakening> {
    let demands = [
        "input", "param", "number", "inside", "cast", "scalar", "read", "rename", "as index", "reshape",
        "concat", "reduce", "sort", "scan",
    ];
    let flows = ["read", "reduce", "size", "sort", "inside"];
    let others = [
        Weakening::AnyWeight,
        Weakening::AnyRound,
        Weakening::NoWrap,
        Weakening::OpenBand,
        Weakening::Reverse,
        Weakening::AnyRate,
        Weakening::Derivative,
        Weakening::NoEnd,
        Weakening::AnyDistance,
        Weakening::AnyPosition,
        Weakening::Unwritten,
        Weakening::Unruled,
        Weakening::AnyTerm,
        Weakening::OtherLength,
        Weakening::AnyCount,
        Weakening::FewRounds,
        Weakening::NoLead,
        Weakening::AnyAssumed,
        Weakening::AnySized,
    ];
    let table = demands.into_iter().map(Weakening::Demands).chain(flows.into_iter().map(Weakening::Flow));
    table.chain(others).collect()
}

#[cfg(test)]
pub use chosen::{drops_demands, drops_flow, is, with};

#[cfg(not(test))]
mod never {
    use super::super::super::core::Form;
    use super::Weakening;

    pub const fn is(_: Weakening) -> bool {
        false
    }

    pub const fn drops_demands(_: &Form) -> bool {
        false
    }

    pub const fn drops_flow(_: &Form) -> bool {
        false
    }
}

#[cfg(not(test))]
pub use never::{drops_demands, drops_flow, is};

#[cfg(test)]
mod chosen {
    use std::cell::Cell;

    use super::super::super::core::Form;
    use super::Weakening;
    use crate::ops::ScalarFn;

    thread_local! {
        static NOW: Cell<Option<Weakening>> = const { Cell::new(None) };
    }

    /// Runs with one weakening in force, on this thread.
    pub fn with<T>(weakening: Weakening, run: impl FnOnce() -> T) -> T {
        NOW.set(Some(weakening));
        let result = run();
        NOW.set(None);
        result
    }

    pub fn is(weakening: Weakening) -> bool {
        NOW.get() == Some(weakening)
    }

    pub fn drops_demands(form: &Form) -> bool {
        is(Weakening::Demands(name(form)))
    }

    pub fn drops_flow(form: &Form) -> bool {
        is(Weakening::Flow(name(form)))
    }

    fn name(form: &Form) -> &'static str {
        match form {
            Form::Input(_) => "input",
            Form::Param(_) => "param",
            Form::Number(_) => "number",
            Form::Inside(..) => "inside",
            Form::Scalar(ScalarFn::Cast(_), _) => "cast",
            Form::Scalar(..) => "scalar",
            Form::Read { .. } => "read",
            Form::Rename { .. } => "rename",
            Form::AsIndex(_) => "as index",
            Form::Reshape(_) => "reshape",
            Form::Concat { .. } => "concat",
            Form::Reduce { .. } => "reduce",
            Form::Sort { .. } => "sort",
            Form::Scan { .. } => "scan",
            Form::Size(_) => "size",
            _ => "other",
        }
    }
}
