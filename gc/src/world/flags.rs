//! What a thread tells the stop signal's handler.
use super::state::STATE;
use crate::sys::raw::gettid;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::*};

/// One per thread, reached through the thread's own thread-local storage. Only the thread itself and its signal handlers
/// write it, so plain (relaxed) accesses with compiler fences are enough.
///
/// Entering a critical section: `depth += 1`. Leaving: `depth -= 1`; then, if `depth == 0` and `pending != 0`, store 0
/// in `pending` and call [`park_self`](super::park_self). A thread inside is not stopped; it stops when it leaves.
#[repr(C)]
pub struct CriticalFlags {
    /// Nesting of critical sections.
    pub depth: AtomicU32,
    /// Set by the handler: a stop waits for this thread.
    pub pending: AtomicU32,
    /// The owner's thread id; the other fields count only for that thread. A raw clone without TLS of its own sees its
    /// creator's flags: this keeps them apart. 0: the fields are not used.
    pub tid: AtomicU32,
    /// Lowest address of the thread's stack, 0 if unknown; set by [`note_stack_bounds`].
    pub stack_lo: AtomicUsize,
    /// Address behind the thread's stack.
    pub stack_hi: AtomicUsize,
    /// Address behind the stack on which the thread said that it goes on, 0 if it said nothing; set by [`note_stack_end`].
    pub stack_end: AtomicUsize,
}

impl CriticalFlags {
    /// Flags of no thread.
    pub const fn new() -> Self {
        CriticalFlags {
            depth: AtomicU32::new(0),
            pending: AtomicU32::new(0),
            tid: AtomicU32::new(0),
            stack_lo: AtomicUsize::new(0),
            stack_hi: AtomicUsize::new(0),
            stack_end: AtomicUsize::new(0),
        }
    }

    /// Gives the flags to thread `tid`, before its thread-local storage leads to them.
    pub fn adopt(&self, tid: u32) {
        self.pending.store(0, Relaxed);
        self.stack_lo.store(0, Relaxed);
        self.stack_hi.store(0, Relaxed);
        self.stack_end.store(0, Relaxed);
        self.tid.store(tid, Relaxed);
    }

    /// Stack bounds, (0, 0) if unknown.
    pub(super) fn stack(&self) -> (usize, usize) {
        (self.stack_lo.load(Relaxed), self.stack_hi.load(Relaxed))
    }
}

impl Default for CriticalFlags {
    fn default() -> Self {
        Self::new()
    }
}

/// The flags of the calling thread, if it has its own.
pub(super) fn of_thread(tid: i32) -> Option<&'static CriticalFlags> {
    let f = STATE.flags_fn.load(Acquire);
    if f == 0 {
        return None;
    }
    // SAFETY: only `init` stores here, and it stores a `fn() -> *const CriticalFlags`.
    let f: fn() -> *const CriticalFlags = unsafe { core::mem::transmute(f) };
    // SAFETY: the configuration promises null or a pointer to the thread's flags, which live as long as the thread runs.
    let flags = unsafe { f().as_ref() }?;
    (flags.tid.load(Relaxed) == tid as u32).then_some(flags)
}

/// The calling thread is about to go on on another stack, whose end this is: from here on all of the mapping below it counts, wherever the stack
/// pointer leads. Without effect if the thread has no [`CriticalFlags`] with its own `tid`.
pub fn note_stack_end(end: usize) {
    if let Some(flags) = of_thread(gettid()) {
        flags.stack_end.store(end, Relaxed);
    }
}

/// Records the calling thread's stack (as pthread_getattr_np gives it), so that only the part in use is scanned. False
/// when the thread has no [`CriticalFlags`] with its own `tid`; then the whole mapping counts as stack.
pub fn note_stack_bounds(lo: usize, hi: usize) -> bool {
    let Some(flags) = of_thread(gettid()) else {
        return false;
    };
    // A stop in between sees lo = 0, unknown.
    flags.stack_lo.store(0, Relaxed);
    core::sync::atomic::compiler_fence(SeqCst);
    flags.stack_hi.store(hi, Relaxed);
    core::sync::atomic::compiler_fence(SeqCst);
    flags.stack_lo.store(lo, Relaxed);
    true
}
