//! Loops whose turns share what they own (`scan`, `iterate`), and the states that are written in them.
//!
//! Such a loop carries a state from turn to turn, besides the carries that the program declares: what a turn writes, the next one reads,
//! and behind the loop the state has its last value. Which states a loop writes is known only when its body has been walked; so a state
//! becomes a carry where the body first meets it, and a carry that no turn writes becomes the value from outside again.

use crate::base::Span;

use super::core::*;
use super::state::{Checker, Checking, SlotKind, Written};

/// A loop whose body is being walked.
pub struct OpenLoop {
    /// The axis along which it runs: it carries every state that is written in it, so that what is written may differ from turn to turn.
    pub axis: AxisVar,
    body: BlockId,
    /// The block in which the loop itself stands.
    outer: BlockId,
    /// The stacks that are open around it.
    stacks: usize,
    carried: Vec<Carried>,
}

/// A state that a loop's body has met.
struct Carried {
    state: usize,
    /// Its value before the first turn, and in a turn.
    init: Val,
    carry: Val,
    before: Option<Written>,
}

/// A state that is a carry of a loop that is closed.
pub struct Left {
    state: usize,
    result: usize,
    stacks: usize,
}

impl Checker<'_> {
    /// Opens the body of a loop.
    pub fn open_loop(&mut self, axis: AxisVar) -> BlockId {
        let outer = self.present_block();
        let body = self.open_block();
        self.loops.push(OpenLoop { axis, body, outer, stacks: self.stacks.len(), carried: Vec::new() });
        body
    }

    /// Closes it. To the first values of the declared carries and to what a turn results in, those of the states are added.
    pub fn close_loop(&mut self, inits: &mut Vec<Val>, results: &mut Vec<Val>) -> Vec<Left> {
        let open = self.leave_loop();
        let declared = inits.len();
        let mut left = Vec::new();
        for Carried { state, init, carry, before } in open.carried {
            let now = self.written[&state].val;
            if now == carry {
                let to = self.visible(carry).to_vec();
                self.core.vals[carry].form = Form::Rename { of: init, to };
                match before {
                    Some(before) => self.written.insert(state, before),
                    None => self.written.remove(&state),
                };
                continue;
            }
            let result = declared + left.len();
            self.core.vals[carry].form = Form::Carry(open.body, result);
            inits.push(init);
            results.insert(result, now);
            let stacks = open.stacks.min(self.core.states[state].stacks);
            left.push(Left { state, result, stacks });
        }
        left
    }

    /// Forgets a loop whose body has errors.
    pub fn abandon_loop(&mut self) {
        for Carried { state, before, .. } in self.leave_loop().carried {
            match before {
                Some(before) => self.written.insert(state, before),
                None => self.written.remove(&state),
            };
        }
    }

    fn leave_loop(&mut self) -> OpenLoop {
        self.close_block();
        self.loops.pop().expect("opened with its block")
    }

    /// Behind a loop: the states that its turns wrote have the values of its last one.
    pub fn states_behind(&mut self, left: Vec<Left>, tuple: Val, span: Span) -> Checking<()> {
        for Left { state, result, stacks } in left {
            let slot = self.core.states[state].clone();
            let axes = slot.axes[stacks..].to_vec();
            let form = Form::Component { of: tuple, index: result };
            let val = self.emit(form, slot.elem.clone(), axes, span);
            self.set_written(state, Written { val, stacks });
            // Only now is it known what the carry depends on.
            self.refuse_ambient(val, &slot.path, slot.span)?;
        }
        Ok(())
    }

    /// A state is about to be used: the open loops that have not met it carry it from here on.
    pub fn meet_state(&mut self, state: usize, span: Span) {
        if !self.mode.training {
            return;
        }
        for index in 0..self.loops.len() {
            let OpenLoop { body, outer, stacks, ref carried, .. } = self.loops[index];
            if carried.iter().any(|carried| carried.state == state) {
                continue;
            }
            let slot = self.core.states[state].clone();
            let stacks = stacks.min(slot.stacks);
            let before = self.written.get(&state).copied();
            let init = self.slot_value_in(outer, SlotKind::State, state, stacks, span);
            let visible = slot.axes[stacks..].to_vec();
            let place = usize::MAX;
            let carry = self.emit_in(body, Form::Carry(body, place), slot.elem, visible, span);
            self.written.insert(state, Written { val: carry, stacks });
            self.loops[index].carried.push(Carried { state, init, carry, before });
        }
    }
}
