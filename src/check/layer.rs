//! Parameters, states and stacks of layers.

use std::rc::Rc;

use nn_grammar::ast;

use crate::axes::Dim;
use crate::base::{Name, Span};

use super::core::*;
use super::errors;
use super::state::{Checker, Checking, Expected, SlotKind};
use super::value::{Field, Func, Value};

impl Checker<'_> {
    /// `param w: f32[I, O] = init`
    pub fn declare_param(&mut self, declare: &ast::Declare, span: Span) -> Checking<()> {
        self.declare_slot(SlotKind::Param, declare, span)
    }

    /// `state m: f32[C] = init`
    pub fn declare_state(&mut self, declare: &ast::Declare, span: Span) -> Checking<()> {
        self.declare_slot(SlotKind::State, declare, span)
    }

    fn declare_slot(&mut self, kind: SlotKind, declare: &ast::Declare, span: Span) -> Checking<()> {
        let declared = self.declare(kind, declare, span);
        let value = declared.map_or(Value::Poison, Value::Tensor);
        self.bind(declare.name.name.clone(), value);
        declared.map(|_| ())
    }

    fn declare(&mut self, kind: SlotKind, declare: &ast::Declare, span: Span) -> Checking<Val> {
        let Some(owner) = &self.frame.owner else {
            return self.fail(errors::parameter_in_function(span, &declare.name));
        };
        let path = Name::new(owner.join(&declare.name.name));
        let (elem, axes) = self.read_type(&declare.ty)?;
        if let Some(&(present, index)) = self.slots.get(&path) {
            let slot = match present {
                SlotKind::Param => &self.core.params[index],
                SlotKind::State => &self.core.states[index],
            };
            let (have, place) = (slot.axes[self.stacks.len().min(slot.axes.len())..].to_vec(), slot.span);
            let same = have.len() == axes.len()
                && have.iter().zip(&axes).all(|(&have, &want)| self.unify(have, want));
            if !same || present != kind {
                let (have, want) = (self.show_axes(&have), self.show_axes(&axes));
                return self.fail(errors::slot_changes(span, &path, &have, &want, place));
            }
            return Ok(self.slot_value(kind, index, span));
        }
        // A parameter inside stacks is one array, with the stacks' axes in front.
        let mut all: Vec<AxisVar> =
            self.stacks.clone().into_iter().map(|axis| self.fresh_like(axis)).collect();
        let init = self.initial_of_slot(declare, &elem, &axes, &path)?;
        all.extend(&axes);
        let slot = Slot { path: path.clone(), elem, axes: all, init, span: declare.name.span, written: None };
        let slots = match kind {
            SlotKind::Param => &mut self.core.params,
            SlotKind::State => &mut self.core.states,
        };
        slots.push(slot);
        let index = slots.len() - 1;
        self.slots.insert(path, (kind, index));
        Ok(self.slot_value(kind, index, span))
    }

    /// The slot's first value, computed in the block of initial values, once for each member of the stacks around.
    fn initial_of_slot(
        &mut self,
        declare: &ast::Declare,
        elem: &Elem,
        axes: &[AxisVar],
        path: &Name,
    ) -> Checking<Val> {
        let init = self.core.init.expect("made with the checker");
        let stacks = self.stacks.clone();
        let fresh: Vec<AxisVar> = stacks.iter().map(|&axis| self.fresh_like(axis)).collect();
        let ambient = std::mem::replace(&mut self.ambient, fresh.clone());
        let site = std::mem::replace(&mut self.site, path.to_string());
        let open_stacks = std::mem::take(&mut self.stacks);
        self.reopen_block(init);
        let expected = Expected { elem: elem.clone(), axes: axes.to_vec() };
        let value = self.initial(&declare.value, expected, &declare.ty);
        let value = value.map(|val| {
            if fresh.is_empty() {
                return val;
            }
            let mut visible = fresh.clone();
            visible.extend(self.visible(val));
            let elem = self.elem(val);
            self.emit(Form::Tabulate { axes: fresh.clone(), body: val }, elem, visible, declare.value.span)
        });
        self.close_block();
        self.stacks = open_stacks;
        self.site = site;
        self.ambient = ambient;
        value
    }

    /// An initial value of a declared type: `zeros`, `0`, `kaiming_uniform(fan_in: I)`, any expression.
    pub fn initial(&mut self, expr: &ast::Expr, expected: Expected, ty: &ast::Type) -> Checking<Val> {
        let outer = self.expected.replace(expected.clone());
        let result = self.initial_value(expr, &expected, ty);
        self.expected = outer;
        result
    }

    fn initial_value(&mut self, expr: &ast::Expr, expected: &Expected, ty: &ast::Type) -> Checking<Val> {
        let mut value = self.eval(expr)?;
        if let Value::Func(func) = &value {
            let func = func.clone();
            value = self.apply(&func, Vec::new(), expr.span)?;
        }
        let val = self.to_tensor_of(value, &expected.elem, expr.span)?;
        let (have, want) = (self.visible(val).to_vec(), expected.axes.clone());
        let elem = self.elem(val);
        if !self.elem_fits(&expected.elem, &elem) {
            let (want, have) = (self.show_elem(&expected.elem), self.show_elem(&elem));
            return self.fail(errors::wrong_elem(expr.span, &want, &have, ty.span));
        }
        if have.is_empty() && !want.is_empty() {
            return Ok(self.emit(Form::Tabulate { axes: want.clone(), body: val }, elem, want, expr.span));
        }
        if have.len() != want.len() {
            let (want, have) = (self.show_axes(&want), self.show_axes(&have));
            return self.fail(errors::wrong_rank(expr.span, &want, &have, ty.span));
        }
        for (&have, &want) in have.iter().zip(&want) {
            if !self.unify(want, have) {
                let (want, have) = (self.at_axis(want, ty.span), self.at_axis(have, expr.span));
                return self.fail(errors::axis_mismatch(have, want));
            }
        }
        Ok(if have == want {
            val
        } else {
            self.emit(Form::Rename { of: val, to: want.clone() }, elem, want, expr.span)
        })
    }

    /// A parameter, or a state's present value, as it is seen where it is used: one member of the stacks around.
    pub fn slot_value(&mut self, kind: SlotKind, index: usize, span: Span) -> Val {
        if kind == SlotKind::State
            && let Some(&now) = self.state_now.get(&index)
        {
            return now;
        }
        let slot = match kind {
            SlotKind::Param => self.core.params[index].clone(),
            SlotKind::State => self.core.states[index].clone(),
        };
        let whole = match self.whole.get(&(kind, index)) {
            Some(&val) => val,
            None => {
                let form = if kind == SlotKind::Param { Form::Param(index) } else { Form::State(index) };
                let body = self.body_block();
                let val = self.emit_in(body, form, slot.elem.clone(), slot.axes.clone(), span);
                self.whole.insert((kind, index), val);
                val
            }
        };
        let stacked = self.stacks.len().min(slot.axes.len());
        if stacked == 0 {
            return whole;
        }
        let at = (0..slot.axes.len())
            .map(|position| match self.stacks.get(position) {
                Some(&axis) => At::Point(Point::axis(axis)),
                None => At::Keep,
            })
            .collect();
        let form = Form::Read { of: whole, at, outside: Outside::Never };
        self.emit(form, slot.elem.clone(), slot.axes[stacked..].to_vec(), span)
    }

    /// `m := e`: from here on the state has this value; in training only.
    pub fn write_state(&mut self, name: &ast::Ident, value: &ast::Expr, span: Span) -> Checking<()> {
        let path = self.frame.owner.as_ref().map(|owner| Name::new(owner.join(&name.name)));
        let Some((SlotKind::State, index)) = path.and_then(|path| self.slots.get(&path).copied()) else {
            return self.fail(errors::write_of_no_state(name));
        };
        let (value, place) = (self.eval(value)?, value.span);
        if !self.mode.training {
            return Ok(());
        }
        if !self.stacks.is_empty() {
            return self.fail(errors::not_yet(span, "a state inside `stack`"));
        }
        let slot = self.core.states[index].clone();
        let val = self.to_tensor_of(value, &slot.elem, place)?;
        let (have, elem) = (self.visible(val).to_vec(), self.elem(val));
        let same = have.len() == slot.axes.len()
            && have.iter().zip(&slot.axes).all(|(&have, &want)| self.unify(want, have));
        if !same || !self.elem_fits(&slot.elem, &elem) {
            let (have, want) = (self.show_val(val), self.show_axes(&slot.axes));
            return self.fail(errors::state_type(place, &name.name, &have, &want, slot.span));
        }
        if !self.ambient.is_empty() && self.depends_on_ambient(val) {
            return self.fail(errors::state_of_a_sample(place, &name.name));
        }
        self.state_now.insert(index, val);
        self.core.states[index].written = Some(val);
        if let Some(local) = self.frame.locals.iter_mut().rev().find(|(local, _)| *local == name.name) {
            local.1 = Value::Tensor(val);
        }
        Ok(())
    }

    /// Whether a value differs from point to point of a mapped axis.
    fn depends_on_ambient(&self, val: Val) -> bool {
        let free = super::rules::free_axes(&self.core, val);
        self.ambient.iter().any(|axis| free.contains(axis))
    }

    // ---- stacks --------------------------------------------------------------------------------

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
        self.close_block();
        self.stacks.pop();
        self.ambient.pop();
        self.core.blocks[body].results = vec![result?];
        let form = Form::Scan { axis, reverse: false, inits: vec![init], body };
        let tuple = self.emit(form, elem.clone(), Vec::new(), span);
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

    // ---- derivatives ---------------------------------------------------------------------------

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
