//! `nnc compile --summary`: what a compiled program owns, computes and needs. Nothing is allocated for it, whatever its size.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::axes::{Dim, DimVar};
use crate::base::Name;
use crate::check::core::{Core, Slot};
use crate::kernel::BufferKind;
use crate::session::{LayerCost, layer_costs};
use crate::train::Unit;

/// Sizes of a program. What depends on an open dim is an expression.
pub struct Summary {
    pub parameters: Dim,
    state: Dim,
    /// Multiplications with an addition, in convolutions and matrix products.
    macs: Dim,
    layers: Vec<LayerCost>,
    parameter_bytes: Dim,
    /// What the parameters alone decide, kept from run to run.
    kept: Dim,
    /// Everything that lives in the arena at some time.
    activations: Dim,
    /// What lives in the arena at once; the greatest of these counts.
    peaks: Vec<Dim>,
    /// Bytes of the arena, where all sizes are known.
    peak: Option<u64>,
    dims: BTreeMap<DimVar, i64>,
}

/// Reads the sizes off a program; `fixed` are the dims that it was compiled with, `dims` all that are known.
pub fn summarise(
    core: &Core,
    name: &Name,
    unit: &Unit,
    fixed: &BTreeMap<DimVar, i64>,
    dims: &BTreeMap<DimVar, i64>,
) -> Summary {
    let zero = || Dim::constant(0);
    let plus = |sum: Dim, more: &Dim| sum.add(more).unwrap_or(sum);
    let known: BTreeMap<DimVar, Dim> =
        dims.iter().map(|(var, value)| (var.clone(), Dim::constant(*value))).collect();
    let size = |slot: &Slot, unit: i64| {
        let sizes = slot.axes.iter().map(|&axis| core.size(axis));
        sizes.fold(Dim::constant(unit), |count, size| {
            size.substitute(&known).and_then(|size| count.mul(&size)).unwrap_or(count)
        })
    };
    let total = |slots: &[Slot], bytes: bool| {
        slots.iter().fold(zero(), |sum, slot| {
            plus(sum, &size(slot, if bytes { slot.elem.dtype().size() as i64 } else { 1 }))
        })
    };
    let layers = layer_costs(core, name, fixed);
    let program = unit.exec.program();
    let bytes_of = |kind: BufferKind| {
        let buffers = program.buffers.values().filter(|buffer| buffer.kind == kind);
        buffers.fold(zero(), |sum, buffer| {
            let bytes = buffer.len.mul(&Dim::constant(buffer.dtype.size() as i64));
            bytes.and_then(|bytes| sum.add(&bytes)).unwrap_or(sum)
        })
    };
    Summary {
        parameters: total(&core.params, false),
        state: total(&core.states, false),
        macs: layers.iter().fold(zero(), |sum, layer| plus(sum, &layer.macs)),
        layers,
        parameter_bytes: total(&core.params, true),
        kept: bytes_of(BufferKind::Kept),
        activations: bytes_of(BufferKind::Temp),
        peaks: unit.exec.peaks(),
        peak: unit.exec.arena(dims).ok().map(|bytes| bytes as u64),
        dims: dims.clone(),
    }
}

impl Summary {
    pub fn json(&self) -> Value {
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| {
                json!({
                    "path": layer.path.as_str(),
                    "op": layer.op.as_str(),
                    "output": layer.output,
                    "parameters": self.number(&layer.parameters),
                    "macs": self.number(&layer.macs),
                })
            })
            .collect();
        json!({
            "parameters": self.number(&self.parameters),
            "state": self.number(&self.state),
            "macs": self.number(&self.macs),
            "layers": layers,
            "memory": {
                "parameters": self.number(&self.parameter_bytes),
                "kept": self.number(&self.kept),
                "activations": {"expr": self.activations.to_string(), "value": self.activations.eval(&self.dims).ok()},
                "peak": {"expr": self.peak_expression(), "value": self.peak, "least": self.least()},
            },
        })
    }

    /// A number where it is known, else its expression.
    fn number(&self, dim: &Dim) -> Value {
        dim.eval(&self.dims).map_or_else(|_| dim.to_string().into(), Value::from)
    }

    fn shown(&self, dim: &Dim) -> String {
        dim.eval(&self.dims).map_or_else(|_| dim.to_string(), |value| value.to_string())
    }

    /// `4*T + 64`, or `max(…, …)` where it depends on the sizes which of several moments needs most.
    fn peak_expression(&self) -> String {
        match self.peaks.as_slice() {
            [] => "0".to_owned(),
            [one] => one.to_string(),
            several => {
                let several: Vec<String> = several.iter().map(Dim::to_string).collect();
                format!("max({})", several.join(", "))
            }
        }
    }

    /// Bytes that are needed at the same time, where all sizes are known: no plan takes less.
    fn least(&self) -> Option<i64> {
        let sizes: Result<Vec<i64>, _> = self.peaks.iter().map(|dim| dim.eval(&self.dims)).collect();
        Some(sizes.ok()?.into_iter().max().unwrap_or(0))
    }

    pub fn table(&self) -> String {
        let mut rows = vec![["layer", "op", "output", "parameters", "multiply-adds"].map(str::to_owned)];
        for layer in &self.layers {
            rows.push([
                if layer.path.is_empty() { "(itself)".to_owned() } else { layer.path.to_string() },
                layer.op.to_string(),
                layer.output.clone(),
                self.shown(&layer.parameters),
                self.shown(&layer.macs),
            ]);
        }
        rows.push(
            ["total", "", "", &self.shown(&self.parameters), &self.shown(&self.macs)].map(str::to_owned),
        );
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 5] = std::array::from_fn(width);
        let mut text = String::new();
        for row in &rows {
            let [path, op, output, parameters, macs] = row;
            let [a, b, c, d, e] = widths;
            let _ = writeln!(text, "  {path:a$}  {op:b$}  {output:c$}  {parameters:>d$}  {macs:>e$}");
        }
        let _ = writeln!(text, "  parameters   {} bytes", self.shown(&self.parameter_bytes));
        if self.state != Dim::constant(0) {
            let _ = writeln!(text, "  state        {} numbers", self.shown(&self.state));
        }
        if self.kept != Dim::constant(0) {
            let _ =
                writeln!(text, "  kept         {} bytes made of the parameters once", self.shown(&self.kept));
        }
        let _ = writeln!(text, "  temporaries  {} bytes altogether", self.shown(&self.activations));
        match self.peak {
            Some(peak) => {
                let least = self.least().map_or(String::new(), |least| format!(", {least} of them needed"));
                let _ = writeln!(text, "  peak         {peak} bytes at once{least}");
            }
            None => {
                let _ = writeln!(text, "  peak         {} bytes at once", self.peak_expression());
            }
        }
        text
    }
}
