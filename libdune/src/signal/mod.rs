//! Signals of a program that knows nothing of guest mode ([`crate::Config::whole`]).
//!
//! The kernel knows one handler, the *shim*. The program's own actions lie in a table here. On a thread in guest mode, the shim interrupts the run loop: it notes the
//! signal, and the run loop has the guest begin the program's handler, on a frame like the kernel's. On any other thread it calls the program's handler
//! as the kernel would have.

pub mod action;
pub mod frame;
pub mod note;
pub mod shim;

/// A signal's bit in a set.
pub const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Signals that cannot be blocked.
pub const NEVER_BLOCKED: u64 = bit(libc::SIGKILL) | bit(libc::SIGSTOP);
