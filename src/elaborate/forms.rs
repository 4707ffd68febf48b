//! What each form of the core becomes.

use std::collections::HashMap;

use cranelift_entity::EntityRef;

use crate::autodiff;
use smallvec::SmallVec;

use crate::check::core::{At, AxisVar, BlockId, Elem, Form, Outside, Val};
use crate::graph::{self, Index, IndexMap, Literal, Node};
use crate::ops::ScalarFn;
use crate::tensor::DType;

use super::segmented::segmented;
use super::{Made, Walk};

impl Walk<'_> {
    /// Makes the nodes of one value, whose arguments are made.
    pub(super) fn make(&mut self, val: Val) {
        if self.nodes.contains_key(&val) {
            return;
        }
        let core = self.core;
        let data = &core.vals[val];
        let before = self.builder.graph().nodes.len();
        self.builder.at(data.place());
        let made = match &data.form {
            Form::Input(index) => Made::One(self.arguments[index]),
            Form::Param(index) => Made::One(self.params[index]),
            Form::State(index) => Made::One(self.states[index]),
            Form::Carry(..) => unreachable!("a carry is made when its scan is opened"),
            Form::Seed => Made::One(self.seed()),
            Form::Step => Made::One(self.step()),
            Form::Steps => Made::One(self.steps.expect("declared where it is used")),
            Form::Const(literal) => Made::One(self.builder.literal(*literal, data.elem.dtype())),
            Form::Size(dim) => {
                let dim = self.dim(dim);
                Made::One(match dim.as_const() {
                    Some(value) => self.builder.constant(value as f64, data.elem.dtype()),
                    None => self.builder.size(dim, data.elem.dtype()),
                })
            }
            Form::Position(axis) => {
                let axis = self.axis(*axis);
                Made::One(self.builder.position(axis, DType::I32))
            }
            Form::Number(point) => Made::One(self.number(point)),
            Form::Inside(point, axis) => Made::One(self.inside(point, *axis)),
            Form::Scalar(function, args) => Made::One(self.scalar(*function, args, &data.elem)),
            Form::Choice { .. } => unreachable!("a core with undecided conditions is not elaborated"),
            Form::Read { of, at, outside } => Made::One(self.read(*of, at, *outside)),
            Form::Rename { of, to } => {
                let from = core.vals[*of].visible.clone();
                let node = self.node(*of);
                let (from, to) = (self.axes(&from), self.axes(to));
                let pairs: Vec<_> = from.into_iter().zip(to).collect();
                Made::One(self.builder.rename(node, &pairs))
            }
            Form::AsIndex(of) => {
                let node = self.node(*of);
                Made::One(self.cast(node, DType::I32))
            }
            Form::Reshape(of) => Made::One(self.reshape(*of, &data.visible)),
            Form::Tabulate { body, .. } => Made::One(self.node(*body)),
            Form::Concat { parts, position } => {
                Made::One(self.concat(parts, *position, data.visible[*position]))
            }
            Form::Reduce { op, over, guard, body } => Made::One(self.reduce(*op, over, *guard, *body)),
            Form::Sort { of, axis, into, what, descending } => {
                let node = self.node(*of);
                let (axis, into) = (self.axis(*axis), self.axis(*into));
                let wide = self.builder.broadcast(node, &[axis]);
                Made::One(self.builder.sort(*what, wide, axis, into, *descending))
            }
            Form::Random { draw, site, ambient } => {
                let order: Vec<_> =
                    ambient.iter().chain(&data.visible).map(|&axis| self.axis(axis)).collect();
                let (seed, step) = (self.seed(), self.step());
                Made::One(self.builder.random(*draw, *site, &order, seed, step, data.elem.dtype()))
            }
            Form::Alias { of, ambient } => {
                let node = self.node(*of);
                let axes = self.all_axes(ambient, *of);
                let wide = self.builder.broadcast(node, &axes);
                Made::One(self.builder.alias(wide))
            }
            Form::StopGradient(of) => {
                let node = self.node(*of);
                Made::One(self.builder.stop_gradient(node))
            }
            Form::Gradients { of, wrt } => {
                let y = self.node(*of);
                let wrt: Vec<Node> = wrt.iter().map(|&val| self.node(val)).collect();
                let (axes, dtype) = (self.builder.axes(y).clone(), self.builder.dtype(y));
                let one = self.builder.filled(1.0, dtype, &axes);
                Made::Tuple(autodiff::vjp(&mut self.builder, y, &wrt, one))
            }
            Form::Cotangent { like, ambient } => {
                let axes = self.all_axes(ambient, *like);
                let zeros = self.builder.filled(0.0, data.elem.dtype(), &axes);
                Made::One(self.builder.alias(zeros))
            }
            Form::Custom { of, cotangent, wrt, pulled, ambient } => {
                let axes = self.all_axes(ambient, *of);
                let [y, g] = [*of, *cotangent].map(|val| self.node(val));
                let y = self.builder.broadcast(y, &axes);
                let g = self.builder.fit(g, &self.builder.axes(y).clone());
                let wrt: Vec<Node> = wrt.iter().map(|&val| self.node(val)).collect();
                let pulled: Vec<Node> = pulled.iter().map(|&val| self.node(val)).collect();
                Made::One(self.builder.custom(y, g, &wrt, &pulled))
            }
            Form::Tangent { of, wrt, along } => {
                let y = self.node(*of);
                let wrt: Vec<Node> = wrt.iter().map(|&val| self.node(val)).collect();
                let along: Vec<Node> = along.iter().map(|&val| self.node(val)).collect();
                Made::One(autodiff::jvp(&mut self.builder, y, &wrt, &along))
            }
            Form::Component { of, index } => match &self.nodes[of] {
                Made::Tuple(nodes) => Made::One(nodes[*index]),
                Made::One(node) => Made::One(*node),
            },
            Form::Scan { axis, reverse, inits, body } => {
                let axis = self.axis(*axis);
                // A carry has all its visible axes from the start, since the body may read it at an index.
                let first: Vec<Node> = inits.iter().map(|&init| self.with_visible(init)).collect();
                Made::Tuple(self.scan(val, axis, *reverse, &first, *body))
            }
            Form::Checkpoint { body } => Made::Tuple(self.checkpoint(*body)),
            Form::Assume { of, .. } => Made::One(self.node(*of)),
        };
        for index in before..self.builder.graph().nodes.len() {
            self.origins[Node::new(index)].get_or_insert(val);
        }
        self.nodes.insert(val, made);
    }

    fn scan(
        &mut self,
        val: Val,
        axis: graph::Axis,
        reverse: bool,
        first: &[Node],
        body: BlockId,
    ) -> Vec<Node> {
        let block = &self.core.blocks[body];
        let carries = self.builder.begin_scan(axis, first);
        let mut inside = Vec::new();
        for &val in &block.vals {
            if let Form::Carry(of, index) = self.core.vals[val].form {
                debug_assert_eq!(of, body);
                self.nodes.insert(val, Made::One(carries[index]));
            } else if self.needed.contains(&val) {
                inside.push(val);
            }
        }
        self.make_all(&inside);
        let results: Vec<Node> = block.results.iter().map(|&val| self.node(val)).collect();
        let (next, yields) = results.split_at(first.len());
        // A yield is an entry at every step, also where it does not depend on it.
        let scan = self.builder.end_scan(reverse, first, next, yields);
        if let Some(&segments) = self.placement.segments.get(&val) {
            let made = segmented(&mut self.builder, scan.scan, segments);
            self.builder.forget(scan.scan);
            return made;
        }
        scan.carries.into_iter().chain(scan.yields).collect()
    }

    /// Makes values of one block, in order: those of a run in a checkpoint.
    pub(super) fn make_all(&mut self, vals: &[Val]) {
        let mut at = 0;
        while let Some(&val) = vals.get(at) {
            match self.placement.runs.get(&val) {
                Some(&last) => {
                    let run = vals[at..].iter().take_while(|&&val| val <= last).count();
                    self.run(&vals[at..at + run], last);
                    at += run;
                }
                None => {
                    self.make(val);
                    at += 1;
                }
            }
        }
    }

    /// A run of values in a checkpoint. What is read behind it leaves.
    fn run(&mut self, vals: &[Val], last: Val) {
        let axis = self.builder.axis("once", 1.into());
        self.builder.begin_recomputed(axis, &[]);
        vals.iter().for_each(|&val| self.make(val));
        let inside = self.builder.region();
        let leaves = |walk: &Self, val: Val| {
            walk.given.contains(&val) || walk.last_reader.get(&val).is_some_and(|&reader| reader > last)
        };
        // What was placed outside, such as a view of a parameter, is there already.
        let mut leaving: Vec<Node> = Vec::new();
        for &val in vals.iter().filter(|&&val| leaves(self, val)) {
            let made: &[Node] = match &self.nodes[&val] {
                Made::One(node) => std::slice::from_ref(node),
                Made::Tuple(nodes) => nodes,
            };
            leaving.extend(made.iter().copied().filter(|&node| self.builder.home(node) == inside));
        }
        leaving.sort_unstable();
        leaving.dedup();
        let outside: HashMap<Node, Node> =
            leaving.iter().copied().zip(self.end_checkpoint(axis, &leaving)).collect();
        for val in vals {
            let behind = |node: &mut Node| *node = outside.get(node).copied().unwrap_or(*node);
            match self.nodes.get_mut(val) {
                Some(Made::One(node)) => behind(node),
                Some(Made::Tuple(nodes)) => nodes.iter_mut().for_each(behind),
                None => {}
            }
        }
    }

    /// A loop of one turn, whose body is computed again where a derivative needs it.
    fn checkpoint(&mut self, body: BlockId) -> Vec<Node> {
        let block = &self.core.blocks[body];
        let axis = self.builder.axis("once", 1.into());
        self.builder.begin_recomputed(axis, &[]);
        let inside: Vec<Val> = block.vals.iter().copied().filter(|val| self.needed.contains(val)).collect();
        self.make_all(&inside);
        let results: Vec<Node> = block.results.iter().map(|&val| self.node(val)).collect();
        self.end_checkpoint(axis, &results)
    }

    /// Closes a loop of one turn; gives what leaves it.
    fn end_checkpoint(&mut self, axis: graph::Axis, results: &[Node]) -> Vec<Node> {
        let made = self.builder.end_scan(false, &[], &[], results);
        let first = IndexMap::new([(axis, Index::Affine(graph::Affine::constant(0)))], graph::Outside::Never);
        made.yields.into_iter().map(|node| self.builder.view(node, first.clone())).collect()
    }

    /// The axes of a value and of the scope in which it stands, but for those that loops around have bound.
    fn all_axes(&mut self, ambient: &[AxisVar], val: Val) -> SmallVec<[graph::Axis; 4]> {
        let mut axes = self.axes(ambient);
        axes.extend(self.axes(&self.core.vals[val].visible));
        let bound = self.builder.bound();
        axes.retain(|axis| !bound.contains(axis));
        axes
    }

    /// A value's node with every visible axis, also those along which it is the same.
    fn with_visible(&mut self, val: Val) -> Node {
        let node = self.node(val);
        let axes = self.axes(&self.core.vals[val].visible);
        self.builder.broadcast(node, &axes)
    }

    pub(super) fn cast(&mut self, node: Node, dtype: DType) -> Node {
        if self.builder.dtype(node) == dtype { node } else { self.builder.cast(node, dtype) }
    }

    fn scalar(&mut self, function: ScalarFn, args: &[Val], elem: &Elem) -> Node {
        let nodes: Vec<Node> = args.iter().map(|&arg| self.node(arg)).collect();
        match function {
            ScalarFn::Cast(_) => self.cast(nodes[0], elem.dtype()),
            _ => self.builder.map(function, &nodes),
        }
    }

    fn read(&mut self, of: Val, at: &[At], outside: Outside) -> Node {
        let visible = self.core.vals[of].visible.clone();
        let mut node = self.node(of);
        let mut map = IndexMap::default();
        for (&axis, at) in visible.iter().zip(at) {
            let axis = self.axis(axis);
            // A value that is the same along an axis is the same at any index inside of it.
            if !self.builder.axes(node).contains(&axis) {
                if outside == Outside::Never || !matches!(at, At::Point(_)) {
                    continue;
                }
                node = self.builder.broadcast(node, &[axis]);
            }
            if let At::Point(point) = at {
                let index = self.index(point);
                map.at.push((axis, index));
            }
        }
        if outside == Outside::Zero {
            map.outside = graph::Outside::Zero;
        }
        node = self.builder.view(node, map);
        for (&axis, at) in visible.iter().zip(at) {
            let axis = self.axis(axis);
            if let At::Entry(index) = at
                && self.builder.axes(node).contains(&axis)
            {
                let index = self.node(*index);
                node = self.builder.gather(node, axis, index);
            }
        }
        node
    }

    /// Joins parts: each is read at a shifted index, and the place decides which one counts.
    fn concat(&mut self, parts: &[Val], position: usize, joined: crate::check::core::AxisVar) -> Node {
        let joined = self.axis(joined);
        let place = self.builder.position(joined, DType::I32);
        let mut start = crate::axes::Dim::constant(0);
        let mut pieces = Vec::new();
        for &part in parts {
            let axis = self.core.vals[part].visible[position];
            let own = self.axis(axis);
            let node = self.node(part);
            let node = self.builder.broadcast(node, &[own]);
            let offset = crate::axes::Dim::constant(0).sub(&start).expect("checked with the concatenation");
            let index = Index::Affine(graph::Affine {
                constant: offset,
                terms: [(joined, crate::axes::Dim::constant(1))].into_iter().collect(),
            });
            let map = IndexMap { at: [(own, index)].into_iter().collect(), outside: graph::Outside::Zero };
            let size = self.dim(&self.core.size(axis));
            start = start.add(&size).expect("checked with the concatenation");
            pieces.push((self.builder.view(node, map), start.clone()));
        }
        let (mut result, _) = pieces.pop().expect("a concatenation has parts");
        for (piece, end) in pieces.into_iter().rev() {
            let end = match end.as_const() {
                Some(end) => self.builder.literal(Literal::Int(end), DType::I32),
                None => self.builder.size(end, DType::I32),
            };
            let before = self.builder.map(ScalarFn::Lt, &[place, end]);
            result = self.builder.select(before, piece, result);
        }
        result
    }
}
