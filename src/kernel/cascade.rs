//! Long sums in blocks: the partial sums of a block are joined before the next one begins, so that a number meets some hundred roundings
//! instead of thousands. **Invariant:** the cuts are at constant places, so the order of a sum is the same on every machine and at any number of threads.

use super::{Acc, AccOp, Inst, Kernel, Loop, Range, Size, Stmt};
use crate::axes::Dim;

/// Entries of a block: 256 turns of a lane loop.
pub const BLOCK: i64 = 4096;

/// Cuts the loops of a kernel that add up more than a block: those of known length, and all where the kernel computes one point, such as the
/// sum over a batch. A kernel for many short rows whose length is not known keeps one loop for each.
pub fn cascade(kernel: &mut Kernel) {
    let alone = kernel.grid.is_empty();
    let body = std::mem::take(&mut kernel.body);
    kernel.body = cut_all(kernel, body, alone);
}

fn cut_all(kernel: &mut Kernel, stmts: Vec<Stmt>, alone: bool) -> Vec<Stmt> {
    let cut = |stmt: Stmt| match stmt {
        Stmt::Loop(l) => {
            // Inside of a lane loop, sums run along columns.
            let body = if l.lanes { l.body } else { cut_all(kernel, l.body, false) };
            Stmt::Loop(cut(kernel, Loop { body, ..l }, alone))
        }
        Stmt::If { cond, then } => Stmt::If { cond, then: cut_all(kernel, then, false) },
        other => other,
    };
    stmts.into_iter().map(cut).collect()
}

/// The loop, or a loop over its blocks.
fn cut(kernel: &mut Kernel, l: Loop, alone: bool) -> Loop {
    let sums = l.accs.iter().any(|acc| acc.op == AccOp::Sum && kernel.vals[acc.init].is_float());
    let blocks = match l.range {
        Range::Full(Size::Const(n)) if sums && n > BLOCK => Size::Const((n + BLOCK - 1) / BLOCK),
        Range::Full(Size::Sym(id)) if sums && alone => {
            let above = kernel.sizes[id].add(&Dim::constant(BLOCK - 1));
            match above.and_then(|above| above.div(&Dim::constant(BLOCK))) {
                Ok(blocks) => Size::Sym(kernel.sizes.push(blocks)),
                Err(_) => return l,
            }
        }
        _ => return l,
    };
    let Range::Full(of) = l.range else { return l };
    let var = kernel.vars.push(());
    let (mut outer, mut inner, mut body) = (Vec::new(), Vec::new(), Vec::new());
    for acc in l.accs {
        let dtype = kernel.vals[acc.init];
        let (neutral, term) = (kernel.vals.push(dtype), kernel.vals.push(dtype));
        let first = acc.op.neutral(dtype).expect("a verified accumulator has a neutral value");
        body.push(Stmt::Let(neutral, Inst::Const(first)));
        inner.push(Acc { result: term, init: neutral, ..acc });
        outer.push(Acc { term, ..acc });
    }
    let range = Range::Chunk { of, by: BLOCK, index: var };
    body.push(Stmt::Loop(Loop { range, accs: inner, ..l }));
    Loop { var, range: Range::Full(blocks), lanes: false, accs: outer, body }
}
