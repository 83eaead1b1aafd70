//! Allocation with an alignment.

use core::ffi::{c_int, c_void};

use super::{no_memory, slow};
use crate::{errno, route};
use gc::raw::{self, Kind};

const PAGE: usize = 4096;

/// A block at a multiple of `align`, a power of two. Null and ENOMEM without memory.
#[inline(always)]
pub(crate) fn get(align: usize, size: usize) -> *mut c_void {
    if route::is_slow() {
        return slow::aligned(size, align);
    }
    let p = raw::alloc_aligned(Kind::Malloc, size, align);
    if p.is_null() { no_memory() } else { p.cast() }
}

#[cold]
fn invalid() -> *mut c_void {
    errno::set(libc::EINVAL);
    core::ptr::null_mut()
}

/// C17 `aligned_alloc`. Null and EINVAL if `align` is not a power of two; `size` need not be a multiple of it.
#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    if !align.is_power_of_two() {
        return invalid();
    }
    get(align, size)
}

/// `posix_memalign`. EINVAL if `align` is not a power of two multiple of `sizeof(void *)`, ENOMEM without memory; `*out` and
/// errno are left alone then.
///
/// # Safety
/// `out` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> c_int {
    if !align.is_power_of_two() || align < size_of::<*mut c_void>() {
        return libc::EINVAL;
    }
    let saved = errno::get();
    let p = get(align, size);
    if p.is_null() {
        errno::set(saved);
        return libc::ENOMEM;
    }
    // SAFETY: by the caller's contract.
    unsafe { out.write(p) };
    0
}

/// `memalign`. As in glibc an alignment that is not a power of two is rounded up to one.
#[unsafe(no_mangle)]
pub extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
    match align.checked_next_power_of_two() {
        Some(align) => get(align, size),
        None => invalid(),
    }
}

/// `valloc`: page aligned.
#[unsafe(no_mangle)]
pub extern "C" fn valloc(size: usize) -> *mut c_void {
    get(PAGE, size)
}

/// `pvalloc`: page aligned, whole pages.
#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(size: usize) -> *mut c_void {
    match size.max(1).checked_next_multiple_of(PAGE) {
        Some(size) => get(PAGE, size),
        None => no_memory(),
    }
}
