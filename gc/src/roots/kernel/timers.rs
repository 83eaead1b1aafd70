//! Values of POSIX timers (`sigev_value`), from `/proc/self/timers`.

use super::os::{self, call};
use super::{Pass, Unseen};
use crate::sys::file::Errno;

/// Timer ids that are tried on a kernel that does not list timers; ids count up from 0.
const PROBED: usize = 256;

pub(super) fn read(pass: &mut Pass<'_>, scratch: &mut [u8]) {
    let read = pass.room.open(c"/proc/self/timers", 0).and_then(|fd| {
        os::lines(&fd, scratch, |line| {
            if let Some(value) = value(line) {
                (pass.emit)(value);
            }
        })
    });
    match read {
        Ok(()) => {}
        // A kernel without CONFIG_CHECKPOINT_RESTORE. (Without /proc, too, which other passes report.)
        Err(Errno(libc::ENOENT)) => {
            if (0..PROBED).any(exists) {
                pass.found.unseen |= Unseen::TIMERS;
            }
        }
        Err(e) => pass.missed(Unseen::TIMERS, e),
    }
}

/// The value in a line `signal: NUMBER/VALUE`, which is in hex.
fn value(line: &[u8]) -> Option<usize> {
    let value = os::after(line.strip_prefix(b"signal:")?, b"/")?;
    Some(os::number(value, 16)? as usize)
}

/// The process has a timer of this id.
fn exists(id: usize) -> bool {
    // SAFETY: asks for a counter by value and touches no memory.
    unsafe { call(libc::SYS_timer_getoverrun, [id, 0, 0, 0, 0, 0]) }.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_file() {
        assert_eq!(
            value(b"signal: 34/00007f0012345678"),
            Some(0x7f00_1234_5678)
        );
        assert_eq!(value(b"signal: 0/ffffffffffffffff"), Some(usize::MAX));
        for other in [
            &b"ID: 1"[..],
            b"notify: signal/pid.2634",
            b"ClockID: 0",
            b"signal:",
            b"signal: 3",
        ] {
            assert_eq!(value(other), None);
        }
    }
}
