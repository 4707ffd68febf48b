//! Items that are checked side by side, on as many threads as there are processors, and told in their order.
//!
//! What is told is the same at any number of threads: it depends on the items that stand before, never on those that were faster.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::check::{Checked, Found};

/// Calls and types nest as deep on every thread as on the first one.
const STACK: usize = 512 << 20;

/// Fewer items are not worth a thread's start, which takes as long as a small one.
const EACH: usize = 6;

/// The items that are done, as far as all before them are done, too.
pub struct InOrder {
    items: Vec<Checked>,
    found: Found,
    /// Those behind the first that is not done.
    early: BTreeMap<usize, (Checked, Found)>,
}

impl InOrder {
    /// Checks items until enough is found; gives those up to there, and all that was found in them, behind what `found` holds.
    pub fn all(
        count: usize,
        found: Found,
        check: impl Fn(usize, &mut Found) -> Checked + Sync,
    ) -> (Vec<Checked>, Found) {
        let done = Mutex::new(InOrder { items: Vec::new(), found, early: BTreeMap::new() });
        let lock = || done.lock().unwrap_or_else(PoisonError::into_inner);
        let next = AtomicUsize::new(0);
        let work = || {
            while !lock().is_enough() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    break;
                }
                let mut own = Found::default();
                let item = check(index, &mut own);
                lock().take(index, item, own);
            }
        };
        thread::scope(|scope| {
            let start = |number: usize| {
                let thread = thread::Builder::new().name(format!("nnc-check-{number}")).stack_size(STACK);
                // Where no thread can be had, the others do its work.
                thread.spawn_scoped(scope, work).ok()
            };
            let helpers: Vec<_> = (1..threads(count)).filter_map(start).collect();
            work();
            for helper in helpers {
                if let Err(defect) = helper.join() {
                    resume_unwind(defect);
                }
            }
        });
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        (done.items, done.found)
    }

    fn is_enough(&self) -> bool {
        self.found.is_enough()
    }

    fn take(&mut self, index: usize, item: Checked, found: Found) {
        self.early.insert(index, (item, found));
        while !self.is_enough()
            && let Some((item, found)) = self.early.remove(&self.items.len())
        {
            self.found.all(found.diagnostics);
            self.items.push(item);
        }
    }
}

/// How many threads check so many items. The rules' weakenings, which exist in the tests of this crate alone, are those of a thread.
fn threads(items: usize) -> usize {
    let most = if cfg!(test) { 1 } else { thread::available_parallelism().map_or(1, usize::from) };
    most.min(8).min(items / EACH).max(1)
}
