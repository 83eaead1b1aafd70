//! Toggle references.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::startup;
use dunegc::toggle::{self, Status};

type Toggle = unsafe extern "C" fn(*mut c_void) -> c_int;

static FUNCTION: AtomicUsize = AtomicUsize::new(0);

fn ask(object: usize) -> Status {
    let Some(f) = GC_get_toggleref_func() else {
        return Status::Strong;
    };
    // SAFETY: the program's function, called with the world stopped as documented.
    match unsafe { f(object as *mut c_void) } {
        0 => Status::Drop,
        2 => Status::Weak,
        _ => Status::Strong,
    }
}

/// The function that says of each toggle reference, in each collection, whether it is dropped (0), strong (1) or weak (2).
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_toggleref_func(f: Option<Toggle>) {
    FUNCTION.store(f.map_or(0, |f| f as usize), Relaxed);
    toggle::set_function(f.map(|_| ask as fn(usize) -> Status));
}

/// What [`GC_set_toggleref_func`] set.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_toggleref_func() -> Option<Toggle> {
    // SAFETY: null or a function of this type, stored above.
    unsafe { core::mem::transmute::<usize, Option<Toggle>>(FUNCTION.load(Relaxed)) }
}

/// Adds a toggle reference: 0, or 2 without memory or if there is no object.
#[unsafe(no_mangle)]
pub extern "C" fn GC_toggleref_add(object: *mut c_void, strong: c_int) -> c_int {
    startup::first_use();
    if toggle::add(object as usize, strong != 0) {
        0
    } else {
        2
    }
}
