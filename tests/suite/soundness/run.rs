//! A program with sizes, run by the interpreter on inputs that are moved along one axis.

use std::collections::{BTreeMap, HashMap};

use nnc::axes::DimVar;
use nnc::check::core::{ConstraintOp, Core, Elem};
use nnc::graph::{Axis, Graph, Role, interpret};
use nnc::tensor::{DType, Tensor};

use super::draws::Draws;

/// A program, and the axis of which a theorem speaks, with its size. The other one keeps its own.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    pub graph: &'a Graph,
    pub core: &'a Core,
    pub axis: &'a str,
    pub size: i64,
}

/// An output: its shape, its entries, which of its axes run over the theorem's (whole, or at some rate), and whether its entries are
/// positions on it.
pub struct Output {
    pub shape: Vec<usize>,
    pub entries: Vec<f64>,
    pub whole: Vec<bool>,
    pub over: Vec<bool>,
    pub positions: bool,
}

impl Run<'_> {
    /// Whether the program can be run with these sizes.
    pub fn fits(&self) -> bool {
        let dims: BTreeMap<DimVar, i64> = self.dims().into_iter().collect();
        self.core.constraints.iter().all(|condition| {
            match (condition.left.eval(&dims), condition.right.eval(&dims), condition.op) {
                (Ok(left), Ok(right), ConstraintOp::Eq) => left == right,
                (Ok(left), Ok(right), ConstraintOp::Le) => left <= right,
                (Ok(left), Ok(right), ConstraintOp::Lt) => left < right,
                _ => false,
            }
        })
    }

    fn dims(&self) -> HashMap<DimVar, i64> {
        let size = |name: &str, other: i64| if self.axis == name { self.size } else { other };
        HashMap::from([(DimVar::new("N"), size("N", 5)), (DimVar::new("E"), size("E", 7))])
    }

    pub fn shapes(&self) -> Vec<Vec<usize>> {
        let dims: BTreeMap<DimVar, i64> = self.dims().into_iter().collect();
        let size = |axis| self.graph.axes[axis].size.eval(&dims).expect("a size") as usize;
        self.graph.inputs.iter().map(|input| input.order.iter().map(|&axis| size(axis)).collect()).collect()
    }

    pub fn run(&self, inputs: &[Vec<f64>]) -> Vec<Output> {
        let given: Vec<Tensor> = inputs
            .iter()
            .zip(self.shapes())
            .zip(&self.graph.inputs)
            .map(|((entries, shape), input)| {
                Tensor::from_vec(&shape, entries.clone()).expect("as many entries").cast(input.dtype)
            })
            .collect();
        let outputs = interpret(self.graph, &given, &self.dims()).unwrap_or_else(|error| panic!("{error:?}"));
        let (var, root) =
            (DimVar::new(self.axis), self.core.roots.iter().find(|(_, info)| *info.name == *self.axis));
        let root = root.map(|(root, _)| root);
        outputs
            .iter()
            .zip(&self.graph.outputs)
            .zip(&self.core.outputs)
            .map(|((tensor, info), output)| {
                let of = |of: &dyn Fn(Axis) -> bool| info.order.iter().map(|&axis| of(axis)).collect();
                Output {
                    shape: tensor.shape().to_vec(),
                    entries: tensor.cast(DType::F64).as_slice::<f64>().expect("f64").to_vec(),
                    whole: of(&|axis| self.graph.axes[axis].size.to_string() == self.axis),
                    over: of(&|axis| self.graph.axes[axis].size.mentions(&var)),
                    positions: matches!(&self.core.vals[output.val].elem, Elem::Idx(_, of) if of.is_some() && *of == root),
                }
            })
            .collect()
    }

    /// Whether an input's axis of this number runs over the theorem's axis: by name, not by size.
    pub fn over(&self, input: usize) -> Vec<bool> {
        let order = &self.graph.inputs[input].order;
        order.iter().map(|&axis| self.graph.axes[axis].size.to_string() == self.axis).collect()
    }

    /// Whether an input's entries are positions on the theorem's axis.
    pub fn positions(&self, input: usize) -> bool {
        self.graph.inputs[input].bound.as_ref().is_some_and(|bound| bound.to_string() == self.axis)
    }

    pub fn is_argument(&self, input: usize) -> bool {
        self.graph.inputs[input].role == Role::Argument
    }

    /// Inputs whose entries along the axis are moved by a map of positions; positions on it move with them.
    pub fn moved(&self, inputs: &[Vec<f64>], to: &dyn Fn(usize) -> usize) -> Vec<Vec<f64>> {
        let shapes = self.shapes();
        (0..inputs.len())
            .map(|index| {
                let mut moved = relabel(&inputs[index], &shapes[index], &self.over(index), to);
                if self.positions(index) {
                    moved.iter_mut().for_each(|entry| *entry = to(*entry as usize) as f64);
                }
                moved
            })
            .collect()
    }

    /// An entry of an input. With `ties` many are equal.
    pub fn entry(&self, input: usize, ties: bool, draws: &mut Draws) -> f64 {
        let dims: BTreeMap<DimVar, i64> = self.dims().into_iter().collect();
        let info = &self.graph.inputs[input];
        match (&info.bound, info.role) {
            (Some(bound), _) => draws.below(bound.eval(&dims).expect("a size").max(1) as usize) as f64,
            (None, Role::Argument) if ties => (draws.below(3) as f64 - 1.0) * 0.5,
            // Running variances are positive.
            (None, Role::State) => draws.unit().abs() + 0.1,
            (None, Role::Seed | Role::Step | Role::Steps) => 1.0,
            (None, _) => draws.unit(),
        }
    }

    pub fn inputs(&self, ties: bool, draws: &mut Draws) -> Vec<Vec<f64>> {
        let shapes = self.shapes();
        let entries = |(index, shape): (usize, &Vec<usize>)| {
            (0..shape.iter().product()).map(|_| self.entry(index, ties, draws)).collect()
        };
        shapes.iter().enumerate().map(entries).collect()
    }
}

pub fn coordinates(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut found = vec![0; shape.len()];
    for (place, size) in found.iter_mut().zip(shape).rev() {
        *place = flat % size;
        flat /= size;
    }
    found
}

/// The number of an entry in row-major order.
pub fn flat(at: &[usize], shape: &[usize]) -> usize {
    at.iter().zip(shape).fold(0, |flat, (place, size)| flat * size + place)
}

/// `out[π(i)] = entries[i]` along the axes that `over` names.
pub fn relabel(entries: &[f64], shape: &[usize], over: &[bool], to: &dyn Fn(usize) -> usize) -> Vec<f64> {
    let mut moved = vec![0.0; entries.len()];
    for (place, entry) in entries.iter().enumerate() {
        let mut at = coordinates(place, shape);
        at.iter_mut().zip(over).filter(|(_, over)| **over).for_each(|(place, _)| *place = to(*place));
        moved[flat(&at, shape)] = *entry;
    }
    moved
}

pub fn close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
}
