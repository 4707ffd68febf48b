//! From which value of its only variable on a dim is at least zero: what a condition such as `2 <= (H + 21) / 32` asks of H.
//!
//! The dim lies between two polynomials, each quotient between its exact value and less than one below it. Beyond the roots of these
//! its sign is known; up to there every value is looked at.

use super::dim::{Dim, DimVar};
use super::poly::{Atom, Poly};

/// The values of a variable, at least zero, for which a dim of it alone is at least zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Solutions {
    All,
    /// This one and all that are greater.
    From(i64),
    /// This one and all that are less.
    UpTo(i64),
}

/// Most values that are looked at one by one.
const MOST: f64 = 4096.0;

impl Dim {
    /// Two dims without minus signs of which the second is greater by this dim: `3` and `H` of `H - 3`.
    pub fn sides(&self) -> Option<(Dim, Dim)> {
        let (mut less, mut more) = (Poly::constant(0), Poly::constant(0));
        for (monomial, coefficient) in self.0.terms() {
            let side = if *coefficient < 0 { &mut less } else { &mut more };
            *side = side.add(&Poly::term(monomial.clone(), coefficient.checked_abs()?)).ok()?;
        }
        Some((Dim::from_poly(less), Dim::from_poly(more)))
    }

    /// Where the dim, which has one variable, is at least zero; `None` where that is no range, or not found.
    pub fn solutions(&self) -> Option<(DimVar, Solutions)> {
        let mut vars = self.vars().into_iter();
        let (Some(var), None) = (vars.next(), vars.next()) else { return None };
        let mut start = 0;
        let bounds = Bounds::of(&self.0, &mut start)?;
        let (rises, low) = sign(&bounds.low)?;
        let (falls, high) = sign(&bounds.high.iter().map(|c| -c).collect::<Vec<_>>())?;
        // What lies above a polynomial that rises is positive in the end; what is between -1 and 0 there is not known.
        let (beyond, root) = match (rises, falls) {
            (true, _) => (true, low),
            (_, true) if bounds.high.iter().any(|&c| c != 0.0) => (false, high),
            _ => return None,
        };
        let last = root.max(start as f64).ceil() as i64;
        let fits = |value: i64| self.eval_with(&|_| Some(value)).is_ok_and(|dim| dim >= 0);
        let looked: Vec<bool> = (0..=last).map(fits).collect();
        let changes = looked.windows(2).filter(|pair| pair[0] != pair[1]).count()
            + usize::from(looked.last() != Some(&beyond));
        let turn = || looked.iter().position(|fits| *fits == beyond).map_or(last + 1, |at| at as i64);
        let found = match (changes, beyond) {
            (0, true) => Solutions::All,
            (1, true) => Solutions::From(turn()),
            (1, false) => Solutions::UpTo(turn() - 1),
            _ => return None,
        };
        Some((var, found))
    }
}

/// Two polynomials by their coefficients, that of the constant first.
struct Bounds {
    low: Vec<f64>,
    high: Vec<f64>,
}

impl Bounds {
    /// `start`: from which value of the variable on the bounds hold.
    fn of(poly: &Poly, start: &mut i64) -> Option<Bounds> {
        let mut sum = Bounds { low: Vec::new(), high: Vec::new() };
        for (monomial, coefficient) in poly.terms() {
            let mut power = 0;
            let mut part = Bounds { low: vec![1.0], high: vec![1.0] };
            let mut divided = false;
            for (atom, exponent) in monomial.factors() {
                match atom {
                    Atom::Var(_) => power += *exponent as usize,
                    Atom::Quotient(quotient) if !divided && *exponent == 1 => {
                        divided = true;
                        part = Bounds::of_quotient(&quotient.over, &quotient.under, start)?;
                    }
                    Atom::Quotient(_) => return None,
                }
            }
            let coefficient = *coefficient as f64;
            let (low, high) = match coefficient < 0.0 {
                true => (part.high, part.low),
                false => (part.low, part.high),
            };
            add(&mut sum.low, &low, coefficient, power);
            add(&mut sum.high, &high, coefficient, power);
        }
        Some(sum)
    }

    fn of_quotient(over: &Dim, under: &Dim, start: &mut i64) -> Option<Bounds> {
        if let (Some(over), Some(_)) = (over.as_const(), under.as_var()) {
            // A number divided by more than itself.
            *start = (*start).max(over.checked_abs()?.checked_add(1)?);
            let whole = if over < 0 { -1.0 } else { 0.0 };
            return (*start as f64 <= MOST).then(|| Bounds { low: vec![whole], high: vec![whole] });
        }
        let by = under.as_const().filter(|&by| by > 0)? as f64;
        let Bounds { mut low, mut high } = Bounds::of(&over.0, start)?;
        add(&mut low, &[1.0], 1.0 - by, 0);
        low.iter_mut().chain(&mut high).for_each(|coefficient| *coefficient /= by);
        Some(Bounds { low, high })
    }
}

/// Adds `factor * x ** power * other`.
fn add(sum: &mut Vec<f64>, other: &[f64], factor: f64, power: usize) {
    if sum.len() < other.len() + power {
        sum.resize(other.len() + power, 0.0);
    }
    for (index, coefficient) in other.iter().enumerate() {
        sum[index + power] += factor * coefficient;
    }
}

/// Whether a polynomial is at least zero for all great values, and a value that all its roots are less than; `None` where there are too
/// many to look at, or a coefficient may be rounding alone.
fn sign(polynomial: &[f64]) -> Option<(bool, f64)> {
    let Some(degree) = polynomial.iter().rposition(|coefficient| *coefficient != 0.0) else {
        return Some((true, 0.0));
    };
    let leading = polynomial[degree];
    // The quotients that people write divide by less than a thousand; nothing in between is a coefficient of theirs.
    if leading.abs() < 1e-6 || polynomial.iter().any(|coefficient| coefficient.abs() > 1e9) {
        return None;
    }
    let greatest = polynomial[..degree].iter().fold(0.0, |most: f64, c| most.max(c.abs()));
    let root = 2.0 + 1.001 * greatest / leading.abs();
    (root <= MOST).then_some((leading > 0.0, if degree == 0 { 0.0 } else { root }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_on_one_size_are_solved() {
        let n = || Dim::var("N");
        let c = Dim::constant;
        let found = |dim: Dim| dim.solutions().map(|(_, solutions)| solutions);
        let half = |dim: Dim, by: i64| dim.div(&c(by)).unwrap();
        let less = |dim: Dim, by: i64| dim.sub(&c(by)).unwrap();
        // 2 <= (N + 21) / 32
        assert_eq!(found(less(half(n().add(&c(21)).unwrap(), 32), 2)), Some(Solutions::From(43)));
        assert_eq!(found(less(half(n().add(&c(1)).unwrap(), 2), 1)), Some(Solutions::From(1)));
        // 0 <= (N**2 + N) / 2 - N
        let triangle = half(n().pow(2).unwrap().add(&n()).unwrap(), 2).sub(&n()).unwrap();
        assert_eq!(found(triangle), Some(Solutions::All));
        assert_eq!(found(c(7).sub(&half(n(), 3)).unwrap()), Some(Solutions::UpTo(23)));
        // 0 <= N % 2 always, N % 2 <= 0 at even numbers only.
        let odd = n().sub(&half(n(), 2).mul(&c(2)).unwrap()).unwrap();
        assert_eq!(found(odd.clone()), Some(Solutions::All));
        assert_eq!(found(odd.neg().unwrap()), None);
        // -1 / N <= -1
        let inverse = c(-1).div(&n()).unwrap();
        assert_eq!(found(c(-1).sub(&inverse).unwrap()), Some(Solutions::From(1)));
        // Two values, and too many to look at.
        let between = less(n(), 3).mul(&less(n(), 5)).unwrap();
        assert_eq!(found(between), None);
        assert_eq!(found(less(n(), 5000)), None);
        // Against every value.
        for (by, beside, off) in [(2, 1, 3), (7, -3, 1), (3, 5, -2), (16, 9, 4)] {
            let dim = less(half(n().mul(&c(3)).unwrap().add(&c(beside)).unwrap(), by), off);
            let fits = |value: i64| dim.eval_with(&|_| Some(value)).unwrap() >= 0;
            match found(dim.clone()) {
                Some(Solutions::All) => assert!((0..500).all(fits)),
                Some(Solutions::From(from)) => assert!((0..500).all(|value| fits(value) == (value >= from))),
                other => panic!("{dim}: {other:?}"),
            }
        }
    }
}
