//! Sorts of rows, in the form of kernels: their points are the rows, so that they are run like any kernel, on the caller's threads too.
//!
//! The order is that of `tensor::sort_row`, to the last tie: by a whole number that orders as the entries do, then by index.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_frontend::Variable;
use cranelift_module::{FuncId, Linkage, Module};
use indexmap::IndexMap;

use super::function::{ACCESS, Fun, define};
use crate::axes::Dim;
use crate::codegen::CodegenError;
use crate::kernel::{Program, Step};
use crate::tensor::{DType, Sorted};

/// Bytes of an entry with its number: keys and indices of 64 bits, in two arrays that take turns.
pub const SCRATCH: i64 = 2 * RECORD;
const RECORD: i64 = 16;

/// What sorts have functions of their own for.
pub type Manner = (Sorted, bool, DType);

/// A sort among a program's steps.
pub struct Sort<'a> {
    pub manner: Manner,
    pub rows: &'a Dim,
    pub len: &'a Dim,
}

/// All sorts of a program, in the order of its text.
pub fn sorts(program: &Program) -> Vec<Sort<'_>> {
    fn among<'a>(program: &'a Program, steps: &'a [Step], found: &mut Vec<Sort<'a>>) {
        for step in steps {
            match step {
                Step::Sort { what, descending, from, rows, len, .. } => {
                    let manner = (*what, *descending, program.buffers[from.buffer].dtype);
                    found.push(Sort { manner, rows, len });
                }
                Step::Loop { body, .. } => among(program, body, found),
                Step::Run { .. } | Step::Copy { .. } => {}
            }
        }
    }
    let mut found = Vec::new();
    among(program, &program.steps, &mut found);
    found
}

/// The functions of all sorts of these programs.
pub fn functions<'a, M: Module>(
    module: &mut M,
    programs: impl Iterator<Item = &'a Program>,
) -> Result<IndexMap<Manner, FuncId>, CodegenError> {
    let mut functions = IndexMap::new();
    for sort in programs.flat_map(sorts) {
        if let indexmap::map::Entry::Vacant(place) = functions.entry(sort.manner) {
            let (what, descending, dtype) = sort.manner;
            let order = if descending { "down" } else { "up" };
            let name = format!("nnc_sort_{}_{order}_{dtype}", what.name());
            let id = define(module, &name, Linkage::Local, 5, None, |fun| {
                Sorter { what, descending, dtype }.rows(fun);
            })?;
            place.insert(id);
        }
    }
    Ok(functions)
}

#[derive(Clone, Copy)]
struct Sorter {
    what: Sorted,
    descending: bool,
    dtype: DType,
}

impl Sorter {
    /// `(args, sizes, begin, end, scratch)`, as `KernelFn` has them; the first size is the length of a row.
    fn rows<M: Module>(self, fun: &mut Fun<'_, '_, M>) {
        let [args, sizes, begin, end, scratch] = fun.params[..] else {
            unreachable!("defined with five parameters")
        };
        let (from, to, len) = (fun.load(args, 0), fun.load(args, 1), fun.load(sizes, 0));
        let (read, written) = (self.dtype.size() as i64, self.written());
        let count = fun.b.ins().isub(end, begin);
        let half = fun.b.ins().imul_imm_s(len, RECORD);
        let spare = fun.b.ins().iadd(scratch, half);
        fun.count(count, |fun, row| {
            let row = fun.b.ins().iadd(begin, row);
            let first = fun.b.ins().imul(row, len);
            let offset = fun.b.ins().imul_imm_s(first, read);
            let from = fun.b.ins().iadd(from, offset);
            let offset = fun.b.ins().imul_imm_s(first, written);
            let to = fun.b.ins().iadd(to, offset);
            self.number(fun, from, len, scratch);
            let sorted = self.merge_all(fun, half, scratch, spare);
            self.tell(fun, from, to, len, sorted);
        });
        fun.b.ins().return_(&[]);
    }

    /// Bytes of an entry of the result.
    fn written(&self) -> i64 {
        if self.what == Sorted::Values { self.dtype.size() as i64 } else { 4 }
    }

    /// Writes each entry's key and index.
    fn number<M: Module>(self, fun: &mut Fun<'_, '_, M>, from: Value, len: Value, records: Value) {
        fun.count(len, |fun, i| {
            let offset = fun.b.ins().imul_imm_s(i, self.dtype.size() as i64);
            let at = fun.b.ins().iadd(from, offset);
            let key = self.key(fun, at);
            let offset = fun.b.ins().imul_imm_s(i, RECORD);
            let record = fun.b.ins().iadd(records, offset);
            fun.store(key, record, 0);
            fun.store(i, record, 1);
        });
    }

    /// The number, unsigned, that orders as the entry does; NaN has the greatest, and no other entry has it.
    fn key<M: Module>(self, fun: &mut Fun<'_, '_, M>, at: Value) -> Value {
        let b = &mut fun.b;
        let ty = match self.dtype {
            DType::F32 | DType::I32 => I32,
            DType::F64 | DType::I64 => I64,
            DType::U8 => I8,
            DType::F16 | DType::BF16 | DType::Bool => unreachable!("{} is not sorted", self.dtype),
        };
        let bits = b.ins().load(ty, ACCESS, at, 0);
        if !self.dtype.is_float() {
            let wide = match ty {
                I8 => b.ins().uextend(I64, bits),
                I32 => b.ins().sextend(I64, bits),
                _ => bits,
            };
            let least = b.ins().iconst(I64, i64::MIN);
            let key = b.ins().bxor(wide, least);
            return if self.descending { b.ins().bnot(key) } else { key };
        }
        let (sign, infinite) = match ty {
            I32 => (i64::from(i32::MIN) & 0xffff_ffff, 0x7f80_0000),
            _ => (i64::MIN, 0x7ff0_0000_0000_0000),
        };
        // On whole numbers alone: no mode of the processor's floats plays a part.
        let sign = b.ins().iconst(ty, sign);
        let zero = b.ins().iconst(ty, 0);
        let minus_zero = b.ins().icmp(IntCC::Equal, bits, sign);
        let bits = b.ins().select(minus_zero, zero, bits);
        let size = b.ins().band_not(bits, sign);
        let infinite = b.ins().iconst(ty, infinite);
        let nan = b.ins().icmp(IntCC::UnsignedGreaterThan, size, infinite);
        let negative = b.ins().icmp(IntCC::SignedLessThan, bits, zero);
        let above = b.ins().bor(bits, sign);
        let below = b.ins().bnot(bits);
        let key = b.ins().select(negative, below, above);
        let key = if ty == I32 { b.ins().uextend(I64, key) } else { key };
        let key = if self.descending { b.ins().bnot(key) } else { key };
        let greatest = b.ins().iconst(I64, -1);
        b.ins().select(nan, greatest, key)
    }

    /// Merges runs of 1, 2, 4 … records from one array into the other; gives the array that holds all in order.
    fn merge_all<M: Module>(
        self,
        fun: &mut Fun<'_, '_, M>,
        bytes: Value,
        first: Value,
        second: Value,
    ) -> Value {
        let one = fun.int(RECORD);
        let (width, all) = (fun.variable(one), fun.variable(bytes));
        let (source, target) = (fun.variable(first), fun.variable(second));
        fun.while_below(width, all, |fun| {
            let from = fun.b.use_var(source);
            let to = fun.b.use_var(target);
            let step = fun.b.use_var(width);
            let end = fun.b.ins().iadd(from, bytes);
            let (low, end_of_all) = (fun.variable(from), fun.variable(end));
            let out = fun.variable(to);
            fun.while_below(low, end_of_all, |fun| {
                let low_now = fun.b.use_var(low);
                let middle = fun.b.ins().iadd(low_now, step);
                let middle = fun.b.ins().umin(middle, end);
                let high = fun.b.ins().iadd(middle, step);
                let high = fun.b.ins().umin(high, end);
                self.merge(fun, low_now, middle, high, out);
                fun.b.def_var(low, high);
            });
            fun.b.def_var(source, to);
            fun.b.def_var(target, from);
            let twice = fun.b.ins().iadd(step, step);
            fun.b.def_var(width, twice);
        });
        fun.b.use_var(source)
    }

    /// Merges the records `low..middle` and `middle..high` to where `out` points, and moves it on. Of equal keys the first run's come first.
    fn merge<M: Module>(
        self,
        fun: &mut Fun<'_, '_, M>,
        low: Value,
        middle: Value,
        high: Value,
        out: Variable,
    ) {
        let (i, j) = (fun.variable(low), fun.variable(middle));
        let (i_end, j_end) = (fun.variable(middle), fun.variable(high));
        let [test, second, turn, rest] = fun.blocks();
        fun.jump(test, &[]);
        fun.b.switch_to_block(test);
        let at = fun.b.use_var(i);
        let more = fun.b.ins().icmp(IntCC::UnsignedLessThan, at, middle);
        fun.b.ins().brif(more, second, &[], rest, &[]);
        fun.b.switch_to_block(second);
        let other = fun.b.use_var(j);
        let more = fun.b.ins().icmp(IntCC::UnsignedLessThan, other, high);
        fun.b.ins().brif(more, turn, &[], rest, &[]);
        fun.b.switch_to_block(turn);
        let (key, other_key) = (fun.load(at, 0), fun.load(other, 0));
        // Chosen without a branch, which no processor could foresee.
        let right = fun.b.ins().icmp(IntCC::UnsignedLessThan, other_key, key);
        let from = fun.b.ins().select(right, other, at);
        self.move_record(fun, from, out);
        let (next, next_other) = (fun.b.ins().iadd_imm_s(at, RECORD), fun.b.ins().iadd_imm_s(other, RECORD));
        let (next, next_other) =
            (fun.b.ins().select(right, at, next), fun.b.ins().select(right, next_other, other));
        fun.b.def_var(i, next);
        fun.b.def_var(j, next_other);
        fun.jump(test, &[]);
        fun.b.switch_to_block(rest);
        for (at, end) in [(i, i_end), (j, j_end)] {
            fun.while_below(at, end, |fun| {
                let from = fun.b.use_var(at);
                self.move_record(fun, from, out);
                let next = fun.b.ins().iadd_imm_s(from, RECORD);
                fun.b.def_var(at, next);
            });
        }
    }

    fn move_record<M: Module>(self, fun: &mut Fun<'_, '_, M>, from: Value, out: Variable) {
        let to = fun.b.use_var(out);
        for word in 0..2 {
            let value = fun.load(from, word);
            fun.store(value, to, word);
        }
        let next = fun.b.ins().iadd_imm_s(to, RECORD);
        fun.b.def_var(out, next);
    }

    /// Writes the result of a row whose records are in order.
    fn tell<M: Module>(self, fun: &mut Fun<'_, '_, M>, from: Value, to: Value, len: Value, sorted: Value) {
        let (what, dtype, written) = (self.what, self.dtype, self.written());
        let zero = fun.int(0);
        // Of the first entry that is equal to the one at hand: where its record is, and its place.
        let (equal, first) = (fun.variable(sorted), fun.variable(zero));
        fun.count(len, |fun, place| {
            let offset = fun.b.ins().imul_imm_s(place, RECORD);
            let record = fun.b.ins().iadd(sorted, offset);
            let index = fun.load(record, 1);
            let (at, value) = match what {
                Sorted::Values => {
                    let offset = fun.b.ins().imul_imm_s(index, dtype.size() as i64);
                    let entry = fun.b.ins().iadd(from, offset);
                    let ty = match dtype.size() {
                        1 => I8,
                        4 => I32,
                        _ => I64,
                    };
                    (place, fun.b.ins().load(ty, ACCESS, entry, 0))
                }
                Sorted::Order => (place, fun.b.ins().ireduce(I32, index)),
                Sorted::Rank => {
                    let (before, known) = (fun.b.use_var(equal), fun.b.use_var(first));
                    let (key, other) = (fun.load(record, 0), fun.load(before, 0));
                    let differs = fun.b.ins().icmp(IntCC::NotEqual, key, other);
                    let before = fun.b.ins().select(differs, record, before);
                    let known = fun.b.ins().select(differs, place, known);
                    fun.b.def_var(equal, before);
                    fun.b.def_var(first, known);
                    (index, fun.b.ins().ireduce(I32, known))
                }
            };
            let offset = fun.b.ins().imul_imm_s(at, written);
            let to = fun.b.ins().iadd(to, offset);
            fun.b.ins().store(ACCESS, value, to, 0);
        });
    }
}
