//! The functions of `dunegc.h`.

use core::ffi::{c_char, c_int, c_void};
use core::mem::offset_of;

use crate::malloc::{no_memory, release, resize};
use crate::{errno, finalizers, startup};
use gc::raw::{self, CollectError, Kind};
use gc::{roots, stats};

/// An object of `kind`, zeroed. Null and ENOMEM without memory.
#[inline(always)]
pub(crate) fn new_object(kind: Kind, size: usize) -> *mut c_void {
    let p = raw::alloc_zeroed(kind, size);
    if p.is_null() { no_memory() } else { p.cast() }
}

/// Collected memory, zeroed. Null and ENOMEM without memory.
#[unsafe(no_mangle)]
pub extern "C" fn dunegc_alloc(size: usize) -> *mut c_void {
    new_object(Kind::Scan, size)
}

/// Collected memory that is never scanned, zeroed. Null and ENOMEM without memory.
#[unsafe(no_mangle)]
pub extern "C" fn dunegc_alloc_atomic(size: usize) -> *mut c_void {
    new_object(Kind::Atomic, size)
}

/// Memory that is never collected and scanned as a root, zeroed. Null and ENOMEM without memory.
#[unsafe(no_mangle)]
pub extern "C" fn dunegc_alloc_uncollectable(size: usize) -> *mut c_void {
    new_object(Kind::Uncollectable, size)
}

/// Resizes an object, keeping its kind; a null `p` gives collected memory. Null and ENOMEM without memory; `p` stays.
///
/// # Safety
/// `p` is null or a live object; if the result is not null, nobody uses `p` afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dunegc_realloc(p: *mut c_void, size: usize) -> *mut c_void {
    if p.is_null() {
        return dunegc_alloc(size);
    }
    // SAFETY: by the caller's contract.
    unsafe { resize::realloc(p, size) }
}

/// Frees an object at once; nothing for null.
///
/// # Safety
/// `p` is null or a live object, and nobody uses it afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dunegc_free(p: *mut c_void) {
    // SAFETY: by the caller's contract.
    unsafe { release(p) }
}

/// Start of the object that `p` points into, or null.
#[unsafe(no_mangle)]
pub extern "C" fn dunegc_base(p: *const c_void) -> *mut c_void {
    raw::find(p as usize).map_or(core::ptr::null_mut(), |o| o.base as *mut c_void)
}

/// Usable size in bytes of the object that `p` points into; 0 if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn dunegc_size(p: *const c_void) -> usize {
    raw::find(p as usize).map_or(0, |o| o.size)
}

/// A full collection. 0, or -1 with EAGAIN (a thread could not be stopped), EBUSY (inside a collection), ENOENT
/// (no `/proc`), ENOMEM, or ENOTSUP (the stop signal is taken).
#[unsafe(no_mangle)]
pub extern "C" fn dunegc_collect() -> c_int {
    startup::first_use();
    let error = match errno::preserve(raw::collect) {
        Ok(()) => return 0,
        Err(CollectError::ThreadBlocked(_)) => libc::EAGAIN,
        Err(CollectError::Busy) => libc::EBUSY,
        Err(CollectError::NoProc) => libc::ENOENT,
        Err(CollectError::NoMemory) => libc::ENOMEM,
        Err(CollectError::Unavailable) => libc::ENOTSUP,
    };
    errno::set(error);
    -1
}

/// Adds `[lo, hi)` to the roots. Nothing if the range is empty; ENOMEM in errno if it could not be noted.
#[unsafe(no_mangle)]
pub extern "C" fn dunegc_add_roots(lo: *const c_void, hi: *const c_void) {
    if roots::add(lo as usize, hi as usize).is_err() {
        errno::set(libc::ENOMEM);
    }
}

/// Removes `[lo, hi)`, or the part of it that was added.
#[unsafe(no_mangle)]
pub extern "C" fn dunegc_remove_roots(lo: *const c_void, hi: *const c_void) {
    if roots::remove(lo as usize, hi as usize).is_err() {
        errno::set(libc::ENOMEM);
    }
}

/// Keeps the block that holds `p` until as many unpins. 0, or -1 with EINVAL (no such block) or ENOMEM.
#[unsafe(no_mangle)]
pub extern "C" fn dunegc_pin(p: *const c_void) -> c_int {
    if raw::pin(p as usize) {
        return 0;
    }
    errno::set(if raw::find(p as usize).is_some() {
        libc::ENOMEM
    } else {
        libc::EINVAL
    });
    -1
}

/// Undoes one pin. 0, or -1 with EINVAL if the block was not pinned.
#[unsafe(no_mangle)]
pub extern "C" fn dunegc_unpin(p: *const c_void) -> c_int {
    if raw::unpin(p as usize) {
        return 0;
    }
    errno::set(libc::EINVAL);
    -1
}

/// Sets the finalizer of a collected object, or removes it (`f` null). 0, or -1 with EINVAL (no collected object starts at
/// `object`) or ENOMEM.
///
/// # Safety
/// `f` may be called with `object` and `data` on any thread once the object is unreachable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dunegc_set_finalizer(
    object: *mut c_void,
    f: Option<raw::Finalizer>,
    data: *mut c_void,
) -> c_int {
    finalizers::enable();
    if raw::set_finalizer(object.cast(), f.map(|f| (f, data.cast()))).is_ok() {
        return 0;
    }
    let known = raw::find(object as usize)
        .is_some_and(|o| o.base == object as usize && matches!(o.kind, Kind::Scan | Kind::Atomic));
    errno::set(if known { libc::ENOMEM } else { libc::EINVAL });
    -1
}

/// `struct dunegc_stats`: sizes in bytes, times in nanoseconds.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct DunegcStats {
    /// Set by the caller: bytes of the structure that it knows.
    pub size: u64,
    /// Collections since start.
    pub collections: u64,
    /// Allocated since start, collected and malloc'ed.
    pub allocated_bytes: u64,
    /// Reachable after the last collection.
    pub live_bytes: u64,
    /// Blocks in use.
    pub heap_bytes: u64,
    /// Longest pause.
    pub pause_max_ns: u64,
    /// 99th percentile of the pauses.
    pub pause_p99_ns: u64,
    /// Median of the pauses.
    pub pause_p50_ns: u64,
    /// Sum of the pauses.
    pub pause_total_ns: u64,
    /// Marking.
    pub mark_ns: u64,
    /// Sweeping.
    pub sweep_ns: u64,
}

const _: () = assert!(size_of::<DunegcStats>() == 88 && offset_of!(DunegcStats, sweep_ns) == 80);

/// Fills the first `out->size` bytes of `*out`. 0, or -1 with EINVAL if that is less than the `size` member itself.
///
/// # Safety
/// `out` is readable and writable for the number of bytes in its first member.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dunegc_get_stats(out: *mut DunegcStats) -> c_int {
    if out.is_null() {
        errno::set(libc::EINVAL);
        return -1;
    }
    // SAFETY: the first member is readable by the caller's contract.
    let room = unsafe { (&raw const (*out).size).read() };
    if room < 8 {
        errno::set(libc::EINVAL);
        return -1;
    }
    let s = errno::preserve(stats::snapshot);
    let filled = DunegcStats {
        size: room,
        collections: s.collections,
        allocated_bytes: s.allocated_bytes,
        live_bytes: s.live_bytes,
        heap_bytes: s.heap_bytes,
        pause_max_ns: s.pause_max_ns,
        pause_p99_ns: s.pause_p99_ns,
        pause_p50_ns: s.pause_p50_ns,
        pause_total_ns: s.pause_total_ns,
        mark_ns: s.mark_ns,
        sweep_ns: s.sweep_ns,
    };
    let known = (room as usize).min(size_of::<DunegcStats>());
    // SAFETY: at most `room` bytes, which the caller says are writable; the source is a value of at least that size.
    unsafe {
        core::ptr::copy_nonoverlapping((&raw const filled).cast::<u8>(), out.cast(), known);
        out.cast::<u8>()
            .add(known)
            .write_bytes(0, room as usize - known);
    }
    0
}

/// The library's version, `major.minor.patch`.
#[unsafe(no_mangle)]
pub extern "C" fn dunegc_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
