//! Derivatives of loops.
//!
//! Forward: the body is linearised in place. What is linear moves to a scan of its own, over the same axis, that carries the tangents;
//! what it needs of the primal values, the *residuals*, becomes further yields of the primal scan.
//! Backward: the linear scan's transpose runs the other way, carries the cotangents, and for each tangent that it captures
//! either yields the cotangent (where the captured value has the axis: its entry belongs to the step) or accumulates it in a carry.

use std::collections::{HashMap, HashSet};

use super::linearise::{Tangents, between, tangents_of};
use super::transpose::Transposer;
use crate::graph::sets::without;
use crate::graph::walk::{captures, reads};
use crate::graph::{Axis, AxisSet, Builder, Index, IndexMap, Node, Op, Outside, Region, RegionData, Scan};
use crate::ops::Jvp;
use crate::tensor::DType;

fn scan_of(b: &Builder, node: Node) -> Scan {
    match b.op(node) {
        Op::Scan(scan) => scan.clone(),
        op => unreachable!("a scan, not {}", op.def().name),
    }
}

/// Appends the scan of the tangents of a scan of the current region. Gives those of its components.
pub(super) fn linearise(b: &mut Builder, node: Node, tangents: &Tangents) -> Vec<Option<Node>> {
    let scan = scan_of(b, node);
    let first = b.args(node);
    let RegionData { params, nodes, results } = b.graph().regions[scan.body].clone();
    let captured: Vec<Node> =
        captures(b.graph(), scan.body).into_iter().filter(|x| tangents.get(*x).is_some()).collect();
    let has_tangent: Vec<bool> = first.iter().map(|first| tangents.get(*first).is_some()).collect();
    let active = active_carries(b, &params, &nodes, &results, &captured, has_tangent);

    // The tangents inside, at first among the nodes of the body.
    b.open_again(scan.body, scan.axis);
    let mut inside = Tangents::default();
    let mut linear: HashSet<Node> = HashSet::new();
    let mut from = captured.clone();
    for x in &captured {
        let tangent = tangents.get(*x).expect("only such were kept");
        inside.set(*x, tangent);
        linear.insert(tangent);
    }
    let mut placeholders = Vec::new();
    for k in active.iter().copied() {
        let placeholder = b.alias(params[k]);
        inside.set(params[k], placeholder);
        linear.insert(placeholder);
        placeholders.push(placeholder);
        from.push(params[k]);
    }
    tangents_of(b, &between(b, scan.body, &from, &results), &mut inside);
    b.close();

    // What is linear moves.
    let appended = b.graph_mut().regions[scan.body].nodes.split_off(nodes.len());
    let (mut moved, mut kept) = (Vec::new(), Vec::new());
    for appended in appended {
        if placeholders.contains(&appended) {
            continue;
        }
        if reads(b.graph(), appended).iter().any(|read| linear.contains(read)) {
            linear.insert(appended);
            moved.push(appended);
        } else {
            kept.push(appended);
        }
    }
    b.graph_mut().regions[scan.body].nodes.extend(kept);
    let types: Vec<(AxisSet, DType)> =
        active.iter().map(|k| (b.axes(params[*k]).clone(), b.dtype(params[*k]))).collect();
    let mut starts = Vec::new();
    for k in &active {
        let start = tangents.get(first[*k]);
        starts.push(start.unwrap_or_else(|| b.zeros_like(params[*k])));
    }
    let carries = b.begin_scan_like(&scan, &types);
    let body = b.region();
    let recompute = scan.recompute;
    let mut residuals =
        Residuals { primal: node, axis: scan.axis, body: scan.body, recompute, found: HashMap::new() };
    residuals.found.extend(placeholders.iter().copied().zip(carries.iter().copied()));
    for node in moved {
        residuals.replace(b, node, &linear);
        b.set_home(node, body);
        b.graph_mut().regions[body].nodes.push(node);
    }
    // What was a carry's may be a residual now, which has the axis.
    b.infer_again(body);
    let mut next = Vec::new();
    for (k, carry) in active.iter().zip(&carries) {
        let tangent = inside.get(results[*k]).map(|tangent| residuals.here(b, tangent, &linear));
        next.push(tangent.unwrap_or_else(|| b.zeros_like(*carry)));
    }
    let (mut yields, mut places) = (Vec::new(), vec![None; results.len()]);
    for k in scan.carries..results.len() {
        if let Some(tangent) = inside.get(results[k]) {
            places[k] = Some(yields.len());
            let tangent = residuals.here(b, tangent, &linear);
            yields.push(tangent);
        }
    }
    let result = b.end_scan(scan.reverse, &starts, &next, &yields);
    let mut components: Vec<Option<Node>> =
        places.into_iter().map(|place| place.map(|place| result.yields[place])).collect();
    for (k, carry) in active.iter().zip(result.carries) {
        components[*k] = Some(carry);
    }
    components
}

/// The carries whose values depend on tangents, in the end.
fn active_carries(
    b: &Builder,
    params: &[Node],
    nodes: &[Node],
    results: &[Node],
    captured: &[Node],
    mut active: Vec<bool>,
) -> Vec<usize> {
    let graph = b.graph();
    let all: Vec<(Node, Vec<Node>)> = nodes.iter().map(|node| (*node, reads(graph, *node))).collect();
    loop {
        let mut depends: HashSet<Node> = captured.iter().copied().collect();
        depends.extend(params.iter().zip(&active).filter(|(_, active)| **active).map(|(param, _)| *param));
        for (node, reads) in &all {
            let data = &graph.nodes[*node];
            let passes =
                !matches!(data.op.def().jvp, Jvp::Zero) && (data.dtype.is_float() || data.op.is_tuple());
            if passes && reads.iter().any(|read| depends.contains(read)) {
                depends.insert(*node);
            }
        }
        let mut changed = false;
        for (active, result) in active.iter_mut().zip(results) {
            let now = depends.contains(result);
            changed |= now && !*active;
            *active |= now;
        }
        if !changed {
            let float = |k: &usize| active[*k] && b.dtype(params[*k]).is_float();
            return (0..params.len()).filter(float).collect();
        }
    }
}

/// The primal values that the linear scan needs, and what stands for them there.
struct Residuals {
    primal: Node,
    axis: Axis,
    body: Region,
    /// They are computed again, from the carries.
    recompute: bool,
    found: HashMap<Node, Node>,
}

impl Residuals {
    /// Replaces what a moved node reads of the primal body, also inside of its own body.
    fn replace(&mut self, b: &mut Builder, node: Node, linear: &HashSet<Node>) {
        let args = b.args(node);
        let args: Vec<Node> = args.into_iter().map(|arg| self.here(b, arg, linear)).collect();
        b.graph_mut().nodes[node].args = args.into();
        if let Some(region) = b.op(node).region() {
            for node in b.graph().regions[region].nodes.clone() {
                self.replace(b, node, linear);
            }
            for k in 0..b.graph().regions[region].results.len() {
                let result = b.graph().regions[region].results[k];
                let result = self.here(b, result, linear);
                b.graph_mut().regions[region].results[k] = result;
            }
        }
    }

    /// What stands in the linear body for a value.
    fn here(&mut self, b: &mut Builder, node: Node, linear: &HashSet<Node>) -> Node {
        if let Some(found) = self.found.get(&node) {
            return *found;
        }
        if linear.contains(&node) || b.home(node) != self.body {
            return node;
        }
        let again = self.recompute && !matches!(b.op(node), Op::Carry(_));
        let found = if again {
            self.recomputed(b, node, linear)
        } else if self.is_cheap(b, node) {
            let data = b.graph().nodes[node].clone();
            let args: Vec<Node> = data.args.iter().map(|arg| self.here(b, *arg, linear)).collect();
            b.push(data.op, &args, data.dtype)
        } else {
            // A carry's next value is at hand as a component, but only the last one.
            let carries = match b.op(self.primal) {
                Op::Scan(scan) => scan.carries,
                _ => 0,
            };
            let results = &mut b.graph_mut().regions[self.body].results;
            let place = results[carries..].iter().position(|result| *result == node);
            let index = place.map_or(results.len(), |place| place + carries);
            if place.is_none() {
                results.push(node);
            }
            b.project(self.primal, index)
        };
        self.found.insert(node, found);
        found
    }

    /// A value of the primal body, computed in the linear body.
    fn recomputed(&mut self, b: &mut Builder, node: Node, linear: &HashSet<Node>) -> Node {
        let data = b.graph().nodes[node].clone();
        let args: Vec<Node> = data.args.iter().map(|arg| self.here(b, *arg, linear)).collect();
        let Op::Scan(inner) = &data.op else { return b.push(data.op, &args, data.dtype) };
        // What the inner loop reads must stand before it.
        let mut known = HashMap::new();
        for x in captures(b.graph(), inner.body) {
            let here = self.here(b, x, linear);
            known.insert(x, here);
        }
        copy(b, inner, &args, &|x| known.get(&x).copied().unwrap_or(x))
    }

    /// Whether a value is better computed again than stored for every step: it takes no arithmetic, or does not change from step to step.
    fn is_cheap(&self, b: &Builder, node: Node) -> bool {
        let data = &b.graph().nodes[node];
        let changes = matches!(data.op, Op::Carry(_) | Op::Scan(_) | Op::Fused(_) | Op::Project(_));
        let free = matches!(data.op, Op::Position(_) | Op::View(_) | Op::Broadcast(_));
        let steady = free || !data.axes.contains(&self.axis);
        let outside = |arg: &Node| b.home(*arg) != self.body || self.is_cheap(b, *arg);
        !changes && steady && data.args.iter().all(outside)
    }
}

/// Appends a copy of a loop that starts with `first` and reads what `outer` gives for the values around.
fn copy(b: &mut Builder, scan: &Scan, first: &[Node], outer: &dyn Fn(Node) -> Node) -> Node {
    let RegionData { params, nodes, results } = b.graph().regions[scan.body].clone();
    let types: Vec<(AxisSet, DType)> =
        params.iter().map(|param| (b.axes(*param).clone(), b.dtype(*param))).collect();
    let carries = b.begin_scan_like(scan, &types);
    let mut known: HashMap<Node, Node> = params.into_iter().zip(carries).collect();
    for node in nodes {
        let data = b.graph().nodes[node].clone();
        let here = |x: Node| known.get(&x).copied().unwrap_or_else(|| outer(x));
        let args: Vec<Node> = data.args.iter().map(|arg| here(*arg)).collect();
        let new = match &data.op {
            Op::Scan(inner) => copy(b, inner, &args, &here),
            _ => b.push(data.op, &args, data.dtype),
        };
        known.insert(node, new);
    }
    let results: Vec<Node> =
        results.iter().map(|x| known.get(x).copied().unwrap_or_else(|| outer(*x))).collect();
    let (next, yields) = results.split_at(scan.carries);
    b.end_scan(scan.reverse, first, next, yields).scan
}

/// Appends the transpose of a linear scan: for the cotangents of its components, those of what it reads.
pub(super) fn transpose(
    outer: &Transposer,
    b: &mut Builder,
    node: Node,
    components: Vec<Option<Node>>,
) -> Vec<(Node, Node)> {
    let scan = scan_of(b, node);
    let first = b.args(node);
    let RegionData { params, nodes, results } = b.graph().regions[scan.body].clone();
    let captured: Vec<Node> =
        captures(b.graph(), scan.body).into_iter().filter(|x| outer.is_linear(*x)).collect();
    // A loop of one turn has nothing to accumulate.
    let once = b.axis_size(scan.axis).as_const() == Some(1);
    let (stacked, shared): (Vec<Node>, Vec<Node>) =
        captured.into_iter().partition(|x| once || b.axes(*x).contains(&scan.axis));

    let mut starts = Vec::new();
    for (k, param) in params.iter().enumerate() {
        let start = components[k].unwrap_or_else(|| b.zeros_like(*param));
        starts.push(start);
    }
    for x in &shared {
        let zeros = b.zeros_like(*x);
        starts.push(zeros);
    }
    let bound = b.bound();
    let types: Vec<(AxisSet, DType)> =
        params.iter().chain(&shared).map(|x| (without(b.axes(*x), &bound), b.dtype(*x))).collect();
    let carries = b.begin_scan_like(&scan, &types);
    let (of_params, of_shared) = carries.split_at(params.len());

    let mut inner = outer.of_body(b, scan.body);
    for node in &nodes {
        if !inner.is_linear(*node) {
            let data = b.graph().nodes[*node].clone();
            let args: Vec<Node> = data.args.iter().map(|arg| inner.known(*arg)).collect();
            let here = match &data.op {
                Op::Scan(own) => copy(b, own, &args, &|x| inner.known(x)),
                _ => b.push(data.op, &args, data.dtype),
            };
            inner.know(*node, here);
        }
    }
    for (k, result) in results.iter().enumerate() {
        let cotangent = if k < scan.carries { Some(of_params[k]) } else { components[k] };
        if let Some(cotangent) = cotangent {
            inner.start(b, *result, cotangent);
        }
    }
    let found = inner.run(b, &params);
    let mut next: Vec<Node> = Vec::new();
    for (found, param) in found.into_iter().zip(&params) {
        let cotangent = found.unwrap_or_else(|| b.zeros_like(*param));
        next.push(cotangent);
    }
    for (x, carry) in shared.iter().zip(of_shared) {
        let sum = match inner.take(*x) {
            Some(cotangent) => b.add(*carry, cotangent),
            None => *carry,
        };
        next.push(sum);
    }
    let (mut yields, mut yielded) = (Vec::new(), Vec::new());
    for x in &stacked {
        if let Some(cotangent) = inner.take(*x) {
            yields.push(cotangent);
            yielded.push(*x);
        }
    }
    let result = b.end_scan(!scan.reverse, &starts, &next, &yields);
    let mut pulled: Vec<(Node, Node)> = first.iter().copied().zip(result.carries.iter().copied()).collect();
    pulled.extend(shared.into_iter().zip(result.carries.into_iter().skip(params.len())));
    for (x, cotangent) in yielded.into_iter().zip(result.yields) {
        let own = b.axes(x).contains(&scan.axis);
        let first = IndexMap::new([(scan.axis, Index::constant(0))], Outside::Never);
        let cotangent = if own { cotangent } else { b.view(cotangent, first) };
        pulled.push((x, cotangent));
    }
    pulled
}
