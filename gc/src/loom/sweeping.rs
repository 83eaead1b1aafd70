//! Sweepers that share a sweep, and its end.

use super::cursor::{Cursor, claim, swept_in};
use crate::sync::{AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use loom::sync::Arc;
use loom::thread;

const BLOCKS: usize = 3;

struct Heap {
    cursor: Cursor,
    epoch: AtomicU32,
    swept: [AtomicU32; BLOCKS],
    /// Times each block was swept: plain data, which the end of the sweep has to publish.
    times: [loom::cell::UnsafeCell<u32>; BLOCKS],
}

// SAFETY: `times[i]` is touched by whoever claimed block i, or when no sweep is under way; loom checks it.
unsafe impl Sync for Heap {}
// SAFETY: as above.
unsafe impl Send for Heap {}

impl Heap {
    fn new() -> Self {
        Heap {
            cursor: Cursor::new(),
            epoch: AtomicU32::new(1),
            swept: core::array::from_fn(|_| AtomicU32::new(0)),
            times: core::array::from_fn(|_| loom::cell::UnsafeCell::new(0)),
        }
    }

    fn step(&self) -> bool {
        self.cursor.step(|i| {
            let epoch = self.epoch.load(Relaxed);
            if claim(&self.swept[i], epoch) {
                // SAFETY: this thread claimed the block.
                self.times[i].with_mut(|p| unsafe { *p += 1 });
                self.swept[i].store(swept_in(epoch), Release);
            }
        })
    }

    fn finish(&self) {
        while self.step() {}
        while !self.cursor.is_idle() {
            thread::yield_now();
        }
    }

    fn begin(&self, end: usize) {
        self.epoch.store(self.epoch.load(Relaxed) + 1, Relaxed);
        self.cursor.begin(end);
    }

    fn times(&self, i: usize) -> u32 {
        // SAFETY: called when the sweep is finished; loom checks that nobody writes.
        self.times[i].with(|p| unsafe { *p })
    }
}

/// Each block is swept once in each epoch, and is when `finish` returns, also if a helper looks for work while the next sweep
/// begins with a larger heap.
#[test]
fn loom_sweep_is_complete_when_finished() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let heap = Arc::new(Heap::new());
        heap.begin(2);
        let helper = {
            let heap = heap.clone();
            thread::spawn(move || while heap.step() {})
        };
        heap.finish();
        assert_eq!(heap.times(1), 1);
        heap.begin(3);
        heap.finish();
        assert_eq!((heap.times(1), heap.times(2)), (2, 1));
        helper.join().unwrap();
        assert_eq!((heap.times(1), heap.times(2)), (2, 1));
    });
}

/// Of two that want to sweep a block one does, and the other sees the result once the word says so.
#[test]
fn loom_claim_is_exclusive() {
    loom::model(|| {
        let heap = Arc::new(Heap::new());
        let sweep = |heap: &Heap| {
            if claim(&heap.swept[0], 1) {
                // SAFETY: this thread claimed the block.
                heap.times[0].with_mut(|p| unsafe { *p += 1 });
                heap.swept[0].store(swept_in(1), Release);
            }
            if heap.swept[0].load(Acquire) == swept_in(1) {
                assert_eq!(heap.times(0), 1);
            }
        };
        let other = {
            let heap = heap.clone();
            thread::spawn(move || sweep(&heap))
        };
        sweep(&heap);
        other.join().unwrap();
        assert_eq!(heap.times(0), 1);
    });
}
