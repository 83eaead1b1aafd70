//! Explicit frees: the inlined fast path for the owner's thread and what it falls back on.

use super::alloc::current;
use super::block::{Block, Info};
use super::layout::{self, BLOCK, GROUPS};
use super::thread::ThreadHeap;
use super::{central, class, critical, find, large, lists, refill, remote, sweep};
use crate::finalize;
use crate::kind::Kind;
use crate::raw::FreeError;
use core::sync::atomic::Ordering::Relaxed;

/// Frees the object at `p`; see `crate::raw::free`.
///
/// # Safety
/// Nobody uses the object afterwards.
#[inline(always)]
pub unsafe fn free(p: *mut u8) -> Result<(), FreeError> {
    // SAFETY: the caller gives the object up.
    if unsafe { fast(p as usize) } {
        Ok(())
    } else {
        free_slow(p as usize)
    }
}

/// Where a small object lies.
#[derive(Clone, Copy)]
struct Place {
    base: usize,
    block: Block,
    info: Info,
    index: usize,
}

/// The small object that starts at `addr`, if that is such an address.
#[inline(always)]
fn locate(addr: usize) -> Option<Place> {
    let base = layout::base();
    let off = addr.wrapping_sub(base);
    if off >= layout::limit() {
        return None;
    }
    let block = Block::at(off);
    // SAFETY: the block lies below the limit.
    let info = unsafe { block.info_from(base) };
    let product = (off & (BLOCK - 1)) as u64 * info.high() as u64;
    if !info.is_small() || (product as u32) >= info.high() {
        return None;
    }
    Some(Place {
        base,
        block,
        info,
        index: (product >> 32) as usize,
    })
}

/// Frees a small object of the calling thread's own; false without effect for anything else, and when the block's place in
/// the lists changes.
///
/// # Safety
/// As for [`free`].
#[inline(always)]
pub unsafe fn fast(addr: usize) -> bool {
    let Some(place) = locate(addr) else {
        return false;
    };
    // SAFETY: the caller's contract.
    unsafe {
        if place.info.is_explicit() {
            fast_at(place)
        } else {
            fast_collected(place)
        }
    }
}

/// As [`fast`], for objects of explicit kinds only.
///
/// # Safety
/// As for [`free`].
#[inline(always)]
pub unsafe fn fast_explicit(addr: usize) -> bool {
    let Some(place) = locate(addr) else {
        return false;
    };
    // SAFETY: the caller's contract.
    place.info.is_explicit() && unsafe { fast_at(place) }
}

/// # Safety
/// As for [`free`]; the object is of an explicit kind.
#[inline(always)]
unsafe fn fast_at(place: Place) -> bool {
    let heap = current();
    // SAFETY: the block lies below the limit.
    let h = unsafe { place.block.head_from(place.base) };
    let own = h.owner.load(Relaxed) == heap.owner[Kind::Uncollectable as usize].load(Relaxed);
    // SAFETY: as above; an index computed by the reciprocal is below 4096.
    own && unsafe { put(heap, place.base, place.block, place.info, place.index) }
}

/// # Safety
/// As for [`free`]; the object is of a collected kind.
#[inline(always)]
unsafe fn fast_collected(place: Place) -> bool {
    let Place {
        base,
        block: b,
        info,
        index,
    } = place;
    let heap = current();
    // SAFETY: the block lies below the limit.
    let h = unsafe { b.head_from(base) };
    // A thread without a heap owns nothing, and must not enter a section in the shared empty one.
    if finalize::is_used()
        || h.owner.load(Relaxed) != heap.owner[info.kind() as usize].load(Relaxed)
    {
        return false;
    }
    critical::enter(heap);
    // Ownership of blocks of collected kinds ends with a collection: asked inside the section, where none can happen.
    let own = h.owner.load(Relaxed) == heap.owner[info.kind() as usize].load(Relaxed)
        && h.swept.load(Relaxed) == sweep::swept_word();
    // SAFETY: as above; an index computed by the reciprocal is below 4096.
    let done = own && unsafe { put(heap, base, b, info, index) };
    if done {
        refill::freed(heap, class::SIZE[info.class() as usize] as usize);
    }
    critical::leave(heap);
    done
}

/// Puts object `index` back into the thread's cache or its block; false if something is unusual.
///
/// # Safety
/// `b` lies below the limit, the thread owns it, and `index < GROUPS * 64`.
#[inline(always)]
unsafe fn put(heap: &ThreadHeap, base: usize, b: Block, info: Info, index: usize) -> bool {
    let w = index / 64;
    let bit = 1u64 << (index % 64);
    // SAFETY: by this function's contract.
    let (word, h) = unsafe { (b.free_from(base, w), b.head_from(base)) };
    let free = word.load(Relaxed);
    // Somebody freed in this block remotely, perhaps this object: looked at on the slow path.
    if h.remote_summary.load(Relaxed) != 0 {
        return false;
    }
    let cache = heap.cache(info.kind(), info.class());
    if cache.word.load(Relaxed) == b.0 as usize * GROUPS + w {
        let bits = cache.bits.load(Relaxed);
        if (bits | free) & bit != 0 {
            return false;
        }
        cache.dirty.store(1, Relaxed);
        cache.bits.store(bits | bit, Relaxed);
        return true;
    }
    let summary = h.summary.load(Relaxed);
    let used = h.used.load(Relaxed);
    if free & bit != 0 || summary == 0 || used == 1 {
        return false;
    }
    word.store(free | bit, Relaxed);
    h.summary.store(summary | 1 << w, Relaxed);
    h.used.store(used - 1, Relaxed);
    true
}

/// Frees an object of a block that the thread owns and that is swept. In a critical section.
fn local(heap: &ThreadHeap, b: Block, info: Info, index: usize) -> Result<(), FreeError> {
    let w = index / 64;
    let bit = 1u64 << (index % 64);
    remote::drain_block(b);
    let cache = heap.cache(info.kind(), info.class());
    let free = b.free(w).load(Relaxed);
    if cache.word.load(Relaxed) == b.0 as usize * GROUPS + w {
        let bits = cache.bits.load(Relaxed);
        if (bits | free) & bit != 0 {
            return Err(super::double_free(b, index));
        }
        cache.dirty.store(1, Relaxed);
        cache.bits.store(bits | bit, Relaxed);
        return Ok(());
    }
    if free & bit != 0 {
        return Err(super::double_free(b, index));
    }
    let h = b.head();
    let used = h.used.load(Relaxed) - 1;
    b.free(w).store(free | bit, Relaxed);
    h.summary.store(h.summary.load(Relaxed) | 1 << w, Relaxed);
    h.used.store(used, Relaxed);
    b.set_full(false);
    relist(heap, b, info, used);
    Ok(())
}

/// Puts a block that has a free object into the owner's list, or gives it up when it is empty.
fn relist(heap: &ThreadHeap, b: Block, info: Info, used: u32) {
    let (kind, class) = (info.kind(), info.class());
    if heap.cache(kind, class).block() == b {
        return;
    }
    let listed = b.head().listed.load(Relaxed) == lists::LOCAL;
    if !listed {
        return lists::push(heap, b, kind, class);
    }
    // One empty block stays if it is the only one, so that a program at a block's edge does not go back and forth.
    let only = heap.partial[kind as usize][class as usize].load(Relaxed) == b.0
        && b.head().next.load(Relaxed) == 0;
    if used == 0 && !only {
        lists::unlink(heap, b, kind, class);
        central::release(b);
    }
}

/// Everything that [`fast`] leaves.
#[cold]
#[inline(never)]
fn free_slow(addr: usize) -> Result<(), FreeError> {
    if layout::offset(addr).is_none() {
        return Err(FreeError::Foreign);
    }
    let Some(slot) = find::slot(addr) else {
        return Err(FreeError::Interior(None));
    };
    if slot.base != addr {
        return Err(FreeError::Interior(
            slot.is_allocated().then(|| slot.object()),
        ));
    }
    let mut heap = current();
    if heap.is_empty_heap() && !core::ptr::eq(heap, &super::thread::ENDED) {
        heap = super::registry::register().unwrap_or(heap);
    }
    if heap.is_empty_heap() {
        return critical::without_signals(|| free_in_section(heap, slot));
    }
    critical::enter(heap);
    let r = free_in_section(heap, slot);
    critical::leave(heap);
    r
}

fn free_in_section(heap: &ThreadHeap, slot: find::Slot) -> Result<(), FreeError> {
    let (b, info) = (slot.block, slot.info);
    finalize::forget(slot.base);
    if !info.is_small() {
        return if large::free(b, info.kind()) {
            Ok(())
        } else {
            Err(FreeError::DoubleFree(slot.object()))
        };
    }
    if b.head().owner.load(Relaxed) == heap.owner[info.kind() as usize].load(Relaxed) {
        sweep::ensure_swept(b);
        local(heap, b, info, slot.index)?;
        if !info.is_explicit() {
            refill::freed(heap, slot.size);
        }
        return Ok(());
    }
    remote::free(heap, b, slot.index)
}
