//! Threads. All of them are found by the collector itself, so registration only has to answer as expected.

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;

use crate::{signals, threads};

const SUCCESS: c_int = 0;
const UNIMPLEMENTED: c_int = 3;

/// `struct GC_stack_base`.
#[repr(C)]
pub struct StackBase {
    /// The address behind the stack, from which it grows down.
    pub mem_base: *mut c_void,
}

/// The calling thread's stack base. 0, or 3 if libc does not know it.
///
/// # Safety
/// `base` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_stack_base(base: *mut StackBase) -> c_int {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: the attributes are filled for the calling thread, which lives.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) } != 0 {
        return UNIMPLEMENTED;
    }
    let (mut low, mut size) = (ptr::null_mut::<c_void>(), 0);
    // SAFETY: initialised by pthread_getattr_np; destroyed once and not used afterwards.
    let known = unsafe {
        let known = libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut size) == 0;
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        known
    };
    if !known {
        return UNIMPLEMENTED;
    }
    // SAFETY: by the caller's contract.
    unsafe { (*base).mem_base = low.wrapping_byte_add(size) };
    SUCCESS
}

/// Without effect: every thread is found.
#[unsafe(no_mangle)]
pub extern "C" fn GC_allow_register_threads() {}

/// 0, success: the thread is known already.
#[unsafe(no_mangle)]
pub extern "C" fn GC_register_my_thread(_base: *const StackBase) -> c_int {
    SUCCESS
}

/// 0, success. The thread stays known until it ends.
#[unsafe(no_mangle)]
pub extern "C" fn GC_unregister_my_thread() -> c_int {
    SUCCESS
}

/// Always 1.
#[unsafe(no_mangle)]
pub extern "C" fn GC_thread_is_registered() -> c_int {
    1
}

/// Calls `f(data)`: blocking calls need no announcement.
///
/// # Safety
/// `f` may be called with `data`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_do_blocking(
    f: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    data: *mut c_void,
) -> *mut c_void {
    // SAFETY: by the caller's contract.
    unsafe { f(data) }
}

/// Calls `f(data)`, as [`GC_do_blocking`].
///
/// # Safety
/// `f` may be called with `data`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_call_with_gc_active(
    f: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    data: *mut c_void,
) -> *mut c_void {
    // SAFETY: by the caller's contract.
    unsafe { f(data) }
}

/// `f(base, data)` with the calling thread's stack base.
///
/// # Safety
/// `f` may be called with `data`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_call_with_stack_base(
    f: unsafe extern "C" fn(*mut StackBase, *mut c_void) -> *mut c_void,
    data: *mut c_void,
) -> *mut c_void {
    let mut base = StackBase {
        mem_base: ptr::null_mut(),
    };
    // SAFETY: a place on this stack; the function by the caller's contract.
    unsafe {
        GC_get_stack_base(&mut base);
        f(&mut base, data)
    }
}

/// `pthread_create`.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: by the caller's contract.
    unsafe { threads::pthread_create(thread, attributes, start, argument) }
}

/// `pthread_join`.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_join(
    thread: libc::pthread_t,
    result: *mut *mut c_void,
) -> c_int {
    // SAFETY: by the caller's contract.
    unsafe { libc::pthread_join(thread, result) }
}

/// `pthread_detach`.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_detach(thread: libc::pthread_t) -> c_int {
    // SAFETY: by the caller's contract.
    unsafe { libc::pthread_detach(thread) }
}

/// `pthread_exit`.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_exit(result: *mut c_void) -> ! {
    // SAFETY: by the caller's contract.
    unsafe { libc::pthread_exit(result) }
}

/// `pthread_cancel`.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_cancel(thread: libc::pthread_t) -> c_int {
    // SAFETY: by the caller's contract.
    unsafe { libc::pthread_cancel(thread) }
}

/// `pthread_sigmask`.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_sigmask(
    how: c_int,
    set: *const libc::sigset_t,
    old: *mut libc::sigset_t,
) -> c_int {
    // SAFETY: by the caller's contract.
    unsafe { signals::pthread_sigmask(how, set, old) }
}
