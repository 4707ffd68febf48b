//! Reducers, with their guards: what a guard leaves out is the reducer's neutral element.

use crate::check::core::{AxisVar, Reducer, Val};
use crate::graph::{self, Axis, Node};
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::Walk;

impl Walk<'_> {
    /// Over nothing sum is 0, prod 1, max −∞, min +∞, softmax 0, logsumexp −∞, mean NaN. Of floats of 16 bits rounded once, at the end.
    pub(super) fn reduce(&mut self, op: Reducer, over: &[AxisVar], guard: Option<Val>, body: Val) -> Node {
        let body = self.node(body);
        let stored = self.builder.dtype(body);
        let body = self.builder.computed(body);
        let reduced = self.reduce_computed(op, over, guard, body);
        match self.builder.dtype(reduced) == stored.computed() {
            true => self.builder.cast(reduced, stored),
            false => reduced,
        }
    }

    /// As `reduce`, of a value in the dtype that it is computed in.
    fn reduce_computed(&mut self, op: Reducer, over: &[AxisVar], guard: Option<Val>, body: Node) -> Node {
        if let ([s], Some(guard)) = (over, guard)
            && let Some(running) = self.running(op, *s, guard, body)
        {
            return running;
        }
        if let Some(guard) = guard
            && let Some(reduced) = self.by_segments(op, over, guard, body)
        {
            return reduced;
        }
        let over: Vec<Axis> = over.iter().map(|&axis| self.axis(axis)).collect();
        let guard = guard.map(|guard| self.node(guard));
        let wide = self.builder.broadcast(body, &over);
        match op {
            Reducer::Sum => self.masked(graph::Reducer::Sum, wide, guard, 0.0, &over),
            Reducer::Prod => self.masked(graph::Reducer::Prod, wide, guard, 1.0, &over),
            Reducer::Max => self.masked(graph::Reducer::Max, wide, guard, f64::NEG_INFINITY, &over),
            Reducer::Min => self.masked(graph::Reducer::Min, wide, guard, f64::INFINITY, &over),
            Reducer::ArgMax => self.masked(graph::Reducer::ArgMax, wide, guard, f64::NEG_INFINITY, &over),
            Reducer::ArgMin => self.masked(graph::Reducer::ArgMin, wide, guard, f64::INFINITY, &over),
            Reducer::Any => self.masked(graph::Reducer::Any, wide, guard, 0.0, &over),
            Reducer::All => self.masked(graph::Reducer::All, wide, guard, 1.0, &over),
            Reducer::Mean => {
                let sum = self.masked(graph::Reducer::Sum, wide, guard, 0.0, &over);
                let dtype = self.builder.dtype(sum);
                let count = match guard {
                    None => {
                        let mut count = crate::axes::Dim::constant(1);
                        for &axis in &over {
                            count = count
                                .mul(self.builder.axis_size(axis))
                                .expect("a size that the checker has computed");
                        }
                        match count.as_const() {
                            Some(count) => self.builder.constant(count as f64, dtype),
                            None => self.builder.size(count, dtype),
                        }
                    }
                    Some(guard) => {
                        let ones = self.builder.cast(guard, dtype);
                        let ones = self.builder.broadcast(ones, &over);
                        self.builder.sum(ones, &over)
                    }
                };
                self.builder.div(sum, count)
            }
            Reducer::LogSumExp => {
                let (shifted, greatest) = self.shifted(wide, guard, &over);
                let powers = self.builder.map1(ScalarFn::Exp, shifted);
                let sum = self.masked(graph::Reducer::Sum, powers, guard, 0.0, &over);
                let log = self.builder.map1(ScalarFn::Log, sum);
                self.builder.add(log, greatest)
            }
            Reducer::Softmax => {
                let (shifted, _) = self.shifted(wide, guard, &over);
                let powers = self.builder.map1(ScalarFn::Exp, shifted);
                let powers = self.guarded(powers, guard, 0.0);
                let mut sum = self.builder.sum(powers, &over);
                if guard.is_some() {
                    // Where the guard leaves nothing, all entries are 0.
                    let dtype = self.builder.dtype(sum);
                    let (zero, one) = (self.builder.constant(0.0, dtype), self.builder.constant(1.0, dtype));
                    let empty = self.builder.map2(ScalarFn::Eq, sum, zero);
                    sum = self.builder.select(empty, one, sum);
                }
                self.builder.div(powers, sum)
            }
        }
    }

    /// Entries that the guard leaves out, as the neutral element.
    pub(super) fn guarded(&mut self, body: Node, guard: Option<Node>, neutral: f64) -> Node {
        let Some(guard) = guard else { return body };
        let dtype = self.builder.dtype(body);
        let neutral = match dtype {
            DType::F32 | DType::F64 | DType::Bool => self.builder.constant(neutral, dtype),
            // Integers have no infinities: their own bounds.
            _ if neutral == f64::NEG_INFINITY => self.builder.constant(i64::MIN as f64, dtype),
            _ if neutral == f64::INFINITY => self.builder.constant(i64::MAX as f64, dtype),
            _ => self.builder.constant(neutral, dtype),
        };
        self.builder.select(guard, body, neutral)
    }

    fn masked(
        &mut self,
        op: graph::Reducer,
        body: Node,
        guard: Option<Node>,
        neutral: f64,
        over: &[Axis],
    ) -> Node {
        let body = self.guarded(body, guard, neutral);
        let body = self.builder.broadcast(body, over);
        self.builder.reduce(op, body, over)
    }

    /// The entries less the greatest one, and that one (0 where it is infinite): no exponential overflows.
    fn shifted(&mut self, body: Node, guard: Option<Node>, over: &[Axis]) -> (Node, Node) {
        let greatest = self.masked(graph::Reducer::Max, body, guard, f64::NEG_INFINITY, over);
        let dtype = self.builder.dtype(greatest);
        let lowest = self.builder.constant(f64::NEG_INFINITY, dtype);
        let zero = self.builder.constant(0.0, dtype);
        let none = self.builder.map2(ScalarFn::Eq, greatest, lowest);
        let greatest = self.builder.select(none, zero, greatest);
        let greatest = self.builder.stop_gradient(greatest);
        (self.builder.sub(body, greatest), greatest)
    }
}
