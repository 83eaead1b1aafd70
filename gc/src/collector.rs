//! The thread that collects beside the program, or with it held for as long as marking takes. Started when the first collection is due; never ends; in a fork child it
//! starts anew.

use crate::config;
use crate::cycle;
use crate::mark::{place, pool};
use crate::pacer;
use crate::sys::lock::{futex_wait, futex_wait_for, futex_wake};
use crate::sys::raw::gettid;
use core::sync::atomic::{AtomicU32, Ordering::*};

const IDLE: u32 = 0;
const ASKED: u32 = 1;
const AT_WORK: u32 = 2;

static STATE: AtomicU32 = AtomicU32::new(IDLE);
/// 0: not started; 1: starting; 2: started; 3: cannot be.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// Asks for a collection beside the program. False if there can be none: the caller collects by itself.
pub fn request() -> bool {
    if is_refused() {
        return false;
    }
    pacer::choose();
    if !config::get().background || !cycle::is_for_collector() || !ensure_started() {
        return false;
    }
    if !pacer::runs_beside() {
        cycle::expect_hold(true);
    }
    ask();
    true
}

/// Has the thread do what is to be done: it was started before.
pub fn ask() {
    if STATE.compare_exchange(IDLE, ASKED, SeqCst, Relaxed).is_ok() {
        place::COLLECTOR.keep_off_here();
        futex_wake(&STATE, 1);
    }
}

/// Collections run beside the program.
#[inline]
pub fn is_ready() -> bool {
    STARTED.load(Relaxed) == 2
}

/// No collection beside the program is asked for or under way.
pub fn is_idle() -> bool {
    STATE.load(Relaxed) == IDLE
}

/// The thread is being started.
pub fn is_starting() -> bool {
    STARTED.load(Relaxed) == 1
}

/// There is no such thread, and never will be.
pub fn is_refused() -> bool {
    STARTED.load(Relaxed) == 3
}

/// Waits until no collection is asked for or under way, or the time is over.
pub fn wait(ns: u64) {
    let s = STATE.load(SeqCst);
    if s != IDLE {
        futex_wait_for(&STATE, s, ns);
    }
}

/// Sleeps, on the collector's thread.
pub fn nap(ns: u64) {
    futex_wait_for(&AtomicU32::new(0), 0, ns);
}

/// Starts the thread, if that was not tried before. The caller sees to it that no collection runs or begins meanwhile: the stop would wait
/// for a thread that is not exempt from it yet, and waits itself for locks of libc that a stopped one holds.
pub fn start() {
    if STARTED.compare_exchange(0, 1, SeqCst, Relaxed).is_ok() && !pool::spawn(run, 0) {
        STARTED.store(3, Release);
    }
    while STARTED.load(Acquire) == 1 {
        futex_wait(&STARTED, 1);
    }
}

/// False if there is no such thread (yet).
fn ensure_started() -> bool {
    if STARTED.load(Relaxed) == 0 {
        cycle::alone(start);
    }
    is_ready()
}

extern "C" fn run(_: *mut libc::c_void) -> *mut libc::c_void {
    crate::world::exempt_self();
    place::COLLECTOR.enter(0, gettid());
    // SAFETY: the name is NUL-terminated and short enough.
    unsafe { libc::pthread_setname_np(libc::pthread_self(), c"dunegc".as_ptr()) };
    STARTED.store(2, Release);
    futex_wake(&STARTED, i32::MAX);
    loop {
        if STATE
            .compare_exchange(ASKED, AT_WORK, SeqCst, Relaxed)
            .is_err()
        {
            futex_wait(&STATE, IDLE);
            continue;
        }
        if cycle::collect_here().is_err() {
            crate::heap::critical::with(crate::pacer::put_off);
        }
        cycle::expect_hold(false);
        STATE.store(IDLE, SeqCst);
        futex_wake(&STATE, i32::MAX);
    }
}

/// In a fork child: the thread is gone.
pub fn after_fork_child() {
    STARTED.store(0, Relaxed);
    STATE.store(IDLE, Relaxed);
    place::COLLECTOR.after_fork_child();
}
