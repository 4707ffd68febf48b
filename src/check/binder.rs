//! Comprehensions and reducers: `for i => e`, `sum i where g => e`, `sum(x, over: N)`.

use std::sync::Arc;

use nn_grammar::ast;

use crate::axes::{Dim, Ratio};
use crate::base::Span;
use crate::tensor::DType;

use super::core::*;
use super::errors;
use super::kind::Kind;
use super::origin::Why;
use super::state::{Checker, Checking, Compared};
use super::value::{Field, Num, Placed, Value};

impl Reducer {
    pub const ALL: [(Reducer, &'static str); 11] = [
        (Reducer::Sum, "sum"),
        (Reducer::Prod, "prod"),
        (Reducer::Mean, "mean"),
        (Reducer::Max, "max"),
        (Reducer::Min, "min"),
        (Reducer::Any, "any"),
        (Reducer::All, "all"),
        (Reducer::ArgMax, "argmax"),
        (Reducer::ArgMin, "argmin"),
        (Reducer::LogSumExp, "logsumexp"),
        (Reducer::Softmax, "softmax"),
    ];

    pub fn parse(name: &str) -> Option<Reducer> {
        Reducer::ALL.into_iter().find(|(_, word)| *word == name).map(|(reducer, _)| reducer)
    }

    pub fn name(self) -> &'static str {
        Reducer::ALL.into_iter().find(|(reducer, _)| *reducer == self).map_or("", |(_, word)| word)
    }
}

impl Checker<'_> {
    pub fn binder(&mut self, binder: &ast::Binder, span: Span) -> Checking<Value> {
        let reducer = match &binder.reducer {
            ast::Reducer::For(_) => None,
            ast::Reducer::Named(name) => match Reducer::parse(&name.name) {
                Some(reducer) => Some(reducer),
                None => {
                    let nearest = errors::nearest(&name.name, Reducer::ALL.iter().map(|(_, word)| *word));
                    return self.fail(errors::unknown_reducer(name, nearest));
                }
            },
        };
        if reducer.is_none() && binder.guard.is_some() {
            return self.fail(errors::guard_on_for(span));
        }
        let mark = self.frame.locals.len();
        let outer = self.ambient.len();
        let mut axes = Vec::new();
        for bind in &binder.binds {
            let axis = match self.bind_axis(bind) {
                Ok(axis) => axis,
                Err(reported) => {
                    self.frame.locals.truncate(mark);
                    self.ambient.truncate(outer);
                    return Err(reported);
                }
            };
            axes.push(axis);
        }
        let guards = self.guards.len();
        let result = self.binder_body(binder);
        self.guards.truncate(guards);
        self.frame.locals.truncate(mark);
        self.ambient.truncate(outer);
        if result.is_err() {
            // The reads in it are told of together.
            let _ = self.prove_waiting();
        }
        let (guard, body) = result?;
        self.resolve_compared();
        for (&axis, bind) in axes.iter().zip(&binder.binds) {
            if self.core.axes[axis].size.is_none() {
                return self.range_unknown(axis, bind.span);
            }
        }
        self.check_compared()?;
        self.prove_waiting()?;
        match reducer {
            None => self.tabulate_value(body, &axes, &axes.clone(), span),
            Some(reducer) => {
                let body = self.to_tensor(body, binder.body.span)?;
                self.reduce(reducer, axes, guard, body, span).map(Value::Tensor)
            }
        }
    }

    /// A binder's index variable, over the range that is written or one that its use decides.
    pub fn bind_axis(&mut self, bind: &ast::Bind) -> Checking<AxisVar> {
        let name = bind.name.name.clone();
        let axis = match &bind.range {
            None => self.fresh_axis(name.clone(), None, bind.span),
            Some(range) => {
                let axis = match self.eval(range)? {
                    Value::Num(Num { axis: Some(over), .. }) => {
                        let axis = self.fresh_like(over);
                        self.core.axes[axis].name = name.clone();
                        self.core.axes[axis].span = bind.span;
                        axis
                    }
                    Value::Num(ref num @ Num { dim: Some(ref dim), .. }) => {
                        let axis = self.axis_of_num(name.clone(), num, dim.clone(), bind.span)?;
                        self.set_origin(axis, Why::Range, &name);
                        axis
                    }
                    other => {
                        return self.no_dim(&other, range.span);
                    }
                };
                self.ranged.insert(axis);
                axis
            }
        };
        self.ambient.push(axis);
        self.bind(name, Value::Index(Point::axis(axis)));
        Ok(axis)
    }

    fn binder_body(&mut self, binder: &ast::Binder) -> Checking<(Option<Val>, Value)> {
        let guard = match &binder.guard {
            None => None,
            Some(guard) => {
                let value = self.eval(guard)?;
                let val = self.to_tensor(value, guard.span)?;
                if let Some(index) = self.entry_meant(binder, val).filter(|_| guard.as_name().is_some()) {
                    let shown = self.show_val(val);
                    return self.fail(errors::guard_of_many(guard.span, &shown, &index));
                }
                if self.elem(val) != Elem::Of(DType::Bool) || !self.visible(val).is_empty() {
                    let shown = self.show_val(val);
                    return self.fail(errors::not_a_condition(guard.span, &shown));
                }
                self.learn_guard(val);
                Some(val)
            }
        };
        Ok((guard, self.eval(&binder.body)?))
    }

    /// `t` or `h, w`, where a truth value for each entry stands for that of the binders' own entry.
    fn entry_meant(&self, binder: &ast::Binder, val: Val) -> Option<String> {
        let count = self.visible(val).len();
        let meant = self.elem(val) == Elem::Of(DType::Bool) && count == binder.binds.len();
        let names: Vec<&str> = binder.binds.iter().map(|bind| &*bind.name.name).collect();
        meant.then(|| names.join(", "))
    }

    /// An index variable that is only compared runs over the axis of what it is compared with.
    fn resolve_compared(&mut self) {
        for index in 0..self.compared.len() {
            let Compared { left, right, .. } = self.compared[index];
            match (self.size_of(left), self.size_of(right)) {
                (None, Some(_)) => self.resolve_range(left, right),
                (Some(_), None) => self.resolve_range(right, left),
                _ => {}
            }
        }
    }

    /// Index variables that were compared must run over one axis, or over axes whose sizes are made of one name: `t + p == i`, where i
    /// counts `T + 2 * p` places.
    pub fn check_compared(&mut self) -> Checking<()> {
        let mut open = Vec::new();
        for compared in std::mem::take(&mut self.compared) {
            match (self.size_of(compared.left), self.size_of(compared.right)) {
                (Some(left), Some(right))
                    if left.vars().is_disjoint(&right.vars()) && !self.same_dim(&left, &right) =>
                {
                    let axes = [compared.left, compared.right];
                    let [left, right] = axes.map(|axis| self.show_axis(axis));
                    let error = errors::compared_axes_differ(compared.span, &left, &right);
                    return self.fail(self.traced(error, &axes));
                }
                (Some(_), Some(_)) => {}
                _ => open.push(compared),
            }
        }
        self.compared = open;
        Ok(())
    }

    /// Reduces over hidden or visible axes.
    pub fn reduce(
        &mut self,
        op: Reducer,
        over: Vec<AxisVar>,
        guard: Option<Val>,
        body: Val,
        span: Span,
    ) -> Checking<Val> {
        let elem = self.elem(body);
        let wrong = match op {
            Reducer::Any | Reducer::All => elem != Elem::Of(DType::Bool),
            Reducer::Mean | Reducer::LogSumExp | Reducer::Softmax => !elem.is_float(),
            _ => matches!(elem, Elem::Idx(..) | Elem::Of(DType::Bool)),
        };
        if wrong {
            let shown = self.show_elem(&elem);
            return self.fail(errors::reducer_elem(span, op.name(), &shown));
        }
        let result = match op {
            Reducer::ArgMax | Reducer::ArgMin => {
                let [axis] = over.as_slice() else {
                    return self.fail(errors::argmax_over_several(span, op.name()));
                };
                let info = &self.core.axes[*axis];
                Elem::Idx(self.core.size(*axis), info.root)
            }
            _ => elem,
        };
        let mut visible: Vec<AxisVar> = self.visible(body).to_vec();
        if op == Reducer::Softmax {
            let hidden: Vec<AxisVar> = over.iter().copied().filter(|axis| !visible.contains(axis)).collect();
            visible.splice(0..0, hidden);
        } else {
            visible.retain(|axis| !over.contains(axis));
        }
        Ok(self.emit(Form::Reduce { op, over, guard, body }, result, visible, span))
    }

    /// `sum(x, over: N)`; without `over`, all axes.
    pub fn reduce_call(
        &mut self,
        op: Reducer,
        value: Value,
        over: Option<Placed>,
        span: Span,
    ) -> Checking<Value> {
        let val = self.to_tensor(value, span)?;
        let axes = match over {
            None => self.visible(val).to_vec(),
            Some((over, place)) => self.axes_named(&over, val, place)?,
        };
        let all = self.visible(val).to_vec();
        if axes.is_empty() && all.is_empty() && matches!(op, Reducer::ArgMax | Reducer::ArgMin) {
            return self.fail(errors::argmax_over_several(span, op.name()));
        }
        let val = self.reduce(op, axes, None, val, span)?;
        // Softmax keeps the order of the axes.
        Ok(Value::Tensor(val))
    }

    /// The axes of a value that `over:` names.
    pub fn axes_named(&mut self, over: &Value, val: Val, span: Span) -> Checking<Vec<AxisVar>> {
        match over {
            Value::Tuple(fields) => {
                let fields = Arc::clone(fields);
                let mut axes = Vec::new();
                for (index, field) in fields.iter().enumerate() {
                    match self.named_together(&fields, index, val) {
                        Some(axis) => axes.push(axis),
                        None => axes.extend(self.axes_named(&field.value, val, span)?),
                    }
                }
                Ok(axes)
            }
            Value::Pack(pack) => {
                let mut axes = Vec::new();
                for &axis in pack.iter() {
                    axes.push(self.axis_named(axis, val, span)?);
                }
                Ok(axes)
            }
            Value::Num(Num { axis: Some(axis), .. }) => Ok(vec![self.axis_named(*axis, val, span)?]),
            Value::Num(Num { dim: Some(dim), .. }) => {
                let same: Vec<AxisVar> = self
                    .visible(val)
                    .iter()
                    .copied()
                    .filter(|&axis| self.size_of(axis).is_some_and(|size| self.same_dim(&size, dim)))
                    .collect();
                self.one_axis(&same, &dim.to_string(), val, span).map(|axis| vec![axis])
            }
            other => {
                let what = other.describe();
                self.fail(errors::not_an_axis(span, what))
            }
        }
    }

    /// Where all axes of one size are named, `over: (p, p)`, each name stands for the next of them.
    fn named_together(&self, fields: &[Field], index: usize, val: Val) -> Option<AxisVar> {
        let size_of = |field: &Field| match &field.value {
            Value::Num(Num { dim: Some(dim), .. }) => Some(dim.clone()),
            _ => None,
        };
        let size = size_of(&fields[index])?;
        let same = |other: &Dim| self.same_dim(other, &size);
        let named = |fields: &[Field]| {
            fields.iter().filter(|field| size_of(field).is_some_and(|dim| same(&dim))).count()
        };
        let visible = self.visible(val).iter().copied();
        let axes: Vec<AxisVar> =
            visible.filter(|&axis| self.size_of(axis).is_some_and(|size| same(&size))).collect();
        (axes.len() > 1 && axes.len() == named(fields)).then(|| axes[named(&fields[..index])])
    }

    /// The visible axis of `val` that is the named axis: the same id, or the only one of its size.
    fn axis_named(&mut self, axis: AxisVar, val: Val, span: Span) -> Checking<AxisVar> {
        let visible = self.visible(val).to_vec();
        let size = self.size_of(axis);
        let same: Vec<AxisVar> =
            visible.iter().copied().filter(|&other| self.size_of(other) == size).collect();
        let named = size.as_ref().is_some_and(|size| size.as_const().is_none());
        if visible.contains(&axis) && (same.len() == 1 || !named) {
            return Ok(axis);
        }
        // On a grid `over: H` also means what runs over H at another rate.
        if same.is_empty() && matches!(self.declared_kind(axis), Some(Kind::Grid | Kind::Ring)) {
            let family = self.family(axis);
            let var = size.as_ref().and_then(|size| size.as_var()).cloned();
            let rooted = |cx: &Self, other: AxisVar| {
                let slope = cx.size_of(other).zip(var.as_ref()).and_then(|(size, var)| size.slope(var));
                cx.family(other) == family || slope.is_some_and(Ratio::is_positive)
            };
            let found: Vec<AxisVar> = visible.iter().copied().filter(|&other| rooted(self, other)).collect();
            let name = self.core.axes[axis].name.clone();
            return self.one_axis(&found, &name, val, span);
        }
        let name = self.core.axes[axis].name.clone();
        // Axes of one literal size are told apart by the name that they were made from.
        if same.len() > 1 && !named {
            let family = self.family(axis);
            let own: Vec<AxisVar> =
                same.iter().copied().filter(|&other| self.family(other) == family).collect();
            if own.len() == 1 {
                return Ok(own[0]);
            }
        }
        self.one_axis(&same, &name, val, span)
    }

    fn one_axis(&mut self, found: &[AxisVar], name: &str, val: Val, span: Span) -> Checking<AxisVar> {
        match found {
            [axis] => Ok(*axis),
            [] => {
                let hidden = self.ambient.iter().any(|&axis| self.core.axes[axis].name == name);
                let shown = self.show_val(val);
                let axes: Vec<_> = self.visible(val).iter().map(|&axis| self.show_axis(axis)).collect();
                self.fail(errors::axis_not_there(span, name, &shown, &axes, hidden))
            }
            _ => {
                let shown = self.show_val(val);
                self.fail(errors::axis_twice(span, name, &shown))
            }
        }
    }
}
