//! Three executions of every example agree: the interpreter, native code without fusion, fused native code.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use nnc::axes::DimVar;
use nnc::check::core::Core;
use nnc::elaborate::Part;
use nnc::graph::{AxisSet, Graph, Output, Role, interpret};
use nnc::runtime::{Array, Pool};
use nnc::session::{Session, Settings, Timings, compile, graph_of};
use nnc::tensor::random::Key;
use nnc::tensor::{Tensor, Tolerance};
use nnc::train::{Clock, Store, fill};

/// What every symbolic dim is: no multiple of a vector, and more than one.
const SIZE: i64 = 5;

/// The interpreter evaluates some ten million entries a second. Of a training step with more than this, the two native programs
/// are compared with each other; the model itself is small enough for all three.
const ENTRIES: i64 = 30_000_000;

#[test]
fn three_executions_of_every_example_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "nn"));
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let settings = Settings { verify: true, ..Settings::default() };
        let mut session = Session::open(&file);
        let check = session.check(&settings, &|_| true);
        assert!(check.ok(), "{}: {:?}", file.display(), check.diagnostics);
        for item in &check.items {
            let name = format!("{}:{}", file.display(), item.name);
            match (&item.plan, &item.core) {
                (Some(plan), _) => {
                    agree(&format!("{name}, step"), &plan.steps[0].core);
                    agree(&format!("{name}, evaluation"), &plan.evaluate);
                }
                (None, Some(core)) if !item.open && !core.outputs.is_empty() => agree(&name, core),
                _ => {}
            }
        }
    }
}

fn agree(name: &str, core: &Core) {
    let sizes = core.inputs.iter().flat_map(|input| &input.axes).flat_map(|&axis| core.size(axis).vars());
    let dims: BTreeMap<DimVar, i64> = sizes.map(|dim| (dim, SIZE)).collect();
    let pool = Pool::new(2).unwrap();
    let plain = Settings { fuse: false, verify: true, ..Settings::default() };
    let fused = Settings { verify: true, ..Settings::default() };
    let mut timings = Timings::default();
    let arguments = arguments(core, &dims);
    let graph = graph_of(core, Part::Body, &dims, &fused, Some("elaborate"), &mut timings).unwrap();
    let fresh = || {
        let mut store = Store::of(core, &dims).unwrap();
        let mut timings = Timings::default();
        let init = compile(core, Part::Init, &dims, &fused, &mut timings).unwrap();
        fill(&mut store, &init, &dims, 1, &pool).unwrap();
        // As in the midst of a training: Adam's first steps are as long where the gradient is nothing but rounding.
        for input in graph.inputs.iter().filter(|input| input.role == Role::State && input.dtype.is_float()) {
            let owned = store.tensors.get_mut(&input.name).unwrap();
            let (key, len) = (Key::new(11, 0), owned.shape.iter().product::<usize>());
            let values: Vec<f32> = (0..len as u64).map(|i| key.uniform(0, i)).collect();
            let tensor = Tensor::from_vec(&owned.shape, values).unwrap().cast(input.dtype);
            owned.array = Array::from_tensor(&tensor).unwrap();
        }
        store
    };
    let clock = Clock { seed: 1, step: 2, steps: 9 };
    let store = fresh();
    let mut next = arguments.iter();
    let inputs: Vec<Tensor> = graph
        .inputs
        .iter()
        .map(|input| match input.role {
            Role::Argument => next.next().unwrap().clone(),
            Role::Seed => Tensor::scalar(clock.seed as i64),
            Role::Step => Tensor::scalar(clock.step as i64),
            Role::Steps => Tensor::scalar(clock.steps as i64),
            Role::Param | Role::State => {
                let owned = &store.tensors[&input.name];
                owned.array.to_tensor(&owned.shape).unwrap()
            }
        })
        .collect();
    let sizes: HashMap<DimVar, i64> = dims.clone().into_iter().collect();
    let mut expected =
        (entries(&graph, &dims) <= ENTRIES).then(|| interpret(&graph, &inputs, &sizes).unwrap());
    let first = if expected.is_some() { "the interpreter" } else { "plain" };
    for (which, settings) in [("plain", &plain), ("fused", &fused)] {
        let unit = compile(core, Part::Body, &dims, settings, &mut timings).unwrap();
        let mut store = fresh();
        let arrays: Vec<Array> = arguments.iter().map(|tensor| Array::from_tensor(tensor).unwrap()).collect();
        let shapes: Vec<_> = unit.output_shapes(&dims).map(|(shape, _)| shape).collect();
        let results = unit.run(&dims, &arrays, &mut store, clock, &pool).unwrap();
        let mut results = results.iter().zip(shapes).map(|(array, shape)| array.to_tensor(&shape).unwrap());
        let written = |output: &Output| match output.updates {
            Some(_) => {
                let owned = &store.tensors[&output.name];
                owned.array.to_tensor(&owned.shape).unwrap()
            }
            None => results.next().unwrap(),
        };
        let got: Vec<Tensor> = unit.graph.outputs.iter().map(written).collect();
        let expected = expected.get_or_insert_with(|| got.clone());
        for ((output, got), expected) in unit.graph.outputs.iter().zip(&got).zip(expected) {
            if let Err(difference) = got.compare(expected, Tolerance::new(1e-3, 1e-5)) {
                panic!("{name}: `{}` {which} differs from {first}: {difference:?}", output.name);
            }
        }
    }
}

/// How many entries all values of a program have.
fn entries(graph: &Graph, dims: &BTreeMap<DimVar, i64>) -> i64 {
    let size = |axes: &AxisSet| -> i64 {
        axes.iter().map(|&axis| graph.axes[axis].size.eval(dims).unwrap()).fold(1, i64::saturating_mul)
    };
    graph.nodes.values().map(|node| size(&node.axes)).fold(0, i64::saturating_add)
}

/// Random arrays for the inputs: floats in -1..1, positions in their range.
pub fn arguments(core: &Core, dims: &BTreeMap<DimVar, i64>) -> Vec<Tensor> {
    let one = |(site, input): (usize, &nnc::check::core::InputInfo)| {
        let shape: Vec<usize> =
            input.axes.iter().map(|&axis| core.size(axis).eval(dims).unwrap() as usize).collect();
        let (key, len) = (Key::new(7, site as u64), shape.iter().product::<usize>());
        let dtype = input.elem.dtype();
        if dtype.is_float() {
            let values: Vec<f32> = (0..len as u64).map(|i| 2.0 * key.uniform(0, i) - 1.0).collect();
            return Tensor::from_vec(&shape, values).unwrap().cast(dtype);
        }
        let bound = match (&input.elem, &input.bound) {
            (nnc::check::core::Elem::Idx(bound, _), _) | (_, Some(bound)) => bound.eval(dims).unwrap(),
            _ => 2,
        };
        let values: Vec<i64> = (0..len as u64).map(|i| i64::from(key.below(0, i, bound as u32))).collect();
        Tensor::from_vec(&shape, values).unwrap().cast(dtype)
    };
    core.inputs.iter().enumerate().map(one).collect()
}
