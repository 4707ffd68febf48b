//! Sizes, parameters and inputs for trials, drawn from a seed.

use std::collections::{BTreeMap, BTreeSet};

use nn_grammar::ast::{Def, TypeKind};

use crate::axes::DimVar;
use crate::check::core::{AxisVar, Core, Elem};
use crate::session::broken_constraints;
use crate::tensor::DType;
use crate::tensor::random::{self, Key};

use super::values::Values;

pub type Sizes = BTreeMap<DimVar, i64>;

/// Numbers from a seed, one after the other: the stream of a site of its own.
#[derive(Clone, Debug)]
pub struct Draws {
    key: Key,
    next: u64,
}

impl Draws {
    pub fn new(seed: u64) -> Draws {
        Draws { key: Key::new(seed, random::site("verify")), next: 0 }
    }

    fn bits(&mut self) -> u64 {
        let [low, high, ..] = self.key.block(0, self.next);
        self.next += 1;
        u64::from(high) << 32 | u64::from(low)
    }

    /// A whole number from `least` to `most`, both included.
    pub fn between(&mut self, least: i64, most: i64) -> i64 {
        least + (self.bits() % (most - least + 1).max(1) as u64) as i64
    }

    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of mean 0 and variance 1 (Box, Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A random order of `0..count`.
    pub fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.between(0, last as i64) as usize);
        }
        order
    }

    /// An entry of an array of this type.
    pub fn entry(&mut self, elem: &Elem, bound: Option<i64>) -> f64 {
        match (elem.dtype(), bound) {
            (_, Some(bound)) => self.between(0, (bound - 1).max(0)) as f64,
            (DType::Bool, None) => self.between(0, 1) as f64,
            (dtype, None) if dtype.is_float() => self.normal(),
            (_, None) => self.between(0, 4) as f64,
        }
    }
}

/// The static dims of a definition that have no default.
pub fn open_statics(def: &Def) -> Vec<DimVar> {
    let is_dim =
        |ty: &TypeKind| matches!(ty, TypeKind::Named { name, axes } if axes.is_empty() && name.name == "dim");
    let open = def.statics.iter().filter(|param| param.default.is_none() && is_dim(&param.ty.kind));
    open.map(|param| DimVar::new(param.name.as_str())).collect()
}

/// All axes of what a core is given and owns.
fn axes(core: &Core) -> impl Iterator<Item = AxisVar> {
    let inputs = core.inputs.iter().flat_map(|input| &input.axes);
    let slots = core.params.iter().chain(&core.states).flat_map(|slot| &slot.axes);
    inputs.chain(slots).copied()
}

/// The dims of a core: of its axes, of the positions among its inputs, of its conditions.
pub fn dims(core: &Core) -> BTreeSet<DimVar> {
    let mut found: BTreeSet<DimVar> = axes(core).flat_map(|axis| core.size(axis).vars()).collect();
    for input in &core.inputs {
        if let Elem::Idx(size, _) = &input.elem {
            found.extend(size.vars());
        }
        found.extend(input.bound.iter().flat_map(|bound| bound.vars()));
    }
    for constraint in &core.constraints {
        found.extend(constraint.left.vars());
        found.extend(constraint.right.vars());
    }
    found
}

/// Sizes from 1 (or 2) to `most` for all dims that `given` does not fix, such that every axis has entries and all conditions hold.
/// Where small sizes do not do, larger ones are tried.
pub fn sizes(core: &Core, given: &Sizes, least: i64, most: i64, draws: &mut Draws) -> Option<Sizes> {
    let dims = dims(core);
    for attempt in 0..600 {
        let most = most << (attempt / 100);
        let mut sizes = given.clone();
        for dim in &dims {
            sizes.entry(dim.clone()).or_insert_with(|| draws.between(least, most));
        }
        let fits = axes(core).all(|axis| core.size(axis).eval(&sizes).is_ok_and(|size| size >= 1));
        if fits && broken_constraints(core, &sizes).is_empty() {
            return Some(sizes);
        }
    }
    None
}

/// Values for a core's inputs.
pub fn inputs(core: &Core, sizes: &Sizes, draws: &mut Draws) -> Option<Vec<Values>> {
    core.inputs
        .iter()
        .map(|input| {
            let shape = shape(core, &input.axes, sizes)?;
            let bound = bound(core, input, sizes);
            Some(Values::from_fn(&shape, |_| draws.entry(&input.elem, bound)))
        })
        .collect()
}

/// The entries of an input lie below this number, where it holds positions.
pub fn bound(_: &Core, input: &crate::check::core::InputInfo, sizes: &Sizes) -> Option<i64> {
    let bound = match &input.elem {
        Elem::Idx(size, _) => Some(size),
        Elem::Of(_) => input.bound.as_ref(),
    };
    bound.and_then(|bound| bound.eval(sizes).ok())
}

pub fn shape(core: &Core, axes: &[AxisVar], sizes: &Sizes) -> Option<Vec<usize>> {
    axes.iter().map(|&axis| usize::try_from(core.size(axis).eval(sizes).ok()?).ok()).collect()
}
