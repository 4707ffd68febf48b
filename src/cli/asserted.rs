//! The test blocks of `nnc test`: what they assert, natively or in the interpreter.

use std::collections::HashMap;
use std::fmt;

use serde_json::{Value, json};

use crate::check::core::Core;
use crate::diag;
use crate::elaborate::Part;
use crate::graph::{Role, interpret};
use crate::runtime::{Array, Dims, Pool, RunError};
use crate::session::{self, Checked, Session, Settings, Timings};
use crate::tensor::Tensor;
use crate::train::{Clock, Store, errors, fill, tensors_for, whole_arrays};

use super::console::Stop;
use super::prepare::failed;

/// An assertion that does not hold.
pub struct Failure {
    line: u32,
    column: u32,
    /// Both sides of a comparison.
    sides: Option<(Tensor, Tensor)>,
}

/// `3:5: the sides differ`, and what they are.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { line, column, sides } = self;
        match sides {
            Some((left, right)) => write!(
                f,
                "{line}:{column}: the sides differ\n        left  {left:.6}\n        right {right:.6}"
            ),
            None => write!(f, "{line}:{column}: does not hold"),
        }
    }
}

impl Failure {
    pub fn json(&self) -> Value {
        json!({
            "line": self.line,
            "column": self.column,
            "left": self.sides.as_ref().map(|(left, _)| left.to_string()),
            "right": self.sides.as_ref().map(|(_, right)| right.to_string()),
        })
    }
}

/// What a test block asserts and does not hold.
///
/// # Errors
/// What keeps it from being run.
pub fn run(
    session: &Session,
    item: &Checked,
    settings: &Settings,
    interpreted: bool,
    pool: &Pool,
    timings: &mut Timings,
) -> Result<Vec<Failure>, Stop> {
    let Some(core) = &item.core else { return Ok(Vec::new()) };
    let values =
        values(session, (core, item), settings, interpreted, pool, timings).map_err(failed(session))?;
    let mut values = values.into_iter();
    let mut failures = Vec::new();
    for assertion in &core.assertions {
        let holds = values.next().is_some_and(|holds| holds.numbers().all(|number| number.as_f64() != 0.0));
        let sides = match assertion.sides {
            Some(_) => values.next().zip(values.next()),
            None => None,
        };
        if !holds {
            let at = session.sources.start(assertion.span);
            failures.push(Failure { line: at.line, column: at.column, sides });
        }
    }
    Ok(failures)
}

/// The outputs of a test's graph: for each assertion whether it holds, then its sides.
fn values(
    session: &Session,
    (core, item): (&Core, &Checked),
    settings: &Settings,
    interpreted: bool,
    pool: &Pool,
    timings: &mut Timings,
) -> Result<Vec<Tensor>, Box<diag::Diagnostic>> {
    let on_disk = session.on_disk();
    let files = whole_arrays(&item.files, core, &|path, span| on_disk.path(path, span))?;
    let none = Dims::new();
    let mut store = Store::of(core, &none).map_err(|error| Box::new(errors::not_run(&error.into())))?;
    if !store.tensors.is_empty() {
        let init = session::compile(core, Part::Init, &none, settings, timings)?;
        fill(&mut store, &init, &none, 0, pool)?;
    }
    if interpreted {
        let graph = session::graph_of(core, Part::Assertions, &none, settings, Some("elaborate"), timings)?;
        let mut owned = tensors_for(&graph, &store, Clock::default()).into_iter();
        let mut files = files.into_iter();
        let inputs = graph.inputs.iter().filter_map(|input| match input.role {
            Role::Argument => files.next(),
            _ => owned.next(),
        });
        return interpret(&graph, &inputs.collect::<Vec<_>>(), &HashMap::new())
            .map_err(|error| Box::new(session::errors::not_interpreted(&error)));
    }
    let unit = session::compile(core, Part::Assertions, &none, settings, timings)?;
    let shapes: Vec<_> = unit.output_shapes(&none).map(|(shape, _)| shape).collect();
    let arguments = files.iter().map(Array::from_tensor).collect::<Result<Vec<_>, _>>();
    let arguments = arguments.map_err(|error| Box::new(errors::not_run(&RunError::OutOfMemory(error))))?;
    let arrays = unit.run(&none, &arguments, &mut store, Clock::default(), pool)?;
    let tensors = arrays.iter().zip(shapes).filter_map(|(array, shape)| array.to_tensor(&shape).ok());
    Ok(tensors.collect())
}
