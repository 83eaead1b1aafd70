//! Finalizers.

use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::mem::transmute;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::startup;
use crate::vars::{GC_finalize_on_demand, GC_finalizer_notifier, GC_gc_no, GC_java_finalization};
use dunegc::finalize;
use dunegc::raw::{self, Finalizer, Order};

type Notifier = unsafe extern "C" fn();

/// A thread runs due finalizers as part of an allocation or collection.
static RUNNING: AtomicBool = AtomicBool::new(false);
thread_local! {
    /// Whether finalizers that become due wait until the calling function has returned to its caller's frame.
    static DEFERRED: Cell<Deferred> = const { Cell::new(Deferred::No) };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Deferred {
    No,
    /// They wait.
    Wait,
    /// They wait, and some are due.
    Due,
}

/// Calls `f`; true if finalizers became due meanwhile which the caller has to run.
pub fn deferring(f: impl FnOnce()) -> bool {
    DEFERRED.set(Deferred::Wait);
    f();
    DEFERRED.replace(Deferred::No) == Deferred::Due
}

/// Number of the collection that was last notified of.
static NOTIFIED: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Has collections announce due finalizers.
pub fn start() {
    raw::set_finalizer_hook(Some(due));
}

/// A collection left finalizers due, and the world runs: they run here, or the program is told.
fn due() {
    if raw::put_off_announcement() {
        return;
    }
    if GC_finalize_on_demand.load(Ordering::Relaxed) == 0 {
        if DEFERRED.get() != Deferred::No {
            DEFERRED.set(Deferred::Due);
        } else if !RUNNING.swap(true, Ordering::Acquire) {
            raw::run_finalizers();
            RUNNING.store(false, Ordering::Release);
        }
        return;
    }
    let now = GC_gc_no.load(Ordering::Relaxed);
    if let Some(f) = GC_get_finalizer_notifier()
        && NOTIFIED.swap(now, Ordering::Relaxed) != now
    {
        // SAFETY: the program's function, called as it asked.
        unsafe { f() };
    }
}

/// Sets (`f`) or removes (`f` null) the finalizer of the object at `object`; the previous one goes to `*old_f`, `*old_data`.
/// Nothing happens if no object of the heap starts there.
///
/// # Safety
/// `f` may be called with `object` and `data`; the places are null or writable.
pub unsafe fn register(
    object: *mut c_void,
    f: Option<Finalizer>,
    data: *mut c_void,
    old_f: *mut Option<Finalizer>,
    old_data: *mut *mut c_void,
    order: Order,
) {
    startup::first_use();
    raw_order();
    let previous = raw::set_ordered_finalizer(object.cast(), f.map(|f| (f, data.cast())), order)
        .ok()
        .flatten();
    if !old_f.is_null() {
        // SAFETY: by the caller's contract.
        unsafe { old_f.write(previous.map(|(f, _)| f)) };
    }
    if !old_data.is_null() {
        // SAFETY: by the caller's contract.
        unsafe { old_data.write(previous.map_or(ptr::null_mut(), |(_, d)| d.cast())) };
    }
}

/// The variable may have been written by the program.
fn raw_order() {
    finalize::always_ordered(GC_java_finalization.load(Ordering::Relaxed) == 0);
}

macro_rules! registrations {
    ($($(#[$doc:meta])* $name:ident $order:expr;)*) => { $(
        $(#[$doc])*
        ///
        /// # Safety
        /// `f` may be called with `object` and `data`; the places are null or writable.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            object: *mut c_void,
            f: Option<Finalizer>,
            data: *mut c_void,
            old_f: *mut Option<Finalizer>,
            old_data: *mut *mut c_void,
        ) {
            // SAFETY: by the caller's contract.
            unsafe { register(object, f, data, old_f, old_data, $order) }
        }
    )* };
}

registrations! {
    /// Sets the finalizer; objects that it reaches, itself included, are finalized after it.
    GC_register_finalizer Order::AfterReferrers;
    /// As [`GC_register_finalizer`]; pointers of the object to itself do not count.
    GC_register_finalizer_ignore_self Order::AfterReferrersButSelf;
    /// Sets the finalizer; what the object reaches may be finalized before it.
    GC_register_finalizer_no_order Order::Unordered;
    /// Sets a finalizer that runs once no other finalizable object reaches the object.
    GC_register_finalizer_unreachable Order::LastOfAll;
}

/// Runs every finalizer, whether its object is reachable or not, and those that they register.
#[unsafe(no_mangle)]
pub extern "C" fn GC_finalize_all() {
    while finalize::registered() > 0 && finalize::make_all_due() {
        raw::run_finalizers();
    }
}

type Awaited = unsafe extern "C" fn(*mut c_void);

static AWAITED: AtomicUsize = AtomicUsize::new(0);

/// The function called for each object whose finalizer becomes due, with the world stopped.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_await_finalize_proc(f: Option<Awaited>) {
    AWAITED.store(f.map_or(0, |f| f as usize), Ordering::Relaxed);
    finalize::set_await_hook(f.map(|_| awaited as fn(usize)));
}

/// What [`GC_set_await_finalize_proc`] set.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_await_finalize_proc() -> Option<Awaited> {
    // SAFETY: null or a function of this type, stored above.
    unsafe { transmute::<usize, Option<Awaited>>(AWAITED.load(Ordering::Relaxed)) }
}

fn awaited(object: usize) {
    if let Some(f) = GC_get_await_finalize_proc() {
        // SAFETY: the program's function, called as it asked.
        unsafe { f(object as *mut c_void) };
    }
}

/// A due finalizer, for the machine code below.
#[repr(C)]
struct Call {
    f: Option<Finalizer>,
    object: *mut u8,
    data: *mut u8,
}

/// Fills `*call`; false if nothing is due.
unsafe extern "C" fn next(call: *mut Call) -> bool {
    let due = finalize::next_due();
    if let Some((f, object, data)) = due {
        let filled = Call {
            f: Some(f),
            object,
            data,
        };
        // SAFETY: a place on the caller's stack.
        unsafe { call.write(filled) };
    }
    due.is_some()
}

/// Runs what is due on the calling thread; the number that ran. C++ exceptions may leave it: there is no frame of Rust between the
/// finalizer and the caller.
///
/// # Safety
/// The finalizers may be called.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_invoke_finalizers() -> c_int {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbx, 0",
        "sub rsp, 32",
        ".cfi_adjust_cfa_offset 32",
        "xor ebx, ebx",
        "2:",
        "mov rdi, rsp",
        "call {next}",
        "test al, al",
        "je 3f",
        "mov rdi, [rsp + 8]",
        "mov rsi, [rsp + 16]",
        "call [rsp]",
        "inc ebx",
        "jmp 2b",
        "3:",
        // What was finalized is not kept by what is left here.
        "mov qword ptr [rsp + 8], 0",
        "mov qword ptr [rsp + 16], 0",
        "mov eax, ebx",
        "add rsp, 32",
        ".cfi_adjust_cfa_offset -32",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        "ret",
        ".cfi_endproc",
        next = sym next,
    )
}

/// Non-zero if finalizers are due.
#[unsafe(no_mangle)]
pub extern "C" fn GC_should_invoke_finalizers() -> c_int {
    (raw::finalizers_pending().load(Ordering::Relaxed) != 0).into()
}

/// Non-zero: finalizers run only in [`GC_invoke_finalizers`].
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_finalize_on_demand(on: c_int) {
    GC_finalize_on_demand.store(on, Ordering::Relaxed);
}

/// What [`GC_set_finalize_on_demand`] set.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_finalize_on_demand() -> c_int {
    GC_finalize_on_demand.load(Ordering::Relaxed)
}

/// Non-zero: what is registered without order may be finalized before what reaches it.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_java_finalization(on: c_int) {
    GC_java_finalization.store(on, Ordering::Relaxed);
    raw_order();
}

/// What [`GC_set_java_finalization`] set.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_java_finalization() -> c_int {
    GC_java_finalization.load(Ordering::Relaxed)
}

/// The function called once after a collection that left finalizers due, if they run on demand.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_finalizer_notifier(f: Option<Notifier>) {
    GC_finalizer_notifier.store(f.map_or(0, |f| f as usize), Ordering::Relaxed);
}

/// What [`GC_set_finalizer_notifier`] set.
#[unsafe(no_mangle)]
pub extern "C" fn GC_get_finalizer_notifier() -> Option<Notifier> {
    // SAFETY: by the interface the variable holds null or a function of this type.
    unsafe { transmute::<usize, Option<Notifier>>(GC_finalizer_notifier.load(Ordering::Relaxed)) }
}
