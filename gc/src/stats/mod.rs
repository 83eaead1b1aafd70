//! Statistics: what the collector counts, a snapshot of it, and the reports at exit.
//!
//! [`record_cycle`] is the single place through which every collection goes: it feeds the counters and the pause histogram.

mod histogram;
mod json;
mod process;
mod report;

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use histogram::Histogram;

pub use report::{report, report_at_exit, set_spare_stderr};

/// One collection, reported by the collector when it is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CycleRecord {
    /// Marking, in nanoseconds of wall time.
    pub mark_ns: u64,
    /// Sweeping done in this cycle or since the last, in nanoseconds; background time included.
    pub sweep_ns: u64,
    /// From the first stop request until every thread stood, all stops together, in nanoseconds. Part of the pauses.
    pub stop_ns: u64,
    /// Bytes reachable.
    pub live_bytes: u64,
    /// Bytes found unreachable.
    pub reclaimed_bytes: u64,
    /// Bytes scanned as roots.
    pub roots_bytes: u64,
    /// Objects reached.
    pub objects_marked: u64,
}

/// Figures of the process since its start. Times in nanoseconds, sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Collections.
    pub collections: u64,
    /// Longest pause, exact.
    pub pause_max_ns: u64,
    /// 99 % of the pauses were not longer (at most 3.1 % too high).
    pub pause_p99_ns: u64,
    /// Half of the pauses were not longer (at most 3.1 % too high).
    pub pause_p50_ns: u64,
    /// Sum of the pauses.
    pub pause_total_ns: u64,
    /// Time until the threads stood, part of the pauses.
    pub stop_ns: u64,
    /// Time spent marking.
    pub mark_ns: u64,
    /// Time spent sweeping.
    pub sweep_ns: u64,
    /// Bytes that collections found unreachable.
    pub reclaimed_bytes: u64,
    /// Roots scanned, all collections together.
    pub roots_bytes: u64,
    /// Objects reached, all collections together.
    pub objects_marked: u64,
    /// Allocated since start, collected and malloc'ed.
    pub allocated_bytes: u64,
    /// Reachable after the last collection.
    pub live_bytes: u64,
    /// Blocks in use or cached.
    pub heap_bytes: u64,
    /// Resident memory of the process (`VmRSS`); `None` if `/proc` cannot be read.
    pub rss_bytes: Option<u64>,
    /// Its peak (`VmHWM`, without `/proc` from `getrusage`).
    pub rss_peak_bytes: Option<u64>,
}

/// All counters of collections; the heap counts for itself.
struct Counters {
    collections: AtomicU64,
    pause_max: AtomicU64,
    pause_total: AtomicU64,
    stop: AtomicU64,
    mark: AtomicU64,
    sweep: AtomicU64,
    reclaimed: AtomicU64,
    roots: AtomicU64,
    objects: AtomicU64,
    pauses: Histogram,
}

impl Counters {
    const fn new() -> Self {
        Counters {
            collections: AtomicU64::new(0),
            pause_max: AtomicU64::new(0),
            pause_total: AtomicU64::new(0),
            stop: AtomicU64::new(0),
            mark: AtomicU64::new(0),
            sweep: AtomicU64::new(0),
            reclaimed: AtomicU64::new(0),
            roots: AtomicU64::new(0),
            objects: AtomicU64::new(0),
            pauses: Histogram::new(),
        }
    }

    fn record(&self, c: &CycleRecord) {
        for (counter, n) in [
            (&self.stop, c.stop_ns),
            (&self.mark, c.mark_ns),
            (&self.sweep, c.sweep_ns),
            (&self.reclaimed, c.reclaimed_bytes),
            (&self.roots, c.roots_bytes),
            (&self.objects, c.objects_marked),
            (&self.collections, 1),
        ] {
            counter.fetch_add(n, Relaxed);
        }
    }

    fn record_pause(&self, ns: u64) {
        self.pauses.record(ns);
        self.pause_max.fetch_max(ns, Relaxed);
        self.pause_total.fetch_add(ns, Relaxed);
    }

    /// The figures of collections; those of heap and process are left zero.
    fn stats(&self) -> Stats {
        let max = self.pause_max.load(Relaxed);
        Stats {
            collections: self.collections.load(Relaxed),
            pause_max_ns: max,
            // The bound of a bucket may lie above the largest value in it.
            pause_p99_ns: self.pauses.percentile(99).min(max),
            pause_p50_ns: self.pauses.percentile(50).min(max),
            pause_total_ns: self.pause_total.load(Relaxed),
            stop_ns: self.stop.load(Relaxed),
            mark_ns: self.mark.load(Relaxed),
            sweep_ns: self.sweep.load(Relaxed),
            reclaimed_bytes: self.reclaimed.load(Relaxed),
            roots_bytes: self.roots.load(Relaxed),
            objects_marked: self.objects.load(Relaxed),
            ..Stats::default()
        }
    }
}

static COUNTERS: Counters = Counters::new();

/// Counts a stop of the world: from the first stop request to the last thread resumed. Does not allocate or lock.
pub fn record_pause(ns: u64) {
    COUNTERS.record_pause(ns);
}

/// Counts a collection. Does not allocate or lock.
pub fn record_cycle(cycle: CycleRecord) {
    COUNTERS.record(&cycle);
}

/// Adds sweeping time that belongs to no cycle yet (lazy sweeping by allocating threads).
pub fn record_sweep(ns: u64) {
    COUNTERS.sweep.fetch_add(ns, Relaxed);
}

/// Collections so far.
pub fn collections() -> u64 {
    COUNTERS.collections.load(Relaxed)
}

/// The figures now. Walks the block table ([`crate::raw::figures`]) and reads `/proc/self/status`.
pub fn snapshot() -> Stats {
    let heap = crate::raw::figures();
    let memory = process::memory();
    Stats {
        allocated_bytes: heap.total as u64,
        live_bytes: heap.live as u64,
        heap_bytes: heap.heap as u64,
        rss_bytes: memory.rss,
        rss_peak_bytes: memory.peak,
        ..COUNTERS.stats()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycle() -> CycleRecord {
        CycleRecord {
            mark_ns: 10,
            sweep_ns: 20,
            stop_ns: 5,
            live_bytes: 1000,
            reclaimed_bytes: 50,
            roots_bytes: 7,
            objects_marked: 3,
        }
    }

    #[test]
    fn counters_add_up() {
        let c = Counters::new();
        assert_eq!(c.stats(), Stats::default());
        for i in 1..=100 {
            c.record(&cycle());
            c.record_pause(i * 1000);
        }
        let s = c.stats();
        assert_eq!(
            (s.collections, s.pause_max_ns, s.pause_total_ns),
            (100, 100_000, 5_050_000)
        );
        assert!(
            (50_000..51_600).contains(&s.pause_p50_ns),
            "{}",
            s.pause_p50_ns
        );
        assert!(
            (99_000..=100_000).contains(&s.pause_p99_ns),
            "{}",
            s.pause_p99_ns
        );
        assert_eq!((s.mark_ns, s.sweep_ns, s.stop_ns), (1000, 2000, 500));
        assert_eq!(
            (s.reclaimed_bytes, s.roots_bytes, s.objects_marked),
            (5000, 700, 300)
        );
    }
}
