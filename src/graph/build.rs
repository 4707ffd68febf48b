//! `Builder`: appends nodes to a graph; axes and dtypes follow from the operators' shape rules.
//!
//! A node is placed in the outermost open region in which its arguments are known and where the axes that it has are not bound,
//! so what a loop repeats is computed before it. A view that does not depend on a carry is free, and always placed outside.
//! An operator that consumes an axis which a scan has bound means the whole of it: it is placed outside of that scan, and what it
//! reads is computed there once more.
//!
//! Floats of 16 bits are computed in f32: what computes with them gets casts around it here, so no pass and no derivative sees such an operator.
//!
//! Misuse is a defect of the compiler, not of its user's program, and panics with the shape rule's message.

use std::collections::HashMap;

use cranelift_entity::{EntityRef, PrimaryMap, SecondaryMap};
use smallvec::SmallVec;

use super::ir::*;
use super::sets::{common, is_subset, set, union, without};
use crate::axes::Dim;
use crate::base::{FileId, Name, Span};
use crate::ops::{ScalarFn, Shape, Typing};
use crate::tensor::{DType, Sorted};

/// A graph under construction.
pub struct Builder {
    graph: Graph,
    /// From the root to the region that is being filled.
    open: Vec<Open>,
    /// The region in whose list a node stands.
    home: SecondaryMap<Node, Home>,
    span: Span,
}

#[derive(Clone, Copy, Default, PartialEq)]
struct Home(Option<Region>);

/// A region that can still grow.
struct Open {
    region: Region,
    /// The axis that its scan binds.
    bound: Option<Axis>,
    /// What is appended stays here, but for what reads the whole of an axis that is bound around.
    kept: bool,
    /// Nothing may be placed further out: the scan stands already, and what follows it comes too late.
    sealed: bool,
}

/// What a scan gives back.
pub struct ScanResults {
    /// The scan itself, a tuple.
    pub scan: Node,
    /// The final carries.
    pub carries: Vec<Node>,
    /// The stacked yields; each has the scan's axis.
    pub yields: Vec<Node>,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    pub fn new() -> Builder {
        let mut regions = PrimaryMap::new();
        let root = regions.push(RegionData::default());
        let graph = Graph {
            axes: PrimaryMap::new(),
            nodes: PrimaryMap::new(),
            regions,
            root,
            inputs: vec![],
            outputs: vec![],
        };
        let open = vec![Open { region: root, bound: None, kept: false, sealed: false }];
        Builder { graph, open, home: SecondaryMap::new(), span: Span::new(FileId(0), 0, 0) }
    }

    /// The graph with these results, in order.
    pub fn finish(mut self, outputs: impl IntoIterator<Item = (Output, Node)>) -> Graph {
        assert_eq!(self.open.len(), 1, "a region is still open");
        for (output, node) in outputs {
            self.graph.outputs.push(output);
            self.graph.regions[self.graph.root].results.push(node);
        }
        self.graph
    }

    /// What was built so far.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The nodes that follow come from this expression.
    pub fn at(&mut self, span: Span) -> &mut Builder {
        self.span = span;
        self
    }

    pub fn span(&self) -> Span {
        self.span
    }

    pub fn dtype(&self, node: Node) -> DType {
        self.graph.nodes[node].dtype
    }

    pub fn axes(&self, node: Node) -> &AxisSet {
        &self.graph.nodes[node].axes
    }

    pub fn args(&self, node: Node) -> SmallVec<[Node; 3]> {
        self.graph.nodes[node].args.clone()
    }

    pub fn op(&self, node: Node) -> &Op {
        &self.graph.nodes[node].op
    }

    pub fn axis_size(&self, axis: Axis) -> &Dim {
        &self.graph.axes[axis].size
    }

    // Axes

    pub fn axis(&mut self, name: impl Into<Name>, size: Dim) -> Axis {
        self.graph.axes.push(AxisData { name: name.into(), size })
    }

    /// A new axis of the same name and size.
    pub fn fresh(&mut self, like: Axis) -> Axis {
        let data = self.graph.axes[like].clone();
        self.graph.axes.push(data)
    }

    /// The axes that the open scans have bound, in order.
    pub fn bound(&self) -> AxisSet {
        set(self.open.iter().filter_map(|open| open.bound))
    }

    // Values without arguments

    /// A new input of the graph, and its value.
    pub fn input(&mut self, input: Input) -> Node {
        let index = self.graph.inputs.len() as u32;
        let dtype = input.dtype;
        self.graph.inputs.push(input);
        self.push(Op::Input(index), &[], dtype)
    }

    /// A constant; what a float of 16 bits holds of it.
    pub fn literal(&mut self, literal: Literal, dtype: DType) -> Node {
        self.push(Op::Constant(literal), &[], dtype)
    }

    /// A number as a constant of any dtype, converted as a cast would.
    pub fn constant(&mut self, value: f64, dtype: DType) -> Node {
        let literal = match dtype {
            DType::Bool => Literal::Bool(value != 0.0),
            DType::I32 => Literal::Int(i64::from(value as i32)),
            DType::U8 => Literal::Int(i64::from(value as u8)),
            DType::I64 => Literal::Int(value as i64),
            _ => Literal::Float(value),
        };
        self.literal(literal, dtype)
    }

    /// A constant with axes.
    pub fn filled(&mut self, value: f64, dtype: DType, axes: &[Axis]) -> Node {
        let scalar = self.constant(value, dtype);
        self.broadcast(scalar, axes)
    }

    /// Zeros of the type of another value, without the axes that are bound.
    pub fn zeros_like(&mut self, node: Node) -> Node {
        let (dtype, axes) = (self.dtype(node), without(self.axes(node), &self.bound()));
        self.filled(0.0, dtype, &axes)
    }

    pub fn size(&mut self, dim: Dim, dtype: DType) -> Node {
        let size = self.push(Op::Size(dim), &[], dtype.computed());
        self.cast(size, dtype)
    }

    pub fn position(&mut self, axis: Axis, dtype: DType) -> Node {
        let position = self.push(Op::Position(axis), &[], dtype.computed());
        self.cast(position, dtype)
    }

    pub fn random(
        &mut self,
        draw: Draw,
        site: u64,
        order: &[Axis],
        seed: Node,
        step: Node,
        dtype: DType,
    ) -> Node {
        let op = Op::Random { draw, site, order: order.to_vec() };
        let value = self.push(op, &[seed, step], dtype.computed());
        self.cast(value, dtype)
    }

    // Maps

    /// Of floats of 16 bits: computed in f32, rounded once.
    pub fn map(&mut self, function: ScalarFn, args: &[Node]) -> Node {
        let moves = matches!(function, ScalarFn::Cast(_) | ScalarFn::Select);
        let stored = args.last().map(|arg| self.dtype(*arg)).filter(|dtype| dtype.computed() != *dtype);
        let Some(stored) = stored.filter(|_| !moves) else {
            return self.push(Op::Map(function), args, DType::Bool);
        };
        let args: SmallVec<[Node; 3]> = args.iter().map(|arg| self.computed(*arg)).collect();
        let value = self.push(Op::Map(function), &args, DType::Bool);
        self.stored(value, stored)
    }

    /// The value in the dtype that it is computed in.
    pub fn computed(&mut self, x: Node) -> Node {
        let dtype = self.dtype(x).computed();
        self.cast(x, dtype)
    }

    /// What was computed for a value of this dtype, as one; truths and positions stay.
    fn stored(&mut self, x: Node, dtype: DType) -> Node {
        if self.dtype(x) == dtype.computed() { self.cast(x, dtype) } else { x }
    }

    /// `op` on the value in the dtype that it is computed in.
    fn push_computed(&mut self, op: Op, x: Node, rest: &[Node]) -> Node {
        let dtype = self.dtype(x);
        let mut args: SmallVec<[Node; 3]> = SmallVec::from_slice(&[self.computed(x)]);
        args.extend_from_slice(rest);
        let value = self.push(op, &args, DType::Bool);
        self.stored(value, dtype)
    }

    pub fn map1(&mut self, function: ScalarFn, x: Node) -> Node {
        self.map(function, &[x])
    }

    pub fn map2(&mut self, function: ScalarFn, x: Node, y: Node) -> Node {
        self.map(function, &[x, y])
    }

    pub fn neg(&mut self, x: Node) -> Node {
        self.map(ScalarFn::Neg, &[x])
    }

    pub fn add(&mut self, x: Node, y: Node) -> Node {
        self.map(ScalarFn::Add, &[x, y])
    }

    pub fn sub(&mut self, x: Node, y: Node) -> Node {
        self.map(ScalarFn::Sub, &[x, y])
    }

    pub fn mul(&mut self, x: Node, y: Node) -> Node {
        self.map(ScalarFn::Mul, &[x, y])
    }

    pub fn div(&mut self, x: Node, y: Node) -> Node {
        self.map(ScalarFn::Div, &[x, y])
    }

    pub fn select(&mut self, condition: Node, then: Node, otherwise: Node) -> Node {
        self.map(ScalarFn::Select, &[condition, then, otherwise])
    }

    /// The value as another dtype; itself where it is of this one.
    pub fn cast(&mut self, x: Node, dtype: DType) -> Node {
        if self.dtype(x) == dtype { x } else { self.map(ScalarFn::Cast(dtype), &[x]) }
    }

    // Axes of values

    /// Combines along the axes, in any order; the value itself where there are none.
    pub fn reduce(&mut self, op: Reducer, x: Node, over: &[Axis]) -> Node {
        if over.is_empty() {
            return x;
        }
        self.push_computed(Op::Reduce { op, over: set(over.iter().copied()) }, x, &[])
    }

    pub fn sum(&mut self, x: Node, over: &[Axis]) -> Node {
        self.reduce(Reducer::Sum, x, over)
    }

    /// The value with these axes besides its own; itself where it has them all.
    pub fn broadcast(&mut self, x: Node, axes: &[Axis]) -> Node {
        let missing = without(&set(axes.iter().copied()), self.axes(x));
        if missing.is_empty() { x } else { self.push(Op::Broadcast(missing), &[x], DType::Bool) }
    }

    /// The value read through a map. Axes that the map mentions and the value keeps are added to the map.
    pub fn view(&mut self, x: Node, mut map: IndexMap) -> Node {
        let kept = without(self.axes(x), &map.named());
        for axis in common(&kept, &map.mentioned()) {
            map.at.push((axis, Index::axis(axis)));
        }
        map.at.sort_by_key(|(axis, _)| *axis);
        if map.at.is_empty() {
            return x;
        }
        self.push(Op::View(map), &[x], DType::Bool)
    }

    /// The value with axes `to` in place of `from`. Pairs whose axis the value does not have are ignored.
    pub fn rename(&mut self, x: Node, pairs: &[(Axis, Axis)]) -> Node {
        let own = |(from, to): &&(Axis, Axis)| from != to && self.axes(x).contains(from);
        let pairs: SmallVec<[(Axis, Axis); 4]> = pairs.iter().filter(own).copied().collect();
        self.view(x, IndexMap::rename(&pairs))
    }

    /// The transpose of the view with this map. Axes that the map mentions and the value lacks are added to the value.
    pub fn fold(&mut self, x: Node, map: IndexMap) -> Node {
        let x = self.broadcast(x, &map.mentioned());
        self.push_computed(Op::Fold(map), x, &[])
    }

    /// `x` read along `axis` at `index`.
    pub fn gather(&mut self, x: Node, axis: Axis, index: Node) -> Node {
        if self.bound().contains(&axis) {
            // The whole of a bound axis needs another name inside of its scan.
            let whole = self.fresh(axis);
            let x = self.rename(x, &[(axis, whole)]);
            return self.push(Op::Gather { axis: whole }, &[x, index], DType::Bool);
        }
        self.push(Op::Gather { axis }, &[x, index], DType::Bool)
    }

    /// Combines the entries of `values` whose `index` is the same; `over` vanishes, `into` is new.
    pub fn scatter(&mut self, op: Reducer, values: Node, index: Node, over: &[Axis], into: Axis) -> Node {
        let over = set(over.iter().copied());
        self.push_computed(Op::Scatter { op, into, over }, values, &[index])
    }

    /// The entries of `x` along `axis` in order; `into` is the new axis.
    pub fn sort(&mut self, what: Sorted, x: Node, axis: Axis, into: Axis, descending: bool) -> Node {
        self.push_computed(Op::Sort { what, axis, into, descending }, x, &[])
    }

    // The rest

    pub fn stop_gradient(&mut self, x: Node) -> Node {
        self.push(Op::StopGradient, &[x], DType::Bool)
    }

    /// `y` with the derivatives `pulled` by `wrt`, which are linear in `cotangent`, an alias with the axes of `y`.
    pub fn custom(&mut self, y: Node, cotangent: Node, wrt: &[Node], pulled: &[Node]) -> Node {
        let args: Vec<Node> = [y, cotangent].iter().chain(wrt).chain(pulled).copied().collect();
        self.push(Op::Custom, &args, DType::Bool)
    }

    pub fn alias(&mut self, x: Node) -> Node {
        self.push(Op::Alias, &[x], DType::Bool)
    }

    pub fn project(&mut self, tuple: Node, index: usize) -> Node {
        self.push(Op::Project(index as u32), &[tuple], DType::Bool)
    }

    /// A group of the nodes that `body` appends; gives the group's results from those of `body`.
    pub fn fused(&mut self, body: impl FnOnce(&mut Builder) -> Vec<Node>) -> Vec<Node> {
        let region = self.graph.regions.push(RegionData::default());
        self.open.push(Open { region, bound: None, kept: false, sealed: true });
        let results = body(self);
        let count = results.len();
        self.graph.regions[region].results = results;
        self.open.pop();
        let group = self.push(Op::Fused(region), &[], DType::Bool);
        (0..count).map(|k| self.project(group, k)).collect()
    }

    /// Opens the body of a scan along `axis` and gives the carries inside, which have the types of their first values.
    /// A carry that turns out to have more axes than its first value gets them at the end.
    pub fn begin_scan(&mut self, axis: Axis, first: &[Node]) -> Vec<Node> {
        assert!(!self.bound().contains(&axis), "an outer scan has bound this axis already");
        let types: Vec<(AxisSet, DType)> =
            first.iter().map(|n| (self.axes(*n).clone(), self.dtype(*n))).collect();
        self.begin_scan_of(axis, &types)
    }

    /// As `begin_scan`, where the first values are not yet known.
    pub fn begin_scan_of(&mut self, axis: Axis, types: &[(AxisSet, DType)]) -> Vec<Node> {
        let region = self.graph.regions.push(RegionData::default());
        let mut params = Vec::with_capacity(types.len());
        for (axes, dtype) in types {
            let data = NodeData {
                op: Op::Carry(params.len() as u32),
                args: SmallVec::new(),
                dtype: *dtype,
                axes: without(axes, &[axis]),
                span: self.span,
            };
            let node = self.graph.nodes.push(data);
            self.home[node] = Home(Some(region));
            params.push(node);
        }
        self.graph.regions[region].params = params.clone();
        self.open.push(Open { region, bound: Some(axis), kept: false, sealed: false });
        params
    }

    /// As `begin_scan_of`, for a body that derivatives compute again.
    pub fn begin_recomputed(&mut self, axis: Axis, types: &[(AxisSet, DType)]) -> Vec<Node> {
        let carries = self.begin_scan_of(axis, types);
        self.open.last_mut().expect("opened just now").kept = true;
        carries
    }

    /// Opens the body of a loop that runs like another one.
    pub fn begin_scan_like(&mut self, scan: &Scan, types: &[(AxisSet, DType)]) -> Vec<Node> {
        match scan.recompute {
            true => self.begin_recomputed(scan.axis, types),
            false => self.begin_scan_of(scan.axis, types),
        }
    }

    /// Closes the body that `begin_scan` opened and appends the scan: `first` are the carries' first values, `next` their next ones.
    pub fn end_scan(&mut self, reverse: bool, first: &[Node], next: &[Node], yields: &[Node]) -> ScanResults {
        let body = self.open.last().expect("the root is never closed").region;
        let axis = self.open.last().and_then(|open| open.bound).expect("the innermost region is no scan");
        let params = self.graph.regions[body].params.clone();
        assert!(params.len() == first.len() && params.len() == next.len(), "as many values as carries");
        self.widen(body, &params, first, next);
        let mut results = Vec::with_capacity(next.len() + yields.len());
        for (param, next) in params.iter().zip(next) {
            let axes = self.axes(*param).clone();
            results.push(self.broadcast_here(*next, &axes));
        }
        results.extend_from_slice(yields);
        self.graph.regions[body].results = results;
        let recompute = self.open.pop().is_some_and(|open| open.kept);

        let first: Vec<Node> = (first.iter().zip(&params))
            .map(|(first, param)| {
                let axes = self.axes(*param).clone();
                self.broadcast_here(*first, &axes)
            })
            .collect();
        let op = Op::Scan(Scan { axis, reverse, recompute, body, carries: params.len() });
        let scan = self.push(op, &first, DType::Bool);
        let carries = (0..params.len()).map(|k| self.project(scan, k)).collect();
        let yields = (0..yields.len()).map(|k| self.project(scan, params.len() + k)).collect();
        ScanResults { scan, carries, yields }
    }

    /// Takes a scan of the region that is being filled out of it, with its components, which nothing reads.
    pub fn forget(&mut self, scan: Node) {
        let region = self.region();
        let Builder { graph, .. } = self;
        let nodes = &graph.nodes;
        let of_it = |node: &Node| {
            *node == scan || matches!(nodes[*node].op, Op::Project(_)) && nodes[*node].args[0] == scan
        };
        graph.regions[region].nodes.retain(|node| !of_it(node));
    }

    /// Gives carries the axes that their first and next values have, until nothing changes.
    fn widen(&mut self, body: Region, params: &[Node], first: &[Node], next: &[Node]) {
        let bound = self.bound();
        loop {
            let mut changed = false;
            for ((param, first), next) in params.iter().zip(first).zip(next) {
                let wanted = without(&union(self.axes(*first), self.axes(*next)), &bound);
                let axes = union(self.axes(*param), &wanted);
                changed |= axes != *self.axes(*param);
                self.graph.nodes[*param].axes = axes;
            }
            if !changed {
                return;
            }
            self.infer_again(body);
        }
    }

    /// Applies the shape rules of a region once more, after what it reads has got more axes.
    pub(crate) fn infer_again(&mut self, region: Region) {
        for at in 0..self.graph.regions[region].nodes.len() {
            let node = self.graph.regions[region].nodes[at];
            let data = &self.graph.nodes[node];
            if let Op::Scan(scan) = data.op.clone() {
                let first = data.args.to_vec();
                let RegionData { params, results, .. } = self.graph.regions[scan.body].clone();
                let clash = first.iter().any(|first| self.axes(*first).contains(&scan.axis));
                assert!(!clash, "a carry got the axis of a scan that starts from it");
                self.open_again(scan.body, scan.axis);
                self.infer_again(scan.body);
                self.widen(scan.body, &params, &first, &results[..scan.carries]);
                for (k, param) in params.iter().enumerate() {
                    let axes = self.axes(*param).clone();
                    let next = self.broadcast_here(results[k], &axes);
                    self.graph.regions[scan.body].results[k] = next;
                }
                self.close();
                // The first values need the axes before the scan that reads them.
                let (mut args, mut fresh) = (first, Vec::new());
                for (arg, param) in args.iter_mut().zip(&params) {
                    let missing = without(&without(self.axes(*param), self.axes(*arg)), &self.bound());
                    if !missing.is_empty() {
                        let data = &self.graph.nodes[*arg];
                        let axes = union(&data.axes, &missing);
                        let data = NodeData {
                            op: Op::Broadcast(missing),
                            args: [*arg].into_iter().collect(),
                            axes,
                            ..*data
                        };
                        *arg = self.graph.nodes.push(data);
                        self.home[*arg] = Home(Some(region));
                        fresh.push(*arg);
                    }
                }
                self.graph.nodes[node].args = args.into();
                self.graph.regions[region].nodes.splice(at..at, fresh);
                continue;
            }
            let data = &self.graph.nodes[node];
            let shape = self.shape(&data.op, &data.args, data.dtype);
            self.graph.nodes[node].axes = shape.axes;
        }
    }

    /// As `broadcast`, but without axes that are bound.
    fn broadcast_here(&mut self, x: Node, axes: &[Axis]) -> Node {
        let axes = without(axes, &self.bound());
        self.broadcast(x, &axes)
    }

    /// Makes the value have exactly these axes, but for bound ones: sums over those too many, repeats along the missing ones.
    pub fn fit(&mut self, x: Node, axes: &[Axis]) -> Node {
        let bound = self.bound();
        let excess = without(&without(self.axes(x), axes), &bound);
        let x = self.sum(x, &excess);
        self.broadcast_here(x, axes)
    }

    // Placement

    /// Opens the body of a scan that stands already. Nothing that is appended until `close` leaves it.
    pub fn open_again(&mut self, body: Region, axis: Axis) {
        self.open.push(Open { region: body, bound: Some(axis), kept: false, sealed: true });
    }

    /// Closes what `open_again` opened.
    pub fn close(&mut self) {
        let open = self.open.pop();
        assert!(open.is_some_and(|open| open.sealed), "only a body that was opened again is closed so");
    }

    /// The region that is being filled.
    pub fn region(&self) -> Region {
        self.open[self.open.len() - 1].region
    }

    /// The region in whose list, or among whose parameters, a node stands.
    pub fn home(&self, node: Node) -> Region {
        self.home[node].0.expect("the node belongs to a region")
    }

    /// For surgery on regions (autodiff moves nodes and appends results).
    pub(crate) fn graph_mut(&mut self) -> &mut Graph {
        &mut self.graph
    }

    pub(crate) fn set_home(&mut self, node: Node, region: Region) {
        self.home[node] = Home(Some(region));
    }

    /// Appends a node; `dtype` counts only where the arguments do not fix it.
    pub fn push(&mut self, op: Op, args: &[Node], dtype: DType) -> Node {
        let shape = self.shape(&op, args, dtype);
        let here = self.open.len() - 1;
        let sealed = self.open.iter().rposition(|open| open.sealed).unwrap_or(0);
        let level_of_axis = |axis: &Axis| self.open.iter().position(|open| open.bound == Some(*axis));
        let consumed = op.consumed();
        let outside = consumed.iter().filter_map(level_of_axis).min();
        let of_axes: SmallVec<[usize; 3]> = shape.axes.iter().filter_map(level_of_axis).collect();
        let mut args: SmallVec<[Node; 3]> = args.into();
        let level = match &op {
            Op::Input(_) => 0,
            _ if outside.is_some() => {
                let level = outside.map_or(0, |scan| scan - 1);
                assert!(level >= sealed, "{} would have to leave a closed scan", op.def().name);
                let mut done = HashMap::new();
                for arg in &mut args {
                    *arg = self.hoist(*arg, level, &mut done);
                }
                let of_axes = of_axes.into_iter().filter(|at| *at <= level);
                args.iter().map(|arg| self.level(*arg)).chain(of_axes).fold(sealed, usize::max)
            }
            // A tuple's components stand beside it, scans and new values where they were made.
            Op::Alias | Op::Scan(_) | Op::Fused(_) => here,
            _ => {
                let of_args = args.iter().map(|arg| self.level(*arg)).max().unwrap_or(0);
                let free = matches!(op, Op::View(_) | Op::Broadcast(_) | Op::Project(_));
                let of_axes = if free { None } else { of_axes.into_iter().max() };
                // A view takes no memory: it leaves a body that is computed again, so that a loop around it finds its entries by the
                // loop's axis (a stack's parameters, whose cotangents are then entries, too, and not sums of whole arrays).
                let kept = self.open.iter().rposition(|open| open.kept && !free).unwrap_or(0);
                of_args.max(of_axes.unwrap_or(0)).max(sealed).max(kept)
            }
        };
        self.append(level, NodeData { op, args, dtype: shape.dtype, axes: shape.axes, span: self.span })
    }

    fn append(&mut self, level: usize, data: NodeData) -> Node {
        let region = self.open[level].region;
        let node = self.graph.nodes.push(data);
        self.home[node] = Home(Some(region));
        self.graph.regions[region].nodes.push(node);
        node
    }

    /// The position among the open regions of the one in which a node stands.
    fn level(&self, node: Node) -> usize {
        let home = self.home(node);
        let level = self.open.iter().rposition(|open| open.region == home);
        level.unwrap_or_else(|| panic!("{node:?} stands in a region that is closed"))
    }

    /// The same value in a region at most this far in. There, the axes of the scans further in are not bound: it is the whole of it.
    fn hoist(&mut self, node: Node, level: usize, done: &mut HashMap<Node, Node>) -> Node {
        if self.level(node) <= level {
            return node;
        }
        if let Some(copy) = done.get(&node) {
            return *copy;
        }
        let mut data = self.graph.nodes[node].clone();
        assert!(
            !matches!(data.op, Op::Carry(_) | Op::Scan(_) | Op::Fused(_) | Op::Project(_)),
            "the whole of a scan's axis is read of a value that the scan itself makes"
        );
        for arg in &mut data.args {
            *arg = self.hoist(*arg, level, done);
        }
        let copy = self.append(level, data);
        done.insert(node, copy);
        copy
    }

    fn shape(&self, op: &Op, args: &[Node], dtype: DType) -> Shape {
        let typing = Typing { graph: &self.graph, op, args, dtype };
        (op.def().shape)(&typing).unwrap_or_else(|defect| {
            let args: Vec<String> =
                args.iter().map(|arg| format!("{arg:?}: {:?}", self.graph.nodes[*arg].axes)).collect();
            panic!("{} ({op:?}) of {args:?}: {defect}", op.def().name)
        })
    }
}

impl Graph {
    /// Whether these are the same axes, leaving those aside that are bound.
    pub fn same_axes(a: &[Axis], b: &[Axis], bound: &[Axis]) -> bool {
        is_subset(&without(a, bound), b) && is_subset(&without(b, bound), a)
    }

    /// The number of nodes ever made; ids lie below.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The node with this number.
    pub fn node_at(index: usize) -> Node {
        Node::new(index)
    }
}
