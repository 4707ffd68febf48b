//! `verify`: everything that `ir.rs` says of a graph, checked. A graph that fails is a defect of the pass that made it.

use std::fmt;

use cranelift_entity::SecondaryMap;

use super::ir::*;
use super::print::Names;
use super::sets::{is_set, set, union};
use crate::ops::Typing;
use crate::tensor::DType;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Defect {
    /// The line of the graph's text, where one is to blame.
    pub line: Option<String>,
    pub message: String,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.line {
            Some(line) => write!(f, "{}\n  in `{line}`", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// The first defect of a graph, if it has one.
pub fn verify(graph: &Graph) -> Result<(), Defect> {
    let mut verifier = Verifier {
        graph,
        names: Names::new(graph),
        known: SecondaryMap::new(),
        placed: SecondaryMap::new(),
        owned: SecondaryMap::new(),
        bound: AxisSet::new(),
    };
    verifier.region(graph.root)?;
    verifier.outputs()
}

struct Verifier<'a> {
    graph: &'a Graph,
    names: Names<'a>,
    /// Values that may be read at this point.
    known: SecondaryMap<Node, bool>,
    /// Nodes that stand in some list.
    placed: SecondaryMap<Node, bool>,
    owned: SecondaryMap<Region, bool>,
    /// Axes that the scans around have bound.
    bound: AxisSet,
}

type Checked = Result<(), Defect>;

impl Verifier<'_> {
    fn defect<T>(&self, node: Node, message: impl Into<String>) -> Result<T, Defect> {
        let line = self.graph.nodes.get(node).map(|_| self.names.line(node));
        Err(Defect { line, message: message.into() })
    }

    fn whole<T>(&self, message: impl Into<String>) -> Result<T, Defect> {
        Err(Defect { line: None, message: message.into() })
    }

    fn region(&mut self, region: Region) -> Checked {
        let Some(data) = self.graph.regions.get(region) else {
            return self.whole(format!("{region:?} does not exist"));
        };
        if std::mem::replace(&mut self.owned[region], true) {
            return self.whole(format!("{region:?} is executed by two operators"));
        }
        for (index, param) in data.params.iter().enumerate() {
            self.place(*param)?;
            if self.graph.nodes[*param].op != Op::Carry(index as u32) {
                return self.defect(*param, format!("parameter {index} of a region is another operator"));
            }
            self.known[*param] = true;
        }
        for node in &data.nodes {
            self.place(*node)?;
            self.node(*node)?;
            self.known[*node] = true;
        }
        for result in &data.results {
            if !self.known.get(*result).copied().unwrap_or(false) || !self.graph.nodes.is_valid(*result) {
                return self.whole(format!("{result:?}, a result of {region:?}, is not known at its end"));
            }
            if self.graph.nodes[*result].op.is_tuple() {
                return self.defect(*result, "a tuple is a result");
            }
        }
        // What a region made is not known behind it.
        for node in data.params.iter().chain(&data.nodes) {
            if region != self.graph.root {
                self.known[*node] = false;
            }
        }
        Ok(())
    }

    fn place(&mut self, node: Node) -> Checked {
        if !self.graph.nodes.is_valid(node) {
            return self.whole(format!("{node:?} does not exist"));
        }
        if std::mem::replace(&mut self.placed[node], true) {
            return self.defect(node, "the node stands in two places");
        }
        let data = &self.graph.nodes[node];
        if !is_set(&data.axes) {
            return self.defect(node, "its axes are no set");
        }
        if data.axes.iter().any(|axis| !self.graph.axes.is_valid(*axis)) {
            return self.defect(node, "one of its axes does not exist");
        }
        Ok(())
    }

    fn node(&mut self, node: Node) -> Checked {
        let data = &self.graph.nodes[node];
        for arg in &data.args {
            if !self.graph.nodes.is_valid(*arg) || !self.known[*arg] {
                let arg =
                    if self.graph.nodes.is_valid(*arg) { self.names.node(*arg) } else { format!("{arg:?}") };
                return self.defect(node, format!("its argument {arg} is not known there"));
            }
            let tuple = self.graph.nodes[*arg].op.is_tuple();
            if tuple && !matches!(data.op, Op::Project(_)) {
                return self.defect(node, format!("its argument {} is a tuple", self.names.node(*arg)));
            }
        }
        for axis in data.op.all_axes() {
            if !self.graph.axes.is_valid(axis) {
                return self.defect(node, format!("{axis:?} does not exist"));
            }
        }
        let consumed = data.op.consumed();
        if let Some(axis) = consumed.iter().find(|axis| self.bound.contains(axis)) {
            let axis = self.names.axis(*axis);
            return self.defect(node, format!("it consumes {axis}, which a scan around it has bound"));
        }
        // A tuple's body is checked first: its results decide what follows.
        match &data.op {
            Op::Scan(scan) => self.scan(node, scan)?,
            Op::Fused(region) => {
                if !self.graph.regions.get(*region).is_none_or(|region| region.params.is_empty()) {
                    return self.defect(node, "a fused group has parameters");
                }
                self.region(*region)?;
            }
            _ => {}
        }
        let typing = Typing { graph: self.graph, op: &data.op, args: &data.args, dtype: data.dtype };
        let shape = match (data.op.def().shape)(&typing) {
            Ok(shape) => shape,
            Err(message) => return self.defect(node, message),
        };
        if shape.dtype != data.dtype {
            return self.defect(node, format!("its dtype is {}, which must be {}", data.dtype, shape.dtype));
        }
        let same = match data.op {
            // A carry's own set stands for the component's, bound axes aside.
            Op::Project(_) => Graph::same_axes(&shape.axes, &data.axes, &self.bound),
            _ => shape.axes == data.axes,
        };
        if !same {
            let must = self.names.axes(&shape.axes);
            return self.defect(node, format!("its axes must be [{must}]"));
        }
        Ok(())
    }

    fn scan(&mut self, node: Node, scan: &Scan) -> Checked {
        let Some(body) = self.graph.regions.get(scan.body) else {
            return self.defect(node, "its body does not exist");
        };
        if self.bound.contains(&scan.axis) {
            return self.defect(node, "a scan around it has bound its axis already");
        }
        let args = self.graph.nodes[node].args.clone();
        let carries = scan.carries;
        if body.params.len() != carries || args.len() != carries || body.results.len() < carries {
            let found = format!("{} parameters, {} first values", body.params.len(), args.len());
            return self
                .defect(node, format!("{carries} carries, but {found}, {} results", body.results.len()));
        }
        let outer = std::mem::take(&mut self.bound);
        self.bound = union(&outer, &[scan.axis]);
        self.region(scan.body)?;
        for (k, param) in body.params.iter().enumerate() {
            let carry = &self.graph.nodes[*param];
            if carry.axes.contains(&scan.axis) {
                return self.defect(node, format!("carry {k} has the scan's axis"));
            }
            let (first, next) = (&self.graph.nodes[args[k]], &self.graph.nodes[body.results[k]]);
            if first.axes.contains(&scan.axis) {
                return self.defect(node, format!("the first value of carry {k} has the scan's axis"));
            }
            for (what, data) in [("first", first), ("next", next)] {
                if data.dtype != carry.dtype || !Graph::same_axes(&data.axes, &carry.axes, &self.bound) {
                    let text = |data: &NodeData| format!("{}[{}]", data.dtype, self.names.axes(&data.axes));
                    let (own, other) = (text(carry), text(data));
                    return self.defect(node, format!("carry {k} is {own}, its {what} value {other}"));
                }
            }
        }
        self.bound = outer;
        Ok(())
    }

    fn outputs(&self) -> Checked {
        let graph = self.graph;
        let results = &graph.regions[graph.root].results;
        if results.len() != graph.outputs.len() {
            return self.whole(format!("{} results, but {} outputs", results.len(), graph.outputs.len()));
        }
        for (output, node) in graph.outputs.iter().zip(results) {
            let data = &graph.nodes[*node];
            if set(output.order.iter().copied()) != data.axes || output.order.len() != data.axes.len() {
                let order = self.names.axes(&output.order);
                return self.defect(*node, format!("output `{}` orders its axes as [{order}]", output.name));
            }
            let Some(index) = output.updates else { continue };
            let Some(input) = graph.inputs.get(index) else {
                return self
                    .whole(format!("output `{}` updates input {index}, which does not exist", output.name));
            };
            let size = |axis: &Axis| &graph.axes[*axis].size;
            let same =
                input.dtype == data.dtype && input.order.iter().map(size).eq(output.order.iter().map(size));
            if !same {
                return self.defect(*node, format!("it updates `{}`, which is of another type", input.name));
            }
        }
        for input in &graph.inputs {
            let scalar = matches!(input.role, Role::Seed | Role::Step | Role::Steps);
            if scalar && (input.dtype != DType::I64 || !input.order.is_empty()) {
                return self.whole(format!("input `{}` is no scalar of i64", input.name));
            }
        }
        Ok(())
    }
}
