//! Binding: a program and numbers for its dims give every size, offset and chunk that a run needs. Nothing here is done twice for the
//! same numbers, and every number is checked before anything is allocated.

use std::collections::BTreeMap;

use cranelift_entity::{EntityRef, SecondaryMap};
use thiserror::Error;

use super::array::OutOfMemory;
use super::memory::{self, Life, Plan};
use crate::axes::{Dim, DimError, DimVar};
use crate::base::Name;
use crate::kernel::cost::{Estimate, SERIAL, TASK, cost};
use crate::kernel::{Buffer, BufferKind, BufferRef, Kernel, KernelId, Program, Size, Step};
use crate::tensor::{DType, Sorted};

/// Numbers for the dims of a program.
pub type Dims = BTreeMap<DimVar, i64>;

/// Why a program does not run at these sizes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BindError {
    #[error(transparent)]
    Dim(#[from] DimError),
    #[error("`{name}` would have {value} elements")]
    Negative { name: Name, value: i64 },
    #[error("`{name}` is larger than memory can be")]
    TooLarge { name: Name },
    /// Refused before anything is allocated.
    #[error("{needed} bytes of memory are needed, {available} are available")]
    Memory { needed: usize, available: usize },
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

/// A program at known sizes.
#[derive(Debug)]
pub struct Bound {
    pub(super) prepared: Vec<BoundStep>,
    pub(super) steps: Vec<BoundStep>,
    /// Elements of each buffer.
    pub(super) lens: SecondaryMap<Buffer, usize>,
    /// Bytes of the arena, of what is kept from run to run, and of each thread's scratch.
    pub arena: usize,
    pub kept: usize,
    pub scratch: usize,
    /// The number of loop counters.
    pub(super) turns: usize,
}

#[derive(Debug)]
pub(super) enum BoundStep {
    Run(BoundRun),
    Loop { turn: usize, count: i64, reverse: bool, body: Vec<BoundStep> },
    Copy { from: BoundRef, to: BoundRef, bytes: usize },
    Sort(BoundSort),
}

#[derive(Debug)]
pub(super) struct BoundSort {
    pub what: Sorted,
    pub descending: bool,
    pub dtype: DType,
    pub from: BoundRef,
    pub to: BoundRef,
    pub rows: usize,
    /// Bytes of a row that is read, of one that is written.
    pub read: usize,
    pub written: usize,
}

#[derive(Debug)]
pub(super) struct BoundRun {
    pub kernel: KernelId,
    pub args: Vec<BoundRef>,
    pub sizes: Box<[i64]>,
    pub points: i64,
    /// Points that one task runs.
    pub chunk: i64,
    pub scratch: usize,
}

/// A place in a buffer, in bytes.
#[derive(Debug)]
pub(super) struct BoundRef {
    pub buffer: Buffer,
    pub at: Place,
    pub offset: i64,
    pub turns: Vec<(usize, i64)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// The caller's input or output of this number.
    Input(usize),
    Output(usize),
    Arena,
    Kept,
}

/// Evaluates a program at `dims`; `lives` are its buffers' lives.
pub(super) fn bind(
    program: &Program,
    lives: &SecondaryMap<Buffer, Option<Life>>,
    dims: &Dims,
) -> Result<Bound, BindError> {
    let (lens, bytes) = sizes(program, dims)?;
    let plan = memory::plan(program, lives, &bytes)
        .ok_or_else(|| BindError::TooLarge { name: "the sum of all buffers".into() })?;
    let mut binder = Binder { program, dims, plan: &plan, scratch: 0 };
    let (prepared, steps) = (binder.steps(&program.prepared)?, binder.steps(&program.steps)?);
    let turns = count_turns(&program.prepared).max(count_turns(&program.steps));
    let Plan { bytes: arena, kept, .. } = plan;
    Ok(Bound { prepared, steps, lens, arena, kept, scratch: binder.scratch, turns })
}

/// Elements and bytes of each buffer.
type Sizes = (SecondaryMap<Buffer, usize>, SecondaryMap<Buffer, usize>);

fn sizes(program: &Program, dims: &Dims) -> Result<Sizes, BindError> {
    let mut lens = SecondaryMap::new();
    let mut bytes = SecondaryMap::new();
    for (buffer, decl) in &program.buffers {
        let value = decl.len.eval(dims)?;
        let len =
            usize::try_from(value).map_err(|_| BindError::Negative { name: decl.name.clone(), value })?;
        let too_large = || BindError::TooLarge { name: decl.name.clone() };
        let size = len
            .checked_mul(decl.dtype.size())
            .filter(|&b| isize::try_from(b).is_ok())
            .ok_or_else(too_large)?;
        lens[buffer] = len;
        bytes[buffer] = size;
    }
    Ok((lens, bytes))
}

/// What a program's temporaries take at these sizes: the bytes of the arena, and what it holds at its fullest, the largest first.
///
/// # Errors
/// A dim without a value, sizes beyond what can be addressed.
pub fn temporaries(program: &Program, dims: &Dims) -> Result<(usize, Vec<(Buffer, usize)>), BindError> {
    let lives = memory::lives(program);
    let (_, bytes) = sizes(program, dims)?;
    let plan = memory::plan(program, &lives, &bytes)
        .ok_or_else(|| BindError::TooLarge { name: "the sum of all buffers".into() })?;
    Ok((plan.bytes, memory::fullest(program, &lives, &bytes)))
}

struct Binder<'a> {
    program: &'a Program,
    dims: &'a Dims,
    plan: &'a Plan,
    scratch: usize,
}

impl Binder<'_> {
    fn steps(&mut self, steps: &[Step]) -> Result<Vec<BoundStep>, BindError> {
        steps.iter().map(|step| self.step(step)).collect()
    }

    fn step(&mut self, step: &Step) -> Result<BoundStep, BindError> {
        Ok(match step {
            Step::Run { kernel: id, args } => {
                let kernel = &self.program.kernels[*id];
                let too_large = || BindError::TooLarge { name: kernel.name.clone() };
                let sizes = kernel
                    .sizes
                    .values()
                    .map(|dim| dim.eval(self.dims))
                    .collect::<Result<Box<[i64]>, DimError>>()?;
                let points = kernel.grid_points(&sizes).ok_or_else(too_large)?;
                let layout = kernel.scratch_layout(&sizes).ok_or_else(too_large)?;
                let scratch = layout.last().copied().unwrap_or(0);
                let scratch = usize::try_from(scratch).map_err(|_| too_large())?;
                self.scratch = self.scratch.max(scratch);
                let args =
                    args.iter().map(|r| self.reference(r)).collect::<Result<Vec<BoundRef>, BindError>>()?;
                let chunk = chunk(kernel, &sizes, points);
                BoundStep::Run(BoundRun { kernel: *id, args, sizes, points, chunk, scratch })
            }
            Step::Loop { var, count, reverse, body } => {
                let count = count.eval(self.dims)?;
                let body = self.steps(body)?;
                BoundStep::Loop { turn: var.index(), count, reverse: *reverse, body }
            }
            Step::Sort { what, descending, from, to, rows, len } => {
                let decls = [from, to].map(|r| &self.program.buffers[r.buffer]);
                let number = |dim: &Dim| {
                    let value = dim.eval(self.dims)?;
                    let name = || decls[1].name.clone();
                    usize::try_from(value).map_err(|_| BindError::Negative { name: name(), value })
                };
                let (rows, len) = (number(rows)?, number(len)?);
                // Rows lie within buffers whose bytes were counted above.
                let [read, written] = decls.map(|decl| len * decl.dtype.size());
                let (from, to) = (self.reference(from)?, self.reference(to)?);
                let (what, descending, dtype) = (*what, *descending, decls[0].dtype);
                BoundStep::Sort(BoundSort { what, descending, dtype, from, to, rows, read, written })
            }
            Step::Copy { from, to, dtype, len } => {
                let name = &self.program.buffers[to.buffer].name;
                let value = len.eval(self.dims)?;
                let len =
                    usize::try_from(value).map_err(|_| BindError::Negative { name: name.clone(), value })?;
                let bytes = len
                    .checked_mul(dtype.size())
                    .ok_or_else(|| BindError::TooLarge { name: name.clone() })?;
                BoundStep::Copy { from: self.reference(from)?, to: self.reference(to)?, bytes }
            }
        })
    }

    fn reference(&self, r: &BufferRef) -> Result<BoundRef, BindError> {
        let decl = &self.program.buffers[r.buffer];
        let element = decl.dtype.size() as i64;
        let in_bytes = |dim: &Dim| -> Result<i64, BindError> {
            let elements = dim.eval(self.dims)?;
            elements.checked_mul(element).ok_or_else(|| BindError::TooLarge { name: decl.name.clone() })
        };
        let (at, base) = match decl.kind {
            BufferKind::Input(i) | BufferKind::InOut(i, _) => (Place::Input(i as usize), 0),
            BufferKind::Output(i) => (Place::Output(i as usize), 0),
            BufferKind::Temp => (Place::Arena, self.plan.offsets[r.buffer] as i64),
            BufferKind::Kept => (Place::Kept, self.plan.offsets[r.buffer] as i64),
        };
        let offset = in_bytes(&r.offset)?
            .checked_add(base)
            .ok_or_else(|| BindError::TooLarge { name: decl.name.clone() })?;
        let turns = r
            .turns
            .iter()
            .map(|(turn, stride)| Ok((turn.index(), in_bytes(stride)?)))
            .collect::<Result<_, BindError>>()?;
        Ok(BoundRef { buffer: r.buffer, at, offset, turns })
    }
}

fn count_turns(steps: &[Step]) -> usize {
    let of = |step: &Step| match step {
        Step::Loop { var, body, .. } => count_turns(body).max(var.index() + 1),
        _ => 0,
    };
    steps.iter().map(of).max().unwrap_or(0)
}

/// Points for one task. The bits of a result do not depend on it, for points are independent.
fn chunk(kernel: &Kernel, sizes: &[i64], points: i64) -> i64 {
    let each = cost(&kernel.body, &mut Numbers(sizes)).max(1.0);
    let total = each * points as f64;
    if total < SERIAL {
        return points.max(1);
    }
    let tasks = (total / TASK).floor().min(points as f64).max(1.0) as i64;
    // As even as can be.
    points.div_euclid(tasks) + i64::from(points % tasks != 0)
}

/// Costs as numbers, under a table of sizes.
struct Numbers<'a>(&'a [i64]);

impl Estimate for Numbers<'_> {
    type Number = f64;

    fn constant(&mut self, value: f64) -> f64 {
        value
    }

    fn size(&mut self, size: Size, limit: Option<i64>) -> f64 {
        size.value(self.0).unwrap_or(0).min(limit.unwrap_or(i64::MAX)).max(0) as f64
    }

    fn sum(&mut self, a: f64, b: f64) -> f64 {
        a + b
    }

    fn product(&mut self, a: f64, b: f64) -> f64 {
        a * b
    }
}

/// The dtype and elements that the caller's buffers must have.
pub(super) fn expected(program: &Program, bound: &Bound, buffer: Buffer) -> (DType, usize) {
    (program.buffers[buffer].dtype, bound.lens[buffer])
}
