//! The column "flow": the positions of each root that an entry of a value depends on.

use std::collections::{BTreeSet, HashMap};

use crate::axes::Ratio;

use super::super::core::*;
use super::arguments;
use super::assumed::entering;
use super::demand::changed;
use super::few::Few;
use super::guard;
use super::points::{Anchor, Roots};
use super::reach::{Center, Flow, Flows, Reach, Window, add, join, join_reach, reversed, widened};
use super::weaken::{self, Weakening};

/// The flow of every value. Rules of derivatives count for derivatives alone: so where there are rules, a first walk counts
/// what they read as read by their values, and derivatives are taken of what it finds.
pub fn flows(roots: &Roots) -> Flows {
    let ruled = roots.core.vals.values().any(|data| matches!(data.form, Form::Custom { .. }));
    let derived = ruled.then(|| walk(roots, None));
    walk(roots, derived)
}

fn walk(roots: &Roots, derived: Option<Flows>) -> Flows {
    let core = roots.core;
    let mut walk = Walk { roots, flow: Flows::new(), tuples: HashMap::new(), derived };
    let inner: BTreeSet<Val> = core
        .blocks
        .iter()
        .filter(|(block, _)| Some(*block) != core.body)
        .flat_map(|(_, block)| block.vals.iter().copied())
        .collect();
    for val in core.vals.keys() {
        // The bodies of scans are walked by their scans; first values are made of nothing that a run is given.
        if !inner.contains(&val) {
            walk.value(val);
        }
    }
    walk.flow
}

struct Walk<'a> {
    roots: &'a Roots<'a>,
    flow: Flows,
    /// The flows of a tuple's components.
    tuples: HashMap<Val, Vec<Flow>>,
    /// The flows that derivatives are taken of, where they are others: with what rules of derivatives read.
    derived: Option<Flows>,
}

/// Loops of up to so many turns are followed turn by turn.
const TURNS: usize = 64;

impl Walk<'_> {
    fn of(&self, val: Val) -> Flow {
        self.flow[val].clone()
    }

    /// What the derivatives of a value depend on.
    fn differentiated(&self, val: Val) -> Flow {
        let flows = self.derived.as_ref().unwrap_or(&self.flow);
        flows[val].clone()
    }

    /// An entry depends on its own position of these axes.
    fn own(&self, axes: &[AxisVar]) -> Flow {
        let mut flow = Flow::new();
        for &axis in axes {
            for &root in self.roots.of_axis(axis) {
                let reach = match self.roots.rate(axis, root) {
                    Some(_) => Reach::near(Center::Index(axis), Window::OWN),
                    None => Reach::All,
                };
                add(&mut flow, root, reach);
            }
        }
        flow
    }

    /// An index expression: its variables, and the sizes in it.
    fn point(&self, point: &Point) -> Flow {
        let mut flow = self.own(&point.axes());
        for root in self.roots.sizes_in(point) {
            flow.insert(root, Reach::All);
        }
        flow
    }

    /// All entries of an axis, so their number as well.
    fn all(&self, flow: &mut Flow, axis: AxisVar) {
        for &root in self.roots.measured_by(axis) {
            flow.insert(root, Reach::All);
        }
    }

    /// Finds a value's flow from those of its arguments.
    fn value(&mut self, val: Val) {
        let core = self.roots.core;
        let data = &core.vals[val];
        let flow = match &data.form {
            Form::Input(_) => self.own(&data.visible),
            Form::Param(_) | Form::State(_) | Form::Const(_) | Form::Random { .. } => Flow::new(),
            Form::Seed | Form::Step | Form::Steps => Flow::new(),
            Form::Carry(..) => return,
            Form::Size(dim) => self.roots.made_of(dim).into_iter().map(|root| (root, Reach::All)).collect(),
            Form::Position(axis) => self.own(&[*axis]),
            Form::Number(point) => self.point(point),
            Form::Inside(point, axis) => self.inside(point, *axis),
            Form::Scalar(_, args) => args.iter().map(|&arg| self.of(arg)).fold(Flow::new(), join),
            // Which arm it is may depend on sizes.
            Form::Choice { condition, then, otherwise } => {
                join(self.of(*condition), join(self.of(*then), self.of(*otherwise)))
            }
            Form::Read { of, at, outside } => self.read(*of, at, *outside),
            Form::Rename { of, to } => {
                let from = core.vals[*of].visible.clone();
                let to: HashMap<AxisVar, AxisVar> = from.into_iter().zip(to.iter().copied()).collect();
                self.replace(self.of(*of), &|axis| {
                    let to = to.get(&axis).copied().unwrap_or(axis);
                    self.roots.agree(axis, to).then_some(Shifted::to(to))
                })
            }
            Form::AsIndex(of) | Form::StopGradient(of) => self.of(*of),
            // A direction that differs from entry to entry may follow it later.
            Form::Alias { of, .. } => join(self.of(*of), self.own(&data.visible)),
            Form::Tangent { of, along, .. } => self.tangent(*of, along),
            Form::Cotangent { like, .. } => join(self.of(*like), self.own(&data.visible)),
            // Forward derivatives turn a rule round: only what keeps to its own place is the same in both directions.
            Form::Custom { of, .. } if weaken::is(Weakening::Unruled) => self.of(*of),
            Form::Custom { of, pulled, .. } if self.derived.is_none() => pulled
                .iter()
                .flat_map(|&val| self.of(val))
                .map(|(root, reach)| Flow::one(root, reversed(reach)))
                .fold(self.of(*of), join),
            Form::Custom { of, .. } => self.of(*of),
            Form::Tabulate { body, .. } => self.of(*body),
            Form::Reshape(of) => {
                let (from, to) = changed(core, *of, val);
                let kept = core.vals[*of].visible.iter().copied().filter(|axis| !from.contains(axis));
                let shown = data.visible.iter().copied().filter(|axis| !to.contains(axis));
                let map: HashMap<AxisVar, AxisVar> = kept.zip(shown).collect();
                self.replace(self.of(*of), &|axis| match map.get(&axis) {
                    Some(&to) => self.roots.agree(axis, to).then_some(Shifted::to(to)),
                    None if from.contains(&axis) => None,
                    None => Some(Shifted::to(axis)),
                })
            }
            Form::Concat { parts, position } => parts
                .iter()
                .map(|&part| {
                    let joined = core.vals[part].visible[*position];
                    self.replace(self.of(part), &|axis| (axis != joined).then_some(Shifted::to(axis)))
                })
                .fold(Flow::new(), join),
            Form::Reduce { op, over, guard, body } => self.reduce(*op, over, *guard, *body),
            Form::Sort { of, axis, .. } => {
                let mut flow =
                    self.replace(self.of(*of), &|other| (other != *axis).then_some(Shifted::to(other)));
                self.all(&mut flow, *axis);
                flow
            }
            Form::Gradients { of, wrt } => {
                let mut components = Vec::new();
                for &arg in wrt {
                    // What is differentiated is one number at each point of the binders around, where the argument is one value: so
                    // the derivative there reads what the number does, and of an axis that the argument shows, all.
                    let mut flow = self.differentiated(*of);
                    for &axis in &core.vals[arg].visible {
                        self.all(&mut flow, axis);
                    }
                    for (root, reach) in self.summed_apart(*of, arg) {
                        flow.insert(root, reach);
                    }
                    components.push(if weaken::is(Weakening::Derivative) { self.of(arg) } else { flow });
                }
                self.tuples.insert(val, components);
                return;
            }
            // A block keeps nothing from elsewhere: its values are those that they would be outside.
            Form::Checkpoint { body } => {
                let block = &core.blocks[*body];
                for &inner in &block.vals {
                    self.value(inner);
                }
                let flows = block.results.iter().map(|&result| self.of(result)).collect();
                self.tuples.insert(val, flows);
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
                let claim = match &**property {
                    "batch" => Some(Window::OWN),
                    "causal" => Some(Window { low: None, ..Window::OWN }),
                    _ => None,
                };
                let claimed = claim.and_then(|claim| self.claimed(val, *root, claim));
                if let Some(reach) = claimed {
                    flow.insert(*root, reach);
                }
                flow
            }
        };
        let flow = if weaken::drops_flow(&data.form) {
            arguments(core, val).into_iter().map(|arg| self.of(arg)).fold(Flow::new(), join)
        } else {
            flow
        };
        self.flow[val] = flow;
    }

    /// What an entry reads of a root where the braces that made it read of what enters them no more than `claim` around its place.
    /// `None`: there is no place.
    fn claimed(&self, assume: Val, root: Root, claim: Window) -> Option<Reach> {
        let core = self.roots.core;
        let over = |val: Val| {
            core.vals[val].visible.iter().copied().filter(|&axis| core.axes[axis].root == Some(root))
        };
        let places: Vec<AxisVar> = over(assume).collect();
        if places.is_empty() {
            return None;
        }
        let own = |window| places.iter().map(move |&axis| (Center::Index(axis), window)).collect();
        let mut reach = Reach::Near(Few::new());
        for val in entering(core, assume) {
            let given = match self.of(val).remove(&root) {
                None => continue,
                Some(Reach::All) => return Some(Reach::All),
                Some(Reach::Near(near)) => near,
            };
            let shown: Vec<AxisVar> = over(val).collect();
            for (center, window) in given {
                let near = match center {
                    Center::Index(axis) if shown.contains(&axis) => {
                        window.around(claim).map(|near| Reach::Near(own(near)))
                    }
                    _ => Some(Reach::near(center, window)),
                };
                reach = join_reach(Some(reach), near.unwrap_or(Reach::All));
            }
        }
        Some(reach)
    }

    /// Whether an index lies on an axis.
    fn inside(&self, point: &Point, axis: AxisVar) -> Flow {
        join(self.point(point), self.end(point, axis))
    }

    /// Whether there is an entry at an index, as far as that depends on where the axis ends. An entry that is there
    /// whenever the place of the index itself is depends on nothing.
    fn end(&self, point: &Point, axis: AxisVar) -> Flow {
        let mut flow = Flow::new();
        if weaken::is(Weakening::NoEnd) {
            return flow;
        }
        let (inner, wraps) = self.roots.unwrapped(point, axis);
        if wraps && self.roots.sizes_in(inner).is_empty() {
            return flow;
        }
        for &root in self.roots.measured_by(axis) {
            let last = self.roots.anchor(point, axis, root).and_then(|anchor| {
                let high = anchor.high.add(self.roots.lead(axis, root)?)?;
                Some((anchor.to, high))
            });
            match last {
                Some((_, high)) if high <= Ratio::ZERO => {}
                Some((to, high)) => {
                    add(&mut flow, root, Reach::near(to, Window { high, ..Window::OWN }));
                }
                None => add(&mut flow, root, Reach::All),
            }
        }
        flow
    }

    /// The roots along which the value of which a derivative is taken is a sum of terms that each read their own place alone: there the
    /// derivative by an entry is that of its term.
    fn summed_apart(&self, of: Val, arg: Val) -> Flow {
        let core = self.roots.core;
        let Form::Reduce { op: Reducer::Sum, over, guard: None, body } = &core.vals[of].form else {
            return Flow::new();
        };
        let mut flow = Flow::new();
        for (root, reach) in self.differentiated(*body) {
            let Reach::Near(near) = &reach else { continue };
            let [(Center::Index(term), Window::OWN)] =
                near.iter().map(|(c, w)| (*c, *w)).collect::<Vec<_>>()[..]
            else {
                continue;
            };
            let shown = core.vals[arg].visible.iter().copied();
            let own: Vec<AxisVar> =
                shown.filter(|&axis| self.roots.measured_by(axis).contains(&root)).collect();
            let [axis] = own[..] else { continue };
            // Summed over another axis of the root, too, each term counts as often as that has entries.
            let counts = |other: &AxisVar| *other != term && self.roots.measured_by(*other).contains(&root);
            if over.iter().any(counts) && !weaken::is(Weakening::AnyCount) {
                continue;
            }
            if over.contains(&term) && self.roots.agree(axis, term) && self.roots.is_whole(axis, root) {
                flow.insert(root, Reach::near(Center::Index(axis), Window::OWN));
            }
        }
        flow
    }

    /// A value reads of the directions what it reads of the points. Only what keeps to its own position may be composed so.
    fn tangent(&self, of: Val, along: &[Val]) -> Flow {
        let value = self.differentiated(of);
        let own = |reach: Option<&Reach>| reach.is_none_or(Reach::is_own);
        let mut flow = value.clone();
        for &direction in along {
            for (root, reach) in self.of(direction) {
                let composed = own(value.get(&root)) || own(Some(&reach));
                add(&mut flow, root, if composed { reach } else { Reach::All });
            }
        }
        flow
    }

    fn read(&self, of: Val, at: &[At], outside: Outside) -> Flow {
        let visible = &self.roots.core.vals[of].visible;
        let mut flow = self.replace_of(self.of(of), &|root, axis| {
            let Some(index) = visible.iter().position(|&shown| shown == axis) else {
                return Some(Shifted::to(axis));
            };
            match &at[index] {
                At::Keep => Some(Shifted::to(axis)),
                At::Point(point) => self.roots.anchor(point, axis, root).map(Shifted::from),
                At::Entry(_) => None,
            }
        });
        for (&axis, at) in visible.iter().zip(at) {
            match at {
                At::Keep => {}
                At::Entry(index) => {
                    flow = join(flow, self.of(*index));
                    self.all(&mut flow, axis);
                }
                // An index over other axes is a number that decides what is read; sizes in it decide, too.
                At::Point(point) => {
                    let own = self.roots.of_axis(axis);
                    let (inner, _) = self.roots.unwrapped(point, axis);
                    let number = self.own(&point.axes());
                    let mut number: Flow =
                        number.into_iter().filter(|(root, _)| !own.contains(root)).collect();
                    for root in self.roots.sizes_in(inner) {
                        number.insert(root, Reach::All);
                    }
                    flow = join(flow, number);
                    if outside == Outside::Zero {
                        flow = join(flow, self.end(point, axis));
                    }
                }
            }
        }
        flow
    }

    fn reduce(&self, op: Reducer, over: &[AxisVar], guard: Option<Val>, body: Val) -> Flow {
        let bounds = guard::bounds(self.roots, op, guard, over, body);
        let mut flow = join(self.of(body), guard.map(|guard| self.of(guard)).unwrap_or_default());
        for &axis in over {
            let bound = bounds.iter().find(|bound| bound.bounded == axis);
            let reach = bound.and_then(|bound| {
                let window = Window { low: bound.low, high: bound.high?, wraps: false };
                Some(Shifted { to: Center::Index(bound.to), window })
            });
            let before = flow.clone();
            flow = self.replace(flow, &|other| if other == axis { reach } else { Some(Shifted::to(other)) });
            // The range itself is read: how many entries there are, or how far the guard lets it go.
            for &root in self.roots.measured_by(axis) {
                let range = bound.filter(|_| self.roots.has(axis, root)).and_then(|bound| {
                    let high = bound.high?.add(self.beyond(bound, root)?)?;
                    let window = Window { low: bound.low, high, wraps: false };
                    Some(Reach::near(Center::Index(bound.to), window))
                });
                add(&mut flow, root, range.unwrap_or(Reach::All));
            }
            if op == Reducer::Softmax {
                flow = join(flow, before);
            }
        }
        flow
    }

    /// How many places behind the last one that a guard lets an index reach must be there for the entry to be there.
    fn beyond(&self, bound: &guard::Bound, root: Root) -> Option<Ratio> {
        let behind =
            bound.high.is_none_or(|high| high > Ratio::ZERO) || !self.roots.agree(bound.bounded, bound.to);
        match behind && !weaken::is(Weakening::NoLead) {
            true => Some(self.roots.lead(bound.bounded, root)?.max(Ratio::ZERO)),
            false => Some(Ratio::ZERO),
        }
    }

    /// The components' flows: final carries, then yields. Carried values are a fixpoint of the body.
    fn scan(&mut self, axis: AxisVar, reverse: bool, inits: &[Val], body: BlockId) -> Vec<Flow> {
        let core = self.roots.core;
        let reverse = reverse && !weaken::is(Weakening::Reverse);
        let block = &core.blocks[body];
        let carries: Vec<(usize, Val)> = block
            .vals
            .iter()
            .filter_map(|&val| match core.vals[val].form {
                Form::Carry(of, index) if of == body => Some((index, val)),
                _ => None,
            })
            .collect();
        let mut state: Vec<Flow> = inits.iter().map(|&init| self.of(init)).collect();
        // Each round can only widen, and after some rounds what still grows reaches everything: so it ends. It may take as many
        // rounds as there are carries: what one of them read passes to the next in each step.
        // After as many rounds as the loop has turns they hold what its last turn has seen: so a stack of known length has the window of
        // all its members.
        let turns = core.size(axis).as_const().filter(|_| self.roots.of_axis(axis).is_empty());
        let turns = turns.and_then(|turns| usize::try_from(turns).ok());
        let turns = turns.filter(|turns| (1..=TURNS).contains(turns));
        for round in 0.. {
            for &(index, val) in &carries {
                self.flow[val] = state[index].clone();
            }
            for &val in &block.vals {
                self.value(val);
            }
            let mut changed = false;
            for (index, present) in state.iter_mut().enumerate() {
                let next = self.of(block.results[index]);
                // One step later, what was at this step lies in the past.
                let next = self.replace(next, &|other| match other == axis {
                    true if reverse => None,
                    true => {
                        Some(Shifted { window: Window { low: None, ..Window::OWN }, ..Shifted::to(axis) })
                    }
                    false => Some(Shifted::to(other)),
                });
                let mut joined = join(present.clone(), next);
                // A carry at a step has seen the steps before it.
                for &root in self.roots.of_axis(axis) {
                    let past = Window { low: None, ..Window::OWN };
                    let seen = match self.roots.rate(axis, root) {
                        Some(_) if !reverse => Reach::near(Center::Index(axis), past),
                        _ => Reach::All,
                    };
                    let before = joined.remove(&root);
                    joined.insert(root, join_reach(before, seen));
                }
                if joined != *present {
                    changed = true;
                    *present = match round {
                        _ if turns.is_some() => joined,
                        0..3 => joined,
                        3..6 => widened(present, joined),
                        _ => joined.into_iter().map(|(root, _)| (root, Reach::All)).collect(),
                    };
                }
            }
            let done = turns.is_some_and(|turns| round + 1 >= turns);
            if !changed || done || weaken::is(Weakening::FewRounds) && round > 3 {
                break;
            }
        }
        let mut flows: Vec<Flow> = Vec::new();
        for (index, &result) in block.results.iter().enumerate() {
            let flow = self.of(result);
            // The last carry has no step of its own any more; in reverse a step depends on those behind it.
            let ends = index < inits.len();
            let mut flow = self.replace(flow, &|other| {
                if other == axis && (ends || reverse) { None } else { Some(Shifted::to(other)) }
            });
            if ends {
                flow = join(flow, self.of(inits[index]));
                self.all(&mut flow, axis);
            }
            flows.push(flow);
        }
        flows
    }

    /// Puts other index variables in place; `None`: any position, so all of the root.
    fn replace(&self, flow: Flow, to: &dyn Fn(AxisVar) -> Option<Shifted>) -> Flow {
        self.replace_of(flow, &|_, axis| to(axis))
    }

    /// The same, where what is put in place differs from root to root.
    fn replace_of(&self, flow: Flow, to: &dyn Fn(Root, AxisVar) -> Option<Shifted>) -> Flow {
        let stays = |root: Root, center: &Center| match center {
            Center::Index(axis) => {
                to(root, *axis).is_some_and(|shifted| shifted.to == *center && shifted.window == Window::OWN)
            }
            Center::First => true,
        };
        let kept = flow.iter().all(|(root, reach)| match reach {
            Reach::All => true,
            Reach::Near(near) => near.keys().all(|center| stays(root, center)),
        });
        if kept {
            return flow;
        }
        let mut replaced = Flow::new();
        for (root, reach) in flow {
            let reach = match reach {
                Reach::All => Reach::All,
                Reach::Near(near) => {
                    let mut result = Reach::Near(Few::new());
                    for (center, window) in near {
                        let shifted = match center {
                            Center::Index(axis) => to(root, axis),
                            Center::First => Some(Shifted { to: center, window: Window::OWN }),
                        };
                        let moved =
                            shifted.and_then(|shifted| Some((shifted.to, window.around(shifted.window)?)));
                        result = match moved {
                            Some((to, window)) => join_reach(Some(result), Reach::near(to, window)),
                            None => Reach::All,
                        };
                    }
                    result
                }
            };
            add(&mut replaced, root, reach);
        }
        replaced
    }
}

/// An index variable in place of another, with what the reads add.
#[derive(Clone, Copy, Debug)]
struct Shifted {
    to: Center,
    window: Window,
}

impl Shifted {
    /// The variable itself.
    fn to(to: AxisVar) -> Shifted {
        Shifted { to: Center::Index(to), window: Window::OWN }
    }
}

impl From<Anchor> for Shifted {
    fn from(anchor: Anchor) -> Shifted {
        let Anchor { to, low, high, wraps } = anchor;
        Shifted { to, window: Window { low, high, wraps } }
    }
}
