//! Comparisons, and conditions joined by `and` and `or`: decided where what they compare is known.

use nn_grammar::ast::{self, BinaryOp, CmpOp, LogicOp};

use crate::base::Span;
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::core::*;
use super::state::{Checker, Checking};
use super::value::{Num, Placed, Value};

impl Checker<'_> {
    pub fn compare(&mut self, op: CmpOp, left: &ast::Expr, right: &ast::Expr, span: Span) -> Checking<Value> {
        let (a, b) = (self.eval(left)?, self.eval(right)?);
        if op == CmpOp::In {
            return self.inside((a, left.span), (b, right.span), span);
        }
        match (&a, &b) {
            (Value::Num(a), Value::Num(b)) => return self.compare_numbers(op, a, b, span),
            (Value::Bool(a), Value::Bool(b)) if matches!(op, CmpOp::Eq | CmpOp::Ne) => {
                return Ok(Value::Bool((a == b) == (op == CmpOp::Eq)));
            }
            (Value::Str(a), Value::Str(b)) if matches!(op, CmpOp::Eq | CmpOp::Ne) => {
                return Ok(Value::Bool((a == b) == (op == CmpOp::Eq)));
            }
            _ => {}
        }
        if let Some(value) = self.compare_positions(op, &a, &b, span)? {
            return Ok(value);
        }
        let pair = |function, left: Placed, right: Placed| (function, vec![left, right]);
        let (a, b) = ((a, left.span), (b, right.span));
        let (function, args) = match op {
            CmpOp::Eq => pair(ScalarFn::Eq, a, b),
            CmpOp::Ne => pair(ScalarFn::Ne, a, b),
            CmpOp::Lt => pair(ScalarFn::Lt, a, b),
            CmpOp::Le => pair(ScalarFn::Le, a, b),
            CmpOp::Gt => pair(ScalarFn::Lt, b, a),
            CmpOp::Ge => pair(ScalarFn::Le, b, a),
            CmpOp::Approx => return self.approx(a, b, span),
            CmpOp::In => unreachable!("handled above"),
        };
        self.elementwise(function, args, span)
    }

    /// `a ~= b`: |a - b| <= 1e-5 + 1e-4 |b|, in every entry.
    fn approx(&mut self, a: Placed, b: Placed, span: Span) -> Checking<Value> {
        let difference = self.elementwise(ScalarFn::Sub, vec![a.clone(), b.clone()], span)?;
        let difference = self.elementwise(ScalarFn::Abs, vec![(difference, span)], span)?;
        let size = self.elementwise(ScalarFn::Abs, vec![b], span)?;
        let relative = self.binary(BinaryOp::Mul, (size, span), (Value::Num(Num::real(1e-4)), span), span)?;
        let bound =
            self.binary(BinaryOp::Add, (relative, span), (Value::Num(Num::real(1e-5)), span), span)?;
        if let (Value::Num(difference), Value::Num(bound)) = (&difference, &bound) {
            return self.compare_numbers(CmpOp::Le, difference, bound, span);
        }
        self.elementwise(ScalarFn::Le, vec![(difference, span), (bound, span)], span)
    }

    pub fn compare_numbers(&mut self, op: CmpOp, left: &Num, right: &Num, span: Span) -> Checking<Value> {
        if let (Some(a), Some(b)) = (&left.dim, &right.dim) {
            if let (Some(a), Some(b)) = (self.decide(a), self.decide(b)) {
                return Ok(Value::Bool(compare_f64(op, a as f64, b as f64)));
            }
            if self.same_dim(a, b) {
                return Ok(Value::Bool(matches!(op, CmpOp::Eq | CmpOp::Le | CmpOp::Ge | CmpOp::Approx)));
            }
        } else if let (Some(a), Some(b)) = (left.known(), right.known()) {
            return Ok(Value::Bool(compare_f64(op, a, b)));
        }
        let a = self.num_to_val(left, DType::F64, span)?;
        let b = self.num_to_val(right, DType::F64, span)?;
        let (function, a, b) = match op {
            CmpOp::Eq | CmpOp::Approx | CmpOp::In => (ScalarFn::Eq, a, b),
            CmpOp::Ne => (ScalarFn::Ne, a, b),
            CmpOp::Lt => (ScalarFn::Lt, a, b),
            CmpOp::Le => (ScalarFn::Le, a, b),
            CmpOp::Gt => (ScalarFn::Lt, b, a),
            CmpOp::Ge => (ScalarFn::Le, b, a),
        };
        Ok(Value::Tensor(self.scalar(function, &[a, b], Elem::Of(DType::Bool), span)))
    }

    pub fn logic(&mut self, op: LogicOp, left: &ast::Expr, right: &ast::Expr, span: Span) -> Checking<Value> {
        let a = self.eval(left)?;
        match (op, &a) {
            (LogicOp::And, Value::Bool(false)) | (LogicOp::Or, Value::Bool(true)) => return Ok(a),
            (_, Value::Bool(_) | Value::Training(_)) => {
                if let Value::Training(value) = a
                    && value == (op == LogicOp::Or)
                {
                    return Ok(Value::Bool(value));
                }
                return self.eval(right);
            }
            _ => {}
        }
        let b = self.eval(right)?;
        let function = if op == LogicOp::And { ScalarFn::And } else { ScalarFn::Or };
        self.elementwise(function, vec![(a, left.span), (b, right.span)], span)
    }
}

fn compare_f64(op: CmpOp, a: f64, b: f64) -> bool {
    match op {
        CmpOp::Eq | CmpOp::In => a == b,
        CmpOp::Approx => (a - b).abs() <= 1e-5 + 1e-4 * b.abs(),
        CmpOp::Ne => a != b,
        CmpOp::Lt => a < b,
        CmpOp::Le => a <= b,
        CmpOp::Gt => a > b,
        CmpOp::Ge => a >= b,
    }
}
