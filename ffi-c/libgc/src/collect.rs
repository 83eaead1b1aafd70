//! Collections.

use core::ffi::{c_int, c_void};
use core::sync::atomic::Ordering::Relaxed;

use crate::startup;
use crate::vars::GC_dont_gc;
use dunegc::raw;

type StopFunc = unsafe extern "C" fn() -> c_int;

/// A full collection unless collections are disabled; true if it took place.
pub fn collect() -> bool {
    startup::first_use();
    // SAFETY: __errno_location always returns the thread's errno cell.
    let errno = unsafe { *libc::__errno_location() };
    let done = GC_dont_gc.load(Relaxed) == 0 && raw::collect().is_ok();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
    done
}

/// A full collection; then due finalizers run, unless on demand only.
#[unsafe(no_mangle)]
pub extern "C" fn GC_gcollect() {
    collect();
}

/// As [`GC_gcollect`]; memory goes back to the system at once.
#[unsafe(no_mangle)]
pub extern "C" fn GC_gcollect_and_unmap() {
    collect();
    raw::trim(0);
}

/// A collection that `stop` can prevent by returning non-zero before it begins. 1 if it took place.
///
/// # Safety
/// `stop` may be called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_try_to_collect(stop: StopFunc) -> c_int {
    startup::first_use();
    // SAFETY: the caller's function, called as documented.
    if unsafe { stop() } != 0 {
        return 0;
    }
    collect().into()
}

/// Stops collections; calls nest.
#[unsafe(no_mangle)]
pub extern "C" fn GC_disable() {
    GC_dont_gc.fetch_add(1, Relaxed);
    raw::disable();
}

/// Undoes one [`GC_disable`].
#[unsafe(no_mangle)]
pub extern "C" fn GC_enable() {
    GC_dont_gc.fetch_sub(1, Relaxed);
    raw::enable();
}

/// Non-zero while disabled.
#[unsafe(no_mangle)]
pub extern "C" fn GC_is_disabled() -> c_int {
    (GC_dont_gc.load(Relaxed) != 0).into()
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
