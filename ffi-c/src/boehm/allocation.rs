//! Allocation, for both libraries with the interface. `super::alloc` says what they do differently.

use core::ffi::{c_char, c_int, c_void};
use core::ptr;

use super::alloc::{out_of_memory, padded};
use super::collector::raw::{self, Kind};
use crate::startup::first_use;

/// An object of `kind`, zeroed if that is. What the out-of-memory function returns without memory.
#[inline(always)]
pub fn get(kind: Kind, size: usize) -> *mut c_void {
    match raw::alloc_fast(kind, size) {
        Some(p) => p.cast(),
        None => get_slow(kind, size),
    }
}

super::collector::registers_aside! {
    fn get_slow(kind: Kind, size: usize) -> *mut c_void = get_here
}

#[cold]
extern "C" fn get_here(kind: Kind, size: usize) -> *mut c_void {
    first_use();
    let p = raw::alloc(kind, size);
    if p.is_null() {
        out_of_memory(size)
    } else {
        p.cast()
    }
}

/// Collected memory, zeroed.
#[unsafe(no_mangle)]
pub extern "C" fn GC_malloc(size: usize) -> *mut c_void {
    get(Kind::Scan, padded(size))
}

/// Collected memory that is never scanned; not zeroed.
#[unsafe(no_mangle)]
pub extern "C" fn GC_malloc_atomic(size: usize) -> *mut c_void {
    get(Kind::Atomic, padded(size))
}

/// Memory that is never collected and scanned as a root, zeroed.
#[unsafe(no_mangle)]
pub extern "C" fn GC_malloc_uncollectable(size: usize) -> *mut c_void {
    get(Kind::Uncollectable, size)
}

/// Memory that is neither collected nor scanned; not zeroed.
#[unsafe(no_mangle)]
pub extern "C" fn GC_malloc_atomic_uncollectable(size: usize) -> *mut c_void {
    get(Kind::AtomicUncollectable, size)
}

/// As [`GC_malloc`]; the program keeps a pointer near the object's start. Other pointers keep it too.
#[unsafe(no_mangle)]
pub extern "C" fn GC_malloc_ignore_off_page(size: usize) -> *mut c_void {
    GC_malloc(size)
}

/// As [`GC_malloc_atomic`]; the program keeps a pointer near the object's start. Other pointers keep it too.
#[unsafe(no_mangle)]
pub extern "C" fn GC_malloc_atomic_ignore_off_page(size: usize) -> *mut c_void {
    GC_malloc_atomic(size)
}

/// As [`GC_malloc`]: an object that is changed rarely is treated like others.
#[unsafe(no_mangle)]
pub extern "C" fn GC_malloc_stubborn(size: usize) -> *mut c_void {
    GC_malloc(size)
}

/// Collected memory at a multiple of `align`, zeroed. Null if `align` is not a power of two.
#[unsafe(no_mangle)]
pub extern "C" fn GC_memalign(align: usize, size: usize) -> *mut c_void {
    if !align.is_power_of_two() {
        return ptr::null_mut();
    }
    first_use();
    let p = raw::alloc_aligned(Kind::Scan, padded(size), align);
    if p.is_null() {
        out_of_memory(size)
    } else {
        p.cast()
    }
}

/// `posix_memalign` for collected memory: 0, EINVAL or ENOMEM.
///
/// # Safety
/// `out` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_posix_memalign(
    out: *mut *mut c_void,
    align: usize,
    size: usize,
) -> c_int {
    if !align.is_power_of_two() || align < size_of::<*mut c_void>() {
        return libc::EINVAL;
    }
    let p = GC_memalign(align, size);
    if p.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: by the caller's contract.
    unsafe { out.write(p) };
    0
}

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
