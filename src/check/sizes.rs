//! What sizes must satisfy: it is proved, or becomes a `where` of the definition, which is checked at each use.

use crate::axes::{Dim, DimVar, Facts, Solutions};
use crate::base::Span;

use super::core::*;
use super::errors;
use super::state::{Checker, Checking};

impl Checker<'_> {
    /// A size that may become negative is a condition on the dims in it.
    pub fn require_nonnegative(&mut self, size: &Dim, span: Span) -> Checking<()> {
        if size.as_const().is_some_and(|size| size < 0) {
            return self.fail(errors::negative_dim(span, size));
        }
        if !self.facts.at_least(size, 0) {
            self.require_at_most(Dim::constant(0), size.clone(), span);
        }
        Ok(())
    }

    /// Whether `left <= right` may hold: it is proved, or becomes a `where` of the definition. False where it never holds.
    pub fn demand_at_most(&mut self, (left, right): (&Dim, &Dim), span: Span) -> bool {
        let (Ok(room), Ok(lack)) = (right.sub(left), left.sub(right)) else { return false };
        if self.facts.at_least(&room, 0) {
            return true;
        }
        if room.as_const().is_some() || self.facts.at_least(&lack, 1) {
            return false;
        }
        self.require_at_most(left.clone(), right.clone(), span);
        true
    }

    /// `left <= right` becomes a `where` of the definition, in the place of those that it implies: of `2 <= H` and `6 <= H` one is told.
    ///
    /// What it asks of a single name is solved for it: `43 <= H` for `2 <= (H + 21) / 32`.
    pub fn require_at_most(&mut self, left: Dim, right: Dim, span: Span) {
        let room = self.core.expand(&right).sub(&self.core.expand(&left));
        if let Ok(room) = &room {
            self.facts.bound_below(room, 0);
        }
        let (left, right) = match room.as_ref().ok().and_then(Dim::solutions) {
            Some((_, Solutions::All)) => return,
            Some((var, Solutions::From(least))) => (Dim::constant(least), Dim::var(var)),
            Some((var, Solutions::UpTo(most))) => (Dim::var(var), Dim::constant(most)),
            None => match room.ok().filter(|room| room.as_const().is_none()) {
                Some(room) => room.sides().unwrap_or((left, right)),
                None => (left, right),
            },
        };
        // By how much less this one leaves than another one.
        let tighter = |other: &Constraint| {
            let (room, others) = (right.sub(&left).ok()?, other.right.sub(&other.left).ok()?);
            others.sub(&room).ok()?.as_const().filter(|_| other.op == ConstraintOp::Le)
        };
        if self.core.constraints.iter().any(|other| tighter(other).is_some_and(|by| by <= 0)) {
            return;
        }
        self.core.constraints.retain(|other| tighter(other).is_none());
        if let Ok(room) = right.sub(&left) {
            self.facts.bound_below(&room, 0);
        }
        let text = format!("{left} <= {right}");
        self.core.constraints.push(Constraint { text, left, op: ConstraintOp::Le, right, span });
    }

    /// Whether two sizes are equal: that is proved, or holds where a division in them leaves nothing over, which becomes a `where` of the
    /// definition: `D % heads == 0` for `D` and `heads * (D / heads)`.
    pub fn demand_equal(&mut self, left: &Dim, right: &Dim, span: Span) -> bool {
        if self.same_dim(left, right) {
            return true;
        }
        let divided = left.divisions().into_iter().chain(right.divisions()).find(|(over, by)| {
            let mut facts = self.facts.clone();
            facts.divides(by, over).is_ok() && facts.same(left, right).unwrap_or(false)
        });
        divided.is_some_and(|(over, by)| self.require_divides(by, over, span))
    }

    /// `over % by == 0` becomes a `where` of the definition, and is known from here on.
    fn require_divides(&mut self, divisor: Dim, over: Dim, span: Span) -> bool {
        let Ok(left) = over.rem(&divisor) else { return false };
        if self.facts.divides(&divisor, &over).is_err() {
            return false;
        }
        let atom = |dim: &Dim| match dim.as_var().is_some() || dim.as_const().is_some() {
            true => dim.to_string(),
            false => format!("({dim})"),
        };
        let text = format!("{} % {} == 0", atom(&over), atom(&divisor));
        // What follows from it need not be asked for any more: `H % 2 == 0` where `H % 4 == 0`.
        let mut alone = Facts::new();
        if alone.divides(&divisor, &over).is_ok() {
            let follows = |known: &Constraint| alone.same(&known.left, &known.right).unwrap_or(false);
            self.core.constraints.retain(|known| known.op != ConstraintOp::Eq || !follows(known));
        }
        let right = Dim::constant(0);
        self.core.constraints.push(Constraint { text, left, op: ConstraintOp::Eq, right, span });
        self.divided.push((divisor, over));
        true
    }

    /// Two axes that are put together entry by entry. Where both run over one name at one rate and nothing but a remainder of it
    /// keeps their sizes apart, that it is zero becomes a `where` of the definition: what a U-Net makes smaller and larger again.
    pub fn join_axes(&mut self, left: AxisVar, right: AxisVar, span: Span) -> bool {
        const TURN: i64 = 1024;
        if self.unify(left, right) {
            return true;
        }
        let divisor = || {
            let (a, b) = (self.size_of(left)?, self.size_of(right)?);
            let vars: Vec<DimVar> = a.vars().union(&b.vars()).cloned().collect();
            let [var] = &vars[..] else { return None };
            if a.slope(var)? != b.slope(var)? || !a.slope(var)?.is_positive() {
                return None;
            }
            let gap = a.sub(&b).ok()?;
            let turn = gap.turn(TURN)?;
            // What is left over comes again after a turn; the sizes must be equal for the multiples of a number, and no others.
            let at = |dim: &Dim, at: i64| dim.eval_with(&|_| Some(at)).ok();
            let halves = [&a, &b].into_iter().flat_map(|size| size.divisions());
            let halves = halves.filter_map(|(over, under)| over.div(&under).ok());
            std::iter::once(Dim::var(var.clone())).chain(halves).find_map(|over| {
                let divided = |by: i64| {
                    let whole = |place: i64| Some(at(&over, turn + place)? % by == 0);
                    (0..turn).all(|place| whole(place) == Some(at(&gap, turn + place) == Some(0)))
                };
                (2..=turn).find(|&by| turn % by == 0 && divided(by)).map(|by| (by, over.clone()))
            })
        };
        match divisor() {
            Some((by, over)) => self.require_divides(Dim::constant(by), over, span),
            None => match (self.size_of(left), self.size_of(right)) {
                (Some(left), Some(right)) => self.demand_equal(&left, &right, span),
                _ => false,
            },
        }
    }
}
