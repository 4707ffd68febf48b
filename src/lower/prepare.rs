//! What parameters alone decide is computed once: the kernels that read nothing else leave a program's run, and their results are kept.
//!
//! A kernel is moved if it reads parameters and the results of kernels that were moved, writes temporaries that no other step writes, and
//! nothing before it reads; if all of its sizes are constants; and if what it writes takes no more than twice the memory of the parameters
//! that it is made of. From a loop over the members of a stack it goes to a loop of its own: what the run reads of it gets a place for
//! each turn.
//!
//! **Invariant:** where the prepared steps ran with the same parameters, the rest of the program does what all of it did.

use cranelift_entity::{EntitySet, SecondaryMap};

use crate::axes::Dim;
use crate::kernel::{ArgKind, Buffer, BufferKind, BufferRef, Program, Step, StepVar};

/// Bytes that are kept for a byte of parameters: Winograd's weights have 16 entries for 9.
const MOST: i64 = 2;

/// Moves what depends on the inputs that are `fixed`, by number, alone.
pub fn prepare(program: &mut Program, fixed: &dyn Fn(usize) -> bool) {
    let mut known = SecondaryMap::new();
    for (number, &input) in program.inputs.iter().enumerate() {
        if let (true, BufferKind::Input(_)) = (fixed(number), program.buffers[input].kind) {
            known[input] = Some(Made { from: vec![input], loops: Vec::new() });
        }
    }
    let uses = Uses::of(program);
    let mut moving = Moving { program, uses, known, loops: Vec::new(), at: 0 };
    let steps = std::mem::take(&mut moving.program.steps);
    let (prepared, steps) = moving.split(steps);
    let known = moving.known;
    (program.prepared, program.steps) = (prepared, steps);
    keep(program, &known);
}

/// A value that parameters decide.
#[derive(Clone, Debug)]
struct Made {
    /// The parameters.
    from: Vec<Buffer>,
    /// The loops around the kernel that writes it, from the outermost, and their turns.
    loops: Vec<(StepVar, i64)>,
}

/// How a program uses its buffers.
#[derive(Default)]
struct Uses {
    /// The kernels, copies and sorts that name a buffer to write it.
    writers: SecondaryMap<Buffer, u32>,
    /// The first of all steps, in order of the text, that names it.
    first: SecondaryMap<Buffer, Option<usize>>,
    /// The loops around all steps that name it.
    within: SecondaryMap<Buffer, Option<Vec<StepVar>>>,
    /// Whether a reference moves with a loop.
    moves: EntitySet<Buffer>,
}

impl Uses {
    fn of(program: &Program) -> Uses {
        let mut uses = Uses::default();
        uses.steps(program, &program.steps, &mut Vec::new(), &mut 0);
        uses
    }

    fn steps(&mut self, program: &Program, steps: &[Step], loops: &mut Vec<StepVar>, at: &mut usize) {
        for step in steps {
            match step {
                Step::Loop { var, body, .. } => {
                    loops.push(*var);
                    self.steps(program, body, loops, at);
                    loops.pop();
                }
                Step::Run { .. } | Step::Sort { .. } | Step::Copy { .. } => {
                    step.each_reference(&mut |reference| self.named(reference, loops, *at));
                    match step {
                        Step::Run { kernel, args } => {
                            for ((_, decl), arg) in program.kernels[*kernel].pointers().zip(args) {
                                self.writers[arg.buffer] += u32::from(decl.kind == ArgKind::Write);
                            }
                        }
                        Step::Sort { to, .. } | Step::Copy { to, .. } => self.writers[to.buffer] += 1,
                        Step::Loop { .. } => {}
                    }
                    *at += 1;
                }
            }
        }
    }

    fn named(&mut self, reference: &BufferRef, loops: &[StepVar], at: usize) {
        let buffer = reference.buffer;
        self.first[buffer].get_or_insert(at);
        match &mut self.within[buffer] {
            Some(within) => {
                let common = within.iter().zip(loops).take_while(|(a, b)| a == b).count();
                within.truncate(common);
            }
            empty => *empty = Some(loops.to_vec()),
        }
        if !reference.turns.is_empty() {
            self.moves.insert(buffer);
        }
    }
}

struct Moving<'a> {
    program: &'a mut Program,
    uses: Uses,
    known: SecondaryMap<Buffer, Option<Made>>,
    loops: Vec<(StepVar, Option<i64>)>,
    /// The number of the step at hand, as [`Uses`] counts them.
    at: usize,
}

impl Moving<'_> {
    /// The steps that are moved, and the rest.
    fn split(&mut self, steps: Vec<Step>) -> (Vec<Step>, Vec<Step>) {
        let (mut moved, mut rest) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Loop { var, count, reverse, body } => {
                    self.loops.push((var, count.as_const()));
                    let (prepared, body) = self.split(body);
                    self.loops.pop();
                    let around = |body| Step::Loop { var, count: count.clone(), reverse, body };
                    moved.extend((!prepared.is_empty()).then(|| around(prepared)));
                    rest.extend((!body.is_empty()).then(|| around(body)));
                }
                step => {
                    let target = if self.moves(&step).is_some() { &mut moved } else { &mut rest };
                    target.push(step);
                    self.at += 1;
                }
            }
        }
        (moved, rest)
    }

    /// Whether a kernel's run is moved; then what it writes is known from now on.
    fn moves(&mut self, step: &Step) -> Option<()> {
        let Step::Run { kernel, args } = step else { return None };
        let loops: Vec<(StepVar, i64)> =
            self.loops.iter().map(|&(var, count)| Some((var, count?))).collect::<Option<_>>()?;
        let kernel = &self.program.kernels[*kernel];
        let constant = |dim: &Dim| dim.as_const().map(drop);
        kernel.sizes.values().try_for_each(constant)?;
        let (mut from, mut written) = (Vec::new(), Vec::new());
        for ((_, decl), arg) in kernel.pointers().zip(args) {
            constant(&arg.offset)?;
            arg.turns.iter().try_for_each(|(_, stride)| constant(stride))?;
            match decl.kind {
                ArgKind::Read => from.extend(&self.known[arg.buffer].as_ref()?.from),
                _ => written.push(arg.buffer),
            }
        }
        from.sort_unstable();
        from.dedup();
        let bytes = |buffer: Buffer| {
            let decl = &self.program.buffers[buffer];
            decl.len.as_const()?.checked_mul(decl.dtype.size() as i64)
        };
        let parameters = from.iter().try_fold(0i64, |sum, &buffer| sum.checked_add(bytes(buffer)?))?;
        let turns = loops.iter().try_fold(1i64, |turns, (_, count)| turns.checked_mul(*count))?;
        let path: Vec<StepVar> = loops.iter().map(|(var, _)| *var).collect();
        for &buffer in &written {
            let alone = self.uses.writers[buffer] == 1
                && self.uses.first[buffer] == Some(self.at)
                && self.uses.within[buffer].as_ref() == Some(&path)
                && !self.uses.moves.contains(buffer);
            let fits = bytes(buffer)?.checked_mul(turns)? <= parameters.checked_mul(MOST)?;
            if !alone || !fits || self.program.buffers[buffer].kind != BufferKind::Temp {
                return None;
            }
        }
        for buffer in written {
            self.known[buffer] = Some(Made { from: from.clone(), loops: loops.clone() });
        }
        Some(())
    }
}

/// Keeps what the run still reads of what was moved, with a place for each turn of the loops around.
fn keep(program: &mut Program, known: &SecondaryMap<Buffer, Option<Made>>) {
    let mut read = EntitySet::new();
    for step in &program.steps {
        step.each_reference(&mut |reference| {
            read.insert(reference.buffer);
        });
    }
    let mut places: SecondaryMap<Buffer, Vec<(StepVar, Dim)>> = SecondaryMap::new();
    for (buffer, decl) in program.buffers.iter_mut() {
        let (Some(made), BufferKind::Temp, true) = (&known[buffer], decl.kind, read.contains(buffer)) else {
            continue;
        };
        let mut len = decl.len.as_const().expect("what is moved has constant sizes");
        for &(var, count) in made.loops.iter().rev() {
            places[buffer].push((var, Dim::constant(len)));
            len *= count;
        }
        decl.len = Dim::constant(len);
        decl.kind = BufferKind::Kept;
    }
    for step in program.prepared.iter_mut().chain(&mut program.steps) {
        step.each_reference_mut(&mut |reference| {
            reference.turns.extend(places[reference.buffer].iter().cloned())
        });
    }
}
