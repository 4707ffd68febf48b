//! Stacks of layers: as many instances of a block as are asked for, one after the other, compiled once.

use std::rc::Rc;

use crate::axes::Dim;
use crate::base::{Name, Span};

use super::core::*;
use super::errors;
use super::state::{Checker, Checking, Owner};
use super::value::{Callable, Func, Value};

impl Checker<'_> {
    /// `stack(count, block)` applied: `count` instances of the block, one after the other, compiled once.
    pub fn apply_stack(
        &mut self,
        func: &Rc<Func>,
        count: &Dim,
        block: &Rc<Func>,
        args: Vec<(Value, Span)>,
        span: Span,
    ) -> Checking<Value> {
        let [(value, place)] = args.as_slice() else {
            return self.fail(errors::wrong_count(span, "stack", 1, args.len()));
        };
        let init = self.to_tensor(value.clone(), *place)?;
        let path = self.stack_path(func, span)?;
        // Every member is a fresh instance whose parameters lie under `stack_0.*`.
        let member = Rc::new(super::value::Instance::default());
        *member.path.borrow_mut() = Some(Name::new(format!("{path}.*")));
        let block = Rc::new(Func {
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
        let result = result.and_then(|value| self.to_tensor(value, span)).and_then(|val| {
            let have = self.visible(val).to_vec();
            let same = have.len() == visible.len()
                && have.iter().zip(&visible).all(|(&have, &want)| self.unify(have, want));
            let given = self.elem(val);
            if !same || !self.elem_fits(&elem, &given) {
                let (before, after) = (self.show_val(carry), self.show_val(val));
                return self.fail(errors::stack_changes_shape(span, &before, &after));
            }
            Ok(if have == visible {
                val
            } else {
                self.emit(Form::Rename { of: val, to: visible.clone() }, given, visible.clone(), span)
            })
        });
        let written = self.written_by_member();
        self.close_block();
        self.stacks.pop();
        self.ambient.pop();
        if let Some(owner) = owner {
            self.frame.owner = owner;
        }
        self.core.blocks[body].results =
            std::iter::once(result?).chain(written.iter().map(|&(_, val)| val)).collect();
        let form = Form::Scan { axis, reverse: false, inits: vec![init], body };
        let tuple = self.emit(form, elem.clone(), Vec::new(), span);
        for (position, (index, _)) in written.into_iter().enumerate() {
            self.written_by_stack(index, tuple, 1 + position, axis, span)?;
        }
        Ok(Value::Tensor(self.emit(Form::Component { of: tuple, index: 0 }, elem, visible, span)))
    }

    fn stack_path(&mut self, func: &Rc<Func>, span: Span) -> Checking<String> {
        let instance = func.instance.clone().unwrap_or_default();
        if let Some(path) = instance.path.borrow().as_ref() {
            return Ok(path.to_string());
        }
        let Some(owner) = self.frame.owner.as_mut() else {
            return self.fail(errors::instance_in_function(span, "stack"));
        };
        let count = owner.counters.entry(Name::new("stack")).or_insert(0);
        let own = format!("stack_{count}{}", owner.turns);
        *count += 1;
        let path = owner.join(&own);
        *instance.path.borrow_mut() = Some(Name::new(&path));
        Ok(path)
    }
}
