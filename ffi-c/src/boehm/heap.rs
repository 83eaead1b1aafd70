//! Figures and roots.

use core::ffi::c_void;

use gc::roots;

pub(super) use gc::raw::figures;

/// Adds `[lo, hi)` to the roots.
#[unsafe(no_mangle)]
pub extern "C" fn GC_add_roots(lo: *mut c_void, hi: *mut c_void) {
    crate::capi::dunegc_add_roots(lo, hi);
}

/// Removes `[lo, hi)` from the added roots.
#[unsafe(no_mangle)]
pub extern "C" fn GC_remove_roots(lo: *mut c_void, hi: *mut c_void) {
    crate::capi::dunegc_remove_roots(lo, hi);
}

/// Keeps `[lo, hi)` from being scanned as a root.
#[unsafe(no_mangle)]
pub extern "C" fn GC_exclude_static_roots(lo: *mut c_void, hi: *mut c_void) {
    // Without memory for the note the range is scanned, which is safe.
    let _ = roots::exclude(lo as usize, hi as usize);
}
