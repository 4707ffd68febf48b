//! Derivatives in the language.

use std::rc::Rc;

use crate::base::Span;

use super::core::*;
use super::errors;
use super::state::{Checker, Checking};
use super::value::{Field, Func, Value};

impl Checker<'_> {
    /// `grad(f)(x, …)`: the derivative of the scalar f by each tensor argument.
    pub fn apply_grad(&mut self, func: &Rc<Func>, args: Vec<(Value, Span)>, span: Span) -> Checking<Value> {
        let mut given = Vec::new();
        let mut wrt = Vec::new();
        for (value, place) in args {
            let value = match value {
                Value::Func(_) => value,
                other => {
                    let of = self.to_tensor(other, place)?;
                    if !self.elem(of).is_float() {
                        given.push((Value::Tensor(of), place));
                        continue;
                    }
                    let (elem, visible) = (self.elem(of), self.visible(of).to_vec());
                    let ambient = self.ambient.clone();
                    let alias = self.emit(Form::Alias { of, ambient }, elem, visible, place);
                    wrt.push(alias);
                    Value::Tensor(alias)
                }
            };
            given.push((value, place));
        }
        let result = self.apply(func, given, span)?;
        let of = self.to_tensor(result, span)?;
        if wrt.is_empty() {
            return self.fail(errors::gradient_of_nothing(span));
        }
        // Mapped over further axes, each entry depends on its own part of the arguments: the sum has the same derivative.
        let of = self.gradient_target(of, &wrt, span)?;
        self.gradients(of, wrt, span)
    }

    fn gradient_target(&mut self, of: Val, wrt: &[Val], span: Span) -> Checking<Val> {
        let visible = self.visible(of).to_vec();
        if !self.elem(of).is_float() {
            let shown = self.show_val(of);
            return self.fail(errors::gradient_of_non_scalar(span, &shown));
        }
        if visible.is_empty() {
            return Ok(of);
        }
        let mapped = wrt.iter().all(|&arg| {
            let axes = self.visible(arg);
            visible.len() <= axes.len()
                && visible.iter().zip(axes).all(|(left, right)| self.size_of(*left) == self.size_of(*right))
        });
        if !mapped {
            let shown = self.show_val(of);
            return self.fail(errors::gradient_of_non_scalar(span, &shown));
        }
        self.reduce(Reducer::Sum, visible, None, of, span)
    }

    /// The derivatives of a scalar by values, as one value or a tuple.
    pub fn gradients(&mut self, of: Val, wrt: Vec<Val>, span: Span) -> Checking<Value> {
        let count = wrt.len();
        let tuple =
            self.emit(Form::Gradients { of, wrt: wrt.clone() }, Elem::Of(self.float()), Vec::new(), span);
        let mut fields = Vec::new();
        for (index, arg) in wrt.into_iter().enumerate() {
            let (elem, visible) = (self.elem(arg), self.visible(arg).to_vec());
            let val = self.emit(Form::Component { of: tuple, index }, elem, visible, span);
            fields.push(Field { label: None, value: Value::Tensor(val) });
        }
        Ok(if count == 1 { fields.remove(0).value } else { Value::Tuple(fields.into()) })
    }
}
