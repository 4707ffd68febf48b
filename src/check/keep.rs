//! Which weights a training ends with: `average ema(0.999)`, `keep max(accuracy)`, `patience 5`, and how often it looks, `evaluate 2`.

use std::sync::Arc;

use nn_grammar::ast::{self, ClauseKind, ExprKind};

use crate::base::{Name, Span};
use crate::graph::Literal;
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::core::*;
use super::errors;
use super::state::Checking;
use super::train::TrainWalk;
use super::value::{Func, Value};

/// `keep max(accuracy)`: the weights of the epoch that a measure likes best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The number of the measure.
    pub measure: usize,
    pub largest: bool,
}

impl Keep {
    /// Whether a value is better than the best before; one that is no number never is.
    pub fn improves(self, value: f64, best: Option<f64>) -> bool {
        !value.is_nan() && best.is_none_or(|best| if self.largest { value > best } else { value < best })
    }
}

/// The averaged weights of `path`, a state beside those of the optimizers.
pub fn average_path(path: &str) -> Name {
    Name::new(format!("{}average.{path}", Slot::OPTIMIZER))
}

/// The clause of this word.
fn clause<'t>(train: &'t ast::Train, wanted: &str) -> Option<&'t ast::Expr> {
    train.clauses.iter().find_map(|clause| match &clause.kind {
        ClauseKind::Word { word, value, .. } if word.name == wanted => Some(value),
        _ => None,
    })
}

impl TrainWalk<'_> {
    /// The `keep` clause, once all measures are known.
    pub(super) fn kept(&mut self, train: &ast::Train) -> Checking<Option<Keep>> {
        let Some(value) = clause(train, "keep") else {
            return match clause(train, "patience") {
                Some(patience) => self.cx.fail(errors::patience_without_keep(patience.span)),
                None => Ok(None),
            };
        };
        if let ExprKind::Call { callee, args } = &value.kind
            && let Some(most) = callee.as_name()
            && let ("max" | "min", [ast::Arg { label: None, value: measure, .. }]) =
                (&*most.name, args.as_slice())
            && let Some(measure) = measure.as_name()
        {
            let measure = self.measure_named(measure)?;
            return Ok(Some(Keep { measure, largest: most.name == "max" }));
        }
        self.cx.fail(errors::keep_form(value.span))
    }

    /// What the `average` clause averages with.
    pub(super) fn averaging(&mut self, train: &ast::Train) -> Checking<Option<(Arc<Func>, Span)>> {
        let Some(value) = clause(train, "average") else { return Ok(None) };
        let func = self.cx.eval(value)?;
        Ok(Some((self.cx.as_func(&func, value.span)?, value.span)))
    }

    /// The average of a parameter follows it: `average(a, w)` of the average before, which begins with the first weights, and the new weights.
    pub(super) fn average(
        &mut self,
        average: &(Arc<Func>, Span),
        param: usize,
        before: Val,
        after: Val,
    ) -> Checking<()> {
        let (func, span) = average;
        let slot = self.cx.core.params[param].clone();
        let (elem, to) = (slot.elem.clone(), self.cx.visible(before).to_vec());
        let init = self.cx.core.init.expect("made with the checker");
        let zero = self.cx.emit_in(init, Form::Const(Literal::Float(0.0)), elem.clone(), Vec::new(), *span);
        let own: Vec<AxisVar> = slot.axes.iter().map(|&axis| self.cx.fresh_like(axis)).collect();
        let form = Form::Tabulate { axes: own.clone(), body: zero };
        let init = self.cx.emit_in(init, form, elem.clone(), own.clone(), *span);
        let state = self.cx.core.states.len();
        self.cx.core.states.push(Slot {
            path: average_path(&slot.path),
            elem: elem.clone(),
            axes: own.clone(),
            stacks: 0,
            init,
            span: *span,
            written: None,
        });
        let body = self.cx.body_block();
        let old = self.cx.emit_in(body, Form::State(state), elem.clone(), own.clone(), *span);
        let old = self.cx.emit(Form::Rename { of: old, to: to.clone() }, elem.clone(), to, *span);
        let step = self.cx.emit(Form::Step, Elem::Of(DType::I64), Vec::new(), *span);
        let zero = self.cx.constant(Literal::Int(0), DType::I64, *span);
        let first = self.cx.scalar(ScalarFn::Eq, &[step, zero], Elem::Of(DType::Bool), *span);
        let old = self.cx.scalar(ScalarFn::Select, &[first, before, old], elem.clone(), *span);
        let args = vec![(Value::Tensor(old), *span), (Value::Tensor(after), *span)];
        let new = self.cx.apply(func, args, *span)?;
        let new = self.cx.to_tensor(new, *span)?;
        if self.cx.visible(new).len() != own.len() || self.cx.elem(new) != elem {
            let (have, want) = (self.cx.show_val(new), self.cx.show_val(before));
            return self.cx.fail(errors::average_result(*span, &have, &want));
        }
        let new = self.cx.emit(Form::Rename { of: new, to: own.clone() }, elem, own, *span);
        self.cx.core.states[state].written = Some(new);
        Ok(())
    }
}
