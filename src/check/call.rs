//! Calls: static arguments, mapping over the axes that a function does not name, instances of layers.

use std::rc::Rc;

use nn_grammar::ast::{self, ExprKind, Head, TypeKind};

use crate::axes::Dim;
use crate::base::{Name, Span};

use super::core::*;
use super::errors;
use super::state::{Checker, Checking, Frame, Owner};
use super::types::as_tensor_type;
use super::value::{Callable, Field, Func, Instance, Num, Placed, Value};

/// Arguments of one group, evaluated.
#[derive(Clone, Debug, Default)]
pub struct Args {
    pub positional: Vec<Placed>,
    pub labelled: Vec<(ast::Ident, Value)>,
}

impl Args {
    /// The argument of this label, and where it is written.
    pub fn named(&self, word: &str) -> Option<Placed> {
        let found = self.labelled.iter().find(|(label, _)| label.name == word);
        found.map(|(label, value)| (value.clone(), label.span))
    }
}

/// `fn windows(n: dim, k: dim) -> dim`: a function of sizes. All that its one group takes is known when compiling; types may use its
/// result where that is a dim.
pub fn is_of_sizes(def: &ast::Def) -> bool {
    let named = |ty: &ast::Type, names: &[&str]| matches!(&ty.kind, TypeKind::Named { name, axes } if axes.is_empty() && names.contains(&&*name.name));
    let known = |ty: &ast::Type| {
        named(ty, &["dim", "axis", "bool", "str", "f32"])
            || matches!(ty.kind, TypeKind::List(_) | TypeKind::Fn { .. } | TypeKind::Layer)
    };
    let sized = def.result.as_ref().is_some_and(gives_size)
        || def.tensors.iter().any(|param| named(&param.ty, &["dim", "axis"]));
    def.head == Head::Fn
        && def.statics.is_empty()
        && sized
        && def.tensors.iter().all(|param| known(&param.ty))
}

fn gives_size(result: &ast::Type) -> bool {
    matches!(&result.kind, TypeKind::Named { name, axes } if name.name == "dim" && axes.is_empty())
}

impl Checker<'_> {
    /// `callee(args)`, or `first |> callee(args)`.
    pub fn call(
        &mut self,
        callee: &ast::Expr,
        args: &[ast::Arg],
        first: Option<Placed>,
        span: Span,
    ) -> Checking<Value> {
        let func = self.eval(callee)?;
        let func = self.as_func(&func, callee.span)?;
        if let Callable::Builtin(builtin) = func.callable {
            return self.call_builtin(builtin, args, first, span);
        }
        let args = self.args(args)?;
        self.call_func(func, args, first, span)
    }

    pub fn args<'a>(&mut self, args: impl IntoIterator<Item = &'a ast::Arg>) -> Checking<Args> {
        let mut evaluated = Args::default();
        for arg in args {
            let value = self.eval(&arg.value)?;
            match &arg.label {
                Some(label) => evaluated.labelled.push((label.clone(), value)),
                None => evaluated.positional.push((value, arg.span)),
            }
        }
        Ok(evaluated)
    }

    fn call_func(
        &mut self,
        func: Rc<Func>,
        args: Args,
        first: Option<Placed>,
        span: Span,
    ) -> Checking<Value> {
        let Callable::Def(def, scope) = &func.callable else {
            return self.apply(&func, Self::tensors(args, first), span);
        };
        if func.statics.is_some() {
            // `block()` mentions a layer without static parameters; the tensors come later.
            let mentioned = def.head != Head::Fn
                && def.statics.is_empty()
                && func.instance.as_ref().is_some_and(|instance| instance.path.borrow().is_none());
            if mentioned && first.is_none() && args.positional.is_empty() && args.labelled.is_empty() {
                return Ok(Value::Func(func));
            }
            return self.apply(&func, Self::tensors(args, first), span);
        }
        if def.statics.is_empty() && def.head == Head::Fn {
            // A function with one group: its only arguments are tensors.
            let tensors = self.order_tensors(def, *scope, args, first)?;
            let func = self.with_statics(&func, Args::default(), span)?;
            return self.apply(&func, tensors, span);
        }
        // `cross_entropy(z, y, smoothing: 0.1)`: tensors first, keyword-only statics among them.
        let tensors_given = args.positional.first().is_some_and(|(value, _)| match value {
            Value::Tensor(_) | Value::Index(_) => true,
            // A literal array, where no list can be meant.
            Value::List(_) => {
                def.statics.first().is_some_and(|param| !matches!(param.ty.kind, TypeKind::List(_)))
            }
            _ => false,
        });
        if def.head == Head::Fn && tensors_given && def.statics.iter().all(|param| param.default.is_some()) {
            let (statics, rest): (Vec<_>, Vec<_>) = args
                .labelled
                .into_iter()
                .partition(|(label, _)| def.statics.iter().any(|param| param.name.name == label.name));
            let rest = Args { positional: args.positional, labelled: rest };
            let tensors = self.order_tensors(def, *scope, rest, first)?;
            let func = self.with_statics(&func, Args { positional: Vec::new(), labelled: statics }, span)?;
            return self.apply(&func, tensors, span);
        }
        if first.is_none() && def.statics.is_empty() && !args.positional.is_empty() {
            // A layer without static parameters: its first group is the tensor group.
            let func = self.with_statics(&func, Args::default(), span)?;
            let tensors = self.order_tensors(def, *scope, args, first)?;
            return self.apply(&func, tensors, span);
        }
        let func = self.with_statics(&func, args, span)?;
        match first {
            Some(first) => self.apply(&func, vec![first], span),
            None => Ok(Value::Func(func)),
        }
    }

    fn tensors(args: Args, first: Option<Placed>) -> Vec<Placed> {
        let labelled = args.labelled.into_iter().map(|(label, value)| (value, label.span));
        first.into_iter().chain(args.positional).chain(labelled).collect()
    }

    /// Puts labelled tensor arguments where their parameters stand; what is left out before one of them has its default.
    fn order_tensors(
        &mut self,
        def: &ast::Def,
        scope: super::program::Scope,
        args: Args,
        first: Option<Placed>,
    ) -> Checking<Vec<Placed>> {
        let mut given: Vec<Placed> = first.into_iter().chain(args.positional).collect();
        let position =
            |label: &ast::Ident| def.tensors.iter().position(|param| param.name.name == label.name);
        let mut last = given.len();
        for (label, _) in &args.labelled {
            match position(label) {
                None => {
                    let names = def.tensors.iter().map(|param| &param.name.name);
                    return self.fail(errors::unknown_argument(label, &def.name.name, names));
                }
                Some(at) if at < given.len() => {
                    return self.fail(errors::given_twice(label.span, &label.name));
                }
                Some(at) => last = last.max(at + 1),
            }
        }
        for (at, param) in def.tensors.iter().enumerate().take(last).skip(given.len()) {
            match args.labelled.iter().find(|(label, _)| label.name == param.name.name) {
                Some((label, value)) => given.push((value.clone(), label.span)),
                None => {
                    let Some(default) = &param.default else { break };
                    let before = def.tensors[..at].iter().zip(&given);
                    let locals =
                        before.map(|(param, (value, _))| (param.name.name.clone(), value.clone())).collect();
                    let frame = Frame { scope: Some(scope), locals, ..Frame::default() };
                    let outer = std::mem::replace(&mut self.frame, frame);
                    let value = self.eval(default);
                    self.frame = outer;
                    given.push((value?, param.span));
                }
            }
        }
        Ok(given)
    }

    /// Gives a function its static arguments; a layer becomes a new instance.
    pub fn with_statics(&mut self, func: &Rc<Func>, args: Args, span: Span) -> Checking<Rc<Func>> {
        let Callable::Def(def, scope) = &func.callable else { return Ok(func.clone()) };
        if args.positional.len() > def.statics.len() {
            return self.fail(errors::too_many_statics(
                span,
                &def.name.name,
                def.statics.len(),
                args.positional.len(),
            ));
        }
        let mut statics: Vec<(Name, Value)> = Vec::new();
        let mut positional = args.positional.into_iter();
        let mut frame = Frame { scope: Some(*scope), ..Frame::default() };
        if let Some(captured) = &func.captured {
            frame.locals.extend(captured.iter().cloned());
        }
        for (label, _) in &args.labelled {
            if !def.statics.iter().any(|param| param.name.name == label.name) {
                let names = def.statics.iter().map(|param| &param.name.name);
                return self.fail(errors::unknown_argument(label, &def.name.name, names));
            }
        }
        for param in &def.statics {
            let labelled = args.labelled.iter().find(|(label, _)| label.name == param.name.name);
            let (value, place) = match (positional.next(), labelled) {
                (Some(_), Some((label, _))) => {
                    return self.fail(errors::given_twice(label.span, &label.name));
                }
                (Some((value, place)), None) => (value, place),
                (None, Some((label, value))) => (value.clone(), label.span),
                (None, None) => match &param.default {
                    Some(default) => {
                        frame.locals.truncate(func.captured.as_ref().map_or(0, |captured| captured.len()));
                        frame.locals.extend(statics.iter().cloned());
                        let outer = std::mem::replace(&mut self.frame, std::mem::take(&mut frame));
                        let value = self.eval(default);
                        frame = std::mem::replace(&mut self.frame, outer);
                        (value?, param.span)
                    }
                    None => return self.fail(errors::missing_static(span, &def.name.name, &param.name)),
                },
            };
            let value = self.static_value(param, value, place)?;
            statics.push((param.name.name.clone(), value));
        }
        let instance = (def.head != Head::Fn).then(|| Rc::new(Instance::default()));
        Ok(Rc::new(Func {
            callable: func.callable.clone(),
            statics: Some(statics),
            captured: func.captured.clone(),
            instance,
            span,
        }))
    }

    /// Checks a static argument against its parameter's type.
    pub fn static_value(&mut self, param: &ast::Param, value: Value, span: Span) -> Checking<Value> {
        let fits = match &param.ty.kind {
            TypeKind::Named { name, axes } if axes.is_empty() => match &*name.name {
                "dim" => match &value {
                    Value::Num(Num { dim: Some(dim), .. }) => {
                        if dim.as_const().is_some_and(|dim| dim < 0) {
                            return self.fail(errors::negative_dim(span, dim));
                        }
                        true
                    }
                    _ => false,
                },
                "axis" => match &value {
                    Value::Num(Num { axis: Some(_), .. }) => true,
                    _ => return self.fail(errors::not_an_axis(span, value.describe())),
                },
                "bool" => matches!(value, Value::Bool(_) | Value::Training(_)),
                "str" => matches!(value, Value::Str(_)),
                "f32" | "f64" | "float" | "num" | "i32" | "i64" => match &value {
                    Value::Num(_) => true,
                    Value::Tensor(val) => self.visible(*val).is_empty(),
                    _ => false,
                },
                _ => true,
            },
            TypeKind::List(_) => matches!(value, Value::List(_)),
            TypeKind::Fn { .. } | TypeKind::Layer => matches!(value, Value::Func(_)),
            TypeKind::Tuple(_) => matches!(value, Value::Tuple(_)),
            _ => matches!(value, Value::Tensor(_) | Value::Num(_)),
        };
        if !fits {
            let what = value.describe();
            return self.fail(errors::wrong_static(span, what, param));
        }
        // An axis that is given as a dim is its size; as an axis it keeps its identity.
        let is_dim = matches!(&param.ty.kind, TypeKind::Named { name, .. } if name.name == "dim");
        match value {
            Value::Num(num) if is_dim => Ok(Value::Num(Num::new(num.dim, num.real))),
            // What the caller declares of an axis is no declaration here.
            Value::Num(num) => Ok(Value::Num(Num { declared: None, ..num })),
            value => Ok(value),
        }
    }

    // ---- application -------------------------------------------------------------------------

    /// Applies a function to tensors, mapped over the axes that it does not name.
    pub fn apply(&mut self, func: &Rc<Func>, args: Vec<Placed>, span: Span) -> Checking<Value> {
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

    fn frame_of(&self, func: &Func, scope: super::program::Scope) -> Frame {
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
        func: &Rc<Func>,
        def: &Rc<ast::Def>,
        scope: super::program::Scope,
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
                let count = self.extra_axes(&param.ty, &visible, *place)?;
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
        def: &Rc<ast::Def>,
        scope: super::program::Scope,
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
        let Some(path) = func.instance.as_ref().and_then(|instance| instance.path.borrow().clone()) else {
            return;
        };
        let mut outputs = Vec::new();
        value.tensors(&mut outputs);
        let layer = AppliedLayer { path, callee: def.name.name.clone(), outputs };
        self.core.layers.insert(place, layer);
    }

    /// The longest list of axes that stand in front of what the parameters name; all others must be its ends.
    pub fn mapped_axes(&mut self, def: &ast::Def, given: &[Placed], span: Span) -> Checking<Vec<AxisVar>> {
        let mut longest: Vec<AxisVar> = Vec::new();
        let mut lists = Vec::new();
        for (param, (value, place)) in def.tensors.iter().zip(given) {
            let Value::Tensor(val) = value else { continue };
            let visible = self.visible(*val).to_vec();
            let count = self.extra_axes(&param.ty, &visible, *place)?;
            let extra = visible[..count].to_vec();
            if extra.len() > longest.len() {
                longest = extra.clone();
            }
            lists.push((extra, *place));
        }
        for (list, place) in &lists {
            let tail = &longest[longest.len() - list.len()..];
            for (&left, &right) in list.iter().zip(tail) {
                if !self.join_axes(left, right, *place) {
                    let (given, other) = (self.show_axes(list), self.show_axes(&longest));
                    return self.fail(errors::mapped_axes_differ(*place, &def.name.name, &given, &other));
                }
            }
        }
        let names: Vec<_> = longest.iter().map(|&axis| self.size_of(axis)).collect();
        let named = |index: usize| names[index].as_ref().is_some_and(|dim: &Dim| dim.as_const().is_none());
        for index in 1..names.len() {
            if named(index)
                && names[..index].contains(&names[index])
                && lists.iter().any(|(list, _)| list.len() < longest.len())
            {
                let axis = self.show_axis(longest[index]);
                return self.fail(errors::mapped_twice(span, &axis));
            }
        }
        Ok(longest)
    }

    /// Hides the first `count` visible axes at the points of the last `count` of `mapped`.
    fn hide_front(&mut self, val: Val, count: usize, mapped: &[AxisVar], span: Span) -> Val {
        if count == 0 {
            return val;
        }
        let visible = self.visible(val).to_vec();
        let points = &mapped[mapped.len() - count..];
        let at = (0..visible.len())
            .map(|index| if index < count { At::Point(Point::axis(points[index])) } else { At::Keep })
            .collect();
        let elem = self.elem(val);
        self.emit(Form::Read { of: val, at, outside: Outside::Never }, elem, visible[count..].to_vec(), span)
    }

    /// Makes mapped axes visible again, under the ids of the caller's axes, in every tensor of a value.
    pub fn tabulate_value(
        &mut self,
        value: Value,
        hidden: &[AxisVar],
        shown: &[AxisVar],
        span: Span,
    ) -> Checking<Value> {
        match value {
            Value::Tensor(body) => {
                let mut visible = hidden.to_vec();
                visible.extend(self.visible(body));
                let elem = self.elem(body);
                let val =
                    self.emit(Form::Tabulate { axes: hidden.to_vec(), body }, elem.clone(), visible, span);
                if hidden == shown {
                    return Ok(Value::Tensor(val));
                }
                let mut to = shown.to_vec();
                to.extend(&self.visible(val)[hidden.len()..]);
                // The caller's id may stand among the body's own axes, where the body returned a value with it.
                for index in shown.len()..to.len() {
                    if to[..index].contains(&to[index]) {
                        to[index] = self.fresh_like(to[index]);
                    }
                }
                Ok(Value::Tensor(self.emit(Form::Rename { of: val, to: to.clone() }, elem, to, span)))
            }
            Value::Num(num) => {
                let dtype = self.float();
                let val = self.num_to_val(&num, dtype, span)?;
                self.tabulate_value(Value::Tensor(val), hidden, shown, span)
            }
            Value::Tuple(fields) => {
                let mut shown_fields = Vec::new();
                for field in fields.iter() {
                    let value = self.tabulate_value(field.value.clone(), hidden, shown, span)?;
                    shown_fields.push(Field { label: field.label.clone(), value });
                }
                Ok(Value::Tuple(shown_fields.into()))
            }
            value @ (Value::Index(_) | Value::List(_)) => {
                let val = self.to_tensor(value, span)?;
                self.tabulate_value(Value::Tensor(val), hidden, shown, span)
            }
            other => Ok(other),
        }
    }

    /// An argument for a tensor parameter.
    fn argument(&mut self, param: &ast::Param, value: Value, span: Span) -> Checking<Value> {
        let Some((name, _, axes)) = as_tensor_type(&param.ty) else { return Ok(value) };
        match value {
            Value::Num(num) if axes.is_empty() || matches!(axes[0].kind, ast::AxisKind::Pack(_)) => {
                let dtype = match name.and_then(|name| super::types::dtype_of(&name.name, self.mode.wide)) {
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

    fn apply_mapped(
        &mut self,
        func: &Rc<Func>,
        def: &Rc<ast::Def>,
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

    fn match_result(&mut self, def: &ast::Def, ty: &ast::Type, value: Value) -> Checking<Value> {
        let span = match &def.body.kind {
            ExprKind::Block(block) => block.tail.as_ref().map_or(def.body.span, |tail| tail.span),
            _ => def.body.span,
        };
        self.match_value(ty, value, span)
    }

    /// A value as one of a declared type: static numbers become tensors, the rest must agree.
    pub fn match_value(&mut self, ty: &ast::Type, value: Value, span: Span) -> Checking<Value> {
        match (&ty.kind, value) {
            (TypeKind::Tuple(types), Value::Tuple(fields)) if types.len() == fields.len() => {
                let mut matched = Vec::new();
                for (ty, field) in types.iter().zip(fields.iter()) {
                    let value = self.match_value(&ty.ty, field.value.clone(), span)?;
                    let label =
                        ty.label.as_ref().map(|label| label.name.clone()).or_else(|| field.label.clone());
                    matched.push(Field { label, value });
                }
                Ok(Value::Tuple(matched.into()))
            }
            (
                TypeKind::Named { .. } | TypeKind::Index { .. },
                value
                @ (Value::Tensor(_) | Value::Num(_) | Value::Index(_) | Value::List(_) | Value::Bool(_)),
            ) => {
                let (elem, axes) = self.read_type(ty)?;
                let val = self.to_tensor_of(value, &elem, span)?;
                // A scalar stands for a tensor of equal entries only where it says so: `zeros`, `0` as a first value.
                let (visible, given) = (self.visible(val).to_vec(), self.elem(val));
                if visible.is_empty() && !axes.is_empty() && self.expected.is_some() {
                    return Ok(Value::Tensor(self.emit(
                        Form::Tabulate { axes: axes.clone(), body: val },
                        given,
                        axes,
                        span,
                    )));
                }
                if !self.elem_fits(&elem, &given) {
                    return self.fail(errors::wrong_elem(
                        span,
                        &self.show_elem(&elem),
                        &self.show_elem(&given),
                        ty.span,
                    ));
                }
                if visible.len() != axes.len() {
                    let (want, given) = (self.show_axes(&axes), self.show_axes(&visible));
                    return self.fail(errors::wrong_rank(span, &want, &given, ty.span));
                }
                for (&want, &given) in axes.iter().zip(&visible) {
                    if !self.join_axes(want, given, span) {
                        let (want, given) = (self.at_axis(want, ty.span), self.at_axis(given, span));
                        return self.fail(errors::axis_mismatch(given, want));
                    }
                }
                // Declared axes that are bound names give their identity to the result.
                if axes != visible && axes.iter().all(|axis| !self.ambient.contains(axis)) {
                    return Ok(Value::Tensor(self.emit(
                        Form::Rename { of: val, to: axes.clone() },
                        given,
                        axes,
                        span,
                    )));
                }
                Ok(Value::Tensor(val))
            }
            (_, value) => {
                let what = self.show_value(&value);
                self.fail(errors::wrong_value(span, &what, ty.span))
            }
        }
    }

    // ---- instances -----------------------------------------------------------------------------

    /// The path of a layer's parameters. An instance without a name gets `layer_k` of the layer that applies it.
    fn instance_path(&mut self, func: &Rc<Func>, span: Span) -> Checking<String> {
        let instance = func.instance.clone().unwrap_or_default();
        if let Some(path) = instance.path.borrow().as_ref() {
            return Ok(path.to_string());
        }
        let name = func.name();
        let Some(owner) = self.frame.owner.as_mut() else {
            return self.fail(errors::instance_in_function(span, &name));
        };
        let count = owner.counters.entry(name.clone()).or_insert(0);
        let own = format!("{name}_{count}{}", owner.turns);
        *count += 1;
        let path = owner.join(&own);
        *instance.path.borrow_mut() = Some(Name::new(&path));
        Ok(path)
    }

    /// A binding gives a fresh instance its name: `let enc = encoder(64)`.
    pub fn name_instance(&mut self, name: &Name, value: &Value) {
        let Value::Func(func) = value else { return };
        let Some(instance) = &func.instance else { return };
        if instance.path.borrow().is_some() {
            return;
        }
        let Some(owner) = self.frame.owner.as_mut() else { return };
        let used = owner.names.entry(name.clone()).or_insert(0);
        let own = if *used == 0 {
            format!("{name}{}", owner.turns)
        } else {
            format!("{name}_{used}{}", owner.turns)
        };
        *used += 1;
        let path = owner.join(&own);
        *instance.path.borrow_mut() = Some(Name::new(path));
    }
}
