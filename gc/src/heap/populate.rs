//! Storage for the growing end of a large heap, two megabytes at a time: one huge page if the system has it at hand, else
//! small pages faulted in together.
//!
//! A huge page that the kernel has to make first (compaction), or for which a hypervisor has to find memory, takes some
//! twenty times as long as one that is at hand, and six times as long as the small pages in its place. So each one is timed, and
//! after a slow one the next ones are not asked for, twice as many with each that was slow again.

use super::block::Block;
use super::layout::BLOCK;
use crate::sys::clock::now_ns;
use crate::sys::mem;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Blocks of a huge page.
pub const HUGE_BLOCKS: usize = (2 << 20) / BLOCK;
/// Blocks in use from which this pays: 8 MiB.
pub const FROM: usize = 128;
/// Zeroing a huge page that is at hand takes 100 to 300 microseconds.
const SLOW_NS: u64 = 1_000_000;
/// Most huge pages that are not asked for after a slow one.
const MAX_SKIP: u32 = 64;

static SKIP: AtomicU32 = AtomicU32::new(0);
static NEXT_SKIP: AtomicU32 = AtomicU32::new(8);

/// Gives the `count` blocks from `first` on storage; they are free or the caller's, and read as zero before and after.
pub fn ahead(first: Block, count: usize, huge: bool) {
    let whole = (first.0 as usize).is_multiple_of(HUGE_BLOCKS) && count == HUGE_BLOCKS;
    if !huge || !whole || SKIP.load(Relaxed) > 0 {
        if whole {
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
