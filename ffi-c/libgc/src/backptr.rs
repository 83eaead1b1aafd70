//! What refers to an object: looked for when it is asked, for objects of every kind. Other builds of the interface's library note it in debug
//! objects while they mark, and have these functions only then.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::debug::{Described, HEADER, is_debug};
use crate::print::error;
use crate::{collect, startup};
use dunegc::raw;
use dunegc::referrer::{self, Referrer};

/// `GC_ref_kind`.
const UNREFERENCED: c_int = 0;
const NO_SPACE: c_int = 1;
const FROM_ROOT: c_int = 2;
const FROM_REGISTER: c_int = 3;
const FROM_HEAP: c_int = 4;
const FROM_FINALIZER: c_int = 5;

/// Where the program's part of an object begins.
fn user_part(base: usize) -> usize {
    match raw::find(base) {
        Some(o) if is_debug(&o) => base + HEADER,
        _ => base,
    }
}

/// What refers to the object around `p`: 0 (nothing), 1 (no memory to find out), 2 (the root at `*base`), 3 (a register), 4 (the word `*offset`
/// bytes behind the start `*base` of the program's part of an object) or 5 (a finalizer). Stacks come last: whoever asks has the object's address there.
///
/// # Safety
/// `base` and `offset` are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_back_ptr_info(
    p: *mut c_void,
    base: *mut *mut c_void,
    offset: *mut usize,
) -> c_int {
    startup::first_use();
    if raw::find(p as usize).is_none() {
        return UNREFERENCED;
    }
    let (kind, at, distance) = match referrer::of(p as usize) {
        None => return NO_SPACE,
        Some(Referrer::Nobody) => return UNREFERENCED,
        Some(Referrer::Root(at)) => (FROM_ROOT, at, 0),
        Some(Referrer::Register) => (FROM_REGISTER, 0, 0),
        Some(Referrer::Finalizer) => (FROM_FINALIZER, 0, 0),
        Some(Referrer::Object { base, offset }) => {
            let user = user_part(base);
            (FROM_HEAP, user, (base + offset).wrapping_sub(user))
        }
    };
    // SAFETY: by the caller's contract.
    unsafe {
        base.write(at as *mut c_void);
        offset.write(distance);
    }
    kind
}

/// Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (OOPSLA 2014). The program's own numbers stay as they are.
fn random() -> usize {
    static STATE: AtomicUsize = AtomicUsize::new(0);
    let z = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Some address in the heap; null while there is none.
#[unsafe(no_mangle)]
pub extern "C" fn GC_generate_random_heap_address() -> *mut c_void {
    startup::first_use();
    referrer::some_address(random()).unwrap_or(0) as *mut c_void
}

/// Some address in an object; null if none was come by.
#[unsafe(no_mangle)]
pub extern "C" fn GC_generate_random_valid_address() -> *mut c_void {
    startup::first_use();
    referrer::some_object_address(random()).unwrap_or(0) as *mut c_void
}

/// Most steps that are printed.
const STEPS: usize = 10_000;

/// Prints the object around `p`, what refers to it, what refers to that, and so on as far as a root.
#[unsafe(no_mangle)]
pub extern "C" fn GC_print_backtrace(p: *mut c_void) {
    let Some(o) = raw::find(p as usize) else {
        error(format_args!("{p:p} is not in an object\n"));
        return;
    };
    error(format_args!("{}\n", Named(o)));
    let (mut at, mut base, mut offset) = (p, core::ptr::null_mut(), 0);
    for levels in 0..STEPS {
        // SAFETY: places on this stack.
        let kind = unsafe { GC_get_back_ptr_info(at, &mut base, &mut offset) };
        match kind {
            UNREFERENCED => return error(format_args!("Reference could not be found\n")),
            NO_SPACE => return error(format_args!("No memory to find the reference\n")),
            _ => error(format_args!(
                "Reachable via {levels} levels of pointers from "
            )),
        }
        match kind {
            FROM_ROOT => return error(format_args!("root at {base:p}\n\n")),
            FROM_REGISTER => return error(format_args!("root in register\n\n")),
            FROM_FINALIZER => return error(format_args!("list of finalizable objects\n\n")),
            _ => {}
        }
        error(format_args!("offset {offset} in object:\n"));
        match raw::find(base as usize) {
            Some(o) => error(format_args!("{}\n", Named(o))),
            None => return,
        }
        at = base;
    }
}

/// An object with what is known of it.
struct Named(raw::Object);

impl core::fmt::Display for Named {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if is_debug(&self.0) {
            return Described(self.0).fmt(f);
        }
        let sort = if self.0.kind.is_scanned() {
            "composite"
        } else {
            "atomic"
        };
        write!(
            f,
            "{:#x} ({sort} object, {} bytes)",
            self.0.base, self.0.size
        )
    }
}

/// Collects, and prints what leads to some object.
#[unsafe(no_mangle)]
pub extern "C" fn GC_generate_random_backtrace() {
    if !collect::collect() {
        error(format_args!(
            "Cannot generate backtrace: no collection took place\n"
        ));
        return;
    }
    let p = GC_generate_random_valid_address();
    if p.is_null() {
        return error(format_args!("There are no objects\n"));
    }
    error(format_args!("\n****Chosen address {p:p} in object\n"));
    GC_print_backtrace(p);
}
