//! Storage for the growing end of a large heap, two megabytes at a time: one huge page if the system has it at hand, else
//! small pages faulted in together.
//!
//! If a processor has nothing else to do, a helper of the collector prepares the next two megabytes while the program uses
//! these: clearing pages then takes no time of the program's, and a slow huge page holds nobody up.
//!
//! A huge page that the kernel has to make first (compaction), or for which a hypervisor has to find memory, takes some
//! twenty times as long as one that is at hand, and six times as long as the small pages in its place. So each one is timed, and
//! after a slow one the next ones are not asked for, twice as many with each that was slow again.

use super::block::Block;
use super::layout::BLOCK;
use crate::config::{self, HugePages};
use crate::sys::clock::now_ns;
use crate::sys::mem;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};

/// Blocks of a huge page.
pub const HUGE_BLOCKS: usize = (2 << 20) / BLOCK;
/// Blocks in use from which this pays: 8 MiB.
const FROM: usize = 128;
/// The same where memory counts more than time: 128 MiB. Two megabytes more or less are little there.
const FROM_LARGE: usize = 2048;
/// Blocks in use from which two megabytes more do not matter: 32 MiB.
const HELP_FROM: usize = 512;
/// Blocks that a thread prepares at a time where pauses are to be short: a stop waits for it, some hundred microseconds.
const SHORT_BLOCKS: usize = 4;
/// Zeroing a huge page that is at hand takes 100 to 300 microseconds.
const SLOW_NS: u64 = 1_000_000;
/// Most huge pages that are not asked for after a slow one.
const MAX_SKIP: u32 = 64;

static LEAST: AtomicUsize = AtomicUsize::new(FROM);
static SKIP: AtomicU32 = AtomicU32::new(0);
static NEXT_SKIP: AtomicU32 = AtomicU32::new(8);

/// There is a helper with nothing else to do.
static HELPED: AtomicBool = AtomicBool::new(false);
/// Which two megabytes a helper is asked to prepare, as a number from the heap's beginning; 0 for none.
static WANTED: AtomicU32 = AtomicU32::new(0);
/// Which ones it was asked for last, and which it took last.
static ASKED: AtomicU32 = AtomicU32::new(0);
static TAKEN: AtomicU32 = AtomicU32::new(0);

/// Blocks in use from which storage is asked for ahead.
pub fn from() -> usize {
    LEAST.load(Relaxed)
}

/// Memory counts more than time as long as there is little of it in use.
pub fn save_memory() {
    LEAST.store(FROM_LARGE, Relaxed);
}

/// The blocks that are prepared together by the thread that needs the first of them, at most [`HUGE_BLOCKS`].
pub fn step() -> usize {
    if crate::pacer::runs_beside() {
        SHORT_BLOCKS
    } else {
        HUGE_BLOCKS
    }
}

/// Gives the `count` blocks from `first` on storage, unless a helper does; they are free or the caller's, and read as zero before and
/// after. True if a helper is to be woken, to prepare what follows, of which the blocks below `frontier` are mapped.
pub fn ahead(first: Block, count: usize, frontier: usize, huge: bool) -> bool {
    let this = first.0 / HUGE_BLOCKS as u32;
    let in_time = TAKEN.load(Relaxed) == this;
    if !in_time {
        // It is too late for a helper.
        let _ = WANTED.compare_exchange(this, 0, Relaxed, Relaxed);
        let whole = (first.0 as usize).is_multiple_of(HUGE_BLOCKS) && count == HUGE_BLOCKS;
        prepare(first, count, huge && whole);
    }
    let next = this + 1;
    let blocks = next as usize * HUGE_BLOCKS;
    let mapped = blocks >= HELP_FROM && blocks + HUGE_BLOCKS <= frontier;
    let ask = HELPED.load(Relaxed) && mapped && ASKED.swap(next, Relaxed) != next;
    if ask {
        WANTED.store(next, Relaxed);
    }
    ask
}

/// For a helper: prepares what it was asked for.
pub fn help() {
    let wanted = WANTED.swap(0, Relaxed);
    if wanted != 0 {
        TAKEN.store(wanted, Relaxed);
        let huge = config::get().huge_pages != HugePages::Off;
        prepare(Block(wanted * HUGE_BLOCKS as u32), HUGE_BLOCKS, huge);
    }
}

/// There is a helper with nothing else to do, or there is not.
pub fn set_helped(helped: bool) {
    HELPED.store(helped, Relaxed);
}

/// In a fork child: the helper is gone.
pub fn after_fork_child() {
    HELPED.store(false, Relaxed);
    WANTED.store(0, Relaxed);
}

fn prepare(first: Block, count: usize, huge: bool) {
    if !huge || SKIP.load(Relaxed) > 0 {
        if huge {
            let _ = SKIP.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        }
        mem::populate(first.addr(), count * BLOCK);
        return;
    }
    mem::advise_huge(first.addr(), count * BLOCK);
    let begin = now_ns();
    mem::populate(first.addr(), count * BLOCK);
    if now_ns() - begin > SLOW_NS {
        let n = NEXT_SKIP.load(Relaxed);
        SKIP.store(n, Relaxed);
        NEXT_SKIP.store((n * 2).min(MAX_SKIP), Relaxed);
    } else {
        NEXT_SKIP.store(8, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::testing;

    const MAPPED: usize = 100 * HUGE_BLOCKS;

    /// Some block of the two megabytes with number `n`.
    fn enter(n: usize) -> bool {
        ahead(Block((n * HUGE_BLOCKS) as u32 + 3), 4, MAPPED, false)
    }

    #[test]
    fn a_helper_prepares_what_comes_next() {
        let _slice = testing::fresh_slice();
        assert!(!enter(40), "there is no helper");
        set_helped(true);
        assert!(!enter(4), "a small heap");
        assert!(enter(50));
        assert!(!enter(50), "asked once");
        help();
        assert_eq!(TAKEN.load(Relaxed), 51);
        assert!(enter(51), "the next ones in their turn");
        assert!(enter(52), "the helper is late");
        assert_eq!(WANTED.load(Relaxed), 53);
        help();
        assert_eq!(TAKEN.load(Relaxed), 53, "it is not to do what is too late");
        assert!(!enter(99), "nothing is mapped behind");
        after_fork_child();
    }
}
