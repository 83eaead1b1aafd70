//! Warnings, errors, and what happens without memory.

use core::ffi::{c_char, c_int, c_void};
use core::mem::transmute;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

use crate::env;
use dunegc::message;

type OutOfMemory = unsafe extern "C" fn(usize) -> *mut c_void;
type Warn = unsafe extern "C" fn(*const c_char, usize);
type Abort = unsafe extern "C" fn(*const c_char);

unsafe extern "C" {
    fn dprintf(fd: c_int, format: *const c_char, ...) -> c_int;
}

static WARN: AtomicUsize = AtomicUsize::new(0);

/// Called without memory.
#[unsafe(no_mangle)]
pub static GC_oom_fn: AtomicPtr<c_void> = AtomicPtr::new(no_memory as *mut c_void);
/// Called before the library aborts.
#[unsafe(no_mangle)]
pub static GC_on_abort: AtomicPtr<c_void> = AtomicPtr::new(print_error as *mut c_void);

/// What the out-of-memory function returns for a request of `size` bytes.
#[cold]
pub fn out_of_memory(size: usize) -> *mut c_void {
    // SAFETY: the program's function, called as it asked.
    unsafe { GC_get_oom_fn()(size) }
}

/// Passes a warning, a `printf` format with one word, to the warning function.
#[cold]
pub fn warn(format: &core::ffi::CStr, argument: usize) {
    // SAFETY: the program's function, or the one below, with a format that takes one word.
    unsafe { GC_get_warn_proc()(format.as_ptr(), argument) }
}

/// Tells the abort function that something cannot go on, and aborts.
#[cold]
pub fn abort(text: &core::ffi::CStr) -> ! {
    // SAFETY: the program's function, or the one below, with a C string; abort may be called at any time.
    unsafe {
        GC_get_abort_func()(text.as_ptr());
        while env::loops_on_abort() {
            libc::pause();
        }
        libc::abort()
    }
}

unsafe extern "C" fn no_memory(size: usize) -> *mut c_void {
    static SAID: AtomicUsize = AtomicUsize::new(0);
    if SAID.swap(1, Relaxed) == 0 {
        warn(
            c"GC Warning: Out of memory, returning NULL (requested %lu bytes)\n",
            size,
        );
    }
    // SAFETY: __errno_location always returns the thread's errno cell.
    unsafe { *libc::__errno_location() = libc::ENOMEM };
    core::ptr::null_mut()
}

unsafe extern "C" fn print_warning(format: *const c_char, argument: usize) {
    // SAFETY: by the contract of warning functions the format takes one word.
    unsafe { dprintf(2, format, argument) };
}

unsafe extern "C" fn print_error(text: *const c_char) {
    if !text.is_null() {
        // SAFETY: not null, so by the contract of abort functions a C string.
        unsafe { dprintf(2, c"%s\n".as_ptr(), text) };
    }
}

/// The function called when memory is exhausted; its result is returned to the program.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_oom_fn(f: OutOfMemory) {
    GC_oom_fn.store(f as *mut c_void, Relaxed);
}

/// What [`GC_set_oom_fn`] set; a function that returns null.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_oom_fn() -> OutOfMemory {
    let f = GC_oom_fn.load(Relaxed);
    if f.is_null() {
        return no_memory;
    }
    // SAFETY: by the interface the variable holds a function of this type.
    unsafe { transmute::<*mut c_void, OutOfMemory>(f) }
}

/// The function that gets warnings as a `printf` format with one word.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_warn_proc(f: Warn) {
    WARN.store(f as usize, Relaxed);
}

/// What [`GC_set_warn_proc`] set; a function that prints on standard error.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_warn_proc() -> Warn {
    match WARN.load(Relaxed) {
        0 => print_warning,
        // SAFETY: a function of this type, stored above.
        f => unsafe { transmute::<usize, Warn>(f) },
    }
}

/// A warning function that ignores warnings.
#[unsafe(no_mangle)]
pub extern "C" fn GC_ignore_warn_proc(_format: *const c_char, _argument: usize) {}

/// The function called before the library aborts.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_abort_func(f: Abort) {
    GC_on_abort.store(f as *mut c_void, Relaxed);
}

/// What [`GC_set_abort_func`] set; a function that prints on standard error.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_abort_func() -> Abort {
    let f = GC_on_abort.load(Relaxed);
    if f.is_null() {
        return print_error;
    }
    // SAFETY: by the interface the variable holds a function of this type.
    unsafe { transmute::<*mut c_void, Abort>(f) }
}

/// An out-of-memory function that never returns can call this: prints a message, calls the abort function with null, and exits.
#[unsafe(no_mangle)]
pub extern "C" fn GC_abort_on_oom() {
    message!("insufficient memory for the allocation");
    // SAFETY: the program's function, called as documented; the own one ignores null.
    unsafe { GC_get_abort_func()(core::ptr::null()) };
    // SAFETY: exit may be called by any thread.
    unsafe { libc::exit(1) };
}
