//! Marks, what mark procedures call, and roots that the program pushes in a collection.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use crate::startup;
use dunegc::{cycle, finalize, hooks, kinds};

type Push = unsafe extern "C" fn();
type Reachable = unsafe extern "C" fn(*mut c_void, usize, *mut c_void);

/// From a mark procedure: `object` is a reference that it found. Returns what the procedure is to pass on, and to return at its end.
///
/// # Safety
/// `marker` is what the procedure was called with, or what this function returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_mark_and_push(
    object: *mut c_void,
    marker: *mut c_void,
    _limit: *mut c_void,
    _source: *mut *mut c_void,
) -> *mut c_void {
    // SAFETY: by the caller's contract.
    unsafe { kinds::reference(marker, object as usize) };
    marker
}

/// 1 if the object was reached by the collection under way, or the last one as far as that is still known.
#[unsafe(no_mangle)]
pub extern "C" fn GC_is_marked(p: *const c_void) -> c_int {
    finalize::mark_of(p as usize).into()
}

/// Marks an object, so that the collection under way does not end it.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_mark_bit(p: *const c_void) {
    finalize::set_mark(p as usize, true);
}

/// Takes an object's mark away.
#[unsafe(no_mangle)]
pub extern "C" fn GC_clear_mark_bit(p: *const c_void) {
    finalize::set_mark(p as usize, false);
}

fn push(lo: *mut c_void, hi: *mut c_void, eager: bool) {
    if lo < hi && !hooks::push(lo as usize, hi as usize, eager) {
        crate::warn::warn(
            c"GC Warning: GC_push_all called outside of GC_push_other_roots (%#lx)\n",
            lo as usize,
        );
    }
}

/// From [`GC_push_other_roots`]: `[lo, hi)` is scanned before the world goes on.
#[unsafe(no_mangle)]
pub extern "C" fn GC_push_all(lo: *mut c_void, hi: *mut c_void) {
    push(lo, hi, false);
}

/// From [`GC_push_other_roots`]: `[lo, hi)` is read at once.
#[unsafe(no_mangle)]
pub extern "C" fn GC_push_all_eager(lo: *mut c_void, hi: *mut c_void) {
    push(lo, hi, true);
}

/// As [`GC_push_all`]: all of it counts, whether it was written or not.
#[unsafe(no_mangle)]
pub extern "C" fn GC_push_conditional(lo: *mut c_void, hi: *mut c_void, _all: c_int) {
    push(lo, hi, false);
}

/// Nothing to push: what finalizers need is a root anyway.
#[unsafe(no_mangle)]
pub extern "C" fn GC_push_finalizer_structures() {}

unsafe extern "C" fn push_nothing() {}

/// The function that pushes further roots, with the world stopped.
#[unsafe(no_mangle)]
pub static GC_push_other_roots: AtomicPtr<c_void> = AtomicPtr::new(push_nothing as *mut c_void);

/// The world is stopped: calls the program's function.
pub fn push_roots() {
    // SAFETY: the program's function, called as documented.
    unsafe { GC_get_push_other_roots()() };
}

/// Sets the function that pushes further roots. It is called with the world stopped, and must not allocate.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_push_other_roots(f: Option<Push>) {
    let f = f.unwrap_or(push_nothing);
    GC_push_other_roots.store(f as *mut c_void, Relaxed);
}

/// What [`GC_set_push_other_roots`] set; a function that does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_push_other_roots() -> Push {
    let f = GC_push_other_roots.load(Relaxed);
    if f.is_null() {
        return push_nothing;
    }
    // SAFETY: by the interface the variable holds a function of this type.
    unsafe { core::mem::transmute::<*mut c_void, Push>(f) }
}

/// Calls `f(object, size, data)` for every reachable object. The world is stopped meanwhile: `f` must not allocate.
///
/// # Safety
/// `f` may be called with `data`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_enumerate_reachable_objects_inner(f: Reachable, data: *mut c_void) {
    startup::first_use();
    let held = cycle::release();
    // SAFETY: by the caller's contract.
    let done =
        cycle::for_each_reachable(&mut |o| unsafe { f(o.base as *mut c_void, o.size, data) });
    if held {
        cycle::hold();
    }
    if done.is_err() {
        crate::warn::warn(
            c"GC Warning: the reachable objects could not be enumerated (%lu)\n",
            0,
        );
    }
}
