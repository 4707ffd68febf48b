//! Where each temporary buffer lies in the arena: buffers that are never alive together share bytes.

use std::collections::BTreeMap;

use cranelift_entity::{EntityRef, SecondaryMap};

use super::array::ALIGN;
use crate::axes::Dim;
use crate::kernel::{ArgKind, Buffer, BufferKind, BufferRef, Program, Step};

/// The arena's layout for given sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The first byte of each temporary buffer in the arena, of each kept one among the kept; 0 for others.
    pub offsets: SecondaryMap<Buffer, usize>,
    /// Bytes of the arena.
    pub bytes: usize,
    /// Bytes of what is kept from run to run.
    pub kept: usize,
}

/// Steps from the first use of a buffer to its last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    pub first: usize,
    pub last: usize,
}

/// How long each temporary buffer lives, in steps numbered in order of the text; `None` for one that nothing uses.
///
/// Inside a loop a buffer that the turn writes as a whole before it reads lives within the turn; one that carries something from turn to
/// turn, or comes from before the loop, lives through all of it.
pub fn lives(program: &Program) -> SecondaryMap<Buffer, Option<Life>> {
    let mut uses = Uses { program, step: 0, lives: SecondaryMap::new(), fresh: SecondaryMap::new() };
    uses.steps(&program.prepared);
    uses.steps(&program.steps);
    uses.lives
}

struct Uses<'a> {
    program: &'a Program,
    step: usize,
    lives: SecondaryMap<Buffer, Option<Life>>,
    /// Whether the buffer's first use writes it from its beginning and is the same in all turns.
    fresh: SecondaryMap<Buffer, bool>,
}

impl Uses<'_> {
    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Run { kernel, args } => {
                    let kernel = &self.program.kernels[*kernel];
                    let buffers: Vec<&ArgKind> = kernel.pointers().map(|(_, decl)| &decl.kind).collect();
                    // What a kernel reads is read before it writes.
                    for (arg, _) in args.iter().zip(&buffers).filter(|(_, kind)| ***kind == ArgKind::Read) {
                        self.used(arg, false);
                    }
                    for (arg, _) in args.iter().zip(&buffers).filter(|(_, kind)| ***kind == ArgKind::Write) {
                        self.used(arg, true);
                    }
                }
                Step::Copy { from, to, .. } | Step::Sort { from, to, .. } => {
                    self.used(from, false);
                    self.used(to, true);
                }
                Step::Loop { body, .. } => {
                    let begin = self.step;
                    self.steps(body);
                    let end = self.step.max(begin + 1) - 1;
                    for buffer in self.program.buffers.keys() {
                        let Some(life) = &mut self.lives[buffer] else { continue };
                        let inside = life.last >= begin;
                        let outside = life.first < begin;
                        if inside && (outside || !self.fresh[buffer]) {
                            life.first = life.first.min(begin);
                            life.last = life.last.max(end);
                        }
                    }
                }
            }
            self.step += 1;
        }
    }

    fn used(&mut self, r: &BufferRef, writes: bool) {
        if self.program.buffers[r.buffer].kind != BufferKind::Temp {
            return;
        }
        match &mut self.lives[r.buffer] {
            Some(life) => life.last = self.step,
            empty => {
                *empty = Some(Life { first: self.step, last: self.step });
                self.fresh[r.buffer] = writes && r.turns.is_empty();
            }
        }
    }
}

/// Places buffers of these sizes (bytes), the largest first, each into the smallest gap that holds it. `None` where the sum of sizes exceeds
/// what can be addressed.
pub fn plan(
    program: &Program,
    lives: &SecondaryMap<Buffer, Option<Life>>,
    bytes: &SecondaryMap<Buffer, usize>,
) -> Option<Plan> {
    let padded = |buffer: Buffer| bytes[buffer].checked_next_multiple_of(ALIGN);
    let mut order: Vec<(Buffer, Life)> = program
        .buffers
        .keys()
        .filter_map(|buffer| Some((buffer, lives[buffer]?)))
        .filter(|&(b, _)| bytes[b] > 0)
        .collect();
    order.sort_by_key(|&(buffer, life)| (std::cmp::Reverse(bytes[buffer]), life.first, buffer.index()));
    let mut plan = Plan { offsets: SecondaryMap::new(), bytes: 0, kept: 0 };
    for (buffer, _) in program.buffers.iter().filter(|(_, decl)| decl.kind == BufferKind::Kept) {
        plan.offsets[buffer] = plan.kept;
        plan.kept = plan.kept.checked_add(padded(buffer)?).filter(|&end| isize::try_from(end).is_ok())?;
    }
    let mut placed: Vec<(usize, usize, Life)> = Vec::new();
    for (buffer, life) in order {
        let size = padded(buffer)?;
        // `placed` is sorted by its starts: gaps lie between the neighbours that are alive at the same time.
        let mut best: Option<(usize, usize)> = None;
        let mut free = 0usize;
        for &(start, end, other) in &placed {
            if other.first > life.last || other.last < life.first {
                continue;
            }
            if start >= free && start - free >= size && best.is_none_or(|(gap, _)| start - free < gap) {
                best = Some((start - free, free));
            }
            free = free.max(end);
        }
        let start = best.map_or(free, |(_, at)| at);
        let end = start.checked_add(size).filter(|&end| isize::try_from(end).is_ok())?;
        plan.offsets[buffer] = start;
        plan.bytes = plan.bytes.max(end);
        let at = placed.partition_point(|&(other, ..)| other <= start);
        placed.insert(at, (start, end, life));
    }
    Some(plan)
}

/// The sum of what lives at each step, in bytes, as expressions over the program's dims: whatever their values, the arena holds at
/// least the greatest of them (and what fills the gaps between buffers). Sums that another one exceeds at every size are left out.
pub fn peaks(program: &Program, lives: &SecondaryMap<Buffer, Option<Life>>) -> Vec<Dim> {
    let alive: Vec<(Life, Dim)> = program
        .buffers
        .iter()
        .filter_map(|(buffer, decl)| {
            Some((lives[buffer]?, decl.len.mul(&Dim::constant(decl.dtype.size() as i64)).ok()?))
        })
        .collect();
    let exceeds = |a: &Dim, b: &Dim| a.sub(b).is_ok_and(|difference| difference.at_least(0));
    let mut greatest: Vec<Dim> = Vec::new();
    let mut changes: BTreeMap<usize, (Vec<&Dim>, Vec<&Dim>)> = BTreeMap::new();
    for (life, bytes) in &alive {
        changes.entry(life.first).or_default().0.push(bytes);
        changes.entry(life.last + 1).or_default().1.push(bytes);
    }
    let mut sum = Dim::constant(0);
    for (begun, ended) in changes.values() {
        sum = ended.iter().fold(sum, |sum, bytes| sum.sub(bytes).unwrap_or(sum));
        sum = begun.iter().fold(sum, |sum, bytes| sum.add(bytes).unwrap_or(sum));
        if !begun.is_empty() && !greatest.iter().any(|other| exceeds(other, &sum)) {
            greatest.retain(|other| !exceeds(&sum, other));
            greatest.push(sum.clone());
        }
    }
    greatest
}

/// What lives at the step at which most does, for buffers of these sizes (bytes): each buffer with its bytes, the largest first.
pub fn fullest(
    program: &Program,
    lives: &SecondaryMap<Buffer, Option<Life>>,
    bytes: &SecondaryMap<Buffer, usize>,
) -> Vec<(Buffer, usize)> {
    let known = || program.buffers.keys().filter_map(|buffer| Some((buffer, lives[buffer]?)));
    let alive_at = |step: usize| known().filter(move |(_, life)| life.first <= step && step <= life.last);
    let steps = known().map(|(_, life)| life.first);
    let sum = |step: usize| alive_at(step).fold(0usize, |sum, (buffer, _)| sum.saturating_add(bytes[buffer]));
    let Some(step) = steps.max_by_key(|&step| sum(step)) else { return Vec::new() };
    let mut alive: Vec<(Buffer, usize)> = alive_at(step).map(|(buffer, _)| (buffer, bytes[buffer])).collect();
    alive.sort_by_key(|&(buffer, bytes)| (std::cmp::Reverse(bytes), buffer.index()));
    alive
}

/// Bytes of memory that the system could still give, where it says so.
pub fn available() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::BufferDecl;
    use crate::tensor::DType;

    fn program(count: usize, steps: impl FnOnce(&dyn Fn(usize) -> BufferRef) -> Vec<Step>) -> Program {
        let mut program = Program::default();
        for _ in 0..count {
            let len = Dim::constant(0);
            program.buffers.push(BufferDecl {
                name: "t".into(),
                dtype: DType::U8,
                len,
                kind: BufferKind::Temp,
            });
        }
        let steps = steps(&|i| BufferRef { buffer: Buffer::new(i), offset: Dim::constant(0), turns: vec![] });
        Program { steps, ..program }
    }

    fn copy(from: BufferRef, to: BufferRef) -> Step {
        Step::Copy { from, to, dtype: DType::U8, len: Dim::constant(0) }
    }

    #[test]
    fn what_a_loop_carries_lives_through_it() {
        let turn = crate::kernel::StepVar::new(0);
        let p = program(5, |b| {
            // 0 comes from before; 1 lives within the turn; 2 is read before it is written; 3 is filled turn by turn; 4 is used behind.
            let stacked = BufferRef { turns: vec![(turn, Dim::constant(8))], ..b(3) };
            let body = vec![
                copy(b(0), b(1)),
                copy(b(2), b(4)),
                copy(b(1), b(2)),
                copy(b(1), stacked),
                copy(b(0), b(1)),
            ];
            let count = Dim::constant(3);
            vec![copy(b(4), b(0)), Step::Loop { var: turn, count, reverse: false, body }, copy(b(3), b(4))]
        });
        let lives = lives(&p);
        let life = |i: usize| lives[Buffer::new(i)].map(|life| (life.first, life.last));
        assert_eq!((life(0), life(2)), (Some((0, 5)), Some((1, 5))));
        assert_eq!((life(1), life(3), life(4)), (Some((1, 5)), Some((1, 7)), Some((0, 7))));
    }

    #[test]
    fn a_chain_needs_two_buffers() {
        let p = program(6, |b| (0..5).map(|i| copy(b(i), b(i + 1))).collect());
        let mut bytes = SecondaryMap::new();
        p.buffers.keys().for_each(|buffer| bytes[buffer] = 100);
        let plan = plan(&p, &lives(&p), &bytes).expect("a small plan");
        assert_eq!(plan.bytes, 2 * 128);
    }

    #[test]
    fn sizes_beyond_the_address_space_are_refused() {
        let p = program(2, |b| vec![copy(b(0), b(1))]);
        let mut bytes = SecondaryMap::new();
        p.buffers.keys().for_each(|buffer| bytes[buffer] = usize::MAX / 2);
        assert_eq!(plan(&p, &lives(&p), &bytes), None);
        bytes[Buffer::new(1)] = usize::MAX;
        assert_eq!(plan(&p, &lives(&p), &bytes), None);
    }

    proptest! {
        #[test]
        fn what_lives_together_lies_apart(spans in proptest::collection::vec((0usize..20, 0usize..6, 0usize..500), 1..30)) {
            let p = program(spans.len(), |_| vec![]);
            let (mut lives, mut bytes) = (SecondaryMap::new(), SecondaryMap::new());
            for (i, &(first, length, size)) in spans.iter().enumerate() {
                lives[Buffer::new(i)] = Some(Life { first, last: first + length });
                bytes[Buffer::new(i)] = size;
            }
            let plan = plan(&p, &lives, &bytes).expect("a small plan");
            for i in 0..spans.len() {
                let (a, start) = (spans[i], plan.offsets[Buffer::new(i)]);
                prop_assert!(start % ALIGN == 0 && start + a.2 <= plan.bytes);
                for (j, &b) in spans.iter().enumerate().skip(i + 1) {
                    let together = a.0 <= b.0 + b.1 && b.0 <= a.0 + a.1 && a.2 > 0 && b.2 > 0;
                    let other = plan.offsets[Buffer::new(j)];
                    prop_assert!(!together || start + a.2 <= other || other + b.2 <= start);
                }
            }
        }
    }
}
