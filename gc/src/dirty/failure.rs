//! Why a source does not work.

use crate::sys::raw::Errno;
use core::fmt;

/// What failed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A system call or file, and its error.
    Call(&'static str, Errno),
    /// The kernel has the interface, but it does not do what it should.
    Wrong(&'static str),
    /// A seccomp filter kills the process that tries.
    Killed,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Call(what, errno) => write!(f, "{what}: {errno}"),
            Failure::Wrong(what) => f.write_str(what),
            Failure::Killed => f.write_str("a seccomp filter kills the process that tries"),
        }
    }
}
