//! The thread that runs finalizers.
//!
//! Started by the first value that is to be dropped. It sleeps on the number of due finalizers, which the collector wakes.
//! In the child of a fork it does not exist until the next such value, or the next explicit collection, starts it again.

use crate::raw::{self, Kind};
use crate::sys::lock::futex_wait;
use core::ptr;
use core::sync::atomic::{
    AtomicBool, AtomicU8, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

const NEVER: u8 = 0;
const STARTING: u8 = 1;
const RUNNING: u8 = 2;
/// It ran in the parent of this process, or could not be started.
const WANTED: u8 = 3;

static STATE: AtomicU8 = AtomicU8::new(NEVER);
static BUSY: AtomicBool = AtomicBool::new(false);
static WARNED: AtomicBool = AtomicBool::new(false);

/// Starts the thread unless it runs.
#[inline]
pub(crate) fn ensure_started() {
    if !matches!(STATE.load(Relaxed), RUNNING | STARTING) {
        start();
    }
}

/// As [`ensure_started`], but only if somebody wanted it before.
pub(super) fn ensure_restarted() {
    if STATE.load(Relaxed) == WANTED {
        start();
    }
}

/// The child of a fork has one thread, and it is not this one.
pub(super) fn after_fork_child() {
    if STATE.load(Relaxed) != NEVER {
        STATE.store(WANTED, Relaxed);
    }
    BUSY.store(false, Relaxed);
}

/// A finalizer is due or runs on the thread.
pub(super) fn is_busy() -> bool {
    // The thread sets BUSY before it takes anything off the queue, so one of the two shows.
    raw::finalizers_pending().load(Acquire) != 0 || BUSY.load(Acquire)
}

/// Whether there is, or will be at once, a thread that runs what is due.
pub(super) fn is_running() -> bool {
    matches!(STATE.load(Relaxed), RUNNING | STARTING)
}

#[cold]
#[inline(never)]
fn start() {
    let now = STATE.load(Relaxed);
    if matches!(now, RUNNING | STARTING)
        || STATE
            .compare_exchange(now, STARTING, Acquire, Relaxed)
            .is_err()
    {
        return;
    }
    if let Err(error) = spawn() {
        STATE.store(WANTED, Release);
        if !WARNED.swap(true, Relaxed) {
            crate::message!(
                "finalizer thread: pthread_create: error {error}; values wait for run_finalizers() or the next attempt"
            );
        }
        return;
    }
    // The thread may have been forked away in between: then the child says WANTED, and it stays.
    let _ = STATE.compare_exchange(STARTING, RUNNING, Release, Relaxed);
}

/// Creates the thread, detached, with the signals blocked that are meant for the program's threads. Real-time signals stay
/// open, as one of them stops the world; so do those that faults raise.
fn spawn() -> Result<(), i32> {
    // SAFETY: every structure is initialised by the call meant for it before it is used, and lives in this frame; `run` has
    // the right type. The thread inherits the mask that is set here for the moment.
    unsafe {
        let mut blocked: libc::sigset_t = core::mem::zeroed();
        let mut old: libc::sigset_t = core::mem::zeroed();
        libc::sigemptyset(&mut blocked);
        for signal in 1..32 {
            if !FAULTS.contains(&signal) {
                libc::sigaddset(&mut blocked, signal);
            }
        }
        let mut attr: libc::pthread_attr_t = core::mem::zeroed();
        libc::pthread_attr_init(&mut attr);
        libc::pthread_attr_setdetachstate(&mut attr, libc::PTHREAD_CREATE_DETACHED);
        libc::pthread_sigmask(libc::SIG_BLOCK, &blocked, &mut old);
        let mut thread: libc::pthread_t = 0;
        let error = libc::pthread_create(&mut thread, &attr, run, ptr::null_mut());
        libc::pthread_sigmask(libc::SIG_SETMASK, &old, ptr::null_mut());
        libc::pthread_attr_destroy(&mut attr);
        if error == 0 { Ok(()) } else { Err(error) }
    }
}

const FAULTS: [i32; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
];

extern "C" fn run(_: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: a valid name, at most 15 bytes, for the calling thread.
    unsafe { libc::pthread_setname_np(libc::pthread_self(), c"dunegc-final".as_ptr()) };
    // A first allocation gives the thread its heap, on which critical sections rest.
    let _ = raw::alloc(Kind::Atomic, 1);
    let pending = raw::finalizers_pending();
    loop {
        if pending.load(Acquire) == 0 {
            futex_wait(pending, 0);
            continue;
        }
        BUSY.store(true, Release);
        let ran = raw::run_finalizers();
        BUSY.store(false, Release);
        if ran == 0 {
            // Another thread has taken them and not yet said so.
            // SAFETY: no preconditions.
            unsafe { libc::sched_yield() };
        }
    }
}
