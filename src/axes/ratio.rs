//! `Ratio`: exact small fractions, for the distance between neighbouring entries of a grid and for receptive fields.

use std::cmp::Ordering;
use std::fmt;

/// A fraction in lowest terms with a positive denominator. Arithmetic that leaves `i64` has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ratio {
    over: i64,
    under: i64,
}

#[allow(clippy::should_implement_trait, reason = "an operator of the language cannot have no result")]
impl Ratio {
    pub const ZERO: Ratio = Ratio { over: 0, under: 1 };
    pub const ONE: Ratio = Ratio { over: 1, under: 1 };

    /// `over / under`; `None` where `under` is zero or the terms are too large.
    pub fn new(over: i64, under: i64) -> Option<Ratio> {
        Ratio::lowest(i128::from(over), i128::from(under))
    }

    pub fn whole(value: i64) -> Ratio {
        Ratio { over: value, under: 1 }
    }

    fn lowest(over: i128, under: i128) -> Option<Ratio> {
        if under == 0 {
            return None;
        }
        let common = gcd(over.unsigned_abs(), under.unsigned_abs());
        let common = i128::try_from(common).ok()? * under.signum();
        Some(Ratio { over: i64::try_from(over / common).ok()?, under: i64::try_from(under / common).ok()? })
    }

    pub fn numerator(self) -> i64 {
        self.over
    }

    pub fn denominator(self) -> i64 {
        self.under
    }

    pub fn add(self, other: Ratio) -> Option<Ratio> {
        if self.under == 1 && other.under == 1 {
            return self.over.checked_add(other.over).map(Ratio::whole);
        }
        let (a, b) = (i128::from(self.over), i128::from(other.over));
        let (p, q) = (i128::from(self.under), i128::from(other.under));
        Ratio::lowest(a * q + b * p, p * q)
    }

    pub fn mul(self, other: Ratio) -> Option<Ratio> {
        if self.under == 1 && other.under == 1 {
            return self.over.checked_mul(other.over).map(Ratio::whole);
        }
        Ratio::lowest(
            i128::from(self.over) * i128::from(other.over),
            i128::from(self.under) * i128::from(other.under),
        )
    }

    /// `self / other`; `None` also where `other` is zero.
    pub fn div(self, other: Ratio) -> Option<Ratio> {
        self.mul(other.inverse()?)
    }

    pub fn inverse(self) -> Option<Ratio> {
        Ratio::new(self.under, self.over)
    }

    pub fn neg(self) -> Option<Ratio> {
        Some(Ratio { over: self.over.checked_neg()?, under: self.under })
    }

    pub fn is_positive(self) -> bool {
        self.over > 0
    }

    pub fn as_whole(self) -> Option<i64> {
        (self.under == 1).then_some(self.over)
    }

    pub fn to_f64(self) -> f64 {
        self.over as f64 / self.under as f64
    }
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Ratio) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ratio {
    fn cmp(&self, other: &Ratio) -> Ordering {
        let left = i128::from(self.over) * i128::from(other.under);
        left.cmp(&(i128::from(other.over) * i128::from(self.under)))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.under {
            1 => write!(f, "{}", self.over),
            under => write!(f, "{}/{under}", self.over),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ratio;

    #[test]
    fn fractions_are_in_lowest_terms() {
        let half = Ratio::new(2, 4).unwrap();
        assert_eq!(half, Ratio::new(-1, -2).unwrap());
        assert_eq!(half.add(half), Some(Ratio::ONE));
        assert_eq!(half.mul(Ratio::whole(-6)), Some(Ratio::whole(-3)));
        assert_eq!(Ratio::new(1, 0), None);
        assert_eq!(Ratio::whole(i64::MAX).add(Ratio::ONE), None);
        assert!(Ratio::new(-1, 2).unwrap() < Ratio::new(-1, 3).unwrap());
        assert_eq!(Ratio::new(3, -6).unwrap().to_string(), "-1/2");
    }
}
