//! Indices: arithmetic on binders, and comparisons of positions.

use nn_grammar::ast::{self, BinaryOp, CmpOp};

use crate::axes::Dim;
use crate::base::Span;
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::core::*;
use super::errors;
use super::state::{Checker, Checking, Compared};
use super::value::{Num, Value};

impl Point {
    /// The index variable itself.
    pub fn axis(axis: AxisVar) -> Point {
        Point::Affine(AffinePoint { constant: Dim::constant(0), terms: vec![(axis, Dim::constant(1))] })
    }

    pub fn constant(dim: Dim) -> Point {
        Point::Affine(AffinePoint { constant: dim, terms: Vec::new() })
    }

    /// The variable, where the point is nothing but one.
    pub fn as_axis(&self) -> Option<AxisVar> {
        match self {
            Point::Affine(AffinePoint { constant, terms }) => match terms.as_slice() {
                [(axis, factor)] if factor.as_const() == Some(1) && constant.as_const() == Some(0) => {
                    Some(*axis)
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The variable of `i` or `i + c`.
    pub fn moved_axis(&self) -> Option<AxisVar> {
        match self {
            Point::Affine(AffinePoint { terms, .. }) => match terms.as_slice() {
                [(axis, factor)] if factor.as_const() == Some(1) => Some(*axis),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether a division or remainder stands in it that is not said to be meant as a number.
    pub fn divides(&self) -> bool {
        match self {
            Point::Affine(_) => false,
            Point::Div(..) | Point::Rem(..) => true,
            Point::Sum(parts) => {
                parts.iter().any(|(_, part)| !matches!(part, Point::Sum(_)) && part.divides())
            }
        }
    }

    /// `position(e)`: a sum of one part, which is no plain binder any more, so that its number is what counts. A sum within a sum is said
    /// to be a number whatever stands in it.
    pub fn numbered(self) -> Point {
        let one = |point| Point::Sum(vec![(Dim::constant(1), point)]);
        if self.divides() { one(one(self)) } else { one(self) }
    }

    /// Every variable in it.
    pub fn axes(&self) -> Vec<AxisVar> {
        match self {
            Point::Affine(affine) => affine.terms.iter().map(|(axis, _)| *axis).collect(),
            Point::Div(inner, _) | Point::Rem(inner, _) => inner.axes(),
            Point::Sum(parts) => parts.iter().flat_map(|(_, part)| part.axes()).collect(),
        }
    }
}

impl Checker<'_> {
    // ---- arithmetic --------------------------------------------------------------------------

    /// Arithmetic that gives an index again; `None`: the result is an ordinary number.
    pub fn point_binary(
        &mut self,
        op: BinaryOp,
        left: &Value,
        right: &Value,
        span: Span,
    ) -> Checking<Option<Point>> {
        let point = |value: &Value| match value {
            Value::Index(point) => Some(point.clone()),
            Value::Num(Num { dim: Some(dim), .. }) => Some(Point::constant(dim.clone())),
            _ => None,
        };
        let dim = |value: &Value| match value {
            Value::Num(Num { dim: Some(dim), .. }) => Some(dim.clone()),
            _ => None,
        };
        let (Some(a), Some(b)) = (point(left), point(right)) else { return Ok(None) };
        Ok(match op {
            BinaryOp::Add => Some(self.add_points(&a, &b, span)?),
            BinaryOp::Sub => {
                let b = self.scale_point(&b, &Dim::constant(-1), span)?;
                Some(self.add_points(&a, &b, span)?)
            }
            BinaryOp::Mul => match (dim(left), dim(right)) {
                (Some(factor), _) => Some(self.scale_point(&b, &factor, span)?),
                (_, Some(factor)) => Some(self.scale_point(&a, &factor, span)?),
                _ => None,
            },
            // As an index, division is floor division; `i / E` in arithmetic with reals is written with `position(i)`.
            BinaryOp::Div => dim(right).map(|by| Point::Div(Box::new(a), by)),
            BinaryOp::Rem => dim(right).map(|by| Point::Rem(Box::new(a), by)),
            BinaryOp::Pow | BinaryOp::MatMul => None,
        })
    }

    fn add_points(&mut self, a: &Point, b: &Point, span: Span) -> Checking<Point> {
        let (Point::Affine(a), Point::Affine(b)) = (a, b) else {
            let one = Dim::constant(1);
            let mut parts = Vec::new();
            for part in [a, b] {
                match part {
                    Point::Sum(inner) => parts.extend(inner.iter().cloned()),
                    other => parts.push((one.clone(), other.clone())),
                }
            }
            return Ok(Point::Sum(parts));
        };
        let constant = a.constant.add(&b.constant);
        let constant = self.dim(constant, span)?;
        let mut terms = a.terms.clone();
        for (axis, factor) in &b.terms {
            match terms.iter_mut().find(|(present, _)| present == axis) {
                Some((_, present)) => {
                    let sum = present.add(factor);
                    *present = self.dim(sum, span)?;
                }
                None => terms.push((*axis, factor.clone())),
            }
        }
        terms.retain(|(_, factor)| factor.as_const() != Some(0));
        Ok(Point::Affine(AffinePoint { constant, terms }))
    }

    pub fn scale_point(&mut self, point: &Point, factor: &Dim, span: Span) -> Checking<Point> {
        match point {
            Point::Affine(affine) => {
                let constant = affine.constant.mul(factor);
                let constant = self.dim(constant, span)?;
                let mut terms = Vec::new();
                for (axis, present) in &affine.terms {
                    let product = present.mul(factor);
                    terms.push((*axis, self.dim(product, span)?));
                }
                terms.retain(|(_, factor)| factor.as_const() != Some(0));
                Ok(Point::Affine(AffinePoint { constant, terms }))
            }
            Point::Sum(parts) => {
                let mut scaled = Vec::new();
                for (present, part) in parts {
                    let product = present.mul(factor);
                    scaled.push((self.dim(product, span)?, part.clone()));
                }
                Ok(Point::Sum(scaled))
            }
            other => Ok(Point::Sum(vec![(factor.clone(), other.clone())])),
        }
    }

    /// An index as a number of arithmetic. Division is floor division in an index and exact in numbers, so it must be written out.
    pub fn index_as_number(&mut self, point: &Point, dtype: DType, span: Span) -> Checking<Val> {
        if point.divides() {
            return self.fail(errors::division_of_index(span));
        }
        let val = self.index_to_val(point, span);
        Ok(self.cast(val, dtype, span))
    }

    /// An index as a value: a position on its axis where it is a plain binder, an integer otherwise.
    pub fn index_to_val(&mut self, point: &Point, span: Span) -> Val {
        let elem = match point.as_axis() {
            Some(axis) => {
                let info = &self.core.axes[axis];
                match &info.size {
                    Some(size) => Elem::Idx(size.clone(), info.root),
                    None => Elem::Of(DType::I32),
                }
            }
            None => Elem::Of(DType::I32),
        };
        self.emit(Form::Number(point.clone()), elem, Vec::new(), span)
    }

    /// Comparisons in which an index or a position takes part; `None`: an ordinary comparison.
    pub fn compare_positions(
        &mut self,
        op: CmpOp,
        a: &Value,
        b: &Value,
        span: Span,
    ) -> Checking<Option<Value>> {
        // `dst[e] == n` gives a binder its range.
        for (index, other) in [(a, b), (b, a)] {
            if let (Value::Index(point), Value::Tensor(val)) = (index, other)
                && let (Some(binder), Elem::Idx(size, root)) = (point.as_axis(), self.elem(*val))
            {
                match self.size_of(binder) {
                    None => {
                        self.core.axes[binder].size = Some(size);
                        self.core.axes[binder].root = root;
                    }
                    Some(have) if !self.same_dim(&have, &size) => {
                        let shown = self.show_val(*val);
                        let error = errors::positions_of_other_axis(span, &shown, &have);
                        let error = self.traced_range(self.traced(error, &[binder]), &self.elem(*val));
                        return self.fail(error);
                    }
                    Some(_) => {}
                }
            }
        }
        if let (Value::Index(left), Value::Index(right)) = (a, b) {
            if let (Some(left), Some(right)) = (left.moved_axis(), right.moved_axis()) {
                self.compared.push(Compared { left, right, span });
            }
        } else if !matches!((a, b), (Value::Index(_), _) | (_, Value::Index(_))) {
            let idx = |cx: &Self, value: &Value| matches!(value, Value::Tensor(val) if matches!(cx.elem(*val), Elem::Idx(..)));
            if !idx(self, a) && !idx(self, b) {
                return Ok(None);
            }
            // Positions against a number: `y == 3`.
            if idx(self, a) && idx(self, b) {
                let (left, right) = (self.to_tensor(a.clone(), span)?, self.to_tensor(b.clone(), span)?);
                let (left_elem, right_elem) = (self.elem(left), self.elem(right));
                if !self.elem_fits(&left_elem, &right_elem) {
                    let (left, right) = (self.show_val(left), self.show_val(right));
                    return self.fail(errors::dtypes_differ(span, &left, span, &right));
                }
            }
        }
        let position = |cx: &mut Self, value: &Value| -> Checking<Val> {
            match value {
                Value::Index(point) => Ok(cx.index_to_val(point, span)),
                Value::Num(num) => cx.num_to_val(num, DType::I32, span),
                other => {
                    let val = cx.to_tensor(other.clone(), span)?;
                    Ok(if cx.elem(val).dtype() == DType::I32 { val } else { cx.cast(val, DType::I32, span) })
                }
            }
        };
        let left = (position(self, a)?, span);
        let right = (position(self, b)?, span);
        let vals = self.align(&[left, right], span)?;
        let (function, args) = match op {
            CmpOp::Eq => (ScalarFn::Eq, [vals[0], vals[1]]),
            CmpOp::Ne => (ScalarFn::Ne, [vals[0], vals[1]]),
            CmpOp::Lt => (ScalarFn::Lt, [vals[0], vals[1]]),
            CmpOp::Le => (ScalarFn::Le, [vals[0], vals[1]]),
            CmpOp::Gt => (ScalarFn::Lt, [vals[1], vals[0]]),
            CmpOp::Ge => (ScalarFn::Le, [vals[1], vals[0]]),
            CmpOp::Approx | CmpOp::In => return self.fail(errors::not_a_number(span, "an index")),
        };
        Ok(Some(Value::Tensor(self.scalar(function, &args, Elem::Of(DType::Bool), span))))
    }

    /// Class labels that come as plain integers: positions on the axis that the parameter names, checked where data enters.
    pub fn labels_as_positions(&mut self, param: &ast::Param, val: Val, span: Span) -> Checking<Val> {
        let ast::TypeKind::Index { .. } = &param.ty.kind else { return Ok(val) };
        let Elem::Of(DType::I64 | DType::I32 | DType::U8) = self.elem(val) else { return Ok(val) };
        let mut origin = val;
        let input = loop {
            match &self.core.vals[origin].form {
                Form::Read { of, .. } | Form::Rename { of, .. } => origin = *of,
                Form::Input(index) => break *index,
                _ => {
                    let shown = self.show_val(val);
                    return self.fail(errors::numbers_are_no_positions(span, &shown, param));
                }
            }
        };
        let (wanted, _) = self.read_type(&param.ty)?;
        let Elem::Idx(bound, _) = &wanted else { return Ok(val) };
        match &self.core.inputs[input].bound {
            Some(present) if !self.same_dim(present, bound) => {
                let name = self.core.inputs[input].name.clone();
                return self.fail(errors::two_bounds(span, &name, present, bound));
            }
            _ => self.core.inputs[input].bound = Some(bound.clone()),
        }
        let visible = self.visible(val).to_vec();
        Ok(self.emit(Form::AsIndex(val), wanted, visible, span))
    }
}
