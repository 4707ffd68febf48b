//! Three executions of a graph must agree: the interpreter, its kernels one for each node, and its kernels after fusion.

mod accumulators;
mod blocks;
mod factor;
mod guards;
pub mod images;
mod levels;
pub mod programs;
pub mod random;
mod recurrence;
mod residuals;
mod winograd;

use std::collections::{BTreeMap, HashMap};

use crate::axes::{Dim, DimVar};
use crate::graph::interpret;
use crate::graph::{Axis, Builder, Graph, Node, Output, verify};
use crate::kernel::interpret::run_program;
use crate::kernel::{Buffer, Program, verify_program};
use crate::passes::PIPELINE;
use crate::tensor::{DType, Tensor, Tolerance};

/// A stream of numbers (Knuth's MMIX generator).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

/// The graph of the derivatives of Σ y² by `given`, whose axes have these orders; where it is asked for, y is an output before them.
pub fn with_gradients<const N: usize>(
    mut b: Builder,
    (y, order): (Node, &[Axis]),
    keep: bool,
    given: &[Node; N],
    orders: [Vec<Axis>; N],
) -> Graph {
    let square = b.mul(y, y);
    let loss = b.sum(square, order);
    let one = b.constant(1.0, DType::F32);
    let gradients = crate::autodiff::vjp(&mut b, loss, given, one);
    let output = |name: String, order: Vec<Axis>| Output { name: name.into(), order, updates: None };
    let mut outputs: Vec<(Output, Node)> = Vec::new();
    if keep {
        outputs.push((output("y".into(), order.to_vec()), y));
    }
    for (k, (gradient, order)) in gradients.into_iter().zip(orders).enumerate() {
        outputs.push((output(format!("g{k}"), order), gradient));
    }
    b.finish(outputs)
}

/// The graph after all passes.
pub fn fused(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    for pass in PIPELINE {
        let after = (pass.run)(graph.clone());
        verify(&after).unwrap_or_else(|defect| panic!("{}: {defect}\n{after}\nof\n{graph}", pass.name));
        graph = after;
    }
    graph
}

pub fn program(graph: &Graph) -> Program {
    let program = super::lower(graph).unwrap();
    verify_program(&program).unwrap_or_else(|defect| panic!("{defect}\n{program}\nof\n{graph}"));
    program
}

/// The outputs of a program by the reference interpreter of kernels.
fn run(graph: &Graph, program: &Program, inputs: &[Tensor], dims: &BTreeMap<DimVar, i64>) -> Vec<Tensor> {
    let bytes = |buffer: Buffer| {
        let data = &program.buffers[buffer];
        data.len.eval(dims).unwrap() as usize * data.dtype.size()
    };
    // Not zero: what a kernel does not write must not look right.
    let mut memory: Vec<Vec<u8>> = program.buffers.keys().map(|buffer| vec![0x5a; bytes(buffer)]).collect();
    for (buffer, input) in program.inputs.iter().zip(inputs) {
        memory[buffer.as_u32() as usize] = input.to_le_bytes();
    }
    run_program(program, dims, &mut memory).unwrap_or_else(|fault| panic!("{fault}\n{program}\nof\n{graph}"));
    let outputs = program.outputs.iter().zip(&graph.outputs).zip(&graph.regions[graph.root].results);
    outputs
        .map(|((buffer, output), node)| {
            let shape: Vec<usize> =
                output.order.iter().map(|axis| graph.axes[*axis].size.eval(dims).unwrap() as usize).collect();
            let dtype = graph.nodes[*node].dtype;
            Tensor::from_le_bytes(dtype, &shape, &memory[buffer.as_u32() as usize]).unwrap()
        })
        .collect()
}

/// Inputs: halves and quarters for floats, positions for integers with a bound.
pub fn inputs(graph: &Graph, dims: &BTreeMap<DimVar, i64>, numbers: &mut Numbers) -> Vec<Tensor> {
    let size = |dim: &Dim| dim.eval(dims).unwrap();
    let inputs = graph.inputs.iter().map(|input| {
        let shape: Vec<usize> =
            input.order.iter().map(|axis| size(&graph.axes[*axis].size) as usize).collect();
        let count = shape.iter().product::<usize>();
        let bound = input.bound.as_ref().map(size);
        let entries: Vec<f64> = (0..count)
            .map(|_| match bound {
                Some(bound) => (numbers.next() as i64 % bound.max(1)) as f64,
                None if input.dtype.is_float() => numbers.below(257) as f64 / 64.0 - 2.0,
                None => numbers.below(7) as f64,
            })
            .collect();
        Tensor::from_vec(&shape, entries).unwrap().cast(input.dtype)
    });
    inputs.collect()
}

/// Checks the three executions of a graph against each other.
pub fn agree(graph: &Graph, dims: &[(&str, i64)], seed: u64) {
    verify(graph).unwrap_or_else(|defect| panic!("{defect}\n{graph}"));
    let map: HashMap<DimVar, i64> = dims.iter().map(|(name, value)| (DimVar::new(name), *value)).collect();
    let dims: BTreeMap<DimVar, i64> = map.clone().into_iter().collect();
    let inputs = inputs(graph, &dims, &mut Numbers(seed));
    let expected = interpret(graph, &inputs, &map).unwrap_or_else(|error| panic!("{error:?}\n{graph}"));
    for (kind, graph) in [("plain", graph.clone()), ("fused", fused(graph))] {
        let program = program(&graph);
        let actual = run(&graph, &program, &inputs, &dims);
        for (i, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
            let exact = !matches!(expected.dtype(), DType::F32 | DType::F64);
            let tolerance = if exact { Tolerance::EXACT } else { Tolerance::new(2e-4, 2e-4) };
            if let Err(difference) = actual.compare(expected, tolerance) {
                panic!("{kind}, output {i}, {dims:?}: {difference:?}\n{graph}\n{program}");
            }
        }
    }
}
