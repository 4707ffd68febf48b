//! `Dim`: the size of an axis, an integer polynomial over named variables in normal form.
//!
//! Two dims are equal as Rust values exactly when their normal forms are, and equal normal forms
//! have the same value wherever both are defined. The form is complete for polynomials; with floor
//! division it knows `q * a + r` over `q`, `p / a / b == p / (a * b)`, and that `p % q` is
//! `p - q * (p / q)`, but it does not decide every true equation.
//!
//! Division rounds towards minus infinity and the remainder takes the sign of the divisor:
//! `-1 / 2 == -1`, `-1 % 2 == 1`, `1 / -2 == -1`. Cancelling (`heads * E / heads == E`) takes a
//! divisor for nonzero; a size that is a divisor and turns out to be zero is not reported once it
//! has been cancelled.
//!
//! Every operation is checked: coefficients that leave `i64` and forms that grow beyond fixed
//! limits are errors, never a wrap and never a panic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use smol_str::SmolStr;
use thiserror::Error;

use super::poly::{Atom, Poly};
use super::range;
use super::ratio::Ratio;
use super::scale::Scale;

/// The name of a dim variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DimVar(SmolStr);

impl DimVar {
    pub fn new(name: impl AsRef<str>) -> DimVar {
        DimVar(SmolStr::new(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for DimVar {
    fn from(name: &str) -> DimVar {
        DimVar::new(name)
    }
}

impl From<SmolStr> for DimVar {
    fn from(name: SmolStr) -> DimVar {
        DimVar(name)
    }
}

impl std::fmt::Display for DimVar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why an operation on dims has no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DimError {
    /// A coefficient, or a value, does not fit in 64 bits.
    #[error("a size is too large for 64 bits")]
    Overflow,
    /// More terms, nesting or degree than the limits of `poly` allow.
    #[error("a size expression is too large")]
    TooLarge,
    #[error("a size is divided by zero")]
    DivisionByZero,
    /// Evaluation met a variable without a value.
    #[error("the size `{0}` is not known")]
    Unbound(DimVar),
    /// Facts that cannot hold together: the left side never equals the right one.
    #[error("`{0}` can never equal `{1}`")]
    Contradiction(Dim, Dim),
}

/// The size of an axis in normal form; see the head of this file for the laws. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dim(pub(super) Arc<Poly>);

impl Dim {
    pub fn constant(value: i64) -> Dim {
        /// The smallest ones, of which a program is full.
        static SMALL: LazyLock<Vec<Dim>> =
            LazyLock::new(|| (0..=64).map(|value| Dim(Arc::new(Poly::constant(value)))).collect());
        let small = usize::try_from(value).ok().and_then(|value| SMALL.get(value));
        small.cloned().unwrap_or_else(|| Dim(Arc::new(Poly::constant(value))))
    }

    pub fn var(name: impl Into<DimVar>) -> Dim {
        Dim(Arc::new(Poly::atom(Atom::Var(name.into()))))
    }

    pub(super) fn from_poly(poly: Poly) -> Dim {
        Dim(Arc::new(poly))
    }

    /// The value, where no variable is left.
    pub fn as_const(&self) -> Option<i64> {
        self.0.as_const()
    }

    /// The variable, where the dim is nothing else.
    pub fn as_var(&self) -> Option<&DimVar> {
        match self.0.as_atom() {
            Some(Atom::Var(var)) => Some(var),
            _ => None,
        }
    }

    pub fn add(&self, other: &Dim) -> Result<Dim, DimError> {
        match (self.as_const(), other.as_const()) {
            (Some(left), Some(right)) => constant(left.checked_add(right)),
            (_, Some(0)) => Ok(self.clone()),
            (Some(0), _) => Ok(other.clone()),
            _ => self.0.add(&other.0).map(Dim::from_poly),
        }
    }

    pub fn sub(&self, other: &Dim) -> Result<Dim, DimError> {
        match (self.as_const(), other.as_const()) {
            (Some(left), Some(right)) => constant(left.checked_sub(right)),
            (_, Some(0)) => Ok(self.clone()),
            _ if Arc::ptr_eq(&self.0, &other.0) => Ok(Dim::constant(0)),
            _ => self.0.sub(&other.0).map(Dim::from_poly),
        }
    }

    pub fn mul(&self, other: &Dim) -> Result<Dim, DimError> {
        match (self.as_const(), other.as_const()) {
            (Some(left), Some(right)) => constant(left.checked_mul(right)),
            (_, Some(1)) => Ok(self.clone()),
            (Some(1), _) => Ok(other.clone()),
            _ => self.0.mul(&other.0).map(Dim::from_poly),
        }
    }

    pub fn neg(&self) -> Result<Dim, DimError> {
        self.0.scale(-1).map(Dim::from_poly)
    }

    /// The divisions with a remainder in it, each as what is divided and by what, the outer ones first.
    pub fn divisions(&self) -> Vec<(Dim, Dim)> {
        let mut found = Vec::new();
        for (monomial, _) in self.0.terms() {
            for (atom, _) in monomial.factors() {
                if let Atom::Quotient(q) = atom {
                    found.push((q.over.clone(), q.under.clone()));
                    found.extend(q.over.divisions());
                }
            }
        }
        found
    }

    /// `self / other`, rounded towards minus infinity.
    pub fn div(&self, other: &Dim) -> Result<Dim, DimError> {
        match (self.as_const(), other.as_const()) {
            (_, Some(1)) => return Ok(self.clone()),
            (Some(over), Some(under)) => return floor_div(over, under).map(Dim::constant),
            _ => {}
        }
        self.0.div(&other.0).map(Dim::from_poly)
    }

    /// `self % other`, which is `self - other * (self / other)`.
    pub fn rem(&self, other: &Dim) -> Result<Dim, DimError> {
        self.sub(&other.mul(&self.div(other)?)?)
    }

    pub fn pow(&self, exponent: u32) -> Result<Dim, DimError> {
        self.0.pow(exponent).map(Dim::from_poly)
    }

    /// The quotient where `other` divides `self` as a polynomial, hence for every value of the variables.
    pub fn div_exact(&self, other: &Dim) -> Option<Dim> {
        let (quotient, rest) = self.0.div_rem(&other.0).ok()?;
        rest.is_zero().then(|| Dim::from_poly(quotient))
    }

    /// All variables, also those inside quotients.
    pub fn vars(&self) -> BTreeSet<DimVar> {
        let mut vars = BTreeSet::new();
        self.0.visit_vars(&mut |var| {
            vars.insert(var.clone());
        });
        vars
    }

    pub fn mentions(&self, var: &DimVar) -> bool {
        let mut found = false;
        self.0.visit_vars(&mut |other| found |= other == var);
        found
    }

    /// Replaces all variables of `map` at once; the others stay.
    pub fn substitute(&self, map: &BTreeMap<DimVar, Dim>) -> Result<Dim, DimError> {
        self.substitute_with(&|var| map.get(var).cloned())
    }

    /// Replaces every variable for which `value` has one, all at once.
    pub fn substitute_with(&self, value: &dyn Fn(&DimVar) -> Option<Dim>) -> Result<Dim, DimError> {
        let mut replaces = false;
        self.0.visit_vars(&mut |var| replaces = replaces || value(var).is_some());
        if !replaces {
            return Ok(self.clone());
        }
        let mut sum = Poly::constant(0);
        for (monomial, coefficient) in self.0.terms() {
            let mut product = Poly::constant(*coefficient);
            for (atom, exponent) in monomial.factors() {
                let replaced = match atom {
                    Atom::Var(var) => match value(var) {
                        Some(dim) => dim,
                        None => Dim::var(var.clone()),
                    },
                    Atom::Quotient(q) => {
                        let (over, under) = (&q.over, &q.under);
                        over.substitute_with(value)?.div(&under.substitute_with(value)?)?
                    }
                };
                product = product.mul(&replaced.0.pow(*exponent)?)?;
            }
            sum = sum.add(&product)?;
        }
        Ok(Dim::from_poly(sum))
    }

    pub fn eval(&self, map: &BTreeMap<DimVar, i64>) -> Result<i64, DimError> {
        self.eval_with(&|var| map.get(var).copied())
    }

    /// The value under `value`; every intermediate result must fit in 64 bits.
    pub fn eval_with(&self, value: &dyn Fn(&DimVar) -> Option<i64>) -> Result<i64, DimError> {
        let mut sum = 0i64;
        for (monomial, coefficient) in self.0.terms() {
            let mut product = *coefficient;
            for (atom, exponent) in monomial.factors() {
                let base = match atom {
                    Atom::Var(var) => value(var).ok_or_else(|| DimError::Unbound(var.clone()))?,
                    Atom::Quotient(q) => floor_div(q.over.eval_with(value)?, q.under.eval_with(value)?)?,
                };
                let power = base.checked_pow(*exponent).ok_or(DimError::Overflow)?;
                product = product.checked_mul(power).ok_or(DimError::Overflow)?;
            }
            sum = sum.checked_add(product).ok_or(DimError::Overflow)?;
        }
        Ok(sum)
    }

    /// Whether `self >= n` is provable from every variable being at least zero.
    /// `false` means "not proved".
    pub fn at_least(&self, n: i64) -> bool {
        range::at_least(self, n)
    }

    /// How fast the dim grows with `var`, up to a bounded error from rounding: 1/2 for `(H + 3) / 2 + 1`.
    /// `None` where it is not linear in `var`, or other variables scale it.
    pub fn slope(&self, var: &DimVar) -> Option<Ratio> {
        self.scale(var)?.as_ratio()
    }

    /// The same where other variables may scale it: 1/k for `H / k`.
    pub fn scale(&self, var: &DimVar) -> Option<Scale> {
        let mut total = Scale::ZERO;
        for (monomial, coefficient) in self.0.terms() {
            let mentions = |atom: &Atom| match atom {
                Atom::Var(own) => own == var,
                Atom::Quotient(q) => q.over.mentions(var) || q.under.mentions(var),
            };
            let (own, others): (Vec<_>, Vec<_>) =
                monomial.factors().iter().partition(|(atom, _)| mentions(atom));
            let own = match own[..] {
                [] => continue,
                [(Atom::Var(_), 1)] => Scale::ONE,
                [(Atom::Quotient(q), 1)] if !q.under.mentions(var) => {
                    q.over.scale(var)?.div(&Scale::of(&q.under)?)?
                }
                _ => return None,
            };
            let mut times = Dim::constant(*coefficient);
            for (atom, exponent) in others {
                let Atom::Var(other) = atom else { return None };
                times = times.mul(&Dim::var(other.clone()).pow(*exponent).ok()?).ok()?;
            }
            total = total.add(&own.mul(&Scale::of(&times)?)?)?;
        }
        Some(total)
    }

    /// A number after which what the dim's divisions round off comes again: the product of all divisors; `None` where one of them
    /// is no number, or the product is beyond `most`.
    pub fn turn(&self, most: i64) -> Option<i64> {
        let mut turn: i64 = 1;
        for (monomial, _) in self.0.terms() {
            for (atom, _) in monomial.factors() {
                if let Atom::Quotient(q) = atom {
                    let inner = q.over.turn(most)?.checked_mul(q.under.as_const()?)?;
                    turn = turn.checked_mul(inner).filter(|turn| *turn <= most)?;
                }
            }
        }
        Some(turn)
    }

    /// `(a, b, c)` with `self == (a * var + b) / c`, numbers with a and c above zero; `None` where it is of another form.
    pub fn as_floor(&self, var: &DimVar) -> Option<(i64, i64, i64)> {
        let (mut part, mut offset) = (None, 0);
        for (monomial, coefficient) in self.0.terms() {
            match monomial.factors() {
                [] => offset = *coefficient,
                [(Atom::Var(own), 1)] if own == var && part.is_none() => part = Some((*coefficient, 0, 1)),
                [(Atom::Quotient(q), 1)] if *coefficient == 1 && part.is_none() => {
                    let (slope, inner, under) = q.over.as_floor(var)?;
                    part = Some((slope, inner, under.checked_mul(q.under.as_const()?)?));
                }
                _ => return None,
            }
        }
        let (slope, inner, under) = part?;
        let offset = inner.checked_add(offset.checked_mul(under)?)?;
        (slope > 0 && under > 0).then_some((slope, offset, under))
    }

    /// `(a, b)` with `self == a * var + b`, neither mentioning `var`; `None` where it is not linear.
    pub(super) fn linear_in(&self, var: &DimVar) -> Option<(Dim, Dim)> {
        let atom = Atom::Var(var.clone());
        let (slope, rest) = self.0.split_linear(&atom)?;
        let (slope, rest) = (Dim::from_poly(slope), Dim::from_poly(rest));
        (!slope.mentions(var) && !rest.mentions(var)).then_some((slope, rest))
    }
}

impl From<i64> for Dim {
    fn from(value: i64) -> Dim {
        Dim::constant(value)
    }
}

impl std::fmt::Debug for Dim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

fn constant(value: Option<i64>) -> Result<Dim, DimError> {
    value.map(Dim::constant).ok_or(DimError::Overflow)
}

/// Division rounded towards minus infinity.
pub(super) fn floor_div(over: i64, under: i64) -> Result<i64, DimError> {
    if under == 0 {
        return Err(DimError::DivisionByZero);
    }
    let quotient = over.checked_div(under).ok_or(DimError::Overflow)?;
    let inexact = quotient * under != over;
    Ok(quotient - i64::from(inexact && (over < 0) != (under < 0)))
}

/// Solves `pattern == target` for the one variable of `unknowns` that `pattern` mentions.
///
/// `pattern` must be linear in it; the answer is exact: substituted into `pattern` it gives
/// `target`, for all values of the other variables. `None` where there is no such answer.
pub fn solve_one(pattern: &Dim, target: &Dim, unknowns: &BTreeSet<DimVar>) -> Option<(DimVar, Dim)> {
    let vars = pattern.vars();
    let mut open = vars.iter().filter(|var| unknowns.contains(*var));
    let (Some(unknown), None) = (open.next(), open.next()) else {
        return None;
    };
    let (slope, rest) = pattern.linear_in(unknown)?;
    let value = target.sub(&rest).ok()?.div_exact(&slope)?;
    Some((unknown.clone(), value))
}
