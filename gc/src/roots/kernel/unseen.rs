//! What the kernel may hold and could not be asked for.

use core::fmt;
use core::ops::{BitOr, BitOrAssign};

/// A set of places where the kernel may hold pointers that could not be read. Displays as a list in words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unseen(u16);

impl Unseen {
    /// Everything was read.
    pub const NOTHING: Unseen = Unseen(0);
    /// `/proc` is not mounted or cannot be read.
    pub const PROC: Unseen = Unseen(1);
    /// No descriptor left to look with, also not up to the hard limit.
    pub const DESCRIPTORS: Unseen = Unseen(1 << 1);
    /// No memory to look with.
    pub const MEMORY: Unseen = Unseen(1 << 2);
    /// Unread data of a pipe or FIFO.
    pub const PIPE: Unseen = Unseen(1 << 3);
    /// Unread data of a socket.
    pub const SOCKET: Unseen = Unseen(1 << 4);
    /// Requests of an io_uring.
    pub const IO_URING: Unseen = Unseen(1 << 5);
    /// Requests of Linux AIO (`io_setup`).
    pub const AIO: Unseen = Unseen(1 << 6);
    /// Messages in a POSIX message queue, or what `mq_notify` registered.
    pub const MESSAGE_QUEUE: Unseen = Unseen(1 << 7);
    /// POSIX timers, on a kernel that does not list them.
    pub const TIMERS: Unseen = Unseen(1 << 8);

    const NAMES: [(Unseen, &str); 9] = [
        (Unseen::PROC, "/proc cannot be read"),
        (Unseen::DESCRIPTORS, "no file descriptor left"),
        (Unseen::MEMORY, "no memory"),
        (Unseen::PIPE, "unread data in a pipe"),
        (Unseen::SOCKET, "unread data in a socket"),
        (Unseen::IO_URING, "io_uring requests in flight"),
        (Unseen::AIO, "an AIO context"),
        (Unseen::MESSAGE_QUEUE, "a message queue"),
        (Unseen::TIMERS, "POSIX timers"),
    ];

    /// Everything was read.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// All of `other` is in the set.
    pub fn contains(self, other: Unseen) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is left without `other`, for a caller that knows of it by other means.
    pub fn without(self, other: Unseen) -> Unseen {
        Unseen(self.0 & !other.0)
    }
}

impl BitOr for Unseen {
    type Output = Unseen;
    fn bitor(self, other: Unseen) -> Unseen {
        Unseen(self.0 | other.0)
    }
}

impl BitOrAssign for Unseen {
    fn bitor_assign(&mut self, other: Unseen) {
        self.0 |= other.0;
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (_, name) in Self::NAMES.iter().filter(|(bit, _)| self.contains(*bit)) {
            write!(f, "{separator}{name}")?;
            separator = ", ";
        }
        if self.is_empty() {
            f.write_str("nothing")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn shows_what_is_in_it() {
        assert_eq!(Unseen::default().to_string(), "nothing");
        let mut u = Unseen::AIO;
        u |= Unseen::PROC;
        assert_eq!(u.to_string(), "/proc cannot be read, an AIO context");
        assert!(
            u.contains(Unseen::AIO) && !u.contains(Unseen::AIO | Unseen::PIPE) && !u.is_empty()
        );
        assert_eq!(u.without(Unseen::AIO | Unseen::PIPE), Unseen::PROC);
        let all = Unseen::NAMES
            .iter()
            .fold(Unseen::default(), |a, (b, _)| a | *b);
        assert_eq!(all.0.count_ones() as usize, Unseen::NAMES.len());
    }
}
