//! `Scale`: a ratio that may be made of dims, as the stride of `max_pool(k)` is k.

use std::collections::BTreeMap;
use std::fmt;

use super::dim::{Dim, DimVar};
use super::poly::Atom;
use super::ratio::Ratio;

/// A ratio times powers of dims, which are at least one wherever the scale has a meaning. Arithmetic whose result is no such
/// product, or leaves `i64`, has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    ratio: Ratio,
    /// Without zeros; empty where the ratio is zero.
    powers: BTreeMap<DimVar, i32>,
}

#[allow(clippy::should_implement_trait, reason = "an operator of the language cannot have no result")]
impl Scale {
    pub const ZERO: Scale = Scale { ratio: Ratio::ZERO, powers: BTreeMap::new() };
    pub const ONE: Scale = Scale { ratio: Ratio::ONE, powers: BTreeMap::new() };

    /// `None` where the dim is no product of a number and names.
    pub fn of(dim: &Dim) -> Option<Scale> {
        match dim.0.terms() {
            [] => Some(Scale::ZERO),
            [(monomial, coefficient)] => {
                let power = |(atom, exponent): &(Atom, u32)| match atom {
                    Atom::Var(var) => Some((var.clone(), i32::try_from(*exponent).ok()?)),
                    Atom::Quotient(_) => None,
                };
                let powers = monomial.factors().iter().map(power).collect::<Option<_>>()?;
                Some(Scale { ratio: Ratio::whole(*coefficient), powers })
            }
            _ => None,
        }
    }

    /// The number, where no dim is in it.
    pub fn as_ratio(&self) -> Option<Ratio> {
        self.powers.is_empty().then_some(self.ratio)
    }

    pub fn is_zero(&self) -> bool {
        self.ratio == Ratio::ZERO
    }

    pub fn is_positive(&self) -> bool {
        self.ratio.is_positive()
    }

    pub fn mul(&self, other: &Scale) -> Option<Scale> {
        let ratio = self.ratio.mul(other.ratio)?;
        if ratio == Ratio::ZERO {
            return Some(Scale::ZERO);
        }
        let mut powers = self.powers.clone();
        for (var, power) in &other.powers {
            let own = powers.entry(var.clone()).or_insert(0);
            *own = own.checked_add(*power)?;
        }
        powers.retain(|_, power| *power != 0);
        Some(Scale { ratio, powers })
    }

    /// `None` for zero.
    pub fn inverse(&self) -> Option<Scale> {
        let powers = self.powers.iter().map(|(var, power)| (var.clone(), -power)).collect();
        Some(Scale { ratio: self.ratio.inverse()?, powers })
    }

    pub fn div(&self, other: &Scale) -> Option<Scale> {
        self.mul(&other.inverse()?)
    }

    /// `None` where different dims are in the two.
    pub fn add(&self, other: &Scale) -> Option<Scale> {
        match (self.is_zero(), other.is_zero()) {
            (true, _) => Some(other.clone()),
            (_, true) => Some(self.clone()),
            _ if self.powers != other.powers => None,
            _ => {
                let ratio = self.ratio.add(other.ratio)?;
                let powers = if ratio == Ratio::ZERO { BTreeMap::new() } else { self.powers.clone() };
                Some(Scale { ratio, powers })
            }
        }
    }

    /// A whole number, in dims, that the scale times some whole number is: of a fraction in lowest terms what stands above.
    pub fn numerator(&self) -> Scale {
        let powers = self.powers.iter().filter(|(_, power)| **power > 0);
        let ratio = Ratio::whole(self.ratio.numerator());
        Scale { ratio, powers: powers.map(|(var, power)| (var.clone(), *power)).collect() }
    }

    /// What stands below.
    pub fn denominator(&self) -> Scale {
        let powers = self.powers.iter().filter(|(_, power)| **power < 0);
        let ratio = Ratio::whole(self.ratio.denominator());
        Scale { ratio, powers: powers.map(|(var, power)| (var.clone(), -power)).collect() }
    }

    /// A common multiple of two whole numbers: the least one whatever the dims in them are.
    pub fn multiple(&self, other: &Scale) -> Option<Scale> {
        let shared = Ratio::new(self.ratio.as_whole()?, other.ratio.as_whole()?)?;
        let ratio = Ratio::whole(shared.numerator().checked_mul(other.ratio.as_whole()?)?.checked_abs()?);
        let mut powers = self.powers.clone();
        for (var, power) in &other.powers {
            let own = powers.entry(var.clone()).or_insert(0);
            *own = (*own).max(*power);
        }
        Some(Scale { ratio, powers })
    }

    /// A whole number as a dim.
    pub fn as_dim(&self) -> Option<Dim> {
        let mut dim = Dim::constant(self.ratio.as_whole()?);
        for (var, power) in &self.powers {
            dim = dim.mul(&Dim::var(var.clone()).pow(u32::try_from(*power).ok()?).ok()?).ok()?;
        }
        Some(dim)
    }
}

impl From<Ratio> for Scale {
    fn from(ratio: Ratio) -> Scale {
        Scale { ratio, powers: BTreeMap::new() }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |scale: Scale| scale.as_dim().map(|dim| dim.to_string()).ok_or(fmt::Error);
        let (over, under) = (self.numerator(), self.denominator());
        write!(f, "{}", whole(over)?)?;
        match under == Scale::ONE {
            true => Ok(()),
            false if under.powers.len() + usize::from(under.ratio != Ratio::ONE) > 1 => {
                write!(f, "/({})", whole(under)?)
            }
            false => write!(f, "/{}", whole(under)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ratio, Scale};
    use crate::axes::Dim;

    #[test]
    fn products_of_numbers_and_dims() {
        let k = Dim::var("k");
        let twice = Scale::of(&k.mul(&Dim::constant(2)).unwrap()).unwrap();
        let k = Scale::of(&k).unwrap();
        assert_eq!(k.div(&twice).unwrap().as_ratio(), Ratio::new(1, 2));
        assert_eq!(k.add(&k), Some(twice.clone()));
        assert_eq!(k.add(&Scale::ONE), None);
        let back = Scale::from(Ratio::whole(-1)).mul(&k).unwrap();
        assert_eq!(k.add(&back), Some(Scale::ZERO));
        assert_eq!(k.multiple(&Scale::from(Ratio::whole(4))).unwrap().to_string(), "4*k");
        assert_eq!(twice.inverse().unwrap().to_string(), "1/(2*k)");
        assert_eq!(Scale::of(&Dim::var("H").add(&Dim::constant(1)).unwrap()), None);
    }
}
