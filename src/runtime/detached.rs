//! Programs that run by their own `bind` and `run`, as in an object file, have the bits of those that the runtime runs.

use std::collections::BTreeMap;

use super::slots::slots;
use super::{Array, Executable, Pool, Slot};
use crate::axes::{Dim, DimVar};
use crate::codegen::cranelift::{Options, compile};
use crate::codegen::object::memory::{Loaded, load};
use crate::codegen::object::{Entry, Given, Parameter, Slots, Taken, Target};
use crate::graph::Graph;
use crate::kernel::BufferKind;
use crate::lower::lower;
use crate::lower::tests::{Numbers, fused, inputs, programs, random};
use crate::tiles::Isa;

type Bind = unsafe extern "sysv64" fn(*mut i64, i64, i64) -> i32;
type Workspace = unsafe extern "sysv64" fn(*const i64, i64) -> usize;
type Task = unsafe extern "sysv64" fn(*mut u8, i64, i64);

/// What the C interface calls `threads`.
#[repr(C)]
struct Threads {
    count: i64,
    context: *mut u8,
    parallel_for: extern "sysv64" fn(*mut u8, i64, Task, *mut u8),
}

/// Runs tasks in an unusual order, on threads that are one after the other.
extern "sysv64" fn shuffled(context: *mut u8, tasks: i64, task: Task, state: *mut u8) {
    // SAFETY: the context is this counter.
    unsafe { *context.cast::<i64>() += 1 };
    for i in (0..tasks).rev() {
        // SAFETY: each task once, one at a time.
        unsafe { task(state, i, i % 3) };
    }
}

/// Calls `run` with as many arguments as it takes.
fn call(run: *const u8, args: &[i64]) -> i32 {
    macro_rules! with {
        (@ $n:tt) => { i64 };
        ($($n:tt)*) => {{
            // SAFETY: every argument has 64 bits; those that the function does not take are ignored by this convention.
            let run: unsafe extern "sysv64" fn($(with!(@ $n)),*) -> i32 = unsafe { std::mem::transmute(run) };
            let at = |i: usize| args.get(i).copied().unwrap_or(0);
            // SAFETY: the pointers are those of arrays of the lengths that the plan was made for.
            unsafe { run($(at($n)),*) }
        }};
    }
    assert!(args.len() <= 40);
    with!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39)
}

fn agrees(graph: &Graph, size: i64, seed: u64, calls: &mut i64) {
    let graph = fused(graph);
    let program = lower(&graph).unwrap();
    let dims: BTreeMap<DimVar, i64> = [(DimVar::new("B"), size)].into();
    let given = inputs(&graph, &dims, &mut Numbers(seed));
    let mut own: Vec<Array> = given.iter().map(|tensor| Array::from_tensor(tensor).unwrap()).collect();
    let mut lent = own.clone();
    let outputs = || -> Vec<Option<Array>> {
        let output = |buffer: &crate::kernel::Buffer| {
            let decl = &program.buffers[*buffer];
            let len = decl.len.eval(&dims).unwrap() as usize;
            matches!(decl.kind, BufferKind::Output(_)).then(|| Array::zeros(decl.dtype, len).unwrap())
        };
        program.outputs.iter().map(output).collect()
    };
    let (mut expected, mut found) = (outputs(), outputs());

    let (of, count) = slots(&program);
    let positions = graph.inputs.iter().enumerate();
    let entry = Entry {
        program: &program,
        name: "m".to_owned(),
        dims: vec![DimVar::new("B")],
        demands: Vec::new(),
        inputs: vec![Given::Argument; program.inputs.len()],
        outputs: vec![Taken::Argument; program.outputs.len()],
        positions: positions
            .filter_map(|(i, input)| Some((i, input.bound.clone()?)))
            .collect::<Vec<(usize, Dim)>>(),
        slots: Slots { of, count },
        presets: Vec::new(),
    };
    let target = if Isa::Avx512.is_supported() && seed.is_multiple_of(2) { Target::V4 } else { Target::V3 };
    let Loaded { mut plan, build, bind, workspace, run } = load(&entry, target);
    // SAFETY: `load` made these functions with these signatures.
    let (bind, workspace) = unsafe {
        (std::mem::transmute::<*const u8, Bind>(bind), std::mem::transmute::<*const u8, Workspace>(workspace))
    };
    // SAFETY: the plan has as many words as the entry's plans.
    assert_eq!(unsafe { bind(plan.as_mut_ptr(), build, size) }, 0);
    let threads = Threads { count: 3, context: std::ptr::from_mut(calls).cast(), parallel_for: shuffled };
    // SAFETY: as above.
    let bytes = unsafe { workspace(plan.as_ptr(), threads.count) };
    // Nothing relies on what a workspace holds, and nothing behind it is touched.
    let mut memory = vec![0xa5u8; bytes + 64];
    let mut args = Vec::new();
    for parameter in entry.parameters() {
        args.push(match parameter {
            Parameter::Plan => plan.as_ptr() as i64,
            Parameter::Input(index) => lent[index].as_mut_ptr() as i64,
            Parameter::Output(index) => found[index].as_mut().unwrap().as_mut_ptr() as i64,
            Parameter::Workspace => memory.as_mut_ptr() as i64,
            Parameter::WorkspaceBytes => bytes as i64,
            Parameter::Threads => std::ptr::from_ref(&threads) as i64,
            Parameter::Weights | Parameter::Number(_) => unreachable!("all inputs are arguments"),
        });
    }
    assert_eq!(call(run, &args), 0);
    assert!(memory[bytes..].iter().all(|&byte| byte == 0xa5));

    let code = compile(&program, Options::default()).unwrap();
    let exec = Executable::new(program.clone(), code);
    let bound = exec.bind(&dims).unwrap();
    let updated = |i: usize| matches!(program.buffers[program.inputs[i]].kind, BufferKind::InOut(..));
    let mut slots: Vec<Slot> = own
        .iter_mut()
        .enumerate()
        .map(|(i, array)| if updated(i) { Slot::Update(array) } else { Slot::Read(array) })
        .collect();
    let mut targets: Vec<Option<&mut Array>> = expected.iter_mut().map(Option::as_mut).collect();
    exec.run(&bound, &mut slots, &mut targets, &Pool::new(1).unwrap()).unwrap();
    let bytes = |arrays: &[Option<Array>]| -> Vec<Vec<u8>> {
        arrays.iter().flatten().map(|array| array.bytes().to_vec()).collect()
    };
    assert_eq!(bytes(&found), bytes(&expected), "{program}");
    assert!(own.iter().zip(&lent).all(|(own, lent)| own.bytes() == lent.bytes()), "{program}");
}

#[test]
fn programs_that_bind_and_run_themselves_have_the_same_bits() {
    if !Isa::Avx2.is_supported() {
        return;
    }
    let mut calls = 0;
    for seed in 2000..2040 {
        for size in [[5, 20], [1, 18], [0, 3]][seed as usize % 3] {
            agrees(&random::graph(seed), size, seed, &mut calls);
        }
    }
    agrees(&programs::perceptron(&[137, 64, 17, 10]), 64, 1, &mut calls);
    agrees(&programs::perceptron(&[137, 64, 17, 10]), 19, 2, &mut calls);
    assert!(calls > 0, "some kernels are large enough for several tasks");
}
