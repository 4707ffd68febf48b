//! `memory 512 MiB`: where checkpoints go so that a step's temporaries fit.
//!
//! Only compiling tells what a step takes: what is fused is never stored. So a few placements are compiled as far as the plan of memory,
//! from the one that computes nothing again to ever shorter stretches between checkpoints, and the first that fits is taken. A placement
//! is made for an amount, as in Chen et al. 2016, algorithm 3: a stretch of a straight program ends where it has made that much, at the
//! place where least is held; a loop's segments have as many turns as make that much.

use std::collections::{BTreeMap, BTreeSet};

use crate::axes::DimVar;
use crate::base::Span;
use crate::check::core::{Budget, Core};
use crate::elaborate::{Outline, Part, Placement, Segments, elaborate_placed};
use crate::kernel::{Buffer, Program, Step};
use crate::passes::{self, PassCx};
use crate::runtime::{Dims, temporaries};

use super::compile::{Failure, Settings, defect, program_of};
use super::{Timings, errors};

/// Amounts between what the whole program makes and the least, each a little more than half of the one before.
const AMOUNTS: u32 = 14;
const STEP: f64 = 0.62;

/// The placement under which the program keeps to its budget.
///
/// # Errors
/// No placement that was tried does: the least that was found, and what takes it.
pub fn place(
    core: &Core,
    budget: &Budget,
    dims: &BTreeMap<DimVar, i64>,
    settings: &Settings,
) -> Result<Placement, Failure> {
    let mut sizes: Dims = dims.clone();
    sizes.extend(budget.dims.clone());
    let outline = Outline::of(core, &sizes);
    let mut tried: Vec<Placement> = Vec::new();
    let mut least: Option<(usize, Vec<(Span, usize)>)> = None;
    for placement in placements(&outline) {
        if tried.contains(&placement) {
            continue;
        }
        let program = planned(core, dims, &placement, settings)?;
        let (bytes, held) =
            temporaries(&program, &sizes).map_err(|error| defect("memory", &error.to_string()))?;
        if u64::try_from(bytes).is_ok_and(|bytes| bytes <= budget.bytes) {
            return Ok(placement);
        }
        if least.as_ref().is_none_or(|(least, _)| bytes < *least) {
            let places =
                held.into_iter().filter_map(|(buffer, bytes)| Some((maker(&program, buffer)?, bytes)));
            least = Some((bytes, places.collect()));
        }
        tried.push(placement);
    }
    let (bytes, held) = least.unwrap_or_default();
    Err(Box::new(errors::memory_is_too_little(budget.span, budget.bytes, bytes as u64, &held)))
}

/// The kernels of the fused program, whatever is asked for: that is what the clause speaks of.
fn planned(
    core: &Core,
    dims: &BTreeMap<DimVar, i64>,
    placement: &Placement,
    settings: &Settings,
) -> Result<Program, Failure> {
    let graph = elaborate_placed(core, Part::Body, dims, placement);
    let passed = passes::run(graph, &mut PassCx::default());
    let graph = passed.map_err(|broken| defect(broken.after, &broken.defect.to_string()))?;
    program_of(&graph, settings, &mut Timings::default())
}

/// From nothing that is computed again to the shortest stretches.
fn placements(outline: &Outline) -> impl Iterator<Item = Placement> {
    let total = outline.total() as f64;
    let shorter = (1..=AMOUNTS).map(move |k| {
        let mut placement = Placement::default();
        stretches(outline, (total * STEP.powi(k as i32)) as u64, true, &mut placement);
        placement
    });
    std::iter::once(Placement::default()).chain(shorter)
}

/// Places checkpoints between which at most about `amount` is made. Where nothing is computed behind a block, its last stretch needs none:
/// derivatives begin with it.
fn stretches(outline: &Outline, amount: u64, last: bool, into: &mut Placement) {
    let items = &outline.items;
    let mut alone: BTreeSet<usize> = BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        let Some(turns) = &item.turns else { continue };
        if item.made <= amount {
            continue;
        }
        let of_turn = turns.body.total().max(1);
        let length = (amount / of_turn).clamp(1, i64::MAX as u64) as i64;
        if let Some(segments) = Segments::of(turns.turns, length, turns.draws) {
            into.segments.insert(item.val, segments);
            alone.insert(at);
        }
        if of_turn > amount {
            stretches(&turns.body, amount, true, into);
            alone.insert(at);
        }
    }
    // Between what stands alone, and what may not be moved, the program is straight.
    let mut first = 0;
    for at in 0..=items.len() {
        if at == items.len() || alone.contains(&at) || !items[at].movable {
            straight(outline, first..at, amount, last && at == items.len(), into);
            first = at + 1;
        }
    }
}

/// Cuts a straight part of a program.
fn straight(outline: &Outline, part: std::ops::Range<usize>, amount: u64, last: bool, into: &mut Placement) {
    let items = &outline.items;
    let mut first = part.start;
    while first < part.end {
        let (mut made, mut end) = (0u64, first);
        // The place where least is held, of those in the second half of what may be made.
        let mut best: Option<(u64, usize)> = None;
        while end < part.end && (made < amount || end == first) {
            made = made.saturating_add(items[end].made);
            end += 1;
            if made.saturating_mul(2) >= amount || end == part.end {
                let held = crossing(items, first, end);
                if best.is_none_or(|(least, _)| held <= least) {
                    best = Some((held, end));
                }
            }
        }
        let whole = end == part.end && made < amount;
        let (held, cut) = if whole { (crossing(items, first, end), end) } else { best.unwrap_or((0, end)) };
        let made = items[first..cut].iter().fold(0u64, |sum, item| sum.saturating_add(item.made));
        // What is hardly more than what leaves it is not worth a checkpoint, and the very last stretch is needed at once.
        if made > held.saturating_mul(2) && made.saturating_mul(8) > amount && !(last && cut == part.end) {
            into.runs.insert(items[first].val, items[cut - 1].val);
        }
        first = cut;
    }
}

/// Bytes of what is made from `first` to before `cut` and read from there on.
fn crossing(items: &[crate::elaborate::Item], first: usize, cut: usize) -> u64 {
    let crossing = items[first..cut].iter().filter(|item| item.until > cut);
    crossing.fold(0u64, |sum, item| sum.saturating_add(item.held))
}

/// The expression for which a buffer is written.
fn maker(program: &Program, buffer: Buffer) -> Option<Span> {
    fn find(program: &Program, steps: &[Step], buffer: Buffer) -> Option<Span> {
        steps.iter().find_map(|step| match step {
            Step::Run { kernel, args } => {
                let kernel = &program.kernels[*kernel];
                kernel.writes(args, buffer).then_some(kernel.span)
            }
            Step::Loop { body, .. } => find(program, body, buffer),
            _ => None,
        })
    }
    find(program, &program.steps, buffer)
}

/// Bytes as people read them.
pub fn shown(bytes: u64) -> String {
    let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.2} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} bytes"),
    }
}
