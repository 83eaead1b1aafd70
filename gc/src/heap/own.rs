//! The collector's own mappings: left out when roots are enumerated.

use super::layout::{self, BLOCK_SHIFT, table};
use core::sync::atomic::{AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

const MAX: usize = 4096;

static START: [AtomicUsize; MAX] = [const { AtomicUsize::new(0) }; MAX];
static END: [AtomicUsize; MAX] = [const { AtomicUsize::new(0) }; MAX];
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Stretches below the heap's limit that the program has: [`skip`].
static SKIPPED: [[AtomicUsize; 2]; 64] = [const { [const { AtomicUsize::new(0) }; 2] }; 64];
static SKIPS: AtomicUsize = AtomicUsize::new(0);

/// Declares `[addr, addr + len)` as the collector's own. Beyond the table's size it is scanned like the program's memory,
/// which is safe.
pub fn add(addr: usize, len: usize) {
    let i = COUNT.fetch_add(1, Relaxed);
    if i < MAX {
        START[i].store(addr, Relaxed);
        END[i].store(addr + len, Release);
    }
}

/// Tables of the heap: where they start, and bytes per block.
const TABLES: [(usize, usize); 8] = [
    (table::INFO, table::INFO_SIZE),
    (table::HEAD, table::HEAD_SIZE),
    (table::MARK, table::MARK_SIZE),
    (table::MARK_REST, table::MARK_SIZE),
    (table::FREE, table::FREE_SIZE),
    (table::SIDE, table::SIDE_SIZE),
    (table::SUSPECT, table::SUSPECT_SIZE),
    (table::TAG, table::TAG_SIZE),
];

/// Calls `f` with every own range, the heap and its tables included as far as they are mapped: the rest of the slice is
/// not reserved, and what lies there is the program's.
pub fn for_each(mut f: impl FnMut(usize, usize)) {
    let (base, limit) = (layout::base(), layout::limit());
    let mut from = base;
    for s in &SKIPPED[..SKIPS.load(Acquire)] {
        f(from, s[0].load(Relaxed));
        from = s[1].load(Relaxed);
    }
    f(from, base + limit);
    for (start, size) in TABLES {
        f(base + start, base + start + (limit >> BLOCK_SHIFT) * size);
    }
    for i in 0..COUNT.load(Relaxed).min(MAX) {
        let end = END[i].load(Acquire);
        if end != 0 {
            f(START[i].load(Relaxed), end);
        }
    }
}

/// Declares that `[lo, hi)`, above every stretch declared before, is to lie below the heap's limit without being the heap's.
/// False if there are too many such stretches. With the lock of the runs held.
pub fn skip(lo: usize, hi: usize) -> bool {
    let i = SKIPS.load(Relaxed);
    if i > 0 && SKIPPED[i - 1][1].load(Relaxed) == lo {
        SKIPPED[i - 1][1].store(hi, Relaxed);
        return true;
    }
    let Some(s) = SKIPPED.get(i) else {
        return false;
    };
    s[0].store(lo, Relaxed);
    s[1].store(hi, Relaxed);
    SKIPS.store(i + 1, Release);
    true
}

/// Nothing is passed over: the heap has moved to another slice.
#[cfg(test)]
pub(super) fn forget_skipped() {
    SKIPS.store(0, Release);
}

/// A range that [`add`] declared at `addr` is about to be unmapped.
pub fn remove(addr: usize) {
    for i in 0..COUNT.load(Relaxed).min(MAX) {
        if START[i].load(Relaxed) == addr {
            END[i].store(0, Release);
        }
    }
}
