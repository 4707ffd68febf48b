//! Reshapes: the same entries in row-major order, under other axes.

use crate::axes::Dim;
use crate::check::core::{AxisVar, Val};
use crate::graph::{Affine, Axis, Index, IndexMap, Node};

use super::Walk;

impl Walk<'_> {
    /// Axes that keep their size are renamed; between them, groups of axes are split or merged.
    pub(super) fn reshape(&mut self, of: Val, to: &[AxisVar]) -> Node {
        let from: Vec<Axis> =
            self.core.vals[of].visible.clone().iter().map(|&axis| self.axis(axis)).collect();
        let to: Vec<Axis> = to.iter().map(|&axis| self.axis(axis)).collect();
        let node = self.node(of);
        let mut map = IndexMap::default();
        for (old, new) in self.groups(&from, &to) {
            let flat = self.flat(&new);
            let mut stride = Dim::constant(1);
            for (position, &axis) in old.iter().enumerate().rev() {
                let size = self.builder.axis_size(axis).clone();
                let mut index = flat.clone();
                if stride.as_const() != Some(1) {
                    index = Index::Div(Box::new(index), stride.clone());
                }
                // The first axis of a group needs no remainder: the quotient is below its size.
                if position > 0 {
                    index = Index::Rem(Box::new(index), size.clone());
                }
                if self.builder.axes(node).contains(&axis) {
                    map.at.push((axis, index));
                }
                stride = stride.mul(&size).expect("a size that the checker has computed");
            }
        }
        self.builder.view(node, map)
    }

    /// Cuts both lists into the shortest runs with equal numbers of entries.
    fn groups(&self, from: &[Axis], to: &[Axis]) -> Vec<(Vec<Axis>, Vec<Axis>)> {
        let size = |axis: Axis| self.builder.axis_size(axis).clone();
        let count = |axes: &[Axis]| {
            axes.iter()
                .try_fold(Dim::constant(1), |product, &axis| product.mul(&size(axis)))
                .unwrap_or_else(|_| Dim::constant(0))
        };
        let mut groups = Vec::new();
        let (mut start, mut begin) = (0, 0);
        'next: while start < from.len() || begin < to.len() {
            for total in 2..=(from.len() - start + to.len() - begin) {
                for taken in 1..total {
                    let (end, stop) = (start + taken, begin + total - taken);
                    if end <= from.len()
                        && stop <= to.len()
                        && count(&from[start..end]) == count(&to[begin..stop])
                    {
                        groups.push((from[start..end].to_vec(), to[begin..stop].to_vec()));
                        (start, begin) = (end, stop);
                        continue 'next;
                    }
                }
            }
            // What is left are axes of size 1 on one side.
            groups.push((from[start..].to_vec(), to[begin..].to_vec()));
            break;
        }
        groups
    }

    /// The number of an entry in row-major order of these axes.
    fn flat(&self, axes: &[Axis]) -> Index {
        let mut stride = Dim::constant(1);
        let mut terms = Vec::new();
        for &axis in axes.iter().rev() {
            terms.push((axis, stride.clone()));
            stride = stride.mul(self.builder.axis_size(axis)).expect("a size that the checker has computed");
        }
        terms.sort_by_key(|(axis, _)| *axis);
        Index::Affine(Affine { constant: Dim::constant(0), terms: terms.into_iter().collect() })
    }
}
