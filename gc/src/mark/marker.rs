//! One marker: finds the objects that words point to, sets their mark bytes, and scans them.
//!
//! Depth-first over packets, with a short first-in first-out [`Ring`] in front, so that an object's memory is prefetched some
//! scans before it is read (Cher, Hosking and Vitek, "Software Prefetching for Mark-Sweep Garbage Collection", ISMM 2004).
//!
//! A collection is this loop, some dozen instructions for each object and a few for each of its words: what it needs all the
//! time is kept in registers, and everything else left to functions that are rarely called.

use super::delay::{Delay, Described};
use super::entry::Entry;
use super::filter::Filter;
use super::packet::Packet;
use super::ring::Ring;
use super::shape::{SHAPES, Shape};
use super::shared::Shared;
use super::stack::{Stack, Top};
use super::tags;
use crate::displacements;
use crate::heap::block::Block;
use crate::heap::find::Slot;
use crate::heap::layout::{self, BLOCK, table};
use crate::heap::{large, slot};
use crate::kinds;
use crate::zeal;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::{mem, ptr};

/// Large objects and root ranges are scanned in pieces of this many bytes, so that markers can share them.
const CHUNK: usize = 64 << 10;
/// Objects scanned between looks for idle markers.
const SHARE_EVERY: usize = 128;

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
    /// Bytes of written memory looked through.
    pub written: u64,
}

impl Tally {
    /// Adds what another phase or marker did.
    pub fn add(&mut self, other: &Tally) {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.atomic += other.atomic;
        self.roots += other.roots;
        self.written += other.written;
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
    /// Described objects, marked and not yet scanned.
    delay: Delay,
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
    /// Address of the first info word.
    infos: usize,
    filter: Filter,
    shapes: &'a [AtomicU64; SHAPES],
}

/// Where grey objects go.
struct Grey<const OBJECTS: bool> {
    ring: Ring<OBJECTS>,
    top: Top,
}

impl<'a> Marker<'a> {
    /// Marker number `id` of `shared`. `None` without memory for its first packet.
    pub fn new(shared: &'a Shared, id: usize, alone: bool) -> Option<Self> {
        let (stack, top) = Stack::new(shared, id)?;
        let (base, limit) = (layout::base(), layout::limit());
        let heap = Heap {
            base,
            limit,
            infos: base + table::INFO,
            filter: Filter::new(base, limit),
            shapes: shared.shapes(),
        };
        Some(Marker {
            shared,
            alone,
            how: how(shared.tagged()),
            heap,
            stack,
            top,
            delay: Delay::EMPTY,
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
        let top = self.top;
        self.top = match self.how {
            TAGGED => self.range_as::<TAGGED>(top, lo, hi),
            EXACT => self.range_as::<EXACT>(top, lo, hi),
            _ => self.range_as::<PLAIN>(top, lo, hi),
        };
    }

    #[inline(never)]
    fn range_as<const HOW: u8>(&mut self, top: Top, lo: usize, hi: usize) -> Top {
        let heap = self.heap;
        let mut grey = Grey::<false> {
            ring: Ring::none(),
            top,
        };
        let (first, last) = (lo.next_multiple_of(16).min(hi), hi & !15);
        if lo < first {
            self.found::<HOW, _>(&heap, &mut grey, lo);
        }
        self.scan::<HOW, _>(&heap, &mut grey, first, last);
        if last < hi && first <= last {
            self.found::<HOW, _>(&heap, &mut grey, last);
        }
        grey.top
    }

    /// Scans what lies in `[lo, hi)` of the objects of `size` bytes whose numbers, counted from `base`, are set in `bits`. Most of what
    /// they refer to is marked: only marks are fetched ahead.
    pub fn objects(&mut self, base: usize, size: usize, bits: u64, (lo, hi): (usize, usize)) {
        let top = self.top;
        self.top = match self.how {
            TAGGED => self.objects_as::<TAGGED>(top, base, size, bits, (lo, hi)),
            EXACT => self.objects_as::<EXACT>(top, base, size, bits, (lo, hi)),
            _ => self.objects_as::<PLAIN>(top, base, size, bits, (lo, hi)),
        };
    }

    #[inline(never)]
    fn objects_as<const HOW: u8>(
        &mut self,
        top: Top,
        base: usize,
        size: usize,
        mut bits: u64,
        (lo, hi): (usize, usize),
    ) -> Top {
        let heap = self.heap;
        let mut grey = Grey::<false> {
            ring: Ring::empty(),
            top,
        };
        while bits != 0 {
            let at = base + bits.trailing_zeros() as usize * size;
            bits &= bits - 1;
            while grey.ring.is_crowded() {
                self.put_one_back(&mut grey);
            }
            // An object and a page begin at multiples of 16.
            self.scan::<HOW, _>(&heap, &mut grey, at.max(lo), (at + size).min(hi));
        }
        self.put_back(grey)
    }

    /// Treats the words at `base` as pointers of which bits are set in `bits`, from the highest on.
    pub fn chosen(&mut self, base: usize, bits: usize) {
        let top = self.top;
        self.top = match self.how {
            TAGGED => self.chosen_as::<TAGGED>(top, base, bits),
            EXACT => self.chosen_as::<EXACT>(top, base, bits),
            _ => self.chosen_as::<PLAIN>(top, base, bits),
        };
    }

    fn chosen_as<const HOW: u8>(&mut self, top: Top, base: usize, mut bits: usize) -> Top {
        let heap = self.heap;
        let mut grey = Grey::<false> {
            ring: Ring::none(),
            top,
        };
        while bits != 0 {
            let i = bits.leading_zeros() as usize;
            bits &= !(1 << (63 - i));
            self.found::<HOW, _>(&heap, &mut grey, base + i * 8);
        }
        grey.top
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
            kinds::scan(self, slot.info.kind(), slot.base, slot.size);
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

    #[inline(never)]
    fn drain_as<const HOW: u8>(&mut self, top: Top, most: u64) -> Top {
        let heap = self.heap;
        let mut grey = Grey::<true> {
            ring: Ring::empty(),
            top,
        };
        // Counted when it is scanned, but for what `target` counts.
        let (mut objects, mut bytes) = (0, 0);
        'work: loop {
            while grey.ring.has_room() {
                if grey.top.is_empty() {
                    if !self.stack.has_more() {
                        break;
                    }
                    grey.top = self.stack.next_packet(grey.top);
                }
                // SAFETY: the packet is this marker's own, and not empty.
                let entry = unsafe { grey.top.pop() };
                if !entry.is_special() {
                    grey.ring.put(entry.addr(), entry.size(), None);
                    continue;
                }
                grey.top = self.scan_special::<HOW>(grey.top, entry);
                if self.delay.is_young() {
                    continue;
                }
                self.tally.bytes += mem::take(&mut bytes);
                grey.top = self.look_around(grey.top);
                if self.tally.bytes >= most {
                    break 'work;
                }
            }
            if grey.ring.is_empty() {
                if !self.delay.is_empty() {
                    grey.top = self.scan_delayed(grey.top);
                    continue;
                }
                grey.top = self.stack.next_packet(grey.top);
                if grey.top.is_empty() {
                    break;
                }
                continue;
            }
            // SAFETY: it is not empty.
            let f = unsafe { grey.ring.take() };
            if f.mark.is_none_or(|m| slot::reach(m, || false)) {
                objects += 1;
                bytes += f.size as u64;
                self.scan::<HOW, _>(&heap, &mut grey, f.addr, f.addr + f.size);
            }
            if grey.ring.taken().is_multiple_of(SHARE_EVERY) {
                self.tally.bytes += mem::take(&mut bytes);
                grey.top = self.look_around(grey.top);
                if self.tally.bytes >= most {
                    break;
                }
            }
        }
        self.tally.bytes += bytes;
        self.tally.objects += objects;
        while let Some(object) = self.delay.pop() {
            grey.top = self.push(grey.top, Entry::described(object.base));
        }
        self.put_back(grey)
    }

    /// Scans `[lo, hi)`, both multiples of 16.
    #[inline(always)]
    fn scan<const HOW: u8, const OBJECTS: bool>(
        &mut self,
        heap: &Heap,
        grey: &mut Grey<OBJECTS>,
        lo: usize,
        hi: usize,
    ) {
        let mut at = lo;
        while at < hi {
            let (mut words, next) = match (HOW, at + 32 <= hi) {
                (TAGGED, _) => (0b11, at + 16),
                // SAFETY: callers pass objects of the heap, or roots, mapped and readable while they are marked from.
                (_, true) => (unsafe { heap.filter.four(at) }, at + 32),
                // SAFETY: as above.
                (_, false) => (unsafe { heap.filter.two(at) }, at + 16),
            };
            while words != 0 {
                self.found::<HOW, _>(heap, grey, at + words.trailing_zeros() as usize * 8);
                words &= words - 1;
            }
            at = next;
        }
    }

    /// There may be a pointer into the heap at `at`.
    #[inline(always)]
    fn found<const HOW: u8, const OBJECTS: bool>(
        &mut self,
        heap: &Heap,
        grey: &mut Grey<OBJECTS>,
        at: usize,
    ) {
        // SAFETY: as in `scan`. Volatile, because its owner's type is not known and may be anything.
        let word = unsafe { ptr::read_volatile(at as *const usize) };
        let off = match HOW {
            TAGGED => tags::offset(word, heap.base, heap.limit),
            _ => word.wrapping_sub(heap.base),
        };
        if off < heap.limit {
            self.target::<HOW, _>(heap, grey, off);
        }
    }

    /// Two markers may both mark the same object at the same moment and both scan it, which is harmless: plain loads and stores do,
    /// where bits would need a locked instruction, whose cost is that nothing overlaps with it.
    #[inline(always)]
    fn target<const HOW: u8, const OBJECTS: bool>(
        &mut self,
        heap: &Heap,
        grey: &mut Grey<OBJECTS>,
        off: usize,
    ) {
        let b = Block::at(off);
        // SAFETY: `off` is below the limit.
        let info = unsafe { b.info_from(heap.infos) };
        if !info.is_small() {
            grey.top = self.target_large::<HOW>(grey.top, off);
            return;
        }
        // SAFETY: kinds are below KINDS, so the index is below SHAPES.
        let shape = Shape(unsafe { heap.shapes.get_unchecked(info.cache_index()) }.load(Relaxed));
        let inner = off & (BLOCK - 1);
        let index = (inner as u64 * info.high() as u64 >> 32) as usize;
        if index >= shape.capacity() {
            return;
        }
        let distance = inner - index * shape.size();
        if HOW == EXACT && !displacements::is_valid(distance) {
            return;
        }
        // SAFETY: `b` lies below the limit, and `index` below the capacity of a block of its class.
        let mark = unsafe { b.mark_from(heap.infos, index) };
        let addr = heap.base + off - distance;
        if info.is_full() && shape.is_plain() && grey.ring.has_room() {
            // Not free; whether it is marked is seen when the mark has arrived.
            grey.ring.put(addr, shape.size(), Some(mark));
            return;
        }
        let is_free = || {
            // SAFETY: as above.
            let free = || unsafe { b.free_from(heap.base, index / 64) };
            !info.is_full() && free().load(Relaxed) >> (index % 64) & 1 != 0
        };
        if !slot::reach(mark, is_free) {
            return;
        }
        if !shape.is_plain() {
            grey.top = self.target_unusual(grey.top, shape, addr);
        } else if grey.ring.has_room() {
            grey.ring.put(addr, shape.size(), None);
        } else {
            grey.top = self.push(grey.top, shape.entry(addr));
        }
    }

    /// A small object that is not scanned, or not just word by word, was marked.
    #[inline(never)]
    fn target_unusual(&mut self, top: Top, shape: Shape, addr: usize) -> Top {
        self.tally.objects += 1;
        self.tally.bytes += shape.size() as u64;
        if shape.is_scanned() {
            return self.push(top, shape.entry(addr));
        }
        self.tally.atomic += shape.size() as u64;
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

    /// Scans a piece of a large object; a described one later.
    #[cold]
    #[inline(never)]
    fn scan_special<const HOW: u8>(&mut self, top: Top, entry: Entry) -> Top {
        if entry.is_large() {
            self.delay.grow_old();
            return self.scan_large::<HOW>(top, entry.addr());
        }
        match self.delay.exchange(entry.addr()) {
            Some(object) => self.scan_described(top, object),
            None => top,
        }
    }

    /// Scans the described object that has waited longest.
    #[cold]
    #[inline(never)]
    fn scan_delayed(&mut self, top: Top) -> Top {
        match self.delay.pop() {
            Some(object) => self.scan_described(top, object),
            None => top,
        }
    }

    fn scan_described(&mut self, top: Top, object: Described) -> Top {
        self.top = top;
        kinds::scan(self, object.kind, object.base, object.size);
        self.top
    }

    #[cold]
    #[inline(never)]
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
        self.range_as::<HOW>(top, addr, end.min(addr + CHUNK))
    }

    fn push(&mut self, mut top: Top, entry: Entry) -> Top {
        // SAFETY: the packet is this marker's own, and never left full.
        unsafe { top.push(entry) };
        if !top.is_full() {
            return top;
        }
        let top = self.stack.full(top);
        if !top.is_empty() && !entry.is_special() {
            // It found no room, and will not be counted when it is taken.
            self.tally.objects += 1;
            self.tally.bytes += entry.size() as u64;
        }
        top
    }

    /// What is in the ring goes to the stack, marked.
    fn put_back<const OBJECTS: bool>(&mut self, mut grey: Grey<OBJECTS>) -> Top {
        while !grey.ring.is_empty() {
            self.put_one_back(&mut grey);
        }
        grey.top
    }

    /// The oldest in the ring, which is not empty, goes to the stack, if it is grey or can be marked.
    fn put_one_back<const OBJECTS: bool>(&mut self, grey: &mut Grey<OBJECTS>) {
        // SAFETY: it is not empty.
        let f = unsafe { grey.ring.take() };
        if f.mark.is_none_or(|m| slot::reach(m, || false)) {
            grey.top = self.push(grey.top, Entry::small(f.addr, f.size, true));
        }
    }

    /// Tells what it did, and hands some work out if somebody wants some.
    #[cold]
    #[inline(never)]
    fn look_around(&mut self, top: Top) -> Top {
        self.report();
        zeal::in_marking();
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

mod grey;
#[cfg(test)]
mod tests;
