//! Explicit frees: the inlined fast path for the owner's thread and what it falls back on.

use super::alloc::current;
use super::block::{Block, Info};
use super::layout::{self, BLOCK, BLOCK_SHIFT, GROUPS, table};
use super::thread::ThreadHeap;
use super::{batch, central, class, critical, find, front, large, lists, refill, remote, sweep};
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
    if unsafe { quick(p as usize) } {
        Ok(())
    } else {
        // SAFETY: as above.
        unsafe { rest(p as usize) }
    }
}

/// What [`quick`] leaves.
///
/// # Safety
/// As for [`free`].
#[inline(never)]
unsafe fn rest(addr: usize) -> Result<(), FreeError> {
    // SAFETY: the caller gives the object up.
    if unsafe { direct(addr) } {
        Ok(())
    } else {
        free_slow(addr)
    }
}

/// Where a small object lies.
#[derive(Clone, Copy)]
pub struct Place {
    /// The heap's base.
    pub base: usize,
    /// Its block, below the limit.
    pub block: Block,
    /// The block's info word.
    pub info: Info,
    /// Its bit index.
    pub index: usize,
}

impl Place {
    /// Address of its block.
    #[inline(always)]
    pub fn block_addr(&self) -> usize {
        self.base + ((self.block.0 as usize) << BLOCK_SHIFT)
    }

    /// Number of its bitmap word in the heap.
    #[inline(always)]
    pub fn word(&self) -> usize {
        self.block.0 as usize * GROUPS + self.index / 64
    }
}

/// The small object that starts at `addr`, if that is such an address.
#[inline(always)]
fn locate(addr: usize) -> Option<Place> {
    let base = layout::base();
    let off = addr.wrapping_sub(base);
    if off >= layout::limit() {
        return None;
    }
    // SAFETY: the limit is never above the span. (With this the compiler need not cut block numbers to 32 bits.)
    unsafe { core::hint::assert_unchecked(off < layout::HEAP_SPAN) };
    let block = Block::at(off);
    // SAFETY: the block lies below the limit.
    let info = unsafe { block.info_from(base + table::INFO) };
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

/// Size of the slot that starts at `addr`, if a small object's slot does.
#[inline(always)]
pub fn small_size(addr: usize) -> Option<usize> {
    let class = locate(addr)?.info.class();
    Some(class::SIZE[class as usize] as usize)
}

/// Frees a small object by adding it to the thread's batch; false without effect for anything else.
///
/// # Safety
/// As for [`free`].
#[inline(always)]
pub unsafe fn quick(addr: usize) -> bool {
    locate(addr).is_some_and(|place| batch::add(current(), addr, &place))
}

/// Frees a small object of the calling thread's own; false without effect for anything else, and when the block's place in
/// the lists changes.
///
/// # Safety
/// As for [`free`].
#[inline(always)]
pub unsafe fn direct(addr: usize) -> bool {
    let Some(place) = locate(addr) else {
        return false;
    };
    let heap = current();
    let in_runs = batch::is_pending(heap);
    if in_runs {
        flush(heap);
    }
    // SAFETY: the caller's contract.
    unsafe {
        if place.info.is_explicit() {
            fast_at(heap, &place, in_runs)
        } else {
            fast_collected(heap, &place)
        }
    }
}

#[inline(never)]
fn flush(heap: &ThreadHeap) {
    critical::enter(heap);
    batch::flush(heap);
    critical::leave(heap);
}

/// # Safety
/// As for [`free`]; the object is of an explicit kind.
#[inline(always)]
unsafe fn fast_at(heap: &ThreadHeap, place: &Place, in_runs: bool) -> bool {
    // SAFETY: the block lies below the limit.
    let h = unsafe { place.block.head_from(place.base) };
    let own = h.owner.load(Relaxed) == heap.owner[Kind::Uncollectable.index()].load(Relaxed);
    if !own {
        return !finalize::is_used() && remote::add(heap, place);
    }
    // SAFETY: as above; an index computed by the reciprocal is below 4096.
    unsafe { put(heap, place, in_runs) != Put::Not }
}

/// # Safety
/// As for [`free`]; the object is of a collected kind.
#[inline(always)]
unsafe fn fast_collected(heap: &ThreadHeap, place: &Place) -> bool {
    let info = place.info;
    // SAFETY: the block lies below the limit.
    let h = unsafe { place.block.head_from(place.base) };
    // A thread without a heap owns nothing, and must not enter a section in the shared empty one.
    if finalize::is_used() || h.owner.load(Relaxed) != heap.owner[info.kind().index()].load(Relaxed)
    {
        return false;
    }
    critical::enter(heap);
    // Ownership of blocks of collected kinds ends with a collection: asked inside the section, where none can happen.
    let own = h.owner.load(Relaxed) == heap.owner[info.kind().index()].load(Relaxed)
        && h.swept.load(Relaxed) == sweep::swept_word();
    let done = if own {
        // SAFETY: as above; an index computed by the reciprocal is below 4096.
        unsafe { put(heap, place, true) }
    } else {
        Put::Not
    };
    if done == Put::Block {
        refill::freed(heap, class::SIZE[info.class() as usize] as usize);
    }
    critical::leave(heap);
    done != Put::Not
}

/// Where [`put`] has put an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Put {
    /// Nowhere: something is unusual.
    Not,
    /// Into the cache, where it is still counted as taken.
    Cache,
    /// Into its block.
    Block,
}

/// Puts an object back into the thread's cache or its block. `in_runs`: the program frees neighbours one after the other.
///
/// # Safety
/// The thread owns the block, which lies below the limit, and `index < GROUPS * 64`.
#[inline(always)]
unsafe fn put(heap: &ThreadHeap, place: &Place, in_runs: bool) -> Put {
    let &Place {
        base,
        block: b,
        info,
        index,
    } = place;
    let w = index / 64;
    let bit = 1u64 << (index % 64);
    // SAFETY: by this function's contract.
    let (word, h) = unsafe { (b.free_from(base, w), b.head_from(base)) };
    let free = word.load(Relaxed);
    // Somebody freed in this block remotely, perhaps this object: looked at on the slow path.
    if h.remote_summary.load(Relaxed) != 0 {
        return Put::Not;
    }
    let cache = heap.cache_of(info);
    if cache.word.load(Relaxed) == place.word() {
        let bits = cache.bits.load(Relaxed);
        if (bits | free) & bit != 0 {
            return Put::Not;
        }
        cache.dirty.store(1, Relaxed);
        cache.bits.store(bits | bit, Relaxed);
        return Put::Cache;
    }
    if info.is_explicit() {
        let stash = heap.stash_of(info);
        if stash.word.load(Relaxed) == place.word() {
            let bits = stash.bits.load(Relaxed);
            if (bits | free) & bit != 0 {
                return Put::Not;
            }
            stash.bits.store(bits | bit, Relaxed);
            return Put::Cache;
        }
        if !in_runs && free & bit == 0 && front::put(heap, place, cache, h, stash) {
            return Put::Cache;
        }
    }
    let summary = h.summary.load(Relaxed);
    let used = h.used.load(Relaxed);
    if free & bit != 0 || summary == 0 || used == 1 {
        return Put::Not;
    }
    word.store(free | bit, Relaxed);
    h.summary.store(summary | 1 << w, Relaxed);
    h.used.store(used - 1, Relaxed);
    batch::expect(heap, place);
    Put::Block
}

/// Frees an object of a block that the thread owns and that is swept. In a critical section.
fn local(heap: &ThreadHeap, b: Block, info: Info, index: usize) -> Result<(), FreeError> {
    if local_word(heap, b, info, index / 64, 1 << (index % 64)) {
        Ok(())
    } else {
        Err(super::double_free(b, index))
    }
}

/// Frees slots of word `w` of a block that the thread owns and that is swept, as far as they are not free; false if none was
/// to be freed. In a critical section.
pub fn local_word(heap: &ThreadHeap, b: Block, info: Info, w: usize, bits: u64) -> bool {
    remote::drain_block(b);
    let cache = heap.cache_of(info);
    let free = b.free(w).load(Relaxed);
    if cache.word.load(Relaxed) == b.0 as usize * GROUPS + w {
        let cached = cache.bits.load(Relaxed);
        let new = bits & !(cached | free);
        cache.dirty.store(1, Relaxed);
        cache.bits.store(cached | new, Relaxed);
        return new != 0;
    }
    let stash = heap.stash_of(info);
    if stash.word.load(Relaxed) == b.0 as usize * GROUPS + w {
        let stashed = stash.bits.load(Relaxed);
        let new = bits & !(stashed | free);
        stash.bits.store(stashed | new, Relaxed);
        return new != 0;
    }
    let new = bits & !free;
    if new != 0 {
        let h = b.head();
        let used = h.used.load(Relaxed) - new.count_ones();
        b.free(w).store(free | new, Relaxed);
        h.summary.store(h.summary.load(Relaxed) | 1 << w, Relaxed);
        h.used.store(used, Relaxed);
        b.set_full(false);
        if !info.is_explicit() {
            let size = class::SIZE[info.class() as usize] as usize;
            refill::freed(heap, new.count_ones() as usize * size);
        }
        relist(heap, b, info, used);
    }
    new != 0
}

/// Puts a block that has a free object into the owner's list, or gives it up when it is empty.
fn relist(heap: &ThreadHeap, b: Block, info: Info, used: u32) {
    let (kind, class) = (info.kind(), info.class());
    if heap.current(kind, class) == b {
        return;
    }
    let listed = b.head().listed.load(Relaxed) == lists::LOCAL;
    if !listed {
        return lists::push(heap, b, kind, class);
    }
    // One empty block stays if it is the only one, so that a program at a block's edge does not go back and forth.
    let only = heap.partial[kind.index()][class as usize].load(Relaxed) == b.0
        && b.head().next.load(Relaxed) == 0;
    if used == 0 && !only {
        lists::unlink(heap, b, kind, class);
        front::forget(heap, b, kind, class);
        central::release(b);
    }
}

/// Everything that [`quick`] and [`direct`] leave.
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
    batch::flush(heap);
    let (b, info) = (slot.block, slot.info);
    finalize::forget(slot.base);
    if !info.is_small() {
        return if large::free(b, info.kind()) {
            Ok(())
        } else {
            Err(FreeError::DoubleFree(slot.object()))
        };
    }
    if b.head().owner.load(Relaxed) == heap.owner[info.kind().index()].load(Relaxed) {
        sweep::ensure_swept(b);
        return local(heap, b, info, slot.index);
    }
    remote::free(heap, b, slot.index)
}
