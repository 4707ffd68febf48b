//! The instructions on groups of four lanes. What 128-bit machines have no instruction for is done lane by lane.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32X4, I8, I8X16, I32, I32X4, I64X2};
use cranelift_codegen::ir::{ConstantData, Endianness, InstBuilder, MemFlagsData, Type, Value};

use super::address::vector_type;
use super::emit::{Emitter, GROUP, Group, Rep, index, is_wide};
use crate::kernel::{Const, KOp, Val, Var};
use crate::tensor::DType;

/// A value's bits read as another type.
pub(super) const VALUE_BITS: MemFlagsData = MemFlagsData::new().with_endianness(Endianness::Little);

impl Emitter<'_, '_> {
    /// `op` on operands of `dtype`; `second` is the second operand's number where it is known.
    pub fn lane_op(
        &mut self,
        op: KOp,
        dtype: DType,
        result: DType,
        x: &[Group],
        second: Option<Const>,
    ) -> Group {
        if let Some(lanes) = self.vector_op(op, dtype, result, x, second) {
            return lanes;
        }
        let dtypes = self.operand_dtypes(op, dtype, result, x.len());
        let lanes = std::array::from_fn(|lane| {
            let numbers: Vec<Value> =
                x.iter().zip(&dtypes).map(|(&g, &d)| self.extract(d, g, lane)).collect();
            self.scalar_op(op, dtype, result, &numbers, second)
        });
        self.gather(result, lanes)
    }

    fn operand_dtypes(&self, op: KOp, dtype: DType, result: DType, count: usize) -> Vec<DType> {
        if op == KOp::Select { vec![DType::Bool, result, result] } else { vec![dtype; count] }
    }

    fn vector_op(
        &mut self,
        op: KOp,
        dtype: DType,
        result: DType,
        x: &[Group],
        second: Option<Const>,
    ) -> Option<Group> {
        match op {
            KOp::Select => return Some(self.select(result, x[0][0], x[1], x[2])),
            KOp::Cast(to) => return self.lane_cast(dtype, to, x[0]),
            KOp::Bitcast(to) if to == dtype => return Some(x[0]),
            KOp::Bitcast(to) => {
                return Some(x[0].map(|v| self.b.ins().bitcast(vector_type(to), VALUE_BITS, v)));
            }
            KOp::Low => return Some([self.even_words(x[0][0], x[0][1]); 2]),
            KOp::Lt | KOp::Le | KOp::Eq | KOp::Ne => return Some(self.compare(op, dtype, x)),
            KOp::MulHiU => return Some([self.multiply_high(x[0][0], x[1][0]); 2]),
            _ => {}
        }
        if matches!(dtype, DType::F32 | DType::F64) {
            return Some(self.by_part(dtype, x, |e, part| e.float_op(op, part, second)));
        }
        if matches!(op, KOp::Div | KOp::Rem | KOp::Shl | KOp::ShrU | KOp::ShrS) {
            return None;
        }
        let byte = dtype == DType::U8;
        let made = self.by_part(dtype, x, |e, x| {
            let ins = e.b.ins();
            match op {
                KOp::Add => ins.iadd(x[0], x[1]),
                KOp::Sub => ins.isub(x[0], x[1]),
                KOp::Mul => ins.imul(x[0], x[1]),
                KOp::Neg => ins.ineg(x[0]),
                KOp::And => ins.band(x[0], x[1]),
                KOp::Or => ins.bor(x[0], x[1]),
                KOp::Xor => ins.bxor(x[0], x[1]),
                KOp::Not => ins.bnot(x[0]),
                KOp::Abs if dtype == DType::I32 => ins.iabs(x[0]),
                KOp::Abs => {
                    let ty = e.b.func.dfg.value_type(x[0]);
                    let zero = e.zero(ty);
                    let negative = e.b.ins().icmp(IntCC::SignedLessThan, x[0], zero);
                    let minus = e.b.ins().ineg(x[0]);
                    e.b.ins().bitselect(negative, minus, x[0])
                }
                KOp::Max if dtype != DType::I64 => ins.smax(x[0], x[1]),
                KOp::Min if dtype != DType::I64 => ins.smin(x[0], x[1]),
                KOp::Max | KOp::Min => {
                    let (a, b) = if op == KOp::Max { (x[0], x[1]) } else { (x[1], x[0]) };
                    let beyond = ins.icmp(IntCC::SignedLessThan, a, b);
                    e.b.ins().bitselect(beyond, x[1], x[0])
                }
                _ => unreachable!("{op:?} on {dtype}"),
            }
        });
        let leaves_byte = matches!(op, KOp::Add | KOp::Sub | KOp::Mul | KOp::Not);
        if byte && leaves_byte { Some([self.low_byte(made[0]); 2]) } else { Some(made) }
    }

    /// Once for each vector of the group.
    fn by_part(
        &mut self,
        dtype: DType,
        x: &[Group],
        mut op: impl FnMut(&mut Self, &[Value]) -> Value,
    ) -> Group {
        let part = |p: usize| x.iter().map(|g| g[p]).collect::<smallvec::SmallVec<[Value; 3]>>();
        let first = op(self, &part(0));
        if is_wide(dtype) { [first, op(self, &part(1))] } else { [first; 2] }
    }

    fn compare(&mut self, op: KOp, dtype: DType, x: &[Group]) -> Group {
        let made = self.by_part(dtype, x, |e, x| {
            let ins = e.b.ins();
            if matches!(dtype, DType::F32 | DType::F64) {
                let code = match op {
                    KOp::Lt => FloatCC::LessThan,
                    KOp::Le => FloatCC::LessThanOrEqual,
                    KOp::Eq => FloatCC::Equal,
                    _ => FloatCC::NotEqual,
                };
                return ins.fcmp(code, x[0], x[1]);
            }
            let code = match op {
                KOp::Lt => IntCC::SignedLessThan,
                KOp::Le => IntCC::SignedLessThanOrEqual,
                KOp::Eq => IntCC::Equal,
                _ => IntCC::NotEqual,
            };
            ins.icmp(code, x[0], x[1])
        });
        if is_wide(dtype) { [self.even_words(made[0], made[1]); 2] } else { made }
    }

    fn select(&mut self, dtype: DType, mask: Value, a: Group, b: Group) -> Group {
        let ty = vector_type(dtype);
        let masks = if is_wide(dtype) { self.halves_of_mask(mask) } else { [mask; 2] };
        let mut choose = |p: usize| {
            let mask = if ty == I32X4 { masks[p] } else { self.b.ins().bitcast(ty, VALUE_BITS, masks[p]) };
            self.b.ins().bitselect(mask, a[p], b[p])
        };
        let first = choose(0);
        if is_wide(dtype) { [first, choose(1)] } else { [first; 2] }
    }

    /// A choice between a value and the constant 0 is the value under the mask: a blend takes three times as long.
    pub fn select_zero(&mut self, operands: &[Val], group: usize) -> Option<Group> {
        let is_zero = |val: &Val| self.consts.get(val).is_some_and(|c| c.bits().1 == 0);
        let (kept, inverted) = match (is_zero(&operands[1]), is_zero(&operands[2])) {
            (true, false) => (operands[2], true),
            (false, true) => (operands[1], false),
            _ => return None,
        };
        let dtype = self.kernel.vals[kept];
        let (mask, value) = (self.group(operands[0], group)[0], self.group(kept, group));
        let masks = if is_wide(dtype) { self.halves_of_mask(mask) } else { [mask; 2] };
        let ty = vector_type(dtype);
        let words = if is_wide(dtype) { I64X2 } else { I32X4 };
        let mut choose = |p: usize| {
            let bits = if ty == words { value[p] } else { self.b.ins().bitcast(words, VALUE_BITS, value[p]) };
            let bits = if inverted {
                self.b.ins().band_not(bits, masks[p])
            } else {
                self.b.ins().band(bits, masks[p])
            };
            if ty == words { bits } else { self.b.ins().bitcast(ty, VALUE_BITS, bits) }
        };
        let first = choose(0);
        Some(if is_wide(dtype) { [first, choose(1)] } else { [first; 2] })
    }

    /// The mask of 32-bit lanes as two of 64-bit lanes.
    fn halves_of_mask(&mut self, mask: Value) -> Group {
        [self.b.ins().swiden_low(mask), self.b.ins().swiden_high(mask)]
    }

    /// The low 32 bits of each 64-bit lane of two vectors.
    fn even_words(&mut self, low: Value, high: Value) -> Value {
        let bytes = [low, high].map(|v| self.b.ins().bitcast(I8X16, VALUE_BITS, v));
        let mask: Vec<u8> = (0..4).flat_map(|word| (0..4).map(move |byte| 8 * word + byte)).collect();
        let mask = self.b.func.dfg.immediates.push(ConstantData::from(&mask[..]));
        let words = self.b.ins().shuffle(bytes[0], bytes[1], mask);
        self.b.ins().bitcast(I32X4, VALUE_BITS, words)
    }

    /// The high halves of the unsigned products.
    fn multiply_high(&mut self, a: Value, b: Value) -> Value {
        let products = [false, true].map(|high| {
            let [a, b] =
                [a, b].map(|v| if high { self.b.ins().uwiden_high(v) } else { self.b.ins().uwiden_low(v) });
            self.b.ins().imul(a, b)
        });
        let bytes = products.map(|v| self.b.ins().bitcast(I8X16, VALUE_BITS, v));
        let mask: Vec<u8> = (0..4).flat_map(|word| (4..8).map(move |byte| 8 * word + byte)).collect();
        let mask = self.b.func.dfg.immediates.push(ConstantData::from(&mask[..]));
        let words = self.b.ins().shuffle(bytes[0], bytes[1], mask);
        self.b.ins().bitcast(I32X4, VALUE_BITS, words)
    }

    /// A shift of all lanes by the same number of bits.
    pub fn lane_shift(&mut self, op: KOp, dtype: DType, x: Group, bits: i64) -> Group {
        let bits = bits & (dtype.size() as i64 * 8 - 1);
        self.by_part(dtype, &[x], |e, x| match op {
            KOp::Shl => e.b.ins().ishl_imm_u(x[0], bits),
            KOp::ShrU => e.b.ins().ushr_imm_u(x[0], bits),
            _ => e.b.ins().sshr_imm_u(x[0], bits),
        })
    }

    /// `None` where there is no vector instruction.
    fn lane_cast(&mut self, from: DType, to: DType, x: Group) -> Option<Group> {
        use DType::*;
        let lanes = match (from, to) {
            _ if from == to => return Some(x),
            (F32 | F64, Bool) => {
                let ty = vector_type(from);
                let zero = self.zero(ty);
                return Some(self.compare(KOp::Ne, from, &[x, [zero; 2]]));
            }
            (F32, F64) => {
                let high = self.swap_halves(x[0]);
                return Some([x[0], high].map(|v| self.b.ins().fvpromote_low(v)));
            }
            (F64, F32) => {
                // Each vector becomes the low half of one.
                let [low, high] = x.map(|v| self.b.ins().fvdemote(v));
                let bytes = [low, high].map(|v| self.b.ins().bitcast(I8X16, VALUE_BITS, v));
                let mask: Vec<u8> = (0..8).chain(16..24).collect();
                let mask = self.b.func.dfg.immediates.push(ConstantData::from(&mask[..]));
                let joined = self.b.ins().shuffle(bytes[0], bytes[1], mask);
                self.b.ins().bitcast(F32X4, VALUE_BITS, joined)
            }
            (F32, I32) => self.b.ins().fcvt_to_sint_sat(I32X4, x[0]),
            (F32, U8) => {
                let wide = self.b.ins().fcvt_to_sint_sat(I32X4, x[0]);
                self.clamp_to_byte(wide)
            }
            (I32, U8) => self.clamp_to_byte(x[0]),
            (I32 | U8, Bool) => self.truth(x[0]),
            (Bool, I32 | U8) => self.zero_or_one(x[0]),
            (U8, I32) => x[0],
            (I32 | U8, F32) => self.b.ins().fcvt_from_sint(F32X4, x[0]),
            (Bool, F32) => {
                let whole = self.zero_or_one(x[0]);
                self.b.ins().fcvt_from_sint(F32X4, whole)
            }
            (I32 | U8, I64) => return Some(self.halves_of_mask(x[0])),
            (Bool, I64) => {
                let whole = self.zero_or_one(x[0]);
                return Some(self.halves_of_mask(whole));
            }
            _ => return None,
        };
        Some([lanes; 2])
    }

    fn swap_halves(&mut self, x: Value) -> Value {
        let bytes = self.b.ins().bitcast(I8X16, VALUE_BITS, x);
        let mask: Vec<u8> = (8..16).chain(0..8).collect();
        let mask = self.b.func.dfg.immediates.push(ConstantData::from(&mask[..]));
        let swapped = self.b.ins().shuffle(bytes, bytes, mask);
        let ty = self.b.func.dfg.value_type(x);
        self.b.ins().bitcast(ty, VALUE_BITS, swapped)
    }

    fn clamp_to_byte(&mut self, x: Value) -> Value {
        let (zero, most) = (self.zero(I32X4), self.splat_int(255));
        let x = self.b.ins().smax(x, zero);
        self.b.ins().smin(x, most)
    }

    fn low_byte(&mut self, x: Value) -> Value {
        let mask = self.splat_int(255);
        self.b.ins().band(x, mask)
    }

    /// A mask as numbers.
    pub fn zero_or_one(&mut self, mask: Value) -> Value {
        self.b.ins().ushr_imm_u(mask, 31)
    }

    /// Numbers as a mask.
    pub fn truth(&mut self, x: Value) -> Value {
        let zero = self.zero(I32X4);
        self.b.ins().icmp(IntCC::NotEqual, x, zero)
    }

    fn zero(&mut self, ty: Type) -> Value {
        let zero = self.b.func.dfg.constants.insert(ConstantData::from(&[0u8; 16][..]));
        self.b.ins().vconst(ty, zero)
    }

    fn splat_int(&mut self, value: i64) -> Value {
        let value = self.b.ins().iconst(I32, value);
        self.b.ins().splat(I32X4, value)
    }

    /// The number of one value in one lane.
    pub fn lane_of(&mut self, val: Val, group: usize, lane: usize) -> Value {
        match self.scope.vals[index(val)] {
            Rep::One(value) => value,
            Rep::Lanes(groups) => self.extract(self.kernel.vals[val], groups[group], lane),
            Rep::Absent => unreachable!("{val} is used behind its definition"),
        }
    }

    pub fn extract(&mut self, dtype: DType, group: Group, lane: usize) -> Value {
        if is_wide(dtype) {
            return self.b.ins().extractlane(group[lane / 2], (lane % 2) as u8);
        }
        let number = self.b.ins().extractlane(group[0], lane as u8);
        self.narrow(dtype, number)
    }

    /// A number as it stands in a 32-bit lane, as it stands alone.
    pub fn narrow(&mut self, dtype: DType, number: Value) -> Value {
        match dtype {
            DType::U8 => self.b.ins().ireduce(I8, number),
            DType::Bool => self.b.ins().icmp_imm_s(IntCC::NotEqual, number, 0),
            _ => number,
        }
    }

    /// A number as it stands alone, as it stands in a 32-bit lane.
    pub fn widen(&mut self, dtype: DType, number: Value) -> Value {
        match dtype {
            DType::U8 => self.b.ins().uextend(I32, number),
            DType::Bool => {
                let wide = self.b.ins().uextend(I32, number);
                self.b.ins().ineg(wide)
            }
            _ => number,
        }
    }

    /// Four numbers as a group.
    pub fn gather(&mut self, dtype: DType, lanes: [Value; GROUP]) -> Group {
        let ty = vector_type(dtype);
        let lanes = lanes.map(|number| self.widen(dtype, number));
        let mut vector = |numbers: &[Value]| {
            let first = self.b.ins().scalar_to_vector(ty, numbers[0]);
            (1..numbers.len()).fold(first, |v, lane| self.b.ins().insertlane(v, numbers[lane], lane as u8))
        };
        if is_wide(dtype) {
            let low = vector(&lanes[..2]);
            return [low, vector(&lanes[2..])];
        }
        [vector(&lanes); 2]
    }

    /// One vector with the number in all lanes.
    pub fn splat(&mut self, dtype: DType, number: Value) -> Value {
        let number = self.widen(dtype, number);
        self.b.ins().splat(vector_type(dtype), number)
    }

    /// A lane loop's variable, lane by lane.
    pub fn lane_index(&mut self, var: Var, group: usize) -> Group {
        let first = self.var(var);
        let first = self.b.ins().splat(I64X2, first);
        [0, 2].map(|part| {
            let lane = (GROUP * group + part) as i64;
            let bytes: Vec<u8> = [lane, lane + 1].into_iter().flat_map(i64::to_le_bytes).collect();
            let lanes = self.b.func.dfg.constants.insert(ConstantData::from(&bytes[..]));
            let lanes = self.b.ins().vconst(I64X2, lanes);
            self.b.ins().iadd(first, lanes)
        })
    }
}
