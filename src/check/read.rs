//! Reads: `x[i, 2*j + a - p, 0..n]`, and what lies outside of an axis.
//!
//! An index must provably lie inside of its axis, be guarded, or read an axis whose kind the signature in scope declares:
//! outside of a `grid` there are zeros, before the start of a `causal` axis too, a `ring` has no outside.

use nn_grammar::ast::{self, IxKind};

use crate::axes::Dim;
use crate::base::Span;
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::arithmetic::holds_numbers;
use super::core::*;
use super::errors;
use super::kind::Kind;
use super::state::{Checker, Checking, Waiting};
use super::value::{Num, Placed, Value};

impl Checker<'_> {
    /// `x[i, 0, a..b]`
    pub fn index(&mut self, base: &ast::Expr, at: &[ast::Ix], span: Span) -> Checking<Value> {
        let value = self.eval(base)?;
        let val = match value {
            Value::List(items) => match self.static_entry(&items, at, span)? {
                Some(entry) => return Ok(entry),
                // Floats that an index runs over are a tensor.
                None if holds_numbers(&items) => self.list_to_tensor(&items, base.span)?,
                None => return self.fail(errors::list_index_not_static(span)),
            },
            Value::Tuple(fields) => {
                let items: Vec<Value> = fields.iter().map(|field| field.value.clone()).collect();
                return match self.static_entry(&items, at, span)? {
                    Some(entry) => Ok(entry),
                    None => self.fail(errors::list_index_not_static(span)),
                };
            }
            Value::Tensor(val) => val,
            other => {
                let what = other.describe();
                return self.fail(errors::cannot_index(base.span, what));
            }
        };
        let visible = self.visible(val).to_vec();
        if at.len() > visible.len() {
            let shown = self.show_val(val);
            return self.fail(errors::too_many_indices(span, &shown, at.len()));
        }
        let mut reads = Vec::new();
        let mut front = Vec::new();
        let mut outside = Outside::Never;
        for (ix, &axis) in at.iter().zip(&visible) {
            let read = match &ix.kind {
                IxKind::Point(expr) => {
                    let index = self.eval(expr)?;
                    let (read, lies) = self.read_at(index, axis, val, expr.span)?;
                    if lies == Outside::Zero {
                        outside = lies;
                    }
                    read
                }
                IxKind::Slice { start: None, end: None } => {
                    front.push(axis);
                    At::Keep
                }
                IxKind::Slice { start, end } => {
                    let (read, sliced) = self.slice(axis, start.as_ref(), end.as_ref(), val, ix.span)?;
                    front.push(sliced);
                    read
                }
            };
            if let At::Entry(index) = &read {
                let axes = self.visible(*index).to_vec();
                front.extend(axes);
            }
            reads.push(read);
        }
        reads.extend(std::iter::repeat_n(At::Keep, visible.len() - at.len()));
        front.extend(&visible[at.len()..]);
        let elem = self.elem(val);
        Ok(Value::Tensor(self.emit(Form::Read { of: val, at: reads, outside }, elem, front, span)))
    }

    /// The entry of a list; `None` where the index is not known when compiling.
    fn static_entry(&mut self, items: &[Value], at: &[ast::Ix], span: Span) -> Checking<Option<Value>> {
        if let [ast::Ix { kind: IxKind::Point(expr), .. }] = at
            && let Value::Num(Num { dim: Some(dim), .. }) = self.eval(expr)?
            && let Some(index) = self.decide(&dim)
        {
            let length = items.len() as i64;
            let index = if index < 0 { index + length } else { index };
            return match usize::try_from(index).ok().and_then(|index| items.get(index)) {
                Some(item) => Ok(Some(item.clone())),
                None => self.fail(errors::list_index(span, index, items.len())),
            };
        }
        Ok(None)
    }

    /// One index into one axis, and whether it may lie outside.
    fn read_at(&mut self, index: Value, axis: AxisVar, of: Val, span: Span) -> Checking<(At, Outside)> {
        match index {
            Value::Index(point) => {
                if let Some(binder) = point.as_axis() {
                    if !self.unify(binder, axis) {
                        // A written range says how far it goes: `for i: T - 1 => x[i + 1] - x[i]`.
                        if self.ranged.contains(&binder)
                            && self.lies_inside(&point, axis, span)? == Some(true)
                        {
                            return Ok((At::Point(point), Outside::Never));
                        }
                        let runs = self.at_axis(binder, self.core.axes[binder].span);
                        let (shown, given) = (self.show_val(of), self.show_axis(axis));
                        let error = errors::binder_over_other_axis(span, runs, &given, &shown);
                        return self.fail(self.traced(error, &[binder, axis]));
                    }
                    // A read through a binder whose range is written keeps the root of what it reads.
                    if self.core.axes[binder].root.is_none() {
                        self.core.axes[binder].root = self.core.axes[axis].root;
                    }
                    return Ok((At::Point(point), Outside::Never));
                }
                self.read_point(point, axis, of, span)
            }
            Value::Num(Num { dim: Some(dim), .. }) => {
                let point = Point::constant(dim);
                self.prove_in_range(&point, axis, span)?;
                Ok((At::Point(point), Outside::Never))
            }
            Value::Tensor(entry) => match self.elem(entry) {
                Elem::Idx(size, _) => {
                    let have = self.size_of(axis).unwrap_or_else(|| Dim::constant(0));
                    if !self.same_dim(&size, &have) {
                        let (shown, of) = (self.show_val(entry), self.show_val(of));
                        let error = errors::entry_of_other_axis(span, &shown, &of, &have);
                        let error = self.traced_range(self.traced(error, &[axis]), &self.elem(entry));
                        return self.fail(error);
                    }
                    Ok((At::Entry(entry), Outside::Never))
                }
                Elem::Of(_) => {
                    let shown = self.show_val(entry);
                    let error = errors::index_must_be_positions(span, &shown, &self.show_axis(axis));
                    self.fail(self.traced(error, &[axis]))
                }
            },
            other => {
                let what = other.describe();
                self.fail(errors::not_an_index(span, what))
            }
        }
    }

    /// A read at an expression that is no plain binder.
    fn read_point(&mut self, point: Point, axis: AxisVar, of: Val, span: Span) -> Checking<(At, Outside)> {
        let known = !self.is_open(&point, axis);
        if !known {
            self.guess_ranges(&point, axis);
        }
        if known && self.lies_inside(&point, axis, span)? == Some(true) {
            return Ok((At::Point(point), Outside::Never));
        }
        // A position has no zero: outside of the axis there is nothing that a read of `Idx` could give.
        let has_zero = matches!(self.elem(of), Elem::Of(_));
        match self.declared_kind(axis) {
            Some(Kind::Ring) => match self.size_of(axis) {
                Some(size) => Ok((At::Point(Point::Rem(Box::new(point), size)), Outside::Never)),
                None => self.fail(errors::index_range_unknown(span, "index")),
            },
            Some(Kind::Grid | Kind::Causal) if has_zero => Ok((At::Point(point), Outside::Zero)),
            _ if known && self.is_guarded(&point, axis, span)? => Ok((At::Point(point), Outside::Zero)),
            _ => {
                self.prove_in_range(&point, axis, span)?;
                Ok((At::Point(point), Outside::Never))
            }
        }
    }

    /// A later use decides the range of a binder in it.
    fn is_open(&self, point: &Point, axis: AxisVar) -> bool {
        point.axes().into_iter().chain([axis]).any(|axis| self.size_of(axis).is_none())
    }

    /// Notes which range a binder may be meant to have: `x[2 * i + a]` has an entry for each of half of the axis.
    fn guess_ranges(&mut self, point: &Point, axis: AxisVar) {
        let Point::Affine(affine) = point else { return };
        let name = self.show_axis(axis);
        let mut open = affine.terms.iter().filter(|(binder, _)| self.size_of(*binder).is_none());
        if let (Some((binder, factor)), None) = (open.next(), open.next()) {
            let range = match factor.as_const() {
                Some(1) => name,
                Some(stride) if stride > 1 => format!("{name} / {stride}"),
                _ => return,
            };
            self.meant.entry(*binder).or_insert(range);
        }
    }

    /// The error of a binder whose range nothing says.
    pub fn range_unknown<T>(&mut self, axis: AxisVar, span: Span) -> Checking<T> {
        let name = self.core.axes[axis].name.clone();
        let meant = self.meant.get(&axis).cloned();
        self.fail(errors::range_unknown(span, &name, meant.as_deref()))
    }

    /// Whether an index lies inside of the axis for every value of its binders; `None` where its bounds are not known.
    fn lies_inside(&mut self, point: &Point, axis: AxisVar, span: Span) -> Checking<Option<bool>> {
        let Some((low, room)) = self.margins(point, axis, span)? else { return Ok(None) };
        Ok(Some(self.facts.at_least(&low, 0) && self.facts.at_least(&room, 0)))
    }

    /// The least value of an index, and what is left behind its greatest one: inside, both are at least zero.
    fn margins(&mut self, point: &Point, axis: AxisVar, span: Span) -> Checking<Option<(Dim, Dim)>> {
        let Some(size) = self.size_of(axis) else {
            return self.fail(errors::index_range_unknown(span, "index"));
        };
        let Some((low, high)) = self.bounds(point, span)? else { return Ok(None) };
        // The places of what is sorted are as many as there are entries.
        let (size, high) = (self.core.expand(&size), self.core.expand(&high));
        let room = size.sub(&Dim::constant(1)).and_then(|last| last.sub(&high));
        Ok(Some((self.core.expand(&low), self.dim(room, span)?)))
    }

    /// A read at an expression lies inside the axis for every value of its binders, or it is refused.
    /// Where a later use decides a binder's range, the proof waits until its scope closes.
    pub fn prove_in_range(&mut self, point: &Point, axis: AxisVar, span: Span) -> Checking<()> {
        if self.is_open(point, axis) {
            self.waiting.push(Waiting { point: point.clone(), axis, span });
            return Ok(());
        }
        let shown = self.show_axis(axis);
        let Some((low, room)) = self.margins(point, axis, span)? else {
            return self.fail(errors::read_not_in_range(span, &shown));
        };
        if self.facts.at_least(&low, 0) && self.facts.at_least(&room, 0) {
            return Ok(());
        }
        // Where only the sizes are open, the condition on them becomes a `where` of the definition: `x[0]`, `pe[position(t)]`, `x[N - 2]`.
        if !self.facts.at_least(&low, 0)
            && let Some((least, size)) = not_below_zero(&low)
        {
            self.require_at_most(least, size, span);
        }
        if self.facts.at_least(&low, 0) && room.as_const().is_none_or(|room| room >= 0) {
            if !self.facts.at_least(&room, 0) {
                let size = self.core.size(axis);
                let least = size.sub(&room);
                let least = self.dim(least, span)?;
                self.require_at_most(least, size, span);
            }
            return Ok(());
        }
        match self.bounds(point, span)? {
            Some((low, high)) if low == high && low.as_const().is_some() => {
                self.fail(errors::read_outside(span, low.as_const().unwrap_or_default(), &shown))
            }
            _ => self.fail(errors::read_not_in_range(span, &shown)),
        }
    }

    /// Proves the reads whose binders have got their ranges by now.
    pub fn prove_waiting(&mut self) -> Checking<()> {
        let mut failed = None;
        for Waiting { point, axis, span } in std::mem::take(&mut self.waiting) {
            failed = failed.or(self.prove_in_range(&point, axis, span).err());
        }
        failed.map_or(Ok(()), Err)
    }

    /// Least and greatest value of an index expression, as dims.
    pub fn bounds(&mut self, point: &Point, span: Span) -> Checking<Option<(Dim, Dim)>> {
        match point {
            Point::Affine(affine) => {
                let (mut low, mut high) = (affine.constant.clone(), affine.constant.clone());
                for (axis, factor) in &affine.terms {
                    let Some(size) = self.size_of(*axis) else {
                        return self.range_unknown(*axis, self.core.axes[*axis].span);
                    };
                    let last = size.sub(&Dim::constant(1)).and_then(|last| last.mul(factor));
                    let last = self.dim(last, span)?;
                    if self.facts.at_least(factor, 0) {
                        let sum = high.add(&last);
                        high = self.dim(sum, span)?;
                    } else if factor.as_const().is_some_and(|factor| factor < 0) {
                        let sum = low.add(&last);
                        low = self.dim(sum, span)?;
                    } else {
                        return Ok(None);
                    }
                }
                Ok(Some((low, high)))
            }
            Point::Rem(_, by) => {
                let last = by.sub(&Dim::constant(1));
                Ok(Some((Dim::constant(0), self.dim(last, span)?)))
            }
            Point::Div(inner, by) => {
                let Some((low, high)) = self.bounds(inner, span)? else { return Ok(None) };
                let (low, high) = (low.div(by), high.div(by));
                Ok(Some((self.dim(low, span)?, self.dim(high, span)?)))
            }
            Point::Sum(parts) => {
                let (mut low, mut high) = (Dim::constant(0), Dim::constant(0));
                for (factor, part) in parts.clone() {
                    let Some((least, most)) = self.bounds(&part, span)? else { return Ok(None) };
                    let (least, most) = match factor.as_const() {
                        Some(negative) if negative < 0 => (most, least),
                        _ if self.facts.at_least(&factor, 0) => (least, most),
                        _ => return Ok(None),
                    };
                    let least = least.mul(&factor).and_then(|least| low.add(&least));
                    low = self.dim(least, span)?;
                    let most = most.mul(&factor).and_then(|most| high.add(&most));
                    high = self.dim(most, span)?;
                }
                Ok(Some((low, high)))
            }
        }
    }

    /// `a..b` on one axis: a new axis of `b - a` entries.
    fn slice(
        &mut self,
        axis: AxisVar,
        start: Option<&ast::Expr>,
        end: Option<&ast::Expr>,
        of: Val,
        span: Span,
    ) -> Checking<(At, AxisVar)> {
        let Some(size) = self.size_of(axis) else {
            return self.fail(errors::index_range_unknown(span, "slice"));
        };
        let from_end = |cx: &mut Self, expr: &ast::Expr| -> Checking<Dim> {
            let dim = cx.dim_expr(expr)?;
            if dim.as_const().is_some_and(|dim| dim < 0) {
                let sum = size.add(&dim);
                return cx.dim(sum, expr.span);
            }
            Ok(dim)
        };
        let low = match start {
            Some(expr) => from_end(self, expr)?,
            None => Dim::constant(0),
        };
        let high = match end {
            Some(expr) => from_end(self, expr)?,
            None => size.clone(),
        };
        // A part of the places of what is sorted are such places, too, by whatever name the size goes.
        let (low, high) = (self.of_places(&size, low), self.of_places(&size, high));
        let count = high.sub(&low);
        let count = self.dim(count, span)?;
        // Where only sizes are open, that it lies inside becomes a `where` of the definition.
        let zero = Dim::constant(0);
        let fits = self.demand_at_most((&zero, &low), span)
            && self.demand_at_most((&low, &high), span)
            && self.demand_at_most((&high, &size), span);
        if !fits {
            let shown = self.show_val(of);
            let [low, high, size] = [&low, &high, &size].map(|dim| self.shown_size(dim, None));
            let error = errors::slice_not_in_range(span, &low, &high, &shown, &size);
            return self.fail(self.traced(error, &[axis]));
        }
        let sliced = self.fresh_axis(count.to_string(), Some(count), span);
        let point = Point::Affine(AffinePoint { constant: low, terms: vec![(sliced, Dim::constant(1))] });
        Ok((At::Point(point), sliced))
    }

    /// An end of a slice of an axis of this size: where that is the number of entries under a fresh name, by that name.
    fn of_places(&self, size: &Dim, end: Dim) -> Dim {
        let known = self.core.fresh.iter().find(|(var, _)| size.as_var() == Some(var));
        let Some((var, of)) = known.and_then(|(var, of)| Some((var, of.as_var()?))) else { return end };
        let named = end.substitute_with(&|other| (other == of).then(|| Dim::var(var.clone())));
        named.unwrap_or(end)
    }

    /// `shift(x, over: T, by: 1, fill: 0)`: entry t of the result is entry t - 1 of x, and `fill` where there is none.
    pub fn shift(
        &mut self,
        value: Value,
        over: Option<Placed>,
        by: Option<Placed>,
        fill: Option<Placed>,
        span: Span,
    ) -> Checking<Value> {
        let of = self.to_tensor(value, span)?;
        let (elem, visible) = (self.elem(of), self.visible(of).to_vec());
        let position = match over {
            None => visible.len().checked_sub(1),
            Some((over, place)) => match self.axes_named(&over, of, place)?[..] {
                [axis] => visible.iter().position(|&own| own == axis),
                _ => return self.fail(errors::not_an_axis(place, "a list of axes")),
            },
        };
        let Some(position) = position else {
            let shown = self.show_val(of);
            return self.fail(errors::too_many_indices(span, &shown, 1));
        };
        let by = match by {
            None => Dim::constant(1),
            Some((Value::Num(Num { dim: Some(dim), .. }), _)) => dim,
            Some((other, place)) => {
                let what = other.describe();
                return self.fail(errors::not_a_dim(place, what));
            }
        };
        let axis = visible[position];
        let binder = self.fresh_like(axis);
        let back = by.neg();
        let back = self.dim(back, span)?;
        let point = Point::Affine(AffinePoint { constant: back, terms: vec![(binder, Dim::constant(1))] });
        let at = (0..visible.len())
            .map(|index| if index == position { At::Point(point.clone()) } else { At::Keep })
            .collect();
        let mut shown = visible.clone();
        shown[position] = binder;
        let read = Form::Read { of, at, outside: Outside::Zero };
        let read = self.emit(read, elem.clone(), shown.clone(), span);
        let zero = match &fill {
            None => matches!(elem, Elem::Of(_)),
            Some((Value::Num(num), _)) => num.known() == Some(0.0) && matches!(elem, Elem::Of(_)),
            Some(_) => false,
        };
        let shifted = if zero {
            read
        } else {
            let Some((fill, place)) = fill else { return self.fail(errors::shift_without_fill(span)) };
            let fill = self.fill_of(fill, &elem, place)?;
            let inside = self.emit(Form::Inside(point, binder), Elem::Of(DType::Bool), Vec::new(), span);
            // The condition and the filling get all axes of the value.
            let mut wide = |body: Val| {
                let elem = self.elem(body);
                self.emit(Form::Tabulate { axes: shown.clone(), body }, elem, shown.clone(), span)
            };
            let (inside, fill) = (wide(inside), wide(fill));
            self.emit(Form::Scalar(ScalarFn::Select, vec![inside, read, fill]), elem.clone(), shown, span)
        };
        Ok(Value::Tensor(self.emit(Form::Rename { of: shifted, to: visible.clone() }, elem, visible, span)))
    }

    /// What stands where a shift reads nothing: one entry of the value's type.
    fn fill_of(&mut self, fill: Value, elem: &Elem, span: Span) -> Checking<Val> {
        if let (Value::Num(Num { dim: Some(dim), .. }), Elem::Idx(size, _)) = (&fill, elem) {
            let room = size.sub(dim).and_then(|room| room.sub(&Dim::constant(1)));
            let room = self.dim(room, span)?;
            if !self.facts.at_least(dim, 0) || !self.facts.at_least(&room, 0) {
                return self.fail(errors::literal_position(span, dim, size));
            }
            let point = Point::constant(dim.clone());
            return Ok(self.emit(Form::Number(point), elem.clone(), Vec::new(), span));
        }
        let val = self.to_tensor_of(fill, elem, span)?;
        let given = self.elem(val);
        if !self.visible(val).is_empty() || !self.elem_fits(elem, &given) {
            let (want, given) = (self.show_elem(elem), self.show_val(val));
            return self.fail(errors::wrong_elem(span, &want, &given, span));
        }
        Ok(val)
    }
}

/// `(n, size)` where `n <= size` says that a dim is at least zero: `(N - 3) / 2` is where `3 <= N`. `None` where it does not grow with one
/// size alone.
fn not_below_zero(dim: &Dim) -> Option<(Dim, Dim)> {
    let vars: Vec<_> = dim.vars().into_iter().collect();
    let [var] = &vars[..] else { return None };
    let (slope, offset, _) = dim.as_floor(var)?;
    let least = offset.checked_neg()?.checked_add(slope - 1)?.div_euclid(slope);
    Some((Dim::constant(least), Dim::var(var.clone())))
}
