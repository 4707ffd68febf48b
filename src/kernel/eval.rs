//! The reference meaning of each instruction on single numbers. The interpreter, constant folding and the tests of code generators rest on it.

use super::{AccOp, Const, KOp};
use crate::tensor::DType;

/// The result of an instruction. With `flush`, f32 operands and results that are subnormal count as zeros of their sign.
/// Operands must have the dtypes that [`KOp::result`] accepts.
pub fn eval_op(op: KOp, operands: &[Const], flush: bool) -> Const {
    use Const::*;
    let arithmetic = match op {
        KOp::Select | KOp::Neg | KOp::Abs | KOp::Bitcast(_) => false,
        KOp::Cast(to) => to != operands[0].dtype(),
        _ => true,
    };
    let fl = |c: Const| if flush && arithmetic { flushed(c) } else { c };
    let a = fl(operands[0]);
    let b = operands.get(1).map_or(a, |&c| fl(c));
    let result = match (op, a, b) {
        (KOp::Select, Bool(cond), _) => operands[if cond { 1 } else { 2 }],
        (KOp::Fma, F32(x), F32(y)) => match fl(operands[2]) {
            F32(z) => F32(x.mul_add(y, z)),
            _ => mismatch(op, operands),
        },
        (KOp::Fma, F64(x), F64(y)) => match operands[2] {
            F64(z) => F64(x.mul_add(y, z)),
            _ => mismatch(op, operands),
        },
        (KOp::Cast(to), ..) => cast(a, to),
        (KOp::Bitcast(to), ..) => match (a, to) {
            (F32(x), DType::I32) => I32(x.to_bits() as i32),
            (I32(x), DType::F32) => F32(f32::from_bits(x as u32)),
            (F64(x), DType::I64) => I64(x.to_bits() as i64),
            (I64(x), DType::F64) => F64(f64::from_bits(x as u64)),
            _ => a,
        },
        (_, F32(x), F32(y)) => match float_op(op, f64::from(x), f64::from(y)) {
            // Single operations on f32 done in f64 and rounded again are correctly rounded (Figueroa 1995: 53 >= 2 * 24 + 2).
            Some(Float::Number(z)) => F32(z as f32),
            Some(Float::Truth(t)) => Bool(t),
            None => mismatch(op, operands),
        },
        (_, F64(x), F64(y)) => match float_op(op, x, y) {
            Some(Float::Number(z)) => F64(z),
            Some(Float::Truth(t)) => Bool(t),
            None => mismatch(op, operands),
        },
        (KOp::Low, I64(x), _) => I32(x as i32),
        (KOp::MulHiU, I32(x), I32(y)) => I32(((u64::from(x as u32) * u64::from(y as u32)) >> 32) as i32),
        (KOp::Shl, I32(x), I32(y)) => I32(x.wrapping_shl(y as u32)),
        (KOp::ShrU, I32(x), I32(y)) => I32((x as u32).wrapping_shr(y as u32) as i32),
        (KOp::ShrS, I32(x), I32(y)) => I32(x.wrapping_shr(y as u32)),
        (KOp::Shl, I64(x), I64(y)) => I64(x.wrapping_shl(y as u32)),
        (KOp::ShrU, I64(x), I64(y)) => I64((x as u64).wrapping_shr(y as u32) as i64),
        (KOp::ShrS, I64(x), I64(y)) => I64(x.wrapping_shr(y as u32)),
        (_, I32(x), I32(y)) => match int_op(op, i64::from(x), i64::from(y)) {
            Some(Int::Number(z)) => I32(z as i32),
            Some(Int::Truth(t)) => Bool(t),
            None => mismatch(op, operands),
        },
        (_, U8(x), U8(y)) => match int_op(op, i64::from(x), i64::from(y)) {
            Some(Int::Number(z)) => U8(z as u8),
            Some(Int::Truth(t)) => Bool(t),
            None => mismatch(op, operands),
        },
        (_, I64(x), I64(y)) => match int_op(op, x, y) {
            Some(Int::Number(z)) => I64(z),
            Some(Int::Truth(t)) => Bool(t),
            None => mismatch(op, operands),
        },
        (_, Bool(x), Bool(y)) => Bool(match op {
            KOp::And => x & y,
            KOp::Or => x | y,
            KOp::Xor | KOp::Ne => x ^ y,
            KOp::Eq => x == y,
            KOp::Not => !x,
            _ => mismatch(op, operands),
        }),
        _ => mismatch(op, operands),
    };
    fl(result)
}

/// One turn of an accumulator that is not an index.
pub fn combine(op: AccOp, acc: Const, term: Const, flush: bool) -> Const {
    let op = match op {
        AccOp::Sum => KOp::Add,
        AccOp::Prod => KOp::Mul,
        AccOp::Max => KOp::Max,
        AccOp::Min => KOp::Min,
        AccOp::Any => KOp::Or,
        AccOp::All => KOp::And,
        AccOp::ArgMax | AccOp::ArgMin => mismatch(op, &[acc, term]),
    };
    eval_op(op, &[acc, term], flush)
}

/// Whether the entry (`term`, `index`) replaces (`best`, `at`) in an `ArgMax` (`ArgMin` if not `largest`):
/// NaN is the largest and the smallest of all, and of equal entries the first stays.
pub fn replaces(largest: bool, best: Const, at: i32, term: Const, index: i32, flush: bool) -> bool {
    let truth = |op, a, b| eval_op(op, &[a, b], flush) == Const::Bool(true);
    let better = if largest { truth(KOp::Lt, best, term) } else { truth(KOp::Lt, term, best) };
    let (best_nan, term_nan) = (truth(KOp::Ne, best, best), truth(KOp::Ne, term, term));
    let tied = truth(KOp::Eq, best, term) || (best_nan && term_nan);
    better || (term_nan && !best_nan) || (tied && index < at)
}

/// A subnormal f32 becomes a zero of its sign.
pub fn flushed(value: Const) -> Const {
    match value {
        Const::F32(x) if x.is_subnormal() => Const::F32(0f32.copysign(x)),
        other => other,
    }
}

enum Float {
    Number(f64),
    Truth(bool),
}

fn float_op(op: KOp, x: f64, y: f64) -> Option<Float> {
    let number = match op {
        KOp::Add => x + y,
        KOp::Sub => x - y,
        KOp::Mul => x * y,
        KOp::Div => x / y,
        KOp::Neg => -x,
        KOp::Abs => x.abs(),
        KOp::Sqrt => x.sqrt(),
        KOp::Floor => x.floor(),
        KOp::Ceil => x.ceil(),
        KOp::Trunc => x.trunc(),
        KOp::Nearest => x.round_ties_even(),
        KOp::Max if x < y || y.is_nan() => y,
        KOp::Min if y < x || y.is_nan() => y,
        KOp::Max | KOp::Min => x,
        KOp::Lt => return Some(Float::Truth(x < y)),
        KOp::Le => return Some(Float::Truth(x <= y)),
        KOp::Eq => return Some(Float::Truth(x == y)),
        KOp::Ne => return Some(Float::Truth(x != y)),
        _ => return None,
    };
    Some(Float::Number(number))
}

enum Int {
    Number(i64),
    Truth(bool),
}

/// On i64; narrower results are cut to their width, which gives the wrapping operation.
fn int_op(op: KOp, x: i64, y: i64) -> Option<Int> {
    let number = match op {
        KOp::Add => x.wrapping_add(y),
        KOp::Sub => x.wrapping_sub(y),
        KOp::Mul => x.wrapping_mul(y),
        KOp::Div if y == 0 => 0,
        KOp::Rem if y == 0 => 0,
        KOp::Div => {
            let quotient = x.wrapping_div(y);
            quotient - i64::from(x.wrapping_rem(y) != 0 && (x < 0) != (y < 0))
        }
        KOp::Rem => {
            let rest = x.wrapping_rem(y);
            if rest != 0 && (rest < 0) != (y < 0) { rest + y } else { rest }
        }
        KOp::Neg => x.wrapping_neg(),
        KOp::Abs => x.wrapping_abs(),
        KOp::Max => x.max(y),
        KOp::Min => x.min(y),
        KOp::And => x & y,
        KOp::Or => x | y,
        KOp::Xor => x ^ y,
        KOp::Not => !x,
        KOp::Lt => return Some(Int::Truth(x < y)),
        KOp::Le => return Some(Int::Truth(x <= y)),
        KOp::Eq => return Some(Int::Truth(x == y)),
        KOp::Ne => return Some(Int::Truth(x != y)),
        _ => return None,
    };
    Some(Int::Number(number))
}

/// Saturating conversion: floats towards zero, NaN to 0; to Bool: whether it is not zero.
fn cast(value: Const, to: DType) -> Const {
    use Const::*;
    let narrow = |x: i64| match to {
        DType::F32 => F32(x as f32),
        DType::F64 => F64(x as f64),
        DType::I32 => I32(x.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32),
        DType::I64 => I64(x),
        DType::U8 => U8(x.clamp(0, 255) as u8),
        _ => Bool(x != 0),
    };
    match value {
        I32(x) => narrow(i64::from(x)),
        I64(x) => narrow(x),
        U8(x) => narrow(i64::from(x)),
        Bool(x) => narrow(i64::from(x)),
        F32(x) => match to {
            DType::F64 => F64(f64::from(x)),
            DType::F32 => value,
            DType::I32 => I32(x as i32),
            DType::I64 => I64(x as i64),
            DType::U8 => U8(x as u8),
            _ => Bool(x != 0.0),
        },
        F64(x) => match to {
            DType::F32 => F32(x as f32),
            DType::F64 => value,
            DType::I32 => I32(x as i32),
            DType::I64 => I64(x as i64),
            DType::U8 => U8(x as u8),
            _ => Bool(x != 0.0),
        },
    }
}

fn mismatch<T: std::fmt::Debug, R>(op: T, operands: &[Const]) -> R {
    unreachable!("{op:?} on {operands:?}: the verifier accepts no such instruction")
}
