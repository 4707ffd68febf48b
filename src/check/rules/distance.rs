//! Which distances between positions a translation keeps: those that something bounds.
//!
//! `i - j` stays as it is when both move. But a sum over all j of what depends on `i - j` sees how far the ends of the axis are
//! from i: a translation takes some of its terms over the end. So where anything is reduced over all of an axis, a distance
//! must be one between positions that guards keep together.

use std::collections::{BTreeMap, BTreeSet};

use crate::ops::ScalarFn;

use super::super::core::*;
use super::guard;
use super::points::Roots;

/// What bounds the distances between index variables.
pub struct Distances {
    /// For a variable that a guard keeps near another one, that one.
    near: BTreeMap<AxisVar, AxisVar>,
    /// Roots over all of whose positions something is reduced or sorted.
    reduced: BTreeSet<Root>,
    /// Roots as many times as which have entries a loop takes a step: small distances add up to large ones.
    looped: BTreeSet<Root>,
}

impl Distances {
    pub fn of(roots: &Roots) -> Distances {
        let mut found =
            Distances { near: BTreeMap::new(), reduced: BTreeSet::new(), looped: BTreeSet::new() };
        let mut free = Vec::new();
        for data in roots.core.vals.values() {
            match &data.form {
                Form::Reduce { op, over, guard, body } => {
                    let bounds = guard::bounds(roots, *op, *guard, over, *body);
                    for &axis in over {
                        let closed = bounds.iter().find(|bound| bound.bounded == axis && bound.closed);
                        match closed {
                            Some(bound) => drop(found.near.insert(axis, bound.to)),
                            None if matches!(op, Reducer::Sum | Reducer::Mean)
                                && vanishes(roots.core, *body, axis) => {}
                            None => {
                                free.push(axis);
                                found.reduced.extend(roots.of_axis(axis));
                            }
                        }
                    }
                }
                Form::Sort { axis, .. } => found.reduced.extend(roots.of_axis(*axis)),
                Form::Scan { axis, .. } => found.looped.extend(roots.measured_by(*axis)),
                _ => {}
            }
        }
        // What one reduction bounds and another does not is not bounded.
        found.near.retain(|axis, _| !free.contains(axis));
        found
    }

    /// Whether the positions of a root in an index expression are near each other, or none is far from all that is reduced.
    pub fn bounded(&self, roots: &Roots, point: &Point, root: Root) -> bool {
        self.ends(point, |axis| roots.has(axis, root)) < 2 || !self.reduced.contains(&root)
    }

    /// Whether an index expression names a place near each of the positions in it. One of the places of what is sorted, of which there are as
    /// many as entries, says how far away it is. So does a part of the size, where the index goes round.
    pub fn together(&self, roots: &Roots, point: &Point, root: Root) -> bool {
        self.ends(point, |axis| roots.measured_by(axis).contains(&root)) < 2
            && !roots.sizes_in(point).contains(&root)
    }

    /// Whether something may be moved by a distance as often as a root has entries.
    pub fn adds_up(&self, root: Root) -> bool {
        self.looped.contains(&root)
    }

    /// How many variables of an index expression nothing keeps near one another.
    fn ends(&self, point: &Point, counts: impl Fn(AxisVar) -> bool) -> usize {
        let ends: BTreeSet<AxisVar> =
            point.axes().into_iter().filter(|axis| counts(*axis)).map(|axis| self.end(axis)).collect();
        ends.len()
    }

    /// The variable that a chain of bounds ends at.
    fn end(&self, axis: AxisVar) -> AxisVar {
        let mut at = axis;
        // A bound leads outwards; that it ends is certain all the same.
        for _ in 0..=self.near.len() {
            match self.near.get(&at) {
                Some(&to) => at = to,
                None => break,
            }
        }
        at
    }
}

/// The terms of a sum are zero where an input has zeros along `axis`, as it has them outside: a kernel of any width.
fn vanishes(core: &Core, term: Val, axis: AxisVar) -> bool {
    match &core.vals[term].form {
        Form::Scalar(ScalarFn::Mul, factors) => factors.iter().any(|factor| vanishes(core, *factor, axis)),
        Form::Read { of, at, .. } if matches!(core.vals[*of].form, Form::Input(_)) => {
            at.iter().any(|at| matches!(at, At::Point(point) if point.as_axis() == Some(axis)))
        }
        _ => false,
    }
}
