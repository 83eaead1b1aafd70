//! Blocks without an owner that have free objects, per kind and class: left behind by threads that ended, or swept.

use super::block::Block;
use super::class::CLASSES;
use super::thread::NO_OWNER;
use super::{handoff, lists, runs};
use crate::kind::{KINDS, Kind};
use crate::kinds;
use crate::sys::lock::Lock;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

static LISTS: [[Lock<u32>; CLASSES]; KINDS] = [const { [const { Lock::new(0) }; CLASSES] }; KINDS];

/// Lists a block if it has no owner (owner word 0), is not listed, and still is what the caller took it for. Only blocks of
/// small objects that are listed here, or full, have owner word 0: so the caller need not know what became of the block
/// meanwhile.
pub fn push(b: Block, kind: Kind, class: u8) {
    let mut list = LISTS[kind.index()][class as usize].lock();
    let h = b.head();
    let unowned = h.owner.load(Acquire) == 0 && h.listed.load(Relaxed) == lists::UNLISTED;
    let info = b.info();
    if unowned && info.is_small() && info.kind() == kind && info.class() == class {
        h.next.store(*list, Relaxed);
        h.listed.store(lists::CENTRAL, Relaxed);
        *list = b.0;
    }
}

/// The calling owner (or sweeper) gives up a block that is not empty and in no list.
pub fn give_up(b: Block, kind: Kind, class: u8) {
    let h = b.head();
    h.listed.store(lists::UNLISTED, Relaxed);
    if handoff::give_up(&h.owner, &h.remote_summary) || h.summary.load(Relaxed) != 0 {
        push(b, kind, class);
    }
}

/// Takes a block and gives it the owner word `owner`.
pub fn pop(kind: Kind, class: u8, owner: u32) -> Option<Block> {
    let mut list = LISTS[kind.index()][class as usize].lock();
    if *list == 0 {
        return None;
    }
    let b = Block(*list);
    let h = b.head();
    *list = h.next.load(Relaxed);
    h.listed.store(lists::UNLISTED, Relaxed);
    h.owner.store(owner, Release);
    Some(b)
}

/// The calling owner gives a block up that is in none of its lists: empty blocks become free, others are listed.
pub fn abandon(b: Block) {
    super::remote::drain_block(b);
    let info = b.info();
    let h = b.head();
    if h.used.load(Relaxed) == 0 {
        release(b);
        return;
    }
    give_up(b, info.kind(), info.class());
}

/// In a fork child: takes over a block whose owner is gone, with its figures computed from the free words.
pub fn inherit(b: Block) {
    let info = b.info();
    let h = b.head();
    // A block that was current when the last collection ended may wait for its sweep, and no list would lead to it any more:
    // its marks would stay, and the next mark phase would take them for its own.
    super::sweep::settle(b);
    let capacity = super::class::CAPACITY[info.class() as usize] as usize;
    let mut summary = 0u64;
    let mut free = 0;
    for w in 0..super::block::words(capacity) {
        let bits = b.free(w).load(Relaxed);
        summary |= u64::from(bits != 0) << w;
        free += bits.count_ones();
    }
    h.summary.store(summary, Relaxed);
    b.set_full(summary == 0);
    h.used.store(capacity as u32 - free, Relaxed);
    h.listed.store(lists::UNLISTED, Relaxed);
    h.remote_next.store(0, Relaxed);
    h.owner.store(NO_OWNER, Relaxed);
    abandon(b);
}

/// Looks through the listed blocks of collected kinds for those that remote frees have emptied, and gives them back. In a
/// critical section.
pub fn scavenge() {
    while super::sweep::step() {}
    for (k, classes) in LISTS[..kinds::count()].iter().enumerate() {
        if !super::is_collected(Kind::from_index(k)) {
            continue;
        }
        for list in classes {
            let mut next = take_all(list);
            while next != 0 {
                let b = Block(next);
                next = b.head().next.load(Relaxed);
                abandon(b);
            }
        }
    }
}

/// Unlists all blocks of a list, which belong to the caller then; they stay chained.
fn take_all(list: &Lock<u32>) -> u32 {
    let mut list = list.lock();
    let first = *list;
    let mut next = first;
    while next != 0 {
        let h = Block(next).head();
        h.listed.store(lists::UNLISTED, Relaxed);
        h.owner.store(NO_OWNER, Release);
        next = h.next.load(Relaxed);
    }
    *list = 0;
    first
}

/// Gives an empty block of small objects back to the runs.
pub fn release(b: Block) {
    b.head().owner.store(NO_OWNER, Relaxed);
    b.head().listed.store(lists::UNLISTED, Relaxed);
    runs::release(b, 1);
}

/// Forgets the lists of collected kinds: with the world stopped, before every block is swept anew.
pub fn reset_collected() {
    for (k, classes) in LISTS[..kinds::count()].iter().enumerate() {
        if super::is_collected(Kind::from_index(k)) {
            for list in classes {
                *list.lock() = 0;
            }
        }
    }
}

/// Takes every list's lock (fork protocol).
pub fn acquire_all() {
    LISTS.iter().flatten().for_each(Lock::acquire);
}

/// Releases every list's lock.
///
/// # Safety
/// After [`acquire_all`] by this thread, or by its parent in a fork child.
pub unsafe fn release_all() {
    // SAFETY: by this function's contract.
    LISTS.iter().flatten().for_each(|l| unsafe { l.release() });
}
