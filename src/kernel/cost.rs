//! How much work a point of a kernel's grid is, roughly: what decides how a grid is cut into tasks. No result depends on it.

use super::{Contract, Loop, Range, Size, Stmt};

/// Nanoseconds of work that one task should have at least: threads take tasks in a fraction of it.
pub const TASK: f64 = 4_000.0;
/// A kernel of less work, in nanoseconds, stays on one thread.
pub const SERIAL: f64 = 10_000.0;

/// Arithmetic in which a cost is computed: numbers, or instructions that will compute them.
pub trait Estimate {
    type Number: Clone;

    fn constant(&mut self, value: f64) -> Self::Number;
    /// A size, at least 0 and at most `limit`.
    fn size(&mut self, size: Size, limit: Option<i64>) -> Self::Number;
    fn sum(&mut self, a: Self::Number, b: Self::Number) -> Self::Number;
    fn product(&mut self, a: Self::Number, b: Self::Number) -> Self::Number;
}

/// Nanoseconds that one run of these statements takes.
pub fn cost<E: Estimate>(stmts: &[Stmt], e: &mut E) -> E::Number {
    weigh(stmts, 1.0, e)
}

/// `share` is 1 outside of lane loops, less inside.
fn weigh<E: Estimate>(stmts: &[Stmt], share: f64, e: &mut E) -> E::Number {
    // Of a statement on one number, on one lane, and of a multiply-add of a contraction.
    const SINGLE: f64 = 0.3;
    const LANE: f64 = 0.03;
    const MULTIPLY_ADD: f64 = 0.02;
    let mut plain = 0.0;
    let mut total: Option<E::Number> = None;
    let mut add = |e: &mut E, more: E::Number| {
        total = Some(match total.take() {
            Some(total) => e.sum(total, more),
            None => more,
        });
    };
    for stmt in stmts {
        match stmt {
            Stmt::Let(..) | Stmt::Store { .. } => plain += share * SINGLE,
            Stmt::If { then, .. } => {
                let then = weigh(then, share, e);
                add(e, then);
            }
            Stmt::Loop(Loop { range, lanes, body, .. }) => {
                let turns = extent(*range, e);
                let body = weigh(body, if *lanes { share * LANE / SINGLE } else { share }, e);
                let all = e.product(turns, body);
                add(e, all);
            }
            Stmt::Contract(contract) => {
                let Contract { m, n, k, blocks, groups, .. } = &**contract;
                let mut work = extent(*m, e);
                let others = [extent(*n, e), extent(*k, e), e.constant(MULTIPLY_ADD)];
                let blocks: Vec<E::Number> =
                    blocks.iter().chain(groups).map(|block| extent(block.0, e)).collect();
                for factor in others.into_iter().chain(blocks) {
                    work = e.product(work, factor);
                }
                add(e, work);
                plain += 20.0;
            }
            Stmt::Transpose(transpose) => {
                let (m, n, each) =
                    (extent(transpose.m, e), extent(transpose.n, e), e.constant(10.0 * MULTIPLY_ADD));
                let all = e.product(m, n);
                let all = e.product(all, each);
                add(e, all);
                plain += 20.0;
            }
        }
    }
    let plain = e.constant(plain);
    match total {
        Some(total) => e.sum(total, plain),
        None => plain,
    }
}

fn extent<E: Estimate>(range: Range, e: &mut E) -> E::Number {
    match range {
        Range::Full(n) => e.size(n, None),
        Range::Chunk { of, by, .. } => e.size(of, Some(by)),
    }
}
