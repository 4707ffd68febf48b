//! Arrays for a definition's inputs: which is which, what they are mapped over, which sizes follow.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::axes::{Dim, DimVar, solve_one};
use crate::base::Name;
use crate::check::core::{Core, Elem, InputInfo};
use crate::check::{Checker, Entry, show_type};
use crate::diag::Diagnostic;
use crate::tensor::{DType, Number, Tensor};

use super::check::{Checked, given_dims};
use super::compile::{Settings, broken_constraints};
use super::{Session, errors};

/// An array from a file; without a name it is for the only input.
pub struct Given {
    pub name: Option<String>,
    pub file: PathBuf,
    pub array: Tensor,
}

/// A definition that is ready for its arrays.
#[derive(Debug)]
pub struct Fitted {
    /// Mapped over the axes that the arrays have beyond the definition's own.
    pub core: Core,
    /// In the order of the core's inputs, with their types.
    pub arrays: Vec<Tensor>,
    pub dims: BTreeMap<DimVar, i64>,
}

impl Session {
    /// Fits arrays to a definition that was checked.
    ///
    /// # Errors
    /// Inputs without an array, arrays without an input, shapes and types that do not fit, NaN, labels out of range,
    /// constraints of the program that the sizes break.
    pub fn fit(
        &self,
        item: &Checked,
        given: Vec<Given>,
        settings: &Settings,
    ) -> Result<Fitted, Vec<Diagnostic>> {
        let plain = item.alone()?;
        let given = assign(plain, given)?;
        let mut extra: Option<(usize, &Given)> = None;
        let mut mapped = BTreeSet::new();
        let mut found = Vec::new();
        for (info, given) in plain.inputs.iter().zip(&given) {
            let (rank, own) = (given.array.shape().len(), info.axes.len());
            if rank < own {
                found.push(errors::wrong_shape(info.span, given, &show(plain, info)));
            } else if rank > own {
                mapped.insert(info.name.clone());
                match extra {
                    Some((count, first))
                        if count != rank - own || shape(first, count) != shape(given, count) =>
                    {
                        found.push(errors::batches_differ(info.span, first, given));
                    }
                    _ => extra = Some((rank - own, given)),
                }
            }
        }
        if !found.is_empty() {
            return Err(found);
        }
        let core = match extra {
            None => plain.clone(),
            Some((count, _)) => {
                // No name of a program has such a mark, so that nothing of the definition's own is meant.
                let over: Vec<Name> =
                    (0..count).map(|index| Name::new(format!("sample{}", "'".repeat(index + 1)))).collect();
                self.mapped(item, &over, &|name| mapped.contains(name), settings)?
            }
        };
        let mut dims = settings.dims.clone();
        for (info, given) in core.inputs.iter().zip(&given) {
            found.extend(sizes(&core, info, given, &mut dims));
        }
        if found.is_empty() {
            found.extend(broken_constraints(&core, &dims));
        }
        let mut arrays = Vec::new();
        for (info, given) in core.inputs.iter().zip(&given) {
            match values(&core, info, given, &dims) {
                Ok(array) => arrays.push(array),
                Err(diagnostic) => found.push(*diagnostic),
            }
        }
        if found.is_empty() { Ok(Fitted { core, arrays, dims }) } else { Err(found) }
    }

    /// The core of a definition that is mapped over these axes, in front of the inputs that are mapped.
    pub fn mapped(
        &self,
        item: &Checked,
        over: &[Name],
        is_mapped: &dyn Fn(&str) -> bool,
        settings: &Settings,
    ) -> Result<Core, Vec<Diagnostic>> {
        let def = self.program.items(item.scope).iter().find_map(|entry| match entry {
            Entry::Def(def) if def.name.span == item.span => Some(def.clone()),
            _ => None,
        });
        let Some(def) = def else { return Err(vec![errors::not_compiled_alone(item.span, &item.name)]) };
        let mode = self.mode(settings, false);
        let mut checker = Checker::new(&self.program, mode);
        let given = given_dims(&def, settings);
        match checker.mapped(&def, item.scope, &given, over, is_mapped) {
            Ok(()) => Ok(checker.core),
            Err(_) => Err(checker.diagnostics),
        }
    }
}

/// The arrays in the order of the inputs.
fn assign(core: &Core, given: Vec<Given>) -> Result<Vec<Given>, Vec<Diagnostic>> {
    let names: Vec<&Name> = core.inputs.iter().map(|input| &input.name).collect();
    let mut places: Vec<Option<Given>> = names.iter().map(|_| None).collect();
    let mut found = Vec::new();
    for given in given {
        let place = match &given.name {
            Some(name) => names.iter().position(|input| *input == name),
            None if names.len() == 1 => Some(0),
            None => None,
        };
        match place {
            Some(place) if places[place].is_some() => found.push(errors::input_twice(names[place])),
            Some(place) => places[place] = Some(given),
            None => found.push(errors::no_such_input(&given, &names)),
        }
    }
    for (info, place) in core.inputs.iter().zip(&places) {
        if place.is_none() && found.is_empty() {
            found.push(errors::missing_input(info.span, &info.name, &show(core, info)));
        }
    }
    if found.is_empty() { Ok(places.into_iter().flatten().collect()) } else { Err(found) }
}

fn shape(given: &Given, count: usize) -> &[usize] {
    &given.array.shape()[..count.min(given.array.shape().len())]
}

fn show(core: &Core, info: &InputInfo) -> String {
    show_type(core, &info.elem, &info.axes)
}

/// Solves the sizes of an input's axes for dims, and compares those that are known.
fn sizes(
    core: &Core,
    info: &InputInfo,
    given: &Given,
    dims: &mut BTreeMap<DimVar, i64>,
) -> Option<Diagnostic> {
    let shape = given.array.shape();
    if shape.len() != info.axes.len() {
        return Some(errors::wrong_shape(info.span, given, &show(core, info)));
    }
    // Bare names bind first, then one unknown of an expression is solved.
    let mut order: Vec<usize> = (0..shape.len()).collect();
    order.sort_by_key(|&index| core.size(info.axes[index]).as_var().is_none());
    for index in order {
        let (size, have) = (core.size(info.axes[index]), shape[index] as i64);
        let known: BTreeMap<DimVar, Dim> =
            dims.iter().map(|(var, value)| (var.clone(), Dim::constant(*value))).collect();
        let size = size.substitute(&known).unwrap_or(size);
        let fits = match size.as_const() {
            Some(wanted) => wanted == have,
            None => match solve_one(&size, &Dim::constant(have), &size.vars()) {
                Some((var, value)) => match value.as_const().filter(|&value| value >= 0) {
                    Some(value) => {
                        dims.insert(var, value);
                        true
                    }
                    None => false,
                },
                None => false,
            },
        };
        if !fits {
            let diagnostic = errors::wrong_shape(info.span, given, &show(core, info));
            let vars: BTreeSet<DimVar> = info.axes.iter().flat_map(|&axis| core.size(axis).vars()).collect();
            let values: Vec<String> = vars
                .iter()
                .filter_map(|var| Some(format!("{} is {}", var.as_str(), dims.get(var)?)))
                .collect();
            return Some(if values.is_empty() {
                diagnostic
            } else {
                diagnostic.with_note(values.join(", "))
            });
        }
    }
    None
}

/// The array as the input's type; refuses what is no such value.
fn values(
    core: &Core,
    info: &InputInfo,
    given: &Given,
    dims: &BTreeMap<DimVar, i64>,
) -> Result<Tensor, Box<Diagnostic>> {
    let (wanted, have) = (info.elem.dtype(), given.array.dtype());
    let fits = match wanted {
        _ if wanted.is_float() => have != DType::Bool,
        DType::Bool => have == DType::Bool,
        _ => have.is_integer(),
    };
    if !fits {
        return Err(Box::new(errors::wrong_dtype(info.span, given, &show(core, info))));
    }
    let bound = match &info.elem {
        Elem::Idx(size, _) => Some(size),
        Elem::Of(_) => info.bound.as_ref(),
    };
    if let Some(bound) = bound.and_then(|bound| bound.eval(dims).ok()) {
        let outside = |number: Number| !matches!(number, Number::Int(value) if (0..bound).contains(&value));
        if let Some(position) = given.array.numbers().position(outside) {
            let value = given.array.number(position).map_or(f64::NAN, Number::as_f64);
            return Err(Box::new(errors::input_out_of_range(info.span, given, position, value, bound)));
        }
    }
    let array = given.array.cast(wanted);
    match array.first_non_finite() {
        Some(at) => Err(Box::new(errors::input_not_finite(info.span, given, &at))),
        None => Ok(array),
    }
}
