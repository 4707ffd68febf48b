//! Index expressions as points of a grid: how they move when a root is translated, and which places they name.
//!
//! An axis of size `(H + 3) / 2` runs over H at rate 2: neighbours lie two apart. The rate follows from the size alone, so
//! every axis with that size has it. Translating H by s moves an index over it by s / 2.

use cranelift_entity::SecondaryMap;
use smallvec::SmallVec;

use crate::axes::{Dim, DimVar, Ratio, Scale};

use super::super::core::*;
use super::reach::Center;
use super::weaken::{self, Weakening};

/// The roots of a core, as the rules look at them.
pub struct Roots<'a> {
    pub core: &'a Core,
    vars: Vec<DimVar>,
    axes: SecondaryMap<AxisVar, Running>,
}

/// What the size of an axis, or its own root, says of the roots: found once, since every rule asks for it.
#[derive(Clone, Debug, Default)]
struct Running {
    over: SmallVec<[Root; 2]>,
    measured: SmallVec<[Root; 2]>,
    /// How far apart neighbouring entries are on the one root in `over`.
    scale: Option<Scale>,
}

/// How an index expression follows the translations of a root.
#[derive(Clone, Debug)]
pub struct Weight {
    /// By how much it grows when the root is translated by one.
    pub weight: Scale,
    /// The translations of which this holds: the multiples.
    pub period: Scale,
}

impl Weight {
    const NONE: Weight = Weight { weight: Scale::ZERO, period: Scale::ONE };
}

/// `index variable + [low, high]`, in places of the root: where an index expression lies. Or so far from the first place.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    pub to: Center,
    pub low: Option<Ratio>,
    pub high: Ratio,
    /// Behind the last place comes the first one.
    pub wraps: bool,
}

/// `Σ coefficient * variable + [low, high]`, over the variables of one root; `None` is without end.
struct Linear {
    terms: Vec<(AxisVar, Ratio)>,
    low: Option<Ratio>,
    high: Option<Ratio>,
}

impl<'a> Roots<'a> {
    pub fn new(core: &'a Core) -> Roots<'a> {
        let vars = core.roots.values().map(|info| DimVar::new(info.name.as_str())).collect();
        let mut roots = Roots { core, vars, axes: SecondaryMap::with_capacity(core.axes.len()) };
        for (axis, info) in core.axes.iter() {
            roots.axes[axis] = roots.running(info);
        }
        roots
    }

    fn running(&self, info: &AxisInfo) -> Running {
        let size = info.size.as_ref().filter(|size| size.as_const().is_none());
        let over = match info.root {
            Some(root) => SmallVec::from_slice(&[root]),
            None => size.map(|size| self.mentioned(size)).unwrap_or_default(),
        };
        let mut measured = over.clone();
        if let (Some(size), false) = (size, weaken::is(Weakening::OtherLength)) {
            measured.extend(self.made_of(size));
            measured.sort();
            measured.dedup();
        }
        let scale = match over[..] {
            [root] if info.size.as_ref() == Some(&self.core.roots[root].size) => Some(Scale::ONE),
            [root] => {
                // What else scales it must not be the root's size under another name.
                let size = info.size.as_ref().map(|size| self.core.expand(size));
                let slope = size.and_then(|size| size.scale(self.var(root)));
                slope.and_then(|slope| slope.inverse()).filter(Scale::is_positive)
            }
            _ => None,
        };
        Running { over, measured, scale }
    }

    /// The roots whose positions an axis runs over. An axis without a root whose size follows from one counts for it:
    /// it may be zipped with it.
    pub fn of_axis(&self, axis: AxisVar) -> &[Root] {
        &self.axes[axis].over
    }

    pub fn of_axes(&self, axes: &[AxisVar]) -> Vec<Root> {
        let mut roots: Vec<Root> = axes.iter().flat_map(|&axis| self.of_axis(axis)).copied().collect();
        roots.sort();
        roots.dedup();
        roots
    }

    pub fn has(&self, axis: AxisVar, root: Root) -> bool {
        self.of_axis(axis).contains(&root)
    }

    pub fn mentioned(&self, dim: &Dim) -> SmallVec<[Root; 2]> {
        if dim.as_const().is_some() {
            return SmallVec::new();
        }
        let roots = self.core.roots.keys().zip(&self.vars);
        roots.filter(|(_, var)| dim.mentions(var)).map(|(root, _)| root).collect()
    }

    /// The roots that a size's value depends on: those that fresh names of sizes stand for, too.
    pub fn made_of(&self, dim: &Dim) -> SmallVec<[Root; 2]> {
        self.mentioned(&self.core.expand(dim))
    }

    /// The roots that an axis says something of by how many entries it has: those it runs over, and those that its size
    /// is computed from under another name.
    pub fn measured_by(&self, axis: AxisVar) -> &[Root] {
        &self.axes[axis].measured
    }

    /// How many places beyond that of an entry the root must have for the entry to be there: an axis of size `H / 2` has its
    /// entry q, at the place 2 q, where there is a place 2 q + 1. Less than zero where the axis has more entries.
    pub fn lead(&self, axis: AxisVar, root: Root) -> Option<Ratio> {
        if self.is_whole(axis, root) {
            return Some(Ratio::ZERO);
        }
        let (slope, offset, under) = self.core.axes[axis].size.as_ref()?.as_floor(self.var(root))?;
        // (slope * H + offset) / under > q where slope * H >= under * (q + 1) - offset; and H is whole.
        let least = Ratio::new(under.checked_sub(offset)?, slope)?;
        if slope == 1 { least.add(Ratio::whole(-1)) } else { Some(least) }
    }

    pub fn var(&self, root: Root) -> &DimVar {
        use cranelift_entity::EntityRef;
        &self.vars[root.index()]
    }

    /// The distance between neighbouring entries of an axis, in places of the root. `None` where the axis is no grid over it, or no number
    /// says how far.
    pub fn rate(&self, axis: AxisVar, root: Root) -> Option<Ratio> {
        self.scale(axis, root)?.as_ratio()
    }

    /// The same where dims may say how far: k for an axis of size `H / k`.
    pub fn scale(&self, axis: AxisVar, root: Root) -> Option<&Scale> {
        match self.of_axis(axis) {
            [only] if *only == root => self.axes[axis].scale.as_ref(),
            _ => None,
        }
    }

    /// An axis with exactly the root's entries.
    pub fn is_whole(&self, axis: AxisVar, root: Root) -> bool {
        self.core.axes[axis].size.as_ref() == Some(&self.core.roots[root].size)
    }

    /// Two axes whose entries may be put together, one with one: of the same roots and the same size. A part of an axis
    /// does not agree with it, though both begin at the same place.
    pub fn agree(&self, left: AxisVar, right: AxisVar) -> bool {
        let (a, b) = (&self.core.axes[left].size, &self.core.axes[right].size);
        let same = a == b
            || a.as_ref().zip(b.as_ref()).is_some_and(|(a, b)| self.core.facts.same(a, b).unwrap_or(false));
        same && self.of_axis(left) == self.of_axis(right)
    }

    // ---- weights -------------------------------------------------------------------------------

    /// How a point follows the translations of a root; `None` where it does not follow them evenly.
    pub fn weight(&self, point: &Point, root: Root) -> Option<Weight> {
        // A number that is the same under all translations: the root's own size must not scale it.
        let scaling = |dim: &Dim| if self.made_of(dim).contains(&root) { None } else { Scale::of(dim) };
        match point {
            Point::Affine(affine) => {
                let mut total = Weight::NONE;
                for (axis, factor) in &affine.terms {
                    if self.mentioned(factor).contains(&root) {
                        return None;
                    }
                    if !self.has(*axis, root) {
                        continue;
                    }
                    let rate = self.scale(*axis, root)?;
                    let moved = scaling(factor)?.div(rate)?;
                    // The axis moves by whole entries where the root moves by multiples of the rate's numerator.
                    let period = total.period.multiple(&rate.numerator())?;
                    total = Weight { weight: total.weight.add(&moved)?, period };
                }
                Some(total)
            }
            Point::Div(inner, by) | Point::Rem(inner, by) => {
                let inner = self.weight(inner, root)?;
                // What does not move is the same number again; the root's size, too, is the same.
                if inner.weight.is_zero() {
                    return Some(inner);
                }
                let by = scaling(by)?;
                let period = inner.period.multiple(&whole_turns(&inner.weight, &by)?)?;
                let weight = match point {
                    Point::Div(..) => inner.weight.div(&by)?,
                    _ => Scale::ZERO,
                };
                Some(Weight { weight, period })
            }
            Point::Sum(parts) => {
                let mut total = Weight::NONE;
                for (factor, part) in parts {
                    if self.mentioned(factor).contains(&root) {
                        return None;
                    }
                    let part = self.weight(part, root)?;
                    let scaled = match part.weight.is_zero() {
                        true => Scale::ZERO,
                        false => part.weight.mul(&scaling(factor)?)?,
                    };
                    let period = total.period.multiple(&part.period)?;
                    total = Weight { weight: total.weight.add(&scaled)?, period };
                }
                Some(total)
            }
        }
    }

    /// The roots whose sizes stand in a point: in a constant, a factor, a divisor.
    pub fn sizes_in(&self, point: &Point) -> SmallVec<[Root; 2]> {
        match point {
            Point::Affine(affine) => {
                let factors = affine.terms.iter().flat_map(|(_, factor)| self.made_of(factor));
                self.made_of(&affine.constant).into_iter().chain(factors).collect()
            }
            Point::Div(inner, by) | Point::Rem(inner, by) => {
                self.sizes_in(inner).into_iter().chain(self.made_of(by)).collect()
            }
            Point::Sum(parts) => parts
                .iter()
                .flat_map(|(factor, part)| self.made_of(factor).into_iter().chain(self.sizes_in(part)))
                .collect(),
        }
    }

    /// What is taken modulo the axis' own size, and whether it is.
    pub fn unwrapped<'p>(&self, point: &'p Point, axis: AxisVar) -> (&'p Point, bool) {
        match point {
            Point::Rem(inner, by) if Some(by) == self.core.axes[axis].size.as_ref() => (inner, true),
            _ => (point, false),
        }
    }

    /// Whether a point stays as it is under cyclic shifts of a root by multiples of its period: `(i - j) % R`, or `i % 2` where
    /// `R % 2 == 0`. It must not move with its variables, nor change where one of them meets the first place again.
    pub fn goes_round(&self, point: &Point, root: Root) -> bool {
        let still = self.weight(point, root).is_some_and(|weight| weight.weight.is_zero());
        let zero = Dim::constant(0);
        let turns = self.turns(point, root).unwrap_or_default();
        still
            && !turns.is_empty()
            && turns.iter().all(|turn| self.core.facts.same(turn, &zero).unwrap_or(false))
    }

    /// By how much a point grows when one of its variables over a root goes on from the last place to the first one as if places went on:
    /// for each of them. `None`: not evenly, or a variable does not run over the whole ring.
    pub fn turns(&self, point: &Point, root: Root) -> Option<Vec<Dim>> {
        let mut binders: Vec<AxisVar> =
            point.axes().into_iter().filter(|axis| self.has(*axis, root)).collect();
        binders.sort();
        binders.dedup();
        binders.into_iter().map(|binder| self.turn(point, binder, root)).collect()
    }

    fn turn(&self, point: &Point, binder: AxisVar, root: Root) -> Option<Dim> {
        let exact = |over: &Dim, by: &Dim| {
            let rest = over.rem(by).ok();
            rest.is_some_and(|rest| self.core.facts.same(&rest, &Dim::constant(0)).unwrap_or(false))
        };
        match point {
            Point::Affine(affine) => {
                let mut total = Dim::constant(0);
                for (_, factor) in affine.terms.iter().filter(|(axis, _)| *axis == binder) {
                    if !self.whole_ring(binder, root) {
                        return None;
                    }
                    total = total.add(&self.core.size(binder).mul(factor).ok()?).ok()?;
                }
                Some(total)
            }
            Point::Div(inner, by) => {
                let turn = self.turn(inner, binder, root)?;
                if exact(&turn, by) { self.core.facts.normalise(&turn.div(by).ok()?).ok() } else { None }
            }
            Point::Rem(inner, by) => {
                let turn = self.turn(inner, binder, root)?;
                exact(&turn, by).then(|| Dim::constant(0))
            }
            Point::Sum(parts) => {
                let mut total = Dim::constant(0);
                for (factor, part) in parts {
                    let turn = self.turn(part, binder, root)?;
                    total = total.add(&turn.mul(factor).ok()?).ok()?;
                }
                Some(total)
            }
        }
    }

    /// Whether an axis meets the ring's first place again after its last entry.
    pub fn whole_ring(&self, axis: AxisVar, root: Root) -> bool {
        let round = || {
            let rate = self.scale(axis, root)?;
            let size = self.core.size(axis).mul(&rate.numerator().as_dim()?).ok()?;
            let ring = self.core.roots[root].size.mul(&rate.denominator().as_dim()?).ok()?;
            self.core.facts.same(&size, &ring).ok()
        };
        round().unwrap_or(false)
    }

    // ---- places --------------------------------------------------------------------------------

    /// Where an index into `axis` lies, relative to the one variable over the root that it follows.
    pub fn anchor(&self, point: &Point, axis: AxisVar, root: Root) -> Option<Anchor> {
        let (point, wraps) = self.unwrapped(point, axis);
        let rate = self.rate(axis, root)?;
        let linear = self.linear(point, root)?;
        let to = match linear.terms[..] {
            [] => Center::First,
            [(to, factor)] if rate.mul(factor)? == self.rate(to, root)? => Center::Index(to),
            _ => return None,
        };
        let low = match linear.low {
            Some(low) => Some(low.mul(rate)?),
            None => None,
        };
        let wraps = wraps && !weaken::is(Weakening::NoWrap);
        Some(Anchor { to, low, high: linear.high?.mul(rate)?, wraps })
    }

    /// A number that a size is not below, where one is known: itself, or 0 for `k - 1` where `k >= 1`.
    fn above(&self, dim: &Dim) -> Option<Ratio> {
        let known = || self.core.facts.at_least(dim, 0) || weaken::is(Weakening::AnySized);
        let least = dim.as_const().or_else(|| known().then_some(0));
        least.map(Ratio::whole)
    }

    fn linear(&self, point: &Point, root: Root) -> Option<Linear> {
        match point {
            Point::Affine(affine) => {
                if self.mentioned(&affine.constant).contains(&root) {
                    return None;
                }
                let mut linear = Linear { terms: Vec::new(), low: None, high: None };
                let (mut low, mut high) = (Some(affine.constant.clone()), Some(affine.constant.clone()));
                for (axis, factor) in &affine.terms {
                    if self.has(*axis, root) {
                        linear.terms.push((*axis, Ratio::whole(factor.as_const()?)));
                        continue;
                    }
                    // A number from 0 on: as far as the axis goes.
                    let size = self.core.size(*axis);
                    let sized = size.as_const().is_none_or(|size| size > 0);
                    let most = || size.sub(&Dim::constant(1)).ok()?.mul(factor).ok();
                    let most = if sized { most() } else { None };
                    let further =
                        |end: Option<Dim>| end.zip(most).and_then(|(end, most)| end.add(&most).ok());
                    match factor.neg() {
                        _ if self.core.facts.at_least(factor, 0) => high = further(high),
                        Ok(back) if self.core.facts.at_least(&back, 0) => low = further(low),
                        _ => (low, high) = (None, None),
                    }
                }
                linear.low = low.and_then(|low| self.above(&low));
                linear.high = high.and_then(|high| self.above(&high.neg().ok()?)?.neg());
                Some(linear)
            }
            Point::Div(inner, by) => {
                let inner = self.linear(inner, root)?;
                let by = by.as_const().filter(|by| *by > 0)?;
                let part = Ratio::new(1, by)?;
                let terms = inner.terms.iter().map(|(axis, factor)| Some((*axis, factor.mul(part)?)));
                let lost = inner.low.and_then(|low| low.add(Ratio::whole(1 - by)));
                Some(Linear {
                    terms: terms.collect::<Option<_>>()?,
                    low: lost.and_then(|low| low.mul(part)),
                    high: inner.high.and_then(|high| high.mul(part)),
                })
            }
            Point::Rem(_, by) => {
                let by = by.as_const().filter(|by| *by > 0)?;
                Some(Linear { terms: Vec::new(), low: Some(Ratio::ZERO), high: Some(Ratio::whole(by - 1)) })
            }
            Point::Sum(parts) => {
                let mut total = Linear { terms: Vec::new(), low: Some(Ratio::ZERO), high: Some(Ratio::ZERO) };
                for (factor, part) in parts {
                    let part = self.linear(part, root)?;
                    let factor = Ratio::whole(factor.as_const()?);
                    for (axis, own) in part.terms {
                        let own = own.mul(factor)?;
                        match total.terms.iter_mut().find(|(present, _)| *present == axis) {
                            Some((_, present)) => *present = present.add(own)?,
                            None => total.terms.push((axis, own)),
                        }
                    }
                    let ends = [part.low, part.high].map(|end| end.and_then(|end| end.mul(factor)));
                    let [low, high] = if factor < Ratio::ZERO { [ends[1], ends[0]] } else { ends };
                    total.low = sum(total.low, low);
                    total.high = sum(total.high, high);
                }
                total.terms.retain(|(_, factor)| *factor != Ratio::ZERO);
                Some(total)
            }
        }
    }
}

fn sum(left: Option<Ratio>, right: Option<Ratio>) -> Option<Ratio> {
    left?.add(right?)
}

/// A translation of the root whose multiples move an index by whole multiples of `by`: the least one where no dims are in it.
fn whole_turns(weight: &Scale, by: &Scale) -> Option<Scale> {
    let turn = by.div(weight)?.numerator();
    if turn.is_positive() { Some(turn) } else { turn.mul(&Scale::from(Ratio::whole(-1))) }
}

#[cfg(test)]
mod tests {
    use super::{Ratio, Scale, whole_turns};

    #[test]
    fn periods() {
        let whole = |value| Scale::from(Ratio::whole(value));
        let half = Scale::from(Ratio::new(1, 2).unwrap());
        assert_eq!(whole(4).multiple(&whole(6)), Some(whole(12)));
        assert_eq!(whole(1).multiple(&whole(5)), Some(whole(5)));
        // An index at rate 1/2 moves by 2 for each place of the root: 3 divides its moves after 3 places.
        assert_eq!(whole_turns(&whole(2), &whole(3)), Some(whole(3)));
        assert_eq!(whole_turns(&whole(2), &whole(4)), Some(whole(2)));
        assert_eq!(whole_turns(&half, &whole(3)), Some(whole(6)));
        assert_eq!(whole_turns(&whole(-1), &whole(3)), Some(whole(3)));
    }
}
