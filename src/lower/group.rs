//! The shape of a kernel: its grid, and a nest of loops for each domain of stored values.

use std::collections::{HashMap, HashSet};

use super::emit::Emitter;
use super::home::{Home, Storage};
use super::index::{Atom, Ix, Place};
use super::nest::{Reads, Run};
use super::{LowerError, Lowering};
use crate::axes::Dim;
use crate::base::Name;
use crate::graph::{Axis, Node, Op, Region};
use crate::kernel::Range;
use crate::passes::scalar_cost;

/// Entries of a grid point of an elementwise kernel.
const CHUNK: i64 = 4096;
/// Columns of a grid point where the reduction runs inside of the lanes.
const COLUMNS: i64 = 64;
/// Lanes that are worth a loop around others: a quarter of a vector.
const FEWEST_LANES: i64 = 4;
/// Lanes of a loop's vector; fewer take further loops inside, of about so many points.
const VECTOR: i64 = 16;
const POINTS: i64 = 64;
/// Taps of a window at most, and places of a row of windows that is a loop inside of the lanes.
const TAPS: i64 = 128;
const PLACES: i64 = 256;
/// A value that costs more than this is kept for the next loop instead of computed again.
const KEEP: u32 = 8;

impl Lowering<'_> {
    /// The kernel of a fused group.
    pub(super) fn fused(&mut self, group: Node, region: Region) -> Result<(), LowerError> {
        let graph = self.graph;
        let data = &graph.regions[region];
        if self.contraction_group(group, region)? {
            return Ok(());
        }
        let roots = self.results(group, region);
        // Contractions of a group that has more than a bias behind them come first.
        let mut inside = Vec::new();
        for node in &data.nodes {
            if self.feeds_contraction(*node) || self.contraction(*node, None)? {
                continue;
            }
            inside.push(*node);
        }
        let mut homes = Vec::new();
        for (node, _) in roots {
            if inside.contains(&node) {
                homes.push((node, self.home(node)?));
            }
        }
        self.kernel(&homes, &inside)
    }

    /// The results of a group that somebody reads and that are computed in it, each once, with their indices.
    pub(super) fn results(&self, group: Node, region: Region) -> Vec<(Node, usize)> {
        let read: HashSet<u32> = self.users[group]
            .iter()
            .filter_map(|user| match self.graph.nodes[*user].op {
                Op::Project(index) => Some(index),
                _ => None,
            })
            .collect();
        let mut results = Vec::new();
        let mut seen = HashSet::new();
        for (i, result) in self.graph.regions[region].results.iter().enumerate() {
            let node = self.resolve(*result);
            if read.contains(&(i as u32)) && self.has_kernel(node) && seen.insert(node) {
                results.push((node, i));
            }
        }
        results
    }

    /// Emits a kernel that puts values into homes and evaluates the nodes `inside` itself, and the step that runs it.
    pub(super) fn kernel(&mut self, roots: &[(Node, Home)], inside: &[Node]) -> Result<(), LowerError> {
        let Some((first, _)) = roots.first() else { return Ok(()) };
        let graph = self.graph;
        let name = self.kernel_name(*first, inside);
        let span = graph.nodes[self.resolve(*first)].span;
        let place = self.outer_place();
        let roots: Vec<(Node, Home)> =
            roots.iter().map(|(node, home)| (self.resolve(*node), home.clone())).collect();
        let stored: Vec<Node> = roots.iter().map(|(node, _)| *node).collect();
        self.first_level(&stored, inside)?;
        let mut emitter = Emitter::new(self, name, span);
        emitter.inside.extend(inside.iter().copied());
        let reduces = |node: &&Node| matches!(graph.nodes[**node].op, Op::Reduce { .. });
        emitter.reductions = inside.iter().filter(reduces).copied().collect();
        emitter.shape(&roots, place)?;
        let (kernel, args) = emitter.finish();
        self.run(kernel, args);
        Ok(())
    }

    fn kernel_name(&mut self, root: Node, inside: &[Node]) -> Name {
        let root = self.resolve(root);
        let mut parts: Vec<Name> = Vec::new();
        for node in inside {
            let notable = match &self.graph.nodes[*node].op {
                Op::Map(function) => scalar_cost(*function) > KEEP,
                Op::Reduce { .. } | Op::Random { .. } | Op::Gather { .. } => true,
                _ => false,
            };
            let name = self.name_of(*node);
            if notable && !parts.contains(&name) && parts.len() < 3 && *node != root {
                parts.push(name);
            }
        }
        parts.push(match inside.contains(&root) {
            true => self.name_of(root),
            false => "copy".into(),
        });
        self.unique(&parts.join("_"))
    }
}

impl Emitter<'_, '_> {
    fn free(&self, node: Node) -> Vec<Axis> {
        self.cx.free_axes(node).to_vec()
    }

    /// Chooses grid and loops, and emits all roots.
    fn shape(&mut self, roots: &[(Node, Home)], place: Place) -> Result<(), LowerError> {
        let mut reads = Reads::default();
        for (node, home) in roots {
            self.reads(*node, &place, &mut reads)?;
            reads.reads.push(self.cx.read(home, &place)?);
        }
        let first: HashSet<Axis> = self.free(roots[0].0).into_iter().collect();
        let same = |node: &Node| {
            let axes = self.free(*node);
            axes.len() == first.len() && axes.iter().all(|axis| first.contains(axis))
        };
        let uniform = roots.iter().all(|(node, _)| same(node)) && self.reductions.iter().all(same);
        let order: Vec<Axis> = roots[0].1.order.iter().copied().filter(|axis| first.contains(axis)).collect();
        match (uniform, self.reductions.is_empty()) {
            (true, true) => self.pointwise(roots, &order, &reads, place, CHUNK),
            (true, false) if self.is_columnar(&order, &reads) => {
                self.pointwise(roots, &order, &reads, place, COLUMNS)
            }
            _ => self.rows(roots, &order, &reads, place),
        }
    }

    /// Whether the reads run along the innermost stored axis rather than along the reduced ones.
    fn is_columnar(&self, order: &[Axis], reads: &Reads) -> bool {
        let long = |axis: &&Axis| self.cx.size(**axis).as_const() != Some(1);
        let Some(inner) = order.iter().rfind(long) else { return false };
        let gain = |axis: Axis| {
            let (unit, strided) = reads.contiguous(axis);
            unit as i64 - strided as i64
        };
        let mut over = Vec::new();
        for node in &self.reductions {
            if let Op::Reduce { over: axes, .. } = &self.cx.graph.nodes[*node].op {
                over.extend(axes.iter().copied());
            }
        }
        // The store counts for the stored axis.
        gain(*inner) - 1 > over.into_iter().map(gain).max().unwrap_or(i64::MIN)
    }

    /// One nest for all roots, each entry computed by itself; the innermost stored axes have the lanes.
    fn pointwise(
        &mut self,
        roots: &[(Node, Home)],
        order: &[Axis],
        reads: &Reads,
        mut place: Place,
        chunk: i64,
    ) -> Result<(), LowerError> {
        let runs = self.runs(order, reads, &mut place)?;
        let runs = self.by_digits(runs, reads);
        let Some((inner, outer)) = runs.split_last() else {
            return self.store_all(roots, &place);
        };
        let depth = self.depth();
        let across =
            row(outer).filter(|(row, _)| self.is_window() && reads.any_stays(&row.axes, &inner.axes));
        match across {
            Some((row, outer)) => {
                self.open_all(outer, inner, chunk, &mut place)?;
                self.open_run(row, false, &mut place)?;
            }
            None => self.open_all(outer, inner, chunk, &mut place)?,
        }
        self.store_all(roots, &place)?;
        self.close_to(depth);
        Ok(())
    }

    /// Whether each entry is made of a few others: the taps of a window.
    fn is_window(&self) -> bool {
        let taps = |node: &Node| {
            let Op::Reduce { over, .. } = &self.cx.graph.nodes[*node].op else { return None };
            over.iter().try_fold(1_i64, |taps, axis| taps.checked_mul(self.cx.size(*axis).as_const()?))
        };
        !self.reductions.is_empty()
            && self.reductions.iter().all(|node| taps(node).is_some_and(|taps| taps <= TAPS))
    }

    /// Opens a grid of runs and lanes in it. Where the lanes fill no vector, the last runs are loops inside of them instead, so that what a
    /// lane loop costs is paid once for many points.
    pub(super) fn open_all(
        &mut self,
        grid: &[Run],
        lanes: &Run,
        chunk: i64,
        place: &mut Place,
    ) -> Result<(), LowerError> {
        let mut outer = grid;
        if lanes.extent.as_const().is_some_and(|n| (FEWEST_LANES..VECTOR).contains(&n)) {
            let mut points = 1;
            while let [_, .., last] = outer
                && let Some(extent) = last.extent.as_const()
                && points < POINTS
            {
                points *= extent;
                outer = &outer[..outer.len() - 1];
            }
        }
        for run in outer {
            self.open_grid(run, place)?;
        }
        self.open_lanes(lanes, chunk, place)?;
        for run in &grid[outer.len()..] {
            self.open_run(run, false, place)?;
        }
        Ok(())
    }

    fn close_to(&mut self, depth: usize) {
        while self.depth() > depth {
            self.close(&[]);
        }
    }

    /// Opens a lane loop over a run, or over a chunk of it for each grid point.
    fn open_lanes(&mut self, run: &Run, chunk: i64, place: &mut Place) -> Result<(), LowerError> {
        match run.extent.as_const() {
            // Several axes in one run: all parameters of a stack. How many there are is no part of the code.
            Some(extent) if extent <= chunk && run.axes.len() == 1 => self.open_run(run, true, place),
            _ => {
                let by = Dim::constant(chunk);
                let chunks = run.extent.add(&Dim::constant(chunk - 1))?.div(&by)?;
                let index = self.grid(&chunks);
                let of = self.b.size_in_table(&run.extent);
                let var = self.open_range(Range::Chunk { of, by: chunk, index }, &run.extent, true);
                self.spread(run, Ix::atom(Atom::Var(var)), place)?;
                Ok(())
            }
        }
    }

    fn open_grid(&mut self, run: &Run, place: &mut Place) -> Result<(), LowerError> {
        let var = self.grid(&run.extent);
        self.spread(run, Ix::atom(Atom::Var(var)), place)?;
        Ok(())
    }

    fn store_all(&mut self, roots: &[(Node, Home)], place: &Place) -> Result<(), LowerError> {
        for (node, home) in roots {
            let value = self.value(*node, place, None)?;
            self.store(home, place, value)?;
        }
        Ok(())
    }

    /// A grid of the axes that everything shares; inside, the reductions in turn, then one nest for each domain of roots.
    fn rows(
        &mut self,
        roots: &[(Node, Home)],
        order: &[Axis],
        reads: &Reads,
        mut place: Place,
    ) -> Result<(), LowerError> {
        let mut shared: Vec<Axis> = order.to_vec();
        for node in roots.iter().map(|(node, _)| node).chain(&self.reductions) {
            let axes = self.free(*node);
            shared.retain(|axis| axes.contains(axis));
        }
        self.rows.clone_from(&shared);
        self.plan_keeping(roots, &shared)?;
        let across = self.lanes_across(roots, &shared, reads);
        let (grid, inner) = shared.split_at(shared.len() - usize::from(across));
        let grid = self.runs(grid, reads, &mut place)?;
        match inner {
            [axis] => {
                let lanes = Run::of(*axis, self.cx.size(*axis));
                self.open_all(&grid, &lanes, COLUMNS, &mut place)?;
                self.base = self.depth();
            }
            _ => {
                for run in &grid {
                    self.open_grid(run, &mut place)?;
                }
            }
        }
        for node in self.reductions.clone() {
            if self.free(node).iter().all(|axis| shared.contains(axis)) {
                self.value(node, &place, None)?;
            }
        }
        let mut left: Vec<&(Node, Home)> = roots.iter().collect();
        while let Some((node, home)) = left.first() {
            let domain = inner_axes(&self.free(*node), &shared);
            let order: Vec<Axis> = home.order.iter().copied().filter(|axis| domain.contains(axis)).collect();
            let (now, later): (Vec<_>, Vec<_>) =
                left.iter().copied().partition(|(node, _)| inner_axes(&self.free(*node), &shared) == domain);
            left = later;
            let now: Vec<(Node, Home)> =
                now.into_iter().filter(|(node, _)| !self.kept.contains(*node)).cloned().collect();
            if now.is_empty() {
                continue;
            }
            let mut reads = Reads::default();
            for (node, home) in &now {
                self.reads(*node, &place, &mut reads)?;
                reads.reads.push(self.cx.read(home, &place)?);
            }
            let mut inner = place.clone();
            let runs = self.runs(&order, &reads, &mut inner)?;
            for (i, run) in runs.iter().enumerate() {
                self.open_run(run, i + 1 == runs.len() && !across, &mut inner)?;
            }
            for (node, home) in &now {
                let value = self.value(*node, &inner, None)?;
                // The value may just have been kept, which stores it.
                if !self.is_being_kept(*node) {
                    self.store(home, &inner, value)?;
                }
            }
            for _ in &runs {
                self.close(&[]);
            }
        }
        self.close_to(0);
        Ok(())
    }

    /// Whether the last shared axis has the lanes around all nests, as the features of an image that is pooled or framed: everything runs
    /// along it in memory, and less along the axes inside. Rows of scratch, which all lanes would share, exclude it.
    fn lanes_across(&self, roots: &[(Node, Home)], shared: &[Axis], reads: &Reads) -> bool {
        let Some((inner, outer)) = shared.split_last() else { return false };
        let fixed = |axis: Axis| self.cx.size(axis).as_const();
        if fixed(*inner).is_none_or(|n| n < FEWEST_LANES) || outer.iter().all(|axis| fixed(*axis) == Some(1))
        {
            return false;
        }
        if roots.iter().any(|(_, home)| home.stride(*inner).and_then(Dim::as_const) != Some(1))
            || self.keep.values().any(|home| matches!(home.storage, Storage::Scratch(_)))
        {
            return false;
        }
        let mut inside: Vec<Axis> =
            roots.iter().flat_map(|(node, _)| inner_axes(&self.free(*node), shared)).collect();
        for node in &self.reductions {
            if let Op::Reduce { over, .. } = &self.cx.graph.nodes[*node].op {
                inside.extend(over.iter().copied());
            }
        }
        let along = |axis: Axis| {
            let (unit, strided) = reads.contiguous(axis);
            unit as i64 - strided as i64
        };
        !inside.is_empty()
            && inside.iter().all(|axis| along(*axis) < along(*inner) && reads.contiguous(*axis).0 == 0)
    }

    /// Decides what the first loop that has it stores for the others: roots, and what is expensive and wanted in two loops.
    fn plan_keeping(&mut self, roots: &[(Node, Home)], shared: &[Axis]) -> Result<(), LowerError> {
        let graph = self.cx.graph;
        let mut loops: HashMap<Node, HashSet<usize>> = HashMap::new();
        let mut kinds: Vec<(Vec<Axis>, Vec<Axis>, u32)> = Vec::new();
        let mut phases: HashMap<Node, u32> = HashMap::new();
        let mut anchors: Vec<(Node, usize)> = Vec::new();
        for node in self.reductions.clone() {
            let Op::Reduce { over, .. } = &graph.nodes[node].op else { unreachable!("a reduction") };
            let earlier = phases.iter().filter(|(other, _)| self.depends(node, **other));
            let phase = 1 + earlier.map(|(_, phase)| *phase).max().unwrap_or(0);
            phases.insert(node, phase);
            let kind = (inner_axes(&self.free(node), shared), over.to_vec(), phase);
            anchors.push((graph.nodes[node].args[0], index_of(&mut kinds, kind)));
        }
        for (node, _) in roots {
            let domain = inner_axes(&self.free(*node), shared);
            if !domain.is_empty() {
                anchors.push((*node, index_of(&mut kinds, (domain, Vec::new(), 0))));
            }
        }
        for (node, kind) in anchors {
            for member in self.members(node, shared) {
                loops.entry(member).or_default().insert(kind);
            }
        }
        for (node, home) in roots {
            if !inner_axes(&self.free(*node), shared).is_empty() {
                self.keep.insert(*node, home.clone());
            }
        }
        let several = |node: Node| loops.get(&node).is_some_and(|kinds| kinds.len() > 1);
        let candidates: Vec<Node> = graph_order(self.inside.iter()).filter(|node| several(*node)).collect();
        for node in candidates {
            let domain = inner_axes(&self.free(node), shared);
            // What is only wanted to compute something else that is kept needs no row of its own.
            let wanted =
                self.cx.users[node].iter().any(|user| self.inside.contains(*user) && !several(*user));
            if domain.is_empty()
                || !wanted
                || self.keep.contains_key(&node)
                || self.cost(node, shared) <= KEEP
            {
                continue;
            }
            let order: Vec<Axis> =
                self.cx.orders[node].iter().copied().filter(|axis| domain.contains(axis)).collect();
            let mut len = Dim::constant(1);
            for axis in &order {
                len = len.mul(&self.cx.size(*axis))?;
            }
            let len = self.b.size(&len);
            let arg = self.b.scratch(graph.nodes[node].dtype, len);
            let (home, _) = Home::dense(Storage::Scratch(arg), order, |axis| self.cx.size(axis))?;
            self.keep.insert(node, home);
        }
        Ok(())
    }

    /// The nodes inside that one loop evaluates for a value, without what stands before the loop.
    fn members(&self, node: Node, shared: &[Axis]) -> HashSet<Node> {
        let mut members = HashSet::new();
        let mut todo = vec![node];
        while let Some(node) = todo.pop() {
            let node = self.cx.resolve(node);
            let data = &self.cx.graph.nodes[node];
            let before = inner_axes(&self.free(node), shared).is_empty();
            if self.inside.contains(node) && !before && members.insert(node) {
                todo.extend(data.args.iter().copied());
            }
        }
        members
    }

    /// The instructions that a value takes, down to what is loaded or stands before the loop.
    fn cost(&self, node: Node, shared: &[Axis]) -> u32 {
        let members = self.members(node, shared);
        let cost = |node: &Node| match &self.cx.graph.nodes[*node].op {
            Op::Map(function) => scalar_cost(*function),
            Op::Reduce { .. } => 100,
            Op::Random { .. } => 60,
            _ => 0,
        };
        members.iter().map(cost).sum()
    }
}

/// The last of the runs of a grid, as a loop inside of the lanes: a row of places whose windows share their weights and a call.
fn row(grid: &[Run]) -> Option<(&Run, &[Run])> {
    let (row, outer) = grid.split_last()?;
    let fits = row.extent.as_const().is_some_and(|places| (2..=PLACES).contains(&places));
    (fits && !outer.is_empty()).then_some((row, outer))
}

fn inner_axes(axes: &[Axis], shared: &[Axis]) -> Vec<Axis> {
    axes.iter().copied().filter(|axis| !shared.contains(axis)).collect()
}

fn graph_order(nodes: impl Iterator<Item = Node>) -> impl Iterator<Item = Node> {
    let mut nodes: Vec<Node> = nodes.collect();
    nodes.sort();
    nodes.into_iter()
}

fn index_of<T: PartialEq>(all: &mut Vec<T>, value: T) -> usize {
    all.iter().position(|other| *other == value).unwrap_or_else(|| {
        all.push(value);
        all.len() - 1
    })
}
