//! `optim` and `init` clauses: which parameters follow which loss, how, and what they begin with.

use std::collections::HashMap;
use std::sync::Arc;

use nn_grammar::ast::{self, ExprKind};

use crate::base::{Name, Span};
use crate::ops::ScalarFn;

use super::accumulate::Phase;
use super::core::*;
use super::errors;
use super::state::{Checker, Checking, SlotKind};
use super::train::{InitPlan, StepPlan, TrainWalk};
use super::value::{Callable, Func, Value};

/// The arguments of an `optim` clause that are the clause's, not the optimizer's.
const OWN: [&str; 3] = ["minimize", "update", "every"];

/// The argument of a call with this label.
pub fn labelled<'e>(call: &'e ast::Expr, word: &str) -> Option<&'e ast::Expr> {
    let ExprKind::Call { args, .. } = &call.kind else { return None };
    let found = args.iter().find(|arg| arg.label.as_ref().is_some_and(|label| label.name == word));
    found.map(|arg| &arg.value)
}

impl TrainWalk<'_> {
    /// What this walk has made, once it is through.
    pub fn step_plan(&mut self) -> StepPlan {
        let loss = self.cx.core.outputs.last().map_or(Name::new("loss"), |output| output.name.clone());
        StepPlan { core: std::mem::take(&mut self.cx.core), loss, every: self.every, in_parts: None }
    }

    /// `optim adam(lr, minimize: dl, update: dis, every: 1)`
    pub fn optimizer(&mut self, value: &ast::Expr, average: Option<&(Arc<Func>, Span)>) -> Checking<()> {
        let mut call = value.clone();
        if let ExprKind::Call { args, .. } = &mut call.kind {
            args.retain(|arg| arg.label.as_ref().is_none_or(|label| !OWN.contains(&label.name.as_str())));
        }
        let func = self.cx.eval(&call)?;
        let func = self.cx.as_func(&func, value.span)?;
        let is_optimizer =
            matches!(&func.callable, Callable::Def(def, _) if def.head == ast::Head::Optimizer);
        if !is_optimizer {
            return self.cx.fail(errors::not_an_optimizer(value.span, &func.name()));
        }
        if let Some(every) = labelled(value, "every") {
            self.every = self.count_of(every)? as u64;
        }
        let loss = match labelled(value, "minimize") {
            Some(named) => {
                let found = named
                    .as_name()
                    .and_then(|name| self.losses.iter().position(|loss| loss.name == name.name));
                match found {
                    Some(found) => found,
                    None => {
                        let known: Vec<Name> = self.losses.iter().map(|loss| loss.name.clone()).collect();
                        return self.cx.fail(errors::unknown_loss(named.span, &known));
                    }
                }
            }
            None if self.losses.len() == 1 => 0,
            None => return self.cx.fail(errors::which_loss(value.span)),
        };
        let (name, loss) = (self.losses[loss].name.clone(), self.losses[loss].val);
        if self.phase != Phase::Update {
            self.cx.core.outputs.push(OutputInfo { name, val: loss });
        }
        let updated = match labelled(value, "update") {
            None => None,
            Some(named) => Some((self.instances(named)?, named.span)),
        };
        self.optimize(&func, loss, updated, average)
    }

    /// The paths of the instances that an argument names: one, or several in parentheses.
    fn instances(&mut self, named: &ast::Expr) -> Checking<Vec<Name>> {
        let values = match self.cx.eval(named)? {
            Value::Tuple(fields) => fields.iter().map(|field| field.value.clone()).collect(),
            value => vec![value],
        };
        let mut paths = Vec::new();
        for value in values {
            let path = match &value {
                Value::Func(func) => func.instance.as_ref().and_then(|instance| instance.path.get().cloned()),
                _ => None,
            };
            match path {
                Some(path) => paths.push(path),
                None => {
                    let what = value.describe();
                    return self.cx.fail(errors::not_an_instance(named.span, what));
                }
            }
        }
        Ok(paths)
    }

    /// Applies the optimizer to the parameters of these instances (of all, where none are named) and their gradients. Of a parameter that is
    /// stored in 16 bits it sees the number in f32, its states are f32, and its result is rounded once.
    fn optimize(
        &mut self,
        optimizer: &Arc<Func>,
        loss: Val,
        updated: Option<(Vec<Name>, Span)>,
        average: Option<&(Arc<Func>, Span)>,
    ) -> Checking<()> {
        let span = optimizer.span;
        let count = self.cx.core.params.len();
        let mut trained = Vec::new();
        for index in 0..count {
            let param = &self.cx.core.params[index];
            let wanted = updated
                .as_ref()
                .is_none_or(|(paths, _)| paths.iter().any(|path| below(path, &param.path).is_some()));
            if wanted
                && param.elem.is_float()
                && let Some(&val) = self.cx.whole.get(&(SlotKind::Param, index))
            {
                trained.push((index, val));
            }
        }
        if trained.is_empty() {
            return self.cx.fail(errors::nothing_to_train(updated.map_or(span, |(_, span)| span)));
        }
        let gradients = match self.phase {
            Phase::Whole => self.gradients(loss, &trained, span)?,
            Phase::Gradients => {
                let gradients = self.gradients(loss, &trained, span)?;
                return self.add_up(&trained, &gradients, span);
            }
            Phase::Update => {
                // What the layers write, they have written with each part.
                self.cx.forget_writes(HashMap::new());
                self.added_up(&trained, span)
            }
        };
        self.cx.all_gradients = gradients.clone();
        for ((index, val), gradient) in trained.into_iter().zip(gradients) {
            self.cx.optimized = Some((self.turn, self.cx.core.params[index].path.to_string()));
            let elem = self.cx.elem(val);
            let whole = self.cx.computed(val, span);
            let args = vec![(Value::Tensor(whole), span), (Value::Tensor(gradient), span)];
            let updated = self.cx.apply(optimizer, args, span)?;
            let updated = self.cx.to_tensor(updated, span)?;
            let (have, want) = (self.cx.visible(updated).len(), self.cx.visible(val).len());
            if have != want || self.cx.elem(updated) != self.cx.elem(whole) {
                let (have, want) = (self.cx.show_val(updated), self.cx.show_val(whole));
                return self.cx.fail(errors::optimizer_result(span, &have, &want));
            }
            let updated = self.cx.cast(updated, elem.dtype(), span);
            // The result's axes are the parameter's, in its order.
            let to = self.cx.visible(val).to_vec();
            let renamed = self.cx.emit(Form::Rename { of: updated, to: to.clone() }, elem, to, span);
            self.cx.core.params[index].written = Some(renamed);
            if let Some(average) = average {
                self.average(average, index, val, renamed)?;
            }
        }
        self.cx.optimized = None;
        self.cx.all_gradients.clear();
        self.cx.gradient_norm = None;
        Ok(())
    }

    /// The derivatives of a loss by these parameters, in the dtype that they are computed in.
    fn gradients(&mut self, loss: Val, trained: &[(usize, Val)], span: Span) -> Checking<Vec<Val>> {
        let wrt = trained.iter().map(|(_, val)| *val).collect();
        let gradients = match self.cx.gradients(loss, wrt, span)? {
            Value::Tuple(fields) => fields.iter().map(|field| field.value.clone()).collect(),
            one => vec![one],
        };
        let gradients = gradients.into_iter().map(|gradient| {
            let gradient = self.cx.to_tensor(gradient, span)?;
            Ok(self.cx.computed(gradient, span))
        });
        gradients.collect()
    }

    /// `init gen = safetensors("g.safetensors", only: "stem")`
    pub fn init(&mut self, word: &ast::Ident, name: Option<&ast::Ident>, value: &ast::Expr) -> Checking<()> {
        let path = match &value.kind {
            ExprKind::Call { callee, args }
                if callee.as_name().is_some_and(|name| name.name == "safetensors") =>
            {
                args.iter().find(|arg| arg.label.is_none()).and_then(|arg| text(&arg.value))
            }
            _ => None,
        };
        let only = labelled(value, "only");
        let (Some(name), Some(path), true) = (name, path, only.is_none_or(|only| text(only).is_some()))
        else {
            return self.cx.fail(errors::init_form(word.span));
        };
        let only = only.and_then(text);
        let instance = ast::Expr { kind: ExprKind::Name(name.clone()), span: name.span };
        for instance in self.instances(&instance)? {
            self.inits.push(InitPlan { instance, path: path.clone(), only: only.clone(), span: value.span });
        }
        Ok(())
    }
}

impl Checker<'_> {
    /// `global_norm(g)`: the root of the sum of the squares of all gradients among which `g` is, whichever of them it is.
    pub fn global_norm(&mut self, gradient: Val, span: Span) -> Checking<Value> {
        if !self.all_gradients.contains(&gradient) {
            return self.fail(errors::gradients_of_an_optimizer(span));
        }
        if let Some(norm) = self.gradient_norm {
            return Ok(Value::Tensor(norm));
        }
        let mut total: Option<Val> = None;
        for gradient in self.all_gradients.clone() {
            let (elem, axes) = (self.elem(gradient), self.visible(gradient).to_vec());
            let mut square = self.scalar(ScalarFn::Mul, &[gradient, gradient], elem.clone(), span);
            if !axes.is_empty() {
                square = self.reduce(Reducer::Sum, axes, None, square, span)?;
            }
            total = Some(match total {
                None => square,
                Some(total) => self.scalar(ScalarFn::Add, &[total, square], elem, span),
            });
        }
        let total = total.expect("the gradient is one of them");
        let elem = self.elem(total);
        let norm = self.scalar(ScalarFn::Sqrt, &[total], elem, span);
        self.gradient_norm = Some(norm);
        Ok(Value::Tensor(norm))
    }
}

fn text(expr: &ast::Expr) -> Option<Name> {
    match &expr.kind {
        ExprKind::Str(text) => Some(text.clone()),
        _ => None,
    }
}

/// What of `path` follows behind the path of an instance, where it lies in it.
pub fn below<'p>(instance: &str, path: &'p str) -> Option<&'p str> {
    if instance.is_empty() { Some(path) } else { path.strip_prefix(instance)?.strip_prefix('.') }
}
