//! Expressions: what each form of the syntax means.

use std::sync::Arc;

use nn_grammar::ast::{self, ExprKind};

use crate::axes::{Dim, DimError};
use crate::base::Span;

use super::errors;
use super::state::{Checker, Checking, Reported};
use super::value::{Callable, Field, Func, Num, Value};

/// What no dim reaches: 2⁶³.
const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;

impl Checker<'_> {
    pub fn eval(&mut self, expr: &ast::Expr) -> Checking<Value> {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Name(name) => self.name(name),
            ExprKind::Int(value) => match i64::try_from(*value) {
                Ok(value) => Ok(Value::Num(Num::constant(value))),
                Err(_) => self.fail(errors::number_too_large(span)),
            },
            ExprKind::Float(value) => Ok(Value::Num(Num::real(*value))),
            ExprKind::Bool(value) => Ok(Value::Bool(*value)),
            ExprKind::Str(text) => Ok(Value::Str(text.clone())),
            ExprKind::Tuple(args) => self.tuple(args),
            ExprKind::List(items) => {
                let items: Vec<_> = items.iter().map(|item| self.eval(item)).collect();
                let items: Vec<_> = items.into_iter().collect::<Checking<_>>()?;
                Ok(Value::List(items.into()))
            }
            ExprKind::Pack(name) => match self.lookup(&name.name) {
                Some(value @ Value::Pack(_)) => Ok(value),
                _ => self.fail(errors::unknown_pack(name.span, &name.name)),
            },
            ExprKind::Unary { op, operand } => {
                let value = self.eval(operand)?;
                self.unary(*op, value, span)
            }
            ExprKind::Binary { op, left, right } => {
                let (a, b) = (self.eval(left), self.eval(right));
                let (a, b) = (a?, b?);
                self.binary(*op, (a, left.span), (b, right.span), span)
            }
            ExprKind::Compare { op, left, right } => self.compare(*op, left, right, span),
            ExprKind::Logic { op, left, right } => self.logic(*op, left, right, span),
            ExprKind::Pipe { value, stage } => {
                let first = self.eval(value)?;
                let first = Some((first, value.span));
                // What is wrong with a stage, or what it breaks, stands there, not where the pipe begins.
                match &stage.kind {
                    ExprKind::Call { callee, args } => self.call(callee, args, first, stage.span),
                    _ => self.call(stage, &[], first, stage.span),
                }
            }
            ExprKind::Call { callee, args } => self.call(callee, args, None, span),
            ExprKind::Index { base, at } => self.index(base, at, span),
            ExprKind::Field { base, name } => self.field(base, name),
            ExprKind::Cast { value, ty } => self.convert(value, ty, span),
            ExprKind::Binder(binder) => self.binder(binder, span),
            ExprKind::Lambda(lambda) => self.lambda(lambda, span),
            ExprKind::Block(block) => self.block(block),
            ExprKind::If(branch) => self.branch(branch, span),
            ExprKind::Scan(scan) => self.scan(scan, span),
            ExprKind::Checkpoint(block) => self.checkpoint(block, span),
            ExprKind::Assume { property, axes, body } => self.assume(property, axes, body, span),
            ExprKind::Error => Err(Reported),
        }
    }

    /// A function as a value. With types it is a local `fn`: they are checked, and further axes mapped over.
    /// Without, it takes its arguments as they are.
    fn lambda(&mut self, lambda: &ast::Lambda, span: Span) -> Checking<Value> {
        let typed = |param: &ast::LambdaParam| {
            let ty = param.ty.clone()?;
            Some(ast::Param { name: param.name.clone(), ty, default: None, span: param.span })
        };
        let tensors: Vec<ast::Param> = lambda.params.iter().filter_map(typed).collect();
        let callable = if tensors.is_empty() {
            Callable::Lambda(Arc::new(lambda.clone()), self.scope())
        } else if tensors.len() == lambda.params.len() {
            let def = ast::Def {
                head: ast::Head::Fn,
                head_span: span,
                name: ast::Ident { name: "fn".into(), span },
                statics: Vec::new(),
                tensors,
                result: None,
                constraint: None,
                body: lambda.body.clone(),
                grad: None,
                doc: None,
                span,
            };
            Callable::Def(Arc::new(def), self.scope())
        } else {
            let untyped = lambda.params.iter().find(|param| param.ty.is_none());
            return self.fail(errors::parameter_without_type(untyped.map_or(span, |param| param.span)));
        };
        let captured = Some(Arc::new(self.frame.locals.clone()));
        Ok(Value::Func(Arc::new(Func { callable, statics: None, captured, instance: None, span })))
    }

    fn tuple(&mut self, args: &[ast::Arg]) -> Checking<Value> {
        let mut fields = Vec::new();
        for arg in args {
            let value = self.eval(&arg.value)?;
            fields.push(Field { label: arg.label.as_ref().map(|label| label.name.clone()), value });
        }
        match fields.as_slice() {
            // Parentheses around one value are no tuple.
            [Field { label: None, value }] => Ok(value.clone()),
            _ => Ok(Value::Tuple(fields.into())),
        }
    }

    /// A value stands where a dim is wanted. A whole number may be a float only because it does not fit: `2 ** 64`.
    pub fn no_dim<T>(&mut self, value: &Value, span: Span) -> Checking<T> {
        let number = if let Value::Num(num) = value { num.known() } else { None };
        match number.filter(|number| number.fract() == 0.0 && number.abs() >= TOO_LARGE) {
            Some(_) => self.fail(errors::dim_arithmetic(span, &DimError::Overflow)),
            None => self.fail(errors::not_a_dim(span, value.describe())),
        }
    }

    /// A dim from an expression in a type.
    pub fn dim_expr(&mut self, expr: &ast::Expr) -> Checking<Dim> {
        self.dim_num(expr).map(|(_, dim)| dim)
    }

    /// The same, with the number that it is: it knows the axis that it is made of.
    pub fn dim_num(&mut self, expr: &ast::Expr) -> Checking<(Num, Dim)> {
        match self.eval(expr)? {
            Value::Num(ref num @ Num { dim: Some(ref dim), .. }) => Ok((num.clone(), dim.clone())),
            other => self.no_dim(&other, expr.span),
        }
    }
}
