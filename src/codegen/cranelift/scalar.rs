//! The instructions on single numbers. Floats and integers are what they are; u8 and bool are i8.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F64, I8, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};

use super::address::scalar_type;
use super::emit::Emitter;
use super::lanes::VALUE_BITS;
use crate::kernel::{Const, KOp};
use crate::tensor::DType;

impl Emitter<'_, '_> {
    pub fn constant(&mut self, value: Const) -> Value {
        match value {
            Const::F32(x) => self.b.ins().f32const(x),
            Const::F64(x) => self.b.ins().f64const(x),
            Const::I32(x) => self.b.ins().iconst(I32, i64::from(x as u32)),
            Const::I64(x) => self.b.ins().iconst(I64, x),
            Const::U8(x) => self.b.ins().iconst(I8, i64::from(x)),
            Const::Bool(x) => self.b.ins().iconst(I8, i64::from(x)),
        }
    }

    /// `op` on operands of `dtype`; `second` is the second operand's number where it is known.
    pub fn scalar_op(
        &mut self,
        op: KOp,
        dtype: DType,
        result: DType,
        x: &[Value],
        second: Option<Const>,
    ) -> Value {
        match op {
            KOp::Select => return self.b.ins().select(x[0], x[1], x[2]),
            KOp::Cast(to) => return self.cast(dtype, to, x[0]),
            KOp::Bitcast(to) if to == dtype => return x[0],
            KOp::Bitcast(_) => return self.b.ins().bitcast(scalar_type(result), VALUE_BITS, x[0]),
            KOp::Low => return self.b.ins().ireduce(I32, x[0]),
            _ => {}
        }
        match dtype {
            DType::F32 | DType::F64 => self.float_op(op, x, second),
            _ => self.int_op(op, dtype, x, second),
        }
    }

    /// On floats, or vectors of floats where the result is one too.
    pub fn float_op(&mut self, op: KOp, x: &[Value], second: Option<Const>) -> Value {
        let known = match second {
            Some(Const::F32(c)) => !c.is_nan(),
            Some(Const::F64(c)) => !c.is_nan(),
            _ => false,
        };
        let ins = self.b.ins();
        match op {
            KOp::Add => ins.fadd(x[0], x[1]),
            KOp::Sub => ins.fsub(x[0], x[1]),
            KOp::Mul => ins.fmul(x[0], x[1]),
            KOp::Div => ins.fdiv(x[0], x[1]),
            KOp::Neg => ins.fneg(x[0]),
            KOp::Abs => ins.fabs(x[0]),
            KOp::Fma if self.fused => ins.fma(x[0], x[1], x[2]),
            KOp::Fma => {
                let product = ins.fmul(x[0], x[1]);
                self.b.ins().fadd(product, x[2])
            }
            KOp::Sqrt => ins.sqrt(x[0]),
            KOp::Floor => ins.floor(x[0]),
            KOp::Ceil => ins.ceil(x[0]),
            KOp::Trunc => ins.trunc(x[0]),
            KOp::Nearest => ins.nearest(x[0]),
            KOp::Lt => ins.fcmp(FloatCC::LessThan, x[0], x[1]),
            KOp::Le => ins.fcmp(FloatCC::LessThanOrEqual, x[0], x[1]),
            KOp::Eq => ins.fcmp(FloatCC::Equal, x[0], x[1]),
            KOp::Ne => ins.fcmp(FloatCC::NotEqual, x[0], x[1]),
            // This order of operands is one maxps, which keeps a NaN of the first; a NaN of the second takes another step.
            KOp::Max | KOp::Min => {
                let (a, b) = if op == KOp::Max { (x[0], x[1]) } else { (x[1], x[0]) };
                let beyond = ins.fcmp(FloatCC::LessThan, a, b);
                let best = self.choose(beyond, x[1], x[0]);
                if known {
                    return best;
                }
                let nan = self.b.ins().fcmp(FloatCC::Unordered, x[1], x[1]);
                self.choose(nan, x[1], best)
            }
            _ => unreachable!("{op:?} on floats"),
        }
    }

    fn int_op(&mut self, op: KOp, dtype: DType, x: &[Value], second: Option<Const>) -> Value {
        let unsigned = dtype == DType::U8;
        let ins = self.b.ins();
        match op {
            KOp::Add => ins.iadd(x[0], x[1]),
            KOp::Sub => ins.isub(x[0], x[1]),
            KOp::Mul => ins.imul(x[0], x[1]),
            KOp::Neg => ins.ineg(x[0]),
            KOp::Abs => {
                let minus = ins.ineg(x[0]);
                let negative = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, x[0], 0);
                self.b.ins().select(negative, minus, x[0])
            }
            KOp::Div | KOp::Rem => self.divide(op, dtype, x[0], x[1], second),
            KOp::Max | KOp::Min => {
                let code = if unsigned { IntCC::UnsignedLessThan } else { IntCC::SignedLessThan };
                let (a, b) = if op == KOp::Max { (x[0], x[1]) } else { (x[1], x[0]) };
                let beyond = ins.icmp(code, a, b);
                self.b.ins().select(beyond, x[1], x[0])
            }
            KOp::Lt if unsigned => ins.icmp(IntCC::UnsignedLessThan, x[0], x[1]),
            KOp::Le if unsigned => ins.icmp(IntCC::UnsignedLessThanOrEqual, x[0], x[1]),
            KOp::Lt => ins.icmp(IntCC::SignedLessThan, x[0], x[1]),
            KOp::Le => ins.icmp(IntCC::SignedLessThanOrEqual, x[0], x[1]),
            KOp::Eq => ins.icmp(IntCC::Equal, x[0], x[1]),
            KOp::Ne => ins.icmp(IntCC::NotEqual, x[0], x[1]),
            KOp::And => ins.band(x[0], x[1]),
            KOp::Or => ins.bor(x[0], x[1]),
            KOp::Xor => ins.bxor(x[0], x[1]),
            KOp::Not if dtype == DType::Bool => ins.bxor_imm_u(x[0], 1),
            KOp::Not => ins.bnot(x[0]),
            KOp::Shl => ins.ishl(x[0], x[1]),
            KOp::ShrU => ins.ushr(x[0], x[1]),
            KOp::ShrS => ins.sshr(x[0], x[1]),
            KOp::MulHiU => {
                let a = ins.uextend(I64, x[0]);
                let b = self.b.ins().uextend(I64, x[1]);
                let product = self.b.ins().imul(a, b);
                let high = self.b.ins().ushr_imm_u(product, 32);
                self.b.ins().ireduce(I32, high)
            }
            _ => unreachable!("{op:?} on {dtype}"),
        }
    }

    /// Floor division or its remainder; 0 where the divisor is 0.
    fn divide(&mut self, op: KOp, dtype: DType, x: Value, y: Value, second: Option<Const>) -> Value {
        let ty = scalar_type(dtype);
        let known = match second {
            Some(Const::I32(c)) => Some(i64::from(c)),
            Some(Const::I64(c)) => Some(c),
            Some(Const::U8(c)) => Some(i64::from(c)),
            _ => None,
        };
        if let Some(power) = known.filter(|&c| c > 0 && c & (c - 1) == 0) {
            return match (op, dtype) {
                (KOp::Rem, _) => self.b.ins().band_imm_s(x, power - 1),
                (_, DType::U8) => self.b.ins().ushr_imm_u(x, i64::from(power.trailing_zeros())),
                _ => self.b.ins().sshr_imm_u(x, i64::from(power.trailing_zeros())),
            };
        }
        let zero = self.b.ins().iconst(ty, 0);
        let by_zero = self.b.ins().icmp(IntCC::Equal, y, zero);
        if dtype == DType::U8 {
            let one = self.b.ins().iconst(ty, 1);
            let safe = self.b.ins().select(by_zero, one, y);
            let result = if op == KOp::Div { self.b.ins().udiv(x, safe) } else { self.b.ins().urem(x, safe) };
            return self.b.ins().select(by_zero, zero, result);
        }
        // The instruction traps on 0, and on -1 where the result overflows; that quotient is the negative.
        let by_minus = self.b.ins().icmp_imm_s(IntCC::Equal, y, -1);
        let special = self.b.ins().bor(by_zero, by_minus);
        let one = self.b.ins().iconst(ty, 1);
        let safe = self.b.ins().select(special, one, y);
        let quotient = self.b.ins().sdiv(x, safe);
        let product = self.b.ins().imul(quotient, safe);
        let rest = self.b.ins().isub(x, product);
        let signs = self.b.ins().bxor(rest, safe);
        let differ = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, signs, 0);
        let inexact = self.b.ins().icmp_imm_s(IntCC::NotEqual, rest, 0);
        let lower = self.b.ins().band(differ, inexact);
        if op == KOp::Rem {
            let moved = self.b.ins().iadd(rest, safe);
            let rest = self.b.ins().select(lower, moved, rest);
            return self.b.ins().select(special, zero, rest);
        }
        let less = self.b.ins().iadd_imm_s(quotient, -1);
        let quotient = self.b.ins().select(lower, less, quotient);
        let minus = self.b.ins().ineg(x);
        let quotient = self.b.ins().select(by_minus, minus, quotient);
        self.b.ins().select(by_zero, zero, quotient)
    }

    fn cast(&mut self, from: DType, to: DType, x: Value) -> Value {
        let target = scalar_type(to);
        match (from, to) {
            _ if from == to => x,
            (DType::F32 | DType::F64, DType::Bool) => {
                let zero =
                    if from == DType::F32 { self.b.ins().f32const(0.0) } else { self.b.ins().f64const(0.0) };
                self.b.ins().fcmp(FloatCC::NotEqual, x, zero)
            }
            (DType::F32, DType::F64) => self.b.ins().fpromote(F64, x),
            (DType::F64, DType::F32) => self.b.ins().fdemote(F32, x),
            (DType::F32 | DType::F64, DType::U8) => {
                let wide = self.b.ins().fcvt_to_sint_sat(I32, x);
                self.cast(DType::I32, DType::U8, wide)
            }
            (DType::F32 | DType::F64, _) => self.b.ins().fcvt_to_sint_sat(target, x),
            (_, DType::Bool) => self.b.ins().icmp_imm_s(IntCC::NotEqual, x, 0),
            (DType::Bool | DType::U8, DType::F32 | DType::F64) => {
                let wide = self.b.ins().uextend(I32, x);
                self.b.ins().fcvt_from_sint(target, wide)
            }
            (_, DType::F32 | DType::F64) => self.b.ins().fcvt_from_sint(target, x),
            (DType::Bool, DType::U8) => x,
            (DType::Bool | DType::U8, _) => self.b.ins().uextend(target, x),
            (DType::I32, DType::I64) => self.b.ins().sextend(I64, x),
            (DType::I64, DType::I32) => {
                let inside = self.clamp(x, I64, i64::from(i32::MIN), i64::from(i32::MAX));
                self.b.ins().ireduce(I32, inside)
            }
            _ => {
                let inside = self.clamp(x, scalar_type(from), 0, 255);
                self.b.ins().ireduce(I8, inside)
            }
        }
    }

    fn clamp(&mut self, x: Value, ty: Type, low: i64, high: i64) -> Value {
        let mask = if ty == I32 { i64::from(u32::MAX) } else { -1 };
        let (low, high) = (self.b.ins().iconst(ty, low & mask), self.b.ins().iconst(ty, high & mask));
        let above = self.less(high, x);
        let x = self.b.ins().select(above, high, x);
        let below = self.less(x, low);
        self.b.ins().select(below, low, x)
    }

    /// `cond ? a : b`, lane by lane for vectors of floats.
    fn choose(&mut self, cond: Value, a: Value, b: Value) -> Value {
        let ty = self.b.func.dfg.value_type(a);
        if !ty.is_vector() {
            return self.b.ins().select(cond, a, b);
        }
        let cond = self.b.ins().bitcast(ty, VALUE_BITS, cond);
        self.b.ins().bitselect(cond, a, b)
    }
}
