//! How far the reads of a program go along an axis, and what divides its indices: read off from the text of its index expressions, without
//! the rules that prove theorems.

use crate::axes::{DimVar, Ratio};
use crate::check::core::{At, AxisVar, BlockId, Core, Form, Point, Root, Val};

use super::transform::rate;

/// Beyond this nothing is tried.
const MOST: i64 = 64;
/// Of a loop of any length, so many turns are counted: what is read further away in it is taken for a border that it does not have.
const TURNS: i64 = 6;

/// What a trial of a translation has to respect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reads {
    /// The distances of all reads on the way, added up, in places of the axis.
    pub margin: i64,
    /// A multiple of everything that indices are divided by, and of the distances of entries of coarser axes.
    pub turn: i64,
}

/// `None` where the distances or the divisors are too large, or sizes say them.
pub fn reads(core: &Core, root: Root) -> Option<Reads> {
    let mut walk = Walk { core, root, found: Reads { margin: 0, turn: 1 } };
    for axis in core.vals.values().flat_map(|data| &data.visible) {
        walk.axis(*axis)?;
    }
    walk.block(core.body?, 1)?;
    (walk.found.margin <= MOST && walk.found.turn <= MOST).then_some(walk.found)
}

struct Walk<'a> {
    core: &'a Core,
    root: Root,
    found: Reads,
}

impl Walk<'_> {
    /// Entries of a coarser axis move by whole ones.
    fn axis(&mut self, axis: AxisVar) -> Option<()> {
        let name = DimVar::new(self.core.roots[self.root].name.as_str());
        let size = self.core.axes[axis].size.as_ref();
        if size.is_some_and(|size| size.mentions(&name))
            && let Some((over, _)) = rate(self.core, axis, self.root)
        {
            self.divided(over)?;
        }
        Some(())
    }

    fn divided(&mut self, by: i64) -> Option<()> {
        let shared = Ratio::new(self.found.turn, by)?;
        self.found.turn = shared.numerator().checked_mul(by)?.checked_abs()?;
        Some(())
    }

    fn block(&mut self, block: BlockId, times: i64) -> Option<()> {
        let core = self.core;
        for &val in &core.blocks[block].vals {
            self.value(val, times)?;
        }
        Some(())
    }

    fn value(&mut self, val: Val, times: i64) -> Option<()> {
        let core = self.core;
        match &core.vals[val].form {
            Form::Read { of, at, .. } => {
                for (&axis, at) in core.vals[*of].visible.iter().zip(at) {
                    if let At::Point(point) = at {
                        let (over, under) = rate(core, axis, self.root).unwrap_or((1, 1));
                        self.point(point, times * ((over + under - 1) / under).max(1))?;
                    }
                }
            }
            Form::Number(point) | Form::Inside(point, _) => self.point(point, times)?,
            Form::Scan { axis, body, .. } => {
                let turns = core.size(*axis).as_const().unwrap_or(TURNS).clamp(1, MOST);
                self.block(*body, times.checked_mul(turns)?)?;
            }
            Form::Checkpoint { body } => self.block(*body, times)?,
            _ => {}
        }
        Some(())
    }

    fn point(&mut self, point: &Point, times: i64) -> Option<()> {
        let over = point.axes().into_iter().any(|axis| rate(self.core, axis, self.root).is_some());
        if over {
            let far = self.far(point)?.checked_mul(times)?;
            self.found.margin = self.found.margin.checked_add(far)?;
        }
        Some(())
    }

    /// How far an index lies from the variables that it follows, at most.
    fn far(&mut self, point: &Point) -> Option<i64> {
        match point {
            Point::Affine(affine) => {
                let mut far = affine.constant.as_const()?.checked_abs()?;
                for (axis, factor) in &affine.terms {
                    if rate(self.core, *axis, self.root).is_none() {
                        let last = self.core.size(*axis).as_const()?.max(1) - 1;
                        far = far.checked_add(last.checked_mul(factor.as_const()?)?.checked_abs()?)?;
                    }
                }
                Some(far)
            }
            Point::Div(inner, by) => {
                let by = by.as_const()?;
                self.divided(by)?;
                Some(self.far(inner)? / by + 1)
            }
            Point::Rem(inner, by) => {
                // Modulo a size it goes round.
                let Some(by) = by.as_const() else { return self.far(inner) };
                self.divided(by)?;
                self.far(inner)?.checked_add(by)
            }
            Point::Sum(parts) => {
                let mut far = 0i64;
                for (factor, part) in parts {
                    let part = self.far(part)?.checked_mul(factor.as_const()?)?.checked_abs()?;
                    far = far.checked_add(part)?;
                }
                Some(far)
            }
        }
    }
}
