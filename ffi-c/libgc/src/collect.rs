//! Collections.

use core::ffi::{c_int, c_void};
use core::mem::transmute;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use crate::vars::GC_dont_gc;
use crate::{finalize, heap, params, startup};
use dunegc::{cycle, raw};

type StopFunc = unsafe extern "C" fn() -> c_int;

static STOP: AtomicUsize = AtomicUsize::new(0);
/// The collection that begins was asked for with a stop function of its own.
static ASKED_ALREADY: AtomicBool = AtomicBool::new(false);

/// Whether the program wants a collection that is about to begin.
pub fn is_wanted(explicit: bool) -> bool {
    if !explicit && params::GC_get_disable_automatic_collection() != 0 {
        return false;
    }
    ASKED_ALREADY.swap(false, Relaxed)
        // SAFETY: the program's function, called as it asked.
        || unsafe { GC_get_stop_func()() } == 0
}

/// A full collection unless collections are disabled; true if it took place.
pub fn collect() -> bool {
    startup::first_use();
    // The collector's frames are scanned with the others of this thread: what earlier calls left there keeps nothing.
    heap::GC_clear_stack(core::ptr::null_mut());
    // SAFETY: __errno_location always returns the thread's errno cell.
    let errno = unsafe { *libc::__errno_location() };
    let done = GC_dont_gc.load(Relaxed) == 0 && raw::collect().is_ok();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
    done
}

/// [`GC_gcollect`] but for the finalizers: true if some are to run.
extern "C" fn gcollect() -> bool {
    finalize::deferring(|| {
        collect();
        if params::GC_get_force_unmap_on_gcollect() != 0 {
            raw::trim(0);
        }
    })
}

extern "C" fn gcollect_and_unmap() -> bool {
    finalize::deferring(|| {
        collect();
        raw::trim(0);
    })
}

macro_rules! collections {
    ($($(#[$doc:meta])* $name:ident $work:ident;)*) => { $(
        $(#[$doc])*
        ///
        /// # Safety
        /// The finalizers may be called. C++ exceptions may leave them.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "sub rsp, 8",
                ".cfi_adjust_cfa_offset 8",
                "call {work}",
                "add rsp, 8",
                ".cfi_adjust_cfa_offset -8",
                "test al, al",
                "jne {finalizers}",
                "ret",
                ".cfi_endproc",
                work = sym $work,
                finalizers = sym finalize::GC_invoke_finalizers,
            )
        }
    )* };
}

collections! {
    /// A full collection; then due finalizers run, unless on demand only.
    GC_gcollect gcollect;
    /// As [`GC_gcollect`]; memory goes back to the system at once.
    GC_gcollect_and_unmap gcollect_and_unmap;
}

/// A collection that `stop` can prevent by returning non-zero before it begins. 1 if it took place.
///
/// # Safety
/// `stop` may be called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_try_to_collect(stop: StopFunc) -> c_int {
    startup::first_use();
    // SAFETY: the caller's function, called as documented.
    if unsafe { stop() } != 0 {
        return 0;
    }
    ASKED_ALREADY.store(true, Relaxed);
    let done = collect();
    ASKED_ALREADY.store(false, Relaxed);
    done.into()
}

/// The function that is asked before each collection; not 0 prevents it.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_stop_func(f: Option<StopFunc>) {
    STOP.store(f.map_or(0, |f| f as usize), Relaxed);
}

/// What [`GC_set_stop_func`] set; a function that returns 0.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_stop_func() -> StopFunc {
    match STOP.load(Relaxed) {
        0 => never,
        // SAFETY: a function of this type, stored above.
        f => unsafe { transmute::<usize, StopFunc>(f) },
    }
}

unsafe extern "C" fn never() -> c_int {
    0
}

/// Collects if it is time. 1 if a collection is under way beside the program.
#[unsafe(no_mangle)]
pub extern "C" fn GC_collect_a_little() -> c_int {
    startup::first_use();
    raw::collect_if_due().into()
}

/// Begins a collection beside the program, if that is its mode.
#[unsafe(no_mangle)]
pub extern "C" fn GC_start_incremental_collection() {
    startup::first_use();
    raw::begin_collection();
}

/// Stops collections; calls nest.
#[unsafe(no_mangle)]
pub extern "C" fn GC_disable() {
    GC_dont_gc.fetch_add(1, Relaxed);
}

/// Undoes one [`GC_disable`].
#[unsafe(no_mangle)]
pub extern "C" fn GC_enable() {
    GC_dont_gc.fetch_sub(1, Relaxed);
}

/// Non-zero while disabled.
#[unsafe(no_mangle)]
pub extern "C" fn GC_is_disabled() -> c_int {
    (GC_dont_gc.load(Relaxed) != 0).into()
}

/// True if that is to be undone: called from inside such a function, or from a collection's callback, it is held already.
extern "C" fn hold() -> bool {
    startup::first_use();
    cycle::hold()
}

extern "C" fn release() {
    cycle::release();
}

/// Calls `f(data)` while no collection runs, so that a hidden pointer can be revealed. `f` may allocate, but not collect.
///
/// # Safety
/// `f` may be called with `data`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_call_with_alloc_lock(
    _f: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    _data: *mut c_void,
) -> *mut c_void {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "sub rsp, 24",
        ".cfi_adjust_cfa_offset 24",
        "mov [rsp], rdi",
        "mov [rsp + 8], rsi",
        "call {hold}",
        "mov [rsp + 16], al",
        "mov rdi, [rsp + 8]",
        "call [rsp]",
        "cmp byte ptr [rsp + 16], 0",
        "je 2f",
        "mov [rsp], rax",
        "call {release}",
        "mov rax, [rsp]",
        "2:",
        "add rsp, 24",
        ".cfi_adjust_cfa_offset -24",
        "ret",
        ".cfi_endproc",
        hold = sym hold,
        release = sym release,
    )
}

/// From here on no collection runs, until [`GC_alloc_unlock`].
#[unsafe(no_mangle)]
pub extern "C" fn GC_alloc_lock() {
    startup::first_use();
    cycle::hold();
}

/// Undoes [`GC_alloc_lock`].
#[unsafe(no_mangle)]
pub extern "C" fn GC_alloc_unlock() {
    cycle::release();
}

/// Stops all other threads until [`GC_start_world_external`]. Aborts if one of them cannot be stopped.
#[unsafe(no_mangle)]
pub extern "C" fn GC_stop_world_external() {
    startup::first_use();
    if !cycle::stop_world() {
        crate::warn::abort(c"GC_stop_world_external: the world cannot be stopped");
    }
}

/// Lets the threads go on.
#[unsafe(no_mangle)]
pub extern "C" fn GC_start_world_external() {
    cycle::resume_world();
}

/// Takes the collector's locks before a fork.
#[unsafe(no_mangle)]
pub extern "C" fn GC_atfork_prepare() {
    startup::first_use();
    raw::fork::prepare();
}

/// After it, in the parent.
#[unsafe(no_mangle)]
pub extern "C" fn GC_atfork_parent() {
    raw::fork::parent();
}

/// After it, in the child.
#[unsafe(no_mangle)]
pub extern "C" fn GC_atfork_child() {
    raw::fork::child();
}
