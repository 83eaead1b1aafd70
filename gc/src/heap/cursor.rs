//! How sweepers share a sweep: they claim batches of blocks from a cursor, and whoever needs the end of the sweep waits until
//! nothing is left to claim and nobody is at a batch.

use crate::sync::{
    AtomicU32, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// Blocks claimed at a time.
const BATCH: usize = if cfg!(loom) { 1 } else { 32 };

/// The state of a sweep.
pub struct Cursor {
    next: AtomicUsize,
    end: AtomicUsize,
    active: AtomicU32,
}

impl Cursor {
    /// Nothing to sweep.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Cursor {
            next: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            active: AtomicU32::new(0),
        }
    }

    /// Nothing to sweep (loom's atomics cannot be made in constants).
    #[cfg(loom)]
    pub fn new() -> Self {
        Cursor {
            next: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            active: AtomicU32::new(0),
        }
    }

    /// Begins a sweep of blocks `1..end`, the last one being finished. Publishes what the caller wrote before.
    pub fn begin(&self, end: usize) {
        // A sweeper that took a batch of nothing may see the new end before the cursor goes back: then it must also see what
        // the caller wrote.
        self.end.store(end, Release);
        self.next.swap(1, AcqRel);
    }

    /// Something is left to claim.
    #[inline]
    pub fn has_work(&self) -> bool {
        self.next.load(Acquire) < self.end.load(Relaxed)
    }

    /// Claims a batch and calls `visit` for each of its blocks; false if none was left. A block can be visited twice when a
    /// sweep begins meanwhile, so `visit` has to claim it.
    pub fn step(&self, mut visit: impl FnMut(usize)) -> bool {
        if !self.has_work() {
            return false;
        }
        // Counted before the claim: whoever finds nothing to claim and nobody active knows that every batch is done.
        self.active.fetch_add(1, AcqRel);
        let first = self.next.fetch_add(BATCH, AcqRel);
        let end = self.end.load(Acquire);
        (first..(first + BATCH).min(end)).for_each(&mut visit);
        self.active.fetch_sub(1, AcqRel);
        first < end
    }

    /// Nobody is at a batch.
    pub fn is_idle(&self) -> bool {
        self.active.load(Acquire) == 0
    }

    /// In a fork child, which begins between two sweeps: sweepers that looked for work just then are gone.
    pub fn after_fork_child(&self) {
        self.active.store(0, Relaxed);
    }
}

/// The `swept` word of a block that was swept in `epoch`; one more while a sweeper is at it.
pub fn swept_in(epoch: u32) -> u32 {
    epoch.wrapping_mul(2)
}

/// Claims a block for sweeping in `epoch`; false if it is swept or another sweeper is at it.
pub fn claim(swept: &AtomicU32, epoch: u32) -> bool {
    let now = swept_in(epoch);
    let old = swept.load(Acquire);
    old != now
        && old != now.wrapping_add(1)
        && swept
            .compare_exchange(old, now.wrapping_add(1), AcqRel, Relaxed)
            .is_ok()
}
