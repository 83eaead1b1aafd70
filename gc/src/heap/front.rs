//! The slot freed last in front of a cache: it is handed out next, while its memory is still near the processor.
//!
//! Only in blocks of explicit kinds, which no collection takes away. What the cache held goes to its stash until the slots in front are
//! used up. The slots in front may lie in any block of the thread's own; the stash then says which block is the current one.

use super::block::{Block, Head};
use super::class;
use super::free::{self, Place};
use super::layout::GROUPS;
use super::thread::{Cache, Stash, ThreadHeap};
use crate::kind::Kind;
use core::sync::atomic::Ordering::{Relaxed, Release};

/// Puts a slot that is handed out in front of the cache; false without effect if the cache has one in front, or none to put it in front of.
///
/// No critical section: after each store every slot that is free is in the cache, in the stash or in both, and the freed one is in the
/// cache or counts as handed out; a stop sees nothing else.
#[inline(always)]
pub fn put(heap: &ThreadHeap, place: &Place, cache: &Cache, head: &Head, stash: &Stash) -> bool {
    let (word, stashed) = (cache.word.load(Relaxed), stash.word.load(Relaxed));
    let bits = cache.bits.load(Relaxed);
    let near = (if stashed == 0 { word } else { stashed }) / GROUPS == place.block.0 as usize;
    // The last object of a block: an empty block is given back.
    if near
        || stashed != 0 && bits != 0
        || word == 0 && stashed == 0
        || head.used.load(Relaxed) == 1
    {
        return false;
    }
    if stashed == 0 {
        stash.bits.store(bits, Relaxed);
        stash.word.store(word, Release);
        cache.bits.store(0, Release);
    }
    let w = place.index / 64;
    let size = cache.size.load(Relaxed) as usize;
    cache
        .base
        .store(place.block_addr() + w * 64 * size, Release);
    cache.dirty.store(1, Relaxed);
    cache.word.store(place.word(), Release);
    cache.bits.store(1 << (place.index % 64), Release);
    // No batch is under way, and none begins in a word of the cache.
    heap.batch_word.store(0, Relaxed);
    true
}

/// Puts what is in the stash back into the cache, where nothing is in front any more; false if there is no stash. In a critical
/// section.
pub fn restore(heap: &ThreadHeap, kind: Kind, class: u8) -> bool {
    let stash = &heap.stashes[kind.index()][class as usize];
    let word = stash.word.load(Relaxed);
    if word == 0 {
        return false;
    }
    let cache = heap.cache(kind, class);
    let (b, w) = (Block((word / GROUPS) as u32), word % GROUPS);
    cache.bits.store(0, Relaxed);
    cache.base.store(
        b.addr() + w * 64 * class::SIZE[class as usize] as usize,
        Relaxed,
    );
    cache.dirty.store(1, Relaxed);
    cache.word.store(word, Relaxed);
    cache.bits.store(stash.bits.load(Relaxed), Relaxed);
    stash.word.store(0, Relaxed);
    true
}

/// Gives the slots in front back to their block, so that the cache is one of the current block. In a critical section of the heap's
/// thread, or after it ended.
pub fn give_back(heap: &ThreadHeap, kind: Kind, class: u8) {
    let cache = heap.cache(kind, class);
    let (b, w) = (cache.block(), cache.word.load(Relaxed) % GROUPS);
    let bits = cache.bits.load(Relaxed);
    if restore(heap, kind, class) && bits != 0 {
        free::local_word(heap, b, b.info(), w, bits);
    }
}

/// The block is about to be given back, all of its objects free: the cache no longer points to it.
pub fn forget(heap: &ThreadHeap, b: Block, kind: Kind, class: u8) {
    let cache = heap.cache(kind, class);
    if cache.block() == b {
        cache.word.store(0, Relaxed);
    }
}
