//! Drops the instructions of a kernel whose values nothing uses, such as what constant folding leaves behind.

use cranelift_entity::EntitySet;

use super::{Address, Coord, Inst, Stmt, Val};

/// Removes unused instructions from a list of statements that ends a kernel.
pub fn prune(stmts: &mut Vec<Stmt>) {
    backwards(stmts, &mut EntitySet::new());
}

fn backwards(stmts: &mut Vec<Stmt>, used: &mut EntitySet<Val>) {
    let mut kept = Vec::with_capacity(stmts.len());
    for mut stmt in stmts.drain(..).rev() {
        match &mut stmt {
            Stmt::Let(val, _) if !used.contains(*val) => continue,
            Stmt::Let(_, inst) => match inst {
                Inst::Const(_) | Inst::Size(_) | Inst::Index(_) => {}
                Inst::Load { at, .. } => use_address(at, used),
                Inst::LoadIf { at, mask, .. } => {
                    used.insert(*mask);
                    use_address(at, used);
                }
                Inst::Op(_, operands) => operands.iter().for_each(|&v| {
                    used.insert(v);
                }),
            },
            Stmt::Store { at, value, .. } => {
                used.insert(*value);
                use_address(at, used);
            }
            Stmt::Loop(l) => {
                for acc in &l.accs {
                    used.insert(acc.init);
                    used.insert(acc.term);
                }
                backwards(&mut l.body, used);
            }
            Stmt::If { cond, then } => {
                used.insert(*cond);
                backwards(then, used);
            }
            Stmt::Contract(c) => {
                let bias = c.bias.as_ref().map(|(_, at)| at);
                [&c.a, &c.b, &c.c].into_iter().chain(bias).for_each(|at| use_address(at, used));
            }
            Stmt::Transpose(t) => [&t.from, &t.to].into_iter().for_each(|at| use_address(at, used)),
        }
        kept.push(stmt);
    }
    kept.reverse();
    *stmts = kept;
}

fn use_address(at: &Address, used: &mut EntitySet<Val>) {
    for (coord, _) in &at.terms {
        if let Coord::Val(val) = coord {
            used.insert(*val);
        }
    }
}
