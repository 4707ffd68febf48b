//! `if`: on what is known when compiling one arm is walked; on a tensor both are, and entries are selected.

use nn_grammar::ast;

use crate::axes::Facts;
use crate::base::Span;
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::core::*;
use super::errors;
use super::state::{Checker, Checking};
use super::value::{Field, Value};

impl Checker<'_> {
    /// `if`: on a static condition one arm is walked, on a tensor both are, and entries are selected.
    pub fn branch(&mut self, branch: &ast::If, span: Span) -> Checking<Value> {
        let condition = self.eval(&branch.condition)?;
        match condition {
            Value::Bool(true) | Value::Training(true) => {
                self.assume_condition(&branch.condition, true);
                self.block(&branch.then)
            }
            Value::Bool(false) | Value::Training(false) => match &branch.otherwise {
                Some(otherwise) => self.eval(otherwise),
                None => Ok(Value::unit()),
            },
            condition => {
                let condition = self.to_tensor(condition, branch.condition.span)?;
                if self.elem(condition) != Elem::Of(DType::Bool) {
                    let shown = self.show_val(condition);
                    return self.fail(errors::not_a_condition(branch.condition.span, &shown));
                }
                let Some(otherwise) = &branch.otherwise else {
                    return self.fail(errors::if_without_else(span));
                };
                let undecided = self.is_static(condition) && self.has_size(condition);
                let facts = self.facts.clone();
                if undecided {
                    self.open = true;
                    self.assume_condition(&branch.condition, true);
                }
                let guards = self.guards.len();
                self.learn_guard(condition);
                let then = self.block(&branch.then);
                self.guards.truncate(guards);
                let of_then = std::mem::replace(&mut self.facts, facts);
                let otherwise = self.eval(otherwise)?;
                self.choose(condition, undecided.then_some(&of_then), then?, otherwise, span)
            }
        }
    }

    /// The value follows from dims alone: a static condition whose dims are not known.
    fn is_static(&self, val: Val) -> bool {
        match &self.core.vals[val].form {
            Form::Size(_) | Form::Const(_) => true,
            Form::Scalar(_, args) => args.iter().all(|&arg| self.is_static(arg)),
            _ => false,
        }
    }

    /// Some size has a part in the value; a tensor of literals alone is a value like another.
    fn has_size(&self, val: Val) -> bool {
        match &self.core.vals[val].form {
            Form::Size(_) => true,
            Form::Scalar(_, args) => args.iter().any(|&arg| self.has_size(arg)),
            _ => false,
        }
    }

    /// Inside the taken arm of `K == C`, K is C.
    fn assume_condition(&mut self, condition: &ast::Expr, holds: bool) {
        if !holds {
            return;
        }
        for conjunct in condition.conjuncts() {
            let ast::ExprKind::Compare { op: ast::CmpOp::Eq, left, right } = &conjunct.kind else { continue };
            if let (Ok(Value::Num(left)), Ok(Value::Num(right))) = (self.eval(left), self.eval(right))
                && let (Some(left), Some(right)) = (left.dim, right.dim)
            {
                // A fact that cannot be used is no error: the comparison stands.
                let _ = self.facts.equal(&left, &right);
            }
        }
    }

    /// The value of a conditional. Where its condition is static and not decided, `of_then` is what holds in the first arm: sizes that
    /// are equal there are written as the other arm has them.
    fn choose(
        &mut self,
        condition: Val,
        of_then: Option<&Facts>,
        then: Value,
        otherwise: Value,
        span: Span,
    ) -> Checking<Value> {
        match (then, otherwise) {
            (Value::Tuple(then), Value::Tuple(otherwise)) if then.len() == otherwise.len() => {
                let mut fields = Vec::new();
                for (then, otherwise) in then.iter().zip(otherwise.iter()) {
                    let value =
                        self.choose(condition, of_then, then.value.clone(), otherwise.value.clone(), span)?;
                    fields.push(Field { label: then.label.clone(), value });
                }
                Ok(Value::Tuple(fields.into()))
            }
            (then, otherwise) => {
                let elem = [&then, &otherwise].into_iter().find_map(|value| match value {
                    Value::Tensor(val) => Some(self.elem(*val)),
                    _ => None,
                });
                let elem = elem.unwrap_or(Elem::Of(self.float()));
                let then = self.to_tensor_of(then, &elem, span)?;
                let otherwise = self.to_tensor_of(otherwise, &elem, span)?;
                let (left, right) = (self.elem(then), self.elem(otherwise));
                if !self.elem_fits(&left, &right) {
                    let (then, otherwise) = (self.show_val(then), self.show_val(otherwise));
                    return self.fail(errors::arms_differ(span, &then, &otherwise));
                }
                let elem = left;
                if let Some(facts) = of_then {
                    let then = self.sizes_of_other_arm(then, otherwise, facts, span);
                    let vals = self.align(&[(then, span), (otherwise, span)], span)?;
                    let visible = self.visible(vals[0]).to_vec();
                    let form = Form::Choice { condition, then: vals[0], otherwise: vals[1] };
                    return Ok(Value::Tensor(self.emit(form, elem, visible, span)));
                }
                let vals = self.align(&[(condition, span), (then, span), (otherwise, span)], span)?;
                Ok(Value::Tensor(self.scalar(ScalarFn::Select, &vals, elem, span)))
            }
        }
    }

    fn sizes_of_other_arm(&mut self, then: Val, otherwise: Val, facts: &Facts, span: Span) -> Val {
        let (have, want) = (self.visible(then).to_vec(), self.visible(otherwise).to_vec());
        let agree = |cx: &Self, facts: &Facts, left: AxisVar, right: AxisVar| {
            let sizes = cx.size_of(left).zip(cx.size_of(right));
            sizes.is_some_and(|(left, right)| facts.same(&left, &right).unwrap_or(false))
        };
        if have.len() != want.len()
            || !have.iter().zip(&want).all(|(&have, &want)| agree(self, facts, have, want))
        {
            return then;
        }
        let mut to = have.clone();
        for (axis, &want) in to.iter_mut().zip(&want) {
            if !agree(self, &self.facts, *axis, want) {
                *axis = self.fresh_like(want);
            }
        }
        if to == have {
            return then;
        }
        let elem = self.elem(then);
        self.emit(Form::Rename { of: then, to: to.clone() }, elem, to, span)
    }
}
