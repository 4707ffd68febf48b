//! Types as people read them.

use crate::base::Span;

use super::core::*;
use super::errors::AxisAt;
use super::state::Checker;
use super::value::Value;

impl Checker<'_> {
    pub fn show_axis(&self, axis: AxisVar) -> String {
        let info = &self.core.axes[axis];
        match &info.size {
            Some(size) => self.shown_size(size, Some(&info.origin.name)),
            None => info.name.to_string(),
        }
    }

    /// `[B, 64]`
    pub fn show_axes(&self, axes: &[AxisVar]) -> String {
        let names: Vec<_> = axes.iter().map(|&axis| self.show_axis(axis)).collect();
        format!("[{}]", names.join(", "))
    }

    pub fn show_elem(&self, elem: &Elem) -> String {
        match elem {
            Elem::Of(dtype) => dtype.to_string(),
            Elem::Idx(size, _) => format!("Idx[{}]", self.shown_size(size, None)),
        }
    }

    pub fn show_val(&self, val: Val) -> String {
        let (elem, axes) = (self.show_elem(&self.core.vals[val].elem), self.visible(val));
        if axes.is_empty() { elem } else { format!("{elem}{}", self.show_axes(axes)) }
    }

    pub fn show_value(&self, value: &Value) -> String {
        match value {
            Value::Tensor(val) => self.show_val(*val),
            Value::Tuple(fields) => {
                let shown = fields.iter().map(|field| match &field.label {
                    Some(label) => format!("{label}: {}", self.show_value(&field.value)),
                    None => self.show_value(&field.value),
                });
                format!("({})", shown.collect::<Vec<_>>().join(", "))
            }
            other => other.describe().to_owned(),
        }
    }

    /// An axis and the place where it matters.
    pub fn at_axis(&self, axis: AxisVar, span: Span) -> AxisAt {
        AxisAt { name: self.show_axis(axis), span }
    }
}

/// The axis as a type shows it: by its size.
pub fn show_axis(core: &Core, axis: AxisVar) -> String {
    match &core.axes[axis].size {
        Some(size) => size.to_string(),
        None => core.axes[axis].name.to_string(),
    }
}

pub fn show_elem(elem: &Elem) -> String {
    match elem {
        Elem::Of(dtype) => dtype.to_string(),
        Elem::Idx(size, _) => format!("Idx[{size}]"),
    }
}

/// `f32[N, 10]`
pub fn show_val(core: &Core, val: Val) -> String {
    show_type(core, &core.vals[val].elem, &core.vals[val].visible)
}

pub fn show_type(core: &Core, elem: &Elem, axes: &[AxisVar]) -> String {
    let names: Vec<_> = axes.iter().map(|&axis| show_axis(core, axis)).collect();
    if names.is_empty() { show_elem(elem) } else { format!("{}[{}]", show_elem(elem), names.join(", ")) }
}
