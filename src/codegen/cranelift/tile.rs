//! The contraction of `tiles`, as a function of a module: its blob's bytes where there is one, else the same function in CLIF.
//!
//! The portable one keeps a tile of C in 128-bit vectors. It obeys the law of [`Tile`] to the bit where the machine multiplies and adds in
//! one rounding; where it cannot, it rounds twice, in the same order.

use std::mem::offset_of;

use cranelift_codegen::Context;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F32X4, I64};
use cranelift_codegen::ir::{AbiParam, Endianness, InstBuilder, MemFlagsData, Signature, Type, Value};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use cranelift_module::{FuncId, Linkage, Module, ModuleError};

use crate::tiles::{ACCUMULATE, COPY, Isa, RELU, Tile};

/// How a [`crate::tiles::Contraction`] is called: `(tile, a, b, c, m, n)`, all of 64 bits.
pub fn signature(isa: &dyn TargetIsa) -> Signature {
    let convention = if is_x86_64(isa) { CallConv::SystemV } else { isa.default_call_conv() };
    let mut signature = Signature::new(convention);
    signature.params.extend([AbiParam::new(I64); 6]);
    signature
}

fn is_x86_64(isa: &dyn TargetIsa) -> bool {
    isa.name() == "x64"
}

/// Puts the contraction for `tiles` into a module, under a name of its own, seen only there. A module wants it once.
pub fn define(module: &mut impl Module, tiles: Isa) -> Result<FuncId, Box<ModuleError>> {
    let signature = signature(module.isa());
    if let Some(blob) = tiles.blob() {
        let id = module.declare_function(blob.symbol, Linkage::Local, &signature)?;
        module.define_function_bytes(id, blob.align, blob.bytes, &[])?;
        return Ok(id);
    }
    let id = module.declare_function("nnc_contract_portable", Linkage::Local, &signature)?;
    let mut context = Context::new();
    context.func.signature = signature;
    let mut scratch = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut context.func, &mut scratch);
    Emitter::new(&mut builder, module.isa()).contraction();
    builder.seal_all_blocks();
    builder.finalize(module.target_config());
    module.define_function(id, &mut context)?;
    Ok(id)
}

/// Columns of the tiles, widest first: two vectors, one, a single number.
const WIDTHS: [Width; 3] = [
    Width { lanes: F32X4, registers: 2 },
    Width { lanes: F32X4, registers: 1 },
    Width { lanes: F32, registers: 1 },
];

#[derive(Clone, Copy)]
struct Width {
    lanes: Type,
    registers: i64,
}

impl Width {
    fn columns(self) -> i64 {
        self.registers * i64::from(self.lanes.lane_count())
    }
}

/// What changes from tile to tile.
#[derive(Clone, Copy)]
struct Cursor {
    columns: Variable,
    b: Variable,
    panel: Variable,
    bias: Variable,
    groups: Variable,
    group_a: Variable,
    group_c: Variable,
    rows: Variable,
    a: Variable,
    c: Variable,
}

struct Emitter<'e, 'f> {
    builder: &'e mut FunctionBuilder<'f>,
    /// Rows of the tiles, tallest first, down to 1.
    heights: &'static [i64],
    /// Whether the machine has a multiply-add of one rounding.
    fused: bool,
    tile: Value,
    a: Value,
    m: Value,
    at: Cursor,
}

impl<'e, 'f> Emitter<'e, 'f> {
    fn new(builder: &'e mut FunctionBuilder<'f>, isa: &dyn TargetIsa) -> Self {
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        let [tile, a, b, c, m, n] = *builder.block_params(entry) else {
            unreachable!("the signature has six parameters")
        };
        let mut at = |value| {
            let variable = builder.declare_var(I64);
            builder.def_var(variable, value);
            variable
        };
        let at = Cursor {
            columns: at(n),
            b: at(b),
            panel: at(c),
            bias: at(c),
            groups: at(m),
            group_a: at(a),
            group_c: at(c),
            rows: at(m),
            a: at(a),
            c: at(c),
        };
        // 16 vector registers hold 4 x 8 numbers, a row of B and one of A; 32 hold twice as many. Every height takes its time to compile.
        let heights: &[i64] = if is_x86_64(isa) { &[4, 1] } else { &[8, 3, 1] };
        Emitter { builder, heights, fused: isa.has_native_fma(), tile, a, m, at }
    }

    /// The whole function: panels of columns, in each the groups of rows and their strips. Columns that are apart are taken one by one.
    fn contraction(mut self) {
        let [copy, multiply, vectors, single] = [(); 4].map(|()| self.builder.create_block());
        let copies = self.flag(COPY);
        self.builder.ins().brif(copies, copy, &[], multiply, &[]);
        self.builder.switch_to_block(copy);
        self.copy();
        self.builder.ins().return_(&[]);

        self.builder.switch_to_block(multiply);
        let bias = self.field(offset_of!(Tile, bias));
        self.builder.def_var(self.at.bias, bias);
        let bcs = self.field(offset_of!(Tile, bcs));
        let together = self.builder.ins().icmp_imm_s(IntCC::Equal, bcs, 4);
        self.builder.ins().brif(together, vectors, &[], single, &[]);
        for (i, width) in WIDTHS.into_iter().enumerate() {
            match i {
                0 => self.builder.switch_to_block(vectors),
                2 => {
                    self.builder.ins().jump(single, &[]);
                    self.builder.switch_to_block(single);
                }
                _ => {}
            }
            self.while_at_least(self.at.columns, width.columns(), |emit| emit.panel(width, bcs));
        }
        self.builder.ins().return_(&[]);
    }

    /// `C[p, j] = B[p, j]`, entry by entry.
    fn copy(&mut self) {
        let [brs, bcs, ldc, k] =
            [offset_of!(Tile, brs), offset_of!(Tile, bcs), offset_of!(Tile, ldc), offset_of!(Tile, k)]
                .map(|at| self.field(at));
        let n = self.builder.use_var(self.at.columns);
        self.builder.def_var(self.at.rows, k);
        self.while_at_least(self.at.rows, 1, |emit| {
            for (row, of) in [(emit.at.a, emit.at.b), (emit.at.c, emit.at.panel)] {
                let start = emit.builder.use_var(of);
                emit.builder.def_var(row, start);
            }
            emit.builder.def_var(emit.at.columns, n);
            emit.while_at_least(emit.at.columns, 1, |emit| {
                let (from, to) = (emit.builder.use_var(emit.at.a), emit.builder.use_var(emit.at.c));
                let entry = emit.builder.ins().load(F32, ACCESS, from, 0);
                emit.builder.ins().store(ACCESS, entry, to, 0);
                emit.step(emit.at.a, bcs);
                let four = emit.builder.ins().iconst(I64, 4);
                emit.step(emit.at.c, four);
                emit.count_down(emit.at.columns, 1);
            });
            emit.step(emit.at.b, brs);
            emit.step(emit.at.panel, ldc);
            emit.count_down(emit.at.rows, 1);
        });
    }

    /// A panel of columns, and the step to the one beside it.
    fn panel(&mut self, width: Width, bcs: Value) {
        let mo = self.field(offset_of!(Tile, mo));
        self.builder.def_var(self.at.groups, mo);
        self.builder.def_var(self.at.group_a, self.a);
        let panel = self.builder.use_var(self.at.panel);
        self.builder.def_var(self.at.group_c, panel);
        self.while_at_least(self.at.groups, 1, |emit| {
            emit.builder.def_var(emit.at.rows, emit.m);
            for (row, group) in [(emit.at.a, emit.at.group_a), (emit.at.c, emit.at.group_c)] {
                let start = emit.builder.use_var(group);
                emit.builder.def_var(row, start);
            }
            for &height in emit.heights {
                emit.while_at_least(emit.at.rows, height, |emit| emit.tile(height as usize, width));
            }
            for (group, stride) in
                [(emit.at.group_a, offset_of!(Tile, rao)), (emit.at.group_c, offset_of!(Tile, rco))]
            {
                let stride = emit.field(stride);
                emit.step(group, stride);
            }
            emit.count_down(emit.at.groups, 1);
        });
        self.advance_panel(width, bcs);
    }

    /// One tile, and the step to the one below.
    fn tile(&mut self, height: usize, width: Width) {
        let mut sums = Vec::new();
        for _ in 0..height * width.registers as usize {
            sums.push(self.builder.declare_var(width.lanes));
        }
        let sums: Vec<&[Variable]> = sums.chunks(width.registers as usize).collect();
        self.start(&sums, width);
        self.sum_blocks(&sums, width);
        let relu = self.builder.create_block();
        let store = self.builder.create_block();
        let wanted = self.flag(RELU);
        self.builder.ins().brif(wanted, relu, &[], store, &[]);
        self.builder.switch_to_block(relu);
        for &sum in sums.iter().copied().flatten() {
            let x = self.builder.use_var(sum);
            let x = self.relu(x);
            self.builder.def_var(sum, x);
        }
        self.builder.ins().jump(store, &[]);
        self.builder.switch_to_block(store);
        let ldc = self.field(offset_of!(Tile, ldc));
        let mut row = self.builder.use_var(self.at.c);
        for sums in &sums {
            for (v, &sum) in sums.iter().enumerate() {
                let x = self.builder.use_var(sum);
                self.builder.ins().store(ACCESS, x, row, offset(width, v));
            }
            row = self.builder.ins().iadd(row, ldc);
        }
        self.builder.def_var(self.at.c, row);
        let ras = self.field(offset_of!(Tile, ras));
        let down = self.builder.ins().imul_imm_s(ras, height as i64);
        self.step(self.at.a, down);
        self.count_down(self.at.rows, height as i64);
    }

    /// The sums begin as C, as the bias or as zero.
    fn start(&mut self, sums: &[&[Variable]], width: Width) {
        let [held, fresh, biased, zero, begun] = [(); 5].map(|()| self.builder.create_block());
        let accumulate = self.flag(ACCUMULATE);
        self.builder.ins().brif(accumulate, held, &[], fresh, &[]);

        self.builder.switch_to_block(held);
        let ldc = self.field(offset_of!(Tile, ldc));
        let mut row = self.builder.use_var(self.at.c);
        for sums in sums {
            for (v, &sum) in sums.iter().enumerate() {
                let x = self.builder.ins().load(width.lanes, ACCESS, row, offset(width, v));
                self.builder.def_var(sum, x);
            }
            row = self.builder.ins().iadd(row, ldc);
        }
        self.builder.ins().jump(begun, &[]);

        self.builder.switch_to_block(fresh);
        let bias = self.builder.use_var(self.at.bias);
        self.builder.ins().brif(bias, biased, &[], zero, &[]);

        self.builder.switch_to_block(biased);
        for v in 0..width.registers as usize {
            let x = self.builder.ins().load(width.lanes, ACCESS, bias, offset(width, v));
            sums.iter().for_each(|sums| self.builder.def_var(sums[v], x));
        }
        self.builder.ins().jump(begun, &[]);

        self.builder.switch_to_block(zero);
        let x = self.zero(width.lanes);
        sums.iter().copied().flatten().for_each(|&sum| self.builder.def_var(sum, x));
        self.builder.ins().jump(begun, &[]);
        self.builder.switch_to_block(begun);
    }

    /// Adds the products of all blocks and steps, in order.
    fn sum_blocks(&mut self, sums: &[&[Variable]], width: Width) {
        let [ras, cas, brs, k, nb] = [
            offset_of!(Tile, ras),
            offset_of!(Tile, cas),
            offset_of!(Tile, brs),
            offset_of!(Tile, k),
            offset_of!(Tile, nb),
        ]
        .map(|at| self.field(at));
        let below: Vec<Value> =
            (0..sums.len() as i64).map(|i| self.builder.ins().imul_imm_s(ras, i)).collect();
        let [blocks, steps, a, b, a_offsets, b_offsets] = [(); 6].map(|()| self.builder.declare_var(I64));
        self.builder.def_var(blocks, nb);
        for (offsets, field) in [(a_offsets, offset_of!(Tile, ao)), (b_offsets, offset_of!(Tile, bo))] {
            let table = self.field(field);
            self.builder.def_var(offsets, table);
        }
        self.while_at_least(blocks, 1, |emit| {
            for (pointer, base, offsets) in [(a, emit.at.a, a_offsets), (b, emit.at.b, b_offsets)] {
                let base = emit.builder.use_var(base);
                emit.builder.def_var(pointer, base);
                emit.block_offset(pointer, offsets);
            }
            emit.builder.def_var(steps, k);
            emit.while_at_least(steps, 1, |emit| {
                let from = emit.builder.use_var(b);
                let row: Vec<Value> = (0..width.registers as usize)
                    .map(|v| emit.builder.ins().load(width.lanes, ACCESS, from, offset(width, v)))
                    .collect();
                let from = emit.builder.use_var(a);
                for (sums, &below) in sums.iter().zip(&below) {
                    let entry = emit.builder.ins().iadd(from, below);
                    let mut x = emit.builder.ins().load(F32, ACCESS, entry, 0);
                    if width.lanes.is_vector() {
                        x = emit.builder.ins().splat(width.lanes, x);
                    }
                    for (&sum, &y) in sums.iter().zip(&row) {
                        let before = emit.builder.use_var(sum);
                        let after = emit.multiply_add(x, y, before);
                        emit.builder.def_var(sum, after);
                    }
                }
                emit.step(a, cas);
                emit.step(b, brs);
                emit.count_down(steps, 1);
            });
            emit.count_down(blocks, 1);
        });
    }

    /// Adds the next entry of a table to a pointer, unless the table is null.
    fn block_offset(&mut self, pointer: Variable, offsets: Variable) {
        let add = self.builder.create_block();
        let done = self.builder.create_block();
        let table = self.builder.use_var(offsets);
        self.builder.ins().brif(table, add, &[], done, &[]);
        self.builder.switch_to_block(add);
        let distance = self.builder.ins().load(I64, ACCESS, table, 0);
        self.step(pointer, distance);
        let next = self.builder.ins().iadd_imm_s(table, 8);
        self.builder.def_var(offsets, next);
        self.builder.ins().jump(done, &[]);
        self.builder.switch_to_block(done);
    }

    fn advance_panel(&mut self, width: Width, bcs: Value) {
        let across = self.builder.ins().imul_imm_s(bcs, width.columns());
        self.step(self.at.b, across);
        let bytes = self.builder.ins().iconst(I64, 4 * width.columns());
        self.step(self.at.panel, bytes);
        let bias = self.builder.use_var(self.at.bias);
        let next = self.builder.ins().iadd(bias, bytes);
        let next = self.builder.ins().select(bias, next, bias);
        self.builder.def_var(self.at.bias, next);
        self.count_down(self.at.columns, width.columns());
    }

    /// `while count >= least { body }`
    fn while_at_least(&mut self, count: Variable, least: i64, body: impl FnOnce(&mut Self)) {
        let [test, turn, done] = [(); 3].map(|()| self.builder.create_block());
        self.builder.ins().jump(test, &[]);
        self.builder.switch_to_block(test);
        let left = self.builder.use_var(count);
        let more = self.builder.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, left, least);
        self.builder.ins().brif(more, turn, &[], done, &[]);
        self.builder.switch_to_block(turn);
        body(self);
        self.builder.ins().jump(test, &[]);
        self.builder.switch_to_block(done);
    }

    fn multiply_add(&mut self, x: Value, y: Value, sum: Value) -> Value {
        // Without the instruction, `fma` would be a call.
        if self.fused {
            return self.builder.ins().fma(x, y, sum);
        }
        let product = self.builder.ins().fmul(x, y);
        self.builder.ins().fadd(product, sum)
    }

    /// `x < 0 ? 0 : x`: NaN and -0 stay.
    fn relu(&mut self, x: Value) -> Value {
        let lanes = self.builder.func.dfg.value_type(x);
        let zero = self.zero(lanes);
        let negative = self.builder.ins().fcmp(FloatCC::LessThan, x, zero);
        if !lanes.is_vector() {
            return self.builder.ins().select(negative, zero, x);
        }
        let negative = self.builder.ins().bitcast(
            lanes,
            MemFlagsData::new().with_endianness(Endianness::Little),
            negative,
        );
        self.builder.ins().bitselect(negative, zero, x)
    }

    fn zero(&mut self, lanes: Type) -> Value {
        let zero = self.builder.ins().f32const(0.0);
        if lanes.is_vector() { self.builder.ins().splat(lanes, zero) } else { zero }
    }

    fn field(&mut self, at: usize) -> Value {
        self.builder.ins().load(I64, ACCESS, self.tile, at as i32)
    }

    fn flag(&mut self, flag: i64) -> Value {
        let flags = self.field(offset_of!(Tile, flags));
        self.builder.ins().band_imm_s(flags, flag)
    }

    fn step(&mut self, pointer: Variable, bytes: Value) {
        let at = self.builder.use_var(pointer);
        let at = self.builder.ins().iadd(at, bytes);
        self.builder.def_var(pointer, at);
    }

    fn count_down(&mut self, count: Variable, by: i64) {
        let left = self.builder.use_var(count);
        let left = self.builder.ins().iadd_imm_s(left, -by);
        self.builder.def_var(count, left);
    }
}

/// Loads and stores that never trap; operands may be aligned to four bytes only.
const ACCESS: MemFlagsData = MemFlagsData::new().with_notrap();

/// Of a row's register, in bytes.
fn offset(width: Width, register: usize) -> i32 {
    (register as u32 * width.lanes.bytes()) as i32
}

#[cfg(test)]
mod tests {
    use cranelift_codegen::settings::{self, Configurable};
    use cranelift_jit::{JITBuilder, JITModule};
    use cranelift_module::default_libcall_names;

    use super::*;
    use crate::tiles::Contraction;
    use crate::tiles::conformance::check;
    use crate::tiles::speed::report;

    /// Calls `inspect` with the contraction in a module, and whether its multiply-adds round once.
    fn with_code(tiles: Isa, isa: cranelift_codegen::isa::Builder, inspect: impl FnOnce(Contraction, bool)) {
        let mut flags = settings::builder();
        flags.set("opt_level", "speed").expect("a setting");
        let isa = isa.finish(settings::Flags::new(flags)).expect("a host");
        let fused = isa.has_native_fma();
        let mut module = JITModule::new(JITBuilder::with_isa(isa, default_libcall_names()));
        let id = define(&mut module, tiles).expect("a contraction");
        module.finalize_definitions().expect("memory");
        // SAFETY: the function has this signature.
        inspect(
            unsafe { std::mem::transmute::<*const u8, Contraction>(module.get_finalized_function(id)) },
            fused,
        );
        // SAFETY: nothing in the module is used any more.
        unsafe { module.free_memory() };
    }

    fn supported() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|tiles| tiles.is_supported())
    }

    #[test]
    fn every_contraction_is_exact_and_within_bounds() {
        for tiles in supported() {
            // SAFETY: this machine can run it.
            with_code(tiles, cranelift_native::builder().expect("a host"), |code, fused| unsafe {
                check(code, fused)
            });
        }
    }

    #[test]
    fn without_a_fused_multiply_add_the_order_is_the_same() {
        let host = cranelift_native::builder().expect("a host").triple().clone();
        let plain = cranelift_codegen::isa::lookup(host).expect("a host");
        // SAFETY: this machine can run it.
        with_code(Isa::Portable, plain, |code, fused| unsafe { check(code, fused) });
    }

    #[test]
    #[ignore = "prints speeds, a minute long"]
    fn speed() {
        let wanted = std::env::var("NNC_TILES").ok();
        for tiles in supported().filter(|tiles| wanted.as_ref().is_none_or(|wanted| tiles.name() == wanted)) {
            // SAFETY: this machine can run it.
            with_code(tiles, cranelift_native::builder().expect("a host"), |code, _| unsafe {
                report(tiles, code)
            });
        }
    }
}
