//! The integer registers of a thread.

/// Integer registers, instruction pointer and flags: as the module dune has them, so that its engine need not convert them.
pub type Registers = dune_sys::Regs;

/// Flags that user code may change by itself; all others are the system's.
pub const USER_FLAGS: u64 = 0x0024_0dd5 | 1 << 18;
/// Interrupts enabled and the bit that is always set.
pub const BASE_FLAGS: u64 = 0x202;
/// What SYSCALL clears: the bits that Linux clears.
pub const SYSCALL_CLEARS: u64 = 0x0025_7fd5;
