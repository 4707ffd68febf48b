//! Where a materialised value lives, and the address of an entry.

use super::index::{Atom, Ix, Place};
use crate::axes::{Dim, DimError};
use crate::graph::Axis;
use crate::kernel::{Arg, Buffer};

/// What holds the elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    Buffer(Buffer),
    /// An array of the kernel that is being emitted.
    Scratch(Arg),
}

/// An array in row-major order of some axes: dense, or a part of one that is.
#[derive(Clone, Debug)]
pub struct Home {
    pub storage: Storage,
    /// Outermost first.
    pub order: Vec<Axis>,
    /// In elements, for each axis of `order`.
    pub strides: Vec<Dim>,
    /// The element at index 0 of all axes.
    pub base: Dim,
}

impl Home {
    /// The home of a value whose axes have these sizes, outermost first; also the number of elements.
    pub fn dense(
        storage: Storage,
        order: Vec<Axis>,
        size: impl Fn(Axis) -> Dim,
    ) -> Result<(Home, Dim), DimError> {
        let mut strides = Vec::with_capacity(order.len());
        let mut len = Dim::constant(1);
        for axis in order.iter().rev() {
            strides.push(len.clone());
            len = len.mul(&size(*axis))?;
        }
        strides.reverse();
        Ok((Home { storage, order, strides, base: Dim::constant(0) }, len))
    }

    pub fn stride(&self, axis: Axis) -> Option<&Dim> {
        self.order.iter().position(|a| *a == axis).map(|at| &self.strides[at])
    }

    /// Whether its axes, of these sizes, fill memory without gaps.
    pub fn is_dense(&self, size: impl Fn(Axis) -> Dim) -> bool {
        let dense = Home::dense(self.storage, self.order.clone(), size);
        self.base.as_const() == Some(0) && dense.is_ok_and(|(dense, _)| dense.strides == self.strides)
    }

    /// The element at a place.
    pub fn address(&self, place: &Place) -> Result<Ix, DimError> {
        let mut address = Ix::constant(self.base.clone());
        for (axis, stride) in self.order.iter().zip(&self.strides) {
            address = address.add_scaled(&place.of(*axis), stride)?;
        }
        Ok(address)
    }
}

/// An address without the turns of scans, and the stride of each of these turns.
pub fn split_turns(address: Ix) -> (Ix, Vec<(Axis, Dim)>) {
    let mut rest = Ix::constant(address.base);
    let mut turns = Vec::new();
    for (atom, coefficient) in address.terms {
        match atom {
            Atom::Turn(axis) => turns.push((axis, coefficient)),
            atom => rest.terms.push((atom, coefficient)),
        }
    }
    (rest, turns)
}
