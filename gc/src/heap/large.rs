//! Large objects: whole blocks, found through the info words of each.

use super::block::{Block, Info, State};
use super::layout::BLOCK;
use super::thread::NO_OWNER;
use super::{marking, runs, slot, sweep};
use crate::kind::Kind;
use crate::sys::mem::round_up;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

static BYTES: AtomicUsize = AtomicUsize::new(0);
static COUNT: AtomicUsize = AtomicUsize::new(0);
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Allocates `size` bytes in whole blocks, the first aligned to `align` bytes; zeroed if `zero`. `None` without memory.
/// In a critical section.
pub fn allocate(kind: Kind, size: usize, align: usize, zero: bool) -> Option<*mut u8> {
    let size = round_up(size, 16);
    let n = size.div_ceil(BLOCK);
    // What the last collection found dead is used before the heap grows.
    if super::is_collected(kind) && n >= 4 {
        while sweep::step() {}
    }
    let run = runs::allocate(n, align.div_ceil(BLOCK))?;
    let b = run.first;
    if (zero || super::alloc::ALWAYS_CLEAR) && !run.zero {
        // SAFETY: the run was just allocated, so it is mapped, writable, and nobody else's.
        unsafe { core::ptr::write_bytes(b.addr() as *mut u8, 0, size) };
    }
    let h = b.head();
    h.owner.store(NO_OWNER, Relaxed);
    h.swept.store(sweep::swept_word(), Relaxed);
    h.remote_summary.store(0, Relaxed);
    h.length.store(size as u64, Relaxed);
    b.free(0).store(0, Relaxed);
    if super::is_collected(kind) {
        slot::hand_out(b.mark(0), marking::bears_marked());
    }
    if super::has_suspects() {
        b.suspect(0).store(0, Relaxed);
    }
    marking::about_to_use(b, n, kind);
    for i in 1..n {
        b.offset(i).set_info(Info::tail(kind, i as u32));
    }
    b.set_info(Info::large(kind));
    BYTES.fetch_add(n * BLOCK, Relaxed);
    COUNT.fetch_add(1, Relaxed);
    TAKEN.fetch_add(size as u64, Relaxed);
    if super::is_collected(kind) {
        crate::pacer::allocated(size as isize);
    }
    Some(b.addr() as *mut u8)
}

/// The first block and size of the large object that `b` belongs to.
#[inline]
pub fn head_of(b: Block, info: Info) -> Option<(Block, usize)> {
    let first = match info.state() {
        State::Large => b,
        State::LargeTail => Block(b.0 - info.high()),
        _ => return None,
    };
    Some((first, first.head().length.load(Relaxed) as usize))
}

/// Frees a large object of a kind that its caller may free. In a critical section. False if somebody else does it.
pub fn free(b: Block, kind: Kind) -> bool {
    if super::is_collected(kind) {
        // A sweeper that is at it decides first: what it found unreachable is gone.
        while b.info().state() == State::Large && !sweep::is_swept(b) && !sweep::claim(b) {
            core::hint::spin_loop();
        }
        if b.info().state() != State::Large {
            return false;
        }
        crate::pacer::freed_large(b.head().length.load(Relaxed) as usize);
        b.mark(0).store(0, Relaxed);
    }
    let size = b.head().length.load(Relaxed) as usize;
    release(b, size.div_ceil(BLOCK));
    true
}

/// Gives the blocks back.
pub fn release(b: Block, n: usize) {
    BYTES.fetch_sub(n * BLOCK, Relaxed);
    COUNT.fetch_sub(1, Relaxed);
    b.head().listed.store(0, Relaxed);
    b.offset(n - 1).head().listed.store(0, Relaxed);
    runs::release(b, n);
}

/// Bytes of blocks in large objects, their number, and bytes ever allocated in them.
pub fn figures() -> (usize, usize, u64) {
    (
        BYTES.load(Relaxed),
        COUNT.load(Relaxed),
        TAKEN.load(Relaxed),
    )
}
