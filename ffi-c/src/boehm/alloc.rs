//! Allocation.

use core::ffi::{c_char, c_int, c_void};
use core::ptr;

use super::settings;
use crate::malloc::{release, resize};
use gc::raw::{self, Kind};

/// An object of `kind`, zeroed if asked for. What the out-of-memory function returns, or null, without memory.
#[inline(always)]
fn get(kind: Kind, size: usize) -> *mut c_void {
    match raw::alloc_fast(kind, size) {
        Some(p) => p.cast(),
        None => get_slow(kind, size),
    }
}

#[cold]
#[inline(never)]
extern "C" fn get_slow(kind: Kind, size: usize) -> *mut c_void {
    let p = raw::alloc(kind, size);
    if p.is_null() {
        settings::out_of_memory(size)
    } else {
        p.cast()
    }
}

/// Collected memory, zeroed.
#[unsafe(no_mangle)]
pub extern "C" fn GC_malloc(size: usize) -> *mut c_void {
    get(Kind::Scan, size)
}

/// Collected memory that is never scanned; not zeroed.
#[unsafe(no_mangle)]
pub extern "C" fn GC_malloc_atomic(size: usize) -> *mut c_void {
    get(Kind::Atomic, size)
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

/// As [`GC_malloc`]: interior pointers count here too.
#[unsafe(no_mangle)]
pub extern "C" fn GC_malloc_ignore_off_page(size: usize) -> *mut c_void {
    get(Kind::Scan, size)
}

/// As [`GC_malloc_atomic`]: interior pointers count here too.
#[unsafe(no_mangle)]
pub extern "C" fn GC_malloc_atomic_ignore_off_page(size: usize) -> *mut c_void {
    get(Kind::Atomic, size)
}

/// As [`GC_malloc`]: an object that is never changed afterwards is treated like others.
#[unsafe(no_mangle)]
pub extern "C" fn GC_malloc_stubborn(size: usize) -> *mut c_void {
    get(Kind::Scan, size)
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
        settings::out_of_memory(size)
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

/// Collected memory at a multiple of `align`, zeroed. Null if `align` is not a power of two.
#[unsafe(no_mangle)]
pub extern "C" fn GC_memalign(align: usize, size: usize) -> *mut c_void {
    if !align.is_power_of_two() {
        return ptr::null_mut();
    }
    let p = raw::alloc_aligned(Kind::Scan, size, align);
    if p.is_null() {
        settings::out_of_memory(size)
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
