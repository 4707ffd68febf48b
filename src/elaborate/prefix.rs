//! Running sums: `for t => sum s where s <= t => x[s]` is a loop that yields what it has added up so far, read at `t`.
//!
//! Its derivative is the loop in the other direction. Without it every entry would be a sum of its own, with a mask of all pairs in memory
//! where the rows have further axes. A single row without further axes stays one kernel: its pairs exist in registers only.

use crate::axes::Dim;
use crate::check::core::{AffinePoint, AxisVar, Form, Point, Val};
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
    /// The sum of `body` over `s` where the guard holds, if that is a running sum worth a loop.
    pub(super) fn running_sum(&mut self, s: AxisVar, guard: Val, body: Node) -> Option<Node> {
        let Prefix { until, offset, reverse } = self.prefix(s, guard)?;
        let (along, until) = (self.axis(s), self.axis(until));
        let bound = self.builder.bound();
        let axes = self.builder.axes(body).clone();
        let rest: Vec<Axis> =
            axes.iter().copied().filter(|axis| *axis != along && !bound.contains(axis)).collect();
        if rest.is_empty() || rest.contains(&until) || bound.contains(&until) || !axes.contains(&along) {
            return None;
        }
        let zero = self.builder.filled(0.0, self.builder.dtype(body), &rest);
        let carries = self.builder.begin_scan(along, &[zero]);
        let next = self.builder.add(carries[0], body);
        let scan = self.builder.end_scan(reverse, &[zero], &[next], &[next]);
        let place = Index::Affine(Affine {
            constant: Dim::constant(offset),
            terms: [(until, Dim::constant(1))].into_iter().collect(),
        });
        // Before the first entry, and behind the last, the sum is over nothing.
        let outside = if offset == 0 { Outside::Never } else { Outside::Zero };
        Some(self.builder.view(scan.yields[0], IndexMap::new([(along, place)], outside)))
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
