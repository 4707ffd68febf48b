//! `<name>_bind_built(plan, build, dims…) -> code`: every number of a run for given dims, by checked arithmetic, into the plan.

use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F64, I8, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_entity::SecondaryMap;
use cranelift_module::{FuncId, Module};

use super::entry::{Comparison, Entry, Refusal};
use super::function::Fun;
use super::layout::{ARENA, Layout, OWNER, SCRATCH, VARIANT};
use super::sort::{SCRATCH as SCRATCH_OF_SORTS, sorts};
use crate::axes::{Algebra, Dim, DimVar};
use crate::kernel::cost::{Estimate, SERIAL, TASK, cost};
use crate::kernel::facts::SCRATCH_ALIGN;
use crate::kernel::{ArgKind, Kernel, Size, SizeId};
use crate::tiles::ROOM;

/// Nanoseconds that a sort takes for an entry, roughly.
const SORTED: f64 = 30.0;

/// What offsets in the workspace are multiples of.
pub const ALIGN: i64 = 64;

/// The levels of `cpu` that the object file has code for, ascending; variant `i` serves level `levels[i]`.
pub struct Levels<'a> {
    pub ask: Option<FuncId>,
    pub levels: &'a [i64],
}

pub fn emit<M: Module>(
    fun: &mut Fun<'_, '_, M>,
    entry: &Entry<'_>,
    layout: &Layout,
    levels: &Levels<'_>,
    owner: i64,
) {
    let (plan, build) = (fun.params[0], fun.params[1]);
    // The caller's plan may be too short for this code: nothing is written to it before.
    let other = fun.b.ins().icmp_imm_s(IntCC::NotEqual, build, owner);
    fun.refuse_if(other, Refusal::Build);
    let null = fun.is_null(plan);
    fun.refuse_if(null, Refusal::Null);
    let zero = fun.int(0);
    fun.store(zero, plan, OWNER);
    let variant = variant(fun, levels);
    fun.store(variant, plan, VARIANT);
    let dims: HashMap<DimVar, Value> =
        entry.dims.iter().cloned().zip(fun.params[2..].iter().copied()).collect();
    for &value in &fun.params[2..].to_vec() {
        let negative = fun.b.ins().icmp_imm_s(IntCC::SignedLessThan, value, 0);
        fun.refuse_if(negative, Refusal::Negative);
    }
    let bad = fun.b.ins().iconst(I8, 0);
    let mut binder = Binder { fun, dims, known: HashMap::new(), bad };
    binder.demands(entry);
    let arena = binder.arena(entry, layout);
    binder.fun.store(arena, plan, ARENA);
    let scratch = binder.kernels(entry, layout);
    binder.fun.store(scratch, plan, SCRATCH);
    for ((dim, unit), &word) in &layout.amounts {
        let value = binder.amount(dim, *unit);
        binder.fun.store(value, plan, word);
    }
    let bad = binder.bad;
    fun.refuse_if(bad, Refusal::TooLarge);
    let owner = fun.int(owner);
    fun.store(owner, plan, OWNER);
    fun.return_code(0);
}

/// The best variant that this processor can run; refuses where there is none.
fn variant<M: Module>(fun: &mut Fun<'_, '_, M>, levels: &Levels<'_>) -> Value {
    let Some(level) = levels.ask.and_then(|ask| fun.call(ask, &[])) else { return fun.int(0) };
    let level = fun.b.ins().uextend(I64, level);
    let least = levels.levels.first().copied().unwrap_or(0);
    let lacking = fun.b.ins().icmp_imm_s(IntCC::SignedLessThan, level, least);
    fun.refuse_if(lacking, Refusal::Processor);
    let mut variant = fun.int(0);
    for (index, &needs) in levels.levels.iter().enumerate().skip(1) {
        let can = fun.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, level, needs);
        let better = fun.int(index as i64);
        variant = fun.b.ins().select(can, better, variant);
    }
    variant
}

struct Binder<'b, 'm, 'f, M: Module> {
    fun: &'b mut Fun<'m, 'f, M>,
    dims: HashMap<DimVar, Value>,
    known: HashMap<Dim, Value>,
    /// Whether anything has overflowed so far.
    bad: Value,
}

impl<M: Module> Binder<'_, '_, '_, M> {
    fn spoil(&mut self, bad: Value) {
        self.bad = self.fun.b.ins().bor(self.bad, bad);
    }

    fn value(&mut self, dim: &Dim) -> Value {
        if let Some(&value) = self.known.get(dim) {
            return value;
        }
        let value = dim.fold(self);
        self.known.insert(dim.clone(), value);
        value
    }

    /// A dim times a number of bytes.
    fn amount(&mut self, dim: &Dim, unit: i64) -> Value {
        let value = self.value(dim);
        self.scaled(value, unit)
    }

    fn scaled(&mut self, value: Value, unit: i64) -> Value {
        if unit == 1 {
            return value;
        }
        let unit = self.fun.int(unit);
        self.product(value, unit)
    }

    fn not_negative(&mut self, value: Value) {
        let negative = self.fun.b.ins().icmp_imm_s(IntCC::SignedLessThan, value, 0);
        self.spoil(negative);
    }

    fn align_up(&mut self, value: Value, align: i64) -> Value {
        let room = self.fun.int(align - 1);
        let padded = self.sum(value, room);
        self.fun.b.ins().band_imm_s(padded, -align)
    }

    fn demands(&mut self, entry: &Entry<'_>) {
        let sides: Vec<(Value, Value)> = entry
            .demands
            .iter()
            .map(|demand| (self.value(&demand.left), self.value(&demand.right)))
            .collect();
        let bad = self.bad;
        self.fun.refuse_if(bad, Refusal::TooLarge);
        for (index, (demand, (left, right))) in entry.demands.iter().zip(sides).enumerate() {
            let broken = match demand.op {
                Comparison::Equal => IntCC::NotEqual,
                Comparison::AtMost => IntCC::SignedGreaterThan,
                Comparison::Less => IntCC::SignedGreaterThanOrEqual,
            };
            let broken = self.fun.b.ins().icmp(broken, left, right);
            self.fun.return_if(broken, Refusal::ALL.len() as i64 + index as i64);
        }
    }

    /// The offsets of the slots; gives the bytes of all. Every buffer's size is checked, the caller's too.
    fn arena(&mut self, entry: &Entry<'_>, layout: &Layout) -> Value {
        let zero = self.fun.int(0);
        let mut slots = vec![zero; entry.slots.count];
        for (buffer, decl) in &entry.program.buffers {
            let len = self.value(&decl.len);
            self.not_negative(len);
            let bytes = self.scaled(len, decl.dtype.size() as i64);
            if let Some(slot) = super::layout::slot_of(entry, buffer) {
                slots[slot] = self.fun.b.ins().smax(slots[slot], bytes);
            }
        }
        let plan = self.fun.params[0];
        let mut at = zero;
        for (slot, bytes) in slots.into_iter().enumerate() {
            self.fun.store(at, plan, layout.slot(slot));
            let bytes = self.align_up(bytes, ALIGN);
            at = self.sum(at, bytes);
        }
        at
    }

    /// Points, chunks and sizes of all kernels; gives the bytes of scratch that a thread needs.
    fn kernels(&mut self, entry: &Entry<'_>, layout: &Layout) -> Value {
        let plan = self.fun.params[0];
        let mut most = self.fun.int(0);
        for (id, kernel) in &entry.program.kernels {
            let mut sizes: SecondaryMap<SizeId, Option<Value>> = SecondaryMap::new();
            for (index, (size, dim)) in kernel.sizes.iter().enumerate() {
                let value = self.value(dim);
                sizes[size] = Some(value);
                self.fun.store(value, plan, layout.sizes(id) + index);
            }
            let mut points = self.fun.int(1);
            for &(_, extent) in &kernel.grid {
                let extent = self.size(extent, &sizes);
                self.not_negative(extent);
                points = self.product(points, extent);
            }
            let scratch = self.scratch(kernel, &sizes);
            most = self.fun.b.ins().smax(most, scratch);
            let mut numbers = Numbers { fun: self.fun, sizes: &sizes };
            let each = cost(&kernel.body, &mut numbers);
            let chunk = self.chunk(each, points);
            self.fun.store(points, plan, layout.points(id));
            self.fun.store(chunk, plan, layout.chunk(id));
        }
        for (number, sort) in sorts(entry.program).into_iter().enumerate() {
            let (rows, len) = (self.value(sort.rows), self.value(sort.len));
            self.not_negative(rows);
            self.not_negative(len);
            let scratch = self.scaled(len, SCRATCH_OF_SORTS);
            let scratch = self.align_up(scratch, SCRATCH_ALIGN);
            most = self.fun.b.ins().smax(most, scratch);
            let each = self.fun.b.ins().fcvt_from_sint(F64, len);
            let entry = self.fun.b.ins().f64const(SORTED);
            let each = self.fun.b.ins().fmul(each, entry);
            let chunk = self.chunk(each, rows);
            for (value, word) in [rows, chunk, len].into_iter().zip(layout.sort(number)) {
                self.fun.store(value, plan, word);
            }
        }
        most
    }

    fn size(&mut self, size: Size, sizes: &SecondaryMap<SizeId, Option<Value>>) -> Value {
        match size {
            Size::Sym(id) => sizes[id].expect("every row of the table has been computed"),
            Size::Const(value) => self.fun.int(value),
        }
    }

    /// The end of [`Kernel::scratch_layout`].
    fn scratch(&mut self, kernel: &Kernel, sizes: &SecondaryMap<SizeId, Option<Value>>) -> Value {
        let mut parts = Vec::new();
        for arg in kernel.args.values() {
            if let ArgKind::Scratch { len } = arg.kind {
                let len = self.size(len, sizes);
                self.not_negative(len);
                parts.push(self.scaled(len, arg.dtype.size() as i64));
            }
        }
        let contracts = kernel.contracts();
        if !contracts.is_empty() {
            parts.push(self.fun.int(ROOM as i64));
        }
        for contract in contracts.into_iter().filter(|contract| !contract.blocks.is_empty()) {
            let mut bytes = self.fun.int(8);
            for block in &contract.blocks {
                let extent = self.size(block.0.most(), sizes);
                self.not_negative(extent);
                bytes = self.product(bytes, extent);
            }
            parts.extend([bytes; 2]);
        }
        let mut end = self.fun.int(0);
        for part in parts {
            let part = self.align_up(part, SCRATCH_ALIGN);
            end = self.sum(end, part);
        }
        end
    }

    /// Points for one task, as `runtime::bind` has it; each takes so many nanoseconds.
    fn chunk(&mut self, each: Value, points: Value) -> Value {
        let b = &mut self.fun.b;
        let one = b.ins().f64const(1.0);
        let each = b.ins().fmax(each, one);
        let count = b.ins().fcvt_from_sint(F64, points);
        let total = b.ins().fmul(each, count);
        let task = b.ins().f64const(TASK);
        let tasks = b.ins().fdiv(total, task);
        let tasks = b.ins().fmin(tasks, count);
        let tasks = b.ins().fmax(tasks, one);
        let tasks = b.ins().fcvt_to_sint_sat(I64, tasks);
        let whole = b.ins().sdiv(points, tasks);
        let rest = b.ins().srem(points, tasks);
        let rest = b.ins().icmp_imm_s(IntCC::NotEqual, rest, 0);
        let rest = b.ins().uextend(I64, rest);
        let even = b.ins().iadd(whole, rest);
        let serial = b.ins().f64const(SERIAL);
        let short = b.ins().fcmp(FloatCC::LessThan, total, serial);
        let chunk = b.ins().select(short, points, even);
        let least = b.ins().iconst(I64, 1);
        b.ins().smax(chunk, least)
    }
}

/// Wrapping arithmetic that notices in `bad` when it has wrapped.
impl<M: Module> Algebra for Binder<'_, '_, '_, M> {
    type Value = Value;

    fn constant(&mut self, value: i64) -> Value {
        self.fun.int(value)
    }

    fn var(&mut self, var: &DimVar) -> Value {
        *self.dims.get(var).expect("every dim of a program is an argument of bind")
    }

    fn sum(&mut self, a: Value, b: Value) -> Value {
        let (sum, bad) = self.fun.b.ins().sadd_overflow(a, b);
        self.spoil(bad);
        sum
    }

    fn product(&mut self, a: Value, b: Value) -> Value {
        let (product, bad) = self.fun.b.ins().smul_overflow(a, b);
        self.spoil(bad);
        product
    }

    fn quotient(&mut self, over: Value, under: Value) -> Value {
        let b = &mut self.fun.b;
        // Division by 0, and of the smallest number by -1, would trap.
        let zero = b.ins().icmp_imm_s(IntCC::Equal, under, 0);
        let least = b.ins().icmp_imm_s(IntCC::Equal, over, i64::MIN);
        let minus = b.ins().icmp_imm_s(IntCC::Equal, under, -1);
        let wraps = b.ins().band(least, minus);
        let bad = b.ins().bor(zero, wraps);
        let one = b.ins().iconst(I64, 1);
        let under = b.ins().select(bad, one, under);
        let quotient = b.ins().sdiv(over, under);
        let back = b.ins().imul(quotient, under);
        let rest = b.ins().isub(over, back);
        let inexact = b.ins().icmp_imm_s(IntCC::NotEqual, rest, 0);
        let signs = b.ins().bxor(rest, under);
        let differ = b.ins().icmp_imm_s(IntCC::SignedLessThan, signs, 0);
        let down = b.ins().band(inexact, differ);
        let down = b.ins().uextend(I64, down);
        let quotient = b.ins().isub(quotient, down);
        self.spoil(bad);
        quotient
    }
}

/// Costs as instructions.
struct Numbers<'n, 'm, 'f, M: Module> {
    fun: &'n mut Fun<'m, 'f, M>,
    sizes: &'n SecondaryMap<SizeId, Option<Value>>,
}

impl<M: Module> Estimate for Numbers<'_, '_, '_, M> {
    type Number = Value;

    fn constant(&mut self, value: f64) -> Value {
        self.fun.b.ins().f64const(value)
    }

    fn size(&mut self, size: Size, limit: Option<i64>) -> Value {
        let limit = limit.unwrap_or(i64::MAX);
        match size {
            Size::Const(value) => self.constant(value.min(limit).max(0) as f64),
            Size::Sym(id) => {
                let value = self.sizes[id].expect("every row of the table has been computed");
                let (limit, zero) = (self.fun.int(limit), self.fun.int(0));
                let value = self.fun.b.ins().smin(value, limit);
                let value = self.fun.b.ins().smax(value, zero);
                self.fun.b.ins().fcvt_from_sint(F64, value)
            }
        }
    }

    fn sum(&mut self, a: Value, b: Value) -> Value {
        self.fun.b.ins().fadd(a, b)
    }

    fn product(&mut self, a: Value, b: Value) -> Value {
        self.fun.b.ins().fmul(a, b)
    }
}
