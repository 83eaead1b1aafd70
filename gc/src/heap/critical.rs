//! Critical sections: stretches in which the thread must not be stopped, because it holds locks or has metadata in
//! flux. Two plain stores; a stop signal that arrives inside is answered when the section ends.

use super::thread::ThreadHeap;
use core::sync::atomic::{Ordering::Relaxed, compiler_fence};

/// Begins a section (they nest).
#[inline(always)]
pub fn enter(heap: &ThreadHeap) {
    heap.flags
        .depth
        .store(heap.flags.depth.load(Relaxed) + 1, Relaxed);
    compiler_fence(core::sync::atomic::Ordering::SeqCst);
}

/// Ends a section; stops here if a stop was put off.
#[inline(always)]
pub fn leave(heap: &ThreadHeap) {
    compiler_fence(core::sync::atomic::Ordering::SeqCst);
    let depth = heap.flags.depth.load(Relaxed) - 1;
    heap.flags.depth.store(depth, Relaxed);
    compiler_fence(core::sync::atomic::Ordering::SeqCst);
    if depth == 0 && heap.flags.pending.load(Relaxed) != 0 {
        heap.flags.pending.store(0, Relaxed);
        park();
    }
}

/// Answers a stop request.
#[cold]
#[inline(never)]
pub fn park() {
    crate::world::park_self();
}

/// Runs `f` in a critical section of the calling thread. For a thread without a heap, which has no flags that the stop
/// signal's handler could look at, signals are blocked instead.
pub fn with<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: the thread-local leads to the empty heap or one in the arena; both live for ever.
    let heap = unsafe { &*crate::sys::tls::get() };
    if heap.is_empty_heap() {
        return without_signals(f);
    }
    enter(heap);
    let r = f();
    leave(heap);
    r
}

/// Runs `f` with every signal blocked: the thread cannot be stopped meanwhile.
pub fn without_signals<R>(f: impl FnOnce() -> R) -> R {
    let mask = crate::sys::signal::set_mask(!0);
    let r = f();
    crate::sys::signal::set_mask(mask);
    r
}
