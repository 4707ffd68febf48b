//! How a kernel is run: at once, or as tasks handed to the caller's threads. And the copies between kernels.
//!
//! A *launch* is a record on the stack of `run`, read by all of its tasks.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I8X16, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_module::{FuncId, Linkage, Module};

use super::function::{ACCESS, Fun, define, signature};
use crate::codegen::CodegenError;

// Words of a launch.
pub const KERNEL: usize = 0;
pub const ARGS: usize = 1;
pub const SIZES: usize = 2;
pub const POINTS: usize = 3;
pub const CHUNK: usize = 4;
/// The first thread's scratch, and the bytes from one thread's to the next.
pub const SCRATCH: usize = 5;
pub const STRIDE: usize = 6;
/// Whether the kernel is entered through the door.
pub const FLUSHES: usize = 7;
/// The caller's threads; null where the caller has but one.
pub const THREADS: usize = 8;
pub const WORDS: usize = 9;

// Words of the caller's `threads`.
pub const COUNT: usize = 0;
const CONTEXT: usize = 1;
pub const PARALLEL_FOR: usize = 2;

/// The functions that all programs of an object file share.
pub struct Shared {
    pub launch: FuncId,
    pub copy: FuncId,
}

pub fn shared<M: Module>(module: &mut M, door: Option<FuncId>) -> Result<Shared, CodegenError> {
    let points = define(module, "nnc_points", Linkage::Local, 4, None, |fun| points(fun, door))?;
    let task = define(module, "nnc_task", Linkage::Local, 3, None, |fun| task(fun, points))?;
    let launch = define(module, "nnc_launch", Linkage::Local, 1, None, |fun| launch(fun, points, task))?;
    let copy = define(module, "nnc_copy", Linkage::Local, 3, None, copy)?;
    Ok(Shared { launch, copy })
}

/// `(launch, begin, end, thread)`: the points `begin..end`.
fn points<M: Module>(fun: &mut Fun<'_, '_, M>, door: Option<FuncId>) {
    let [launch, begin, end, thread] = fun.params[..] else { unreachable!("defined with four parameters") };
    let [kernel, args, sizes, scratch, stride] =
        [KERNEL, ARGS, SIZES, SCRATCH, STRIDE].map(|word| fun.load(launch, word));
    let own = fun.b.ins().imul(stride, thread);
    let scratch = fun.b.ins().iadd(scratch, own);
    let args = [args, sizes, begin, end, scratch];
    if let Some(door) = door {
        let flushes = fun.load(launch, FLUSHES);
        let [through, plain] = fun.blocks();
        fun.b.ins().brif(flushes, through, &[], plain, &[]);
        fun.b.switch_to_block(through);
        let all = [&[kernel], &args[..]].concat();
        fun.call(door, &all);
        fun.b.ins().return_(&[]);
        fun.b.switch_to_block(plain);
    }
    let signature = signature(fun.module, 5, None);
    let signature = fun.b.import_signature(signature);
    fun.b.ins().call_indirect(signature, kernel, &args);
    fun.b.ins().return_(&[]);
}

/// `(launch, index, thread)`: what the caller's threads call.
fn task<M: Module>(fun: &mut Fun<'_, '_, M>, points: FuncId) {
    let [launch, index, thread] = fun.params[..] else { unreachable!("defined with three parameters") };
    let (chunk, all) = (fun.load(launch, CHUNK), fun.load(launch, POINTS));
    let begin = fun.b.ins().imul(index, chunk);
    let end = fun.b.ins().iadd(begin, chunk);
    let end = fun.b.ins().smin(end, all);
    fun.call(points, &[launch, begin, end, thread]);
    fun.b.ins().return_(&[]);
}

/// `(launch)`: all points.
fn launch<M: Module>(fun: &mut Fun<'_, '_, M>, points: FuncId, task: FuncId) {
    let launch = fun.params[0];
    let (all, chunk, threads) =
        (fun.load(launch, POINTS), fun.load(launch, CHUNK), fun.load(launch, THREADS));
    let [alone, ask, split] = fun.blocks();
    let one = fun.b.ins().icmp(IntCC::SignedLessThanOrEqual, all, chunk);
    fun.b.ins().brif(one, alone, &[], ask, &[]);
    fun.b.switch_to_block(ask);
    fun.b.ins().brif(threads, split, &[], alone, &[]);

    fun.b.switch_to_block(split);
    let whole = fun.b.ins().sdiv(all, chunk);
    let rest = fun.b.ins().srem(all, chunk);
    let rest = fun.b.ins().icmp_imm_s(IntCC::NotEqual, rest, 0);
    let rest = fun.b.ins().uextend(I64, rest);
    let tasks = fun.b.ins().iadd(whole, rest);
    let (context, run) = (fun.load(threads, CONTEXT), fun.load(threads, PARALLEL_FOR));
    let signature = signature(fun.module, 4, None);
    let signature = fun.b.import_signature(signature);
    let task = fun.address(task);
    fun.b.ins().call_indirect(signature, run, &[context, tasks, task, launch]);
    fun.b.ins().return_(&[]);

    fun.b.switch_to_block(alone);
    let zero = fun.int(0);
    fun.call(points, &[launch, zero, all, zero]);
    fun.b.ins().return_(&[]);
}

/// `(to, from, bytes)`: ascending; the two places are the same or apart.
fn copy<M: Module>(fun: &mut Fun<'_, '_, M>) {
    let [to, from, bytes] = fun.params[..] else { unreachable!("defined with three parameters") };
    let vectors = fun.b.ins().ushr_imm_u(bytes, 4);
    let move_one = |fun: &mut Fun<'_, '_, M>, ty, offset: Value| {
        let source = fun.b.ins().iadd(from, offset);
        let target = fun.b.ins().iadd(to, offset);
        let value = fun.b.ins().load(ty, ACCESS, source, 0);
        fun.b.ins().store(ACCESS, value, target, 0);
    };
    fun.count(vectors, |fun, i| {
        let offset = fun.b.ins().ishl_imm_u(i, 4);
        move_one(fun, I8X16, offset);
    });
    let done = fun.b.ins().band_imm_s(bytes, -16);
    let rest = fun.b.ins().band_imm_s(bytes, 15);
    fun.count(rest, |fun, i| {
        let offset = fun.b.ins().iadd(done, i);
        move_one(fun, I8, offset);
    });
    fun.b.ins().return_(&[]);
}
