//! The library's own face: a program's text to models that run.
//!
//! ```
//! use nnc::ndarray::array;
//!
//! let program = nnc::compile("model scores(x: f32[N, D]) -> f32[N] = for n => sum d => x[n, d] ** 2")?;
//! let x = array![[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
//! let results = program.model("scores")?.run(&[("x", x.into())])?;
//! assert_eq!(results["scores"].as_slice::<f32>().unwrap(), [14.0, 77.0]);
//! # Ok::<(), nnc::Error>(())
//! ```
//!
//! A model is compiled when it first runs, for the ranks of its inputs, and then serves arrays of all sizes. Arrays are [`Tensor`]s, which are
//! ndarray's arrays with their type of elements known at run time; [`crate::ndarray`] is the version that they are of. To run a model where
//! there is no compiler, `nnc compile` writes it as a library with a C header (docs/objects.md).
//!
//! It strings together what the commands do, in the same order; it must never do anything that they cannot.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use indexmap::IndexMap;

use crate::axes::DimVar;
use crate::check::show_type;
use crate::diag::{Diagnostic, render};
use crate::elaborate::Part;
use crate::runtime::{Array, Pool};
use crate::session::{self, Check, Checked, Failure, Given, Session, Settings, What, sizing_dims};
use crate::tensor::Tensor;
use crate::train::{Clock, Store, Unit, errors, fill, load_weights};

/// What is wrong with a program, its inputs or its weights, as `nnc` would tell it. Threads may hand it on.
///
/// ```
/// fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///     nnc::compile("fn one() -> f32 = 1.0")?;
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    text: String,
    /// The same as values; empty where no program is to blame.
    pub diagnostics: Vec<Diagnostic>,
}

/// A program that was checked: all of its theorems hold.
pub struct Program {
    session: Session,
    settings: Settings,
    check: Check,
}

/// Checks a program. Its data and other files are looked for in the current directory.
///
/// # Errors
/// All that is wrong with it, as text with the places:
///
/// ```
/// let error = nnc::compile("model m(x: f32[N]) -> f32[N] = y").err().unwrap();
/// assert!(error.to_string().contains("nothing is called `y` here"));
/// ```
pub fn compile(source: &str) -> Result<Program, Error> {
    compile_with(source, &[])
}

/// Like [`compile`], with dims that are fixed, as by `--dim`.
///
/// ```
/// let program = nnc::compile_with("model m(H: dim = 8)(x: f32[N, D]) -> f32[N, H] = linear(H)(x)", &[("D", 4)])?;
/// let x = nnc::tensor::Tensor::from_vec(&[1, 4], vec![0.5f32; 4]).unwrap();
/// let results = program.model("m")?.with_seed(1).run(&[("x", x)])?;
/// assert_eq!(results["m"].shape(), [1, 8]);
/// # Ok::<(), nnc::Error>(())
/// ```
pub fn compile_with(source: &str, dims: &[(&str, i64)]) -> Result<Program, Error> {
    let dims = dims.iter().map(|&(name, size)| (DimVar::new(name), size)).collect();
    let settings = Settings { dims, ..Settings::default() };
    checked(Session::of_text("program.nn", source, Path::new(".")), settings)
}

/// Like [`compile`], of a file.
pub fn compile_file(path: impl AsRef<Path>) -> Result<Program, Error> {
    checked(Session::open(path.as_ref()), Settings::default())
}

fn checked(mut session: Session, settings: Settings) -> Result<Program, Error> {
    let check = session.check(&settings, &|_| true);
    if check.ok() {
        Ok(Program { session, settings, check })
    } else {
        Err(error(&session, check.diagnostics))
    }
}

fn error(session: &Session, diagnostics: Vec<Diagnostic>) -> Error {
    Error { text: render::render(&session.sources, &diagnostics, false), diagnostics }
}

impl Program {
    /// The model, layer or function of this name.
    ///
    /// # Errors
    /// There is none; its static arguments have no values.
    pub fn model(&self, name: &str) -> Result<Model<'_>, Error> {
        let runs = |item: &&Checked| matches!(item.what, What::Model | What::Layer | What::Fn);
        let items = || self.check.items.iter().filter(runs);
        let Some(item) = items().find(|item| item.name == *name) else {
            let known: Vec<_> = items().map(|item| item.name.clone()).collect();
            return Err(self.error(vec![session::errors::no_such_block("model", name, &known)]));
        };
        item.alone().map_err(|found| self.error(found))?;
        Ok(Model { program: self, item, weights: Weights::None, threads: 1, ready: Mutex::default() })
    }

    /// The names of all that [`Program::model`] finds, in the order of the file.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        let items = self.check.items.iter();
        items
            .filter(|item| matches!(item.what, What::Model | What::Layer | What::Fn))
            .map(|item| item.name.as_str())
    }

    /// Warnings.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.check.diagnostics
    }

    fn error(&self, diagnostics: Vec<Diagnostic>) -> Error {
        error(&self.session, diagnostics)
    }
}

#[derive(Clone)]
enum Weights {
    None,
    File(PathBuf),
    Tensors(BTreeMap<String, Tensor>),
    Seed(u64),
}

/// A definition that can be run. It is compiled when it first meets the ranks of its inputs; after that it serves all sizes.
///
/// Threads may share programs and models. Runs of one model take turns, for each has all of the model's own threads.
///
/// ```
/// use nnc::Tensor;
///
/// let program = nnc::compile("model m(x: f32[N, 4]) -> f32[N, 2] = linear(2)(x)")?;
/// let model = program.model("m")?.with_seed(1);
/// let run = |rows: usize| model.run(&[("x", Tensor::from_vec(&[rows, 4], vec![1.0f32; 4 * rows]).unwrap())]);
/// let shapes = std::thread::scope(|scope| [1, 2, 3].map(|rows| scope.spawn(move || run(rows))).map(|thread| thread.join().unwrap()));
/// for (rows, results) in (1..).zip(shapes) {
///     assert_eq!(results?["m"].shape(), [rows, 2]);
/// }
/// # Ok::<(), nnc::Error>(())
/// ```
pub struct Model<'p> {
    program: &'p Program,
    item: &'p Checked,
    weights: Weights,
    threads: usize,
    ready: Mutex<HashMap<Key, Arc<Ready>>>,
}

/// The ranks of the inputs and the sizes of parameters: what a compilation is for.
type Key = (Vec<usize>, BTreeMap<DimVar, i64>);

struct Ready {
    unit: Unit,
    store: Mutex<Store>,
    pool: Pool,
}

/// What a panic of another thread left is whole: what is locked here is only replaced, and a store's arrays are written by no Rust code.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Model<'_> {
    /// What the model is called.
    pub fn name(&self) -> &str {
        &self.item.name
    }

    /// The names of its inputs and their types as the language writes them, in order.
    ///
    /// ```
    /// let program = nnc::compile("fn pick(x: f32[N, D], k: Idx[N]) -> f32[D] = x[k]")?;
    /// let pick = program.model("pick")?;
    /// let inputs: Vec<(&str, String)> = pick.inputs().collect();
    /// assert_eq!(inputs, [("x", "f32[N, D]".to_owned()), ("k", "Idx[N]".to_owned())]);
    /// # Ok::<(), nnc::Error>(())
    /// ```
    pub fn inputs(&self) -> impl Iterator<Item = (&str, String)> {
        let core = self.item.core.iter();
        core.flat_map(|core| {
            core.inputs.iter().map(|info| (info.name.as_str(), show_type(core, &info.elem, &info.axes)))
        })
    }

    /// What is proved of it, for people: its type, and for each axis what a change along it does to the outputs.
    ///
    /// ```
    /// let program = nnc::compile("model total(x: f32[set N]) -> f32 = sum(x)")?;
    /// assert!(program.model("total")?.theorem().contains("invariant under permutations of N"));
    /// # Ok::<(), nnc::Error>(())
    /// ```
    pub fn theorem(&self) -> String {
        session::theorem(self.item)
    }

    /// Its parameters and states by name, as [`Model::run`] uses them: given ones, or those that the seed draws.
    ///
    /// # Errors
    /// Neither weights nor a seed were given, or they do not fit; their sizes follow only from the inputs.
    ///
    /// ```
    /// let program = nnc::compile("model m(x: f32[4]) -> f32[2] = linear(2)(x)")?;
    /// let weights = program.model("m")?.with_seed(1).weights()?;
    /// assert_eq!(weights["linear_0.w"].shape(), [4, 2]);
    /// let x = nnc::Tensor::from(vec![1.0f32; 4]);
    /// let model = program.model("m")?.with_tensors(weights);
    /// assert_eq!(model.run(&[("x", x)])?["m"].shape(), [2]);
    /// # Ok::<(), nnc::Error>(())
    /// ```
    pub fn weights(&self) -> Result<BTreeMap<String, Tensor>, Error> {
        let fixed = &self.program.settings.dims;
        let Some(core) = &self.item.core else {
            let error = session::errors::not_compiled_alone(self.item.span, &self.item.name);
            return Err(self.program.error(vec![error]));
        };
        Ok(lock(&self.prepare(core, fixed)?.store).export(false))
    }

    /// Takes the parameters from tensors by name.
    pub fn with_tensors(mut self, weights: BTreeMap<String, Tensor>) -> Self {
        self.weights = Weights::Tensors(weights);
        self.ready = Mutex::default();
        self
    }

    /// Takes the parameters from a file, safetensors or npz. It is read at the first run.
    pub fn with_weights(mut self, file: impl Into<PathBuf>) -> Self {
        self.weights = Weights::File(file.into());
        self.ready = Mutex::default();
        self
    }

    /// Draws the parameters anew; all random draws of a run use the seed, too.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.weights = Weights::Seed(seed);
        self.ready = Mutex::default();
        self
    }

    /// Threads that kernels run on; the bits of results do not depend on it. Zero counts as one.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self.ready = Mutex::default();
        self
    }

    /// Runs the model on arrays by the names of its inputs; axes before an input's own are mapped over. Gives the outputs by name.
    ///
    /// # Errors
    /// Arrays that do not fit, NaN, parameters without weights, weights that differ from the model's, no memory.
    ///
    /// ```
    /// use nnc::Tensor;
    ///
    /// let program = nnc::compile("fn halves(x: f32[N], y: f32[N]) -> f32[N] = (x + y) / 2")?;
    /// let halves = program.model("halves")?.with_threads(2);
    /// let (x, y) = (Tensor::from(vec![1.0f32, 2.0]), Tensor::from(vec![3.0f32, 6.0]));
    /// assert_eq!(halves.run(&[("x", x.clone()), ("y", y)])?["halves"].as_slice::<f32>().unwrap(), [2.0, 4.0]);
    /// assert!(halves.run(&[("x", x)]).is_err());
    /// # Ok::<(), nnc::Error>(())
    /// ```
    pub fn run(&self, inputs: &[(&str, Tensor)]) -> Result<IndexMap<String, Tensor>, Error> {
        let Program { session, settings, .. } = self.program;
        let one = |failure: Failure| self.program.error(vec![*failure]);
        let given = inputs.iter().map(|(name, array)| Given {
            name: Some((*name).to_owned()),
            file: PathBuf::from(name),
            array: array.clone(),
        });
        let fitted =
            session.fit(self.item, given.collect(), settings).map_err(|found| self.program.error(found))?;
        let sizing = sizing_dims(&fitted.core);
        let mut fixed = settings.dims.clone();
        fixed.extend(
            fitted
                .dims
                .iter()
                .filter(|(dim, _)| sizing.contains(*dim))
                .map(|(dim, &size)| (dim.clone(), size)),
        );
        let key = (fitted.arrays.iter().map(|array| array.shape().len()).collect(), fixed.clone());
        // The lock is held while it compiles: others that want the same wait for it, and find it done.
        let ready = {
            let mut known = lock(&self.ready);
            match known.get(&key) {
                Some(ready) => Arc::clone(ready),
                None => {
                    let ready = Arc::new(self.prepare(&fitted.core, &fixed)?);
                    known.insert(key, Arc::clone(&ready));
                    ready
                }
            }
        };
        let memory = |error: crate::runtime::OutOfMemory| one(Box::new(errors::not_run(&error.into())));
        let arrays: Vec<Array> =
            fitted.arrays.iter().map(Array::from_tensor).collect::<Result<_, _>>().map_err(memory)?;
        let seed = if let Weights::Seed(seed) = self.weights { seed } else { 0 };
        let clock = Clock { seed, ..Clock::default() };
        let values = ready
            .unit
            .run(&fitted.dims, &arrays, &mut lock(&ready.store), clock, &ready.pool)
            .map_err(one)?;
        let outputs = ready.unit.graph.outputs.iter().filter(|output| output.updates.is_none());
        let mut results = IndexMap::new();
        for ((output, (shape, _)), value) in outputs.zip(ready.unit.output_shapes(&fitted.dims)).zip(values) {
            let tensor = value.to_tensor(&shape);
            let tensor =
                tensor.map_err(|error| Error { text: error.to_string(), diagnostics: Vec::new() })?;
            results.insert(output.name.to_string(), tensor);
        }
        Ok(results)
    }

    /// Compiles the model, and gets its weights.
    fn prepare(
        &self,
        core: &crate::check::core::Core,
        fixed: &BTreeMap<DimVar, i64>,
    ) -> Result<Ready, Error> {
        let settings = &self.program.settings;
        let one = |failure: Failure| self.program.error(vec![*failure]);
        let mut timings = session::Timings::default();
        let unit = session::compile(core, Part::Body, fixed, settings, &mut timings).map_err(one)?;
        let mut store =
            Store::of(core, fixed).map_err(|error| one(Box::new(errors::not_run(&error.into()))))?;
        let pool = Pool::new(self.threads).map_err(|error| Error {
            text: format!("no thread can be started: {error}"),
            diagnostics: Vec::new(),
        })?;
        match &self.weights {
            Weights::File(file) => load_weights(file, &mut store).map_err(one)?,
            Weights::Tensors(tensors) => store.import(tensors, false).map_err(|differences| Error {
                text: format!(
                    "these are not the weights of `{}`:\n{}",
                    self.item.name,
                    differences.join("\n")
                ),
                diagnostics: Vec::new(),
            })?,
            Weights::Seed(seed) if !store.tensors.is_empty() => {
                let init = session::compile(core, Part::Init, fixed, settings, &mut timings).map_err(one)?;
                fill(&mut store, &init, &BTreeMap::new(), *seed, &pool).map_err(one)?;
            }
            Weights::None if !store.tensors.is_empty() => {
                let text = format!(
                    "`{}` has parameters: give it weights, or a seed to draw them with",
                    self.item.name
                );
                return Err(Error { text, diagnostics: Vec::new() });
            }
            _ => {}
        }
        Ok(Ready { unit, store: Mutex::new(store), pool })
    }
}
