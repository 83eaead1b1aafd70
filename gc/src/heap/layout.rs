//! Where the heap and its tables lie.
//!
//! One slice of address space, chosen at start, holds the object blocks and behind them, at constant distances, one
//! table per sort of metadata, indexed by block. The slice is not reserved by a mapping: storage is mapped at its
//! addresses (`MAP_FIXED_NOREPLACE`) as the heap grows, so that `RLIMIT_AS` counts only what is used. An address that
//! turns out to be taken is skipped.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// log2 of the block size.
pub const BLOCK_SHIFT: u32 = 16;
/// Bytes of a block.
pub const BLOCK: usize = 1 << BLOCK_SHIFT;
/// Bitmap words (64 objects each) of a block of the smallest class.
pub const GROUPS: usize = BLOCK / 16 / 64;
/// Address space for objects.
pub const HEAP_SPAN: usize = 1 << 43;
/// Blocks that fit.
pub const MAX_BLOCKS: usize = HEAP_SPAN >> BLOCK_SHIFT;

/// Bytes of table per block, and where each table starts, relative to the heap's base.
pub mod table {
    use super::{GROUPS, HEAP_SPAN, MAX_BLOCKS};
    /// `BlockInfo`, 8 bytes.
    pub const INFO: usize = HEAP_SPAN;
    /// Bytes per block in [`INFO`].
    pub const INFO_SIZE: usize = 8;
    /// Mark bytes, one per object, of the first half of the objects that a block can hold: all of them in every class but the smallest. Not further behind
    /// [`INFO`] than the displacement of an instruction reaches, for the marker.
    pub const MARK: usize = INFO + MAX_BLOCKS * INFO_SIZE;
    /// Bytes per block in [`MARK`] and in [`MARK_REST`].
    pub const MARK_SIZE: usize = GROUPS * 64 / 2;
    /// `BlockHead`, 64 bytes.
    pub const HEAD: usize = MARK + MAX_BLOCKS * MARK_SIZE;
    /// Bytes per block in [`HEAD`].
    pub const HEAD_SIZE: usize = 64;
    /// Free words.
    pub const FREE: usize = HEAD + MAX_BLOCKS * HEAD_SIZE;
    /// Bytes per block in [`FREE`].
    pub const FREE_SIZE: usize = GROUPS * 8;
    /// Remote-free and held words, interleaved.
    pub const SIDE: usize = FREE + MAX_BLOCKS * FREE_SIZE;
    /// Bytes per block in [`SIDE`].
    pub const SIDE_SIZE: usize = GROUPS * 16;
    /// Suspect words (mode `reclaim`): unreachable in the last cycle.
    pub const SUSPECT: usize = SIDE + MAX_BLOCKS * SIDE_SIZE;
    /// Bytes per block in [`SUSPECT`].
    pub const SUSPECT_SIZE: usize = GROUPS * 8;
    /// Object tags (mode `leaks`).
    pub const TAG: usize = SUSPECT + MAX_BLOCKS * SUSPECT_SIZE;
    /// Bytes per block in [`TAG`].
    pub const TAG_SIZE: usize = GROUPS * 64 * 4;
    /// Mark bytes of the other half: only blocks of the smallest class touch this table.
    pub const MARK_REST: usize = TAG + MAX_BLOCKS * TAG_SIZE;
    /// End of the slice.
    pub const END: usize = MARK_REST + MAX_BLOCKS * MARK_SIZE;

    const _: () = assert!(MARK - INFO <= i32::MAX as usize);
}

static BASE: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(0);

/// First address of the heap; 0 before the heap is set up.
#[inline(always)]
pub fn base() -> usize {
    BASE.load(Relaxed)
}

/// Bytes of the heap whose tables are mapped: an address is in the heap if its distance from [`base`] is less.
#[inline(always)]
pub fn limit() -> usize {
    LIMIT.load(Relaxed)
}

/// Distance of `addr` from the base if it is in the heap.
#[inline(always)]
pub fn offset(addr: usize) -> Option<usize> {
    let off = addr.wrapping_sub(base());
    if off < limit() { Some(off) } else { None }
}

pub(super) fn set_base(base: usize) {
    BASE.store(base, Relaxed);
}

pub(super) fn set_limit(limit: usize) {
    LIMIT.store(limit, core::sync::atomic::Ordering::Release);
}

/// The whole address slice `[lo, hi)`, objects and tables: what root enumeration leaves out.
pub fn slice() -> (usize, usize) {
    (base(), base() + table::END)
}
