//! Running: the steps of a bound program, on the caller's arrays and the arena, by the threads of a pool.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cranelift_entity::SecondaryMap;
use thiserror::Error;

use super::array::{Array, Block, OutOfMemory, Stamp};
use super::bind::{self, BindError, Bound, BoundRef, BoundRun, BoundSort, BoundStep, Dims, Place};
use super::memory::{self, Life};
use super::pool::Pool;
use crate::axes::Dim;
use crate::codegen::Code;
use crate::kernel::{Buffer, BufferKind, KernelId, Program};
use crate::tensor::{DType, sort_row};

/// Bytes of a sort that stays on one thread.
const SERIAL_SORT: usize = 4096;

/// Sets of sizes that are remembered; beyond, all are forgotten.
const KNOWN_SIZES: usize = 1024;

/// A compiled program, ready to run at any sizes.
pub struct Executable {
    program: Program,
    code: Code,
    lives: SecondaryMap<Buffer, Option<Life>>,
    /// The inputs that the prepared steps read.
    fixed: Vec<usize>,
    bound: Mutex<HashMap<Dims, Arc<Bound>>>,
    room: Mutex<Room>,
}

/// What runs use one after another, so that none but the first allocates.
#[derive(Default)]
struct Room {
    /// Shared by all sizes, as large as the largest so far.
    arena: Option<Block>,
    /// What the prepared steps wrote, and from which contents of their inputs.
    kept: Option<(Block, Vec<Stamp>)>,
    lists: Lists,
}

/// Addresses and counters of the run at hand, written anew by each.
#[derive(Default)]
struct Lists {
    inputs: Vec<*mut u8>,
    outputs: Vec<*mut u8>,
    /// The arguments of the kernel at hand.
    args: Vec<*mut u8>,
    turns: Vec<i64>,
}

// SAFETY: addresses of an earlier run are never read: a run begins by emptying the lists.
unsafe impl Send for Lists {}

/// One of the caller's arrays for an input.
pub enum Slot<'a> {
    Read(&'a Array),
    /// An input that its update is written over: a parameter, a state.
    Update(&'a mut Array),
}

impl Slot<'_> {
    fn stamp(&self) -> Stamp {
        match self {
            Slot::Read(array) => array.stamp(),
            Slot::Update(array) => array.stamp(),
        }
    }
}

/// Why a run did not start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RunError {
    #[error("{found} arrays for {expected} {what}")]
    Count { what: &'static str, found: usize, expected: usize },
    #[error("`{name}` wants {expected} elements of {dtype}, not {found} of {found_dtype}")]
    Array { name: String, dtype: DType, expected: usize, found_dtype: DType, found: usize },
    #[error("`{name}` is updated in place and must be given to be written")]
    NotWritable { name: String },
    #[error("no array for the output `{name}`")]
    NoOutput { name: String },
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

/// What one kernel's run took, for a profile.
pub type Observer<'a> = &'a mut dyn FnMut(KernelId, Duration);

impl Executable {
    /// `code` is that of `program`'s kernels, which the verifier accepts.
    pub fn new(program: Program, code: Code) -> Executable {
        let lives = memory::lives(&program);
        let fixed = program.inputs_of(&program.prepared);
        Executable { program, code, lives, fixed, bound: Mutex::default(), room: Mutex::default() }
    }

    pub fn program(&self) -> &Program {
        &self.program
    }

    pub fn code(&self) -> &Code {
        &self.code
    }

    /// Evaluates all sizes for these dims, once for each set of them. Refuses what would not fit into memory.
    pub fn bind(&self, dims: &Dims) -> Result<Arc<Bound>, BindError> {
        let mut known = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bound) = known.get(dims) {
            return Ok(Arc::clone(bound));
        }
        let bound = Arc::new(bind::bind(&self.program, &self.lives, dims)?);
        let room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let held = room.arena.as_ref().map_or(0, Block::len);
        drop(room);
        if bound.arena > held
            && let Some(available) = memory::available()
            && bound.arena - held > available
        {
            return Err(BindError::Memory { needed: bound.arena, available });
        }
        if known.len() >= KNOWN_SIZES {
            known.clear();
        }
        known.insert(dims.clone(), Arc::clone(&bound));
        Ok(bound)
    }

    /// Bytes of the arena at these sizes, whether or not the machine has them.
    ///
    /// # Errors
    /// A dim without a value, sizes beyond what can be addressed.
    pub fn arena(&self, dims: &Dims) -> Result<usize, BindError> {
        Ok(bind::bind(&self.program, &self.lives, dims)?.arena)
    }

    /// What the arena holds at its fullest, as expressions of which the greatest counts; see [`memory::peaks`].
    pub fn peaks(&self) -> Vec<Dim> {
        memory::peaks(&self.program, &self.lives)
    }

    /// Runs the program: `inputs` and `outputs` in its order. Where an output is written over an input, the output is `None`.
    pub fn run(
        &self,
        bound: &Bound,
        inputs: &mut [Slot<'_>],
        outputs: &mut [Option<&mut Array>],
        pool: &Pool,
    ) -> Result<(), RunError> {
        self.run_observed(bound, inputs, outputs, pool, None)
    }

    /// Like [`Executable::run`]; tells `observer` how long each kernel took.
    pub fn run_observed(
        &self,
        bound: &Bound,
        inputs: &mut [Slot<'_>],
        outputs: &mut [Option<&mut Array>],
        pool: &Pool,
        observer: Option<Observer<'_>>,
    ) -> Result<(), RunError> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let Room { arena, kept, lists } = &mut *room;
        self.places(bound, inputs, outputs, lists)?;
        lists.turns.clear();
        lists.turns.resize(bound.turns, 0);
        if arena.as_ref().is_none_or(|arena| arena.len() < bound.arena) {
            // The old one goes first.
            *arena = None;
            *arena = Some(Block::zeroed(bound.arena)?);
        }
        let arena = arena.as_mut().map_or(std::ptr::null_mut(), Block::as_mut_ptr);
        let mut run = Run { exec: self, pool, lists, arena, kept: std::ptr::null_mut(), observer: None };
        if !bound.prepared.is_empty() {
            let stamps = self.fixed.iter().map(|&input| inputs[input].stamp());
            let block = match kept.take() {
                Some((mut block, of)) if of.iter().copied().eq(stamps.clone()) => {
                    run.kept = block.as_mut_ptr();
                    (block, of)
                }
                old => {
                    let mut block = old.map_or_else(|| Block::zeroed(bound.kept), |(block, _)| Ok(block))?;
                    run.kept = block.as_mut_ptr();
                    // SAFETY: every array has the length that the program was bound with, and is borrowed for this call.
                    unsafe { run.steps(&bound.prepared)? };
                    (block, stamps.collect())
                }
            };
            *kept = Some(block);
        }
        run.observer = observer;
        // SAFETY: as above.
        unsafe { run.steps(&bound.steps) }
    }

    /// Lists the addresses of the caller's arrays, once they are what the program expects.
    fn places(
        &self,
        bound: &Bound,
        inputs: &mut [Slot<'_>],
        outputs: &mut [Option<&mut Array>],
        lists: &mut Lists,
    ) -> Result<(), RunError> {
        let program = &self.program;
        for (what, found, expected) in [
            ("inputs", inputs.len(), program.inputs.len()),
            ("outputs", outputs.len(), program.outputs.len()),
        ] {
            if found != expected {
                return Err(RunError::Count { what, found, expected });
            }
        }
        let fits = |buffer: Buffer, array: &Array| {
            let (dtype, expected) = bind::expected(program, bound, buffer);
            if (array.dtype(), array.len()) == (dtype, expected) {
                return Ok(());
            }
            let name = program.buffers[buffer].name.to_string();
            Err(RunError::Array { name, dtype, expected, found_dtype: array.dtype(), found: array.len() })
        };
        lists.inputs.clear();
        for (slot, &buffer) in inputs.iter_mut().zip(&program.inputs) {
            let written = matches!(program.buffers[buffer].kind, BufferKind::InOut(..));
            lists.inputs.push(match slot {
                Slot::Read(_) if written => {
                    return Err(RunError::NotWritable { name: program.buffers[buffer].name.to_string() });
                }
                Slot::Read(array) => {
                    fits(buffer, array)?;
                    array.as_ptr().cast_mut()
                }
                Slot::Update(array) => {
                    fits(buffer, array)?;
                    array.as_mut_ptr()
                }
            });
        }
        lists.outputs.clear();
        for (output, &buffer) in outputs.iter_mut().zip(&program.outputs) {
            let in_place =
                matches!(program.buffers[buffer].kind, BufferKind::InOut(..) | BufferKind::Input(_));
            lists.outputs.push(match output {
                Some(array) if !in_place => {
                    fits(buffer, array)?;
                    array.as_mut_ptr()
                }
                None if !in_place => {
                    return Err(RunError::NoOutput { name: program.buffers[buffer].name.to_string() });
                }
                _ => std::ptr::null_mut(),
            });
        }
        Ok(())
    }
}

/// One run under way.
struct Run<'a, 'o> {
    exec: &'a Executable,
    pool: &'a Pool,
    lists: &'a mut Lists,
    arena: *mut u8,
    kept: *mut u8,
    observer: Option<Observer<'o>>,
}

thread_local! {
    /// This thread's scratch for kernels.
    static SCRATCH: RefCell<Option<Block>> = const { RefCell::new(None) };
}

impl Run<'_, '_> {
    /// # Safety
    /// The addresses are those of arrays that the program was bound with, which no one else touches.
    unsafe fn steps(&mut self, steps: &[BoundStep]) -> Result<(), RunError> {
        for step in steps {
            match step {
                // SAFETY: the caller's promise.
                BoundStep::Run(run) => unsafe { self.kernel(run)? },
                BoundStep::Loop { turn, count, reverse, body } => {
                    for i in 0..*count {
                        self.lists.turns[*turn] = if *reverse { count - 1 - i } else { i };
                        // SAFETY: the caller's promise.
                        unsafe { self.steps(body)? };
                    }
                }
                // SAFETY: the caller's promise.
                BoundStep::Sort(sort) => unsafe { self.sort(sort) },
                BoundStep::Copy { from, to, bytes } => {
                    let (from, to) = (self.address(from), self.address(to));
                    // SAFETY: both places have as many bytes: the program copies within its buffers.
                    unsafe { std::ptr::copy(from, to, *bytes) };
                }
            }
        }
        Ok(())
    }

    /// # Safety
    /// As for [`Run::steps`].
    unsafe fn sort(&self, sort: &BoundSort) {
        let rows = Rows { from: self.address(&sort.from), to: self.address(&sort.to) };
        let task = |row: usize| {
            let rows = &rows;
            let (from, to) = (rows.from, rows.to);
            // SAFETY: the program sorts within its buffers, which are two; rows are disjoint.
            let (from, to) = unsafe {
                (
                    std::slice::from_raw_parts(from.add(row * sort.read), sort.read),
                    std::slice::from_raw_parts_mut(to.add(row * sort.written), sort.written),
                )
            };
            sort_row(sort.what, sort.descending, sort.dtype, from, to);
        };
        match sort.rows {
            _ if sort.read == 0 => {}
            1 => task(0),
            rows if rows * sort.read < SERIAL_SORT => (0..rows).for_each(task),
            rows => self.pool.run(rows, &task),
        }
    }

    fn address(&self, r: &BoundRef) -> *mut u8 {
        let start = match r.at {
            Place::Input(i) => self.lists.inputs[i],
            Place::Output(i) => self.lists.outputs[i],
            Place::Arena => self.arena,
            Place::Kept => self.kept,
        };
        let offset = r.turns.iter().fold(r.offset, |offset, &(turn, stride)| {
            offset.wrapping_add(self.lists.turns[turn].wrapping_mul(stride))
        });
        start.wrapping_offset(offset as isize)
    }

    /// # Safety
    /// As for [`Run::steps`].
    unsafe fn kernel(&mut self, run: &BoundRun) -> Result<(), RunError> {
        let mut args = std::mem::take(&mut self.lists.args);
        args.clear();
        args.extend(run.args.iter().map(|r| self.address(r)));
        let begun = self.observer.is_some().then(Instant::now);
        let shared = Shared { code: &self.exec.code, run, args: args.as_ptr() };
        let tasks = (run.points.max(0) as u64).div_ceil(run.chunk.max(1) as u64) as usize;
        let failed = std::sync::atomic::AtomicBool::new(false);
        let task = |i: usize| {
            let shared = &shared;
            let begin = i as i64 * shared.run.chunk;
            let end = shared.run.points.min(begin + shared.run.chunk);
            // SAFETY: the caller's promise; points of a grid are independent.
            if unsafe { shared.points(begin, end) }.is_err() {
                failed.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        };
        match tasks {
            0 => {}
            1 => task(0),
            _ => self.pool.run(tasks, &task),
        }
        self.lists.args = args;
        if let (Some(begun), Some(observer)) = (begun, &mut self.observer) {
            observer(run.kernel, begun.elapsed());
        }
        if failed.into_inner() { Err(OutOfMemory(run.scratch).into()) } else { Ok(()) }
    }
}

/// Where the rows of a sort lie.
struct Rows {
    from: *mut u8,
    to: *mut u8,
}

// SAFETY: threads read and write disjoint rows.
unsafe impl Sync for Rows {}

/// What the threads of one kernel's run share.
struct Shared<'a> {
    code: &'a Code,
    run: &'a BoundRun,
    args: *const *mut u8,
}

// SAFETY: threads read the addresses; what lies there they write at disjoint places, the points of a grid being independent.
unsafe impl Sync for Shared<'_> {}

impl Shared<'_> {
    /// # Safety
    /// As for [`Run::steps`]; `begin..end` lies in the grid.
    unsafe fn points(&self, begin: i64, end: i64) -> Result<(), OutOfMemory> {
        let (kernel, sizes) = (self.run.kernel, self.run.sizes.as_ptr());
        if self.run.scratch == 0 {
            // SAFETY: the caller's promise; the kernel uses no scratch.
            unsafe { self.code.run(kernel, self.args, sizes, begin, end, std::ptr::null_mut()) };
            return Ok(());
        }
        SCRATCH.with_borrow_mut(|block| {
            if block.as_ref().is_none_or(|block| block.len() < self.run.scratch) {
                *block = Some(Block::zeroed(self.run.scratch)?);
            }
            let scratch = block.as_mut().map_or(std::ptr::null_mut(), Block::as_mut_ptr);
            // SAFETY: the caller's promise; the scratch is this thread's own and large enough.
            unsafe { self.code.run(kernel, self.args, sizes, begin, end, scratch) };
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::allocations;
    use super::*;
    use crate::axes::Dim;
    use crate::base::{FileId, Span};
    use crate::codegen::cranelift::{Options, compile};
    use crate::kernel::{
        AccOp, Address, BodyBuilder, BufferDecl, BufferRef, Range, Size, Step, StepVar, verify_program,
    };
    use cranelift_entity::EntityRef;

    fn whole(buffer: Buffer) -> BufferRef {
        BufferRef { buffer, offset: Dim::constant(0), turns: vec![] }
    }

    fn n() -> Dim {
        Dim::var("N")
    }

    fn declare(program: &mut Program, name: &str, len: Dim, kind: BufferKind) -> Buffer {
        let buffer = program.buffers.push(BufferDecl { name: name.into(), dtype: DType::F32, len, kind });
        match kind {
            BufferKind::Input(_) => program.inputs.push(buffer),
            BufferKind::Output(_) => program.outputs.push(buffer),
            BufferKind::InOut(..) => {
                program.inputs.push(buffer);
                program.outputs.push(buffer);
            }
            BufferKind::Temp | BufferKind::Kept => {}
        }
        buffer
    }

    /// t = 2x in chunks of the grid; three turns of p += t; the sum of p.
    fn program() -> Program {
        let mut program = Program::default();
        let x = declare(&mut program, "x", n(), BufferKind::Input(0));
        let p = declare(&mut program, "p", n(), BufferKind::InOut(1, 0));
        let t = declare(&mut program, "t", n(), BufferKind::Temp);
        let sum = declare(&mut program, "sum", Dim::constant(1), BufferKind::Output(1));
        let chunks =
            n().add(&Dim::constant(1023)).and_then(|d| d.div(&Dim::constant(1024))).expect("a small dim");
        let span = Span::new(FileId(0), 0, 0);
        let row = |var| Address::of([(crate::kernel::Coord::Var(var), Size::Const(1))]);

        let mut b = BodyBuilder::new("double", span);
        let (from, to) = (b.read(DType::F32), b.write(DType::F32));
        let (of, count) = (b.size(&n()), b.size(&chunks));
        let index = b.grid(count);
        b.for_lanes(Range::Chunk { of, by: 1024, index }, |b, i| {
            let x = b.load(from, row(i));
            let y = b.add(x, x);
            b.store(to, row(i), y);
        });
        let double = program.kernels.push(b.finish());

        let mut b = BodyBuilder::new("add", span);
        let (from, to) = (b.read(DType::F32), b.write(DType::F32));
        let of = b.size(&n());
        b.for_lanes(Range::Full(of), |b, i| {
            let (x, y) = (b.load(from, row(i)), b.load(to, row(i)));
            let y = b.add(x, y);
            b.store(to, row(i), y);
        });
        let add = program.kernels.push(b.finish());

        let mut b = BodyBuilder::new("sum", span);
        let (from, to) = (b.read(DType::F32), b.write(DType::F32));
        let (of, zero) = (b.size(&n()), b.f32(0.0));
        let [total] = b.fold(Range::Full(of), true, [(AccOp::Sum, zero)], |b, i| [b.load(from, row(i))]);
        b.store(to, Address::default(), total);
        let reduce = program.kernels.push(b.finish());

        let turn = StepVar::new(0);
        let body = vec![Step::Run { kernel: add, args: vec![whole(t), whole(p)] }];
        program.steps = vec![
            Step::Run { kernel: double, args: vec![whole(x), whole(t)] },
            Step::Loop { var: turn, count: Dim::constant(3), reverse: true, body },
            Step::Run { kernel: reduce, args: vec![whole(p), whole(sum)] },
        ];
        verify_program(&program).expect("a sound program");
        program
    }

    fn executable() -> Executable {
        let program = program();
        let code = compile(&program, Options::default()).expect("code");
        Executable::new(program, code)
    }

    fn dims(n: i64) -> Dims {
        Dims::from([("N".into(), n)])
    }

    #[test]
    fn one_program_serves_all_sizes_on_any_number_of_threads() {
        let exec = executable();
        let mut results = Vec::new();
        for threads in [1, 2] {
            let pool = Pool::new(threads).expect("threads");
            for count in [0usize, 1, 100, 5000, 300_000] {
                let bound = exec.bind(&dims(count as i64)).expect("sizes");
                let values: Vec<f32> = (0..count).map(|i| (i as f32 * 0.1).sin()).collect();
                let x = Array::from_slice(&values).expect("memory");
                let mut p = Array::zeros(DType::F32, count).expect("memory");
                let mut sum = Array::zeros(DType::F32, 1).expect("memory");
                for _ in 0..2 {
                    let inputs = &mut [Slot::Read(&x), Slot::Update(&mut p)];
                    exec.run(&bound, inputs, &mut [None, Some(&mut sum)], &pool).expect("a run");
                }
                let found = p.as_slice::<f32>().expect("f32");
                assert!(found.iter().zip(&values).all(|(p, x)| (p - 12.0 * x).abs() < 1e-4));
                results.push((p.bytes().to_vec(), sum.bytes().to_vec()));
            }
        }
        assert_eq!(results[..5], results[5..]);
    }

    /// x_k += 1 for each of so many arrays, in one kernel.
    fn increments(count: u32) -> Executable {
        let mut program = Program::default();
        let mut b = BodyBuilder::new("increments", Span::new(FileId(0), 0, 0));
        let of = b.size(&n());
        let arrays: Vec<Buffer> = (0..count)
            .map(|k| declare(&mut program, &format!("x{k}"), n(), BufferKind::InOut(k, k)))
            .collect();
        let args: Vec<_> = arrays.iter().map(|_| b.write(DType::F32)).collect();
        b.for_lanes(Range::Full(of), |b, i| {
            for arg in args {
                let at = Address::of([(crate::kernel::Coord::Var(i), Size::Const(1))]);
                let (x, one) = (b.load(arg, at.clone()), b.f32(1.0));
                let y = b.add(x, one);
                b.store(arg, at, y);
            }
        });
        let kernel = program.kernels.push(b.finish());
        program.steps = vec![Step::Run { kernel, args: arrays.into_iter().map(whole).collect() }];
        let code = compile(&program, Options::default()).expect("code");
        Executable::new(program, code)
    }

    #[test]
    fn no_run_but_the_first_allocates() {
        for threads in [1, 2] {
            let pool = Pool::new(threads).expect("threads");
            let exec = executable();
            let bound = exec.bind(&dims(300_000)).expect("sizes");
            let array = || Array::zeros(DType::F32, 300_000).expect("memory");
            let (x, mut p, mut sum) = (array(), array(), Array::zeros(DType::F32, 1).expect("memory"));
            let mut run = || {
                let inputs = &mut [Slot::Read(&x), Slot::Update(&mut p)];
                exec.run(&bound, inputs, &mut [None, Some(&mut sum)], &pool).expect("a run");
            };
            assert!(allocations::during(&mut run) > 0);
            assert_eq!(allocations::during(&mut run), 0);

            let exec = increments(40);
            let bound = exec.bind(&dims(5000)).expect("sizes");
            let mut arrays: Vec<Array> =
                (0..40).map(|_| Array::zeros(DType::F32, 5000).expect("memory")).collect();
            for first in [true, false, false] {
                let mut slots: Vec<Slot<'_>> = arrays.iter_mut().map(Slot::Update).collect();
                let mut outputs: Vec<Option<&mut Array>> = (0..40).map(|_| None).collect();
                let run = || exec.run(&bound, &mut slots, &mut outputs, &pool).expect("a run");
                let count = allocations::during(run);
                assert!(first || count == 0, "{count} allocations");
            }
        }
    }

    #[test]
    fn wrong_arrays_are_errors() {
        let exec = executable();
        let pool = Pool::new(1).expect("a thread");
        let bound = exec.bind(&dims(4)).expect("sizes");
        let (x, mut p) =
            (Array::zeros(DType::F32, 4).expect("memory"), Array::zeros(DType::F32, 3).expect("memory"));
        let mut sum = Array::zeros(DType::F32, 1).expect("memory");
        let run = |inputs: &mut [Slot<'_>], outputs: &mut [Option<&mut Array>]| {
            exec.run(&bound, inputs, outputs, &pool).err()
        };
        let error = run(&mut [Slot::Read(&x), Slot::Update(&mut p)], &mut [None, Some(&mut sum)]);
        assert_eq!(
            error.map(|e| e.to_string()).as_deref(),
            Some("`p` wants 4 elements of f32, not 3 of f32")
        );
        let error = run(&mut [Slot::Read(&x)], &mut [None, Some(&mut sum)]);
        assert_eq!(error, Some(RunError::Count { what: "inputs", found: 1, expected: 2 }));
        let error = run(&mut [Slot::Read(&x), Slot::Read(&x)], &mut [None, None]);
        assert_eq!(error, Some(RunError::NotWritable { name: "p".to_owned() }));
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let exec = executable();
        assert!(matches!(exec.bind(&dims(-1)), Err(BindError::Negative { .. })));
        assert!(matches!(exec.bind(&dims(i64::MAX)), Err(BindError::Dim(_) | BindError::TooLarge { .. })));
        assert!(matches!(exec.bind(&dims(1 << 50)), Err(BindError::Memory { .. })));
        assert!(matches!(exec.bind(&Dims::new()), Err(BindError::Dim(_))));
    }
}
