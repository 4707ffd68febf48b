//! Types as they are written: reading them, and matching a signature against what a call gives.

use std::collections::BTreeSet;

use nn_grammar::ast::{self, AxisKind, ExprKind, TypeKind};

use crate::axes::{Dim, DimVar, solve_one};
use crate::base::{Name, Span};
use crate::tensor::DType;

use super::core::*;
use super::errors;
use super::kind::Kind;
use super::origin::Why;
use super::state::{Checker, Checking, Frame};
use super::value::{Num, Value};

/// The dtype of a type name, with `f32`, and what is stored in 16 bits for it, read as the program's float.
pub fn dtype_of(name: &str, wide: bool) -> Option<DType> {
    Some(match name {
        "f32" | "bf16" | "f16" if wide => DType::F64,
        "f32" => DType::F32,
        "f64" => DType::F64,
        "bf16" => DType::BF16,
        "f16" => DType::F16,
        "i32" => DType::I32,
        "i64" => DType::I64,
        "u8" => DType::U8,
        "bool" => DType::Bool,
        _ => return None,
    })
}

/// `float`, `num` and `any` stand for the dtype that a call gives, the same everywhere in the signature.
fn is_dtype_variable(name: &str) -> bool {
    matches!(name, "float" | "num" | "any")
}

/// The tensor type that is written, or `None` for tuples, functions and lists.
pub fn as_tensor_type(ty: &ast::Type) -> Option<(Option<&ast::Ident>, Option<&ast::Axis>, &[ast::Axis])> {
    match &ty.kind {
        TypeKind::Named { name, axes } => Some((Some(name), None, axes)),
        TypeKind::Index { range, axes } => Some((None, Some(range), axes)),
        _ => None,
    }
}

/// The name of an axis that is nothing but a name.
fn bare_name(axis: &ast::Axis) -> Option<&ast::Ident> {
    match &axis.kind {
        AxisKind::Size(expr) => expr.as_name(),
        AxisKind::Kinded { name, .. } => Some(name),
        AxisKind::Pack(_) => None,
    }
}

/// Notes the kind that an axis of a signature declares with its name's local.
fn declare_kind(locals: &mut [(Name, Value)], axis: &ast::Axis) {
    let AxisKind::Kinded { kind, name } = &axis.kind else { return };
    if let Some((_, Value::Num(num))) = locals.iter_mut().rev().find(|(local, _)| *local == name.name) {
        num.declared = Kind::parse(&kind.name);
    }
}

/// Most axes that a signature names: what is proved of each is looked for in every value.
const ROOTS: usize = 256;

impl Checker<'_> {
    /// Splits off the axes that a parameter does not name: how many there are in front.
    /// `given` is the value that has these axes.
    pub fn extra_axes(
        &mut self,
        ty: &ast::Type,
        actual: &[AxisVar],
        span: Span,
        given: Option<Val>,
    ) -> Checking<usize> {
        let Some((_, _, axes)) = as_tensor_type(ty) else { return Ok(0) };
        let packs = axes.iter().filter(|axis| matches!(axis.kind, AxisKind::Pack(_))).count();
        let named = axes.len() - packs;
        if actual.len() < named {
            let shown = self.show_axes(actual);
            let kept = given.filter(|_| actual.is_empty()).and_then(|val| self.last_kept(val, named));
            let error = errors::too_few_axes(span, named, &shown, ty.span, kept);
            return self.fail(self.traced(error, actual));
        }
        Ok(if packs > 0 { 0 } else { actual.len() - named })
    }

    /// What a reduction over all axes would name to leave as many as are wanted.
    fn last_kept(&self, val: Val, wanted: usize) -> Option<String> {
        let Form::Reduce { over, body, .. } = &self.core.vals[val].form else { return None };
        let visible = self.visible(*body);
        let left = visible.len().checked_sub(wanted).filter(|&left| left > 0)?;
        if !over.iter().all(|axis| visible.contains(axis)) {
            return None;
        }
        let names: Vec<String> = visible[..left].iter().map(|&axis| self.show_axis(axis)).collect();
        // An axis is named by its size where no other has it.
        let unique =
            |name: &String| visible.iter().filter(|&&axis| self.show_axis(axis) == *name).count() == 1;
        if !names.iter().all(unique) {
            return None;
        }
        Some(if left == 1 { names.concat() } else { format!("({})", names.join(", ")) })
    }

    /// Binds the names of a parameter's type to what is given, in the frame that is being built: bare names first.
    pub fn bind_names(&mut self, frame: &mut Frame, ty: &ast::Type, actual: &[AxisVar], elem: &Elem) {
        let Some((name, range, axes)) = as_tensor_type(ty) else { return };
        if let Some(name) = name
            && is_dtype_variable(&name.name)
            && !frame.dtypes.iter().any(|(bound, _)| *bound == name.name)
        {
            frame.dtypes.push((name.name.clone(), elem.clone()));
        }
        if let (Some(range), Elem::Idx(size, _)) = (range, elem)
            && let Some(name) = bare_name(range)
            && !frame.locals.iter().any(|(bound, _)| *bound == name.name)
        {
            frame.locals.push((name.name.clone(), Value::Num(Num::dim(size.clone()))));
        }
        let pack = axes.iter().position(|axis| matches!(axis.kind, AxisKind::Pack(_)));
        let taken = (actual.len() + 1).saturating_sub(axes.len());
        let mut position = 0;
        for (index, axis) in axes.iter().enumerate() {
            if Some(index) == pack {
                if let AxisKind::Pack(name) = &axis.kind {
                    let all = actual[position..position + taken].to_vec();
                    if !frame.locals.iter().any(|(bound, _)| *bound == name.name) {
                        frame.locals.push((name.name.clone(), Value::Pack(all.into())));
                    }
                }
                position += taken;
                continue;
            }
            if let Some(name) = bare_name(axis)
                && let Some(size) = self.size_of(actual[position])
                && !frame.locals.iter().any(|(bound, _)| *bound == name.name)
            {
                frame.locals.push((name.name.clone(), Value::Num(Num::of_axis(actual[position], size))));
            }
            declare_kind(&mut frame.locals, axis);
            position += 1;
        }
    }

    /// Solves the arithmetic axes of a parameter's type for the one name that is still open (`heads * E` against 64).
    /// Runs in the frame being built.
    pub fn solve_names(&mut self, ty: &ast::Type, actual: &[AxisVar]) -> Checking<()> {
        let Some((_, _, axes)) = as_tensor_type(ty) else { return Ok(()) };
        if axes.iter().any(|axis| matches!(axis.kind, AxisKind::Pack(_))) {
            return Ok(());
        }
        for (axis, &given) in axes.iter().zip(actual) {
            let AxisKind::Size(expr) = &axis.kind else { continue };
            if expr.as_name().is_some() {
                continue;
            }
            let mut open = Vec::new();
            self.open_names(expr, &mut open);
            open.sort();
            open.dedup();
            let [name] = open.as_slice() else { continue };
            let unknown = DimVar::new(name);
            self.bind(name.clone(), Value::Num(Num::dim(Dim::var(unknown.clone()))));
            let pattern = self.dim_expr(expr);
            self.frame.locals.pop();
            let pattern = pattern?;
            let Some(target) = self.size_of(given) else { continue };
            match solve_one(&pattern, &target, &BTreeSet::from([unknown])) {
                Some((_, solution)) => self.bind(name.clone(), Value::Num(Num::dim(solution))),
                None => {
                    let (pattern, target) = (self.shown_size(&pattern, None), self.show_axis(given));
                    let error = errors::cannot_solve(axis.span, name, &pattern, &target);
                    return self.fail(self.traced(error, &[given]));
                }
            }
        }
        Ok(())
    }

    /// The names in a dim expression that mean nothing yet.
    fn open_names(&self, expr: &ast::Expr, open: &mut Vec<Name>) {
        match &expr.kind {
            ExprKind::Name(name) => {
                let known = self.lookup(&name.name).is_some()
                    || self.program.resolve(self.scope(), &name.name).is_some();
                if !known {
                    open.push(name.name.clone());
                }
            }
            ExprKind::Binary { left, right, .. } => {
                self.open_names(left, open);
                self.open_names(right, open);
            }
            ExprKind::Unary { operand, .. } => self.open_names(operand, open),
            _ => {}
        }
    }

    /// Checks what is given against a parameter's type whose names are all bound.
    pub fn match_type(
        &mut self,
        ty: &ast::Type,
        elem: &Elem,
        actual: &[AxisVar],
        span: Span,
    ) -> Checking<()> {
        let (wanted, axes) = self.read_type(ty)?;
        if !self.elem_fits(&wanted, elem) {
            return self.fail(errors::wrong_elem_given(
                span,
                &self.show_elem(&wanted),
                &self.show_elem(elem),
                ty.span,
            ));
        }
        if axes.len() != actual.len() {
            let (wanted, given) = (self.show_axes(&axes), self.show_axes(actual));
            return self.fail(errors::wrong_rank(span, &wanted, &given, ty.span, None));
        }
        for (&want, &given) in axes.iter().zip(actual) {
            if !self.join_axes(want, given, span) {
                return self.other_axis((given, span), (want, ty.span));
            }
        }
        Ok(())
    }

    /// One element type may stand where another is wanted.
    pub fn elem_fits(&self, wanted: &Elem, given: &Elem) -> bool {
        match (wanted, given) {
            (Elem::Of(left), Elem::Of(right)) => left == right,
            (Elem::Idx(left, _), Elem::Idx(right, _)) => self.same_dim(left, right),
            _ => false,
        }
    }

    /// Two axes agree: equal sizes, of which one may be a binder's that is still open.
    pub fn unify(&mut self, left: AxisVar, right: AxisVar) -> bool {
        match (self.size_of(left), self.size_of(right)) {
            (Some(left), Some(right)) => self.same_dim(&left, &right),
            (None, Some(_)) => {
                self.resolve_range(left, right);
                true
            }
            (Some(_), None) => {
                self.resolve_range(right, left);
                true
            }
            (None, None) => left == right,
        }
    }

    /// A binder's range is found: it runs over this axis.
    pub fn resolve_range(&mut self, binder: AxisVar, over: AxisVar) {
        let AxisInfo { size, root, origin, .. } = self.core.axes[over].clone();
        let info = &mut self.core.axes[binder];
        info.size = size;
        info.root = root;
        info.origin = origin;
        self.core.axes[binder].family = Some(self.family(over));
    }

    /// The element type and the axes of a type whose names are bound; axes that are a bound name keep that axis' identity.
    pub fn read_type(&mut self, ty: &ast::Type) -> Checking<(Elem, Vec<AxisVar>)> {
        match &ty.kind {
            TypeKind::Named { name, axes } => {
                let elem = self.named_elem(name)?;
                let axes = self.read_axes(axes)?;
                Ok((elem, axes))
            }
            TypeKind::Index { range, axes } => {
                let over = self.read_axes(std::slice::from_ref(range))?;
                let [over] = over.as_slice() else {
                    return self.fail(errors::not_a_tensor_type(ty.span));
                };
                let info = &self.core.axes[*over];
                let elem = Elem::Idx(info.size.clone().unwrap_or_else(|| Dim::constant(0)), info.root);
                let axes = self.read_axes(axes)?;
                Ok((elem, axes))
            }
            _ => self.fail(errors::not_a_tensor_type(ty.span)),
        }
    }

    fn named_elem(&mut self, name: &ast::Ident) -> Checking<Elem> {
        if let Some(dtype) = dtype_of(&name.name, self.mode.wide) {
            return Ok(Elem::Of(dtype));
        }
        if is_dtype_variable(&name.name) {
            let bound = self.frame.dtypes.iter().find(|(bound, _)| *bound == name.name);
            return Ok(bound.map_or(Elem::Of(self.float()), |(_, elem)| elem.clone()));
        }
        self.fail(errors::unknown_type(name.span, &name.name))
    }

    /// The axes of a type, each a new axis unless it is a bound name's.
    pub fn read_axes(&mut self, axes: &[ast::Axis]) -> Checking<Vec<AxisVar>> {
        let mut read = Vec::new();
        for axis in axes {
            match &axis.kind {
                AxisKind::Pack(name) => match self.lookup(&name.name) {
                    Some(Value::Pack(pack)) => read.extend(pack.iter().copied()),
                    _ => return self.fail(errors::unknown_pack(name.span, &name.name)),
                },
                AxisKind::Kinded { name, .. } => read.push(self.axis_of_name(name)?),
                AxisKind::Size(expr) => match expr.as_name() {
                    Some(name) => read.push(self.axis_of_name(name)?),
                    None => {
                        let (num, size) = self.dim_num(expr)?;
                        let name = Name::new(size.to_string());
                        let made = self.axis_of_num(name.clone(), &num, size, axis.span)?;
                        self.set_origin(made, Why::Declared, &name);
                        read.push(made);
                    }
                },
            }
        }
        // Two axes of one value are two axes, also where they have one name: `f32[N, N]`.
        for index in 1..read.len() {
            if read[..index].contains(&read[index]) {
                read[index] = self.fresh_like(read[index]);
            }
        }
        Ok(read)
    }

    /// The axis that a name in a type stands for.
    fn axis_of_name(&mut self, name: &ast::Ident) -> Checking<AxisVar> {
        match self.lookup(&name.name) {
            Some(Value::Num(Num { axis: Some(axis), .. })) => Ok(axis),
            Some(Value::Num(Num { dim: Some(dim), .. })) => {
                let axis = self.fresh_axis(name.name.clone(), Some(dim), name.span);
                self.set_origin(axis, Why::Declared, &name.name);
                Ok(axis)
            }
            Some(other) => {
                let what = other.describe();
                self.fail(errors::not_a_dim(name.span, what))
            }
            None => {
                let value = self.file_name(name)?;
                match value {
                    Value::Num(Num { dim: Some(dim), .. }) => {
                        let axis = self.fresh_axis(name.name.clone(), Some(dim), name.span);
                        self.set_origin(axis, Why::Declared, &name.name);
                        Ok(axis)
                    }
                    other => {
                        let what = other.describe();
                        self.fail(errors::not_a_dim(name.span, what))
                    }
                }
            }
        }
    }

    // ---- an item's own signature ---------------------------------------------------------------

    /// Makes roots of the names that a signature introduces, with the kinds that it declares.
    pub fn introduce_roots(&mut self, params: &[ast::Param]) -> Checking<()> {
        for param in params {
            self.introduce_type(&param.ty)?;
            if self.core.roots.len() > ROOTS {
                return self.fail(errors::too_many_axes(param.ty.span, ROOTS));
            }
        }
        Ok(())
    }

    fn introduce_type(&mut self, ty: &ast::Type) -> Checking<()> {
        match &ty.kind {
            TypeKind::Tuple(fields) => {
                for field in fields {
                    self.introduce_type(&field.ty)?;
                }
                Ok(())
            }
            TypeKind::Named { axes, .. } => axes.iter().try_for_each(|axis| self.introduce_axis(axis)),
            TypeKind::Index { range, axes } => {
                self.introduce_axis(range)?;
                axes.iter().try_for_each(|axis| self.introduce_axis(axis))
            }
            _ => Ok(()),
        }
    }

    fn introduce_axis(&mut self, axis: &ast::Axis) -> Checking<()> {
        let mut open = Vec::new();
        match &axis.kind {
            AxisKind::Kinded { kind, name } => {
                let Some(known) = Kind::parse(&kind.name) else {
                    return self.fail(errors::unknown_kind(kind.span, &kind.name));
                };
                if let Some(root) = self.root_of_name(&name.name) {
                    match self.core.roots[root].kind {
                        Some((first, place)) if first != known => {
                            return self.fail(errors::two_kinds(axis.span, &name.name, known, first, place));
                        }
                        _ => self.core.roots[root].kind = Some((known, axis.span)),
                    }
                    declare_kind(&mut self.frame.locals, axis);
                    return Ok(());
                }
                let size = match self.lookup(&name.name) {
                    None => Dim::var(name.name.as_str()),
                    // A static parameter as the size of an axis: `model m(T: dim = 64)(x: f32[causal T])`.
                    Some(Value::Num(Num { dim: Some(dim), .. })) => dim,
                    Some(other) => {
                        let what = other.describe();
                        return self.fail(errors::not_a_dim(name.span, what));
                    }
                };
                self.introduce_root(name.name.clone(), size, Some((known, axis.span)), axis.span);
                return Ok(());
            }
            AxisKind::Pack(name) => {
                if self.lookup(&name.name).is_none() {
                    let axis = self.introduce_axis_root(name.name.clone(), None, axis.span);
                    self.bind(name.name.clone(), Value::Pack(vec![axis].into()));
                }
                return Ok(());
            }
            AxisKind::Size(expr) => match expr.as_name() {
                Some(name) if self.lookup(&name.name).is_none() => {
                    if self.program.resolve(self.scope(), &name.name).is_none() {
                        open.push(name.name.clone());
                    }
                }
                Some(_) => {}
                None => self.open_names(expr, &mut open),
            },
        }
        for name in open {
            if self.lookup(&name).is_none() {
                self.introduce_root(name.clone(), Dim::var(name.as_str()), None, axis.span);
            }
        }
        Ok(())
    }

    fn introduce_root(&mut self, name: Name, size: Dim, kind: Option<(Kind, Span)>, span: Span) {
        let axis = self.root_axis(name.clone(), size.clone(), kind, span);
        let declared = kind.map(|(kind, _)| kind);
        self.bind(name, Value::Num(Num { declared, ..Num::of_axis(axis, size) }));
    }

    /// An axis with a root of its own.
    pub fn introduce_axis_root(&mut self, name: Name, kind: Option<(Kind, Span)>, span: Span) -> AxisVar {
        let size = Dim::var(name.as_str());
        self.root_axis(name, size, kind, span)
    }

    fn root_axis(&mut self, name: Name, size: Dim, kind: Option<(Kind, Span)>, span: Span) -> AxisVar {
        let root = self.core.roots.push(RootInfo { name: name.clone(), size: size.clone(), kind, span });
        let axis = self.fresh_axis(name.clone(), Some(size), span);
        self.set_origin(axis, Why::Declared, &name);
        self.core.axes[axis].root = Some(root);
        axis
    }

    fn root_of_name(&self, name: &str) -> Option<Root> {
        match self.lookup(name) {
            Some(Value::Num(Num { axis: Some(axis), .. })) => self.core.axes[axis].root,
            _ => None,
        }
    }
}
