//! Sums of products: `reduce sum (mul a b)` in f32 as `Contract`.
//!
//! Axes are told apart by the operands that have them: batch (both, kept), m and n (one, kept), k (summed). The operand that has the result's
//! innermost axis is B, and that axis is n; it has to be contiguous there, else the operand is packed first. Axes whose strides compose are
//! one; what is left becomes the grid (batch, m, n) or blocks (k). Which entries a grid point computes changes no bits.

use super::emit::Emitter;
use super::home::{Home, split_turns};
use super::index::{Atom, Ix, Place};
use super::nest::{Read, Run};
use super::panels::Panels;
use super::split::Split;
use super::{LowerError, Lowering};
use crate::axes::Dim;
use crate::graph::{Axis, Literal, Node, Op, Outside, Region};
use crate::kernel::{Address, Arg, Contract, Coord, Range, Size, Transpose};
use crate::ops::ScalarFn;
use crate::passes::{Roles, roles};
use crate::tiles::{Blocking, Extents, cut};

/// Rows that fill a tile.
const TALL: i64 = 7;
/// Columns of one call's tiles, at most two vectors of them; entries of a page of memory.
const FEW_COLUMNS: i64 = 32;
const PAGE: i64 = 1024;
/// Rows of a transposed copy that a grid point makes.
const COPIED: i64 = 64;

/// What is done to a contraction's entries before they are stored.
#[derive(Clone, Copy)]
pub struct Tail {
    /// The value that is stored.
    pub target: Node,
    /// What is added.
    pub bias: Option<Node>,
    /// A loop's carry that the sum is added to, and whose next value that is.
    pub onto: Option<Node>,
    pub relu: bool,
}

impl Lowering<'_> {
    /// The operands and axes of a reduction that is a contraction.
    fn roles(&self, node: Node) -> Option<Roles> {
        roles(self.graph, node, &|axis| self.is_bound(axis))
    }

    /// Whether a product is never needed itself: everything that reads it is a contraction.
    pub(super) fn feeds_contraction(&self, node: Node) -> bool {
        let users = &self.users[node];
        self.homes[node].is_none()
            && !users.is_empty()
            && users.iter().all(|user| self.roles(*user).is_some())
    }

    /// Lowers a group that is a contraction with a bias or a relu behind it, or anything else: then the contractions in it come first.
    /// True where nothing is left to do.
    pub(super) fn contraction_group(&mut self, group: Node, region: Region) -> Result<bool, LowerError> {
        let graph = self.graph;
        let data = &graph.regions[region];
        let contractions: Vec<Node> =
            data.nodes.iter().copied().filter(|node| self.roles(*node).is_some()).collect();
        let [node] = contractions[..] else {
            return Ok(false);
        };
        let tail = self.tail(node, region);
        let results: Vec<Node> = self.results(group, region).into_iter().map(|(node, _)| node).collect();
        if results == [tail.target] {
            return self.contraction(node, Some(tail));
        }
        Ok(false)
    }

    /// The bias and the relu that follow a contraction in its group, as far as nothing else reads what is between.
    fn tail(&self, node: Node, region: Region) -> Tail {
        let graph = self.graph;
        let mut tail = Tail { target: node, bias: None, onto: None, relu: false };
        loop {
            let [user] = self.users[tail.target][..] else { return tail };
            if !graph.regions[region].nodes.contains(&user)
                || graph.regions[region].results.contains(&tail.target)
            {
                return tail;
            }
            let args = &graph.nodes[user].args;
            let Some(other) = args.iter().copied().find(|arg| *arg != tail.target) else { return tail };
            match graph.nodes[user].op {
                Op::Map(ScalarFn::Add)
                    if tail.target == node
                        && self.free_axes(node) == self.free_axes(user)
                        && self.is_carried(other, user) =>
                {
                    tail.onto = Some(other);
                }
                Op::Map(ScalarFn::Add) if tail.bias.is_none() && !tail.relu && self.is_bias(other, node) => {
                    tail.bias = Some(other);
                }
                Op::Map(ScalarFn::Max) if !tail.relu && self.is_zero(other) => tail.relu = true,
                _ => return tail,
            }
            tail.target = user;
        }
    }

    /// Whether `next` alone reads the carry of the innermost loop around and replaces it.
    fn is_carried(&self, carry: Node, next: Node) -> bool {
        let (Op::Carry(index), Some(turn)) = (&self.graph.nodes[carry].op, self.turns.last()) else {
            return false;
        };
        let (body, at) = (&self.graph.regions[turn.body], *index as usize);
        let replaces = |result: &Node| self.resolve(*result) == next;
        body.params.get(at) == Some(&carry)
            && self.users[carry] == [next]
            && body.results.get(at).is_some_and(replaces)
            && body.results.iter().filter(|result| replaces(result)).count() == 1
            && self.homes[next].is_none()
    }

    fn is_zero(&self, node: Node) -> bool {
        let data = &self.graph.nodes[self.resolve(node)];
        match &data.op {
            Op::Constant(Literal::Float(x)) => *x == 0.0,
            Op::Broadcast(_) => self.is_zero(data.args[0]),
            _ => false,
        }
    }

    /// Whether a value can start the rows of a contraction: contiguous along n, the same for all m.
    fn is_bias(&self, node: Node, contraction: Node) -> bool {
        let Some(roles) = self.roles(contraction) else { return false };
        let Ok(Some(read)) = self.linear(node) else { return false };
        let Some(inner) = self.innermost(contraction) else { return false };
        let (m, n) = if roles.n.contains(&inner) { (&roles.m, &roles.n) } else { (&roles.n, &roles.m) };
        n.len() == 1
            && m.iter().all(|axis| factor(&read, *axis).as_const() == Some(0))
            && factor(&read, inner).as_const() == Some(1)
    }

    /// The axis that a contraction's result shall have innermost.
    fn innermost(&self, node: Node) -> Option<Axis> {
        self.orders[node].iter().rev().copied().find(|axis| !self.is_bound(*axis))
    }

    /// Where a value lies, if reading it is nothing but a load: through views without masks or divisions.
    pub(super) fn linear(&self, node: Node) -> Result<Option<(Home, Read)>, LowerError> {
        let mut node = self.resolve(node);
        let mut place = self.outer_place();
        loop {
            if let Some(home) = &self.homes[node] {
                let read = self.read(home, &place)?;
                let plain =
                    read.address.terms.iter().all(|(atom, _)| matches!(atom, Atom::Axis(_) | Atom::Turn(_)));
                return Ok(plain.then(|| (home.clone(), read)));
            }
            let data = &self.graph.nodes[node];
            match &data.op {
                Op::View(map) => {
                    let (inner, checks) = self.view_place(map, &place, self)?;
                    if map.outside == Outside::Zero && !checks.iter().all(|(ix, size)| ix.lies_in(size, self))
                    {
                        return Ok(None);
                    }
                    place = inner;
                }
                Op::Broadcast(_) => {}
                _ => return Ok(None),
            }
            node = self.resolve(data.args[0]);
        }
    }

    /// The operand in memory: where it is, or copied with axes in this order if it is not there in a form that will do.
    fn operand(
        &mut self,
        node: Node,
        order: &[Axis],
        will_do: impl Fn(&Read) -> bool,
    ) -> Result<(Home, Read), LowerError> {
        if let Some((home, read)) = self.linear(node)?
            && will_do(&read)
        {
            return Ok((home, read));
        }
        let axes = self.free_axes(node);
        let order: Vec<Axis> = order.iter().copied().filter(|axis| axes.contains(axis)).collect();
        let home = self.temporary(self.resolve(node), order)?;
        self.early(node, |cx| {
            // The place may be another one there.
            match cx.linear(node)? {
                Some((from, read)) if cx.transpose(node, (&from, &read), &home)? => Ok(()),
                _ => cx.kernel(&[(node, home.clone())], &[]),
            }
        })?;
        let read = self.read(&home, &self.outer_place())?;
        Ok((home, read))
    }

    /// Copies what lies in memory to a home of another order; false if neither end would be contiguous or it is no change of order.
    fn transpose(&mut self, node: Node, from: (&Home, &Read), to: &Home) -> Result<bool, LowerError> {
        let place = self.outer_place();
        let target = self.read(to, &place)?;
        let Some((inner, outer)) = to.order.split_last() else { return Ok(false) };
        let unit = |axis: &&Axis| factor_of(from.1, **axis).as_const() == Some(1);
        let Some(along) = outer.iter().find(unit).copied() else { return Ok(false) };
        let both = [from.1, &target];
        let runs = self.merged(&to.order, &both)?;
        let at =
            |axis: Axis| runs.iter().position(|run| run.axes.contains(&axis)).expect("an axis of the home");
        let (rows, columns) = (at(along), at(*inner));
        if rows == columns {
            return Ok(false);
        }
        let name = self.unique("transpose");
        let span = self.graph.nodes[node].span;
        let mut e = Emitter::new(self, name, span);
        let mut place = place;
        for (i, run) in runs.iter().enumerate() {
            if i == rows || i == columns {
                run.axes.iter().for_each(|axis| place.set(*axis, Ix::zero()));
            } else {
                let var = e.grid(&run.extent);
                e.spread(run, Ix::atom(Atom::Var(var)), &mut place)?;
            }
        }
        let m = e.part(&runs[rows], COPIED)?;
        let n = e.part(&runs[columns], COPIED)?;
        let last = |i: usize| *runs[i].axes.last().expect("a run has an axis");
        let mut stride = |read: &Read, axis: Axis| e.b.size(&factor_of(read, axis));
        let (from_m, from_n, to_m) =
            (stride(from.1, last(rows)), stride(from.1, last(columns)), stride(&target, last(rows)));
        let (from_arg, from) = e.operand_at(from, &place, false)?;
        let (to_arg, to) = e.operand_at((to, &target), &place, true)?;
        e.b.transpose(Transpose { m, n, from, from_arg, from_m, from_n, to, to_arg, to_m });
        let (kernel, args) = e.finish();
        self.run(kernel, args);
        Ok(true)
    }

    /// Lowers a reduction as a contraction; false where it is none.
    pub(super) fn contraction(&mut self, node: Node, tail: Option<Tail>) -> Result<bool, LowerError> {
        let Some(mut roles) = self.roles(node) else { return Ok(false) };
        let tail = tail.unwrap_or(Tail { target: node, bias: None, onto: None, relu: false });
        // The result: a home that is given, or one that ends with an axis of one operand.
        let given = self.homes[tail.onto.unwrap_or(tail.target)].clone();
        let wish: Vec<Axis> = match &given {
            Some(home) => home.order.iter().copied().filter(|axis| !self.is_bound(*axis)).collect(),
            None => self.orders[tail.target].iter().copied().filter(|axis| !self.is_bound(*axis)).collect(),
        };
        let inner = *wish.last().expect("a contraction has an m and an n");
        let suits = !roles.batch.contains(&inner)
            && given.as_ref().is_none_or(|home| home.stride(inner).and_then(Dim::as_const) == Some(1));
        if tail.onto.is_some() && !suits {
            return Ok(false);
        }
        let order = match suits {
            true => wish,
            false => [&roles.batch[..], &roles.m, &roles.n].concat(),
        };
        let home = match given {
            Some(home) if suits => home,
            _ => self.temporary(tail.target, order.clone())?,
        };
        let inner = *order.last().expect("as above");
        if roles.m.contains(&inner) {
            std::mem::swap(&mut roles.a, &mut roles.b);
            std::mem::swap(&mut roles.m, &mut roles.n);
        }
        let by_order = |axes: &[Axis]| -> Vec<Axis> {
            order.iter().copied().filter(|axis| axes.contains(axis)).collect()
        };
        let (batch, m, n) = (by_order(&roles.batch), by_order(&roles.m), by_order(&roles.n));
        if !self.convolution(&roles, node, &home, &tail)? {
            self.product(&roles, [batch, m, n], node, &home, &tail)?;
        }
        match self.homes[tail.target].clone() {
            // The given home did not suit.
            Some(given) if !suits => {
                self.homes[tail.target] = Some(home);
                self.kernel(&[(tail.target, given.clone())], &[])?;
                self.homes[tail.target] = Some(given);
            }
            _ => self.homes[tail.target] = Some(home),
        }
        Ok(true)
    }

    /// Lowers a contraction that is a convolution, or the gradient of one's weights, by Winograd's algorithm where that is faster; else false.
    fn convolution(
        &mut self,
        roles: &Roles,
        node: Node,
        home: &Home,
        tail: &Tail,
    ) -> Result<bool, LowerError> {
        if tail.onto.is_some() {
            return Ok(false);
        }
        let Some((a_home, a)) = self.linear(roles.a)? else { return Ok(false) };
        let c = self.read(home, &self.outer_place())?;
        if let Some((b_home, b)) = self.linear(roles.b)?
            && let Some(plan) = self.winograd_gradient_plan(roles, (&a, &b, &c))
            && tail.target == node
            && !home.order.iter().any(|axis| self.is_bound(*axis))
        {
            self.winograd_gradient(&plan, node, [(&a_home, &a), (&b_home, &b), (home, &c)])?;
            return Ok(true);
        }
        let Some(plan) = self.winograd_plan(roles, &a, &c) else { return Ok(false) };
        let (b_home, b) = self.operand(roles.b, &plan.weights(), |read| plan.reads(read))?;
        let bias = match tail.bias {
            Some(bias) => self.linear(bias)?,
            None => None,
        };
        let operands = [(&a_home, &a), (&b_home, &b), (home, &c)];
        self.winograd(&plan, node, operands, (bias.as_ref(), tail))?;
        Ok(true)
    }

    /// Lowers a contraction by tiles. The batch axes, m and n stand as they lie in the result.
    fn product(
        &mut self,
        roles: &Roles,
        [batch, m, n]: [Vec<Axis>; 3],
        node: Node,
        home: &Home,
        tail: &Tail,
    ) -> Result<(), LowerError> {
        let inner = *n.last().expect("a contraction has columns");
        // Where B is copied, its steps stand as A has them.
        let mut steps: Vec<Axis> = match self.linear(roles.a)? {
            Some((_, a)) => a.order.iter().copied().filter(|axis| roles.k.contains(axis)).collect(),
            None => Vec::new(),
        };
        steps.splice(0..0, roles.k.iter().copied().filter(|axis| !steps.contains(axis)).collect::<Vec<_>>());
        let copied = [&batch[..], &steps, &n].concat();
        // The code copies what lies otherwise for each call; where many would copy the same, it is done once before.
        let changes = self.depends_on_turns(roles.b) == self.turns.len();
        let once = m.len() < 2;
        let panelled = batch.is_empty() && self.wants_panels(roles.b, &n, &roles.k)?;
        let (b_home, b) = self.operand(roles.b, &copied, |read| {
            let factor = factor_of(read, inner);
            factor.as_const() == Some(1) || ((panelled || once && changes) && factor.as_const() != Some(0))
        })?;
        let mut k: Vec<Axis> = b.order.iter().copied().filter(|axis| roles.k.contains(axis)).collect();
        k.splice(0..0, roles.k.iter().copied().filter(|axis| !b.order.contains(axis)).collect::<Vec<_>>());
        let copied = [&batch[..], &m, &k].concat();
        let (a_home, a) = self.operand(roles.a, &copied, |_| true)?;
        let bias = match tail.bias {
            Some(bias) => self.linear(bias)?,
            None => None,
        };

        let name = self.unique("matmul");
        let span = self.graph.nodes[node].span;
        let place = self.outer_place();
        let c = self.read(home, &place)?;
        let nest = Nest {
            batch,
            m: self.merged(&m, &[&a, &c])?,
            n: self.merged(&n, &[&b, &c])?,
            k: self.merged(&k, &[&a, &b])?,
        };
        let split = match nest.batch.is_empty() && bias.is_none() && tail.onto.is_none() && !tail.relu {
            true => {
                let far = nest.is_far(&a);
                self.split(home, &nest.m.iter().chain(&nest.n).collect::<Vec<_>>(), &nest.k, far)?
            }
            false => None,
        };
        let few = matches!(nest.m[..], [ref rows] if rows.extent.as_const().is_some_and(|rows| rows < TALL));
        let panels = match split.is_none() && nest.batch.is_empty() && !few {
            true => self.panels(roles.b, (&b_home, &b), &nest.n, &nest.k)?,
            false => None,
        };
        let mut emitter = Emitter::new(self, name, span);
        let operands = Operands {
            a: (&a_home, &a),
            b: (&b_home, &b),
            c: (home, &c),
            bias: bias.as_ref(),
            panels: panels.as_ref(),
        };
        emitter.contract(nest, operands, (tail.onto.is_some(), tail.relu), split.as_ref(), place)?;
        let (kernel, args) = emitter.finish();
        self.run(kernel, args);
        if let Some(split) = &split {
            self.join_split(split, node, home)?;
        }
        Ok(())
    }
}

/// What a contraction reads and writes.
struct Operands<'a> {
    a: (&'a Home, &'a Read),
    b: (&'a Home, &'a Read),
    c: (&'a Home, &'a Read),
    bias: Option<&'a (Home, Read)>,
    /// Where B stands in panels.
    panels: Option<&'a Panels>,
}

/// The loops of a contraction, each list outermost first.
struct Nest {
    batch: Vec<Axis>,
    m: Vec<Run>,
    n: Vec<Run>,
    k: Vec<Run>,
}

impl Nest {
    /// Whether the steps of A lie in pages of their own, and columns are few.
    fn is_far(&self, a: &Read) -> bool {
        let columns = self.n.iter().try_fold(1i64, |all, run| all.checked_mul(run.extent.as_const()?));
        let step = self.k.last().and_then(|run| factor_of(a, *run.axes.last()?).as_const());
        columns.is_some_and(|columns| columns <= FEW_COLUMNS) && step.is_some_and(|step| step >= PAGE)
    }
}

pub(super) fn factor_of(read: &Read, axis: Axis) -> Dim {
    read.address.coefficient(&Atom::Axis(axis)).cloned().unwrap_or_else(|| Dim::constant(0))
}

fn factor(read: &(Home, Read), axis: Axis) -> Dim {
    factor_of(&read.1, axis)
}

impl Lowering<'_> {
    /// Joins adjacent axes whose strides compose in these accesses.
    fn merged(&self, axes: &[Axis], reads: &[&Read]) -> Result<Vec<Run>, LowerError> {
        let mut runs: Vec<Run> = Vec::new();
        for axis in axes {
            let size = self.size(*axis);
            if let Some(run) = runs.last_mut() {
                let outer = *run.axes.last().expect("a run has an axis");
                let mut composes = true;
                for read in reads {
                    composes &= factor_of(read, outer) == factor_of(read, *axis).mul(&size)?;
                }
                if composes {
                    run.extent = run.extent.mul(&size)?;
                    run.axes.push(*axis);
                    continue;
                }
            }
            runs.push(Run::of(*axis, size));
        }
        Ok(runs)
    }
}

impl Emitter<'_, '_> {
    fn contract(
        &mut self,
        nest: Nest,
        operands: Operands<'_>,
        (accumulate, relu): (bool, bool),
        split: Option<&Split>,
        mut place: Place,
    ) -> Result<(), LowerError> {
        let Nest { batch, mut m, mut n, mut k } = nest;
        let Operands { a, b, c, bias, panels } = operands;
        // Chunk by chunk: all tiles of a chunk read the same parts of the operands.
        let part = split.map(|split| (split.by, self.grid(&split.chunks)));
        // The innermost run of rows that fills a tile is m, else the longest; n is contiguous, and k the innermost in B.
        let length = |run: &Run| run.extent.as_const().unwrap_or(i64::MAX);
        let tall = (0..m.len()).rev().find(|i| length(&m[*i]) >= TALL);
        let longest = (0..m.len()).max_by_key(|i| length(&m[*i])).expect("a contraction has rows");
        let chosen = tall.unwrap_or(longest);
        let rows = m.remove(chosen);
        // Beside it, groups of such rows: an image.
        let groups = match rows.extent.as_const() {
            Some(_) if chosen > 0 => Some(m.remove(chosen - 1)),
            Some(_) if !m.is_empty() => Some(m.remove(chosen)),
            _ => None,
        };
        let groups = match groups {
            Some(groups) if groups.extent.as_const().is_none() => {
                m.push(groups);
                None
            }
            groups => groups,
        };
        let columns = n.pop().expect("a contraction has columns");
        let steps = k.pop().expect("a contraction sums");
        let batch: Vec<Run> = batch.into_iter().map(|axis| Run::of(axis, self.cx.size(axis))).collect();
        let blocking = {
            let of = |runs: &[&Run]| {
                runs.iter().try_fold(1i64, |all, run| all.checked_mul(run.extent.as_const()?))
            };
            let depth = match split {
                Some(split) => {
                    of(&k.iter().skip(1).chain((!k.is_empty()).then_some(&steps)).collect::<Vec<_>>())
                        .map(|inner| inner.saturating_mul(split.by))
                }
                None => of(&k.iter().chain([&steps]).collect::<Vec<_>>()),
            };
            let m_extent = of(&groups.iter().chain([&rows]).collect::<Vec<_>>());
            match (panels, depth) {
                (Some(_), Some(depth)) => Blocking::of_panels(m_extent, depth),
                _ => Blocking::choose(Extents {
                    m: m_extent,
                    n: columns.extent.as_const(),
                    depth,
                    alone: batch.is_empty() && m.is_empty() && n.is_empty() && split.is_none(),
                    apart: columns
                        .axes
                        .last()
                        .is_some_and(|axis| factor_of(b.1, *axis).as_const() != Some(1)),
                }),
            }
        };
        for run in [&rows, &columns, &steps].into_iter().chain(&k).chain(&groups) {
            for axis in &run.axes {
                place.set(*axis, Ix::zero());
            }
        }
        let mut by_columns = None;
        if blocking.rows_within {
            by_columns = Some(self.part(&columns, blocking.columns)?);
        }
        for run in batch.iter().chain(&m).chain(&n) {
            let var = self.grid(&run.extent);
            self.spread(run, Ix::atom(Atom::Var(var)), &mut place)?;
        }
        let (groups, m) = match &groups {
            Some(run) => {
                let each = length(&rows).max(1);
                let by = cut(length(run).max(1), (blocking.rows / each).max(1), 1);
                let range = self.part(run, by)?;
                let rows = self.part(&rows, blocking.rows)?;
                (Some((run, range)), rows)
            }
            None => (None, self.part(&rows, blocking.rows)?),
        };
        let n = match by_columns {
            Some(range) => range,
            None => self.part(&columns, blocking.columns)?,
        };
        let last = |run: &Run| *run.axes.last().expect("a run has an axis");
        let (row, step) = (last(&rows), last(&steps));
        let mut stride = |read: &Read, axis: Axis| self.b.size(&factor_of(read, axis));
        let (a_m, a_k, b_k, c_m) = (stride(a.1, row), stride(a.1, step), stride(b.1, step), stride(c.1, row));
        let b_n = stride(b.1, last(&columns));
        let (b_k, b_n) = match panels {
            Some(_) => (Size::Const(Panels::STEP), Size::Const(1)),
            None => (b_k, b_n),
        };
        let groups = groups.map(|(run, range)| (range, stride(a.1, last(run)), stride(c.1, last(run))));
        let mut blocks = Vec::new();
        for (i, run) in k.iter().enumerate() {
            let axis = last(run);
            let (in_a, in_b) = (stride(a.1, axis), stride(b.1, axis));
            blocks.push((i, in_a, in_b));
        }
        let range = |e: &mut Self, run: &Run, outermost: bool| {
            let of = e.b.size(&run.extent);
            match part {
                Some((by, index)) if outermost => Range::Chunk { of, by, index },
                _ => Range::Full(of),
            }
        };
        let blocks: Vec<_> =
            blocks.into_iter().map(|(i, in_a, in_b)| (range(self, &k[i], i == 0), in_a, in_b)).collect();
        let k = range(self, &steps, k.is_empty());
        let (c_arg, c_at) = match (split, part) {
            (Some(split), Some((_, chunk))) => {
                let (ix, _) = split_turns(c.1.address.at(&place, self)?);
                let len = self.b.size(&Dim::constant(split.len));
                let at = self.address(&ix)?.with(Coord::Var(chunk), len);
                (self.arg(split.partial, Vec::new(), true), at)
            }
            _ => self.operand_at(c, &place, true)?,
        };
        let (a_arg, a_at) = self.operand_at(a, &place, false)?;
        let (b_arg, b_at) = match (panels, n) {
            (Some(panels), Range::Chunk { index, .. }) => {
                (self.arg(panels.buffer(), Vec::new(), false), panels.at(self, index))
            }
            _ => self.operand_at(b, &place, false)?,
        };
        let bias = match bias {
            Some((home, read)) => Some(self.operand_at((home, read), &place, false)?),
            None => None,
        };
        self.b.contract(Contract {
            m,
            n,
            k,
            a: a_at,
            a_arg,
            a_m,
            a_k,
            b: b_at,
            b_arg,
            b_k,
            b_n,
            c: c_at,
            c_arg,
            c_m,
            groups,
            blocks,
            accumulate,
            bias,
            relu,
        });
        Ok(())
    }

    /// A chunk of a run for each grid point, or all of it where it is short.
    fn part(&mut self, run: &Run, by: i64) -> Result<Range, LowerError> {
        let of = self.b.size(&run.extent);
        if matches!(of, Size::Const(extent) if extent <= by) {
            return Ok(Range::Full(of));
        }
        let chunks = run.extent.add(&Dim::constant(by - 1))?.div(&Dim::constant(by))?;
        let index = self.grid(&chunks);
        Ok(Range::Chunk { of, by, index })
    }

    pub(super) fn operand_at(
        &mut self,
        (home, read): (&Home, &Read),
        place: &Place,
        write: bool,
    ) -> Result<(Arg, Address), LowerError> {
        let super::home::Storage::Buffer(buffer) = home.storage else {
            unreachable!("contractions read buffers")
        };
        let (ix, turns) = split_turns(read.address.at(place, self)?);
        Ok((self.arg(buffer, turns, write), self.address(&ix)?))
    }
}
