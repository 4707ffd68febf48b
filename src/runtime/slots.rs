//! Slots: a memory plan that serves all sizes at once. Where sizes are known only when code runs that cannot plan (an object file's), buffers
//! that are never alive together share a slot, and the slot takes the bytes of its largest.

use cranelift_entity::{EntityRef, SecondaryMap};

use super::memory::{Life, lives};
use crate::kernel::{Buffer, Program};

/// What dims are taken for when buffers are ordered by size; it decides how good the plan is, never whether it is right.
const TYPICAL: i64 = 64;

/// The slot of each temporary buffer that is used, and the number of slots. The largest buffers choose first.
pub fn slots(program: &Program) -> (SecondaryMap<Buffer, Option<usize>>, usize) {
    let lives = lives(program);
    let size = |buffer: Buffer| {
        let decl = &program.buffers[buffer];
        decl.len.eval_with(&|_| Some(TYPICAL)).unwrap_or(i64::MAX).saturating_mul(decl.dtype.size() as i64)
    };
    let mut order: Vec<(Buffer, Life)> =
        program.buffers.keys().filter_map(|buffer| Some((buffer, lives[buffer]?))).collect();
    order.sort_by_key(|&(buffer, life)| (std::cmp::Reverse(size(buffer)), life.first, buffer.index()));
    let mut of = SecondaryMap::new();
    let mut held: Vec<Vec<Life>> = Vec::new();
    for (buffer, life) in order {
        let apart = |other: &Life| other.last < life.first || life.last < other.first;
        let slot = held.iter().position(|lives| lives.iter().all(apart)).unwrap_or_else(|| {
            held.push(Vec::new());
            held.len() - 1
        });
        held[slot].push(life);
        of[buffer] = Some(slot);
    }
    (of, held.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::tests::{fused, random};

    #[test]
    fn buffers_that_live_together_have_slots_of_their_own() {
        for seed in 0..40 {
            let program = crate::lower::lower(&fused(&random::graph(seed))).unwrap();
            let (of, count) = slots(&program);
            let lives = lives(&program);
            let mut together = 0;
            for (a, b) in program.buffers.keys().flat_map(|a| program.buffers.keys().map(move |b| (a, b))) {
                let (Some(first), Some(second)) = (lives[a], lives[b]) else { continue };
                assert!(of[a].is_some_and(|slot| slot < count));
                if a != b && first.first <= second.last && second.first <= first.last {
                    assert_ne!(of[a], of[b], "{program}");
                    together += 1;
                }
            }
            assert!(count <= 1 || together > 0);
        }
    }
}
