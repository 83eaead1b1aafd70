//! The one thread-local of the collector: a pointer to the thread's heap, in the initial-exec model.
//!
//! Stable Rust cannot choose a TLS model, and the default for a shared object calls `__tls_get_addr`, which can call
//! malloc. Eight bytes of static TLS fit into the surplus that glibc keeps for `dlopen`. Before a thread has a heap,
//! the pointer leads to [`crate::heap::thread::EMPTY`], whose caches hold nothing, so the fast path needs no null check.

use crate::heap::thread::ThreadHeap;
use core::arch::{asm, global_asm};

global_asm!(
    ".section .tdata,\"awT\",@progbits",
    ".p2align 3",
    ".globl dunegc_thread_heap",
    ".hidden dunegc_thread_heap",
    ".type dunegc_thread_heap,@object",
    ".size dunegc_thread_heap,8",
    "dunegc_thread_heap:",
    ".quad {empty}",
    ".text",
    empty = sym crate::heap::thread::EMPTY,
);

/// The calling thread's heap (the shared empty one if it has none).
#[inline(always)]
pub fn get() -> *const ThreadHeap {
    let p: *const ThreadHeap;
    // SAFETY: reads the thread's own slot through its initial-exec offset; both exist from the thread's first instruction.
    unsafe {
        asm!(
            "mov {p}, qword ptr [rip + dunegc_thread_heap@GOTTPOFF]",
            "mov {p}, qword ptr fs:[{p}]",
            p = out(reg) p,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    p
}

/// Sets the calling thread's heap.
pub fn set(p: *const ThreadHeap) {
    // SAFETY: writes the thread's own slot, which only this thread and signal handlers on it read.
    unsafe {
        asm!(
            "mov {o}, qword ptr [rip + dunegc_thread_heap@GOTTPOFF]",
            "mov qword ptr fs:[{o}], {p}",
            o = out(reg) _,
            p = in(reg) p,
            options(nostack, preserves_flags),
        );
    }
}
