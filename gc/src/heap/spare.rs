//! Where memory is saved: storage behind the last object of a block that hardly anything is allocated in goes back to the system.
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

/// Gives back what lies behind the first `used_end` objects of `b`, all free, if it may be storage. While the block is being swept.
pub fn trim(b: Block, used_end: usize) {
    let h = b.head();
    // Set where a block is made of storage with content; of others only what was handed out has any.
    if !ON.load(Relaxed) || h.fresh.load(Relaxed) != GROUPS as u32 {
        return;
    }
    let size = SIZE[b.info().class() as usize] as usize;
    let from = round_up(used_end * size, PAGE);
    if from + LEAST <= BLOCK && mem::discard(b.addr() + from, BLOCK - from) {
        // Words from here on are zero. The first is not handed out without being cleared.
        let words = from.div_ceil(64 * size).max(1);
        h.fresh.store(words as u32, Relaxed);
    }
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
            b.head().fresh.store(GROUPS as u32, Relaxed);
            trim(b, 100);
            assert_eq!(b.head().fresh.load(Relaxed), GROUPS as u32, "not asked for");
            save_memory();
            trim(b, 1000);
            assert_eq!(b.head().fresh.load(Relaxed), GROUPS as u32, "not worth it");
            trim(b, 100);
            let fresh = b.head().fresh.load(Relaxed) as usize;
            assert_eq!(fresh, 3);
            // SAFETY: as above.
            let bytes = unsafe { core::slice::from_raw_parts(b.addr() as *const u8, BLOCK) };
            assert!(bytes[..100 * 48].iter().all(|&x| x == 0x55));
            assert!(bytes[fresh * 64 * 48..].iter().all(|&x| x == 0));
        });
    }
}
