//! What the top-level conjuncts of a guard say of index variables: `i == j`, `i <= j + c`, bands of two comparisons.

use crate::axes::{Dim, Ratio};
use crate::graph::Literal;
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::super::core::*;
use super::points::Roots;
use super::weaken::{self, Weakening};

/// `bounded <= to + high` or `bounded >= to + low`, in places of their root.
#[derive(Clone, Copy, Debug)]
struct Side {
    bounded: AxisVar,
    to: AxisVar,
    low: Option<Limit>,
    high: Option<Limit>,
    /// Whether the comparison says no more than the sides that follow from it.
    exact: bool,
}

/// How far: a number of places, or one that sizes say.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    At(Ratio),
    Sized,
}

impl Limit {
    fn known(self) -> Option<Ratio> {
        match self {
            Limit::At(places) => Some(places),
            Limit::Sized => None,
        }
    }
}

/// An index variable lies between `to + low` and `to + high`.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub bounded: AxisVar,
    pub to: AxisVar,
    /// `None`: without end, or as far as sizes say.
    pub low: Option<Ratio>,
    /// `None`: as far as sizes say.
    pub high: Option<Ratio>,
    /// Bounded from both sides.
    pub closed: bool,
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
    let sides: Vec<(Val, Side)> = sides(roots, guard).filter(|(_, side)| side.exact).collect();
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

/// How far a reduction's guard lets each of the variables `over` go, relative to one that is not among them. A sum is guarded also by what
/// makes its terms zero.
pub fn bounds(roots: &Roots, op: Reducer, guard: Option<Val>, over: &[AxisVar], body: Val) -> Vec<Bound> {
    let mut found: Vec<Bound> = Vec::new();
    let guards = guard.into_iter().flat_map(|guard| sides(roots, guard));
    let mut sides: Vec<(Val, Side)> = guards.collect();
    if op == Reducer::Sum {
        sides.extend(terms(roots, body));
    }
    for &bounded in over {
        let own = |to: Option<AxisVar>| {
            sides.iter().map(|(_, side)| *side).filter(move |side| {
                side.bounded == bounded && !over.contains(&side.to) && to.is_none_or(|to| side.to == to)
            })
        };
        let mut best: Option<Bound> = None;
        for to in own(None).map(|side| side.to) {
            let (highs, lows) =
                (own(Some(to)).filter_map(|side| side.high), own(Some(to)).filter_map(|side| side.low));
            let (highs, lows): (Vec<Limit>, Vec<Limit>) = (highs.collect(), lows.collect());
            let (below, above) = (!highs.is_empty(), !lows.is_empty());
            let high = highs.into_iter().filter_map(Limit::known).min();
            let low = lows.into_iter().filter_map(Limit::known).max();
            // Beyond an open side lies the end of the axis: `i <= j + 1` sees whether there is a last entry.
            let high = match high {
                _ if !below => continue,
                Some(high) if high <= Ratio::ZERO || above => Some(high),
                Some(_) if weaken::is(Weakening::OpenBand) => Some(Ratio::ZERO),
                None if above => None,
                _ => continue,
            };
            if best.is_none_or(|best| !best.closed && above) {
                best = Some(Bound { bounded, to, low, high, closed: above });
            }
        }
        found.extend(best);
    }
    found
}

/// What must hold for a term not to be zero: the condition of `if c { … } else { 0 }`, the guard of a softmax whose entry is
/// a factor.
fn terms(roots: &Roots, body: Val) -> Vec<(Val, Side)> {
    let core = roots.core;
    let is_zero = |val: Val| match core.vals[val].form {
        Form::Const(Literal::Float(value)) => value == 0.0,
        Form::Const(Literal::Int(value)) => value == 0,
        _ => false,
    };
    match &core.vals[body].form {
        Form::Scalar(ScalarFn::Select, args) if is_zero(args[2]) => {
            sides(roots, args[0]).chain(terms(roots, args[1])).collect()
        }
        Form::Scalar(ScalarFn::Mul, args) => args.iter().flat_map(|&arg| terms(roots, arg)).collect(),
        Form::Scalar(ScalarFn::Div | ScalarFn::Neg, args) => terms(roots, args[0]),
        Form::Scalar(_, args) if weaken::is(Weakening::AnyTerm) => terms(roots, args[0]),
        Form::Scalar(ScalarFn::Cast(_), args) if core.vals[args[0]].elem == Elem::Of(DType::Bool) => {
            sides(roots, args[0]).collect()
        }
        Form::Reduce { op: Reducer::Softmax, guard: Some(guard), .. } => sides(roots, *guard).collect(),
        Form::Tabulate { body, .. } => terms(roots, *body),
        Form::Rename { of, to } => {
            let shown = core.vals[*of].visible.iter().copied();
            let to: Vec<_> = shown.zip(to.iter().copied().map(Some)).collect();
            renamed(roots, terms(roots, *of), &to)
        }
        Form::Read { of, at, .. } => {
            let binder = |at: &At| match at {
                At::Point(point) => point.as_axis(),
                At::Keep | At::Entry(_) => None,
            };
            let shown = core.vals[*of].visible.iter().copied().zip(at);
            let to: Vec<_> = shown
                .filter(|(_, at)| !matches!(at, At::Keep))
                .map(|(axis, at)| (axis, binder(at)))
                .collect();
            renamed(roots, terms(roots, *of), &to)
        }
        _ => Vec::new(),
    }
}

/// Sides with other index variables in place; a side is lost where a variable has no one variable in its place.
fn renamed(roots: &Roots, sides: Vec<(Val, Side)>, to: &[(AxisVar, Option<AxisVar>)]) -> Vec<(Val, Side)> {
    let to = |axis: AxisVar| match to.iter().find(|(own, _)| *own == axis) {
        Some((_, to)) => to.filter(|&to| roots.agree(axis, to)),
        None => Some(axis),
    };
    let moved =
        |(val, side): (Val, Side)| Some((val, Side { bounded: to(side.bounded)?, to: to(side.to)?, ..side }));
    sides.into_iter().filter_map(moved).collect()
}

fn sides<'a>(roots: &'a Roots, guard: Val) -> impl Iterator<Item = (Val, Side)> + 'a {
    conjuncts(roots.core, guard).into_iter().flat_map(|val| comparison(roots, val))
}

/// What one comparison says of index variables.
fn comparison(roots: &Roots, val: Val) -> Vec<(Val, Side)> {
    let form = |val: Val| match &roots.core.vals[val].form {
        Form::Scalar(function, args) => Some((*function, args.as_slice())),
        _ => None,
    };
    let claims = || {
        let (left, right, strict, both) = match form(val)? {
            (ScalarFn::Eq, [left, right]) => (*left, *right, 0, true),
            (ScalarFn::Le, [left, right]) => (*left, *right, 0, false),
            (ScalarFn::Lt, [left, right]) => (*left, *right, 1, false),
            (ScalarFn::Not, [negated]) => match form(*negated)? {
                (ScalarFn::Le, [left, right]) => (*right, *left, 1, false),
                (ScalarFn::Lt, [left, right]) => (*right, *left, 0, false),
                _ => return None,
            },
            _ => return None,
        };
        let (left, right) = (point_of(roots.core, left)?, point_of(roots.core, right)?);
        let forth = claim(roots, val, &left, &right, strict);
        let back = both.then(|| claim(roots, val, &right, &left, strict));
        Some(forth.into_iter().chain(back.flatten()).flatten().collect())
    };
    claims().unwrap_or_default()
}

/// What `left + strict <= right` says of one variable of a root on each side.
fn claim(roots: &Roots, val: Val, left: &Point, right: &Point, strict: i64) -> Option<[(Val, Side); 2]> {
    // Of whole quotients: `a / k < b / k` only where a < b, `a / k <= b / k` only where a < b + k.
    let (left, right, strict, exact) = match (left, right) {
        (Point::Div(left, by), Point::Div(right, other)) if by == other => {
            let strict = if strict > 0 { 1 } else { 1 - by.as_const()? };
            (&**left, &**right, strict, false)
        }
        _ => (left, right, strict, true),
    };
    let Apart { below, above, gap, rate } = one_each(roots, left, right, strict)?;
    let back = gap.neg().ok()?;
    // A bound that sizes say counts as 0 where it cannot lie on the other side of it.
    let limit = |dim: &Dim, beyond: &Dim| match dim.as_const() {
        Some(places) => Some(Limit::At(rate.mul(Ratio::whole(places))?)),
        None if roots.core.facts.at_least(beyond, 0) => Some(Limit::At(Ratio::ZERO)),
        None => Some(Limit::Sized),
    };
    let (high, low) = (limit(&gap, &back), limit(&back, &back));
    Some([
        (val, Side { bounded: below, to: above, low: None, high, exact }),
        (val, Side { bounded: above, to: below, low, high: None, exact }),
    ])
}

/// `i == j + c`: two positions, of which each says the other.
pub fn is_step(roots: &Roots, left: &Point, right: &Point) -> bool {
    one_each(roots, left, right, 0).is_some()
}

/// `below <= above + gap`, two variables of one root at one rate.
struct Apart {
    below: AxisVar,
    above: AxisVar,
    /// In entries of their axes; the root's size is not in it.
    gap: Dim,
    rate: Ratio,
}

/// What `left + strict <= right` says of two variables.
fn one_each(roots: &Roots, left: &Point, right: &Point, strict: i64) -> Option<Apart> {
    let mut difference = Difference { constant: Dim::constant(0), terms: Vec::new() };
    difference.add(left, 1)?;
    difference.add(right, -1)?;
    difference.terms.retain(|(_, factor)| *factor != 0);
    let (below, above) = match difference.terms[..] {
        [(below, 1), (above, -1)] | [(above, -1), (below, 1)] => (below, above),
        _ => return None,
    };
    let [root] = roots.of_axis(below)[..] else { return None };
    let rate = roots.rate(below, root)?;
    if roots.rate(above, root)? != rate {
        return None;
    }
    let gap = difference.constant.neg().ok()?.sub(&Dim::constant(strict)).ok()?;
    (!roots.made_of(&gap).contains(&root)).then_some(Apart { below, above, gap, rate })
}

/// `constant + Σ factor * axis`, each axis once.
struct Difference {
    constant: Dim,
    terms: Vec<(AxisVar, i64)>,
}

impl Difference {
    /// Adds a multiple of a point; `None` where it divides or has factors that are not known.
    fn add(&mut self, point: &Point, times: i64) -> Option<()> {
        match point {
            Point::Affine(affine) => {
                let constant = affine.constant.mul(&Dim::constant(times)).ok()?;
                self.constant = self.constant.add(&constant).ok()?;
                for (axis, factor) in &affine.terms {
                    let factor = factor.as_const()?.checked_mul(times)?;
                    match self.terms.iter_mut().find(|(present, _)| present == axis) {
                        Some((_, present)) => *present = present.checked_add(factor)?,
                        None => self.terms.push((*axis, factor)),
                    }
                }
                Some(())
            }
            // `position(i)` is a sum of one part.
            Point::Sum(parts) => parts
                .iter()
                .try_for_each(|(factor, part)| self.add(part, factor.as_const()?.checked_mul(times)?)),
            Point::Div(..) | Point::Rem(..) => None,
        }
    }
}
