//! What lies inside the guest besides the program: gates, stubs, interrupt stacks. All of it is ordinary memory of the process, mapped at the
//! same addresses and accessible at CPL 3 too; at CPL 0 run only the few instructions of `stubs`.

pub mod area;
pub mod stubs;

/// Vector of a system call: where LSTAR leads, INT goes on, because not every machine raises CPL on SYSCALL.
pub const SYSTEM_CALL: u8 = 0xd0;
/// Vector of a call of the library to its run loop.
pub const CALL: u8 = 0xd1;
/// Vector that flushes all translations of this vCPU.
pub const FLUSH_ALL: u8 = 0xd2;
/// Vector that flushes the pages in a list.
pub const FLUSH_PAGES: u8 = 0xd3;
