//! Objects whose memory, and whose marks, are on their way to the cache: first in, first out.
//!
//! A mark is looked at when its object is taken out, not when a reference to it is found: a load that has to wait for memory would
//! hold up all that follows it (the order of Cher, Hosking and Vitek, who mark what leaves the queue).

use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use core::mem::MaybeUninit;
use core::sync::atomic::AtomicU8;

/// Objects between prefetch and scan.
const RING: usize = 16;
/// Bytes of a cache line.
const LINE: usize = 64;

/// What the ring gives back.
pub struct Fetched {
    /// Where the object begins.
    pub addr: usize,
    /// Its size in bytes.
    pub size: usize,
    /// Its mark, if that is still to be looked at and set; without one, the object is grey already.
    pub mark: Option<&'static AtomicU8>,
}

/// The ring; with `OBJECTS` the memory of the objects is fetched, else only their marks. It lies on the stack, where the next collection may find what this one leaves there: the
/// addresses of objects are inverted, and so are no pointers.
pub struct Ring<const OBJECTS: bool> {
    addr: [MaybeUninit<usize>; RING],
    size: [MaybeUninit<usize>; RING],
    mark: [MaybeUninit<Option<&'static AtomicU8>>; RING],
    /// Taken from it, and put into it, so far.
    first: usize,
    end: usize,
}

impl<const OBJECTS: bool> Ring<OBJECTS> {
    /// With nothing in it.
    #[inline(always)]
    pub fn empty() -> Self {
        Ring {
            addr: [MaybeUninit::uninit(); RING],
            size: [MaybeUninit::uninit(); RING],
            mark: [MaybeUninit::uninit(); RING],
            first: 0,
            end: 0,
        }
    }

    /// One that has no room, and from which nothing may be taken.
    #[inline(always)]
    pub fn none() -> Self {
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

    /// It is more than half full.
    #[inline(always)]
    pub fn is_crowded(&self) -> bool {
        self.end - self.first > RING / 2
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

    /// Puts an object in, and has its mark fetched, and its first two cache lines.
    #[inline(always)]
    pub fn put(&mut self, addr: usize, size: usize, mark: Option<&'static AtomicU8>) {
        if let Some(m) = mark {
            fetch(m.as_ptr() as usize);
        }
        if OBJECTS {
            fetch(addr);
        }
        if OBJECTS && size > LINE / 2 {
            // Sizes are multiples of 16: a smaller one may end in the next line, too.
            fetch(addr + (size - 16).min(LINE));
        }
        self.addr[self.end % RING].write(!addr);
        self.size[self.end % RING].write(size);
        self.mark[self.end % RING].write(mark);
        self.end += 1;
    }

    /// Takes the oldest.
    ///
    /// # Safety
    /// It is not empty.
    #[inline(always)]
    pub unsafe fn take(&mut self) -> Fetched {
        let i = self.first % RING;
        self.first += 1;
        // SAFETY: by this function's contract `put` has written them.
        unsafe {
            Fetched {
                addr: !self.addr[i].assume_init(),
                size: self.size[i].assume_init(),
                mark: self.mark[i].assume_init(),
            }
        }
    }
}

#[inline(always)]
fn fetch(addr: usize) {
    // SAFETY: prefetching has no effect that a program can see, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(addr as *const i8) };
}
