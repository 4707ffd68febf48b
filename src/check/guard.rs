//! Guards: `e in A`, and what the conditions around say of the indices that are read under them.

use crate::axes::Dim;
use crate::base::Span;
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::core::*;
use super::errors;
use super::state::{Checker, Checking, Guarded};
use super::value::{Num, Placed, Value};

impl Checker<'_> {
    /// `e in A`: whether an index expression lies on an axis.
    pub fn inside(&mut self, index: Placed, over: Placed, span: Span) -> Checking<Value> {
        let point = match index.0 {
            Value::Index(point) => point,
            Value::Num(Num { dim: Some(dim), .. }) => Point::constant(dim),
            other => {
                let what = other.describe();
                return self.fail(errors::not_an_index(index.1, what));
            }
        };
        let axis = match over.0 {
            Value::Num(Num { axis: Some(axis), .. }) => self.fresh_like(axis),
            Value::Num(ref num @ Num { dim: Some(ref size), .. }) => {
                self.axis_of_num(size.to_string(), num, size.clone(), over.1)?
            }
            other => {
                let what = other.describe();
                return self.fail(errors::not_an_axis(over.1, what));
            }
        };
        let form = Form::Inside(point, axis);
        Ok(Value::Tensor(self.emit(form, Elem::Of(DType::Bool), Vec::new(), span)))
    }

    /// Notes what the top-level conjuncts of a condition say of indices; the caller forgets it when the condition's scope ends.
    pub fn learn_guard(&mut self, condition: Val) {
        let mut rest = vec![condition];
        while let Some(val) = rest.pop() {
            match &self.core.vals[val].form {
                Form::Scalar(ScalarFn::And, args) => rest.extend(args),
                Form::Inside(point, axis) => {
                    let known = Guarded::Inside(point.clone(), self.core.size(*axis));
                    self.guards.push(known);
                }
                Form::Scalar(function @ (ScalarFn::Le | ScalarFn::Lt), args) => {
                    let (left, right) = (self.as_affine(args[0]), self.as_affine(args[1]));
                    if let (Some(left), Some(right)) = (left, right) {
                        let step = Dim::constant(i64::from(*function == ScalarFn::Lt));
                        let gap = difference(&right, &left);
                        let gap = gap.and_then(|gap| {
                            Some(AffinePoint { constant: gap.constant.sub(&step).ok()?, ..gap })
                        });
                        self.guards.extend(gap.map(Guarded::Nonnegative));
                    }
                }
                _ => {}
            }
        }
    }

    /// A value that is an index, or a number that is known when compiling.
    fn as_affine(&self, val: Val) -> Option<AffinePoint> {
        let constant = |constant| AffinePoint { constant, terms: Vec::new() };
        match &self.core.vals[val].form {
            Form::Number(Point::Affine(affine)) => Some(affine.clone()),
            Form::Const(crate::graph::Literal::Int(value)) => Some(constant(Dim::constant(*value))),
            Form::Size(dim) => Some(constant(dim.clone())),
            _ => None,
        }
    }

    /// Whether the guards around (and the ranges of binders) keep an index inside of an axis.
    pub fn is_guarded(&mut self, point: &Point, axis: AxisVar, span: Span) -> Checking<bool> {
        let size = self.core.size(axis);
        let inside = |guarded: &Guarded| matches!(guarded, Guarded::Inside(own, over) if own == point && self.same_dim(over, &size));
        if self.guards.iter().any(inside) {
            return Ok(true);
        }
        let Point::Affine(affine) = point else { return Ok(false) };
        let last = size.sub(&Dim::constant(1));
        let last = self.dim(last, span)?;
        let room = difference(&AffinePoint { constant: last, terms: Vec::new() }, affine);
        let Some(room) = room else { return Ok(false) };
        let (low, high) = match self.bounds(point, span)? {
            Some((low, high)) => (self.facts.at_least(&low, 0), {
                let left = size.sub(&Dim::constant(1)).and_then(|last| last.sub(&high));
                let left = self.dim(left, span)?;
                self.facts.at_least(&left, 0)
            }),
            None => (false, false),
        };
        Ok((low || self.follows(affine)) && (high || self.follows(&room)))
    }

    /// Whether some guard, perhaps with something to spare, says that an expression is at least zero.
    fn follows(&self, wanted: &AffinePoint) -> bool {
        self.guards.iter().any(|guarded| match guarded {
            Guarded::Nonnegative(known) => difference(wanted, known)
                .is_some_and(|spare| spare.terms.is_empty() && self.facts.at_least(&spare.constant, 0)),
            Guarded::Inside(..) => false,
        })
    }
}

/// `left - right`; `None` where a size overflows.
fn difference(left: &AffinePoint, right: &AffinePoint) -> Option<AffinePoint> {
    let mut terms = left.terms.clone();
    for (axis, factor) in &right.terms {
        match terms.iter_mut().find(|(present, _)| present == axis) {
            Some((_, present)) => *present = present.sub(factor).ok()?,
            None => terms.push((*axis, factor.neg().ok()?)),
        }
    }
    terms.retain(|(_, factor)| factor.as_const() != Some(0));
    Some(AffinePoint { constant: left.constant.sub(&right.constant).ok()?, terms })
}
