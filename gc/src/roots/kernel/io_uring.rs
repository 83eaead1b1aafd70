//! io_uring: what waits in the rings is seen in their mappings and in the descriptor's `fdinfo`; requests in flight are
//! known to the kernel alone, and it does not tell their `user_data`.
//!
//! A request is still visible in its slot of the submission queue until the slot is used again. So as long as a ring has
//! taken no more requests than it has slots, everything in flight has been seen. After that it is seen only that nothing is in
//! flight: as many completions as requests, and none armed (`PollList`).

use super::descriptors::fdinfo;
use super::os::{after, call, number};
use super::{Pass, Unseen, os};
use crate::sys::file::Errno;

/// Rings told apart; with more, a mapping that no descriptor belongs to is not noticed as such but taken for one.
const RINGS: usize = 64;

/// Attempts to catch a ring while its polling thread (`IORING_SETUP_SQPOLL`) does not hold its lock.
const ATTEMPTS: usize = 64;

/// A completion with more to come for the same request (`IORING_CQE_F_MORE`).
const MORE: u64 = 1 << 1;

/// The rings with a mapping, by inode number.
pub(super) struct Rings {
    inodes: [u64; RINGS],
    len: usize,
    too_many: bool,
}

impl Default for Rings {
    fn default() -> Self {
        Rings {
            inodes: [0; RINGS],
            len: 0,
            too_many: false,
        }
    }
}

impl Rings {
    /// There is a mapping of the ring with this inode.
    pub(super) fn mapped(&mut self, inode: u64) {
        if self.inodes[..self.len].contains(&inode) {
        } else if self.len == RINGS {
            self.too_many = true;
        } else {
            self.inodes[self.len] = inode;
            self.len += 1;
        }
    }

    /// There is a descriptor of the ring with this inode.
    pub(super) fn opened(&mut self, inode: u64) {
        if let Some(at) = self.inodes[..self.len].iter().position(|i| *i == inode) {
            self.len -= 1;
            self.inodes[at] = self.inodes[self.len];
        }
    }

    /// A mapped ring has no descriptor.
    pub(super) fn orphan(&self) -> bool {
        self.len != 0 || self.too_many
    }
}

/// What `fdinfo` says of a ring.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
struct State {
    /// Slots of the submission queue minus one.
    mask: Option<u32>,
    /// Requests taken, modulo 2³².
    taken: Option<u32>,
    /// Completions posted to the ring, modulo 2³².
    posted: Option<u32>,
    /// Completions that wait for room in the ring.
    overflowed: u32,
    /// Requests that wait for an event or will complete again.
    armed: u32,
    section: Section,
}

/// Part of the file in which lines mean something only there.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
enum Section {
    #[default]
    Other,
    Buffers,
    Armed,
    Overflowed,
}

/// What is known of the requests in flight.
#[derive(Debug, PartialEq, Eq)]
enum Flight {
    /// None.
    None,
    /// Some, all of which are still in their slots.
    Visible,
    /// Some that may not be visible.
    Hidden,
}

impl State {
    fn line(&mut self, line: &[u8], emit: &mut dyn FnMut(usize)) {
        let mut word = |text: Option<&[u8]>, radix| {
            if let Some(value) = text.and_then(|t| number(t, radix)) {
                emit(value as usize);
            }
        };
        word(after(line, b"user_data:"), 10);
        word(after(line, b"addr:"), 16);
        if after(line, b"flag:")
            .and_then(|t| number(t, 16))
            .is_some_and(|flags| flags & MORE != 0)
        {
            self.armed += 1;
        }
        if !line.first().is_some_and(u8::is_ascii_uppercase) {
            match self.section {
                // "    0: 0xADDRESS/LENGTH"
                Section::Buffers => word(after(line, b": 0x"), 16),
                Section::Armed => self.armed += u32::from(after(line, b"op=").is_some()),
                Section::Overflowed => {
                    word(after(line, b"user_data="), 10);
                    self.overflowed += u32::from(after(line, b"user_data=").is_some());
                }
                Section::Other => {}
            }
            return;
        }
        let field =
            |key: &[u8], radix| after(line.strip_prefix(key)?, b":").and_then(|t| number(t, radix));
        if let Some(n) = field(b"SqMask", 16) {
            self.mask = Some(n as u32);
        } else if let Some(n) = field(b"CachedSqHead", 10) {
            self.taken = Some(n as u32);
        } else if let Some(n) = field(b"CachedCqTail", 10) {
            self.posted = Some(n as u32);
        }
        self.section = match line {
            l if l.starts_with(b"UserBufs:") => Section::Buffers,
            l if l.starts_with(b"PollList:") => Section::Armed,
            l if l.starts_with(b"CqOverflowList:") => Section::Overflowed,
            _ => Section::Other,
        };
    }

    /// None if the kernel does not tell.
    fn flight(&self) -> Option<Flight> {
        let (mask, taken, posted) = (self.mask?, self.taken?, self.posted?);
        let open = taken.wrapping_sub(posted.wrapping_add(self.overflowed));
        Some(if open == 0 && self.armed == 0 {
            Flight::None
        } else if taken <= mask.saturating_add(1) {
            Flight::Visible
        } else {
            Flight::Hidden
        })
    }
}

/// Reads the ring of descriptor `fd`. The mappings have been read.
pub(super) fn read(pass: &mut Pass<'_>, fd: i32, scratch: &mut [u8]) {
    for _ in 0..ATTEMPTS {
        match state(pass, fd, scratch) {
            Err(e) => return pass.missed(Unseen::IO_URING, e),
            Ok(state) => {
                if let Some(flight) = state.flight() {
                    pass.found.io_uring_in_flight |= flight != Flight::None;
                    if flight == Flight::Hidden {
                        pass.found.unseen |= Unseen::IO_URING;
                    }
                    return;
                }
            }
        }
        // The file is empty while the ring's lock is taken.
        // SAFETY: takes no arguments.
        let _ = unsafe { call(libc::SYS_sched_yield, [0; 6]) };
    }
    pass.found.io_uring_in_flight = true;
    pass.found.unseen |= Unseen::IO_URING;
}

fn state(pass: &mut Pass<'_>, fd: i32, scratch: &mut [u8]) -> Result<State, Errno> {
    let mut state = State::default();
    let info = fdinfo(&mut pass.room, fd)?;
    os::lines(&info, scratch, |line| state.line(line, pass.emit))?;
    Ok(state)
}

#[cfg(test)]
mod tests;
