//! Views of views, folds and gathers that are views.

use smallvec::SmallVec;

use super::{Rewrite, Rewriting};
use crate::axes::{Dim, DimError};
use crate::graph::sets::{common, is_subset, union, without};
use crate::graph::{Axis, AxisSet, Index, IndexMap, Node, Op, Outside, Region};

impl Rewriting {
    fn size(&self, axis: Axis) -> Dim {
        self.graph.axes[axis].size.clone()
    }

    pub(super) fn view(&mut self, node: Node, mut map: IndexMap, region: Region) -> Rewrite {
        let arg = self.graph.nodes[node].args[0];
        let before = map.clone();
        self.normalise(&mut map);
        map.drop_identities();
        if map.at.is_empty() {
            return Rewrite::Same(arg);
        }
        if map != before {
            return Rewrite::Op(Op::View(map), [arg].into_iter().collect());
        }
        let inner = &self.graph.nodes[arg];
        match &inner.op {
            Op::View(first) => match self.compose(first, &map) {
                // An index may have come out as a constant: then the view would lack the axis that it mentioned.
                Ok(Some(composed))
                    if common(&composed.named(), &self.bound).is_empty()
                        && self.view_axes(inner.args[0], &composed) == self.graph.nodes[node].axes =>
                {
                    Rewrite::Op(Op::View(composed), inner.args.clone())
                }
                _ => Rewrite::Keep,
            },
            Op::Broadcast(_) if map.outside == Outside::Never => {
                let x = inner.args[0];
                self.view_of_broadcast(node, x, map, region).unwrap_or(Rewrite::Keep)
            }
            _ => Rewrite::Keep,
        }
    }

    /// Brings the indices into their normal form, where no axis vanishes from them: `i / 1` is `i`.
    fn normalise(&self, map: &mut IndexMap) {
        for (_, index) in &mut map.at {
            if let Ok(normal) = index.substitute(&|_| None, &|axis| self.size(axis))
                && normal.mentioned() == index.mentioned()
            {
                *index = normal;
            }
        }
    }

    fn view_axes(&self, arg: Node, map: &IndexMap) -> AxisSet {
        union(&without(&self.graph.nodes[arg].axes, &map.named()), &map.mentioned())
    }

    /// The map of `x` whose view is the view through `second` of the view of `x` through `first`, if there is one.
    fn compose(&self, first: &IndexMap, second: &IndexMap) -> Result<Option<IndexMap>, DimError> {
        let mentioned = first.mentioned();
        if second.outside == Outside::Zero {
            // A place outside of the view must be outside of `x`, too: so it is where the view only gives the axis another name.
            let renamed = |axis: &Axis| {
                let mut entries = first.at.iter().filter(|(_, index)| index.mentions(*axis));
                match (entries.next(), entries.next()) {
                    (None, _) => true,
                    (Some((own, index)), None) => {
                        index.as_axis() == Some(*axis) && self.size(*own) == self.size(*axis)
                    }
                    _ => false,
                }
            };
            if !second.named().iter().all(renamed) {
                return Ok(None);
            }
        }
        let size = |axis| self.size(axis);
        let mut at: SmallVec<[(Axis, Index); 2]> = SmallVec::new();
        for (axis, index) in &first.at {
            at.push((*axis, index.substitute(&|axis| second.get(axis).cloned(), &size)?));
        }
        let passing = second.at.iter().filter(|(axis, _)| !mentioned.contains(axis));
        at.extend(passing.cloned());
        let outside = if first.outside == Outside::Zero { Outside::Zero } else { second.outside };
        Ok(Some(IndexMap::new(at, outside)))
    }

    /// Along axes over which the argument is constant, it does not matter where it is read.
    fn view_of_broadcast(&mut self, node: Node, x: Node, map: IndexMap, region: Region) -> Option<Rewrite> {
        let own = self.graph.nodes[x].axes.clone();
        let wide = self.graph.nodes[node].axes.clone();
        let mut kept: SmallVec<[(Axis, Index); 2]> =
            map.at.into_iter().filter(|(axis, _)| own.contains(axis)).collect();
        // Without the others, an axis that `x` keeps may need no name any more, or need one.
        let named: Vec<Axis> = kept.iter().map(|(axis, _)| *axis).collect();
        let mut map = IndexMap::new(kept.drain(..), Outside::Never);
        if !common(&without(&own, &named), &map.mentioned()).is_empty() {
            return None;
        }
        map.drop_identities();
        let narrow = match map.at.is_empty() {
            true => x,
            false => self.insert(Op::View(map), &[x], node, region)?,
        };
        if !is_subset(&self.graph.nodes[narrow].axes, &wide) {
            return None;
        }
        Some(match self.graph.nodes[narrow].axes == wide {
            true => Rewrite::Same(narrow),
            false => Rewrite::Op(Op::Broadcast(wide), [narrow].into_iter().collect()),
        })
    }

    /// The transpose of a renaming renames back.
    pub(super) fn fold(&self, node: Node, map: &IndexMap) -> Rewrite {
        let mut normal = map.clone();
        self.normalise(&mut normal);
        if normal != *map {
            return Rewrite::Op(Op::Fold(normal), self.graph.nodes[node].args.clone());
        }
        let Some(pairs) = map.as_rename() else { return Rewrite::Keep };
        if pairs.iter().any(|(to, from)| self.size(*from) != self.size(*to)) {
            return Rewrite::Keep;
        }
        let back: Vec<(Axis, Axis)> = pairs.into_iter().map(|(to, from)| (from, to)).collect();
        Rewrite::Op(Op::View(IndexMap::rename(&back)), self.graph.nodes[node].args.clone())
    }

    /// Reading at a position is renaming.
    pub(super) fn gather(&self, node: Node, axis: Axis) -> Rewrite {
        let args = &self.graph.nodes[node].args;
        let Op::Position(at) = self.graph.nodes[args[1]].op else { return Rewrite::Keep };
        let own = &self.graph.nodes[args[0]].axes;
        if self.size(at) != self.size(axis) || self.bound.contains(&axis) || (own.contains(&at) && at != axis)
        {
            return Rewrite::Keep;
        }
        Rewrite::Op(Op::View(IndexMap::rename(&[(axis, at)])), [args[0]].into_iter().collect())
    }
}
