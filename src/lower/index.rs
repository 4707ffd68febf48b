//! `Ix`: an index or an address, as a sum over loop variables with symbolic coefficients.
//!
//! The only atom besides plain coordinates is the floor quotient: a remainder `x % d` is `x - d * (x / d)`. So addresses through split and
//! merged axes cancel by collecting terms: `(x / d) * d * s + (x % d) * s` is `x * s`.

use smallvec::SmallVec;

use crate::axes::{Dim, DimError};
use crate::graph::{Affine, Axis, Index};
use crate::kernel::{Val, Var};

/// What an index is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Atom {
    /// An axis that no loop runs over yet: addresses in analysis.
    Axis(Axis),
    /// The current step of the enclosing scan over this axis.
    Turn(Axis),
    Var(Var),
    /// An integer that was loaded or computed, i32 or i64.
    Val(Val),
    /// Floor division by a positive dim. The index has no constant beyond `0..dim` and no coefficient that the dim divides.
    Div(Box<(Ix, Dim)>),
}

/// `base + Σ coefficient * atom`, terms sorted by atom, no zero coefficients.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ix {
    pub base: Dim,
    pub terms: SmallVec<[(Atom, Dim); 2]>,
}

/// Knows the number of values of atoms: an atom with extent n lies in `0..n`.
pub trait Extents {
    fn extent(&self, atom: &Atom) -> Option<Dim>;
}

impl Ix {
    pub fn constant(base: Dim) -> Ix {
        Ix { base, terms: SmallVec::new() }
    }

    pub fn zero() -> Ix {
        Ix::constant(Dim::constant(0))
    }

    pub fn atom(atom: Atom) -> Ix {
        Ix { base: Dim::constant(0), terms: SmallVec::from_iter([(atom, Dim::constant(1))]) }
    }

    pub fn is_zero(&self) -> bool {
        self.terms.is_empty() && self.base.as_const() == Some(0)
    }

    /// The atom, where the index is nothing else.
    pub fn as_atom(&self) -> Option<&Atom> {
        match &self.terms[..] {
            [(atom, one)] if one.as_const() == Some(1) && self.base.as_const() == Some(0) => Some(atom),
            _ => None,
        }
    }

    pub fn coefficient(&self, atom: &Atom) -> Option<&Dim> {
        self.terms.iter().find(|(a, _)| a == atom).map(|(_, c)| c)
    }

    /// Whether the atom stands anywhere, also below quotients.
    pub fn mentions(&self, atom: &Atom) -> bool {
        self.terms.iter().any(|(a, _)| match a {
            Atom::Div(parts) => parts.0.mentions(atom),
            _ => a == atom,
        })
    }

    pub fn visit(&self, f: &mut dyn FnMut(&Atom)) {
        for (atom, _) in &self.terms {
            match atom {
                Atom::Div(parts) => parts.0.visit(f),
                _ => f(atom),
            }
        }
    }

    pub fn add(&self, other: &Ix) -> Result<Ix, DimError> {
        self.add_scaled(other, &Dim::constant(1))
    }

    /// `self + other * factor`
    pub fn add_scaled(&self, other: &Ix, factor: &Dim) -> Result<Ix, DimError> {
        let unit = factor.as_const() == Some(1);
        let scaled = |dim: &Dim| if unit { Ok(dim.clone()) } else { dim.mul(factor) };
        let mut sum = self.clone();
        if other.base.as_const() != Some(0) {
            sum.base = sum.base.add(&scaled(&other.base)?)?;
        }
        for (atom, coefficient) in &other.terms {
            let coefficient = scaled(coefficient)?;
            match sum.terms.binary_search_by(|(a, _)| a.cmp(atom)) {
                Ok(at) => {
                    let total = sum.terms[at].1.add(&coefficient)?;
                    match total.as_const() {
                        Some(0) => drop(sum.terms.remove(at)),
                        _ => sum.terms[at].1 = total,
                    }
                }
                Err(_) if coefficient.as_const() == Some(0) => {}
                Err(at) => sum.terms.insert(at, (atom.clone(), coefficient)),
            }
        }
        Ok(sum)
    }

    pub fn scale(&self, factor: &Dim) -> Result<Ix, DimError> {
        Ix::zero().add_scaled(self, factor)
    }

    pub fn sub(&self, other: &Ix) -> Result<Ix, DimError> {
        self.add_scaled(other, &Dim::constant(-1))
    }

    /// `self / by`, rounded down.
    ///
    /// # Errors
    /// `by` is a constant that is not positive: a ring of no entries.
    pub fn div(&self, by: &Dim, extents: &dyn Extents) -> Result<Ix, DimError> {
        if by.as_const().is_some_and(|by| by < 1) {
            return Err(DimError::DivisionByZero);
        }
        if by.as_const() == Some(1) {
            return Ok(self.clone());
        }
        let (mut whole, mut rest) = (Ix::zero(), Ix::zero());
        for (atom, coefficient) in &self.terms {
            match coefficient.div_exact(by) {
                Some(quotient) => whole.terms.push((atom.clone(), quotient)),
                None => rest.terms.push((atom.clone(), coefficient.clone())),
            }
        }
        match (self.base.as_const(), by.as_const(), self.base.div_exact(by)) {
            (_, _, Some(quotient)) => whole.base = quotient,
            (Some(base), Some(by), None) => {
                whole.base = Dim::constant(base.div_euclid(by));
                rest.base = Dim::constant(base.rem_euclid(by));
            }
            _ => rest.base = self.base.clone(),
        }
        if rest.is_zero() || rest.lies_in(by, extents) {
            return Ok(whole);
        }
        // (x / a + c) / b == (x + a * c) / (a * b)
        if let [(Atom::Div(inner), one)] = &rest.terms[..]
            && one.as_const() == Some(1)
        {
            let (x, a) = &**inner;
            let x = x.add_scaled(&Ix::constant(rest.base.clone()), a)?;
            return whole.add(&x.div(&a.mul(by)?, extents)?);
        }
        whole.add(&Ix::atom(Atom::Div(Box::new((rest, by.clone())))))
    }

    /// `self % by`, in `0..by`.
    pub fn rem(&self, by: &Dim, extents: &dyn Extents) -> Result<Ix, DimError> {
        self.add_scaled(&self.div(by, extents)?, &by.neg()?)
    }

    /// Smallest and largest value, where the signs of all coefficients are known.
    pub fn bounds(&self, extents: &dyn Extents) -> Option<(Dim, Dim)> {
        let (mut low, mut high) = (self.base.clone(), self.base.clone());
        for (atom, coefficient) in &self.terms {
            let last = extent(atom, extents)?.sub(&Dim::constant(1)).ok()?;
            let reach = last.mul(coefficient).ok()?;
            if coefficient.at_least(0) {
                high = high.add(&reach).ok()?;
            } else if coefficient.neg().ok()?.at_least(0) {
                low = low.add(&reach).ok()?;
            } else {
                return None;
            }
        }
        Some((low, high))
    }

    /// Whether it provably lies in `0..size`.
    pub fn lies_in(&self, size: &Dim, extents: &dyn Extents) -> bool {
        self.never_negative(extents) && self.never_reaches(size, extents)
    }

    pub fn never_negative(&self, extents: &dyn Extents) -> bool {
        self.bounds(extents).is_some_and(|(low, _)| low.at_least(0))
    }

    pub fn never_reaches(&self, size: &Dim, extents: &dyn Extents) -> bool {
        self.bounds(extents).is_some_and(|(_, high)| size.sub(&high).is_ok_and(|room| room.at_least(1)))
    }

    /// An index and a size so that `0 <= self < size` holds where the index lies below that size: `self` without an atom that runs through
    /// 0..n, where n divides the size and all else; both divided by n.
    pub fn without_digit(&self, size: &Dim, extents: &dyn Extents) -> Option<(Ix, Dim)> {
        let (atom, _) = self.terms.iter().find(|(_, coefficient)| coefficient.as_const() == Some(1))?;
        let by = extent(atom, extents)?;
        if self.terms.len() < 2 || by.as_const().is_none_or(|by| by < 2) {
            return None;
        }
        let mut rest = Ix::constant(self.base.div_exact(&by)?);
        for (other, coefficient) in self.terms.iter().filter(|(other, _)| other != atom) {
            rest.terms.push((other.clone(), coefficient.div_exact(&by)?));
        }
        Some((rest, size.div_exact(&by)?))
    }

    /// Replaces every axis by its index at a place.
    pub fn at(&self, place: &Place, extents: &dyn Extents) -> Result<Ix, DimError> {
        let mut sum = Ix::constant(self.base.clone());
        for (atom, coefficient) in &self.terms {
            let value = match atom {
                Atom::Axis(axis) => place.of(*axis),
                Atom::Div(parts) => parts.0.at(place, extents)?.div(&parts.1, extents)?,
                _ => Ix::atom(atom.clone()),
            };
            sum = sum.add_scaled(&value, coefficient)?;
        }
        Ok(sum)
    }
}

fn extent(atom: &Atom, extents: &dyn Extents) -> Option<Dim> {
    match atom {
        Atom::Div(parts) => {
            let (low, high) = parts.0.bounds(extents)?;
            // A quotient of what may be negative has no extent.
            low.at_least(0).then(|| high.div(&parts.1).ok()?.add(&Dim::constant(1)).ok())?
        }
        _ => extents.extent(atom),
    }
}

impl std::fmt::Debug for Ix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.base)?;
        self.terms.iter().try_for_each(|(atom, coefficient)| write!(f, " + ({coefficient})*{atom:?}"))
    }
}

/// Where a value is asked for: the index of each of its axes. An axis that does not stand here stands for itself.
#[derive(Clone, Debug, Default)]
pub struct Place(SmallVec<[(Axis, Ix); 6]>);

impl Place {
    pub fn new() -> Place {
        Place::default()
    }

    /// The place where every axis stands for itself.
    pub fn itself() -> Place {
        Place::default()
    }

    pub fn get(&self, axis: Axis) -> Option<&Ix> {
        self.0.iter().find(|(a, _)| *a == axis).map(|(_, ix)| ix)
    }

    pub fn of(&self, axis: Axis) -> Ix {
        self.get(axis).cloned().unwrap_or_else(|| Ix::atom(Atom::Axis(axis)))
    }

    pub fn set(&mut self, axis: Axis, ix: Ix) {
        match self.0.iter_mut().find(|(a, _)| *a == axis) {
            Some((_, old)) => *old = ix,
            None => self.0.push((axis, ix)),
        }
    }

    pub fn with(&self, axis: Axis, ix: Ix) -> Place {
        let mut place = self.clone();
        place.set(axis, ix);
        place
    }

    /// The value of an index expression of the graph here.
    pub fn index(&self, index: &Index, extents: &dyn Extents) -> Result<Ix, DimError> {
        match index {
            Index::Affine(Affine { constant, terms }) => {
                let mut sum = Ix::constant(constant.clone());
                for (axis, coefficient) in terms {
                    sum = sum.add_scaled(&self.of(*axis), coefficient)?;
                }
                Ok(sum)
            }
            Index::Div(inner, by) => self.index(inner, extents)?.div(by, extents),
            Index::Rem(inner, by) => self.index(inner, extents)?.rem(by, extents),
            Index::Sum(parts) => {
                let mut sum = Ix::zero();
                for (factor, part) in parts {
                    sum = sum.add_scaled(&self.index(part, extents)?, factor)?;
                }
                Ok(sum)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cranelift_entity::EntityRef;

    /// Axis k has k + 2 entries.
    struct ByNumber;
    impl Extents for ByNumber {
        fn extent(&self, atom: &Atom) -> Option<Dim> {
            match atom {
                Atom::Axis(axis) => Some(Dim::constant(axis.index() as i64 + 2)),
                _ => None,
            }
        }
    }

    fn axis(n: usize) -> Ix {
        Ix::atom(Atom::Axis(Axis::new(n)))
    }

    #[test]
    fn quotient_and_remainder_cancel() {
        let (x, five) = (axis(40), Dim::constant(5));
        let (q, r) = (x.div(&five, &ByNumber).unwrap(), x.rem(&five, &ByNumber).unwrap());
        let stride = Dim::var("S");
        let address = q.scale(&stride.mul(&five).unwrap()).unwrap().add_scaled(&r, &stride).unwrap();
        assert_eq!(address, x.scale(&stride).unwrap());
    }

    #[test]
    fn nothing_is_divided_by_a_size_of_zero() {
        for by in [0, -1] {
            assert_eq!(axis(3).div(&Dim::constant(by), &ByNumber), Err(DimError::DivisionByZero));
        }
    }

    #[test]
    fn digits_come_out_of_a_merged_index() {
        // a in 0..5, b in 0..4: a * 4 + b splits into (a, b).
        let (a, b, four) = (axis(3), axis(2), Dim::constant(4));
        let merged = b.add_scaled(&a, &four).unwrap();
        assert_eq!(merged.div(&four, &ByNumber).unwrap(), a);
        assert_eq!(merged.rem(&four, &ByNumber).unwrap(), b);
        let shifted = merged.add(&Ix::constant(Dim::constant(9))).unwrap();
        assert_ne!(shifted.div(&four, &ByNumber).unwrap(), a.add(&Ix::constant(Dim::constant(2))).unwrap());
    }

    #[test]
    fn nested_quotients_are_one() {
        let x = axis(98);
        let twice = x.div(&Dim::constant(3), &ByNumber).unwrap().div(&Dim::constant(4), &ByNumber).unwrap();
        assert_eq!(twice, x.div(&Dim::constant(12), &ByNumber).unwrap());
    }

    #[test]
    fn blocks_lie_inside_as_a_whole() {
        let (a, b, four) = (axis(10), axis(2), Dim::constant(4));
        let shifted = Ix::constant(Dim::constant(-8)).add(&b).unwrap().add_scaled(&a, &four).unwrap();
        let (rest, size) = shifted.without_digit(&Dim::constant(16), &ByNumber).expect("a digit");
        assert_eq!(rest, a.add(&Ix::constant(Dim::constant(-2))).unwrap());
        assert_eq!(size, four);
        assert!(shifted.without_digit(&Dim::constant(18), &ByNumber).is_none());
        assert!(
            shifted
                .add(&Ix::constant(Dim::constant(1)))
                .unwrap()
                .without_digit(&Dim::constant(16), &ByNumber)
                .is_none()
        );
    }

    #[test]
    fn ranges_are_proved() {
        let x = axis(8); // 0..10
        let flipped = Ix::constant(Dim::constant(9)).sub(&x).unwrap();
        assert!(flipped.lies_in(&Dim::constant(10), &ByNumber));
        assert!(!flipped.lies_in(&Dim::constant(9), &ByNumber));
        assert!(!x.sub(&Ix::constant(Dim::constant(1))).unwrap().never_negative(&ByNumber));
    }
}
