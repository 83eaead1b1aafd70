//! Resizing, freeing, and what the shared part of allocation asks.

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use crate::allocation::GC_malloc;
use crate::warn;
pub use crate::warn::out_of_memory;
use dunegc::config::{self, OnError};
use dunegc::message;
use dunegc::raw::{self, FreeError, Kind};

/// Bytes added to collected objects: one if every address in an object keeps it, so that the address behind it does too.
static EXTRA: AtomicUsize = AtomicUsize::new(1);

/// Sets whether a pointer to the address just behind a collected object keeps it.
pub fn keep_past_the_end(on: bool) {
    EXTRA.store(on.into(), Relaxed);
}

/// Objects up to this size, in bytes, are as large as is asked for, rounded up to what the collector has.
const FINE: usize = 256;
/// Larger ones, up to this size, are rounded up to one of four sizes for each doubling.
const COARSE: usize = 8192;

/// `size` with the extra byte. Of larger objects there are few sizes: each has blocks of its own, which in a small heap hold next to
/// nothing else.
#[inline(always)]
pub fn padded(size: usize) -> usize {
    let size = size.saturating_add(EXTRA.load(Relaxed));
    if size > FINE && size <= COARSE {
        let step = 1 << ((size - 1).ilog2() - 2);
        return size.next_multiple_of(step);
    }
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
    if size == 0 {
        // SAFETY: by the caller's contract.
        unsafe { GC_free(p) };
        return ptr::null_mut();
    }
    let explicit = raw::find(p as usize)
        .is_some_and(|o| matches!(o.kind, Kind::Uncollectable | Kind::AtomicUncollectable));
    let wanted = if explicit { size } else { padded(size) };
    // SAFETY: by the caller's contract.
    match unsafe { raw::realloc(p.cast(), wanted) } {
        Ok(q) if q.is_null() => out_of_memory(size),
        Ok(q) => q.cast(),
        Err(e) => {
            bad_pointer("realloc", p as usize, e);
            ptr::null_mut()
        }
    }
}

/// Some object of a collected kind is kept until it is freed.
static PINNED: AtomicBool = AtomicBool::new(false);

/// Keeps a collected object until it is freed. False without memory.
pub fn pin(p: *mut c_void) -> bool {
    PINNED.store(true, Relaxed);
    raw::pin(p as usize)
}

/// Frees at once.
///
/// # Safety
/// `p` is null or a live object, and nobody uses it afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_free(p: *mut c_void) {
    if PINNED.load(Relaxed) {
        raw::unpin(p as usize);
    }
    // SAFETY: by the caller's contract.
    if unsafe { raw::free_fast(p.cast()) } || p.is_null() {
        return;
    }
    // SAFETY: by the caller's contract.
    if let Err(e) = unsafe { raw::free(p.cast()) } {
        bad_pointer("free", p as usize, e);
    }
}

/// Reports a pointer that is no object's start, and aborts unless only warnings are asked for.
#[cold]
#[inline(never)]
fn bad_pointer(call: &str, p: usize, error: FreeError) {
    let what = match error {
        FreeError::Foreign => "the address is not in the collector's heap",
        FreeError::Interior(None) => {
            "no object is allocated there: it was freed already, or there never was one"
        }
        FreeError::Interior(Some(_)) => "the address is not the start of an object",
        FreeError::DoubleFree(_) => "the object is free already",
    };
    if config::get().on_error == OnError::Warn {
        message!("GC_{call}({p:#x}): {what}; ignored (DUNEGC_ON_ERROR=warn)");
    } else {
        message!("GC_{call}({p:#x}): {what}; aborting");
        warn::abort(if call == "free" {
            c"Invalid pointer passed to free()"
        } else {
            c"Invalid pointer passed to realloc()"
        });
    }
}
