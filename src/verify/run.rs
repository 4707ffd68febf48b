//! A core as a function from arrays to arrays, with parameters that were drawn.

use crate::axes::DimVar;
use crate::check::core::{AxisVar, Core, Form, Root};
use crate::elaborate::Part;
use crate::runtime::{Array, Pool};
use crate::session::{self, Settings, Timings, sizing_dims};
use crate::tensor::DType;
use crate::train::{Clock, Store, Unit};

use super::draw::{Draws, Sizes, shape};
use super::failure;
use super::values::Values;

/// The two compilations of a core, in f64 and as it is written, with the same parameters.
pub struct Pair {
    wide: Runner,
    narrow: Runner,
}

struct Runner {
    core: Core,
    unit: Unit,
    store: Store,
    pool: Pool,
}

/// What a run gave, and how much of each output rounding in f64 may explain.
pub struct Outputs {
    pub values: Vec<Values>,
    pub tolerances: Vec<f64>,
}

impl Pair {
    /// Compiles both for these sizes of the dims that size parameters; parameters are normal, states positive.
    ///
    /// # Errors
    /// Why it cannot be compiled.
    pub fn new(
        cores: &(Core, Core),
        sizes: &Sizes,
        settings: &Settings,
        draws: &mut Draws,
    ) -> Result<Pair, String> {
        let (wide, narrow) = cores;
        let owned: Vec<Values> = slots(wide)
            .map(|(slot, is_state)| {
                let shape = shape(wide, &slot.axes, sizes).ok_or("a size is not known")?;
                // So that sums over them do not grow with their sizes.
                let scale = (shape.first().copied().unwrap_or(1).max(1) as f64).sqrt();
                Ok(Values::from_fn(&shape, |_| match is_state {
                    true => draws.normal().abs() + 0.1,
                    false => draws.normal() / scale,
                }))
            })
            .collect::<Result<_, String>>()?;
        Ok(Pair {
            wide: Runner::new(wide, sizes, &owned, settings)?,
            narrow: Runner::new(narrow, sizes, &owned, settings)?,
        })
    }

    /// Outputs in f64 with their tolerances.
    ///
    /// What rounding does to an output is measured: the same run in the program's own precision (f32) deviates by what its
    /// roundings, each of relative size 2^-24 at most, amount to behind this program's conditioning. In f64 each is 2^-29 times as
    /// large. A reordered sum is as far from the first one as both are from the exact value, so twice that, with a factor of 32 since
    /// one run is one draw of the roundings.
    pub fn run_with_tolerance(&mut self, inputs: &[Values], sizes: &Sizes) -> Result<Outputs, String> {
        let values = self.wide.run(inputs, sizes)?;
        let rounded = self.narrow.run(inputs, sizes)?;
        let tolerances = values
            .iter()
            .zip(&rounded)
            .map(|(exact, rounded)| {
                let pairs = exact.numbers.iter().zip(&rounded.numbers);
                let error = pairs
                    .map(|(&exact, &rounded)| super::values::distance(exact, rounded))
                    .filter(|error| error.is_finite())
                    .fold(0.0, f64::max);
                64.0 * 2f64.powi(-29) * error + 1024.0 * f64::EPSILON * exact.largest().max(1e-30)
            })
            .collect();
        Ok(Outputs { values, tolerances })
    }

    pub fn run(&mut self, inputs: &[Values], sizes: &Sizes) -> Result<Vec<Values>, String> {
        self.wide.run(inputs, sizes)
    }
}

fn slots(core: &Core) -> impl Iterator<Item = (&crate::check::core::Slot, bool)> {
    core.params.iter().map(|slot| (slot, false)).chain(core.states.iter().map(|slot| (slot, true)))
}

/// Whether a core draws a number for each position of a root: such numbers would have to move with the inputs, and draws of one seed stay
/// where they are. Two runs of one seed are alike in all others.
pub fn moves_draws(core: &Core, root: Root) -> bool {
    let name = DimVar::new(core.roots[root].name.as_str());
    let over = |axis: &AxisVar| {
        core.axes[*axis].root == Some(root) || core.expand(&core.size(*axis)).mentions(&name)
    };
    let Some(body) = core.body else { return false };
    let blocks = core.blocks.iter().filter(|(block, _)| *block == body || Some(*block) != core.init);
    let mut vals = blocks.flat_map(|(_, block)| &block.vals);
    vals.any(|&val| match &core.vals[val].form {
        Form::Random { ambient, .. } => ambient.iter().chain(&core.vals[val].visible).any(over),
        _ => false,
    })
}

impl Runner {
    fn new(core: &Core, sizes: &Sizes, owned: &[Values], settings: &Settings) -> Result<Runner, String> {
        let sizing = sizing_dims(core);
        let fixed: Sizes =
            sizes.iter().filter(|(dim, _)| sizing.contains(*dim)).map(|(d, s)| (d.clone(), *s)).collect();
        let unit = session::compile(core, Part::Body, &fixed, settings, &mut Timings::default())
            .map_err(|found| failure(&found))?;
        let mut store = Store::of(core, sizes).map_err(|error| error.to_string())?;
        for ((slot, _), values) in slots(core).zip(owned) {
            if let Some(place) = store.tensors.get_mut(&slot.path) {
                let tensor = values.tensor(place.dtype).ok_or("a shape does not fit")?;
                place.array = Array::from_tensor(&tensor).map_err(|error| error.to_string())?;
            }
        }
        let pool = Pool::new(1).map_err(|error| error.to_string())?;
        Ok(Runner { core: core.clone(), unit, store, pool })
    }

    fn run(&mut self, inputs: &[Values], sizes: &Sizes) -> Result<Vec<Values>, String> {
        let arrays: Result<Vec<Array>, String> = self
            .core
            .inputs
            .iter()
            .zip(inputs)
            .map(|(info, values)| {
                let tensor = values.tensor(info.elem.dtype()).ok_or("a shape does not fit")?;
                Array::from_tensor(&tensor).map_err(|error| error.to_string())
            })
            .collect();
        let arrays = arrays?;
        // What a run writes to states must not be there in the next one.
        let before: Vec<Vec<u8>> =
            self.store.tensors.values().map(|owned| owned.array.bytes().to_vec()).collect();
        let shapes: Vec<(Vec<usize>, DType)> = self.unit.output_shapes(sizes).collect();
        let ran =
            self.unit.run(sizes, &arrays, &mut self.store, Clock { seed: 7, ..Clock::default() }, &self.pool);
        for (owned, bytes) in self.store.tensors.values_mut().zip(before) {
            owned.array.bytes_mut().copy_from_slice(&bytes);
        }
        let outputs = ran.map_err(|found| failure(&found))?;
        let tensors = outputs.iter().zip(&shapes).map(|(array, (shape, _))| {
            array.to_tensor(shape).map(|tensor| Values::of(&tensor)).map_err(|error| error.to_string())
        });
        tensors.collect()
    }
}
