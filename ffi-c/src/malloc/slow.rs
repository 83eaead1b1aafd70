//! Allocation off the inlined path: nothing cached, the first one of the process, and modes that look at the caller.

use core::ffi::c_void;

use super::no_memory;
use crate::{leaks, reclaim, route, startup};
use gc::raw::{self, Kind};

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Request {
    /// Bytes.
    pub size: usize,
    /// A power of two; at most 16 means the default alignment.
    pub align: usize,
    /// The memory must be zero.
    pub zeroed: bool,
}

/// Defines an entry that passes on the return address it finds: that of the exported function's caller if the entry was
/// reached by a jump (a tail call), an address in this library if it was called; the receiver tells the two apart.
macro_rules! with_caller {
    ($(#[$doc:meta])* $name:ident($($arg:ident),*), $register:literal, $target:ident) => {
        $(#[$doc])*
        #[cold]
        #[unsafe(naked)]
        pub extern "C" fn $name($($arg: usize),*) -> *mut c_void {
            core::arch::naked_asm!(
                concat!("mov ", $register, ", [rsp]"),
                "jmp {target}",
                target = sym $target,
            )
        }
    };
}

with_caller!(
    /// `malloc(size)` off the inlined path.
    malloc(_size), "rsi", malloc_from);
with_caller!(
    /// `calloc(1, size)` off the inlined path.
    calloc(_size), "rsi", calloc_from);
with_caller!(
    /// Aligned allocation off the inlined path.
    aligned(_size, _align), "rdx", aligned_from);

extern "C" fn malloc_from(size: usize, caller: usize) -> *mut c_void {
    allocate(
        Request {
            size,
            align: 1,
            zeroed: false,
        },
        caller,
    )
}

extern "C" fn calloc_from(size: usize, caller: usize) -> *mut c_void {
    allocate(
        Request {
            size,
            align: 1,
            zeroed: true,
        },
        caller,
    )
}

extern "C" fn aligned_from(size: usize, align: usize, caller: usize) -> *mut c_void {
    allocate(
        Request {
            size,
            align,
            zeroed: false,
        },
        caller,
    )
}

/// Allocates with all that the mode in force asks for; null and ENOMEM without memory.
#[inline(never)]
pub fn allocate(request: Request, caller: usize) -> *mut c_void {
    if route::is_undecided() {
        startup::first_use();
    }
    let kind = if route::is_by_module() {
        reclaim::kind_for(caller)
    } else {
        Kind::Malloc
    };
    let p = get(request, kind);
    if p.is_null() {
        return no_memory();
    }
    if route::records_stacks() {
        leaks::record(p);
    }
    p.cast()
}

fn get(request: Request, kind: Kind) -> *mut u8 {
    if request.align > 16 {
        let p = raw::alloc_aligned(kind, request.size, request.align);
        if request.zeroed && !p.is_null() && !raw::is_zeroed(kind) {
            // SAFETY: a fresh block of at least this size.
            unsafe { p.write_bytes(0, request.size) };
        }
        return p;
    }
    if request.zeroed {
        raw::alloc_zeroed(kind, request.size)
    } else {
        raw::alloc(kind, request.size)
    }
}
