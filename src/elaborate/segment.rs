//! Sums by segments: `for n => sum e where dst[e] == n => x[e]` is a scatter, one step for each entry e.
//!
//! As it is written it is a sum for each n over all e, with a mask of all pairs. It is recognised here and not by a pass, since
//! here the type says that the positions lie in range, and since the derivative of a scatter is a gather, where that of the
//! masked sum is again a sum over all pairs.

use crate::check::core::{AxisVar, Elem, Form, Point, Reducer, Val};
use crate::check::rules::conjuncts;
use crate::graph::{self, Axis, Node};
use crate::ops::ScalarFn;

use super::Walk;

/// Up to so many segments a masked sum, whose entries are added side by side, is faster than one entry after the other.
const FEW: i64 = 32;

/// What a guard says: an entry belongs to the segment that `index` names, and counts where the other conditions hold.
struct Segments {
    into: AxisVar,
    index: Val,
    rest: Vec<Val>,
}

impl Walk<'_> {
    /// The reduction by segments, where the guard says that it is one. Neither the entries nor the further conditions may depend on
    /// the axis of the segments, which is new in the result.
    pub(super) fn by_segments(
        &mut self,
        op: Reducer,
        over: &[AxisVar],
        guard: Val,
        body: Node,
    ) -> Option<Node> {
        let (reducer, neutral) = match op {
            Reducer::Sum | Reducer::Mean => (graph::Reducer::Sum, 0.0),
            Reducer::Max => (graph::Reducer::Max, f64::NEG_INFINITY),
            Reducer::Min => (graph::Reducer::Min, f64::INFINITY),
            _ => return None,
        };
        if !self.builder.dtype(body).is_float() {
            return None;
        }
        let Segments { into, index, rest } = self.segments(over, guard)?;
        let (into, index) = (self.axis(into), self.node(index));
        let over: Vec<Axis> = over.iter().map(|&axis| self.axis(axis)).collect();
        let rest: Vec<Node> = rest.into_iter().map(|val| self.node(val)).collect();
        let along = self.builder.axes(index).iter().any(|axis| over.contains(axis));
        let apart = [body, index].iter().chain(&rest).all(|node| !self.builder.axes(*node).contains(&into));
        let bound = self.builder.bound();
        if !along || !apart || bound.contains(&into) {
            return None;
        }
        let rest = rest.into_iter().reduce(|all, one| self.builder.map2(ScalarFn::And, all, one));
        let body = self.builder.broadcast(body, &over);
        let values = self.guarded(body, rest, neutral);
        let total = self.scattered(reducer, values, index, &over, into);
        if op != Reducer::Mean {
            return Some(total);
        }
        let dtype = self.builder.dtype(total);
        let one = self.builder.constant(1.0, dtype);
        let ones = self.guarded(one, rest, 0.0);
        let ones = self.builder.broadcast(ones, &over);
        let count = self.scattered(graph::Reducer::Sum, ones, index, &over, into);
        Some(self.builder.div(total, count))
    }

    /// First along the axes that the index does not have: there all entries belong to one segment.
    fn scattered(
        &mut self,
        op: graph::Reducer,
        values: Node,
        index: Node,
        over: &[Axis],
        into: Axis,
    ) -> Node {
        let (along, across): (Vec<Axis>, Vec<Axis>) =
            over.iter().partition(|axis| self.builder.axes(index).contains(axis));
        let values = self.builder.reduce(op, values, &across);
        self.builder.scatter(op, values, index, &along, into)
    }

    /// `index == n`, where n is an index variable that is not summed over and the type of `index` says that it lies in its range;
    /// perhaps among other conditions.
    fn segments(&self, over: &[AxisVar], guard: Val) -> Option<Segments> {
        let core = self.core;
        let mut conditions = conjuncts(core, guard);
        let (at, into, index) = conditions.iter().enumerate().find_map(|(at, &condition)| {
            let Form::Scalar(ScalarFn::Eq, args) = &core.vals[condition].form else { return None };
            let [a, b] = args[..] else { return None };
            [(a, b), (b, a)].into_iter().find_map(|(variable, index)| {
                let axis = match &core.vals[variable].form {
                    Form::Position(axis) => *axis,
                    Form::Number(point) => Point::as_axis(point)?,
                    _ => return None,
                };
                let Elem::Idx(size, _) = &core.vals[index].elem else { return None };
                let few = size.as_const().is_some_and(|size| size <= FEW);
                let fits = !over.contains(&axis) && core.size(axis) == *size && !few;
                fits.then_some((at, axis, index))
            })
        })?;
        conditions.remove(at);
        Some(Segments { into, index, rest: conditions })
    }
}
