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
/// bits; those of the first `cached` words may be handed out again without a look at the block. Nobody is given one meanwhile. Not again before the number of its objects changes: pages that a program uses from one
/// collection to the next stay.
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
            // One object in the middle stays, and nothing between it and the others.
            let mut used = first(100);
            used[10] = 1;
            trim(b, &used, 0);
            let bytes = || {
                // SAFETY: as above.
                unsafe { core::slice::from_raw_parts(b.addr() as *const u8, BLOCK) }
            };
            let kept = 640 * 48..641 * 48;
            assert!(bytes()[..100 * 48].iter().all(|&x| x == 0x55));
            assert!(bytes()[kept.clone()].iter().all(|&x| x == 0x55));
            assert!(
                bytes()[2 * PAGE..kept.start & !(PAGE - 1)]
                    .iter()
                    .all(|&x| x == 0)
            );
            assert_eq!(fresh(), 11);
            assert!(bytes()[fresh() * 64 * 48..].iter().all(|&x| x == 0));
            // SAFETY: as above.
            unsafe { core::ptr::write_bytes((b.addr() + kept.end) as *mut u8, 0x55, PAGE) };
            trim(b, &used, 0);
            assert_eq!(bytes()[kept.end], 0x55, "no other objects");
            b.head().trimmed.store(0, Relaxed);
            b.head().fresh.store(GROUPS as u16, Relaxed);
            trim(b, &used, 15);
            assert!(bytes()[kept.end..].iter().all(|&x| x == 0));
            assert_eq!(
                fresh(),
                15,
                "what a cache holds may be written without a look at the block"
            );
        });
    }
}
