//! One definition on its own: its signature's names become roots, its parameters inputs.

use std::sync::{Arc, OnceLock};

use nn_grammar::ast::{self, AxisKind, Head, TypeKind};

use crate::axes::Dim;
use crate::base::{Name, Span};

use super::call::is_of_sizes;
use super::core::*;
use super::errors;
use super::kind::Kind;
use super::program::Scope;
use super::state::{Checker, Checking, Frame, Owner};
use super::value::{Callable, Field, Func, Instance, Num, Real, Value};

/// How a definition can be checked by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alone {
    Yes,
    /// It has a static parameter (a list, a function) without a value: it is checked where it is used.
    WhenUsed,
}

/// Whether every static parameter has a default or can stay symbolic.
pub fn can_be_checked_alone(def: &ast::Def, given: &[(Name, Value)]) -> Alone {
    let symbolic = |param: &ast::Param| {
        param.default.is_some()
            || given.iter().any(|(name, _)| *name == param.name.name)
            || matches!(&param.ty.kind, TypeKind::Named { name, axes } if axes.is_empty()
                && matches!(&*name.name, "dim" | "bool" | "f32" | "f64" | "float"))
    };
    let tensors = def.tensors.iter().all(|param| is_tensor_like(&param.ty));
    // `fn zeros() -> float[..S]`: its use says which axes these are.
    let known = def.result.as_ref().is_none_or(|result| {
        packs(result).all(|pack| def.tensors.iter().any(|param| packs(&param.ty).any(|other| other == pack)))
    });
    if def.statics.iter().all(symbolic) && tensors && known && !is_of_sizes(def) {
        Alone::Yes
    } else {
        Alone::WhenUsed
    }
}

/// Most truth values without a default of which all choices are checked.
const CHOICES: usize = 4;

/// The choices of truth values for the static parameters that have none, behind what is given: a definition keeps what it promises for each.
/// The first is that in which all are true.
pub fn choices(def: &ast::Def, given: &[(Name, Value)]) -> Vec<Vec<(Name, Value)>> {
    let open = def.statics.iter().filter(|param| {
        let bool = matches!(&param.ty.kind, TypeKind::Named { name, axes } if axes.is_empty() && name.name == "bool");
        bool && param.default.is_none() && !given.iter().any(|(name, _)| *name == param.name.name)
    });
    let open: Vec<&Name> = open.map(|param| &param.name.name).take(CHOICES).collect();
    (0..1usize << open.len())
        .map(|choice| {
            let chosen = open.iter().enumerate();
            let chosen = chosen.map(|(bit, name)| ((*name).clone(), Value::Bool(choice >> bit & 1 == 0)));
            given.iter().cloned().chain(chosen).collect()
        })
        .collect()
}

/// What stands for the functions, layers and lists that a definition is given where it is used: the function that gives back its argument,
/// a few small widths. What the definition promises of its axes must hold for these, too.
pub fn stand_ins(def: &ast::Def, scope: Scope, given: &[(Name, Value)]) -> Option<Vec<(Name, Value)>> {
    let missing = def
        .statics
        .iter()
        .filter(|param| param.default.is_none() && !given.iter().any(|(name, _)| *name == param.name.name));
    let mut all = given.to_vec();
    for param in missing {
        let value = match &param.ty.kind {
            TypeKind::Named { .. } => continue,
            TypeKind::Layer => same(1, scope, param.span),
            TypeKind::Fn { params, .. } => same(params.len(), scope, param.span),
            TypeKind::List(of) => {
                let one = match &of.kind {
                    TypeKind::Named { name, axes } if axes.is_empty() && name.name == "dim" => {
                        Value::Num(Num::constant(4))
                    }
                    TypeKind::Layer => same(1, scope, param.span),
                    _ => return None,
                };
                Value::List([one.clone(), one].into())
            }
            _ => return None,
        };
        all.push((param.name.name.clone(), value));
    }
    Some(all)
}

/// The function of so many arguments that gives back the first.
fn same(count: usize, scope: Scope, span: Span) -> Value {
    let ident = |index: usize| ast::Ident { name: format!("x{index}").into(), span };
    let params = (0..count).map(|index| ast::LambdaParam { name: ident(index), ty: None, span }).collect();
    let body = ast::Expr { kind: ast::ExprKind::Name(ident(0)), span };
    let callable = Callable::Lambda(Arc::new(ast::Lambda { params, body }), scope);
    Value::Func(Arc::new(Func { callable, statics: None, captured: None, instance: None, span }))
}

/// The packs that a type names.
fn packs(ty: &ast::Type) -> impl Iterator<Item = &Name> {
    let axes: &[ast::Axis] = match &ty.kind {
        TypeKind::Named { axes, .. } | TypeKind::Index { axes, .. } => axes,
        _ => &[],
    };
    axes.iter().filter_map(|axis| match &axis.kind {
        AxisKind::Pack(pack) => Some(&pack.name),
        _ => None,
    })
}

fn is_tensor_like(ty: &ast::Type) -> bool {
    match &ty.kind {
        TypeKind::Named { .. } | TypeKind::Index { .. } => true,
        TypeKind::Tuple(fields) => fields.iter().all(|field| is_tensor_like(&field.ty)),
        _ => false,
    }
}

impl Checker<'_> {
    /// Walks a definition; its results become the core's outputs.
    pub fn item(&mut self, def: &Arc<ast::Def>, scope: Scope, given: &[(Name, Value)]) -> Checking<()> {
        self.frame = Frame { scope: Some(scope), ..Frame::default() };
        if def.head == Head::Fn {
            self.head = Some(def.head_span);
        } else {
            self.frame.owner = Some(Owner::default());
        }
        let mut open = Vec::new();
        for param in &def.statics {
            let value = match given.iter().find(|(name, _)| *name == param.name.name) {
                Some((_, value)) => self.static_value(param, value.clone(), param.span)?,
                None => match &param.default {
                    Some(default) => {
                        let value = self.eval(default)?;
                        self.static_value(param, value, param.span)?
                    }
                    None => self.symbolic(param, &mut open)?,
                },
            };
            self.bind(param.name.name.clone(), value);
        }
        self.open |= !open.is_empty();
        self.introduce_roots(&def.tensors)?;
        for param in &def.tensors {
            let value = self.input_of(&param.ty, &param.name.name, param.span, &|_| Vec::new())?;
            if def.head == Head::Optimizer
                && def.tensors.get(1).is_some_and(|gradient| gradient.name.name == param.name.name)
                && let Value::Tensor(val) = value
            {
                self.all_gradients.push(val);
            }
            self.bind(param.name.name.clone(), value);
        }
        for (name, span) in open {
            let elem = Elem::Of(self.float());
            let val = self.input(name.clone(), elem, Vec::new(), span);
            self.bind(name, Value::Num(Num::new(None, Real::Val(val))));
        }
        let value = self.body_of(def)?;
        self.core.facts = self.facts.clone();
        self.output(&def.name.name, value, def.body.span)
    }

    /// The same for a definition that is mapped over further axes, which stand in front of those of every input of which
    /// `is_mapped` is true. Its parameters have the names that they have in the definition itself.
    pub fn mapped(
        &mut self,
        def: &Arc<ast::Def>,
        scope: Scope,
        given: &[(Name, Value)],
        over: &[Name],
        is_mapped: &dyn Fn(&str) -> bool,
    ) -> Checking<()> {
        self.frame = Frame { scope: Some(scope), owner: Some(Owner::default()), ..Frame::default() };
        let (span, name) = (def.name.span, def.name.name.clone());
        let mut statics = Vec::new();
        for param in &def.statics {
            let value = match (given.iter().find(|(name, _)| *name == param.name.name), &param.default) {
                (Some((_, value)), _) => value.clone(),
                (None, Some(default)) => self.eval(default)?,
                (None, None) => return self.fail(errors::missing_static(param.span, &name, param)),
            };
            let value = self.static_value(param, value, param.span)?;
            statics.push((param.name.name.clone(), value.clone()));
            self.bind(param.name.name.clone(), value);
        }
        self.introduce_roots(&def.tensors)?;
        let kind = Some((Kind::Batch, span));
        let front: Vec<AxisVar> =
            over.iter().map(|name| self.introduce_axis_root(name.clone(), kind, span)).collect();
        let front_of = |name: &str| if is_mapped(name) { front.clone() } else { Vec::new() };
        let mut args = Vec::new();
        for param in &def.tensors {
            args.push((self.input_of(&param.ty, &param.name.name, param.span, &front_of)?, param.span));
        }
        // The model itself: its parameters have no prefix.
        let instance = Instance { path: OnceLock::from(Name::new("")) };
        let func = Func {
            callable: Callable::Def(def.clone(), scope),
            statics: Some(statics),
            captured: None,
            instance: Some(Arc::new(instance)),
            span,
        };
        let value = self.apply(&Arc::new(func), args, span)?;
        self.output(&name, value, def.body.span)
    }

    /// Walks a test block; its assertions are the core's. Layers in it own parameters, as in a model.
    pub fn test(&mut self, test: &ast::Test, scope: Scope) -> Checking<()> {
        self.frame = Frame { scope: Some(scope), owner: Some(Owner::default()), ..Frame::default() };
        self.block(&test.body).map(|_| ())
    }

    /// A static parameter without a value: a dim stays a variable, a number becomes an input.
    fn symbolic(&mut self, param: &ast::Param, open: &mut Vec<(Name, Span)>) -> Checking<Value> {
        let TypeKind::Named { name, .. } = &param.ty.kind else { return Ok(Value::Poison) };
        Ok(match &*name.name {
            "dim" => {
                self.open = true;
                Value::Num(Num::dim(Dim::var(param.name.name.as_str())))
            }
            // Both values are checked by the caller; alone it stands for what the plain use has.
            "bool" => Value::Bool(true),
            _ => {
                open.push((param.name.name.clone(), param.span));
                Value::Poison
            }
        })
    }

    /// The inputs for a parameter: a tensor, or a tuple of them, each with further axes in front.
    fn input_of(
        &mut self,
        ty: &ast::Type,
        name: &Name,
        span: Span,
        front: &dyn Fn(&str) -> Vec<AxisVar>,
    ) -> Checking<Value> {
        if let TypeKind::Tuple(fields) = &ty.kind {
            let mut values = Vec::new();
            for (index, field) in fields.iter().enumerate() {
                let label = field.label.as_ref().map(|label| label.name.clone());
                let part = label.clone().unwrap_or_else(|| Name::new(index.to_string()));
                let value = self.input_of(&field.ty, &Name::new(format!("{name}.{part}")), span, front)?;
                values.push(Field { label, value });
            }
            return Ok(Value::Tuple(values.into()));
        }
        let (elem, own) = self.read_type(ty)?;
        let mut axes = front(name);
        axes.extend(own);
        Ok(Value::Tensor(self.input(name.clone(), elem, axes, span)))
    }

    pub fn input(&mut self, name: Name, elem: Elem, axes: Vec<AxisVar>, span: Span) -> Val {
        let bound = match &elem {
            Elem::Idx(size, _) => Some(size.clone()),
            Elem::Of(_) => None,
        };
        self.core.inputs.push(InputInfo { name, elem: elem.clone(), axes: axes.clone(), span, bound });
        self.emit(Form::Input(self.core.inputs.len() - 1), elem, axes, span)
    }

    /// Makes a value's tensors outputs of the core, named by their labels.
    pub fn output(&mut self, name: &str, value: Value, span: Span) -> Checking<()> {
        match value {
            Value::Tuple(fields) => {
                for (index, field) in fields.iter().enumerate() {
                    let part = match &field.label {
                        Some(label) => label.to_string(),
                        None => format!("{name}.{index}"),
                    };
                    self.output(&part, field.value.clone(), span)?;
                }
                Ok(())
            }
            value => {
                let val = self.to_tensor(value, span)?;
                self.core.outputs.push(OutputInfo { name: Name::new(name), val });
                Ok(())
            }
        }
    }
}
