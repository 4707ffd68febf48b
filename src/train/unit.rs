//! A compiled graph, and the arrays that it runs on.

use smallvec::SmallVec;

use crate::diag::Diagnostic;
use crate::graph::{Graph, Role};
use crate::runtime::{Array, Dims, Executable, Observer, OutOfMemory, Pool, RunError, Slot};
use crate::tensor::{DType, Tensor};

use super::errors;
use super::store::Store;

/// A graph after all passes, and its machine code.
pub struct Unit {
    pub graph: Graph,
    pub exec: Executable,
}

/// The numbers that random draws and schedules depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    pub seed: u64,
    /// The number of the step, from 0.
    pub step: u64,
    /// Steps of the whole training.
    pub steps: u64,
}

impl Unit {
    /// Runs the graph where its dims have these values: `arguments` in the order of the graph's own, parameters and states from
    /// `store`, which is where updates go too. Gives the outputs that update nothing, in order, each in the order of its axes.
    pub fn run(
        &self,
        dims: &Dims,
        arguments: &[Array],
        store: &mut Store,
        clock: Clock,
        pool: &Pool,
    ) -> Result<Vec<Array>, Box<Diagnostic>> {
        let mut outputs = self.outputs(dims)?;
        self.run_into(dims, arguments, store, clock, pool, &mut outputs)?;
        Ok(outputs)
    }

    /// Arrays for the outputs that update nothing.
    pub fn outputs(&self, dims: &Dims) -> Result<Vec<Array>, Box<Diagnostic>> {
        let make = |shape: Vec<usize>, dtype: DType| {
            let len = shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
            Array::zeros(dtype, len.ok_or(OutOfMemory(usize::MAX))?)
        };
        let arrays = self.output_shapes(dims).map(|(shape, dtype)| make(shape, dtype));
        arrays
            .collect::<Result<_, _>>()
            .map_err(|error| Box::new(errors::not_run(&RunError::OutOfMemory(error))))
    }

    /// Shape and type of the outputs that update nothing.
    pub fn output_shapes(&self, dims: &Dims) -> impl Iterator<Item = (Vec<usize>, DType)> {
        let results = &self.graph.regions[self.graph.root].results;
        let plain = self.graph.outputs.iter().zip(results).filter(|(output, _)| output.updates.is_none());
        plain.map(|(output, node)| {
            let sizes = output.order.iter().map(|&axis| self.graph.axes[axis].size.eval(dims).unwrap_or(0));
            let shape = sizes.map(|size| usize::try_from(size).unwrap_or(0)).collect();
            (shape, self.graph.nodes[*node].dtype)
        })
    }

    /// [`Unit::run`] into arrays that [`Unit::outputs`] made.
    pub fn run_into(
        &self,
        dims: &Dims,
        arguments: &[Array],
        store: &mut Store,
        clock: Clock,
        pool: &Pool,
        outputs: &mut [Array],
    ) -> Result<(), Box<Diagnostic>> {
        self.run_observed(dims, arguments, store, clock, pool, outputs, None)
    }

    /// [`Unit::run_into`] that tells an observer what each kernel took.
    #[allow(clippy::too_many_arguments, reason = "those of `run_into`, and one")]
    pub fn run_observed(
        &self,
        dims: &Dims,
        arguments: &[Array],
        store: &mut Store,
        clock: Clock,
        pool: &Pool,
        outputs: &mut [Array],
        observer: Option<Observer<'_>>,
    ) -> Result<(), Box<Diagnostic>> {
        let bound = self.exec.bind(dims).map_err(|error| Box::new(errors::not_bound(&error)))?;
        let number = |value: u64| Array::from_slice(&[value as i64]);
        let clock = (|| Ok([number(clock.seed)?, number(clock.step)?, number(clock.steps)?]))();
        let [seed, step, steps] =
            clock.map_err(|error| Box::new(errors::not_run(&RunError::OutOfMemory(error))))?;
        let mut updated: SmallVec<[bool; 32]> = SmallVec::from_elem(false, self.graph.inputs.len());
        for input in self.graph.outputs.iter().filter_map(|output| output.updates) {
            updated[input] = true;
        }
        let places: SmallVec<[Option<usize>; 32]> =
            self.graph.inputs.iter().map(|input| store.tensors.get_index_of(&input.name)).collect();
        // Each tensor of the store once, so that several can be written.
        let mut owned: Vec<Option<&mut Array>> =
            store.tensors.values_mut().map(|owned| Some(&mut owned.array)).collect();
        let mut arguments = arguments.iter();
        let mut slots: SmallVec<[Slot<'_>; 32]> = SmallVec::new();
        for ((input, place), updated) in self.graph.inputs.iter().zip(places).zip(updated) {
            let missing = || {
                let (what, expected) = ("inputs", self.graph.inputs.len());
                Box::new(errors::not_run(&RunError::Count { what, found: slots.len(), expected }))
            };
            slots.push(match input.role {
                Role::Argument => Slot::Read(arguments.next().ok_or_else(missing)?),
                Role::Seed => Slot::Read(&seed),
                Role::Step => Slot::Read(&step),
                Role::Steps => Slot::Read(&steps),
                Role::Param | Role::State => {
                    let array = place.and_then(|place| owned[place].take()).ok_or_else(missing)?;
                    if updated { Slot::Update(array) } else { Slot::Read(array) }
                }
            });
        }
        let mut outputs = outputs.iter_mut();
        let mut targets: SmallVec<[Option<&mut Array>; 32]> = self
            .graph
            .outputs
            .iter()
            .map(|output| output.updates.is_none().then(|| outputs.next()).flatten())
            .collect();
        let ran = self.exec.run_observed(&bound, &mut slots, &mut targets, pool, observer);
        ran.map_err(|error| Box::new(errors::not_run(&error)))
    }
}

/// What the interpreter is given for a graph without arguments: parameters, states and the clock.
pub fn tensors_for(graph: &Graph, store: &Store, clock: Clock) -> Vec<Tensor> {
    let owned = |name: &str| {
        let owned = store.tensors.get(name)?;
        owned.array.to_tensor(&owned.shape).ok()
    };
    let inputs = graph.inputs.iter().filter_map(|input| match input.role {
        Role::Seed => Some(Tensor::scalar(clock.seed as i64)),
        Role::Step => Some(Tensor::scalar(clock.step as i64)),
        Role::Steps => Some(Tensor::scalar(clock.steps as i64)),
        Role::Param | Role::State => owned(&input.name),
        Role::Argument => None,
    });
    inputs.collect()
}
