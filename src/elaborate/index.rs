//! Index expressions of the core as those of the graph, or as numbers.

use crate::axes::Dim;
use crate::check::core::{AxisVar, Point};
use crate::graph::{Affine, Index, Literal, Node};
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::Walk;

impl Walk<'_> {
    pub(super) fn index(&mut self, point: &Point) -> Index {
        match point {
            Point::Affine(affine) => {
                let mut terms: Vec<_> =
                    affine.terms.iter().map(|(axis, factor)| (self.axis(*axis), self.dim(factor))).collect();
                terms.sort_by_key(|(axis, _)| *axis);
                Index::Affine(Affine {
                    constant: self.dim(&affine.constant),
                    terms: terms.into_iter().collect(),
                })
            }
            Point::Div(inner, by) => Index::Div(Box::new(self.index(inner)), self.dim(by)),
            Point::Rem(inner, by) => Index::Rem(Box::new(self.index(inner)), self.dim(by)),
            Point::Sum(parts) => {
                Index::Sum(parts.iter().map(|(factor, part)| (self.dim(factor), self.index(part))).collect())
            }
        }
    }

    /// An index expression as an i32.
    pub(super) fn number(&mut self, point: &Point) -> Node {
        match point {
            Point::Affine(affine) => {
                let mut sum = None;
                for (axis, factor) in &affine.terms {
                    let axis = self.axis(*axis);
                    let place = self.builder.position(axis, DType::I32);
                    let term = if factor.as_const() == Some(1) {
                        place
                    } else {
                        let factor = self.dim_value(factor);
                        self.builder.mul(place, factor)
                    };
                    sum = Some(match sum {
                        None => term,
                        Some(sum) => self.builder.add(sum, term),
                    });
                }
                match (sum, affine.constant.as_const()) {
                    (Some(sum), Some(0)) => sum,
                    (sum, _) => {
                        let constant = self.dim_value(&affine.constant);
                        match sum {
                            Some(sum) => self.builder.add(sum, constant),
                            None => constant,
                        }
                    }
                }
            }
            Point::Div(inner, by) => {
                let (inner, by) = (self.number(inner), self.dim_value(by));
                self.builder.map(ScalarFn::Div, &[inner, by])
            }
            Point::Rem(inner, by) => {
                let (inner, by) = (self.number(inner), self.dim_value(by));
                self.builder.map(ScalarFn::Rem, &[inner, by])
            }
            Point::Sum(parts) => {
                let mut sum = self.builder.literal(Literal::Int(0), DType::I32);
                for (factor, part) in parts {
                    let (factor, part) = (self.dim_value(factor), self.number(part));
                    let term = self.builder.mul(part, factor);
                    sum = self.builder.add(sum, term);
                }
                sum
            }
        }
    }

    /// Whether an index lies on an axis.
    pub(super) fn inside(&mut self, point: &Point, axis: AxisVar) -> Node {
        let size = self.dim_value(&self.core.size(axis));
        let index = self.number(point);
        let zero = self.builder.literal(Literal::Int(0), DType::I32);
        let low = self.builder.map(ScalarFn::Le, &[zero, index]);
        let high = self.builder.map(ScalarFn::Lt, &[index, size]);
        self.builder.map(ScalarFn::And, &[low, high])
    }

    fn dim_value(&mut self, dim: &Dim) -> Node {
        let dim = self.dim(dim);
        match dim.as_const() {
            Some(value) => self.builder.literal(Literal::Int(value), DType::I32),
            None => self.builder.size(dim, DType::I32),
        }
    }
}
