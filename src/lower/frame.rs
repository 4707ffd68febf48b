//! Values inside of the frames that are made of them.
//!
//! What a convolution reads is a copy of an image with a border of zeros (`passes::windows`). Where such a copy is all that a kernel would make,
//! the image is written into the middle of it in the first place: its home is a part of the copy's, and the kernel only fills the border.

use super::emit::Emitter;
use super::home::{Home, Storage};
use super::index::{Atom, Ix, Place};
use super::{LowerError, Lowering};
use crate::axes::Dim;
use crate::graph::{Axis, Index, Node, Op, Outside, Region};
use crate::kernel::{BufferDecl, BufferKind};
use crate::ops::ScalarFn;
use crate::tensor::DType;

/// A copy with borders.
#[derive(Clone)]
pub(super) struct Frame {
    /// What is framed, by the node that computes it.
    of: Node,
    sides: Vec<Side>,
}

/// A padded axis.
#[derive(Clone, Copy)]
struct Side {
    /// The axis of the copy, and that of the image.
    padded: Axis,
    own: Axis,
    /// Entries of the border before the image, of the image, and of the copy: the windows may leave out the image's end.
    before: i64,
    size: i64,
    all: i64,
}

impl Lowering<'_> {
    /// Gives the copies of a region that are framed images, and these images, their homes. Only where no loop is around: a buffer of a loop's turn is
    /// to be written as a whole.
    pub(super) fn frames(&mut self, region: Region) -> Result<(), LowerError> {
        for copy in &self.graph.regions[region].nodes {
            let Some(frame) = self.frame(*copy) else { continue };
            let image = self.orders[frame.of].clone();
            let of_own = |axis: Axis| frame.sides.iter().find(|side| side.own == axis);
            let order: Vec<Axis> =
                image.iter().map(|axis| of_own(*axis).map_or(*axis, |side| side.padded)).collect();
            let storage = Storage::Buffer(self.program.buffers.next_key());
            let (home, len) = Home::dense(storage, order, |axis| match frame.padded(axis) {
                Some(side) => Dim::constant(side.all.max(side.before + side.size)),
                None => self.size(axis),
            })?;
            let mut base = Dim::constant(0);
            for side in &frame.sides {
                let stride = home.stride(side.padded).expect("an axis of the copy");
                base = base.add(&stride.mul(&Dim::constant(side.before))?)?;
            }
            let (name, dtype) = (self.name_of(*copy), self.graph.nodes[*copy].dtype);
            self.program.buffers.push(BufferDecl { name, dtype, len, kind: BufferKind::Temp });
            self.homes[frame.of] = Some(Home { order: image, base, ..home.clone() });
            self.homes[*copy] = Some(home);
            self.framed.insert(*copy, frame);
        }
        Ok(())
    }

    /// A copy that is nothing but an image and zeros around it, where the image is to be computed here and has no home yet.
    fn frame(&self, copy: Node) -> Option<Frame> {
        let graph = self.graph;
        let data = &graph.nodes[copy];
        let (Op::Map(ScalarFn::Cast(_)), [view]) = (&data.op, &data.args[..]) else { return None };
        let Op::View(map) = &graph.nodes[*view].op else { return None };
        let of = self.resolve(graph.nodes[*view].args[0]);
        let made = matches!(graph.nodes[of].op, Op::Map(_) | Op::Reduce { .. });
        let free = self.homes[of].is_none() && self.homes[copy].is_none() && !self.users[copy].is_empty();
        if !made
            || !free
            || graph.nodes[of].dtype != data.dtype
            || data.dtype != DType::F32
            || map.outside != Outside::Zero
        {
            return None;
        }
        let sides: Vec<Side> = map.at.iter().map(|at| self.side(at)).collect::<Option<_>>()?;
        // Features must stay together.
        let last = self.orders[of].last()?;
        (!sides.is_empty() && sides.iter().all(|side| side.own != *last)).then_some(Frame { of, sides })
    }

    /// The kernel that fills the border of a framed image.
    pub(super) fn border(&mut self, copy: Node, frame: &Frame) -> Result<(), LowerError> {
        let home = self.homes[copy].clone().expect("a frame has a home");
        let name = self.unique("border");
        let span = self.graph.nodes[copy].span;
        let first = home.order.iter().position(|axis| frame.padded(*axis).is_some()).expect("a padded axis");
        let mut e = Emitter::new(self, name, span);
        let mut place = Place::new();
        for axis in &home.order[..first] {
            let size = e.cx.size(*axis);
            let var = e.grid(&size);
            place.set(*axis, Ix::atom(Atom::Var(var)));
        }
        // Along each padded axis what is before and behind the image, within the images of the axes before it.
        for (at, axis) in home.order.iter().enumerate() {
            let Some(side) = frame.padded(*axis) else { continue };
            let end = (side.before + side.size).min(side.all);
            for (from, to) in [(0, side.before), (end, side.all)] {
                if from == to {
                    continue;
                }
                let mut inner = place.clone();
                for (k, other) in home.order.iter().enumerate().skip(first) {
                    let (start, extent) = match frame.padded(*other) {
                        _ if k == at => (from, Dim::constant(to - from)),
                        Some(side) if k < at => {
                            (side.before, Dim::constant(side.size.min(side.all - side.before)))
                        }
                        _ => (0, e.cx.size(*other)),
                    };
                    let var = e.open(&extent, k + 1 == home.order.len());
                    let index = Ix::atom(Atom::Var(var)).add(&Ix::constant(Dim::constant(start)))?;
                    inner.set(*other, index);
                }
                let zero = e.b.f32(0.0);
                e.store(&home, &inner, zero)?;
                home.order[first..].iter().for_each(|_| drop(e.close(&[])));
            }
        }
        let (kernel, args) = e.finish();
        self.run(kernel, args);
        Ok(())
    }

    /// The entry of a frame's map for one axis: `padded - before`, of known sizes.
    fn side(&self, (own, index): &(Axis, Index)) -> Option<Side> {
        let sum = index.as_affine()?;
        let [(padded, one)] = &sum.terms[..] else { return None };
        let before = sum.constant.neg().ok()?.as_const().filter(|before| *before >= 0)?;
        let (size, all) = (self.size(*own).as_const()?, self.size(*padded).as_const()?);
        let fits = one.as_const() == Some(1) && before <= all;
        fits.then_some(Side { padded: *padded, own: *own, before, size, all })
    }
}

impl Frame {
    fn padded(&self, axis: Axis) -> Option<&Side> {
        self.sides.iter().find(|side| side.padded == axis)
    }
}
