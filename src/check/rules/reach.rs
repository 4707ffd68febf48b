//! The positions of roots that an entry depends on, and how they are joined.

use std::sync::Arc;

use cranelift_entity::SecondaryMap;

use crate::axes::Ratio;

use super::super::core::*;
use super::few::Few;

/// The places of a root that an entry depends on, relative to its own index: from `low` (without end: `None`) to `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub low: Option<Ratio>,
    pub high: Ratio,
    /// Behind the last place comes the first one.
    pub wraps: bool,
}

impl Window {
    /// The entry's own place.
    pub const OWN: Window = Window { low: Some(Ratio::ZERO), high: Ratio::ZERO, wraps: false };

    pub fn join(self, other: Window) -> Window {
        Window {
            low: self.low.zip(other.low).map(|(a, b)| a.min(b)),
            high: self.high.max(other.high),
            wraps: self.wraps || other.wraps,
        }
    }

    /// The places around the places.
    pub fn around(self, outer: Window) -> Option<Window> {
        let low = match (self.low, outer.low) {
            (Some(low), Some(more)) => Some(low.add(more)?),
            _ => None,
        };
        Some(Window { low, high: self.high.add(outer.high)?, wraps: self.wraps || outer.wraps })
    }
}

/// What a window lies around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Center {
    /// The place of an index variable.
    Index(AxisVar),
    /// The first place of the root: for every entry it lies in the past.
    First,
}

/// The positions of one root that an entry depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of them, or their number.
    All,
    /// A window around each of these places of the root.
    Near(Few<Center, Window>),
}

impl Reach {
    pub fn near(center: Center, window: Window) -> Reach {
        Reach::Near(Few::one(center, window))
    }

    /// Whether it is nothing but places that index variables name.
    pub fn is_own(&self) -> bool {
        match self {
            Reach::All => false,
            Reach::Near(near) => near
                .iter()
                .all(|(center, window)| matches!(center, Center::Index(_)) && *window == Window::OWN),
        }
    }
}

/// What an entry of a value depends on: roots that are missing do not matter to it. Cheap to clone: most values depend on what one of
/// their arguments does.
#[derive(Clone, Debug, Default)]
pub struct Flow(Option<Arc<Few<Root, Reach>>>);

impl Flow {
    pub fn new() -> Flow {
        Flow::default()
    }

    pub fn one(root: Root, reach: Reach) -> Flow {
        Flow(Some(Arc::new(Few::one(root, reach))))
    }

    pub fn get(&self, root: &Root) -> Option<&Reach> {
        self.0.as_ref()?.get(root)
    }

    pub fn contains_key(&self, root: &Root) -> bool {
        self.get(root).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Root, &Reach)> {
        self.0.iter().flat_map(|map| map.iter()).map(|(root, reach)| (*root, reach))
    }

    fn entries(&mut self) -> &mut Few<Root, Reach> {
        Arc::make_mut(self.0.get_or_insert_with(|| Arc::new(Few::new())))
    }

    pub fn insert(&mut self, root: Root, reach: Reach) {
        if self.get(&root) != Some(&reach) {
            self.entries().insert(root, reach);
        }
    }

    pub fn remove(&mut self, root: &Root) -> Option<Reach> {
        if self.contains_key(root) { self.entries().remove(root) } else { None }
    }

    /// Whether it is the same map, so that nothing need be compared.
    fn shares(&self, other: &Flow) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        }
    }

    /// Whether joining `other` would change nothing.
    fn covers(&self, other: &Flow) -> bool {
        other.iter().all(|(root, reach)| match (self.get(&root), reach) {
            (None, _) => false,
            (Some(Reach::All), _) => true,
            (Some(Reach::Near(_)), Reach::All) => false,
            (Some(Reach::Near(near)), Reach::Near(more)) => more
                .iter()
                .all(|(center, window)| near.get(center).is_some_and(|own| own.join(*window) == *own)),
        })
    }
}

impl PartialEq for Flow {
    fn eq(&self, other: &Flow) -> bool {
        self.shares(other) || self.iter().eq(other.iter())
    }
}

impl Eq for Flow {}

impl FromIterator<(Root, Reach)> for Flow {
    fn from_iter<I: IntoIterator<Item = (Root, Reach)>>(entries: I) -> Flow {
        let map: Few<Root, Reach> = entries.into_iter().collect();
        Flow((!map.is_empty()).then(|| Arc::new(map)))
    }
}

impl IntoIterator for Flow {
    type Item = (Root, Reach);
    type IntoIter = smallvec::IntoIter<[(Root, Reach); 1]>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.map_or_else(Few::new, Arc::unwrap_or_clone).into_iter()
    }
}

/// The flow of each value.
pub type Flows = SecondaryMap<Val, Flow>;

pub fn add(flow: &mut Flow, root: Root, reach: Reach) {
    match flow.get(&root) {
        Some(Reach::All) => {}
        present => {
            let joined = join_reach(present.cloned(), reach);
            flow.insert(root, joined);
        }
    }
}

pub fn join(left: Flow, right: Flow) -> Flow {
    if left.shares(&right) || left.covers(&right) {
        return left;
    }
    if right.covers(&left) {
        return right;
    }
    let mut joined = left;
    for (root, reach) in right {
        add(&mut joined, root, reach);
    }
    joined
}

pub fn join_reach(left: Option<Reach>, right: Reach) -> Reach {
    match (left, right) {
        (None, reach) => reach,
        (Some(Reach::All), _) | (_, Reach::All) => Reach::All,
        (Some(Reach::Near(mut near)), Reach::Near(more)) => {
            for (center, window) in more {
                near.merge(center, window, |present, window| present.join(window));
            }
            Reach::Near(near)
        }
    }
}

/// What still grows from turn to turn: into the past it goes to its start; into the future it is all.
pub fn widened(before: &Flow, after: Flow) -> Flow {
    let widen = |root: Root, reach: Reach| match (before.get(&root), reach) {
        (Some(Reach::Near(old)), Reach::Near(near)) => {
            let grown = |(center, window): (Center, Window)| {
                let known = old.get(&center)?;
                let low = if known.low == window.low { window.low } else { None };
                (known.high == window.high).then_some((center, Window { low, ..window }))
            };
            near.into_iter().map(grown).collect::<Option<_>>().map_or(Reach::All, Reach::Near)
        }
        _ => Reach::All,
    };
    after.into_iter().map(|(root, reach)| (root, widen(root, reach))).collect()
}

/// The flow of a derivative: only what keeps to its own position stays there.
pub fn reversed(reach: Reach) -> Reach {
    if reach.is_own() { reach } else { Reach::All }
}
