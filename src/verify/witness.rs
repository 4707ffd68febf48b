//! For a rejected definition: the smallest inputs that break what it declares.

use crate::axes::{DimVar, Ratio};
use crate::check::Kind;
use crate::check::certificate::{AxisTheorem, GridTheorem};
use crate::check::core::Core;
use crate::session::Settings;

use super::draw::{self, Draws};
use super::run::{Pair, draws_numbers};
use super::theorem::Trial;
use super::transform::{self, Change};
use super::translate::translations;
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
        // What is drawn is drawn alike in both runs of a trial that redraws inputs; it does not move with them.
        if draws_numbers(core) && !matches!(axis.kind, Kind::Batch | Kind::Causal) {
            reason = "it draws random numbers, which do not move with its inputs".to_owned();
            continue;
        }
        let root = core.roots.iter().find(|(_, info)| info.name == axis.name).map(|(root, _)| root);
        let Some(root) = root else { continue };
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

/// Translations by a dozen, which is a multiple of most periods, of entries that lie far from both ends: further than most outputs see.
fn moved_far(
    cores: &(Core, Core),
    axis: &str,
    settings: &Settings,
    draws: &mut Draws,
) -> Result<Verdict, String> {
    let core = &cores.0;
    let name = DimVar::new(axis);
    // Outputs of a part of its entries move by whole ones.
    let outputs = core.outputs.iter().flat_map(|output| &core.vals[output.val].visible);
    let rates = outputs.filter_map(|&own| core.axes[own].size.as_ref()?.slope(&name)?.inverse());
    let turns = rates
        .fold(1, |turns, rate| if turns % rate.numerator() == 0 { turns } else { turns * rate.numerator() });
    let far = Ratio::whole(24);
    let grid = GridTheorem {
        stride: Some(Ratio::ONE),
        period: 12 * turns.max(1),
        field: far.neg().map(|back| (back, far)),
    };
    translations(cores, axis, &grid, settings, draws)
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
