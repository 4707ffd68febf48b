//! Scalar functions and random draws as kernel instructions.

use crate::graph::{Draw, Reducer};
use crate::kernel::{AccOp, BodyBuilder, KOp, Val, math, philox};
use crate::ops::ScalarFn;
use crate::tensor::DType;

/// The value of a scalar function.
pub fn expand(b: &mut BodyBuilder, function: ScalarFn, args: &[Val]) -> Val {
    use ScalarFn::*;
    match function {
        Neg => math::neg(b, args),
        Abs => math::abs(b, args),
        Sign => math::sign(b, args),
        Sqrt => math::sqrt(b, args),
        Exp => math::exp(b, args),
        Log => math::log(b, args),
        Sin => math::sin(b, args),
        Cos => math::cos(b, args),
        Tanh => math::tanh(b, args),
        Sigmoid => math::sigmoid(b, args),
        Erf => math::erf(b, args),
        Floor => math::floor(b, args),
        Ceil => math::ceil(b, args),
        Round => math::round(b, args),
        Not => math::not(b, args),
        Cast(to) => math::cast(b, args, to),
        Add => math::add(b, args),
        Sub => math::sub(b, args),
        Mul => math::mul(b, args),
        Div => math::div(b, args),
        Rem => math::rem(b, args),
        Pow => math::pow(b, args),
        Max => math::max(b, args),
        Min => math::min(b, args),
        Lt => math::lt(b, args),
        Le => math::le(b, args),
        Eq => math::eq(b, args),
        Ne => math::ne(b, args),
        And => math::and(b, args),
        Or => math::or(b, args),
        Select => math::select(b, args),
    }
}

/// Element `index` of the stream of a site.
pub fn draw(b: &mut BodyBuilder, draw: Draw, dtype: DType, stream: philox::Stream, index: Val) -> Val {
    let value = match draw {
        Draw::Uniform => philox::uniform(b, stream, index),
        Draw::Normal => philox::normal(b, stream, index),
    };
    b.cast(value, dtype)
}

/// What a reducer collects: of `argmax` and `argmin` the value that is found.
pub fn accumulation(op: Reducer) -> AccOp {
    match op {
        Reducer::Sum => AccOp::Sum,
        Reducer::Prod => AccOp::Prod,
        Reducer::Max | Reducer::ArgMax => AccOp::Max,
        Reducer::Min | Reducer::ArgMin => AccOp::Min,
        Reducer::Any => AccOp::Any,
        Reducer::All => AccOp::All,
    }
}

/// What joins two values that were collected.
pub fn combination(op: AccOp) -> KOp {
    match op {
        AccOp::Sum => KOp::Add,
        AccOp::Prod => KOp::Mul,
        AccOp::Max | AccOp::ArgMax => KOp::Max,
        AccOp::Min | AccOp::ArgMin => KOp::Min,
        AccOp::Any => KOp::Or,
        AccOp::All => KOp::And,
    }
}
