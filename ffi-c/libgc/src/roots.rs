//! Roots that the program adds and leaves out.

use core::ffi::c_void;

use dunegc::roots;

/// Adds `[lo, hi)` to the roots.
#[unsafe(no_mangle)]
pub extern "C" fn GC_add_roots(lo: *mut c_void, hi: *mut c_void) {
    if roots::add(lo as usize, hi as usize).is_err() {
        crate::warn::abort(c"Too many root sets");
    }
}

/// Removes `[lo, hi)` from the added roots.
#[unsafe(no_mangle)]
pub extern "C" fn GC_remove_roots(lo: *mut c_void, hi: *mut c_void) {
    // Without memory for the note the range stays, which is safe.
    let _ = roots::remove(lo as usize, hi as usize);
}

/// Keeps `[lo, hi)` from being scanned as a part of a data segment.
#[unsafe(no_mangle)]
pub extern "C" fn GC_exclude_static_roots(lo: *mut c_void, hi: *mut c_void) {
    // Without memory for the note the range is scanned, which is safe.
    let _ = roots::exclude(lo as usize, hi as usize);
}
