//! Checks of pointers.

use core::ffi::c_void;
use core::mem::transmute;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use crate::print::error;
use crate::vars::GC_all_interior_pointers;
use dunegc::{displacements, raw};

/// Pointers `n` bytes behind an object's start count as pointers to it, too, where not every pointer into an object does.
#[unsafe(no_mangle)]
pub extern "C" fn GC_register_displacement(n: usize) {
    if !displacements::register(n) {
        crate::warn::abort(c"GC_register_displacement: displacement too big");
    }
}

type Pair = unsafe extern "C" fn(*mut c_void, *mut c_void);
type One = unsafe extern "C" fn(*mut c_void);

unsafe extern "C" fn not_same(p: *mut c_void, q: *mut c_void) {
    error(format_args!("{p:p} and {q:p} are not in the same object\n"));
    crate::warn::abort(c"GC_same_obj test failed");
}

unsafe extern "C" fn not_valid(p: *mut c_void) {
    error(format_args!(
        "{p:p} does not point to valid object displacement\n"
    ));
    crate::warn::abort(c"GC_is_valid_displacement test failed");
}

unsafe extern "C" fn not_visible(p: *mut c_void) {
    error(format_args!("{p:p} is not a GC visible pointer location\n"));
    crate::warn::abort(c"GC_is_visible test failed");
}

/// Called when [`GC_same_obj`] fails.
#[unsafe(no_mangle)]
pub static GC_same_obj_print_proc: AtomicPtr<c_void> = AtomicPtr::new(not_same as *mut c_void);
/// Called when [`GC_is_valid_displacement`] fails.
#[unsafe(no_mangle)]
pub static GC_is_valid_displacement_print_proc: AtomicPtr<c_void> =
    AtomicPtr::new(not_valid as *mut c_void);
/// Called when [`GC_is_visible`] fails.
#[unsafe(no_mangle)]
pub static GC_is_visible_print_proc: AtomicPtr<c_void> = AtomicPtr::new(not_visible as *mut c_void);

fn complain(proc: &AtomicPtr<c_void>, p: *mut c_void) {
    let f = proc.load(Relaxed);
    if !f.is_null() {
        // SAFETY: by the interface the variable holds a function of this type.
        unsafe { transmute::<*mut c_void, One>(f)(p) };
    }
}

/// `p`; complains if `p` and `q` do not point into, or just behind, the same object.
#[unsafe(no_mangle)]
pub extern "C" fn GC_same_obj(p: *mut c_void, q: *mut c_void) -> *mut c_void {
    let same = match (raw::find(p as usize), raw::find(q as usize)) {
        (Some(a), Some(b)) => a.base == b.base,
        (Some(a), None) => q as usize == a.base + a.size,
        (None, Some(b)) => p as usize == b.base + b.size,
        (None, None) => true,
    };
    if !same {
        let f = GC_same_obj_print_proc.load(Relaxed);
        if !f.is_null() {
            // SAFETY: by the interface the variable holds a function of this type.
            unsafe { transmute::<*mut c_void, Pair>(f)(p, q) };
        }
    }
    p
}

/// Adds `n` bytes to `*p`; complains if that leaves the object.
///
/// # Safety
/// `p` is a readable and writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pre_incr(p: *mut *mut c_void, n: isize) -> *mut c_void {
    // SAFETY: by the caller's contract.
    unsafe {
        let new = GC_same_obj((*p).wrapping_byte_offset(n), *p);
        p.write(new);
        new
    }
}

/// As [`GC_pre_incr`], returns the old pointer.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_post_incr(p: *mut *mut c_void, n: isize) -> *mut c_void {
    // SAFETY: by the caller's contract.
    unsafe {
        let old = *p;
        p.write(GC_same_obj(old.wrapping_byte_offset(n), old));
        old
    }
}

/// `p`; complains if `p` points into an object at a place where pointers do not count.
#[unsafe(no_mangle)]
pub extern "C" fn GC_is_valid_displacement(p: *mut c_void) -> *mut c_void {
    if let Some(o) = raw::find(p as usize) {
        let n = p as usize - o.base;
        if !displacements::is_valid(n) && GC_all_interior_pointers.load(Relaxed) == 0 {
            complain(&GC_is_valid_displacement_print_proc, p);
        }
    }
    p
}

/// `p`; complains if the collector would not see a pointer stored at `p`: if it is not aligned, in an object without references, or
/// neither in an object, on the stack of a thread nor in a root.
#[unsafe(no_mangle)]
pub extern "C" fn GC_is_visible(p: *mut c_void) -> *mut c_void {
    let aligned = (p as usize).is_multiple_of(8);
    let visible = match raw::find(p as usize) {
        Some(o) => o.kind.is_scanned(),
        None => crate::roots::is_root(p as usize),
    };
    if !aligned || !visible {
        complain(&GC_is_visible_print_proc, p);
    }
    p
}
