//! Bad frees: what is said and what happens then.

use core::fmt;
use gc::config::{self, OnError};
use gc::message;
use gc::raw::{FreeError, Kind, Object};

/// Reports that `function` was called with `p`, which it cannot take, and aborts unless only warnings are asked for.
#[cold]
#[inline(never)]
pub fn report(function: &str, p: usize, error: FreeError) {
    let warn_only = config::get().on_error == OnError::Warn;
    let action = if warn_only {
        "ignored (DUNEGC_ON_ERROR=warn)"
    } else {
        "aborting"
    };
    match error {
        FreeError::Foreign => message!(
            "{function}({p:#x}): invalid pointer: the address is not in this heap nor in one of another allocator; {action}"
        ),
        FreeError::Interior(None) => message!(
            "{function}({p:#x}): invalid pointer: no block is allocated there: it was freed already, or there never was one; {action}"
        ),
        FreeError::Interior(Some(object)) => message!(
            "{function}({p:#x}): invalid pointer: {} bytes inside {}; expected its start; {action}",
            p - object.base,
            Describe(object)
        ),
        FreeError::DoubleFree(object) => message!(
            "{function}({p:#x}): double free: {} is free already; {action}",
            Describe(object)
        ),
    }
    if !warn_only {
        // SAFETY: abort may be called at any time.
        unsafe { libc::abort() }
    }
}

struct Describe(Object);

impl fmt::Display for Describe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0.kind {
            Kind::Malloc => "malloc'ed",
            Kind::Scan => "collected",
            Kind::Atomic => "collected pointer-free",
            Kind::Uncollectable => "uncollectable",
            Kind::AtomicUncollectable => "uncollectable pointer-free",
            _ => "collected described",
        };
        write!(
            f,
            "the {kind} block of {} bytes at {:#x}",
            self.0.size, self.0.base
        )
    }
}
