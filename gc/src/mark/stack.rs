//! A marker's grey objects: a stack of packets, of which other markers can have some.

use super::deque::Deque;
use super::entry::Entry;
use super::packet::{self, ENTRIES, Packet};
use super::shared::Shared;
use crate::sys::mem::PAGE;
use core::mem::offset_of;
use core::ptr;

/// Distance of the first entry from the beginning of a packet.
const FIRST: usize = offset_of!(Packet, entries);
const MASK: usize = PAGE - 1;
// The end of a packet's entries is the end of its page.
const _: () =
    assert!(FIRST + ENTRIES * size_of::<Entry>() == PAGE && align_of::<Packet>() <= FIRST);

/// Where the next entry goes, in a packet that is known by its page.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Top(*mut Entry);

impl Top {
    fn of(p: *mut Packet) -> Top {
        // SAFETY: packets are whole pages, with at most ENTRIES entries.
        Top(unsafe { (&raw mut (*p).entries).cast::<Entry>().add((*p).len) })
    }

    /// No entry fits.
    #[inline(always)]
    pub fn is_full(self) -> bool {
        self.0 as usize & MASK == 0
    }

    /// There is no entry.
    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.0 as usize & MASK == FIRST
    }

    /// Adds an entry.
    ///
    /// # Safety
    /// The packet is the caller's own and not full.
    #[inline(always)]
    pub unsafe fn push(&mut self, e: Entry) {
        // SAFETY: by this function's contract there is room.
        unsafe {
            self.0.write(e);
            self.0 = self.0.add(1);
        }
    }

    /// Takes an entry.
    ///
    /// # Safety
    /// The packet is the caller's own and not empty.
    #[inline(always)]
    pub unsafe fn pop(&mut self) -> Entry {
        // SAFETY: by this function's contract there is one.
        unsafe {
            self.0 = self.0.sub(1);
            self.0.read()
        }
    }

    /// The packet, with its length set.
    fn packet(self) -> *mut Packet {
        let p = ((self.0 as usize - 1) & !MASK) as *mut Packet;
        // SAFETY: tops come from packets, which are whole pages.
        unsafe { (*p).len = (self.0 as usize - p as usize - FIRST) / size_of::<Entry>() };
        p
    }
}

/// The stack. Its packets are the marker's own, but for those in its deque. The top is kept by whoever pushes and pops, and passed
/// to what has to know it.
pub struct Stack<'a> {
    shared: &'a Shared,
    id: usize,
    /// Full packets kept private.
    more: *mut Packet,
}

impl<'a> Stack<'a> {
    /// The empty stack of marker `id`. `None` without memory.
    pub fn new(shared: &'a Shared, id: usize) -> Option<(Self, Top)> {
        let packet = packet::take();
        let stack = Stack {
            shared,
            id,
            more: ptr::null_mut(),
        };
        (!packet.is_null()).then(|| (stack, Top::of(packet)))
    }

    fn deque(&self) -> Option<&'a Deque> {
        self.shared.deque(self.id)
    }

    /// The packet on top is full: puts another one there. Without memory an entry is forgotten, and the phase known to be incomplete.
    #[cold]
    pub fn full(&mut self, mut top: Top) -> Top {
        let fresh = packet::take();
        if fresh.is_null() {
            self.shared.overflowed();
            // SAFETY: the packet is this stack's own, and full.
            unsafe { top.pop() };
            return top;
        }
        let full = top.packet();
        if self
            .deque()
            .is_none_or(|d| d.len() >= 4 || !d.push(full as usize))
        {
            // SAFETY: not pushed, so it is still this stack's own.
            unsafe { (*full).next = self.more };
            self.more = full;
        }
        Top::of(fresh)
    }

    /// There are private packets below the one on top.
    #[inline(always)]
    pub fn has_more(&self) -> bool {
        !self.more.is_null()
    }

    /// The packet on top is empty: the one below it instead, private ones first. Still empty if there is none.
    #[cold]
    pub fn next_packet(&mut self, top: Top) -> Top {
        let next = if !self.more.is_null() {
            let p = self.more;
            // SAFETY: packets in the private list are this stack's own.
            self.more = unsafe { (*p).next };
            p
        } else {
            match self.deque().and_then(Deque::pop) {
                Some(p) => p as *mut Packet,
                None => return top,
            }
        };
        self.adopt(top, next)
    }

    /// Puts a packet that the caller got on top of the stack, whose private packets are empty.
    pub fn adopt(&mut self, top: Top, p: *mut Packet) -> Top {
        debug_assert!(top.is_empty());
        // SAFETY: the packet on top is this stack's own, and empty.
        unsafe { packet::put(top.packet()) };
        Top::of(p)
    }

    /// Hands half of the private entries out if nothing lies ready to be stolen.
    pub fn share(&mut self, top: Top) -> Top {
        let Some(deque) = self.deque() else {
            return top;
        };
        if !deque.is_empty() {
            return top;
        }
        if !self.more.is_null() {
            let p = self.more;
            // SAFETY: packets in the private list are this stack's own; once pushed, it is the deque's.
            unsafe { self.more = (*p).next };
            if !deque.push(p as usize) {
                // SAFETY: not pushed, so it is still this stack's own.
                unsafe { (*p).next = self.more };
                self.more = p;
            }
            return top;
        }
        let packet = top.packet();
        // SAFETY: both packets are this stack's own; the halves lie inside their entry arrays.
        unsafe {
            let len = (*packet).len;
            if len < 4 {
                return top;
            }
            let fresh = packet::take();
            if fresh.is_null() {
                return top;
            }
            // The oldest entries lead to the largest parts of the graph.
            let give = len / 2;
            let from = &mut (*packet).entries;
            let to = &mut (*fresh).entries;
            to[..give].copy_from_slice(&from[..give]);
            from.copy_within(give..len, 0);
            (*packet).len = len - give;
            (*fresh).len = give;
            if !deque.push(fresh as usize) {
                (*fresh).next = self.more;
                self.more = fresh;
            }
        }
        Top::of(packet)
    }

    /// Leaves everything to the other markers. The stack is of no use any more.
    pub fn leave(&mut self, top: Top) -> Top {
        // SAFETY: the packets are this stack's own, and given up here.
        unsafe {
            if top.is_empty() {
                packet::put(top.packet());
            } else {
                self.shared.left().push(top.packet());
            }
            while !self.more.is_null() {
                let p = self.more;
                self.more = (*p).next;
                self.shared.left().push(p);
            }
        }
        Top(ptr::null_mut())
    }

    /// Gives the packets back.
    pub fn end(&mut self, top: Top) {
        if top.0.is_null() {
            return;
        }
        // SAFETY: the packets are this stack's own.
        unsafe {
            packet::put(top.packet());
            while !self.more.is_null() {
                let p = self.more;
                self.more = (*p).next;
                packet::put(p);
            }
        }
    }
}
