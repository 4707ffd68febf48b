//! Derivatives that a function says itself: `fn f(x: f32[N]) -> f32[N] { … } grad(g) { … }`.
//!
//! The rule gives the derivative by each argument of floats, where the result's is `g`. It is linear in `g`, as every derivative is: so it has a
//! transpose, and with it the function can be differentiated forward, backward, and again.

use std::collections::HashMap;

use nn_grammar::ast;

use crate::base::Span;
use crate::graph::Literal;
use crate::ops::ScalarFn;

use super::core::*;
use super::errors;
use super::rules::arguments;
use super::state::{Checker, Checking, Expected};
use super::value::Value;

impl Checker<'_> {
    /// The value of a function with a rule; its names are bound, also those of the body, which the rule may use.
    pub fn with_rule(&mut self, def: &ast::Def, rule: &ast::GradRule, value: Value) -> Checking<Value> {
        let [name] = rule.params.as_slice() else {
            return self.fail(errors::one_cotangent(rule.span, rule.params.len()));
        };
        let y = self.to_tensor(value, def.body.span)?;
        let (elem, visible) = (self.elem(y), self.visible(y).to_vec());
        if !elem.is_float() {
            let shown = self.show_val(y);
            return self.fail(errors::gradient_of_non_scalar(rule.span, &shown));
        }
        let ambient = self.ambient.clone();
        let form = Form::Cotangent { like: y, ambient: ambient.clone() };
        let cotangent = self.emit(form, elem.clone(), visible.clone(), name.span);
        self.bind(name.name.clone(), Value::Tensor(cotangent));
        let wrt = self.float_arguments(def);
        if wrt.is_empty() {
            return self.fail(errors::gradient_of_nothing(rule.span));
        }
        let span = rule.body.tail.as_ref().map_or(rule.span, |tail| tail.span);
        let given = match self.block(&rule.body)? {
            Value::Tuple(fields) => fields.iter().map(|field| field.value.clone()).collect(),
            value => vec![value],
        };
        if given.len() != wrt.len() {
            return self.fail(errors::rule_gives_other_count(span, wrt.len(), given.len()));
        }
        let mut pulled = Vec::new();
        for (value, &x) in given.into_iter().zip(&wrt) {
            let p = self.derivative_by(value, x, span)?;
            let mut linear = Linear { core: &self.core, of: cotangent, depends: HashMap::new() };
            if let Err(by) = linear.check(p) {
                let by = self.core.vals[by].span;
                return self.fail(errors::rule_not_linear(by, &name.name));
            }
            pulled.push(p);
        }
        let form = Form::Custom { of: y, cotangent, wrt, pulled, ambient };
        Ok(Value::Tensor(self.emit(form, elem, visible, def.body.span)))
    }

    fn float_arguments(&self, def: &ast::Def) -> Vec<Val> {
        let bound = def.tensors.iter().filter_map(|param| {
            // The first binding: the body may have assigned to the name.
            let found = self.frame.locals.iter().find(|(local, _)| *local == param.name.name);
            match found.map(|(_, value)| value) {
                Some(Value::Tensor(val)) if self.elem(*val).is_float() => Some(*val),
                _ => None,
            }
        });
        bound.collect()
    }

    /// What a rule gives for `x`, of its type; 0 stands for zeros.
    fn derivative_by(&mut self, value: Value, x: Val, span: Span) -> Checking<Val> {
        let (elem, want) = (self.elem(x), self.visible(x).to_vec());
        let val = self.to_tensor_of(value, &elem, span)?;
        let have = self.visible(val).to_vec();
        if have.is_empty() && !want.is_empty() && is_zero(&self.core, val) {
            let expected = Expected { elem, axes: want };
            let form = Form::Tabulate { axes: expected.axes.clone(), body: val };
            return Ok(self.emit(form, expected.elem, expected.axes, span));
        }
        let same =
            have.len() == want.len() && have.iter().zip(&want).all(|(&have, &want)| self.unify(have, want));
        if !same || self.elem(val) != elem {
            let (want, have) = (self.show_val(x), self.show_val(val));
            return self.fail(errors::direction_of_other_type(span, &want, &have));
        }
        Ok(if have == want {
            val
        } else {
            self.emit(Form::Rename { of: val, to: want.clone() }, elem, want, span)
        })
    }
}

/// Whether values are linear in one of them.
struct Linear<'a> {
    core: &'a Core,
    of: Val,
    depends: HashMap<Val, bool>,
}

impl Linear<'_> {
    fn depends(&mut self, val: Val) -> bool {
        if val == self.of {
            return true;
        }
        // A value is made of earlier ones.
        if val < self.of {
            return false;
        }
        if let Some(&known) = self.depends.get(&val) {
            return known;
        }
        // The carries of loops are said to depend by their loop.
        self.depends.insert(val, false);
        let found = arguments(self.core, val).into_iter().any(|arg| self.depends(arg));
        self.depends.insert(val, found);
        found
    }

    /// Sums of products of the value with others that do not depend on it, read, joined and summed up in any way; or the first that is none.
    fn check(&mut self, val: Val) -> Result<(), Val> {
        if val == self.of || is_zero(self.core, val) {
            return Ok(());
        }
        let steady = |own: &mut Self, args: &[Val]| match args.iter().find(|&&arg| own.depends(arg)) {
            Some(&arg) => Err(arg),
            None => Ok(()),
        };
        match &self.core.vals[val].form {
            Form::Scalar(ScalarFn::Add | ScalarFn::Sub | ScalarFn::Neg | ScalarFn::Cast(_), args) => {
                args.iter().try_for_each(|&arg| self.check(arg))
            }
            Form::Scalar(ScalarFn::Mul, args) => {
                let (x, y) = if self.depends(args[0]) { (args[0], args[1]) } else { (args[1], args[0]) };
                steady(self, &[y])?;
                self.check(x)
            }
            Form::Scalar(ScalarFn::Div, args) => {
                steady(self, &args[1..])?;
                self.check(args[0])
            }
            Form::Scalar(ScalarFn::Select, args) => {
                steady(self, &args[..1])?;
                self.check(args[1])?;
                self.check(args[2])
            }
            Form::Read { of, at, .. } => {
                let entries = at.iter().filter_map(|at| match at {
                    At::Entry(index) => Some(*index),
                    _ => None,
                });
                steady(self, &entries.collect::<Vec<_>>())?;
                self.check(*of)
            }
            Form::Rename { of, .. } | Form::Reshape(of) => self.check(*of),
            Form::Tabulate { body, .. } => self.check(*body),
            Form::Concat { parts, .. } => parts.iter().try_for_each(|&part| self.check(part)),
            Form::Reduce { op: Reducer::Sum | Reducer::Mean, guard, body, .. } => {
                steady(self, guard.as_slice())?;
                self.check(*body)
            }
            _ => Err(val),
        }
    }
}

fn is_zero(core: &Core, val: Val) -> bool {
    match &core.vals[val].form {
        Form::Const(Literal::Float(x)) => *x == 0.0,
        Form::Const(Literal::Int(x)) => *x == 0,
        Form::Tabulate { body: of, .. } | Form::Rename { of, .. } => is_zero(core, *of),
        _ => false,
    }
}
