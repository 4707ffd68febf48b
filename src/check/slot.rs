//! Parameters and states: the tensors that layers own.
//!
//! A slot has a leading axis for each `stack` that its path names with a `*`: inside of the stack its users see one member.
//! A write to a state is a further result of the loops of its stacks, so that behind them the state is whole again.

use std::collections::{BTreeSet, HashMap};

use cranelift_entity::EntityRef;
use nn_grammar::ast;

use crate::base::{Name, Span};

use super::core::*;
use super::errors;
use super::state::{Checker, Checking, Expected, SlotKind, Written};
use super::value::Value;

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
        let value = match (declared, kind) {
            (Ok(index), SlotKind::Param) => Value::Tensor(self.slot_value(kind, index, span)),
            (Ok(index), SlotKind::State) => Value::State(index),
            (Err(_), _) => Value::Poison,
        };
        self.bind(declare.name.name.clone(), value);
        declared.map(|_| ())
    }

    /// The number of the slot, which may be one that another application of the layer has made.
    fn declare(&mut self, kind: SlotKind, declare: &ast::Declare, span: Span) -> Checking<usize> {
        let Some(owner) = &self.frame.owner else {
            return self.fail(errors::parameter_in_function(span, &declare.name, self.own_head()));
        };
        let path = Name::new(owner.join(&declare.name.name));
        // Each `*` of `stack_0.*.linear_0` is a stack around. An optimizer's state has the whole of its parameter's type.
        let members = owner.path.split('.').filter(|part| *part == "*").count().min(self.stacks.len());
        let (elem, axes) = self.read_type(&declare.ty)?;
        if let Some(&(present, index)) = self.slots.get(&path) {
            let slot = match present {
                SlotKind::Param => &self.core.params[index],
                SlotKind::State => &self.core.states[index],
            };
            let (have, place, init) = (slot.axes[slot.stacks..].to_vec(), slot.span, slot.init);
            let same = have.len() == axes.len()
                && have.iter().zip(&axes).all(|(&have, &want)| self.unify(have, want));
            if !same || present != kind {
                let (have, want) = (self.show_axes(&have), self.show_axes(&axes));
                // The two uses of the instance, where calls lead here; what it declares is the same.
                let here = self.path.as_ref().map(|path| path.outermost().span);
                let first = self.core.vals[init].path.as_ref().map(|path| path.outermost().span);
                let uses = here.zip(first.filter(|first| Some(*first) != here));
                return self.fail(errors::slot_changes(span, &path, &have, &want, place, uses));
            }
            return Ok(index);
        }
        // A parameter inside stacks is one array, with the stacks' axes in front.
        let stacks = self.stacks[..members].to_vec();
        let mut all: Vec<AxisVar> = stacks.iter().map(|&axis| self.fresh_like(axis)).collect();
        let init = self.initial_of_slot(declare, &elem, &axes, &path, &stacks)?;
        all.extend(&axes);
        let (path_of, place) = (path.clone(), declare.name.span);
        let slot = Slot { path: path_of, elem, axes: all, stacks: members, init, span: place, written: None };
        let slots = match kind {
            SlotKind::Param => &mut self.core.params,
            SlotKind::State => &mut self.core.states,
        };
        slots.push(slot);
        let index = slots.len() - 1;
        self.slots.insert(path, (kind, index));
        Ok(index)
    }

    /// The slot's first value, computed in the block of initial values, once for each member of the stacks around; that of a slot of 16 bits
    /// is computed in f32.
    fn initial_of_slot(
        &mut self,
        declare: &ast::Declare,
        elem: &Elem,
        axes: &[AxisVar],
        path: &Name,
        stacks: &[AxisVar],
    ) -> Checking<Val> {
        let init = self.core.init.expect("made with the checker");
        let fresh: Vec<AxisVar> = stacks.iter().map(|&axis| self.fresh_like(axis)).collect();
        let ambient = std::mem::replace(&mut self.ambient, fresh.clone());
        let site = std::mem::replace(&mut self.site, path.to_string());
        let open_stacks = std::mem::take(&mut self.stacks);
        self.reopen_block(init);
        let before = self.core.vals.len();
        let expected = Expected { elem: elem.computed(), axes: axes.to_vec() };
        let value = self.initial(&declare.value, expected, &declare.ty);
        let value = value.and_then(|val| self.only_initial(val, before, declare)).map(|val| {
            let val = match elem {
                Elem::Of(dtype) => self.cast(val, *dtype, declare.value.span),
                Elem::Idx(..) => val,
            };
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

    /// Initial values are computed before anything runs: of the values from `before` on none may use one of a run.
    fn only_initial(&mut self, val: Val, before: usize, declare: &ast::Declare) -> Checking<Val> {
        let core = &self.core;
        let own = &core.blocks[core.init.expect("made with the checker")].vals;
        let of_a_run = |used: &Val| used.index() < before && !own.contains(used) && !is_of_sizes(core, *used);
        let new = core.vals.keys().skip(before);
        let used = new.flat_map(|made| super::rules::arguments(core, made)).chain([val]).find(of_a_run);
        match used {
            None => Ok(val),
            Some(used) => {
                let place = core.vals[used].place();
                self.fail(errors::initial_of_a_run(declare.value.span, &declare.name.name, place))
            }
        }
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
            return self.fail(errors::wrong_rank(expr.span, &want, &have, ty.span, None));
        }
        for (&have, &want) in have.iter().zip(&want) {
            if !self.unify(want, have) {
                return self.other_axis((have, expr.span), (want, ty.span));
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
        if kind == SlotKind::State {
            self.meet_state(index, span);
        }
        let block = self.present_block();
        self.slot_value_in(block, kind, index, self.stacks.len(), span)
    }

    /// The same in one of the open blocks, as it is seen inside of the first `stacks` stacks.
    pub fn slot_value_in(
        &mut self,
        block: BlockId,
        kind: SlotKind,
        index: usize,
        stacks: usize,
        span: Span,
    ) -> Val {
        let slot = match kind {
            SlotKind::Param => self.core.params[index].clone(),
            SlotKind::State => self.core.states[index].clone(),
        };
        let written = if kind == SlotKind::State { self.written.get(&index).copied() } else { None };
        let Written { val, stacks: inside } = match (written, self.whole.get(&(kind, index))) {
            (Some(written), _) => written,
            (None, Some(&val)) => Written { val, stacks: 0 },
            (None, None) => {
                let form = if kind == SlotKind::Param { Form::Param(index) } else { Form::State(index) };
                let body = self.body_block();
                let val = self.emit_in(body, form, slot.elem.clone(), slot.axes.clone(), span);
                self.whole.insert((kind, index), val);
                Written { val, stacks: 0 }
            }
        };
        let members = slot.stacks.min(stacks);
        if members <= inside {
            return val;
        }
        let points = self.stacks[inside..members].iter().map(|&axis| At::Point(Point::axis(axis)));
        let at = points.chain(slot.axes[members..].iter().map(|_| At::Keep)).collect();
        let form = Form::Read { of: val, at, outside: Outside::Never };
        self.emit_in(block, form, slot.elem.clone(), slot.axes[members..].to_vec(), span)
    }

    /// `m := e`: from here on the state has this value; in training only.
    pub fn write_state(&mut self, name: &ast::Ident, value: &ast::Expr, span: Span) -> Checking<()> {
        let path = self.frame.owner.as_ref().map(|owner| Name::new(owner.join(&name.name)));
        let Some((SlotKind::State, index)) = path.and_then(|path| self.slots.get(&path).copied()) else {
            // A declaration that failed has been complained of.
            return match self.lookup(&name.name) {
                Some(Value::Poison) => Ok(()),
                _ => self.fail(errors::write_of_no_state(name)),
            };
        };
        let (value, place) = (self.eval(value)?, value.span);
        if !self.mode.training {
            return Ok(());
        }
        let slot = self.core.states[index].clone();
        let members = slot.stacks;
        self.meet_state(index, span);
        // All members of a stack would write the one state that lies outside of it.
        if self.stacks.len() != members {
            return self.fail(errors::state_in_a_loop(span, &name.name));
        }
        let val = self.to_tensor_of(value, &slot.elem, place)?;
        let (have, elem) = (self.visible(val).to_vec(), self.elem(val));
        let own = &slot.axes[members..];
        let same =
            have.len() == own.len() && have.iter().zip(own).all(|(&have, &want)| self.unify(want, have));
        if !same || !self.elem_fits(&slot.elem, &elem) {
            let (shown, want) = (self.show_val(val), self.show_axes(own));
            let error = errors::state_type(place, &name.name, &shown, &want, slot.span);
            return self.fail(self.traced(error, &self.first_difference(&have, own)));
        }
        self.refuse_ambient(val, &name.name, place)?;
        let val = if have == own {
            val
        } else {
            self.emit(Form::Rename { of: val, to: own.to_vec() }, elem, own.to_vec(), place)
        };
        self.set_written(index, Written { val, stacks: members });
        Ok(())
    }

    /// What was written so far; see [`Checker::forget_writes`].
    pub fn states_written(&self) -> HashMap<usize, Written> {
        self.written.clone()
    }

    /// Takes back what was written to states since `before` was asked for.
    pub fn forget_writes(&mut self, before: HashMap<usize, Written>) {
        for (index, state) in self.core.states.iter_mut().enumerate() {
            state.written = before.get(&index).map(|written| written.val);
        }
        self.written = before;
    }

    pub fn set_written(&mut self, index: usize, written: Written) {
        self.written.insert(index, written);
        if written.stacks == 0 {
            self.core.states[index].written = Some(written.val);
        }
    }

    /// Refuses a state's value that differs from point to point of a mapped axis; the members of stacks have one each, and loops carry it.
    pub fn refuse_ambient(&mut self, val: Val, name: &str, span: Span) -> Checking<()> {
        let of_loops = |axis: &AxisVar| self.loops.iter().any(|open| open.axis == *axis);
        let mapped = self.ambient.iter().filter(|axis| !self.stacks.contains(axis) && !of_loops(axis));
        if mapped.clone().next().is_none() {
            return Ok(());
        }
        let free = free_axes(&self.core, val);
        if mapped.into_iter().any(|axis| free.contains(axis)) {
            return self.fail(errors::state_of_a_sample(span, name));
        }
        Ok(())
    }

    /// What the innermost stack's body has written to states: they become results of its loop.
    pub fn written_by_member(&self) -> Vec<(usize, Val)> {
        let depth = self.stacks.len();
        let written = self.written.iter().filter(|(_, written)| written.stacks == depth);
        let mut written: Vec<(usize, Val)> = written.map(|(&index, written)| (index, written.val)).collect();
        written.sort_by_key(|&(index, _)| index);
        written
    }

    /// Behind the loop along `axis`: a state that its body wrote is the loop's result of this index, all members together.
    pub fn written_by_stack(
        &mut self,
        index: usize,
        of: Val,
        result: usize,
        axis: AxisVar,
        span: Span,
    ) -> Checking<()> {
        let slot = self.core.states[index].clone();
        let depth = self.stacks.len();
        let (elem, to) = (slot.elem.clone(), slot.axes[depth..].to_vec());
        let visible = std::iter::once(axis).chain(to[1..].iter().copied()).collect();
        let val = self.emit(Form::Component { of, index: result }, elem.clone(), visible, span);
        let val = self.emit(Form::Rename { of: val, to: to.clone() }, elem, to, span);
        self.set_written(index, Written { val, stacks: depth });
        // Only now is it known what the carries of the loop depend on.
        if depth == 0 { self.refuse_ambient(val, &slot.path, slot.span) } else { Ok(()) }
    }
}

/// Whether a value is made of constants and sizes alone: it is a number wherever these are known.
fn is_of_sizes(core: &Core, val: Val) -> bool {
    match &core.vals[val].form {
        Form::Const(_) | Form::Size(_) => true,
        Form::Scalar(_, args) => args.iter().all(|&arg| is_of_sizes(core, arg)),
        _ => false,
    }
}

/// The hidden axes that a value depends on by itself: those of its free index variables.
fn free_axes(core: &Core, val: Val) -> BTreeSet<AxisVar> {
    let mut loops = HashMap::new();
    for (val, data) in core.vals.iter() {
        if let Form::Scan { body, .. } = data.form {
            loops.insert(body, val);
        }
    }
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    let mut rest = vec![val];
    while let Some(val) = rest.pop() {
        if !seen.insert(val) {
            continue;
        }
        match &core.vals[val].form {
            Form::Read { at, .. } => {
                for at in at {
                    if let At::Point(point) = at {
                        found.extend(point.axes());
                    }
                }
            }
            Form::Number(point) | Form::Inside(point, _) => found.extend(point.axes()),
            Form::Position(axis) => {
                found.insert(*axis);
            }
            Form::Alias { ambient, .. } | Form::Random { ambient, .. } | Form::Cotangent { ambient, .. } => {
                found.extend(ambient);
            }
            // A carry is what it began with, and what the turns before made of it.
            Form::Carry(body, index) => {
                if let Some(Form::Scan { inits, .. }) = loops.get(body).map(|&of| &core.vals[of].form) {
                    rest.extend([inits[*index], core.blocks[*body].results[*index]]);
                }
            }
            // Of a loop only the result that is read.
            Form::Component { of, index } => {
                if let Form::Checkpoint { body } = &core.vals[*of].form {
                    rest.push(core.blocks[*body].results[*index]);
                    continue;
                }
                if let Form::Scan { inits, body, .. } = &core.vals[*of].form {
                    rest.extend(inits.get(*index).into_iter().chain(core.blocks[*body].results.get(*index)));
                    continue;
                }
            }
            _ => {}
        }
        rest.extend(super::rules::arguments(core, val));
    }
    found
}
