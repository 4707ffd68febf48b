//! What a name stands for: a local, a definition, a builtin, a module; and what stands behind a dot.

use std::sync::Arc;

use nn_grammar::ast;

use crate::base::{Name, Span};
use crate::tensor::DType;

use super::builtin::Builtin;
use super::core::*;
use super::errors;
use super::program::Named;
use super::state::{Checker, Checking, Frame, Reported, SlotKind};
use super::value::{Callable, Func, Instance, Value};

impl Checker<'_> {
    pub fn name(&mut self, name: &ast::Ident) -> Checking<Value> {
        match self.lookup(&name.name) {
            Some(Value::Poison) => Err(Reported),
            Some(Value::State(index)) => {
                Ok(Value::Tensor(self.slot_value(SlotKind::State, index, name.span)))
            }
            Some(value) => Ok(value),
            None => self.file_name(name),
        }
    }

    /// A name that is no local one: a definition, a builtin, a module.
    pub fn file_name(&mut self, name: &ast::Ident) -> Checking<Value> {
        let scope = self.scope();
        if let Some(named) = self.program.resolve(scope, &name.name) {
            return self.named(named, name.span);
        }
        if let Some(builtin) = Builtin::parse(&name.name) {
            return Ok(Value::Func(Arc::new(Func {
                callable: Callable::Builtin(builtin),
                statics: None,
                captured: None,
                instance: None,
                span: name.span,
            })));
        }
        if name.name == "training" {
            self.core.asks_mode = true;
            return Ok(Value::Training(self.mode.training));
        }
        let program = self.program;
        let locals = self.frame.locals.iter().map(|(local, _)| local.clone());
        let known: Vec<Name> = locals
            .chain(program.visible_names(scope).cloned())
            .chain(Builtin::names().map(Name::new))
            .collect();
        let nearest = errors::nearest(&name.name, known.iter().map(Name::as_str));
        self.fail(errors::unknown_name(name, nearest))
    }

    pub fn named(&mut self, named: Named, span: Span) -> Checking<Value> {
        match named {
            Named::Def(def, scope) => {
                // A layer that is mentioned is a fresh instance, made when its static arguments are there.
                let bare = def.head != ast::Head::Fn && def.statics.is_empty();
                Ok(Value::Func(Arc::new(Func {
                    statics: bare.then(Vec::new),
                    instance: bare.then(|| Arc::new(Instance::default())),
                    callable: Callable::Def(def, scope),
                    captured: None,
                    span,
                })))
            }
            Named::Module(scope) => Ok(Value::Module(scope)),
            Named::Broken => Err(Reported),
            Named::Let(binding, scope) => {
                let frame = Frame { scope: Some(scope), ..Default::default() };
                self.in_call(span, Name::new("let"), frame, |cx| cx.eval(&binding.value))
            }
        }
    }

    pub fn field(&mut self, base: &ast::Expr, name: &ast::Ident) -> Checking<Value> {
        // A module's name may also be a local's: the local wins, as everywhere.
        if let Some(module) = base.as_name()
            && self.lookup(&module.name).is_none()
            && let Some(value) = Builtin::member(&module.name, &name.name)
        {
            return Ok(Value::Func(Arc::new(Func {
                callable: Callable::Builtin(value),
                statics: None,
                captured: None,
                instance: None,
                span: name.span,
            })));
        }
        match self.eval(base)? {
            Value::Tuple(fields) => {
                let labels = fields.iter().filter_map(|field| field.label.clone()).collect::<Vec<_>>();
                match fields.iter().find(|field| field.label.as_ref() == Some(&name.name)) {
                    Some(field) => Ok(field.value.clone()),
                    None => {
                        let known = self.files.left.iter().find(|array| {
                            base.as_name().is_some_and(|base| base.name == array.binding)
                                && array.field == name.name
                        });
                        let error = match known {
                            Some(array) => errors::array_is_no_field(name, &array.shape, array.samples),
                            None => errors::unknown_field(name, &labels),
                        };
                        self.fail(error)
                    }
                }
            }
            Value::Module(scope) => match self.program.member(scope, &name.name) {
                Some(named) => self.named(named, name.span),
                None => {
                    let names = self.program.visible_names(scope).cloned().collect::<Vec<_>>();
                    self.fail(errors::unknown_field(name, &names))
                }
            },
            Value::Training(_) => {
                let form = match &*name.name {
                    "step" => Form::Step,
                    "steps" => Form::Steps,
                    _ => return self.fail(errors::unknown_field(name, &["step".into(), "steps".into()])),
                };
                if !self.mode.training {
                    return self.fail(errors::only_in_training(name.span, &name.name));
                }
                let count = self.emit(form, Elem::Of(DType::I64), Vec::new(), name.span);
                let dtype = self.float();
                Ok(Value::Tensor(self.cast(count, dtype, name.span)))
            }
            Value::Func(func) => self.parameter_of(&func, name),
            other => {
                let what = other.describe();
                let named = self.program.resolve(self.scope(), &name.name);
                let function = Builtin::parse(&name.name).is_some() || matches!(named, Some(Named::Def(..)));
                self.fail(errors::no_fields(base.span, what, name, function))
            }
        }
    }

    /// `emb.w`: a parameter of an instance that was applied before.
    fn parameter_of(&mut self, func: &Arc<Func>, name: &ast::Ident) -> Checking<Value> {
        let path = func.instance.as_ref().and_then(|instance| instance.path.get().cloned());
        // The only model of a train block has an empty path.
        let path =
            path.map(|path| if path.is_empty() { name.to_string() } else { format!("{path}.{}", name.name) });
        match path.and_then(|path| self.slots.get(path.as_str()).copied()) {
            Some((kind, index)) => Ok(Value::Tensor(self.slot_value(kind, index, name.span))),
            None => self.fail(errors::unknown_parameter(name, &func.name())),
        }
    }
}
