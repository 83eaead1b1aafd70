//! Where memory is saved: storage between the objects of a block that hardly anything is allocated in goes back to the system.
//!
//! Such a block may have been made of storage that was in use before, which it would keep for nothing: every size of objects that a
//! program has a few of has a block. No object lies there, so there are no marks either; a page that comes back while the heap is watched
//! counts as written, or as unchanged if nobody has written to it.

use super::block::Block;
use super::class::SIZE;
use super::layout::{BLOCK, GROUPS};
use crate::sys::mem::{self, PAGE, round_up};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Less than this is not worth a system call.
const LEAST: usize = 8 * PAGE;

static ON: AtomicBool = AtomicBool::new(false);

/// From here on blocks are trimmed.
pub fn save_memory() {
    ON.store(true, Relaxed);
}

/// [`save_memory`] was called.
pub fn saves_memory() -> bool {
    ON.load(Relaxed)
}

/// Gives back the pages of `b` that hold no object, where there are several next to each other that may be storage. `used` has the allocated objects'
/// bits; objects of the first `cached` words may be handed out again without a look at the block, though not meanwhile. Not before the number of objects
/// changes again: pages that a program uses from one collection to the next stay.
pub fn trim(b: Block, used: &[u64; GROUPS], cached: usize) {
    let h = b.head();
    let trimmed = 1 + used.iter().map(|w| w.count_ones() as u16).sum::<u16>();
    if !ON.load(Relaxed) || h.trimmed.swap(trimmed, Relaxed) == trimmed {
        return;
    }
    let size = SIZE[b.info().class() as usize] as usize;
    // Words from there on were not handed out since the block was made of zeroes, or since they were given back.
    let end = (h.fresh.load(Relaxed) as usize * 64 * size).min(BLOCK);
    let mut at = 0;
    for (w, &bits) in used.iter().enumerate() {
        let mut bits = bits;
        while bits != 0 {
            let i = w * 64 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            discard(b, at, (i * size).min(end));
            at = (i + 1) * size;
        }
    }
    if discard(b, at, end) {
        // The first word is not handed out without being cleared.
        let words = round_up(at, PAGE).div_ceil(64 * size).max(cached.max(1));
        h.fresh.store(words as u16, Relaxed);
    }
}

/// Gives back the whole pages between two offsets in a block, if that is worth a system call.
fn discard(b: Block, from: usize, end: usize) -> bool {
    // A block ends with a page; what is left behind its last object holds nothing.
    let (from, end) = (round_up(from, PAGE), end & !(PAGE - 1));
    from + LEAST <= end && mem::discard(b.addr() + from, end - from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::testing;
    use crate::heap::{class, runs};
    use crate::kind::Kind;

    /// A block of 48 bytes' objects with content everywhere, the first 100 in use.
    #[test]
    fn what_is_given_back_is_zero_and_known_to_be() {
        let path = concat!(
            module_path!(),
            "::what_is_given_back_is_zero_and_known_to_be"
        );
        testing::in_own_process(path, || {
            crate::heap::init();
            let b = runs::allocate(1, 1).expect("a block").first;
            b.set_info(crate::heap::block::Info::small(class::of(48), Kind::Scan));
            // SAFETY: the block was just allocated.
            unsafe { core::ptr::write_bytes(b.addr() as *mut u8, 0x55, BLOCK) };
            b.head().fresh.store(GROUPS as u16, Relaxed);
            let first = |n: usize| {
                let mut used = [0; GROUPS];
                (0..n).for_each(|i| used[i / 64] |= 1 << (i % 64));
                used
            };
            let fresh = || b.head().fresh.load(Relaxed) as usize;
            trim(b, &first(100), 0);
            assert_eq!(fresh(), GROUPS, "not asked for");
            save_memory();
            trim(b, &first(1000), 0);
            assert_eq!(fresh(), GROUPS, "not worth it");
            let bytes = || {
                // SAFETY: as above.
                unsafe { core::slice::from_raw_parts(b.addr() as *const u8, BLOCK) }
            };
            let is = |range: core::ops::Range<usize>, x: u8| bytes()[range].iter().all(|&y| y == x);
            // One object far behind the others stays, and nothing between.
            let mut used = first(100);
            used[14] = 1;
            let far = 14 * 64 * 48;
            trim(b, &used, 0);
            assert!(is(0..100 * 48, 0x55) && is(far..BLOCK, 0x55));
            assert!(is(2 * PAGE..far & !(PAGE - 1), 0));
            assert_eq!(fresh(), GROUPS, "there is content behind");
            // SAFETY: as above.
            unsafe { core::ptr::write_bytes((b.addr() + 2 * PAGE) as *mut u8, 0x55, PAGE) };
            trim(b, &used, 0);
            assert!(is(2 * PAGE..3 * PAGE, 0x55), "as many objects as before");
            trim(b, &first(100), 0);
            assert_eq!(fresh(), 3);
            assert!(is(0..100 * 48, 0x55) && is(fresh() * 64 * 48..BLOCK, 0));
            b.head().fresh.store(GROUPS as u16, Relaxed);
            trim(b, &first(101), 15);
            assert_eq!(fresh(), 15, "a cache may have more of it written");
        });
    }
}
