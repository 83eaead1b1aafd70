//! Collected memory for values of a type.

extern crate alloc;

use crate::raw::{self, Kind};
use core::alloc::Layout;
use core::ptr::NonNull;

/// The heap is exhausted: it reached its limit (`DUNEGC_MAX_HEAP`) or the system refused memory, and an emergency
/// collection did not find enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// What was asked for.
    pub layout: Layout,
}

impl OutOfMemory {
    /// Ends the process as every failed allocation in Rust does.
    #[cold]
    #[inline(never)]
    pub(super) fn fail(self) -> ! {
        alloc::alloc::handle_alloc_error(self.layout)
    }
}

impl core::fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "out of collected memory: {} bytes aligned to {} asked for",
            self.layout.size(),
            self.layout.align()
        )
    }
}

impl core::error::Error for OutOfMemory {}

/// The kind of memory in which values of type `T` live.
///
/// The collector looks at aligned words only, so a type with no room or alignment for one cannot keep anything alive
/// wherever it is stored.
pub(super) const fn kind_of<T>() -> Kind {
    if size_of::<T>() < size_of::<usize>() || align_of::<T>() < align_of::<usize>() {
        Kind::Atomic
    } else {
        Kind::Scan
    }
}

/// Memory for `layout`. At least one byte, so that every object has an address of its own.
#[inline]
pub(super) fn allocate(kind: Kind, layout: Layout) -> Result<NonNull<u8>, OutOfMemory> {
    let p = if layout.align() <= 16 {
        raw::alloc(kind, layout.size())
    } else {
        raw::alloc_aligned(kind, layout.size().max(1), layout.align())
    };
    NonNull::new(p).ok_or(OutOfMemory { layout })
}

/// Makes the compiler assume that code it does not see reads the memory at `p`, at this point and, since the address is
/// known from here on, at every later call until that memory ends. What is stored there thus stays stored there.
#[inline(always)]
pub(super) fn escape<T: ?Sized>(p: *const T) {
    // SAFETY: no instruction is emitted. Neither `nomem` nor `readonly`, so that the address counts as captured.
    #[cfg(not(miri))]
    unsafe {
        core::arch::asm!("/* {0} */", in(reg) p.cast::<u8>(), options(nostack, preserves_flags))
    };
    #[cfg(miri)]
    let _ = p;
}

/// Makes the compiler hold the address `p` itself, in a register or on the stack, at this point, before anything that
/// follows it in the source.
#[inline(always)]
pub(super) fn reveal(mut p: usize) -> usize {
    // SAFETY: no instruction is emitted; the value passes through. No `nomem`, so that later reads are not moved above.
    #[cfg(not(miri))]
    unsafe {
        core::arch::asm!("/* {0} */", inout(reg) p, options(nostack, preserves_flags))
    };
    p
}
