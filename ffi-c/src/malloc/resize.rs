//! `realloc` and `reallocarray`.

use core::ffi::c_void;
use core::ptr;

use super::{foreign, malloc, no_memory};
use crate::{fault, leaks, route};
use gc::raw::{self, FreeError};

/// `realloc`. As in glibc `realloc(p, 0)` frees `p` and returns null; errno is kept then.
/// Null and ENOMEM without memory; `p` stays.
///
/// # Safety
/// `p` is null or a live block; if the result is not null (or `size` is 0), nobody uses `p` afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(p: *mut c_void, size: usize) -> *mut c_void {
    if p.is_null() {
        return malloc(size);
    }
    if size == 0 {
        // SAFETY: by the caller's contract.
        unsafe { super::free(p) };
        return ptr::null_mut();
    }
    // SAFETY: by the caller's contract.
    match unsafe { raw::realloc(p.cast(), size) } {
        Ok(q) if q.is_null() => no_memory(),
        Ok(q) => {
            if route::is_slow() {
                moved(q);
            }
            q.cast()
        }
        Err(e) => failed(p, size, e),
    }
}

/// `reallocarray`. Null and ENOMEM if the product overflows.
///
/// # Safety
/// As [`realloc`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(p: *mut c_void, count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: by the caller's contract.
        Some(size) => unsafe { realloc(p, size) },
        None => no_memory(),
    }
}

/// A block has got another size outside the direct route.
#[cold]
fn moved(q: *mut u8) {
    if route::records_stacks() {
        leaks::record(q);
    }
}

#[cold]
fn failed(p: *mut c_void, size: usize, error: FreeError) -> *mut c_void {
    if error == FreeError::Foreign
        && let Some(q) = foreign::realloc(p, size)
    {
        return q;
    }
    fault::report("realloc", p as usize, error);
    no_memory()
}
