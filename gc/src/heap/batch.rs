//! Frees that wait: bits of one bitmap word, so that a run of neighbouring objects costs one update of their block.
//!
//! The second free in a row in a word of the thread's own begins a batch; a free elsewhere, a refill and the end of the thread put it
//! into the block. Slots in a batch count as allocated, except while a mark phase runs with the world stopped. No cache of the
//! thread holds slots of the batch's word.

use super::block::Block;
use super::free::Place;
use super::layout::{BLOCK, GROUPS};
use super::thread::ThreadHeap;
use super::{free, handoff, remote, sweep};
use crate::finalize;
use core::sync::atomic::Ordering::Relaxed;

/// Frees an object by adding it to the batch, or to the cache, if it lies in the word of one of the two and is not free; false
/// without effect otherwise.
///
/// No critical section: the last store is a single instruction, so that a stop sees the object there or not. If the stop takes
/// the block away, a bit is added to a batch that is empty then, or to a cache without a block, which the next stop empties: the address
/// stays in a register until then, so the object survives the stop and its slot is nobody else's.
#[inline(always)]
pub fn add(heap: &ThreadHeap, addr: usize, place: &Place) -> bool {
    let &Place {
        base,
        block,
        info,
        index,
    } = place;
    let word = place.word();
    // SAFETY: `locate` found the block below the limit; an index computed by the reciprocal is below 4096.
    let (free, head) = unsafe { (block.free_from(base, index / 64), block.head_from(base)) };
    // A finalizer would have to be forgotten; somebody freed in this block remotely, perhaps this object.
    if finalize::is_used() || head.remote_summary.load(Relaxed) != 0 {
        return false;
    }
    let bit = 1u64 << (index % 64);
    let cache = heap.cache_of(info);
    let bits = if heap.batch_word.load(Relaxed) == word {
        &heap.batch_bits
    } else if cache.word.load(Relaxed) == word
        && (info.is_explicit() || head.swept.load(Relaxed) == sweep::swept_word())
    {
        cache.dirty.store(1, Relaxed);
        &cache.bits
    } else {
        return false;
    };
    if (bits.load(Relaxed) | free.load(Relaxed)) & bit != 0 {
        return false;
    }
    // SAFETY: one of the thread's own words, which only it and a collector that has stopped it write.
    unsafe {
        core::arch::asm!(
            "or qword ptr [{bits}], {bit} /* {addr} */",
            bits = in(reg) bits.as_ptr(),
            bit = in(reg) bit,
            addr = in(reg) addr,
            options(nostack)
        );
    }
    true
}

/// Something is in the batch.
#[inline(always)]
pub fn is_pending(heap: &ThreadHeap) -> bool {
    heap.batch_bits.load(Relaxed) != 0
}

/// An object of the thread's own was freed directly: the next one in its word begins a batch. With an empty batch.
#[inline(always)]
pub fn expect(heap: &ThreadHeap, place: &Place) {
    heap.batch_word.store(place.word(), Relaxed);
}

fn take(heap: &ThreadHeap) -> Option<(Block, usize, u64)> {
    let word = heap.batch_word.load(Relaxed);
    let bits = heap.batch_bits.load(Relaxed);
    heap.batch_bits.store(0, Relaxed);
    (word != 0 && bits != 0).then_some((Block((word / GROUPS) as u32), word % GROUPS, bits))
}

/// Frees what is in the batch, and ends it. In a critical section.
pub fn flush(heap: &ThreadHeap) {
    if heap.batch_word.load(Relaxed) == 0 {
        return;
    }
    let taken = take(heap);
    heap.batch_word.store(0, Relaxed);
    let Some((b, w, bits)) = taken else { return };
    let info = b.info();
    if b.head().owner.load(Relaxed) == heap.owner[info.kind().index()].load(Relaxed) {
        sweep::ensure_swept(b);
        free::local_word(heap, b, info, w, bits);
    } else {
        remote::publish_batch(b, w, bits);
    }
}

/// With the world stopped: gives the batch to the sweep that follows if it is of a collected kind. The word stays: the thread may be
/// about to add to the batch.
pub fn flush_collected(heap: &ThreadHeap) {
    let b = Block((heap.batch_word.load(Relaxed) / GROUPS) as u32);
    if b == Block::NONE || !super::is_collected(b.info().kind()) {
        return;
    }
    if let Some((b, w, bits)) = take(heap) {
        handoff::publish(&b.side(w).remote, &b.head().remote_summary, w, bits);
    }
}

/// Calls `f(block, free word, its number, bits)` for the batch. With the thread stopped.
pub fn each(
    heap: &ThreadHeap,
    mut f: impl FnMut(Block, &core::sync::atomic::AtomicU64, usize, u64),
) {
    let (word, bits) = (heap.batch_word.load(Relaxed), heap.batch_bits.load(Relaxed));
    if word != 0 && bits != 0 {
        let b = Block((word / GROUPS) as u32);
        f(b, b.free(word % GROUPS), word % GROUPS, bits);
    }
}

/// In a fork child, for a heap whose thread is gone: what is in the batch is free in a block that was the thread's own, whose figures
/// are computed anew afterwards.
pub fn inherit(heap: &ThreadHeap) {
    let taken = take(heap);
    heap.batch_word.store(0, Relaxed);
    if let Some((b, w, bits)) = taken
        && b.head().owner.load(Relaxed) == heap.owner[b.info().kind().index()].load(Relaxed)
    {
        b.free(w).store(b.free(w).load(Relaxed) | bits, Relaxed);
    }
}

const _: () = assert!(BLOCK / 16 == GROUPS * 64);
