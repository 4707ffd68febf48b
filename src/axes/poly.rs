//! Integer polynomials over atoms, the arithmetic below `Dim`.
//!
//! An atom is a variable or a floor quotient that is no polynomial. Terms stand in descending
//! order of their monomials (by degree, then lexicographically), coefficients are never zero.
//! Because that order is a monomial order, division with remainder has one answer, and the
//! quotient atoms built from it are canonical.

use std::cmp::Ordering;
use std::sync::Arc;

use smallvec::SmallVec;

use super::dim::{Dim, DimError, DimVar};

/// Limits of one dim; beyond them an operation is `DimError::TooLarge`.
const MAX_TERMS: usize = 128;
const MAX_DEGREE: u32 = 64;
const MAX_DEPTH: u32 = 24;
const MAX_NODES: u32 = 4096;

/// What a monomial is a product of.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Atom {
    Var(DimVar),
    Quotient(Arc<Quotient>),
}

/// A floor quotient in lowest terms: no multiple of `under` can be taken out of `over`, they have
/// no common factor, and the leading coefficient of `under` is positive.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Quotient {
    pub over: Dim,
    pub under: Dim,
    /// Levels of nested quotients, and atoms and terms altogether.
    depth: u32,
    nodes: u32,
}

/// A product of atoms with positive exponents, in ascending order of the atoms.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Monomial(SmallVec<[(Atom, u32); 2]>);

impl Monomial {
    fn one() -> Monomial {
        Monomial(SmallVec::new())
    }

    pub fn factors(&self) -> &[(Atom, u32)] {
        &self.0
    }

    fn degree(&self) -> u32 {
        self.0.iter().map(|(_, exponent)| exponent).sum()
    }

    pub fn exponent_of(&self, atom: &Atom) -> u32 {
        let found = self.0.iter().find(|(other, _)| other == atom);
        found.map_or(0, |(_, exponent)| *exponent)
    }

    pub fn mul(&self, other: &Monomial) -> Result<Monomial, DimError> {
        if self.degree() + other.degree() > MAX_DEGREE {
            return Err(DimError::TooLarge);
        }
        let mut product = SmallVec::with_capacity(self.0.len() + other.0.len());
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some((a, m)), Some((b, n))) = (left.peek(), right.peek()) {
            match a.cmp(b) {
                Ordering::Less => product.extend(left.next().cloned()),
                Ordering::Greater => product.extend(right.next().cloned()),
                Ordering::Equal => {
                    product.push((a.clone(), m + n));
                    left.next();
                    right.next();
                }
            }
        }
        product.extend(left.cloned());
        product.extend(right.cloned());
        Ok(Monomial(product))
    }

    /// `self / other`, where every exponent allows it.
    pub fn div(&self, other: &Monomial) -> Option<Monomial> {
        let mut rest = self.0.clone();
        for (atom, exponent) in &other.0 {
            let (_, own) = rest.iter_mut().find(|(own, _)| own == atom)?;
            *own = own.checked_sub(*exponent)?;
        }
        rest.retain(|(_, exponent)| *exponent > 0);
        Some(Monomial(rest))
    }

    /// The greatest common divisor.
    pub fn common(&self, other: &Monomial) -> Monomial {
        let shared = self.0.iter().filter_map(|(atom, exponent)| {
            let least = other.exponent_of(atom).min(*exponent);
            (least > 0).then(|| (atom.clone(), least))
        });
        Monomial(shared.collect())
    }
}

impl Ord for Monomial {
    /// By degree, then lexicographically; compatible with products.
    fn cmp(&self, other: &Monomial) -> Ordering {
        self.degree().cmp(&other.degree()).then_with(|| {
            for ((a, m), (b, n)) in self.0.iter().zip(&other.0) {
                // The monomial with more of the earlier atom is the greater one.
                let order = b.cmp(a).then(m.cmp(n));
                if order != Ordering::Equal {
                    return order;
                }
            }
            self.0.len().cmp(&other.0.len())
        })
    }
}

impl PartialOrd for Monomial {
    fn partial_cmp(&self, other: &Monomial) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

pub(super) type Term = (Monomial, i64);

/// A polynomial in normal form.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Poly(Vec<Term>);

impl Poly {
    pub fn constant(value: i64) -> Poly {
        match value {
            0 => Poly(Vec::new()),
            _ => Poly(vec![(Monomial::one(), value)]),
        }
    }

    pub fn atom(atom: Atom) -> Poly {
        Poly::term(Monomial(SmallVec::from_iter([(atom, 1)])), 1)
    }

    pub fn term(monomial: Monomial, coefficient: i64) -> Poly {
        match coefficient {
            0 => Poly(Vec::new()),
            _ => Poly(vec![(monomial, coefficient)]),
        }
    }

    pub fn terms(&self) -> &[Term] {
        &self.0
    }

    pub fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_const(&self) -> Option<i64> {
        match &self.0[..] {
            [] => Some(0),
            [(monomial, value)] if monomial.0.is_empty() => Some(*value),
            _ => None,
        }
    }

    pub fn as_atom(&self) -> Option<&Atom> {
        match &self.0[..] {
            [(monomial, 1)] => match monomial.factors() {
                [(atom, 1)] => Some(atom),
                _ => None,
            },
            _ => None,
        }
    }

    /// The additive constant.
    pub fn constant_term(&self) -> i64 {
        match self.0.last() {
            Some((monomial, value)) if monomial.0.is_empty() => *value,
            _ => 0,
        }
    }

    pub fn visit_vars(&self, visit: &mut dyn FnMut(&DimVar)) {
        for (atom, _) in self.0.iter().flat_map(|(monomial, _)| monomial.factors()) {
            match atom {
                Atom::Var(var) => visit(var),
                Atom::Quotient(q) => {
                    q.over.0.visit_vars(visit);
                    q.under.0.visit_vars(visit);
                }
            }
        }
    }

    /// The polynomial of `terms`, in any order and with repetitions.
    fn collect(mut terms: Vec<Term>) -> Result<Poly, DimError> {
        terms.sort_by(|(a, _), (b, _)| b.cmp(a));
        let mut merged: Vec<Term> = Vec::with_capacity(terms.len());
        for (monomial, coefficient) in terms {
            match merged.last_mut() {
                // Sums of up to MAX_TERMS² products may pass through values beyond the result's,
                // which is an overflow like any other.
                Some((last, sum)) if *last == monomial => {
                    *sum = sum.checked_add(coefficient).ok_or(DimError::Overflow)?;
                }
                _ => merged.push((monomial, coefficient)),
            }
        }
        merged.retain(|(_, coefficient)| *coefficient != 0);
        Poly::bounded(merged)
    }

    /// The polynomial of terms that are in order, within the limits.
    fn bounded(terms: Vec<Term>) -> Result<Poly, DimError> {
        let poly = Poly(terms);
        match poly.0.len() > MAX_TERMS || poly.nodes() > MAX_NODES {
            true => Err(DimError::TooLarge),
            false => Ok(poly),
        }
    }

    fn nodes(&self) -> u32 {
        let factors = self.0.iter().flat_map(|(monomial, _)| monomial.factors());
        let nodes = factors.map(|(atom, _)| match atom {
            Atom::Var(_) => 1,
            Atom::Quotient(q) => q.nodes,
        });
        // Each atom has at most MAX_NODES nodes, and there are at most MAX_TERMS * MAX_DEGREE.
        nodes.sum::<u32>() + self.0.len() as u32
    }

    fn depth(&self) -> u32 {
        let factors = self.0.iter().flat_map(|(monomial, _)| monomial.factors());
        let depths = factors.map(|(atom, _)| match atom {
            Atom::Var(_) => 0,
            Atom::Quotient(q) => q.depth,
        });
        depths.max().unwrap_or(0)
    }

    pub fn add(&self, other: &Poly) -> Result<Poly, DimError> {
        let mut terms = Vec::with_capacity(self.0.len() + other.0.len());
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some((a, m)), Some((b, n))) = (left.peek(), right.peek()) {
            match b.cmp(a) {
                Ordering::Less => terms.extend(left.next().cloned()),
                Ordering::Greater => terms.extend(right.next().cloned()),
                Ordering::Equal => {
                    let sum = m.checked_add(*n).ok_or(DimError::Overflow)?;
                    terms.extend((sum != 0).then(|| (a.clone(), sum)));
                    left.next();
                    right.next();
                }
            }
        }
        terms.extend(left.cloned());
        terms.extend(right.cloned());
        Poly::bounded(terms)
    }

    pub fn sub(&self, other: &Poly) -> Result<Poly, DimError> {
        self.add(&other.scale(-1)?)
    }

    pub fn scale(&self, factor: i64) -> Result<Poly, DimError> {
        self.mul(&Poly::constant(factor))
    }

    pub fn mul(&self, other: &Poly) -> Result<Poly, DimError> {
        match (&self.0[..], &other.0[..]) {
            (_, [one]) => return self.times(one),
            ([one], _) => return other.times(one),
            _ => {}
        }
        let mut terms = Vec::with_capacity(self.0.len() * other.0.len());
        for (a, m) in &self.0 {
            for (b, n) in &other.0 {
                terms.push((a.mul(b)?, m.checked_mul(*n).ok_or(DimError::Overflow)?));
            }
        }
        Poly::collect(terms)
    }

    /// Multiplying all monomials by one keeps their order.
    fn times(&self, (monomial, factor): &Term) -> Result<Poly, DimError> {
        let terms = self.0.iter().map(|(own, coefficient)| {
            let product = if monomial.0.is_empty() { own.clone() } else { own.mul(monomial)? };
            Ok((product, coefficient.checked_mul(*factor).ok_or(DimError::Overflow)?))
        });
        Poly::bounded(terms.collect::<Result<_, DimError>>()?)
    }

    pub fn pow(&self, exponent: u32) -> Result<Poly, DimError> {
        if let Some(base) = self.as_const() {
            let power = base.checked_pow(exponent).ok_or(DimError::Overflow)?;
            return Ok(Poly::constant(power));
        }
        if exponent > MAX_DEGREE {
            return Err(DimError::TooLarge);
        }
        let mut power = Poly::constant(1);
        for _ in 0..exponent {
            power = power.mul(self)?;
        }
        Ok(power)
    }

    /// `(a, r)` with `self == a * divisor + r`, where no term of `r` is divisible by the leading
    /// monomial of `divisor` unless its coefficient lies in `0 .. |leading coefficient|`.
    /// There is exactly one such pair.
    pub fn div_rem(&self, divisor: &Poly) -> Result<(Poly, Poly), DimError> {
        let Some((lead, leading)) = divisor.0.first() else {
            return Err(DimError::DivisionByZero);
        };
        let mut rest = self.clone();
        let mut quotient = Vec::new();
        for _ in 0..4 * MAX_TERMS {
            let next = rest.0.iter().find_map(|(monomial, coefficient)| {
                let factor = monomial.div(lead)?;
                // Only `i64::MIN / -1` has no quotient.
                match coefficient.checked_div_euclid(*leading) {
                    Some(0) => None,
                    Some(times) => Some(Ok((factor, times))),
                    None => Some(Err(DimError::Overflow)),
                }
            });
            let Some(step) = next.transpose()? else {
                return Ok((Poly::collect(quotient)?, rest));
            };
            let multiple = divisor.mul(&Poly(vec![step.clone()]))?;
            rest = rest.sub(&multiple)?;
            quotient.push(step);
        }
        Err(DimError::TooLarge)
    }

    /// `self / divisor` rounded towards minus infinity.
    pub fn div(&self, divisor: &Poly) -> Result<Poly, DimError> {
        match divisor.0.first() {
            None => return Err(DimError::DivisionByZero),
            Some((_, leading)) if *leading < 0 => {
                return self.scale(-1)?.div(&divisor.scale(-1)?);
            }
            Some(_) => {}
        }
        let (whole, rest) = self.div_rem(divisor)?;
        whole.add(&rest.proper_fraction(divisor)?)
    }

    /// The floor of `self / divisor`, where `self` is a remainder of `div_rem` by `divisor`, whose
    /// leading coefficient is positive.
    fn proper_fraction(&self, divisor: &Poly) -> Result<Poly, DimError> {
        if self.is_zero() {
            return Ok(Poly::constant(0));
        }
        let (over, under) = self.lowest_terms(divisor)?;
        if let Some(constant) = under.as_const() {
            if over.as_const().is_some() {
                // Remainders of a positive constant lie in 0 .. constant.
                return Ok(Poly::constant(0));
            }
            // (p / a + c) / b == (p + a * c) / (a * b) for positive constants a and b.
            let shift = over.constant_term();
            let bare = over.sub(&Poly::constant(shift))?;
            if let Some(Atom::Quotient(inner)) = bare.as_atom()
                && let Some(inner_under) = inner.under.as_const()
            {
                let shift = Poly::constant(shift).scale(inner_under)?;
                let under = Poly::constant(constant).scale(inner_under)?;
                return inner.over.0.add(&shift)?.div(&under);
            }
        }
        let depth = over.depth().max(under.depth()) + 1;
        let nodes = over.nodes() + under.nodes() + 1;
        if depth > MAX_DEPTH || nodes > MAX_NODES {
            return Err(DimError::TooLarge);
        }
        let (over, under) = (Dim::from_poly(over), Dim::from_poly(under));
        Ok(Poly::atom(Atom::Quotient(Arc::new(Quotient { over, under, depth, nodes }))))
    }

    /// `self / divisor` without common factors, with the same floor.
    pub fn lowest_terms(&self, divisor: &Poly) -> Result<(Poly, Poly), DimError> {
        let all = || self.0.iter().chain(&divisor.0);
        let common = all()
            .map(|(monomial, _)| monomial.clone())
            .reduce(|a, b| a.common(&b))
            .unwrap_or_else(Monomial::one);
        let mut factor = all().fold(0, |g, (_, c)| gcd(g, c.unsigned_abs()));
        let mut over = self.clone();
        if divisor.as_const().is_some() {
            // floor((g * p + c) / (g * b)) == floor((p + floor(c / g)) / b)
            let varying = self.0.iter().filter(|(m, _)| !m.0.is_empty());
            let all = varying.chain(&divisor.0);
            factor = all.fold(0, |g, (_, c)| gcd(g, c.unsigned_abs()));
            if let Ok(factor) = i64::try_from(factor) {
                let excess = self.constant_term().rem_euclid(factor);
                over = over.sub(&Poly::constant(excess))?;
            }
        }
        let factor = i64::try_from(factor).map_err(|_| DimError::Overflow)?;
        let reduce = |poly: &Poly| {
            let terms = poly.0.iter().map(|(monomial, coefficient)| {
                let monomial = monomial.div(&common).ok_or(DimError::Overflow)?;
                Ok((monomial, coefficient / factor))
            });
            Poly::collect(terms.collect::<Result<_, DimError>>()?)
        };
        Ok((reduce(&over)?, reduce(divisor)?))
    }

    /// `(a, b)` with `self == a * atom + b`, where `atom` is a factor of no term of either;
    /// `None` where a higher power of it occurs. The atom may still stand inside quotients.
    pub fn split_linear(&self, atom: &Atom) -> Option<(Poly, Poly)> {
        let unit = Monomial(SmallVec::from_iter([(atom.clone(), 1)]));
        let (mut slope, mut rest) = (Vec::new(), Vec::new());
        for (monomial, coefficient) in &self.0 {
            match monomial.exponent_of(atom) {
                0 => rest.push((monomial.clone(), *coefficient)),
                1 => slope.push((monomial.div(&unit)?, *coefficient)),
                _ => return None,
            }
        }
        // Dividing all monomials by one keeps their order.
        Some((Poly(slope), Poly(rest)))
    }
}

pub(super) fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
