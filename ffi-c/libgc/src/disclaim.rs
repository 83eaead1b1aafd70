//! Objects of which the program is told before their memory is used again.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};

use crate::alloc::padded;
use crate::allocation::get;
use crate::kinds::{kind, number};
use crate::{startup, warn};
use dunegc::disclaim;
use dunegc::displacements;
use dunegc::kinds;
use dunegc::raw::Kind;

type Disclaim = unsafe extern "C" fn(*mut c_void) -> c_int;

/// `struct GC_finalizer_closure`.
#[repr(C)]
pub struct Closure {
    function: unsafe extern "C" fn(*mut c_void, *mut c_void),
    data: *mut c_void,
}

static FUNCTIONS: [AtomicUsize; 32] = [const { AtomicUsize::new(0) }; 32];
/// Number of the kind of [`GC_finalized_malloc`]; 0 before.
static FINALIZED: AtomicI32 = AtomicI32::new(0);
/// In the first word of such an object whose closure has not run.
const SET: usize = 1;

fn claim(kind: Kind, object: usize) -> bool {
    let f = FUNCTIONS[kind.index()].load(Relaxed);
    if f == 0 {
        return false;
    }
    // SAFETY: the program's function, registered for objects of this kind.
    unsafe { core::mem::transmute::<usize, Disclaim>(f)(object as *mut c_void) != 0 }
}

/// Has `f` called for unreachable objects of a kind, after the collection that found them, on the thread that collected. Not 0
/// keeps the object until the next one. With `mark_from_all` what the object refers to is kept until then.
#[unsafe(no_mangle)]
pub extern "C" fn GC_register_disclaim_proc(k: c_int, f: Option<Disclaim>, mark_from_all: c_int) {
    startup::first_use();
    let kind = kind(k);
    FUNCTIONS[kind.index()].store(f.map_or(0, |f| f as usize), Relaxed);
    disclaim::register(kind, claim, mark_from_all != 0);
}

unsafe extern "C" fn run_closure(object: *mut c_void) -> c_int {
    let first = object.cast::<usize>();
    // SAFETY: an object of the kind below: its first word is 0 or a closure with the lowest bit set, which the program keeps.
    unsafe {
        let word = first.read();
        if word & SET != 0 {
            first.write(0);
            let closure = (word & !SET) as *const Closure;
            ((*closure).function)(first.add(1).cast(), (*closure).data);
        }
    }
    0
}

/// Prepares [`GC_finalized_malloc`].
#[unsafe(no_mangle)]
pub extern "C" fn GC_init_finalized_malloc() {
    startup::first_use();
    if FINALIZED.load(Relaxed) != 0 {
        return;
    }
    let Some(kind) = kinds::new(0, true, true) else {
        warn::abort(c"Too many kinds");
    };
    GC_register_disclaim_proc(number(kind), Some(run_closure), 1);
    displacements::register(8);
    FINALIZED.store(number(kind), Relaxed);
}

/// A zeroed object; when it is unreachable, the closure is called with it.
///
/// # Safety
/// The closure stays where it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_finalized_malloc(size: usize, closure: *const Closure) -> *mut c_void {
    if closure.is_null() {
        warn::abort(c"GC_finalized_malloc: no closure");
    }
    if FINALIZED.load(Relaxed) == 0 {
        GC_init_finalized_malloc();
    }
    let kind = kind(FINALIZED.load(Relaxed));
    let p = get(kind, padded(size.saturating_add(8))).cast::<usize>();
    if p.is_null() {
        return p.cast();
    }
    // SAFETY: a fresh object of at least two words.
    unsafe {
        p.write(closure as usize | SET);
        p.add(1).cast()
    }
}
