//! One kernel as one function: its arguments, the walk over its grid, its statements.
//!
//! A value of the kernel is one number outside of lane loops and where all lanes agree, else groups of four lanes: one vector of 128 bits
//! for dtypes of up to 32 bits (u8 zero-extended, bool as a mask), two for those of 64. Straight-line statements are emitted group by
//! group, so that few vectors live at a time. What does not change in a loop is computed before it here, not by Cranelift's optimiser.

use std::collections::HashMap;

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{BlockArg, FuncRef, InstBuilder, MemFlagsData, StackSlot, Type, Value};
use cranelift_entity::{EntitySet, SecondaryMap};
use cranelift_frontend::FunctionBuilder;

use super::address::Partial;
use super::wide_loops::Widen;
use crate::kernel::{
    Address, Arg, ArgKind, Const, Contract, Inst, KOp, Kernel, Loop, Range, Size, SizeId, Stmt, Val, Var,
};
use crate::tensor::DType;

/// Loads and stores that never trap, at any alignment.
pub(super) const ACCESS: MemFlagsData = MemFlagsData::new().with_notrap();
/// Lanes that are handled together.
pub(super) const GROUP: usize = 4;
/// Groups that make up all lanes.
pub(super) const GROUPS: usize = crate::kernel::LANES as usize / GROUP;

/// One number (then the first alone counts), or the vectors of a group.
pub(super) type Group = [Value; 2];

/// How a value exists in the code.
#[derive(Clone, Copy)]
pub(super) enum Rep {
    Absent,
    /// The same in all lanes.
    One(Value),
    Lanes([Group; GROUPS]),
}

/// What is known where code is being emitted; a copy is restored at the end of each loop.
#[derive(Clone)]
pub(super) struct Scope {
    pub vals: Vec<Rep>,
    /// In a lane loop: the variable of the first lane.
    pub vars: SecondaryMap<Var, Option<Value>>,
    /// Vectors that repeat a value which is the same in all lanes.
    pub splats: HashMap<Val, Value>,
    /// A variable times a factor times an element's size.
    pub products: HashMap<(Var, Size, i64), Value>,
    pub partials: HashMap<*const Address, Partial>,
    /// The lane loop, and the groups that it handles at a time.
    pub lanes: Option<(Var, usize)>,
}

pub(super) struct Emitter<'a, 'f> {
    pub b: &'a mut FunctionBuilder<'f>,
    pub kernel: &'a Kernel,
    pub varying: EntitySet<Val>,
    pub consts: HashMap<Val, Const>,
    /// Whether the machine has a multiply-add of one rounding.
    pub fused: bool,
    pub sizes: SecondaryMap<SizeId, Option<Value>>,
    /// Sizes times an element's bytes.
    pub strides: HashMap<(SizeId, i64), Value>,
    pub args: SecondaryMap<Arg, Option<Value>>,
    /// The tables of offsets of each contraction with blocks.
    pub tables: HashMap<*const Contract, (Value, Value)>,
    /// Where contractions copy parts of their operands to, if there are any.
    pub room: Option<Value>,
    /// What a guarded load reads where it must not.
    pub zeros: Option<StackSlot>,
    pub contraction: Option<FuncRef>,
    pub widen: Widen,
    /// The code of wide loops.
    pub wide: Vec<Vec<u8>>,
    pub scope: Scope,
}

/// Emits the body of `kernel`'s function. `contraction` is called for its contractions. Gives the code of its wide loops, which it calls by
/// their numbers.
pub(super) fn emit<'a>(
    builder: &'a mut FunctionBuilder<'_>,
    kernel: &'a Kernel,
    fused: bool,
    contraction: Option<FuncRef>,
    widen: Widen,
) -> Vec<Vec<u8>> {
    let scope = Scope {
        vals: vec![Rep::Absent; kernel.vals.len()],
        vars: SecondaryMap::new(),
        splats: HashMap::new(),
        products: HashMap::new(),
        partials: HashMap::new(),
        lanes: None,
    };
    let emitter = Emitter {
        b: builder,
        kernel,
        varying: kernel.varying(),
        consts: HashMap::new(),
        fused,
        sizes: SecondaryMap::new(),
        strides: HashMap::new(),
        args: SecondaryMap::new(),
        tables: HashMap::new(),
        room: None,
        zeros: None,
        contraction,
        widen,
        wide: Vec::new(),
        scope,
    };
    emitter.function()
}

impl<'a> Emitter<'a, '_> {
    fn function(mut self) -> Vec<Vec<u8>> {
        let entry = self.b.create_block();
        self.b.append_block_params_for_function_params(entry);
        self.b.switch_to_block(entry);
        let [args, sizes, begin, end, scratch] = *self.b.block_params(entry) else {
            unreachable!("the signature has five parameters")
        };
        let kernel = self.kernel;
        self.collect_consts(&kernel.body);
        for id in kernel.sizes.keys() {
            let at = 8 * cranelift_entity::EntityRef::index(id) as i32;
            self.sizes[id] = Some(self.b.ins().load(I64, ACCESS, sizes, at));
        }
        self.arguments(args, scratch);
        self.partials_of_body();
        self.grid(begin, end);
        self.b.ins().return_(&[]);
        self.b.seal_all_blocks();
        self.wide
    }

    /// The pointers of buffers and scratch arrays, in the layout of [`Kernel::scratch_layout`].
    fn arguments(&mut self, args: Value, scratch: Value) {
        let kernel = self.kernel;
        let (mut buffers, mut free) = (0, scratch);
        for (arg, decl) in &kernel.args {
            if let ArgKind::Scratch { len } = decl.kind {
                self.args[arg] = Some(free);
                let bytes = self.size_bytes(len, decl.dtype.size() as i64);
                free = self.after_scratch(free, bytes);
            } else {
                self.args[arg] = Some(self.b.ins().load(I64, ACCESS, args, 8 * buffers));
                buffers += 1;
            }
        }
        let contracts = kernel.contracts();
        for &contract in &contracts {
            if !contract.blocks.is_empty() {
                let count = contract.blocks.iter().fold(None, |count, block| {
                    let extent = self.size(block.0.most());
                    Some(count.map_or(extent, |count| self.b.ins().imul(count, extent)))
                });
                let bytes = count.map(|count| self.b.ins().ishl_imm_u(count, 3)).unwrap_or(free);
                let b_table = self.after_scratch(free, bytes);
                self.tables.insert(contract, (free, b_table));
                free = self.after_scratch(b_table, bytes);
            }
        }
        self.room = (!contracts.is_empty()).then_some(free);
    }

    fn after_scratch(&mut self, start: Value, bytes: Value) -> Value {
        let padded = self.b.ins().iadd_imm_s(bytes, crate::kernel::facts::SCRATCH_ALIGN - 1);
        let padded = self.b.ins().band_imm_s(padded, -crate::kernel::facts::SCRATCH_ALIGN);
        self.b.ins().iadd(start, padded)
    }

    fn collect_consts(&mut self, stmts: &'a [Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::Let(val, Inst::Const(c)) => {
                    self.consts.insert(*val, *c);
                }
                Stmt::Let(_, Inst::LoadIf { .. }) if self.zeros.is_none() => self.zero_slot(),
                Stmt::Loop(l) => self.collect_consts(&l.body),
                Stmt::If { then, .. } => self.collect_consts(then),
                _ => {}
            }
        }
    }

    /// The points `begin..end` of the grid: the first one's coordinates by division, the next ones by counting.
    fn grid(&mut self, begin: Value, end: Value) {
        let kernel = self.kernel;
        let [first, point, done] = [(); 3].map(|()| self.b.create_block());
        let some = self.less(begin, end);
        self.b.ins().brif(some, first, &[], done, &[]);

        self.b.switch_to_block(first);
        if kernel.contracts().iter().any(|contract| !contract.blocks.is_empty()) {
            self.fill_tables();
        }
        let mut rest = begin;
        let mut coordinates = vec![begin];
        for (k, &(_, extent)) in kernel.grid.iter().enumerate().rev() {
            if k == 0 {
                coordinates.push(rest);
            } else {
                let extent = self.size(extent);
                let at = self.b.ins().urem(rest, extent);
                rest = self.b.ins().udiv(rest, extent);
                coordinates.push(at);
            }
        }
        self.jump(point, &coordinates);

        // The block's parameters: the number of the point, then its coordinates, innermost first.
        let params = self.params(point, &vec![I64; coordinates.len()]);
        self.b.switch_to_block(point);
        for (&(var, _), &value) in kernel.grid.iter().rev().zip(&params[1..]) {
            self.scope.vars[var] = Some(value);
        }
        self.stmts(&kernel.body);
        let next = self.b.ins().iadd_imm_s(params[0], 1);
        let mut coordinates = vec![next];
        let mut carry = self.b.ins().iconst(I64, 1);
        for (k, &(_, extent)) in kernel.grid.iter().enumerate().rev() {
            let moved = self.b.ins().iadd(params[kernel.grid.len() - k], carry);
            if k == 0 {
                coordinates.push(moved);
            } else {
                use cranelift_codegen::ir::condcodes::IntCC;
                let extent = self.size(extent);
                let wraps = self.b.ins().icmp(IntCC::Equal, moved, extent);
                let zero = self.b.ins().iconst(I64, 0);
                coordinates.push(self.b.ins().select(wraps, zero, moved));
                carry = self.b.ins().uextend(I64, wraps);
            }
        }
        let more = self.less(next, end);
        let args: Vec<BlockArg> = coordinates.iter().map(|&v| v.into()).collect();
        self.b.ins().brif(more, point, &args, done, &[]);
        self.b.switch_to_block(done);
    }

    pub fn stmts(&mut self, stmts: &'a [Stmt]) {
        let mut rest = stmts;
        while !rest.is_empty() {
            let straight =
                rest.iter().take_while(|s| matches!(s, Stmt::Let(..) | Stmt::Store { .. })).count();
            if straight > 0 {
                self.straight_line(&rest[..straight]);
                rest = &rest[straight..];
                continue;
            }
            match &rest[0] {
                Stmt::Loop(l) => self.looped(l),
                Stmt::If { cond, then } => self.conditional(*cond, then),
                Stmt::Contract(contract) => self.contract(contract),
                Stmt::Transpose(transpose) => self.transpose(transpose),
                Stmt::Let(..) | Stmt::Store { .. } => {}
            }
            rest = &rest[1..];
        }
    }

    /// Group by group: first all statements for lanes 0..4, then for 4..8 ...
    fn straight_line(&mut self, stmts: &'a [Stmt]) {
        let made: Vec<bool> =
            stmts.iter().map(|s| matches!(s, Stmt::Let(val, _) if self.exists(*val))).collect();
        for group in 0..self.groups() {
            for (stmt, &made) in stmts.iter().zip(&made) {
                match stmt {
                    Stmt::Let(val, inst) if !made => self.define(*val, inst, group),
                    Stmt::Store { arg, at, value } => self.store(*arg, at, *value, group),
                    _ => {}
                }
            }
        }
    }

    fn conditional(&mut self, cond: Val, then: &'a [Stmt]) {
        let [taken, done] = [(); 2].map(|()| self.b.create_block());
        let cond = self.one(cond);
        self.b.ins().brif(cond, taken, &[], done, &[]);
        self.b.switch_to_block(taken);
        let outer = self.scope.clone();
        self.stmts(then);
        self.scope = outer;
        self.b.ins().jump(done, &[]);
        self.b.switch_to_block(done);
    }

    /// Makes group `group` of a value; one that is the same in all lanes is made with the first.
    pub fn define(&mut self, val: Val, inst: &'a Inst, group: usize) {
        if self.scope.lanes.is_some() && self.varying.contains(val) {
            let made = self.lane_inst(val, inst, group);
            if !matches!(self.scope.vals[index(val)], Rep::Lanes(_)) {
                self.scope.vals[index(val)] = Rep::Lanes([made; GROUPS]);
            }
            if let Rep::Lanes(groups) = &mut self.scope.vals[index(val)] {
                groups[group] = made;
            }
        } else if group == 0 {
            let made = self.one_inst(val, inst);
            self.scope.vals[index(val)] = Rep::One(made);
        }
    }

    fn one_inst(&mut self, val: Val, inst: &'a Inst) -> Value {
        match inst {
            Inst::Const(c) => self.constant(*c),
            Inst::Size(size) => self.size(*size),
            Inst::Index(var) => self.var(*var),
            Inst::Load { arg, at } => {
                let pointer = self.pointer(*arg, at);
                self.load_one(self.kernel.args[*arg].dtype, pointer, 0)
            }
            Inst::LoadIf { arg, at, mask } => {
                let (pointer, mask) = (self.pointer(*arg, at), self.one(*mask));
                let zeros = self.zeros_pointer();
                let pointer = self.b.ins().select(mask, pointer, zeros);
                self.load_one(self.kernel.args[*arg].dtype, pointer, 0)
            }
            Inst::Op(op, operands) => {
                let values: Vec<Value> = operands.iter().map(|&v| self.one(v)).collect();
                let divisor = operands.get(1).and_then(|v| self.consts.get(v)).copied();
                let dtype = self.kernel.vals[operands[0]];
                self.scalar_op(*op, dtype, self.kernel.vals[val], &values, divisor)
            }
        }
    }

    fn lane_inst(&mut self, val: Val, inst: &'a Inst, group: usize) -> Group {
        match inst {
            Inst::Const(_) | Inst::Size(_) => unreachable!("the same in all lanes"),
            Inst::Index(var) => self.lane_index(*var, group),
            Inst::Load { arg, at } => self.load_lanes(*arg, at, group),
            Inst::LoadIf { arg, at, mask } => self.load_lanes_if(*arg, at, *mask, group),
            Inst::Op(op, operands) => {
                let second = operands.get(1).and_then(|v| self.consts.get(v)).copied();
                if let (KOp::Shl | KOp::ShrU | KOp::ShrS, Some(bits)) = (op, second) {
                    let value = self.group(operands[0], group);
                    return self.lane_shift(*op, self.kernel.vals[val], value, bits.bits().1 as i64);
                }
                let dtype = self.kernel.vals[operands[0]];
                if *op == KOp::Select
                    && let Some(chosen) = self.select_zero(operands, group)
                {
                    return chosen;
                }
                let values: Vec<Group> = operands.iter().map(|&v| self.group(v, group)).collect();
                self.lane_op(*op, dtype, self.kernel.vals[val], &values, second)
            }
        }
    }

    // Small things that all parts use

    pub fn groups(&self) -> usize {
        self.scope.lanes.map_or(1, |(_, groups)| groups)
    }

    pub fn exists(&self, val: Val) -> bool {
        !matches!(self.scope.vals[index(val)], Rep::Absent)
    }

    pub fn var(&self, var: Var) -> Value {
        self.scope.vars[var].expect("a verified kernel uses variables inside their loops")
    }

    /// The number of a value that is the same in all lanes.
    pub fn one(&self, val: Val) -> Value {
        match self.scope.vals[index(val)] {
            Rep::One(value) => value,
            _ => unreachable!("{val} is one number"),
        }
    }

    /// A value's lanes of one group, repeated where all agree.
    pub fn group(&mut self, val: Val, group: usize) -> Group {
        match self.scope.vals[index(val)] {
            Rep::Lanes(groups) => groups[group],
            Rep::One(value) => {
                if let Some(&splat) = self.scope.splats.get(&val) {
                    return [splat; 2];
                }
                let splat = self.splat(self.kernel.vals[val], value);
                self.scope.splats.insert(val, splat);
                [splat; 2]
            }
            Rep::Absent => unreachable!("{val} is used behind its definition"),
        }
    }

    pub fn size(&mut self, size: Size) -> Value {
        match size {
            Size::Const(value) => self.b.ins().iconst(I64, value),
            Size::Sym(id) => self.sizes[id].expect("all sizes are loaded at the entry"),
        }
    }

    /// A size times the bytes of an element.
    pub fn size_bytes(&mut self, size: Size, element: i64) -> Value {
        match size {
            Size::Const(value) => self.b.ins().iconst(I64, value.wrapping_mul(element)),
            Size::Sym(id) => match self.strides.get(&(id, element)) {
                Some(&stride) => stride,
                None => {
                    let size = self.size(size);
                    self.b.ins().imul_imm_s(size, element)
                }
            },
        }
    }

    /// First and end of a range.
    pub fn bounds(&mut self, range: Range) -> (Value, Value) {
        match range {
            Range::Full(n) => (self.b.ins().iconst(I64, 0), self.size(n)),
            Range::Chunk { of, by, index } => {
                let index = self.var(index);
                let start = self.b.ins().imul_imm_s(index, by);
                let end = self.b.ins().iadd_imm_s(start, by);
                let of = self.size(of);
                let shorter = self.less(of, end);
                (start, self.b.ins().select(shorter, of, end))
            }
        }
    }

    pub fn less(&mut self, a: Value, b: Value) -> Value {
        use cranelift_codegen::ir::condcodes::IntCC;
        self.b.ins().icmp(IntCC::SignedLessThan, a, b)
    }

    pub fn params(&mut self, block: cranelift_codegen::ir::Block, types: &[Type]) -> Vec<Value> {
        types.iter().map(|&ty| self.b.append_block_param(block, ty)).collect()
    }

    pub fn jump(&mut self, block: cranelift_codegen::ir::Block, args: &[Value]) {
        let args: Vec<BlockArg> = args.iter().map(|&v| v.into()).collect();
        self.b.ins().jump(block, &args);
    }
}

pub(super) fn index(val: Val) -> usize {
    cranelift_entity::EntityRef::index(val)
}

/// Whether a dtype takes two vectors for four lanes.
pub(super) fn is_wide(dtype: DType) -> bool {
    dtype.size() == 8
}

/// Visits every address of some statements with its argument.
pub(super) fn visit_addresses<'a>(stmts: &'a [Stmt], visit: &mut dyn FnMut(Arg, &'a Address)) {
    for stmt in stmts {
        match stmt {
            Stmt::Let(_, Inst::Load { arg, at } | Inst::LoadIf { arg, at, .. }) => visit(*arg, at),
            Stmt::Let(..) => {}
            Stmt::Store { arg, at, .. } => visit(*arg, at),
            Stmt::Loop(Loop { body, .. }) => visit_addresses(body, visit),
            Stmt::If { then, .. } => visit_addresses(then, visit),
            Stmt::Transpose(t) => {
                visit(t.from_arg, &t.from);
                visit(t.to_arg, &t.to);
            }
            Stmt::Contract(c) => {
                visit(c.a_arg, &c.a);
                visit(c.b_arg, &c.b);
                visit(c.c_arg, &c.c);
                if let Some((arg, at)) = &c.bias {
                    visit(*arg, at);
                }
            }
        }
    }
}
