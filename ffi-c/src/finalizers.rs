//! Who runs due finalizers: a thread of this library, or for the Boehm calls the thread that collected.

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, Ordering};

use crate::threads;
use gc::message;
use gc::raw;

/// Who runs finalizers after a collection.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Runner {
    /// A thread of this library, started when it is first needed.
    Thread = 0,
    /// The thread that collected, before the call that led to the collection returns; after one on the collector's own thread, the next thread whose
    /// allocation leaves the fast path.
    Collector = 1,
    /// Nobody: the program is notified and calls `GC_invoke_finalizers`.
    Program = 2,
}

static RUNNER: AtomicU8 = AtomicU8::new(Runner::Thread as u8);
/// Process whose finalizer thread runs; 0 for none. A fork child has none.
static THREAD_OF: AtomicI32 = AtomicI32::new(0);
static RUNNING_HERE: AtomicBool = AtomicBool::new(false);

/// Chooses who runs finalizers, and has collections announce them.
pub fn set_runner(runner: Runner) {
    RUNNER.store(runner as u8, Ordering::Relaxed);
    raw::set_finalizer_hook(Some(due));
}

/// Has collections announce due finalizers to the runner chosen so far.
pub fn enable() {
    raw::set_finalizer_hook(Some(due));
}

/// Runs what is due on the calling thread, unless that is already going on further up some stack.
pub fn run_here() -> usize {
    if RUNNING_HERE.swap(true, Ordering::Acquire) {
        return 0;
    }
    let n = raw::run_finalizers();
    RUNNING_HERE.store(false, Ordering::Release);
    n
}

/// A collection left finalizers due. The world runs.
fn due() {
    match RUNNER.load(Ordering::Relaxed) {
        r if r == Runner::Thread as u8 => ensure_thread(),
        _ if raw::put_off_announcement() => {}
        r if r == Runner::Collector as u8 => {
            run_here();
        }
        _ => crate::boehm::notify_finalizers(),
    }
}

fn ensure_thread() {
    // SAFETY: getpid has no preconditions.
    let pid = unsafe { libc::getpid() };
    if THREAD_OF.swap(pid, Ordering::AcqRel) == pid {
        return;
    }
    if !threads::spawn_detached(body) {
        THREAD_OF.store(0, Ordering::Release);
        message!(
            "finalizer thread: cannot be created (thread or memory limit); its finalizers wait for the next collection"
        );
    }
}

extern "C" fn body(_: *mut c_void) -> *mut c_void {
    let pending = raw::finalizers_pending();
    loop {
        raw::run_finalizers();
        if pending.load(Ordering::Relaxed) == 0 {
            // SAFETY: FUTEX_WAIT only reads the word, a static; no timeout is passed.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    pending.as_ptr(),
                    libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                    0,
                    ptr::null::<libc::timespec>(),
                )
            };
        }
    }
}
