//! Lower bounds of dims, for variables that are at least zero.
//!
//! Two methods, each sound and neither complete: interval arithmetic over the terms, and replacing
//! a quotient by a constant through its rational bounds, which sees that `H - 2 * (H / 2) >= 0`.

use super::dim::Dim;
use super::poly::{Atom, Poly};

/// The values between `low` and `high`; `None` is no bound.
#[derive(Clone, Copy)]
struct Interval {
    low: Option<i128>,
    high: Option<i128>,
}

impl Interval {
    const ANY: Interval = Interval { low: None, high: None };

    fn exactly(value: i128) -> Interval {
        Interval { low: Some(value), high: Some(value) }
    }

    fn add(self, other: Interval) -> Interval {
        let sum = |a: Option<i128>, b: Option<i128>| a?.checked_add(b?);
        Interval { low: sum(self.low, other.low), high: sum(self.high, other.high) }
    }

    fn neg(self) -> Interval {
        let flip = |bound: Option<i128>| bound?.checked_neg();
        Interval { low: flip(self.high), high: flip(self.low) }
    }

    /// The product, where both signs are known; without a bound otherwise.
    fn mul(self, other: Interval) -> Interval {
        if self.low == Some(1) && self.high == Some(1) {
            return other;
        }
        match (self.nonnegative(), other.nonnegative()) {
            (true, true) => {
                let product = |a: Option<i128>, b: Option<i128>| a?.checked_mul(b?);
                // A lower bound that is too large to compute is at least zero.
                let low = product(self.low, other.low).or(Some(0));
                Interval { low, high: product(self.high, other.high) }
            }
            (true, false) if other.nonpositive() => self.mul(other.neg()).neg(),
            (false, true) if self.nonpositive() => self.neg().mul(other).neg(),
            (false, false) if self.nonpositive() && other.nonpositive() => self.neg().mul(other.neg()),
            _ => Interval::ANY,
        }
    }

    fn nonnegative(self) -> bool {
        self.low.is_some_and(|low| low >= 0)
    }

    fn nonpositive(self) -> bool {
        self.high.is_some_and(|high| high <= 0)
    }

    fn of_atom(atom: &Atom) -> Interval {
        let Atom::Quotient(quotient) = atom else {
            return Interval { low: Some(0), high: None };
        };
        let (over, under) = (Interval::of(&quotient.over.0), Interval::of(&quotient.under.0));
        match quotient.under.as_const() {
            Some(constant) => {
                // The divisor of a quotient in lowest terms is positive when it is a constant.
                let floor = |bound: Option<i128>| Some(bound?.div_euclid(i128::from(constant)));
                Interval { low: floor(over.low), high: floor(over.high) }
            }
            // A divisor of zero has no value to bound; any other takes what is divided nearer to zero, at most down to -1.
            None if under.nonnegative() => {
                let (low, high) = (over.low.map(|low| low.min(0)), over.high.map(|high| high.max(-1)));
                Interval { low, high }
            }
            None => Interval::ANY,
        }
    }

    fn of(poly: &Poly) -> Interval {
        let mut sum = Interval::exactly(0);
        for (monomial, coefficient) in poly.terms() {
            let mut product = Interval::exactly(1);
            for (atom, exponent) in monomial.factors() {
                let base = Interval::of_atom(atom);
                let mut power = Interval::exactly(1);
                for _ in 0..*exponent {
                    power = power.mul(base);
                }
                if exponent % 2 == 0 && !power.nonnegative() {
                    power.low = Some(0);
                }
                product = product.mul(power);
            }
            let coefficient = i128::from(*coefficient);
            let scaled = match coefficient < 0 {
                true => product.scale(-coefficient).neg(),
                false => product.scale(coefficient),
            };
            sum = sum.add(scaled);
        }
        sum
    }

    fn scale(self, factor: i128) -> Interval {
        let scale = |bound: Option<i128>| bound?.checked_mul(factor);
        Interval { low: scale(self.low), high: scale(self.high) }
    }
}

/// Whether `dim >= n` is provable from every variable being at least zero.
pub(super) fn at_least(dim: &Dim, n: i64) -> bool {
    if Interval::of(&dim.0).low.is_some_and(|low| low >= i128::from(n)) {
        return true;
    }
    if beside_a_remainder(dim, n) {
        return true;
    }
    let terms = dim.0.terms();
    let quotients = terms.iter().filter_map(|(monomial, _)| match monomial.factors() {
        [(atom @ Atom::Quotient(_), 1)] => Some(atom),
        _ => None,
    });
    let mut relaxed = quotients.filter_map(|atom| without_quotient(dim, atom, n));
    // One quotient after another: removing any of them is sound, and the first that can be
    // removed is as good as the others.
    relaxed.next().is_some_and(|(dim, n)| at_least(&dim, n))
}

/// Whether the dim is a remainder `p - q * (p / q)`, which is at least zero and less than q, and something that is at least `n`.
fn beside_a_remainder(dim: &Dim, n: i64) -> bool {
    let atoms = dim.0.terms().iter().flat_map(|(monomial, _)| monomial.factors());
    let mut quotients = atoms.filter_map(|(atom, _)| match atom {
        Atom::Quotient(quotient) => Some((atom, quotient)),
        Atom::Var(_) => None,
    });
    quotients.any(|(atom, quotient)| {
        let (over, under) = (&quotient.over, &quotient.under);
        let rest_is_enough = || {
            let whole = under.mul(&Dim::from_poly(Poly::atom(atom.clone()))).ok()?;
            let remainder = over.sub(&whole).ok()?;
            let beside = dim.sub(&remainder).ok()?;
            let room = under.sub(&Dim::constant(1)).and_then(|most| most.sub(&remainder)).ok()?;
            let beneath = dim.sub(&room).ok()?;
            // Fewer terms than before, so this ends.
            let enough = |rest: &Dim| rest.0.terms().len() < dim.0.terms().len() && at_least(rest, n);
            Some(enough(&beside) || enough(&beneath))
        };
        under.as_const().is_none() && at_least(under, 0) && rest_is_enough().unwrap_or(false)
    })
}

/// A dim and a bound that imply `dim >= n` and lack the quotient `atom`, which must stand alone
/// with a constant factor and have a constant divisor.
///
/// With `atom = floor(p / q)`, `p - (q - 1) <= q * atom <= p`; and over the integers `dim >= n` is
/// `q * dim >= q * (n - 1) + 1`.
fn without_quotient(dim: &Dim, atom: &Atom, n: i64) -> Option<(Dim, i64)> {
    let Atom::Quotient(quotient) = atom else {
        return None;
    };
    let under = quotient.under.as_const()?;
    let (slope, rest) = dim.0.split_linear(atom)?;
    let slope = slope.as_const()?;
    let slack = if slope < 0 { 0 } else { under - 1 };
    let bound = quotient.over.sub(&Dim::constant(slack)).ok()?;
    let scaled = Dim::from_poly(rest).mul(&quotient.under).ok()?;
    let relaxed = scaled.add(&bound.mul(&Dim::constant(slope)).ok()?).ok()?;
    let n = n.checked_sub(1)?.checked_mul(under)?.checked_add(1)?;
    Some((relaxed, n))
}
