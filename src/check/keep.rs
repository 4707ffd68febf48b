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
pub(super) fn clause<'t>(train: &'t ast::Train, wanted: &str) -> Option<&'t ast::Expr> {
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
        let path = average_path(&self.cx.core.params[param].path);
        let beside = self.beside(path, before, *span);
        let stored = self.cx.elem(before).dtype();
        let [before, after, old] = [before, after, beside.old].map(|val| self.cx.computed(val, *span));
        let elem = self.cx.elem(before);
        let step = self.cx.emit(Form::Step, Elem::Of(DType::I64), Vec::new(), *span);
        let zero = self.cx.constant(Literal::Int(0), DType::I64, *span);
        let first = self.cx.scalar(ScalarFn::Eq, &[step, zero], Elem::Of(DType::Bool), *span);
        let old = self.cx.scalar(ScalarFn::Select, &[first, before, old], elem.clone(), *span);
        let args = vec![(Value::Tensor(old), *span), (Value::Tensor(after), *span)];
        let new = self.cx.apply(func, args, *span)?;
        let new = self.cx.to_tensor(new, *span)?;
        if self.cx.visible(new).len() != self.cx.visible(before).len() || self.cx.elem(new) != elem {
            let (have, want) = (self.cx.show_val(new), self.cx.show_val(before));
            return self.cx.fail(errors::average_result(*span, &have, &want));
        }
        let new = self.cx.cast(new, stored, *span);
        self.write_beside(&beside, new, *span);
        Ok(())
    }
}
