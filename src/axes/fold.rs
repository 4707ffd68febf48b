//! Dims evaluated in any arithmetic: numbers, or instructions that will compute numbers.

use super::dim::{Dim, DimVar};
use super::poly::Atom;

/// The operations of a dim. Overflow and division by zero are the algebra's to notice.
pub trait Algebra {
    type Value: Clone;

    fn constant(&mut self, value: i64) -> Self::Value;
    fn var(&mut self, var: &DimVar) -> Self::Value;
    fn sum(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    fn product(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    /// Rounded towards minus infinity.
    fn quotient(&mut self, over: Self::Value, under: Self::Value) -> Self::Value;
}

impl Dim {
    /// The dim's value in `algebra`, by the operations of [`Dim::eval`] in the same order.
    pub fn fold<A: Algebra>(&self, algebra: &mut A) -> A::Value {
        let mut sum = None;
        for (monomial, coefficient) in self.0.terms() {
            let mut product = match (*coefficient, monomial.factors().is_empty()) {
                (1, false) => None,
                (coefficient, _) => Some(algebra.constant(coefficient)),
            };
            for (atom, exponent) in monomial.factors() {
                let base = match atom {
                    Atom::Var(var) => algebra.var(var),
                    Atom::Quotient(q) => {
                        let (over, under) = (q.over.fold(algebra), q.under.fold(algebra));
                        algebra.quotient(over, under)
                    }
                };
                for _ in 0..*exponent {
                    product = Some(match product {
                        Some(product) => algebra.product(product, base.clone()),
                        None => base.clone(),
                    });
                }
            }
            sum = match (sum, product) {
                (Some(sum), Some(product)) => Some(algebra.sum(sum, product)),
                (sum, product) => sum.or(product),
            };
        }
        sum.unwrap_or_else(|| algebra.constant(0))
    }
}
