//! Frees by threads that do not own the block: an atomic OR into the block's remote words, batched per word and class in the
//! freeing thread, and a stack per owner of the blocks that have some.
//!
//! A block enters a stack when its `remote_next` goes from 0 to a link; whoever drains it sets it back to 0 *before*
//! taking the words, so that a later free lists it again.

use super::block::{Block, valid};
use super::free::Place;
use super::layout::{BLOCK, GROUPS};
use super::thread::{RemoteBatch, ThreadHeap};
use super::{central, class, front, handoff, lists, registry, runs, sweep};
use crate::raw::FreeError;
use core::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

/// Bytes freed remotely in collected kinds before a search for empty blocks, at least; a sixteenth of the heap if more.
const SCAVENGE: usize = 1 << 20;
static FREED: AtomicUsize = AtomicUsize::new(0);
static NEXT_SCAVENGE: AtomicUsize = AtomicUsize::new(SCAVENGE);

/// Frees object `index` of `b` remotely. In a critical section.
pub fn free(heap: &ThreadHeap, b: Block, index: usize) -> Result<(), FreeError> {
    let w = index / 64;
    let bit = 1u64 << (index % 64);
    let word = b.0 as usize * GROUPS + w;
    if b.free(w).load(Relaxed) & bit != 0 || b.side(w).remote.load(Relaxed) & bit != 0 {
        return Err(super::double_free(b, index));
    }
    if heap.is_empty_heap() {
        publish(b, w, bit);
        return Ok(());
    }
    let batch = heap.remote_batch(b.info());
    if batch.word.load(Relaxed) == word {
        let bits = batch.bits.load(Relaxed);
        if bits & bit != 0 {
            return Err(super::double_free(b, index));
        }
        batch.bits.store(bits | bit, Relaxed);
        return Ok(());
    }
    if let Some((last, w, bits)) = batch.take() {
        publish_batch(last, w, bits);
    }
    batch.bits.store(bit, Relaxed);
    batch.word.store(word, Relaxed);
    Ok(())
}

/// Frees an object of an explicit kind by adding it to the batch of its word; false without effect if that is not there, or the object is
/// free. No critical section: a stop leaves batches of explicit kinds alone.
#[inline(always)]
pub fn add(heap: &ThreadHeap, place: &Place) -> bool {
    let batch = heap.remote_batch(place.info);
    if batch.word.load(Relaxed) != place.word() {
        return false;
    }
    let (b, w, bit) = (place.block, place.index / 64, 1 << (place.index % 64));
    let bits = batch.bits.load(Relaxed);
    // SAFETY: `locate` found the block below the limit; an index computed by the reciprocal is below 4096.
    let free = unsafe { b.free_from(place.base, w) }.load(Relaxed);
    if (bits | free | b.side(w).remote.load(Relaxed)) & bit != 0 {
        return false;
    }
    batch.bits.store(bits | bit, Relaxed);
    true
}

/// After a collection a block of a collected kind has no owner who would notice that it became empty: now and then somebody
/// has to look. Counts a batch of `n` objects of `b`.
fn count(b: Block, n: u32) {
    let info = b.info();
    if info.is_explicit() {
        return;
    }
    let bytes = n as usize * class::SIZE[info.class() as usize] as usize;
    if FREED.fetch_add(bytes, Relaxed) + bytes >= NEXT_SCAVENGE.load(Relaxed) {
        FREED.store(0, Relaxed);
        central::scavenge();
        NEXT_SCAVENGE.store(SCAVENGE.max(runs::figures().in_use * BLOCK / 16), Relaxed);
    }
}

/// Publishes the thread's batches of remote frees.
pub fn flush(heap: &ThreadHeap) {
    for (b, w, bits) in heap.remote_batches.iter().filter_map(RemoteBatch::take) {
        publish(b, w, bits);
    }
}

/// Publishes slots of word `w` that wait in a batch of local frees, their block having lost its owner meanwhile. In a critical
/// section.
pub fn publish_batch(b: Block, w: usize, bits: u64) {
    publish(b, w, bits);
    count(b, bits.count_ones());
}

/// With the world stopped: publishes the thread's batches of collected kinds. A thread in the middle of an explicit
/// free is not in a critical section, but then its batch is not of a collected kind: those are changed in one.
pub fn flush_collected(heap: &ThreadHeap) {
    for batch in &heap.remote_batches {
        let b = Block((batch.word.load(Relaxed) / GROUPS) as u32);
        if b == Block::NONE || !super::is_collected(b.info().kind()) {
            continue;
        }
        if let Some((b, w, bits)) = batch.take() {
            // Nobody is told: the sweep that follows takes the words in. Telling could wait for locks of stopped threads.
            handoff::publish(&b.side(w).remote, &b.head().remote_summary, w, bits);
        }
    }
}

fn publish(b: Block, w: usize, bits: u64) {
    if !handoff::publish(&b.side(w).remote, &b.head().remote_summary, w, bits) {
        return;
    }
    if let Some(heap) = tell_owner(b) {
        registry::drain_dead(heap);
    }
}

/// Makes sure that somebody will look at the block's remote words. The result, if any, is a heap whose thread has ended: the
/// caller has to see to it that it is drained.
fn tell_owner(b: Block) -> Option<&'static ThreadHeap> {
    let info = b.info();
    let owner = handoff::owner_to_tell(&b.head().owner);
    let id = owner & 0xffff;
    let heap = registry::get(id).filter(|_| owner == registry::owner_word(id, info.kind()));
    let Some(heap) = heap else {
        if sweep::is_swept(b) {
            central::push(b, info.kind(), info.class());
        }
        return None;
    };
    if !handoff::push(&heap.remote.0, &b.head().remote_next, b.0) {
        return None;
    }
    (heap.tid.load(SeqCst) == 0).then_some(heap)
}

/// The owner takes in what others freed. In a critical section.
pub fn drain(heap: &ThreadHeap) {
    if heap.remote.0.load(Relaxed) != 0 && drain_stack(heap) {
        registry::drain_all_dead();
    }
}

/// Empties a heap's stack of blocks with remote frees. True if a block went on to a heap whose thread has ended: then that one
/// is to be drained as well.
pub fn drain_stack(heap: &ThreadHeap) -> bool {
    let mut dead = false;
    let mut next = handoff::pop_all(&heap.remote.0);
    while next != 0 && next != handoff::END {
        let b = Block(next);
        next = handoff::unlink(&b.head().remote_next);
        dead |= took_back(heap, b);
    }
    dead
}

/// A block out of a remote stack: drained if it is still this heap's, else passed on. As `drain_stack` returns.
fn took_back(heap: &ThreadHeap, b: Block) -> bool {
    let info = b.info();
    if !info.is_small() {
        return false;
    }
    let (kind, class) = (info.kind(), info.class());
    let owner = b.head().owner.load(Acquire);
    if owner != heap.owner[kind.index()].load(Relaxed) {
        if !sweep::is_swept(b) {
            return false;
        }
        if heap.tid.load(Relaxed) == 0 && owner == registry::owner_word(heap.id.load(Relaxed), kind)
        {
            central::abandon(b);
            return false;
        }
        // Whoever freed something while it was in this stack told nobody.
        return b.head().remote_summary.load(SeqCst) != 0 && tell_owner(b).is_some();
    }
    sweep::ensure_swept(b);
    drain_block(b);
    let h = b.head();
    let current = heap.current(kind, class) == b;
    if current || h.summary.load(Relaxed) == 0 {
        return false;
    }
    if h.used.load(Relaxed) == 0 {
        if h.listed.load(Relaxed) == lists::LOCAL {
            lists::unlink(heap, b, kind, class);
        }
        front::forget(heap, b, kind, class);
        central::release(b);
    } else if h.listed.load(Relaxed) == lists::UNLISTED {
        lists::push(heap, b, kind, class);
    }
    false
}

/// Moves the block's remote words into its free words. By its owner, or by whoever has it to himself.
pub fn drain_block(b: Block) {
    let h = b.head();
    let mut words = handoff::take_summary(&h.remote_summary);
    if words == 0 {
        return;
    }
    let capacity = class::CAPACITY[b.info().class() as usize] as usize;
    let mut summary = h.summary.load(Relaxed);
    let mut used = h.used.load(Relaxed);
    while words != 0 {
        let w = words.trailing_zeros() as usize;
        words &= words - 1;
        let bits = handoff::take_bits(&b.side(w).remote) & valid(capacity, w);
        let free = b.free(w).load(Relaxed);
        let fresh = bits & !free;
        b.free(w).store(free | bits, Relaxed);
        if free | bits != 0 {
            summary |= 1 << w;
        }
        used -= fresh.count_ones();
    }
    h.summary.store(summary, Relaxed);
    b.set_full(summary == 0);
    h.used.store(used, Release);
}
