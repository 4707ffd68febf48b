//! Stacks of layers: as many instances of a block as are asked for, one after the other, compiled once.

use std::sync::Arc;

use crate::axes::Dim;
use crate::base::{Name, Span};

use super::core::*;
use super::errors;
use super::state::{Checker, Checking, Owner};
use super::value::{Callable, Field, Func, Placed, Value};

impl Checker<'_> {
    /// `stack(count, block)` applied: `count` instances of the block, one after the other, compiled once.
    pub fn apply_stack(
        &mut self,
        func: &Arc<Func>,
        count: &Dim,
        block: &Arc<Func>,
        args: Vec<Placed>,
        span: Span,
    ) -> Checking<Value> {
        let [(value, place)] = args.as_slice() else {
            return self.fail(errors::wrong_count(span, "stack", 1, args.len()));
        };
        let init = self.to_tensor(value.clone(), *place)?;
        let path = self.stack_path(func, span)?;
        // Every member is a fresh instance whose parameters lie under `stack_0.*`.
        let member = Arc::new(super::value::Instance::default());
        member.path.get_or_init(|| Name::new(format!("{path}.*")));
        let block = Arc::new(Func {
            callable: block.callable.clone(),
            statics: block.statics.clone(),
            captured: block.captured.clone(),
            instance: block.is_layer().then_some(member),
            span: block.span,
        });
        // A function that is written in place makes its instances here: they are the member's.
        let owner = matches!(block.callable, Callable::Lambda(..)).then(|| {
            let owner = Owner { path: format!("{path}.*"), ..Owner::default() };
            self.frame.owner.replace(owner)
        });
        let axis = self.fresh_axis("layer", Some(count.clone()), span);
        self.ambient.push(axis);
        self.stacks.push(axis);
        let body = self.open_block();
        let (elem, visible) = (self.elem(init), self.visible(init).to_vec());
        let carry = self.emit(Form::Carry(body, 0), elem.clone(), visible.clone(), span);
        let result = self.apply(&block, vec![(Value::Tensor(carry), *place)], span);
        let result = result.and_then(|value| self.next_carries(&value, &[carry], span));
        let written = self.written_by_member();
        self.close_block();
        self.stacks.pop();
        self.ambient.pop();
        if let Some(owner) = owner {
            self.frame.owner = owner;
        }
        self.core.blocks[body].results =
            result?.into_iter().chain(written.iter().map(|&(_, val)| val)).collect();
        let form = Form::Scan { axis, reverse: false, inits: vec![init], body };
        let tuple = self.emit(form, elem.clone(), Vec::new(), span);
        for (position, (index, _)) in written.into_iter().enumerate() {
            self.written_by_stack(index, tuple, 1 + position, axis, span)?;
        }
        Ok(Value::Tensor(self.emit(Form::Component { of: tuple, index: 0 }, elem, visible, span)))
    }

    /// `iterate(count, step)` applied: the step `count` times, each on what the last one gave. What the step owns is one instance.
    pub fn apply_iterate(
        &mut self,
        count: &Dim,
        step: &Arc<Func>,
        args: Vec<Placed>,
        span: Span,
    ) -> Checking<Value> {
        let [(value, place)] = args.as_slice() else {
            return self.fail(errors::wrong_count(span, "iterate", 1, args.len()));
        };
        let fields: Vec<Field> = match value {
            Value::Tuple(fields) => fields.to_vec(),
            value => vec![Field { label: None, value: value.clone() }],
        };
        let mut inits = Vec::new();
        for field in &fields {
            inits.push(self.to_tensor(field.value.clone(), *place)?);
        }
        let shaped = |vals: Vec<Val>| match value {
            Value::Tuple(_) => {
                let made = fields.iter().zip(vals);
                let made =
                    made.map(|(field, val)| Field { label: field.label.clone(), value: Value::Tensor(val) });
                Value::Tuple(made.collect())
            }
            _ => Value::Tensor(vals[0]),
        };
        let axis = self.fresh_axis("turn", Some(count.clone()), span);
        self.ambient.push(axis);
        let body = self.open_loop(axis);
        let mut carries = Vec::new();
        for (index, &init) in inits.iter().enumerate() {
            let (elem, visible) = (self.elem(init), self.visible(init).to_vec());
            carries.push(self.emit(Form::Carry(body, index), elem, visible, span));
        }
        let result = self.apply(step, vec![(shaped(carries.clone()), *place)], span);
        let results = result.and_then(|value| self.next_carries(&value, &carries, span));
        self.ambient.pop();
        let mut results = match results {
            Ok(results) => results,
            Err(reported) => {
                self.abandon_loop();
                return Err(reported);
            }
        };
        let left = self.close_loop(&mut inits, &mut results);
        self.core.blocks[body].results = results;
        let form = Form::Scan { axis, reverse: false, inits: inits.clone(), body };
        let tuple = self.emit(form, Elem::Of(self.float()), Vec::new(), span);
        self.states_behind(left, tuple, span)?;
        let mut last = Vec::new();
        for (index, &init) in inits.iter().take(carries.len()).enumerate() {
            let (elem, visible) = (self.elem(init), self.visible(init).to_vec());
            last.push(self.emit(Form::Component { of: tuple, index }, elem, visible, span));
        }
        Ok(shaped(last))
    }

    /// What a step gave, as values of the types that it took.
    fn next_carries(&mut self, value: &Value, carries: &[Val], span: Span) -> Checking<Vec<Val>> {
        let parts: Vec<Value> = match value {
            Value::Tuple(fields) => fields.iter().map(|field| field.value.clone()).collect(),
            value => vec![value.clone()],
        };
        if parts.len() != carries.len() {
            let shown = self.show_value(value);
            return self.fail(errors::stack_changes_shape(
                span,
                &format!("{} values", carries.len()),
                &shown,
            ));
        }
        let mut next = Vec::new();
        for (part, &carry) in parts.into_iter().zip(carries) {
            let (elem, want) = (self.elem(carry), self.visible(carry).to_vec());
            let val = self.to_tensor_of(part, &elem, span)?;
            let (have, given) = (self.visible(val).to_vec(), self.elem(val));
            let same = have.len() == want.len()
                && have.iter().zip(&want).all(|(&have, &want)| self.unify(have, want));
            if !same || !self.elem_fits(&elem, &given) {
                let (before, after) = (self.show_val(carry), self.show_val(val));
                let error = errors::stack_changes_shape(span, &before, &after);
                return self.fail(self.traced(error, &self.first_difference(&have, &want)));
            }
            next.push(if have == want {
                val
            } else {
                self.emit(Form::Rename { of: val, to: want.clone() }, given, want, span)
            });
        }
        Ok(next)
    }
}
