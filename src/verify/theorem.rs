//! Trials of every theorem of a definition.

use crate::check::certificate::{AxisTheorem, Property};
use crate::check::core::{Core, Root};
use crate::session::{Settings, sizing_dims};

use super::draw::{self, Draws, Sizes};
use super::run::{Outputs, Pair, moves_draws};
use super::transform::{self, Change, expected};
use super::translate::translations;
use super::values::{Values, distance, each_index};
use super::{Evidence, Subject, Verdict, Witness};

/// Sets of sizes, and changes for each of them.
const SIZES: usize = 4;
const CHANGES: usize = 3;

/// Tries everything that is claimed of a definition, at inference and, where it is one, in training.
pub fn evidence(subject: &Subject, settings: &Settings, draws: &mut Draws) -> Vec<Evidence> {
    let mut found = Vec::new();
    for (training, cores) in [(false, Some(&subject.inference)), (true, subject.training.as_ref())] {
        let Some(cores) = cores else { continue };
        let claims = claims(&subject.axes, training);
        if claims.is_empty() {
            continue;
        }
        let mut verdicts: Vec<Option<Verdict>> = claims.iter().map(|_| None).collect();
        for (claim, verdict) in claims.iter().zip(verdicts.iter_mut()) {
            if is_translation(claim.property) && !claim.is_drawn_along(&cores.0) {
                let grid = claim.axis.grid.as_ref().ok_or("it does not move evenly".to_owned());
                let tried =
                    grid.and_then(|grid| translations(cores, &claim.axis.name, grid, settings, draws));
                *verdict = Some(tried.unwrap_or_else(Verdict::Untried));
            }
        }
        let reason = try_claims(cores, &claims, &mut verdicts, settings, draws).err();
        for (Claim { axis, property }, verdict) in claims.into_iter().zip(verdicts) {
            let untried = || Verdict::Untried(reason.clone().unwrap_or_else(|| "no sizes fit it".to_owned()));
            let verdict = verdict.unwrap_or_else(untried);
            let (item, axis) = (subject.name.clone(), axis.name.clone());
            found.push(Evidence { item, axis, property, training, verdict });
        }
    }
    found
}

/// A property of an axis.
struct Claim<'a> {
    axis: &'a AxisTheorem,
    property: Property,
}

/// Why a theorem about a relabelling is not tried on draws for each position: two runs of one seed draw alike, and the theorem
/// speaks of draws that move with the inputs.
pub const DRAWN_ALONG: &str = "it draws a number for each position, which a trial cannot move";

fn is_translation(property: Property) -> bool {
    matches!(property, Property::TranslationInvariant | Property::TranslationEquivariant)
}

impl Claim<'_> {
    /// Whether trials would have to move draws. Those of one seed are the same in two runs, which is all that `pointwise` and `causal` ask.
    fn is_drawn_along(&self, core: &Core) -> bool {
        let root = core.roots.iter().find(|(_, info)| info.name == self.axis.name);
        let moves = !matches!(self.property, Property::Pointwise | Property::Causal);
        moves && root.is_some_and(|(root, _)| moves_draws(core, root))
    }
}

/// The axes with what is claimed of them in one of the two compilations.
fn claims(axes: &[AxisTheorem], training: bool) -> Vec<Claim<'_>> {
    let mut claims = Vec::new();
    for axis in axes {
        let at_inference = axis.at_inference.iter().filter(|_| !training);
        let all: Vec<Property> = axis.holds.iter().chain(at_inference).copied().collect();
        // What commutes with cyclic shifts commutes with translations, which away from the border are shifts.
        let follows = |property: &Property| match property {
            Property::TranslationInvariant => all.contains(&Property::ShiftInvariant),
            Property::TranslationEquivariant => all.contains(&Property::ShiftEquivariant),
            _ => false,
        };
        claims.extend(
            all.iter().filter(|property| !follows(property)).map(|&property| Claim { axis, property }),
        );
    }
    claims
}

fn try_claims(
    cores: &(Core, Core),
    claims: &[Claim],
    verdicts: &mut [Option<Verdict>],
    settings: &Settings,
    draws: &mut Draws,
) -> Result<(), String> {
    let core = &cores.0;
    for round in 0..SIZES {
        // Axes of one entry are the first to break, and the last to tell anything.
        let least = if round + 1 == SIZES { 1 } else { 2 };
        let Some(sizes) = draw::sizes(core, &settings.dims, least, 6 + round as i64, draws) else { continue };
        let mut pair = Pair::new(cores, &sizes, settings, draws)?;
        let Some(inputs) = draw::inputs(core, &sizes, draws) else { continue };
        let outputs = pair.run_with_tolerance(&inputs, &sizes)?;
        for (Claim { axis, property }, verdict) in claims.iter().zip(verdicts.iter_mut()) {
            let claim = Claim { axis, property: *property };
            if claim.is_drawn_along(core) {
                *verdict = Some(Verdict::Untried(DRAWN_ALONG.to_owned()));
                continue;
            }
            if is_translation(*property) || matches!(verdict, Some(Verdict::Refuted(_) | Verdict::Untried(_)))
            {
                continue;
            }
            let root = core.roots.iter().find(|(_, info)| info.name == axis.name).map(|(root, _)| root);
            let Some(root) = root else { continue };
            if !transform::is_followed(core, root) {
                *verdict = Some(Verdict::Untried("positions on it come as plain integers".to_owned()));
                continue;
            }
            let Some(count) = transform::extent(core, root, &sizes) else { continue };
            for _ in 0..CHANGES {
                let Some(change) = change(axis, *property, count, draws) else {
                    *verdict = Some(Verdict::Untried("how far the outputs see is not bounded".to_owned()));
                    break;
                };
                let mut trial = Trial {
                    core,
                    root,
                    axis: &axis.name,
                    sizes: &sizes,
                    inputs: &inputs,
                    outputs: &outputs,
                    pair: &mut pair,
                };
                let (worst, witness) = trial.run(&change, draws)?;
                *verdict = Some(judged(verdict.take(), *property, worst, witness));
                if matches!(verdict, Some(Verdict::Refuted(_) | Verdict::Untried(_))) {
                    break;
                }
            }
        }
        // Sizes that are all fixed give the same program again: other parameters and inputs still tell something.
        if draw::dims(core).is_empty() && sizing_dims(core).is_empty() && round >= 1 {
            break;
        }
    }
    Ok(())
}

/// What a property is tried with, on an axis of so many entries; `None` where there is no such trial.
pub fn change(axis: &AxisTheorem, property: Property, count: usize, draws: &mut Draws) -> Option<Change> {
    let below = |limit: usize, draws: &mut Draws| draws.between(0, limit.max(1) as i64 - 1) as usize;
    Some(match property {
        Property::PermutationInvariant
        | Property::PermutationEquivariant
        | Property::PermutationEquivariantExceptTies => Change::Order(draws.permutation(count)),
        Property::ShiftInvariant | Property::ShiftEquivariant => {
            let period = axis.grid.as_ref().map_or(Some(1), |grid| grid.steps())? as usize;
            Change::Shift { by: period * below(count / period, draws), count }
        }
        Property::Pointwise => Change::AllBut(below(count, draws)),
        Property::Causal => Change::Behind(below(count, draws)),
        Property::TranslationInvariant | Property::TranslationEquivariant => return None,
    })
}

/// A trial added to what is known.
fn judged(
    before: Option<Verdict>,
    property: Property,
    worst: (f64, f64),
    witness: Option<Witness>,
) -> Verdict {
    if let Some(witness) = witness {
        // Equal entries are what this property excepts, and clipped values are equal often.
        return match property {
            Property::PermutationEquivariantExceptTies => Verdict::Untried("equal entries occur".to_owned()),
            _ => Verdict::Refuted(Box::new(witness)),
        };
    }
    match before {
        Some(Verdict::Holds { deviation, tolerance, trials }) if deviation >= worst.0 => {
            Verdict::Holds { deviation, tolerance, trials: trials + 1 }
        }
        Some(Verdict::Holds { trials, .. }) => {
            Verdict::Holds { deviation: worst.0, tolerance: worst.1, trials: trials + 1 }
        }
        _ => Verdict::Holds { deviation: worst.0, tolerance: worst.1, trials: 1 },
    }
}

/// One change of one run.
pub struct Trial<'a> {
    pub core: &'a Core,
    pub root: Root,
    pub axis: &'a str,
    pub sizes: &'a Sizes,
    pub inputs: &'a [Values],
    pub outputs: &'a Outputs,
    pub pair: &'a mut Pair,
}

impl Trial<'_> {
    /// The largest deviation with its tolerance, and a witness where one exceeds it: the entry that exceeds it most.
    pub fn run(
        &mut self,
        change: &Change,
        draws: &mut Draws,
    ) -> Result<((f64, f64), Option<Witness>), String> {
        let changed = transform::inputs(self.core, self.root, change, self.inputs, self.sizes, draws);
        let after = self.pair.run(&changed, self.sizes)?;
        let (mut worst, mut witness) = ((0.0, 0.0), None::<Witness>);
        for (index, after) in after.iter().enumerate() {
            let before = &self.outputs.values[index];
            let expected = expected(self.core, index, self.root, change, before);
            let tolerance = self.outputs.tolerances[index];
            let mut place = 0;
            each_index(&after.shape, &mut |at| {
                if let Some(expected) = expected[place] {
                    let found = after.numbers[place];
                    let deviation = distance(expected, found);
                    if deviation >= worst.0 {
                        worst = (deviation, tolerance);
                    }
                    let more = witness.as_ref().is_none_or(|known| deviation > known.deviation);
                    if deviation > tolerance && more {
                        witness =
                            Some(self.witness(change, index, at, (expected, found), (deviation, tolerance)));
                    }
                }
                place += 1;
            });
        }
        Ok((worst, witness))
    }

    fn witness(
        &self,
        change: &Change,
        output: usize,
        at: &[usize],
        (expected, found): (f64, f64),
        (deviation, tolerance): (f64, f64),
    ) -> Witness {
        let sizes: Vec<String> =
            self.sizes.iter().map(|(dim, size)| format!("{} = {size}", dim.as_str())).collect();
        let at: Vec<String> = at.iter().map(usize::to_string).collect();
        let name = &self.core.outputs[output].name;
        Witness {
            sizes: sizes.join(", "),
            change: change.describe(self.axis),
            entry: if at.is_empty() { name.to_string() } else { format!("{name}[{}]", at.join(", ")) },
            expected,
            found,
            deviation,
            tolerance,
        }
    }
}
