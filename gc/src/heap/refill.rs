//! Filling a thread's cache when it is empty: the slow path of small allocation.

use super::block::{Block, Info, valid, words};
use super::class::{CAPACITY, SIZE};
use super::layout::GROUPS;
use super::thread::{Cache, ThreadHeap};
use super::{batch, central, front, idle, lists, marking, remote, runs, sweep};
use crate::kind::Kind;
use core::sync::atomic::{
    Ordering::{Relaxed, Release},
    fence,
};

/// Bytes after which a thread adds what it took to the global count.
const REPORT: isize = 64 << 10;

/// Fills the cache with a word of free slots; false if there is no memory. In a critical section.
pub fn refill(heap: &ThreadHeap, kind: Kind, class: u8) -> bool {
    batch::flush(heap);
    idle::give_back(heap);
    let cache = heap.cache(kind, class);
    if front::restore(heap, kind, class) && cache.bits.load(Relaxed) != 0 {
        return true;
    }
    let current = cache.block();
    if current != Block::NONE {
        sweep::ensure_swept(current);
        if current.head().summary.load(Relaxed) != 0 {
            return take_word(heap, cache, kind, class, current);
        }
    }
    remote::drain(heap);
    if current != Block::NONE && current.head().summary.load(Relaxed) != 0 {
        return take_word(heap, cache, kind, class, current);
    }
    match next_block(heap, kind, class) {
        Some(b) => take_word(heap, cache, kind, class, b),
        None => false,
    }
}

fn next_block(heap: &ThreadHeap, kind: Kind, class: u8) -> Option<Block> {
    let own = Block(heap.partial[kind.index()][class as usize].load(Relaxed));
    if own != Block::NONE {
        lists::unlink(heap, own, kind, class);
        return Some(own);
    }
    let owner = heap.owner[kind.index()].load(Relaxed);
    loop {
        if let Some(b) = central::pop(kind, class, owner) {
            remote::drain_block(b);
            if b.head().summary.load(Relaxed) != 0 {
                return Some(b);
            }
            continue;
        }
        if super::is_collected(kind) && (sweep::step() || sweep::others_found_more()) {
            continue;
        }
        break;
    }
    let run = runs::allocate(1, 1)?;
    init(run.first, kind, class, run.zero, owner);
    Some(run.first)
}

/// Makes a free block one of small objects, all free.
fn init(b: Block, kind: Kind, class: u8, zero: bool, owner: u32) {
    let capacity = CAPACITY[class as usize] as usize;
    let n = words(capacity);
    for w in 0..n {
        b.free(w).store(valid(capacity, w), Relaxed);
        if super::has_suspects() {
            b.suspect(w).store(0, Relaxed);
        }
    }
    let h = b.head();
    h.owner.store(owner, Relaxed);
    h.swept.store(sweep::swept_word(), Relaxed);
    h.summary
        .store(if n == 64 { !0 } else { (1 << n) - 1 }, Relaxed);
    h.remote_summary.store(0, Relaxed);
    h.used.store(0, Relaxed);
    h.fresh.store(if zero { 0 } else { GROUPS as u16 }, Relaxed);
    h.trimmed.store(0, Relaxed);
    h.listed.store(lists::UNLISTED, Relaxed);
    h.length.store(0, Relaxed);
    h.stamp.store(0, Relaxed);
    marking::about_to_use(b, 1, kind);
    b.set_info(Info::small(class, kind));
}

fn take_word(heap: &ThreadHeap, cache: &Cache, kind: Kind, class: u8, b: Block) -> bool {
    let h = b.head();
    let w = h.summary.load(Relaxed).trailing_zeros() as usize;
    let size = SIZE[class as usize] as usize;
    marking::about_to_fill(b, w, size);
    let free = b.free(w);
    let mut bits = free.load(Relaxed);
    if super::zeal() {
        bits &= bits.wrapping_neg();
    }
    let left = free.load(Relaxed) & !bits;
    free.store(left, Relaxed);
    if left == 0 {
        let summary = h.summary.load(Relaxed) & !(1 << w);
        h.summary.store(summary, Relaxed);
        if summary == 0 {
            b.set_full(true);
        }
    }
    let n = bits.count_ones();
    h.used.store(h.used.load(Relaxed) + n, Relaxed);
    let fresh = h.fresh.load(Relaxed) as usize;
    let dirty = w < fresh || super::zeal();
    if w >= fresh {
        h.fresh.store(w as u16 + 1, Relaxed);
    }
    let base = b.addr() + w * 64 * size;
    let dirty = dirty && !clear_described(kind, base, size, bits);
    cache.base.store(base, Relaxed);
    cache.size.store(size as u32, Relaxed);
    cache.dirty.store(u32::from(dirty), Relaxed);
    cache.word.store(b.0 as usize * GROUPS + w, Relaxed);
    if super::is_collected(kind) {
        marking::hand_out(b, w, bits);
    }
    cache.bits.store(bits, Release);
    account(heap, kind, n as usize * size);
    true
}

/// Zeroes the slots `bits` of the word at `base` if objects of the kind are scanned by a descriptor: from now on a collection beside the
/// program may take them for objects, and what was there before for a descriptor. True if it has.
fn clear_described(kind: Kind, base: usize, size: usize, bits: u64) -> bool {
    if !kind.is_described() {
        return false;
    }
    let mut left = bits;
    while left != 0 {
        let slot = base + left.trailing_zeros() as usize * size;
        // SAFETY: free slots of a block of the thread's own, which nobody else uses.
        unsafe { core::ptr::write_bytes(slot as *mut u8, 0, size) };
        left &= left - 1;
    }
    // The marker of this thread or another one that finds a mark finds the zeroes.
    fence(Release);
    true
}

/// Counts bytes taken by a thread.
pub fn account(heap: &ThreadHeap, kind: Kind, bytes: usize) {
    heap.taken
        .store(heap.taken.load(Relaxed) + bytes as u64, Relaxed);
    if super::is_collected(kind) {
        let n = heap.unreported.load(Relaxed) + bytes as isize;
        if n >= REPORT || super::zeal() {
            heap.unreported.store(0, Relaxed);
            crate::pacer::allocated(n);
        } else {
            heap.unreported.store(n, Relaxed);
        }
    }
}

/// Counts bytes of a collected kind that a thread freed explicitly: they bring no collection nearer.
#[inline(always)]
pub fn freed(heap: &ThreadHeap, bytes: usize) {
    let n = heap.unreported.load(Relaxed) - bytes as isize;
    heap.unreported.store(n, Relaxed);
    if n <= -REPORT {
        report_freed(heap, n);
    }
}

#[cold]
fn report_freed(heap: &ThreadHeap, n: isize) {
    heap.unreported.store(0, Relaxed);
    crate::pacer::allocated(n);
}

/// Returns what a cache holds to its block and gives the block up. In a critical section of the heap's thread, or after it ended.
pub fn give_back(heap: &ThreadHeap, kind: Kind, class: u8) {
    front::give_back(heap, kind, class);
    let cache = heap.cache(kind, class);
    let b = cache.block();
    if b == Block::NONE {
        cache.bits.store(0, Relaxed);
        return;
    }
    sweep::ensure_swept(b);
    let w = cache.word.load(Relaxed) % GROUPS;
    let bits = cache.bits.swap(0, Relaxed);
    cache.word.store(0, Relaxed);
    let h = b.head();
    if bits != 0 {
        b.free(w).store(b.free(w).load(Relaxed) | bits, Relaxed);
        h.summary.store(h.summary.load(Relaxed) | 1 << w, Relaxed);
        b.set_full(false);
        h.used
            .store(h.used.load(Relaxed) - bits.count_ones(), Relaxed);
    }
    central::abandon(b);
}
