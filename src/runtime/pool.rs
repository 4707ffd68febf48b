//! A small thread pool for kernels of a few microseconds.
//!
//! `run` hands out the numbers `0 .. tasks`; the calling thread works too, and nobody waits for a
//! worker that has not begun. Each thread begins with a share of its own, the same part of `tasks` in
//! every run: what it wrote in one kernel then lies in its own cache when it reads it in the next. Who is
//! done helps the others, so which thread runs which task is not determined, and a result may not
//! depend on it. Workers spin for `SPIN` after a run, then sleep; a run allocates nothing.
//!
//! **Protocol.** One word, the gate, holds a generation, whether the gate is open, and how many
//! workers are inside. The caller writes the job, opens the gate under a new generation, works,
//! closes the gate and waits until nobody is inside. A worker enters by a compare-exchange that
//! fails when the gate is closed, at most once a generation: so it reads the job only while the
//! caller is still in `run`.

use std::any::Any;
use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a thread that has nothing to do spins before it sleeps.
const SPIN: Duration = Duration::from_micros(50);

/// The gate: the generation above, then whether it is open, then the number of workers inside.
const INSIDE: u64 = 0xffff;
const OPEN: u64 = 1 << 16;
const GENERATION: u64 = 1 << 17;

/// Runs tasks on a fixed number of threads, of which the caller of `run` is one.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// A value that shares its cache line with no other.
#[repr(align(128))]
struct Line<T>(T);

type Task<'a> = &'a (dyn Fn(usize) + Sync + 'a);

struct Shared {
    gate: Line<AtomicU64>,
    /// The next task of each thread's share; the caller's comes first.
    next: Box<[Line<AtomicUsize>]>,
    /// The function and the number of tasks, while the gate is open or workers are inside.
    job: UnsafeCell<Option<(Task<'static>, usize)>>,
    /// Whether a `run` is under way.
    busy: AtomicBool,
    stop: AtomicBool,
    /// The first panic of a run.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Workers that sleep, or are about to.
    sleeping: AtomicUsize,
    /// Whether the caller sleeps, or is about to, until nobody is inside.
    waiting: AtomicBool,
    lock: Mutex<()>,
    opened: Condvar,
    left: Condvar,
}

// SAFETY: `job` alone is not `Sync`. Only the thread that holds `busy` writes it, while the gate is
// closed and nobody is inside; workers read it only while inside. Both sides go through `gate` with
// acquire and release, so a read never overlaps a write.
unsafe impl Sync for Shared {}
// SAFETY: the function in `job` is `Sync`, so a shared reference to it may move between threads.
unsafe impl Send for Shared {}

impl Pool {
    /// A pool of `threads` threads, the caller included; zero counts as one. Fails where the system
    /// refuses a thread.
    pub fn new(threads: usize) -> std::io::Result<Pool> {
        let shared = Arc::new(Shared {
            gate: Line(AtomicU64::new(0)),
            next: (0..threads.clamp(1, INSIDE as usize)).map(|_| Line(AtomicUsize::new(0))).collect(),
            job: UnsafeCell::new(None),
            busy: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
            sleeping: AtomicUsize::new(0),
            waiting: AtomicBool::new(false),
            lock: Mutex::new(()),
            opened: Condvar::new(),
            left: Condvar::new(),
        });
        // From here on, dropping the pool stops the workers that were started.
        let mut pool = Pool { shared, workers: Vec::new() };
        for worker in 1..threads.min(INSIDE as usize) {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new().name(format!("nnc-worker-{worker}"));
            pool.workers.push(thread.spawn(move || shared.work(worker))?);
        }
        Ok(pool)
    }

    /// The number of threads, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `f` with each of `0 .. tasks` once, and returns when all calls have.
    ///
    /// With one thread, one task, or from inside another `run` of this pool, it is a loop in
    /// ascending order. A panic of `f` is passed on when all threads have left; tasks that have not
    /// begun by then are not run.
    pub fn run(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.shared;
        let alone = self.workers.is_empty() || tasks < 2;
        if alone || shared.busy.swap(true, Ordering::Acquire) {
            (0..tasks).for_each(f);
            return;
        }
        // SAFETY: the lifetime is extended only for the time of this call: below, `run` waits until
        // nobody is inside and empties `job`, and no path, panics included, leaves before that.
        let task = unsafe { std::mem::transmute::<Task<'_>, Task<'static>>(f) };
        // SAFETY: `busy` was ours to take, the gate is closed and nobody is inside.
        unsafe { *shared.job.get() = Some((task, tasks)) };
        for (thread, next) in shared.next.iter().enumerate() {
            next.0.store(shared.share(thread, tasks).start, Ordering::Relaxed);
        }
        shared.open();
        shared.hand_out(0, task, tasks);
        shared.close();
        // SAFETY: as above, after `close`.
        unsafe { *shared.job.get() = None };
        let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        shared.busy.store(false, Ordering::Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.wake(&self.shared.opened);
        for worker in self.workers.drain(..) {
            // A worker contains the panics of its tasks, so there is nothing to report.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// The tasks that a thread begins with.
    fn share(&self, thread: usize, tasks: usize) -> Range<usize> {
        let threads = self.next.len();
        let (each, more) = (tasks / threads, tasks % threads);
        let start = |thread: usize| thread * each + thread.min(more);
        start(thread)..start(thread + 1)
    }

    /// Runs the tasks of the thread's share, then those of the others, until none is left.
    fn hand_out(&self, thread: usize, task: Task<'_>, tasks: usize) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            for other in (thread..self.next.len()).chain(0..thread) {
                let (next, end) = (&self.next[other].0, self.share(other, tasks).end);
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= end {
                        break;
                    }
                    task(index);
                }
            }
        }));
        if let Err(panic) = result {
            // Far from wrapping: each thread adds at most one more.
            self.next.iter().for_each(|next| next.0.store(usize::MAX / 2, Ordering::Relaxed));
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }

    /// Opens the gate under a new generation and wakes who sleeps.
    fn open(&self) {
        let closed = self.gate.0.load(Ordering::Relaxed);
        // With SeqCst, either we see the sleeper or it sees the open gate.
        self.gate.0.store(closed.wrapping_add(GENERATION) | OPEN, Ordering::SeqCst);
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            self.wake(&self.opened);
        }
    }

    /// Closes the gate and waits until nobody is inside.
    fn close(&self) {
        let empty = || self.gate.0.load(Ordering::SeqCst) & INSIDE == 0;
        if self.gate.0.fetch_and(!OPEN, Ordering::SeqCst) & INSIDE == 0 || spin(empty) {
            return;
        }
        self.waiting.store(true, Ordering::SeqCst);
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !empty() {
            guard = self.left.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.waiting.store(false, Ordering::SeqCst);
    }

    /// The life of a worker.
    fn work(&self, thread: usize) {
        let mut last = 0;
        while !self.stop.load(Ordering::SeqCst) {
            let Some(generation) = self.enter(last) else {
                self.rest(last);
                continue;
            };
            last = generation;
            // SAFETY: we are inside, so the job does not change until we leave.
            if let Some((task, tasks)) = unsafe { *self.job.get() } {
                self.hand_out(thread, task, tasks);
            }
            let before = self.gate.0.fetch_sub(1, Ordering::SeqCst);
            if before & INSIDE == 1 && self.waiting.load(Ordering::SeqCst) {
                self.wake(&self.left);
            }
        }
    }

    /// Enters an open gate of another generation than `last`, and returns its generation.
    fn enter(&self, last: u64) -> Option<u64> {
        let mut gate = self.gate.0.load(Ordering::Relaxed);
        while is_news(gate, last) {
            match self.gate.0.compare_exchange_weak(gate, gate + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(gate / GENERATION),
                Err(other) => gate = other,
            }
        }
        None
    }

    /// Returns when there may be something to do: after a spin, or woken from sleep.
    fn rest(&self, last: u64) {
        let news = || is_news(self.gate.0.load(Ordering::SeqCst), last) || self.stop.load(Ordering::SeqCst);
        if spin(news) {
            return;
        }
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !news() {
            guard = self.opened.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        drop(guard);
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
    }

    /// Wakes all who wait for `condition`. Taking the lock first lets one that has checked the
    /// condition, but does not sleep yet, fall asleep before.
    fn wake(&self, condition: &Condvar) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        condition.notify_all();
    }
}

fn is_news(gate: u64, last: u64) -> bool {
    gate & OPEN != 0 && gate / GENERATION != last
}

/// Spins until the condition holds, for at most `SPIN`; returns whether it does.
fn spin(condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    loop {
        // Reading the clock costs as much as a few pauses.
        for _ in 0..32 {
            if condition() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.elapsed() > SPIN {
            return condition();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each_once(pool: &Pool, tasks: usize) {
        let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        pool.run(tasks, &|i| {
            counts[i].fetch_add(1, Ordering::Relaxed);
        });
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{counts:?}");
    }

    #[test]
    fn each_task_runs_once() {
        for threads in [0, 1, 2, 3, 8] {
            let pool = Pool::new(threads).unwrap();
            assert_eq!(pool.threads(), threads.max(1));
            for round in 0..2000 {
                each_once(&pool, round % 40);
            }
        }
    }

    #[test]
    fn results_of_workers_are_visible() {
        let pool = Pool::new(2).unwrap();
        for round in 0..20_000u64 {
            let cells: [AtomicU64; 4] = Default::default();
            pool.run(4, &|i| cells[i].store(round + i as u64, Ordering::Relaxed));
            let sum: u64 = cells.iter().map(|cell| cell.load(Ordering::Relaxed)).sum();
            assert_eq!(sum, 4 * round + 6);
        }
    }

    #[test]
    fn workers_sleep_and_wake() {
        let pool = Pool::new(3).unwrap();
        for pause in [0, 20, 60, 200, 2000].repeat(20) {
            std::thread::sleep(Duration::from_micros(pause));
            each_once(&pool, 5);
        }
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(pool.shared.sleeping.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn long_tasks_let_the_caller_sleep() {
        let pool = Pool::new(2).unwrap();
        for _ in 0..20 {
            let caller = std::thread::current().id();
            pool.run(2, &|_| {
                let long = std::thread::current().id() != caller;
                std::thread::sleep(Duration::from_micros(if long { 500 } else { 100 }));
            });
        }
    }

    #[test]
    fn inner_and_concurrent_runs_are_loops() {
        let pool = Pool::new(2).unwrap();
        let count = AtomicUsize::new(0);
        pool.run(4, &|_| {
            pool.run(8, &|_| {
                count.fetch_add(1, Ordering::Relaxed);
            })
        });
        assert_eq!(count.load(Ordering::Relaxed), 32);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..500).for_each(|_| each_once(&pool, 9)));
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(2).unwrap();
        for bad in 0..4 {
            let run = || pool.run(4, &|i| assert!(i != bad, "task {i}"));
            let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
            assert_eq!(panic.downcast_ref::<String>().unwrap(), &format!("task {bad}"));
            each_once(&pool, 16);
        }
    }

    /// Prints what a run adds to its tasks.
    #[test]
    #[ignore = "a measurement, for a quiet machine: cargo test --release short_run -- --ignored --nocapture"]
    fn a_short_run_is_cheap() {
        let pool = Pool::new(2).unwrap();
        let best = |spins: u32| {
            let busy = |_| (0..spins).for_each(|i| _ = std::hint::black_box(i));
            let time = |run: &dyn Fn()| {
                let rounds = (0..30).map(|_| {
                    let start = Instant::now();
                    (0..200).for_each(|_| run());
                    start.elapsed() / 200
                });
                rounds.min().unwrap()
            };
            (time(&|| busy(0)), time(&|| pool.run(2, &busy)))
        };
        for spins in [0, 1000, 4000, 20_000, 100_000] {
            let (one, both) = best(spins);
            println!("one task {one:?}, a run of two {both:?}");
        }
    }
}
