//! Copies of strings.

use core::ffi::c_char;
use core::ptr;

use crate::alloc::GC_malloc_atomic;

/// A collected copy of a string; null for null.
///
/// # Safety
/// `s` is null or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_strdup(s: *const c_char) -> *mut c_char {
    // SAFETY: no bound: the string's end decides.
    unsafe { GC_strndup(s, usize::MAX) }
}

/// A collected copy of at most `max` bytes of a string; null for null.
///
/// # Safety
/// `s` is null, a C string, or `max` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_strndup(s: *const c_char, max: usize) -> *mut c_char {
    if s.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: by the caller's contract.
    let len = unsafe { libc::strnlen(s, max) };
    let copy = GC_malloc_atomic(len + 1).cast::<c_char>();
    if !copy.is_null() {
        // SAFETY: `len` readable bytes into a fresh object of `len + 1`.
        unsafe {
            ptr::copy_nonoverlapping(s, copy, len);
            copy.add(len).write(0);
        }
    }
    copy
}
