//! Figures of the heap, and calls that have little to do.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::vars::GC_dont_expand;
use dunegc::{config, pacer, raw};

/// Bytes of large objects that were freed explicitly since the last collection; small ones are not counted.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_expl_freed_bytes_since_gc() -> usize {
    raw::freed_since_gc()
}

/// What the program made the heap grow to.
static EXPANDED: AtomicUsize = AtomicUsize::new(0);

/// The figures, with what the program was promised.
pub fn figures() -> raw::HeapFigures {
    let mut f = raw::figures();
    let more = EXPANDED.load(Relaxed).saturating_sub(f.heap);
    f.heap += more;
    f.free += more;
    f
}

/// The size that the heap has been held to since the program's variable says so; 0: it is not held.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// The program's variable says whether the heap may grow. With no collection at a critical point.
pub fn hold_size() {
    if GC_dont_expand.load(Relaxed) == 0 {
        if HELD.swap(0, Relaxed) != 0 {
            pacer::hold_to(usize::MAX);
        }
    } else if HELD.load(Relaxed) == 0 {
        let size = figures().heap.max(1);
        HELD.store(size, Relaxed);
        pacer::hold_to(size);
    }
}

/// Counts `bytes` more as part of the heap, and has them used before the next collection: the system gives memory when it is touched.
/// 1, or 0 if that is above the heap's limit.
#[unsafe(no_mangle)]
pub extern "C" fn GC_expand_hp(bytes: usize) -> c_int {
    crate::startup::first_use();
    let Some(size) = figures().heap.checked_add(bytes) else {
        return 0;
    };
    if config::get().max_heap.is_some_and(|max| size > max) {
        return 0;
    }
    EXPANDED.fetch_max(size, Relaxed);
    if HELD.load(Relaxed) != 0 {
        HELD.store(size, Relaxed);
        pacer::hold_to(size);
    }
    pacer::allocated(-(bytes.min(isize::MAX as usize) as isize));
    1
}

/// Bytes obtained from the system for objects.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_obtained_from_os_bytes() -> usize {
    let f = figures();
    f.heap + f.unmapped
}

/// Keeps the compiler from dropping `x`.
#[unsafe(no_mangle)]
pub extern "C" fn GC_noop1(x: usize) {
    core::hint::black_box(x);
}

/// `p`, after some of the unused part of the stack was cleared.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn GC_clear_stack(p: *mut c_void) -> *mut c_void {
    core::hint::black_box(&mut [0usize; 512]);
    p
}

/// Nothing to do: objects are not write-protected.
#[unsafe(no_mangle)]
pub extern "C" fn GC_change_stubborn(_p: *const c_void) {}

/// Nothing to do: which pages were written is learnt from the system.
#[unsafe(no_mangle)]
pub extern "C" fn GC_end_stubborn_change(_p: *const c_void) {}

/// `*p = q`.
///
/// # Safety
/// `p` is a writable word.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_ptr_store_and_dirty(p: *mut *const c_void, q: *const c_void) {
    // SAFETY: by the caller's contract.
    unsafe { p.write(q) };
}
