//! What a program says of itself: `where`, `assert`, `assume`.

use std::collections::BTreeSet;

use nn_grammar::ast::{self, ExprKind};

use crate::base::{Name, Span};
use crate::tensor::DType;

use super::core::*;
use super::errors;
use super::state::{Checker, Checking};
use super::value::{Num, Value};

impl Checker<'_> {
    /// `where D % heads == 0 and T <= MAX`: facts inside, conditions for callers.
    pub fn assume_constraint(&mut self, constraint: &ast::Expr) -> Checking<()> {
        for conjunct in constraint.conjuncts() {
            let ExprKind::Compare { op, left, right } = &conjunct.kind else {
                return self.fail(errors::constraint_form(conjunct.span));
            };
            let divides = match (&left.kind, op) {
                (ExprKind::Binary { op: ast::BinaryOp::Rem, left, right: by }, ast::CmpOp::Eq) => {
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
                        return self.condition_fails(conjunct);
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

    /// A condition that is false for the dims at hand: what they are, and where they come from.
    fn condition_fails(&mut self, condition: &ast::Expr) -> Checking<()> {
        let mut names = Vec::new();
        names_in(condition, &mut names);
        let (mut values, mut axes) = (Vec::new(), Vec::new());
        for name in names {
            let Some(Value::Num(Num { dim: Some(dim), axis, .. })) = self.lookup(&name.name) else {
                continue;
            };
            let value = format!("{} is {}", name.name, self.shown_size(&dim, None));
            if !values.contains(&value) {
                values.push(value);
                axes.extend(axis);
            }
        }
        let error = errors::constraint_fails(condition.span, &values.join(", "));
        self.fail(self.traced(error, &axes))
    }

    pub fn assertion(&mut self, condition: &ast::Expr, span: Span) -> Checking<()> {
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
            ExprKind::Compare { left, right, .. } => {
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

/// The names in arithmetic and comparisons of dims.
fn names_in<'a>(expr: &'a ast::Expr, names: &mut Vec<&'a ast::Ident>) {
    match &expr.kind {
        ExprKind::Name(name) => names.push(name),
        ExprKind::Unary { operand, .. } => names_in(operand, names),
        ExprKind::Binary { left, right, .. } | ExprKind::Compare { left, right, .. } => {
            names_in(left, names);
            names_in(right, names);
        }
        _ => {}
    }
}
