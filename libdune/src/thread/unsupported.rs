//! What cannot be done in guest mode for a program that knows nothing of it ([`crate::Config::whole`]). Before the first such system call all
//! threads leave, for good; the call itself is then made natively, where it was made.

use super::{Record, Thread};
use crate::arch::registers::Registers;
use crate::sys;
use core::sync::atomic::Ordering::*;

/// Bytes of SYSCALL.
pub(super) const SYSCALL_LEN: u64 = 2;

/// Whether a system call ends guest mode.
pub(super) fn ends(number: i64, args: &[u64; 6]) -> bool {
    match number {
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

impl Record {
    /// Has every other thread leave, and waits until they have.
    fn close(&self) {
        self.process.closed.store(true, SeqCst);
        let mut turns = 0u32;
        while self.others_inside() {
            if turns.is_multiple_of(64) {
                let inside = |r: &&Record| r.inside.load(SeqCst);
                let kick = |r: &Record| _ = r.kick();
                self.process.records().filter(inside).for_each(kick);
            }
            turns = turns.wrapping_add(1);
            sys::give_way();
        }
    }
}

impl Thread {
    /// Ends guest mode and makes the call natively at the program's own instruction.
    pub(super) fn end_with_call(&mut self, r: &Registers, stack: u64) -> ! {
        self.record.close();
        self.leave_with_state(Registers {
            rip: r.rcx - SYSCALL_LEN,
            rsp: stack,
            rflags: r.r11,
            ..*r
        })
    }
}
