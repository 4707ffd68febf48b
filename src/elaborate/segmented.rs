//! Loops in segments: only what enters each segment is stored for derivatives, which compute a segment again before they go through it.
//!
//! A loop of n turns becomes one over its segments, with a checkpoint around a loop over the turns of a segment, and behind it the turns
//! of the last segment, which need not be computed again: a derivative begins with them. The same values are computed in the same order
//! from the same draws. It must be done before derivatives are taken.

use std::collections::HashMap;

use smallvec::{SmallVec, smallvec};

use crate::axes::Dim;
use crate::graph::sets::without;
use crate::graph::walk::all_nodes;
use crate::graph::{
    Affine, Axis, AxisSet, Builder, Index, IndexMap, Node, Op, Outside, Region, RegionData, Scan,
};
use crate::ops::ScalarFn;
use crate::tensor::DType;

/// How a loop of `n` turns is cut: `count` segments of `length` turns, and the rest, of at most `length`, behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    pub count: i64,
    pub length: i64,
    pub rest: i64,
}

impl Segments {
    /// Segments of about this length. Where the turns draw random numbers, all have one length, a divisor of `turns`: the numbers are
    /// keyed by the turn's place among all. `None` where nothing would be computed again.
    pub fn of(turns: i64, length: i64, draws: bool) -> Option<Segments> {
        if length < 1 || turns <= length {
            return None;
        }
        if draws {
            let length = (1..=length).rev().find(|length| turns % length == 0)?;
            return Some(Segments { count: turns / length, length, rest: 0 });
        }
        let count = (turns - 1) / length;
        Some(Segments { count, length, rest: turns - count * length })
    }
}

/// Whether a loop's turns draw random numbers, each its own.
pub(super) fn draws(b: &Builder, scan: &Scan) -> bool {
    let nodes = all_nodes(b.graph(), scan.body);
    nodes.into_iter().any(|node| matches!(b.op(node), Op::Random { order, .. } if order.contains(&scan.axis)))
}

/// Appends the loop in segments. Gives the final carries, then the yields, with the loop's own axis.
pub(super) fn segmented(b: &mut Builder, node: Node, segments: Segments) -> Vec<Node> {
    let Op::Scan(scan) = b.op(node).clone() else { unreachable!("a loop") };
    let first: SmallVec<[Node; 3]> = b.args(node);
    let name = b.graph().axes[scan.axis].name.clone();
    let Segments { count, length, rest } = segments;
    let segment = b.axis("segment", count.into());
    let turn = b.axis(name.clone(), length.into());
    let before =
        Turn { terms: smallvec![(segment, length), (turn, 1)], offset: 0, order: vec![segment, turn] };
    let last = (rest > 0).then(|| {
        let turn = b.axis(name, rest.into());
        Turn { terms: smallvec![(turn, 1)], offset: count * length, order: vec![turn] }
    });
    let types = carried(b, &scan);
    let mut carries = first.to_vec();
    let mut pieces: Vec<(Vec<Node>, &Turn)> = Vec::new();
    let mut parts: Vec<&Turn> = std::iter::once(&before).chain(&last).collect();
    if scan.reverse {
        parts.reverse();
    }
    for part in parts {
        let yields = if part.offset == 0 {
            let open = b.begin_scan_of(segment, &types);
            let once = b.axis("once", 1.into());
            b.begin_recomputed(once, &[]);
            let (next, yields) = turns(b, &scan, part, turn, &open);
            let leaving: Vec<Node> = next.into_iter().chain(yields).collect();
            let made = b.end_scan(false, &[], &[], &leaving);
            let only = IndexMap::new([(once, Index::constant(0))], Outside::Never);
            let leaving: Vec<Node> = made.yields.into_iter().map(|node| b.view(node, only.clone())).collect();
            let (next, yields) = leaving.split_at(scan.carries);
            let made = b.end_scan(scan.reverse, &carries, next, yields);
            carries = made.carries;
            made.yields
        } else {
            let (next, yields) = turns(b, &scan, part, part.order[0], &carries);
            carries = next;
            yields
        };
        pieces.push((yields, part));
    }
    let results = joined(b, &scan, &pieces, segments);
    carries.into_iter().chain(results).collect()
}

/// The types of a loop's carries, without its axis.
fn carried(b: &Builder, scan: &Scan) -> Vec<(AxisSet, DType)> {
    let params = &b.graph().regions[scan.body].params;
    params.iter().map(|param| (without(b.axes(*param), &[scan.axis]), b.dtype(*param))).collect()
}

/// A loop over a part of the turns; gives its carries and yields.
fn turns(b: &mut Builder, scan: &Scan, part: &Turn, axis: Axis, first: &[Node]) -> (Vec<Node>, Vec<Node>) {
    let types = carried(b, scan);
    let carries = b.begin_scan_of(axis, &types);
    let mut copy = Copy { axis: scan.axis, turn: part, known: HashMap::new() };
    let results = copy.region(b, scan.body, &carries);
    let (next, yields) = results.split_at(scan.carries);
    let made = b.end_scan(scan.reverse, first, next, yields);
    (made.carries, made.yields)
}

/// What the parts yield, along the loop's own axis.
fn joined(b: &mut Builder, scan: &Scan, pieces: &[(Vec<Node>, &Turn)], segments: Segments) -> Vec<Node> {
    let Segments { count, length, rest } = segments;
    let place = Index::axis(scan.axis);
    let outside = if rest > 0 { Outside::Zero } else { Outside::Never };
    let view = |b: &mut Builder, node: Node, turn: &Turn| {
        let map = match (turn.offset, turn.order.as_slice()) {
            (0, [segment, within]) => {
                let by = Dim::constant(length);
                IndexMap::new(
                    [(*segment, place.clone().div(&by)), (*within, place.clone().rem(&by))],
                    outside,
                )
            }
            (offset, order) => {
                let mut index = Affine::axis(scan.axis);
                index.constant = Dim::constant(-offset);
                IndexMap::new([(order[0], Index::Affine(index))], outside)
            }
        };
        b.view(node, map)
    };
    let yields = b.graph().regions[scan.body].results.len() - scan.carries;
    let mut results = Vec::with_capacity(yields);
    for k in 0..yields {
        let mut of_parts = pieces.iter().map(|(yields, turn)| view(b, yields[k], turn)).collect::<Vec<_>>();
        results.push(match of_parts.as_mut_slice() {
            [only] => *only,
            parts => {
                if pieces[0].1.offset != 0 {
                    parts.reverse();
                }
                let position = b.position(scan.axis, DType::I32);
                let end = b.constant((count * length) as f64, DType::I32);
                let before = b.map2(ScalarFn::Lt, position, end);
                b.select(before, parts[0], parts[1])
            }
        });
    }
    results
}

/// Which turn of the loop it is, in the axes of the parts: `Σ factor * axis + offset`.
struct Turn {
    terms: SmallVec<[(Axis, i64); 2]>,
    offset: i64,
    /// The axes, the outermost first.
    order: Vec<Axis>,
}

impl Turn {
    fn index(&self) -> Index {
        let mut terms: SmallVec<[(Axis, Dim); 3]> =
            self.terms.iter().map(|(axis, factor)| (*axis, Dim::constant(*factor))).collect();
        terms.sort_by_key(|(axis, _)| *axis);
        Index::Affine(Affine { constant: Dim::constant(self.offset), terms })
    }

    /// It as a number.
    fn number(&self, b: &mut Builder, dtype: DType) -> Node {
        let mut sum = b.constant(self.offset as f64, dtype);
        for (axis, factor) in &self.terms {
            let (position, factor) = (b.position(*axis, dtype), b.constant(*factor as f64, dtype));
            let scaled = b.mul(position, factor);
            sum = b.add(sum, scaled);
        }
        sum
    }
}

/// The body of a loop once more, at another name of the turn.
struct Copy<'a> {
    /// The loop's axis, which does not exist in the copy.
    axis: Axis,
    turn: &'a Turn,
    known: HashMap<Node, Node>,
}

impl Copy<'_> {
    /// The results of a region whose carries are these.
    fn region(&mut self, b: &mut Builder, region: Region, carries: &[Node]) -> Vec<Node> {
        let RegionData { params, nodes, results } = b.graph().regions[region].clone();
        self.known.extend(params.into_iter().zip(carries.iter().copied()));
        for node in nodes {
            let new = self.node(b, node);
            self.known.insert(node, new);
        }
        results.into_iter().map(|result| self.value(b, result)).collect()
    }

    /// The value in the copy. What comes from outside and has the loop's axis is read at the turn.
    fn value(&mut self, b: &mut Builder, node: Node) -> Node {
        if let Some(known) = self.known.get(&node) {
            return *known;
        }
        let entry = match b.axes(node).contains(&self.axis) {
            true => b.view(node, IndexMap::new([(self.axis, self.turn.index())], Outside::Never)),
            false => node,
        };
        self.known.insert(node, entry);
        entry
    }

    fn node(&mut self, b: &mut Builder, node: Node) -> Node {
        let data = b.graph().nodes[node].clone();
        b.at(data.span);
        let args: SmallVec<[Node; 3]> = data.args.iter().map(|arg| self.value(b, *arg)).collect();
        let axis = self.axis;
        match data.op {
            Op::Position(of) if of == axis => self.turn.number(b, data.dtype),
            Op::View(map) => {
                let sizes = |b: &Builder, of: Axis| b.axis_size(of).clone();
                let at = map.at.iter().filter(|(named, _)| *named != axis).map(|(named, index)| {
                    let replace = |of: Axis| (of == axis).then(|| self.turn.index());
                    let index = index.substitute(&replace, &|of| sizes(b, of));
                    (*named, index.expect("the index had this value before"))
                });
                let map = IndexMap { at: at.collect(), outside: map.outside };
                b.view(args[0], map)
            }
            Op::Broadcast(axes) => b.broadcast(args[0], &without(&axes, &[axis])),
            Op::Random { draw, site, order } => {
                let of = |of: &Axis| if *of == axis { self.turn.order.clone() } else { vec![*of] };
                let order = order.iter().flat_map(of).collect();
                b.push(Op::Random { draw, site, order }, &args, data.dtype)
            }
            Op::Scan(scan) => {
                let types: Vec<(AxisSet, DType)> = carried(b, &scan)
                    .into_iter()
                    .map(|(axes, dtype)| (without(&axes, &[axis]), dtype))
                    .collect();
                let carries = b.begin_scan_like(&scan, &types);
                let results = self.region(b, scan.body, &carries);
                let (next, yields) = results.split_at(scan.carries);
                b.end_scan(scan.reverse, &args, next, yields).scan
            }
            op => b.push(op, &args, data.dtype),
        }
    }
}
