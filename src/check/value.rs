//! What an expression evaluates to while checking: a static value, or a value of the core.

use std::sync::{Arc, OnceLock};

use nn_grammar::ast;

use crate::axes::Dim;
use crate::base::{Name, Span};

use super::builtin::Builtin;
use super::core::{AxisVar, Point, Val};
use super::kind::Kind;
use super::program::Scope;

/// A value of the checker. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Value {
    /// A number that is known, or that follows from dims, when the program is compiled.
    Num(Num),
    Bool(bool),
    Str(Name),
    List(Arc<[Value]>),
    Tuple(Arc<[Field]>),
    Tensor(Val),
    /// The name of a state: its present value, wherever it is read.
    State(usize),
    /// Arithmetic on binders.
    Index(Point),
    /// The axes that `..S` stands for.
    Pack(Arc<[AxisVar]>),
    Func(Arc<Func>),
    /// A module of the library or of another file.
    Module(Scope),
    /// What a name is bound to after an error: using it is no second error.
    Poison,
    /// `training`: true in a training compilation; its fields are `step` and `steps`.
    Training(bool),
}

/// An entry of a tuple.
#[derive(Clone, Debug)]
pub struct Field {
    pub label: Option<Name>,
    pub value: Value,
}

/// A static number. Dims divide with a remainder where a dim is wanted (`linear(H / 2)`), exactly where a number is
/// (`1 / 2 * x`): so both readings are kept until its use decides.
#[derive(Clone, Debug)]
pub struct Num {
    /// The reading as an integer, where there is one.
    pub dim: Option<Dim>,
    pub real: Real,
    /// The name of an axis (`N` in `f32[N, D]`) also names the axis.
    pub axis: Option<AxisVar>,
    /// Arithmetic on the name of one axis: `H / 2` is made of H.
    pub made_of: Option<AxisVar>,
    /// The kind that the signature in scope declares for the name.
    pub declared: Option<Kind>,
}

/// The reading of a static number as a real.
#[derive(Clone, Debug)]
pub enum Real {
    Known(f64),
    /// The dim's own value.
    Dim(Dim),
    /// Arithmetic on dims that are not known yet: a scalar of the core, in f64 until its use gives it a dtype.
    Val(Val),
}

/// Something that can be applied.
#[derive(Debug)]
pub struct Func {
    pub callable: Callable,
    /// The values of the static parameters, once they are given.
    pub statics: Option<Vec<(Name, Value)>>,
    /// The local names where a local function or a lambda was written.
    pub captured: Option<Arc<Vec<(Name, Value)>>>,
    /// A layer's name and the place of its parameters, once it has one.
    pub instance: Option<Arc<Instance>>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum Callable {
    Def(Arc<ast::Def>, Scope),
    Lambda(Arc<ast::Lambda>, Scope),
    Builtin(Builtin),
    /// `stack(count, block)`
    Stack {
        count: Dim,
        block: Arc<Func>,
    },
    /// `iterate(count, step)`
    Iterate {
        count: Dim,
        step: Arc<Func>,
    },
    /// `grad(f)`
    Grad(Arc<Func>),
    /// `vjp(f)`
    Vjp(Arc<Func>),
    /// `jvp(f)`
    Jvp(Arc<Func>),
}

/// One instance of a layer: applying it twice uses the same parameters.
#[derive(Debug, Default)]
pub struct Instance {
    /// The path of its parameters, given by the first binding or application.
    pub path: OnceLock<Name>,
}

impl Num {
    pub fn new(dim: Option<Dim>, real: Real) -> Num {
        Num { dim, real, axis: None, made_of: None, declared: None }
    }

    pub fn constant(value: i64) -> Num {
        Num::new(Some(Dim::constant(value)), Real::Known(value as f64))
    }

    pub fn real(value: f64) -> Num {
        Num::new(None, Real::Known(value))
    }

    pub fn dim(dim: Dim) -> Num {
        let real = match dim.as_const() {
            Some(value) => Real::Known(value as f64),
            None => Real::Dim(dim.clone()),
        };
        Num::new(Some(dim), real)
    }

    /// The name of an axis of this size.
    pub fn of_axis(axis: AxisVar, size: Dim) -> Num {
        Num { axis: Some(axis), ..Num::dim(size) }
    }

    /// The axis that it names or is made of.
    pub fn origin(&self) -> Option<AxisVar> {
        self.axis.or(self.made_of)
    }

    pub fn known(&self) -> Option<f64> {
        match self.real {
            Real::Known(value) => Some(value),
            _ => None,
        }
    }
}

impl Value {
    pub fn unit() -> Value {
        Value::Tuple(Arc::from([]))
    }

    pub fn tuple(values: impl IntoIterator<Item = Value>) -> Value {
        Value::Tuple(values.into_iter().map(|value| Field { label: None, value }).collect())
    }

    /// The tensors that it holds, in order.
    pub fn tensors(&self, found: &mut Vec<Val>) {
        match self {
            Value::Tensor(val) => found.push(*val),
            Value::Tuple(fields) => fields.iter().for_each(|field| field.value.tensors(found)),
            _ => {}
        }
    }

    /// What a message calls it.
    pub fn describe(&self) -> &'static str {
        match self {
            Value::Num(_) => "a number",
            Value::Bool(_) | Value::Training(_) => "a truth value",
            Value::Str(_) => "a string",
            Value::List(_) => "a list",
            Value::Tuple(_) => "a tuple",
            Value::Tensor(_) => "a tensor",
            Value::State(_) => "a state",
            Value::Index(_) => "an index",
            Value::Pack(_) => "a pack of axes",
            Value::Func(func) => match &func.callable {
                Callable::Def(def, _) => match def.head {
                    ast::Head::Fn => "a function",
                    ast::Head::Layer => "a layer",
                    ast::Head::Model => "a model",
                    ast::Head::Optimizer => "an optimizer",
                },
                Callable::Stack { .. } => "a layer",
                _ => "a function",
            },
            Value::Module(_) => "a module",
            Value::Poison => "a value with an error",
        }
    }
}

impl Func {
    pub fn name(&self) -> Name {
        match &self.callable {
            Callable::Def(def, _) => def.name.name.clone(),
            Callable::Lambda(..) => Name::new("fn"),
            Callable::Builtin(builtin) => Name::new(builtin.name()),
            Callable::Stack { .. } => Name::new("stack"),
            Callable::Iterate { .. } => Name::new("iterate"),
            Callable::Grad(_) => Name::new("grad"),
            Callable::Vjp(_) => Name::new("vjp"),
            Callable::Jvp(_) => Name::new("jvp"),
        }
    }

    /// Owns parameters, so that it is an instance with a path.
    pub fn is_layer(&self) -> bool {
        match &self.callable {
            Callable::Def(def, _) => def.head != ast::Head::Fn,
            Callable::Stack { .. } => true,
            _ => false,
        }
    }
}

/// A value and the place in the source that gave it.
pub type Placed = (Value, Span);
