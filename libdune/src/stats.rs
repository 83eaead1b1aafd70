//! Counts of what happened.

use core::sync::atomic::{AtomicU64, Ordering::*};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since guest mode was first entered.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats { $($(#[$doc])* pub $name: u64,)* }

        /// The counters themselves.
        #[derive(Default)]
        pub struct Counters { $(pub $name: AtomicU64,)* }

        impl Counters {
            /// Their values now.
            pub fn read(&self) -> Stats {
                Stats { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Exits for a system call of the program.
    system_calls,
    /// Exits for a page that the tables did not know yet.
    fills,
    /// Exits for exceptions that the program does not handle; each leaves to native execution.
    exceptions,
    /// Exits because the process may not do what the guest tried; each leaves to native execution.
    refused,
    /// Exits because a signal arrived or another thread wanted a flush.
    interrupted,
    /// Exceptions that a handler of the program's, or the watch on writes, has dealt with: no exits.
    faults,
    /// Exits for calls of the library.
    calls,
    /// Flushes of a vCPU for another one.
    flushes,
    /// Threads that entered.
    enters,
    /// Threads that left, for any reason.
    leaves,
}

impl Stats {
    /// All exits.
    pub fn exits(&self) -> u64 {
        self.system_calls
            + self.fills
            + self.exceptions
            + self.refused
            + self.interrupted
            + self.calls
    }
}

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
