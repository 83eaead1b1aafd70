//! The end of a parallel phase: markers at work are counted, and nobody joins once none is.

use crate::sync::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

/// Number of the phase (upper half) and of the markers at work (lower half). A phase is over when none is at work: nobody
/// joins then, and a marker that still idles in it cannot come back in the next one.
pub struct Phase(AtomicU64);

fn number(word: u64) -> u64 {
    word >> 32
}

impl Phase {
    /// No phase yet.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Phase(AtomicU64::new(0))
    }

    /// No phase yet (loom's atomics cannot be made in constants).
    #[cfg(loom)]
    pub fn new() -> Self {
        Phase(AtomicU64::new(0))
    }

    /// Begins a phase with the caller, its leader, at work. Publishes what the caller wrote before to all who join.
    pub fn begin(&self) {
        let next = number(self.0.load(Relaxed)) + 1;
        self.0.store(next << 32 | 1, SeqCst);
    }

    /// Ends a phase whose markers are gone, as in a fork child.
    pub fn reset(&self) {
        self.0.store(number(self.0.load(Relaxed)) << 32, SeqCst);
    }

    /// The phase under way, if there is one.
    pub fn under_way(&self) -> Option<u64> {
        let now = self.0.load(SeqCst);
        (now as u32 != 0).then(|| number(now))
    }

    /// For a marker at work: the number of its phase.
    pub fn current(&self) -> u64 {
        number(self.0.load(SeqCst))
    }

    /// Counts the caller as at work in `phase`, unless that is over.
    pub fn join(&self, phase: u64) -> bool {
        let more = |now: u64| (number(now) == phase && now as u32 != 0).then_some(now + 1);
        self.0.fetch_update(SeqCst, SeqCst, more).is_ok()
    }

    /// The caller, at work until here, is idle. What it wrote is seen by whoever finds the phase over.
    pub fn leave(&self) {
        self.0.fetch_sub(1, SeqCst);
    }

    /// Nobody is at work in `phase` any more.
    pub fn is_over(&self, phase: u64) -> bool {
        let now = self.0.load(SeqCst);
        number(now) != phase || now as u32 == 0
    }

    /// Markers at work, as far as one can tell.
    #[inline]
    pub fn at_work(&self) -> usize {
        self.0.load(Relaxed) as u32 as usize
    }
}
