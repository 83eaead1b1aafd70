//! The global allocator.

use crate::raw::{self, FreeError, Kind};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr;

/// Alignment that every object has.
const ALIGN: usize = 16;

/// The collector's heap as Rust's global allocator.
///
/// Memory that comes from it is malloc'ed memory: it ends when its owner drops it. In the default mode it is also a root,
/// so a [`Gc`](crate::Gc) inside a `Box`, a `Vec` or any other collection keeps its object alive.
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: dunegc::DuneGc = dunegc::DuneGc::new();
///
/// let squares: Vec<u64> = (0..1000).map(|n| n * n).collect();
/// assert_eq!(squares[30], 900);
/// assert!(dunegc::stats().allocated_bytes >= 8000);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct DuneGc(());

impl DuneGc {
    /// The allocator. There is one heap in a process; every value of this type stands for it.
    pub const fn new() -> Self {
        DuneGc(())
    }
}

// SAFETY: the raw interface returns memory of at least the size asked for, aligned to 16 bytes or to what is asked for,
// that no other object overlaps and that stays until it is freed (malloc'ed memory is never collected while the program
// can reach it). Nothing here unwinds.
unsafe impl GlobalAlloc for DuneGc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGN {
            raw::alloc(Kind::Malloc, layout.size())
        } else {
            raw::alloc_aligned(Kind::Malloc, layout.size(), layout.align())
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGN {
            return raw::alloc_zeroed(Kind::Malloc, layout.size());
        }
        let p = raw::alloc_aligned(Kind::Malloc, layout.size(), layout.align());
        if !p.is_null() {
            // SAFETY: `p` is `layout.size()` bytes of memory that was just allocated.
            unsafe { ptr::write_bytes(p, 0, layout.size()) };
        }
        p
    }

    #[inline]
    unsafe fn dealloc(&self, p: *mut u8, _layout: Layout) {
        // SAFETY: the caller gives the block up.
        if let Err(error) = unsafe { raw::free(p) } {
            misuse("dealloc", p, error);
        }
    }

    #[inline]
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() > ALIGN {
            // SAFETY: the contract is the caller's.
            return unsafe { realloc_aligned(p, layout, size) };
        }
        // SAFETY: the caller gives the block up if the result is not null.
        match unsafe { raw::realloc(p, size) } {
            Ok(q) => q,
            Err(error) => {
                misuse("realloc", p, error);
                ptr::null_mut()
            }
        }
    }
}

/// `realloc` that keeps an alignment above [`ALIGN`].
///
/// # Safety
/// As for [`GlobalAlloc::realloc`].
#[cold]
unsafe fn realloc_aligned(p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
    let q = raw::alloc_aligned(Kind::Malloc, size, layout.align());
    if !q.is_null() {
        // SAFETY: both blocks are at least this long, and they are different objects.
        unsafe { ptr::copy_nonoverlapping(p, q, layout.size().min(size)) };
        // SAFETY: the caller gives the old block up, and the result is not null.
        if let Err(error) = unsafe { raw::free(p) } {
            misuse("realloc", p, error);
        }
    }
    q
}

/// A block came back that is not the heap's, or is free: unsafe code elsewhere broke the contract of `GlobalAlloc`.
#[cold]
#[inline(never)]
fn misuse(function: &str, p: *mut u8, error: FreeError) {
    let what = match error {
        FreeError::Foreign => "is not in the collector's heap",
        FreeError::Interior(_) => "is not the start of a block",
        FreeError::DoubleFree(_) => "is free already",
    };
    let abort = crate::config::get().on_error == crate::config::OnError::Abort;
    let then = if abort { "aborting" } else { "ignored" };
    crate::message!(
        "global allocator: {function}({p:p}): the address {what}; expected a live block; {then}"
    );
    if abort {
        // SAFETY: abort may be called at any time.
        unsafe { libc::abort() }
    }
}
