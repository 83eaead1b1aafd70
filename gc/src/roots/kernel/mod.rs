//! Pointers that only the kernel holds: what the program handed over and expects to get back.
//!
//! [`for_each_word`] looks, but takes nothing: data stay queued, flags and offsets stay as they are, nobody is woken with
//! anything to do, and every descriptor that it needs is closed again. What cannot be looked at is reported as
//! [`Unseen`], in which case no block may be taken for unreachable.
//!
//! `docs/kernel-held-pointers.md` says what is seen, how, and what is not.

mod descriptors;
mod epoll;
mod io_uring;
mod maps;
mod mqueue;
mod numbers;
mod os;
mod pipe;
mod socket;
mod timers;
mod unseen;
mod window;

use crate::sys::file::Errno;
use os::{Room, Scratch};
pub use unseen::Unseen;

/// Scratch memory of one pass: text of `/proc` and payloads go through it in pieces.
const SCRATCH: usize = 128 << 10;

/// What [`for_each_word`] found besides the words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelRoots {
    /// Words handed out; the same value may be handed out many times.
    pub words: u64,
    /// An io_uring has requests that were submitted and have not completed.
    pub io_uring_in_flight: bool,
    /// Where pointers may be that could not be read.
    pub unseen: Unseen,
}

impl KernelRoots {
    /// The kernel may hold pointers that were not handed out: nothing may be taken for unreachable.
    pub fn uncertain(&self) -> bool {
        !self.unseen.is_empty()
    }
}

/// Hands `emit` every pointer-like value that the kernel holds for this process and that can be read: data of epoll
/// entries, values of POSIX timers, unread bytes in pipes, FIFOs, Unix sockets and loopback TCP connections (a word at
/// every byte offset), and what io_uring keeps.
///
/// To be called with all other threads stopped and signals blocked: it opens and closes descriptors, and it moves the
/// peek offset of sockets and puts it back. It neither allocates nor takes a lock of libc, leaves `errno` alone and uses less
/// than 16 KiB of stack.
pub fn for_each_word(emit: &mut dyn FnMut(usize)) -> KernelRoots {
    let mut words = 0;
    let mut counting = |w| {
        words += 1;
        emit(w);
    };
    let mut pass = Pass {
        emit: &mut counting,
        found: KernelRoots::default(),
        room: Room::default(),
    };
    match Scratch::map(SCRATCH) {
        Ok(mut scratch) => pass.run(scratch.bytes()),
        Err(_) => pass.found.unseen |= Unseen::MEMORY,
    }
    let found = pass.found;
    drop(pass);
    KernelRoots { words, ..found }
}

/// One pass over everything that the kernel holds.
struct Pass<'e> {
    emit: &'e mut dyn FnMut(usize),
    found: KernelRoots,
    room: Room,
}

impl Pass<'_> {
    fn run(&mut self, scratch: &mut [u8]) {
        let mut rings = io_uring::Rings::default();
        maps::read(self, scratch, &mut rings);
        timers::read(self, scratch);
        descriptors::read(self, scratch, &mut rings);
        if rings.orphan() {
            // A ring whose descriptor was closed: it works on, but nothing tells what it holds.
            self.found.unseen |= Unseen::IO_URING;
        }
    }

    /// Notes that `what` could not be read because of `why`.
    fn missed(&mut self, what: Unseen, why: Errno) {
        self.found.unseen |= match why.0 {
            libc::EMFILE | libc::ENFILE => Unseen::DESCRIPTORS,
            libc::ENOMEM => Unseen::MEMORY,
            _ => what,
        };
    }
}
