//! What happens at the first allocation, at the library's constructor and at its destructor.

use core::sync::atomic::{AtomicU8, Ordering};

use crate::{exec, kernel_writes, leaks, reclaim, route, signals, stderr, timers};
use gc::config::{self, Mode, StatsSink};
use gc::{raw, stats};

const NOT_STARTED: u8 = 0;
const STARTING: u8 = 1;
const STARTED: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(NOT_STARTED);

/// Runs once, at the first allocation or in the constructor, whichever comes first: usually while the loader is still
/// at work and libc is not initialised. Returns at once if it is under way further up the stack.
#[cold]
pub fn first_use() {
    if STATE
        .compare_exchange(NOT_STARTED, STARTING, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        return;
    }
    crate::malloc::foreign::note_initial_break();
    exec::note_process();
    // Fork handlers run in reverse order of registration before the fork: the earliest registered is locked last, when
    // no other handler can allocate any more.
    // SAFETY: the three functions may be called at any time in that order.
    unsafe {
        libc::pthread_atfork(
            Some(before_fork),
            Some(after_fork_in_parent),
            Some(after_fork_in_child),
        )
    };
    let config = config::get();
    if config.mode == Mode::Leaks {
        leaks::start();
    }
    kernel_writes::start();
    let by_module = reclaim::start();
    route::decide(config.mode == Mode::Leaks, by_module);
    STATE.store(STARTED, Ordering::Release);
}

unsafe extern "C" fn before_fork() {
    raw::fork::prepare();
}

unsafe extern "C" fn after_fork_in_parent() {
    raw::fork::parent();
}

unsafe extern "C" fn after_fork_in_child() {
    raw::fork::child();
    exec::note_process();
    reclaim::after_fork_in_child();
    leaks::after_fork_in_child();
    timers::after_fork_in_child();
}

extern "C" fn constructor() {
    first_use();
    signals::unblock();
    let config = config::get();
    if config.stats == StatsSink::Stderr
        || (config.mode == Mode::Leaks && config.leaks.file.is_none())
    {
        stderr::save();
    }
    leaks::constructor();
}

extern "C" fn destructor() {
    if leaks::is_on() {
        // Looking for leaks is a collection, which belongs in the trace.
        stats::report_at_exit();
        leaks::report_at_exit();
    }
    raw::at_exit();
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = destructor;
