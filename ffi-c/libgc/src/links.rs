//! Disappearing links.

use core::ffi::{c_int, c_void};

use crate::heap::GC_base;
use crate::{startup, warn};
use dunegc::raw;

const SUCCESS: c_int = 0;
const DUPLICATE: c_int = 1;
const NO_MEMORY: c_int = 2;
const NOT_FOUND: c_int = 4;

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
    startup::first_use();
    if link.is_null() || !link.is_aligned() {
        warn::abort(c"Bad arg to GC_general_register_disappearing_link");
    }
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
    let object = GC_base(link.cast());
    if object.is_null() {
        warn::abort(c"Bad arg to GC_register_disappearing_link");
    }
    // SAFETY: by the caller's contract.
    unsafe { GC_general_register_disappearing_link(link, object) }
}

/// Forgets a link. 0 if it was not registered.
#[unsafe(no_mangle)]
pub extern "C" fn GC_unregister_disappearing_link(link: *mut *mut c_void) -> c_int {
    raw::unregister_link(link.cast()).into()
}

/// Moves a registration: 0, 1 (`new` was registered too, and stays as it is), 2 (no memory) or 4 (`link` was not registered).
///
/// # Safety
/// As for registering `new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_move_disappearing_link(
    link: *mut *mut c_void,
    new: *mut *mut c_void,
) -> c_int {
    if new.is_null() || !new.is_aligned() {
        warn::abort(c"Bad new_link arg to GC_move_disappearing_link");
    }
    match raw::move_link(link.cast(), new.cast()) {
        raw::MoveLink::Moved => SUCCESS,
        raw::MoveLink::Taken => DUPLICATE,
        raw::MoveLink::NotFound => NOT_FOUND,
        raw::MoveLink::NoMemory => NO_MEMORY,
    }
}
