//! Resizing, freeing, and what the shared part of allocation asks.

use core::ffi::c_void;
use core::ptr;

use super::allocation::{GC_malloc, GC_malloc_atomic};
pub(super) use super::settings::out_of_memory;
use crate::malloc::{release, resize};

/// What is allocated for `size` bytes: no more. A pointer just behind an object does not keep it.
#[inline(always)]
pub(super) fn padded(size: usize) -> usize {
    size
}

/// Resizes, keeping the kind; null gives collected memory, size 0 frees and returns null.
///
/// # Safety
/// `p` is null or a live object; if the result is not null, nobody uses `p` afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_realloc(p: *mut c_void, size: usize) -> *mut c_void {
    if p.is_null() {
        return GC_malloc(size);
    }
    // SAFETY: by the caller's contract.
    let q = unsafe { resize::realloc(p, size) };
    if q.is_null() && size != 0 {
        out_of_memory(size)
    } else {
        q
    }
}

/// Frees at once.
///
/// # Safety
/// `p` is null or a live object, and nobody uses it afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_free(p: *mut c_void) {
    // SAFETY: by the caller's contract.
    unsafe { release(p) }
}

/// A collected copy of a wide string; null for null.
///
/// # Safety
/// `s` is null or a wide C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_wcsdup(s: *const libc::wchar_t) -> *mut libc::wchar_t {
    if s.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: by the caller's contract.
    let len = unsafe { libc::wcslen(s) } + 1;
    let copy = GC_malloc_atomic(len * size_of::<libc::wchar_t>()).cast::<libc::wchar_t>();
    if !copy.is_null() {
        // SAFETY: the string with its end into a fresh object of that size.
        unsafe { ptr::copy_nonoverlapping(s, copy, len) };
    }
    copy
}
