//! `phases`: the transpose of a stride without the zeros between its entries.
//!
//! A sum of products that reads `g[(i + p - a) / s]` where s divides it, and zero elsewhere, over taps a, is s sums of its own: those of the
//! places `i = s·i' + r` need the taps `a = s·a' + t(r)` alone and read `g[i' - a' + …]`. So the phase r becomes an axis beside i', the taps
//! that a phase lacks are zeros, and the result is read at `(i / s, i % s)`: of s² products in two dimensions about one is left. With a single
//! tap the products are those of g's own places, and the result is what is read where s divides.
//!
//! Where the sum runs over i, as in the gradient of the taps, it is a sum over g's own places u: the other operand is read at `i = s·u + a - p`.

use smallvec::SmallVec;

use super::contraction::products;
use crate::axes::Dim;
use crate::graph::sets::{union, without};
use crate::graph::{
    Axis, AxisData, AxisSet, Graph, Index, IndexMap, Node, NodeData, Op, Outside, Reducer, Region,
};
use crate::ops::ScalarFn;

/// Takes the sums of products of all regions apart by the phases of the strides that they transpose.
pub fn phases(mut graph: Graph) -> Graph {
    let root = graph.root;
    region(&mut graph, root, &mut Vec::new());
    graph
}

fn region(graph: &mut Graph, region_: Region, bound: &mut Vec<Axis>) {
    let mut at = 0;
    while let Some(&node) = graph.regions[region_].nodes.get(at) {
        if let Op::Scan(scan) = &graph.nodes[node].op {
            let (axis, body) = (scan.axis, scan.body);
            bound.push(axis);
            region(graph, body, bound);
            bound.pop();
        }
        if let Some(found) = find(graph, node, bound) {
            let new = found.write(graph, node);
            at += new.len();
            let nodes = &mut graph.regions[region_].nodes;
            let place = at - new.len();
            nodes.splice(place..place, new);
        }
        at += 1;
    }
}

/// A sum of products of `strided`, a view that divides, and `other`, which has the taps.
struct Transposed {
    strided: Node,
    other: Node,
    map: IndexMap,
    strides: Vec<Stride>,
}

/// `(i + p - a) / s` as the index of an axis.
struct Stride {
    axis: Axis,
    /// i, of the result or of the sum.
    kept: Axis,
    /// Whether the sum runs over i.
    summed: bool,
    /// a and how many there are, where it is an axis.
    tap: Option<(Axis, i64)>,
    /// p
    offset: i64,
    /// s
    by: i64,
}

fn find(graph: &Graph, node: Node, bound: &[Axis]) -> Option<Transposed> {
    let roles = products(graph, node, &|axis| bound.contains(&axis))?;
    [(roles.a, roles.b), (roles.b, roles.a)].into_iter().find_map(|(strided, other)| {
        let Op::View(map) = &graph.nodes[strided].op else { return None };
        let of_other = &graph.nodes[other].axes;
        let mut strides = Vec::new();
        for (axis, index) in &map.at {
            let Some(mut stride) = stride(graph, *axis, index) else { continue };
            let alone = |axis: Axis| {
                !graph.nodes[map_argument(graph, strided)].axes.contains(&axis)
                    && map.at.iter().filter(|(_, index)| index.mentions(axis)).count() == 1
            };
            let fits = roles.batch.iter().chain(&roles.n).chain(&roles.m).any(|own| *own == stride.kept)
                && !of_other.contains(&stride.kept)
                && stride.has_affine_phases()
                && alone(stride.kept)
                && stride
                    .tap
                    .is_none_or(|(tap, _)| roles.k.contains(&tap) && of_other.contains(&tap) && alone(tap));
            stride.summed = roles.k.contains(&stride.kept)
                && of_other.contains(&stride.kept)
                && alone(stride.kept)
                && stride.tap.is_none_or(|(tap, _)| !of_other.contains(&tap) && alone(tap));
            if fits || stride.summed {
                strides.push(stride);
            }
        }
        let map = map.clone();
        (map.outside == Outside::Zero && !strides.is_empty()).then_some(Transposed {
            strided,
            other,
            map,
            strides,
        })
    })
}

fn map_argument(graph: &Graph, view: Node) -> Node {
    graph.nodes[view].args[0]
}

/// The index as that of a transposed stride.
fn stride(graph: &Graph, axis: Axis, index: &Index) -> Option<Stride> {
    let Index::Sum(parts) = index else { return None };
    let [(one, Index::Div(sum, by)), (_, Index::Rem(same, divisor))] = &parts[..] else { return None };
    if one.as_const() != Some(1) || sum != same || by != divisor {
        return None;
    }
    let (sum, by) = (sum.as_affine()?, by.as_const().filter(|by| *by > 1)?);
    let (mut kept, mut tap) = (None, None);
    for (axis, factor) in &sum.terms {
        match factor.as_const()? {
            1 if kept.is_none() => kept = Some(*axis),
            -1 if tap.is_none() => tap = Some((*axis, graph.axes[*axis].size.as_const()?)),
            _ => return None,
        }
    }
    let offset = sum.constant.as_const()?;
    Some(Stride { axis, kept: kept?, summed: false, tap, offset, by })
}

impl Stride {
    /// Whether the taps of a phase, and what it reads, are affine in its number.
    fn has_affine_phases(&self) -> bool {
        let single = self.tap.is_none_or(|(_, count)| count == 1);
        single || self.by == 2 || self.offset.rem_euclid(self.by) == 0
    }
}

impl Transposed {
    /// Makes the node a view of a sum over phases; returns the new nodes, which stand before it.
    fn write(self, graph: &mut Graph, node: Node) -> Vec<Node> {
        let Op::Reduce { over, .. } = graph.nodes[node].op.clone() else {
            unreachable!("a contraction reduces")
        };
        let (mut over, mut strided, mut other) = (over, self.map.clone(), Vec::new());
        let mut result = Vec::new();
        for stride in &self.strides {
            strided.at.retain(|(axis, _)| *axis != stride.axis);
            if stride.summed {
                let place = graph.axes.push(graph.axes[stride.axis].clone());
                strided.at.push((stride.axis, Index::axis(place)));
                let tap = stride.tap.map(|(tap, _)| (Dim::constant(1), Index::axis(tap)));
                let start = (Dim::constant(-stride.offset), Index::constant(1));
                let parts = [(Dim::constant(stride.by), Index::axis(place)), start].into_iter().chain(tap);
                other.push((stride.kept, Index::sum(parts).expect("small numbers")));
                over = union(&without(&over, &[stride.kept]), &[place]);
                continue;
            }
            match stride.tap {
                Some((tap, taps)) if taps != 1 => {
                    let by = Dim::constant(stride.by);
                    let count = (taps + stride.by - 1) / stride.by;
                    let name = graph.axes[stride.kept].name.clone();
                    let rest = Dim::constant(stride.by - 1);
                    let places = graph.axes[stride.kept].size.add(&rest).and_then(|size| size.div(&by));
                    let places = places.expect("no more places than there were");
                    let mut axis = |size: Dim| graph.axes.push(AxisData { name: name.clone(), size });
                    let (place, phase, step) = (axis(places), axis(by.clone()), axis(Dim::constant(count)));
                    // With an odd offset and s = 2, phase 0 has the odd taps, and phase 1 reads one further.
                    let odd = stride.offset.rem_euclid(stride.by) != 0;
                    let affine = |constant: i64, terms: &[(Axis, i64)]| {
                        let terms =
                            terms.iter().map(|(axis, factor)| (Dim::constant(*factor), Index::axis(*axis)));
                        let constant = (Dim::constant(1), Index::constant(constant));
                        Index::sum(terms.chain([constant])).expect("small numbers")
                    };
                    let whole = stride.offset.div_euclid(stride.by);
                    let further = if odd { 1 } else { 0 };
                    let reads = [(place, 1), (phase, further), (step, -1)];
                    strided.at.push((stride.axis, affine(whole, &reads[..])));
                    let (first, down) = if odd { (1, -1) } else { (0, 1) };
                    other.push((tap, affine(first, &[(step, stride.by), (phase, down)])));
                    result.push((place, Index::axis(stride.kept).div(&by)));
                    result.push((phase, Index::axis(stride.kept).rem(&by)));
                    over = union(&without(&over, &[tap]), &[step]);
                }
                tap => {
                    // The sum runs over the single tap still, for the other operand has it.
                    let index = self.map.get(stride.axis).expect("the index of the stride").clone();
                    let zero = |axis: Axis| match tap {
                        Some((tap, _)) if axis == tap => Some(Index::constant(0)),
                        _ => None,
                    };
                    let size = |axis: Axis| graph.axes[axis].size.clone();
                    let index = index.substitute(&zero, &size).expect("zero instead of an axis");
                    result.push((stride.axis, index));
                }
            }
        }
        let mut new = Vec::new();
        let from = map_argument(graph, self.strided);
        let strided = view(graph, from, inside(graph, strided.at), &mut new);
        let other = view(graph, self.other, inside(graph, other.into()), &mut new);
        let data = graph.nodes[node].clone();
        let axes = union(&graph.nodes[strided].axes, &graph.nodes[other].axes);
        let args = [strided, other].into_iter().collect();
        let product = NodeData { op: Op::Map(ScalarFn::Mul), args, axes: axes.clone(), ..data.clone() };
        let product = graph.nodes.push(product);
        new.push(product);
        let sum = NodeData {
            op: Op::Reduce { op: Reducer::Sum, over: over.clone() },
            args: [product].into_iter().collect(),
            axes: without(&axes, &over),
            ..data
        };
        if result.is_empty() {
            graph.nodes[node] = sum;
            return new;
        }
        let sum = graph.nodes.push(sum);
        new.push(sum);
        graph.nodes[node].op = Op::View(inside(graph, result.into()));
        graph.nodes[node].args = [sum].into_iter().collect();
        new
    }
}

/// The map, which reads zero outside, or never does where that is plain.
fn inside(graph: &Graph, at: SmallVec<[(Axis, Index); 2]>) -> IndexMap {
    let size = |axis: Axis| graph.axes[axis].size.clone();
    let lies = |(axis, index): &(Axis, Index)| {
        let end = size(*axis);
        match index {
            Index::Affine(sum) => sum.lies_below(&end, &size),
            Index::Div(sum, by) => {
                let end = end.mul(by);
                sum.as_affine().zip(end.ok()).is_some_and(|(sum, end)| sum.lies_below(&end, &size))
            }
            Index::Rem(_, by) => *by == end,
            Index::Sum(_) => false,
        }
    };
    let outside = if at.iter().all(lies) { Outside::Never } else { Outside::Zero };
    IndexMap::new(at, outside)
}

/// A view of a node, or the node itself where nothing changes.
fn view(graph: &mut Graph, node: Node, map: IndexMap, new: &mut Vec<Node>) -> Node {
    if map.at.is_empty() {
        return node;
    }
    let data = graph.nodes[node].clone();
    let axes: AxisSet = union(&without(&data.axes, &map.named()), &map.mentioned());
    let data = NodeData { op: Op::View(map), args: [node].into_iter().collect(), axes, ..data };
    let view = graph.nodes.push(data);
    new.push(view);
    view
}
