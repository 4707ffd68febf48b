//! Applying functions to tensors: a definition's body is walked in a frame of its own.

use std::sync::Arc;

use nn_grammar::ast::{self, ExprKind, Head};

use crate::base::{Name, Span};

use super::call::{Args, gives_size, is_of_sizes};
use super::core::*;
use super::errors;
use super::program::Scope;
use super::state::{Checker, Checking, Frame, Owner};
use super::types::{as_tensor_type, dtype_of};
use super::value::{Callable, Func, Num, Placed, Value};

impl Checker<'_> {
    /// Applies a function to tensors, mapped over the axes that it does not name.
    pub fn apply(&mut self, func: &Arc<Func>, args: Vec<Placed>, span: Span) -> Checking<Value> {
        match &func.callable {
            Callable::Builtin(builtin) => self.apply_builtin(*builtin, args, span),
            Callable::Stack { count, block } => self.apply_stack(func, count, block, args, span),
            Callable::Iterate { count, step } => self.apply_iterate(count, step, args, span),
            Callable::Grad(inner) => self.apply_grad(inner, args, span),
            Callable::Vjp(inner) => self.apply_vjp(inner, args, span),
            Callable::Jvp(inner) => self.apply_jvp(inner, args, span),
            Callable::Lambda(lambda, scope) => {
                if lambda.params.len() != args.len() {
                    return self.fail(errors::wrong_count(span, "fn", lambda.params.len(), args.len()));
                }
                let mut frame = self.frame_of(func, *scope);
                let owner = self.frame.owner.take();
                frame.owner = owner;
                for (param, (value, _)) in lambda.params.iter().zip(&args) {
                    frame.locals.push((param.name.name.clone(), value.clone()));
                }
                // A lambda's instances belong to the layer in which it is written.
                let (value, owner) = self.in_call(span, Name::new("fn"), frame, |cx| {
                    let value = cx.eval(&lambda.body);
                    Ok((value, cx.frame.owner.take()))
                })?;
                self.frame.owner = owner;
                value
            }
            Callable::Def(def, scope) => {
                let def = def.clone();
                let scope = *scope;
                if func.statics.is_none() {
                    let func = self.with_statics(func, Args::default(), span)?;
                    return self.apply_def(&func, &def, scope, args, span);
                }
                self.apply_def(func, &def, scope, args, span)
            }
        }
    }

    pub fn frame_of(&self, func: &Func, scope: Scope) -> Frame {
        let mut frame = Frame { scope: Some(scope), ..Frame::default() };
        if let Some(captured) = &func.captured {
            frame.locals.extend(captured.iter().cloned());
        }
        if let Some(statics) = &func.statics {
            frame.locals.extend(statics.iter().cloned());
        }
        frame
    }

    fn apply_def(
        &mut self,
        func: &Arc<Func>,
        def: &Arc<ast::Def>,
        scope: Scope,
        args: Vec<Placed>,
        span: Span,
    ) -> Checking<Value> {
        if is_of_sizes(def) {
            return self.apply_to_sizes(func, def, scope, args, span);
        }
        if args.len() != def.tensors.len() {
            let missing_default = def.tensors.iter().skip(args.len()).any(|param| param.default.is_none());
            if args.len() > def.tensors.len() || missing_default {
                return self.fail(errors::wrong_count(span, &def.name.name, def.tensors.len(), args.len()));
            }
        }
        let mut frame = self.frame_of(func, scope);
        // What is given, as tensors where the parameter is one; a count of class labels becomes positions.
        let mut given = Vec::new();
        for (param, (value, place)) in def.tensors.iter().zip(args) {
            given.push((self.argument(param, value, place)?, place));
        }
        let extras = self.mapped_axes(def, &given, span)?;
        let mapped: Vec<AxisVar> = extras.iter().map(|&axis| self.fresh_like(axis)).collect();
        for (param, (value, place)) in def.tensors.iter().zip(&mut given) {
            if let Value::Tensor(val) = value {
                let visible = self.visible(*val).to_vec();
                let count = self.extra_axes(&param.ty, &visible, *place, Some(*val))?;
                *val = self.hide_front(*val, count, &mapped, *place);
            }
        }
        self.ambient.extend(&mapped);
        let place = self.core.layers.len();
        let value = self.apply_mapped(func, def, &mut frame, given, span);
        self.ambient.truncate(self.ambient.len() - mapped.len());
        let mut value = value?;
        if !extras.is_empty() {
            value = self.tabulate_value(value, &mapped, &extras, span)?;
        }
        self.layer_applied(func, def, place, &value);
        Ok(value)
    }

    /// Applies a function of sizes. A size that is made of one axis' name keeps that origin: a grid at another rate.
    fn apply_to_sizes(
        &mut self,
        func: &Func,
        def: &Arc<ast::Def>,
        scope: Scope,
        args: Vec<Placed>,
        span: Span,
    ) -> Checking<Value> {
        let count = args.len();
        if count > def.tensors.len() || def.tensors.iter().skip(count).any(|param| param.default.is_none()) {
            return self.fail(errors::wrong_count(span, &def.name.name, def.tensors.len(), count));
        }
        let mut frame = self.frame_of(func, scope);
        for (param, (value, place)) in def.tensors.iter().zip(args) {
            self.static_value(param, value.clone(), place)?;
            let value = match value {
                Value::Num(num) => Value::Num(Num { declared: None, ..num }),
                value => value,
            };
            frame.locals.push((param.name.name.clone(), value));
        }
        let def = def.clone();
        self.in_call(span, def.name.name.clone(), frame, |cx| {
            for param in def.tensors.iter().skip(count) {
                let default = param.default.as_ref().expect("counted above");
                let value = cx.eval(default)?;
                let value = cx.static_value(param, value, param.span)?;
                cx.bind(param.name.name.clone(), value);
            }
            if !def.result.as_ref().is_some_and(gives_size) {
                return cx.body_of(&def);
            }
            if let Some(constraint) = &def.constraint {
                cx.assume_constraint(constraint)?;
            }
            let (num, dim) = cx.dim_num(&def.body)?;
            Ok(Value::Num(Num { made_of: num.origin(), ..Num::new(Some(dim), num.real) }))
        })
    }

    /// Notes a layer's application before those inside of it, which stand from `place` on.
    fn layer_applied(&mut self, func: &Func, def: &ast::Def, place: usize, value: &Value) {
        let Some(path) = func.instance.as_ref().and_then(|instance| instance.path.get().cloned()) else {
            return;
        };
        let mut outputs = Vec::new();
        value.tensors(&mut outputs);
        let layer = AppliedLayer { path, callee: def.name.name.clone(), outputs };
        self.core.layers.insert(place, layer);
    }

    fn apply_mapped(
        &mut self,
        func: &Arc<Func>,
        def: &Arc<ast::Def>,
        frame: &mut Frame,
        given: Vec<Placed>,
        span: Span,
    ) -> Checking<Value> {
        let mut owner = None;
        match (def.head, &self.optimized) {
            (Head::Fn, _) => {}
            // An optimizer has states of its own for every parameter: `optim:0.m.linear_0.w`.
            (Head::Optimizer, Some((number, parameter))) => {
                let path = format!("{}{number}", Slot::OPTIMIZER);
                owner = Some(Owner { path, suffix: parameter.clone(), ..Owner::default() });
            }
            _ => {
                let path = self.instance_path(func, span)?;
                owner = Some(Owner { path, ..Owner::default() });
            }
        }
        frame.owner = owner;
        for (param, (value, _)) in def.tensors.iter().zip(&given) {
            if let Value::Tensor(val) = value {
                let (visible, elem) = (self.visible(*val).to_vec(), self.elem(*val));
                self.bind_names(frame, &param.ty, &visible, &elem);
            }
        }
        // An initialiser's type is the one that its parameter declares: `fn zeros() -> float[..S]`.
        if let (Some(expected), Some(result), true) =
            (self.expected.clone(), &def.result, def.tensors.is_empty())
        {
            self.bind_names(frame, result, &expected.axes, &expected.elem);
        }
        let frame = std::mem::take(frame);
        let def = def.clone();
        self.in_call(span, def.name.name.clone(), frame, |cx| {
            for (param, (value, _)) in def.tensors.iter().zip(&given) {
                if let Value::Tensor(val) = value {
                    let visible = cx.visible(*val).to_vec();
                    cx.solve_names(&param.ty, &visible)?;
                }
            }
            for (param, (value, place)) in def.tensors.iter().zip(given.clone()) {
                let value = match value {
                    Value::Tensor(val) => {
                        let val = cx.labels_as_positions(param, val, place)?;
                        let (visible, elem) = (cx.visible(val).to_vec(), cx.elem(val));
                        cx.match_type(&param.ty, &elem, &visible, place)?;
                        Value::Tensor(val)
                    }
                    other => other,
                };
                cx.bind(param.name.name.clone(), value);
            }
            for param in def.tensors.iter().skip(given.len()) {
                let default = param.default.as_ref().expect("counted by the caller");
                let value = cx.eval(default)?;
                let value = cx.argument(param, value, param.span)?;
                cx.bind(param.name.name.clone(), value);
            }
            cx.body_of(&def)
        })
    }

    /// An argument for a tensor parameter.
    pub fn argument(&mut self, param: &ast::Param, value: Value, span: Span) -> Checking<Value> {
        let Some((name, _, axes)) = as_tensor_type(&param.ty) else { return Ok(value) };
        match value {
            Value::Num(num) if axes.is_empty() || matches!(axes[0].kind, ast::AxisKind::Pack(_)) => {
                let dtype = match name.and_then(|name| dtype_of(&name.name, self.mode.wide)) {
                    Some(dtype) => dtype,
                    None => self.float(),
                };
                Ok(Value::Tensor(self.num_to_val(&num, dtype, span)?))
            }
            Value::Index(point) => Ok(Value::Tensor(self.index_to_val(&point, span))),
            Value::List(_) => Ok(Value::Tensor(self.to_tensor(value, span)?)),
            Value::Bool(_) if name.is_some_and(|name| name.name == "bool") => {
                Ok(Value::Tensor(self.to_tensor(value, span)?))
            }
            Value::Tensor(val) => Ok(Value::Tensor(val)),
            other => {
                let what = other.describe();
                self.fail(errors::not_a_tensor(span, what, param))
            }
        }
    }

    /// Walks a definition's body in the frame that is set up, and checks its result's type.
    pub fn body_of(&mut self, def: &ast::Def) -> Checking<Value> {
        if let Some(constraint) = &def.constraint {
            self.assume_constraint(constraint)?;
        }
        // The rule of a derivative may use what the body has named.
        let value = match (&def.grad, &def.body.kind) {
            (Some(_), ExprKind::Block(block)) => self.statements(block)?,
            _ => self.eval(&def.body)?,
        };
        let value = match &def.result {
            Some(result) => self.match_result(def, result, value)?,
            None => value,
        };
        match &def.grad {
            Some(rule) => self.with_rule(def, rule, value),
            None => Ok(value),
        }
    }
}
