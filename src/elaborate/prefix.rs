//! Running sums: `for t => sum s where s <= t => x[s]` is a loop that yields what it has added up so far, read at `t`. So are running
//! products and means.
//!
//! Its derivative is the loop in the other direction, and both are one pass through memory. Without it every entry would be a sum of its own.

use crate::axes::Dim;
use crate::check::core::{AffinePoint, AxisVar, Form, Point, Reducer, Val};
use crate::graph::{Affine, Axis, Index, IndexMap, Node, Outside};
use crate::ops::ScalarFn;

use super::Walk;

/// A guard `s <= t + offset` (or `s >= t + offset`) between two variables of one range.
struct Prefix {
    until: AxisVar,
    offset: i64,
    /// From `t + offset` to the end.
    reverse: bool,
}

impl Walk<'_> {
    /// The sum, product or mean of `body` over `s` where the guard holds, if that is a running one.
    pub(super) fn running(&mut self, op: Reducer, s: AxisVar, guard: Val, body: Node) -> Option<Node> {
        let prefix = self.prefix(s, guard)?;
        let (combine, neutral) = match op {
            Reducer::Sum | Reducer::Mean => (ScalarFn::Add, 0.0),
            // Over nothing it is 1, but outside of the loop's axis a read gives 0.
            Reducer::Prod if prefix.offset == 0 => (ScalarFn::Mul, 1.0),
            _ => return None,
        };
        let along = self.axis(s);
        let until = self.axis(prefix.until);
        let bound = self.builder.bound();
        let axes = self.builder.axes(body).clone();
        if axes.contains(&until) || bound.contains(&until) || !axes.contains(&along) {
            return None;
        }
        let total = self.accumulated(combine, neutral, along, until, &prefix, body);
        if op != Reducer::Mean {
            return Some(total);
        }
        let one = self.builder.constant(1.0, self.builder.dtype(total));
        let ones = self.builder.broadcast(one, &[along]);
        let count = self.accumulated(ScalarFn::Add, 0.0, along, until, &prefix, ones);
        Some(self.builder.div(total, count))
    }

    /// What the entries of `body` combine to, from the first along an axis to the one that the prefix ends at.
    fn accumulated(
        &mut self,
        combine: ScalarFn,
        neutral: f64,
        along: Axis,
        until: Axis,
        prefix: &Prefix,
        body: Node,
    ) -> Node {
        let bound = self.builder.bound();
        let axes = self.builder.axes(body).clone();
        let rest: Vec<Axis> =
            axes.iter().copied().filter(|axis| *axis != along && !bound.contains(axis)).collect();
        let first = self.builder.filled(neutral, self.builder.dtype(body), &rest);
        let carries = self.builder.begin_scan(along, &[first]);
        let next = self.builder.map2(combine, carries[0], body);
        let scan = self.builder.end_scan(prefix.reverse, &[first], &[next], &[next]);
        let place = Index::Affine(Affine {
            constant: Dim::constant(prefix.offset),
            terms: [(until, Dim::constant(1))].into_iter().collect(),
        });
        // Before the first entry, and behind the last, the sum is over nothing.
        let outside = if prefix.offset == 0 { Outside::Never } else { Outside::Zero };
        self.builder.view(scan.yields[0], IndexMap::new([(along, place)], outside))
    }

    fn prefix(&self, s: AxisVar, guard: Val) -> Option<Prefix> {
        let core = self.core;
        let Form::Scalar(function @ (ScalarFn::Le | ScalarFn::Lt), args) = &core.vals[guard].form else {
            return None;
        };
        let variable = |val: Val| match &core.vals[val].form {
            Form::Number(Point::Affine(AffinePoint { constant, terms })) => match terms.as_slice() {
                [(axis, factor)] if factor.as_const() == Some(1) => Some((*axis, constant.as_const()?)),
                _ => None,
            },
            _ => None,
        };
        let ((left, a), (right, b)) = (variable(args[0])?, variable(args[1])?);
        let strict = i64::from(*function == ScalarFn::Lt);
        // left + a <= right + b - strict
        let distance = b.checked_sub(a)?.checked_sub(strict)?;
        let found = match (left == s, right == s) {
            (true, false) => Prefix { until: right, offset: distance, reverse: false },
            (false, true) => Prefix { until: left, offset: distance.checked_neg()?, reverse: true },
            _ => return None,
        };
        // Beyond the other end of the range the sum would be over all of it.
        let inside = if found.reverse { found.offset >= 0 } else { found.offset <= 0 };
        let one_range = core.size(s) == core.size(found.until);
        (inside && one_range).then_some(found)
    }
}
