//! The malloc family of C17, C23, POSIX and glibc.
//!
//! A size of zero gives a unique pointer, except in `realloc(p, 0)`, which frees as in glibc. Sizes above PTRDIFF_MAX give
//! null and ENOMEM.

pub mod alias;
pub mod align;
pub mod foreign;
pub mod info;
pub mod resize;
pub mod slow;

use core::ffi::c_void;

use crate::{errno, fault, route};
use gc::raw::{self, FreeError, Kind};

/// `malloc`. Null and ENOMEM without memory.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(size: usize) -> *mut c_void {
    if !route::is_slow()
        && let Some(p) = raw::alloc_fast(Kind::Malloc, size)
    {
        return p.cast();
    }
    slow::malloc(size)
}

/// `calloc`. Null and ENOMEM without memory or if the product overflows.
#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    let Some(size) = count.checked_mul(size) else {
        return no_memory();
    };
    if !route::is_slow()
        && let Some(p) = raw::alloc_zeroed_fast(Kind::Malloc, size)
    {
        return p.cast();
    }
    slow::calloc(size)
}

/// `free`. Keeps errno.
///
/// # Safety
/// `p` is null or a live block, and nobody uses it afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(p: *mut c_void) {
    // SAFETY: by the caller's contract.
    unsafe { release(p) }
}

/// [`free`], inlined into every function that is another name for it.
///
/// # Safety
/// As [`free`].
#[inline(always)]
pub unsafe fn release(p: *mut c_void) {
    // SAFETY: by the caller's contract.
    unsafe {
        if !raw::free_fast(p.cast()) {
            free_direct(p);
        }
    }
}

/// C23 `free_sized`.
///
/// # Safety
/// As [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_sized(p: *mut c_void, _size: usize) {
    // SAFETY: by the caller's contract.
    unsafe { release(p) }
}

/// C23 `free_aligned_sized`.
///
/// # Safety
/// As [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_aligned_sized(p: *mut c_void, _alignment: usize, _size: usize) {
    // SAFETY: by the caller's contract.
    unsafe { release(p) }
}

/// SunOS `cfree`, as [`free`].
///
/// # Safety
/// As [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cfree(p: *mut c_void) {
    // SAFETY: by the caller's contract.
    unsafe { release(p) }
}

/// `malloc_usable_size`: bytes that may be used at `p`; 0 for null.
///
/// # Safety
/// `p` is null or a live block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(p: *mut c_void) -> usize {
    // Not looked up whether it is still allocated: who asks for a block that was freed is wrong with any answer.
    match raw::small_size(p as usize) {
        Some(size) => size,
        // SAFETY: by the caller's contract.
        None => unsafe { usable_slow(p) },
    }
}

/// # Safety
/// As [`malloc_usable_size`].
#[cold]
#[inline(never)]
unsafe fn usable_slow(p: *mut c_void) -> usize {
    match raw::find(p as usize) {
        Some(object) => object.size - (p as usize - object.base),
        // SAFETY: not ours; `foreign` checks whose it is.
        None => unsafe { foreign::usable_size(p) },
    }
}

/// Sets ENOMEM and returns null.
#[cold]
#[inline(never)]
pub fn no_memory() -> *mut c_void {
    errno::set(libc::ENOMEM);
    core::ptr::null_mut()
}

/// Frees what the inlined path leaves, most of it without a call.
///
/// # Safety
/// As [`free`].
#[inline(never)]
unsafe extern "C" fn free_direct(p: *mut c_void) {
    // SAFETY: by the caller's contract.
    unsafe {
        if !raw::free_direct(p.cast()) {
            free_slow(p);
        }
    }
}

/// Frees what is left then: nothing for null, blocks of other threads, large ones, another allocator's through its own free;
/// reports anything else.
///
/// # Safety
/// As [`free`].
#[cold]
#[inline(never)]
unsafe extern "C" fn free_slow(p: *mut c_void) {
    if p.is_null() {
        return;
    }
    // SAFETY: by the caller's contract.
    errno::preserve(|| match unsafe { raw::free(p.cast()) } {
        Ok(()) => {}
        Err(FreeError::Foreign) if foreign::free(p) => {}
        Err(e) => fault::report("free", p as usize, e),
    });
}
