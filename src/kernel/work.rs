//! What a kernel does, for people who want to know why it takes so long: operations, and bytes that it cannot help moving.

use std::collections::HashMap;

use cranelift_entity::SecondaryMap;

use super::{Address, Arg, ArgKind, Contract, Coord, Inst, KOp, Kernel, Loop, Range, Size, Stmt, Var};
use crate::tensor::DType;

/// The work of all points of a kernel's grid.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// Operations on floats, as they are executed: functions such as exp count as what they are made of, a multiply-add as two.
    pub flops: f64,
    /// For each argument (scratch too) the elements that are read or written, each once; at most all that its addresses can tell apart,
    /// which may be more than its buffer holds.
    pub touched: SecondaryMap<Arg, f64>,
}

impl Kernel {
    /// Its work under a table of sizes.
    pub fn work(&self, sizes: &[i64]) -> Work {
        let mut count =
            Count { kernel: self, sizes, extents: HashMap::new(), work: Work::default(), seen: Vec::new() };
        let mut times = 1.0;
        for &(var, size) in &self.grid {
            let extent = count.number(size);
            count.extents.insert(var, extent);
            times *= extent;
        }
        count.stmts(&self.body, times);
        count.work
    }
}

struct Count<'a> {
    kernel: &'a Kernel,
    sizes: &'a [i64],
    /// The values that a variable takes, on average.
    extents: HashMap<Var, f64>,
    work: Work,
    /// Addresses that were counted: an element that is loaded and stored at one address counts once.
    seen: Vec<(Arg, Address)>,
}

impl Count<'_> {
    fn number(&self, size: Size) -> f64 {
        size.value(self.sizes).unwrap_or(0).max(0) as f64
    }

    fn range(&self, range: Range) -> f64 {
        match range {
            Range::Full(n) => self.number(n),
            // The last chunk may be shorter.
            Range::Chunk { of, by, index } => {
                let chunks = self.extents.get(&index).copied().unwrap_or(1.0);
                (self.number(of) / chunks.max(1.0)).min(by as f64)
            }
        }
    }

    /// `times` as often as these statements run.
    fn stmts(&mut self, stmts: &[Stmt], times: f64) {
        for stmt in stmts {
            match stmt {
                Stmt::Let(val, inst) => match inst {
                    Inst::Op(op, _) if is_float(self.kernel.vals[*val]) => {
                        self.work.flops += times * operations(*op);
                    }
                    Inst::Load { arg, at } | Inst::LoadIf { arg, at, .. } => self.touch(*arg, at, times),
                    _ => {}
                },
                Stmt::Store { arg, at, .. } => self.touch(*arg, at, times),
                Stmt::Loop(Loop { var, range, accs, body, .. }) => {
                    let extent = self.range(*range);
                    self.extents.insert(*var, extent);
                    let floats = accs.iter().filter(|acc| is_float(self.kernel.vals[acc.term])).count();
                    self.work.flops += times * extent * floats as f64;
                    self.stmts(body, times * extent);
                }
                Stmt::If { then, .. } => self.stmts(then, times),
                Stmt::Contract(contract) => self.contract(contract, times),
                Stmt::Transpose(t) => {
                    let entries = self.range(t.m) * self.range(t.n);
                    self.touch_more(t.from_arg, &t.from, entries);
                    self.touch_more(t.to_arg, &t.to, entries);
                }
            }
        }
    }

    fn contract(&mut self, contract: &Contract, times: f64) {
        let [m, n, k] = [contract.m, contract.n, contract.k].map(|range| self.range(range));
        let m = m * contract.groups.map_or(1.0, |groups| self.range(groups.0));
        let blocks: f64 = contract.blocks.iter().map(|block| self.range(block.0)).product();
        self.work.flops += times * 2.0 * m * n * k * blocks;
        let moves = |stride: Size| self.number(stride) != 0.0;
        let steps = |of: fn(&(Range, Size, Size)) -> Size| -> f64 {
            let taken = contract.blocks.iter().filter(|block| moves(of(block)));
            taken.map(|block| self.range(block.0)).product()
        };
        let (in_a, in_b) = (steps(|block| block.1), steps(|block| block.2));
        self.touch_more(contract.a_arg, &contract.a, m * k * in_a);
        self.touch_more(contract.b_arg, &contract.b, n * k * in_b);
        self.touch_more(contract.c_arg, &contract.c, m * n);
        if let Some((arg, at)) = &contract.bias {
            self.touch_more(*arg, at, n);
        }
    }

    fn touch(&mut self, arg: Arg, at: &Address, times: f64) {
        if self.seen.iter().any(|(other, address)| *other == arg && address == at) {
            return;
        }
        self.seen.push((arg, at.clone()));
        let gathers = at.terms.iter().any(|(coord, _)| matches!(coord, Coord::Val(_)));
        if gathers { self.work.touched[arg] += times } else { self.touch_more(arg, at, 1.0) }
    }

    /// Counts an access of so many elements wherever the variables of the address stand.
    fn touch_more(&mut self, arg: Arg, at: &Address, elements: f64) {
        if matches!(self.kernel.args[arg].kind, ArgKind::Scratch { .. }) {
            return;
        }
        let mut vars: Vec<Var> = Vec::new();
        for &(coord, stride) in &at.terms {
            if let Coord::Var(var) = coord
                && self.number(stride) != 0.0
                && !vars.contains(&var)
            {
                vars.push(var);
            }
        }
        let places: f64 = vars.iter().map(|var| self.extents.get(var).copied().unwrap_or(1.0)).product();
        self.work.touched[arg] += places * elements;
    }
}

fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64)
}

fn operations(op: KOp) -> f64 {
    use KOp::*;
    match op {
        Fma => 2.0,
        Add | Sub | Mul | Div | Neg | Abs | Sqrt | Floor | Ceil | Trunc | Nearest | Max | Min => 1.0,
        _ => 0.0,
    }
}
