//! One marker: finds the objects that words point to, sets their mark bytes, and scans them.
//!
//! Depth-first over packets, with a short first-in first-out ring in front, so that an object's memory is prefetched some
//! scans before it is read (Cher, Hosking and Vitek, "Software Prefetching for Mark-Sweep Garbage Collection", ISMM 2004).
//!
//! A collection is this loop, some dozen instructions for each object and a few for each of its words: what it needs all the
//! time is kept in registers, and everything else left to functions that are rarely called.

use super::entry::Entry;
use super::packet::Packet;
use super::shape::{SHAPES, Shape};
use super::shared::Shared;
use super::stack::{Stack, Top};
use super::tags;
use crate::displacements;
use crate::heap::block::Block;
use crate::heap::find::{self, Slot};
use crate::heap::layout::{self, BLOCK};
use crate::heap::{large, slot};
use crate::kinds;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Objects between prefetch and scan.
const RING: usize = 16;
/// Large objects and root ranges are scanned in pieces of this many bytes, so that markers can share them.
const CHUNK: usize = 64 << 10;
/// Objects scanned between looks for idle markers.
const SHARE_EVERY: u32 = 128;

/// Every word that leads into an object is a pointer to it.
const PLAIN: u8 = 0;
/// Words count also as what they may hide: see [`tags`].
const TAGGED: u8 = 1;
/// Only words that lead to an object's start, or as far behind it as the program has registered.
const EXACT: u8 = 2;

fn how(tagged: bool) -> u8 {
    match tagged {
        true => TAGGED,
        false if displacements::are_exact() => EXACT,
        false => PLAIN,
    }
}

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
    /// Only this marker runs: nobody asks for a share of its work.
    alone: bool,
    /// How words are read: [`PLAIN`], [`TAGGED`] or [`EXACT`].
    how: u8,
    heap: Heap<'a>,
    stack: Stack<'a>,
    top: Top,
    /// What it did so far.
    pub tally: Tally,
    /// Bytes of the tally that the others know of.
    reported: u64,
}

/// What words are looked up in.
#[derive(Clone, Copy)]
struct Heap<'a> {
    base: usize,
    limit: usize,
    shapes: &'a [AtomicU64; SHAPES],
}

/// Grey objects whose memory is on its way to the cache.
struct Ring {
    entries: [Entry; RING],
    /// Taken from it, and put into it, so far.
    first: usize,
    end: usize,
}

impl<'a> Marker<'a> {
    /// Marker number `id` of `shared`. `None` without memory for its first packet.
    pub fn new(shared: &'a Shared, id: usize, alone: bool) -> Option<Self> {
        let (stack, top) = Stack::new(shared, id)?;
        let heap = Heap {
            base: layout::base(),
            limit: layout::limit(),
            shapes: shared.shapes(),
        };
        Some(Marker {
            shared,
            alone,
            how: how(shared.tagged()),
            heap,
            stack,
            top,
            tally: Tally::default(),
            reported: 0,
        })
    }

    /// What it did since this was last asked.
    pub fn take_tally(&mut self) -> Tally {
        self.reported = 0;
        core::mem::take(&mut self.tally)
    }

    /// Treats `word` as a pointer: marks the object it leads to and makes it grey.
    pub fn word(&mut self, word: usize) {
        let at = &raw const word as usize;
        self.range(at, at + 8);
    }

    /// Scans `[lo, hi)`, both multiples of 8.
    pub fn range(&mut self, lo: usize, hi: usize) {
        let (heap, top) = (self.heap, self.top);
        self.top = match self.how {
            TAGGED => self.scan::<TAGGED>(heap, top, lo, hi),
            EXACT => self.scan::<EXACT>(heap, top, lo, hi),
            _ => self.scan::<PLAIN>(heap, top, lo, hi),
        };
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

    /// Scans an object, all of it.
    pub fn object(&mut self, slot: &Slot) {
        if slot.info.kind().is_described() {
            kinds::scan(self, slot);
        } else if slot.info.kind().is_scanned() {
            self.range(slot.base, slot.base + slot.size);
        }
    }

    /// Scans until the private work is used up.
    pub fn drain(&mut self) {
        self.drain_some(u64::MAX);
    }

    /// Scans about `bytes` bytes of objects, and leaves the rest of the private work to the others.
    pub fn help(&mut self, bytes: u64) {
        self.drain_some(bytes);
        self.report();
        self.top = self.stack.leave(self.top);
    }

    /// Scans until the private work is used up, or about `bytes` bytes are marked.
    fn drain_some(&mut self, bytes: u64) {
        let most = self.tally.bytes.saturating_add(bytes);
        self.top = match self.how {
            TAGGED => self.drain_as::<TAGGED>(self.top, most),
            EXACT => self.drain_as::<EXACT>(self.top, most),
            _ => self.drain_as::<PLAIN>(self.top, most),
        };
    }

    fn drain_as<const HOW: u8>(&mut self, mut top: Top, most: u64) -> Top {
        let heap = self.heap;
        let mut ring = Ring {
            entries: [Entry::large(0); RING],
            first: 0,
            end: 0,
        };
        let mut countdown = SHARE_EVERY;
        loop {
            while ring.end - ring.first < RING {
                if top.is_empty() {
                    if !self.stack.has_more() {
                        break;
                    }
                    top = self.stack.next_packet(top);
                }
                // SAFETY: the packet is this marker's own, and not empty.
                let entry = unsafe { top.pop() };
                prefetch(entry.addr());
                ring.entries[ring.end % RING] = entry;
                ring.end += 1;
            }
            if ring.end == ring.first {
                top = self.stack.next_packet(top);
                if top.is_empty() {
                    return top;
                }
                continue;
            }
            let entry = ring.entries[ring.first % RING];
            ring.first += 1;
            let addr = entry.addr();
            if entry.is_special() {
                top = self.scan_special::<HOW>(top, entry);
                countdown = 1;
            } else {
                top = self.scan::<HOW>(heap, top, addr, addr + entry.size());
            }
            countdown -= 1;
            if countdown == 0 {
                countdown = SHARE_EVERY;
                top = self.look_around(top);
                if self.tally.bytes >= most {
                    return self.put_back(top, ring);
                }
            }
        }
    }

    #[inline(always)]
    fn scan<const HOW: u8>(&mut self, heap: Heap, mut top: Top, lo: usize, hi: usize) -> Top {
        let mut p = lo as *const usize;
        let end = hi as *const usize;
        while p < end {
            // SAFETY: callers pass objects of the heap, or roots, mapped and readable while they are marked from. Volatile,
            // because their owner's type is not known and may be anything.
            let word = unsafe { ptr::read_volatile(p) };
            let off = match HOW {
                TAGGED => tags::offset(word, heap.base, heap.limit),
                _ => word.wrapping_sub(heap.base),
            };
            if off < heap.limit {
                top = self.target::<HOW>(heap, top, off);
            }
            p = p.wrapping_add(1);
        }
        top
    }

    /// Two markers may both mark the same object at the same moment and both scan it, which is harmless: plain loads and stores do,
    /// where bits would need a locked instruction, whose cost is that nothing overlaps with it.
    #[inline(always)]
    fn target<const HOW: u8>(&mut self, heap: Heap, mut top: Top, off: usize) -> Top {
        let b = Block::at(off);
        // SAFETY: `off` is below the limit.
        let info = unsafe { b.info_from(heap.base) };
        if !info.is_small() {
            return self.target_large::<HOW>(top, off);
        }
        // SAFETY: kinds are below KINDS, so the index is below SHAPES.
        let shape = Shape(unsafe { heap.shapes.get_unchecked(info.cache_index()) }.load(Relaxed));
        let index = ((off & (BLOCK - 1)) as u64 * info.high() as u64 >> 32) as usize;
        if index >= shape.capacity() {
            return top;
        }
        if HOW == EXACT && !displacements::is_valid((off & (BLOCK - 1)) - index * shape.size()) {
            return top;
        }
        // SAFETY: `b` lies below the limit, and `index` below the capacity of a block of its class.
        let mark = unsafe { b.mark_from(heap.base, index) };
        let is_free = || {
            // SAFETY: as above.
            let free = || unsafe { b.free_from(heap.base, index / 64) };
            !info.is_full() && free().load(Relaxed) >> (index % 64) & 1 != 0
        };
        if !slot::reach(mark, is_free) {
            return top;
        }
        self.tally.objects += 1;
        self.tally.bytes += shape.size() as u64;
        if !shape.is_scanned() {
            self.tally.atomic += shape.size() as u64;
            return top;
        }
        let addr = heap.base + (off & !(BLOCK - 1)) + index * shape.size();
        // SAFETY: the packet is this marker's own, and never left full.
        unsafe { top.push(shape.entry(addr)) };
        if top.is_full() {
            top = self.stack.full(top);
        }
        top
    }

    #[cold]
    #[inline(never)]
    fn target_large<const HOW: u8>(&mut self, top: Top, off: usize) -> Top {
        let b = Block::at(off);
        let info = b.info();
        let traced = self.shared.traced() >> info.kind().bit() & 1 != 0;
        let Some((first, size)) = large::head_of(b, info).filter(|_| traced) else {
            return top;
        };
        let inner = layout::base() + off - first.addr();
        if HOW == EXACT && !displacements::is_valid(inner) {
            return top;
        }
        if inner >= size || !slot::reach(first.mark(0), || false) {
            return top;
        }
        self.tally.objects += 1;
        self.tally.bytes += size as u64;
        if info.kind().is_described() {
            self.push(top, Entry::described(first.addr()))
        } else if info.kind().is_scanned() {
            self.push(top, Entry::large(first.addr()))
        } else {
            self.tally.atomic += size as u64;
            top
        }
    }

    #[cold]
    #[inline(never)]
    fn scan_special<const HOW: u8>(&mut self, top: Top, entry: Entry) -> Top {
        if entry.is_large() {
            return self.scan_large::<HOW>(top, entry.addr());
        }
        let Some(slot) = find::slot(entry.addr()) else {
            return top;
        };
        self.top = top;
        kinds::scan(self, &slot);
        self.top
    }

    fn scan_large<const HOW: u8>(&mut self, mut top: Top, addr: usize) -> Top {
        let b = Block::at(addr - layout::base());
        let Some((first, size)) = large::head_of(b, b.info()) else {
            return top;
        };
        let end = first.addr() + size;
        if end - addr > CHUNK {
            top = self.push(top, Entry::large(addr + CHUNK));
            top = self.look_around(top);
        }
        self.scan::<HOW>(self.heap, top, addr, end.min(addr + CHUNK))
    }

    fn push(&mut self, mut top: Top, entry: Entry) -> Top {
        // SAFETY: the packet is this marker's own, and never left full.
        unsafe { top.push(entry) };
        if top.is_full() {
            top = self.stack.full(top);
        }
        top
    }

    /// What is in the ring becomes grey again.
    fn put_back(&mut self, mut top: Top, ring: Ring) -> Top {
        for i in ring.first..ring.end {
            top = self.push(top, ring.entries[i % RING]);
        }
        top
    }

    /// Tells what it did, and hands some work out if somebody wants some.
    #[cold]
    #[inline(never)]
    fn look_around(&mut self, top: Top) -> Top {
        self.report();
        let idle = !self.alone && self.shared.someone_idle();
        if idle || self.shared.is_help_offered() {
            self.stack.share(top)
        } else {
            top
        }
    }

    fn report(&mut self) {
        self.shared.progressed(self.tally.bytes - self.reported);
        self.reported = self.tally.bytes;
    }

    /// Takes a stolen packet as the current one. The private work is used up.
    pub fn adopt(&mut self, p: *mut Packet) {
        self.top = self.stack.adopt(self.top, p);
    }
}

impl Drop for Marker<'_> {
    fn drop(&mut self) {
        self.stack.end(self.top);
    }
}

#[inline(always)]
fn prefetch(addr: usize) {
    // SAFETY: prefetching has no effect that a program can see, whatever the address.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(addr as *const i8)
    };
}
