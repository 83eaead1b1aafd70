//! Collections.

use core::ffi::{c_int, c_void};

use super::{finalize, settings};
use crate::{errno, startup};
use gc::raw;

/// Prepares the library. Not needed: the first allocation does it.
#[unsafe(no_mangle)]
pub extern "C" fn GC_init() {
    startup::first_use();
    finalize::choose_runner();
}

/// 1: initialised, from the first call on.
#[unsafe(no_mangle)]
pub extern "C" fn GC_is_init_called() -> c_int {
    1
}

/// Undoes nothing: the library stays.
#[unsafe(no_mangle)]
pub extern "C" fn GC_deinit() {}

/// A full collection; then due finalizers run, unless on demand only.
#[unsafe(no_mangle)]
pub extern "C" fn GC_gcollect() {
    startup::first_use();
    errno::preserve(|| {
        if let Err(e) = raw::collect() {
            settings::collection_failed(e);
        }
    });
}

/// As [`GC_gcollect`]; memory goes back to the system at once.
#[unsafe(no_mangle)]
pub extern "C" fn GC_gcollect_and_unmap() {
    GC_gcollect();
    errno::preserve(|| raw::trim(0));
}

/// A collection that `stop` can prevent by returning non-zero before it begins. 1 if it took place.
#[unsafe(no_mangle)]
pub extern "C" fn GC_try_to_collect(stop: Option<unsafe extern "C" fn() -> c_int>) -> c_int {
    startup::first_use();
    // SAFETY: the caller's function, called as documented.
    if stop.is_some_and(|f| unsafe { f() } != 0) {
        return 0;
    }
    errno::preserve(raw::collect).is_ok().into()
}

/// Nothing is left to do in pieces: collections are whole. Always 0.
#[unsafe(no_mangle)]
pub extern "C" fn GC_collect_a_little() -> c_int {
    0
}

/// Stops automatic collections; calls nest.
#[unsafe(no_mangle)]
pub extern "C" fn GC_disable() {
    settings::note_disabled(1);
    raw::disable();
}

/// Undoes one [`GC_disable`].
#[unsafe(no_mangle)]
pub extern "C" fn GC_enable() {
    if settings::note_disabled(-1) {
        raw::enable();
    }
}

/// Non-zero while disabled.
#[unsafe(no_mangle)]
pub extern "C" fn GC_is_disabled() -> c_int {
    settings::is_disabled().into()
}

/// Calls `f(data)` while no collection runs, so that a hidden pointer can be revealed. `f` may allocate, but not collect.
///
/// # Safety
/// `f` may be called with `data`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_call_with_alloc_lock(
    f: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    data: *mut c_void,
) -> *mut c_void {
    // SAFETY: by the caller's contract.
    raw::without_collections(|| unsafe { f(data) })
        // Called from inside such a function, or from a collection's callback: there none can start.
        // SAFETY: by the caller's contract; the first call did not take place.
        .unwrap_or_else(|_| unsafe { f(data) })
}
