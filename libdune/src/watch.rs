//! What an observer of dirty bits must know: who writes to memory without setting any.
//!
//! Threads in the guest set them. The kernel does not when it writes for a system call, so the run loop marks what it wrote (`crate::written`). What
//! nobody can mark is counted: the observer then takes everything for written.

use crate::arch::address::{PAGE, Range, USER_END};
use crate::arch::pte::Value;
use crate::process::Process;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};

/// Counts of writes that no dirty bit shows.
pub struct Watch {
    /// Somebody relies on dirty bits: what system calls write is marked.
    on: AtomicBool,
    /// Somebody takes rights to write to learn of writes, or once did.
    rights: AtomicBool,
    /// Threads that run natively now, after they were in the guest.
    natives: AtomicU32,
    /// Rises when anything may have been written unseen.
    unseen: AtomicU64,
    /// The kernel may write at any time from now on.
    lasting: AtomicBool,
}

impl Watch {
    /// Nobody relies on dirty bits.
    pub const fn new() -> Watch {
        Watch {
            on: AtomicBool::new(false),
            rights: AtomicBool::new(false),
            natives: AtomicU32::new(0),
            unseen: AtomicU64::new(0),
            lasting: AtomicBool::new(false),
        }
    }

    /// A thread is about to go on natively.
    pub fn left(&self) {
        self.natives.fetch_add(1, SeqCst);
        self.unseen.fetch_add(1, SeqCst);
    }

    /// It is in the guest again, or has ended.
    pub fn came_back(&self) {
        self.unseen.fetch_add(1, SeqCst);
        self.natives.fetch_sub(1, SeqCst);
    }

    /// Anything may have been written.
    pub fn anything(&self) {
        self.unseen.fetch_add(1, SeqCst);
    }

    /// Anything may be written from now on, at any time.
    pub fn anything_any_time(&self) {
        self.lasting.store(true, SeqCst);
        self.anything();
    }

    /// Whether somebody relies on dirty bits.
    pub fn is_on(&self) -> bool {
        self.on.load(SeqCst)
    }

    /// Somebody does from now on, or nobody.
    pub fn set(&self, on: bool) {
        self.on.store(on, SeqCst);
    }

    /// Whether rights to write were ever taken by [`crate::arch::pte::Entry::watch`].
    pub fn takes_rights(&self) -> bool {
        self.rights.load(SeqCst)
    }

    /// They will be; whether that is new.
    pub fn take_rights(&self) -> bool {
        !self.rights.swap(true, SeqCst)
    }

    /// A number that changes when anything may have been written unseen; `None` while that is always so.
    pub fn unseen(&self) -> Option<u64> {
        let steady = self.natives.load(SeqCst) == 0 && !self.lasting.load(SeqCst);
        steady.then(|| self.unseen.load(SeqCst))
    }
}

impl Process {
    /// The kernel or the run loop has written `start..start + len`, or some of it: its pages count as written if somebody relies on that.
    pub fn wrote(&self, start: u64, len: u64) {
        let end = start.saturating_add(len).min(USER_END);
        if !self.watch.is_on() || start >= end {
            return;
        }
        let range = Range::covering(start, end);
        let mut at = range.start;
        while at < range.end {
            let entry = self.view.entry(at);
            if !entry.is_some_and(|e| e.load() != Value::EMPTY && e.mark()) {
                // Pages that the tables do not know count as written when they do. Where nothing is mapped, nothing was written.
                let page = Range::covering(at, at + PAGE);
                if self.fill_mapped(page).is_err() {
                    self.watch.anything();
                }
            }
            at += PAGE;
        }
    }
}
