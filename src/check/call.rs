//! Calls as they are written: which arguments are static, which are tensors, and what is left out.

use std::sync::Arc;

use nn_grammar::ast::{self, Head, TypeKind};

use crate::base::{Name, Span};

use super::errors;
use super::state::{Checker, Checking, Frame};
use super::value::{Callable, Func, Instance, Num, Placed, Value};

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

pub fn gives_size(result: &ast::Type) -> bool {
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
        // All of them are looked at before the first that failed counts.
        let values: Vec<_> = args.into_iter().map(|arg| (arg, self.eval(&arg.value))).collect();
        for (arg, value) in values {
            let value = value?;
            match &arg.label {
                Some(label) => evaluated.labelled.push((label.clone(), value)),
                None => evaluated.positional.push((value, arg.span)),
            }
        }
        Ok(evaluated)
    }

    fn call_func(
        &mut self,
        func: Arc<Func>,
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
                && func.instance.as_ref().is_some_and(|instance| instance.path.get().is_none());
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
                    return self.fail(errors::unknown_argument(label, &def.name.name, names, None));
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
    pub fn with_statics(&mut self, func: &Arc<Func>, args: Args, span: Span) -> Checking<Arc<Func>> {
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
                return self.fail(errors::unknown_argument(label, &def.name.name, names, None));
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
                    None => return self.fail(errors::missing_static(span, &def.name.name, param)),
                },
            };
            let value = self.static_value(param, value, place)?;
            statics.push((param.name.name.clone(), value));
        }
        let instance = (def.head != Head::Fn).then(|| Arc::new(Instance::default()));
        Ok(Arc::new(Func {
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
}
