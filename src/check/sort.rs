//! Sorting: `sort`, `argsort`, `top_k`. The places of sorted entries are an axis of their own, with nothing in common with the axis that
//! is sorted but its length: so what is done with places says nothing of positions.

use nn_grammar::ast;

use crate::axes::{Dim, DimVar};
use crate::base::{Name, Span};
use crate::tensor::{DType, Sorted};

use super::builtin::Builtin;
use super::call::Args;
use super::core::*;
use super::errors;
use super::state::{Checker, Checking};
use super::value::{Field, Num, Value};

impl Checker<'_> {
    /// Takes the name of the fresh axis out of a call's arguments: it means nothing before the call.
    pub fn into_name(&mut self, args: &[ast::Arg]) -> Checking<Option<ast::Ident>> {
        let into = args.iter().find(|arg| arg.label.as_ref().is_some_and(|label| label.name == "into"));
        match into.map(|arg| (arg.value.as_name(), arg.span)) {
            None => Ok(None),
            Some((Some(name), _)) => Ok(Some(name.clone())),
            Some((None, span)) => self.fail(errors::into_wants_a_name(span)),
        }
    }

    /// `sort(x, over: N, into: R)`, `sort(y, by: x)`, `argsort(x)`, `top_k(x, 5)`; along the last axis, or that which `over` names.
    pub fn sorting(
        &mut self,
        builtin: Builtin,
        mut args: Args,
        into: Option<ast::Ident>,
        span: Span,
    ) -> Checking<Value> {
        let descending = match args.named("descending") {
            None => builtin == Builtin::TopK,
            Some((Value::Bool(descending), _)) => descending,
            Some((other, place)) => {
                let what = other.describe();
                return self.fail(errors::wants_a_truth_value(place, "descending", what));
            }
        };
        let (over, by) = (args.named("over"), args.named("by"));
        let (value, place) = args.positional.remove(0);
        let x = self.to_tensor(value, place)?;
        let axis = match &over {
            None => self.visible(x).last().copied(),
            Some((over, place)) => self.axes_named(over, x, *place)?.first().copied(),
        };
        let Some(axis) = axis else { return self.fail(errors::sorts_a_scalar(span)) };
        match (builtin, by) {
            (Builtin::TopK, _) => {
                let (count, place) = args.positional.remove(0);
                self.top_k(x, axis, count, place, span)
            }
            (Builtin::ArgSort, _) => {
                let to = self.places(axis, into.as_ref(), span)?;
                self.sorted(Sorted::Order, descending, x, axis, to, span).map(Value::Tensor)
            }
            (_, None) => {
                let to = self.places(axis, into.as_ref(), span)?;
                self.sorted(Sorted::Values, descending, x, axis, to, span).map(Value::Tensor)
            }
            (_, Some((keys, place))) => {
                let keys = self.to_tensor(keys, place)?;
                let [own] = self.visible(keys).to_vec()[..] else {
                    let shown = self.show_val(keys);
                    return self.fail(errors::keys_of_other_axes(place, &shown));
                };
                if !self.unify(own, axis) {
                    return self.other_axis((own, place), (axis, span));
                }
                let to = self.places(axis, into.as_ref(), span)?;
                let order = self.sorted(Sorted::Order, descending, keys, own, to, span)?;
                self.reordered(x, axis, order, span).map(Value::Tensor)
            }
        }
    }

    /// The greatest entries, the greatest first, and where they stand.
    fn top_k(&mut self, x: Val, axis: AxisVar, count: Value, place: Span, span: Span) -> Checking<Value> {
        let Value::Num(Num { dim: Some(count), .. }) = &count else {
            return self.fail(errors::not_a_dim(place, count.describe()));
        };
        let size = self.core.size(axis);
        let room = size.sub(count);
        let room = self.dim(room, span)?;
        if room.as_const().is_some_and(|room| room < 0) || count.as_const().is_some_and(|count| count < 0) {
            let shown = self.show_val(x);
            return self.fail(errors::more_than_there_are(place, count, &shown));
        }
        if !self.facts.at_least(&room, 0) {
            self.require_at_most(count.clone(), size, span);
        }
        let to = self.places(axis, None, span)?;
        let first = self.fresh_axis(count.to_string(), Some(count.clone()), span);
        let mut fields = Vec::new();
        for (label, what) in [("values", Sorted::Values), ("indices", Sorted::Order)] {
            let all = self.sorted(what, true, x, axis, to, span)?;
            let (elem, mut visible) = (self.elem(all), self.visible(all).to_vec());
            let at = visible.iter().map(|&own| match own == to {
                true => At::Point(Point::axis(first)),
                false => At::Keep,
            });
            let form = Form::Read { of: all, at: at.collect(), outside: Outside::Never };
            visible.iter_mut().filter(|own| **own == to).for_each(|own| *own = first);
            let value = Value::Tensor(self.emit(form, elem, visible, span));
            fields.push(Field { label: Some(Name::new(label)), value });
        }
        Ok(Value::Tuple(fields.into()))
    }

    fn sorted(
        &mut self,
        what: Sorted,
        descending: bool,
        of: Val,
        axis: AxisVar,
        into: AxisVar,
        span: Span,
    ) -> Checking<Val> {
        let elem = self.elem(of);
        if matches!(elem, Elem::Idx(..) | Elem::Of(DType::Bool)) {
            let shown = self.show_elem(&elem);
            return self.fail(errors::not_a_number(span, &shown));
        }
        let elem = match what {
            Sorted::Values => elem,
            _ => Elem::Idx(self.core.size(axis), self.core.axes[axis].root),
        };
        let mut visible = self.visible(of).to_vec();
        visible.iter_mut().filter(|own| **own == axis).for_each(|own| *own = into);
        Ok(self.emit(Form::Sort { of, axis, into, what, descending }, elem, visible, span))
    }

    /// `x` along `axis` in this order, whose one axis takes the place of `axis`.
    fn reordered(&mut self, x: Val, axis: AxisVar, order: Val, span: Span) -> Checking<Val> {
        let (elem, visible) = (self.elem(x), self.visible(x).to_vec());
        let place = visible.iter().position(|&own| own == axis).expect("found among them");
        let to = self.visible(order)[0];
        let points: Vec<AxisVar> =
            visible[..place].iter().copied().chain([to]).map(|like| self.fresh_like(like)).collect();
        let last = At::Point(Point::axis(points[place]));
        let form = Form::Read { of: order, at: vec![last], outside: Outside::Never };
        let index = self.elem(order);
        let entry = self.emit(form, index, Vec::new(), span);
        let mut at: Vec<At> = points[..place].iter().map(|&axis| At::Point(Point::axis(axis))).collect();
        at.push(At::Entry(entry));
        at.extend(visible[place + 1..].iter().map(|_| At::Keep));
        let rest = visible[place + 1..].to_vec();
        let read = self.emit(Form::Read { of: x, at, outside: Outside::Never }, elem, rest, span);
        let mut shown = visible[..place].to_vec();
        shown.push(to);
        match self.tabulate_value(Value::Tensor(read), &points, &shown, span)? {
            Value::Tensor(val) => Ok(val),
            _ => unreachable!("a tensor stays one"),
        }
    }

    /// The fresh axis of the places: as many as there are entries, by the name that `into` gives it.
    fn places(&mut self, of: AxisVar, into: Option<&ast::Ident>, span: Span) -> Checking<AxisVar> {
        let size = self.core.size(of);
        if let Some(into) = into
            && let Some(known) = self.lookup(&into.name)
        {
            // A second sort may go into the places of the first.
            if let Value::Num(Num { axis: Some(axis), dim: Some(dim), .. }) = &known
                && self.core.expand(dim) == self.core.expand(&size)
                && *dim != size
            {
                let axis = *axis;
                return Ok(self.fresh_like(axis));
            }
            return self.fail(errors::into_is_taken(into));
        }
        let size = self.facts.normalise(&size).unwrap_or(size);
        let places = if size.as_const().is_some() { size } else { self.fresh_dim(into, &size) };
        let name = into.map_or_else(|| Name::new(places.to_string()), |into| into.name.clone());
        let axis = self.fresh_axis(name, Some(places.clone()), span);
        if let Some(into) = into {
            let num = Num { axis: Some(axis), ..Num::dim(places) };
            self.frame.fresh.push((into.name.clone(), Value::Num(num)));
        }
        Ok(axis)
    }

    /// A name for a size that is `of`, and that no other size agrees with.
    fn fresh_dim(&mut self, into: Option<&ast::Ident>, of: &Dim) -> Dim {
        let mut name = into.map_or_else(|| format!("{of}'"), |into| into.name.to_string());
        loop {
            let var = DimVar::new(&name);
            match self.core.fresh.iter().find(|(known, _)| *known == var) {
                Some((_, known)) if known == of => return Dim::var(var),
                None if self.core.roots.values().all(|root| *root.name != *name) => {
                    self.core.fresh.push((var.clone(), of.clone()));
                    return Dim::var(var);
                }
                _ => name.push('\''),
            }
        }
    }
}
