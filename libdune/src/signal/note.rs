//! A signal that arrived for a thread in guest mode and that its handler has not seen yet.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering::*};

/// What the kernel says of a signal, and of the exception that caused it.
#[derive(Clone, Copy)]
pub struct Arrived {
    /// `siginfo_t`.
    pub info: [u64; 16],
    /// `err`, `trapno`, `oldmask` and `cr2` of the kernel's context.
    pub cause: [u64; 4],
}

impl Arrived {
    /// Its number.
    pub fn signal(&self) -> i32 {
        self.info[0] as i32
    }
}

/// Room for one. The thread's shim fills it and blocks every signal; its run loop empties it and unblocks them.
pub struct Note {
    /// Read by `dune_call_safely`.
    set: AtomicBool,
    arrived: UnsafeCell<Arrived>,
}

// SAFETY: used by one thread only; between its shim and its run loop, `set` says whose turn it is.
unsafe impl Sync for Note {}

impl Note {
    /// Nothing has arrived.
    pub const fn new() -> Note {
        Note {
            set: AtomicBool::new(false),
            arrived: UnsafeCell::new(Arrived {
                info: [0; 16],
                cause: [0; 4],
            }),
        }
    }

    /// Notes a signal. Only by the shim, with every signal blocked from here on.
    pub fn put(&self, arrived: Arrived) {
        // SAFETY: `set` is false, so the run loop does not read; the shim is not interrupted by another.
        unsafe { *self.arrived.get() = arrived };
        self.set.store(true, Release);
    }

    /// Whether something has arrived.
    pub fn is_set(&self) -> bool {
        self.set.load(Acquire)
    }

    /// What has arrived. Signals are blocked if this is not `None`, until the caller unblocks them.
    pub fn take(&self) -> Option<Arrived> {
        self.is_set().then(|| {
            // SAFETY: `set` is true, so the shim has written and blocked every signal: it does not write now.
            let arrived = unsafe { *self.arrived.get() };
            self.set.store(false, Release);
            arrived
        })
    }

    /// The address of the byte that says whether something has arrived.
    pub fn flag(&self) -> u64 {
        self.set.as_ptr() as u64
    }
}
