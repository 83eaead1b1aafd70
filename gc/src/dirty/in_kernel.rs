//! Memory that system calls under way may write. The source `mprotect` leaves it writable, because the kernel answers a write to a
//! protected page with `EFAULT`; it counts as written as long as it is listed here.
//!
//! Who makes such a call lists the memory, waits until no page of it is in the middle of being protected, and makes it writable. Who
//! protects says so first and then looks at the list. So either sees the other. All of it may be done in a signal handler.

use super::ranges::Range;
use crate::config::{self, Dirty};
use core::sync::atomic::{AtomicUsize, Ordering::*};

/// Calls that can be listed at a time. With more of them nothing is protected.
const SLOTS: usize = 512;
/// Start of a slot that is being filled.
const TAKEN: usize = 1;
/// Stands for all memory in [`PROTECTING`].
const ALL: usize = usize::MAX;

struct Slot {
    /// 0: free.
    start: AtomicUsize,
    end: AtomicUsize,
}

static CALLS: [Slot; SLOTS] = [const {
    Slot {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
    }
}; SLOTS];
/// Calls under way, listed or not.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Those that found no slot.
static UNLISTED: AtomicUsize = AtomicUsize::new(0);
/// Slots used so far.
static USED: AtomicUsize = AtomicUsize::new(0);
/// Address of the page that is being protected, or [`ALL`]; 0 for none.
static PROTECTING: AtomicUsize = AtomicUsize::new(0);

/// Whether system calls that write to the heap must be announced in this process, from its beginning on: also one that waits when the first
/// collection begins.
#[inline]
pub fn is_needed() -> bool {
    let c = config::get();
    c.concurrent && c.dirty == Dirty::Mprotect
}

/// A call that may write to a range, until dropped.
pub struct Call(usize);

/// Lists a call. The caller then makes the range writable.
pub(super) fn list(range: Range) -> Call {
    COUNT.fetch_add(1, SeqCst);
    for (i, slot) in CALLS.iter().enumerate() {
        if slot.start.load(Relaxed) == 0
            && slot
                .start
                .compare_exchange(0, TAKEN, SeqCst, Relaxed)
                .is_ok()
        {
            USED.fetch_max(i + 1, SeqCst);
            slot.end.store(range.end, SeqCst);
            slot.start.store(range.start, SeqCst);
            return Call(i);
        }
    }
    UNLISTED.fetch_add(1, SeqCst);
    Call(SLOTS)
}

impl Drop for Call {
    fn drop(&mut self) {
        match CALLS.get(self.0) {
            Some(slot) => slot.start.store(0, SeqCst),
            None => _ = UNLISTED.fetch_sub(1, SeqCst),
        }
        COUNT.fetch_sub(1, SeqCst);
    }
}

/// Returns when nothing of `range` is in the middle of being protected by somebody who did not see what the caller published.
pub(super) fn wait(range: Range) {
    loop {
        let page = PROTECTING.load(SeqCst);
        if page == 0 || page != ALL && !(range.start..range.end).contains(&page) {
            return;
        }
        // SAFETY: sched_yield has no preconditions.
        unsafe { libc::sched_yield() };
    }
}

/// One page, or all memory, is being protected until this is dropped. By one thread at a time: the collection's.
pub(super) struct Protecting(());

impl Protecting {
    pub fn page(address: usize) -> Protecting {
        PROTECTING.store(address, SeqCst);
        Protecting(())
    }

    pub fn all() -> Protecting {
        Protecting::page(ALL)
    }

    /// The first part of `range` that a call may write.
    pub fn first(&self, range: Range) -> Option<Range> {
        if COUNT.load(SeqCst) == 0 {
            return None;
        }
        if UNLISTED.load(SeqCst) != 0 {
            return Some(range);
        }
        let common = |slot: &Slot| {
            let start = slot.start.load(SeqCst);
            let end = slot.end.load(SeqCst).min(range.end);
            let start = if start > TAKEN {
                start.max(range.start)
            } else {
                end
            };
            (start < end).then_some(Range { start, end })
        };
        let used = &CALLS[..USED.load(SeqCst)];
        used.iter().filter_map(common).min_by_key(|r| r.start)
    }
}

impl Drop for Protecting {
    fn drop(&mut self) {
        PROTECTING.store(0, SeqCst);
    }
}

/// In a fork child, where no other thread's call goes on.
pub(super) fn after_fork_child() {
    for slot in &CALLS {
        slot.start.store(0, Relaxed);
    }
    for n in [&COUNT, &UNLISTED, &PROTECTING] {
        n.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_listed_until_they_end() {
        let range = |start, end| Range { start, end };
        let look = |lo, hi| {
            let p = Protecting::all();
            let first = p.first(range(lo, hi));
            first.map(|r| (r.start, r.end))
        };
        assert_eq!(look(0x1000, 0x9000), None);
        let later = list(range(0x5000, 0x6000));
        let call = list(range(0x2000, 0x2008));
        assert_eq!(look(0x1000, 0x9000), Some((0x2000, 0x2008)));
        assert_eq!(look(0x3000, 0x5008), Some((0x5000, 0x5008)));
        assert_eq!(look(0x2008, 0x5000), None);
        drop(call);
        assert_eq!(look(0x1000, 0x9000), Some((0x5000, 0x6000)));
        let many: std::vec::Vec<Call> = (0..SLOTS).map(|_| list(range(1 << 40, 2 << 40))).collect();
        assert_eq!(
            look(0x1000, 0x2000),
            Some((0x1000, 0x2000)),
            "one is not listed"
        );
        drop((many, later));
        assert_eq!(look(0x1000, 0x9000), None);
    }
}
