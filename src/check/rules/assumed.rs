//! How far an `assume` goes: it speaks of what stands in its braces. What was made elsewhere and enters them keeps its own facts.

use std::collections::BTreeSet;

use crate::base::Span;

use super::super::core::*;
use super::arguments;
use super::weaken::{self, Weakening};

/// Whether a value is made in the braces of an `assume`, or by a call that stands there.
pub fn is_inside(core: &Core, assume: Val, val: Val) -> bool {
    if weaken::is(Weakening::AnyAssumed) {
        return true;
    }
    let braces = core.vals[assume].span;
    let holds = |span: Span| span.file == braces.file && braces.start <= span.start && span.end <= braces.end;
    let data = &core.vals[val];
    let mut path = data.path.as_deref();
    while let Some(call) = path {
        if holds(call.span) {
            return true;
        }
        path = call.outer.as_deref();
    }
    holds(data.span)
}

/// The values that enter the braces.
pub fn entering(core: &Core, assume: Val) -> BTreeSet<Val> {
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    let mut rest = arguments(core, assume);
    while let Some(val) = rest.pop() {
        if !seen.insert(val) {
            continue;
        }
        match is_inside(core, assume, val) {
            true => rest.extend(arguments(core, val)),
            false => drop(found.insert(val)),
        }
    }
    found
}
