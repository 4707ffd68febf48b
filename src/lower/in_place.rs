//! Writing a value over the one that it replaces.

use crate::axes::Dim;
use crate::kernel::{Address, Arg, Buffer, BufferRef, Inst, Program, Step, Stmt};

/// Lets the kernel that computes `from` write into `to` instead, if that is safe; then nothing needs to be copied from one to the other
/// behind `steps`. Safe is: one step computes `from`, later steps do not touch `to`, and that step reads `to` only at the address that it
/// then stores to.
pub fn merge(program: &mut Program, steps: &mut [Step], from: Buffer, to: Buffer) -> bool {
    let touches = |step: &Step, buffer: Buffer| {
        let mut found = false;
        visit_refs(step, &mut |r| found |= r.buffer == buffer);
        found
    };
    let Some(at) = steps.iter().position(|step| touches(step, from)) else { return false };
    let Step::Run { kernel, args } = &steps[at] else { return false };
    let kernel = *kernel;
    if steps[at + 1..].iter().any(|step| touches(step, to) || writes(program, step, from)) {
        return false;
    }
    let pointers: Vec<Arg> = program.kernels[kernel].pointers().map(|(arg, _)| arg).collect();
    let args_of = |buffer: Buffer| -> Vec<Arg> {
        pointers.iter().zip(args).filter(|(_, r)| r.buffer == buffer).map(|(arg, _)| *arg).collect()
    };
    let (stored, read) = (args_of(from), args_of(to));
    let [stored] = stored[..] else { return false };
    let whole = |r: &BufferRef| r.turns.is_empty() && r.offset.as_const() == Some(0);
    if !args.iter().filter(|r| [from, to].contains(&r.buffer)).all(whole) {
        return false;
    }
    let mut uses = Uses { stored, read: &read, store: None, loads: Vec::new(), safe: true };
    uses.visit(&program.kernels[kernel].body);
    let same_place = uses.loads.is_empty() || uses.loads.iter().all(|load| Some(load) == uses.store.as_ref());
    if !uses.safe || !same_place || (!read.is_empty() && uses.store.is_none()) {
        return false;
    }
    // What was read through an argument of its own is read through the one that is stored to: no two arguments are the same memory.
    redirect(&mut program.kernels[kernel].body, &read, stored);
    for step in steps.iter_mut().skip(at) {
        visit_refs_mut(step, &mut |r| {
            if r.buffer == from {
                r.buffer = to;
            }
        });
    }
    program.buffers[from].len = Dim::constant(0);
    true
}

fn visit_refs(step: &Step, f: &mut dyn FnMut(&BufferRef)) {
    match step {
        Step::Run { args, .. } => args.iter().for_each(f),
        Step::Loop { body, .. } => body.iter().for_each(|step| visit_refs(step, f)),
        Step::Copy { from, to, .. } | Step::Sort { from, to, .. } => [from, to].into_iter().for_each(f),
    }
}

fn visit_refs_mut(step: &mut Step, f: &mut dyn FnMut(&mut BufferRef)) {
    match step {
        Step::Run { args, .. } => args.iter_mut().for_each(f),
        Step::Loop { body, .. } => body.iter_mut().for_each(|step| visit_refs_mut(step, f)),
        Step::Copy { from, to, .. } | Step::Sort { from, to, .. } => [from, to].into_iter().for_each(f),
    }
}

fn writes(program: &Program, step: &Step, buffer: Buffer) -> bool {
    match step {
        Step::Run { kernel, args } => program.kernels[*kernel].writes(args, buffer),
        Step::Loop { body, .. } => body.iter().any(|step| writes(program, step, buffer)),
        Step::Copy { to, .. } | Step::Sort { to, .. } => to.buffer == buffer,
    }
}

/// How a kernel uses the two buffers.
struct Uses<'a> {
    stored: Arg,
    read: &'a [Arg],
    /// The address of the only store, once it was met.
    store: Option<Address>,
    /// The addresses of the loads before it.
    loads: Vec<Address>,
    safe: bool,
}

impl Uses<'_> {
    fn visit(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::Let(_, Inst::Load { arg, at }) if self.read.contains(arg) => {
                    self.safe &= self.store.is_none();
                    self.loads.push(at.clone());
                }
                Stmt::Let(_, Inst::LoadIf { arg, .. }) => self.safe &= !self.read.contains(arg),
                Stmt::Let(..) => {}
                Stmt::Store { arg, at, .. } if *arg == self.stored => {
                    // A second store may stand where the first one was loaded from.
                    self.safe &= self.store.is_none() || self.read.is_empty();
                    self.store = Some(at.clone());
                }
                Stmt::Store { .. } => {}
                Stmt::Loop(l) => self.visit(&l.body),
                Stmt::If { then, .. } => self.visit(then),
                Stmt::Transpose(t) => self.safe &= !self.read.contains(&t.from_arg),
                Stmt::Contract(c) => {
                    let bias = c.bias.as_ref().map(|(arg, _)| *arg);
                    self.safe &= ![Some(c.a_arg), Some(c.b_arg), bias]
                        .into_iter()
                        .flatten()
                        .any(|arg| self.read.contains(&arg));
                }
            }
        }
    }
}

fn redirect(stmts: &mut [Stmt], from: &[Arg], to: Arg) {
    for stmt in stmts {
        match stmt {
            Stmt::Let(_, Inst::Load { arg, .. } | Inst::LoadIf { arg, .. }) if from.contains(arg) => {
                *arg = to
            }
            Stmt::Loop(l) => redirect(&mut l.body, from, to),
            Stmt::If { then, .. } => redirect(then, from, to),
            _ => {}
        }
    }
}
