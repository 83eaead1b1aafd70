//! A thread's lists of its partly free blocks: doubly linked, touched by the owner only.

use super::block::Block;
use super::thread::ThreadHeap;
use crate::kind::Kind;
use core::sync::atomic::Ordering::Relaxed;

/// Values of `Head::listed` for small blocks.
pub const UNLISTED: u32 = 0;
/// In its owner's partial list.
pub const LOCAL: u32 = 3;
/// In a central list.
pub const CENTRAL: u32 = 4;

/// Puts a block at the front of its owner's list.
pub fn push(heap: &ThreadHeap, b: Block, kind: Kind, class: u8) {
    let list = &heap.partial[kind.index()][class as usize];
    let old = list.load(Relaxed);
    let h = b.head();
    h.next.store(old, Relaxed);
    h.prev.store(0, Relaxed);
    h.listed.store(LOCAL, Relaxed);
    if old != 0 {
        Block(old).head().prev.store(b.0, Relaxed);
    }
    list.store(b.0, Relaxed);
}

/// Takes a block out of its owner's list.
pub fn unlink(heap: &ThreadHeap, b: Block, kind: Kind, class: u8) {
    let h = b.head();
    let (next, prev) = (h.next.load(Relaxed), h.prev.load(Relaxed));
    if next != 0 {
        Block(next).head().prev.store(prev, Relaxed);
    }
    if prev != 0 {
        Block(prev).head().next.store(next, Relaxed);
    } else {
        heap.partial[kind.index()][class as usize].store(next, Relaxed);
    }
    h.listed.store(UNLISTED, Relaxed);
}
