//! Which pointers into an object count. Usually all; on request only those to its start, and as far behind it as was registered.
//! Pointers on stacks and in registers always count.

use crate::heap::find;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Displacements that can be registered, in bytes.
pub const LIMIT: usize = 4096;

static EXACT: AtomicBool = AtomicBool::new(false);
static VALID: [AtomicU64; LIMIT / 64] = {
    let mut valid = [const { AtomicU64::new(0) }; LIMIT / 64];
    valid[0] = AtomicU64::new(1);
    valid
};

/// Only registered displacements count from the next collection on, or all.
pub fn set_exact(on: bool) {
    EXACT.store(on, Relaxed);
}

/// Not every pointer into an object counts.
#[inline]
pub fn are_exact() -> bool {
    EXACT.load(Relaxed)
}

/// Pointers `n` bytes behind the start count. False if that is too far.
pub fn register(n: usize) -> bool {
    let Some(word) = VALID.get(n / 64) else {
        return false;
    };
    word.fetch_or(1 << (n % 64), Relaxed);
    true
}

/// `n` is 0 or registered.
#[inline(always)]
pub fn is_valid(n: usize) -> bool {
    n < LIMIT && VALID[n / 64].load(Relaxed) >> (n % 64) & 1 != 0
}

/// `word` from a stack: it counts wherever in an object it leads, so the object's start stands for it.
#[inline]
pub(crate) fn from_stack(word: usize) -> usize {
    if !are_exact() {
        return word;
    }
    find::slot(word).map_or(word, |s| s.base)
}
