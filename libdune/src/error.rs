//! Why something was refused.

use core::fmt;

/// Why something was refused. Every message names the thing, and the number that Linux gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A system call of the engine failed: what was tried, and errno.
    System(&'static str, i32),
    /// The machine or the kernel lacks something.
    Missing(&'static str),
    /// The engine's self-test found this.
    SelfTest(&'static str),
    /// All memory slots of the engine are in use: their number.
    SlotLimit(u32),
    /// No memory for page tables, or more than the limit for locked memory.
    TablesFull,
    /// The process, or this thread, is in guest mode already.
    Entered,
    /// This thread is not in guest mode.
    NotEntered,
    /// The range is empty, not on page boundaries, or not in user space.
    BadRange,
    /// More threads than [`crate::Config::threads`].
    Threads(u32),
    /// The process uses what guest mode does not support: a signal handler, a filter of system calls …
    Unsupported(&'static str),
    /// The guest stopped in a way that was not expected: a number of the engine.
    Exit(u32),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::System(what, errno) => write!(f, "{what}: {}", Errno(errno)),
            Error::Missing(what) => write!(f, "{what} is missing"),
            Error::SelfTest(what) => write!(f, "self-test: {what}"),
            Error::SlotLimit(n) => write!(f, "all {n} memory slots are in use"),
            Error::TablesFull => f.write_str("no memory for page tables"),
            Error::Entered => f.write_str("already in guest mode"),
            Error::NotEntered => f.write_str("not in guest mode"),
            Error::BadRange => f.write_str("not a range of whole pages of user space"),
            Error::Threads(n) => write!(f, "more than {n} threads"),
            Error::Unsupported(what) => write!(f, "not supported in guest mode: {what}"),
            Error::Exit(n) => write!(f, "the guest stopped for reason {n}, which is not expected"),
        }
    }
}

impl core::error::Error for Error {}

/// An error number with the name that matters here.
struct Errno(i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            libc::ENOENT => "no such file (ENOENT)",
            libc::EACCES => "permission denied (EACCES)",
            libc::EPERM => "not permitted (EPERM)",
            libc::ENOMEM => "no memory (ENOMEM)",
            libc::EBUSY => "in use (EBUSY)",
            libc::ENODEV => "no such device (ENODEV)",
            libc::ENXIO => "no such device (ENXIO)",
            libc::EMFILE => "no file descriptor left (EMFILE)",
            libc::ENOSYS => "not implemented (ENOSYS)",
            libc::EIO => "input/output error (EIO)",
            n => return write!(f, "error {n}"),
        };
        f.write_str(name)
    }
}
