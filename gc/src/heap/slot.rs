//! The mark of one slot: who sets it, and what it says.

use crate::sync::{AtomicU8, Ordering::Relaxed};

/// A marker found the object. It is scanned once, and again where its memory is written later.
pub const REACHED: u8 = 1;
/// The object was handed out during the mark phase. It is scanned only where its memory is written.
pub const BORN: u8 = 2;

/// For a marker: marks the slot. False if it is marked already, or free.
#[inline(always)]
pub fn reach(mark: &AtomicU8, is_free: impl FnOnce() -> bool) -> bool {
    if mark.load(Relaxed) != 0 || is_free() {
        return false;
    }
    mark.store(REACHED, Relaxed);
    true
}

/// The slot is handed out; `marking`: a collection beside the program marks. What mark it had was that of an object which is gone.
#[inline(always)]
pub fn hand_out(mark: &AtomicU8, marking: bool) {
    mark.store(if marking { BORN } else { 0 }, Relaxed);
}
