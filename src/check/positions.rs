//! `e as Idx[N]`: numbers that become positions.

use nn_grammar::ast;

use crate::axes::Dim;
use crate::base::Span;
use crate::graph::Literal;
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::core::*;
use super::errors;
use super::state::{Checker, Checking};
use super::value::{Num, Value};

impl Checker<'_> {
    /// Numbers that are written down must lie in a range that is known. Those that the program computes are rounded towards zero and moved to
    /// the nearer end of the axis where they lie outside of it, as other casts saturate; an axis without entries has no position,
    /// so that its size must be at least 1.
    pub fn as_positions(&mut self, value: Value, ty: &ast::Type, span: Span) -> Checking<Value> {
        let refused = errors::no_known_positions(span, ty.span);
        let ast::TypeKind::Index { range, axes } = &ty.kind else { return self.fail(refused) };
        let over = self.read_axes(std::slice::from_ref(range))?;
        let (&[over], true) = (over.as_slice(), axes.is_empty()) else { return self.fail(refused) };
        let elem = Elem::Idx(self.core.size(over), self.core.axes[over].root);
        let number = match value {
            value @ (Value::List(_) | Value::Num(_)) => self.written_positions(value, over, ty.span, span)?,
            Value::Index(point) => {
                let number = self.index_as_number(&point, DType::I32, span)?;
                self.saturated(number, over, span)?
            }
            Value::Tensor(val) if matches!(self.elem(val), Elem::Of(dtype) if dtype != DType::Bool) => {
                self.saturated(val, over, span)?
            }
            _ => return self.fail(refused),
        };
        let visible = self.visible(number).to_vec();
        Ok(Value::Tensor(self.emit(Form::AsIndex(number), elem, visible, span)))
    }

    /// The entry of an axis that is nearest to a number.
    fn saturated(&mut self, number: Val, over: AxisVar, span: Span) -> Checking<Val> {
        self.prove_in_range(&Point::constant(Dim::constant(0)), over, span)?;
        let (size, elem) = (Num::dim(self.core.size(over)), Elem::Of(DType::I32));
        let size = self.num_to_val(&size, DType::I32, span)?;
        let [zero, one] = [0, 1].map(|literal| self.constant(Literal::Int(literal), DType::I32, span));
        let last = self.scalar(ScalarFn::Sub, &[size, one], elem.clone(), span);
        let number = self.cast(number, DType::I32, span);
        let number = self.scalar(ScalarFn::Max, &[number, zero], elem.clone(), span);
        Ok(self.scalar(ScalarFn::Min, &[number, last], elem, span))
    }

    /// `[0, 2, 1] as Idx[3]`, `[[0, 1], [2, 0]] as Idx[3]`: every number must lie on the axis, which becomes a `where` of the definition
    /// for one whose size is not known.
    fn written_positions(&mut self, value: Value, over: AxisVar, ty: Span, span: Span) -> Checking<Val> {
        let mut largest = 0;
        let Some(numbers) = self.written_numbers(&value, &mut largest, span) else {
            return self.fail(errors::no_known_positions(span, ty));
        };
        let (size, largest) = (self.core.size(over), Dim::constant(largest));
        let wanted = self.dim(largest.add(&Dim::constant(1)), span)?;
        if !self.demand_at_most((&wanted, &size), span) {
            return self.fail(errors::literal_position(span, &largest, &size));
        }
        self.to_tensor(numbers, span)
    }

    /// The numbers as constants, in lists as they are written; `None` where one is no whole number from 0 on.
    fn written_numbers(&mut self, value: &Value, largest: &mut i64, span: Span) -> Option<Value> {
        match value {
            Value::List(items) => {
                let items = items.iter().map(|item| self.written_numbers(item, largest, span));
                items.collect::<Option<_>>().map(Value::List)
            }
            Value::Num(num) => {
                let number = num.dim.as_ref().and_then(Dim::as_const).filter(|number| *number >= 0)?;
                *largest = number.max(*largest);
                Some(Value::Tensor(self.constant(Literal::Int(number), DType::I32, span)))
            }
            _ => None,
        }
    }
}
