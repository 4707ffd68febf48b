//! The plan: the words that `bind` writes for given dims and that `run` reads.
//!
//! Word 0 tells whose plan it is; then come the variant of the code, the bytes of the arena and of a thread's scratch, the offsets of the
//! slots, for each kernel its points, the points of a task and its table of sizes, the same for each sort, at last every other number that a
//! run needs.

use cranelift_entity::{EntityRef, SecondaryMap};
use indexmap::IndexMap;

use super::entry::Entry;
use super::sort::sorts;
use crate::axes::Dim;
use crate::kernel::{Buffer, BufferKind, BufferRef, KernelId, Program, Step};

pub const OWNER: usize = 0;
pub const VARIANT: usize = 1;
pub const ARENA: usize = 2;
pub const SCRATCH: usize = 3;
const SLOTS: usize = 4;

pub struct Layout {
    /// The first word of each kernel: points, chunk, then its sizes.
    kernels: SecondaryMap<KernelId, usize>,
    /// The first word of each sort: rows, chunk, length of a row.
    sorts: Vec<usize>,
    /// A dim times a number of bytes, and its word; constants have none.
    pub amounts: IndexMap<(Dim, i64), usize>,
    pub words: usize,
}

impl Layout {
    pub fn of(entry: &Entry<'_>) -> Layout {
        let mut layout = Layout {
            kernels: SecondaryMap::new(),
            sorts: Vec::new(),
            amounts: IndexMap::new(),
            words: SLOTS + entry.slots.count,
        };
        for (id, kernel) in &entry.program.kernels {
            layout.kernels[id] = layout.words;
            layout.words += 2 + kernel.sizes.len();
        }
        for _ in sorts(entry.program) {
            layout.sorts.push(layout.words);
            layout.words += 3;
        }
        layout.steps(entry.program, &entry.program.steps);
        for (input, bound) in &entry.positions {
            layout.want(&entry.program.buffers[entry.program.inputs[*input]].len, 1);
            layout.want(bound, 1);
        }
        layout
    }

    pub fn slot(&self, slot: usize) -> usize {
        SLOTS + slot
    }

    pub fn points(&self, kernel: KernelId) -> usize {
        self.kernels[kernel]
    }

    pub fn chunk(&self, kernel: KernelId) -> usize {
        self.kernels[kernel] + 1
    }

    pub fn sizes(&self, kernel: KernelId) -> usize {
        self.kernels[kernel] + 2
    }

    /// The words of the sort of this number: rows, chunk, length.
    pub fn sort(&self, number: usize) -> [usize; 3] {
        let first = self.sorts[number];
        [first, first + 1, first + 2]
    }

    fn want(&mut self, dim: &Dim, unit: i64) {
        if dim.as_const().is_none() {
            let next = self.words + self.amounts.len();
            self.amounts.entry((dim.clone(), unit)).or_insert(next);
        }
    }

    fn steps(&mut self, program: &Program, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Run { args, .. } => args.iter().for_each(|arg| self.reference(program, arg)),
                Step::Loop { count, body, .. } => {
                    self.want(count, 1);
                    self.steps(program, body);
                }
                Step::Copy { from, to, dtype, len } => {
                    self.want(len, dtype.size() as i64);
                    self.reference(program, from);
                    self.reference(program, to);
                }
                Step::Sort { from, to, .. } => {
                    self.reference(program, from);
                    self.reference(program, to);
                }
            }
        }
    }

    fn reference(&mut self, program: &Program, r: &BufferRef) {
        let element = program.buffers[r.buffer].dtype.size() as i64;
        self.want(&r.offset, element);
        r.turns.iter().for_each(|(_, stride)| self.want(stride, element));
    }

    /// All words of the plan.
    pub fn len(&self) -> usize {
        self.words + self.amounts.len()
    }
}

/// The slot of a temporary buffer.
pub fn slot_of(entry: &Entry<'_>, buffer: Buffer) -> Option<usize> {
    match entry.program.buffers[buffer].kind {
        BufferKind::Temp => entry.slots.of[buffer],
        _ => None,
    }
}

/// The largest number of buffers that a kernel takes.
pub fn most_arguments(steps: &[Step]) -> usize {
    let of = |step: &Step| match step {
        Step::Run { args, .. } => args.len(),
        Step::Loop { body, .. } => most_arguments(body),
        Step::Sort { .. } => 2,
        Step::Copy { .. } => 0,
    };
    steps.iter().map(of).max().unwrap_or(0)
}

/// The number of loop counters.
pub fn count_turns(steps: &[Step]) -> usize {
    let of = |step: &Step| match step {
        Step::Loop { var, body, .. } => count_turns(body).max(var.index() + 1),
        _ => 0,
    };
    steps.iter().map(of).max().unwrap_or(0)
}
