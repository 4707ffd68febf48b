//! Derivatives of the scalar functions, as nodes.
//!
//! A rule's nodes are linear in the tangents: products of a tangent with a value that is none, sums, quotients by a value,
//! selections. `map::transpose` can transpose exactly these.

use std::f64::consts::FRAC_2_SQRT_PI;

use super::ScalarFn;
use crate::graph::{Builder, Node};

/// How tangents pass through a function.
#[derive(Clone, Copy)]
pub enum Derivative {
    /// Zero almost everywhere, or no function on floats.
    Zero,
    /// Of one argument: the derivative from argument and value.
    Partial(fn(&mut Builder, x: Node, y: Node) -> Node),
    /// The value's tangent from arguments, value and the arguments' tangents (`None` is zero; not all are).
    Rule(Rule),
}

/// From arguments, value and tangents the value's tangent.
pub type Rule = fn(&mut Builder, args: &[Node], y: Node, tangents: &[Option<Node>]) -> Option<Node>;

impl Derivative {
    pub(super) fn tangent(
        self,
        b: &mut Builder,
        args: &[Node],
        y: Node,
        tangents: &[Option<Node>],
    ) -> Option<Node> {
        match self {
            Derivative::Zero => None,
            Derivative::Partial(partial) => {
                let tangent = tangents[0]?;
                let partial = partial(b, args[0], y);
                Some(b.mul(partial, tangent))
            }
            Derivative::Rule(rule) => rule(b, args, y, tangents),
        }
    }
}

fn scalar(b: &mut Builder, like: Node, value: f64) -> Node {
    let dtype = b.dtype(like);
    b.constant(value, dtype)
}

/// The sum of what is not zero.
fn total(b: &mut Builder, x: Option<Node>, y: Option<Node>) -> Option<Node> {
    match (x, y) {
        (Some(x), Some(y)) => Some(b.add(x, y)),
        (x, y) => x.or(y),
    }
}

fn times(b: &mut Builder, factor: Node, tangent: Option<Node>) -> Option<Node> {
    tangent.map(|tangent| b.mul(factor, tangent))
}

type Tangents<'a> = &'a [Option<Node>];

pub(super) fn neg(b: &mut Builder, _: &[Node], _: Node, t: Tangents) -> Option<Node> {
    t[0].map(|t| b.neg(t))
}

pub(super) fn cast(b: &mut Builder, _: &[Node], y: Node, t: Tangents) -> Option<Node> {
    let dtype = b.dtype(y);
    t[0].filter(|_| dtype.is_float()).map(|t| b.cast(t, dtype))
}

/// 0 at 0: the mean of both sides.
pub(super) fn abs(b: &mut Builder, x: Node, _: Node) -> Node {
    b.map1(ScalarFn::Sign, x)
}

pub(super) fn sqrt(b: &mut Builder, _: Node, y: Node) -> Node {
    let half = scalar(b, y, 0.5);
    b.div(half, y)
}

pub(super) fn exp(_: &mut Builder, _: Node, y: Node) -> Node {
    y
}

pub(super) fn log(b: &mut Builder, args: &[Node], _: Node, t: Tangents) -> Option<Node> {
    t[0].map(|t| b.div(t, args[0]))
}

pub(super) fn sin(b: &mut Builder, x: Node, _: Node) -> Node {
    b.map1(ScalarFn::Cos, x)
}

pub(super) fn cos(b: &mut Builder, x: Node, _: Node) -> Node {
    let sin = b.map1(ScalarFn::Sin, x);
    b.neg(sin)
}

/// 1 - y²
pub(super) fn tanh(b: &mut Builder, _: Node, y: Node) -> Node {
    let (one, square) = (scalar(b, y, 1.0), b.mul(y, y));
    b.sub(one, square)
}

/// y (1 - y)
pub(super) fn sigmoid(b: &mut Builder, _: Node, y: Node) -> Node {
    let one = scalar(b, y, 1.0);
    let rest = b.sub(one, y);
    b.mul(y, rest)
}

/// 2 / √π exp(-x²)
pub(super) fn erf(b: &mut Builder, x: Node, _: Node) -> Node {
    let square = b.mul(x, x);
    let exponent = b.neg(square);
    let (scale, bell) = (scalar(b, x, FRAC_2_SQRT_PI), b.map1(ScalarFn::Exp, exponent));
    b.mul(scale, bell)
}

pub(super) fn add(b: &mut Builder, _: &[Node], _: Node, t: Tangents) -> Option<Node> {
    total(b, t[0], t[1])
}

pub(super) fn sub(b: &mut Builder, _: &[Node], _: Node, t: Tangents) -> Option<Node> {
    match (t[0], t[1]) {
        (Some(x), Some(y)) => Some(b.sub(x, y)),
        (x, y) => x.or_else(|| y.map(|y| b.neg(y))),
    }
}

pub(super) fn mul(b: &mut Builder, args: &[Node], _: Node, t: Tangents) -> Option<Node> {
    let left = times(b, args[1], t[0]);
    let right = times(b, args[0], t[1]);
    total(b, left, right)
}

/// (dx - (x / y) dy) / y
pub(super) fn div(b: &mut Builder, args: &[Node], y: Node, t: Tangents) -> Option<Node> {
    let right = times(b, y, t[1]);
    let both = sub(b, args, y, &[t[0], right])?;
    Some(b.div(both, args[1]))
}

/// x - y floor(x / y): dx - floor(x / y) dy
pub(super) fn rem(b: &mut Builder, args: &[Node], y: Node, t: Tangents) -> Option<Node> {
    let right = t[1].map(|t| {
        let quotient = b.div(args[0], args[1]);
        let whole = b.map1(ScalarFn::Floor, quotient);
        b.mul(whole, t)
    });
    sub(b, args, y, &[t[0], right])
}

/// y x^(y-1) dx + x^y log(x) dy; the first is 0 for y = 0, the second 0 for x = 0.
pub(super) fn pow(b: &mut Builder, args: &[Node], value: Node, t: Tangents) -> Option<Node> {
    let (x, y) = (args[0], args[1]);
    let zero = scalar(b, x, 0.0);
    let left = t[0].map(|t| {
        let one = scalar(b, x, 1.0);
        let less = b.sub(y, one);
        let power = b.map2(ScalarFn::Pow, x, less);
        let partial = b.mul(y, power);
        let constant = b.map2(ScalarFn::Eq, y, zero);
        let partial = b.select(constant, zero, partial);
        b.mul(partial, t)
    });
    let right = t[1].map(|t| {
        let log = b.map1(ScalarFn::Log, x);
        let partial = b.mul(value, log);
        let nothing = b.map2(ScalarFn::Eq, x, zero);
        let partial = b.select(nothing, zero, partial);
        b.mul(partial, t)
    });
    total(b, left, right)
}

pub(super) fn max(b: &mut Builder, args: &[Node], _: Node, t: Tangents) -> Option<Node> {
    extremum(b, args[1], args[0], t)
}

pub(super) fn min(b: &mut Builder, args: &[Node], _: Node, t: Tangents) -> Option<Node> {
    extremum(b, args[0], args[1], t)
}

/// The first argument counts where `low < high`, and half at a tie.
fn extremum(b: &mut Builder, low: Node, high: Node, t: Tangents) -> Option<Node> {
    let [zero, half, one] = [0.0, 0.5, 1.0].map(|value| scalar(b, low, value));
    let (first, tie) = (b.map2(ScalarFn::Lt, low, high), b.map2(ScalarFn::Eq, low, high));
    let left = t[0].map(|t| {
        let rest = b.select(tie, half, zero);
        let partial = b.select(first, one, rest);
        b.mul(partial, t)
    });
    let right = t[1].map(|t| {
        let second = b.map2(ScalarFn::Lt, high, low);
        let rest = b.select(tie, half, zero);
        let partial = b.select(second, one, rest);
        b.mul(partial, t)
    });
    total(b, left, right)
}

pub(super) fn select(b: &mut Builder, args: &[Node], y: Node, t: Tangents) -> Option<Node> {
    if !b.dtype(y).is_float() {
        return None;
    }
    let zero = scalar(b, y, 0.0);
    Some(b.select(args[0], t[1].unwrap_or(zero), t[2].unwrap_or(zero)))
}
