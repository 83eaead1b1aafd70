//! Restartable sequences: the kernel cannot restart what it interrupts in the guest, so threads there have none registered. libc and allocators see that in
//! the area (no CPU number) and do without.

use crate::sys;
use core::arch::{asm, global_asm};

/// Bytes that glibc registers, and the signature that it uses.
const SIZE: u64 = 32;
const SIGNATURE: u64 = 0x5305_3053;
const UNREGISTER: u64 = 1;

global_asm!(".weak __rseq_offset", ".weak __rseq_size");

/// Where glibc's area lies, relative to the thread pointer.
fn offset() -> Option<u64> {
    let (offset, size): (*const u64, *const u32);
    // SAFETY: addresses from the table of global symbols, null where libc has no such symbol.
    unsafe {
        asm!(
            "mov {o}, qword ptr [rip + __rseq_offset@GOTPCREL]",
            "mov {s}, qword ptr [rip + __rseq_size@GOTPCREL]",
            o = out(reg) offset, s = out(reg) size,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    // SAFETY: null, or libc's constants.
    unsafe { (*size.as_ref()? != 0).then_some(*offset.as_ref()?) }
}

fn rseq(area: u64, flags: u64) -> i64 {
    // SAFETY: an area of libc's for this thread; it is written by the kernel while registered.
    unsafe { sys::call(libc::SYS_rseq as u64, [area, SIZE, flags, SIGNATURE, 0, 0]) }
}

/// Ends glibc's registration of the calling thread; what [`resume`] needs.
pub fn suspend(thread_pointer: u64) -> u64 {
    let area = offset().map_or(0, |o| thread_pointer.wrapping_add(o));
    if area != 0 && rseq(area, UNREGISTER) == 0 {
        area
    } else {
        0
    }
}

/// Registers again what was suspended.
pub fn resume(area: u64) {
    if area != 0 {
        rseq(area, 0);
    }
}

/// The guest's own call: a registration that is allowed ends at once.
pub fn call(args: [u64; 6]) -> i64 {
    // SAFETY: the program's own system call.
    let result = unsafe { sys::call(libc::SYS_rseq as u64, args) };
    if args[2] & UNREGISTER != 0 {
        return 0;
    }
    if result == 0 {
        // SAFETY: the same area.
        unsafe {
            sys::call(
                libc::SYS_rseq as u64,
                [args[0], args[1], UNREGISTER, args[3], 0, 0],
            )
        };
    }
    result
}
