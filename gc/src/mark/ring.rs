//! Grey objects whose memory is on its way to the cache: first in, first out.

use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use core::mem::MaybeUninit;

/// Objects between prefetch and scan.
const RING: usize = 16;

/// The ring: addresses, and sizes in bytes. It lies on the stack, where the next collection may find what this one leaves there: the
/// addresses are inverted, and so are no pointers.
pub struct Ring {
    addr: [MaybeUninit<usize>; RING],
    size: [MaybeUninit<usize>; RING],
    /// Taken from it, and put into it, so far.
    first: usize,
    end: usize,
}

impl Ring {
    /// With nothing in it.
    #[inline(always)]
    pub fn empty() -> Ring {
        Ring {
            addr: [MaybeUninit::uninit(); RING],
            size: [MaybeUninit::uninit(); RING],
            first: 0,
            end: 0,
        }
    }

    /// One that has no room, and from which nothing may be taken.
    #[inline(always)]
    pub fn none() -> Ring {
        Ring {
            end: RING,
            ..Ring::empty()
        }
    }

    /// There is room for one more.
    #[inline(always)]
    pub fn has_room(&self) -> bool {
        self.end - self.first < RING
    }

    /// Nothing is in it.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.end == self.first
    }

    /// How many were taken from it so far.
    #[inline(always)]
    pub fn taken(&self) -> usize {
        self.first
    }

    /// Puts an object in, and has its memory fetched.
    #[inline(always)]
    pub fn put(&mut self, addr: usize, size: usize) {
        // SAFETY: prefetching has no effect that a program can see, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(addr as *const i8) };
        self.addr[self.end % RING].write(!addr);
        self.size[self.end % RING].write(size);
        self.end += 1;
    }

    /// Takes the oldest: its address and size.
    ///
    /// # Safety
    /// It is not empty.
    #[inline(always)]
    pub unsafe fn take(&mut self) -> (usize, usize) {
        let i = self.first % RING;
        self.first += 1;
        // SAFETY: by this function's contract `put` has written them.
        unsafe { (!self.addr[i].assume_init(), self.size[i].assume_init()) }
    }
}
