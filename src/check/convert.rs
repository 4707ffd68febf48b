//! Values as tensors: numbers and lists, `x as f32`, `x as f32[T, heads, E]`.

use nn_grammar::ast;

use crate::axes::Dim;
use crate::base::Span;
use crate::graph::Literal;
use crate::tensor::DType;

use super::core::*;
use super::errors;
use super::state::{Checker, Checking};
use super::types::dtype_of;
use super::value::Value;

impl Checker<'_> {
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
    pub fn list_to_tensor(&mut self, items: &[Value], span: Span) -> Checking<Val> {
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

    /// `x as f32`, `x as f32[T, heads, E]`.
    pub fn convert(&mut self, value: &ast::Expr, ty: &ast::Type, span: Span) -> Checking<Value> {
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

    /// The number of entries of these axes together. That of the others must fit, too, where one is empty: places are counted with it.
    pub fn entries(&mut self, axes: &[AxisVar], span: Span) -> Checking<Dim> {
        let sizes: Vec<Dim> = axes.iter().filter_map(|&axis| self.size_of(axis)).collect();
        let (empty, others): (Vec<&Dim>, Vec<&Dim>) =
            sizes.iter().partition(|size| size.as_const() == Some(0));
        let product =
            others.iter().try_fold(Dim::constant(1), |total, size| self.dim(total.mul(size), span))?;
        Ok(if empty.is_empty() { product } else { Dim::constant(0) })
    }

    fn reshape(&mut self, val: Val, ty: &ast::Type, axes: &[ast::Axis], span: Span) -> Checking<Val> {
        let axes = self.read_axes(axes)?;
        let from = self.visible(val).to_vec();
        let (have, want) = (self.entries(&from, span)?, self.entries(&axes, span)?);
        if !self.demand_equal(&have, &want, ty.span) {
            let shown = self.show_val(val);
            let (all, new) = (self.shown_size(&have, None), self.shown_size(&want, None));
            let error = errors::reshape_count(span, &shown, &all, &new, ty.span);
            return self.fail(self.traced(error, &from));
        }
        let elem = self.elem(val);
        Ok(self.emit(Form::Reshape(val), elem, axes, span))
    }
}
