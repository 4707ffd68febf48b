//! `expect accuracy >= 0.9`: what a training is to reach, said of its measures.

use nn_grammar::ast::{self, BinaryOp, CmpOp, ExprKind, UnaryOp};

use crate::base::{Name, Span};

use super::errors;
use super::state::Checking;
use super::train::TrainWalk;
use super::value::Value;

/// A comparison of two figures.
#[derive(Clone, Debug)]
pub struct Expectation {
    pub span: Span,
    pub left: Figure,
    pub op: CmpOp,
    pub right: Figure,
}

/// Arithmetic on the measures of a training.
#[derive(Clone, Debug)]
pub enum Figure {
    Number(f64),
    /// The number of a measure.
    Measure(usize),
    Negative(Box<Figure>),
    Binary(BinaryOp, Box<Figure>, Box<Figure>),
}

impl Figure {
    /// Its value, where the measures have these.
    pub fn value(&self, measured: &[(Name, f64)]) -> f64 {
        match self {
            Figure::Number(number) => *number,
            Figure::Measure(index) => measured.get(*index).map_or(f64::NAN, |(_, value)| *value),
            Figure::Negative(figure) => -figure.value(measured),
            Figure::Binary(op, left, right) => {
                let (left, right) = (left.value(measured), right.value(measured));
                match op {
                    BinaryOp::Add => left + right,
                    BinaryOp::Sub => left - right,
                    BinaryOp::Mul => left * right,
                    BinaryOp::Div => left / right,
                    BinaryOp::Pow => left.powf(right),
                    // Refused when it was read.
                    BinaryOp::Rem | BinaryOp::MatMul => f64::NAN,
                }
            }
        }
    }

    /// Whether it depends on what a training measures.
    pub fn is_measured(&self) -> bool {
        match self {
            Figure::Number(_) => false,
            Figure::Measure(_) => true,
            Figure::Negative(figure) => figure.is_measured(),
            Figure::Binary(_, left, right) => left.is_measured() || right.is_measured(),
        }
    }
}

impl Expectation {
    /// Whether it holds; never of a figure that is no number.
    pub fn holds(&self, measured: &[(Name, f64)]) -> bool {
        let (left, right) = (self.left.value(measured), self.right.value(measured));
        match self.op {
            CmpOp::Lt => left < right,
            CmpOp::Le => left <= right,
            CmpOp::Gt => left > right,
            CmpOp::Ge => left >= right,
            // Refused when it was read.
            CmpOp::Eq | CmpOp::Ne | CmpOp::Approx | CmpOp::In => false,
        }
    }
}

impl TrainWalk<'_> {
    /// The `expect` clauses, once all measures are known.
    pub(super) fn expectations(&mut self, train: &ast::Train) -> Checking<Vec<Expectation>> {
        let mut found = Vec::new();
        for clause in &train.clauses {
            let ast::ClauseKind::Word { word, name, value } = &clause.kind else { continue };
            if word.name != "expect" {
                continue;
            }
            let ExprKind::Compare { op: op @ (CmpOp::Lt | CmpOp::Le | CmpOp::Gt | CmpOp::Ge), left, right } =
                &value.kind
            else {
                return self.cx.fail(errors::expect_form(value.span));
            };
            if let Some(name) = name {
                return self.cx.fail(errors::expect_form(name.span));
            }
            let (left, right) = (self.figure(left)?, self.figure(right)?);
            found.push(Expectation { span: value.span, left, op: *op, right });
        }
        Ok(found)
    }

    /// The number of the measure of this name.
    pub(super) fn measure_named(&mut self, name: &ast::Ident) -> Checking<usize> {
        let mut called = (0..self.measures.len()).filter(|&index| self.measures[index].0 == name.name);
        match (called.next(), called.next()) {
            (Some(index), None) => Ok(index),
            (Some(_), Some(_)) => self.cx.fail(errors::which_measure(name)),
            (None, _) => {
                let known: Vec<Name> = self.measures.iter().map(|(name, _)| name.clone()).collect();
                self.cx.fail(errors::unknown_measure(name, &known))
            }
        }
    }

    fn figure(&mut self, expr: &ast::Expr) -> Checking<Figure> {
        match &expr.kind {
            ExprKind::Name(name) => {
                let measured = self.measures.iter().any(|(measure, _)| *measure == name.name);
                if measured || self.cx.frame.locals.iter().all(|(local, _)| *local != name.name) {
                    return self.measure_named(name).map(Figure::Measure);
                }
            }
            ExprKind::Unary { op: UnaryOp::Neg, operand } => {
                return Ok(Figure::Negative(Box::new(self.figure(operand)?)));
            }
            ExprKind::Binary {
                op: op @ (BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Pow),
                left,
                right,
            } => {
                let (left, right) = (self.figure(left)?, self.figure(right)?);
                return Ok(Figure::Binary(*op, Box::new(left), Box::new(right)));
            }
            ExprKind::Tuple(args) => {
                if let [ast::Arg { label: None, value, .. }] = args.as_slice() {
                    return self.figure(value);
                }
            }
            _ => {}
        }
        match self.cx.eval(expr)? {
            Value::Num(number) if number.known().is_some() => {
                Ok(Figure::Number(number.known().unwrap_or(f64::NAN)))
            }
            _ => self.cx.fail(errors::expect_form(expr.span)),
        }
    }
}
