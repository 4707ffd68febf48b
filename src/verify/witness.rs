//! For a rejected definition: the smallest inputs that break what it declares.

use crate::check::Kind;
use crate::check::certificate::AxisTheorem;
use crate::check::core::Core;
use crate::session::Settings;

use super::draw::{self, Draws};
use super::reads::{Reads, reads};
use super::run::{Pair, moves_draws};
use super::theorem::{DRAWN_ALONG, Trial};
use super::transform::{self, Change};
use super::translate::{Plan, root_of, translation};
use super::{Subject, Verdict, Witness};

/// What a search came to.
#[derive(Clone, Debug)]
pub enum Search {
    Found(Box<Witness>),
    /// So many trials, and none of them breaks it.
    NotFound(usize),
    /// Why it could not be tried.
    Untried(String),
}

/// Looks for inputs that break what the kind of an axis promises: small sizes first, swaps before other orders.
pub fn search(subject: &Subject, axis: &AxisTheorem, settings: &Settings, draws: &mut Draws) -> Search {
    let mut trials = 0;
    let mut reason = "no sizes fit it".to_owned();
    for (training, cores) in [(false, Some(&subject.inference)), (true, subject.training.as_ref())] {
        let Some(cores) = cores else { continue };
        let core = &cores.0;
        let root = core.roots.iter().find(|(_, info)| info.name == axis.name).map(|(root, _)| root);
        let Some(root) = root else { continue };
        // What is drawn is drawn alike in both runs of a trial that redraws inputs; along the axis it does not move with them.
        if moves_draws(core, root) && !matches!(axis.kind, Kind::Batch | Kind::Causal) {
            reason = DRAWN_ALONG.to_owned();
            continue;
        }
        if axis.kind == Kind::Grid {
            match moved_far(cores, &axis.name, settings, draws) {
                Ok(Verdict::Refuted(mut witness)) => {
                    if training {
                        witness.sizes += " (in training)";
                    }
                    return Search::Found(witness);
                }
                Ok(Verdict::Holds { trials: tried, .. }) => trials += tried,
                Ok(Verdict::Untried(why)) | Err(why) => reason = why,
            }
            continue;
        }
        for (least, most) in [(2, 2), (2, 3), (3, 4), (2, 6), (4, 8)] {
            for _ in 0..2 {
                let Some(sizes) = draw::sizes(core, &settings.dims, least, most, draws) else { continue };
                let tried = (|| -> Result<Option<Witness>, String> {
                    let mut pair = Pair::new(cores, &sizes, settings, draws)?;
                    let inputs = draw::inputs(core, &sizes, draws).ok_or("a size is not known")?;
                    let outputs = pair.run_with_tolerance(&inputs, &sizes)?;
                    let count = transform::extent(core, root, &sizes).ok_or("its size is not known")?;
                    for change in changes(axis, count, draws) {
                        trials += 1;
                        let mut trial = Trial {
                            core,
                            root,
                            axis: &axis.name,
                            sizes: &sizes,
                            inputs: &inputs,
                            outputs: &outputs,
                            pair: &mut pair,
                        };
                        if let (_, Some(mut witness)) = trial.run(&change, draws)? {
                            if training {
                                witness.sizes += " (in training)";
                            }
                            return Ok(Some(witness));
                        }
                    }
                    Ok(None)
                })();
                match tried {
                    Ok(Some(witness)) => return Search::Found(Box::new(witness)),
                    Ok(None) => {}
                    Err(why) => reason = why,
                }
            }
        }
    }
    if trials > 0 { Search::NotFound(trials) } else { Search::Untried(reason) }
}

/// Short translations of few entries first; as far from the ends as the program's reads go, and by multiples of all that indices are divided
/// by, so that what is found is no matter of the border or of a period.
fn moved_far(
    cores: &(Core, Core),
    axis: &str,
    settings: &Settings,
    draws: &mut Draws,
) -> Result<Verdict, String> {
    let core = &cores.0;
    let known = reads(core, root_of(core, axis)?);
    let known = known.unwrap_or(Reads { margin: 24, turn: 12 });
    let mut tried = 0;
    let mut last = Err("no sizes fit it".to_owned());
    for times in [1, 2, 3, 12] {
        for inner in [1, 2, 4, 8] {
            let plan = Plan { by: known.turn * times, margin: known.margin, inner };
            match translation(cores, axis, plan, settings, draws) {
                Ok(Verdict::Refuted(witness)) => return Ok(Verdict::Refuted(witness)),
                Ok(Verdict::Holds { deviation, tolerance, trials }) => {
                    tried += trials;
                    last = Ok(Verdict::Holds { deviation, tolerance, trials: tried });
                }
                other => last = last.or(other),
            }
        }
    }
    last
}

/// What a kind is tried with: every swap of neighbours, then some orders; every entry.
fn changes(axis: &AxisTheorem, count: usize, draws: &mut Draws) -> Vec<Change> {
    match axis.kind {
        Kind::Set => {
            let swaps = (1..count).map(|second| {
                let mut order: Vec<usize> = (0..count).collect();
                order.swap(second - 1, second);
                Change::Order(order)
            });
            let mut changes: Vec<Change> = swaps.collect();
            changes.extend((0..3).map(|_| Change::Order(draws.permutation(count))));
            changes
        }
        Kind::Batch => (0..count).map(Change::AllBut).collect(),
        Kind::Causal => (0..count).map(Change::Behind).collect(),
        Kind::Ring => (1..count).map(|by| Change::Shift { by, count }).collect(),
        Kind::Grid | Kind::Dim => Vec::new(),
    }
}
