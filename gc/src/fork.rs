//! The fork protocol as often as it is registered: with libc both by this crate and by a library that embeds it. The
//! outermost calls count.

use crate::{dirty, heap};
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};

/// The thread that is forking, 0 for none.
static FORKING: AtomicI32 = AtomicI32::new(0);
/// Calls of [`prepare`] by it. Used by that thread only.
static DEPTH: AtomicU32 = AtomicU32::new(0);

/// Before the fork: takes every lock of the collector; no collection is running on return.
pub fn prepare() {
    // SAFETY: no preconditions.
    let me = unsafe { libc::syscall(libc::SYS_gettid) } as i32;
    if FORKING.load(Relaxed) == me {
        DEPTH.fetch_add(1, Relaxed);
        return;
    }
    heap::fork::prepare();
    dirty::before_fork();
    FORKING.store(me, Relaxed);
    DEPTH.store(1, Relaxed);
}

/// After it in the parent.
pub fn parent() {
    if last() {
        // SAFETY: this thread, or the one that it is a copy of, took the lock in `prepare`.
        unsafe { dirty::after_fork() };
        heap::fork::parent();
    }
}

/// After it in the child, where the calling thread is the only one; the others' caches are recovered.
pub fn child() {
    if last() {
        // SAFETY: this thread, or the one that it is a copy of, took the lock in `prepare`.
        unsafe { dirty::after_fork() };
        dirty::after_fork_child();
        heap::fork::child();
    }
}

/// Ends one [`prepare`]; true if it was the outermost.
fn last() -> bool {
    let outermost = DEPTH.fetch_sub(1, Relaxed) == 1;
    if outermost {
        FORKING.store(0, Relaxed);
    }
    outermost
}
