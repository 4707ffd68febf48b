//! Every stage as text: `--emit`, and the golden files.

use std::fmt::Write;
use std::str::FromStr;

use crate::base::FileId;
use crate::check::certificate::AxisTheorem;
use crate::check::core::{Core, Slot};
use crate::check::{show_type, show_val};
use crate::codegen::cranelift;
use crate::elaborate::Part;
use crate::passes::PIPELINE;
use crate::syntax;

use super::compile::{Failure, Settings, graph_of, prepared_program_of, sizing_dims};
use super::{Checked, Session, Timings, What};

/// A stage whose result can be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    Tokens,
    Ast,
    Types,
    Graph,
    /// After the pass of this name.
    After(&'static str),
    Kernels,
    Clif,
    Asm,
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Stage, String> {
        let pass = text.strip_prefix("after=").or_else(|| text.strip_prefix("after "));
        if let Some(pass) = pass {
            let known: Vec<&str> = PIPELINE.iter().map(|pass| pass.name).collect();
            return match PIPELINE.iter().find(|known| known.name == pass) {
                Some(found) => Ok(Stage::After(found.name)),
                None => Err(format!("there is no pass `{pass}`; the passes are {}", known.join(", "))),
            };
        }
        match text {
            "tokens" => Ok(Stage::Tokens),
            "ast" => Ok(Stage::Ast),
            "types" => Ok(Stage::Types),
            "graph" => Ok(Stage::Graph),
            "kernels" => Ok(Stage::Kernels),
            "clif" => Ok(Stage::Clif),
            "asm" => Ok(Stage::Asm),
            _ => Err("the stages are tokens, ast, types, graph, after=PASS, kernels, clif, asm".to_owned()),
        }
    }
}

impl Session {
    /// The text of a file before checking; `None` for a later stage.
    pub fn emit_syntax(&self, file: FileId, stage: &Stage) -> Option<String> {
        match stage {
            Stage::Tokens => Some(syntax::dump::tokens(&self.sources, file)),
            Stage::Ast => Some(syntax::dump::tree(&syntax::parse(&self.sources, file).file)),
            _ => None,
        }
    }
}

/// The text of a core at a stage behind checking.
pub fn emit_core(
    core: &Core,
    part: Part,
    stage: &Stage,
    settings: &Settings,
    timings: &mut Timings,
) -> Result<String, Failure> {
    let until = match stage {
        Stage::Tokens | Stage::Ast | Stage::Types => return Ok(types(core)),
        Stage::Graph => Some("elaborate"),
        Stage::After(pass) => Some(*pass),
        Stage::Kernels | Stage::Clif | Stage::Asm => None,
    };
    let graph = graph_of(core, part, &settings.dims, settings, until, timings)?;
    if until.is_some() {
        return Ok(graph.to_string());
    }
    let program = prepared_program_of(&graph, settings, timings)?;
    if *stage == Stage::Kernels {
        return Ok(program.to_string());
    }
    let options = cranelift::Options { verify: settings.verify, ..cranelift::Options::default() };
    let text = timings.codegen(|| cranelift::text(&program, options, *stage == Stage::Asm));
    text.map_err(|error| super::compile::defect("codegen", &error.to_string()))
}

/// What a definition takes, owns, demands and gives.
fn types(core: &Core) -> String {
    let mut text = String::new();
    for input in &core.inputs {
        let _ = writeln!(text, "input {}: {}", input.name, show_type(core, &input.elem, &input.axes));
    }
    let slot = |slot: &Slot| format!("{}: {}", slot.path, show_type(core, &slot.elem, &slot.axes));
    for param in &core.params {
        let _ = writeln!(text, "param {}", slot(param));
    }
    for state in &core.states {
        let _ = writeln!(text, "state {}", slot(state));
    }
    for constraint in &core.constraints {
        let _ = writeln!(text, "where {}", constraint.text);
    }
    for output in &core.outputs {
        let _ = writeln!(text, "output {}: {}", output.name, show_val(core, output.val));
    }
    text
}

/// What is proved of an item, for people: its type, what it demands, its axes.
pub fn theorem(item: &Checked) -> String {
    let mut text = String::new();
    if item.what == What::Test {
        return text;
    }
    if item.when_used {
        return format!("{} : checked where it is used\n", item.name);
    }
    if let Some(plan) = &item.plan {
        let parameters: usize = plan.steps[0].core.params.len();
        let measures: Vec<&str> = plan.measures.iter().map(|(name, _)| name.as_str()).collect();
        let length = match plan.length {
            Some(steps) => format!("{steps} steps"),
            None => format!("{} epochs", plan.epochs),
        };
        let data = match plan.samples {
            Some(_) => format!("{} samples, batch {}, ", plan.count, plan.batch),
            None => String::new(),
        };
        let _ = writeln!(
            text,
            "{} : {data}{length}, {parameters} parameter arrays; measures {}",
            item.name,
            measures.join(", ")
        );
    }
    let Some(certificate) = &item.certificate else { return text };
    // A dim that sizes a parameter is fixed when compiling; the theorem is for every value of the others.
    let fixed = item.core.as_ref().map(sizing_dims).unwrap_or_default();
    let open = |axis: &&AxisTheorem| !fixed.iter().any(|dim| dim.as_str() == axis.name);
    let every: Vec<&str> = certificate.axes.iter().filter(open).map(|axis| axis.name.as_str()).collect();
    let every =
        if every.is_empty() { String::new() } else { format!("      for every {}", every.join(", ")) };
    let assumptions: usize = certificate.axes.iter().map(|axis| axis.assumed.len()).sum();
    let under = match assumptions {
        0 => String::new(),
        1 => "  under 1 assumption".to_owned(),
        _ => format!("  under {assumptions} assumptions"),
    };
    let _ = writeln!(text, "{} : {}{every}{under}", certificate.name, certificate.signature);
    for condition in &certificate.conditions {
        let _ = writeln!(text, "  where {condition}");
    }
    let width = certificate.axes.iter().map(|axis| axis.name.chars().count()).max().unwrap_or(0);
    for axis in &certificate.axes {
        // Of an axis of which nothing was promised and nothing is proved there is nothing to say.
        if axis.declared
            || !axis.holds.is_empty()
            || !axis.at_inference.is_empty()
            || !axis.assumed.is_empty()
        {
            let kind = if axis.declared { axis.kind.as_str() } else { "" };
            let mut sentence = axis.sentence();
            for property in &axis.assumed {
                sentence.push_str(&format!("; {property} is assumed"));
            }
            let _ = writeln!(text, "  {:width$}  {kind:<6}  {sentence}", axis.name.as_str());
        }
    }
    text
}
