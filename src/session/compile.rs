//! A checked definition to a program that runs.

use std::collections::{BTreeMap, BTreeSet};

use crate::axes::{Dim, DimVar};
use crate::base::Span;
use crate::check::core::{Constraint, ConstraintOp, Core, Slot};
use crate::check::train::Overrides;
use crate::codegen::cranelift;
use crate::diag::{Code, Diagnostic, Fault};
use crate::elaborate::{Part, elaborate, elaborate_placed};
use crate::graph::{self, Graph, Role};
use crate::kernel::{self, Program};
use crate::lower::{LowerError, lower, lower_prepared};
use crate::passes::{self, PassCx};
use crate::runtime::Executable;
use crate::train::Unit;

use super::placement::place;
use super::{Timings, errors};

/// What a command chooses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--dim D=64`
    pub dims: BTreeMap<DimVar, i64>,
    /// `--float f64`
    pub wide: bool,
    pub overrides: Overrides,
    /// Nodes are grouped into kernels; without it, every node is one: the plain program that the fused one is compared with.
    pub fuse: bool,
    /// The verifiers run after every pass and behind lowering.
    pub verify: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            dims: BTreeMap::new(),
            wide: false,
            overrides: Overrides::default(),
            fuse: true,
            verify: cfg!(debug_assertions),
        }
    }
}

/// Why there is no program.
pub type Failure = Box<Diagnostic>;

/// Compiles a part of a core. It serves all values of the dims that `dims` does not give.
///
/// # Errors
/// A parameter whose size is not known; what no stage can compile yet; a defect of the compiler itself.
pub fn compile(
    core: &Core,
    part: Part,
    dims: &BTreeMap<DimVar, i64>,
    settings: &Settings,
    timings: &mut Timings,
) -> Result<Unit, Failure> {
    let graph = graph_of(core, part, dims, settings, None, timings)?;
    let program = prepared_program_of(&graph, settings, timings)?;
    let options = cranelift::Options { verify: settings.verify, ..cranelift::Options::default() };
    let code = timings
        .codegen(|| cranelift::compile(&program, options))
        .map_err(|error| defect("codegen", &error.to_string()))?;
    Ok(Unit { graph, exec: Executable::new(program, code) })
}

/// The graph of a part of a core, after all passes, or after the one that `until` names; "elaborate" is before all.
pub fn graph_of(
    core: &Core,
    part: Part,
    dims: &BTreeMap<DimVar, i64>,
    settings: &Settings,
    until: Option<&str>,
    timings: &mut Timings,
) -> Result<Graph, Failure> {
    parameters_are_sized(core, dims)?;
    let graph = match core.budget.as_ref().filter(|_| part == Part::Body) {
        None => timings.elaborate(|| elaborate(core, part, dims)),
        Some(budget) => timings.elaborate(|| {
            let placement = place(core, budget, dims, settings)?;
            Ok::<Graph, Failure>(elaborate_placed(core, part, dims, &placement))
        })?,
    };
    // What the checker and elaboration made is verified always: it costs little, and a wrong number is the worst that can happen.
    graph::verify(&graph).map_err(|found| defect("elaborate", &found.to_string()))?;
    if until == Some("elaborate") {
        return Ok(graph);
    }
    let stop_after = until.and_then(passes::find).map(|pass| pass.name);
    let mut cx = PassCx { verify: settings.verify, plain: !settings.fuse, stop_after, ..PassCx::default() };
    let passed = timings.passes(|| passes::run(graph, &mut cx));
    passed.map_err(|broken| defect(broken.after, &broken.defect.to_string()))
}

/// The kernels of a graph.
pub fn program_of(graph: &Graph, settings: &Settings, timings: &mut Timings) -> Result<Program, Failure> {
    let program = timings.lower(|| lower(graph)).map_err(|error| Box::new(not_lowered(&error)))?;
    verify_kernels(&program, settings)?;
    Ok(program)
}

/// The kernels of a graph that keeps what its parameters alone decide from run to run.
pub fn prepared_program_of(
    graph: &Graph,
    settings: &Settings,
    timings: &mut Timings,
) -> Result<Program, Failure> {
    let fixed = |input: usize| matches!(graph.inputs[input].role, Role::Param | Role::State);
    let program =
        timings.lower(|| lower_prepared(graph, &fixed)).map_err(|error| Box::new(not_lowered(&error)))?;
    verify_kernels(&program, settings)?;
    Ok(program)
}

fn verify_kernels(program: &Program, settings: &Settings) -> Result<(), Failure> {
    if settings.verify {
        kernel::verify_program(program)
            .map_err(|found| defect("lower", &format!("{}: {}", found.kernel, found.message)))?;
    }
    Ok(())
}

/// The compiler broke its own rules: the program is not to blame.
pub fn defect(stage: &str, message: &str) -> Failure {
    let diagnostic =
        Diagnostic::error(Code(699), format!("this is a defect of nnc, in `{stage}`: {message}"));
    Box::new(diagnostic.help("please report it, with the program"))
}

fn not_lowered(error: &LowerError) -> Diagnostic {
    let LowerError::Dim(_) = error;
    Diagnostic::error(Code(600), error.to_string()).fault(Fault::Limit)
}

/// The dims that size parameters and states: they must be known when compiling.
pub fn sizing_dims(core: &Core) -> BTreeSet<DimVar> {
    slots(core)
        .flat_map(|slot| slot.axes.iter())
        .flat_map(|&axis| core.expand(&core.size(axis)).vars())
        .collect()
}

fn slots(core: &Core) -> impl Iterator<Item = &Slot> {
    core.params.iter().chain(&core.states)
}

/// Refuses a core with parameters whose size is not known.
pub fn parameters_are_sized(core: &Core, dims: &BTreeMap<DimVar, i64>) -> Result<(), Failure> {
    for slot in slots(core) {
        let open: BTreeSet<DimVar> = slot
            .axes
            .iter()
            .flat_map(|&axis| core.expand(&core.size(axis)).vars())
            .filter(|var| !dims.contains_key(var))
            .collect();
        if !open.is_empty() {
            let open: Vec<String> = open.iter().map(|var| var.as_str().to_owned()).collect();
            return Err(Box::new(errors::unknown_parameter_size(slot.span, &slot.path, &open)));
        }
    }
    Ok(())
}

/// What the program demands of its dims, once they have values.
pub fn broken_constraints(core: &Core, dims: &BTreeMap<DimVar, i64>) -> Vec<Diagnostic> {
    core.constraints.iter().filter_map(|constraint| broken(core, constraint, dims)).collect()
}

fn broken(core: &Core, constraint: &Constraint, dims: &BTreeMap<DimVar, i64>) -> Option<Diagnostic> {
    let value = |dim: &Dim| core.expand(dim).eval(dims).ok();
    let (left, right) = (value(&constraint.left)?, value(&constraint.right)?);
    let holds = match constraint.op {
        ConstraintOp::Eq => left == right,
        ConstraintOp::Le => left <= right,
        ConstraintOp::Lt => left < right,
    };
    if holds {
        return None;
    }
    let sides = [&constraint.left, &constraint.right].map(|side| core.expand(side));
    let names: BTreeSet<DimVar> = sides.iter().flat_map(Dim::vars).collect();
    let known = names.iter().filter_map(|name| Some(format!("{name} is {}", dims.get(name)?)));
    let known: Vec<String> = known.collect();
    let text = format!("`{}` does not hold: {}", constraint.text, known.join(", "));
    Some(constraint_fails(&text, constraint.span))
}

fn constraint_fails(text: &str, span: Span) -> Diagnostic {
    Diagnostic::error(Code(515), text.to_owned()).label(span, "demanded here").fault(Fault::File)
}
