//! A thread-local mark that keeps allocations made by the recording and reporting itself out of the report.
//!
//! The variable uses the initial-exec model: reading it never calls `__tls_get_addr`, which could allocate.

use core::arch::{asm, global_asm};

global_asm!(
    ".section .tbss,\"awT\",@nobits",
    ".p2align 3",
    ".globl dunegc_leaks_quiet",
    ".hidden dunegc_leaks_quiet",
    ".type dunegc_leaks_quiet,@object",
    ".size dunegc_leaks_quiet,8",
    "dunegc_leaks_quiet:",
    ".zero 8",
    ".text",
);

/// While it lives, allocations of the calling thread are not recorded.
pub struct Quiet(());

impl Quiet {
    /// `None` if the thread is quiet already.
    pub fn enter() -> Option<Quiet> {
        let old: u64;
        // SAFETY: exchanges the thread's own word, which exists from the thread's first instruction.
        unsafe {
            asm!(
                "mov {o}, qword ptr [rip + dunegc_leaks_quiet@GOTTPOFF]",
                "xchg qword ptr fs:[{o}], {v}",
                o = out(reg) _,
                v = inout(reg) 1u64 => old,
                options(nostack, preserves_flags),
            );
        }
        (old == 0).then_some(Quiet(()))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // SAFETY: as in `enter`.
        unsafe {
            asm!(
                "mov {o}, qword ptr [rip + dunegc_leaks_quiet@GOTTPOFF]",
                "mov qword ptr fs:[{o}], 0",
                o = out(reg) _,
                options(nostack, preserves_flags),
            );
        }
    }
}
