//! What follows from a verified kernel and what everyone who runs or compiles it must agree on.

use cranelift_entity::EntitySet;

use super::*;
use crate::tensor::DType;
use crate::tiles::ROOM;

/// Scratch arrays start at multiples of this many bytes.
pub const SCRATCH_ALIGN: i64 = 64;

impl Kernel {
    /// Whether subnormal f32 count as zero in it: in all kernels that hold no f64, which is never flushed.
    pub fn flushes(&self) -> bool {
        let f64_arg = self.args.values().any(|arg| arg.dtype == DType::F64);
        !f64_arg && !self.vals.values().any(|&dtype| dtype == DType::F64)
    }

    /// The arguments that are given buffers, in the order in which a step names these.
    pub fn pointers(&self) -> impl Iterator<Item = (Arg, &ArgDecl)> {
        self.args.iter().filter(|(_, decl)| !matches!(decl.kind, ArgKind::Scratch { .. }))
    }

    /// Whether a step that runs the kernel with these arguments writes the buffer.
    pub fn writes(&self, args: &[BufferRef], buffer: Buffer) -> bool {
        let mut given = self.pointers().zip(args);
        given.any(|((_, decl), reference)| reference.buffer == buffer && decl.kind == ArgKind::Write)
    }

    /// Points of the parallel grid; `None` where they exceed an i64 or an extent is negative.
    pub fn grid_points(&self, sizes: &[i64]) -> Option<i64> {
        self.grid.iter().try_fold(1i64, |points, &(_, extent)| {
            let extent = extent.value(sizes)?;
            if extent < 0 { None } else { points.checked_mul(extent) }
        })
    }

    /// Where the arrays of one thread's scratch begin, in bytes: first the `Scratch` arguments in order, then for each contraction with
    /// blocks (in order of the text) its tables of offsets in A and in B, i64 each, then the room of all contractions; at last the end.
    /// `None` where that exceeds an i64 or a length is negative.
    pub fn scratch_layout(&self, sizes: &[i64]) -> Option<Vec<i64>> {
        let mut starts: Vec<i64> = vec![0];
        let mut push = |bytes: i64| {
            let end = starts[starts.len() - 1].checked_add(bytes)?;
            starts.push(end.checked_add(SCRATCH_ALIGN - 1)? / SCRATCH_ALIGN * SCRATCH_ALIGN);
            Some(())
        };
        for arg in self.args.values() {
            if let ArgKind::Scratch { len } = arg.kind {
                let len = len.value(sizes).filter(|&len| len >= 0)?;
                push(len.checked_mul(arg.dtype.size() as i64)?)?;
            }
        }
        let contracts = self.contracts();
        for contract in &contracts {
            if !contract.blocks.is_empty() {
                let count = contract.blocks.iter().try_fold(1i64, |count, block| {
                    let extent = block.0.most().value(sizes).filter(|&extent| extent >= 0)?;
                    count.checked_mul(extent)
                })?;
                push(count.checked_mul(8)?)?;
                push(count.checked_mul(8)?)?;
            }
        }
        if !contracts.is_empty() {
            push(ROOM as i64)?;
        }
        Some(starts)
    }

    /// The contractions in order of the text.
    pub fn contracts(&self) -> Vec<&Contract> {
        fn collect<'a>(stmts: &'a [Stmt], found: &mut Vec<&'a Contract>) {
            for stmt in stmts {
                match stmt {
                    Stmt::Loop(l) => collect(&l.body, found),
                    Stmt::If { then, .. } => collect(then, found),
                    Stmt::Contract(contract) => found.push(contract),
                    Stmt::Let(..) | Stmt::Store { .. } | Stmt::Transpose(_) => {}
                }
            }
        }
        let mut found = Vec::new();
        collect(&self.body, &mut found);
        found
    }

    /// Whether it calls the code of contractions.
    pub fn calls_tiles(&self) -> bool {
        fn calls(stmts: &[Stmt]) -> bool {
            stmts.iter().any(|stmt| match stmt {
                Stmt::Loop(l) => calls(&l.body),
                Stmt::If { then, .. } => calls(then),
                Stmt::Contract(_) | Stmt::Transpose(_) => true,
                Stmt::Let(..) | Stmt::Store { .. } => false,
            })
        }
        calls(&self.body)
    }

    /// The values that differ from lane to lane of the lane loop that they stand in.
    pub fn varying(&self) -> EntitySet<Val> {
        let mut varying = EntitySet::new();
        mark(&self.body, None, &mut varying);
        varying
    }
}

impl Program {
    /// The numbers of the inputs that steps name, ascending.
    pub fn inputs_of(&self, steps: &[Step]) -> Vec<usize> {
        let mut named = EntitySet::new();
        steps.iter().for_each(|step| {
            step.each_reference(&mut |reference| {
                named.insert(reference.buffer);
            })
        });
        (0..self.inputs.len()).filter(|&input| named.contains(self.inputs[input])).collect()
    }
}

impl Step {
    /// Calls `see` with every reference to a buffer, those of a loop's body too.
    pub fn each_reference<'a>(&'a self, see: &mut impl FnMut(&'a BufferRef)) {
        match self {
            Step::Run { args, .. } => args.iter().for_each(see),
            Step::Loop { body, .. } => body.iter().for_each(|step| step.each_reference(see)),
            Step::Sort { from, to, .. } | Step::Copy { from, to, .. } => [from, to].into_iter().for_each(see),
        }
    }

    /// The same, to change them.
    pub fn each_reference_mut(&mut self, see: &mut impl FnMut(&mut BufferRef)) {
        match self {
            Step::Run { args, .. } => args.iter_mut().for_each(see),
            Step::Loop { body, .. } => body.iter_mut().for_each(|step| step.each_reference_mut(see)),
            Step::Sort { from, to, .. } | Step::Copy { from, to, .. } => [from, to].into_iter().for_each(see),
        }
    }
}

impl Range {
    /// How many values it has at most.
    pub fn most(self) -> Size {
        match self {
            Range::Full(n) => n,
            Range::Chunk { by, .. } => Size::Const(by),
        }
    }
}

impl Size {
    /// Its number under a table of sizes; `None` only for a row that the table lacks.
    pub fn value(self, sizes: &[i64]) -> Option<i64> {
        use cranelift_entity::EntityRef;
        match self {
            Size::Const(value) => Some(value),
            Size::Sym(id) => sizes.get(id.index()).copied(),
        }
    }
}

impl Address {
    /// Whether it differs from lane to lane of the loop over `lanes`.
    pub fn varies(&self, lanes: Option<Var>, varying: &EntitySet<Val>) -> bool {
        self.terms.iter().any(|(coord, _)| match coord {
            Coord::Var(var) => lanes == Some(*var),
            Coord::Val(val) => varying.contains(*val),
        })
    }
}

fn mark(stmts: &[Stmt], lanes: Option<Var>, varying: &mut EntitySet<Val>) {
    for stmt in stmts {
        match stmt {
            Stmt::Let(val, inst) => {
                let varies = match inst {
                    Inst::Const(_) | Inst::Size(_) => false,
                    Inst::Index(var) => lanes == Some(*var),
                    Inst::Load { at, .. } => at.varies(lanes, varying),
                    Inst::LoadIf { at, mask, .. } => varying.contains(*mask) || at.varies(lanes, varying),
                    Inst::Op(_, operands) => operands.iter().any(|&v| varying.contains(v)),
                };
                if varies {
                    varying.insert(*val);
                }
            }
            Stmt::Loop(l) => {
                mark(&l.body, if l.lanes { Some(l.var) } else { lanes }, varying);
                if l.lanes {
                    // Its results are combined over the lanes.
                    continue;
                }
                for (i, acc) in l.accs.iter().enumerate() {
                    let indexed = matches!(acc.op, AccOp::ArgMax | AccOp::ArgMin);
                    let partner = indexed && varying.contains(l.accs[i - 1].result);
                    if partner || varying.contains(acc.term) || varying.contains(acc.init) {
                        varying.insert(acc.result);
                    }
                }
            }
            Stmt::If { then, .. } => mark(then, lanes, varying),
            Stmt::Store { .. } | Stmt::Contract(_) | Stmt::Transpose(_) => {}
        }
    }
}
