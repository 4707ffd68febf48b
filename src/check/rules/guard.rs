//! What the top-level conjuncts of a guard say of index variables: `i == j`, `i <= j + c`, bands of two comparisons.

use crate::axes::{Dim, Ratio};
use crate::graph::Literal;
use crate::ops::ScalarFn;

use super::super::core::*;
use super::points::Roots;
use super::weaken::{self, Weakening};

/// `bounded <= to + high` or `bounded >= to + low`, in places of their root.
#[derive(Clone, Copy, Debug)]
struct Side {
    bounded: AxisVar,
    to: AxisVar,
    low: Option<Ratio>,
    high: Option<Ratio>,
}

/// An index variable lies between `to + low` and `to + high`.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub bounded: AxisVar,
    pub to: AxisVar,
    pub low: Option<Ratio>,
    pub high: Ratio,
}

/// The comparisons and other conditions of which all must hold.
pub fn conjuncts(core: &Core, guard: Val) -> Vec<Val> {
    let mut found = Vec::new();
    let mut rest = vec![guard];
    while let Some(val) = rest.pop() {
        match &core.vals[val].form {
            Form::Scalar(ScalarFn::And, args) => rest.extend(args),
            _ => found.push(val),
        }
    }
    found
}

/// A value that is an index, or an integer that is known when compiling.
pub fn point_of(core: &Core, val: Val) -> Option<Point> {
    match &core.vals[val].form {
        Form::Number(point) => Some(point.clone()),
        Form::Const(Literal::Int(value)) if matches!(core.vals[val].elem, Elem::Of(_)) => {
            Some(Point::constant(Dim::constant(*value)))
        }
        Form::Size(dim) => Some(Point::constant(dim.clone())),
        _ => None,
    }
}

/// The comparisons of a guard that bound an index from both sides of another one.
pub fn bands(roots: &Roots, guard: Val) -> Vec<Val> {
    let sides: Vec<(Val, Side)> = sides(roots, guard);
    let closes = |a: &Side, b: &Side| {
        let same = a.bounded == b.bounded && a.to == b.to;
        same && (a.low.is_some() && b.high.is_some() || a.high.is_some() && b.low.is_some())
    };
    sides
        .iter()
        .filter(|(val, side)| sides.iter().any(|(other, opposite)| other != val && closes(side, opposite)))
        .map(|(val, _)| *val)
        .collect()
}

/// How far the guard lets each of the variables `over` go, relative to one that is not among them.
pub fn bounds(roots: &Roots, guard: Val, over: &[AxisVar]) -> Vec<Bound> {
    let mut found: Vec<Bound> = Vec::new();
    let sides = sides(roots, guard);
    for &bounded in over {
        let own = |to: Option<AxisVar>| {
            sides.iter().map(|(_, side)| *side).filter(move |side| {
                side.bounded == bounded && !over.contains(&side.to) && to.is_none_or(|to| side.to == to)
            })
        };
        let mut best: Option<Bound> = None;
        for to in own(None).map(|side| side.to) {
            let high = own(Some(to)).filter_map(|side| side.high).min();
            let low = own(Some(to)).filter_map(|side| side.low).max();
            // Beyond an open side lies the end of the axis: `i <= j + 1` sees whether there is a last entry.
            let high = match high {
                Some(high) if high <= Ratio::ZERO || low.is_some() => high,
                Some(_) if weaken::is(Weakening::OpenBand) => Ratio::ZERO,
                _ => continue,
            };
            if best.is_none_or(|best| best.low.is_none() && low.is_some()) {
                best = Some(Bound { bounded, to, low, high });
            }
        }
        found.extend(best);
    }
    found
}

fn sides(roots: &Roots, guard: Val) -> Vec<(Val, Side)> {
    let mut found = Vec::new();
    for val in conjuncts(roots.core, guard) {
        let Form::Scalar(function, args) = &roots.core.vals[val].form else { continue };
        let strict = match function {
            ScalarFn::Eq => 0,
            ScalarFn::Le => 0,
            ScalarFn::Lt => 1,
            _ => continue,
        };
        // left + strict <= right, with one variable of a root on each side in the end.
        let (Some(left), Some(right)) = (point_of(roots.core, args[0]), point_of(roots.core, args[1])) else {
            continue;
        };
        let Some((below, above, gap)) = one_each(roots, &left, &right, strict) else { continue };
        let side = |bounded, to, low, high| (val, Side { bounded, to, low, high });
        let Some(back) = gap.neg() else { continue };
        found.push(side(below, above, None, Some(gap)));
        found.push(side(above, below, Some(back), None));
        if *function == ScalarFn::Eq {
            found.push(side(below, above, Some(gap), None));
            found.push(side(above, below, None, Some(back)));
        }
    }
    found
}

/// `(i, j, c)` where `left + strict <= right` says `i <= j + c`, in places of the root of i and j.
fn one_each(roots: &Roots, left: &Point, right: &Point, strict: i64) -> Option<(AxisVar, AxisVar, Ratio)> {
    let (Point::Affine(left), Point::Affine(right)) = (left, right) else { return None };
    let mut terms: Vec<(AxisVar, i64)> = Vec::new();
    for (affine, sign) in [(left, 1), (right, -1)] {
        for (axis, factor) in &affine.terms {
            let factor = factor.as_const()?.checked_mul(sign)?;
            match terms.iter_mut().find(|(present, _)| present == axis) {
                Some((_, present)) => *present = present.checked_add(factor)?,
                None => terms.push((*axis, factor)),
            }
        }
    }
    terms.retain(|(_, factor)| *factor != 0);
    let (below, above) = match terms[..] {
        [(below, 1), (above, -1)] | [(above, -1), (below, 1)] => (below, above),
        _ => return None,
    };
    let [root] = roots.of_axis(below)[..] else { return None };
    let rate = roots.rate(below, root)?;
    if roots.rate(above, root)? != rate {
        return None;
    }
    let gap = right.constant.sub(&left.constant).ok()?.as_const()?.checked_sub(strict)?;
    Some((below, above, rate.mul(Ratio::whole(gap))?))
}
