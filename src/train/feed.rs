//! The samples of a training's steps in arrays: those of a step while it runs, and the next ones, which another thread gathers meanwhile.
//!
//! Rows of a large array lie far apart, so gathering 256 samples of 784 numbers takes as long as a step of a linear model on them. What the
//! steps see does not depend on who gathers, nor on when.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use crate::diag::Diagnostic;
use crate::runtime::{Array, Pool};

use super::data::Dataset;

/// Samples of fewer bytes than this are gathered sooner than another thread is told of them.
const WORTH_TELLING: usize = 1 << 16;

/// Samples, and the arrays that hold them.
struct Filled {
    rows: Vec<u32>,
    arrays: Vec<Array>,
}

/// Arrays that steps run on, one after the other.
pub(super) struct Feed<'a> {
    data: &'a Dataset,
    pool: &'a Pool,
    now: Option<Filled>,
    /// Arrays that nobody needs, by their number of samples: a whole batch, the last short one, parts of both.
    spare: BTreeMap<usize, Vec<Vec<Array>>>,
    helper: Option<Helper>,
}

/// A thread that gathers. It ends when nobody can tell it anything more.
struct Helper {
    tasks: SyncSender<Filled>,
    done: Receiver<Filled>,
    /// Whether it has a task that nobody has taken from it: at most one.
    busy: bool,
}

impl<'a> Feed<'a> {
    /// A feed with a thread of its own in `scope`, where the pool leaves a core to it and gathering is worth one.
    pub fn new<'scope>(
        data: &'a Dataset,
        pool: &'a Pool,
        batch: usize,
        scope: &'scope Scope<'scope, '_>,
    ) -> Feed<'a>
    where
        'a: 'scope,
    {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let pays = cores > pool.threads() && data.bytes(batch) >= WORTH_TELLING;
        let helper = if pays { Helper::start(data, scope) } else { None };
        Feed { data, pool, now: None, spare: BTreeMap::new(), helper }
    }

    /// Arrays with these samples.
    ///
    /// # Errors
    /// Memory that there is not.
    pub fn take(&mut self, rows: &[u32]) -> Result<&[Array], Box<Diagnostic>> {
        if self.now.as_ref().is_none_or(|now| now.rows != rows) {
            let old = self.now.take();
            self.keep(old);
            let gathered = self.helper.as_mut().and_then(Helper::finished);
            let filled = match gathered {
                Some(filled) if filled.rows == rows => filled,
                other => {
                    self.keep(other);
                    let mut arrays = self.arrays(rows.len())?;
                    self.data.gather(rows, &mut arrays, Some(self.pool));
                    Filled { rows: rows.to_vec(), arrays }
                }
            };
            self.now = Some(filled);
        }
        Ok(self.now.as_ref().map_or(&[], |now| &now.arrays))
    }

    /// Has the samples that the next [`Feed::take`] is for gathered meanwhile, where that pays.
    pub fn prepare(&mut self, rows: &[u32]) {
        let worth = self.data.bytes(rows.len()) >= WORTH_TELLING;
        let idle = self.helper.as_ref().is_some_and(|helper| !helper.busy);
        if !worth || !idle || self.now.as_ref().is_some_and(|now| now.rows == rows) {
            return;
        }
        // Without memory for them they are asked for again, and then it is told.
        let Ok(arrays) = self.arrays(rows.len()) else { return };
        if let Some(helper) = &mut self.helper {
            helper.busy = helper.tasks.send(Filled { rows: rows.to_vec(), arrays }).is_ok();
        }
    }

    fn arrays(&mut self, rows: usize) -> Result<Vec<Array>, Box<Diagnostic>> {
        match self.spare.get_mut(&rows).and_then(Vec::pop) {
            Some(arrays) => Ok(arrays),
            None => self.data.batch(rows),
        }
    }

    fn keep(&mut self, filled: Option<Filled>) {
        if let Some(Filled { rows, arrays }) = filled {
            self.spare.entry(rows.len()).or_default().push(arrays);
        }
    }
}

impl Helper {
    /// `None` where the system refuses a thread.
    fn start<'scope, 'a: 'scope>(data: &'a Dataset, scope: &'scope Scope<'scope, '_>) -> Option<Helper> {
        let (tasks, told) = sync_channel::<Filled>(1);
        let (finished, done) = sync_channel(1);
        let work = move || {
            for mut filled in told {
                data.gather(&filled.rows, &mut filled.arrays, None);
                if finished.send(filled).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("nnc-batches".into());
        thread.spawn_scoped(scope, work).ok()?;
        Some(Helper { tasks, done, busy: false })
    }

    /// What it was told to gather last, when it has.
    fn finished(&mut self) -> Option<Filled> {
        std::mem::take(&mut self.busy).then(|| self.done.recv().ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DType;

    #[test]
    fn what_was_prepared_is_what_is_gathered_now() {
        let data = Dataset::of_rows(DType::F32, 1 << 14, 50);
        let pool = Pool::new(1).unwrap();
        let expected = |rows: &[u32]| {
            let mut arrays = data.batch(rows.len()).unwrap();
            data.gather(rows, &mut arrays, None);
            arrays[0].bytes().to_vec()
        };
        thread::scope(|scope| {
            let mut feed = Feed {
                data: &data,
                pool: &pool,
                now: None,
                spare: BTreeMap::new(),
                helper: Some(Helper::start(&data, scope).unwrap()),
            };
            let batches: [&[u32]; 6] = [&[3, 1, 2], &[3, 1, 2], &[9, 9], &[4, 5, 6], &[], &[49]];
            for (index, rows) in batches.iter().enumerate() {
                assert_eq!(feed.take(rows).unwrap()[0].bytes(), expected(rows), "{rows:?}");
                // Now and then the wrong ones, which are then not given.
                feed.prepare(batches[if index % 3 == 2 { 0 } else { (index + 1) % 6 }]);
            }
        });
    }
}
