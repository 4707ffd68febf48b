//! Blocks and statements, and loops over what is known when compiling.

use nn_grammar::ast::{self, PatKind, StmtKind};

use crate::base::Span;

use super::errors;
use super::state::{Checker, Checking, Reported};
use super::value::{Callable, Func, Value};

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
                    callable: Callable::Def(std::sync::Arc::new((**def).clone()), self.scope()),
                    statics: None,
                    captured: Some(std::sync::Arc::new(self.frame.locals.clone())),
                    instance: None,
                    span: stmt.span,
                };
                self.bind(def.name.name.clone(), Value::Func(std::sync::Arc::new(func)));
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
}
