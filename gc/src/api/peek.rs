//! How a hidden address becomes a pointer while a collection may clear it.

use crate::sync::{AtomicUsize, Ordering::Relaxed};

/// The address that `hidden` holds inverted, after `reveal` has put it where the collector sees it; `None` if it is cleared.
///
/// A collection can stop this thread anywhere. If it does so before the address is revealed, it may clear the word and free the
/// object, and the second look says so. If it does so afterwards, it finds the address and keeps the object. The word never
/// changes back.
#[inline(always)]
pub fn peek(hidden: &AtomicUsize, reveal: impl FnOnce(usize) -> usize) -> Option<usize> {
    let first = hidden.load(Relaxed);
    if first == 0 {
        return None;
    }
    let addr = reveal(!first);
    (hidden.load(Relaxed) == first).then_some(addr)
}
