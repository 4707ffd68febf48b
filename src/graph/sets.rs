//! Sets of axes as sorted lists.

use super::{Axis, AxisSet};

/// The set of these axes, in any order and with repetitions.
pub fn set(axes: impl IntoIterator<Item = Axis>) -> AxisSet {
    let mut set: AxisSet = axes.into_iter().collect();
    set.sort_unstable();
    set.dedup();
    set
}

/// All axes of both.
pub fn union(a: &[Axis], b: &[Axis]) -> AxisSet {
    if a == b || b.is_empty() {
        return AxisSet::from_slice(a);
    }
    let mut all = AxisSet::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        all.push(a[i].min(b[j]));
        let (x, y) = (a[i], b[j]);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    all.extend_from_slice(&a[i..]);
    all.extend_from_slice(&b[j..]);
    all
}

/// The axes of `a` that are not in `b`.
pub fn without(a: &[Axis], b: &[Axis]) -> AxisSet {
    a.iter().copied().filter(|axis| !b.contains(axis)).collect()
}

/// The axes of both.
pub fn common(a: &[Axis], b: &[Axis]) -> AxisSet {
    a.iter().copied().filter(|axis| b.contains(axis)).collect()
}

pub fn is_subset(a: &[Axis], of: &[Axis]) -> bool {
    a.iter().all(|axis| of.contains(axis))
}

/// Whether a list is a set: ascending, without repetition.
pub fn is_set(a: &[Axis]) -> bool {
    a.is_sorted_by(|x, y| x < y)
}
