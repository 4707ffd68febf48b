//! `<name>_run(plan, arguments…, workspace, workspace_bytes, threads) -> code`, and `<name>_workspace(plan, threads) -> bytes`.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I32, I64};
use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Value};
use cranelift_entity::EntityRef;
use cranelift_frontend::Variable;
use cranelift_module::{DataId, FuncId, Module};

use super::bind::ALIGN;
use super::entry::{Entry, Given, Parameter, Refusal, Taken};
use super::function::{ACCESS, Fun};
use super::launch::{self, Shared};
use super::layout::{ARENA, Layout, OWNER, SCRATCH, VARIANT, count_turns, most_arguments, slot_of};
use crate::axes::Dim;
use crate::kernel::{BufferKind, BufferRef, KernelId, Step};

/// What a program's run refers to.
pub struct Parts<'a> {
    pub layout: &'a Layout,
    pub owner: i64,
    /// The kernels of each variant; those that are the same in all have the same function.
    pub kernels: &'a [Vec<FuncId>],
    /// In the order of the program's text.
    pub sorts: &'a [FuncId],
    pub shared: &'a Shared,
    /// The data of embedded inputs.
    pub embedded: &'a [Option<DataId>],
    /// The data of presets.
    pub presets: &'a [DataId],
    pub workspace: FuncId,
}

/// `(plan, threads)`: the arena, the threads' scratch, and what aligning them may take; all ones where that is no number or no plan.
pub fn workspace<M: Module>(fun: &mut Fun<'_, '_, M>, owner: i64) {
    let [plan, threads] = fun.params[..] else { unreachable!("defined with two parameters") };
    let [some, bound, good, none] = fun.blocks();
    let null = fun.is_null(plan);
    fun.b.ins().brif(null, none, &[], some, &[]);
    fun.b.switch_to_block(some);
    let found = fun.load(plan, OWNER);
    let owner = fun.int(owner);
    let own = fun.b.ins().icmp(IntCC::Equal, found, owner);
    fun.b.ins().brif(own, bound, &[], none, &[]);
    fun.b.switch_to_block(bound);
    let one = fun.int(1);
    let threads = fun.b.ins().smax(threads, one);
    let (arena, scratch) = (fun.load(plan, ARENA), fun.load(plan, SCRATCH));
    let (scratch, much) = fun.b.ins().smul_overflow(scratch, threads);
    let (both, more) = fun.b.ins().sadd_overflow(arena, scratch);
    let room = fun.int(ALIGN);
    let (all, most) = fun.b.ins().sadd_overflow(both, room);
    let bad = fun.b.ins().bor(much, more);
    let bad = fun.b.ins().bor(bad, most);
    fun.b.ins().brif(bad, none, &[], good, &[]);
    fun.b.switch_to_block(good);
    fun.b.ins().return_(&[all]);
    fun.b.switch_to_block(none);
    let largest = fun.int(-1);
    fun.b.ins().return_(&[largest]);
}

pub fn emit<M: Module>(fun: &mut Fun<'_, '_, M>, entry: &Entry<'_>, parts: &Parts<'_>) {
    let of = |wanted: Parameter| entry.parameters().iter().position(|parameter| *parameter == wanted);
    let plan = fun.params[0];
    let null = fun.is_null(plan);
    fun.refuse_if(null, Refusal::Null);
    let found = fun.load(plan, OWNER);
    let other = fun.b.ins().icmp_imm_s(IntCC::NotEqual, found, parts.owner);
    fun.refuse_if(other, Refusal::Unbound);
    for (index, parameter) in entry.parameters().iter().enumerate() {
        if matches!(
            parameter,
            Parameter::Input(_) | Parameter::Output(_) | Parameter::Weights | Parameter::Workspace
        ) {
            let null = fun.is_null(fun.params[index]);
            fun.refuse_if(null, Refusal::Null);
        }
    }
    let [workspace, bytes, threads] = [Parameter::Workspace, Parameter::WorkspaceBytes, Parameter::Threads]
        .map(|parameter| fun.params[of(parameter).expect("every run has these parameters")]);
    let (threads, count) = usable(fun, threads);
    let needed = fun.call(parts.workspace, &[plan, count]).expect("it gives a number");
    let small = fun.b.ins().icmp(IntCC::UnsignedLessThan, bytes, needed);
    fun.refuse_if(small, Refusal::Workspace);
    let arena = fun.b.ins().iadd_imm_s(workspace, ALIGN - 1);
    let arena = fun.b.ins().band_imm_s(arena, -ALIGN);

    let mut inputs = Vec::new();
    for (index, given) in entry.inputs.iter().enumerate() {
        inputs.push(match given {
            Given::Argument => fun.params[of(Parameter::Input(index)).expect("arguments are parameters")],
            Given::Number => {
                let number = fun.params[of(Parameter::Number(index)).expect("numbers are parameters")];
                let at = stack(fun, 1);
                fun.store(number, at, 0);
                at
            }
            Given::Weight(place) => weight(fun, of(Parameter::Weights), *place),
            Given::Embedded(_) => {
                let data = parts.embedded[index].expect("embedded inputs have their data");
                fun.data(data)
            }
        });
    }
    let mut outputs = Vec::new();
    for (index, (buffer, taken)) in entry.program.outputs.iter().zip(&entry.outputs).enumerate() {
        let own = matches!(entry.program.buffers[*buffer].kind, BufferKind::Output(_));
        outputs.push(match taken {
            Taken::Weight(place) if own => Some(weight(fun, of(Parameter::Weights), *place)),
            _ => of(Parameter::Output(index)).map(|place| fun.params[place]),
        });
    }
    let args = stack(fun, most_arguments(&entry.program.steps));
    let record = stack(fun, launch::WORDS);
    let used = fun.load(plan, ARENA);
    let scratch = fun.b.ins().iadd(arena, used);
    let stride = fun.load(plan, SCRATCH);
    for (value, word) in [
        (args, launch::ARGS),
        (scratch, launch::SCRATCH),
        (stride, launch::STRIDE),
        (threads, launch::THREADS),
    ] {
        fun.store(value, record, word);
    }
    let variant = fun.load(plan, VARIANT);
    let zero = fun.int(0);
    let turns = (0..count_turns(&entry.program.steps)).map(|_| fun.variable(zero)).collect();
    let mut run =
        Run { fun, entry, parts, plan, inputs, outputs, arena, args, record, variant, turns, sorts: 0 };
    run.positions();
    run.steps(&entry.program.steps);
    for (&(place, offset, bytes), &data) in entry.presets.iter().zip(parts.presets) {
        let to = weight(fun, of(Parameter::Weights), place);
        let to = fun.b.ins().iadd_imm_s(to, offset as i64);
        let (from, bytes) = (fun.data(data), fun.int(bytes.len() as i64));
        fun.call(parts.shared.copy, &[to, from, bytes]);
    }
    fun.return_code(0);
}

/// A pointer of the table of weights, which must not be null; `table` is its parameter.
fn weight<M: Module>(fun: &mut Fun<'_, '_, M>, table: Option<usize>, place: usize) -> Value {
    let table = fun.params[table.expect("weights have their table")];
    let weight = fun.load(table, place);
    let null = fun.is_null(weight);
    fun.refuse_if(null, Refusal::Null);
    weight
}

/// The caller's threads, or null where they are one, and their number.
fn usable<M: Module>(fun: &mut Fun<'_, '_, M>, threads: Value) -> (Value, Value) {
    let (none, one) = (fun.int(0), fun.int(1));
    let (usable, count) = (fun.variable(none), fun.variable(one));
    fun.when(threads, |fun| {
        let (many, call) = (fun.load(threads, launch::COUNT), fun.load(threads, launch::PARALLEL_FOR));
        let several = fun.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, many, 1);
        let able = fun.b.ins().icmp_imm_s(IntCC::NotEqual, call, 0);
        let both = fun.b.ins().band(several, able);
        let (none, one) = (fun.int(0), fun.int(1));
        let (threads, many) = (fun.b.ins().select(both, threads, none), fun.b.ins().select(both, many, one));
        fun.b.def_var(usable, threads);
        fun.b.def_var(count, many);
    });
    (fun.b.use_var(usable), fun.b.use_var(count))
}

/// The address of so many words on the stack.
fn stack<M: Module>(fun: &mut Fun<'_, '_, M>, words: usize) -> Value {
    let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, 8 * words.max(1) as u32, 4);
    let slot = fun.b.create_sized_stack_slot(slot);
    fun.b.ins().stack_addr(I64, slot, 0)
}

struct Run<'r, 'm, 'f, M: Module> {
    fun: &'r mut Fun<'m, 'f, M>,
    entry: &'r Entry<'r>,
    parts: &'r Parts<'r>,
    plan: Value,
    inputs: Vec<Value>,
    outputs: Vec<Option<Value>>,
    arena: Value,
    args: Value,
    record: Value,
    variant: Value,
    turns: Vec<Variable>,
    /// How many sorts are written already.
    sorts: usize,
}

impl<M: Module> Run<'_, '_, '_, M> {
    /// A dim times a number of bytes.
    fn amount(&mut self, dim: &Dim, unit: i64) -> Value {
        match dim.as_const() {
            Some(value) => self.fun.int(value.wrapping_mul(unit)),
            None => {
                let word = self.parts.layout.amounts[&(dim.clone(), unit)];
                self.fun.load(self.plan, word)
            }
        }
    }

    /// Refuses positions outside of their range: nothing behind looks at them again.
    fn positions(&mut self) {
        for (input, bound) in &self.entry.positions {
            let decl = &self.entry.program.buffers[self.entry.program.inputs[*input]];
            let (len, bound) = (self.amount(&decl.len, 1), self.amount(bound, 1));
            let (at, dtype) = (self.inputs[*input], decl.dtype);
            self.fun.count(len, |fun, i| {
                let offset = fun.b.ins().imul_imm_s(i, dtype.size() as i64);
                let place = fun.b.ins().iadd(at, offset);
                let value = match dtype.size() {
                    8 => fun.b.ins().load(I64, ACCESS, place, 0),
                    4 => {
                        let value = fun.b.ins().load(I32, ACCESS, place, 0);
                        fun.b.ins().sextend(I64, value)
                    }
                    // U8 and truths.
                    _ => {
                        let value = fun.b.ins().load(I8, ACCESS, place, 0);
                        fun.b.ins().uextend(I64, value)
                    }
                };
                // Negative ones are large as unsigned numbers.
                let outside = fun.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, value, bound);
                fun.refuse_if(outside, Refusal::Position);
            });
        }
    }

    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Run { kernel, args } => self.kernel(*kernel, args),
                Step::Loop { var, count, reverse, body } => {
                    let count = self.amount(count, 1);
                    let (turn, reverse) = (self.turns[var.index()], *reverse);
                    let zero = self.fun.int(0);
                    let i = self.fun.variable(zero);
                    let [test, inside, done] = self.fun.blocks();
                    self.fun.jump(test, &[]);
                    self.fun.b.switch_to_block(test);
                    let at = self.fun.b.use_var(i);
                    let more = self.fun.b.ins().icmp(IntCC::SignedLessThan, at, count);
                    self.fun.b.ins().brif(more, inside, &[], done, &[]);
                    self.fun.b.switch_to_block(inside);
                    let number = match reverse {
                        false => at,
                        true => {
                            let left = self.fun.b.ins().isub(count, at);
                            self.fun.b.ins().iadd_imm_s(left, -1)
                        }
                    };
                    self.fun.b.def_var(turn, number);
                    self.steps(body);
                    let at = self.fun.b.use_var(i);
                    let next = self.fun.b.ins().iadd_imm_s(at, 1);
                    self.fun.b.def_var(i, next);
                    self.fun.jump(test, &[]);
                    self.fun.b.switch_to_block(done);
                }
                Step::Copy { from, to, dtype, len } => {
                    let bytes = self.amount(len, dtype.size() as i64);
                    let (from, to) = (self.address(from), self.address(to));
                    self.fun.call(self.parts.shared.copy, &[to, from, bytes]);
                }
                Step::Sort { from, to, .. } => {
                    let number = self.sorts;
                    self.sorts += 1;
                    let (from, to) = (self.address(from), self.address(to));
                    self.fun.store(from, self.args, 0);
                    self.fun.store(to, self.args, 1);
                    let code = self.fun.address(self.parts.sorts[number]);
                    let [rows, chunk, len] = self.parts.layout.sort(number);
                    self.launch(code, rows, chunk, len, false);
                }
            }
        }
    }

    fn kernel(&mut self, id: KernelId, args: &[BufferRef]) {
        for (index, arg) in args.iter().enumerate() {
            let at = self.address(arg);
            self.fun.store(at, self.args, index);
        }
        let layout = self.parts.layout;
        let own: Vec<FuncId> = self.parts.kernels.iter().map(|kernels| kernels[id.index()]).collect();
        let mut code = self.fun.address(own[0]);
        for (variant, &function) in own.iter().enumerate().skip(1) {
            if function != own[0] {
                let wanted = self.fun.b.ins().icmp_imm_s(IntCC::Equal, self.variant, variant as i64);
                let function = self.fun.address(function);
                code = self.fun.b.ins().select(wanted, function, code);
            }
        }
        let flushes = self.entry.program.kernels[id].flushes();
        self.launch(code, layout.points(id), layout.chunk(id), layout.sizes(id), flushes);
    }

    /// Runs all points of a kernel whose arguments are stored; its numbers are at these words of the plan.
    fn launch(&mut self, code: Value, points: usize, chunk: usize, sizes: usize, flushes: bool) {
        let sizes = self.fun.b.ins().iadd_imm_s(self.plan, 8 * sizes as i64);
        let points = self.fun.load(self.plan, points);
        let chunk = self.fun.load(self.plan, chunk);
        let flushes = self.fun.int(i64::from(flushes));
        for (value, word) in [
            (code, launch::KERNEL),
            (sizes, launch::SIZES),
            (points, launch::POINTS),
            (chunk, launch::CHUNK),
            (flushes, launch::FLUSHES),
        ] {
            self.fun.store(value, self.record, word);
        }
        self.fun.call(self.parts.shared.launch, &[self.record]);
    }

    fn address(&mut self, r: &BufferRef) -> Value {
        let decl = &self.entry.program.buffers[r.buffer];
        let element = decl.dtype.size() as i64;
        let mut at = match decl.kind {
            BufferKind::Input(i) | BufferKind::InOut(i, _) => self.inputs[i as usize],
            BufferKind::Output(i) => self.outputs[i as usize].expect("an output of its own is a parameter"),
            BufferKind::Temp => match slot_of(self.entry, r.buffer) {
                Some(slot) => {
                    let offset = self.fun.load(self.plan, self.parts.layout.slot(slot));
                    self.fun.b.ins().iadd(self.arena, offset)
                }
                None => self.arena,
            },
            BufferKind::Kept => unreachable!("a library's run has all of its steps"),
        };
        if r.offset.as_const() != Some(0) {
            let offset = self.amount(&r.offset, element);
            at = self.fun.b.ins().iadd(at, offset);
        }
        for (turn, stride) in &r.turns {
            let stride = self.amount(stride, element);
            let turn = self.fun.b.use_var(self.turns[turn.index()]);
            let offset = self.fun.b.ins().imul(stride, turn);
            at = self.fun.b.ins().iadd(at, offset);
        }
        at
    }
}
