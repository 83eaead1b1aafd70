//! Objects by address, and figures of the heap, for both libraries with the interface.

use core::ffi::{c_int, c_void};
use core::ptr;

use super::collector::{raw, stats};
use super::heap::figures;

/// Start of the object that `p` points into, or null.
#[unsafe(no_mangle)]
pub extern "C" fn GC_base(p: *mut c_void) -> *mut c_void {
    raw::find(p as usize).map_or(ptr::null_mut(), |o| o.base as *mut c_void)
}

/// Usable size in bytes of the object at `p`; 0 if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn GC_size(p: *const c_void) -> usize {
    raw::find(p as usize).map_or(0, |o| o.size)
}

/// `p` points into an object of the heap.
#[unsafe(no_mangle)]
pub extern "C" fn GC_is_heap_ptr(p: *const c_void) -> c_int {
    raw::find(p as usize).is_some().into()
}

/// Bytes of the heap: in use, free and cached; without what went back to the system.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_heap_size() -> usize {
    figures().heap
}

/// Free bytes in the heap.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_free_bytes() -> usize {
    figures().free
}

/// Bytes given back to the system.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_unmapped_bytes() -> usize {
    figures().unmapped
}

/// Bytes allocated since the last collection.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_bytes_since_gc() -> usize {
    figures().since_gc
}

/// Bytes allocated since start.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_total_bytes() -> usize {
    figures().total
}

/// Bytes in use.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_memory_use() -> usize {
    figures().in_use
}

/// Fills those of the five places that are not null.
///
/// # Safety
/// Each place is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_heap_usage_safe(
    heap: *mut usize,
    free: *mut usize,
    unmapped: *mut usize,
    since_gc: *mut usize,
    total: *mut usize,
) {
    let h = figures();
    for (place, value) in [
        (heap, h.heap),
        (free, h.free),
        (unmapped, h.unmapped),
        (since_gc, h.since_gc),
        (total, h.total),
    ] {
        if !place.is_null() {
            // SAFETY: by the caller's contract.
            unsafe { place.write(value) };
        }
    }
}

/// Collections so far.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_gc_no() -> usize {
    stats::collections() as usize
}
