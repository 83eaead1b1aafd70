//! What happens at the first use, and when the process ends.

use core::sync::atomic::{AtomicU8, Ordering};

use crate::{collect, env, events, finalize, heap, roots, threads, vars};
use dunegc::{raw, stats, trace};

const NOT_STARTED: u8 = 0;
const STARTING: u8 = 1;
const STARTED: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(NOT_STARTED);

/// Runs once, in `GC_init` or at the first allocation. Returns at once if it is under way.
#[inline]
pub fn first_use() {
    if STATE.load(Ordering::Acquire) != STARTED {
        start();
    }
}

/// [`first_use`] has been called.
pub fn is_started() -> bool {
    STATE.load(Ordering::Acquire) == STARTED
}

#[cold]
fn start() {
    if STATE
        .compare_exchange(NOT_STARTED, STARTING, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        return;
    }
    env::read();
    events::start();
    roots::start();
    roots::prepare();
    // SAFETY: the three functions may be called at any time in that order.
    unsafe {
        libc::pthread_atfork(
            Some(before_fork),
            Some(after_fork_in_parent),
            Some(after_fork_in_child),
        )
    };
    let (lo, hi) = raw::plausible();
    vars::GC_least_plausible_heap_addr.store(lo, Ordering::Relaxed);
    vars::GC_greatest_plausible_heap_addr.store(hi, Ordering::Relaxed);
    threads::start();
    finalize::start();
    STATE.store(STARTED, Ordering::Release);
    if env::initial_heap() > 0 {
        heap::GC_expand_hp(env::initial_heap());
    }
}

unsafe extern "C" fn before_fork() {
    threads::before_fork();
    raw::fork::prepare();
}

unsafe extern "C" fn after_fork_in_parent() {
    raw::fork::parent();
    threads::after_fork();
}

unsafe extern "C" fn after_fork_in_child() {
    raw::fork::child();
    threads::after_fork();
}

extern "C" fn destructor() {
    if is_started() {
        if vars::GC_find_leak.load(Ordering::Relaxed) != 0 {
            collect::collect();
        }
        stats::report_at_exit();
        trace::finish();
    }
}

#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = destructor;

/// Prepares the collector. The first allocation does it too.
#[unsafe(no_mangle)]
pub extern "C" fn GC_init() {
    first_use();
}

/// 1 once the collector is prepared.
#[unsafe(no_mangle)]
pub extern "C" fn GC_is_init_called() -> core::ffi::c_int {
    is_started().into()
}

/// Undoes nothing: objects stay usable until the process ends.
#[unsafe(no_mangle)]
pub extern "C" fn GC_deinit() {}
