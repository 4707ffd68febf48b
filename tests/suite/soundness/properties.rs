//! What each property of a certificate says of two runs.

use nnc::axes::Ratio;
use nnc::check::certificate::{AxisTheorem, Property};

use super::draws::Draws;
use super::run::{Output, Run, close, coordinates, flat, relabel};

/// The sizes of the axis with which a property is tried.
pub const SIZES: [i64; 3] = [5, 6, 44];

/// Whether trials can contradict a property of a program: not where its outputs do not have the axis as the property wants it, or where
/// inputs cannot be moved along it.
pub fn can_refute(of: Run, property: Property, draws: &mut Draws) -> bool {
    let run = Run { size: 6, ..of };
    let given = run.inputs(false, draws);
    let outputs = run.run(&given);
    let whole_or_none = |output: &Output| output.over == output.whole;
    match property {
        Property::Pointwise | Property::Causal => {
            let once = |output: &Output| output.whole.iter().filter(|whole| **whole).count() == 1;
            outputs.iter().all(|output| once(output) && whole_or_none(output))
        }
        Property::TranslationInvariant | Property::TranslationEquivariant => {
            (0..given.len()).all(|index| !(run.positions(index) && run.over(index).contains(&true)))
        }
        _ => outputs.iter().all(whole_or_none),
    }
}

/// The first difference between what a property says of a program and what is computed.
pub fn refute(
    of: Run,
    property: Property,
    theorem: &AxisTheorem,
    ties: bool,
    draws: &mut Draws,
) -> Option<String> {
    let run = |size| Run { size, ..of };
    let period = theorem.grid.as_ref().and_then(|grid| grid.steps()).unwrap_or(1) as usize;
    match property {
        Property::PermutationInvariant | Property::PermutationEquivariant => permuted(&run(5), ties, draws),
        // What is drawn has no two entries that are equal.
        Property::PermutationEquivariantExceptTies => permuted(&run(5), false, draws),
        Property::ShiftInvariant | Property::ShiftEquivariant => cyclic(&run(6), period, ties, draws),
        Property::TranslationInvariant | Property::TranslationEquivariant => {
            translated(&run(44), period, ties, draws)
        }
        Property::Pointwise | Property::Causal => {
            let size = 4 + draws.below(3) as i64;
            let longer = run(size + 1 + draws.below(2) as i64);
            let spared: &dyn Fn(usize, usize) -> bool = match property {
                Property::Pointwise => &|out, place| out != place,
                _ => &|out, place| out < place,
            };
            lengthened(&run(size), &longer, draws).or_else(|| perturbed(&run(5), draws, spared))
        }
    }
}

fn compare(output: &Output, expected: &[f64], found: &[f64]) -> Option<String> {
    let differs = expected.iter().zip(found).position(|(a, b)| !close(*a, *b))?;
    let at = coordinates(differs, &output.shape);
    Some(format!("entry {at:?}: {} and {}", expected[differs], found[differs]))
}

fn permuted(run: &Run, ties: bool, draws: &mut Draws) -> Option<String> {
    let given = run.inputs(ties, draws);
    let size = run.size as usize;
    let mut to: Vec<usize> = (0..size).collect();
    for last in (1..size).rev() {
        to.swap(last, draws.below(last + 1));
    }
    let (before, after) = (run.run(&given), run.run(&run.moved(&given, &|place| to[place])));
    before.iter().zip(&after).find_map(|(before, after)| {
        let mut expected = relabel(&before.entries, &before.shape, &before.whole, &|place| to[place]);
        if before.positions {
            expected.iter_mut().for_each(|entry| *entry = to[*entry as usize] as f64);
        }
        compare(before, &expected, &after.entries)
    })
}

/// How far an output's axis moves when the theorem's moves by `by`: one of N / 2 entries moves half as far.
fn moves(size: usize, own: usize, by: usize) -> Option<usize> {
    let rate = Ratio::new(size as i64, own as i64)?;
    usize::try_from(Ratio::whole(by as i64).div(rate)?.as_whole()?).ok()
}

fn cyclic(run: &Run, period: usize, ties: bool, draws: &mut Draws) -> Option<String> {
    let size = run.size as usize;
    let by = period * (1 + draws.below(2));
    let given = run.inputs(ties, draws);
    let (before, after) = (run.run(&given), run.run(&run.moved(&given, &|place| (place + by) % size)));
    before.iter().zip(&after).find_map(|(before, after)| {
        let mut expected = before.entries.clone();
        for (axis, &own) in before.shape.iter().enumerate().filter(|(axis, _)| before.over[*axis]) {
            let only: Vec<bool> = (0..before.shape.len()).map(|other| other == axis).collect();
            let Some(step) = moves(size, own, by) else {
                return Some(format!("an axis of {own} entries cannot move by {by}"));
            };
            expected = relabel(&expected, &before.shape, &only, &|place| (place + step) % own);
        }
        if before.positions {
            expected.iter_mut().for_each(|entry| *entry = ((*entry as usize + by) % size) as f64);
        }
        compare(before, &expected, &after.entries)
    })
}

/// Inputs that are zero near the border before and after: outputs agree away from it.
fn translated(run: &Run, period: usize, ties: bool, draws: &mut Draws) -> Option<String> {
    const MARGIN: usize = 18;
    if period > 4 {
        return None;
    }
    let size = run.size as usize;
    let inside = MARGIN..size - MARGIN - period;
    let shapes = run.shapes();
    let mut given = run.inputs(ties, draws);
    for (index, entries) in given.iter_mut().enumerate() {
        let (over, positions) = (run.over(index), run.positions(index));
        for (flat, entry) in entries.iter_mut().enumerate() {
            let at = coordinates(flat, &shapes[index]);
            if at.iter().zip(&over).any(|(place, over)| *over && !inside.contains(place)) {
                *entry = 0.0;
            }
            if positions {
                *entry = (inside.start + *entry as usize % inside.len()) as f64;
            }
        }
    }
    // Positions along the axis itself must be there near its border, too: what moves in has none.
    if (0..given.len()).any(|index| run.positions(index) && run.over(index).contains(&true)) {
        return None;
    }
    // What is moved over the end is zero.
    let (before, after) = (run.run(&given), run.run(&run.moved(&given, &|place| (place + period) % size)));
    before.iter().zip(&after).find_map(|(before, after)| {
        for (place, entry) in before.entries.iter().enumerate() {
            let at = coordinates(place, &before.shape);
            let (mut target, mut near) = (at.clone(), false);
            for (axis, &own) in before.shape.iter().enumerate().filter(|(axis, _)| before.over[*axis]) {
                let step = moves(size, own, period)?;
                let margin = MARGIN.saturating_sub(6) * own / size;
                near |= at[axis] < margin || at[axis] + step + margin >= own;
                target[axis] = (at[axis] + step) % own;
            }
            let found = after.entries[flat(&target, &before.shape)];
            let expected = if before.positions { entry + period as f64 } else { *entry };
            if !near && !close(expected, found) {
                return Some(format!("entry {at:?}: {entry} and {found} after moving by {period}"));
            }
        }
        None
    })
}

/// Appending entries changes no earlier one.
fn lengthened(run: &Run, longer: &Run, draws: &mut Draws) -> Option<String> {
    if !run.fits() || !longer.fits() {
        return None;
    }
    let given = run.inputs(false, draws);
    let mut more = longer.inputs(false, draws);
    for (index, entries) in given.iter().enumerate() {
        let (short, long) = (&run.shapes()[index], &longer.shapes()[index]);
        for (place, entry) in entries.iter().enumerate() {
            more[index][flat(&coordinates(place, short), long)] = *entry;
        }
    }
    let (before, after) = (run.run(&given), longer.run(&more));
    before.iter().zip(&after).find_map(|(before, after)| {
        // A result without the axis may depend on all of it.
        let with = before.whole.contains(&true);
        let entries = before.entries.iter().enumerate().filter(|_| with);
        entries.map(|(place, entry)| (coordinates(place, &before.shape), entry)).find_map(|(at, entry)| {
            let found = after.entries[flat(&at, &after.shape)];
            let differs = !close(*entry, found);
            differs
                .then(|| format!("entry {at:?} of {} and of {}: {entry} and {found}", run.size, longer.size))
        })
    })
}

/// Changing the entries at one place changes no output of which `spared` says so.
fn perturbed(run: &Run, draws: &mut Draws, spared: &dyn Fn(usize, usize) -> bool) -> Option<String> {
    let given = run.inputs(false, draws);
    let place = draws.below(run.size as usize);
    let shapes = run.shapes();
    let mut other = given.clone();
    for (index, entries) in other.iter_mut().enumerate() {
        let over = run.over(index);
        for (flat, entry) in entries.iter_mut().enumerate() {
            let at = coordinates(flat, &shapes[index]);
            let here = at.iter().zip(&over).any(|(own, over)| *over && *own == place);
            if here && run.is_argument(index) {
                *entry = run.entry(index, false, draws);
            }
        }
    }
    let (before, after) = (run.run(&given), run.run(&other));
    before.iter().zip(&after).find_map(|(before, after)| {
        for (flat, (a, b)) in before.entries.iter().zip(&after.entries).enumerate() {
            let at = coordinates(flat, &before.shape);
            let mut along =
                at.iter().zip(&before.whole).filter(|(_, whole)| **whole).map(|(at, _)| *at).peekable();
            let all_spared = along.peek().is_some() && along.all(|out| spared(out, place));
            if all_spared && !close(*a, *b) {
                return Some(format!("entry {at:?} changes with entry {place}: {a} and {b}"));
            }
        }
        None
    })
}
