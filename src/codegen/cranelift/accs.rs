//! Accumulators: how they are held, and their combination by the order of [`Acc`].

use cranelift_codegen::ir::{Type, Value};

use super::address::{scalar_type, vector_type};
use super::emit::{Emitter, Group, Rep, is_wide};
use crate::kernel::{Acc, AccOp, KOp, Loop, Val};
use crate::tensor::DType;

impl Emitter<'_, '_> {
    /// The accumulators after a turn, whose terms have just been computed.
    pub fn accumulate(&mut self, l: &Loop, shapes: &[Shape], old: &[Vec<Group>]) -> Vec<Vec<Group>> {
        let terms: Vec<Vec<Group>> =
            l.accs.iter().zip(shapes).map(|(acc, &shape)| self.parts(acc.term, shape)).collect();
        self.combine_all(&l.accs, shapes, old, &terms)
    }

    pub fn combine_all(
        &mut self,
        accs: &[Acc],
        shapes: &[Shape],
        a: &[Vec<Group>],
        b: &[Vec<Group>],
    ) -> Vec<Vec<Group>> {
        (0..accs.len())
            .map(|i| {
                (0..shapes[i].groups)
                    .map(|g| match accs[i].op {
                        AccOp::ArgMax | AccOp::ArgMin => {
                            // The partner may have one group where the index has several, never the reverse.
                            let partner = |x: &[Vec<Group>]| x[i - 1][g.min(x[i - 1].len() - 1)];
                            let largest = accs[i].op == AccOp::ArgMax;
                            let lanes = shapes[i].lanes;
                            self.first_best(
                                largest,
                                shapes[i - 1].dtype,
                                lanes,
                                [partner(a), a[i][g]],
                                [partner(b), b[i][g]],
                            )
                        }
                        op => {
                            let op = match op {
                                AccOp::Sum => KOp::Add,
                                AccOp::Prod => KOp::Mul,
                                AccOp::Max => KOp::Max,
                                AccOp::Min => KOp::Min,
                                AccOp::Any => KOp::Or,
                                _ => KOp::And,
                            };
                            self.either_op(shapes[i].lanes, op, shapes[i].dtype, &[a[i][g], b[i][g]])
                        }
                    })
                    .collect()
            })
            .collect()
    }

    /// The index of the better of two entries (value, index), as `eval::replaces` says.
    fn first_best(
        &mut self,
        largest: bool,
        dtype: DType,
        lanes: bool,
        best: [Group; 2],
        term: [Group; 2],
    ) -> Group {
        let op = |e: &mut Self, op, dtype, x: &[Group]| e.either_op(lanes, op, dtype, x);
        let order = if largest { [best[0], term[0]] } else { [term[0], best[0]] };
        let mut better = op(self, KOp::Lt, dtype, &order);
        let mut tied = op(self, KOp::Eq, dtype, &[best[0], term[0]]);
        if dtype.is_float() {
            let best_nan = op(self, KOp::Ne, dtype, &[best[0], best[0]]);
            let term_nan = op(self, KOp::Ne, dtype, &[term[0], term[0]]);
            let both = op(self, KOp::And, DType::Bool, &[best_nan, term_nan]);
            tied = op(self, KOp::Or, DType::Bool, &[tied, both]);
            let number = op(self, KOp::Not, DType::Bool, &[best_nan]);
            let only = op(self, KOp::And, DType::Bool, &[term_nan, number]);
            better = op(self, KOp::Or, DType::Bool, &[better, only]);
        }
        let earlier = op(self, KOp::Lt, DType::I32, &[term[1], best[1]]);
        let first = op(self, KOp::And, DType::Bool, &[tied, earlier]);
        let replaced = op(self, KOp::Or, DType::Bool, &[better, first]);
        op(self, KOp::Select, DType::I32, &[replaced, term[1], best[1]])
    }

    fn either_op(&mut self, lanes: bool, op: KOp, dtype: DType, x: &[Group]) -> Group {
        let result = if matches!(op, KOp::Lt | KOp::Eq | KOp::Ne) { DType::Bool } else { dtype };
        if lanes {
            return self.lane_op(op, dtype, result, x, None);
        }
        let numbers: Vec<Value> = x.iter().map(|g| g[0]).collect();
        [self.scalar_op(op, dtype, result, &numbers, None); 2]
    }

    pub fn shape(&self, acc: &Acc) -> Shape {
        let lanes = self.scope.lanes.is_some() && self.varying.contains(acc.result);
        Shape { dtype: self.kernel.vals[acc.result], groups: if lanes { self.groups() } else { 1 }, lanes }
    }

    /// A value in the shape of an accumulator.
    pub fn parts(&mut self, val: Val, shape: Shape) -> Vec<Group> {
        if shape.lanes {
            (0..shape.groups).map(|g| self.group(val, g)).collect()
        } else {
            vec![[self.one(val); 2]]
        }
    }
}

/// How an accumulator is held.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub dtype: DType,
    pub groups: usize,
    pub lanes: bool,
}

impl Shape {
    pub fn parts(self) -> usize {
        if self.lanes && is_wide(self.dtype) { 2 } else { 1 }
    }

    pub fn types(self) -> Vec<Type> {
        let ty = if self.lanes { vector_type(self.dtype) } else { scalar_type(self.dtype) };
        vec![ty; self.groups * self.parts()]
    }

    pub fn rep(self, groups: &[Group]) -> Rep {
        if !self.lanes {
            return Rep::One(groups[0][0]);
        }
        Rep::Lanes(std::array::from_fn(|g| groups[g.min(groups.len() - 1)]))
    }

    /// The vectors of all lanes in memory.
    pub fn places(self, groups: &[Group]) -> Vec<(i32, Value)> {
        let vectors = groups.iter().flat_map(|group| group[..self.parts()].iter());
        vectors.enumerate().map(|(i, &value)| (16 * i as i32, value)).collect()
    }
}

pub(super) fn flatten(shapes: &[Shape], accs: &[Vec<Group>]) -> Vec<Value> {
    shapes
        .iter()
        .zip(accs)
        .flat_map(|(shape, groups)| groups.iter().flat_map(|group| group[..shape.parts()].to_vec()))
        .collect()
}

pub(super) fn unflatten(shapes: &[Shape], values: &[Value]) -> Vec<Vec<Group>> {
    let mut rest = values;
    shapes
        .iter()
        .map(|shape| {
            let (own, others) = rest.split_at(shape.groups * shape.parts());
            rest = others;
            own.chunks(shape.parts()).map(|parts| [parts[0], parts[parts.len() - 1]]).collect()
        })
        .collect()
}

pub(super) fn is_small(dtype: DType) -> bool {
    dtype.size() == 1
}
