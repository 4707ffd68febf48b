//! `Sort`: a step of its own on rows that lie one after the other.

use super::home::{Home, Storage};
use super::{LowerError, Lowering};
use crate::axes::Dim;
use crate::graph::{Axis, Node, Op};
use crate::kernel::{Buffer, Step};

impl Lowering<'_> {
    /// The rows are put together along the sorted axis, sorted into an array of the same form, and that is copied where the value has
    /// a home of another form.
    pub(super) fn sort(&mut self, node: Node) -> Result<(), LowerError> {
        let graph = self.graph;
        let data = &graph.nodes[node];
        let Op::Sort { what, axis, into, descending } = data.op else { unreachable!("a sort") };
        let x = data.args[0];
        let given = self.homes[node].take();
        let kept: Vec<Axis> =
            self.orders[node].iter().copied().filter(|own| *own != into && !self.is_bound(*own)).collect();
        let mut rows = Dim::constant(1);
        for own in &kept {
            rows = rows.mul(&self.size(*own))?;
        }
        let along = |last: Axis| kept.iter().copied().chain([last]).collect::<Vec<Axis>>();
        let whole = |home: &Home, last: Axis| {
            home.order == along(last) && home.is_dense(|axis| graph.axes[axis].size.clone())
        };
        let from = match self.homes[self.resolve(x)].clone().filter(|home| whole(home, axis)) {
            Some(home) => home,
            None => {
                let home = self.temporary(x, along(axis))?;
                self.kernel(&[(x, home.clone())], &[])?;
                home
            }
        };
        let (to, copied) = match given {
            Some(home) if whole(&home, into) => (home, None),
            other => (self.temporary(node, along(into))?, other),
        };
        let (read, written) = (self.reference(buffer(&from), &[]), self.reference(buffer(&to), &[]));
        let len = self.size(axis);
        self.push(Step::Sort { what, descending, from: read, to: written, rows, len });
        self.homes[node] = Some(to);
        if let Some(home) = copied {
            self.kernel(&[(node, home)], &[])?;
        }
        Ok(())
    }
}

fn buffer(home: &Home) -> Buffer {
    match home.storage {
        Storage::Buffer(buffer) => buffer,
        Storage::Scratch(_) => unreachable!("only kernels have scratch"),
    }
}
