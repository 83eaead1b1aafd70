//! Objects whose layout is described by a bitmap.

use core::ffi::c_void;

use crate::alloc::padded;
use crate::{startup, warn};
use dunegc::typed;

/// A descriptor for [`GC_malloc_explicitly_typed`]: bit i of `bitmap` says whether word i may be a pointer; there are none behind.
///
/// # Safety
/// `bitmap` has `bits` bits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_make_descriptor(bitmap: *const usize, bits: usize) -> usize {
    // SAFETY: by the caller's contract.
    unsafe { typed::descriptor(bitmap, bits) }
}

fn get(size: usize, p: *mut u8) -> *mut c_void {
    if p.is_null() {
        warn::out_of_memory(size)
    } else {
        p.cast()
    }
}

/// A zeroed object with a descriptor.
#[unsafe(no_mangle)]
pub extern "C" fn GC_malloc_explicitly_typed(size: usize, descriptor: usize) -> *mut c_void {
    startup::first_use();
    get(size, typed::alloc(padded(size), descriptor))
}

/// As [`GC_malloc_explicitly_typed`]; the program keeps a pointer near the object's start. Other pointers keep it too.
#[unsafe(no_mangle)]
pub extern "C" fn GC_malloc_explicitly_typed_ignore_off_page(
    size: usize,
    descriptor: usize,
) -> *mut c_void {
    GC_malloc_explicitly_typed(size, descriptor)
}

/// A zeroed array of `count` elements with a descriptor each.
#[unsafe(no_mangle)]
pub extern "C" fn GC_calloc_explicitly_typed(
    count: usize,
    size: usize,
    descriptor: usize,
) -> *mut c_void {
    startup::first_use();
    get(
        count.saturating_mul(size),
        typed::alloc_array(count, size, descriptor),
    )
}
