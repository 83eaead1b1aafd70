//! For unit tests of the heap's parts: the address slice is one per process, so they run one at a time, each on a slice of its own.

use super::{layout, own};
use crate::sys::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits for other tests, and unmaps the slice that they used.
pub fn fresh_slice() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if layout::base() != 0 {
        // Nothing but heaps of tests lies where slices are placed.
        mem::unmap(layout::base(), layout::table::END);
    }
    layout::set_limit(0);
    layout::set_base(0);
    own::forget_skipped();
    guard
}
