//! Blocks and statements; static loops and conditions; scans.

use std::collections::BTreeSet;

use nn_grammar::ast::{self, PatKind, StmtKind};

use crate::axes::{Dim, Facts};
use crate::base::{Name, Span};
use crate::graph::Literal;
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::core::*;
use super::errors;
use super::state::{Checker, Checking, Expected, Reported, ScanFrame};
use super::value::{Callable, Field, Func, Num, Value};

impl Checker<'_> {
    pub fn block(&mut self, block: &ast::Block) -> Checking<Value> {
        let mark = self.frame.locals.len();
        let result = self.statements(block);
        self.frame.locals.truncate(mark);
        result
    }

    /// The statements of a block, whose names stay bound. A statement that fails does not keep the others from being checked.
    pub fn statements(&mut self, block: &ast::Block) -> Checking<Value> {
        let mut failed = false;
        for stmt in &block.stmts {
            failed |= self.statement(stmt).is_err();
        }
        let value = match &block.tail {
            Some(tail) => self.eval(tail),
            None => Ok(Value::unit()),
        };
        if failed { Err(Reported) } else { value }
    }

    fn statement(&mut self, stmt: &ast::Stmt) -> Checking<()> {
        self.check_work(stmt.span)?;
        match &stmt.kind {
            StmtKind::Let(binding) => {
                let value = self.let_value(binding);
                self.bind_result(&binding.pat, value)
            }
            StmtKind::Param(declare) => self.declare_param(declare, stmt.span),
            StmtKind::State(declare) => self.declare_state(declare, stmt.span),
            StmtKind::Assign { name, value } => {
                let value = self.eval(value);
                let failed = value.is_err();
                let Some(slot) = self.frame.locals.iter().rposition(|(local, _)| *local == name.name) else {
                    self.bind(name.name.clone(), Value::Poison);
                    if failed {
                        return Err(Reported);
                    }
                    return self.fail(errors::assign_unbound(name));
                };
                match value {
                    Ok(value) => self.frame.locals[slot].1 = value,
                    Err(reported) => return Err(reported),
                }
                Ok(())
            }
            StmtKind::Write { name, value } => self.write_state(name, value, stmt.span),
            StmtKind::For { pat, list, body } => self.static_for(pat, list, body),
            StmtKind::Yield(value) => {
                let span = value.span;
                let value = self.eval(value)?;
                match &mut self.frame.scan {
                    Some(scan) => {
                        scan.yields.push((value, span));
                        Ok(())
                    }
                    None => self.fail(errors::yield_outside(stmt.span)),
                }
            }
            StmtKind::Assert(condition) => self.assertion(condition, stmt.span),
            StmtKind::Def(def) => {
                if let Some(rule) = &def.grad {
                    self.bind(def.name.name.clone(), Value::Poison);
                    return self.fail(errors::rule_of_local_function(rule.span, &def.name.name));
                }
                let func = Func {
                    callable: Callable::Def(std::rc::Rc::new((**def).clone()), self.scope()),
                    statics: None,
                    captured: Some(std::rc::Rc::new(self.frame.locals.clone())),
                    instance: None,
                    span: stmt.span,
                };
                self.bind(def.name.name.clone(), Value::Func(std::rc::Rc::new(func)));
                Ok(())
            }
            StmtKind::Expr(expr) => {
                let value = self.eval(expr)?;
                match (&expr.kind, value) {
                    (ast::ExprKind::If(_) | ast::ExprKind::Block(_), _) => Ok(()),
                    (_, Value::Tuple(fields)) if fields.is_empty() => Ok(()),
                    _ => self.fail(errors::unused_value(expr.span)),
                }
            }
            StmtKind::Error { defines } => {
                for name in defines {
                    self.bind(name.name.clone(), Value::Poison);
                }
                Err(Reported)
            }
        }
    }

    fn let_value(&mut self, binding: &ast::Let) -> Checking<Value> {
        let value = self.eval(&binding.value)?;
        if let PatKind::Name(name) = &binding.pat.kind {
            self.name_instance(&name.name, &value);
        }
        match &binding.ty {
            None => Ok(value),
            Some(ty) => self.annotate(ty, value, binding.value.span),
        }
    }

    /// `let h: f32[N, K] = …`: names of axes that mean nothing yet are bound to the value's.
    fn annotate(&mut self, ty: &ast::Type, value: Value, span: Span) -> Checking<Value> {
        if let Value::Tensor(val) = value
            && matches!(ty.kind, ast::TypeKind::Named { .. } | ast::TypeKind::Index { .. })
        {
            let (visible, elem) = (self.visible(val).to_vec(), self.elem(val));
            if let Some((_, _, axes)) = super::types::as_tensor_type(ty)
                && axes.len() == visible.len()
            {
                let mut frame = std::mem::take(&mut self.frame);
                self.bind_names(&mut frame, ty, &visible, &elem);
                self.frame = frame;
            }
        }
        self.match_value(ty, value, span)
    }

    /// Binds a pattern. After an error its names are bound to nothing, so that they raise no further errors.
    pub fn bind_result(&mut self, pat: &ast::Pat, value: Checking<Value>) -> Checking<()> {
        match value {
            Ok(value) => self.bind_pattern(pat, value),
            Err(reported) => {
                self.poison(pat);
                Err(reported)
            }
        }
    }

    fn poison(&mut self, pat: &ast::Pat) {
        match &pat.kind {
            PatKind::Name(name) => self.bind(name.name.clone(), Value::Poison),
            PatKind::Ignore => {}
            PatKind::Tuple(parts) => parts.iter().for_each(|part| self.poison(part)),
        }
    }

    pub fn bind_pattern(&mut self, pat: &ast::Pat, value: Value) -> Checking<()> {
        match (&pat.kind, value) {
            (PatKind::Name(name), value) => {
                self.bind(name.name.clone(), value);
                Ok(())
            }
            (PatKind::Ignore, _) => Ok(()),
            (PatKind::Tuple(parts), Value::Tuple(fields)) if parts.len() == fields.len() => parts
                .iter()
                .zip(fields.iter())
                .try_for_each(|(part, field)| self.bind_pattern(part, field.value.clone())),
            (PatKind::Tuple(parts), Value::List(items)) if parts.len() == items.len() => parts
                .iter()
                .zip(items.iter())
                .try_for_each(|(part, item)| self.bind_pattern(part, item.clone())),
            (PatKind::Tuple(parts), other) => {
                self.poison(pat);
                let (count, shown) = (parts.len(), self.show_value(&other));
                self.fail(errors::pattern_mismatch(pat.span, count, &shown))
            }
        }
    }

    // ---- static control ------------------------------------------------------------------------

    /// `for x in list { … }`, one turn after the other.
    fn static_for(&mut self, pat: &ast::Pat, list: &ast::Expr, body: &ast::Block) -> Checking<()> {
        let items = match self.eval(list)? {
            Value::List(items) => items,
            other => {
                let what = other.describe();
                return self.fail(errors::not_a_list(list.span, what));
            }
        };
        let start = self
            .frame
            .owner
            .as_ref()
            .map(|owner| (owner.turns.clone(), owner.counters.clone(), owner.names.clone()));
        for (turn, item) in items.iter().enumerate() {
            self.check_work(body.span)?;
            if let (Some(owner), Some((turns, counters, names))) = (&mut self.frame.owner, &start) {
                owner.turns = format!("{turns}.{turn}");
                if turn > 0 {
                    owner.counters.clone_from(counters);
                    owner.names.clone_from(names);
                }
            }
            let mark = self.frame.locals.len();
            let result = self.bind_pattern(pat, item.clone()).and_then(|()| self.statements(body));
            self.frame.locals.truncate(mark);
            result?;
        }
        if let (Some(owner), Some((turns, ..))) = (&mut self.frame.owner, start) {
            owner.turns = turns;
        }
        Ok(())
    }

    /// `if`: on a static condition one arm is walked, on a tensor both are, and entries are selected.
    pub fn branch(&mut self, branch: &ast::If, span: Span) -> Checking<Value> {
        let condition = self.eval(&branch.condition)?;
        match condition {
            Value::Bool(true) | Value::Training(true) => {
                self.assume_condition(&branch.condition, true);
                self.block(&branch.then)
            }
            Value::Bool(false) | Value::Training(false) => match &branch.otherwise {
                Some(otherwise) => self.eval(otherwise),
                None => Ok(Value::unit()),
            },
            condition => {
                let condition = self.to_tensor(condition, branch.condition.span)?;
                if self.elem(condition) != Elem::Of(DType::Bool) {
                    let shown = self.show_val(condition);
                    return self.fail(errors::not_a_condition(branch.condition.span, &shown));
                }
                let Some(otherwise) = &branch.otherwise else {
                    return self.fail(errors::if_without_else(span));
                };
                let undecided = self.is_static(condition) && self.has_size(condition);
                let facts = self.facts.clone();
                if undecided {
                    self.open = true;
                    self.assume_condition(&branch.condition, true);
                }
                let guards = self.guards.len();
                self.learn_guard(condition);
                let then = self.block(&branch.then);
                self.guards.truncate(guards);
                let of_then = std::mem::replace(&mut self.facts, facts);
                let otherwise = self.eval(otherwise)?;
                self.choose(condition, undecided.then_some(&of_then), then?, otherwise, span)
            }
        }
    }

    /// The value follows from dims alone: a static condition whose dims are not known.
    fn is_static(&self, val: Val) -> bool {
        match &self.core.vals[val].form {
            Form::Size(_) | Form::Const(_) => true,
            Form::Scalar(_, args) => args.iter().all(|&arg| self.is_static(arg)),
            _ => false,
        }
    }

    /// Some size has a part in the value; a tensor of literals alone is a value like another.
    fn has_size(&self, val: Val) -> bool {
        match &self.core.vals[val].form {
            Form::Size(_) => true,
            Form::Scalar(_, args) => args.iter().any(|&arg| self.has_size(arg)),
            _ => false,
        }
    }

    /// Inside the taken arm of `K == C`, K is C.
    fn assume_condition(&mut self, condition: &ast::Expr, holds: bool) {
        if !holds {
            return;
        }
        for conjunct in condition.conjuncts() {
            let ast::ExprKind::Compare { op: ast::CmpOp::Eq, left, right } = &conjunct.kind else { continue };
            if let (Ok(Value::Num(left)), Ok(Value::Num(right))) = (self.eval(left), self.eval(right))
                && let (Some(left), Some(right)) = (left.dim, right.dim)
            {
                // A fact that cannot be used is no error: the comparison stands.
                let _ = self.facts.equal(&left, &right);
            }
        }
    }

    /// The value of a conditional. Where its condition is static and not decided, `of_then` is what holds in the first arm: sizes that
    /// are equal there are written as the other arm has them.
    fn choose(
        &mut self,
        condition: Val,
        of_then: Option<&Facts>,
        then: Value,
        otherwise: Value,
        span: Span,
    ) -> Checking<Value> {
        match (then, otherwise) {
            (Value::Tuple(then), Value::Tuple(otherwise)) if then.len() == otherwise.len() => {
                let mut fields = Vec::new();
                for (then, otherwise) in then.iter().zip(otherwise.iter()) {
                    let value =
                        self.choose(condition, of_then, then.value.clone(), otherwise.value.clone(), span)?;
                    fields.push(Field { label: then.label.clone(), value });
                }
                Ok(Value::Tuple(fields.into()))
            }
            (then, otherwise) => {
                let elem = [&then, &otherwise].into_iter().find_map(|value| match value {
                    Value::Tensor(val) => Some(self.elem(*val)),
                    _ => None,
                });
                let elem = elem.unwrap_or(Elem::Of(self.float()));
                let then = self.to_tensor_of(then, &elem, span)?;
                let otherwise = self.to_tensor_of(otherwise, &elem, span)?;
                let (left, right) = (self.elem(then), self.elem(otherwise));
                if !self.elem_fits(&left, &right) {
                    let (then, otherwise) = (self.show_val(then), self.show_val(otherwise));
                    return self.fail(errors::arms_differ(span, &then, &otherwise));
                }
                let elem = left;
                if let Some(facts) = of_then {
                    let then = self.sizes_of_other_arm(then, otherwise, facts, span);
                    let vals = self.align(&[(then, span), (otherwise, span)], span)?;
                    let visible = self.visible(vals[0]).to_vec();
                    let form = Form::Choice { condition, then: vals[0], otherwise: vals[1] };
                    return Ok(Value::Tensor(self.emit(form, elem, visible, span)));
                }
                let vals = self.align(&[(condition, span), (then, span), (otherwise, span)], span)?;
                Ok(Value::Tensor(self.scalar(ScalarFn::Select, &vals, elem, span)))
            }
        }
    }

    fn sizes_of_other_arm(&mut self, then: Val, otherwise: Val, facts: &Facts, span: Span) -> Val {
        let (have, want) = (self.visible(then).to_vec(), self.visible(otherwise).to_vec());
        let agree = |cx: &Self, facts: &Facts, left: AxisVar, right: AxisVar| {
            let sizes = cx.size_of(left).zip(cx.size_of(right));
            sizes.is_some_and(|(left, right)| facts.same(&left, &right).unwrap_or(false))
        };
        if have.len() != want.len()
            || !have.iter().zip(&want).all(|(&have, &want)| agree(self, facts, have, want))
        {
            return then;
        }
        let mut to = have.clone();
        for (axis, &want) in to.iter_mut().zip(&want) {
            if !agree(self, &self.facts, *axis, want) {
                *axis = self.fresh_like(want);
            }
        }
        if to == have {
            return then;
        }
        let elem = self.elem(then);
        self.emit(Form::Rename { of: then, to: to.clone() }, elem, to, span)
    }

    // ---- scans ---------------------------------------------------------------------------------

    pub fn scan(&mut self, scan: &ast::Scan, span: Span) -> Checking<Value> {
        let [bind] = scan.binds.as_slice() else {
            return self.fail(errors::scan_over_several(span));
        };
        let mark = self.frame.locals.len();
        let mut inits = Vec::new();
        for carry in &scan.carries {
            inits.push(self.carry_init(carry)?);
        }
        let truncate = match &scan.truncate {
            None => None,
            Some(steps) => Some(self.truncation(steps)?),
        };
        let outer = self.ambient.len();
        let axis = self.bind_axis(bind)?;
        let body = self.open_loop(axis);
        for (index, (carry, &init)) in scan.carries.iter().zip(&inits).enumerate() {
            let (elem, visible) = (self.elem(init), self.visible(init).to_vec());
            let mut val = self.emit(Form::Carry(body, index), elem, visible, carry.span);
            if let Some(steps) = &truncate {
                val = self.truncated(val, axis, steps, scan.reverse.is_some(), carry.span)?;
            }
            self.bind(carry.name.name.clone(), Value::Tensor(val));
        }
        let frame = self.frame.scan.replace(ScanFrame::default());
        let walked = self.statements(&scan.body);
        let finished = std::mem::replace(&mut self.frame.scan, frame).unwrap_or_default();
        let next: Vec<Option<Value>> =
            scan.carries.iter().map(|carry| self.lookup(&carry.name.name)).collect();
        self.frame.locals.truncate(mark);
        self.ambient.truncate(outer);
        let results = walked.and_then(|value| self.scan_results(scan, &inits, next, finished, value));
        let (mut results, yields) = match results {
            Ok(results) => results,
            Err(reported) => {
                self.abandon_loop();
                return Err(reported);
            }
        };
        let declared = inits.len();
        let left = self.close_loop(&mut inits, &mut results);
        if self.core.axes[axis].size.is_none() {
            return self.fail(errors::range_unknown(bind.span, &bind.name.name));
        }
        self.check_compared()?;
        self.prove_waiting()?;
        self.core.blocks[body].results = results.clone();
        let form = Form::Scan { axis, reverse: scan.reverse.is_some(), inits: inits.clone(), body };
        let tuple = self.emit(form, Elem::Of(DType::Bool), Vec::new(), span);
        self.states_behind(left, tuple, span)?;
        let mut values = Vec::new();
        let range = if yields == 0 { 0..declared } else { inits.len()..results.len() };
        for index in range {
            let (elem, mut visible) = (self.elem(results[index]), self.visible(results[index]).to_vec());
            if index >= inits.len() {
                visible.insert(0, axis);
            }
            values.push(Value::Tensor(self.emit(Form::Component { of: tuple, index }, elem, visible, span)));
        }
        Ok(if values.len() == 1 { values.remove(0) } else { Value::tuple(values) })
    }

    /// After how many steps a derivative ends.
    fn truncation(&mut self, steps: &ast::Expr) -> Checking<Dim> {
        let dim = self.dim_expr(steps)?;
        match dim.as_const() {
            Some(count) if count < 1 => self.fail(errors::not_a_count(steps.span)),
            _ => Ok(dim),
        }
    }

    /// A carry whose derivative ends at the steps that are multiples of `steps`, counted from the loop's first one.
    fn truncated(
        &mut self,
        carry: Val,
        axis: AxisVar,
        steps: &Dim,
        reverse: bool,
        span: Span,
    ) -> Checking<Val> {
        let (elem, visible) = (self.elem(carry), self.visible(carry).to_vec());
        if !elem.is_float() {
            return Ok(carry);
        }
        let mut step = Point::axis(axis);
        if reverse {
            let Some(size) = self.size_of(axis) else {
                return self.fail(errors::truncate_without_range(span));
            };
            let last = size.sub(&Dim::constant(1));
            let constant = self.dim(last, span)?;
            step = Point::Affine(AffinePoint { constant, terms: vec![(axis, Dim::constant(-1))] });
        }
        let within = Point::Rem(Box::new(step), steps.clone());
        let within = self.index_to_val(&within, span);
        let zero = self.constant(Literal::Int(0), DType::I32, span);
        let begins = self.scalar(ScalarFn::Eq, &[within, zero], Elem::Of(DType::Bool), span);
        let stopped = self.emit(Form::StopGradient(carry), elem.clone(), visible, span);
        Ok(self.scalar(ScalarFn::Select, &[begins, stopped, carry], elem, span))
    }

    fn carry_init(&mut self, carry: &ast::Param) -> Checking<Val> {
        let Some(default) = &carry.default else {
            return self.fail(errors::carry_without_value(&carry.name));
        };
        let (elem, axes) = self.read_type(&carry.ty)?;
        let val = self.initial(default, Expected { elem: elem.clone(), axes: axes.clone() }, &carry.ty)?;
        Ok(val)
    }

    fn scan_results(
        &mut self,
        scan: &ast::Scan,
        inits: &[Val],
        next: Vec<Option<Value>>,
        frame: ScanFrame,
        value: Value,
    ) -> Checking<(Vec<Val>, usize)> {
        if !matches!(&value, Value::Tuple(fields) if fields.is_empty()) {
            let span = scan.body.tail.as_ref().map_or(scan.body.span, |tail| tail.span);
            return self.fail(errors::scan_value(span));
        }
        let mut results = Vec::new();
        for ((carry, &init), value) in scan.carries.iter().zip(inits).zip(next) {
            let Some(value) = value else { return Err(Reported) };
            let elem = self.elem(init);
            let val = self.to_tensor_of(value, &elem, carry.span)?;
            let (have, want) = (self.visible(val).to_vec(), self.visible(init).to_vec());
            let same = have.len() == want.len()
                && have.iter().zip(&want).all(|(&have, &want)| self.unify(have, want));
            let elem_of = self.elem(val);
            if !same || !self.elem_fits(&elem, &elem_of) {
                let (before, after) = (self.show_val(init), self.show_val(val));
                return self.fail(errors::carry_changes(carry.span, &carry.name.name, &before, &after));
            }
            results.push(if have == want {
                val
            } else {
                self.emit(Form::Rename { of: val, to: want.clone() }, elem, want, carry.span)
            });
        }
        let mut yields = 0;
        for (value, span) in frame.yields {
            let parts = match value {
                Value::Tuple(fields) => fields.iter().map(|field| field.value.clone()).collect(),
                other => vec![other],
            };
            for part in parts {
                results.push(self.to_tensor(part, span)?);
                yields += 1;
            }
        }
        Ok((results, yields))
    }

    // ---- conditions on dims, assertions ----------------------------------------------------------

    /// `where D % heads == 0 and T <= MAX`: facts inside, conditions for callers.
    pub fn assume_constraint(&mut self, constraint: &ast::Expr) -> Checking<()> {
        for conjunct in constraint.conjuncts() {
            let ast::ExprKind::Compare { op, left, right } = &conjunct.kind else {
                return self.fail(errors::constraint_form(conjunct.span));
            };
            let divides = match (&left.kind, op) {
                (ast::ExprKind::Binary { op: ast::BinaryOp::Rem, left, right: by }, ast::CmpOp::Eq) => {
                    Some((left, by))
                }
                _ => None,
            };
            let (a, b) = (self.dim_expr(left)?, self.dim_expr(right)?);
            let (left, op, right) = match op {
                ast::CmpOp::Eq => (a, ConstraintOp::Eq, b),
                ast::CmpOp::Le => (a, ConstraintOp::Le, b),
                ast::CmpOp::Ge => (b, ConstraintOp::Le, a),
                ast::CmpOp::Lt => (a, ConstraintOp::Lt, b),
                ast::CmpOp::Gt => (b, ConstraintOp::Lt, a),
                _ => return self.fail(errors::constraint_form(conjunct.span)),
            };
            match (left.as_const(), right.as_const(), op) {
                (Some(left), Some(right), op) => {
                    let holds = match op {
                        ConstraintOp::Eq => left == right,
                        ConstraintOp::Le => left <= right,
                        ConstraintOp::Lt => left < right,
                    };
                    if !holds {
                        return self.fail(errors::constraint_fails(conjunct.span));
                    }
                    continue;
                }
                _ if self.same_dim(&left, &right) && op != ConstraintOp::Lt => continue,
                _ => {}
            }
            let fact = match (divides, op) {
                (Some((over, by)), _) => {
                    let (over, by) = (self.dim_expr(over)?, self.dim_expr(by)?);
                    self.facts.divides(&by, &over)
                }
                (None, ConstraintOp::Eq) => self.facts.equal(&left, &right),
                (None, _) => {
                    if let Ok(room) = right.sub(&left) {
                        self.facts.bound_below(&room, i64::from(op == ConstraintOp::Lt));
                    }
                    Ok(())
                }
            };
            if let Err(error) = fact {
                return self.fail(errors::dim_arithmetic(conjunct.span, &error));
            }
            let text = format!(
                "{left} {} {right}",
                match op {
                    ConstraintOp::Eq => "==",
                    ConstraintOp::Le => "<=",
                    ConstraintOp::Lt => "<",
                }
            );
            self.core.constraints.push(Constraint { text, left, op, right, span: conjunct.span });
        }
        Ok(())
    }

    fn assertion(&mut self, condition: &ast::Expr, span: Span) -> Checking<()> {
        let value = self.eval(condition)?;
        let holds = match value {
            Value::Bool(_) | Value::Training(_) => self.to_tensor(value, span)?,
            other => {
                let val = self.to_tensor(other, condition.span)?;
                if self.elem(val) != Elem::Of(DType::Bool) {
                    let shown = self.show_val(val);
                    return self.fail(errors::not_a_condition(condition.span, &shown));
                }
                let axes = self.visible(val).to_vec();
                if axes.is_empty() { val } else { self.reduce(Reducer::All, axes, None, val, span)? }
            }
        };
        let sides = match &condition.kind {
            ast::ExprKind::Compare { left, right, .. } => {
                let (left, right) = (self.eval(left)?, self.eval(right)?);
                Some((self.to_tensor(left, span)?, self.to_tensor(right, span)?))
            }
            _ => None,
        };
        self.core.assertions.push(Assertion { holds, sides, span });
        Ok(())
    }

    /// `assume invariant(N) { … }`
    pub fn assume(
        &mut self,
        property: &ast::Ident,
        axes: &[ast::Expr],
        body: &ast::Block,
        span: Span,
    ) -> Checking<Value> {
        let mut roots = BTreeSet::new();
        for axis in axes {
            match self.eval(axis)? {
                Value::Num(Num { axis: Some(axis), .. }) => roots.extend(self.core.axes[axis].root),
                other => {
                    let what = other.describe();
                    return self.fail(errors::not_an_axis(axis.span, what));
                }
            }
        }
        if !matches!(&*property.name, "invariant" | "equivariant" | "causal" | "batch") {
            return self.fail(errors::unknown_property(property));
        }
        let value = self.block(body)?;
        let mut val = self.to_tensor(value, span)?;
        for root in roots {
            let (elem, visible) = (self.elem(val), self.visible(val).to_vec());
            let form = Form::Assume { of: val, property: Name::new(&property.name), root };
            val = self.emit(form, elem, visible, span);
        }
        Ok(Value::Tensor(val))
    }
}
