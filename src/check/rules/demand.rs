//! The column "demands": what each form needs of an axis beyond equality of its positions.

use std::collections::{BTreeMap, BTreeSet};

use cranelift_entity::EntitySet;

use crate::axes::{Dim, Scale};
use crate::base::Name;
use crate::ops::ScalarFn;
use crate::tensor::Sorted;

use super::super::core::*;
use super::assumed::is_inside;
use super::distance::Distances;
use super::points::{Roots, Weight};
use super::weaken::{self, Weakening};
use super::{arguments, guard};

/// What a form needs of an axis, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Demand {
    /// The first of several equal entries.
    Tie,
    /// A neighbour at a fixed distance, with the first entry behind the last one.
    Cycle,
    /// A distance between any two positions, counted round: `(i - j) % R`. `collect` makes of it a cycle, or a distance where borders count.
    Round,
    /// A neighbour at a fixed distance; the difference of two positions; every second entry.
    Shift,
    /// Whether an index lies on the axis.
    Border,
    /// How far apart two positions are, where nothing says that only near ones count: where the axis ends cuts some off.
    Distance,
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

/// The demands of a core, and what its reads at a distance mean for translations.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    pub all: Vec<Demanded>,
    /// The translations of a root with which everything commutes: the multiples. Missing: all.
    pub period: BTreeMap<Root, Scale>,
    /// What `assume` claims.
    pub assumed: BTreeSet<(Root, Name)>,
}

/// Collects the demands of everything that is reachable; in the braces of an `assume` of symmetry its root is left out.
pub fn collect(roots: &Roots, outputs: &[Val]) -> Demands {
    let distances = Distances::of(roots);
    let mut walk = Walk { roots, core: roots.core, found: Demands::default(), distances, local: Vec::new() };
    let (mut plain, mut seen) = (EntitySet::new(), BTreeSet::new());
    let mut all = BTreeSet::new();
    let mut rest: Vec<(Val, BTreeSet<(Root, Val)>)> =
        outputs.iter().map(|&val| (val, BTreeSet::new())).collect();
    while let Some((val, mut masked)) = rest.pop() {
        let new = if masked.is_empty() { plain.insert(val) } else { seen.insert((val, masked.clone())) };
        if !new {
            continue;
        }
        let next = walk.visit(val);
        if weaken::drops_demands(&roots.core.vals[val].form) {
            walk.local.clear();
        }
        for (root, demand, by) in walk.local.drain(..) {
            let claimed = |(of, assume): &(Root, Val)| *of == root && is_inside(roots.core, *assume, by);
            if !masked.iter().any(claimed) {
                all.insert(Demanded { root, demand, by });
            }
        }
        if let Form::Assume { property, root, .. } = &roots.core.vals[val].form {
            walk.found.assumed.insert((*root, property.clone()));
            if matches!(&**property, "invariant" | "equivariant") {
                masked.insert((*root, val));
            }
        }
        rest.extend(next.into_iter().map(|arg| (arg, masked.clone())));
    }
    for output in &roots.core.outputs {
        walk.shaped(output.val, &roots.core.vals[output.val].visible);
    }
    for (root, demand, by) in walk.local.drain(..) {
        // An operation that demands as much is the better one to tell.
        if !all.iter().any(|known: &Demanded| known.root == root && known.demand >= demand) {
            all.insert(Demanded { root, demand, by });
        }
    }
    walk.found.all = settled(all, &walk.distances);
    walk.found
}

/// What goes round between any two positions commutes with cyclic shifts, and so with translations of what is zero near the border. But
/// where the border is told from the rest, a translation takes what lies there nearer to some entries. A step as often as there are entries
/// leads from the border to everywhere.
fn settled(all: BTreeSet<Demanded>, distances: &Distances) -> Vec<Demanded> {
    let bordered: BTreeSet<Root> = all
        .iter()
        .filter(|demanded| matches!(demanded.demand, Demand::Shift | Demand::Border))
        .map(|demanded| demanded.root)
        .collect();
    let settle = |demanded: Demanded| match demanded.demand {
        Demand::Round if bordered.contains(&demanded.root) && !weaken::is(Weakening::AnyRound) => {
            Demanded { demand: Demand::Distance, ..demanded }
        }
        Demand::Round => Demanded { demand: Demand::Cycle, ..demanded },
        Demand::Shift | Demand::Border
            if distances.adds_up(demanded.root) && !weaken::is(Weakening::AnyDistance) =>
        {
            Demanded { demand: Demand::Distance, ..demanded }
        }
        _ => demanded,
    };
    let settled: BTreeSet<Demanded> = all.into_iter().map(settle).collect();
    settled.into_iter().collect()
}

struct Walk<'a> {
    roots: &'a Roots<'a>,
    core: &'a Core,
    found: Demands,
    distances: Distances,
    /// The demands of the value that is visited.
    local: Vec<(Root, Demand, Val)>,
}

impl Walk<'_> {
    fn demand(&mut self, roots: impl IntoIterator<Item = Root>, demand: Demand, by: Val) {
        self.local.extend(roots.into_iter().map(|root| (root, demand, by)));
    }

    /// Notes what a value demands; gives the values to visit next.
    fn visit(&mut self, val: Val) -> Vec<Val> {
        let core = self.core;
        let roots = self.roots;
        self.passes_positions(val);
        match &core.vals[val].form {
            Form::Input(_) => self.shaped(val, &core.vals[val].visible),
            Form::Param(index) => self.sized(&core.params[*index], val),
            Form::State(index) => self.sized(&core.states[*index], val),
            Form::Const(_) | Form::AsIndex(_) => self.demand(self.positions(val), Demand::Position, val),
            Form::Number(point) => self.number(point, val),
            Form::Position(axis) => self.demand(roots.of_axis(*axis).iter().copied(), Demand::Position, val),
            Form::Inside(point, axis) => self.inside(point, *axis, val),
            Form::Scalar(ScalarFn::Cast(_), args) => {
                self.demand(self.positions(args[0]), Demand::Position, val);
            }
            Form::Scalar(ScalarFn::Lt | ScalarFn::Le | ScalarFn::Eq | ScalarFn::Ne, args)
                if self.compare(val, Demand::Order) =>
            {
                // Numbers of positions count by what they are compared with.
                let number = |arg: &Val| matches!(core.vals[*arg].form, Form::Number(_));
                return args.iter().copied().filter(|arg| !number(arg)).collect();
            }
            Form::Read { of, at, outside } => self.read(*of, at, *outside, val),
            Form::Rename { of, to } => {
                for (&from, &to) in core.vals[*of].visible.iter().zip(to) {
                    if !roots.agree(from, to) {
                        self.demand(roots.of_axes(&[from, to]), Demand::Position, val);
                    }
                }
            }
            Form::Reshape(of) => {
                let (from, to) = changed(core, *of, val);
                self.demand(roots.of_axes(&from), Demand::Position, val);
                self.demand(roots.of_axes(&to), Demand::Position, val);
            }
            Form::Concat { parts, position } => {
                let joined: Vec<AxisVar> =
                    parts.iter().map(|&part| core.vals[part].visible[*position]).collect();
                self.demand(roots.of_axes(&joined), Demand::Position, val);
            }
            Form::Reduce { op, over, guard, body } => {
                if matches!(op, Reducer::ArgMax | Reducer::ArgMin) {
                    self.demand(roots.of_axes(over), Demand::Tie, val);
                }
                let mut next = vec![*body];
                if let Some(guard) = guard {
                    // Two comparisons that bound an index from both sides ask for a distance, not for an order.
                    let bands = guard::bands(roots, *guard);
                    for conjunct in guard::conjuncts(core, *guard) {
                        if bands.contains(&conjunct) {
                            self.compare(conjunct, Demand::Shift);
                        } else {
                            next.push(conjunct);
                        }
                    }
                }
                return next;
            }
            Form::Sort { what: Sorted::Order | Sorted::Rank, axis, .. } => {
                self.demand(roots.of_axis(*axis).iter().copied(), Demand::Tie, val);
            }
            Form::Scan { axis, .. } => self.demand(roots.of_axis(*axis).iter().copied(), Demand::Order, val),
            // These do the same at each position, or (a size, a draw, a step's number) know of none.
            Form::Scalar(..)
            | Form::Choice { .. }
            | Form::Tabulate { .. }
            | Form::Sort { .. }
            | Form::Random { .. }
            | Form::Size(_)
            | Form::Seed
            | Form::Step
            | Form::Steps
            | Form::Carry(..)
            | Form::Component { .. }
            | Form::Alias { .. }
            | Form::StopGradient(_)
            | Form::Checkpoint { .. }
            | Form::Assume { .. } => {}
            // A derivative commutes with what its function commutes with: its arguments are visited.
            Form::Gradients { .. } | Form::Cotangent { .. } | Form::Tangent { .. } | Form::Custom { .. } => {}
        }
        arguments(core, val)
    }

    /// An axis of an input or an output whose size is made of a root's name: it moves with the root only as far as a grid does.
    fn shaped(&mut self, val: Val, axes: &[AxisVar]) {
        for &axis in axes {
            for &root in self.roots.of_axis(axis) {
                if self.roots.is_whole(axis, root) {
                    continue;
                }
                match self.roots.scale(axis, root) {
                    Some(rate) if self.roots.whole_ring(axis, root) => {
                        self.demand([root], Demand::Cycle, val);
                        self.period(root, &rate.numerator(), val);
                    }
                    Some(rate) => {
                        self.demand([root], Demand::Shift, val);
                        self.period(root, &rate.numerator(), val);
                    }
                    None => self.demand([root], Demand::Position, val),
                }
            }
        }
    }

    fn sized(&mut self, slot: &Slot, val: Val) {
        let sizes = slot.axes.iter().flat_map(|&axis| {
            let size = self.core.size(axis);
            self.roots.of_axis(axis).iter().copied().chain(self.roots.made_of(&size)).collect::<Vec<_>>()
        });
        let roots: BTreeSet<Root> = sizes.collect();
        self.demand(roots, Demand::ParameterSize, val);
        // A position that is kept names the same entry of every input.
        self.demand(self.positions(val), Demand::Position, val);
    }

    /// The axes of which a value's entries are positions.
    fn positions(&self, val: Val) -> Vec<Root> {
        match &self.core.vals[val].elem {
            Elem::Idx(_, Some(root)) => vec![*root],
            Elem::Idx(size, None) => self.roots.mentioned(size).to_vec(),
            Elem::Of(_) => Vec::new(),
        }
    }

    /// Positions that a form hands on must be positions of one axis: two sets of equal size are permuted apart.
    fn passes_positions(&mut self, val: Val) {
        let core = self.core;
        let handed: Vec<Val> = match &core.vals[val].form {
            Form::Scalar(ScalarFn::Select, args) => args[1..].to_vec(),
            Form::Choice { then, otherwise, .. } => vec![*then, *otherwise],
            Form::Read { of, .. } | Form::Rename { of, .. } | Form::Reshape(of) | Form::Alias { of, .. } => {
                vec![*of]
            }
            Form::StopGradient(of) | Form::Assume { of, .. } | Form::Tabulate { body: of, .. } => vec![*of],
            Form::Concat { parts, .. } => parts.clone(),
            Form::Scan { inits, body, .. } => {
                for (init, result) in inits.iter().zip(&core.blocks[*body].results) {
                    self.one_axis(*init, *result, val);
                }
                return;
            }
            _ => return,
        };
        for arg in handed {
            self.one_axis(val, arg, val);
        }
    }

    fn one_axis(&mut self, left: Val, right: Val, val: Val) {
        let (a, b) = (self.positions(left), self.positions(right));
        if a != b && !weaken::is(Weakening::AnyPosition) {
            self.demand(a.into_iter().chain(b), Demand::Position, val);
        }
    }

    /// An index expression as a number. A position itself is an entry like any other, as long as its type says on which
    /// axis; a number made of it is not.
    fn number(&mut self, point: &Point, val: Val) {
        let own = self.positions(val);
        let over = self.roots.of_axes(&point.axes());
        if let Some(axis) = point.as_axis() {
            let whole = over.iter().all(|root| self.roots.is_whole(axis, *root));
            if own != over || !whole && !weaken::is(Weakening::AnyPosition) {
                self.demand(own.into_iter().chain(over), Demand::Position, val);
            }
            return;
        }
        self.demand(own, Demand::Position, val);
        for root in over {
            self.unmoved(point, root, val);
            self.near(point, root, val);
        }
    }

    /// A distance between positions must be a bounded one: a translation takes others behind the end of the axis.
    fn near(&mut self, point: &Point, root: Root, val: Val) {
        if !self.distances.bounded(self.roots, point, root) && !weaken::is(Weakening::AnyDistance) {
            let round = self.roots.goes_round(point, root);
            self.demand([root], if round { Demand::Round } else { Demand::Distance }, val);
        }
    }

    /// A point that must stay as it is when a root is translated.
    fn unmoved(&mut self, point: &Point, root: Root, val: Val) {
        let round = self.roots.goes_round(point, root);
        match self.roots.weight(point, root) {
            Some(Weight { weight, period }) if weight.is_zero() => {
                self.demand([root], if round { Demand::Cycle } else { Demand::Shift }, val);
                self.period(root, &period, val);
            }
            _ => self.demand([root], Demand::Position, val),
        }
    }

    /// `e in A`: it must move with A.
    fn inside(&mut self, point: &Point, axis: AxisVar, val: Val) {
        for root in self.roots.of_axes(&[point.axes(), vec![axis]].concat()) {
            if self.roots.has(axis, root) {
                self.moved(point, axis, root, Demand::Border, val);
                self.far(point, root, Demand::Distance, val);
            } else {
                self.unmoved(point, root, val);
                self.near(point, root, val);
            }
        }
    }

    /// A place far from the positions that say where it is: what stands near the border is seen from everywhere.
    fn far(&mut self, point: &Point, root: Root, demand: Demand, val: Val) {
        if !self.distances.together(self.roots, point, root) && !weaken::is(Weakening::AnyDistance) {
            self.demand([root], demand, val);
        }
    }

    /// A point that must move as the entries of `axis` do.
    fn moved(&mut self, point: &Point, axis: AxisVar, root: Root, demand: Demand, val: Val) {
        let follows = || {
            let Weight { weight, period } = self.roots.weight(point, root)?;
            let rate = self.roots.scale(axis, root)?;
            let period = period.multiple(&rate.numerator())?;
            (weight.mul(rate)? == Scale::ONE || weaken::is(Weakening::AnyWeight)).then_some(period)
        };
        match follows() {
            Some(period) if demand == Demand::Cycle || !self.roots.sizes_in(point).contains(&root) => {
                self.demand([root], demand, val);
                self.period(root, &period, val);
            }
            _ => self.demand([root], Demand::Position, val),
        }
    }

    fn read(&mut self, of: Val, at: &[At], outside: Outside, val: Val) {
        let visible = &self.core.vals[of].visible;
        for (&axis, at) in visible.iter().zip(at) {
            let point = match at {
                At::Keep => continue,
                At::Entry(index) => {
                    let whole = |root: &Root| self.roots.is_whole(axis, *root);
                    let own = self.roots.of_axis(axis);
                    let positions = self.positions(*index);
                    if own != positions || !own.iter().all(whole) {
                        self.demand(own.iter().copied().chain(positions), Demand::Position, val);
                    }
                    continue;
                }
                At::Point(point) => point,
            };
            if point.as_axis().is_some_and(|binder| self.roots.agree(binder, axis)) {
                continue;
            }
            let (inner, wraps) = self.roots.unwrapped(point, axis);
            for root in self.roots.of_axes(&[point.axes(), vec![axis]].concat()) {
                if !self.roots.has(axis, root) {
                    self.unmoved(point, root, val);
                    self.near(point, root, val);
                    continue;
                }
                if self.roots.of_axes(&point.axes()).contains(&root) {
                    let bounded = wraps || outside == Outside::Never;
                    if bounded && self.follows_round(inner, axis, root, wraps) {
                        self.moved(inner, axis, root, Demand::Cycle, val);
                        self.far(inner, root, Demand::Round, val);
                    } else if wraps {
                        self.demand([root], Demand::Position, val);
                    } else {
                        self.moved(inner, axis, root, Demand::Shift, val);
                        self.far(inner, root, Demand::Distance, val);
                    }
                    continue;
                }
                let first = Point::constant(Dim::constant(0));
                let demand = if *inner == first { Demand::FirstEntry } else { Demand::Position };
                self.demand([root], demand, val);
            }
        }
    }

    /// An index that goes round the axis when one of its variables goes round: once, or as often as it likes where it is taken modulo the
    /// axis' size. `x[s*i + b]` with `s * size(i) == size(x)`, `x[i / c]` with `size(i) == c * size(x)`.
    fn follows_round(&self, point: &Point, axis: AxisVar, root: Root, wraps: bool) -> bool {
        if weaken::is(Weakening::AnyRound) {
            return true;
        }
        let (size, facts) = (self.core.size(axis), &self.core.facts);
        let zero = Dim::constant(0);
        let whole = |turn: &Dim| turn.rem(&size).is_ok_and(|rest| facts.same(&rest, &zero).unwrap_or(false));
        self.roots.whole_ring(axis, root)
            && match self.roots.turns(point, root).unwrap_or_default().as_slice() {
                [] => false,
                [turn] if !wraps => facts.same(turn, &size).unwrap_or(false),
                turns => wraps && turns.iter().all(whole),
            }
    }

    /// A comparison of positions: `false` where none takes part. `ordered` is what a comparison by order demands.
    fn compare(&mut self, val: Val, ordered: Demand) -> bool {
        let Form::Scalar(function, args) = &self.core.vals[val].form else { return false };
        let equality = matches!(function, ScalarFn::Eq | ScalarFn::Ne);
        let [left, right] = args[..] else { return false };
        if let (Some(a), Some(b)) = (guard::point_of(self.core, left), guard::point_of(self.core, right)) {
            self.compare_points(&a, &b, equality, ordered, val);
            return true;
        }
        let sides = [left, right].map(|side| match &self.core.vals[side].form {
            Form::Number(point) => (self.roots.of_axes(&point.axes()), point.as_axis().is_some()),
            _ => (self.positions(side), true),
        });
        let [(a, a_plain), (b, b_plain)] = &sides;
        if a.is_empty() && b.is_empty() {
            return false;
        }
        // A number that stays as it is where positions are translated, `i % 2`, may be compared with any other.
        for (side, other) in [(left, b), (right, a)] {
            if let Form::Number(point) = &self.core.vals[side].form
                && other.is_empty()
                && point.as_axis().is_none()
            {
                for root in self.roots.of_axes(&point.axes()) {
                    self.unmoved(point, root, val);
                    self.near(point, root, val);
                }
                return true;
            }
        }
        let both: BTreeSet<Root> = a.iter().chain(b).copied().collect();
        // Two positions of one axis are equal or not, whatever their order. Against a number, the number counts.
        match a == b && *a_plain && *b_plain {
            true if equality => {}
            true => self.demand(both, Demand::Order, val),
            false => self.demand(both, Demand::Position, val),
        }
        true
    }

    /// Two index expressions, or one and a number.
    fn compare_points(&mut self, a: &Point, b: &Point, equality: bool, ordered: Demand, val: Val) {
        let plain = a.as_axis().zip(b.as_axis()).filter(|(a, b)| self.roots.agree(*a, *b));
        let gap = Point::Sum(vec![(Dim::constant(1), a.clone()), (Dim::constant(-1), b.clone())]);
        for root in self.roots.of_axes(&gap.axes()) {
            match (self.roots.weight(&gap, root), plain, equality) {
                (_, Some(_), true) => {}
                (Some(Weight { weight, period }), _, _)
                    if weight.is_zero() && self.roots.goes_round(&gap, root) =>
                {
                    self.demand([root], Demand::Cycle, val);
                    self.period(root, &period, val);
                    self.near(&gap, root, val);
                }
                (Some(Weight { weight, period }), _, _) if weight.is_zero() => {
                    let fixed = !self.roots.sizes_in(&gap).contains(&root);
                    let remainder = self.is_remainder(&gap);
                    let shifted = equality || remainder;
                    let demand = if shifted { Demand::Shift } else { ordered };
                    self.demand([root], if fixed { demand } else { Demand::Position }, val);
                    self.period(root, &period, val);
                    // Of `i - j == c` the one position says the other.
                    if remainder || !guard::is_step(self.roots, a, b) {
                        self.near(&gap, root, val);
                    }
                }
                _ => self.demand([root], Demand::Position, val),
            }
        }
    }

    /// `i % 2 < 1`: no two positions are compared.
    fn is_remainder(&self, gap: &Point) -> bool {
        let Point::Sum(parts) = gap else { return false };
        parts.iter().all(|(_, part)| matches!(part, Point::Rem(..)) || part.axes().is_empty())
    }

    fn period(&mut self, root: Root, period: &Scale, val: Val) {
        let present = self.found.period.entry(root).or_insert(Scale::ONE);
        match present.multiple(period) {
            Some(common) => *present = common,
            // Too large to be of use.
            None => self.local.push((root, Demand::Position, val)),
        }
    }
}

/// The axes before and behind a reshape that are not simply kept: those between the longest equal ends, and those of one
/// entry, which may stand anywhere.
pub fn changed(core: &Core, of: Val, to: Val) -> (Vec<AxisVar>, Vec<AxisVar>) {
    let is_one = |axis: &AxisVar| core.axes[*axis].root.is_none() && core.size(*axis).as_const() == Some(1);
    let parted = |val: Val| -> (Vec<AxisVar>, Vec<AxisVar>) {
        core.vals[val].visible.iter().copied().partition(is_one)
    };
    let ((mut from_changed, from), (mut to_changed, to)) = (parted(of), parted(to));
    let (mut from, mut to) = (&from[..], &to[..]);
    let same = |a: &AxisVar, b: &AxisVar| core.axes[*a].size == core.axes[*b].size;
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
    from_changed.extend(from);
    to_changed.extend(to);
    (from_changed, to_changed)
}
