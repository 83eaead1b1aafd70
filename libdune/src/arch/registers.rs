//! The integer registers of a thread.

/// Integer registers, instruction pointer and flags.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rsp: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
}

/// Flags that user code may change by itself; all others are the system's.
pub const USER_FLAGS: u64 = 0x0024_0dd5 | 1 << 18;
/// Interrupts enabled and the bit that is always set.
pub const BASE_FLAGS: u64 = 0x202;
/// What SYSCALL clears: the bits that Linux clears.
pub const SYSCALL_CLEARS: u64 = 0x0025_7fd5;
