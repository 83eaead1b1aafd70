//! What a marker has to know of the objects of a block, in one word for each kind and class.

use super::entry::Entry;
use crate::heap::class::{CAPACITY, CLASS_BITS, CLASSES, SIZE};
use crate::kind::{KINDS, Kind};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Combinations of kind and class.
pub const SHAPES: usize = KINDS << CLASS_BITS;
const _: () = assert!(CAPACITY[0] < PLAIN as u32);

/// All words of the objects are looked at, and nothing more.
const PLAIN: u64 = 1 << 15;

/// Objects of one kind and class. From the lowest bits up: how many a block holds (15 bits, 0 if they are not marked), whether they
/// are plain (1 bit), their size in bytes (16 bits), and the part of an [`Entry`] that is the same for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape(pub u64);

impl Shape {
    fn new(kind: Kind, class: usize, traced: bool) -> Shape {
        let (size, capacity) = (SIZE[class] as usize, CAPACITY[class]);
        let entry = if kind.is_described() {
            Entry::described(0)
        } else {
            Entry::small(0, size, kind.is_scanned())
        };
        let plain = kind.is_scanned() && !kind.is_described();
        let capacity = if traced { u64::from(capacity) } else { 0 };
        Shape(entry.bits() | (size as u64) << 16 | u64::from(plain) * PLAIN | capacity)
    }

    /// Objects in a block.
    #[inline(always)]
    pub fn capacity(self) -> usize {
        (self.0 & (PLAIN - 1)) as usize
    }

    /// Bytes of an object.
    #[inline(always)]
    pub fn size(self) -> usize {
        (self.0 >> 16) as u16 as usize
    }

    /// Its words are looked at.
    #[inline(always)]
    pub fn is_scanned(self) -> bool {
        (self.0 as i64) < 0
    }

    /// All its words are looked at, and nothing more.
    #[inline(always)]
    pub fn is_plain(self) -> bool {
        self.0 & PLAIN != 0
    }

    /// The entry of the one at `addr`.
    #[inline(always)]
    pub fn entry(self, addr: usize) -> Entry {
        Entry::from_parts(addr, self.0)
    }
}

/// The shapes by [`Info::cache_index`](crate::heap::block::Info::cache_index), of which those of kinds in `traced` are marked.
pub fn fill(shapes: &[AtomicU64; SHAPES], traced: u32) {
    for (i, s) in shapes.iter().enumerate() {
        let (kind, class) = (i >> CLASS_BITS, i % (1 << CLASS_BITS));
        if class < CLASSES {
            let shape = Shape::new(Kind::from_index(kind), class, traced >> kind & 1 != 0);
            s.store(shape.0, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_class_and_kind_are() {
        let shapes = [const { AtomicU64::new(0) }; SHAPES];
        fill(&shapes, 1 << Kind::Scan.bit() | 1 << Kind::Atomic.bit());
        for kind in [Kind::Malloc, Kind::Scan, Kind::Atomic] {
            for class in 0..CLASSES {
                let s = Shape(shapes[kind.index() << CLASS_BITS | class].load(Relaxed));
                assert_eq!(s.size(), SIZE[class] as usize);
                assert_eq!(
                    (s.is_scanned(), s.is_plain()),
                    (kind.is_scanned(), kind.is_scanned())
                );
                let traced = if kind == Kind::Malloc {
                    0
                } else {
                    CAPACITY[class] as usize
                };
                assert_eq!(s.capacity(), traced);
                let e = s.entry(0x7fff_1234_5670);
                assert_eq!((e.addr(), e.size()), (0x7fff_1234_5670, s.size()));
                assert_eq!((e.is_scanned(), e.is_large()), (s.is_scanned(), false));
            }
        }
    }
}
