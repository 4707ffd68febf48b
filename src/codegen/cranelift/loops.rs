//! Loops and their accumulators.

use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{BlockArg, InstBuilder, StackSlot, StackSlotData, StackSlotKind, Type, Value};

use super::address::{scalar_type, vector_type};
use super::emit::{ACCESS, Emitter, GROUP, GROUPS, Group, Rep, index, is_wide};
use crate::kernel::{Acc, AccOp, Inst, KOp, LANES, Loop, Range, Size, Stmt, Val};
use crate::tensor::DType;

/// Up to so many instructions a lane loop handles all lanes (half of them) at a time: longer bodies fill the machine with fewer.
const SHORT_BODY: usize = 24;
const MIDDLE_BODY: usize = 60;

impl<'a> Emitter<'a, '_> {
    pub fn looped(&mut self, l: &'a Loop) {
        let outer = self.scope.clone();
        self.advance_partials(&l.body);
        self.hoist(&l.body);
        let (start, end) = self.bounds(l.range);
        let results = if l.lanes { self.lane_loop(l, start, end) } else { self.plain_loop(l, start, end) };
        self.scope = outer;
        for (acc, result) in l.accs.iter().zip(results) {
            self.scope.vals[index(acc.result)] = result;
        }
    }

    /// Computes before the loop what does not change in it.
    fn hoist(&mut self, stmts: &'a [Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::Let(val, inst) if !self.exists(*val) => {
                    let ready = match inst {
                        Inst::Const(_) | Inst::Size(_) => true,
                        Inst::Op(_, operands) => operands.iter().all(|&v| self.exists(v)),
                        _ => false,
                    };
                    if ready {
                        (0..self.groups()).for_each(|group| self.define(*val, inst, group));
                    }
                }
                Stmt::Loop(l) => self.hoist(&l.body),
                Stmt::If { then, .. } => self.hoist(then),
                _ => {}
            }
        }
    }

    /// Repeats over the lanes, before their loop, what its body will combine with lanes.
    fn splat_operands(&mut self, stmts: &'a [Stmt]) {
        let mut wanted: Vec<Val> = Vec::new();
        collect_lane_operands(stmts, &self.varying, &self.consts, &mut wanted);
        for val in wanted {
            if matches!(self.scope.vals[index(val)], Rep::One(_)) {
                self.group(val, 0);
            }
        }
    }

    fn plain_loop(&mut self, l: &'a Loop, start: Value, end: Value) -> Vec<Rep> {
        // Only here inside of a lane loop do accumulators have lanes.
        let shapes: Vec<Shape> = l.accs.iter().map(|acc| self.shape(acc)).collect();
        let inits: Vec<Vec<Group>> =
            l.accs.iter().zip(&shapes).map(|(acc, &shape)| self.parts(acc.init, shape)).collect();
        let strides = self.counted_strides(l);
        let steps: Vec<Value> =
            strides.iter().map(|&(factor, element)| self.size_bytes(factor, element)).collect();

        let [body, done] = [(); 2].map(|()| self.b.create_block());
        let acc_types: Vec<Type> = shapes.iter().flat_map(|shape| shape.types()).collect();
        let results = self.params(done, &acc_types);
        let mut first = vec![start];
        first.extend(steps.iter().map(|&step| self.b.ins().imul(start, step)).collect::<Vec<_>>());
        let flat = flatten(&shapes, &inits);
        first.extend(&flat);
        if certainly_runs(l.range) {
            self.jump(body, &first);
        } else {
            let some = self.less(start, end);
            self.branch(some, (body, &first), (done, &flat));
        }

        let mut types = vec![I64; 1 + steps.len()];
        types.extend(&acc_types);
        let params = self.params(body, &types);
        self.b.switch_to_block(body);
        self.scope.vars[l.var] = Some(params[0]);
        for (&(factor, element), &value) in strides.iter().zip(&params[1..]) {
            self.scope.products.insert((l.var, factor, element), value);
        }
        let old = unflatten(&shapes, &params[1 + steps.len()..]);
        self.stmts(&l.body);
        let new = self.accumulate(l, &shapes, &old);
        let next = self.b.ins().iadd_imm_s(params[0], 1);
        let mut again = vec![next];
        for (i, &step) in steps.iter().enumerate() {
            again.push(self.b.ins().iadd(params[1 + i], step));
        }
        let flat = flatten(&shapes, &new);
        again.extend(&flat);
        let more = self.less(next, end);
        self.branch(more, (body, &again), (done, &flat));
        self.b.switch_to_block(done);
        let results = unflatten(&shapes, &results);
        shapes.iter().zip(results).map(|(shape, groups)| shape.rep(&groups)).collect()
    }

    fn lane_loop(&mut self, l: &'a Loop, start: Value, end: Value) -> Vec<Rep> {
        let groups = groups_at_a_time(l);
        let step = (groups * GROUP) as i64;
        let shapes: Vec<Shape> = l
            .accs
            .iter()
            .map(|acc| Shape { dtype: self.kernel.vals[acc.init], groups: GROUPS, lanes: true })
            .collect();
        let mut partials: Vec<Vec<Group>> = Vec::new();
        for (acc, shape) in l.accs.iter().zip(&shapes) {
            let neutral = acc.op.neutral(shape.dtype).expect("a verified accumulator has a neutral value");
            let neutral = self.constant(neutral);
            let splat = self.splat(shape.dtype, neutral);
            partials.push(vec![[splat; 2]; GROUPS]);
        }
        let (whole, left) = match l.range {
            Range::Full(Size::Const(n)) => (n / step * step, n % step),
            _ => (-1, -1),
        };
        let mut at = start;
        if whole != 0 {
            let inner = self.scope.clone();
            self.splat_operands(&l.body);
            let splatted = self.scope.splats.clone();
            (partials, at) = self.whole_lanes(l, groups, start, end, whole, &shapes, partials);
            self.scope = inner;
            // The vectors were made before the loop.
            self.scope.splats = splatted;
        }
        if left != 0 {
            partials = self.rest_of_lanes(l, at, start, end, &shapes, partials);
        }
        self.combine_lanes(l, &shapes, partials)
    }

    /// The turns that fill `groups` groups; gives the accumulators and where the rest begins.
    #[allow(clippy::too_many_arguments)]
    fn whole_lanes(
        &mut self,
        l: &'a Loop,
        groups: usize,
        start: Value,
        end: Value,
        whole: i64,
        shapes: &[Shape],
        partials: Vec<Vec<Group>>,
    ) -> (Vec<Vec<Group>>, Value) {
        let step = (groups * GROUP) as i64;
        let stop = if whole > 0 {
            self.b.ins().iconst(I64, whole)
        } else {
            let count = self.b.ins().isub(end, start);
            let count = self.b.ins().band_imm_s(count, -step);
            self.b.ins().iadd(start, count)
        };
        let [body, done] = [(); 2].map(|()| self.b.create_block());
        let types: Vec<Type> = shapes.iter().flat_map(|shape| shape.types()).collect();
        let results = self.params(done, &types);
        let flat = flatten(shapes, &partials);
        let first = [&[start], &flat[..]].concat();
        if whole > 0 {
            self.jump(body, &first);
        } else {
            let some = self.less(start, stop);
            self.branch(some, (body, &first), (done, &flat));
        }
        let params = self.params(body, &[&[I64], &types[..]].concat());
        self.b.switch_to_block(body);
        self.scope.lanes = Some((l.var, groups));
        self.scope.vars[l.var] = Some(params[0]);
        let old = unflatten(shapes, &params[1..]);
        self.stmts(&l.body);
        let new = self.accumulate(l, shapes, &old);
        let next = self.b.ins().iadd_imm_s(params[0], step);
        let flat = flatten(shapes, &new);
        let more = self.less(next, stop);
        self.branch(more, (body, &[&[next], &flat[..]].concat()), (done, &flat));
        self.b.switch_to_block(done);
        (unflatten(shapes, &results), stop)
    }

    /// The turns that fill no group, one by one; their lane's accumulator is found in memory.
    fn rest_of_lanes(
        &mut self,
        l: &'a Loop,
        from: Value,
        start: Value,
        end: Value,
        shapes: &[Shape],
        partials: Vec<Vec<Group>>,
    ) -> Vec<Vec<Group>> {
        let slots: Vec<StackSlot> = shapes
            .iter()
            .map(|shape| {
                let bytes = LANES as u32 * if is_wide(shape.dtype) { 8 } else { 4 };
                self.b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4))
            })
            .collect();
        for ((&slot, shape), groups) in slots.iter().zip(shapes).zip(&partials) {
            let at = self.b.ins().stack_addr(I64, slot, 0);
            for (offset, value) in shape.places(groups) {
                self.b.ins().store(ACCESS, value, at, offset);
            }
        }
        let [body, done] = [(); 2].map(|()| self.b.create_block());
        let some = self.less(from, end);
        self.branch(some, (body, &[from]), (done, &[]));
        let at = self.params(body, &[I64])[0];
        self.b.switch_to_block(body);
        let outer = self.scope.clone();
        self.scope.vars[l.var] = Some(at);
        self.stmts(&l.body);
        if !l.accs.is_empty() {
            let lane = self.b.ins().isub(at, start);
            let lane = self.b.ins().band_imm_s(lane, LANES - 1);
            let places: Vec<Value> = slots
                .iter()
                .zip(shapes)
                .map(|(&slot, shape)| {
                    let base = self.b.ins().stack_addr(I64, slot, 0);
                    let offset = self.b.ins().ishl_imm_u(lane, if is_wide(shape.dtype) { 3 } else { 2 });
                    self.b.ins().iadd(base, offset)
                })
                .collect();
            let singles: Vec<Shape> =
                shapes.iter().map(|shape| Shape { groups: 1, lanes: false, ..*shape }).collect();
            let mut old = Vec::new();
            for (&place, shape) in places.iter().zip(&singles) {
                let ty = if is_small(shape.dtype) { I32 } else { scalar_type(shape.dtype) };
                let number = self.b.ins().load(ty, ACCESS, place, 0);
                old.push(vec![[self.narrow(shape.dtype, number); 2]]);
            }
            let new = self.accumulate(l, &singles, &old);
            for ((&place, shape), groups) in places.iter().zip(&singles).zip(&new) {
                let number = self.widen(shape.dtype, groups[0][0]);
                self.b.ins().store(ACCESS, number, place, 0);
            }
        }
        self.scope = outer;
        let next = self.b.ins().iadd_imm_s(at, 1);
        let more = self.less(next, end);
        self.branch(more, (body, &[next]), (done, &[]));
        self.b.switch_to_block(done);
        slots
            .iter()
            .zip(shapes)
            .map(|(&slot, shape)| {
                let at = self.b.ins().stack_addr(I64, slot, 0);
                let ty = vector_type(shape.dtype);
                let parts = if is_wide(shape.dtype) { 2 } else { 1 };
                (0..GROUPS)
                    .map(|group| {
                        let part = |e: &mut Self, p: usize| {
                            e.b.ins().load(ty, ACCESS, at, 16 * (group * parts + p) as i32)
                        };
                        [part(self, 0), part(self, parts - 1)]
                    })
                    .collect()
            })
            .collect()
    }

    /// The fixed tree over the lanes, then the value before the loop.
    fn combine_lanes(&mut self, l: &'a Loop, shapes: &[Shape], partials: Vec<Vec<Group>>) -> Vec<Rep> {
        let count = l.accs.len();
        let halve = |e: &mut Self, x: &[Vec<Group>], from: usize, to: usize| {
            let one: Vec<Shape> = shapes.iter().map(|shape| Shape { groups: 1, ..*shape }).collect();
            let (a, b): (Vec<_>, Vec<_>) = x.iter().map(|g| (vec![g[from]], vec![g[to]])).unzip();
            e.combine_all(&l.accs, &one, &a, &b)
        };
        // Lane l with l + 8, then with l + 4.
        let low = halve(self, &partials, 0, 2);
        let high = halve(self, &partials, 1, 3);
        let both: Vec<Vec<Group>> = (0..count).map(|i| vec![low[i][0], high[i][0]]).collect();
        let four = halve(self, &both, 0, 1);
        // The last four as numbers: l with l + 2, then with l + 1.
        let singles: Vec<Shape> =
            shapes.iter().map(|shape| Shape { groups: 1, lanes: false, ..*shape }).collect();
        let lane = |e: &mut Self, lane: usize| -> Vec<Vec<Group>> {
            (0..count).map(|i| vec![[e.extract(shapes[i].dtype, four[i][0], lane); 2]]).collect()
        };
        let [l0, l1, l2, l3] = [0, 1, 2, 3].map(|i| lane(self, i));
        let even = self.combine_all(&l.accs, &singles, &l0, &l2);
        let odd = self.combine_all(&l.accs, &singles, &l1, &l3);
        let total = self.combine_all(&l.accs, &singles, &even, &odd);
        let inits: Vec<Vec<Group>> = l.accs.iter().map(|acc| vec![[self.one(acc.init); 2]]).collect();
        let total = self.combine_all(&l.accs, &singles, &total, &inits);
        total.iter().map(|groups| Rep::One(groups[0][0])).collect()
    }

    /// The accumulators after a turn, whose terms have just been computed.
    fn accumulate(&mut self, l: &Loop, shapes: &[Shape], old: &[Vec<Group>]) -> Vec<Vec<Group>> {
        let terms: Vec<Vec<Group>> =
            l.accs.iter().zip(shapes).map(|(acc, &shape)| self.parts(acc.term, shape)).collect();
        self.combine_all(&l.accs, shapes, old, &terms)
    }

    fn combine_all(
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

    fn shape(&self, acc: &Acc) -> Shape {
        let lanes = self.scope.lanes.is_some() && self.varying.contains(acc.result);
        Shape { dtype: self.kernel.vals[acc.result], groups: if lanes { self.groups() } else { 1 }, lanes }
    }

    /// A value in the shape of an accumulator.
    fn parts(&mut self, val: Val, shape: Shape) -> Vec<Group> {
        if shape.lanes {
            (0..shape.groups).map(|g| self.group(val, g)).collect()
        } else {
            vec![[self.one(val); 2]]
        }
    }

    fn branch(
        &mut self,
        cond: Value,
        (then, then_args): (cranelift_codegen::ir::Block, &[Value]),
        (other, other_args): (cranelift_codegen::ir::Block, &[Value]),
    ) {
        let args = |values: &[Value]| values.iter().map(|&v| v.into()).collect::<Vec<BlockArg>>();
        let (then_args, other_args) = (args(then_args), args(other_args));
        self.b.ins().brif(cond, then, &then_args, other, &other_args);
    }
}

/// How an accumulator is held.
#[derive(Clone, Copy)]
struct Shape {
    dtype: DType,
    groups: usize,
    lanes: bool,
}

impl Shape {
    fn parts(self) -> usize {
        if self.lanes && is_wide(self.dtype) { 2 } else { 1 }
    }

    fn types(self) -> Vec<Type> {
        let ty = if self.lanes { vector_type(self.dtype) } else { scalar_type(self.dtype) };
        vec![ty; self.groups * self.parts()]
    }

    fn rep(self, groups: &[Group]) -> Rep {
        if !self.lanes {
            return Rep::One(groups[0][0]);
        }
        Rep::Lanes(std::array::from_fn(|g| groups[g.min(groups.len() - 1)]))
    }

    /// The vectors of all lanes in memory.
    fn places(self, groups: &[Group]) -> Vec<(i32, Value)> {
        let vectors = groups.iter().flat_map(|group| group[..self.parts()].iter());
        vectors.enumerate().map(|(i, &value)| (16 * i as i32, value)).collect()
    }
}

fn flatten(shapes: &[Shape], accs: &[Vec<Group>]) -> Vec<Value> {
    shapes
        .iter()
        .zip(accs)
        .flat_map(|(shape, groups)| groups.iter().flat_map(|group| group[..shape.parts()].to_vec()))
        .collect()
}

fn unflatten(shapes: &[Shape], values: &[Value]) -> Vec<Vec<Group>> {
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

fn is_small(dtype: DType) -> bool {
    dtype.size() == 1
}

/// All lanes at a time where they have accumulators or loops inside, whose reads then use whole cache lines.
fn groups_at_a_time(l: &Loop) -> usize {
    let simple =
        l.accs.is_empty() && l.body.iter().all(|stmt| matches!(stmt, Stmt::Let(..) | Stmt::Store { .. }));
    match l.body.len() {
        _ if !simple => GROUPS,
        n if n <= SHORT_BODY => GROUPS,
        n if n <= MIDDLE_BODY => GROUPS / 2,
        _ => 1,
    }
}

fn certainly_runs(range: Range) -> bool {
    matches!(range, Range::Full(Size::Const(n)) if n > 0)
}

fn collect_lane_operands(
    stmts: &[Stmt],
    varying: &cranelift_entity::EntitySet<Val>,
    consts: &std::collections::HashMap<Val, crate::kernel::Const>,
    wanted: &mut Vec<Val>,
) {
    for stmt in stmts {
        match stmt {
            Stmt::Let(val, Inst::Op(op, operands)) if varying.contains(*val) => {
                let shift =
                    matches!(op, KOp::Shl | KOp::ShrU | KOp::ShrS) && consts.contains_key(&operands[1]);
                let count = if shift { 1 } else { operands.len() };
                wanted.extend(operands[..count].iter().filter(|&&v| !varying.contains(v)));
            }
            Stmt::Store { value, .. } if !varying.contains(*value) => wanted.push(*value),
            Stmt::Loop(l) => {
                collect_lane_operands(&l.body, varying, consts, wanted);
                for acc in &l.accs {
                    wanted.extend(
                        [acc.init, acc.term]
                            .into_iter()
                            .filter(|&v| varying.contains(acc.result) && !varying.contains(v)),
                    );
                }
            }
            Stmt::If { then, .. } => collect_lane_operands(then, varying, consts, wanted),
            _ => {}
        }
    }
}
