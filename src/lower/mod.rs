//! From a verified graph to a program of kernels.
//!
//! This room decides what exists in memory and in which order loops run. It never knows machine instructions, threads, or layers.
//! docs/architecture.md has the design; the files hold: `index` and `home` addresses, `emit` evaluation on demand, `nest` loops,
//! `group` a kernel's shape, `contract` matrix products, `split` those with long sums, `winograd` convolutions of 3 x 3, `levels` other long
//! sums, `frame` images inside of their borders, `scatter` accumulation, `sort` sorted rows, `scan` loops of kernels, `recurrence` those that are one kernel, `in_place` updates, `prepare` what is computed once, `panels` large weights.

mod contract;
mod emit;
mod frame;
mod group;
mod home;
mod in_place;
mod index;
mod levels;
mod nest;
mod panels;
mod prepare;
mod recurrence;
mod scalar;
mod scan;
mod scatter;
mod sort;
mod split;
mod winograd;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{HashMap, HashSet};

use cranelift_entity::SecondaryMap;
use thiserror::Error;

use self::prepare::prepare;

use self::emit::{Emitter, KernelArg};
use self::home::{Home, Storage};
use self::index::{Atom, Extents, Ix, Place};
use crate::axes::{Dim, DimError};
use crate::base::{Name, Span};
use crate::graph::{Axis, AxisSet, Graph, IndexMap, Node, Op, Region};
use crate::kernel::{Buffer, BufferDecl, BufferKind, BufferRef, Kernel, KernelId, Program, Step, StepVar};
use crate::ops::ScalarFn;
use crate::tensor::DType;

/// Why a graph has no program.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LowerError {
    #[error(transparent)]
    Dim(#[from] DimError),
}

/// The program of a verified graph. It serves all values of the symbolic dims.
pub fn lower(graph: &Graph) -> Result<Program, LowerError> {
    let mut lowering = Lowering::new(graph, &|_| false);
    lowering.root()?;
    Ok(lowering.program)
}

/// A program that computes once what the inputs that are `fixed`, by number, decide alone. Large weights among them are kept in panels.
pub fn lower_prepared(graph: &Graph, fixed: &dyn Fn(usize) -> bool) -> Result<Program, LowerError> {
    let mut lowering = Lowering::new(graph, fixed);
    lowering.root()?;
    let mut program = lowering.program;
    prepare(&mut program, fixed);
    Ok(program)
}

/// The state of a lowering.
pub struct Lowering<'g> {
    graph: &'g Graph,
    program: Program,
    /// Where each materialised value lives, from the start for those whose buffer is given.
    homes: SecondaryMap<Node, Option<Home>>,
    /// Of each input, whether it stays as it is from run to run.
    fixed: Vec<bool>,
    /// Those of them that stand in panels already.
    in_panels: HashMap<panels::Weights, panels::Panels>,
    orders: SecondaryMap<Node, Vec<Axis>>,
    /// The nodes that read a node, in the same region or below it; results of a region do not count.
    users: SecondaryMap<Node, Vec<Node>>,
    /// The scans around, from the outermost.
    turns: Vec<Turn>,
    /// The steps of the program and of the loops around, under construction.
    steps: Vec<Vec<Step>>,
    names: HashMap<Name, u32>,
    next_turn: u32,
    /// The copies whose images lie in them.
    framed: HashMap<Node, frame::Frame>,
    /// The reductions whose chunks are summed already.
    partials: HashMap<Node, levels::Partial>,
}

/// A scan that is being lowered.
struct Turn {
    axis: Axis,
    body: Region,
    var: StepVar,
    span: Span,
    /// The array 0, 1, 2 …, where a kernel wants the turn's number as a value.
    table: Option<Home>,
}

impl Extents for Lowering<'_> {
    fn extent(&self, atom: &Atom) -> Option<Dim> {
        match atom {
            Atom::Axis(axis) | Atom::Turn(axis) => Some(self.size(*axis)),
            _ => None,
        }
    }
}

impl<'g> Lowering<'g> {
    fn new(graph: &'g Graph, fixed: &dyn Fn(usize) -> bool) -> Lowering<'g> {
        let mut users: SecondaryMap<Node, Vec<Node>> = SecondaryMap::new();
        // The arena may hold nodes that stand in no region any more.
        for node in graph.regions.values().flat_map(|region| &region.nodes) {
            for arg in &graph.nodes[*node].args {
                users[*arg].push(*node);
            }
        }
        Lowering {
            graph,
            program: Program::default(),
            homes: SecondaryMap::new(),
            in_panels: HashMap::new(),
            fixed: (0..graph.inputs.len()).map(fixed).collect(),
            orders: crate::passes::layout::orders(graph),
            users,
            turns: Vec::new(),
            steps: vec![Vec::new()],
            names: HashMap::new(),
            next_turn: 0,
            framed: HashMap::new(),
            partials: HashMap::new(),
        }
    }

    fn root(&mut self) -> Result<(), LowerError> {
        let graph = self.graph;
        for (i, input) in graph.inputs.iter().enumerate() {
            let (home, len) =
                Home::dense(Storage::Buffer(self.program.buffers.next_key()), input.order.clone(), |a| {
                    self.size(a)
                })?;
            let replaced = graph.outputs.iter().position(|output| output.updates == Some(i));
            let kind = match replaced {
                Some(output) => BufferKind::InOut(i as u32, output as u32),
                None => BufferKind::Input(i as u32),
            };
            let buffer = self.program.buffers.push(BufferDecl {
                name: input.name.clone(),
                dtype: input.dtype,
                len,
                kind,
            });
            self.program.inputs.push(buffer);
            for (node, data) in &graph.nodes {
                if data.op == Op::Input(i as u32) {
                    self.homes[node] = Some(home.clone());
                }
            }
        }
        // Results that nobody else has claimed are computed where they shall be.
        let results = graph.regions[graph.root].results.clone();
        let mut wanted = Vec::new();
        let mut updates = Vec::new();
        for (i, (output, result)) in graph.outputs.iter().zip(&results).enumerate() {
            let dtype = graph.nodes[*result].dtype;
            let kind = match output.updates {
                Some(_) => BufferKind::Temp,
                None => BufferKind::Output(i as u32),
            };
            let home = self.allocate(output.name.clone(), dtype, output.order.clone(), kind)?;
            let Storage::Buffer(buffer) = home.storage else { unreachable!("buffers are allocated") };
            self.program.outputs.push(match output.updates {
                Some(input) => {
                    updates.push((buffer, self.program.inputs[input]));
                    self.program.inputs[input]
                }
                None => buffer,
            });
            wanted.push((*result, home));
        }
        self.region(graph.root, wanted)?;
        for (from, to) in updates {
            if !in_place::merge(
                &mut self.program,
                self.steps.last_mut().expect("the program's steps"),
                from,
                to,
            ) {
                self.copy_buffer(from, to);
            }
        }
        self.program.steps = self.steps.pop().expect("the program's steps");
        Ok(())
    }

    /// Lowers the nodes of a region; each wanted value is in its home behind it.
    fn region(&mut self, region: Region, wanted: Vec<(Node, Home)>) -> Result<(), LowerError> {
        let graph = self.graph;
        let nodes = &graph.regions[region].nodes;
        let mut here: HashSet<Node> = nodes.iter().copied().collect();
        for node in nodes {
            if let Op::Fused(inner) = &graph.nodes[*node].op {
                here.extend(graph.regions[*inner].nodes.iter().copied());
            }
        }
        let mut copies = Vec::new();
        for (node, home) in wanted {
            let (target, home) = self.computed_as(node, home);
            if here.contains(&target) && self.homes[target].is_none() && self.has_kernel(target) {
                self.homes[target] = Some(home);
            } else if matches!(graph.nodes[target].op, Op::Carry(_)) && self.homes[target].is_some() {
                // Copied first, what a loop carries may be replaced where it stands.
                self.kernel(&[(target, home)], &[])?;
            } else {
                copies.push((target, home));
            }
        }
        if self.turns.is_empty() {
            self.frames(region)?;
        }
        for node in nodes {
            self.node(*node)?;
        }
        for (node, home) in copies {
            self.kernel(&[(node, home)], &[])?;
        }
        Ok(())
    }

    /// Whether a node is computed by a step of its own, not where it is read.
    fn has_kernel(&self, node: Node) -> bool {
        use Op::*;
        matches!(
            self.graph.nodes[node].op,
            Map(_)
                | Reduce { .. }
                | Gather { .. }
                | Random { .. }
                | Sort { .. }
                | Scatter { .. }
                | Fold(_)
                | Scan(_)
                | Project(_)
        )
    }

    fn node(&mut self, node: Node) -> Result<(), LowerError> {
        let graph = self.graph;
        match &graph.nodes[node].op {
            Op::Fused(region) => self.fused(node, *region),
            Op::Scan(scan) => self.scan(node, scan),
            Op::Scatter { .. } | Op::Fold(_) => self.scatter(node),
            Op::Sort { .. } => self.sort(node),
            Op::Map(_) if self.framed.contains_key(&node) => {
                let frame = self.framed[&node].clone();
                self.border(node, &frame)
            }
            Op::Map(ScalarFn::Mul) if self.feeds_contraction(node) => Ok(()),
            Op::Reduce { .. } if self.contraction(node, None)? => Ok(()),
            Op::Map(_) | Op::Reduce { .. } | Op::Gather { .. } | Op::Random { .. } => {
                let home = self.home(node)?;
                self.kernel(&[(node, home)], &[node])
            }
            _ => Ok(()),
        }
    }

    // Facts

    pub fn size(&self, axis: Axis) -> Dim {
        self.graph.axes[axis].size.clone()
    }

    /// Whether a scan around binds the axis.
    pub fn is_bound(&self, axis: Axis) -> bool {
        self.turns.iter().any(|turn| turn.axis == axis)
    }

    /// The axes of a value that a kernel here runs over.
    fn free_axes(&self, node: Node) -> AxisSet {
        self.graph.nodes[node].axes.iter().copied().filter(|axis| !self.is_bound(*axis)).collect()
    }

    /// The node that computes a value: through aliases and components of groups.
    pub fn resolve(&self, mut node: Node) -> Node {
        loop {
            let data = &self.graph.nodes[node];
            node = match &data.op {
                Op::StopGradient | Op::Alias => data.args[0],
                Op::Project(index) => match &self.graph.nodes[data.args[0]].op {
                    Op::Fused(region) => self.graph.regions[*region].results[*index as usize],
                    _ => return node,
                },
                _ => return node,
            };
        }
    }

    /// The node that computes a value for a home, and that home by its axes: through renames too, such as of a scan's axis.
    fn computed_as(&self, node: Node, home: Home) -> (Node, Home) {
        let node = self.resolve(node);
        let data = &self.graph.nodes[node];
        if let Op::View(map) = &data.op
            && let Some(pairs) = map.as_rename()
            && let read = &self.graph.nodes[data.args[0]].axes
            && pairs.iter().all(|(from, to)| {
                let apart = !read.contains(to) || pairs.iter().any(|(other, _)| other == to);
                apart && self.size(*from) == self.size(*to) && !self.is_bound(*from)
            })
        {
            let renamed =
                |axis: &Axis| pairs.iter().find(|(_, to)| to == axis).map_or(*axis, |(from, _)| *from);
            let order = home.order.iter().map(renamed).collect();
            return self.computed_as(data.args[0], Home { order, ..home });
        }
        (node, home)
    }

    /// The place at which a view reads its argument, and what must lie in which range.
    pub fn view_place(
        &self,
        map: &IndexMap,
        place: &Place,
        extents: &dyn Extents,
    ) -> Result<(Place, Vec<(Ix, Dim)>), LowerError> {
        let mut inner = place.clone();
        let mut checks = Vec::new();
        for (axis, index) in &map.at {
            let ix = place.index(index, extents)?;
            checks.push((ix.clone(), self.size(*axis)));
            inner.set(*axis, ix);
        }
        Ok((inner, checks))
    }

    /// The place of every kernel here: the turns of the scans around.
    pub fn outer_place(&self) -> Place {
        let mut place = Place::new();
        for turn in &self.turns {
            place.set(turn.axis, Ix::atom(Atom::Turn(turn.axis)));
        }
        place
    }

    // Memory

    fn allocate(
        &mut self,
        name: Name,
        dtype: DType,
        order: Vec<Axis>,
        kind: BufferKind,
    ) -> Result<Home, LowerError> {
        let storage = Storage::Buffer(self.program.buffers.next_key());
        let (home, len) = Home::dense(storage, order, |axis| self.size(axis))?;
        self.program.buffers.push(BufferDecl { name, dtype, len, kind });
        Ok(home)
    }

    /// The home of a value, a new temporary where it has none.
    fn home(&mut self, node: Node) -> Result<Home, LowerError> {
        if let Some(home) = &self.homes[node] {
            return Ok(home.clone());
        }
        let order: Vec<Axis> =
            self.orders[node].iter().copied().filter(|axis| !self.is_bound(*axis)).collect();
        let home = self.temporary(node, order)?;
        self.homes[node] = Some(home.clone());
        Ok(home)
    }

    fn temporary(&mut self, node: Node, order: Vec<Axis>) -> Result<Home, LowerError> {
        let name = self.name_of(node);
        self.allocate(name, self.graph.nodes[node].dtype, order, BufferKind::Temp)
    }

    // Steps

    /// Adds a kernel and a step that runs it.
    fn run(&mut self, kernel: Kernel, args: Vec<KernelArg>) {
        let args = args.into_iter().map(|arg| self.reference(arg.buffer, &arg.turns)).collect();
        let kernel: KernelId = self.program.kernels.push(kernel);
        self.push(Step::Run { kernel, args });
    }

    fn push(&mut self, step: Step) {
        self.steps.last_mut().expect("steps are being built").push(step);
    }

    fn reference(&self, buffer: Buffer, turns: &[(Axis, Dim)]) -> BufferRef {
        let var =
            |axis: Axis| self.turns.iter().find(|turn| turn.axis == axis).expect("the scan is around").var;
        let turns = turns.iter().map(|(axis, stride)| (var(*axis), stride.clone())).collect();
        BufferRef { buffer, offset: Dim::constant(0), turns }
    }

    fn copy_buffer(&mut self, from: Buffer, to: Buffer) {
        let BufferDecl { dtype, len, .. } = self.program.buffers[from].clone();
        let (from, to) = (self.reference(from, &[]), self.reference(to, &[]));
        self.push(Step::Copy { from, to, dtype, len });
    }

    /// The array of the numbers of an enclosing scan's turns.
    pub fn turn_table(&mut self, axis: Axis) -> Result<Home, LowerError> {
        let at = self.turns.iter().position(|turn| turn.axis == axis).expect("the scan is around");
        if let Some(home) = &self.turns[at].table {
            return Ok(home.clone());
        }
        let name = self.unique("turns");
        let home = self.allocate(name.clone(), DType::I64, vec![axis], BufferKind::Temp)?;
        self.turns[at].table = Some(home.clone());
        let span = self.turns[at].span;
        // Filled once, before the outermost loop.
        let around = std::mem::take(&mut self.turns);
        let inner = self.steps.split_off(1);
        let mut emitter = Emitter::new(self, name, span);
        let size = emitter.cx.size(axis);
        let var = emitter.open(&size, true);
        let ix = Ix::atom(Atom::Var(var));
        let value = emitter.index_value(&ix)?;
        emitter.store(&home, &Place::new().with(axis, ix), value)?;
        emitter.close(&[]);
        let (kernel, args) = emitter.finish();
        self.run(kernel, args);
        self.turns = around;
        self.steps.extend(inner);
        Ok(home)
    }

    // Names

    /// What people may recognise a value by.
    fn name_of(&self, node: Node) -> Name {
        match &self.graph.nodes[node].op {
            Op::Map(function) => function.name().into(),
            Op::Reduce { op, .. } => op.name().into(),
            op => op.def().name.into(),
        }
    }

    /// A kernel's name, with a number behind it from its second use on.
    fn unique(&mut self, name: &str) -> Name {
        let count = self.names.entry(name.into()).or_insert(0);
        *count += 1;
        match *count {
            1 => name.into(),
            n => format!("{name}_{n}").into(),
        }
    }
}
