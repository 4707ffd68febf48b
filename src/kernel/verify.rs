//! What every kernel obeys: values are defined once and before their use, dtypes fit, lane loops keep their rules, stores go to what may
//! be written. Code generators rely on it and check nothing again.

use cranelift_entity::{EntityRef, EntitySet};
use thiserror::Error;

use super::*;
use crate::base::Name;
use crate::tensor::{DType, Sorted, sorts};

/// A kernel that breaks a rule: a defect of the compiler, never of the user's program.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("kernel `{kernel}`: {message}")]
pub struct Defect {
    pub kernel: Name,
    pub message: String,
}

/// Checks one kernel.
pub fn verify(kernel: &Kernel) -> Result<(), Defect> {
    let mut checker = Checker::new(kernel);
    checker.kernel().map_err(|message| Defect { kernel: kernel.name.clone(), message })
}

/// Checks the kernels of a program and what its steps hand them.
pub fn verify_program(program: &Program) -> Result<(), Defect> {
    program.kernels.values().try_for_each(verify)?;
    let mut turns = EntitySet::new();
    program.prepared.iter().chain(&program.steps).try_for_each(|step| verify_step(program, step, &mut turns))
}

fn verify_step(program: &Program, step: &Step, turns: &mut EntitySet<StepVar>) -> Result<(), Defect> {
    let defect = |kernel: &Name, message: String| Err(Defect { kernel: kernel.clone(), message });
    let reference = |turns: &EntitySet<StepVar>, kernel: &Name, r: &BufferRef| {
        if !program.buffers.is_valid(r.buffer) {
            return defect(kernel, format!("{} is no buffer", r.buffer));
        }
        match r.turns.iter().find(|(turn, _)| !turns.contains(*turn)) {
            Some((turn, _)) => defect(kernel, format!("{turn} is used outside of its loop")),
            None => Ok(()),
        }
    };
    match step {
        Step::Run { kernel, args } => {
            let kernel = &program.kernels[*kernel];
            let wanted: Vec<&ArgDecl> = kernel.pointers().map(|(_, decl)| decl).collect();
            if wanted.len() != args.len() {
                return defect(
                    &kernel.name,
                    format!("{} buffers for {} arguments", args.len(), wanted.len()),
                );
            }
            for (want, arg) in wanted.iter().zip(args) {
                reference(turns, &kernel.name, arg)?;
                let buffer = &program.buffers[arg.buffer];
                if buffer.dtype != want.dtype {
                    return defect(
                        &kernel.name,
                        format!("{} is {}, the argument {}", arg.buffer, buffer.dtype, want.dtype),
                    );
                }
                if want.kind == ArgKind::Write && matches!(buffer.kind, BufferKind::Input(_)) {
                    return defect(&kernel.name, format!("writes the input {}", arg.buffer));
                }
            }
            Ok(())
        }
        Step::Loop { var, body, .. } => {
            if !turns.insert(*var) {
                return defect(&"loop".into(), format!("{var} counts two loops"));
            }
            body.iter().try_for_each(|step| verify_step(program, step, turns))?;
            turns.remove(*var);
            Ok(())
        }
        Step::Sort { what, from, to, .. } => {
            let name: Name = "sort".into();
            reference(turns, &name, from)?;
            reference(turns, &name, to)?;
            let [have, made] = [from, to].map(|r| program.buffers[r.buffer].dtype);
            let want = if *what == Sorted::Values { have } else { DType::I32 };
            if !sorts(have) || made != want {
                return defect(&name, format!("{} of {have} into {made}", what.name()));
            }
            if matches!(program.buffers[to.buffer].kind, BufferKind::Input(_)) || from.buffer == to.buffer {
                return defect(&name, format!("writes {}", to.buffer));
            }
            Ok(())
        }
        Step::Copy { from, to, dtype, .. } => {
            let copy: Name = "copy".into();
            reference(turns, &copy, from)?;
            reference(turns, &copy, to)?;
            let dtypes = [program.buffers[from.buffer].dtype, program.buffers[to.buffer].dtype];
            if dtypes != [*dtype; 2] {
                return defect(&copy, format!("{} to {} as {dtype}", dtypes[0], dtypes[1]));
            }
            if matches!(program.buffers[to.buffer].kind, BufferKind::Input(_)) {
                return defect(&copy, format!("writes the input {}", to.buffer));
            }
            Ok(())
        }
    }
}

type Check<T = ()> = Result<T, String>;

struct Checker<'a> {
    kernel: &'a Kernel,
    /// Every value and variable that was ever defined, and those in scope.
    defined: EntitySet<Val>,
    vals: EntitySet<Val>,
    defined_vars: EntitySet<Var>,
    vars: EntitySet<Var>,
    /// Values that differ from lane to lane.
    varying: EntitySet<Val>,
    lane_var: Option<Var>,
}

impl<'a> Checker<'a> {
    fn new(kernel: &'a Kernel) -> Self {
        Checker {
            kernel,
            defined: EntitySet::new(),
            vals: EntitySet::new(),
            defined_vars: EntitySet::new(),
            vars: EntitySet::new(),
            varying: EntitySet::new(),
            lane_var: None,
        }
    }

    fn kernel(&mut self) -> Check {
        for decl in self.kernel.args.values() {
            if let ArgKind::Scratch { len } = decl.kind {
                self.size(len)?;
            }
        }
        for &(var, extent) in &self.kernel.grid {
            self.size(extent)?;
            self.define_var(var)?;
        }
        self.body(&self.kernel.body)
    }

    /// Checks a list of statements, whose values stay in scope until the caller ends it.
    fn body(&mut self, stmts: &'a [Stmt]) -> Check {
        for stmt in stmts {
            match stmt {
                Stmt::Let(val, inst) => {
                    let (dtype, varying) = self.inst(inst)?;
                    self.define(*val, dtype, varying)?;
                }
                Stmt::Store { arg, at, value } => {
                    self.written(*arg)?;
                    self.address(*arg, at)?;
                    let dtype = self.used(*value)?;
                    let want = loaded(self.kernel.args[*arg].dtype);
                    require(dtype == want, || format!("stores {value} : {dtype} to {arg} : {want}"))?;
                }
                Stmt::Loop(l) => self.looped(l)?,
                Stmt::If { cond, then } => {
                    let dtype = self.used(*cond)?;
                    require(dtype == DType::Bool, || format!("the condition {cond} is {dtype}"))?;
                    require(!self.varying.contains(*cond), || {
                        format!("the condition {cond} varies over lanes")
                    })?;
                    let before = self.vals.clone();
                    self.body(then)?;
                    self.vals = before;
                }
                Stmt::Contract(c) => self.contract(c)?,
                Stmt::Transpose(t) => self.transpose(t)?,
            }
        }
        Ok(())
    }

    fn looped(&mut self, l: &'a Loop) -> Check {
        self.range(&l.range)?;
        if l.lanes {
            require(self.lane_var.is_none(), || format!("the lane loop of {} stands in a lane loop", l.var))?;
            if let Range::Chunk { by, .. } = l.range {
                require(by % LANES == 0, || format!("the lane loop of {} runs over chunks of {by}", l.var))?;
            }
            self.lane_var = Some(l.var);
        }
        for acc in &l.accs {
            self.used(acc.init)?;
        }
        self.define_var(l.var)?;
        // The terms are values of the body, so they are checked before its scope is left.
        let before = self.vals.clone();
        self.body(&l.body)?;
        for (i, acc) in l.accs.iter().enumerate() {
            let (term, init) = (self.used(acc.term)?, self.kernel.vals[acc.init]);
            require(term == init, || format!("{} accumulates {term} from {init}", acc.result))?;
            require(acc.op.neutral(init).is_some(), || format!("{:?} of {init}", acc.op))?;
            let partner = match acc.op {
                AccOp::ArgMax => Some(AccOp::Max),
                AccOp::ArgMin => Some(AccOp::Min),
                _ => None,
            };
            let paired = i > 0 && partner == Some(l.accs[i - 1].op);
            require(partner.is_none() || paired, || format!("{} has no partner before it", acc.result))?;
        }
        self.vals = before;
        self.vars.remove(l.var);
        let inside_lanes = self.lane_var.is_some() && !l.lanes;
        if l.lanes {
            self.lane_var = None;
        }
        for acc in &l.accs {
            let varying =
                inside_lanes && (self.varying.contains(acc.term) || self.varying.contains(acc.init));
            self.define(acc.result, self.kernel.vals[acc.init], varying)?;
        }
        // An index accumulator follows its partner from lane to lane.
        for pair in l.accs.windows(2) {
            let indexed = matches!(pair[1].op, AccOp::ArgMax | AccOp::ArgMin);
            if indexed && self.varying.contains(pair[0].result) {
                self.varying.insert(pair[1].result);
            }
        }
        Ok(())
    }

    fn inst(&mut self, inst: &Inst) -> Check<(DType, bool)> {
        Ok(match inst {
            Inst::Const(c) => (c.dtype(), false),
            Inst::Size(size) => {
                self.size(*size)?;
                (DType::I64, false)
            }
            Inst::Index(var) => {
                self.var(*var)?;
                (DType::I64, self.lane_var == Some(*var))
            }
            Inst::Load { arg, at } => (loaded(self.arg(*arg)?.dtype), self.address(*arg, at)?),
            Inst::LoadIf { arg, at, mask } => {
                let dtype = self.used(*mask)?;
                require(dtype == DType::Bool, || format!("the mask {mask} is {dtype}"))?;
                let varying = self.address(*arg, at)? || self.varying.contains(*mask);
                (loaded(self.arg(*arg)?.dtype), varying)
            }
            Inst::Op(op, operands) => {
                let dtypes = operands.iter().map(|&v| self.used(v)).collect::<Check<Vec<_>>>()?;
                let dtype = op.result(&dtypes).ok_or_else(|| format!("{op:?} on {dtypes:?}"))?;
                (dtype, operands.iter().any(|&v| self.varying.contains(v)))
            }
        })
    }

    fn contract(&mut self, c: &Contract) -> Check {
        require(self.lane_var.is_none(), || "a contraction stands in a lane loop".to_owned())?;
        self.range(&c.m)?;
        self.range(&c.n)?;
        self.range(&c.k)?;
        for (i, (range, ..)) in c.blocks.iter().enumerate() {
            self.range(range)?;
            require(i == 0 || matches!(range, Range::Full(_)), || "an inner block is a chunk".to_owned())?;
        }
        if let Some((range, ..)) = &c.groups {
            self.range(range)?;
        }
        let further = c.blocks.iter().chain(&c.groups).flat_map(|b| [b.1, b.2]);
        for size in [c.a_m, c.a_k, c.b_k, c.b_n, c.c_m].into_iter().chain(further) {
            self.size(size)?;
        }
        self.written(c.c_arg)?;
        let bias = c.bias.as_ref().map(|(arg, at)| (*arg, at));
        for (arg, at) in [(c.a_arg, &c.a), (c.b_arg, &c.b), (c.c_arg, &c.c)].into_iter().chain(bias) {
            let dtype = self.arg(arg)?.dtype;
            require(dtype == DType::F32, || format!("contracts {arg} : {dtype}"))?;
            self.address(arg, at)?;
        }
        require(![c.a_arg, c.b_arg].contains(&c.c_arg), || {
            "a contraction overwrites its operand".to_owned()
        })?;
        require(!(c.accumulate && c.bias.is_some()), || "a contraction has two starts".to_owned())
    }

    fn transpose(&mut self, t: &Transpose) -> Check {
        require(self.lane_var.is_none(), || "a transposition stands in a lane loop".to_owned())?;
        self.range(&t.m)?;
        self.range(&t.n)?;
        for size in [t.from_m, t.from_n, t.to_m] {
            self.size(size)?;
        }
        self.written(t.to_arg)?;
        for (arg, at) in [(t.from_arg, &t.from), (t.to_arg, &t.to)] {
            let dtype = self.arg(arg)?.dtype;
            require(dtype == DType::F32, || format!("transposes {arg} : {dtype}"))?;
            self.address(arg, at)?;
        }
        require(t.from_arg != t.to_arg, || "a transposition overwrites its operand".to_owned())
    }

    /// Checks an address; true where it varies over lanes.
    fn address(&self, arg: Arg, at: &Address) -> Check<bool> {
        self.arg(arg)?;
        at.base.map_or(Ok(()), |base| self.size(base))?;
        let mut varying = false;
        for (coord, factor) in &at.terms {
            self.size(*factor)?;
            match coord {
                Coord::Var(var) => {
                    self.var(*var)?;
                    varying |= self.lane_var == Some(*var);
                }
                Coord::Val(val) => {
                    let dtype = self.used(*val)?;
                    require(matches!(dtype, DType::I32 | DType::I64), || {
                        format!("the index {val} is {dtype}")
                    })?;
                    varying |= self.varying.contains(*val);
                }
            }
        }
        Ok(varying)
    }

    fn range(&self, range: &Range) -> Check {
        match range {
            Range::Full(n) => self.size(*n),
            Range::Chunk { of, by, index } => {
                self.size(*of)?;
                self.var(*index)?;
                require(*by > 0, || format!("chunks of {by}"))?;
                require(self.lane_var != Some(*index), || format!("the chunk of {index} varies over lanes"))
            }
        }
    }

    fn define(&mut self, val: Val, dtype: DType, varying: bool) -> Check {
        let declared = *self.kernel.vals.get(val).ok_or_else(|| format!("{val} is not declared"))?;
        require(declared == dtype, || format!("{val} is declared {declared}, but is {dtype}"))?;
        require(self.defined.insert(val), || format!("{val} is defined twice"))?;
        self.vals.insert(val);
        if varying {
            self.varying.insert(val);
        }
        Ok(())
    }

    fn define_var(&mut self, var: Var) -> Check {
        require(self.kernel.vars.is_valid(var), || format!("{var} is not declared"))?;
        require(self.defined_vars.insert(var), || format!("{var} counts two loops"))?;
        self.vars.insert(var);
        Ok(())
    }

    fn used(&self, val: Val) -> Check<DType> {
        require(self.vals.contains(val), || format!("{val} is used where it is not defined"))?;
        Ok(self.kernel.vals[val])
    }

    fn var(&self, var: Var) -> Check {
        require(self.vars.contains(var), || format!("{var} is used outside of its loop"))
    }

    fn arg(&self, arg: Arg) -> Check<&'a ArgDecl> {
        self.kernel.args.get(arg).ok_or_else(|| format!("{arg} is not declared"))
    }

    fn written(&self, arg: Arg) -> Check {
        require(self.arg(arg)?.kind != ArgKind::Read, || format!("writes {arg}, which is read only"))
    }

    fn size(&self, size: Size) -> Check {
        match size {
            Size::Const(_) => Ok(()),
            Size::Sym(id) => {
                require(id.index() < self.kernel.sizes.len(), || format!("{id} is not declared"))
            }
        }
    }
}

fn require(holds: bool, message: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(message()) }
}
