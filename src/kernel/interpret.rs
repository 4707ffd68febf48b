//! The reference interpreter of kernels: slow, obvious, and the oracle of code generators and of lowering.
//!
//! It follows the order of reduction of [`Acc`] and [`Contract`] to the bit, given one-rounding multiply-adds.

use std::collections::{BTreeMap, HashMap};

use cranelift_entity::{EntityRef, SecondaryMap};

use super::eval::{combine, eval_op, flushed, replaces};
use super::*;
use crate::axes::DimVar;
use crate::tensor::{DType, sort_row};

/// Why a kernel cannot be run: an address beyond its buffer, a size that has no value.
pub type Fault = String;

/// Runs a whole program; `buffers` holds the bytes of each of its buffers.
pub fn run_program(
    program: &Program,
    dims: &BTreeMap<DimVar, i64>,
    buffers: &mut [Vec<u8>],
) -> Result<(), Fault> {
    let mut turns = HashMap::new();
    let steps = program.prepared.iter().chain(&program.steps);
    steps.into_iter().try_for_each(|step| run_step(program, dims, buffers, &mut turns, step))
}

fn run_step(
    program: &Program,
    dims: &BTreeMap<DimVar, i64>,
    buffers: &mut [Vec<u8>],
    turns: &mut HashMap<StepVar, i64>,
    step: &Step,
) -> Result<(), Fault> {
    let number = |dim: &crate::axes::Dim| dim.eval(dims).map_err(|e| e.to_string());
    let place = |r: &BufferRef, turns: &HashMap<StepVar, i64>| -> Result<(usize, usize), Fault> {
        let mut offset = number(&r.offset)?;
        for (turn, stride) in &r.turns {
            offset += turns.get(turn).ok_or("a turn outside of its loop")? * number(stride)?;
        }
        let bytes = program.buffers[r.buffer].dtype.size();
        Ok((r.buffer.index(), usize::try_from(offset).map_err(|e| e.to_string())? * bytes))
    };
    match step {
        Step::Run { kernel, args } => {
            let kernel = &program.kernels[*kernel];
            let sizes = kernel.sizes.values().map(number).collect::<Result<Vec<i64>, Fault>>()?;
            let places = args.iter().map(|r| place(r, turns)).collect::<Result<Vec<_>, Fault>>()?;
            let points = kernel.grid_points(&sizes).ok_or("the grid is too large")?;
            run_kernel(kernel, buffers, &places, &sizes, 0, points)
                .map_err(|e| format!("{}: {e}", kernel.name))
        }
        Step::Loop { var, count, reverse, body } => {
            let count = number(count)?;
            for turn in 0..count {
                turns.insert(*var, if *reverse { count - 1 - turn } else { turn });
                body.iter().try_for_each(|step| run_step(program, dims, buffers, turns, step))?;
            }
            turns.remove(var);
            Ok(())
        }
        Step::Sort { what, descending, from, to, rows, len } => {
            let dtypes = [from, to].map(|r| program.buffers[r.buffer].dtype);
            let ((from, mut from_at), (to, mut to_at)) = (place(from, turns)?, place(to, turns)?);
            let (rows, len) = (number(rows)?, number(len)? as usize);
            let [read, written] = dtypes.map(|dtype| len * dtype.size());
            for _ in 0..rows {
                let row = buffers[from].get(from_at..from_at + read).ok_or("sorts beyond a buffer")?.to_vec();
                let target = buffers[to].get_mut(to_at..to_at + written).ok_or("sorts beyond a buffer")?;
                sort_row(*what, *descending, dtypes[0], &row, target);
                (from_at, to_at) = (from_at + read, to_at + written);
            }
            Ok(())
        }
        Step::Copy { from, to, dtype, len } => {
            let ((from, from_at), (to, to_at)) = (place(from, turns)?, place(to, turns)?);
            let bytes = number(len)? as usize * dtype.size();
            let data = buffers[from].get(from_at..from_at + bytes).ok_or("copies beyond a buffer")?.to_vec();
            buffers[to].get_mut(to_at..to_at + bytes).ok_or("copies beyond a buffer")?.copy_from_slice(&data);
            Ok(())
        }
    }
}

/// Runs the points `begin..end` of a kernel's grid. `args` are its buffer arguments: an index into `buffers` and the byte to start at.
pub fn run_kernel(
    kernel: &Kernel,
    buffers: &mut [Vec<u8>],
    args: &[(usize, usize)],
    sizes: &[i64],
    begin: i64,
    end: i64,
) -> Result<(), Fault> {
    let mut machine = Machine {
        kernel,
        buffers,
        places: SecondaryMap::new(),
        scratch: HashMap::new(),
        sizes,
        flush: kernel.flushes(),
        vals: vec![None; kernel.vals.len()],
        vars: vec![0; kernel.vars.len()],
    };
    let mut args = args.iter();
    for (arg, decl) in &kernel.args {
        if let ArgKind::Scratch { len } = decl.kind {
            let bytes = len.value(sizes).ok_or("no size")? as usize * decl.dtype.size();
            // Nothing may rely on what scratch holds at first.
            machine.scratch.insert(arg, vec![0xa5; bytes]);
        } else {
            machine.places[arg] = *args.next().ok_or("too few arguments")?;
        }
    }
    for point in begin..end {
        let mut rest = point;
        for &(var, extent) in kernel.grid.iter().rev() {
            let extent = machine.size(extent)?;
            machine.vars[var.index()] = rest % extent;
            rest /= extent;
        }
        machine.body(&kernel.body)?;
    }
    Ok(())
}

struct Machine<'a> {
    kernel: &'a Kernel,
    buffers: &'a mut [Vec<u8>],
    places: SecondaryMap<Arg, (usize, usize)>,
    scratch: HashMap<Arg, Vec<u8>>,
    sizes: &'a [i64],
    flush: bool,
    vals: Vec<Option<Const>>,
    vars: Vec<i64>,
}

impl Machine<'_> {
    fn body(&mut self, stmts: &[Stmt]) -> Result<(), Fault> {
        for stmt in stmts {
            match stmt {
                Stmt::Let(val, inst) => {
                    let value = self.inst(inst)?;
                    self.vals[val.index()] = Some(value);
                }
                Stmt::Store { arg, at, value } => {
                    let (at, value) = (self.address(at)?, self.val(*value)?);
                    self.write(*arg, at, value)?;
                }
                Stmt::Loop(l) => self.looped(l)?,
                Stmt::If { cond, then } => {
                    if self.val(*cond)? == Const::Bool(true) {
                        self.body(then)?;
                    }
                }
                Stmt::Contract(contract) => self.contract(contract)?,
                Stmt::Transpose(transpose) => self.transpose(transpose)?,
            }
        }
        Ok(())
    }

    fn looped(&mut self, l: &Loop) -> Result<(), Fault> {
        let (start, end) = self.range(l.range)?;
        let lanes = if l.lanes { LANES as usize } else { 1 };
        // One state for each lane; a plain loop has one, which starts as the initial value.
        let first = |machine: &Self, acc: &Acc| {
            let init = machine.val(acc.init)?;
            Ok(if l.lanes { acc.op.neutral(init.dtype()).ok_or("no neutral value")? } else { init })
        };
        let fresh = l.accs.iter().map(|acc| first(self, acc)).collect::<Result<Vec<Const>, Fault>>()?;
        let mut states = vec![fresh; lanes];
        for i in start..end {
            self.vars[l.var.index()] = i;
            self.body(&l.body)?;
            let terms = l.accs.iter().map(|acc| self.val(acc.term)).collect::<Result<Vec<Const>, Fault>>()?;
            let state = &mut states[(i - start) as usize % lanes];
            *state = self.turn(&l.accs, state, &terms)?;
        }
        let mut left = lanes;
        while left > 1 {
            left /= 2;
            for lane in 0..left {
                states[lane] = self.turn(&l.accs, &states[lane], &states[lane + left])?;
            }
        }
        let mut total = states.swap_remove(0);
        if l.lanes {
            let inits = l.accs.iter().map(|acc| self.val(acc.init)).collect::<Result<Vec<Const>, Fault>>()?;
            total = self.turn(&l.accs, &total, &inits)?;
        }
        for (acc, value) in l.accs.iter().zip(total) {
            self.vals[acc.result.index()] = Some(value);
        }
        Ok(())
    }

    fn turn(&self, accs: &[Acc], state: &[Const], terms: &[Const]) -> Result<Vec<Const>, Fault> {
        let mut next = Vec::with_capacity(accs.len());
        for (i, acc) in accs.iter().enumerate() {
            next.push(match (acc.op, state[i], terms[i]) {
                (AccOp::ArgMax | AccOp::ArgMin, Const::I32(at), Const::I32(index)) => {
                    let largest = acc.op == AccOp::ArgMax;
                    let replaced = replaces(largest, state[i - 1], at, terms[i - 1], index, self.flush);
                    Const::I32(if replaced { index } else { at })
                }
                (op, state, term) => combine(op, state, term, self.flush),
            });
        }
        Ok(next)
    }

    fn inst(&self, inst: &Inst) -> Result<Const, Fault> {
        Ok(match inst {
            Inst::Const(c) => *c,
            Inst::Size(size) => Const::I64(self.size(*size)?),
            Inst::Index(var) => Const::I64(self.vars[var.index()]),
            Inst::Load { arg, at } => self.read(*arg, self.address(at)?)?,
            Inst::LoadIf { arg, at, mask } => {
                if self.val(*mask)? == Const::Bool(true) {
                    self.read(*arg, self.address(at)?)?
                } else {
                    Const::number(loaded(self.kernel.args[*arg].dtype), 0.0).ok_or("no such dtype")?
                }
            }
            Inst::Op(op, operands) => {
                let operands = operands.iter().map(|&v| self.val(v)).collect::<Result<Vec<_>, Fault>>()?;
                eval_op(*op, &operands, self.flush)
            }
        })
    }

    fn contract(&mut self, c: &Contract) -> Result<(), Fault> {
        let ((m0, m1), (n0, n1)) = (self.range(c.m)?, self.range(c.n)?);
        let mut offsets = vec![(0i64, 0i64)];
        for &(extent, a, b) in &c.blocks {
            let ((q0, q1), a, b) = (self.range(extent)?, self.size(a)?, self.size(b)?);
            let step = |&(x, y): &(i64, i64)| (q0..q1).map(move |q| (x + q * a, y + q * b));
            offsets = offsets.iter().flat_map(step).collect();
        }
        let (a, b, to) = (self.address(&c.a)?, self.address(&c.b)?, self.address(&c.c)?);
        let [a_m, a_k, b_k, b_n, c_m] = [c.a_m, c.a_k, c.b_k, c.b_n, c.c_m].map(|size| self.size(size));
        let (a_m, a_k, b_k, b_n, c_m, (k0, k1)) = (a_m?, a_k?, b_k?, b_n?, c_m?, self.range(c.k)?);
        let ((g0, g1), a_g, c_g) = match c.groups {
            Some((range, a, c)) => (self.range(range)?, self.size(a)?, self.size(c)?),
            None => ((0, 1), 0, 0),
        };
        for (g, m) in (g0..g1).flat_map(|g| (m0..m1).map(move |m| (g, m))) {
            for n in n0..n1 {
                let place = to + g * c_g + m * c_m + n;
                let mut sum = match &c.bias {
                    _ if c.accumulate => self.read(c.c_arg, place)?,
                    Some((arg, at)) => self.read(*arg, self.address(at)? + n)?,
                    None => Const::F32(0.0),
                };
                for &(qa, qb) in &offsets {
                    for k in k0..k1 {
                        let x = self.read(c.a_arg, a + g * a_g + m * a_m + k * a_k + qa)?;
                        let y = self.read(c.b_arg, b + k * b_k + n * b_n + qb)?;
                        sum = eval_op(KOp::Fma, &[x, y, sum], self.flush);
                    }
                }
                if c.relu && eval_op(KOp::Lt, &[sum, Const::F32(0.0)], self.flush) == Const::Bool(true) {
                    sum = Const::F32(0.0);
                }
                self.write(c.c_arg, place, sum)?;
            }
        }
        Ok(())
    }

    fn transpose(&mut self, t: &Transpose) -> Result<(), Fault> {
        let ((m0, m1), (n0, n1)) = (self.range(t.m)?, self.range(t.n)?);
        let (from, to) = (self.address(&t.from)?, self.address(&t.to)?);
        let (from_m, from_n, to_m) = (self.size(t.from_m)?, self.size(t.from_n)?, self.size(t.to_m)?);
        for m in m0..m1 {
            for n in n0..n1 {
                let entry = self.read(t.from_arg, from + m * from_m + n * from_n)?;
                self.write(t.to_arg, to + m * to_m + n, entry)?;
            }
        }
        Ok(())
    }

    fn range(&self, range: Range) -> Result<(i64, i64), Fault> {
        Ok(match range {
            Range::Full(n) => (0, self.size(n)?),
            Range::Chunk { of, by, index } => {
                let start = self.vars[index.index()] * by;
                (start, self.size(of)?.min(start + by))
            }
        })
    }

    fn address(&self, at: &Address) -> Result<i64, Fault> {
        let mut sum = at.base.map_or(Ok(0), |base| self.size(base))?;
        for &(coord, factor) in &at.terms {
            let index = match coord {
                Coord::Var(var) => self.vars[var.index()],
                Coord::Val(val) => match self.val(val)? {
                    Const::I32(x) => i64::from(x),
                    Const::I64(x) => x,
                    other => return Err(format!("{other} as an index")),
                },
            };
            sum = sum.wrapping_add(index.wrapping_mul(self.size(factor)?));
        }
        Ok(sum)
    }

    fn size(&self, size: Size) -> Result<i64, Fault> {
        size.value(self.sizes).ok_or_else(|| format!("{size} has no value"))
    }

    fn val(&self, val: Val) -> Result<Const, Fault> {
        self.vals[val.index()].ok_or_else(|| format!("{val} has no value"))
    }

    fn read(&self, arg: Arg, at: i64) -> Result<Const, Fault> {
        let dtype = self.kernel.args[arg].dtype;
        let (bytes, base) = match self.scratch.get(&arg) {
            Some(bytes) => (bytes, 0),
            None => (&self.buffers[self.places[arg].0], self.places[arg].1),
        };
        let found = place(base, at, dtype).and_then(|range| bytes.get(range));
        let found = found.ok_or_else(|| format!("reads {arg}[{at}], beyond its end"))?;
        Ok(decode(dtype, found))
    }

    fn write(&mut self, arg: Arg, at: i64, value: Const) -> Result<(), Fault> {
        let (bytes, base) = match self.scratch.get_mut(&arg) {
            Some(bytes) => (bytes, 0),
            None => (&mut self.buffers[self.places[arg].0], self.places[arg].1),
        };
        let dtype = self.kernel.args[arg].dtype;
        let found = place(base, at, dtype).and_then(|range| bytes.get_mut(range));
        let found = found.ok_or_else(|| format!("writes {arg}[{at}], beyond its end"))?;
        found.copy_from_slice(&value.bits().1.to_le_bytes()[..found.len()]);
        Ok(())
    }
}

fn place(base: usize, at: i64, dtype: DType) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(at).ok()?.checked_mul(dtype.size())?.checked_add(base)?;
    Some(start..start.checked_add(dtype.size())?)
}

fn decode(dtype: DType, bytes: &[u8]) -> Const {
    let mut raw = [0; 8];
    raw[..bytes.len()].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(raw);
    match dtype {
        DType::F32 => Const::F32(f32::from_bits(bits as u32)),
        DType::F64 => Const::F64(f64::from_bits(bits)),
        DType::I32 | DType::BF16 | DType::F16 => Const::I32(bits as i32),
        DType::I64 => Const::I64(bits as i64),
        DType::U8 => Const::U8(bits as u8),
        _ => Const::Bool(bits != 0),
    }
}

/// Evaluates a kernel without loops or buffers on some numbers: the values of `results` where `inputs` have these values.
pub fn evaluate(kernel: &Kernel, inputs: &[(Val, Const)], results: &[Val]) -> Result<Vec<Const>, Fault> {
    let mut machine = Machine {
        kernel,
        buffers: &mut [],
        places: SecondaryMap::new(),
        scratch: HashMap::new(),
        sizes: &[],
        flush: kernel.flushes(),
        vals: vec![None; kernel.vals.len()],
        vars: vec![0; kernel.vars.len()],
    };
    for &(val, value) in inputs {
        machine.vals[val.index()] = Some(if machine.flush { flushed(value) } else { value });
    }
    for stmt in &kernel.body {
        if let Stmt::Let(val, inst) = stmt
            && !inputs.iter().any(|(input, _)| input == val)
        {
            let value = machine.inst(inst)?;
            machine.vals[val.index()] = Some(value);
        }
    }
    results.iter().map(|&val| machine.val(val)).collect()
}
