//! Plain loops, and what is computed before loops.

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{BlockArg, InstBuilder, Type, Value};

use super::accs::{Shape, flatten, unflatten};
use super::emit::{Emitter, Group, Rep, index};
use crate::kernel::{Inst, Loop, Range, Size, Stmt};

impl<'a> Emitter<'a, '_> {
    pub fn looped(&mut self, l: &'a Loop) {
        let outer = self.scope.clone();
        self.advance_partials(&l.body);
        self.hoist(&l.body);
        let (start, end) = self.bounds(l.range);
        let results = if l.lanes { self.lane_loop(l, start, end) } else { self.plain_loop(l, start, end) };
        self.scope = outer;
        for (acc, result) in l.accs.iter().zip(results) {
            self.scope.vals[index(acc.result)] = result;
        }
    }

    /// Computes before the loop what does not change in it.
    fn hoist(&mut self, stmts: &'a [Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::Let(val, inst) if !self.exists(*val) => {
                    let ready = match inst {
                        Inst::Const(_) | Inst::Size(_) => true,
                        Inst::Op(_, operands) => operands.iter().all(|&v| self.exists(v)),
                        _ => false,
                    };
                    if ready {
                        (0..self.groups()).for_each(|group| self.define(*val, inst, group));
                    }
                }
                Stmt::Loop(l) => self.hoist(&l.body),
                Stmt::If { then, .. } => self.hoist(then),
                _ => {}
            }
        }
    }

    fn plain_loop(&mut self, l: &'a Loop, start: Value, end: Value) -> Vec<Rep> {
        // Only here inside of a lane loop do accumulators have lanes.
        let shapes: Vec<Shape> = l.accs.iter().map(|acc| self.shape(acc)).collect();
        let inits: Vec<Vec<Group>> =
            l.accs.iter().zip(&shapes).map(|(acc, &shape)| self.parts(acc.init, shape)).collect();
        let strides = self.counted_strides(l);
        let steps: Vec<Value> =
            strides.iter().map(|&(factor, element)| self.size_bytes(factor, element)).collect();

        let [body, done] = [(); 2].map(|()| self.b.create_block());
        let acc_types: Vec<Type> = shapes.iter().flat_map(|shape| shape.types()).collect();
        let results = self.params(done, &acc_types);
        let mut first = vec![start];
        first.extend(steps.iter().map(|&step| self.b.ins().imul(start, step)).collect::<Vec<_>>());
        let flat = flatten(&shapes, &inits);
        first.extend(&flat);
        if certainly_runs(l.range) {
            self.jump(body, &first);
        } else {
            let some = self.less(start, end);
            self.branch(some, (body, &first), (done, &flat));
        }

        let mut types = vec![I64; 1 + steps.len()];
        types.extend(&acc_types);
        let params = self.params(body, &types);
        self.b.switch_to_block(body);
        self.scope.vars[l.var] = Some(params[0]);
        for (&(factor, element), &value) in strides.iter().zip(&params[1..]) {
            self.scope.products.insert((l.var, factor, element), value);
        }
        let old = unflatten(&shapes, &params[1 + steps.len()..]);
        self.stmts(&l.body);
        let new = self.accumulate(l, &shapes, &old);
        let next = self.b.ins().iadd_imm_s(params[0], 1);
        let mut again = vec![next];
        for (i, &step) in steps.iter().enumerate() {
            again.push(self.b.ins().iadd(params[1 + i], step));
        }
        let flat = flatten(&shapes, &new);
        again.extend(&flat);
        let more = self.less(next, end);
        self.branch(more, (body, &again), (done, &flat));
        self.b.switch_to_block(done);
        let results = unflatten(&shapes, &results);
        shapes.iter().zip(results).map(|(shape, groups)| shape.rep(&groups)).collect()
    }

    pub fn branch(
        &mut self,
        cond: Value,
        (then, then_args): (cranelift_codegen::ir::Block, &[Value]),
        (other, other_args): (cranelift_codegen::ir::Block, &[Value]),
    ) {
        let args = |values: &[Value]| values.iter().map(|&v| v.into()).collect::<Vec<BlockArg>>();
        let (then_args, other_args) = (args(then_args), args(other_args));
        self.b.ins().brif(cond, then, &then_args, other, &other_args);
    }
}

fn certainly_runs(range: Range) -> bool {
    matches!(range, Range::Full(Size::Const(n)) if n > 0)
}
