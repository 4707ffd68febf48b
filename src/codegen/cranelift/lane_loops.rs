//! Lane loops: groups of lanes in vectors, the rest one by one, and the tree that joins the lanes of accumulators.

use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, StackSlot, StackSlotData, StackSlotKind, Type, Value};

use super::accs::{Shape, flatten, is_small, unflatten};
use super::address::{scalar_type, vector_type};
use super::emit::{ACCESS, Emitter, GROUP, GROUPS, Group, Rep, index, is_wide};
use crate::kernel::{Inst, KOp, LANES, Loop, Range, Size, Stmt, Val};

/// Up to so many statements a lane loop handles all lanes (half of them) at a time: longer bodies fill the machine with fewer.
const SHORT_BODY: usize = 24;
const MIDDLE_BODY: usize = 60;
/// A loop of known length below this handles as many groups as leave the fewest single turns.
const SHORT_LOOP: i64 = 64;

/// How a lane loop runs.
struct Plan {
    /// Groups that a turn handles.
    groups: usize,
    /// Whether accumulators stay in memory, where a turn finds those of its own lanes, instead of in registers for all lanes.
    in_memory: bool,
}

impl<'a> Emitter<'a, '_> {
    pub fn lane_loop(&mut self, l: &'a Loop, start: Value, end: Value) -> Vec<Rep> {
        if let Some(results) = self.wide_loop(l, start, end) {
            return results;
        }
        let Plan { groups, in_memory } = plan(l);
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
        let mut slots = in_memory.then(|| self.spill(&shapes, &partials));
        let mut at = start;
        if whole != 0 {
            at = if whole > 0 {
                self.b.ins().iconst(I64, whole)
            } else {
                let count = self.b.ins().isub(end, start);
                let count = self.b.ins().band_imm_s(count, -step);
                self.b.ins().iadd(start, count)
            };
            let outer = self.scope.clone();
            self.splat_operands(&l.body);
            let splats = self.scope.splats.clone();
            match &slots {
                Some(slots) => self.turns(l, Some(groups), [start, at, start], &shapes, slots, whole > 0),
                None => {
                    partials = self.turns_in_registers(l, groups, start, at, &shapes, &partials, whole > 0)
                }
            }
            self.scope = outer;
            // These vectors were made before the loop and serve the code behind it too.
            self.scope.splats = splats;
        }
        if left != 0 {
            let slots = slots.get_or_insert_with(|| self.spill(&shapes, &partials));
            self.turns(l, None, [at, end, start], &shapes, slots, left > 0);
        }
        if let Some(slots) = slots {
            partials = self.reload(&shapes, &slots);
        }
        self.combine_lanes(l, &shapes, partials)
    }

    /// The turns of whole groups with the accumulators of all lanes in registers.
    #[allow(clippy::too_many_arguments, reason = "the bounds, shapes and accumulators of one loop")]
    fn turns_in_registers(
        &mut self,
        l: &'a Loop,
        groups: usize,
        start: Value,
        stop: Value,
        shapes: &[Shape],
        partials: &[Vec<Group>],
        certain: bool,
    ) -> Vec<Vec<Group>> {
        let [body, done] = [(); 2].map(|()| self.b.create_block());
        let types: Vec<Type> = shapes.iter().flat_map(|shape| shape.types()).collect();
        let results = self.params(done, &types);
        let flat = flatten(shapes, partials);
        let first = [&[start], &flat[..]].concat();
        if certain {
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
        let next = self.b.ins().iadd_imm_s(params[0], (groups * GROUP) as i64);
        let flat = flatten(shapes, &new);
        let more = self.less(next, stop);
        self.branch(more, (body, &[&[next], &flat[..]].concat()), (done, &flat));
        self.b.switch_to_block(done);
        unflatten(shapes, &results)
    }

    /// Turns of some groups, or one by one, from `from` to `to` of a loop that starts at `start`; accumulators are in memory, and then
    /// a turn handles one group.
    fn turns(
        &mut self,
        l: &'a Loop,
        groups: Option<usize>,
        [from, to, start]: [Value; 3],
        shapes: &[Shape],
        slots: &[StackSlot],
        certain: bool,
    ) {
        let [body, done] = [(); 2].map(|()| self.b.create_block());
        if certain {
            self.jump(body, &[from]);
        } else {
            let some = self.less(from, to);
            self.branch(some, (body, &[from]), (done, &[]));
        }
        let at = self.params(body, &[I64])[0];
        self.b.switch_to_block(body);
        let outer = self.scope.clone();
        self.scope.vars[l.var] = Some(at);
        self.scope.lanes = groups.map(|groups| (l.var, groups));
        self.stmts(&l.body);
        if !l.accs.is_empty() {
            self.accumulate_in_memory(l, groups.is_some(), at, start, shapes, slots);
        }
        self.scope = outer;
        let next = self.b.ins().iadd_imm_s(at, groups.map_or(1, |groups| (groups * GROUP) as i64));
        let more = self.less(next, to);
        self.branch(more, (body, &[next]), (done, &[]));
        self.b.switch_to_block(done);
    }

    /// Combines the turn's terms with the accumulators of its lanes: of a group, or of a single one.
    fn accumulate_in_memory(
        &mut self,
        l: &'a Loop,
        lanes: bool,
        at: Value,
        start: Value,
        shapes: &[Shape],
        slots: &[StackSlot],
    ) {
        let lane = self.b.ins().isub(at, start);
        let lane = self.b.ins().band_imm_s(lane, LANES - 1);
        let own: Vec<Shape> = shapes.iter().map(|shape| Shape { groups: 1, lanes, ..*shape }).collect();
        let mut places = Vec::new();
        let mut old = Vec::new();
        for (&slot, shape) in slots.iter().zip(&own) {
            let base = self.b.ins().stack_addr(I64, slot, 0);
            let offset = self.b.ins().ishl_imm_u(lane, if is_wide(shape.dtype) { 3 } else { 2 });
            let place = self.b.ins().iadd(base, offset);
            places.push(place);
            old.push(vec![if lanes {
                self.load_partial(*shape, place, 0)
            } else {
                let ty = if is_small(shape.dtype) { I32 } else { scalar_type(shape.dtype) };
                let number = self.b.ins().load(ty, ACCESS, place, 0);
                [self.narrow(shape.dtype, number); 2]
            }]);
        }
        let new = self.accumulate(l, &own, &old);
        for ((&place, shape), groups) in places.iter().zip(&own).zip(&new) {
            if lanes {
                for (offset, value) in shape.places(groups) {
                    self.b.ins().store(ACCESS, value, place, offset);
                }
            } else {
                let number = self.widen(shape.dtype, groups[0][0]);
                self.b.ins().store(ACCESS, number, place, 0);
            }
        }
    }

    /// The accumulators of all lanes, in memory.
    fn spill(&mut self, shapes: &[Shape], partials: &[Vec<Group>]) -> Vec<StackSlot> {
        let mut slots = Vec::new();
        for (shape, groups) in shapes.iter().zip(partials) {
            let bytes = LANES as u32 * if is_wide(shape.dtype) { 8 } else { 4 };
            let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4);
            let slot = self.b.create_sized_stack_slot(slot);
            let at = self.b.ins().stack_addr(I64, slot, 0);
            for (offset, value) in shape.places(groups) {
                self.b.ins().store(ACCESS, value, at, offset);
            }
            slots.push(slot);
        }
        slots
    }

    fn reload(&mut self, shapes: &[Shape], slots: &[StackSlot]) -> Vec<Vec<Group>> {
        let mut partials = Vec::new();
        for (&slot, shape) in slots.iter().zip(shapes) {
            let at = self.b.ins().stack_addr(I64, slot, 0);
            let bytes = (16 * shape.parts()) as i32;
            partials
                .push((0..GROUPS as i32).map(|group| self.load_partial(*shape, at, group * bytes)).collect());
        }
        partials
    }

    pub fn load_partial(&mut self, shape: Shape, at: Value, offset: i32) -> Group {
        let ty = vector_type(shape.dtype);
        let first = self.b.ins().load(ty, ACCESS, at, offset);
        if shape.parts() == 1 { [first; 2] } else { [first, self.b.ins().load(ty, ACCESS, at, offset + 16)] }
    }

    /// The fixed tree over the lanes, then the value before the loop.
    pub fn combine_lanes(&mut self, l: &'a Loop, shapes: &[Shape], partials: Vec<Vec<Group>>) -> Vec<Rep> {
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
}

fn plan(l: &Loop) -> Plan {
    let simple = l.body.iter().all(|stmt| matches!(stmt, Stmt::Let(..) | Stmt::Store { .. }));
    let known = match l.range {
        Range::Full(Size::Const(n)) if n < SHORT_LOOP => Some(n),
        _ => None,
    };
    let fits = |groups: &usize| known.is_none_or(|n| n % (groups * GROUP) as i64 == n % GROUP as i64);
    if !l.accs.is_empty() {
        let all = fits(&GROUPS) && l.body.len() <= SHORT_BODY || !simple;
        return Plan { groups: if all { GROUPS } else { 1 }, in_memory: !all };
    }
    let most = match l.body.len() {
        // The reads of loops inside then use whole cache lines.
        _ if !simple => GROUPS,
        n if n <= SHORT_BODY => GROUPS,
        n if n <= MIDDLE_BODY => GROUPS / 2,
        _ => 1,
    };
    let groups = [GROUPS, GROUPS / 2, 1].into_iter().filter(|&groups| groups <= most).find(fits).unwrap_or(1);
    Plan { groups, in_memory: false }
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
