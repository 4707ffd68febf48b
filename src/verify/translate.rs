//! Trials of translations: what lies away from the border moves, and the outputs move with it.
//!
//! The theorem speaks of inputs that are zero within the field of the border, before and after they are moved; of their outputs
//! it speaks away from the border.

use crate::axes::{DimVar, Ratio};
use crate::check::certificate::GridTheorem;
use crate::check::core::{Core, Elem, InputInfo, Root};
use crate::session::Settings;

use super::draw::{self, Draws};
use super::reads::reads;
use super::run::Pair;
use super::transform::{is_followed, rate};
use super::values::{Values, distance, each_index};
use super::{Verdict, Witness};

const TRIALS: usize = 3;

/// By how much entries are moved, and how far from both ends they lie.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub by: i64,
    /// Inputs are zero, and outputs are not looked at, so near to the ends.
    pub margin: i64,
    /// Places between the margins where inputs are not zero.
    pub inner: i64,
}

/// Tries that the outputs commute with the translations that a theorem speaks of. How far an entry sees is what the theorem says, or, where
/// it sees all, what the reads at a distance add up to.
///
/// # Errors
/// Why it was not tried.
pub fn translations(
    cores: &(Core, Core),
    axis: &str,
    grid: &GridTheorem,
    settings: &Settings,
    draws: &mut Draws,
) -> Result<Verdict, String> {
    let (core, root) = (&cores.0, root_of(&cores.0, axis)?);
    let unknown = || "how far an output sees is not bounded".to_owned();
    let margin = match grid.field {
        Some((low, high)) => low.to_f64().abs().max(high.to_f64().abs()).ceil() as i64,
        None => reads(core, root).ok_or_else(unknown)?.margin,
    };
    let stride = grid.stride.as_ref().map_or(Some(Ratio::ONE), |stride| stride.as_ratio());
    let (stride, period) = stride.zip(grid.steps()).ok_or_else(unknown)?;
    let by = period * stride.numerator() * stride.denominator();
    translation(cores, axis, Plan { by, margin: margin + 1, inner: 4 }, settings, draws)
}

pub fn root_of(core: &Core, axis: &str) -> Result<Root, String> {
    let root = core.roots.iter().find(|(_, info)| info.name == axis).map(|(root, _)| root);
    root.ok_or_else(|| "it has no such axis".to_owned())
}

/// Tries one translation.
///
/// # Errors
/// Why it was not tried.
pub fn translation(
    cores: &(Core, Core),
    axis: &str,
    Plan { by, margin, inner }: Plan,
    settings: &Settings,
    draws: &mut Draws,
) -> Result<Verdict, String> {
    let core = &cores.0;
    let root = root_of(core, axis)?;
    let name = DimVar::new(axis);
    let on_axis = |info: &InputInfo| info.axes.iter().any(|&axis| core.axes[axis].root == Some(root));
    let holds = |info: &InputInfo| matches!(info.elem, Elem::Idx(_, Some(of)) if of == root);
    if !is_followed(core, root) || core.inputs.iter().any(|info| on_axis(info) && holds(info)) {
        return Err("positions on it, or sizes made of it, are among the inputs".to_owned());
    }
    let mut known: Option<(f64, f64)> = None;
    for _ in 0..TRIALS {
        let least = 2 * margin + by + inner;
        let sizes = (least..least + 32)
            .find_map(|length| {
                let mut given = settings.dims.clone();
                given.entry(name.clone()).or_insert(length);
                draw::sizes(core, &given, 2, 8, draws)
            })
            .ok_or("no sizes fit it")?;
        let length = sizes.get(&name).copied().unwrap_or(0);
        if length < least {
            return Err("the axis is too short".to_owned());
        }
        let mut pair = Pair::new(cores, &sizes, settings, draws)?;
        let drawn = draw::inputs(core, &sizes, draws).ok_or("a size is not known")?;
        let mut inputs: [Vec<Values>; 2] = [Vec::new(), Vec::new()];
        for (info, values) in core.inputs.iter().zip(&drawn) {
            let places: Vec<usize> = (0..info.axes.len())
                .filter(|&place| core.axes[info.axes[place]].root == Some(root))
                .collect();
            for (inputs, moved) in inputs.iter_mut().zip([0, by]) {
                let mut from = vec![0; values.shape.len()];
                if holds(info) {
                    let room = (length - 2 * margin - by).max(1);
                    inputs.push(Values::from_fn(&values.shape, |at| {
                        (margin + moved + values.at(at) as i64 % room) as f64
                    }));
                    continue;
                }
                inputs.push(Values::from_fn(&values.shape, |at| {
                    from.copy_from_slice(at);
                    for &place in &places {
                        let source = at[place] as i64 - moved;
                        if source < margin || source >= length - margin - by {
                            return 0.0;
                        }
                        from[place] = source as usize;
                    }
                    values.at(&from)
                }));
            }
        }
        let before = pair.run_with_tolerance(&inputs[0], &sizes)?;
        let after = pair.run(&inputs[1], &sizes)?;
        for (index, output) in core.outputs.iter().enumerate() {
            let visible = &core.vals[output.val].visible;
            let rates: Vec<Option<(i64, i64)>> = visible.iter().map(|&axis| rate(core, axis, root)).collect();
            // An output without the axis stays as it is; positions on it are not followed.
            if rates.iter().all(Option::is_none) && matches!(core.vals[output.val].elem, Elem::Idx(..)) {
                continue;
            }
            let (old, new) = (&before.values[index], &after[index]);
            let mut witness = None;
            each_index(&old.shape, &mut |at| {
                let mut to = at.to_vec();
                for (place, rate) in rates.iter().enumerate() {
                    let Some((over, under)) = rate else { continue };
                    // The place of the entry on the axis, and where it goes.
                    let here = at[place] as i64 * over / under;
                    if here < margin || here + by >= length - margin {
                        return;
                    }
                    to[place] = at[place] + (by * under / over) as usize;
                    if to[place] >= new.shape[place] {
                        return;
                    }
                }
                let (expected, found) = (old.at(at), new.at(&to));
                let (deviation, tolerance) = (distance(expected, found), before.tolerances[index]);
                if known.is_none_or(|(most, _)| deviation >= most) {
                    known = Some((deviation, tolerance));
                }
                if deviation > tolerance && witness.is_none() {
                    let to: Vec<String> = to.iter().map(usize::to_string).collect();
                    let sizes: Vec<String> =
                        sizes.iter().map(|(dim, size)| format!("{} = {size}", dim.as_str())).collect();
                    witness = Some(Witness {
                        sizes: sizes.join(", "),
                        change: format!("moving the entries of {axis} by {by}"),
                        entry: match to.is_empty() {
                            true => output.name.to_string(),
                            false => format!("{}[{}]", output.name, to.join(", ")),
                        },
                        expected,
                        found,
                        deviation,
                        tolerance,
                    });
                }
            });
            if let Some(witness) = witness {
                return Ok(Verdict::Refuted(Box::new(witness)));
            }
        }
    }
    match known {
        Some((deviation, tolerance)) => Ok(Verdict::Holds { deviation, tolerance, trials: TRIALS }),
        None => Err("no entry lies away from the border".to_owned()),
    }
}
