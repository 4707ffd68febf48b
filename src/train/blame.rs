//! A training whose loss is not finite: which step went wrong, and which operator of it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::axes::DimVar;
use crate::base::Span;
use crate::diag::Diagnostic;
use crate::elaborate::{Part, elaborate};
use crate::graph::{Op, Role, first_not_finite};
use crate::tensor::Tensor;

use super::evaluate::{scalar, sized};
use super::store::Store;
use super::trainer::Trainer;
use super::unit::{Clock, tensors_for};

/// How long the operator is looked for, with the interpreter.
const PATIENCE: Duration = Duration::from_secs(20);

/// What made the first value that is not finite.
#[derive(Clone, Debug)]
pub struct Blame {
    /// The number of the step, from 1.
    pub step: u64,
    /// The operator's place in the source, and its name.
    pub span: Span,
    pub operator: String,
}

impl Trainer<'_> {
    /// Does the steps of `batches` again, the first of which is that of `clock`, from the tensors that they began with; the first one whose
    /// loss or results are not finite is done a last time by the interpreter. `None` where that would take too long.
    pub(super) fn blame(
        &self,
        batches: &[&[u32]],
        mut store: Store,
        mut clock: Clock,
    ) -> Result<Option<Blame>, Box<Diagnostic>> {
        for rows in batches {
            for (_, turn) in self.turns(rows, clock) {
                let dims = sized(self.plan, turn.rows.len());
                let mut arrays = self.data.batch(turn.rows.len())?;
                self.data.gather(turn.rows, &mut arrays, Some(self.pool));
                let before = store.clone();
                let outputs = turn.unit.run(&dims, &arrays, &mut store, turn.clock, self.pool)?;
                if outputs.iter().all(|loss| scalar(loss).is_finite()) && store.is_finite() {
                    continue;
                }
                let graph = elaborate(turn.core, Part::Body, &BTreeMap::new());
                let mut owned = tensors_for(&graph, &before, turn.clock).into_iter();
                let mut given = arrays.iter();
                let dims: HashMap<DimVar, i64> = dims.into_iter().collect();
                let mut inputs: Vec<Tensor> = Vec::new();
                for input in &graph.inputs {
                    let tensor = match input.role {
                        Role::Argument => given.next().and_then(|array| {
                            let size = |axis| graph.axes[axis].size.eval_with(&|var| dims.get(var).copied());
                            let shape: Option<Vec<usize>> = input
                                .order
                                .iter()
                                .map(|&axis| size(axis).ok().and_then(|size| usize::try_from(size).ok()))
                                .collect();
                            array.to_tensor(&shape?).ok()
                        }),
                        _ => owned.next(),
                    };
                    let Some(tensor) = tensor else { return Ok(None) };
                    inputs.push(tensor);
                }
                let begun = Instant::now();
                let found = first_not_finite(&graph, &inputs, &dims, &|| begun.elapsed() < PATIENCE);
                let Ok(Some(node)) = found else { return Ok(None) };
                let data = &graph.nodes[node];
                let operator = match &data.op {
                    Op::Map(function) => function.name().to_owned(),
                    Op::Reduce { op, .. } => op.name().to_owned(),
                    op => op.def().name.to_owned(),
                };
                return Ok(Some(Blame { step: clock.step + 1, span: data.span, operator }));
            }
            clock.step += 1;
        }
        Ok(None)
    }
}
