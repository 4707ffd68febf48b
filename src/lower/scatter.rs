//! Kernels that accumulate into computed places: `Scatter`, and a `Fold` that has no gather form.
//!
//! First the neutral value everywhere, then the entries in row-major order of the summed axes: one order of accumulation, whatever the
//! threads. Parallel over the axes that are kept; the innermost of them has the lanes.

use super::emit::Emitter;
use super::home::Home;
use super::index::{Atom, Ix, Place};
use super::nest::Run;
use super::scalar::{accumulation, combination};
use super::{LowerError, Lowering};
use crate::axes::Dim;
use crate::graph::{Axis, IndexMap, Node, Op, Outside, Reducer};
use crate::kernel::Val;
use crate::tensor::DType;

/// What goes where.
enum Target<'g> {
    /// To the entry of `into` that the value of the node says.
    Entry { into: Axis, index: Node },
    /// To the entries that the map says.
    Map(&'g IndexMap),
}

impl Lowering<'_> {
    /// The kernel of a `Scatter` or a `Fold`.
    pub(super) fn scatter(&mut self, node: Node) -> Result<(), LowerError> {
        let graph = self.graph;
        let data = &graph.nodes[node];
        let home = self.home(node)?;
        let name = self.name_of(node);
        let name = self.unique(&name);
        let (op, made, over, target) = match &data.op {
            Op::Scatter { op, into, over } => {
                (*op, vec![*into], over.to_vec(), Target::Entry { into: *into, index: data.args[1] })
            }
            Op::Fold(map) => (Reducer::Sum, map.named().to_vec(), map.mentioned().to_vec(), Target::Map(map)),
            op => unreachable!("{op:?} does not accumulate"),
        };
        let over = over.into_iter().filter(|axis| !self.is_bound(*axis)).collect::<Vec<_>>();
        let place = self.outer_place();
        let mut emitter = Emitter::new(self, name, data.span);
        emitter.accumulate(data.args[0], op, &made, &over, target, &home, place)?;
        let (kernel, args) = emitter.finish();
        self.run(kernel, args);
        Ok(())
    }
}

impl Emitter<'_, '_> {
    #[allow(clippy::too_many_arguments, reason = "what is added up, over what, and where it goes")]
    fn accumulate(
        &mut self,
        values: Node,
        op: Reducer,
        made: &[Axis],
        over: &[Axis],
        target: Target<'_>,
        home: &Home,
        mut place: Place,
    ) -> Result<(), LowerError> {
        let stored: Vec<Axis> =
            home.order.iter().copied().filter(|axis| place.get(*axis).is_none()).collect();
        let (lanes, rest) = match stored.split_last() {
            Some((last, rest)) if !made.contains(last) => (Some(*last), rest),
            _ => (None, &stored[..]),
        };
        for axis in rest.iter().filter(|axis| !made.contains(axis)) {
            let var = self.grid(&self.cx.size(*axis));
            place.set(*axis, Ix::atom(Atom::Var(var)));
        }
        let run = |e: &Self, axis: Axis| Run::of(axis, e.cx.size(axis));
        // The neutral values.
        let acc = accumulation(op);
        let dtype = self.cx.graph.nodes[values].dtype;
        let neutral = self.b.neutral(acc, dtype);
        let mut at = place.clone();
        let fresh: Vec<Axis> =
            stored.iter().copied().filter(|axis| made.contains(axis)).chain(lanes).collect();
        for (i, axis) in fresh.iter().enumerate() {
            let run = run(self, *axis);
            self.open_run(&run, i + 1 == fresh.len(), &mut at)?;
        }
        self.store(home, &at, neutral)?;
        for _ in &fresh {
            self.close(&[]);
        }
        // The entries in order.
        let mut at = place.clone();
        for axis in over {
            let run = run(self, *axis);
            self.open_run(&run, false, &mut at)?;
        }
        if let Some(axis) = lanes {
            let run = run(self, axis);
            self.open_run(&run, true, &mut at)?;
        }
        let mut inside = None;
        let mut to = at.clone();
        match target {
            Target::Entry { into, index } => {
                let mut index = self.value(index, &at, None)?;
                if self.b.dtype(index) == DType::U8 {
                    index = self.b.cast(index, DType::I32);
                }
                to.set(into, self.loaded_index(index));
            }
            Target::Map(map) => {
                let (place, checks) = self.cx.view_place(map, &at, self)?;
                if map.outside == Outside::Zero {
                    for (ix, size) in checks {
                        inside = self.narrow(inside, &ix, &size)?;
                    }
                }
                for axis in made {
                    to.set(*axis, self.guarded(&place.of(*axis), inside)?);
                }
            }
        }
        let mut value = self.value(values, &at, inside)?;
        if let Some(inside) = inside {
            value = self.b.select(inside, value, neutral);
        }
        let (arg, address) = self.element(home, &to, true)?;
        let old = self.b.load(arg, address.clone());
        let new = self.b.op(combination(acc), &[old, value]);
        self.b.store(arg, address, new);
        for _ in 0..over.len() + usize::from(lanes.is_some()) {
            self.close(&[]);
        }
        Ok(())
    }

    /// The index, or 0 where the mask does not hold.
    fn guarded(&mut self, ix: &Ix, mask: Option<Val>) -> Result<Ix, LowerError> {
        let Some(mask) = mask else { return Ok(ix.clone()) };
        let value = self.index_value(ix)?;
        let zero = self.b.i64(0);
        let index = self.b.select(mask, value, zero);
        let index = self.made(index);
        Ok(match index == zero {
            true => Ix::constant(Dim::constant(0)),
            false => Ix::atom(Atom::Val(index)),
        })
    }
}
