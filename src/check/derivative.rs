//! Derivatives in the language.

use std::sync::Arc;

use crate::base::Span;
use crate::ops::ScalarFn;

use super::builtin::Builtin;
use super::core::*;
use super::errors;
use super::state::{Checker, Checking};
use super::value::{Callable, Field, Func, Placed, Value};

impl Checker<'_> {
    /// `grad(f)(x, …)`: the derivative of the scalar f by each tensor argument.
    pub fn apply_grad(&mut self, func: &Arc<Func>, args: Vec<Placed>, span: Span) -> Checking<Value> {
        let (given, wrt) = self.told_apart(args)?;
        let mapped = self.mapped_over(func, &given, span)?;
        let result = self.apply(func, given, span)?;
        let of = self.to_tensor(result, span)?;
        if wrt.is_empty() {
            return self.fail(errors::gradient_of_nothing(span));
        }
        // Mapped over further axes, each entry depends on its own part of the arguments: the sum has the same derivative.
        let of = self.gradient_target(of, mapped, span)?;
        self.gradients(of, wrt, span)
    }

    /// `vjp(f)(x, …, g)`: the derivatives of Σ f(x, …) g by each tensor argument; g has the type of the result.
    pub fn apply_vjp(&mut self, func: &Arc<Func>, mut args: Vec<Placed>, span: Span) -> Checking<Value> {
        let Some((cotangent, place)) = args.pop() else {
            return self.fail(errors::wrong_count(span, "vjp(f)", 2, 0));
        };
        let (given, wrt) = self.told_apart(args)?;
        let result = self.apply(func, given, span)?;
        let of = self.to_tensor(result, span)?;
        if wrt.is_empty() {
            return self.fail(errors::gradient_of_nothing(span));
        }
        let elem = self.elem(of);
        let cotangent = self.to_tensor_of(cotangent, &elem, place)?;
        self.same_type(of, cotangent, place)?;
        let vals = self.align(&[(of, span), (cotangent, place)], span)?;
        let mut total = self.scalar(ScalarFn::Mul, &vals, elem, span);
        let axes = self.visible(total).to_vec();
        if !axes.is_empty() {
            total = self.reduce(Reducer::Sum, axes, None, total, span)?;
        }
        self.gradients(total, wrt, span)
    }

    /// `jvp(f)(x, …, v, …)`: the derivative of f along v, of the result's type; of a tuple the derivatives of its values. There is a v for
    /// each argument of floats.
    pub fn apply_jvp(&mut self, func: &Arc<Func>, args: Vec<Placed>, span: Span) -> Checking<Value> {
        let is_float = |cx: &Self, value: &Value| match value {
            Value::Tensor(val) => cx.elem(*val).is_float(),
            Value::Num(_) => true,
            _ => false,
        };
        let floats: Vec<bool> = args.iter().map(|(value, _)| is_float(self, value)).collect();
        let count = |points: usize| points + floats[..points].iter().filter(|float| **float).count();
        let Some(points) = (1..=args.len()).find(|&points| count(points) == args.len()) else {
            return self.fail(errors::directions_do_not_fit(span, args.len()));
        };
        let mut args = args;
        let directions = args.split_off(points);
        let (given, wrt) = self.told_apart(args)?;
        let mut along = Vec::new();
        for (&alias, (direction, place)) in wrt.iter().zip(directions) {
            let elem = self.elem(alias);
            let direction = self.to_tensor_of(direction, &elem, place)?;
            self.same_type(alias, direction, place)?;
            let (have, want) = (self.visible(direction).to_vec(), self.visible(alias).to_vec());
            along.push(if have == want {
                direction
            } else {
                self.emit(Form::Rename { of: direction, to: want.clone() }, elem, want, place)
            });
        }
        let result = self.apply(func, given, span)?;
        self.tangent(result, &wrt, &along, span)
    }

    fn tangent(&mut self, of: Value, wrt: &[Val], along: &[Val], span: Span) -> Checking<Value> {
        if let Value::Tuple(fields) = of {
            let mut tangents = Vec::new();
            for Field { label, value } in fields.iter() {
                let value = self.tangent(value.clone(), wrt, along, span)?;
                tangents.push(Field { label: label.clone(), value });
            }
            return Ok(Value::Tuple(tangents.into()));
        }
        let of = self.to_tensor(of, span)?;
        let (elem, visible) = (self.elem(of), self.visible(of).to_vec());
        if !elem.is_float() {
            let shown = self.show_val(of);
            return self.fail(errors::gradient_of_non_scalar(span, &shown));
        }
        let form = Form::Tangent { of, wrt: wrt.to_vec(), along: along.to_vec() };
        Ok(Value::Tensor(self.emit(form, elem, visible, span)))
    }

    /// The arguments, those of floats as values that can be differentiated by.
    fn told_apart(&mut self, args: Vec<Placed>) -> Checking<(Vec<Placed>, Vec<Val>)> {
        let mut given = Vec::new();
        let mut wrt = Vec::new();
        for (value, place) in args {
            let value = match value {
                Value::Func(_) => value,
                other => {
                    let of = self.to_tensor(other, place)?;
                    if self.elem(of).is_float() {
                        let (elem, visible) = (self.elem(of), self.visible(of).to_vec());
                        let ambient = self.ambient.clone();
                        let alias = self.emit(Form::Alias { of, ambient }, elem, visible, place);
                        wrt.push(alias);
                        Value::Tensor(alias)
                    } else {
                        Value::Tensor(of)
                    }
                }
            };
            given.push((value, place));
        }
        Ok((given, wrt))
    }

    /// A cotangent or a direction has the type of the value that it belongs to.
    fn same_type(&mut self, of: Val, given: Val, span: Span) -> Checking<()> {
        let (want, have) = (self.visible(of).to_vec(), self.visible(given).to_vec());
        let same =
            want.len() == have.len() && want.iter().zip(&have).all(|(&want, &have)| self.unify(want, have));
        if same && self.elem(of) == self.elem(given) {
            return Ok(());
        }
        let (want, have) = (self.show_val(of), self.show_val(given));
        self.fail(errors::direction_of_other_type(span, &want, &have))
    }

    /// Over how many axes a function is mapped that is applied to these arguments.
    fn mapped_over(&mut self, func: &Func, given: &[Placed], span: Span) -> Checking<usize> {
        match &func.callable {
            Callable::Def(def, _) => self.mapped_axes(def, given, span).map(|axes| axes.len()),
            Callable::Stack { block: inner, .. }
            | Callable::Iterate { step: inner, .. }
            | Callable::Grad(inner)
            | Callable::Vjp(inner)
            | Callable::Jvp(inner) => self.mapped_over(&inner.clone(), given, span),
            // A function without types names all axes of what it is given, and so do reducers.
            Callable::Lambda(..) => Ok(0),
            Callable::Builtin(Builtin::Scalar(_)) => {
                let axes = given.iter().map(|(value, _)| match value {
                    Value::Tensor(val) => self.visible(*val).len(),
                    _ => 0,
                });
                Ok(axes.max().unwrap_or(0))
            }
            Callable::Builtin(_) => Ok(0),
        }
    }

    /// What is differentiated: the result, which is a scalar but for the axes that the function is mapped over.
    fn gradient_target(&mut self, of: Val, mapped: usize, span: Span) -> Checking<Val> {
        let visible = self.visible(of).to_vec();
        if !self.elem(of).is_float() || visible.len() != mapped {
            let shown = self.show_val(of);
            return self.fail(errors::gradient_of_non_scalar(span, &shown));
        }
        if visible.is_empty() {
            return Ok(of);
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
