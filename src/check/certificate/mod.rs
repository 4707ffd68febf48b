//! What is proved of each axis of a definition, and whether its declared kinds are kept.

mod broken;
mod kinds;
mod refused;
mod theorem;
mod words;

use std::collections::BTreeSet;
use std::fmt;

use crate::axes::{Ratio, Scale};
use crate::base::{Name, Span};
use crate::diag::Diagnostic;

use super::core::Core;
use super::kind::Kind;
use super::rules::analyse;
use kinds::violations;
use refused::diagonal;
use theorem::theorem;

use super::show::{show_type, show_val};

/// What can hold of an axis. The words are those of the JSON form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Property {
    Pointwise,
    PermutationInvariant,
    PermutationEquivariant,
    PermutationEquivariantExceptTies,
    ShiftInvariant,
    ShiftEquivariant,
    TranslationInvariant,
    TranslationEquivariant,
    Causal,
}

impl Property {
    pub fn as_str(self) -> &'static str {
        match self {
            Property::Pointwise => "pointwise",
            Property::PermutationInvariant => "permutation-invariant",
            Property::PermutationEquivariant => "permutation-equivariant",
            Property::PermutationEquivariantExceptTies => "permutation-equivariant-except-ties",
            Property::ShiftInvariant => "shift-invariant",
            Property::ShiftEquivariant => "shift-equivariant",
            Property::TranslationInvariant => "translation-invariant",
            Property::TranslationEquivariant => "translation-equivariant",
            Property::Causal => "causal",
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a property does not hold.
#[derive(Clone, Debug)]
pub struct Broken {
    pub property: Property,
    /// The operation, in the user's terms.
    pub by: String,
    /// In the definition itself: the operation, or the call that leads to it.
    pub span: Span,
    /// The operation, where a call leads to it.
    pub inside: Option<Span>,
    pub message: String,
}

/// The theorem about one axis.
#[derive(Clone, Debug)]
pub struct AxisTheorem {
    pub name: Name,
    /// As declared, or `dim` where nothing was.
    pub kind: Kind,
    pub declared: bool,
    pub holds: BTreeSet<Property>,
    /// What holds in an inference compilation only.
    pub at_inference: BTreeSet<Property>,
    pub assumed: Vec<Name>,
    pub broken: Vec<Broken>,
    /// What a translation of the axis does, where it does something even.
    pub grid: Option<GridTheorem>,
}

/// How the outputs move when a grid or a ring is translated.
#[derive(Clone, Debug, PartialEq)]
pub struct GridTheorem {
    /// Neighbouring entries of the output lie this far apart on the axis; `None`: no output has the axis.
    pub stride: Option<Scale>,
    /// The translations that the theorem speaks of: the multiples.
    pub period: Scale,
    /// An entry of the output depends on the places from `at + low` to `at + high`, `at` its own; where it is bounded.
    pub field: Option<(Ratio, Ratio)>,
}

/// The theorems of one definition.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub name: Name,
    /// `f32[N, D] -> f32[10]`
    pub signature: String,
    pub conditions: Vec<String>,
    pub axes: Vec<AxisTheorem>,
}

impl Certificate {
    /// Leaves out what does not hold for another choice of the static arguments.
    pub fn restrict(&mut self, other: &Certificate) {
        for theorem in &mut self.axes {
            let Some(other) = other.axes.iter().find(|axis| axis.name == theorem.name) else { continue };
            let lost = |property: &Property| !other.holds.contains(property);
            theorem.broken.extend(
                other.broken.iter().filter(|broken| theorem.holds.contains(&broken.property)).cloned(),
            );
            theorem.holds.retain(|property| !lost(property));
            theorem
                .at_inference
                .retain(|property| other.holds.contains(property) || other.at_inference.contains(property));
            if other.grid != theorem.grid {
                theorem.grid = None;
                let of_grids = [Property::TranslationInvariant, Property::TranslationEquivariant];
                theorem.holds.retain(|property| !of_grids.contains(property));
            }
        }
    }
}

/// Proves what can be proved, in training and at inference, and checks the declared kinds.
pub fn certify(name: &str, training: &Core, inference: &Core) -> (Certificate, Vec<Diagnostic>) {
    let quiet = analyse(inference);
    let noisy = (!std::ptr::eq(training, inference)).then(|| analyse(training));
    let facts = noisy.as_ref().unwrap_or(&quiet);
    let mut diagnostics = Vec::new();
    let mut axes = Vec::new();
    for (root, info) in training.roots.iter() {
        let mut theorem = theorem(facts, root);
        if noisy.is_some() && inference.roots.get(root).is_some_and(|other| other.name == info.name) {
            let other = self::theorem(&quiet, root);
            let both: BTreeSet<_> = theorem.holds.intersection(&other.holds).copied().collect();
            theorem.at_inference = other.holds.difference(&both).copied().collect();
            theorem.holds = both;
        }
        for facts in noisy.iter().chain([&quiet]) {
            if let Some((kind, place)) = facts.core().roots.get(root).and_then(|info| info.kind) {
                let found = violations(facts, root, kind, place);
                if !found.is_empty() {
                    diagnostics.extend(found);
                    break;
                }
            }
        }
        diagnostics.extend(diagonal(training, root));
        axes.push(theorem);
    }
    let inputs: Vec<_> =
        inference.inputs.iter().map(|input| show_type(inference, &input.elem, &input.axes)).collect();
    let outputs: Vec<_> = inference.outputs.iter().map(|output| show_val(inference, output.val)).collect();
    let joined = |parts: Vec<String>| {
        if parts.len() == 1 { parts.concat() } else { format!("({})", parts.join(", ")) }
    };
    let mut conditions: Vec<String> =
        inference.constraints.iter().map(|constraint| constraint.text.clone()).collect();
    conditions.sort();
    conditions.dedup();
    let signature = format!("{} -> {}", joined(inputs), joined(outputs));
    (Certificate { name: Name::new(name), signature, conditions, axes }, diagnostics)
}
