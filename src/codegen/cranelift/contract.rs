//! Contractions: a `Tile` on the stack and a call.

use std::mem::offset_of;

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Value};

use super::emit::{ACCESS, Emitter};
use crate::kernel::{Contract, Range, Size, Transpose};
use crate::tiles::{ACCUMULATE, COPY, RELU, Tile};

/// Bytes of an f32.
const ELEMENT: i64 = 4;

impl<'a> Emitter<'a, '_> {
    pub fn contract(&mut self, c: &'a Contract) {
        let (m_start, m_end) = self.bounds(c.m);
        let (n_start, n_end) = self.bounds(c.n);
        let (m, n) = (self.b.ins().isub(m_end, m_start), self.b.ins().isub(n_end, n_start));
        let a = self.pointer(c.a_arg, &c.a);
        let a = self.moved(a, m_start, c.a_m);
        let b = self.pointer(c.b_arg, &c.b);
        let b = self.moved(b, n_start, c.b_n);
        let (k_start, k_end) = self.bounds(c.k);
        let k = self.b.ins().isub(k_end, k_start);
        let (a, b) = (self.moved(a, k_start, c.a_k), self.moved(b, k_start, c.b_k));
        let (a, b, nb) = self.blocks(c, a, b);
        let to = self.pointer(c.c_arg, &c.c);
        let to = self.moved(to, m_start, c.c_m);
        let to = self.moved(to, n_start, Size::Const(1));
        let (one, none) = (Range::Full(Size::Const(1)), Size::Const(0));
        let (range, a_group, c_group) = c.groups.unwrap_or((one, none, none));
        let (g_start, g_end) = self.bounds(range);
        let mo = self.b.ins().isub(g_end, g_start);
        let (a, to) = (self.moved(a, g_start, a_group), self.moved(to, g_start, c_group));
        let zero = self.b.ins().iconst(I64, 0);
        let bias = match &c.bias {
            Some((arg, at)) => {
                let bias = self.pointer(*arg, at);
                self.moved(bias, n_start, Size::Const(1))
            }
            None => zero,
        };
        let (ao, bo) = self.tables.get(&(c as *const Contract)).copied().unwrap_or((zero, zero));
        let flags = if c.accumulate { ACCUMULATE } else { 0 } | if c.relu { RELU } else { 0 };
        let flags = self.b.ins().iconst(I64, flags);
        let [ras, cas, brs, bcs, ldc, rao, rco] = [c.a_m, c.a_k, c.b_k, c.b_n, c.c_m, a_group, c_group]
            .map(|stride| self.size_bytes(stride, ELEMENT));
        let fields = [
            (offset_of!(Tile, nb), nb),
            (offset_of!(Tile, ao), ao),
            (offset_of!(Tile, bo), bo),
            (offset_of!(Tile, k), k),
            (offset_of!(Tile, ras), ras),
            (offset_of!(Tile, cas), cas),
            (offset_of!(Tile, brs), brs),
            (offset_of!(Tile, bcs), bcs),
            (offset_of!(Tile, ldc), ldc),
            (offset_of!(Tile, mo), mo),
            (offset_of!(Tile, rao), rao),
            (offset_of!(Tile, rco), rco),
            (offset_of!(Tile, bias), bias),
            (offset_of!(Tile, flags), flags),
            (offset_of!(Tile, room), self.room.expect("a kernel with contractions has room for them")),
        ];
        self.call_tiles(&fields, [a, b, to, m, n]);
    }

    pub fn transpose(&mut self, t: &'a Transpose) {
        let (m_start, m_end) = self.bounds(t.m);
        let (n_start, n_end) = self.bounds(t.n);
        let (m, n) = (self.b.ins().isub(m_end, m_start), self.b.ins().isub(n_end, n_start));
        let from = self.pointer(t.from_arg, &t.from);
        let from = self.moved(from, m_start, t.from_m);
        let from = self.moved(from, n_start, t.from_n);
        let to = self.pointer(t.to_arg, &t.to);
        let to = self.moved(to, m_start, t.to_m);
        let to = self.moved(to, n_start, Size::Const(1));
        let [brs, bcs, ldc] = [t.from_m, t.from_n, t.to_m].map(|stride| self.size_bytes(stride, ELEMENT));
        let flags = self.b.ins().iconst(I64, COPY);
        let zero = self.b.ins().iconst(I64, 0);
        let fields = [
            (offset_of!(Tile, k), m),
            (offset_of!(Tile, brs), brs),
            (offset_of!(Tile, bcs), bcs),
            (offset_of!(Tile, ldc), ldc),
            (offset_of!(Tile, flags), flags),
        ];
        self.call_tiles(&fields, [zero, from, to, zero, n]);
    }

    /// Calls the code of contractions with a tile of these fields, and the operands behind it.
    fn call_tiles(&mut self, fields: &[(usize, Value)], operands: [Value; 5]) {
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, size_of::<Tile>() as u32, 3);
        let slot = self.b.create_sized_stack_slot(slot);
        let tile = self.b.ins().stack_addr(I64, slot, 0);
        for &(field, value) in fields {
            self.b.ins().store(ACCESS, value, tile, field as i32);
        }
        let callee = self.contraction.expect("a kernel that calls tiles is given their function");
        let [a, b, c, m, n] = operands;
        self.b.ins().call(callee, &[tile, a, b, c, m, n]);
    }

    fn moved(&mut self, pointer: Value, count: Value, stride: Size) -> Value {
        let stride = self.size_bytes(stride, ELEMENT);
        let bytes = self.b.ins().imul(count, stride);
        self.b.ins().iadd(pointer, bytes)
    }

    /// The operands at the first block, and the number of blocks.
    fn blocks(&mut self, c: &Contract, mut a: Value, mut b: Value) -> (Value, Value, Value) {
        let mut count = self.b.ins().iconst(I64, 1);
        for &(range, in_a, in_b) in &c.blocks {
            let (start, end) = self.bounds(range);
            (a, b) = (self.moved(a, start, in_a), self.moved(b, start, in_b));
            let extent = self.b.ins().isub(end, start);
            count = self.b.ins().imul(count, extent);
        }
        (a, b, count)
    }

    /// Writes the tables of offsets of all contractions: they depend on sizes alone.
    pub fn fill_tables(&mut self) {
        for contract in self.kernel.contracts() {
            if let Some(&(a, b)) = self.tables.get(&(contract as *const Contract)) {
                let zero = self.b.ins().iconst(I64, 0);
                self.fill(contract, 0, [a, b], [zero, zero]);
            }
        }
    }

    /// A loop for each block axis; returns the tables' next entries.
    fn fill(&mut self, c: &Contract, axis: usize, tables: [Value; 2], offsets: [Value; 2]) -> [Value; 2] {
        let Some(&(extent, a_stride, b_stride)) = c.blocks.get(axis) else {
            return std::array::from_fn(|t| {
                self.b.ins().store(ACCESS, offsets[t], tables[t], 0);
                self.b.ins().iadd_imm_s(tables[t], 8)
            });
        };
        let extent = self.size(extent.most());
        let strides = [a_stride, b_stride].map(|stride| self.size_bytes(stride, ELEMENT));
        let [test, turn, done] = [(); 3].map(|()| self.b.create_block());
        let zero = self.b.ins().iconst(I64, 0);
        self.jump(test, &[zero, tables[0], tables[1], offsets[0], offsets[1]]);
        let p = self.params(test, &[I64; 5]);
        self.b.switch_to_block(test);
        let more = self.less(p[0], extent);
        self.b.ins().brif(more, turn, &[], done, &[]);
        self.b.switch_to_block(turn);
        let tables = self.fill(c, axis + 1, [p[1], p[2]], [p[3], p[4]]);
        let next = self.b.ins().iadd_imm_s(p[0], 1);
        let a = self.b.ins().iadd(p[3], strides[0]);
        let b = self.b.ins().iadd(p[4], strides[1]);
        self.jump(test, &[next, tables[0], tables[1], a, b]);
        self.b.switch_to_block(done);
        [p[1], p[2]]
    }
}
