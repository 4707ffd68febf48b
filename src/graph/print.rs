//! The text of a graph, as `--emit graph` prints it.
//!
//! Values are numbered in the order of the text, axes bear their names (`i`, and `i'1` for the next axis of that name), so the
//! text depends on what the graph says, not on how it came about.
//!
//! ```text
//! axis B = B, i = 64, o = 10
//! %0 = argument x : f32[B, i]
//! %1 = param w : f32[i, o]
//! %2 = map mul(%0, %1) : f32[B, i, o]
//! %3 = reduce sum(%2) over i : f32[B, o]
//! output y = %3 : f32[B, o]
//! ```

use std::collections::HashMap;
use std::fmt::{self, Display, Write};

use cranelift_entity::SecondaryMap;

use super::ir::*;
use crate::axes::Dim;

impl Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Names::new(self);
        names.axis_lines(f)?;
        names.region(f, self.root, 0)?;
        let results = &self.regions[self.root].results;
        for (output, node) in self.outputs.iter().zip(results) {
            write!(f, "output {} = {} : {}", output.name, names.node(*node), self.nodes[*node].dtype)?;
            if !output.order.is_empty() {
                write!(f, "[{}]", names.axes(&output.order))?;
            }
            if let Some(input) = output.updates.and_then(|input| self.inputs.get(input)) {
                write!(f, " updates {}", input.name)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// What the values and axes of a graph are called in text.
pub struct Names<'a> {
    graph: &'a Graph,
    number: SecondaryMap<Node, Option<u32>>,
    /// Where the name is not the axis's own.
    renamed: HashMap<Axis, String>,
    /// In the order of the text.
    used: Vec<Axis>,
}

impl<'a> Names<'a> {
    pub fn new(graph: &'a Graph) -> Names<'a> {
        let mut names =
            Names { graph, number: SecondaryMap::new(), renamed: HashMap::new(), used: Vec::new() };
        let mut next = 0;
        let mut seen = HashMap::new();
        names.number_region(graph.root, &mut next, &mut seen);
        names
    }

    fn number_region(&mut self, region: Region, next: &mut u32, seen: &mut HashMap<Axis, ()>) {
        let data = &self.graph.regions[region];
        for node in data.params.iter().chain(&data.nodes) {
            let data = &self.graph.nodes[*node];
            // The scan's own axis has its name before its body does.
            self.number[*node] = Some(*next);
            *next += 1;
            let mut met = |axis: Axis| {
                if seen.insert(axis, ()).is_none() {
                    self.used.push(axis);
                }
            };
            match &data.op {
                Op::Input(index) => {
                    self.graph
                        .inputs
                        .get(*index as usize)
                        .into_iter()
                        .flat_map(|i| &i.order)
                        .for_each(|a| met(*a));
                }
                Op::Scan(scan) => met(scan.axis),
                _ => {}
            }
            data.axes.iter().for_each(|axis| met(*axis));
            if let Some(inner) = data.op.region() {
                self.number_region(inner, next, seen);
            }
        }
        if region == self.graph.root {
            let mut count: HashMap<&str, u32> = HashMap::new();
            for axis in &self.used {
                let Some(data) = self.graph.axes.get(*axis) else { continue };
                let again = count.entry(data.name.as_str()).or_default();
                if *again > 0 {
                    self.renamed.insert(*axis, format!("{}'{again}", data.name));
                }
                *again += 1;
            }
        }
    }

    pub fn node(&self, node: Node) -> String {
        match self.number[node] {
            Some(number) => format!("%{number}"),
            None => format!("{node:?}?"),
        }
    }

    pub fn axis(&self, axis: Axis) -> String {
        let own =
            || self.graph.axes.get(axis).map_or_else(|| format!("{axis:?}?"), |data| data.name.to_string());
        self.renamed.get(&axis).cloned().unwrap_or_else(own)
    }

    pub fn axes(&self, axes: &[Axis]) -> String {
        let names: Vec<String> = axes.iter().map(|axis| self.axis(*axis)).collect();
        names.join(", ")
    }

    fn nodes(&self, nodes: &[Node]) -> String {
        let names: Vec<String> = nodes.iter().map(|node| self.node(*node)).collect();
        names.join(", ")
    }

    fn axis_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |axis: &Axis| format!("{} = {}", self.axis(*axis), self.graph.axes[*axis].size);
        for line in self.used.chunks(8) {
            writeln!(f, "axis {}", line.iter().map(size).collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }

    fn region(&self, f: &mut fmt::Formatter<'_>, region: Region, depth: usize) -> fmt::Result {
        for node in &self.graph.regions[region].nodes {
            write!(f, "{:indent$}{}", "", self.line(*node), indent = 2 * depth)?;
            match &self.graph.nodes[*node].op {
                Op::Scan(scan) => {
                    writeln!(f, " {{")?;
                    self.region(f, scan.body, depth + 1)?;
                    let results = &self.graph.regions[scan.body].results;
                    let (next, yields) = results.split_at(scan.carries.min(results.len()));
                    let indent = 2 * depth + 2;
                    if !next.is_empty() {
                        writeln!(f, "{:indent$}next {}", "", self.nodes(next))?;
                    }
                    if !yields.is_empty() {
                        writeln!(f, "{:indent$}yield {}", "", self.nodes(yields))?;
                    }
                    writeln!(f, "{:indent$}}}", "", indent = 2 * depth)?;
                }
                Op::Fused(inner) => {
                    writeln!(f, " {{")?;
                    self.region(f, *inner, depth + 1)?;
                    let results = self.nodes(&self.graph.regions[*inner].results);
                    writeln!(f, "{:indent$}give {results}", "", indent = 2 * depth + 2)?;
                    writeln!(f, "{:indent$}}}", "", indent = 2 * depth)?;
                }
                _ => writeln!(f)?,
            }
        }
        Ok(())
    }

    /// A node's line, without the body that may follow.
    pub fn line(&self, node: Node) -> String {
        let data = &self.graph.nodes[node];
        let mut line = format!("{} = ", self.node(node));
        // Writing to a string does not fail.
        let _ = self.operation(&mut line, data);
        if let Op::Input(index) = data.op
            && let Some(input) = self.graph.inputs.get(index as usize)
        {
            let _ = write!(line, " : {}", data.dtype);
            if !input.order.is_empty() {
                let _ = write!(line, "[{}]", self.axes(&input.order));
            }
            if let Some(bound) = &input.bound {
                let _ = write!(line, " in 0..{bound}");
            }
        } else if !data.op.is_tuple() {
            let _ = write!(line, " : {}", self.shape(data));
        }
        line
    }

    fn shape(&self, data: &NodeData) -> String {
        match data.axes.is_empty() {
            true => data.dtype.to_string(),
            false => format!("{}[{}]", data.dtype, self.axes(&data.axes)),
        }
    }

    fn operation(&self, line: &mut String, data: &NodeData) -> fmt::Result {
        let args = self.nodes(&data.args);
        let name = data.op.def().name;
        match &data.op {
            Op::Input(index) => match self.graph.inputs.get(*index as usize) {
                Some(input) => write!(line, "{} {}", input.role.name(), input.name),
                None => write!(line, "input {index}"),
            },
            Op::Carry(index) => write!(line, "carry {index}"),
            Op::Constant(literal) => write!(line, "constant {literal}"),
            Op::Size(dim) => write!(line, "size {dim}"),
            Op::Position(axis) => write!(line, "position {}", self.axis(*axis)),
            Op::Map(function) => write!(line, "map {}({args})", function.name()),
            Op::Reduce { op, over } => write!(line, "reduce {}({args}) over {}", op.name(), self.axes(over)),
            Op::Broadcast(axes) => write!(line, "broadcast({args}) over {}", self.axes(axes)),
            Op::View(map) | Op::Fold(map) => write!(line, "{name}({args}) {}", self.map(map)),
            Op::Gather { axis } => write!(line, "gather({args}) along {}", self.axis(*axis)),
            Op::Scatter { op, into, over } => {
                write!(line, "scatter {}({args})", op.name())?;
                if !over.is_empty() {
                    write!(line, " over {}", self.axes(over))?;
                }
                write!(line, " into {}", self.axis(*into))
            }
            Op::Sort { what, axis, into, descending } => {
                let down = if *descending { " descending" } else { "" };
                let (axis, into) = (self.axis(*axis), self.axis(*into));
                write!(line, "sort {}({args}) along {axis} into {into}{down}", what.name())
            }
            Op::Random { draw, site, order } => {
                write!(line, "random {}({args}) site {site:#x} order {}", draw.name(), self.axes(order))
            }
            Op::Scan(scan) => {
                write!(line, "scan {}", self.axis(scan.axis))?;
                if scan.reverse {
                    write!(line, " reverse")?;
                }
                if scan.recompute {
                    write!(line, " recomputed")?;
                }
                let params = &self.graph.regions[scan.body].params;
                let carries = params.iter().zip(&data.args).map(|(param, first)| {
                    let carry = self.shape(&self.graph.nodes[*param]);
                    format!("{}: {carry} = {}", self.node(*param), self.node(*first))
                });
                write!(line, " ({})", carries.collect::<Vec<_>>().join(", "))
            }
            Op::Fused(_) => write!(line, "fused"),
            Op::Project(index) => write!(line, "project {index} of {args}"),
            Op::StopGradient | Op::Alias | Op::Custom => write!(line, "{name}({args})"),
        }
    }

    /// `i := 2*a + k, j := b else 0`
    fn map(&self, map: &IndexMap) -> String {
        let at = map.at.iter().map(|(axis, index)| format!("{} := {}", self.axis(*axis), self.index(index)));
        let outside = if map.outside == Outside::Zero { " else 0" } else { "" };
        at.collect::<Vec<_>>().join(", ") + outside
    }

    pub fn index(&self, index: &Index) -> String {
        match index {
            Index::Affine(affine) => {
                let terms = affine.terms.iter().map(|(axis, factor)| (factor.clone(), self.axis(*axis)));
                let constant = affine.constant.as_const();
                let bare = affine.terms.is_empty() || constant != Some(0);
                sum_text(terms.chain(bare.then(|| (affine.constant.clone(), String::new()))))
            }
            Index::Sum(parts) => sum_text(parts.iter().map(|(factor, part)| match part {
                Index::Affine(_) if factor.as_const() == Some(1) => (factor.clone(), self.index(part)),
                Index::Affine(_) => (factor.clone(), self.operand(part)),
                part => (factor.clone(), format!("({})", self.index(part))),
            })),
            Index::Div(part, by) => format!("{} / {}", self.operand(part), dim_operand(by)),
            Index::Rem(part, by) => format!("{} % {}", self.operand(part), dim_operand(by)),
        }
    }

    fn operand(&self, index: &Index) -> String {
        if index.as_axis().is_some() { self.index(index) } else { format!("({})", self.index(index)) }
    }
}

/// `2*a - k + 1` from factors and what they multiply; an empty text stands for one.
fn sum_text(terms: impl Iterator<Item = (Dim, String)>) -> String {
    let mut text = String::new();
    for (factor, of) in terms {
        let negative = factor.as_const().is_some_and(|value| value < 0);
        let magnitude = if negative { factor.neg().unwrap_or(factor) } else { factor };
        text.push_str(match (text.is_empty(), negative) {
            (true, true) => "-",
            (true, false) => "",
            (false, true) => " - ",
            (false, false) => " + ",
        });
        text.push_str(&match (magnitude.as_const(), of.is_empty()) {
            (Some(1), false) => of,
            (Some(value), true) => value.to_string(),
            (None, true) => magnitude.to_string(),
            _ => format!("{}*{of}", dim_operand(&magnitude)),
        });
    }
    text
}

fn dim_operand(dim: &Dim) -> String {
    let plain = dim.as_var().is_some() || dim.as_const().is_some_and(|value| value >= 0);
    if plain { dim.to_string() } else { format!("({dim})") }
}

impl Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Float(value) => write!(f, "{value:?}"),
            Literal::Int(value) => write!(f, "{value}"),
            Literal::Bool(value) => write!(f, "{value}"),
        }
    }
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Argument => "argument",
            Role::Param => "param",
            Role::State => "state",
            Role::Seed => "seed",
            Role::Step => "step",
            Role::Steps => "steps",
        }
    }
}

impl Draw {
    pub fn name(self) -> &'static str {
        match self {
            Draw::Uniform => "uniform",
            Draw::Normal => "normal",
        }
    }
}
