//! Loops whose carries or yields are no work of theirs.

use smallvec::SmallVec;

use super::{Rewrite, Rewriting};
use crate::graph::{AxisSet, Node, Op, Scan};

impl Rewriting {
    /// A carry that is handed on unchanged is its first value.
    pub(super) fn constant_carries(&mut self, node: Node, scan: &Scan) {
        let body = &self.graph.regions[scan.body];
        for k in 0..scan.carries {
            let (param, next) = (body.params[k], body.results[k]);
            let first = self.graph.nodes[node].args[k];
            if param == next {
                self.uses[first] += self.uses[param];
                self.same[param] = Some(first);
            }
        }
    }

    /// Components that come from outside of the loop.
    pub(super) fn project(&mut self, node: Node, index: usize) -> Rewrite {
        let tuple = self.graph.nodes[node].args[0];
        let Op::Scan(scan) = &self.graph.nodes[tuple].op else { return Rewrite::Keep };
        let result = self.graph.regions[scan.body].results[index];
        if self.home[result] == Some(scan.body) {
            return Rewrite::Keep;
        }
        if index < scan.carries {
            // Only an unchanged carry is known to be right for a loop over nothing, too.
            let first = self.graph.nodes[tuple].args[index];
            return if result == first { Rewrite::Same(first) } else { Rewrite::Keep };
        }
        let axes = AxisSet::from_slice(&[scan.axis]);
        match self.graph.nodes[result].axes.contains(&scan.axis) {
            true => Rewrite::Same(result),
            false => Rewrite::Op(Op::Broadcast(axes), [result].into_iter().collect::<SmallVec<[Node; 3]>>()),
        }
    }
}
