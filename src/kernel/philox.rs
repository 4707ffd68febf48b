//! The draws of [`crate::tensor::random`] as kernel instructions: words and uniform numbers with the same bits, normal numbers within 4 ulp.

use super::math::{log, sin_in_quarter};
use super::{BodyBuilder, KOp, Val};
use crate::tensor::DType;

const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
const ROUNDS: usize = 10;

/// A site's stream: the key of its seed. Make it outside of loops.
#[derive(Clone, Copy)]
pub struct Stream {
    key: [Val; 2],
    step: [Val; 2],
}

/// The stream of `site` under `seed` at `step`, both i64.
pub fn stream(b: &mut BodyBuilder, seed: Val, site: u64, step: Val) -> Stream {
    let seed = halves(b, seed);
    let (low, high, zero) = (b.i32(site as i32), b.i32((site >> 32) as i32), b.i32(0));
    let [k0, k1, ..] = philox(b, [low, high, zero, zero], seed);
    let step = halves(b, step);
    Stream { key: [k0, k1], step }
}

/// The four words of the block that holds element `index` (i64).
pub fn block(b: &mut BodyBuilder, stream: Stream, index: Val) -> [Val; 4] {
    let block = b.shift(KOp::ShrU, index, 2);
    let [low, high] = halves(b, block);
    philox(b, [low, high, stream.step[0], stream.step[1]], stream.key)
}

/// Uniform in [0, 1), f32: element `index` (i64) of the stream.
pub fn uniform(b: &mut BodyBuilder, stream: Stream, index: Val) -> Val {
    let words = block(b, stream, index);
    let place = place(b, index);
    let (odd, upper) = (bit(b, place, 0), bit(b, place, 1));
    let low = b.select(odd, words[1], words[0]);
    let high = b.select(odd, words[3], words[2]);
    let word = b.select(upper, high, low);
    unit(b, word)
}

/// Standard normal by Box and Muller, f32: element `index` (i64) of the stream.
pub fn normal(b: &mut BodyBuilder, stream: Stream, index: Val) -> Val {
    let words = block(b, stream, index);
    let place = place(b, index);
    let upper = bit(b, place, 1);
    let u = b.select(upper, words[2], words[0]);
    let v = b.select(upper, words[3], words[1]);
    let (u, v) = (unit(b, u), unit(b, v));
    let (one, minus_two) = (b.f32(1.0), b.f32(-2.0));
    let rest = b.sub(one, u);
    let ln = log(b, &[rest]);
    let square = b.mul(minus_two, ln);
    let radius = b.sqrt(square);
    // 2πv as quarters of a turn: the difference to the nearest quarter is exact. An even element takes the cosine.
    let (four, magic) = (b.f32(4.0), b.f32(12582912.0));
    let quarters = b.mul(v, four);
    let shifted = b.add(quarters, magic);
    let whole = b.sub(shifted, magic);
    let rest = b.sub(quarters, whole);
    let right = b.f32(std::f32::consts::FRAC_PI_2);
    let angle = b.mul(rest, right);
    let one = b.i32(1);
    let even = b.xor(place, one);
    let even = b.and(even, one);
    let quarter = b.bitcast(shifted, DType::I32);
    let quarter = b.add(quarter, even);
    let wave = sin_in_quarter(b, angle, quarter);
    b.mul(radius, wave)
}

fn philox(b: &mut BodyBuilder, counter: [Val; 4], key: [Val; 2]) -> [Val; 4] {
    let ([mut c0, mut c1, mut c2, mut c3], [mut k0, mut k1]) = (counter, key);
    let multipliers = MULTIPLIERS.map(|m| b.i32(m as i32));
    let weyl = WEYL.map(|w| b.i32(w as i32));
    for _ in 0..ROUNDS {
        let (low0, high0) = (b.mul(multipliers[0], c0), b.op(KOp::MulHiU, &[multipliers[0], c0]));
        let (low1, high1) = (b.mul(multipliers[1], c2), b.op(KOp::MulHiU, &[multipliers[1], c2]));
        let (upper, lower) = (b.xor(high1, c1), b.xor(high0, c3));
        (c0, c1, c2, c3) = (b.xor(upper, k0), low1, b.xor(lower, k1), low0);
        k0 = b.add(k0, weyl[0]);
        k1 = b.add(k1, weyl[1]);
    }
    [c0, c1, c2, c3]
}

fn halves(b: &mut BodyBuilder, value: Val) -> [Val; 2] {
    let high = b.shift(KOp::ShrU, value, 32);
    [b.op(KOp::Low, &[value]), b.op(KOp::Low, &[high])]
}

/// The low bits of an index, as i32.
fn place(b: &mut BodyBuilder, index: Val) -> Val {
    b.op(KOp::Low, &[index])
}

fn bit(b: &mut BodyBuilder, value: Val, bit: u32) -> Val {
    let (mask, zero) = (b.i32(1 << bit), b.i32(0));
    let set = b.and(value, mask);
    b.ne(set, zero)
}

/// The upper 24 bits of a word as a fraction in [0, 1).
fn unit(b: &mut BodyBuilder, word: Val) -> Val {
    let bits = b.shift(KOp::ShrU, word, 8);
    let whole = b.cast(bits, DType::F32);
    let scale = b.f32(1.0 / 16_777_216.0);
    b.mul(whole, scale)
}
