//! The heap across `fork`: every lock is taken before, so that the child finds no list in the middle of a change.

use super::{alloc, central, critical, registry, runs, sweep};
use crate::mark::packet;
use crate::{cycle, disclaim, finalize, links, pins, toggle, trace, world};
use core::sync::atomic::Ordering::Relaxed;

/// Before the fork.
pub fn prepare() {
    super::init();
    // Outside a critical section: a collection of another thread may be waited for, and stops this one.
    cycle::lock_for_fork().acquire();
    // Nor is a table of roots in the middle of a change.
    world::before_fork();
    let heap = alloc::current();
    if !heap.is_empty_heap() {
        critical::enter(heap);
    }
    sweep::finish();
    finalize::lock_for_fork().acquire();
    links::lock_for_fork().acquire();
    toggle::lock_for_fork().acquire();
    disclaim::lock_for_fork().acquire();
    pins::lock_for_fork().acquire();
    packet::acquire();
    registry::lock_for_fork().acquire();
    central::acquire_all();
    runs::lock_for_fork().acquire();
}

/// In the parent.
pub fn parent() {
    // SAFETY: this thread took the locks in `prepare`.
    unsafe { unlock() };
    let heap = alloc::current();
    if !heap.is_empty_heap() {
        critical::leave(heap);
    }
    world::after_fork_parent();
    trace::after_fork_parent();
}

/// In the child, where only the calling thread is left.
pub fn child() {
    // SAFETY: the parent's thread, of which this is the copy, took the locks in `prepare`.
    unsafe { unlock() };
    cycle::after_fork_child();
    trace::after_fork_child();
    sweep::after_fork_child();
    let heap = alloc::current();
    if !heap.is_empty_heap() {
        // SAFETY: gettid has no preconditions.
        let tid = unsafe { libc::syscall(libc::SYS_gettid) } as u32;
        heap.tid.store(tid, Relaxed);
        heap.flags.tid.store(tid, Relaxed);
    }
    registry::retire_others();
    if !heap.is_empty_heap() {
        critical::leave(heap);
    }
}

/// # Safety
/// After `prepare`, once, in the thread that called it or its copy in the child.
unsafe fn unlock() {
    // SAFETY: by this function's contract the locks are held.
    unsafe {
        runs::lock_for_fork().release();
        central::release_all();
        registry::lock_for_fork().release();
        packet::release();
        pins::lock_for_fork().release();
        disclaim::lock_for_fork().release();
        toggle::lock_for_fork().release();
        links::lock_for_fork().release();
        finalize::lock_for_fork().release();
        cycle::lock_for_fork().release();
    }
}
