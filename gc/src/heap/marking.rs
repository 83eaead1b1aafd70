//! What allocation and freeing observe while a concurrent mark phase is under way.
//!
//! Objects handed out in the phase are like others at first: most are dead before it ends. From [`bear_marked`] on, when the program's stacks
//! have been looked at again, they are born marked, so that the last stop need not trace them: a thread's cache is marked when it is filled, 64 slots at a
//! time, so that the fast path knows nothing of the phase. The sweep spares them and takes the mark back: in the next cycle,
//! also a generational one, they are like objects that were made after this one.
//!
//! A slot that is freed and handed out again from the cache keeps what mark it has. That does no harm: without a mark it is
//! found like any other object, from the roots of the last stop or from memory that was written; with one, it is scanned
//! because its own memory was written. Nor do marks that a marker sets in a block that was put to another use after it had
//! read what the block was for: slots get the right mark when they are handed out.
//!
//! The phase begins and ends with the world stopped, and its state is asked for in critical sections only.

use super::block::{Block, valid, words};
use super::{registry, slot};
use crate::dirty;
use crate::kind::Kind;
use crate::sys::mem::PAGE;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

static ACTIVE: AtomicBool = AtomicBool::new(false);
static BORN_MARKED: AtomicBool = AtomicBool::new(false);

/// A concurrent mark phase is under way.
#[inline(always)]
pub fn is_active() -> bool {
    ACTIVE.load(Relaxed)
}

/// In the phase, objects are born marked.
#[inline(always)]
pub fn bears_marked() -> bool {
    BORN_MARKED.load(Relaxed)
}

/// Begins the phase. The world is stopped, every block swept.
pub fn begin() {
    ACTIVE.store(true, Relaxed);
}

/// From here to the end of the phase objects are born marked, those in caches too. The world is stopped.
pub fn bear_marked() {
    registry::for_each(|heap| {
        heap.each_cached(|b, _, w, bits| {
            if super::is_collected(b.info().kind()) {
                born(b, w, bits);
            }
        });
    });
    BORN_MARKED.store(true, Relaxed);
}

/// Ends the phase. The world is stopped.
pub fn end() {
    ACTIVE.store(false, Relaxed);
    BORN_MARKED.store(false, Relaxed);
}

/// The slots `bits` of word `w` may be handed out from now on: they are born marked, or what is left of marks of
/// objects that were freed is taken back. In a critical section of the block's owner.
#[inline]
pub fn hand_out(b: Block, w: usize, bits: u64) {
    if bears_marked() {
        born(b, w, bits);
    } else if b.mark_word(w) & bits != 0 {
        set(b, w, bits, false);
    }
}

/// Marks the objects `bits` of word `w` as born in this collection.
pub fn born(b: Block, w: usize, bits: u64) {
    set(b, w, bits, true);
}

/// `n` free blocks get objects of a kind. If the dirty source protects memory, it must not protect malloc'ed blocks.
pub fn about_to_use(b: Block, n: usize, kind: Kind) {
    if kind == Kind::Malloc && dirty::in_kernel::is_needed() {
        dirty::open_for_good(dirty::Range {
            start: b.addr(),
            end: b.offset(n).addr(),
        });
    }
}

/// A thread takes word `w` of a block of its own, in a critical section. Where more than one page is about to be written, the first write to
/// each shall not cost a fault: from here on, what is left of the block counts as written.
#[inline(always)]
pub fn about_to_fill(b: Block, w: usize, size: usize) {
    let protections = dirty::protections();
    if protections != 0 && b.head().stamp.load(Relaxed) != protections {
        open(b, w, size, protections);
    }
}

#[cold]
fn open(b: Block, w: usize, size: usize, protections: u64) {
    let words = (b.head().summary.load(Relaxed) >> w).count_ones() as usize;
    let start = (b.addr() + w * 64 * size) & !(PAGE - 1);
    let end = b.offset(1).addr();
    if words * 64 * size > PAGE && dirty::expect_writes(dirty::Range { start, end }) {
        b.head().stamp.store(protections, Relaxed);
    }
}

fn set(b: Block, w: usize, bits: u64, marking: bool) {
    let mut left = bits;
    while left != 0 {
        slot::hand_out(b.mark(w * 64 + left.trailing_zeros() as usize), marking);
        left &= left - 1;
    }
}

/// The slots of word `w` whose objects have to be scanned when the memory they lie in was written: marked ones of kinds
/// that are traced, all allocated ones of kinds that are roots. `capacity` is what the caller read: the block may have been put to
/// another use since.
#[inline]
pub fn to_scan(b: Block, w: usize, capacity: usize, explicit: bool) -> u64 {
    debug_assert!(w < words(capacity));
    let live = valid(capacity, w) & !b.free(w).load(Relaxed);
    if explicit {
        live & !b.side(w).remote.load(Relaxed)
    } else {
        live & b.mark_word(w)
    }
}
