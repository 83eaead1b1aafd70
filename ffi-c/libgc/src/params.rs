//! Settings.

use core::ffi::{c_int, c_uint, c_ulong};
use core::sync::atomic::Ordering::Relaxed;

use crate::{alloc, vars};
use dunegc::config::Config;
use dunegc::{message, stats};

/// `(major << 16) | (minor << 8) | micro` of the release whose interface this is: 8.2.2.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_version() -> c_uint {
    8 << 16 | 2 << 8 | 2
}

/// Collections so far.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_gc_no() -> usize {
    stats::collections() as usize
}

/// Limits the heap to `bytes`; 0: no limit. Without effect if the heap has begun with another limit.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_max_heap_size(bytes: c_ulong) {
    let limit = (bytes != 0).then_some(bytes as usize);
    if let Err(e) = Config::builder()
        .max_heap(limit)
        .build()
        .and_then(Config::install)
    {
        message!("GC_set_max_heap_size({bytes}): {e}; the limit stays");
    }
}

/// The heap grows when it needs to, without preparation. 1, success.
#[unsafe(no_mangle)]
pub extern "C" fn GC_expand_hp(_bytes: usize) -> c_int {
    crate::startup::first_use();
    1
}

/// Whether every address in an object keeps it, and the one behind it. To be set before the first allocation.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_all_interior_pointers(on: c_int) {
    vars::GC_all_interior_pointers.store((on != 0).into(), Relaxed);
    alloc::keep_past_the_end(on != 0);
}

/// What [`GC_set_all_interior_pointers`] set.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_all_interior_pointers() -> c_int {
    vars::GC_all_interior_pointers.load(Relaxed)
}
