//! From an address to the object around it.

use super::block::{Block, Info, State, valid, words};
use super::layout::{self, BLOCK};
use super::{class, large, runs};
use crate::kind::KINDS;
use crate::raw::Object;
use core::sync::atomic::Ordering::Relaxed;

/// An object slot: its block, its index there (0 for large objects), and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The block that holds its bits.
    pub block: Block,
    /// Bit index.
    pub index: usize,
    /// Address of the first byte.
    pub base: usize,
    /// Size in bytes.
    pub size: usize,
    /// The block's info word.
    pub info: Info,
}

/// The slot around `addr`, allocated or not. `None` outside the heap, in free blocks, and behind the last slot.
#[inline]
pub fn slot(addr: usize) -> Option<Slot> {
    let off = layout::offset(addr)?;
    let block = Block::at(off);
    let info = block.info();
    if info.is_small() {
        let class = info.class() as usize;
        let index = ((off & (BLOCK - 1)) as u64 * info.high() as u64 >> 32) as usize;
        if index >= class::CAPACITY[class] as usize {
            return None;
        }
        let size = class::SIZE[class] as usize;
        return Some(Slot {
            block,
            index,
            base: block.addr() + index * size,
            size,
            info,
        });
    }
    if info.state() == State::Free {
        return None;
    }
    let (first, size) = large::head_of(block, info)?;
    if addr >= first.addr() + size {
        return None;
    }
    Some(Slot {
        block: first,
        index: 0,
        base: first.addr(),
        size,
        info: first.info(),
    })
}

impl Slot {
    /// Handed out, as far as the bitmaps tell: slots in thread caches count as allocated.
    #[inline]
    pub fn is_allocated(&self) -> bool {
        self.block.free(self.index / 64).load(Relaxed) >> (self.index % 64) & 1 == 0
    }

    /// As the untyped interface shows it.
    pub fn object(&self) -> Object {
        Object {
            base: self.base,
            size: self.size,
            kind: self.info.kind(),
        }
    }
}

/// The allocated object around `addr`.
pub fn object(addr: usize) -> Option<Object> {
    slot(addr).filter(Slot::is_allocated).map(|s| s.object())
}

/// Calls `f` for the objects of a block, those in thread caches included; not for what was freed, also by other threads, though its
/// owner may not look for a long time. With the world stopped.
#[inline]
pub fn each_in(block: Block, info: Info, mut f: impl FnMut(Slot)) {
    let slot = |index, base, size| Slot {
        block,
        index,
        base,
        size,
        info,
    };
    match info.state() {
        State::Small => {
            let class = info.class() as usize;
            let (size, capacity) = (class::SIZE[class] as usize, class::CAPACITY[class] as usize);
            for w in 0..words(capacity) {
                let freed = block.free(w).load(Relaxed) | block.side(w).remote.load(Relaxed);
                let mut live = valid(capacity, w) & !freed;
                while live != 0 {
                    let i = w * 64 + live.trailing_zeros() as usize;
                    live &= live - 1;
                    f(slot(i, block.addr() + i * size, size));
                }
            }
        }
        State::Large => {
            let size = block.head().length.load(Relaxed) as usize;
            f(slot(0, block.addr(), size));
        }
        _ => {}
    }
}

/// Calls `f` for the allocated objects of `kinds`, given as bits. With the world stopped.
pub fn each_of(kinds: u32, f: &mut dyn FnMut(&Slot)) {
    const { assert!(KINDS <= 32) };
    for i in 1..runs::frontier() {
        let b = Block(i as u32);
        let info = b.info();
        if kinds >> info.kind().bit() & 1 != 0 {
            each_in(b, info, |s| f(&s));
        }
    }
}
