//! From the typed core to the tensor IR.
//!
//! The order of axes ends here: a visible axis becomes one of a value's set, so `Tabulate` is no operation, reads at binders
//! are views, and a function that was mapped over more axes is the same nodes with more axes.
//! It must never decide anything about types: a core that the checker made is taken at its word.

mod forms;
mod index;
mod outline;
mod prefix;
mod reduce;
mod reshape;
mod segment;
mod segmented;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cranelift_entity::SecondaryMap;
use smallvec::SmallVec;

use crate::axes::{Dim, DimVar};
use crate::base::{Name, Span};
use crate::check::core::{AxisVar, BlockId, Core, Elem, Form, Val};
use crate::check::rules;
use crate::graph::{Axis, Builder, Graph, Input, Literal, Node, Output, Role};
use crate::tensor::DType;

pub use outline::{Item, Loop, Outline};
pub use segmented::Segments;

/// Which values of a core become the graph's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The definition's results, then what it writes to parameters and states.
    Body,
    /// The first values of parameters and states.
    Init,
    /// The assertions of a test: for each its condition, then its two sides where it is a comparison.
    Assertions,
}

/// The graph for a part of a core, with the dims that are fixed when compiling put in.
///
/// Inputs: the seed and the step where they are used, the arguments, then the parameters and states that are used.
pub fn elaborate(core: &Core, part: Part, dims: &BTreeMap<DimVar, i64>) -> Graph {
    elaborate_with_origins(core, part, dims).0
}

/// What derivatives compute again besides what the program says: neither changes any value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Loops that are cut into segments.
    pub segments: BTreeMap<Val, Segments>,
    /// Runs of values of one block, from the key to the value, both included, which are a checkpoint.
    pub runs: BTreeMap<Val, Val>,
}

/// The same with checkpoints at these places.
pub fn elaborate_placed(
    core: &Core,
    part: Part,
    dims: &BTreeMap<DimVar, i64>,
    placement: &Placement,
) -> Graph {
    let mut walk = Walk::new(core, dims);
    walk.placement = placement.clone();
    walk.elaborate(part).0
}

/// The same, with the value of the core that each node was made for.
pub fn elaborate_with_origins(
    core: &Core,
    part: Part,
    dims: &BTreeMap<DimVar, i64>,
) -> (Graph, SecondaryMap<Node, Option<Val>>) {
    Walk::new(core, dims).elaborate(part)
}

/// What a part of a core gives back: names, values and what they replace.
fn outputs(core: &Core, part: Part) -> Vec<(Name, Val, Option<Owned>)> {
    let mut outputs: Vec<(Name, Val, Option<Owned>)> = Vec::new();
    match part {
        Part::Body => {
            for output in &core.outputs {
                outputs.push((output.name.clone(), output.val, None));
            }
            for (index, slot) in core.params.iter().enumerate() {
                outputs.extend(slot.written.map(|val| (slot.path.clone(), val, Some(Owned::Param(index)))));
            }
            for (index, slot) in core.states.iter().enumerate() {
                outputs.extend(slot.written.map(|val| (slot.path.clone(), val, Some(Owned::State(index)))));
            }
        }
        Part::Init => {
            for slot in core.params.iter().chain(&core.states) {
                outputs.push((slot.path.clone(), slot.init, None));
            }
        }
        Part::Assertions => {
            for (index, assertion) in core.assertions.iter().enumerate() {
                outputs.push((Name::new(format!("assertion {index}")), assertion.holds, None));
                for (side, val) in
                    assertion.sides.iter().flat_map(|(left, right)| [("left", left), ("right", right)])
                {
                    outputs.push((Name::new(format!("assertion {index} {side}")), *val, None));
                }
            }
        }
    }
    outputs
}

/// The owner of an output that replaces an input.
enum Owned {
    Param(usize),
    State(usize),
}

/// One elaboration.
struct Walk<'a> {
    core: &'a Core,
    fixed: BTreeMap<DimVar, Dim>,
    builder: Builder,
    axes: HashMap<AxisVar, Axis>,
    nodes: HashMap<Val, Made>,
    /// The innermost value that each node was made for.
    origins: SecondaryMap<Node, Option<Val>>,
    needed: BTreeSet<Val>,
    /// Those that are results of the whole.
    given: BTreeSet<Val>,
    /// The last value that reads a value.
    last_reader: HashMap<Val, Val>,
    placement: Placement,
    /// Where each value of a scan's body stands; all others stand outside.
    inner: HashMap<Val, BlockId>,
    seed: Option<Node>,
    step: Option<Node>,
    steps: Option<Node>,
    arguments: HashMap<usize, Node>,
    param_inputs: HashMap<usize, usize>,
    state_inputs: HashMap<usize, usize>,
    params: HashMap<usize, Node>,
    states: HashMap<usize, Node>,
}

/// What a value of the core became.
#[derive(Clone, Debug)]
enum Made {
    One(Node),
    Tuple(Vec<Node>),
}

impl<'a> Walk<'a> {
    fn new(core: &'a Core, dims: &BTreeMap<DimVar, i64>) -> Walk<'a> {
        let mut inner = HashMap::new();
        for (block, data) in core.blocks.iter() {
            if Some(block) != core.body && Some(block) != core.init {
                inner.extend(data.vals.iter().map(|&val| (val, block)));
            }
        }
        let mut fixed: BTreeMap<DimVar, Dim> =
            dims.iter().map(|(var, value)| (var.clone(), Dim::constant(*value))).collect();
        for (var, of) in &core.fresh {
            let of = core.expand(of);
            fixed.insert(var.clone(), of.substitute(&fixed).unwrap_or(of));
        }
        Walk {
            core,
            fixed,
            builder: Builder::new(),
            axes: HashMap::new(),
            nodes: HashMap::new(),
            origins: SecondaryMap::new(),
            needed: BTreeSet::new(),
            given: BTreeSet::new(),
            last_reader: HashMap::new(),
            placement: Placement::default(),
            inner,
            seed: None,
            step: None,
            steps: None,
            arguments: HashMap::new(),
            param_inputs: HashMap::new(),
            state_inputs: HashMap::new(),
            params: HashMap::new(),
            states: HashMap::new(),
        }
    }

    fn elaborate(mut self, part: Part) -> (Graph, SecondaryMap<Node, Option<Val>>) {
        let outputs = outputs(self.core, part);
        self.find_needed(outputs.iter().map(|(_, val, _)| *val));
        // An argument is an input even where no output depends on it; an unused parameter is kept for its file.
        // A test's layers own parameters, too.
        if part != Part::Init {
            self.declare_inputs();
        }
        self.ordered();
        let mut results = Vec::new();
        for (name, val, owned) in outputs {
            let data = &self.core.vals[val];
            let order: Vec<Axis> = data.visible.iter().map(|&axis| self.axis(axis)).collect();
            let node = self.node(val);
            let node = self.builder.at(data.span).broadcast(node, &order);
            let updates = match owned {
                Some(Owned::Param(index)) => self.param_inputs.get(&index).copied(),
                Some(Owned::State(index)) => self.state_inputs.get(&index).copied(),
                None => None,
            };
            results.push((Output { name, order, updates }, node));
        }
        let origins = std::mem::take(&mut self.origins);
        (self.builder.finish(results), origins)
    }

    /// Everything that the outputs are made of.
    fn find_needed(&mut self, outputs: impl Iterator<Item = Val>) {
        let mut rest: Vec<Val> = outputs.collect();
        self.given = rest.iter().copied().collect();
        while let Some(val) = rest.pop() {
            if self.needed.insert(val) {
                let read = rules::arguments(self.core, val);
                for &read in &read {
                    let last = self.last_reader.entry(read).or_insert(val);
                    *last = val.max(*last);
                }
                rest.extend(read);
            }
        }
    }

    /// The graph's inputs, in a fixed order, before all else.
    fn declare_inputs(&mut self) {
        let uses = |form: fn(&Form) -> bool, walk: &Self| {
            walk.needed.iter().any(|&val| form(&walk.core.vals[val].form))
        };
        if uses(|form| matches!(form, Form::Seed | Form::Random { .. }), self) {
            self.seed = Some(self.number_input("seed", Role::Seed));
        }
        if uses(|form| matches!(form, Form::Step | Form::Random { .. }), self) {
            self.step = Some(self.number_input("step", Role::Step));
        }
        if uses(|form| matches!(form, Form::Steps), self) {
            self.steps = Some(self.number_input("steps", Role::Steps));
        }
        for (index, input) in self.core.inputs.iter().enumerate() {
            let bound = input.bound.as_ref().map(|bound| self.dim(bound));
            let node = self.input(&input.name, Role::Argument, &input.elem, &input.axes, bound, input.span);
            self.arguments.insert(index, node);
        }
        for (index, slot) in self.core.params.iter().enumerate() {
            self.param_inputs.insert(index, self.builder.graph().inputs.len());
            let node = self.input(&slot.path, Role::Param, &slot.elem, &slot.axes, None, slot.span);
            self.params.insert(index, node);
        }
        for (index, slot) in self.core.states.iter().enumerate() {
            self.state_inputs.insert(index, self.builder.graph().inputs.len());
            let node = self.input(&slot.path, Role::State, &slot.elem, &slot.axes, None, slot.span);
            self.states.insert(index, node);
        }
    }

    fn number_input(&mut self, name: &str, role: Role) -> Node {
        let input = Input { name: Name::new(name), role, dtype: DType::I64, order: Vec::new(), bound: None };
        self.builder.input(input)
    }

    fn input(
        &mut self,
        name: &Name,
        role: Role,
        elem: &Elem,
        axes: &[AxisVar],
        bound: Option<Dim>,
        span: Span,
    ) -> Node {
        let order: Vec<Axis> = axes.iter().map(|&axis| self.axis(axis)).collect();
        // Integers that are positions arrive as they are in the file; `AsIndex` converts them.
        let input = Input { name: name.clone(), role, dtype: elem.dtype(), order, bound };
        self.builder.at(span).input(input)
    }

    /// The seed of random draws; initial values have it as their only input.
    fn seed(&mut self) -> Node {
        match self.seed {
            Some(node) => node,
            None => {
                let node = self.number_input("seed", Role::Seed);
                *self.seed.insert(node)
            }
        }
    }

    /// The training step that random draws are keyed by: 0 outside of training.
    fn step(&mut self) -> Node {
        match self.step {
            Some(node) => node,
            None => self.builder.literal(Literal::Int(0), DType::I64),
        }
    }

    /// Makes the nodes of all needed values outside of scans, in order; scans make those of their bodies.
    fn ordered(&mut self) {
        let outer: Vec<Val> =
            self.needed.iter().copied().filter(|val| !self.inner.contains_key(val)).collect();
        // Random draws in initial values need the seed before any scan is opened.
        if self.needed.iter().any(|&val| matches!(self.core.vals[val].form, Form::Random { .. })) {
            self.seed();
        }
        self.make_all(&outer);
    }

    fn dim(&self, dim: &Dim) -> Dim {
        dim.substitute(&self.fixed).unwrap_or_else(|_| dim.clone())
    }

    /// The graph's axis of an axis of the core.
    fn axis(&mut self, axis: AxisVar) -> Axis {
        if let Some(&made) = self.axes.get(&axis) {
            return made;
        }
        let info = &self.core.axes[axis];
        let size = self.dim(&self.core.size(axis));
        let made = self.builder.axis(info.name.clone(), size);
        self.axes.insert(axis, made);
        made
    }

    fn axes(&mut self, axes: &[AxisVar]) -> SmallVec<[Axis; 4]> {
        axes.iter().map(|&axis| self.axis(axis)).collect()
    }

    fn node(&mut self, val: Val) -> Node {
        match self.nodes.get(&val) {
            Some(Made::One(node)) => *node,
            Some(Made::Tuple(nodes)) => nodes[0],
            None => {
                self.make(val);
                self.node(val)
            }
        }
    }
}
