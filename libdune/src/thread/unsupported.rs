//! What cannot be done in guest mode for a program that knows nothing of it ([`crate::Config::whole`]). Before the first such system call all
//! threads leave, for good; the call itself is then made natively, where it was made.

use super::{Record, Thread};
use crate::arch::registers::Registers;
use crate::error::Error;
use crate::sys;
use core::sync::atomic::Ordering::*;

/// Signals that a thread causes itself: it has left before the handler runs. And the one by which libc changes user ids in all threads, whose handler looks
/// at nothing.
const HARMLESS: [i32; 6] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    33,
];

/// A handler would see the run loop's registers instead of the program's.
fn handler_matters(signal: i32, handler: u64) -> bool {
    handler > 1 && !HARMLESS.contains(&signal)
}

/// Whether a system call ends guest mode.
pub(super) fn ends(number: i64, args: &[u64; 6]) -> bool {
    match number {
        libc::SYS_rt_sigaction => {
            let mut handler = 0u64;
            let readable = args[1] != 0 && sys::read(args[1], &mut handler);
            readable && handler_matters(args[0] as i32, handler)
        }
        // The run loop's own calls would be filtered too, or its memory is moved.
        libc::SYS_prctl => matches!(args[0], 22 | 35 | 59),
        libc::SYS_seccomp
        | libc::SYS_ptrace
        | libc::SYS_modify_ldt
        | libc::SYS_iopl
        | libc::SYS_ioperm
        | libc::SYS_pkey_alloc
        | libc::SYS_remap_file_pages
        | libc::SYS_userfaultfd => true,
        _ => false,
    }
}

/// Whether the process may enter as it is.
///
/// # Errors
/// It has a signal handler already.
pub fn check_process() -> Result<(), Error> {
    for signal in 1..=64 {
        let mut action = [0u64; 4];
        let args = [signal, 0, (&raw mut action) as u64, 8, 0, 0];
        // SAFETY: the kernel writes a handler, flags, a restorer and a mask of eight bytes.
        let known = unsafe { sys::call(libc::SYS_rt_sigaction as u64, args) } == 0;
        if known && handler_matters(signal as i32, action[0]) {
            return Err(Error::Unsupported("a signal handler"));
        }
    }
    Ok(())
}

impl Record {
    /// Has every other thread leave, and waits until they have.
    fn close(&self) {
        self.process.closed.store(true, SeqCst);
        let mut turns = 0u32;
        while self.others_inside() {
            if turns.is_multiple_of(64) {
                let inside = |r: &&Record| r.inside.load(SeqCst);
                self.process.records().filter(inside).for_each(Record::kick);
            }
            turns = turns.wrapping_add(1);
            sys::give_way();
        }
    }
}

impl Thread {
    /// Ends guest mode and makes the call natively at the program's own instruction.
    pub(super) fn end_with_call(&mut self, r: &Registers, stack: u64) -> ! {
        /// Bytes of SYSCALL.
        const LEN: u64 = 2;
        self.record.close();
        self.leave_with_state(Registers {
            rip: r.rcx - LEN,
            rsp: stack,
            rflags: r.r11,
            ..*r
        })
    }
}
