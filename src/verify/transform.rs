//! What a theorem does to inputs, and what it says of outputs.

use crate::axes::DimVar;
use crate::check::core::{AxisVar, Core, Elem, Root};

use super::draw::{Draws, Sizes, bound};
use super::values::Values;

/// A change of the inputs along one axis, with what it asks of the outputs.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Entry i of the changed array is entry `order[i]`; the outputs move likewise.
    Order(Vec<usize>),
    /// Entry i of the changed array is entry i + by, round the axis of so many entries; the outputs move likewise, at their rates.
    Shift { by: usize, count: usize },
    /// All entries but this one are drawn anew; the outputs' entry stays as it is.
    AllBut(usize),
    /// All entries behind this one are drawn anew; the outputs' entries up to it stay as they are.
    Behind(usize),
}

/// The places 0 to count - 1, moved by so many, round the end.
fn round(count: usize, by: usize) -> Vec<usize> {
    (0..count).map(|i| (i + by) % count).collect()
}

impl Change {
    /// Which entry each entry becomes, where the change is nothing else.
    fn order(&self) -> Option<Vec<usize>> {
        match self {
            Change::Order(order) => Some(order.clone()),
            Change::Shift { by, count } => Some(round(*count, *by)),
            Change::AllBut(_) | Change::Behind(_) => None,
        }
    }

    /// In words.
    pub fn describe(&self, axis: &str) -> String {
        match self {
            Change::Order(order) => {
                let moved: Vec<usize> = (0..order.len()).filter(|&i| order[i] != i).collect();
                match moved.as_slice() {
                    [first, second] => format!("swapping the entries {first} and {second} of {axis}"),
                    _ => {
                        let order: Vec<String> = order.iter().map(usize::to_string).collect();
                        format!("taking the entries of {axis} in the order {}", order.join(" "))
                    }
                }
            }
            Change::Shift { by, .. } => format!("moving the entries of {axis} back by {by}, round its end"),
            Change::AllBut(entry) => format!("changing all entries of {axis} but {entry}"),
            Change::Behind(entry) => format!("changing the entries of {axis} behind {entry}"),
        }
    }
}

/// The places of a root among axes.
fn places(core: &Core, axes: &[AxisVar], root: Root) -> Vec<usize> {
    (0..axes.len()).filter(|&place| core.axes[axes[place]].root == Some(root)).collect()
}

/// The rate at which an axis runs over a root, as entries of the root for each of its own: `(over, under)`.
pub fn rate(core: &Core, axis: AxisVar, root: Root) -> Option<(i64, i64)> {
    if core.axes[axis].root == Some(root) {
        return Some((1, 1));
    }
    let name = DimVar::new(core.roots[root].name.as_str());
    let rate = core.axes[axis].size.as_ref()?.slope(&name)?.inverse()?;
    rate.is_positive().then(|| (rate.numerator(), rate.denominator()))
}

/// Whether trials can move everything that the root's positions are in: positions that come as plain integers and axes that
/// have no root of their own, but a size that follows from this one, are not followed.
pub fn is_followed(core: &Core, root: Root) -> bool {
    let name = DimVar::new(core.roots[root].name.as_str());
    let plain = core.inputs.iter().any(|input| {
        matches!(input.elem, Elem::Of(_)) && input.bound.as_ref().is_some_and(|bound| bound.mentions(&name))
    });
    let free = core
        .inputs
        .iter()
        .flat_map(|input| &input.axes)
        .any(|&axis| core.axes[axis].root.is_none() && core.size(axis).mentions(&name));
    !plain && !free
}

/// The number of positions of a root.
pub fn extent(core: &Core, root: Root, sizes: &Sizes) -> Option<usize> {
    let size = sizes.get(&DimVar::new(core.roots[root].name.as_str()))?;
    usize::try_from(*size).ok()
}

/// The changed inputs.
pub fn inputs(
    core: &Core,
    root: Root,
    change: &Change,
    inputs: &[Values],
    sizes: &Sizes,
    draws: &mut Draws,
) -> Vec<Values> {
    let changed = core.inputs.iter().zip(inputs).map(|(info, values)| {
        let places = places(core, &info.axes, root);
        if let Some(order) = change.order() {
            let orders: Vec<(usize, &[usize])> = places.iter().map(|&place| (place, &*order)).collect();
            return moved(values, &orders, &info.elem, root, &order);
        }
        match change {
            _ if places.is_empty() => values.clone(),
            Change::AllBut(entry) => {
                let bound = bound(core, info, sizes);
                redrawn(values, &|at| places.iter().any(|&place| at[place] != *entry), &mut || {
                    draws.entry(&info.elem, bound)
                })
            }
            Change::Behind(entry) => {
                let bound = bound(core, info, sizes);
                redrawn(values, &|at| places.iter().any(|&place| at[place] > *entry), &mut || {
                    draws.entry(&info.elem, bound)
                })
            }
            Change::Order(_) | Change::Shift { .. } => unreachable!("they have an order"),
        }
    });
    changed.collect()
}

/// Entry i of each place becomes entry `i` of its order, and a value that is position p becomes the place where `order` puts p.
fn moved(values: &Values, orders: &[(usize, &[usize])], elem: &Elem, root: Root, order: &[usize]) -> Values {
    let positions = matches!(elem, Elem::Idx(_, Some(of)) if *of == root);
    let mut from = vec![0; values.shape.len()];
    Values::from_fn(&values.shape, |at| {
        from.copy_from_slice(at);
        for &(place, order) in orders {
            from[place] = order[at[place]];
        }
        let value = values.at(&from);
        match positions {
            true => order.iter().position(|&old| old as f64 == value).map_or(value, |new| new as f64),
            false => value,
        }
    })
}

fn redrawn(values: &Values, anew: &dyn Fn(&[usize]) -> bool, draw: &mut dyn FnMut() -> f64) -> Values {
    Values::from_fn(&values.shape, |at| if anew(at) { draw() } else { values.at(at) })
}

/// What an output should be after the change, where the theorem says so; `None` at other entries.
pub fn expected(
    core: &Core,
    output: usize,
    root: Root,
    change: &Change,
    before: &Values,
) -> Vec<Option<f64>> {
    let val = &core.vals[core.outputs[output].val];
    // Where an axis runs over the root, and at which rate.
    let runs: Vec<(usize, (i64, i64))> = (0..val.visible.len())
        .filter_map(|place| Some((place, rate(core, val.visible[place], root)?)))
        .collect();
    let lies = |at: &[usize], wanted: &dyn Fn(i64) -> bool| {
        !runs.is_empty() && runs.iter().all(|&(place, (over, under))| wanted(at[place] as i64 * over / under))
    };
    match change {
        Change::Order(order) => {
            let places = places(core, &val.visible, root);
            let orders: Vec<(usize, &[usize])> =
                places.into_iter().map(|place| (place, order.as_slice())).collect();
            moved(before, &orders, &val.elem, root, order).numbers.into_iter().map(Some).collect()
        }
        Change::Shift { by, count } => {
            let orders: Option<Vec<(usize, Vec<usize>)>> = runs
                .iter()
                .map(|&(place, (over, under))| {
                    // By so many of its own entries, if that is a whole number.
                    let by = *by as i64 * under;
                    (by % over == 0).then(|| (place, round(before.shape[place], (by / over) as usize)))
                })
                .collect();
            let Some(orders) = orders else { return vec![None; before.numbers.len()] };
            let orders: Vec<(usize, &[usize])> =
                orders.iter().map(|(place, order)| (*place, order.as_slice())).collect();
            let order = round(*count, *by);
            moved(before, &orders, &val.elem, root, &order).numbers.into_iter().map(Some).collect()
        }
        Change::AllBut(entry) => kept_entries(before, &|at| lies(at, &|place| place == *entry as i64)),
        Change::Behind(entry) => kept_entries(before, &|at| lies(at, &|place| place <= *entry as i64)),
    }
}

fn kept_entries(before: &Values, kept: &dyn Fn(&[usize]) -> bool) -> Vec<Option<f64>> {
    let mut entries = Vec::new();
    super::values::each_index(&before.shape, &mut |at| entries.push(kept(at).then(|| before.at(at))));
    entries
}
