//! Arithmetic on the index expressions of views: normal forms, substitution, values.

use super::sets::{set, union};
use super::{Affine, Axis, AxisSet, Index, IndexMap, Op, Outside};
use crate::axes::{Dim, DimError};

impl Affine {
    pub fn constant(constant: impl Into<Dim>) -> Affine {
        Affine { constant: constant.into(), terms: Default::default() }
    }

    pub fn axis(axis: Axis) -> Affine {
        Affine { constant: 0.into(), terms: [(axis, Dim::from(1))].into_iter().collect() }
    }

    pub fn plus(&self, other: &Affine) -> Result<Affine, DimError> {
        let mut sum = Affine { constant: self.constant.add(&other.constant)?, terms: Default::default() };
        let at = |affine: &Affine, axis| {
            affine.terms.iter().find(|(a, _)| *a == axis).map_or(Dim::from(0), |(_, factor)| factor.clone())
        };
        for axis in set(self.terms.iter().chain(&other.terms).map(|(axis, _)| *axis)) {
            let factor = at(self, axis).add(&at(other, axis))?;
            if factor.as_const() != Some(0) {
                sum.terms.push((axis, factor));
            }
        }
        Ok(sum)
    }

    pub fn times(&self, factor: &Dim) -> Result<Affine, DimError> {
        if factor.as_const() == Some(0) {
            return Ok(Affine::constant(0));
        }
        let terms = self.terms.iter().map(|(axis, own)| Ok((*axis, own.mul(factor)?)));
        Ok(Affine { constant: self.constant.mul(factor)?, terms: terms.collect::<Result<_, DimError>>()? })
    }

    /// `(least, greatest)` for axes of these sizes, where every coefficient's sign is known.
    pub fn bounds(&self, size: &dyn Fn(Axis) -> Dim) -> Option<(Dim, Dim)> {
        let (mut low, mut high) = (self.constant.clone(), self.constant.clone());
        for (axis, factor) in &self.terms {
            let reach = size(*axis).sub(&1.into()).ok()?.mul(factor).ok()?;
            if factor.at_least(0) {
                high = high.add(&reach).ok()?;
            } else if factor.neg().ok()?.at_least(0) {
                low = low.add(&reach).ok()?;
            } else {
                return None;
            }
        }
        Some((low, high))
    }

    /// Whether all values lie in `0..end`, as far as that can be proved.
    pub fn lies_below(&self, end: &Dim, size: &dyn Fn(Axis) -> Dim) -> bool {
        let proved =
            |(low, high): (Dim, Dim)| low.at_least(0) && end.sub(&high).is_ok_and(|gap| gap.at_least(1));
        self.bounds(size).is_some_and(proved)
    }

    /// `(q, r)` with `self == divisor * q + r`, `q` as large as exact division of single terms allows.
    fn split(&self, divisor: &Dim) -> Result<(Affine, Affine), DimError> {
        let (mut quotient, mut rest) = (Affine::constant(0), Affine::constant(0));
        for (axis, factor) in &self.terms {
            match factor.div_exact(divisor) {
                Some(exact) => quotient.terms.push((*axis, exact)),
                None => rest.terms.push((*axis, factor.clone())),
            }
        }
        match self.constant.div_exact(divisor) {
            Some(exact) => quotient.constant = exact,
            None => {
                quotient.constant = self.constant.div(divisor)?;
                rest.constant = self.constant.rem(divisor)?;
            }
        }
        Ok((quotient, rest))
    }
}

impl Index {
    pub fn axis(axis: Axis) -> Index {
        Index::Affine(Affine::axis(axis))
    }

    pub fn constant(value: impl Into<Dim>) -> Index {
        Index::Affine(Affine::constant(value))
    }

    /// The axis, where the index is nothing else.
    pub fn as_axis(&self) -> Option<Axis> {
        match self {
            Index::Affine(Affine { constant, terms }) if constant.as_const() == Some(0) => {
                match terms.as_slice() {
                    [(axis, factor)] if factor.as_const() == Some(1) => Some(*axis),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    pub fn as_affine(&self) -> Option<&Affine> {
        match self {
            Index::Affine(affine) => Some(affine),
            _ => None,
        }
    }

    pub fn plus(&self, other: &Index) -> Result<Index, DimError> {
        Index::sum([(Dim::from(1), self.clone()), (Dim::from(1), other.clone())])
    }

    pub fn minus(&self, other: &Index) -> Result<Index, DimError> {
        Index::sum([(Dim::from(1), self.clone()), (Dim::from(-1), other.clone())])
    }

    pub fn times(&self, factor: &Dim) -> Result<Index, DimError> {
        Index::sum([(factor.clone(), self.clone())])
    }

    /// Floor division by a positive dim.
    #[expect(clippy::should_implement_trait, reason = "the right side is a dim, as in `times`")]
    pub fn div(self, by: &Dim) -> Index {
        if by.as_const() == Some(1) { self } else { Index::Div(Box::new(self), by.clone()) }
    }

    /// The remainder by a positive dim.
    #[expect(clippy::should_implement_trait, reason = "the right side is a dim, as in `times`")]
    pub fn rem(self, by: &Dim) -> Index {
        if by.as_const() == Some(1) { Index::constant(0) } else { Index::Rem(Box::new(self), by.clone()) }
    }

    /// `Σ factor * part`, all affine parts in one, which stands first.
    pub fn sum(parts: impl IntoIterator<Item = (Dim, Index)>) -> Result<Index, DimError> {
        let mut affine = Affine::constant(0);
        let mut others: Vec<(Dim, Index)> = Vec::new();
        let mut work: Vec<(Dim, Index)> = parts.into_iter().collect();
        work.reverse();
        while let Some((factor, part)) = work.pop() {
            match part {
                Index::Affine(part) => affine = affine.plus(&part.times(&factor)?)?,
                Index::Sum(parts) => {
                    for (own, part) in parts.into_iter().rev() {
                        work.push((own.mul(&factor)?, part));
                    }
                }
                part => match others.iter_mut().find(|(_, other)| *other == part) {
                    Some((own, _)) => *own = own.add(&factor)?,
                    None => others.push((factor, part)),
                },
            }
        }
        others.retain(|(factor, _)| factor.as_const() != Some(0));
        if let Some((factor, whole)) = take_division(&mut others)? {
            let parts = others.into_iter().chain([(1.into(), Index::Affine(affine)), (factor, whole)]);
            return Index::sum(parts);
        }
        if others.is_empty() {
            return Ok(Index::Affine(affine));
        }
        if affine == Affine::constant(0) {
            if let [(factor, _)] = others.as_slice()
                && factor.as_const() == Some(1)
            {
                return Ok(others.swap_remove(0).1);
            }
        } else {
            others.insert(0, (1.into(), Index::Affine(affine)));
        }
        Ok(Index::Sum(others))
    }

    pub fn mentions(&self, axis: Axis) -> bool {
        match self {
            Index::Affine(affine) => affine.terms.iter().any(|(own, _)| *own == axis),
            Index::Div(index, _) | Index::Rem(index, _) => index.mentions(axis),
            Index::Sum(parts) => parts.iter().any(|(_, part)| part.mentions(axis)),
        }
    }

    /// The axes of the expression.
    pub fn mentioned(&self) -> AxisSet {
        match self {
            Index::Affine(affine) => affine.terms.iter().map(|(axis, _)| *axis).collect(),
            Index::Div(index, _) | Index::Rem(index, _) => index.mentioned(),
            Index::Sum(parts) => {
                parts.iter().fold(AxisSet::new(), |all, (_, part)| union(&all, &part.mentioned()))
            }
        }
    }

    /// The expression with other expressions in place of axes, all at once, in the normal form for axes of these sizes:
    /// `(E * h + e) / E` is `h` where `e` is known to lie in `0..E`.
    pub fn substitute(
        &self,
        replace: &dyn Fn(Axis) -> Option<Index>,
        size: &dyn Fn(Axis) -> Dim,
    ) -> Result<Index, DimError> {
        match self {
            Index::Affine(affine) => {
                let constant = (1.into(), Index::constant(affine.constant.clone()));
                let terms = affine.terms.iter().map(|(axis, factor)| {
                    (factor.clone(), replace(*axis).unwrap_or_else(|| Index::axis(*axis)))
                });
                Index::sum(std::iter::once(constant).chain(terms))
            }
            Index::Sum(parts) => {
                let parts = parts.iter().map(|(f, part)| Ok((f.clone(), part.substitute(replace, size)?)));
                Index::sum(parts.collect::<Result<Vec<_>, DimError>>()?)
            }
            Index::Div(index, by) => {
                let index = index.substitute(replace, size)?;
                if let Index::Affine(affine) = &index {
                    let (quotient, rest) = affine.split(by)?;
                    if rest.lies_below(by, size) {
                        return Ok(Index::Affine(quotient));
                    }
                }
                Ok(index.div(by))
            }
            Index::Rem(index, by) => {
                let index = index.substitute(replace, size)?;
                if let Index::Affine(affine) = &index {
                    let (_, rest) = affine.split(by)?;
                    let whole = Index::Affine(rest.clone());
                    return Ok(if rest.lies_below(by, size) { whole } else { whole.rem(by) });
                }
                Ok(index.rem(by))
            }
        }
    }

    /// The value for these axes and dims.
    pub fn eval(
        &self,
        axis: &dyn Fn(Axis) -> i64,
        dim: &dyn Fn(&Dim) -> Result<i64, DimError>,
    ) -> Result<i64, DimError> {
        let product = |a: i64, b: i64| a.checked_mul(b).ok_or(DimError::Overflow);
        let sum = |a: i64, b: i64| a.checked_add(b).ok_or(DimError::Overflow);
        match self {
            Index::Affine(affine) => {
                let terms = affine.terms.iter();
                terms.into_iter().try_fold(dim(&affine.constant)?, |total, (a, factor)| {
                    sum(total, product(dim(factor)?, axis(*a))?)
                })
            }
            Index::Sum(parts) => parts.iter().try_fold(0, |total, (factor, part)| {
                sum(total, product(dim(factor)?, part.eval(axis, dim)?)?)
            }),
            Index::Div(index, by) | Index::Rem(index, by) => {
                let (value, by) = (index.eval(axis, dim)?, dim(by)?);
                if by <= 0 {
                    return Err(DimError::DivisionByZero);
                }
                Ok(if matches!(self, Index::Div(..)) { value.div_euclid(by) } else { value.rem_euclid(by) })
            }
        }
    }
}

/// Takes out quotient and remainder of one division where they make up the whole: `f b (x / b) + f (x % b)` is `f x`.
fn take_division(parts: &mut Vec<(Dim, Index)>) -> Result<Option<(Dim, Index)>, DimError> {
    for at in 0..parts.len() {
        let (factor, Index::Rem(x, by)) = &parts[at] else { continue };
        let wanted = (factor.mul(by)?, Index::Div(x.clone(), by.clone()));
        if let Some(quotient) = parts.iter().position(|part| *part == wanted) {
            let whole = (factor.clone(), (**x).clone());
            parts.remove(at.max(quotient));
            parts.remove(at.min(quotient));
            return Ok(Some(whole));
        }
    }
    Ok(None)
}

impl IndexMap {
    /// Every axis on the left becomes the index on the right.
    pub fn new(at: impl IntoIterator<Item = (Axis, Index)>, outside: Outside) -> IndexMap {
        let mut map = IndexMap { at: at.into_iter().collect(), outside };
        map.at.sort_by_key(|(axis, _)| *axis);
        map
    }

    /// A map that only gives axes other identities.
    pub fn rename(pairs: &[(Axis, Axis)]) -> IndexMap {
        IndexMap::new(pairs.iter().map(|(from, to)| (*from, Index::axis(*to))), Outside::Never)
    }

    pub fn get(&self, axis: Axis) -> Option<&Index> {
        self.at.iter().find(|(named, _)| *named == axis).map(|(_, index)| index)
    }

    pub fn names(&self, axis: Axis) -> bool {
        self.get(axis).is_some()
    }

    pub fn named(&self) -> AxisSet {
        set(self.at.iter().map(|(axis, _)| *axis))
    }

    /// The axes of all indices.
    pub fn mentioned(&self) -> AxisSet {
        self.at.iter().fold(AxisSet::new(), |all, (_, index)| union(&all, &index.mentioned()))
    }

    /// Removes the entries that map an axis to itself, where no other mentions it.
    pub fn drop_identities(&mut self) {
        while let Some(at) = self.at.iter().position(|(axis, index)| {
            let elsewhere = self.at.iter().any(|(other, index)| other != axis && index.mentions(*axis));
            index.as_axis() == Some(*axis) && !elsewhere
        }) {
            self.at.remove(at);
        }
    }

    /// The pairs `(from, to)`, where the map does nothing but rename, each axis to one of its own.
    pub fn as_rename(&self) -> Option<Vec<(Axis, Axis)>> {
        let pairs: Option<Vec<_>> =
            self.at.iter().map(|(from, index)| Some((*from, index.as_axis()?))).collect();
        let pairs = pairs?;
        (set(pairs.iter().map(|(_, to)| *to)).len() == pairs.len()).then_some(pairs)
    }
}

impl Op {
    /// All axes in the operator's payload.
    pub fn all_axes(&self) -> AxisSet {
        match self {
            Op::Position(axis) | Op::Gather { axis } => AxisSet::from_slice(&[*axis]),
            Op::Reduce { over, .. } | Op::Broadcast(over) => over.clone(),
            Op::View(map) | Op::Fold(map) => union(&map.named(), &map.mentioned()),
            Op::Scatter { into, over, .. } => union(over, &[*into]),
            Op::Random { order, .. } => set(order.iter().copied()),
            Op::Sort { axis, into, .. } => set([*axis, *into]),
            Op::Scan(scan) => AxisSet::from_slice(&[scan.axis]),
            _ => AxisSet::new(),
        }
    }

    /// Puts other axes in the place of all. `new` must keep their order and keep them apart.
    pub fn map_axes(&mut self, new: &dyn Fn(Axis) -> Axis) {
        match self {
            Op::Position(axis) | Op::Gather { axis } => *axis = new(*axis),
            Op::Reduce { over, .. } | Op::Broadcast(over) => {
                over.iter_mut().for_each(|axis| *axis = new(*axis))
            }
            Op::View(map) | Op::Fold(map) => {
                for (axis, index) in &mut map.at {
                    *axis = new(*axis);
                    index.map_axes(new);
                }
            }
            Op::Scatter { into, over, .. } => {
                *into = new(*into);
                over.iter_mut().for_each(|axis| *axis = new(*axis));
            }
            Op::Sort { axis, into, .. } => {
                *axis = new(*axis);
                *into = new(*into);
            }
            Op::Random { order, .. } => order.iter_mut().for_each(|axis| *axis = new(*axis)),
            Op::Scan(scan) => scan.axis = new(scan.axis),
            _ => {}
        }
    }
}

impl Index {
    fn map_axes(&mut self, new: &dyn Fn(Axis) -> Axis) {
        match self {
            Index::Affine(affine) => affine.terms.iter_mut().for_each(|(axis, _)| *axis = new(*axis)),
            Index::Div(index, _) | Index::Rem(index, _) => index.map_axes(new),
            Index::Sum(parts) => parts.iter_mut().for_each(|(_, part)| part.map_axes(new)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cranelift_entity::EntityRef;

    #[test]
    fn splitting_what_was_merged_is_the_identity() {
        let (h, e, heads, width) = (Axis::new(0), Axis::new(1), Dim::var("h"), Dim::var("E"));
        let size = |axis| if axis == h { heads.clone() } else { width.clone() };
        let merged = Index::sum([(width.clone(), Index::axis(h)), (1.into(), Index::axis(e))]).unwrap();
        let m = Axis::new(2);
        let replace = |axis| (axis == m).then(|| merged.clone());
        let div = Index::axis(m).div(&width).substitute(&replace, &size).unwrap();
        let rem = Index::axis(m).rem(&width).substitute(&replace, &size).unwrap();
        assert_eq!(div.as_axis(), Some(h));
        assert_eq!(rem.as_axis(), Some(e));
    }

    #[test]
    fn sums_are_in_normal_form() {
        let (i, j) = (Index::axis(Axis::new(0)), Index::axis(Axis::new(1)));
        let twice = i.times(&2.into()).unwrap();
        assert_eq!(twice.minus(&i).unwrap(), i);
        let half = j.clone().div(&2.into());
        let sum = half.plus(&i).unwrap();
        assert_eq!(sum.minus(&half).unwrap(), i);
        assert_eq!(sum.minus(&i).unwrap(), half);
        assert_eq!(sum.mentioned().len(), 2);
    }
}
