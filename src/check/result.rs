//! A value against the type that is declared for it.

use nn_grammar::ast::{self, ExprKind, TypeKind};

use crate::base::Span;

use super::core::*;
use super::errors;
use super::state::{Checker, Checking};
use super::value::{Field, Value};

impl Checker<'_> {
    pub fn match_result(&mut self, def: &ast::Def, ty: &ast::Type, value: Value) -> Checking<Value> {
        let span = match &def.body.kind {
            ExprKind::Block(block) => block.tail.as_ref().map_or(def.body.span, |tail| tail.span),
            _ => def.body.span,
        };
        self.match_value(ty, value, span)
    }

    /// A value as one of a declared type: static numbers become tensors, the rest must agree.
    pub fn match_value(&mut self, ty: &ast::Type, value: Value, span: Span) -> Checking<Value> {
        match (&ty.kind, value) {
            (TypeKind::Tuple(types), Value::Tuple(fields)) if types.len() == fields.len() => {
                let mut matched = Vec::new();
                for (ty, field) in types.iter().zip(fields.iter()) {
                    let value = self.match_value(&ty.ty, field.value.clone(), span)?;
                    let label =
                        ty.label.as_ref().map(|label| label.name.clone()).or_else(|| field.label.clone());
                    matched.push(Field { label, value });
                }
                Ok(Value::Tuple(matched.into()))
            }
            (
                TypeKind::Named { .. } | TypeKind::Index { .. },
                value
                @ (Value::Tensor(_) | Value::Num(_) | Value::Index(_) | Value::List(_) | Value::Bool(_)),
            ) => {
                let (elem, axes) = self.read_type(ty)?;
                let val = self.to_tensor_of(value, &elem, span)?;
                // A scalar stands for a tensor of equal entries only where it says so: `zeros`, `0` as a first value.
                let (visible, given) = (self.visible(val).to_vec(), self.elem(val));
                if visible.is_empty() && !axes.is_empty() && self.expected.is_some() {
                    return Ok(Value::Tensor(self.emit(
                        Form::Tabulate { axes: axes.clone(), body: val },
                        given,
                        axes,
                        span,
                    )));
                }
                if !self.elem_fits(&elem, &given) {
                    return self.fail(errors::wrong_elem(
                        span,
                        &self.show_elem(&elem),
                        &self.show_elem(&given),
                        ty.span,
                    ));
                }
                if visible.len() != axes.len() {
                    let (want, given) = (self.show_axes(&axes), self.show_axes(&visible));
                    let kept = self.kept_axes(&axes, val);
                    return self.fail(errors::wrong_rank(span, &want, &given, ty.span, kept));
                }
                for (index, (&want, &given)) in axes.iter().zip(&visible).enumerate() {
                    if !self.join_axes(want, given, span) {
                        return self.other_axis((given, span), (want, axis_place(ty, index)));
                    }
                }
                // Declared axes that are bound names give their identity to the result.
                if axes != visible && axes.iter().all(|axis| !self.ambient.contains(axis)) {
                    return Ok(Value::Tensor(self.emit(
                        Form::Rename { of: val, to: axes.clone() },
                        given,
                        axes,
                        span,
                    )));
                }
                Ok(Value::Tensor(val))
            }
            (_, value) => {
                let what = self.show_value(&value);
                self.fail(errors::wrong_value(span, &what, ty.span))
            }
        }
    }

    /// The axes of a value in front of those that are wanted, where it has these, too.
    pub fn kept_axes(&self, wanted: &[AxisVar], val: Val) -> Option<errors::Kept> {
        let visible = self.visible(val);
        let (further, last) = visible.split_at(visible.len().checked_sub(wanted.len())?);
        let same = |(&have, &want): (&AxisVar, &AxisVar)| self.size_of(have) == self.size_of(want);
        if further.is_empty() || !last.iter().zip(wanted).all(same) {
            return None;
        }
        let shown: Vec<String> = further.iter().map(|&axis| self.show_axis(axis)).collect();
        let sizes: Vec<_> = further.iter().filter_map(|&axis| self.size_of(axis)).collect();
        if sizes.iter().all(|size| size.as_const().is_some()) {
            return Some(errors::Kept::Sized(shown.join(", ")));
        }
        let declared = |name: &String| self.core.roots.values().any(|root| *root.name == **name);
        shown
            .iter()
            .all(declared)
            .then(|| errors::Kept::Named { further: shown.join(", "), ty: self.show_val(val) })
    }
}

/// The place of an axis in a type; that of the whole type where a pack stands for several.
fn axis_place(ty: &ast::Type, index: usize) -> Span {
    let (TypeKind::Named { axes, .. } | TypeKind::Index { axes, .. }) = &ty.kind else { return ty.span };
    let packed = axes.iter().any(|axis| matches!(axis.kind, ast::AxisKind::Pack(_)));
    axes.get(index).filter(|_| !packed).map_or(ty.span, |axis| axis.span)
}
