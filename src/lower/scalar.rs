//! Scalar functions and random draws as kernel instructions.

use crate::graph::Draw;
use crate::kernel::{BodyBuilder, KOp, Val};
use crate::ops::ScalarFn;
use crate::tensor::DType;

/// The value of a scalar function.
pub fn expand(b: &mut BodyBuilder, function: ScalarFn, args: &[Val]) -> Val {
    let _ = (KOp::Add, function);
    let _ = b;
    args[0]
}

/// Element `index` of the stream of a site.
pub fn draw(
    b: &mut BodyBuilder,
    draw: Draw,
    dtype: DType,
    seed: Val,
    site: u64,
    step: Val,
    index: Val,
) -> Val {
    let _ = (draw, dtype, site, step, index, b);
    seed
}
