//! Disappearing links.

use core::ffi::{c_int, c_void};

use core::sync::atomic::Ordering::Relaxed;

use crate::objects::GC_base;
use crate::vars::GC_find_leak;
use crate::{startup, warn};
use dunegc::raw::{self, Link, MoveLink};

const SUCCESS: c_int = 0;
const DUPLICATE: c_int = 1;
const NO_MEMORY: c_int = 2;
const UNIMPLEMENTED: c_int = 3;
const NOT_FOUND: c_int = 4;

/// Registers a link: 0, 1 (was registered; it is now for `object`), 2 (no memory, or no object) or 3 (leaks are looked for: nothing
/// becomes unreachable).
fn register(sort: Link, link: *mut *mut c_void, object: *const c_void) -> c_int {
    startup::first_use();
    if GC_find_leak.load(Relaxed) != 0 {
        return UNIMPLEMENTED;
    }
    let known = raw::unregister_link_as(sort, link.cast());
    if !raw::register_link_as(sort, link.cast(), object.cast()) {
        return NO_MEMORY;
    }
    if known { DUPLICATE } else { SUCCESS }
}

/// Moves a registration: 0, 1 (`new` is registered too, and stays as it is), 2 (no memory) or 4 (`link` is not registered).
fn relocate(sort: Link, link: *mut *mut c_void, new: *mut *mut c_void) -> c_int {
    match raw::move_link_as(sort, link.cast(), new.cast()) {
        MoveLink::Moved => SUCCESS,
        MoveLink::Taken => DUPLICATE,
        MoveLink::NotFound => NOT_FOUND,
        MoveLink::NoMemory => NO_MEMORY,
    }
}

fn is_bad(link: *mut *mut c_void) -> bool {
    link.is_null() || !link.is_aligned()
}

/// Has `*link` cleared when `object` becomes unreachable, before it is finalized: 0, 1 (was registered; it is now for `object`) or 2
/// (no memory, or no object).
///
/// # Safety
/// `link` stays a valid word until it is unregistered, or lies in the heap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_general_register_disappearing_link(
    link: *mut *mut c_void,
    object: *const c_void,
) -> c_int {
    if is_bad(link) {
        warn::abort(c"Bad arg to GC_general_register_disappearing_link");
    }
    register(Link::Short, link, object)
}

/// As [`GC_general_register_disappearing_link`], for a link that lies in its object.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_register_disappearing_link(link: *mut *mut c_void) -> c_int {
    let object = GC_base(link.cast());
    if object.is_null() || is_bad(link) {
        warn::abort(c"Bad arg to GC_register_disappearing_link");
    }
    register(Link::Short, link, object)
}

/// Forgets a link. 0 if it was not registered.
#[unsafe(no_mangle)]
pub extern "C" fn GC_unregister_disappearing_link(link: *mut *mut c_void) -> c_int {
    raw::unregister_link_as(Link::Short, link.cast()).into()
}

/// Moves a registration: 0, 1 (`new` is registered too, and stays as it is), 2 (no memory) or 4 (`link` is not registered).
///
/// # Safety
/// As for registering `new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_move_disappearing_link(
    link: *mut *mut c_void,
    new: *mut *mut c_void,
) -> c_int {
    if is_bad(new) {
        warn::abort(c"Bad new_link arg to GC_move_disappearing_link");
    }
    relocate(Link::Short, link, new)
}

/// Has `*link` cleared when `object` is about to be freed, after it was finalized. Results as for short links.
///
/// # Safety
/// `link` stays a valid word until it is unregistered, or lies in the heap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_register_long_link(
    link: *mut *mut c_void,
    object: *const c_void,
) -> c_int {
    if is_bad(link) {
        warn::abort(c"Bad arg to GC_register_long_link");
    }
    register(Link::Long, link, object)
}

/// Forgets a long link. 0 if it was not registered.
#[unsafe(no_mangle)]
pub extern "C" fn GC_unregister_long_link(link: *mut *mut c_void) -> c_int {
    raw::unregister_link_as(Link::Long, link.cast()).into()
}

/// As [`GC_move_disappearing_link`], for long links.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_move_long_link(link: *mut *mut c_void, new: *mut *mut c_void) -> c_int {
    if is_bad(new) {
        warn::abort(c"Bad new_link arg to GC_move_long_link");
    }
    relocate(Link::Long, link, new)
}
