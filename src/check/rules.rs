//! What each form of the core demands of the axes, and which positions its entries depend on.
//!
//! This is the table of `docs/theorems.md`, as one function over the forms. A definition of the library has no rule of its
//! own: it is made of these forms. Demands and flow are two facts: a demand says which relabellings of an axis a form can
//! still commute with, the flow which entries it may read. When in doubt a rule demands more and reads more.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::axes::{Dim, DimVar};
use crate::ops::ScalarFn;
use crate::tensor::Sorted;

use super::core::*;

/// What a form needs of an axis beyond equality of its positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Demand {
    /// The first of several equal entries.
    Tie,
    /// A neighbour at a fixed distance.
    Shift,
    /// Which of two positions comes first.
    Order,
    /// Entry 0.
    FirstEntry,
    /// The number of a position.
    Position,
    /// A parameter or a constant with an entry for each position.
    ParameterSize,
}

/// A demand, and the value whose form makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Demanded {
    pub root: Root,
    pub demand: Demand,
    pub by: Val,
}

/// The positions of one root that an entry depends on, relative to its own indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of them, or their number.
    All,
    /// For each index variable over the root, from `index + low` to `index + high`; `None` is without end.
    Near(BTreeMap<AxisVar, (Option<i64>, i64)>),
}

/// What an entry of a value depends on: roots that are missing do not matter to it.
pub type Flow = BTreeMap<Root, Reach>;

/// The facts of one core.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub flow: HashMap<Val, Flow>,
    pub demands: Vec<Demanded>,
    /// What `assume` claims.
    pub assumed: BTreeSet<(Root, crate::base::Name)>,
}

/// Applies the table to everything that the outputs (and written states) are made of.
pub fn analyse(core: &Core) -> Facts {
    let mut walk = Rules { core, facts: Facts::default(), tuples: HashMap::new(), vars: root_vars(core) };
    let written = core.states.iter().chain(&core.params).filter_map(|slot| slot.written);
    let outputs: Vec<Val> = core.outputs.iter().map(|output| output.val).chain(written).collect();
    walk.demands(&outputs);
    walk.flows();
    walk.facts
}

fn root_vars(core: &Core) -> Vec<(DimVar, Root)> {
    core.roots.iter().map(|(root, info)| (DimVar::new(info.name.as_str()), root)).collect()
}

struct Rules<'a> {
    core: &'a Core,
    facts: Facts,
    /// The flows of a tuple's components.
    tuples: HashMap<Val, Vec<Flow>>,
    vars: Vec<(DimVar, Root)>,
}

impl Rules<'_> {
    /// The roots whose positions an axis runs over. An axis without a root whose size follows from one counts for it:
    /// it may be zipped with it.
    fn roots(&self, axis: AxisVar) -> Vec<Root> {
        let info = &self.core.axes[axis];
        match (&info.root, &info.size) {
            (Some(root), _) => vec![*root],
            (None, Some(size)) => self.mentioned(size),
            (None, None) => Vec::new(),
        }
    }

    fn mentioned(&self, dim: &Dim) -> Vec<Root> {
        self.vars.iter().filter(|(var, _)| dim.mentions(var)).map(|(_, root)| *root).collect()
    }

    /// The axis of which a value is a position, if it is one.
    fn position_roots(&self, val: Val) -> Vec<Root> {
        let data = &self.core.vals[val];
        match (&data.elem, &data.form) {
            (_, Form::Number(point)) => point.axes().into_iter().flat_map(|axis| self.roots(axis)).collect(),
            (Elem::Idx(_, Some(root)), _) => vec![*root],
            (Elem::Idx(size, None), _) => self.mentioned(size),
            (Elem::Of(_), _) => Vec::new(),
        }
    }

    // ---- demands -------------------------------------------------------------------------------

    /// Collects the demands of everything that is reachable; below an `assume` its root is left out.
    fn demands(&mut self, outputs: &[Val]) {
        let mut seen: BTreeSet<(Val, BTreeSet<Root>)> = BTreeSet::new();
        let mut found = BTreeSet::new();
        let mut rest: Vec<(Val, BTreeSet<Root>)> =
            outputs.iter().map(|&val| (val, BTreeSet::new())).collect();
        while let Some((val, mut masked)) = rest.pop() {
            if !seen.insert((val, masked.clone())) {
                continue;
            }
            for (root, demand) in self.demands_of(val) {
                if !masked.contains(&root) {
                    found.insert(Demanded { root, demand, by: val });
                }
            }
            if let Form::Assume { property, root, .. } = &self.core.vals[val].form {
                self.facts.assumed.insert((*root, property.clone()));
                if matches!(&**property, "invariant" | "equivariant") {
                    masked.insert(*root);
                }
            }
            rest.extend(arguments(self.core, val).into_iter().map(|arg| (arg, masked.clone())));
        }
        self.facts.demands = found.into_iter().collect();
    }

    /// The column "demands" of the table.
    fn demands_of(&self, val: Val) -> Vec<(Root, Demand)> {
        let core = self.core;
        let all = |axes: &[AxisVar], demand: Demand| -> Vec<(Root, Demand)> {
            axes.iter().flat_map(|&axis| self.roots(axis)).map(|root| (root, demand)).collect()
        };
        match &core.vals[val].form {
            Form::Param(index) => self.sized(&core.params[*index]),
            Form::State(index) => self.sized(&core.states[*index]),
            // A position itself is an entry like any other; a number made of it is not.
            Form::Number(point) if point.as_axis().is_some() => Vec::new(),
            Form::Number(point) => all(&point.axes(), Demand::Position),
            Form::Position(axis) => all(&[*axis], Demand::Position),
            Form::Scalar(ScalarFn::Cast(_), args) => {
                self.position_roots(args[0]).into_iter().map(|root| (root, Demand::Position)).collect()
            }
            Form::Scalar(ScalarFn::Lt | ScalarFn::Le, args) => {
                let roots = args.iter().flat_map(|&arg| self.position_roots(arg)).collect::<Vec<_>>();
                let both = args.iter().all(|&arg| !self.position_roots(arg).is_empty());
                let demand = if both { Demand::Order } else { Demand::Position };
                roots.into_iter().map(|root| (root, demand)).collect()
            }
            Form::Scalar(ScalarFn::Eq | ScalarFn::Ne, args) => {
                // Two positions of one axis are equal or not, whatever their order. Against a number, the number counts.
                let sides: Vec<Vec<Root>> = args.iter().map(|&arg| self.position_roots(arg)).collect();
                if sides.iter().all(|side| !side.is_empty()) && sides[0] == sides[1] {
                    return Vec::new();
                }
                sides.into_iter().flatten().map(|root| (root, Demand::Position)).collect()
            }
            Form::Read { of, at, .. } => {
                let mut found = Vec::new();
                for (&axis, at) in core.vals[*of].visible.iter().zip(at) {
                    let At::Point(point) = at else { continue };
                    if point.as_axis().is_some() {
                        continue;
                    }
                    found.extend(all(&[axis], self.point_demand(point)));
                    // An index made of binders over other roots sees their numbers.
                    let own = self.roots(axis);
                    let others = point.axes().into_iter().flat_map(|axis| self.roots(axis));
                    found.extend(
                        others.filter(|root| !own.contains(root)).map(|root| (root, Demand::Position)),
                    );
                }
                found
            }
            Form::Reshape(of) => {
                let (from, to) = self.changed(*of, val);
                all(&from, Demand::Position).into_iter().chain(all(&to, Demand::Position)).collect()
            }
            Form::Concat { parts, position } => {
                let joined: Vec<AxisVar> =
                    parts.iter().map(|&part| core.vals[part].visible[*position]).collect();
                all(&joined, Demand::Position)
            }
            Form::Reduce { op: Reducer::ArgMax | Reducer::ArgMin, over, .. } => all(over, Demand::Tie),
            Form::Sort { what: Sorted::Order | Sorted::Rank, axis, .. } => all(&[*axis], Demand::Tie),
            Form::Scan { axis, .. } => all(&[*axis], Demand::Order),
            _ => Vec::new(),
        }
    }

    fn sized(&self, slot: &Slot) -> Vec<(Root, Demand)> {
        let roots = slot.axes.iter().flat_map(|&axis| {
            let size = self.core.size(axis);
            self.roots(axis).into_iter().chain(self.mentioned(&self.core.expand(&size))).collect::<Vec<_>>()
        });
        roots.map(|root| (root, Demand::ParameterSize)).collect()
    }

    fn point_demand(&self, point: &Point) -> Demand {
        match point {
            Point::Affine(affine) => match affine.terms.as_slice() {
                [(axis, factor)] if factor.as_const() == Some(1) && self.core.axes[*axis].root.is_some() => {
                    Demand::Shift
                }
                [] if affine.constant.as_const() == Some(0) => Demand::FirstEntry,
                _ => Demand::Position,
            },
            _ => Demand::Position,
        }
    }

    /// The axes before and behind a reshape that are not simply kept: those between the longest equal ends.
    fn changed(&self, of: Val, to: Val) -> (Vec<AxisVar>, Vec<AxisVar>) {
        let (mut from, mut to) = (&self.core.vals[of].visible[..], &self.core.vals[to].visible[..]);
        let same = |a: &AxisVar, b: &AxisVar| self.core.axes[*a].size == self.core.axes[*b].size;
        while let ([a, from_rest @ ..], [b, to_rest @ ..]) = (from, to)
            && same(a, b)
        {
            (from, to) = (from_rest, to_rest);
        }
        while let ([from_rest @ .., a], [to_rest @ .., b]) = (from, to)
            && same(a, b)
        {
            (from, to) = (from_rest, to_rest);
        }
        (from.to_vec(), to.to_vec())
    }

    // ---- flow ----------------------------------------------------------------------------------

    fn flows(&mut self) {
        let inner: BTreeSet<Val> = self
            .core
            .blocks
            .iter()
            .filter(|(block, _)| Some(*block) != self.core.body && Some(*block) != self.core.init)
            .flat_map(|(_, block)| block.vals.iter().copied())
            .collect();
        for val in self.core.vals.keys() {
            // The bodies of scans are walked by their scans.
            if !inner.contains(&val) {
                self.flow(val);
            }
        }
    }

    fn of(&self, val: Val) -> Flow {
        self.facts.flow.get(&val).cloned().unwrap_or_default()
    }

    /// The column "flow" of the table.
    fn flow(&mut self, val: Val) {
        let core = self.core;
        let data = &core.vals[val];
        let flow = match &data.form {
            Form::Input(_) => own(core, &data.visible),
            Form::Param(_) | Form::State(_) | Form::Const(_) | Form::Random { .. } => Flow::new(),
            Form::Seed | Form::Step | Form::Steps => Flow::new(),
            Form::Carry(..) => return,
            Form::Size(dim) => {
                self.mentioned(&core.expand(dim)).into_iter().map(|root| (root, Reach::All)).collect()
            }
            Form::Position(axis) => own(core, &[*axis]),
            Form::Number(point) => own(core, &point.axes()),
            Form::Scalar(_, args) => args.iter().map(|&arg| self.of(arg)).fold(Flow::new(), join),
            Form::Choice(then, otherwise) => join(self.of(*then), self.of(*otherwise)),
            Form::Read { of, at, .. } => self.read(*of, at),
            Form::Rename { of, to } => {
                let from = core.vals[*of].visible.clone();
                let to: HashMap<AxisVar, AxisVar> = from.into_iter().zip(to.iter().copied()).collect();
                replace(self.of(*of), &|axis| {
                    Some(Shifted { to: to.get(&axis).copied().unwrap_or(axis), low: Some(0), high: 0 })
                })
            }
            Form::AsIndex(of) | Form::StopGradient(of) => self.of(*of),
            // A direction that differs from entry to entry may follow it later.
            Form::Alias { of, .. } => join(self.of(*of), own(core, &data.visible)),
            Form::Tangent { of, along, .. } => self.tangent(*of, along),
            Form::Cotangent { like, .. } => join(self.of(*like), own(core, &data.visible)),
            // A derivative is reversed flow of the value: what its rule reads counts as read by the value.
            Form::Custom { of, pulled, .. } => {
                pulled.iter().map(|&val| self.of(val)).fold(self.of(*of), join)
            }
            Form::Tabulate { body, .. } => self.of(*body),
            Form::Reshape(of) => {
                let (from, _) = self.changed(*of, val);
                let kept: Vec<AxisVar> =
                    core.vals[*of].visible.iter().copied().filter(|axis| !from.contains(axis)).collect();
                let shown: Vec<AxisVar> = {
                    let (_, to) = self.changed(*of, val);
                    data.visible.iter().copied().filter(|axis| !to.contains(axis)).collect()
                };
                let map: HashMap<AxisVar, AxisVar> = kept.into_iter().zip(shown).collect();
                replace(self.of(*of), &|axis| match map.get(&axis) {
                    Some(&to) => Some(Shifted { to, low: Some(0), high: 0 }),
                    None if from.contains(&axis) => None,
                    None => Some(Shifted { to: axis, low: Some(0), high: 0 }),
                })
            }
            Form::Concat { parts, position } => parts
                .iter()
                .map(|&part| {
                    let joined = core.vals[part].visible[*position];
                    replace(self.of(part), &|axis| {
                        (axis != joined).then_some(Shifted { to: axis, low: Some(0), high: 0 })
                    })
                })
                .fold(Flow::new(), join),
            Form::Reduce { op, over, guard, body } => self.reduce(*op, over, *guard, *body),
            Form::Sort { of, axis, .. } => {
                let mut flow = replace(self.of(*of), &|other| {
                    (other != *axis).then_some(Shifted { to: other, low: Some(0), high: 0 })
                });
                flow.extend(self.roots(*axis).into_iter().map(|root| (root, Reach::All)));
                flow
            }
            Form::Gradients { of, wrt } => {
                let all = |axis: AxisVar| self.roots(axis);
                let mut components = Vec::new();
                for &arg in wrt {
                    // Backwards every entry hears from all that it reaches; only entries that keep to themselves stay so.
                    let mut flow: Flow =
                        self.of(*of).into_iter().map(|(root, reach)| (root, reversed(reach))).collect();
                    for root in core.vals[arg].visible.iter().flat_map(|&axis| all(axis)) {
                        flow.insert(root, Reach::All);
                    }
                    components.push(flow);
                }
                self.tuples.insert(val, components);
                return;
            }
            Form::Component { of, index } => {
                self.tuples.get(of).and_then(|flows| flows.get(*index)).cloned().unwrap_or_default()
            }
            Form::Scan { axis, reverse, inits, body } => {
                let flows = self.scan(*axis, *reverse, inits, *body);
                self.tuples.insert(val, flows);
                return;
            }
            Form::Assume { of, property, root } => {
                let mut flow = self.of(*of);
                let own = |high, low| {
                    let axes = data.visible.iter().filter(|&&axis| core.axes[axis].root == Some(*root));
                    Reach::Near(axes.map(|&axis| (axis, (low, high))).collect())
                };
                match &**property {
                    "batch" => drop(flow.insert(*root, own(0, Some(0)))),
                    "causal" => drop(flow.insert(*root, own(0, None))),
                    _ => {}
                }
                flow
            }
        };
        self.facts.flow.insert(val, flow);
    }

    /// A value reads of the directions what it reads of the points. Only what keeps to its own position may be composed so.
    fn tangent(&self, of: Val, along: &[Val]) -> Flow {
        let value = self.of(of);
        let own = |reach: Option<&Reach>| match reach {
            None => true,
            Some(Reach::Near(near)) => near.values().all(|range| *range == (Some(0), 0)),
            Some(Reach::All) => false,
        };
        let mut flow = value.clone();
        for &direction in along {
            for (root, reach) in self.of(direction) {
                let composed = own(value.get(&root)) || own(Some(&reach));
                let reach = if composed { reach } else { Reach::All };
                let present = flow.remove(&root);
                flow.insert(root, join_reach(present, reach));
            }
        }
        flow
    }

    fn read(&self, of: Val, at: &[At]) -> Flow {
        let visible = &self.core.vals[of].visible;
        let mut flow = replace(self.of(of), &|axis| {
            let Some(index) = visible.iter().position(|&shown| shown == axis) else {
                return Some(Shifted { to: axis, low: Some(0), high: 0 });
            };
            match &at[index] {
                At::Keep => Some(Shifted { to: axis, low: Some(0), high: 0 }),
                At::Point(Point::Affine(affine)) => {
                    match (affine.terms.as_slice(), affine.constant.as_const()) {
                        ([(to, factor)], Some(offset))
                            if factor.as_const() == Some(1) && self.core.axes[*to].root.is_some() =>
                        {
                            Some(Shifted { to: *to, low: Some(offset), high: offset })
                        }
                        _ => None,
                    }
                }
                At::Point(_) | At::Entry(_) => None,
            }
        });
        for (&axis, at) in visible.iter().zip(at) {
            match at {
                At::Keep => {}
                At::Entry(index) => {
                    flow = join(flow, self.of(*index));
                    for root in self.roots(axis) {
                        flow.insert(root, Reach::All);
                    }
                }
                // The index itself is a number that decides what is read.
                At::Point(point) => flow = join(flow, own(self.core, &point.axes())),
            }
        }
        flow
    }

    fn reduce(&self, op: Reducer, over: &[AxisVar], guard: Option<Val>, body: Val) -> Flow {
        let guards = guard.map(|guard| self.bounds(guard)).unwrap_or_default();
        let mut flow = join(self.of(body), guard.map(|guard| self.of(guard)).unwrap_or_default());
        for &axis in over {
            // A bound by an index that is itself reduced is none.
            let bound =
                guards.iter().find(|(bounded, shifted)| *bounded == axis && !over.contains(&shifted.to));
            let reach = bound.map(|(_, shifted)| *shifted);
            let before = flow.clone();
            flow = replace(flow, &|other| {
                if other == axis { reach } else { Some(Shifted { to: other, low: Some(0), high: 0 }) }
            });
            // The range itself is read: how many entries there are, or how far the guard lets it go.
            for root in self.roots(axis) {
                let range = match reach {
                    Some(Shifted { to, low, high }) => Reach::Near(BTreeMap::from([(to, (low, high))])),
                    None => Reach::All,
                };
                let present = flow.remove(&root);
                flow.insert(root, join_reach(present, range));
            }
            if op == Reducer::Softmax {
                flow = join(flow, before);
            }
        }
        flow
    }

    /// What the top-level conjuncts of a guard say of index variables: `i == j`, `i <= j + c` with c <= 0.
    fn bounds(&self, guard: Val) -> Vec<(AxisVar, Shifted)> {
        let mut found = Vec::new();
        let mut rest = vec![guard];
        while let Some(val) = rest.pop() {
            let Form::Scalar(function, args) = &self.core.vals[val].form else { continue };
            if *function == ScalarFn::And {
                rest.extend(args);
                continue;
            }
            let offset = |val: Val| match &self.core.vals[val].form {
                Form::Number(Point::Affine(affine)) => {
                    match (affine.terms.as_slice(), affine.constant.as_const()) {
                        ([(axis, factor)], Some(offset)) if factor.as_const() == Some(1) => {
                            Some((*axis, offset))
                        }
                        _ => None,
                    }
                }
                _ => None,
            };
            let (Some((left, a)), Some((right, b))) = (offset(args[0]), offset(args[1])) else { continue };
            if left == right || self.core.axes[left].root != self.core.axes[right].root {
                continue;
            }
            match function {
                ScalarFn::Eq if a == b => {
                    found.push((left, Shifted { to: right, low: Some(0), high: 0 }));
                    found.push((right, Shifted { to: left, low: Some(0), high: 0 }));
                }
                // left + a <= right + b: left reaches up to right + (b - a). Beyond 0 the end of the axis would be seen.
                ScalarFn::Le | ScalarFn::Lt => {
                    let high = b.saturating_sub(a).saturating_sub(i64::from(*function == ScalarFn::Lt));
                    if high <= 0 {
                        found.push((left, Shifted { to: right, low: None, high }));
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// The components' flows: final carries, then yields. Carried values are a fixpoint of the body.
    fn scan(&mut self, axis: AxisVar, reverse: bool, inits: &[Val], body: BlockId) -> Vec<Flow> {
        let block = &self.core.blocks[body];
        let carries: Vec<(usize, Val)> = block
            .vals
            .iter()
            .filter_map(|&val| match self.core.vals[val].form {
                Form::Carry(of, index) if of == body => Some((index, val)),
                _ => None,
            })
            .collect();
        let mut state: Vec<Flow> = inits.iter().map(|&init| self.of(init)).collect();
        // Each round can only widen; what still grows after some rounds reaches everything.
        for round in 0.. {
            for &(index, val) in &carries {
                self.facts.flow.insert(val, state[index].clone());
            }
            for &val in &block.vals {
                self.flow(val);
            }
            let mut changed = false;
            for (index, present) in state.iter_mut().enumerate() {
                let next = self.of(block.results[index]);
                // One step later, what was at this step lies in the past.
                let next = replace(next, &|other| match other == axis {
                    true if reverse => None,
                    true => Some(Shifted { to: axis, low: None, high: 0 }),
                    false => Some(Shifted { to: other, low: Some(0), high: 0 }),
                });
                let mut joined = join(present.clone(), next);
                // A carry at a step has seen the steps before it.
                for root in self.roots(axis) {
                    let seen =
                        if reverse { Reach::All } else { Reach::Near(BTreeMap::from([(axis, (None, 0))])) };
                    let before = joined.remove(&root);
                    joined.insert(root, join_reach(before, seen));
                }
                if joined != *present {
                    changed = true;
                    *present = if round >= 3 {
                        joined.into_keys().map(|root| (root, Reach::All)).collect()
                    } else {
                        joined
                    };
                }
            }
            if !changed || round > 8 {
                break;
            }
        }
        let mut flows: Vec<Flow> = Vec::new();
        for (index, &result) in block.results.iter().enumerate() {
            let flow = self.of(result);
            // The last carry has no step of its own any more; in reverse a step depends on those behind it.
            let ends = index < inits.len();
            let mut flow = replace(flow, &|other| {
                if other == axis && (ends || reverse) {
                    None
                } else {
                    Some(Shifted { to: other, low: Some(0), high: 0 })
                }
            });
            if ends {
                flow = join(flow, self.of(inits[index]));
                for root in self.roots(axis) {
                    flow.insert(root, Reach::All);
                }
            }
            flows.push(flow);
        }
        flows
    }
}

/// An index variable in place of another, with what the reads add: from `low` to `high`.
#[derive(Clone, Copy, Debug)]
struct Shifted {
    to: AxisVar,
    low: Option<i64>,
    high: i64,
}

/// An entry depends on its own position of these axes.
fn own(core: &Core, axes: &[AxisVar]) -> Flow {
    let mut flow = Flow::new();
    for &axis in axes {
        if let Some(root) = core.axes[axis].root {
            let Reach::Near(near) = flow.entry(root).or_insert_with(|| Reach::Near(BTreeMap::new())) else {
                continue;
            };
            near.insert(axis, (Some(0), 0));
        }
    }
    flow
}

fn join(left: Flow, right: Flow) -> Flow {
    let mut joined = left;
    for (root, reach) in right {
        let present = joined.remove(&root);
        joined.insert(root, join_reach(present, reach));
    }
    joined
}

fn join_reach(left: Option<Reach>, right: Reach) -> Reach {
    match (left, right) {
        (None, reach) => reach,
        (Some(Reach::All), _) | (_, Reach::All) => Reach::All,
        (Some(Reach::Near(mut near)), Reach::Near(more)) => {
            for (axis, (low, high)) in more {
                let entry = near.entry(axis).or_insert((low, high));
                entry.0 = match (entry.0, low) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    _ => None,
                };
                entry.1 = entry.1.max(high);
            }
            Reach::Near(near)
        }
    }
}

/// Puts other index variables in place; `None`: any position, so all of the root.
fn replace(flow: Flow, to: &dyn Fn(AxisVar) -> Option<Shifted>) -> Flow {
    let mut replaced = Flow::new();
    for (root, reach) in flow {
        let reach = match reach {
            Reach::All => Reach::All,
            Reach::Near(near) => {
                let mut result = Reach::Near(BTreeMap::new());
                for (axis, (low, high)) in near {
                    let moved = to(axis).and_then(|shifted| {
                        let low = match (low, shifted.low) {
                            (Some(low), Some(more)) => Some(low.checked_add(more)?),
                            _ => None,
                        };
                        Some((shifted.to, (low, high.checked_add(shifted.high)?)))
                    });
                    result = match moved {
                        Some(entry) => join_reach(Some(result), Reach::Near(BTreeMap::from([entry]))),
                        None => Reach::All,
                    };
                }
                result
            }
        };
        let present = replaced.remove(&root);
        replaced.insert(root, join_reach(present, reach));
    }
    replaced
}

/// The flow of a derivative: only what keeps to its own position stays there.
fn reversed(reach: Reach) -> Reach {
    match reach {
        Reach::Near(near) if near.values().all(|range| *range == (Some(0), 0)) => Reach::Near(near),
        _ => Reach::All,
    }
}

/// The values that a value is made of.
pub fn arguments(core: &Core, val: Val) -> Vec<Val> {
    match &core.vals[val].form {
        Form::Input(_)
        | Form::Param(_)
        | Form::State(_)
        | Form::Carry(..)
        | Form::Seed
        | Form::Step
        | Form::Steps => Vec::new(),
        Form::Const(_) | Form::Size(_) | Form::Position(_) | Form::Number(_) | Form::Random { .. } => {
            Vec::new()
        }
        Form::Scalar(_, args) => args.clone(),
        Form::Choice(then, otherwise) => vec![*then, *otherwise],
        Form::Read { of, at, .. } => {
            let entries = at.iter().filter_map(|at| match at {
                At::Entry(index) => Some(*index),
                _ => None,
            });
            std::iter::once(*of).chain(entries).collect()
        }
        Form::Rename { of, .. }
        | Form::AsIndex(of)
        | Form::Reshape(of)
        | Form::Alias { of, .. }
        | Form::StopGradient(of)
        | Form::Component { of, .. }
        | Form::Sort { of, .. }
        | Form::Assume { of, .. } => vec![*of],
        Form::Tabulate { body, .. } => vec![*body],
        Form::Concat { parts, .. } => parts.clone(),
        Form::Reduce { guard, body, .. } => guard.iter().copied().chain([*body]).collect(),
        Form::Gradients { of, wrt } => std::iter::once(*of).chain(wrt.iter().copied()).collect(),
        Form::Cotangent { like, .. } => vec![*like],
        Form::Custom { of, cotangent, wrt, pulled, .. } => {
            [*of, *cotangent].into_iter().chain(wrt.iter().chain(pulled).copied()).collect()
        }
        Form::Tangent { of, wrt, along } => {
            std::iter::once(*of).chain(wrt.iter().chain(along).copied()).collect()
        }
        Form::Scan { inits, body, .. } => {
            inits.iter().copied().chain(core.blocks[*body].results.iter().copied()).collect()
        }
    }
}
