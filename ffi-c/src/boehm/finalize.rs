//! Finalizers and disappearing links.

use core::ffi::{c_int, c_void};
use core::mem::transmute;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::finalizers::{self, Runner};
use gc::raw::{self, Finalizer};

type Notifier = unsafe extern "C" fn();

static ON_DEMAND: AtomicBool = AtomicBool::new(false);
static JAVA: AtomicBool = AtomicBool::new(false);
static NOTIFIER: AtomicUsize = AtomicUsize::new(0);

const SUCCESS: c_int = 0;
const DUPLICATE: c_int = 1;
const NO_MEMORY: c_int = 2;

/// As in libgc, due finalizers run on the thread that collected, or when the program asks.
pub(super) fn choose_runner() {
    finalizers::set_runner(if ON_DEMAND.load(Ordering::Relaxed) {
        Runner::Program
    } else {
        Runner::Collector
    });
}

/// Sets (`f`) or removes (`f` null) the finalizer of the object at `object`; the previous one goes to `*old_f`, `*old_data`.
/// Nothing happens if no collected object starts there.
///
/// # Safety
/// `f` may be called with `object` and `data`; the places are null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_register_finalizer(
    object: *mut c_void,
    f: Option<Finalizer>,
    data: *mut c_void,
    old_f: *mut Option<Finalizer>,
    old_data: *mut *mut c_void,
) {
    choose_runner();
    let previous = raw::set_finalizer(object.cast(), f.map(|f| (f, data.cast())))
        .ok()
        .flatten();
    if !old_f.is_null() {
        // SAFETY: by the caller's contract.
        unsafe { old_f.write(previous.map(|(f, _)| f)) };
    }
    if !old_data.is_null() {
        // SAFETY: by the caller's contract.
        unsafe { old_data.write(previous.map_or(ptr::null_mut(), |(_, d)| d.cast())) };
    }
}

macro_rules! same_as_register_finalizer {
    ($($name:ident)*) => { $(
        /// As [`GC_register_finalizer`].
        ///
        /// # Safety
        /// As there.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            object: *mut c_void,
            f: Option<Finalizer>,
            data: *mut c_void,
            old_f: *mut Option<Finalizer>,
            old_data: *mut *mut c_void,
        ) {
            // SAFETY: by the caller's contract.
            unsafe { GC_register_finalizer(object, f, data, old_f, old_data) }
        }
    )* };
}

same_as_register_finalizer!(GC_register_finalizer_ignore_self GC_register_finalizer_no_order GC_register_finalizer_unreachable);

/// Runs what is due on the calling thread; the number that ran.
#[unsafe(no_mangle)]
pub extern "C" fn GC_invoke_finalizers() -> c_int {
    raw::run_finalizers() as c_int
}

/// Non-zero if finalizers are due.
#[unsafe(no_mangle)]
pub extern "C" fn GC_should_invoke_finalizers() -> c_int {
    (raw::finalizers_pending().load(Ordering::Relaxed) != 0).into()
}

/// Non-zero: finalizers run only in [`GC_invoke_finalizers`].
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_finalize_on_demand(on: c_int) {
    ON_DEMAND.store(on != 0, Ordering::Relaxed);
    choose_runner();
}

/// What [`GC_set_finalize_on_demand`] set.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_finalize_on_demand() -> c_int {
    ON_DEMAND.load(Ordering::Relaxed).into()
}

/// Remembered, without effect: finalization is always ordered.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_java_finalization(on: c_int) {
    JAVA.store(on != 0, Ordering::Relaxed);
}

/// What [`GC_set_java_finalization`] set.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_java_finalization() -> c_int {
    JAVA.load(Ordering::Relaxed).into()
}

/// The function called after a collection that left finalizers due, if they run on demand.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_finalizer_notifier(f: Option<Notifier>) {
    NOTIFIER.store(f.map_or(0, |f| f as usize), Ordering::Relaxed);
}

/// What [`GC_set_finalizer_notifier`] set.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_finalizer_notifier() -> Option<Notifier> {
    // SAFETY: the word is null or a function of this type, stored above; an Option of a function has null as None.
    unsafe { transmute::<usize, Option<Notifier>>(NOTIFIER.load(Ordering::Relaxed)) }
}

/// Calls the notifier.
pub(crate) fn notify_finalizers() {
    if let Some(f) = GC_get_finalizer_notifier() {
        // SAFETY: the program's function, called as it asked.
        unsafe { f() };
    }
}

/// Has `*link` cleared when `object` becomes unreachable: 0, 1 (was registered; it is now for `object`) or 2 (no memory, or
/// no object).
///
/// # Safety
/// `link` stays a valid word until it is unregistered, or lies in the heap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_general_register_disappearing_link(
    link: *mut *mut c_void,
    object: *const c_void,
) -> c_int {
    let known = raw::unregister_link(link.cast());
    if !raw::register_link(link.cast(), object.cast()) {
        return NO_MEMORY;
    }
    if known { DUPLICATE } else { SUCCESS }
}

/// As the general form, for a link that lies in its object.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_register_disappearing_link(link: *mut *mut c_void) -> c_int {
    let object = super::GC_base(link.cast());
    // SAFETY: by the caller's contract.
    unsafe { GC_general_register_disappearing_link(link, object) }
}

/// Forgets a link. 0 if it was not registered.
#[unsafe(no_mangle)]
pub extern "C" fn GC_unregister_disappearing_link(link: *mut *mut c_void) -> c_int {
    raw::unregister_link(link.cast()).into()
}

/// Moves a registration: 0, or 4 if `link` was not registered.
///
/// # Safety
/// As for registering `new`; `link` and `new` hold the same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_move_disappearing_link(
    link: *mut *mut c_void,
    new: *mut *mut c_void,
) -> c_int {
    const NOT_FOUND: c_int = 4;
    if link == new {
        return SUCCESS;
    }
    if !raw::unregister_link(link.cast()) {
        return NOT_FOUND;
    }
    // SAFETY: a registered link is readable.
    let held = unsafe { link.cast::<usize>().read() };
    // The link holds a pointer or, as GC_HIDE_POINTER makes it, its complement.
    let object = if raw::find(held).is_some() {
        held
    } else {
        !held
    };
    if raw::register_link(new.cast(), object as *const u8) {
        SUCCESS
    } else {
        NO_MEMORY
    }
}
