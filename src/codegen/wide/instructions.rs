//! The scalar instructions of kernels on all lanes at once.

use super::emit::Emitter;
use super::encode::{self as x, MaskOp, Op, Rm, Shift, With, Z};
use super::registers::Place;
use crate::kernel::{Const, KOp, Val};
use crate::tensor::DType;

/// Predicates of comparisons; `>=` and `>` are told apart by the type.
const EQUAL: u8 = 0;
const LESS: u8 = 1;
const LESS_EQUAL: u8 = 2;
const UNORDERED: u8 = 3;
const NOT_EQUAL: u8 = 4;
const GREATER_EQUAL: [u8; 2] = [0x0d, 5];
const GREATER: [u8; 2] = [0x0e, 6];

impl Emitter<'_, '_> {
    /// The value of an instruction; `None` where there is no code for it.
    pub fn op(&mut self, val: Val, op: KOp, operands: &[Val], result: DType) -> Option<Place> {
        let dtype = self.dtype(operands[0]);
        if operands.iter().any(|operand| self.is_wide(*operand)) {
            return self.on_positions(val, op, operands);
        }
        if !matches!(result, DType::F32 | DType::I32 | DType::Bool) {
            return None;
        }
        match (op, dtype) {
            (KOp::Select, _) => self.select(operands, result),
            (KOp::Cast(to), _) => self.cast(operands[0], dtype, to),
            (KOp::Bitcast(_), DType::F32 | DType::I32) => self.copy(operands[0]),
            (KOp::Lt | KOp::Le | KOp::Eq | KOp::Ne, DType::F32 | DType::I32) => self.compare(op, operands),
            (_, DType::Bool) => self.on_masks(op, operands),
            (_, DType::F32) => self.on_floats(op, operands),
            (_, DType::I32) => self.on_integers(op, operands),
            _ => None,
        }
    }

    fn on_floats(&mut self, op: KOp, operands: &[Val]) -> Option<Place> {
        let first = operands[0];
        match op {
            KOp::Add => self.binary(x::ADD_PS, operands, true),
            KOp::Mul => self.binary(x::MUL_PS, operands, true),
            KOp::Sub => self.binary(x::SUB_PS, operands, false),
            KOp::Div => self.binary(x::DIV_PS, operands, false),
            KOp::Fma => self.multiply_add(operands),
            KOp::Neg => self.with_bits(x::XOR_D, first, 1 << 31),
            KOp::Abs => self.with_bits(x::AND_D, first, u32::MAX >> 1),
            KOp::Sqrt => self.unary(x::SQRT_PS, first, None),
            KOp::Nearest => self.unary(x::ROUND_PS, first, Some(8)),
            KOp::Floor => self.unary(x::ROUND_PS, first, Some(9)),
            KOp::Ceil => self.unary(x::ROUND_PS, first, Some(10)),
            KOp::Trunc => self.unary(x::ROUND_PS, first, Some(11)),
            KOp::Max | KOp::Min => {
                let mut taken = Vec::new();
                let to = self.vectors.take()?;
                let a = self.vector(first, &mut taken)?;
                let b = self.vector(operands[1], &mut taken)?;
                match self.constant(operands[1]) {
                    Some(Const::F32(c)) if !c.is_nan() => {
                        let op = if op == KOp::Max { x::MAX_PS } else { x::MIN_PS };
                        self.a.vector(op, to, b, Rm::Z(a), With::default());
                    }
                    _ => self.extreme(op == KOp::Max, to, a, b, 0),
                }
                self.give(taken);
                Some(Place::Vector(to))
            }
            _ => None,
        }
    }

    /// The larger or smaller of two numbers in the lanes of a mask: NaN if either is, of equal ones the first.
    pub fn extreme(&mut self, larger: bool, to: Z, a: Z, b: Z, mask: u8) {
        let op = if larger { x::MAX_PS } else { x::MIN_PS };
        // The instruction gives its last operand, the first of ours, unless the other one is beyond it.
        self.a.vector(op, to, b, Rm::Z(a), With { mask, ..With::default() });
        let unordered = With { mask, immediate: Some(UNORDERED), ..With::default() };
        self.a.vector(x::COMPARE_PS, 2, b, Rm::Z(b), unordered);
        self.a.vector(x::MOVE, to, 0, Rm::Z(b), With { mask: 2, ..With::default() });
    }

    fn on_integers(&mut self, op: KOp, operands: &[Val]) -> Option<Place> {
        let first = operands[0];
        match op {
            KOp::Add => self.binary(x::ADD_D, operands, true),
            KOp::Sub => self.binary(x::SUB_D, operands, false),
            KOp::Mul => self.binary(x::MUL_D, operands, true),
            KOp::And => self.binary(x::AND_D, operands, true),
            KOp::Or => self.binary(x::OR_D, operands, true),
            KOp::Xor => self.binary(x::XOR_D, operands, true),
            KOp::Max => self.binary(x::MAX_D, operands, true),
            KOp::Min => self.binary(x::MIN_D, operands, true),
            KOp::Not => self.with_bits(x::XOR_D, first, u32::MAX),
            KOp::Abs => self.unary(x::ABS_D, first, None),
            KOp::Neg => {
                let to = self.vectors.take()?;
                let (rm, repeat) = self.operand(first)?;
                self.a.vector(x::XOR_D, to, to, Rm::Z(to), With::default());
                self.a.vector(x::SUB_D, to, to, rm, With { repeat, ..With::default() });
                Some(Place::Vector(to))
            }
            KOp::Shl | KOp::ShrU | KOp::ShrS => {
                let Some(Const::I32(bits)) = self.constant(operands[1]) else { return None };
                let shift = match op {
                    KOp::Shl => Shift::Left,
                    KOp::ShrU => Shift::RightLogical,
                    _ => Shift::RightArithmetic,
                };
                let mut taken = Vec::new();
                let to = self.vectors.take()?;
                let from = self.vector(first, &mut taken)?;
                self.a.shift(shift, to, from, (bits & 31) as u8);
                self.give(taken);
                Some(Place::Vector(to))
            }
            KOp::MulHiU => {
                let mut taken = Vec::new();
                let [even, odd] = [self.vectors.take()?, self.vectors.take()?];
                let a = self.vector(first, &mut taken)?;
                let b = self.vector(operands[1], &mut taken)?;
                let other = self.vectors.take()?;
                taken.extend([odd, other]);
                self.a.vector(x::MUL_EVEN, even, a, Rm::Z(b), With::default());
                self.a.shift_pairs(odd, a);
                self.a.shift_pairs(other, b);
                self.a.vector(x::MUL_EVEN, odd, odd, Rm::Z(other), With::default());
                self.a.shift_pairs(even, even);
                let lanes = self.a.constant(0xaaaa);
                self.a.mask_load(2, lanes);
                self.a.vector(x::MOVE, even, 0, Rm::Z(odd), With { mask: 2, ..With::default() });
                self.give(taken);
                Some(Place::Vector(even))
            }
            _ => None,
        }
    }

    fn on_masks(&mut self, op: KOp, operands: &[Val]) -> Option<Place> {
        let masks = self.masks_of(operands)?;
        let to = self.masks.take()?;
        let op = match op {
            KOp::And => MaskOp::And,
            KOp::Or => MaskOp::Or,
            KOp::Xor | KOp::Ne => MaskOp::Xor,
            KOp::Eq => MaskOp::Xnor,
            KOp::Not => {
                self.a.mask_not(to, masks[0]);
                return Some(Place::Mask(to));
            }
            _ => return None,
        };
        self.a.mask(op, to, masks[0], masks[1]);
        Some(Place::Mask(to))
    }

    /// Registers of truths; one of them at most comes from memory.
    fn masks_of(&mut self, operands: &[Val]) -> Option<Vec<u8>> {
        let masks = operands.iter().map(|val| self.mask(*val)).collect::<Option<Vec<u8>>>()?;
        (masks.iter().filter(|mask| **mask == 2).count() < 2).then_some(masks)
    }

    /// Positions are i64 in kernels; those that are known to be small are i32 here.
    fn on_positions(&mut self, val: Val, op: KOp, operands: &[Val]) -> Option<Place> {
        let bounds = operands.iter().map(|val| self.bound(*val)).collect::<Option<Vec<i64>>>()?;
        match op {
            KOp::Add | KOp::Sub => {
                let bound = bounds.iter().sum::<i64>();
                if bound >= 1 << 31 {
                    return None;
                }
                self.set_bound(val, bound);
                match op {
                    KOp::Add => self.binary(x::ADD_D, operands, true),
                    _ => self.binary(x::SUB_D, operands, false),
                }
            }
            KOp::Lt | KOp::Le | KOp::Eq | KOp::Ne => self.compare(op, operands),
            KOp::Cast(DType::I32) => self.copy(operands[0]),
            KOp::Cast(DType::F32) => self.unary(x::DQ_TO_PS, operands[0], None),
            _ => None,
        }
    }

    fn unary(&mut self, op: Op, operand: Val, immediate: Option<u8>) -> Option<Place> {
        let to = self.vectors.take()?;
        let (rm, repeat) = self.operand(operand)?;
        self.a.vector(op, to, 0, rm, With { repeat, immediate, ..With::default() });
        Some(Place::Vector(to))
    }

    fn binary(&mut self, op: Op, operands: &[Val], commutes: bool) -> Option<Place> {
        let mut taken = Vec::new();
        let to = self.vectors.take()?;
        let (mut a, mut b) = (operands[0], operands[1]);
        if commutes && self.operand(a)?.1 {
            (a, b) = (b, a);
        }
        let a = self.vector(a, &mut taken)?;
        let (rm, repeat) = self.operand(b)?;
        self.a.vector(op, to, a, rm, With { repeat, ..With::default() });
        self.give(taken);
        Some(Place::Vector(to))
    }

    fn with_bits(&mut self, op: Op, operand: Val, bits: u32) -> Option<Place> {
        let mut taken = Vec::new();
        let to = self.vectors.take()?;
        let a = self.vector(operand, &mut taken)?;
        let bits = self.a.constant(bits);
        self.a.vector(op, to, a, bits, With { repeat: true, ..With::default() });
        self.give(taken);
        Some(Place::Vector(to))
    }

    fn copy(&mut self, operand: Val) -> Option<Place> {
        let to = self.vectors.take()?;
        match self.operand(operand)? {
            (rm, true) => self.a.vector(x::BROADCAST_SS, to, 0, rm, With::default()),
            (rm, false) => self.a.vector(x::MOVE, to, 0, rm, With::default()),
        }
        Some(Place::Vector(to))
    }

    /// `a * b + c`, over the register of an operand that is not needed any more, where there is one.
    fn multiply_add(&mut self, operands: &[Val]) -> Option<Place> {
        let (mut a, mut b, c) = (operands[0], operands[1], operands[2]);
        if !self.is_over(a) && self.is_over(b) {
            (a, b) = (b, a);
        }
        let mut taken = Vec::new();
        if !self.is_over(a) && self.is_over(c) {
            // c += a * b
            if self.operand(a)?.1 {
                (a, b) = (b, a);
            }
            let a = self.vector(a, &mut taken)?;
            let (rm, repeat) = self.operand(b)?;
            let to = self.take_over(c)?;
            self.a.vector(x::FMADD231_PS, to, a, rm, With { repeat, ..With::default() });
            self.give(taken);
            return Some(Place::Vector(to));
        }
        let other = self.vector(b, &mut taken)?;
        let (rm, repeat) = self.operand(c)?;
        let to = match self.is_over(a) {
            true => self.take_over(a)?,
            false => match self.copy(a)? {
                Place::Vector(to) => to,
                Place::Mask(_) => return None,
            },
        };
        self.a.vector(x::FMADD213_PS, to, other, rm, With { repeat, ..With::default() });
        self.give(taken);
        Some(Place::Vector(to))
    }

    /// Whether a value has a register that nobody needs behind this instruction.
    fn is_over(&self, val: Val) -> bool {
        self.has_register(val) && self.dies(val)
    }

    fn compare(&mut self, op: KOp, operands: &[Val]) -> Option<Place> {
        let floats = self.dtype(operands[0]) == DType::F32;
        let (mut a, mut b) = (operands[0], operands[1]);
        let mut predicate = match op {
            KOp::Lt => LESS,
            KOp::Le => LESS_EQUAL,
            KOp::Eq => EQUAL,
            _ => NOT_EQUAL,
        };
        if self.operand(a)?.1 && !self.operand(b)?.1 {
            (a, b) = (b, a);
            predicate = match op {
                KOp::Lt => GREATER[usize::from(!floats)],
                KOp::Le => GREATER_EQUAL[usize::from(!floats)],
                _ => predicate,
            };
        }
        let mut taken = Vec::new();
        let to = self.masks.take()?;
        let a = self.vector(a, &mut taken)?;
        let (rm, repeat) = self.operand(b)?;
        let op = if floats { x::COMPARE_PS } else { x::COMPARE_D };
        self.a.vector(op, to, a, rm, With { repeat, immediate: Some(predicate), ..With::default() });
        self.give(taken);
        Some(Place::Mask(to))
    }

    fn select(&mut self, operands: &[Val], result: DType) -> Option<Place> {
        let (cond, a, b) = (operands[0], operands[1], operands[2]);
        if result == DType::Bool {
            let masks = self.masks_of(operands)?;
            let to = self.masks.take()?;
            // b ^ (cond & (a ^ b))
            self.a.mask(MaskOp::Xor, to, masks[1], masks[2]);
            self.a.mask(MaskOp::And, to, to, masks[0]);
            self.a.mask(MaskOp::Xor, to, to, masks[2]);
            return Some(Place::Mask(to));
        }
        let zero = |e: &Self, val| e.constant(val).is_some_and(|value| value.bits().1 == 0);
        let to = self.vectors.take()?;
        let mut mask = self.mask(cond)?;
        let chosen = match (zero(self, a), zero(self, b)) {
            (_, true) => Some(a),
            (true, false) => {
                self.a.mask_not(2, mask);
                mask = 2;
                Some(b)
            }
            _ => None,
        };
        let with = With { mask, ..With::default() };
        if let Some(chosen) = chosen {
            let (rm, repeat) = self.operand(chosen)?;
            let op = if repeat { x::BROADCAST_SS } else { x::MOVE };
            self.a.vector(op, to, 0, rm, With { zero: true, ..with });
            return Some(Place::Vector(to));
        }
        let mut taken = Vec::new();
        let b = self.vector(b, &mut taken)?;
        let (rm, repeat) = self.operand(a)?;
        self.a.vector(x::BLEND_PS, to, b, rm, With { repeat, ..with });
        self.give(taken);
        Some(Place::Vector(to))
    }

    fn cast(&mut self, operand: Val, from: DType, to: DType) -> Option<Place> {
        match (from, to) {
            (DType::Bool, DType::F32 | DType::I32) => {
                let one = if to == DType::F32 { 1f32.to_bits() } else { 1 };
                let z = self.vectors.take()?;
                let mask = self.mask(operand)?;
                let one = self.a.constant(one);
                self.a.vector(x::BROADCAST_SS, z, 0, one, With { mask, zero: true, ..With::default() });
                Some(Place::Vector(z))
            }
            (DType::I32, DType::F32) => self.unary(x::DQ_TO_PS, operand, None),
            (DType::F32 | DType::I32, DType::Bool) => {
                let mut taken = Vec::new();
                let k = self.masks.take()?;
                let a = self.vector(operand, &mut taken)?;
                let zero = self.a.constant(0);
                let op = if from == DType::F32 { x::COMPARE_PS } else { x::COMPARE_D };
                let with = With { repeat: true, immediate: Some(NOT_EQUAL), ..With::default() };
                self.a.vector(op, k, a, zero, with);
                self.give(taken);
                Some(Place::Mask(k))
            }
            (DType::F32, DType::I32) => {
                let mut taken = Vec::new();
                let to = self.vectors.take()?;
                let a = self.vector(operand, &mut taken)?;
                self.a.vector(x::PS_TO_DQ_TRUNCATED, to, 0, Rm::Z(a), With::default());
                // What does not fit came out as the least integer: too large ones are the largest, NaN is 0.
                let limit = self.a.constant(2_147_483_648f32.to_bits());
                let beyond = With { repeat: true, immediate: Some(GREATER_EQUAL[0]), ..With::default() };
                self.a.vector(x::COMPARE_PS, 2, a, limit, beyond);
                let largest = self.a.constant(i32::MAX as u32);
                self.a.vector(x::BROADCAST_SS, to, 0, largest, With { mask: 2, ..With::default() });
                let unordered = With { immediate: Some(UNORDERED), ..With::default() };
                self.a.vector(x::COMPARE_PS, 2, a, Rm::Z(a), unordered);
                self.a.vector(x::XOR_D, to, to, Rm::Z(to), With { mask: 2, ..With::default() });
                self.give(taken);
                Some(Place::Vector(to))
            }
            _ if from == to && from != DType::Bool => self.copy(operand),
            _ => None,
        }
    }

    pub fn give(&mut self, taken: Vec<Z>) {
        taken.into_iter().for_each(|z| self.vectors.give(z));
    }
}
