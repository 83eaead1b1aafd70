//! Threads. All of them are found by the collector itself, so registration only has to answer as documented.

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

use crate::{startup, vars};
use dunegc::world;

const SUCCESS: c_int = 0;
const UNIMPLEMENTED: c_int = 3;

/// `struct GC_stack_base`.
#[repr(C)]
pub struct StackBase {
    /// The address behind the stack, from which it grows down.
    pub mem_base: *mut c_void,
}

/// The calling thread's stack as libc knows it.
fn stack() -> Option<(usize, usize)> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: the attributes are filled for the calling thread, which lives.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let (mut low, mut size) = (ptr::null_mut::<c_void>(), 0);
    // SAFETY: initialised by pthread_getattr_np; destroyed once and not used afterwards.
    let known = unsafe {
        let known = libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut size) == 0;
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        known
    };
    known.then_some((low as usize, low as usize + size))
}

/// If the calling thread is the main one: notes the end of its stack.
pub fn note_main_stack() {
    // SAFETY: neither call has preconditions.
    let main = unsafe { libc::getpid() as i64 == libc::syscall(libc::SYS_gettid) };
    if main
        && vars::GC_stackbottom.load(Relaxed) == 0
        && let Some((_, hi)) = stack()
    {
        vars::GC_stackbottom.store(hi, Relaxed);
    }
}

/// Tells the collector the calling thread's stack; without that all of its mapping counts.
fn note_stack() {
    if let Some((lo, hi)) = stack() {
        world::note_stack_bounds(lo, hi);
    }
}

/// The calling thread's stack base. 0, or 3 if libc does not know it.
///
/// # Safety
/// `base` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_stack_base(base: *mut StackBase) -> c_int {
    let Some((_, hi)) = stack() else {
        return UNIMPLEMENTED;
    };
    // SAFETY: by the caller's contract.
    unsafe { (*base).mem_base = hi as *mut c_void };
    SUCCESS
}

/// Allows threads that this library did not create to register. They are found anyway.
#[unsafe(no_mangle)]
pub extern "C" fn GC_allow_register_threads() {
    startup::first_use();
}

/// 0, success: the thread is known already.
#[unsafe(no_mangle)]
pub extern "C" fn GC_register_my_thread(_base: *const StackBase) -> c_int {
    note_stack();
    SUCCESS
}

/// 0, success. The thread stays known until it ends.
#[unsafe(no_mangle)]
pub extern "C" fn GC_unregister_my_thread() -> c_int {
    SUCCESS
}
