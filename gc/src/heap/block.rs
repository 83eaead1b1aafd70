//! Blocks: 64 KiB of objects of one size and kind, or a part of a large object. Their metadata lie in the tables.

use super::class::{self, CLASS_BITS, Class};
use super::layout::{self, BLOCK_SHIFT, GROUPS, table};
pub use super::slot::{BORN, REACHED};
use crate::kind::{KIND_BITS, Kind};
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Index of a block in the heap. 0 is never used: it stands for "none" in lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Block(pub u32);

/// What a block is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// In no use: never allocated, free, or not ours.
    Free = 0,
    /// Objects of one size class.
    Small = 1,
    /// First block of a large object.
    Large = 2,
    /// Further block of a large object.
    LargeTail = 3,
}

/// The 8 bytes that turn an address into an object: state, class, kind, and the reciprocal of the object size
/// (small) or the distance in blocks to the first block (large tail).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Info(pub u64);

/// First bit of the kind, above the class.
const KIND: u32 = 8 + CLASS_BITS;

impl Info {
    /// A block in no use.
    pub const FREE: Info = Info(0);

    /// A block of small objects.
    pub fn small(class: Class, kind: Kind) -> Info {
        let r = class::RECIPROCAL[class as usize] as u64;
        let explicit = u64::from(!super::is_collected(kind)) << 24;
        Info(
            State::Small as u64
                | (class as u64) << 8
                | (kind.index() as u64) << KIND
                | explicit
                | r << 32,
        )
    }

    /// The first block of a large object.
    pub fn large(kind: Kind) -> Info {
        Info(State::Large as u64 | (kind.index() as u64) << KIND)
    }

    /// A further block of a large object, `distance` blocks behind the first.
    pub fn tail(kind: Kind, distance: u32) -> Info {
        Info(State::LargeTail as u64 | (kind.index() as u64) << KIND | (distance as u64) << 32)
    }

    /// Its state.
    #[inline(always)]
    pub fn state(self) -> State {
        match self.0 as u8 {
            1 => State::Small,
            2 => State::Large,
            3 => State::LargeTail,
            _ => State::Free,
        }
    }

    /// True for a block of small objects.
    #[inline(always)]
    pub fn is_small(self) -> bool {
        self.0 as u8 == State::Small as u8
    }

    /// True for a block of small objects of a kind that only `free` ends (fixed when the block is made).
    #[inline(always)]
    pub fn is_explicit(self) -> bool {
        self.0 & 1 << 24 != 0
    }

    /// No free word of the block has a bit set: every slot counts as allocated. For the marker, which then need not look.
    #[inline(always)]
    pub fn is_full(self) -> bool {
        self.0 & 1 << 25 != 0
    }

    /// Size class (small blocks).
    #[inline(always)]
    pub fn class(self) -> Class {
        (self.0 >> 8) as u8 & (1 << CLASS_BITS) - 1
    }

    /// Kind and class in one number, below `KINDS << CLASS_BITS` (small blocks).
    #[inline(always)]
    pub fn cache_index(self) -> usize {
        (self.0 >> 8) as usize & ((1 << (KIND_BITS + CLASS_BITS)) - 1)
    }

    /// Kind of the objects.
    #[inline(always)]
    pub fn kind(self) -> Kind {
        // SAFETY: info words are zero (Kind::Malloc) or made by the constructors above from a Kind.
        unsafe { Kind::from_bits((self.0 >> KIND) as u8 & ((1 << KIND_BITS) - 1)) }
    }

    /// Reciprocal of the object size (small), or blocks to the first one (tail).
    #[inline(always)]
    pub fn high(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Only the smallest class has objects there: a jump that is hardly ever taken costs the marker less than computing both addresses.
#[cold]
fn rest() {}

/// Words that are touched only by remote frees and by collections.
#[repr(C)]
pub struct SideGroup {
    /// Freed by threads that do not own the block.
    pub remote: AtomicU64,
    /// Still in a thread's cache when the world was last stopped: not to be freed by the sweep.
    pub held: AtomicU64,
}

/// Everything else about a block. Plain fields belong to the owner (or, without one, to whoever holds the list it is in).
#[repr(C, align(64))]
pub struct Head {
    /// Owner word of the owning thread for this kind; 0 without an owner.
    pub owner: AtomicU32,
    /// Sweep state: `2 * epoch` when swept in that epoch, `2 * epoch + 1` while a sweeper is at it.
    pub swept: AtomicU32,
    /// Next block in the list it is in.
    pub next: AtomicU32,
    /// Previous block in the list it is in.
    pub prev: AtomicU32,
    /// Bit w: free word w is not zero.
    pub summary: AtomicU64,
    /// Bit w: remote word w may be not zero. From 0 to non-zero once per drain: whoever does that tells the owner.
    pub remote_summary: AtomicU64,
    /// Next block in its owner's stack of blocks with remote frees.
    pub remote_next: AtomicU32,
    /// Objects handed out or cached (small).
    pub used: AtomicU32,
    /// First free word never handed out since the storage was known to be zero; `GROUPS` if none.
    pub fresh: AtomicU16,
    /// Small: one more than the number of objects for which the block's storage was last given back, see [`super::spare`]; 0: never.
    pub trimmed: AtomicU16,
    /// In one of the owner's or the central lists.
    pub listed: AtomicU32,
    /// Size in bytes (large, first block); length in blocks (first and last block of a free run).
    pub length: AtomicU64,
    /// Free run: time when it was freed in ms, or `CLEAN`. Small: `dirty::protections` when its pages were last opened.
    pub stamp: AtomicU64,
}

const _: () = assert!(size_of::<Head>() == table::HEAD_SIZE);
const _: () = assert!(table::FREE_SIZE == GROUPS * 8);
const _: () = assert!(size_of::<SideGroup>() * GROUPS == table::SIDE_SIZE);

impl Block {
    /// No block.
    pub const NONE: Block = Block(0);

    /// The block at heap offset `off`.
    #[inline(always)]
    pub fn at(off: usize) -> Block {
        Block((off >> BLOCK_SHIFT) as u32)
    }

    /// Address of its first byte.
    #[inline(always)]
    pub fn addr(self) -> usize {
        layout::base() + ((self.0 as usize) << BLOCK_SHIFT)
    }

    #[inline(always)]
    fn info_cell(self) -> &'static AtomicU64 {
        // SAFETY: the table entry of every block below the limit is mapped, zero at first, and never unmapped; blocks
        // are made only from offsets below the limit.
        unsafe {
            &*((layout::base() + table::INFO + self.0 as usize * table::INFO_SIZE)
                as *const AtomicU64)
        }
    }

    /// Its info word, given the address of the first one.
    ///
    /// # Safety
    /// `infos` is [`layout::base`]` + `[`table::INFO`], and the block lies below the limit.
    #[inline(always)]
    pub unsafe fn info_from(self, infos: usize) -> Info {
        // SAFETY: as in `info_cell`.
        let cell = unsafe { &*((infos + self.0 as usize * table::INFO_SIZE) as *const AtomicU64) };
        Info(cell.load(Relaxed))
    }

    /// Its head, given the heap's base.
    ///
    /// # Safety
    /// `base` is [`layout::base`], and the block lies below the limit.
    #[inline(always)]
    pub unsafe fn head_from(self, base: usize) -> &'static Head {
        // SAFETY: as in `head`.
        unsafe { &*((base + table::HEAD + self.0 as usize * table::HEAD_SIZE) as *const Head) }
    }

    /// Free word of objects `64 w ..`, given the heap's base.
    ///
    /// # Safety
    /// As for [`Self::head_from`]; `w < GROUPS`.
    #[inline(always)]
    pub unsafe fn free_from(self, base: usize, w: usize) -> &'static AtomicU64 {
        // SAFETY: as in `free`.
        unsafe { &*((base + table::FREE + (self.0 as usize * GROUPS + w) * 8) as *const AtomicU64) }
    }

    /// Mark byte of object `index`, given the address of the first info word.
    ///
    /// # Safety
    /// As for [`Self::info_from`]; `index < GROUPS * 64`.
    #[inline(always)]
    pub unsafe fn mark_from(self, infos: usize, index: usize) -> &'static AtomicU8 {
        let mut at = infos + self.0 as usize * table::MARK_SIZE + index;
        if index >= table::MARK_SIZE {
            rest();
            at += table::MARK_REST - table::MARK - table::MARK_SIZE;
        }
        // SAFETY: as in `mark`.
        unsafe { &*((at + (table::MARK - table::INFO)) as *const AtomicU8) }
    }

    /// Its info word.
    #[inline(always)]
    pub fn info(self) -> Info {
        Info(self.info_cell().load(Relaxed))
    }

    /// Publishes its info word after the other metadata.
    pub fn set_info(self, info: Info) {
        self.info_cell()
            .store(info.0, core::sync::atomic::Ordering::Release);
    }

    /// Notes in the info word of a block of small objects whether it has free slots. By its owner, or whoever has it to
    /// himself.
    #[inline]
    pub fn set_full(self, full: bool) {
        let old = self.info().0;
        let new = old & !(1 << 25) | u64::from(full) << 25;
        if new != old {
            self.info_cell().store(new, Relaxed);
        }
    }

    /// Its head.
    #[inline(always)]
    pub fn head(self) -> &'static Head {
        // SAFETY: as in `info_cell`; all fields are atomics, for which zero is a valid value.
        unsafe {
            &*((layout::base() + table::HEAD + self.0 as usize * table::HEAD_SIZE) as *const Head)
        }
    }

    /// Free word of objects `64 w ..`: bit i stands for a slot that is free and not handed to a thread's cache. Written by the
    /// block's owner, or by the sweeper that claimed it.
    #[inline(always)]
    pub fn free(self, w: usize) -> &'static AtomicU64 {
        debug_assert!(w < GROUPS);
        // SAFETY: as in `head`; `w < GROUPS`.
        unsafe { self.free_from(layout::base(), w) }
    }

    /// Mark byte of object `index`: 0, [`REACHED`] or [`BORN`]. Marks of the last cycle stay until the next one that is not
    /// generational.
    #[inline(always)]
    pub fn mark(self, index: usize) -> &'static AtomicU8 {
        debug_assert!(index < GROUPS * 64);
        // SAFETY: as in `head`; `index < GROUPS * 64`.
        unsafe { self.mark_from(layout::base() + table::INFO, index) }
    }

    /// The marks of objects `64 w ..` as bits.
    #[inline]
    pub fn mark_word(self, w: usize) -> u64 {
        use core::arch::x86_64::{
            __m128i, _mm_cmpgt_epi8, _mm_load_si128, _mm_movemask_epi8, _mm_setzero_si128,
        };
        let p = core::ptr::from_ref(self.mark(w * 64)).cast::<__m128i>();
        let mut bits = 0;
        for i in 0..4 {
            // SAFETY: 64 mark bytes begin at `p`, 64-byte aligned. Markers may write them meanwhile only in phases whose end the
            // caller waits for; SSE2 is part of x86_64.
            let m = unsafe {
                _mm_movemask_epi8(_mm_cmpgt_epi8(
                    _mm_load_si128(p.add(i)),
                    _mm_setzero_si128(),
                ))
            };
            bits |= u64::from(m as u16) << (16 * i);
        }
        bits
    }

    /// Takes the marks of objects `64 w ..` back.
    #[inline]
    pub fn clear_marks(self, w: usize) {
        let p = core::ptr::from_ref(self.mark(w * 64))
            .cast_mut()
            .cast::<u64>();
        for i in 0..8 {
            // SAFETY: as in `mark_word`; nobody else uses the marks of a block that is being swept or made.
            unsafe { p.add(i).write(0) };
        }
    }

    /// Takes those marks of objects `64 w ..` back that are [`BORN`].
    #[inline]
    pub fn clear_born(self, w: usize) {
        let p = core::ptr::from_ref(self.mark(w * 64))
            .cast_mut()
            .cast::<u64>();
        for i in 0..8 {
            // SAFETY: as in `clear_marks`. REACHED is bit 0, BORN is bit 1.
            unsafe {
                let marks = p.add(i).read();
                if marks & 0x0202_0202_0202_0202 != 0 {
                    p.add(i).write(marks & 0x0101_0101_0101_0101);
                }
            }
        }
    }

    /// Sets the marks of objects `64 w ..` from bits.
    pub fn set_marks(self, w: usize, bits: u64) {
        for i in 0..64 {
            self.mark(w * 64 + i)
                .store((bits >> i & 1) as u8 * REACHED, Relaxed);
        }
    }

    /// Remote and held words of objects `64 w ..`.
    #[inline(always)]
    pub fn side(self, w: usize) -> &'static SideGroup {
        debug_assert!(w < GROUPS);
        // SAFETY: as in `head`; `w < GROUPS`.
        unsafe {
            &*((layout::base() + table::SIDE + self.0 as usize * table::SIDE_SIZE + w * 16)
                as *const SideGroup)
        }
    }

    /// Suspect word of objects `64 w ..`; only in mode `reclaim`, where this table is mapped.
    pub fn suspect(self, w: usize) -> &'static AtomicU64 {
        debug_assert!(w < GROUPS);
        // SAFETY: as in `head`; the caller is in mode `reclaim`.
        unsafe {
            &*((layout::base() + table::SUSPECT + self.0 as usize * table::SUSPECT_SIZE + w * 8)
                as *const AtomicU64)
        }
    }

    /// Tag of object `index`; only with tags switched on, when this table is mapped.
    pub fn tag(self, index: usize) -> &'static AtomicU32 {
        // SAFETY: as in `head`; `index` is below the block's capacity, and tags are on.
        unsafe {
            &*((layout::base() + table::TAG + self.0 as usize * table::TAG_SIZE + index * 4)
                as *const AtomicU32)
        }
    }

    /// The block `n` further on.
    #[inline]
    pub fn offset(self, n: usize) -> Block {
        Block(self.0 + n as u32)
    }
}

/// Bitmap words that a block of `capacity` objects uses.
#[inline]
pub fn words(capacity: usize) -> usize {
    capacity.div_ceil(64)
}

/// Bits of word `w` that stand for objects in a block of `capacity` objects.
#[inline]
pub fn valid(capacity: usize, w: usize) -> u64 {
    let left = capacity - w * 64;
    if left >= 64 { !0 } else { (1 << left) - 1 }
}
