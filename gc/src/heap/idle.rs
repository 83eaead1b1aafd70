//! Where memory is saved: caches that hold a good part of a block give it back after each collection.
//!
//! Of large classes a cache holds half a block and more. A program that makes a few objects of many sizes would have a block for each of them, which
//! no other size can use, though all of its objects may be dead.

use super::class::{self, CLASSES};
use super::layout::BLOCK;
use super::thread::ThreadHeap;
use super::{is_collected, refill, spare, sweep};
use crate::kind::Kind;
use crate::kinds;
use core::sync::atomic::Ordering::Relaxed;

/// Of classes with objects of this size, in bytes, 64 fill half a block.
const LEAST: usize = BLOCK / 2 / 64;

/// Once in each epoch: what the thread's caches of large classes hold goes back to the blocks, and empty blocks to where all classes take theirs from. In a
/// critical section.
#[inline(always)]
pub fn give_back(heap: &ThreadHeap) {
    if spare::saves_memory() && heap.looked_in.load(Relaxed) != sweep::epoch() {
        look(heap);
    }
}

#[cold]
fn look(heap: &ThreadHeap) {
    heap.looked_in.store(sweep::epoch(), Relaxed);
    for k in 0..kinds::count() {
        let kind = Kind::from_index(k);
        if !is_collected(kind) {
            continue;
        }
        for class in class::of(LEAST)..CLASSES as u8 {
            if heap.cache(kind, class).word.load(Relaxed) != 0 {
                refill::give_back(heap, kind, class);
            }
        }
    }
}
