//! Operators and scalar functions: on static numbers, on indices, entry by entry on tensors, whose axes must agree.

use nn_grammar::ast::{BinaryOp, UnaryOp};

use crate::axes::Dim;
use crate::base::Span;
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::core::*;
use super::errors;
use super::state::{Checker, Checking};
use super::value::{Num, Placed, Real, Value};

impl Checker<'_> {
    pub fn unary(&mut self, op: UnaryOp, value: Value, span: Span) -> Checking<Value> {
        match (op, value) {
            (UnaryOp::Neg, Value::Num(num)) => {
                self.static_binary(BinaryOp::Sub, &Num::constant(0), &num, span)
            }
            (UnaryOp::Neg, Value::Index(point)) => {
                self.scale_point(&point, &Dim::constant(-1), span).map(Value::Index)
            }
            (UnaryOp::Neg, value) => self.elementwise(ScalarFn::Neg, vec![(value, span)], span),
            (UnaryOp::Not, Value::Bool(value) | Value::Training(value)) => Ok(Value::Bool(!value)),
            (UnaryOp::Not, value) => self.elementwise(ScalarFn::Not, vec![(value, span)], span),
        }
    }

    pub fn binary(
        &mut self,
        op: BinaryOp,
        (left, left_place): Placed,
        (right, right_place): Placed,
        span: Span,
    ) -> Checking<Value> {
        if op == BinaryOp::MatMul {
            return self.matmul(left, right, span);
        }
        match (&left, &right) {
            (Value::Num(left), Value::Num(right)) => return self.static_binary(op, left, right, span),
            // Lists of dims, functions or tuples are joined; `[1.0, 2.0] + [3.0, 4.0]` adds two vectors.
            (Value::List(left), Value::List(right))
                if op == BinaryOp::Add && !holds_numbers(left) && !holds_numbers(right) =>
            {
                return Ok(Value::List(left.iter().chain(right.iter()).cloned().collect()));
            }
            (Value::Index(_) | Value::Num(_), Value::Index(_) | Value::Num(_)) => {
                if let Some(point) = self.point_binary(op, &left, &right, span)? {
                    return Ok(Value::Index(point));
                }
            }
            _ => {}
        }
        self.elementwise(scalar_function(op), vec![(left, left_place), (right, right_place)], span)
    }

    pub fn static_binary(&mut self, op: BinaryOp, left: &Num, right: &Num, span: Span) -> Checking<Value> {
        let dim = match (&left.dim, &right.dim) {
            (Some(left), Some(right)) => match op {
                BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul => {
                    let result = match op {
                        BinaryOp::Add => left.add(right),
                        BinaryOp::Sub => left.sub(right),
                        _ => left.mul(right),
                    };
                    if result.is_err() && left.as_const().is_some() && right.as_const().is_some() {
                        return self.fail(errors::number_too_large(span));
                    }
                    Some(self.dim(result, span)?)
                }
                BinaryOp::Div => left.div(right).ok(),
                BinaryOp::Rem => left.rem(right).ok(),
                BinaryOp::Pow => {
                    let exponent = self.decide(right).and_then(|exponent| u32::try_from(exponent).ok());
                    exponent.and_then(|exponent| left.pow(exponent).ok())
                }
                BinaryOp::MatMul => None,
            },
            _ => None,
        };
        let dim = dim.map(|dim| self.facts.normalise(&dim).unwrap_or(dim));
        // Where dims divide without remainder, both readings agree.
        let real = match (left.known(), right.known(), &dim) {
            (Some(left), Some(right), _) => Real::Known(match op {
                BinaryOp::Add => left + right,
                BinaryOp::Sub => left - right,
                BinaryOp::Mul => left * right,
                BinaryOp::Div => left / right,
                BinaryOp::Rem => left - right * (left / right).floor(),
                BinaryOp::Pow => left.powf(right),
                BinaryOp::MatMul => f64::NAN,
            }),
            (_, _, Some(dim)) if op != BinaryOp::Div && op != BinaryOp::Pow => match dim.as_const() {
                Some(value) => Real::Known(value as f64),
                None => Real::Dim(dim.clone()),
            },
            _ => {
                let left = self.num_to_val(left, DType::F64, span)?;
                let right = self.num_to_val(right, DType::F64, span)?;
                Real::Val(self.scalar(scalar_function(op), &[left, right], Elem::Of(DType::F64), span))
            }
        };
        let by_zero = matches!(op, BinaryOp::Div | BinaryOp::Rem)
            && right.dim.as_ref().and_then(Dim::as_const) == Some(0);
        if by_zero && left.dim.is_some() {
            return self.fail(errors::division_by_zero(span));
        }
        let made_of = match (left.origin(), right.origin()) {
            (Some(axis), None) | (None, Some(axis)) => Some(axis),
            (Some(left), Some(right)) if self.family(left) == self.family(right) => Some(left),
            _ => None,
        };
        Ok(Value::Num(Num { made_of, ..Num::new(dim, real) }))
    }

    /// A scalar function on values of any kind; static numbers stay static.
    pub fn elementwise(&mut self, function: ScalarFn, args: Vec<Placed>, span: Span) -> Checking<Value> {
        if let [(Value::Num(num), _)] = args.as_slice()
            && let Some(value) = num.known()
            && let Some(result) = known_value(function, value)
        {
            return Ok(Value::Num(Num::real(result)));
        }
        // The dtype of the arguments that have one decides that of the numbers.
        let mut elem = None;
        for (value, _) in &args {
            if let Value::Tensor(val) = value {
                let found = self.elem(*val);
                if elem.is_none() || matches!(elem, Some(Elem::Idx(..))) {
                    elem = Some(found);
                }
            }
        }
        let number = match &elem {
            Some(Elem::Of(dtype)) if *dtype != DType::Bool => *dtype,
            _ => self.float(),
        };
        let mut vals = Vec::new();
        for (value, place) in args {
            let val = match value {
                Value::Num(num) => self.num_to_val(&num, number, place)?,
                Value::Index(point) => self.index_as_number(&point, number, place)?,
                Value::Tensor(val)
                    if matches!(self.elem(val), Elem::Idx(..)) && matches!(elem, Some(Elem::Of(_))) =>
                {
                    let found = self.show_val(val);
                    return self.fail(errors::positions_are_no_numbers(place, &found, number));
                }
                other => self.to_tensor(other, place)?,
            };
            vals.push((val, place));
        }
        let elem = self.result_elem(function, &vals, span)?;
        let vals = self.align(&vals, span)?;
        Ok(Value::Tensor(self.scalar(function, &vals, elem, span)))
    }

    /// The element type of a scalar function's result; its arguments must agree.
    fn result_elem(&mut self, function: ScalarFn, args: &[(Val, Span)], span: Span) -> Checking<Elem> {
        let first = self.elem(args[0].0);
        for &(val, place) in &args[1..] {
            let other = self.elem(val);
            if other.dtype() != first.dtype() {
                let (left, right) = (self.show_val(args[0].0), self.show_val(val));
                return self.fail(errors::dtypes_differ(args[0].1, &left, place, &right));
            }
        }
        match function {
            ScalarFn::Lt | ScalarFn::Le | ScalarFn::Eq | ScalarFn::Ne => Ok(Elem::Of(DType::Bool)),
            ScalarFn::And | ScalarFn::Or | ScalarFn::Not => {
                if first.dtype() != DType::Bool {
                    let shown = self.show_elem(&first);
                    return self.fail(errors::not_a_condition(span, &shown));
                }
                Ok(Elem::Of(DType::Bool))
            }
            _ => {
                if matches!(first, Elem::Idx(..)) || first.dtype() == DType::Bool {
                    let shown = self.show_elem(&first);
                    return self.fail(errors::not_a_number(span, &shown));
                }
                let transcendental = !matches!(
                    function,
                    ScalarFn::Neg
                        | ScalarFn::Abs
                        | ScalarFn::Sign
                        | ScalarFn::Add
                        | ScalarFn::Sub
                        | ScalarFn::Mul
                        | ScalarFn::Div
                        | ScalarFn::Rem
                        | ScalarFn::Pow
                        | ScalarFn::Max
                        | ScalarFn::Min
                );
                if transcendental && !first.is_float() {
                    let shown = self.show_elem(&first);
                    return self.fail(errors::not_a_float(span, &shown));
                }
                Ok(first)
            }
        }
    }

    /// Values entry by entry: the axes of each must be the last axes of the longest, by name. There is no other broadcasting.
    pub fn align(&mut self, vals: &[(Val, Span)], span: Span) -> Checking<Vec<Val>> {
        let Some(&(longest, _)) = vals.iter().max_by_key(|(val, _)| self.visible(*val).len()) else {
            return Ok(Vec::new());
        };
        let to = self.visible(longest).to_vec();
        let mut aligned = Vec::new();
        for &(val, _) in vals {
            let from = self.visible(val).to_vec();
            let tail = to[to.len() - from.len()..].to_vec();
            for (&have, &want) in from.iter().zip(&tail) {
                if !self.join_axes(have, want, span) {
                    return self.unlike_operands(vals, (val, have), (longest, want), span);
                }
            }
            if from.len() < to.len() && !from.is_empty() {
                self.refuse_repeated(&to, span)?;
            }
            if from == tail {
                aligned.push(val);
            } else {
                let elem = self.elem(val);
                aligned.push(self.emit(Form::Rename { of: val, to: tail.clone() }, elem, tail, span));
            }
        }
        Ok(aligned)
    }

    /// `f32[N, N] + f32[N]`: which N is meant?
    fn refuse_repeated(&mut self, axes: &[AxisVar], span: Span) -> Checking<()> {
        for index in 1..axes.len() {
            let size = self.size_of(axes[index]);
            let named = size.as_ref().is_some_and(|size| size.as_const().is_none());
            if named && axes[..index].iter().any(|&axis| self.size_of(axis) == size) {
                let axis = self.show_axis(axes[index]);
                return self.fail(errors::mapped_twice(span, &axis));
            }
        }
        Ok(())
    }

    /// `a @ b`: the last axis of a with the first of b.
    pub fn matmul(&mut self, left: Value, right: Value, span: Span) -> Checking<Value> {
        let left = self.to_tensor(left, span)?;
        let right = self.to_tensor(right, span)?;
        let (rows, columns) = (self.visible(left).to_vec(), self.visible(right).to_vec());
        let (Some(&inner), Some(&outer)) = (rows.last(), columns.first()) else {
            let (left, right) = (self.show_val(left), self.show_val(right));
            return self.fail(errors::matmul_of_scalars(span, &left, &right));
        };
        if columns.len() > 2 {
            let right = self.show_val(right);
            return self.fail(errors::matmul_rank(span, &right));
        }
        if !self.unify(outer, inner) {
            let (have, want) = (self.show_axis(outer), self.show_axis(inner));
            let turned = columns.last().is_some_and(|&last| self.unify(last, inner));
            let (left, right) = (self.show_val(left), self.show_val(right));
            let error = errors::matmul_axes_differ(span, (&want, &left), (&have, &right), turned);
            return self.fail(self.traced(error, &[inner, outer]));
        }
        let (left_elem, right_elem) = (self.elem(left), self.elem(right));
        if left_elem != right_elem || matches!(left_elem, Elem::Idx(..) | Elem::Of(DType::Bool)) {
            let (left, right) = (self.show_val(left), self.show_val(right));
            return self.fail(errors::dtypes_differ(span, &left, span, &right));
        }
        let fresh: Vec<AxisVar> = rows.iter().map(|&axis| self.fresh_like(axis)).collect();
        let k = *fresh.last().expect("rows is not empty");
        let at = fresh.iter().map(|&axis| At::Point(Point::axis(axis))).collect();
        let a = self.emit(
            Form::Read { of: left, at, outside: Outside::Never },
            left_elem.clone(),
            Vec::new(),
            span,
        );
        let n = columns.get(1).map(|&axis| self.fresh_like(axis));
        let mut at = vec![At::Point(Point::axis(k))];
        at.extend(n.map(|n| At::Point(Point::axis(n))));
        let b =
            self.emit(Form::Read { of: right, at, outside: Outside::Never }, right_elem, Vec::new(), span);
        let product = self.scalar(ScalarFn::Mul, &[a, b], left_elem.clone(), span);
        let reduce = Form::Reduce { op: Reducer::Sum, over: vec![k], guard: None, body: product };
        let sum = self.emit(reduce, left_elem.clone(), Vec::new(), span);
        let mut hidden = fresh[..fresh.len() - 1].to_vec();
        let mut shown = rows[..rows.len() - 1].to_vec();
        hidden.extend(n);
        shown.extend(columns.get(1));
        if hidden.is_empty() {
            return Ok(Value::Tensor(sum));
        }
        self.tabulate_value(Value::Tensor(sum), &hidden, &shown, span)
    }
}

/// A list of floats or tensors, or of lists of them: it is meant as a tensor.
pub fn holds_numbers(items: &[Value]) -> bool {
    items.iter().any(|item| match item {
        Value::Num(num) => num.dim.is_none(),
        Value::Tensor(_) => true,
        Value::List(items) => holds_numbers(items),
        _ => false,
    })
}

/// A scalar function of a number that is known, in f64.
fn known_value(function: ScalarFn, x: f64) -> Option<f64> {
    Some(match function {
        ScalarFn::Neg => -x,
        ScalarFn::Abs => x.abs(),
        ScalarFn::Sqrt => x.sqrt(),
        ScalarFn::Exp => x.exp(),
        ScalarFn::Log => x.ln(),
        ScalarFn::Sin => x.sin(),
        ScalarFn::Cos => x.cos(),
        ScalarFn::Tanh => x.tanh(),
        ScalarFn::Floor => x.floor(),
        ScalarFn::Ceil => x.ceil(),
        ScalarFn::Round => x.round_ties_even(),
        _ => return None,
    })
}

/// What an operator does to two numbers; `@`, which is none of numbers, has been handled before.
fn scalar_function(op: BinaryOp) -> ScalarFn {
    match op {
        BinaryOp::Add => ScalarFn::Add,
        BinaryOp::Sub => ScalarFn::Sub,
        BinaryOp::Mul => ScalarFn::Mul,
        BinaryOp::Div => ScalarFn::Div,
        BinaryOp::Rem => ScalarFn::Rem,
        BinaryOp::Pow => ScalarFn::Pow,
        BinaryOp::MatMul => unreachable!("a product of matrices is no function of two numbers"),
    }
}
