//! Every stage as text: `--emit`, and the golden files.

use std::fmt::Write;
use std::str::FromStr;

use crate::base::FileId;
use crate::check::core::{Core, Slot};
use crate::check::{show_type, show_val};
use crate::codegen::cranelift;
use crate::elaborate::Part;
use crate::passes::PIPELINE;
use crate::syntax;

use super::compile::{Failure, Settings, graph_of, program_of};
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
    let program = program_of(&graph, settings, timings)?;
    if *stage == Stage::Kernels {
        return Ok(program.to_string());
    }
    let options = cranelift::Options { verify: settings.verify, ..cranelift::Options::default() };
    let text = timings.codegen(|| cranelift::text(&program, options, *stage == Stage::Asm));
    text.map_err(|error| super::compile::defect("codegen", &error.to_string()))
}

/// `f32[N, D] -> f32[10]`
pub fn signature(core: &Core) -> String {
    let inputs: Vec<String> =
        core.inputs.iter().map(|input| show_type(core, &input.elem, &input.axes)).collect();
    let outputs: Vec<String> = core.outputs.iter().map(|output| show_val(core, output.val)).collect();
    let group = |types: Vec<String>| match types.as_slice() {
        [one] => one.clone(),
        _ => format!("({})", types.join(", ")),
    };
    format!("{} -> {}", group(inputs), group(outputs))
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

/// One line for an item: its name and type.
pub fn headline(item: &Checked) -> String {
    match (&item.plan, &item.core) {
        (Some(plan), _) => {
            format!("{} : {} samples, {} parameters", item.name, plan.count, plan.step.params.len())
        }
        (None, Some(_)) if item.what == What::Test => format!("test {:?}", item.name),
        (None, Some(core)) => format!("{} : {}", item.name, signature(core)),
        (None, None) => item.name.to_string(),
    }
}
