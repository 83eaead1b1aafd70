//! The lock-free part of remote frees: bits published in a block, the block put into its owner's stack, taken out and emptied.
//!
//! A block enters a stack when its link goes from 0 to something else. Whoever takes it out sets the link back to 0 *before*
//! taking the bits, so that a later free puts it in again.

use crate::sync::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    fence,
};

/// End of a stack.
pub const END: u32 = u32::MAX;

/// Publishes freed slots of word `w`. True if the caller has to tell the block's owner: nobody else does.
pub fn publish(remote: &AtomicU64, summary: &AtomicU64, w: usize, bits: u64) -> bool {
    // Release: what the freeing thread did with the objects is over before the owner hands them out again.
    remote.fetch_or(bits, AcqRel) == 0 && summary.fetch_or(1 << w, AcqRel) == 0
}

/// Puts a block into a stack; false if it is in one.
pub fn push(top: &AtomicU32, link: &AtomicU32, block: u32) -> bool {
    if link.compare_exchange(0, END, AcqRel, Relaxed).is_err() {
        return false;
    }
    let mut old = top.load(Relaxed);
    loop {
        link.store(if old == 0 { END } else { old }, Relaxed);
        match top.compare_exchange_weak(old, block, SeqCst, Relaxed) {
            Ok(_) => return true,
            Err(now) => old = now,
        }
    }
}

/// Empties a stack: the first block, 0 for none.
pub fn pop_all(top: &AtomicU32) -> u32 {
    top.swap(0, SeqCst)
}

/// Takes a block out of the stack that [`pop_all`] returned: the next block, 0 or [`END`] for none.
pub fn unlink(link: &AtomicU32) -> u32 {
    let next = link.load(Relaxed);
    link.store(0, SeqCst);
    next
}

/// Takes the words that have something: bit w for word w.
pub fn take_summary(summary: &AtomicU64) -> u64 {
    if summary.load(Relaxed) == 0 {
        0
    } else {
        summary.swap(0, AcqRel)
    }
}

/// Takes the freed slots of a word.
pub fn take_bits(remote: &AtomicU64) -> u64 {
    remote.swap(0, AcqRel)
}

/// Gives the block up (owner word 0). True if somebody freed something remotely who may not have found out: of a thread that
/// publishes and then looks for the owner, and this one, one sees the other.
pub fn give_up(owner: &AtomicU32, summary: &AtomicU64) -> bool {
    owner.store(0, Release);
    fence(SeqCst);
    summary.load(Relaxed) != 0
}

/// The block's owner, after [`publish`].
pub fn owner_to_tell(owner: &AtomicU32) -> u32 {
    fence(SeqCst);
    owner.load(Acquire)
}
