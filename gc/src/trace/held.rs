//! Events of the thread that has stopped the world: kept in memory until it resumes, so that the pause does not contain their
//! writing.

use super::record::Record;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};

/// As many events of one stop are kept; then they are written all the same.
const MOST: usize = 64;

struct Kept(UnsafeCell<[Record; MOST]>);
// SAFETY: touched only by the thread whose id is in HOLDER, which only `begin` sets, from 0.
unsafe impl Sync for Kept {}

static KEPT: Kept = Kept(UnsafeCell::new([Record::EMPTY; MOST]));
static LEN: AtomicUsize = AtomicUsize::new(0);
/// The thread whose events are kept; 0: none.
static HOLDER: AtomicI32 = AtomicI32::new(0);

/// From here on the events of thread `tid` are kept.
pub(super) fn begin(tid: i32) {
    // Another thread's: two stops at once there are not, but a trace can begin between their ends.
    let _ = HOLDER.compare_exchange(0, tid, Relaxed, Relaxed);
}

/// Keeps an event if it is of the holding thread. False: it must be written.
pub(super) fn keep(record: &Record, write: impl FnOnce(&[Record])) -> bool {
    if HOLDER.load(Relaxed) != record.tid {
        return false;
    }
    if LEN.load(Relaxed) == MOST {
        flush(write);
    }
    let n = LEN.load(Relaxed);
    // SAFETY: this thread is the holder.
    unsafe { (*KEPT.0.get())[n] = *record };
    LEN.store(n + 1, Relaxed);
    true
}

/// The events of thread `tid` are written and kept no more, if they were.
pub(super) fn end(tid: i32, write: impl FnOnce(&[Record])) {
    if HOLDER.load(Relaxed) == tid {
        flush(write);
        HOLDER.store(0, Relaxed);
    }
}

/// In the holding thread.
fn flush(write: impl FnOnce(&[Record])) {
    // SAFETY: this thread is the holder.
    write(unsafe { &(&*KEPT.0.get())[..LEN.load(Relaxed)] });
    LEN.store(0, Relaxed);
}

/// In a fork child, where no stop is under way.
pub(super) fn after_fork_child() {
    LEN.store(0, Relaxed);
    HOLDER.store(0, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn the_holders_events_are_written_at_the_end_and_in_order() {
        let record = |tid, argument| Record {
            tid,
            argument,
            ..Record::EMPTY
        };
        let mut written = Vec::new();
        let mut put = |r: &[Record]| written.extend(r.iter().map(|r| r.argument));
        assert!(!keep(&record(7, 0), &mut put));
        begin(7);
        begin(8);
        assert!(!keep(&record(8, 0), &mut put));
        for i in 0..MOST as u64 {
            assert!(keep(&record(7, i), &mut put));
        }
        end(8, &mut put);
        // One more than there is room for.
        assert!(keep(&record(7, MOST as u64), &mut |r: &[Record]| {
            assert_eq!(r.len(), MOST);
            put(r);
        }));
        end(7, &mut put);
        assert!(!keep(&record(7, 0), &mut put));
        assert_eq!(written, (0..=MOST as u64).collect::<Vec<_>>());
    }
}
