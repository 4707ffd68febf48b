//! `accumulate 4`: the gradients of a batch in four parts, one after the other, so that the activations of one part alone are kept.
//!
//! A step is two programs: one adds up a part's gradients, times its samples, in states of the optimizer; the other, after the last
//! part, updates with their mean. Where the loss is a mean over samples, that is the gradient of the batch.

use crate::base::{Name, Span};
use crate::graph::Literal;
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::core::*;
use super::errors;
use super::state::Checking;
use super::train::TrainWalk;
use super::value::Num;

/// Which part of a step a walk makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Whole,
    /// Adds up the gradients of a part of a batch.
    Gradients,
    /// Updates with the mean of what was added up.
    Update,
}

/// A state of the optimizer, with the axes of another value; it begins with zeros.
pub(super) struct Beside {
    state: usize,
    own: Vec<AxisVar>,
    /// What it holds, with the axes of that value.
    pub old: Val,
}

impl TrainWalk<'_> {
    /// A state of this path beside a value.
    pub(super) fn beside(&mut self, path: Name, like: Val, span: Span) -> Beside {
        let (elem, to) = (self.cx.elem(like), self.cx.visible(like).to_vec());
        let own: Vec<AxisVar> = to.iter().map(|&axis| self.cx.fresh_like(axis)).collect();
        let state = self.zero_state(path, elem.clone(), &own, span);
        let body = self.cx.body_block();
        let old = self.cx.emit_in(body, Form::State(state), elem.clone(), own.clone(), span);
        let old = self.cx.emit(Form::Rename { of: old, to: to.clone() }, elem, to, span);
        Beside { state, own, old }
    }

    pub(super) fn write_beside(&mut self, beside: &Beside, new: Val, span: Span) {
        let (elem, own) = (self.cx.elem(new), beside.own.clone());
        let new = self.cx.emit(Form::Rename { of: new, to: own.clone() }, elem, own, span);
        self.cx.core.states[beside.state].written = Some(new);
    }

    fn zero_state(&mut self, path: Name, elem: Elem, own: &[AxisVar], span: Span) -> usize {
        let init = self.zeros(self.cx.core.init.expect("made with the checker"), &elem, own, span);
        let (axes, written) = (own.to_vec(), None);
        self.cx.core.states.push(Slot { path, elem, axes, stacks: 0, init, span, written });
        self.cx.core.states.len() - 1
    }

    fn zeros(&mut self, block: BlockId, elem: &Elem, own: &[AxisVar], span: Span) -> Val {
        let zero = if elem.is_float() { Literal::Float(0.0) } else { Literal::Int(0) };
        let zero = self.cx.emit_in(block, Form::Const(zero), elem.clone(), Vec::new(), span);
        if own.is_empty() {
            return zero;
        }
        let form = Form::Tabulate { axes: own.to_vec(), body: zero };
        self.cx.emit_in(block, form, elem.clone(), own.to_vec(), span)
    }

    /// How many samples were added up: the state's number, and what it holds.
    fn samples_added(&mut self, span: Span) -> (usize, Val) {
        let elem = Elem::Of(DType::I64);
        let path = Name::new(format!("{}samples", Slot::OPTIMIZER));
        let state = self.zero_state(path, elem.clone(), &[], span);
        let body = self.cx.body_block();
        (state, self.cx.emit_in(body, Form::State(state), elem, Vec::new(), span))
    }

    /// The state that a parameter's gradients are added up in, in the dtype that they are computed in.
    fn sum_of_gradients(&mut self, param: usize, like: Val, span: Span) -> Beside {
        let like = self.cx.computed(like, span);
        let path = Name::new(format!("{}sum.{}", Slot::OPTIMIZER, self.cx.core.params[param].path));
        self.beside(path, like, span)
    }

    /// Adds a part's gradients, times its samples.
    pub(super) fn add_up(&mut self, trained: &[(usize, Val)], gradients: &[Val], span: Span) -> Checking<()> {
        let Some(samples) = self.samples else { return self.cx.fail(errors::nothing_to_divide(span)) };
        let samples = Num::dim(self.cx.core.size(samples));
        let samples = self.cx.num_to_val(&samples, DType::I64, span)?;
        let (count, before) = self.samples_added(span);
        let after = self.cx.scalar(ScalarFn::Add, &[before, samples], Elem::Of(DType::I64), span);
        self.cx.core.states[count].written = Some(after);
        for (&(param, val), &gradient) in trained.iter().zip(gradients) {
            let elem = self.cx.elem(gradient);
            let sum = self.sum_of_gradients(param, val, span);
            let times = self.cx.cast(samples, elem.dtype(), span);
            let term = self.cx.scalar(ScalarFn::Mul, &[gradient, times], elem.clone(), span);
            let new = self.cx.scalar(ScalarFn::Add, &[sum.old, term], elem, span);
            self.write_beside(&sum, new, span);
        }
        Ok(())
    }

    /// The mean of the gradients that were added up; the sums begin again with zero.
    pub(super) fn added_up(&mut self, trained: &[(usize, Val)], span: Span) -> Vec<Val> {
        let body = self.cx.body_block();
        let (count, samples) = self.samples_added(span);
        self.cx.core.states[count].written = Some(self.zeros(body, &Elem::Of(DType::I64), &[], span));
        let mut means = Vec::new();
        for &(param, val) in trained {
            let elem = self.cx.elem(val).computed();
            let sum = self.sum_of_gradients(param, val, span);
            let samples = self.cx.cast(samples, elem.dtype(), span);
            means.push(self.cx.scalar(ScalarFn::Div, &[sum.old, samples], elem.clone(), span));
            self.cx.core.states[sum.state].written = Some(self.zeros(body, &elem, &sum.own, span));
        }
        means
    }
}
