//! Expressions: what each form of the syntax means.

use std::rc::Rc;

use nn_grammar::ast::{self, BinaryOp, CmpOp, ExprKind, LogicOp, UnaryOp};

use crate::axes::Dim;
use crate::base::{Name, Span};
use crate::graph::Literal;
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::builtin::Builtin;
use super::core::*;
use super::errors;
use super::program::Named;
use super::state::{Checker, Checking, Reported, SlotKind};
use super::types::dtype_of;
use super::value::{Callable, Field, Func, Instance, Num, Placed, Real, Value};

/// A list of floats or tensors, or of lists of them: it is meant as a tensor.
fn holds_numbers(items: &[Value]) -> bool {
    items.iter().any(|item| match item {
        Value::Num(num) => num.dim.is_none(),
        Value::Tensor(_) => true,
        Value::List(items) => holds_numbers(items),
        _ => false,
    })
}

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
                let items: Vec<_> = items.iter().map(|item| self.eval(item)).collect::<Checking<_>>()?;
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
                let left = self.eval(left)?;
                let right = self.eval(right)?;
                self.binary(*op, left, right, span)
            }
            ExprKind::Compare { op, left, right } => self.compare(*op, left, right, span),
            ExprKind::Logic { op, left, right } => self.logic(*op, left, right, span),
            ExprKind::Pipe { value, stage } => {
                let first = self.eval(value)?;
                let first = Some((first, value.span));
                match &stage.kind {
                    ExprKind::Call { callee, args } => self.call(callee, args, first, span),
                    _ => self.call(stage, &[], first, span),
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
            Callable::Lambda(Rc::new(lambda.clone()), self.scope())
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
            Callable::Def(Rc::new(def), self.scope())
        } else {
            let untyped = lambda.params.iter().find(|param| param.ty.is_none());
            return self.fail(errors::parameter_without_type(untyped.map_or(span, |param| param.span)));
        };
        let captured = Some(Rc::new(self.frame.locals.clone()));
        Ok(Value::Func(Rc::new(Func { callable, statics: None, captured, instance: None, span })))
    }

    // ---- names -------------------------------------------------------------------------------

    fn name(&mut self, name: &ast::Ident) -> Checking<Value> {
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
            return Ok(Value::Func(Rc::new(Func {
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

    fn named(&mut self, named: Named, span: Span) -> Checking<Value> {
        match named {
            Named::Def(def, scope) => {
                // A layer that is mentioned is a fresh instance, made when its static arguments are there.
                let bare = def.head != ast::Head::Fn && def.statics.is_empty();
                Ok(Value::Func(Rc::new(Func {
                    statics: bare.then(Vec::new),
                    instance: bare.then(|| Rc::new(Instance::default())),
                    callable: Callable::Def(def, scope),
                    captured: None,
                    span,
                })))
            }
            Named::Module(scope) => Ok(Value::Module(scope)),
            Named::Broken => Err(Reported),
            Named::Let(binding, scope) => {
                let frame = super::state::Frame { scope: Some(scope), ..Default::default() };
                self.in_call(span, Name::new("let"), frame, |cx| cx.eval(&binding.value))
            }
        }
    }

    fn field(&mut self, base: &ast::Expr, name: &ast::Ident) -> Checking<Value> {
        // A module's name may also be a local's: the local wins, as everywhere.
        if let Some(module) = base.as_name()
            && self.lookup(&module.name).is_none()
            && let Some(value) = Builtin::member(&module.name, &name.name)
        {
            return Ok(Value::Func(Rc::new(Func {
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
                    None => self.fail(errors::unknown_field(name, &labels)),
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
                self.fail(errors::no_fields(base.span, what, name))
            }
        }
    }

    /// `emb.w`: a parameter of an instance that was applied before.
    fn parameter_of(&mut self, func: &Rc<Func>, name: &ast::Ident) -> Checking<Value> {
        let path = func.instance.as_ref().and_then(|instance| instance.path.borrow().clone());
        // The only model of a train block has an empty path.
        let path =
            path.map(|path| if path.is_empty() { name.to_string() } else { format!("{path}.{}", name.name) });
        match path.and_then(|path| self.slots.get(path.as_str()).copied()) {
            Some((kind, index)) => Ok(Value::Tensor(self.slot_value(kind, index, name.span))),
            None => self.fail(errors::unknown_parameter(name, &func.name())),
        }
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

    // ---- arithmetic --------------------------------------------------------------------------

    fn unary(&mut self, op: UnaryOp, value: Value, span: Span) -> Checking<Value> {
        match (op, value) {
            (UnaryOp::Neg, Value::Num(num)) => {
                self.static_binary(BinaryOp::Sub, &Num::constant(0), &num, span)
            }
            (UnaryOp::Neg, Value::Index(point)) => {
                self.scale_point(&point, &Dim::constant(-1), span).map(Value::Index)
            }
            (UnaryOp::Neg, value) => self.elementwise(ScalarFn::Neg, vec![(value, span)], span),
            (UnaryOp::Not, Value::Bool(value) | Value::Training(value)) => Ok(Value::Bool(!value)),
            (UnaryOp::Not, value) => self.elementwise(ScalarFn::Not, vec![(value, span)], span),
        }
    }

    pub fn binary(&mut self, op: BinaryOp, left: Value, right: Value, span: Span) -> Checking<Value> {
        if op == BinaryOp::MatMul {
            return self.matmul(left, right, span);
        }
        match (&left, &right) {
            (Value::Num(left), Value::Num(right)) => return self.static_binary(op, left, right, span),
            // Lists of dims, functions or tuples are joined; `[1.0, 2.0] + [3.0, 4.0]` adds two vectors.
            (Value::List(left), Value::List(right))
                if op == BinaryOp::Add && !holds_numbers(left) && !holds_numbers(right) =>
            {
                return Ok(Value::List(left.iter().chain(right.iter()).cloned().collect()));
            }
            (Value::Index(_) | Value::Num(_), Value::Index(_) | Value::Num(_)) => {
                if let Some(point) = self.point_binary(op, &left, &right, span)? {
                    return Ok(Value::Index(point));
                }
            }
            _ => {}
        }
        let function = match op {
            BinaryOp::Add => ScalarFn::Add,
            BinaryOp::Sub => ScalarFn::Sub,
            BinaryOp::Mul => ScalarFn::Mul,
            BinaryOp::Div => ScalarFn::Div,
            BinaryOp::Rem => ScalarFn::Rem,
            BinaryOp::Pow => ScalarFn::Pow,
            BinaryOp::MatMul => unreachable!("handled above"),
        };
        self.elementwise(function, vec![(left, span), (right, span)], span)
    }

    fn static_binary(&mut self, op: BinaryOp, left: &Num, right: &Num, span: Span) -> Checking<Value> {
        let dim = match (&left.dim, &right.dim) {
            (Some(left), Some(right)) => match op {
                BinaryOp::Add => left.add(right).ok(),
                BinaryOp::Sub => left.sub(right).ok(),
                BinaryOp::Mul => left.mul(right).ok(),
                BinaryOp::Div => left.div(right).ok(),
                BinaryOp::Rem => left.rem(right).ok(),
                BinaryOp::Pow => {
                    let exponent = self.decide(right).and_then(|exponent| u32::try_from(exponent).ok());
                    exponent.and_then(|exponent| left.pow(exponent).ok())
                }
                BinaryOp::MatMul => None,
            },
            _ => None,
        };
        let dim = dim.map(|dim| self.facts.normalise(&dim).unwrap_or(dim));
        // Where dims divide without remainder, both readings agree.
        let real = match (left.known(), right.known(), &dim) {
            (Some(left), Some(right), _) => Real::Known(match op {
                BinaryOp::Add => left + right,
                BinaryOp::Sub => left - right,
                BinaryOp::Mul => left * right,
                BinaryOp::Div => left / right,
                BinaryOp::Rem => left - right * (left / right).floor(),
                BinaryOp::Pow => left.powf(right),
                BinaryOp::MatMul => f64::NAN,
            }),
            (_, _, Some(dim)) if op != BinaryOp::Div && op != BinaryOp::Pow => match dim.as_const() {
                Some(value) => Real::Known(value as f64),
                None => Real::Dim(dim.clone()),
            },
            _ => {
                let function = match op {
                    BinaryOp::Add => ScalarFn::Add,
                    BinaryOp::Sub => ScalarFn::Sub,
                    BinaryOp::Mul => ScalarFn::Mul,
                    BinaryOp::Div => ScalarFn::Div,
                    BinaryOp::Rem => ScalarFn::Rem,
                    _ => ScalarFn::Pow,
                };
                let left = self.num_to_val(left, DType::F64, span)?;
                let right = self.num_to_val(right, DType::F64, span)?;
                Real::Val(self.scalar(function, &[left, right], Elem::Of(DType::F64), span))
            }
        };
        let by_zero = matches!(op, BinaryOp::Div | BinaryOp::Rem)
            && right.dim.as_ref().and_then(Dim::as_const) == Some(0);
        if by_zero && left.dim.is_some() {
            return self.fail(errors::division_by_zero(span));
        }
        if left.dim.is_some()
            && right.dim.is_some()
            && dim.is_none()
            && matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul)
        {
            return self.fail(errors::number_too_large(span));
        }
        let made_of = match (left.origin(), right.origin()) {
            (Some(axis), None) | (None, Some(axis)) => Some(axis),
            (Some(left), Some(right)) if self.family(left) == self.family(right) => Some(left),
            _ => None,
        };
        Ok(Value::Num(Num { made_of, ..Num::new(dim, real) }))
    }

    /// A scalar function on values of any kind; static numbers stay static.
    pub fn elementwise(&mut self, function: ScalarFn, args: Vec<Placed>, span: Span) -> Checking<Value> {
        if let [(Value::Num(num), _)] = args.as_slice()
            && let Some(value) = num.known()
            && let Some(result) = known_value(function, value)
        {
            return Ok(Value::Num(Num::real(result)));
        }
        // The dtype of the arguments that have one decides that of the numbers.
        let mut elem = None;
        for (value, _) in &args {
            if let Value::Tensor(val) = value {
                let found = self.elem(*val);
                if elem.is_none() || matches!(elem, Some(Elem::Idx(..))) {
                    elem = Some(found);
                }
            }
        }
        let number = match &elem {
            Some(Elem::Of(dtype)) if *dtype != DType::Bool => *dtype,
            _ => self.float(),
        };
        let mut vals = Vec::new();
        for (value, place) in args {
            let val = match value {
                Value::Num(num) => self.num_to_val(&num, number, place)?,
                Value::Index(point) => self.index_as_number(&point, number, place)?,
                Value::Tensor(val)
                    if matches!(self.elem(val), Elem::Idx(..)) && matches!(elem, Some(Elem::Of(_))) =>
                {
                    let found = self.show_val(val);
                    return self.fail(errors::positions_are_no_numbers(place, &found));
                }
                other => self.to_tensor(other, place)?,
            };
            vals.push((val, place));
        }
        let elem = self.result_elem(function, &vals, span)?;
        let vals = self.align(&vals, span)?;
        Ok(Value::Tensor(self.scalar(function, &vals, elem, span)))
    }

    /// The element type of a scalar function's result; its arguments must agree.
    fn result_elem(&mut self, function: ScalarFn, args: &[(Val, Span)], span: Span) -> Checking<Elem> {
        let first = self.elem(args[0].0);
        for &(val, place) in &args[1..] {
            let other = self.elem(val);
            if other.dtype() != first.dtype() {
                let (left, right) = (self.show_val(args[0].0), self.show_val(val));
                return self.fail(errors::dtypes_differ(args[0].1, &left, place, &right));
            }
        }
        match function {
            ScalarFn::Lt | ScalarFn::Le | ScalarFn::Eq | ScalarFn::Ne => Ok(Elem::Of(DType::Bool)),
            ScalarFn::And | ScalarFn::Or | ScalarFn::Not => {
                if first.dtype() != DType::Bool {
                    let shown = self.show_elem(&first);
                    return self.fail(errors::not_a_condition(span, &shown));
                }
                Ok(Elem::Of(DType::Bool))
            }
            _ => {
                if matches!(first, Elem::Idx(..)) || first.dtype() == DType::Bool {
                    let shown = self.show_elem(&first);
                    return self.fail(errors::not_a_number(span, &shown));
                }
                let transcendental = !matches!(
                    function,
                    ScalarFn::Neg
                        | ScalarFn::Abs
                        | ScalarFn::Sign
                        | ScalarFn::Add
                        | ScalarFn::Sub
                        | ScalarFn::Mul
                        | ScalarFn::Div
                        | ScalarFn::Rem
                        | ScalarFn::Pow
                        | ScalarFn::Max
                        | ScalarFn::Min
                );
                if transcendental && !first.is_float() {
                    let shown = self.show_elem(&first);
                    return self.fail(errors::not_a_float(span, &shown));
                }
                Ok(first)
            }
        }
    }

    /// Values entry by entry: the axes of each must be the last axes of the longest, by name. There is no other broadcasting.
    pub fn align(&mut self, vals: &[(Val, Span)], span: Span) -> Checking<Vec<Val>> {
        let Some(&(longest, longest_span)) = vals.iter().max_by_key(|(val, _)| self.visible(*val).len())
        else {
            return Ok(Vec::new());
        };
        let to = self.visible(longest).to_vec();
        let mut aligned = Vec::new();
        for &(val, place) in vals {
            let from = self.visible(val).to_vec();
            let tail = to[to.len() - from.len()..].to_vec();
            for (&have, &want) in from.iter().zip(&tail) {
                if !self.join_axes(have, want, span) {
                    let (left, right) = (self.show_val(longest), self.show_val(val));
                    let (have, want) = (self.at_axis(have, place), self.at_axis(want, longest_span));
                    return self.fail(errors::shapes_differ(span, have, want, &left, &right));
                }
            }
            if from.len() < to.len() && !from.is_empty() {
                self.refuse_repeated(&to, span)?;
            }
            if from == tail {
                aligned.push(val);
            } else {
                let elem = self.elem(val);
                aligned.push(self.emit(Form::Rename { of: val, to: tail.clone() }, elem, tail, place));
            }
        }
        Ok(aligned)
    }

    /// `f32[N, N] + f32[N]`: which N is meant?
    fn refuse_repeated(&mut self, axes: &[AxisVar], span: Span) -> Checking<()> {
        for index in 1..axes.len() {
            let size = self.size_of(axes[index]);
            let named = size.as_ref().is_some_and(|size| size.as_const().is_none());
            if named && axes[..index].iter().any(|&axis| self.size_of(axis) == size) {
                let axis = self.show_axis(axes[index]);
                return self.fail(errors::mapped_twice(span, &axis));
            }
        }
        Ok(())
    }

    /// A value as a tensor; numbers get the program's float.
    pub fn to_tensor(&mut self, value: Value, span: Span) -> Checking<Val> {
        match value {
            Value::Tensor(val) => Ok(val),
            Value::Num(num) => {
                let dtype = self.float();
                self.num_to_val(&num, dtype, span)
            }
            Value::Bool(value) | Value::Training(value) => {
                Ok(self.constant(Literal::Bool(value), DType::Bool, span))
            }
            Value::Index(point) => Ok(self.index_to_val(&point, span)),
            Value::List(items) => self.list_to_tensor(&items, span),
            other => {
                let what = other.describe();
                self.fail(errors::expected_tensor(span, what))
            }
        }
    }

    /// A value as a tensor of a known element type, as far as numbers adapt to it.
    pub fn to_tensor_of(&mut self, value: Value, elem: &Elem, span: Span) -> Checking<Val> {
        match (value, elem) {
            (Value::Num(num), Elem::Of(dtype)) if *dtype != DType::Bool => {
                self.num_to_val(&num, *dtype, span)
            }
            (value, _) => self.to_tensor(value, span),
        }
    }

    /// `[1.0, 2.0]`: a vector; lists of equal lengths nest.
    fn list_to_tensor(&mut self, items: &[Value], span: Span) -> Checking<Val> {
        if items.is_empty() {
            return self.fail(errors::empty_list(span));
        }
        let mut parts = Vec::new();
        for item in items {
            parts.push((self.to_tensor(item.clone(), span)?, span));
        }
        let rows = self.visible(parts[0].0).to_vec();
        for &(part, _) in &parts[1..] {
            let other = self.visible(part).to_vec();
            let same = rows.len() == other.len()
                && rows.iter().zip(&other).all(|(&left, &right)| self.size_of(left) == self.size_of(right));
            if !same {
                return self.fail(errors::ragged_list(span));
            }
        }
        let parts = self.align(&parts, span)?;
        let rows = self.visible(parts[0]).to_vec();
        let elem = self.elem(parts[0]);
        let length = parts.len() as i64;
        let axis = self.fresh_axis(length.to_string(), Some(Dim::constant(length)), span);
        let mut visible = vec![axis];
        visible.extend(&rows);
        let rows: Vec<Val> = parts
            .into_iter()
            .map(|part| {
                let one = self.fresh_axis("1", Some(Dim::constant(1)), span);
                let mut shape = vec![one];
                shape.extend(self.visible(part));
                let elem = self.elem(part);
                self.emit(Form::Tabulate { axes: vec![one], body: part }, elem, shape, span)
            })
            .collect();
        Ok(self.emit(Form::Concat { parts: rows, position: 0 }, elem, visible, span))
    }

    /// `a @ b`: the last axis of a with the first of b.
    fn matmul(&mut self, left: Value, right: Value, span: Span) -> Checking<Value> {
        let left = self.to_tensor(left, span)?;
        let right = self.to_tensor(right, span)?;
        let (rows, columns) = (self.visible(left).to_vec(), self.visible(right).to_vec());
        let (Some(&inner), Some(&outer)) = (rows.last(), columns.first()) else {
            let (left, right) = (self.show_val(left), self.show_val(right));
            return self.fail(errors::matmul_of_scalars(span, &left, &right));
        };
        if columns.len() > 2 {
            let right = self.show_val(right);
            return self.fail(errors::matmul_rank(span, &right));
        }
        if !self.unify(outer, inner) {
            let (left, right) = (self.show_val(left), self.show_val(right));
            let (have, want) = (self.at_axis(outer, span), self.at_axis(inner, span));
            return self.fail(errors::matmul_axes_differ(span, have, want, &left, &right));
        }
        let (left_elem, right_elem) = (self.elem(left), self.elem(right));
        if left_elem != right_elem || matches!(left_elem, Elem::Idx(..) | Elem::Of(DType::Bool)) {
            let (left, right) = (self.show_val(left), self.show_val(right));
            return self.fail(errors::dtypes_differ(span, &left, span, &right));
        }
        let fresh: Vec<AxisVar> = rows.iter().map(|&axis| self.fresh_like(axis)).collect();
        let k = *fresh.last().expect("rows is not empty");
        let at = fresh.iter().map(|&axis| At::Point(Point::axis(axis))).collect();
        let a = self.emit(
            Form::Read { of: left, at, outside: Outside::Never },
            left_elem.clone(),
            Vec::new(),
            span,
        );
        let n = columns.get(1).map(|&axis| self.fresh_like(axis));
        let mut at = vec![At::Point(Point::axis(k))];
        at.extend(n.map(|n| At::Point(Point::axis(n))));
        let b =
            self.emit(Form::Read { of: right, at, outside: Outside::Never }, right_elem, Vec::new(), span);
        let product = self.scalar(ScalarFn::Mul, &[a, b], left_elem.clone(), span);
        let reduce = Form::Reduce { op: Reducer::Sum, over: vec![k], guard: None, body: product };
        let sum = self.emit(reduce, left_elem.clone(), Vec::new(), span);
        let mut hidden = fresh[..fresh.len() - 1].to_vec();
        let mut shown = rows[..rows.len() - 1].to_vec();
        hidden.extend(n);
        shown.extend(columns.get(1));
        if hidden.is_empty() {
            return Ok(Value::Tensor(sum));
        }
        self.tabulate_value(Value::Tensor(sum), &hidden, &shown, span)
    }

    // ---- conditions --------------------------------------------------------------------------

    fn compare(&mut self, op: CmpOp, left: &ast::Expr, right: &ast::Expr, span: Span) -> Checking<Value> {
        let (a, b) = (self.eval(left)?, self.eval(right)?);
        if op == CmpOp::In {
            return self.inside((a, left.span), (b, right.span), span);
        }
        match (&a, &b) {
            (Value::Num(a), Value::Num(b)) => return self.compare_numbers(op, a, b, span),
            (Value::Bool(a), Value::Bool(b)) if matches!(op, CmpOp::Eq | CmpOp::Ne) => {
                return Ok(Value::Bool((a == b) == (op == CmpOp::Eq)));
            }
            (Value::Str(a), Value::Str(b)) if matches!(op, CmpOp::Eq | CmpOp::Ne) => {
                return Ok(Value::Bool((a == b) == (op == CmpOp::Eq)));
            }
            _ => {}
        }
        if let Some(value) = self.compare_positions(op, &a, &b, span)? {
            return Ok(value);
        }
        let pair = |function, left: Placed, right: Placed| (function, vec![left, right]);
        let (a, b) = ((a, left.span), (b, right.span));
        let (function, args) = match op {
            CmpOp::Eq => pair(ScalarFn::Eq, a, b),
            CmpOp::Ne => pair(ScalarFn::Ne, a, b),
            CmpOp::Lt => pair(ScalarFn::Lt, a, b),
            CmpOp::Le => pair(ScalarFn::Le, a, b),
            CmpOp::Gt => pair(ScalarFn::Lt, b, a),
            CmpOp::Ge => pair(ScalarFn::Le, b, a),
            CmpOp::Approx => return self.approx(a, b, span),
            CmpOp::In => unreachable!("handled above"),
        };
        self.elementwise(function, args, span)
    }

    /// `a ~= b`: |a - b| <= 1e-5 + 1e-4 |b|, in every entry.
    fn approx(&mut self, a: Placed, b: Placed, span: Span) -> Checking<Value> {
        let difference = self.elementwise(ScalarFn::Sub, vec![a.clone(), b.clone()], span)?;
        let difference = self.elementwise(ScalarFn::Abs, vec![(difference, span)], span)?;
        let size = self.elementwise(ScalarFn::Abs, vec![b], span)?;
        let relative = self.binary(BinaryOp::Mul, size, Value::Num(Num::real(1e-4)), span)?;
        let bound = self.binary(BinaryOp::Add, relative, Value::Num(Num::real(1e-5)), span)?;
        if let (Value::Num(difference), Value::Num(bound)) = (&difference, &bound) {
            return self.compare_numbers(CmpOp::Le, difference, bound, span);
        }
        self.elementwise(ScalarFn::Le, vec![(difference, span), (bound, span)], span)
    }

    fn compare_numbers(&mut self, op: CmpOp, left: &Num, right: &Num, span: Span) -> Checking<Value> {
        if let (Some(a), Some(b)) = (&left.dim, &right.dim) {
            if let (Some(a), Some(b)) = (self.decide(a), self.decide(b)) {
                return Ok(Value::Bool(compare_f64(op, a as f64, b as f64)));
            }
            if self.same_dim(a, b) {
                return Ok(Value::Bool(matches!(op, CmpOp::Eq | CmpOp::Le | CmpOp::Ge | CmpOp::Approx)));
            }
        } else if let (Some(a), Some(b)) = (left.known(), right.known()) {
            return Ok(Value::Bool(compare_f64(op, a, b)));
        }
        let a = self.num_to_val(left, DType::F64, span)?;
        let b = self.num_to_val(right, DType::F64, span)?;
        let (function, a, b) = match op {
            CmpOp::Eq | CmpOp::Approx | CmpOp::In => (ScalarFn::Eq, a, b),
            CmpOp::Ne => (ScalarFn::Ne, a, b),
            CmpOp::Lt => (ScalarFn::Lt, a, b),
            CmpOp::Le => (ScalarFn::Le, a, b),
            CmpOp::Gt => (ScalarFn::Lt, b, a),
            CmpOp::Ge => (ScalarFn::Le, b, a),
        };
        Ok(Value::Tensor(self.scalar(function, &[a, b], Elem::Of(DType::Bool), span)))
    }

    fn logic(&mut self, op: LogicOp, left: &ast::Expr, right: &ast::Expr, span: Span) -> Checking<Value> {
        let a = self.eval(left)?;
        match (op, &a) {
            (LogicOp::And, Value::Bool(false)) | (LogicOp::Or, Value::Bool(true)) => return Ok(a),
            (_, Value::Bool(_) | Value::Training(_)) => {
                if let Value::Training(value) = a
                    && value == (op == LogicOp::Or)
                {
                    return Ok(Value::Bool(value));
                }
                return self.eval(right);
            }
            _ => {}
        }
        let b = self.eval(right)?;
        let function = if op == LogicOp::And { ScalarFn::And } else { ScalarFn::Or };
        self.elementwise(function, vec![(a, left.span), (b, right.span)], span)
    }

    /// `x as f32`, `x as f32[T, heads, E]`.
    fn convert(&mut self, value: &ast::Expr, ty: &ast::Type, span: Span) -> Checking<Value> {
        let inner = self.eval(value)?;
        let ast::TypeKind::Named { name, axes } = &ty.kind else {
            return self.as_positions(inner, ty, value.span);
        };
        let Some(dtype) = dtype_of(&name.name, self.mode.wide) else {
            return self.fail(errors::unknown_type(name.span, &name.name));
        };
        let val = match inner {
            Value::Num(num) => self.num_to_val(&num, dtype, span)?,
            other => self.to_tensor(other, value.span)?,
        };
        let val = self.cast(val, dtype, span);
        if axes.is_empty() {
            return Ok(Value::Tensor(val));
        }
        // The axes of the new shape may introduce one name, solved from the number of entries of the last axes.
        self.reshape(val, ty, axes, span).map(Value::Tensor)
    }

    fn reshape(&mut self, val: Val, ty: &ast::Type, axes: &[ast::Axis], span: Span) -> Checking<Val> {
        let axes = self.read_axes(axes)?;
        let from = self.visible(val).to_vec();
        let count = |cx: &mut Self, axes: &[AxisVar]| -> Checking<Dim> {
            let mut total = Dim::constant(1);
            for &axis in axes {
                let size = cx.size_of(axis).unwrap_or_else(|| Dim::constant(1));
                let product = total.mul(&size);
                total = cx.dim(product, span)?;
            }
            Ok(total)
        };
        let (have, want) = (count(self, &from)?, count(self, &axes)?);
        if !self.same_dim(&have, &want) {
            let shown = self.show_val(val);
            return self.fail(errors::reshape_count(span, &shown, &have, &want, ty.span));
        }
        let elem = self.elem(val);
        Ok(self.emit(Form::Reshape(val), elem, axes, span))
    }

    /// A dim from an expression in a type.
    pub fn dim_expr(&mut self, expr: &ast::Expr) -> Checking<Dim> {
        self.dim_num(expr).map(|(_, dim)| dim)
    }

    /// The same, with the number that it is: it knows the axis that it is made of.
    pub fn dim_num(&mut self, expr: &ast::Expr) -> Checking<(Num, Dim)> {
        match self.eval(expr)? {
            Value::Num(ref num @ Num { dim: Some(ref dim), .. }) => Ok((num.clone(), dim.clone())),
            other => {
                let what = other.describe();
                self.fail(errors::not_a_dim(expr.span, what))
            }
        }
    }
}

/// A scalar function of a number that is known, in f64.
fn known_value(function: ScalarFn, x: f64) -> Option<f64> {
    Some(match function {
        ScalarFn::Neg => -x,
        ScalarFn::Abs => x.abs(),
        ScalarFn::Sqrt => x.sqrt(),
        ScalarFn::Exp => x.exp(),
        ScalarFn::Log => x.ln(),
        ScalarFn::Sin => x.sin(),
        ScalarFn::Cos => x.cos(),
        ScalarFn::Tanh => x.tanh(),
        ScalarFn::Floor => x.floor(),
        ScalarFn::Ceil => x.ceil(),
        ScalarFn::Round => x.round_ties_even(),
        _ => return None,
    })
}

fn compare_f64(op: CmpOp, a: f64, b: f64) -> bool {
    match op {
        CmpOp::Eq | CmpOp::In => a == b,
        CmpOp::Approx => (a - b).abs() <= 1e-5 + 1e-4 * b.abs(),
        CmpOp::Ne => a != b,
        CmpOp::Lt => a < b,
        CmpOp::Le => a <= b,
        CmpOp::Gt => a > b,
        CmpOp::Ge => a >= b,
    }
}
