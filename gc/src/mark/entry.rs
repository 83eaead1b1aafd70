//! Entries of packets: grey objects.

use crate::heap::class::SMALL_MAX;

const SIZE_SHIFT: u32 = 48;
const ADDRESS: u64 = (1 << SIZE_SHIFT) - 1;
const SCANNED: u64 = 1 << 63;
/// Size of what stands for (the rest of) a large object, in words.
const LARGE: u64 = 0x7fff;
/// Size of what stands for an object that is scanned by its descriptor, in words.
const DESCRIBED: u64 = LARGE - 1;
const _: () = assert!(SMALL_MAX / 8 < DESCRIBED as usize);

/// An object: its address; its size in words, above; whether it is scanned, on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Entry(u64);

impl Entry {
    /// An object of a block of small ones.
    pub fn small(addr: usize, size: usize, scanned: bool) -> Entry {
        Entry(addr as u64 | (size as u64 / 8) << SIZE_SHIFT | u64::from(scanned) * SCANNED)
    }

    /// A large object from `addr` on.
    pub fn large(addr: usize) -> Entry {
        Entry(addr as u64 | LARGE << SIZE_SHIFT | SCANNED)
    }

    /// An object that is scanned by its descriptor.
    pub fn described(addr: usize) -> Entry {
        Entry(addr as u64 | DESCRIBED << SIZE_SHIFT | SCANNED)
    }

    /// The entry for `addr` with the upper bits of `rest`.
    #[inline(always)]
    pub fn from_parts(addr: usize, rest: u64) -> Entry {
        Entry(addr as u64 | rest & !ADDRESS)
    }

    /// All of it.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Where it begins.
    #[inline(always)]
    pub fn addr(self) -> usize {
        (self.0 << 16 >> 16) as usize
    }

    /// Bytes of a small object.
    #[inline(always)]
    pub fn size(self) -> usize {
        ((self.0 >> SIZE_SHIFT & LARGE) * 8) as usize
    }

    /// It is (the rest of) a large one, or described.
    #[inline(always)]
    pub fn is_special(self) -> bool {
        self.0 >> SIZE_SHIFT & LARGE >= DESCRIBED
    }

    /// It is (the rest of) a large one.
    #[inline(always)]
    pub fn is_large(self) -> bool {
        self.0 >> SIZE_SHIFT & LARGE == LARGE
    }

    /// Its words are looked at.
    #[inline(always)]
    pub fn is_scanned(self) -> bool {
        self.0 & SCANNED != 0
    }
}
