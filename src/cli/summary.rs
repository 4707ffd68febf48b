//! `nnc compile --summary`: what a compiled program owns, computes and needs.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::axes::{Dim, DimVar};
use crate::check::core::{Core, Slot};
use crate::graph::{Graph, Op, Reducer, Region};
use crate::kernel::BufferKind;
use crate::ops::ScalarFn;
use crate::train::Unit;

/// Sizes of a program.
pub struct Summary {
    pub parameters: u64,
    state: u64,
    /// Multiplications with an addition, in convolutions and matrix products; an expression where dims are open.
    macs: Dim,
    layers: Vec<Layer>,
    parameter_bytes: u64,
    /// Everything that lives in the arena at some time.
    activations: Dim,
    peak: Option<u64>,
    dims: BTreeMap<DimVar, i64>,
}

/// The parameters under one path.
struct Layer {
    path: String,
    shapes: Vec<String>,
    parameters: u64,
}

/// Reads the sizes off a program; `dims` are those that are known.
pub fn summarise(core: &Core, unit: &Unit, dims: &BTreeMap<DimVar, i64>) -> Summary {
    let len = |slot: &Slot| -> u64 {
        slot.axes.iter().map(|&axis| core.size(axis).eval(dims).unwrap_or(0).max(0) as u64).product()
    };
    let mut layers: Vec<Layer> = Vec::new();
    for slot in &core.params {
        let (path, name) = slot.path.rsplit_once('.').unwrap_or(("", &slot.path));
        let shown = format!("{name}: {}", crate::check::show_type(core, &slot.elem, &slot.axes));
        match layers.iter_mut().find(|layer| layer.path == path) {
            Some(layer) => {
                layer.shapes.push(shown);
                layer.parameters += len(slot);
            }
            None => layers.push(Layer { path: path.to_owned(), shapes: vec![shown], parameters: len(slot) }),
        }
    }
    let program = unit.exec.program();
    let temporaries = program.buffers.values().filter(|buffer| buffer.kind == BufferKind::Temp);
    let activations = temporaries.fold(Dim::constant(0), |sum, buffer| {
        let bytes = buffer.len.mul(&Dim::constant(buffer.dtype.size() as i64));
        bytes.and_then(|bytes| sum.add(&bytes)).unwrap_or(sum)
    });
    let peak = unit.exec.bind(dims).ok().map(|bound| bound.arena as u64);
    Summary {
        parameters: core.params.iter().map(len).sum(),
        state: core.states.iter().map(len).sum(),
        macs: macs(&unit.graph, unit.graph.root, &Dim::constant(1)),
        layers,
        parameter_bytes: core.params.iter().map(|slot| len(slot) * slot.elem.dtype().size() as u64).sum(),
        activations,
        peak,
        dims: dims.clone(),
    }
}

/// Products that are summed, `times` as often as the region runs.
fn macs(graph: &Graph, region: Region, times: &Dim) -> Dim {
    let mut sum = Dim::constant(0);
    let add = |sum: Dim, more: Dim| sum.add(&more).unwrap_or(sum);
    for node in &graph.regions[region].nodes {
        let data = &graph.nodes[*node];
        match &data.op {
            Op::Scan(scan) => {
                let turns = times.mul(&graph.axes[scan.axis].size).unwrap_or_else(|_| times.clone());
                sum = add(sum, macs(graph, scan.body, &turns));
            }
            Op::Fused(inner) => sum = add(sum, macs(graph, *inner, times)),
            Op::Reduce { op: Reducer::Sum, over } => {
                let product = &graph.nodes[data.args[0]];
                let factors: Vec<_> = product.args.iter().map(|&arg| &graph.nodes[arg].axes).collect();
                let summed = |axes: &&crate::graph::AxisSet| over.iter().all(|axis| axes.contains(axis));
                // Both factors run along what is summed, and they differ: a product with a matrix, not a sum of squares.
                let product_of_two = product.op == Op::Map(ScalarFn::Mul) && factors.iter().all(summed);
                if product_of_two && factors[0] != factors[1] {
                    let sizes = product.axes.iter().map(|&axis| graph.axes[axis].size.clone());
                    let count = sizes.fold(times.clone(), |count, size| count.mul(&size).unwrap_or(count));
                    sum = add(sum, count);
                }
            }
            _ => {}
        }
    }
    sum
}

impl Summary {
    pub fn json(&self) -> Value {
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| json!({"path": layer.path, "shapes": layer.shapes, "parameters": layer.parameters}))
            .collect();
        json!({
            "parameters": self.parameters,
            "state": self.state,
            "macs": self.number(&self.macs),
            "layers": layers,
            "memory": {
                "parameters": self.parameter_bytes,
                "activations": {"expr": self.activations.to_string(), "value": self.activations.eval(&self.dims).ok()},
                "peak": {"value": self.peak},
            },
        })
    }

    /// A number where it is known, else its expression.
    fn number(&self, dim: &Dim) -> Value {
        dim.eval(&self.dims).map_or_else(|_| dim.to_string().into(), Value::from)
    }

    pub fn table(&self) -> String {
        let mut text = String::new();
        let width = self.layers.iter().map(|layer| layer.path.chars().count()).max().unwrap_or(0);
        for layer in &self.layers {
            let _ = writeln!(
                text,
                "  {:width$}  {:>10}  {}",
                layer.path,
                layer.parameters,
                layer.shapes.join(", ")
            );
        }
        let shown = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = writeln!(text, "  multiply-adds  {}", shown(self.number(&self.macs)));
        let _ = writeln!(text, "  parameters     {} bytes", self.parameter_bytes);
        if self.state > 0 {
            let _ = writeln!(text, "  state          {} numbers", self.state);
        }
        let _ = writeln!(text, "  temporaries    {} bytes", self.activations);
        if let Some(peak) = self.peak {
            let _ = writeln!(text, "  arena          {peak} bytes");
        }
        text
    }
}
