//! A compiled program as files that others link: an object file, and the header that says how it is called.
//!
//! docs/objects.md has the interface. Nothing is written here; what is written is handed back.

mod files;
mod header;
mod names;
mod pack;

use std::collections::{BTreeMap, BTreeSet};

use crate::axes::{Dim, DimVar};
use crate::base::Name;
use crate::check::core::{Constraint, ConstraintOp, Core};
use crate::check::train::average_path;
use crate::codegen::object::{self, Comparison, Demand, Entry, Given, Slots, Taken, Target};
use crate::diag::{Code, Diagnostic};
use crate::graph::{Graph, Role};
use crate::kernel::{BufferKind, BufferRef, Program, Step};
use crate::runtime::slots::slots;
use crate::tensor::DType;
use crate::train::Store;

use super::compile::{Failure, defect};

pub use names::{is_prefix, plain};
pub use pack::{PackError, archive, shared_object};

/// What a command chooses.
pub struct Wishes<'a> {
    /// What all exported names begin with.
    pub prefix: &'a str,
    pub target: Target,
    /// Weights that the object file holds.
    pub weights: Option<&'a Store>,
    pub verify: bool,
}

/// What a program of an artifact is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A model's outputs.
    Run,
    /// The first values of weights.
    Init,
    /// A training step.
    Step,
    /// The measures of a training, from averaged weights where the training averages them.
    Evaluate,
}

/// One program of an artifact.
pub struct Piece<'a> {
    pub purpose: Purpose,
    /// Behind the prefix: nothing, `_init`, `_step`, `_evaluate`.
    pub suffix: String,
    /// What running it does, for people.
    pub does: String,
    /// What it is a part of.
    pub core: &'a Core,
    pub graph: Graph,
    pub program: Program,
    /// What some weights become when it has run.
    pub presets: Vec<Preset>,
}

/// A part of a weight, from a file.
#[derive(Clone, Debug)]
pub struct Preset {
    pub path: Name,
    /// The first byte in the weight.
    pub offset: usize,
    pub bytes: Vec<u8>,
}

/// A parameter or state: its place in the table of weights is its number.
struct Weight {
    path: Name,
    dtype: DType,
    shape: Vec<i64>,
    of_optimizer: bool,
    /// The place of its average, or its own: what a training gives back.
    given: usize,
}

/// An object file and its headers.
pub struct Artifact {
    pub object: Vec<u8>,
    pub header: String,
    /// Reads and writes files of weights; where the caller has weights.
    pub files: Option<String>,
    /// Of the object file, without weights.
    pub code: usize,
}

/// Programs as an object file; `dims` are those that were fixed when compiling.
///
/// # Errors
/// Weights in the object file that a run would write to.
pub fn artifact(
    pieces: &[Piece<'_>],
    dims: &BTreeMap<DimVar, i64>,
    wishes: &Wishes<'_>,
) -> Result<Artifact, Failure> {
    let mut weights: Vec<Weight> = Vec::new();
    for core in pieces.iter().map(|piece| piece.core) {
        let size = |axis| core.expand(&core.size(axis)).eval(dims).unwrap_or(0);
        for slot in core.params.iter().chain(&core.states) {
            if weights.iter().all(|weight| weight.path != slot.path) {
                weights.push(Weight {
                    path: slot.path.clone(),
                    dtype: slot.elem.dtype(),
                    shape: slot.axes.iter().map(|&axis| size(axis)).collect(),
                    of_optimizer: slot.is_of_optimizer(),
                    given: weights.len(),
                });
            }
        }
    }
    for index in 0..weights.len() {
        if let Some(average) = place(&weights, &average_path(&weights[index].path)) {
            weights[index].given = average;
        }
    }
    let mut entries = Vec::new();
    for piece in pieces {
        entries.push(entry(piece, &weights, demands(piece.core, dims), wishes)?);
    }
    let held: usize = entries.iter().map(Entry::held).sum();
    let object = object::compile(&entries, wishes.target, wishes.verify)
        .map_err(|error| defect("object", &error.to_string()))?;
    let header = header::header(pieces, &entries, &weights, wishes, &object.plans);
    let callers = wishes.weights.is_none() && !weights.is_empty();
    let files = callers.then(|| files::header(&weights, wishes.prefix));
    Ok(Artifact { code: object.bytes.len().saturating_sub(held), object: object.bytes, header, files })
}

fn place(weights: &[Weight], path: &str) -> Option<usize> {
    weights.iter().position(|weight| weight.path == *path)
}

fn entry<'a>(
    piece: &'a Piece<'a>,
    weights: &[Weight],
    demands: Vec<Demand>,
    wishes: &Wishes<'a>,
) -> Result<Entry<'a>, Failure> {
    let Piece { purpose, suffix, graph, program, .. } = piece;
    let place = |name: &Name| place(weights, name);
    let read = |name: &Name| {
        let own = place(name)?;
        Some(if *purpose == Purpose::Evaluate { weights[own].given } else { own })
    };
    let missing = || defect("artifact", "a parameter has no place");
    let mut inputs = Vec::new();
    for (input, buffer) in graph.inputs.iter().zip(&program.inputs) {
        inputs.push(match (input.role, wishes.weights) {
            (Role::Argument, _) => Given::Argument,
            (Role::Seed | Role::Step | Role::Steps, _) => Given::Number,
            (Role::Param | Role::State, None) => Given::Weight(read(&input.name).ok_or_else(missing)?),
            (Role::Param | Role::State, Some(store)) => {
                if matches!(program.buffers[*buffer].kind, BufferKind::InOut(..)) {
                    let message =
                        format!("`{}` is written by each run, so it cannot lie in the library", input.name);
                    return Err(refused(&message, "with --weights-file the weights are the caller's"));
                }
                Given::Embedded(store.tensors.get(&input.name).ok_or_else(missing)?.array.bytes())
            }
        });
    }
    let mut outputs = Vec::new();
    for output in &graph.outputs {
        outputs.push(match purpose {
            // They are named like the weights that they are.
            Purpose::Init => Taken::Weight(place(&output.name).ok_or_else(missing)?),
            _ => Taken::Argument,
        });
    }
    let positions = graph.inputs.iter().enumerate();
    let positions: Vec<(usize, Dim)> =
        positions.filter_map(|(index, input)| Some((index, input.bound.clone()?))).collect();
    let (of, count) = slots(program);
    let mut presets = Vec::new();
    for Preset { path, offset, bytes } in &piece.presets {
        presets.push((place(path).ok_or_else(missing)?, *offset, bytes.as_slice()));
    }
    Ok(Entry {
        program,
        name: format!("{}{suffix}", wishes.prefix),
        dims: open_dims(graph, program, &demands, &positions),
        demands,
        inputs,
        outputs,
        positions,
        slots: Slots { of, count },
        presets,
    })
}

fn refused(message: &str, help: &str) -> Failure {
    Box::new(Diagnostic::error(Code(600), message.to_owned()).help(help.to_owned()))
}

/// What the program demands of dims that are still open.
fn demands(core: &Core, dims: &BTreeMap<DimVar, i64>) -> Vec<Demand> {
    let known: BTreeMap<DimVar, Dim> =
        dims.iter().map(|(var, value)| (var.clone(), Dim::constant(*value))).collect();
    let fixed = |dim: &Dim| dim.substitute(&known).unwrap_or_else(|_| dim.clone());
    let demand = |constraint: &Constraint| {
        let (left, right) = (fixed(&constraint.left), fixed(&constraint.right));
        let op = match constraint.op {
            ConstraintOp::Eq => Comparison::Equal,
            ConstraintOp::Le => Comparison::AtMost,
            ConstraintOp::Lt => Comparison::Less,
        };
        let open = left.as_const().is_none() || right.as_const().is_none();
        open.then(|| Demand { left, op, right, text: constraint.text.clone() })
    };
    core.constraints.iter().filter_map(demand).collect()
}

/// All dims that bind needs: those of the inputs in order of their shapes, then others by name.
fn open_dims(
    graph: &Graph,
    program: &Program,
    demands: &[Demand],
    positions: &[(usize, Dim)],
) -> Vec<DimVar> {
    let mut order: Vec<DimVar> = Vec::new();
    let mut push = |dim: &Dim| {
        for var in dim.vars() {
            if !order.contains(&var) {
                order.push(var);
            }
        }
    };
    let shapes = graph.inputs.iter().flat_map(|input| &input.order);
    shapes.for_each(|&axis| push(&graph.axes[axis].size));
    let mut rest: BTreeSet<Dim> = program.buffers.values().map(|buffer| buffer.len.clone()).collect();
    rest.extend(program.kernels.values().flat_map(|kernel| kernel.sizes.values().cloned()));
    rest.extend(demands.iter().flat_map(|demand| [demand.left.clone(), demand.right.clone()]));
    rest.extend(positions.iter().map(|(_, bound)| bound.clone()));
    of_steps(&program.steps, &mut rest);
    let mut vars: Vec<DimVar> = rest.iter().flat_map(Dim::vars).collect();
    vars.sort();
    vars.into_iter().for_each(|var| push(&Dim::var(var)));
    order
}

fn of_steps(steps: &[Step], found: &mut BTreeSet<Dim>) {
    let reference = |r: &BufferRef, found: &mut BTreeSet<Dim>| {
        found.insert(r.offset.clone());
        found.extend(r.turns.iter().map(|(_, stride)| stride.clone()));
    };
    for step in steps {
        match step {
            Step::Run { args, .. } => args.iter().for_each(|arg| reference(arg, found)),
            Step::Loop { count, body, .. } => {
                found.insert(count.clone());
                of_steps(body, found);
            }
            Step::Copy { from, to, len, .. } => {
                found.insert(len.clone());
                reference(from, found);
                reference(to, found);
            }
            Step::Sort { from, to, rows, len, .. } => {
                found.extend([rows.clone(), len.clone()]);
                reference(from, found);
                reference(to, found);
            }
        }
    }
}
