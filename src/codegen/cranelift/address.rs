//! Pointers: what of an address is known before a loop is added up before it, the rest inside.

use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32, I32X4, I64, I64X2};
use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Type, Value};
use smallvec::SmallVec;

use super::emit::{ACCESS, Emitter, GROUP, Group, Rep, index, is_wide, visit_addresses};
use super::lanes::VALUE_BITS;
use crate::kernel::{Address, Arg, Coord, Loop, Size, Stmt, Val, Var};
use crate::tensor::DType;

/// A pointer to which some terms of an address still have to be added.
#[derive(Clone)]
pub(super) struct Partial {
    at: Value,
    rest: SmallVec<[(Coord, Size); 4]>,
}

/// How the lanes of an address lie.
enum Spread {
    /// Side by side.
    Contiguous,
    /// Anyhow: from lane to lane by a sum of strides, and by each lane's own indices.
    Scattered { strides: Vec<Size>, indices: Vec<(Val, Size)> },
}

impl<'a> Emitter<'a, '_> {
    /// Starts every address of the kernel with its argument and base.
    pub fn partials_of_body(&mut self) {
        let kernel = self.kernel;
        let mut found = Vec::new();
        visit_addresses(&kernel.body, &mut |arg, at| found.push((arg, at)));
        for (arg, at) in found {
            let element = kernel.args[arg].dtype.size() as i64;
            for (_, factor) in &at.terms {
                if let Size::Sym(id) = factor
                    && !self.strides.contains_key(&(*id, element))
                {
                    let stride = self.size_bytes(*factor, element);
                    self.strides.insert((*id, element), stride);
                }
            }
            let mut pointer = self.args[arg].expect("all arguments are loaded at the entry");
            match at.base {
                None | Some(Size::Const(0)) => {}
                Some(Size::Const(base)) => {
                    pointer = self.b.ins().iadd_imm_s(pointer, base.wrapping_mul(element))
                }
                Some(base) => {
                    let bytes = self.size_bytes(base, element);
                    pointer = self.b.ins().iadd(pointer, bytes);
                }
            }
            self.scope.partials.insert(at, Partial { at: pointer, rest: at.terms.iter().copied().collect() });
        }
    }

    /// Adds what is already known to the addresses in a loop's body.
    pub fn advance_partials(&mut self, stmts: &'a [Stmt]) {
        let mut found = Vec::new();
        visit_addresses(stmts, &mut |arg, at| found.push((arg, at)));
        // Addresses that agree so far share their pointer.
        let mut shared: Vec<(Value, Partial, Partial)> = Vec::new();
        for (arg, at) in found {
            let before = self.scope.partials[&(at as *const Address)].clone();
            if !before.rest.iter().any(|&(coord, _)| self.is_known(coord)) {
                continue;
            }
            let same = shared.iter().find(|(from, then, _)| *from == before.at && then.rest == before.rest);
            let after = match same {
                Some((_, _, after)) => after.clone(),
                None => {
                    let element = self.kernel.args[arg].dtype.size() as i64;
                    let mut after = Partial { at: before.at, rest: SmallVec::new() };
                    for &(coord, factor) in &before.rest {
                        if self.is_known(coord) {
                            after.at = self.plus(after.at, coord, factor, element);
                        } else {
                            after.rest.push((coord, factor));
                        }
                    }
                    shared.push((before.at, before, after.clone()));
                    after
                }
            };
            self.scope.partials.insert(at, after);
        }
    }

    /// Whether a coordinate is one number here, that of the first lane for a lane variable.
    fn is_known(&self, coord: Coord) -> bool {
        match coord {
            Coord::Var(var) => self.scope.vars[var].is_some(),
            Coord::Val(val) => matches!(self.scope.vals[index(val)], Rep::One(_)),
        }
    }

    /// The pointer of an address; in a lane loop that of its first lane, without the indices that vary.
    pub fn pointer(&mut self, arg: Arg, at: &'a Address) -> Value {
        let element = self.kernel.args[arg].dtype.size() as i64;
        let partial = self.scope.partials[&(at as *const Address)].clone();
        let mut pointer = partial.at;
        for &(coord, factor) in &partial.rest {
            if self.is_known(coord) {
                pointer = self.plus(pointer, coord, factor, element);
            }
        }
        pointer
    }

    fn plus(&mut self, pointer: Value, coord: Coord, factor: Size, element: i64) -> Value {
        if factor == Size::Const(0) {
            return pointer;
        }
        let bytes = match coord {
            Coord::Var(var) => self.product(var, factor, element),
            Coord::Val(val) => {
                let value = self.one(val);
                self.index_bytes(value, factor, element)
            }
        };
        self.b.ins().iadd(pointer, bytes)
    }

    /// An index in bytes.
    fn index_bytes(&mut self, value: Value, factor: Size, element: i64) -> Value {
        let wide =
            if self.b.func.dfg.value_type(value) == I64 { value } else { self.b.ins().sextend(I64, value) };
        match factor {
            Size::Const(factor) => self.times(wide, factor.wrapping_mul(element)),
            factor => {
                let stride = self.size_bytes(factor, element);
                self.b.ins().imul(wide, stride)
            }
        }
    }

    fn times(&mut self, value: Value, factor: i64) -> Value {
        if factor > 0 && factor & (factor - 1) == 0 {
            return self.b.ins().ishl_imm_u(value, i64::from(factor.trailing_zeros()));
        }
        self.b.ins().imul_imm_s(value, factor)
    }

    /// A variable times a stride in bytes: counted along by its loop, else multiplied once.
    pub fn product(&mut self, var: Var, factor: Size, element: i64) -> Value {
        if let Some(&known) = self.scope.products.get(&(var, factor, element)) {
            return known;
        }
        let value = self.var(var);
        let product = self.index_bytes(value, factor, element);
        self.scope.products.insert((var, factor, element), product);
        product
    }

    /// The strides by which a loop should count pointers along: those that are no addressing mode.
    pub fn counted_strides(&self, l: &'a Loop) -> Vec<(Size, i64)> {
        let mut strides = Vec::new();
        visit_addresses(&l.body, &mut |arg, at| {
            let element = self.kernel.args[arg].dtype.size() as i64;
            for &(coord, factor) in &self.scope.partials[&(at as *const Address)].rest {
                let simple =
                    matches!(factor, Size::Const(f) if matches!(f.wrapping_mul(element), 0 | 1 | 2 | 4 | 8));
                if coord == Coord::Var(l.var) && !simple && !strides.contains(&(factor, element)) {
                    strides.push((factor, element));
                }
            }
        });
        strides
    }

    fn spread(&self, at: &Address) -> Spread {
        let (lane_var, _) = self.scope.lanes.expect("lanes exist only in lane loops");
        let mut strides = Vec::new();
        let mut indices = Vec::new();
        for &(coord, factor) in &at.terms {
            match coord {
                Coord::Var(var) if var == lane_var => strides.push(factor),
                Coord::Val(val) if self.varying.contains(val) => indices.push((val, factor)),
                _ => {}
            }
        }
        if indices.is_empty() && strides == [Size::Const(1)] {
            return Spread::Contiguous;
        }
        Spread::Scattered { strides, indices }
    }

    /// The pointer of one lane, and a constant to add.
    fn lane_pointer(
        &mut self,
        first: Value,
        spread: &(Vec<Size>, Vec<(Val, Size)>),
        element: i64,
        group: usize,
        lane: usize,
    ) -> (Value, i32) {
        let number = (GROUP * group + lane) as i64;
        let (mut pointer, mut offset) = (first, 0i64);
        for &stride in &spread.0 {
            match stride {
                Size::Const(stride) => {
                    offset = offset.wrapping_add(number.wrapping_mul(stride.wrapping_mul(element)))
                }
                Size::Sym(_) if number == 0 => {}
                stride => {
                    let stride = self.size_bytes(stride, element);
                    let distance = self.times(stride, number);
                    pointer = self.b.ins().iadd(pointer, distance);
                }
            }
        }
        for &(val, factor) in &spread.1 {
            let value = self.lane_of(val, group, lane);
            let bytes = self.index_bytes(value, factor, element);
            pointer = self.b.ins().iadd(pointer, bytes);
        }
        match i32::try_from(offset) {
            Ok(offset) => (pointer, offset),
            Err(_) => (self.b.ins().iadd_imm_s(pointer, offset), 0),
        }
    }

    pub fn load_lanes(&mut self, arg: Arg, at: &'a Address, group: usize) -> Group {
        let dtype = self.kernel.args[arg].dtype;
        let first = self.first_pointer(arg, at, group);
        match self.spread(at) {
            Spread::Contiguous => self.load_group(dtype, first, (group * GROUP * dtype.size()) as i32),
            Spread::Scattered { strides, indices } => {
                let spread = (strides, indices);
                let lanes = std::array::from_fn(|lane| {
                    let (pointer, offset) =
                        self.lane_pointer(first, &spread, dtype.size() as i64, group, lane);
                    self.load_one(dtype, pointer, offset)
                });
                self.gather(dtype, lanes)
            }
        }
    }

    /// The pointer of the first lane, made with the first group and kept for the others.
    fn first_pointer(&mut self, arg: Arg, at: &'a Address, group: usize) -> Value {
        let pointer = self.pointer(arg, at);
        if group == 0 && self.groups() > 1 {
            self.scope.partials.insert(
                at,
                Partial {
                    at: pointer,
                    rest: at.terms.iter().copied().filter(|&(coord, _)| !self.is_known(coord)).collect(),
                },
            );
        }
        pointer
    }

    pub fn load_lanes_if(&mut self, arg: Arg, at: &'a Address, mask: Val, group: usize) -> Group {
        let dtype = self.kernel.args[arg].dtype;
        let first = self.first_pointer(arg, at, group);
        let zeros = self.zeros_pointer();
        let (contiguous, spread) = match self.spread(at) {
            Spread::Contiguous => (true, (vec![Size::Const(1)], Vec::new())),
            Spread::Scattered { strides, indices } => (false, (strides, indices)),
        };
        let offset = (group * GROUP * dtype.size()) as i32;
        if contiguous && !self.varying.contains(mask) {
            let mask = self.one(mask);
            let pointer = self.b.ins().iadd_imm_s(first, i64::from(offset));
            let pointer = self.b.ins().select(mask, pointer, zeros);
            return self.load_group(dtype, pointer, 0);
        }
        let lane_by_lane = |e: &mut Self| {
            let lanes = std::array::from_fn(|lane| {
                let (pointer, offset) = e.lane_pointer(first, &spread, dtype.size() as i64, group, lane);
                let pointer = e.b.ins().iadd_imm_s(pointer, i64::from(offset));
                let wanted = e.lane_of(mask, group, lane);
                let pointer = e.b.ins().select(wanted, pointer, zeros);
                e.load_one(dtype, pointer, 0)
            });
            e.gather(dtype, lanes)
        };
        if !contiguous {
            return lane_by_lane(self);
        }
        // Mostly all four lanes are wanted.
        let [whole, some, done] = [(); 3].map(|()| self.b.create_block());
        let lanes = self.group(mask, group)[0];
        let all = self.b.ins().vall_true(lanes);
        let ty = vector_type(dtype);
        let parts = if is_wide(dtype) { 2 } else { 1 };
        let results = self.params(done, &vec![ty; parts]);
        self.b.ins().brif(all, whole, &[], some, &[]);
        self.b.switch_to_block(whole);
        let loaded = self.load_group(dtype, first, offset);
        self.jump(done, &loaded[..parts]);
        self.b.switch_to_block(some);
        let loaded = lane_by_lane(self);
        self.jump(done, &loaded[..parts]);
        self.b.switch_to_block(done);
        [results[0], results[parts - 1]]
    }

    pub fn store(&mut self, arg: Arg, at: &'a Address, value: Val, group: usize) {
        let dtype = self.kernel.args[arg].dtype;
        let element = dtype.size() as i64;
        let Some((lane_var, _)) = self.scope.lanes else {
            let pointer = self.pointer(arg, at);
            let value = self.one(value);
            self.store_one(dtype, value, pointer, 0);
            return;
        };
        let first = self.first_pointer(arg, at, group);
        let alone = !at.varies(Some(lane_var), &self.varying);
        match self.spread(at) {
            Spread::Contiguous => {
                let value = self.group(value, group);
                self.store_group(dtype, value, first, (group * GROUP * dtype.size()) as i32);
            }
            // One place for all lanes: the last one's number stays.
            Spread::Scattered { .. } if alone => {
                let value = self.lane_of(value, group, GROUP - 1);
                self.store_one(dtype, value, first, 0);
            }
            Spread::Scattered { strides, indices } => {
                let spread = (strides, indices);
                for lane in 0..GROUP {
                    let (pointer, offset) = self.lane_pointer(first, &spread, element, group, lane);
                    let value = self.lane_of(value, group, lane);
                    self.store_one(dtype, value, pointer, offset);
                }
            }
        }
    }

    pub fn load_one(&mut self, dtype: DType, pointer: Value, offset: i32) -> Value {
        match dtype {
            DType::F16 | DType::BF16 => self.b.ins().uload16(I32, ACCESS, pointer, offset),
            _ => self.b.ins().load(scalar_type(dtype), ACCESS, pointer, offset),
        }
    }

    fn store_one(&mut self, dtype: DType, value: Value, pointer: Value, offset: i32) {
        match dtype {
            DType::F16 | DType::BF16 => self.b.ins().istore16(ACCESS, value, pointer, offset),
            _ => self.b.ins().store(ACCESS, value, pointer, offset),
        };
    }

    /// Four neighbours.
    fn load_group(&mut self, dtype: DType, pointer: Value, offset: i32) -> Group {
        let ty = vector_type(dtype);
        match dtype {
            DType::U8 | DType::Bool => {
                let bytes = self.b.ins().load(I32, ACCESS, pointer, offset);
                let bytes = self.b.ins().scalar_to_vector(I32X4, bytes);
                let bytes = self.b.ins().bitcast(I8X16, VALUE_BITS, bytes);
                let words = self.b.ins().uwiden_low(bytes);
                let lanes = self.b.ins().uwiden_low(words);
                let lanes = if dtype == DType::Bool { self.truth(lanes) } else { lanes };
                [lanes; 2]
            }
            DType::F16 | DType::BF16 => {
                let halves = self.b.ins().load(I64, ACCESS, pointer, offset);
                let halves = self.b.ins().scalar_to_vector(I64X2, halves);
                let halves = self.b.ins().bitcast(I16X8, VALUE_BITS, halves);
                [self.b.ins().uwiden_low(halves); 2]
            }
            _ if is_wide(dtype) => [0, 16].map(|part| self.b.ins().load(ty, ACCESS, pointer, offset + part)),
            _ => [self.b.ins().load(ty, ACCESS, pointer, offset); 2],
        }
    }

    fn store_group(&mut self, dtype: DType, value: Group, pointer: Value, offset: i32) {
        match dtype {
            DType::U8 | DType::Bool => {
                let lanes = if dtype == DType::Bool { self.zero_or_one(value[0]) } else { value[0] };
                let words = self.b.ins().unarrow(lanes, lanes);
                let bytes = self.b.ins().unarrow(words, words);
                let bytes = self.b.ins().bitcast(I32X4, VALUE_BITS, bytes);
                let bytes = self.b.ins().extractlane(bytes, 0);
                self.b.ins().store(ACCESS, bytes, pointer, offset);
            }
            DType::F16 | DType::BF16 => {
                let halves = self.b.ins().unarrow(value[0], value[0]);
                let halves = self.b.ins().bitcast(I64X2, VALUE_BITS, halves);
                let halves = self.b.ins().extractlane(halves, 0);
                self.b.ins().store(ACCESS, halves, pointer, offset);
            }
            _ if is_wide(dtype) => {
                self.b.ins().store(ACCESS, value[0], pointer, offset);
                self.b.ins().store(ACCESS, value[1], pointer, offset + 16);
            }
            _ => {
                self.b.ins().store(ACCESS, value[0], pointer, offset);
            }
        }
    }

    /// As many zero bytes as a group takes.
    pub fn zero_slot(&mut self) {
        let slot = self.b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, 32, 4));
        let (at, zero) = (self.b.ins().stack_addr(I64, slot, 0), self.b.ins().iconst(I64, 0));
        for offset in [0, 8, 16, 24] {
            self.b.ins().store(ACCESS, zero, at, offset);
        }
        self.zeros = Some(slot);
    }

    pub fn zeros_pointer(&mut self) -> Value {
        let slot = self.zeros.expect("a kernel with guarded loads has its zeros");
        self.b.ins().stack_addr(I64, slot, 0)
    }
}

/// Of a number as it stands alone; the floats of 16 bits as they are loaded.
pub(super) fn scalar_type(dtype: DType) -> Type {
    use cranelift_codegen::ir::types::{F32, F64, I8};
    match dtype {
        DType::F32 => F32,
        DType::F64 => F64,
        DType::I32 | DType::F16 | DType::BF16 => I32,
        DType::I64 => I64,
        DType::U8 | DType::Bool => I8,
    }
}

/// Of a vector that holds four lanes, or two of those of 64 bits.
pub(super) fn vector_type(dtype: DType) -> Type {
    match dtype {
        DType::F32 => F32X4,
        DType::F64 => F64X2,
        DType::I64 => I64X2,
        _ => I32X4,
    }
}
