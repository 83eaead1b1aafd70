//! The heap: blocks, caches, and the free memory between them. The life of a `malloc` is told in ARCHITECTURE.md.

pub mod alloc;
pub mod batch;
pub mod block;
pub mod central;
pub mod class;
pub mod critical;
pub mod cursor;
pub mod figures;
pub mod find;
pub mod fork;
pub mod free;
pub mod front;
pub mod handoff;
mod idle;
pub mod large;
pub mod layout;
pub mod lists;
pub mod marking;
pub mod own;
pub mod populate;
pub mod refill;
pub mod region;
pub mod registry;
pub mod remote;
pub mod resize;
pub mod runs;
pub mod slot;
pub mod spare;
pub mod sweep;
#[cfg(test)]
pub(crate) mod testing;
pub mod thread;

use crate::kind::Kind;
use crate::raw::{FreeError, Object};
use crate::sys::lock::Lock;
use crate::sys::scratch;
use block::Block;
use core::sync::atomic::{
    AtomicBool, AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

static READY: AtomicU32 = AtomicU32::new(0);
static INIT: Lock<()> = Lock::new(());
static COLLECT_MALLOC: AtomicBool = AtomicBool::new(false);
static TAGS: AtomicBool = AtomicBool::new(false);
static ZEAL: AtomicBool = AtomicBool::new(false);

/// Sets the heap up from the configuration; later calls do nothing.
pub fn init() {
    if READY.load(Acquire) != 0 {
        return;
    }
    let _g = INIT.lock();
    if READY.load(Relaxed) != 0 {
        return;
    }
    // No block exists yet that could be taken for one of theirs.
    thread::EMPTY.own_nothing();
    thread::ENDED.own_nothing();
    let s = crate::setup::settings();
    COLLECT_MALLOC.store(s.collect_malloc, Relaxed);
    TAGS.store(s.tags, Relaxed);
    ZEAL.store(s.zeal != 0, Relaxed);
    runs::init(
        region::Options {
            suspects: s.collect_malloc,
            tags: s.tags,
            huge: s.huge_pages,
        },
        s.max_heap,
        s.decay_ms,
    );
    scratch::keep_spare();
    READY.store(1, Release);
    crate::trace::start();
}

/// Objects of this kind are freed by the collector.
#[inline(always)]
pub fn is_collected(kind: Kind) -> bool {
    match kind {
        Kind::Malloc => COLLECT_MALLOC.load(Relaxed),
        Kind::Uncollectable | Kind::AtomicUncollectable => false,
        _ => true,
    }
}

/// Suspect bits exist (mode `reclaim`).
#[inline]
pub fn has_suspects() -> bool {
    COLLECT_MALLOC.load(Relaxed)
}

/// Objects carry tags (mode `leaks`).
#[inline]
pub fn has_tags() -> bool {
    TAGS.load(Relaxed)
}

/// Collections are forced often, so caches are filled with one slot at a time.
#[inline]
pub fn zeal() -> bool {
    ZEAL.load(Relaxed)
}

#[cold]
fn double_free(b: Block, index: usize) -> FreeError {
    let info = b.info();
    let size = class::SIZE[info.class() as usize] as usize;
    FreeError::DoubleFree(Object {
        base: b.addr() + index * size,
        size,
        kind: info.kind(),
    })
}
