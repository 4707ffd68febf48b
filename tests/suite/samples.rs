//! Operators and the library against PyTorch in float64: values, gradients by every argument and weight, gradients of gradients
//! (tests/golden/numbers/samples.py, which writes the program, too). One step of an optimizer that puts the gradient in the place of each
//! weight; the golden file says what is in the weights and states before and after it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use nnc::check::Entry;
use nnc::elaborate::Part;
use nnc::formats::safetensors;
use nnc::graph::Role;
use nnc::runtime::{Array, Pool, Slot};
use nnc::session::{Session, Settings, compile};
use nnc::tensor::{Tensor, Tolerance};

/// Runs the step of a `train` block natively and fused, and says what differs from the golden file.
fn differences(block: &str, wide: bool, tolerance: Tolerance) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/numbers");
    let source = std::fs::read_to_string(folder.join("samples.nn")).expect("the program");
    let golden = safetensors::load(&folder.join("samples.safetensors")).expect("the golden file");
    let mut session = Session::of_text("samples.nn", &source, &folder);
    let settings = Settings { wide, verify: true, ..Settings::default() };
    let check = session
        .check(&settings, &|entry| matches!(entry, Entry::Train(train, _) if train.name.as_ref().is_some_and(|name| name.name == block)));
    assert!(check.ok(), "{}", nnc::diag::render::render(&session.sources, &check.diagnostics, false));
    let plan = check.items.iter().find_map(|item| item.plan.as_ref()).expect("a train block");
    let core = &plan.steps[0].core;
    let compiled = compile(core, Part::Body, &BTreeMap::new(), &settings, &mut Default::default());
    let compiled = compiled.unwrap_or_else(|failure| panic!("{block}: {}", failure.message));
    let graph = &compiled.graph;
    let named = |when: &str, name: &str| golden.tensors.get(&format!("{block}/{when}/{name}"));
    let mut missing = String::new();
    let mut arrays: Vec<Array> = Vec::new();
    for input in &graph.inputs {
        let shape: Vec<usize> = input
            .order
            .iter()
            .map(|&axis| graph.axes[axis].size.as_const().expect("a size in numbers") as usize)
            .collect();
        let given = match input.role {
            Role::Param | Role::State => named("before", &input.name).cloned(),
            _ => Some(Tensor::zeros(input.dtype, &shape).expect("fits")),
        };
        match given {
            Some(tensor) if tensor.shape() == shape => {
                arrays.push(Array::from_tensor(&tensor.cast(input.dtype)).expect("fits"));
            }
            other => {
                let shape = other.map(|tensor| tensor.shape().to_vec());
                writeln!(missing, "{} is {shape:?} in the golden file", input.name).unwrap();
            }
        }
    }
    if !missing.is_empty() {
        return missing;
    }
    let shape = |order: &[nnc::graph::Axis]| -> Vec<usize> {
        order
            .iter()
            .map(|&axis| graph.axes[axis].size.as_const().expect("a size in numbers") as usize)
            .collect()
    };
    let results = &graph.regions[graph.root].results;
    let updated: BTreeSet<usize> = graph.outputs.iter().filter_map(|output| output.updates).collect();
    let mut outputs: Vec<Option<Array>> = graph
        .outputs
        .iter()
        .zip(results)
        .map(|(output, &node)| {
            let count = shape(&output.order).iter().product();
            output.updates.is_none().then(|| Array::zeros(graph.nodes[node].dtype, count).expect("fits"))
        })
        .collect();
    let bound = compiled.exec.bind(&BTreeMap::new()).expect("binds");
    let mut slots: Vec<Slot> = arrays
        .iter_mut()
        .enumerate()
        .map(|(index, array)| match updated.contains(&index) {
            true => Slot::Update(array),
            false => Slot::Read(array),
        })
        .collect();
    let mut places: Vec<Option<&mut Array>> = outputs.iter_mut().map(Option::as_mut).collect();
    compiled.exec.run(&bound, &mut slots, &mut places, &Pool::new(1).expect("a pool")).expect("runs");
    drop(slots);
    let mut found = String::new();
    let mut compared = 0;
    for &index in &updated {
        let name = &graph.inputs[index].name;
        let value = arrays[index].to_tensor(&shape(&graph.inputs[index].order)).expect("of its shape");
        let Some(expected) = named("after", name) else {
            writeln!(found, "{name} is not in the golden file").unwrap();
            continue;
        };
        compared += 1;
        if let Err(difference) = value.compare(&expected.cast(value.dtype()), tolerance) {
            writeln!(found, "{name}: {difference:?}").unwrap();
        }
    }
    let prefix = format!("{block}/after/");
    let all = golden.tensors.keys().filter(|name| name.starts_with(&prefix)).count();
    if compared != all {
        writeln!(found, "{compared} of {all} tensors are compared").unwrap();
    }
    found
}

/// Values and gradients in f64 and in f32, gradients of gradients in f64.
#[track_caller]
fn agrees(section: &str) {
    let exact = Tolerance::new(1e-10, 1e-11);
    let mut found = differences(&format!("values_{section}"), true, exact);
    found += &differences(&format!("slopes_{section}"), true, exact);
    found += &differences(&format!("values_{section}"), false, Tolerance::new(2e-4, 2e-5));
    assert!(found.is_empty(), "{found}");
}

#[test]
fn activations_agree_with_pytorch() {
    agrees("activations");
}

#[test]
fn scalar_functions_agree_with_pytorch() {
    agrees("scalars");
}

#[test]
fn reductions_agree_with_pytorch() {
    agrees("reductions");
}

#[test]
fn contractions_agree_with_pytorch() {
    agrees("contractions");
}

#[test]
fn gathers_sorts_and_reshapes_agree_with_pytorch() {
    agrees("reading");
}

#[test]
fn convolutions_agree_with_pytorch() {
    agrees("convolutions");
}

#[test]
fn pooling_agrees_with_pytorch() {
    agrees("pooling");
}

#[test]
fn images_at_other_places_agree_with_pytorch() {
    agrees("images");
}

#[test]
fn losses_agree_with_pytorch() {
    agrees("losses");
}

#[test]
fn norms_agree_with_pytorch() {
    agrees("norms");
}

#[test]
fn recurrent_layers_agree_with_pytorch() {
    agrees("recurrent");
}

#[test]
fn attention_agrees_with_pytorch() {
    agrees("attention");
}

#[test]
fn layers_and_graphs_agree_with_pytorch() {
    agrees("layers");
}

#[test]
fn loops_and_checkpoints_agree_with_pytorch() {
    agrees("loops");
}
