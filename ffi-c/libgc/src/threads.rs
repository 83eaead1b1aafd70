//! Threads. All of them are found by the collector itself: registration answers as documented, and makes stacks' ends known.

use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::created;
use crate::{startup, vars, warn};
use dunegc::{config, world};

const SUCCESS: c_int = 0;
const DUPLICATE: c_int = 1;
const UNIMPLEMENTED: c_int = 3;

/// `struct GC_stack_base`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct StackBase {
    /// The address behind the stack, from which it grows down.
    pub mem_base: *mut c_void,
}

thread_local! {
    /// The thread is registered.
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
    /// What the program says is the end of the thread's stack; 0: as libc says.
    static BOTTOM: Cell<usize> = const { Cell::new(0) };
}

static ALLOWED: AtomicBool = AtomicBool::new(false);

/// The calling thread's stack as libc knows it.
pub fn stack() -> Option<(usize, usize)> {
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

/// Before a fork: takes the list of created threads.
pub fn before_fork() {
    created::lock_for_fork().acquire();
}

/// After it, in parent and child.
pub fn after_fork() {
    // SAFETY: this thread, or the one that it is a copy of, took the lock before the fork.
    unsafe { created::lock_for_fork().release() };
}

/// The thread that uses the library first is registered; if it is the main one, the end of its stack is noted.
pub fn start() {
    REGISTERED.set(true);
    // SAFETY: neither call has preconditions.
    let main = unsafe { i64::from(libc::getpid()) == libc::syscall(libc::SYS_gettid) };
    if main
        && vars::GC_stackbottom.load(Relaxed) == 0
        && let Some((_, hi)) = stack()
    {
        vars::GC_stackbottom.store(hi, Relaxed);
    }
}

/// The calling thread is registered from here on, and the collector knows its stack; without that all of its mapping counts.
pub fn register() {
    REGISTERED.set(true);
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

/// Allows threads that this library did not create to register.
#[unsafe(no_mangle)]
pub extern "C" fn GC_allow_register_threads() {
    startup::first_use();
    ALLOWED.store(true, Relaxed);
}

/// Registers the calling thread: 0, or 1 if it is. Aborts unless [`GC_allow_register_threads`] was called.
#[unsafe(no_mangle)]
pub extern "C" fn GC_register_my_thread(_base: *const StackBase) -> c_int {
    if !ALLOWED.load(Relaxed) && !created::any() {
        warn::abort(c"Threads explicit registering is not previously enabled");
    }
    if REGISTERED.get() {
        return DUPLICATE;
    }
    register();
    SUCCESS
}

/// 0. The thread stays known to the collector until it ends.
#[unsafe(no_mangle)]
pub extern "C" fn GC_unregister_my_thread() -> c_int {
    REGISTERED.set(false);
    SUCCESS
}

/// 1 if the calling thread is registered.
#[unsafe(no_mangle)]
pub extern "C" fn GC_thread_is_registered() -> c_int {
    REGISTERED.get().into()
}

/// Nothing to do: alternate signal stacks are found.
#[unsafe(no_mangle)]
pub extern "C" fn GC_register_altstack(
    _stack: *mut c_void,
    _size: usize,
    _alt_stack: *mut c_void,
    _alt_size: usize,
) {
}

/// A handle of the calling thread for [`GC_set_stackbottom`], and the end of its stack.
///
/// # Safety
/// `base` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_my_stackbottom(base: *mut StackBase) -> *mut c_void {
    startup::first_use();
    let bottom = match BOTTOM.get() {
        0 => stack().map_or(0, |(_, hi)| hi),
        b => b,
    };
    // SAFETY: by the caller's contract; pthread_self has no preconditions.
    unsafe {
        (*base).mem_base = bottom as *mut c_void;
        libc::pthread_self() as *mut c_void
    }
}

/// The calling thread goes on on another stack, with this end; `handle` is its own or null. The collector finds the mapping that
/// the stack pointer leads to, and from here on also the one of that end. Nothing happens for another thread: its stack is found in the same way.
///
/// # Safety
/// `base` is readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_stackbottom(handle: *mut c_void, base: *const StackBase) {
    // SAFETY: pthread_self has no preconditions.
    let own = unsafe { libc::pthread_self() } as *mut c_void;
    if handle.is_null() || handle == own {
        // SAFETY: by the caller's contract.
        let end = unsafe { (*base).mem_base } as usize;
        BOTTOM.set(end);
        world::note_stack_end(end);
    }
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident;)*) => { $(
        $(#[$doc])*
        ///
        /// # Safety
        /// `f` may be called with `data`. It may be left by an exception, or by the end of the thread.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            _f: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
            _data: *mut c_void,
        ) -> *mut c_void {
            core::arch::naked_asm!("mov rax, rdi", "mov rdi, rsi", "jmp rax")
        }
    )* };
}

calls! {
    /// Calls `f(data)`: blocking calls need no announcement, the thread is stopped in them.
    GC_do_blocking;
    /// Calls `f(data)`, as [`GC_do_blocking`].
    GC_call_with_gc_active;
}

unsafe extern "C" fn fill_base(base: *mut StackBase) {
    // SAFETY: a place on the caller's stack.
    unsafe { (*base).mem_base = stack().map_or(ptr::null_mut(), |(_, hi)| hi as *mut c_void) };
}

/// `f(base, data)` with the calling thread's stack base.
///
/// # Safety
/// `f` may be called with `data`. It may be left by an exception, or by the end of the thread.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_call_with_stack_base(
    _f: unsafe extern "C" fn(*mut StackBase, *mut c_void) -> *mut c_void,
    _data: *mut c_void,
) -> *mut c_void {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "sub rsp, 24",
        ".cfi_adjust_cfa_offset 24",
        "mov [rsp + 8], rdi",
        "mov [rsp + 16], rsi",
        "mov rdi, rsp",
        "call {fill}",
        "mov rdi, rsp",
        "mov rsi, [rsp + 16]",
        "call [rsp + 8]",
        "add rsp, 24",
        ".cfi_adjust_cfa_offset -24",
        "ret",
        ".cfi_endproc",
        fill = sym fill_base,
    )
}

/// `pthread_sigmask`, which never blocks the signal that stops threads.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_sigmask(
    how: c_int,
    set: *const libc::sigset_t,
    old: *mut libc::sigset_t,
) -> c_int {
    if set.is_null() || how == libc::SIG_UNBLOCK {
        // SAFETY: by the caller's contract.
        return unsafe { libc::pthread_sigmask(how, set, old) };
    }
    // SAFETY: not null, so by the caller's contract a set; the signal number is valid.
    unsafe {
        let mut open = *set;
        libc::sigdelset(&mut open, config::get().stop_signal());
        libc::pthread_sigmask(how, &open, old)
    }
}
