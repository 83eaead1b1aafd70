//! Packets of grey objects: what markers keep their work in and hand to each other.

use super::entry::Entry;
use crate::heap::own;
use crate::sys::lock::Lock;
use crate::sys::{mem, scratch};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Entries of a packet.
pub const ENTRIES: usize = 510;

/// A stack of grey entries, one page long. Reached through raw pointers by exactly one marker at a time: it belongs to
/// the marker that holds it, or to the deque that it lies in.
#[repr(C)]
pub struct Packet {
    /// Next packet in a private list or the pool.
    pub next: *mut Packet,
    /// Entries used.
    pub len: usize,
    /// The entries.
    pub entries: [Entry; ENTRIES],
}

const _: () = assert!(size_of::<Packet>() == mem::PAGE);

/// Packets mapped at a time.
const CHUNK: usize = 64;

struct Pool {
    free: UnsafeCell<*mut Packet>,
}

// SAFETY: packets in the pool are reached through the lock around it only.
unsafe impl Send for Pool {}

static POOL: Lock<Pool> = Lock::new(Pool {
    free: UnsafeCell::new(ptr::null_mut()),
});

/// Packets that are mapped at once where address space is short.
const FEW: usize = 16;

/// Packets of the last mapping that nobody has taken yet: their pages hold no memory. With the pool's lock held.
static UNUSED: AtomicUsize = AtomicUsize::new(0);
/// Where that mapping ends.
static UNUSED_END: AtomicUsize = AtomicUsize::new(0);

/// A packet that was never used; null without memory. With the pool's lock held.
fn unused() -> *mut Packet {
    let mut at = UNUSED.load(Relaxed);
    if at == UNUSED_END.load(Relaxed) {
        let mut len = CHUNK * mem::PAGE;
        at = mem::map(len) as usize;
        if at == 0 {
            scratch::give_spare();
            len = FEW * mem::PAGE;
            at = mem::map(len) as usize;
        }
        if at == 0 {
            return ptr::null_mut();
        }
        own::add(at, len);
        UNUSED_END.store(at + len, Relaxed);
    }
    UNUSED.store(at + mem::PAGE, Relaxed);
    at as *mut Packet
}

/// An empty packet; null without memory.
pub fn take() -> *mut Packet {
    let mut pool = POOL.lock();
    let free = pool.free.get_mut();
    let p = if free.is_null() { unused() } else { *free };
    if p.is_null() {
        return p;
    }
    // SAFETY: packets in the pool and unused ones are mapped and belong to nobody else; an unused one holds zeroes.
    unsafe {
        // Null behind an unused one, too.
        *free = (*p).next;
        (*p).next = ptr::null_mut();
        (*p).len = 0;
    }
    p
}

/// Gives a packet back.
///
/// # Safety
/// `p` came from [`take`] and nobody else holds it.
pub unsafe fn put(p: *mut Packet) {
    let mut pool = POOL.lock();
    let free = pool.free.get_mut();
    // SAFETY: by this function's contract `p` is a packet of the caller's own.
    unsafe { (*p).next = *free };
    *free = p;
}

/// A shared list of packets with work in them.
pub struct Left {
    first: Lock<Pool>,
    some: AtomicBool,
}

impl Left {
    /// An empty list.
    pub const fn new() -> Self {
        Left {
            first: Lock::new(Pool {
                free: UnsafeCell::new(ptr::null_mut()),
            }),
            some: AtomicBool::new(false),
        }
    }

    /// Whether something lies in it, as far as one can tell.
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.some.load(Relaxed)
    }

    /// Makes it empty.
    ///
    /// # Safety
    /// Only the calling thread exists, and it is in none of these functions.
    pub unsafe fn reset(&self) {
        // SAFETY: by this function's contract.
        unsafe { self.first.reset() };
        *self.first.lock().free.get_mut() = ptr::null_mut();
        self.some.store(false, Relaxed);
    }

    /// Adds a packet.
    ///
    /// # Safety
    /// `p` came from [`take`] and nobody else holds it.
    pub unsafe fn push(&self, p: *mut Packet) {
        let mut list = self.first.lock();
        let first = list.free.get_mut();
        // SAFETY: by this function's contract `p` is a packet of the caller's own.
        unsafe { (*p).next = *first };
        *first = p;
        self.some.store(true, Relaxed);
    }

    /// Takes a packet.
    pub fn pop(&self) -> Option<*mut Packet> {
        if self.is_empty() {
            return None;
        }
        let mut list = self.first.lock();
        let first = list.free.get_mut();
        let p = *first;
        if p.is_null() {
            return None;
        }
        // SAFETY: packets in the list are reached through its lock only.
        *first = unsafe { (*p).next };
        self.some.store(!first.is_null(), Relaxed);
        Some(p)
    }
}

/// For the fork protocol: the pool's lock.
pub fn acquire() {
    POOL.acquire();
}

/// Releases the pool's lock.
///
/// # Safety
/// After [`acquire`], in the same thread or its copy in a fork child.
pub unsafe fn release() {
    // SAFETY: by this function's contract.
    unsafe { POOL.release() }
}
