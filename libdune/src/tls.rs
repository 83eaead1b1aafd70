//! The thread's vCPU: one thread-local pointer in the initial-exec model, which needs no libc function to be read.

use crate::thread::Record;
use core::arch::{asm, global_asm};

global_asm!(
    ".section .tbss,\"awT\",@nobits",
    ".p2align 3",
    ".globl dune_thread",
    ".hidden dune_thread",
    ".type dune_thread,@object",
    ".size dune_thread,8",
    "dune_thread:",
    ".zero 8",
    ".text",
);

/// The calling thread's record; null if it is not in guest mode.
pub fn get() -> *const Record {
    let p: *const Record;
    // SAFETY: reads the thread's own slot through its initial-exec offset.
    unsafe {
        asm!(
            "mov {p}, qword ptr [rip + dune_thread@GOTTPOFF]",
            "mov {p}, qword ptr fs:[{p}]",
            p = out(reg) p,
            options(readonly, nostack, preserves_flags),
        );
    }
    p
}

/// Sets it.
pub fn set(p: *const Record) {
    // SAFETY: writes the thread's own slot.
    unsafe {
        asm!(
            "mov {o}, qword ptr [rip + dune_thread@GOTTPOFF]",
            "mov qword ptr fs:[{o}], {p}",
            o = out(reg) _,
            p = in(reg) p,
            options(nostack, preserves_flags),
        );
    }
}
