//! The program can neither block, wait for, ignore nor replace the signal that stops threads for a collection.
//!
//! As libc does for its own two signals, the stop signal is taken out of every set that goes to the kernel, and a handler
//! for it is remembered but not installed. Everything else goes unchanged to the next definition.

mod disposition;
mod filters;
mod masks;
mod waits;

pub use disposition::sigaction;
pub use masks::pthread_sigmask;

use core::ffi::c_int;

use gc::config;
use gc::dirty::in_kernel;

/// The stop signal.
#[inline]
pub fn stop_signal() -> c_int {
    config::get().stop_signal()
}

/// The signals that must reach the collector as the kernel's set.
pub fn never_blocked() -> u64 {
    let faults = u64::from(in_kernel::is_needed()) << (libc::SIGSEGV - 1);
    1 << (stop_signal() - 1) | faults
}

/// Takes out what must reach the collector: the stop signal, and SIGSEGV where faults tell it what is written.
fn strip(set: &mut libc::sigset_t) {
    // SAFETY: a valid set; a number out of range is refused without effect.
    unsafe { libc::sigdelset(set, stop_signal()) };
    if in_kernel::is_needed() {
        // SAFETY: as above.
        unsafe { libc::sigdelset(set, libc::SIGSEGV) };
    }
}

/// A copy of `*set` without the stop signal, to be passed on in its place; null stays null.
struct Stripped {
    set: libc::sigset_t,
    present: bool,
}

impl Stripped {
    /// # Safety
    /// `set` is null or readable.
    unsafe fn new(set: *const libc::sigset_t) -> Stripped {
        if set.is_null() {
            // SAFETY: a set is plain words; all zero is the empty one.
            let set = unsafe { core::mem::zeroed() };
            return Stripped {
                set,
                present: false,
            };
        }
        // SAFETY: by the caller's contract.
        let mut copy = unsafe { *set };
        strip(&mut copy);
        Stripped {
            set: copy,
            present: true,
        }
    }

    fn as_ptr(&self) -> *const libc::sigset_t {
        if self.present {
            &self.set
        } else {
            core::ptr::null()
        }
    }
}

/// Lets the stop signal through, should the process have been started with it blocked.
pub fn unblock() {
    // SAFETY: a set is plain words; all zero is the empty one.
    let mut set: libc::sigset_t = unsafe { core::mem::zeroed() };
    // SAFETY: a valid set; a number out of range is refused without effect.
    unsafe { libc::sigaddset(&mut set, stop_signal()) };
    if let Some(next) = masks::NEXT_PTHREAD_SIGMASK.get() {
        // SAFETY: a valid set; no old set is asked for.
        unsafe { next(libc::SIG_UNBLOCK, &set, core::ptr::null_mut()) };
    }
}

/// Fails with `ENOSYS`: no library behind this one has the function.
#[cold]
fn missing() -> c_int {
    crate::errno::set(libc::ENOSYS);
    -1
}
