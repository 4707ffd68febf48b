//! Mapping: the axes that a function does not name are hidden before its body and stand in front of what it gives.

use nn_grammar::ast;

use crate::axes::Dim;
use crate::base::Span;

use super::core::*;
use super::errors;
use super::state::{Checker, Checking};
use super::value::{Field, Placed, Value};

impl Checker<'_> {
    /// The longest list of axes that stand in front of what the parameters name; all others must be its ends.
    pub fn mapped_axes(&mut self, def: &ast::Def, given: &[Placed], span: Span) -> Checking<Vec<AxisVar>> {
        let mut longest: Vec<AxisVar> = Vec::new();
        let mut lists = Vec::new();
        for (param, (value, place)) in def.tensors.iter().zip(given) {
            let Value::Tensor(val) = value else { continue };
            let visible = self.visible(*val).to_vec();
            let count = self.extra_axes(&param.ty, &visible, *place, Some(*val))?;
            let extra = visible[..count].to_vec();
            if extra.len() > longest.len() {
                longest = extra.clone();
            }
            lists.push((extra, *place));
        }
        for (list, place) in &lists {
            let tail = &longest[longest.len() - list.len()..];
            for (&left, &right) in list.iter().zip(tail) {
                if !self.join_axes(left, right, *place) {
                    let (given, other) = (self.show_axes(list), self.show_axes(&longest));
                    let error = errors::mapped_axes_differ(*place, &def.name.name, &given, &other);
                    return self.fail(self.traced(error, &[left, right]));
                }
            }
        }
        let names: Vec<_> = longest.iter().map(|&axis| self.size_of(axis)).collect();
        let named = |index: usize| names[index].as_ref().is_some_and(|dim: &Dim| dim.as_const().is_none());
        for index in 1..names.len() {
            if named(index)
                && names[..index].contains(&names[index])
                && lists.iter().any(|(list, _)| list.len() < longest.len())
            {
                let axis = self.show_axis(longest[index]);
                return self.fail(errors::mapped_twice(span, &axis));
            }
        }
        Ok(longest)
    }

    /// Hides the first `count` visible axes at the points of the last `count` of `mapped`.
    pub fn hide_front(&mut self, val: Val, count: usize, mapped: &[AxisVar], span: Span) -> Val {
        if count == 0 {
            return val;
        }
        let visible = self.visible(val).to_vec();
        let points = &mapped[mapped.len() - count..];
        let at = (0..visible.len())
            .map(|index| if index < count { At::Point(Point::axis(points[index])) } else { At::Keep })
            .collect();
        let elem = self.elem(val);
        self.emit(Form::Read { of: val, at, outside: Outside::Never }, elem, visible[count..].to_vec(), span)
    }

    /// Makes mapped axes visible again, under the ids of the caller's axes, in every tensor of a value.
    pub fn tabulate_value(
        &mut self,
        value: Value,
        hidden: &[AxisVar],
        shown: &[AxisVar],
        span: Span,
    ) -> Checking<Value> {
        match value {
            Value::Tensor(body) => {
                let mut visible = hidden.to_vec();
                visible.extend(self.visible(body));
                let elem = self.elem(body);
                let val =
                    self.emit(Form::Tabulate { axes: hidden.to_vec(), body }, elem.clone(), visible, span);
                if hidden == shown {
                    return Ok(Value::Tensor(val));
                }
                let mut to = shown.to_vec();
                to.extend(&self.visible(val)[hidden.len()..]);
                // The caller's id may stand among the body's own axes, where the body returned a value with it.
                for index in shown.len()..to.len() {
                    if to[..index].contains(&to[index]) {
                        to[index] = self.fresh_like(to[index]);
                    }
                }
                Ok(Value::Tensor(self.emit(Form::Rename { of: val, to: to.clone() }, elem, to, span)))
            }
            Value::Num(num) => {
                let dtype = self.float();
                let val = self.num_to_val(&num, dtype, span)?;
                self.tabulate_value(Value::Tensor(val), hidden, shown, span)
            }
            Value::Tuple(fields) => {
                let mut shown_fields = Vec::new();
                for field in fields.iter() {
                    let value = self.tabulate_value(field.value.clone(), hidden, shown, span)?;
                    shown_fields.push(Field { label: field.label.clone(), value });
                }
                Ok(Value::Tuple(shown_fields.into()))
            }
            value @ (Value::Index(_) | Value::List(_)) => {
                let val = self.to_tensor(value, span)?;
                self.tabulate_value(Value::Tensor(val), hidden, shown, span)
            }
            other => Ok(other),
        }
    }
}
