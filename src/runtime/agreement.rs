//! Machine code of whole programs, plain and fused, against the interpreter; and how long a training step takes.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::{Array, Executable, Pool, Slot};
use crate::axes::DimVar;
use crate::codegen::cranelift::{Options, compile};
use crate::graph::{Graph, interpret};
use crate::kernel::{BufferKind, KernelId, Program, verify_program};
use crate::lower::tests::{Numbers, fused, images, inputs, programs, random};
use crate::lower::{lower, lower_prepared};
use crate::tensor::{DType, Tensor, Tolerance};

/// A program with the arrays of one run.
pub(super) struct Loaded {
    pub exec: Executable,
    inputs: Vec<Array>,
    outputs: Vec<Option<Array>>,
    dims: BTreeMap<DimVar, i64>,
}

impl Loaded {
    pub fn new(graph: &Graph, given: &[Tensor], dims: &BTreeMap<DimVar, i64>) -> Loaded {
        Loaded::of(lower(graph).unwrap(), given, dims)
    }

    fn of(program: Program, given: &[Tensor], dims: &BTreeMap<DimVar, i64>) -> Loaded {
        let code = compile(&program, Options { verify: true, ..Options::default() })
            .unwrap_or_else(|error| panic!("{error}\n{program}"));
        let inputs = given.iter().map(|tensor| Array::from_tensor(tensor).unwrap()).collect();
        let outputs = program.outputs.iter().map(|buffer| {
            let data = &program.buffers[*buffer];
            let len = data.len.eval(dims).unwrap() as usize;
            matches!(data.kind, BufferKind::Output(_)).then(|| Array::zeros(data.dtype, len).unwrap())
        });
        let outputs = outputs.collect();
        Loaded { exec: Executable::new(program, code), inputs, outputs, dims: dims.clone() }
    }

    pub fn run(&mut self, pool: &Pool, observer: Option<super::Observer<'_>>) {
        let bound = self.exec.bind(&self.dims).unwrap();
        let buffers = &self.exec.program().buffers;
        let slots = self.inputs.iter_mut().zip(&self.exec.program().inputs);
        let mut slots: Vec<Slot> = slots
            .map(|(array, buffer)| match buffers[*buffer].kind {
                BufferKind::InOut(..) => Slot::Update(array),
                _ => Slot::Read(array),
            })
            .collect();
        let mut outputs: Vec<Option<&mut Array>> = self.outputs.iter_mut().map(Option::as_mut).collect();
        self.exec.run_observed(&bound, &mut slots, &mut outputs, pool, observer).unwrap();
    }

    /// The outputs behind a run.
    fn results(&self, graph: &Graph) -> Vec<Tensor> {
        let program = self.exec.program();
        let results = graph.outputs.iter().zip(&program.outputs).zip(&self.outputs);
        results
            .map(|((output, buffer), own)| {
                let shape =
                    output.order.iter().map(|axis| graph.axes[*axis].size.eval(&self.dims).unwrap() as usize);
                let array = match (program.buffers[*buffer].kind, own) {
                    (BufferKind::InOut(input, _), _) => &self.inputs[input as usize],
                    (_, own) => own.as_ref().unwrap(),
                };
                array.to_tensor(&shape.collect::<Vec<_>>()).unwrap()
            })
            .collect()
    }
}

fn agree(graph: &Graph, size: i64, seed: u64, pool: &Pool) {
    let dims: BTreeMap<DimVar, i64> = [(DimVar::new("B"), size)].into();
    let map: HashMap<DimVar, i64> = dims.clone().into_iter().collect();
    let given = inputs(graph, &dims, &mut Numbers(seed));
    let expected = interpret(graph, &given, &map).unwrap();
    for (kind, graph) in [("plain", graph.clone()), ("fused", fused(graph))] {
        let mut loaded = Loaded::new(&graph, &given, &dims);
        loaded.run(pool, None);
        compare(&loaded, &graph, &expected, kind);
    }
}

fn compare(loaded: &Loaded, graph: &Graph, expected: &[Tensor], kind: &str) {
    for (i, (actual, expected)) in loaded.results(graph).iter().zip(expected).enumerate() {
        let exact = !matches!(expected.dtype(), DType::F32 | DType::F64);
        let tolerance = if exact { Tolerance::EXACT } else { Tolerance::new(2e-4, 2e-4) };
        if let Err(difference) = actual.compare(expected, tolerance) {
            panic!("{kind}, output {i}: {difference:?}\n{graph}\n{}", loaded.exec.program());
        }
    }
}

/// Runs with every second input of a graph held, and again with other values of these, and of the rest. Gives the prepared kernels' number.
fn agree_prepared(graph: &Graph, size: i64, seed: u64, pool: &Pool) -> usize {
    let dims: BTreeMap<DimVar, i64> = [(DimVar::new("B"), size)].into();
    let map: HashMap<DimVar, i64> = dims.clone().into_iter().collect();
    let graph = fused(graph);
    let held = |input: usize| input % 2 == 1;
    let program = lower_prepared(&graph, &held).unwrap();
    verify_program(&program).unwrap_or_else(|defect| panic!("{defect}\n{program}"));
    let prepared = program.prepared.len();
    let given = inputs(&graph, &dims, &mut Numbers(seed));
    let mut loaded = Loaded::of(program, &given, &dims);
    for (run, changed) in [None, Some(true), Some(false), None].into_iter().enumerate() {
        let other = inputs(&graph, &dims, &mut Numbers(seed + run as u64));
        let mut now: Vec<Tensor> = Vec::new();
        for (i, (array, other)) in loaded.inputs.iter_mut().zip(&other).enumerate() {
            let shape = other.shape();
            if changed == Some(held(i)) {
                array.bytes_mut().copy_from_slice(&other.to_le_bytes());
            }
            now.push(array.to_tensor(shape).unwrap());
        }
        let expected = interpret(&graph, &now, &map).unwrap();
        loaded.run(pool, None);
        compare(&loaded, &graph, &expected, "prepared");
    }
    prepared
}

#[test]
fn what_is_prepared_follows_its_inputs() {
    let pool = Pool::new(2).unwrap();
    let random: usize = (1000..1040).map(|seed| agree_prepared(&random::graph(seed), 3, seed, &pool)).sum();
    assert!(random > 0);
    // A convolution's transformed weights.
    let mut net = images::Net::new();
    let x = net.image(8, 16);
    let y = net.conv(x, 32, 3, 1, 1);
    let graph = net.forward(y);
    assert_eq!(agree_prepared(&graph, 2, 3, &pool), 1);
}

/// What a loop's turns make of weights of their own has a place for each turn.
#[test]
fn what_is_prepared_in_a_loop_has_a_place_for_each_turn() {
    let graph = programs::layers(3, 16);
    let program = lower_prepared(&fused(&graph), &|input| input % 2 == 1).unwrap();
    let kept: Vec<i64> = program
        .buffers
        .values()
        .filter(|decl| decl.kind == BufferKind::Kept)
        .filter_map(|decl| decl.len.as_const())
        .collect();
    assert_eq!(kept, [3 * 16 * 16], "{program}");
    let pool = Pool::new(2).unwrap();
    assert_eq!(agree_prepared(&graph, 5, 3, &pool), 1);
}

/// Large weights are kept in panels, those of a loop for each turn.
#[test]
fn weights_in_panels_agree() {
    let graph = programs::layers(2, 512);
    let program = lower_prepared(&fused(&graph), &|input| input % 2 == 1).unwrap();
    assert_eq!(program.prepared.len(), 1, "{program}");
    assert!(program.kernels.values().any(|kernel| kernel.name.starts_with("panels")), "{program}");
    let pool = Pool::new(2).unwrap();
    assert_eq!(agree_prepared(&graph, 1, 5, &pool), 1);
}

#[test]
fn machine_code_of_random_graphs_agrees() {
    let pool = Pool::new(2).unwrap();
    for seed in 1000..1060 {
        let graph = random::graph(seed);
        for size in [[5, 20], [1, 18], [0, 3]][seed as usize % 3] {
            let run =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| agree(&graph, size, seed, &pool)));
            assert!(run.is_ok(), "graph {seed} with B = {size}");
        }
    }
}

#[test]
fn machine_code_of_a_training_step_agrees() {
    let pool = Pool::new(2).unwrap();
    let graph = programs::perceptron(&[37, 24, 17, 10]);
    for size in [1, 19, 64] {
        agree(&graph, size, 5, &pool);
    }
}

#[test]
fn machine_code_of_networks_on_images_agrees() {
    let pool = Pool::new(2).unwrap();
    for size in [1, 3] {
        agree(&images::lenet(), size, 5, &pool);
        agree(&images::resnet(8, 4, 1), size, 5, &pool);
    }
}

/// Times of the stages and kernels of a training step:
/// `NNC_STEP=lenet cargo test --release step_takes -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn step_takes() {
    let name = std::env::var("NNC_STEP").unwrap_or_else(|_| "mlp".into());
    let clock = Instant::now();
    let (graph, batch) = match &*name {
        "lenet" => (images::lenet(), 64),
        "resnet20" => (images::resnet(32, 16, 3), 32),
        _ => (programs::perceptron(&[784, 256, 128, 10]), 64),
    };
    let built = clock.elapsed();
    let clock = Instant::now();
    let graph = fused(&graph);
    let passes = clock.elapsed();
    let clock = Instant::now();
    let program = lower(&graph).unwrap();
    let lowered = clock.elapsed();
    if std::env::var_os("NNC_PRINT").is_some() {
        println!("{graph}\n{program}");
    }
    let dims: BTreeMap<DimVar, i64> = [(DimVar::new("B"), batch)].into();
    let given = inputs(&graph, &dims, &mut Numbers(1));
    let clock = Instant::now();
    let mut loaded = Loaded::new(&graph, &given, &dims);
    let compiled = clock.elapsed();
    println!("graph {built:?}, passes {passes:?}, lower {lowered:?}, lower and codegen {compiled:?}");
    for threads in [1, 2] {
        let pool = Pool::new(threads).unwrap();
        let mut best = Duration::MAX;
        let mut times: HashMap<KernelId, Duration> = HashMap::new();
        let begun = Instant::now();
        for _ in 0..400 {
            let clock = Instant::now();
            loaded.run(&pool, None);
            best = best.min(clock.elapsed());
            let mut observe = |kernel: KernelId, time: Duration| {
                let best = times.entry(kernel).or_insert(Duration::MAX);
                *best = time.min(*best);
            };
            loaded.run(&pool, Some(&mut observe));
            if begun.elapsed() > Duration::from_secs(6) {
                break;
            }
        }
        let mut kernels: Vec<_> = times.into_iter().collect();
        kernels.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        let sum: Duration = kernels.iter().map(|(_, time)| *time).sum();
        println!("{name}, {threads} threads: {best:?}, {} kernels in {sum:?}", kernels.len());
        for (id, time) in kernels.into_iter().take(400) {
            println!("  {time:>10.1?} {id} {}", loaded.exec.program().kernels[id].name);
        }
    }
}
