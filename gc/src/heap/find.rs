//! From an address to the object around it.

use super::block::{Block, Info, State};
use super::layout::{self, BLOCK};
use super::{class, large};
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
