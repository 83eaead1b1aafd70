//! One marker: finds the objects that words point to, sets their mark bytes, and scans them.
//!
//! Depth-first over packets, with a short first-in first-out ring in front, so that an object's memory is prefetched some
//! scans before it is read (Cher, Hosking and Vitek, "Software Prefetching for Mark-Sweep Garbage Collection", ISMM 2004).

use super::deque::Deque;
use super::packet::{self, ENTRIES, Packet};
use super::shared::Shared;
use crate::heap::block::{Block, REACHED};
use crate::heap::layout::{self, BLOCK, BLOCK_SHIFT};
use crate::heap::{class, large};
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

/// Objects between prefetch and scan.
const RING: usize = 16;
/// Large objects and root ranges are scanned in pieces of this many bytes, so that markers can share them.
const CHUNK: usize = 64 << 10;
/// Class value of entries that stand for (the rest of) a large object.
const LARGE: u64 = 0xff;
const ADDRESS: u64 = (1 << 48) - 1;
/// Objects scanned between looks for idle markers.
const SHARE_EVERY: u32 = 128;

/// What a marker did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Objects marked.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes among them of kinds that are not scanned.
    pub atomic: u64,
    /// Bytes of roots scanned.
    pub roots: u64,
}

impl Tally {
    /// Adds what another phase or marker did.
    pub fn add(&mut self, other: &Tally) {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.atomic += other.atomic;
        self.roots += other.roots;
    }
}

/// A marker's private state.
pub struct Marker<'a> {
    shared: &'a Shared,
    id: usize,
    base: usize,
    limit: usize,
    /// Bit k: kind k is traced.
    traced: u32,
    /// Only this marker runs: nobody asks for a share of its work.
    alone: bool,
    /// Also try words with their top 16 bits cleared.
    tagged: bool,
    ring: [u64; RING],
    /// Position of the oldest entry in the ring.
    at: usize,
    /// Entries in the ring.
    waiting: usize,
    packet: *mut Packet,
    /// Full packets kept private.
    more: *mut Packet,
    countdown: u32,
    /// Bytes of the tally that the others know of.
    reported: u64,
    /// What it did so far.
    pub tally: Tally,
}

impl<'a> Marker<'a> {
    /// Marker number `id` of `shared`. `None` without memory for its first packet.
    pub fn new(shared: &'a Shared, id: usize, alone: bool) -> Option<Self> {
        let packet = packet::take();
        if packet.is_null() {
            return None;
        }
        Some(Marker {
            shared,
            id,
            base: layout::base(),
            limit: layout::limit(),
            traced: shared.traced(),
            alone,
            tagged: shared.tagged(),
            ring: [0; RING],
            at: 0,
            waiting: 0,
            packet,
            more: ptr::null_mut(),
            countdown: SHARE_EVERY,
            reported: 0,
            tally: Tally::default(),
        })
    }

    /// Treats `word` as a pointer: marks the object it leads to and makes it grey.
    #[inline(always)]
    pub fn word(&mut self, word: usize) {
        let off = word.wrapping_sub(self.base);
        if off < self.limit {
            self.target(off);
        } else if self.tagged && word >> 47 != 0 {
            self.untagged(word);
        }
    }

    /// A word that may be a pointer with something in its top 16 bits (17 with the sign bit of user addresses).
    fn untagged(&mut self, word: usize) {
        let off = (word & ((1 << 47) - 1)).wrapping_sub(self.base);
        if off < self.limit {
            self.target(off);
        }
    }

    #[inline(always)]
    fn target(&mut self, off: usize) {
        let b = Block::at(off);
        // SAFETY: `off` is below the limit.
        let info = unsafe { b.info_from(self.base) };
        if self.traced >> (info.kind() as u32) & 1 == 0 {
            return;
        }
        if !info.is_small() {
            return self.target_large(off, b);
        }
        let class = info.class();
        let index = ((off & (BLOCK - 1)) as u64 * info.high() as u64 >> 32) as usize;
        // SAFETY: info words of small blocks hold a class below CLASSES.
        let (size, capacity) = unsafe {
            (
                *class::SIZE.get_unchecked(class as usize),
                *class::CAPACITY.get_unchecked(class as usize),
            )
        };
        if index >= capacity as usize || !self.set_mark(b, index, info.is_full()) {
            return;
        }
        self.tally.objects += 1;
        self.tally.bytes += size as u64;
        if info.kind().is_scanned() {
            let addr = (self.base + ((b.0 as usize) << BLOCK_SHIFT)) + index * size as usize;
            prefetch(addr);
            self.grey(addr as u64 | (class as u64) << 48);
        } else {
            self.tally.atomic += size as u64;
        }
    }

    #[cold]
    fn target_large(&mut self, off: usize, b: Block) {
        let info = b.info();
        let Some((first, size)) = large::head_of(b, info) else {
            return;
        };
        if self.base + off >= first.addr() + size || !self.set_mark(first, 0, true) {
            return;
        }
        self.tally.objects += 1;
        self.tally.bytes += size as u64;
        if info.kind().is_scanned() {
            self.grey(first.addr() as u64 | LARGE << 48);
        } else {
            self.tally.atomic += size as u64;
        }
    }

    /// Marks an allocated slot; false if it was marked or is free. Two markers may both mark the same object at the same
    /// moment and both scan it, which is harmless: plain loads and stores do, where bits would need a locked instruction, whose
    /// cost is that nothing overlaps with it.
    #[inline(always)]
    fn set_mark(&self, b: Block, index: usize, full: bool) -> bool {
        // SAFETY: `b` lies below the limit, and `index` below the capacity of a block of its class.
        let mark = unsafe { b.mark_from(self.base, index) };
        if mark.load(Relaxed) != 0 {
            return false;
        }
        if !full {
            // SAFETY: as above.
            let free = unsafe { b.free_from(self.base, index / 64) };
            if free.load(Relaxed) >> (index % 64) & 1 != 0 {
                return false;
            }
        }
        mark.store(REACHED, Relaxed);
        true
    }

    #[inline(always)]
    fn grey(&mut self, entry: u64) {
        // SAFETY: `packet` is this marker's own; `len < ENTRIES` holds after `push_full`.
        unsafe {
            if (*self.packet).len == ENTRIES && !self.push_full() {
                return self.shared.overflowed();
            }
            let p = self.packet;
            (*p).entries[(*p).len] = entry;
            (*p).len += 1;
        }
    }

    /// Puts the full packet aside and takes an empty one; false without memory.
    #[cold]
    fn push_full(&mut self) -> bool {
        let fresh = packet::take();
        if fresh.is_null() {
            return false;
        }
        let deque = self.shared.deque(self.id);
        if deque.is_none_or(|d| d.len() >= 4 || !d.push(self.packet as usize)) {
            // SAFETY: the full packet is this marker's own.
            unsafe { (*self.packet).next = self.more };
            self.more = self.packet;
        }
        self.packet = fresh;
        true
    }

    /// Takes a grey entry from the private packets.
    #[inline(always)]
    fn next_entry(&mut self) -> Option<u64> {
        // SAFETY: `packet` is this marker's own and `len <= ENTRIES`.
        unsafe {
            if (*self.packet).len == 0 && (self.more.is_null() || !self.next_packet()) {
                return None;
            }
            let p = self.packet;
            (*p).len -= 1;
            Some((*p).entries[(*p).len])
        }
    }

    /// The current packet is empty: takes another one, private first.
    #[cold]
    fn next_packet(&mut self) -> bool {
        let next = if !self.more.is_null() {
            let p = self.more;
            // SAFETY: packets in the private list are this marker's own.
            self.more = unsafe { (*p).next };
            p
        } else {
            match self.shared.deque(self.id).and_then(Deque::pop) {
                Some(p) => p as *mut Packet,
                None => return false,
            }
        };
        // SAFETY: the empty packet is this marker's own and given up here.
        unsafe { packet::put(self.packet) };
        self.packet = next;
        true
    }

    /// What it did since this was last asked.
    pub fn take_tally(&mut self) -> Tally {
        self.reported = 0;
        core::mem::take(&mut self.tally)
    }

    /// Scans until the private work is used up.
    pub fn drain(&mut self) {
        loop {
            while self.waiting < RING
                && let Some(entry) = self.next_entry()
            {
                prefetch((entry & ADDRESS) as usize);
                self.ring[(self.at + self.waiting) % RING] = entry;
                self.waiting += 1;
            }
            if self.waiting == 0 {
                if !self.next_packet() {
                    return;
                }
                continue;
            }
            let entry = self.ring[self.at % RING];
            self.at = self.at.wrapping_add(1);
            self.waiting -= 1;
            self.scan(entry);
        }
    }

    #[inline(always)]
    fn scan(&mut self, entry: u64) {
        let addr = (entry & ADDRESS) as usize;
        let class = entry >> 48;
        if class == LARGE {
            return self.scan_large(addr);
        }
        // SAFETY: entries hold classes below CLASSES, or LARGE.
        let size = unsafe { *class::SIZE.get_unchecked(class as usize) } as usize;
        self.range(addr, addr + size);
        self.countdown -= 1;
        if self.countdown == 0 {
            self.countdown = SHARE_EVERY;
            self.shared.progressed(self.tally.bytes - self.reported);
            self.reported = self.tally.bytes;
            self.share();
        }
    }

    #[cold]
    fn scan_large(&mut self, addr: usize) {
        let b = Block::at(addr - self.base);
        let Some((first, size)) = large::head_of(b, b.info()) else {
            return;
        };
        let end = first.addr() + size;
        if end - addr > CHUNK {
            self.grey((addr + CHUNK) as u64 | LARGE << 48);
        }
        self.share();
        self.range(addr, end.min(addr + CHUNK));
    }

    /// Scans `[lo, hi)`, both multiples of 8.
    #[inline(always)]
    pub fn range(&mut self, lo: usize, hi: usize) {
        let mut p = lo as *const usize;
        let end = hi as *const usize;
        while p < end {
            // SAFETY: callers pass objects of the heap or root ranges, mapped and readable while the world is stopped.
            // Volatile, because their owner's type is not known and may be anything.
            let w = unsafe { ptr::read_volatile(p) };
            self.word(w);
            p = p.wrapping_add(1);
        }
    }

    /// Scans `[lo, hi)` leaving out words that point into the object `[lo, hi)` itself.
    pub fn range_but_self(&mut self, lo: usize, hi: usize) {
        for p in (lo..hi).step_by(8) {
            // SAFETY: the caller passes an object of the heap, and the world is stopped.
            let w = unsafe { ptr::read_volatile(p as *const usize) };
            if w < lo || w >= hi {
                self.word(w);
            }
        }
    }

    /// Hands half of the private work out if somebody wants some and nothing lies ready to be stolen.
    fn share(&mut self) {
        let Some(deque) = self.shared.deque(self.id) else {
            return;
        };
        let idle = !self.alone && self.shared.someone_idle();
        if !idle && !self.shared.is_help_offered() || !deque.is_empty() {
            return;
        }
        if !self.more.is_null() {
            let p = self.more;
            // SAFETY: packets in the private list are this marker's own; once pushed, it is the deque's.
            unsafe { self.more = (*p).next };
            if !deque.push(p as usize) {
                // SAFETY: not pushed, so it is still this marker's own.
                unsafe { (*p).next = self.more };
                self.more = p;
            }
            return;
        }
        // SAFETY: both packets are this marker's own; the halves lie inside their entry arrays.
        unsafe {
            let len = (*self.packet).len;
            if len < 4 {
                return;
            }
            let fresh = packet::take();
            if fresh.is_null() {
                return;
            }
            // The oldest entries lead to the largest parts of the graph.
            let give = len / 2;
            let from = &mut (*self.packet).entries;
            let to = &mut (*fresh).entries;
            to[..give].copy_from_slice(&from[..give]);
            from.copy_within(give..len, 0);
            (*self.packet).len = len - give;
            (*fresh).len = give;
            if !deque.push(fresh as usize) {
                (*fresh).next = self.more;
                self.more = fresh;
            }
        }
    }

    /// Scans about `bytes` bytes of objects, and leaves the rest of the private work to the others.
    pub fn drain_some(&mut self, bytes: u64) {
        while self.tally.bytes < bytes {
            while self.waiting < RING
                && let Some(entry) = self.next_entry()
            {
                prefetch((entry & ADDRESS) as usize);
                self.ring[(self.at + self.waiting) % RING] = entry;
                self.waiting += 1;
            }
            if self.waiting == 0 {
                break;
            }
            for _ in 0..self.waiting.min(RING / 2) {
                let entry = self.ring[self.at % RING];
                self.at = self.at.wrapping_add(1);
                self.waiting -= 1;
                self.scan(entry);
            }
        }
        while self.waiting > 0 {
            self.waiting -= 1;
            self.grey(self.ring[(self.at + self.waiting) % RING]);
        }
        self.shared.progressed(self.tally.bytes - self.reported);
        self.reported = self.tally.bytes;
        // SAFETY: the packets are this marker's own, and given up here.
        unsafe {
            if (*self.packet).len > 0 {
                self.shared.left().push(self.packet);
                self.packet = ptr::null_mut();
            }
            while !self.more.is_null() {
                let p = self.more;
                self.more = (*p).next;
                self.shared.left().push(p);
            }
        }
    }

    /// Takes a stolen packet as the current one. The private work is used up.
    pub fn adopt(&mut self, p: *mut Packet) {
        // SAFETY: the current packet is this marker's own and empty.
        unsafe { packet::put(self.packet) };
        self.packet = p;
    }
}

impl Drop for Marker<'_> {
    fn drop(&mut self) {
        // SAFETY: the packets are this marker's own.
        unsafe {
            if !self.packet.is_null() {
                packet::put(self.packet);
            }
            while !self.more.is_null() {
                let p = self.more;
                self.more = (*p).next;
                packet::put(p);
            }
        }
    }
}

#[inline(always)]
fn prefetch(addr: usize) {
    // SAFETY: prefetching has no effect that a program can see, whatever the address.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(addr as *const i8)
    };
}
