//! Sweeping: for a block, `allocated = marked`.
//!
//! A collection ends by raising the epoch. From then on every block of a collected kind whose `swept` word is of an
//! older epoch has to be swept before anything is allocated in it. Sweepers claim ranges of the block table from a shared cursor: the
//! background thread, and threads that need a block. A block that is current in a thread's cache when the world stops
//! stays its owner's, and is swept by it (or by the next collection).

use super::block::{BORN, Block, State, valid, words};
use super::cursor::{self, Cursor};
use super::layout::{BLOCK, GROUPS};
use super::thread::NO_OWNER;
use super::{central, class, handoff, lists, registry, runs, spare};
use crate::kind::Kind;
use crate::sys::mem::round_up;
use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

static EPOCH: AtomicU32 = AtomicU32::new(1);
static CURSOR: Cursor = Cursor::new();
static SUSPECTS: AtomicBool = AtomicBool::new(false);
/// No malloc'ed object is freed in this epoch.
static SPARE_MALLOC: AtomicBool = AtomicBool::new(false);
/// The marks of reached objects stay in this epoch.
static KEEP_MARKS: AtomicBool = AtomicBool::new(false);
static FREED_BYTES: AtomicU64 = AtomicU64::new(0);
static SWEEP_NS: AtomicU64 = AtomicU64::new(0);
/// How long a thread waits for sweepers that may not be running, before it takes new storage: some time slices.
const WAIT_NS: u64 = 20_000_000;

/// Number of the current epoch, from 1.
#[inline]
pub fn epoch() -> u32 {
    EPOCH.load(Relaxed)
}

/// The `swept` word of a block that needs no sweep.
#[inline]
pub fn swept_word() -> u32 {
    cursor::swept_in(epoch())
}

/// Whether the block has been swept in this epoch (blocks of kinds that are not collected always are).
#[inline]
pub fn is_swept(b: Block) -> bool {
    b.head().swept.load(Acquire) == swept_word() || !super::is_collected(b.info().kind())
}

/// To be called before [`begin`]: whether the sweep is to spare all malloc'ed objects, reached or not.
pub fn spare_malloc(spare: bool) {
    SPARE_MALLOC.store(spare, Relaxed);
}

/// Begins sweeping: with the world stopped, marking done. With `two_cycles`, an unreached malloc'ed object is freed only if
/// it was unreached in the cycle before too. With `keep_marks`, those of objects that were reached stay.
pub fn begin(two_cycles: bool, keep_marks: bool) {
    SUSPECTS.store(two_cycles, Relaxed);
    KEEP_MARKS.store(keep_marks, Relaxed);
    let epoch = epoch() + 1;
    EPOCH.store(epoch, Relaxed);
    central::reset_collected();
    registry::for_each(|heap| {
        let id = heap.id.load(Relaxed);
        if heap.tid.load(Relaxed) != 0 {
            registry::restamp(heap, id);
        }
        hold_caches(heap);
    });
    FREED_BYTES.store(0, Relaxed);
    SWEEP_NS.store(0, Relaxed);
    CURSOR.begin(runs::frontier());
}

/// Keeps what the thread's caches hold out of the sweep, and takes all its other blocks of collected kinds away.
fn hold_caches(heap: &super::thread::ThreadHeap) {
    for k in 0..crate::kinds::count() {
        let kind = Kind::from_index(k);
        if !super::is_collected(kind) {
            continue;
        }
        for c in 0..class::CLASSES {
            heap.partial[k][c].store(0, Relaxed);
            let cache = &heap.caches[k][c];
            let word = cache.word.load(Relaxed);
            if word == 0 {
                // From a free that the stop which took the block away has interrupted.
                cache.bits.store(0, Relaxed);
                continue;
            }
            let bits = cache.bits.load(Relaxed);
            if bits == 0 {
                cache.word.store(0, Relaxed);
                continue;
            }
            let b = cache.block();
            let w = word % super::layout::GROUPS;
            b.side(w).held.store(bits, Relaxed);
            // For small blocks `length` holds one bit for each word with held slots.
            b.head()
                .length
                .store(b.head().length.load(Relaxed) | 1 << w, Relaxed);
            b.head().owner.store(heap.owner[k].load(Relaxed), Relaxed);
        }
    }
}

/// Sweeps one batch of blocks; false when none is left to claim.
pub fn step() -> bool {
    if !CURSOR.has_work() {
        return false;
    }
    let t0 = crate::sys::clock::now_ns();
    let found = CURSOR.step(|i| visit(Block(i as u32)));
    SWEEP_NS.fetch_add(crate::sys::clock::now_ns() - t0, Relaxed);
    found
}

/// Sweeps everything that is left, and waits for other sweepers.
pub fn finish() {
    while step() {}
    wait_until(|| CURSOR.is_idle());
}

/// Where memory is saved, and nothing is left to claim: waits for sweepers that are still at their batches, because what they free is
/// storage that need not come from the system. True if any were, and ended within [`WAIT_NS`].
pub fn others_found_more() -> bool {
    if CURSOR.is_idle() || !spare::saves_memory() {
        return false;
    }
    let until = crate::sys::clock::now_ns() + WAIT_NS;
    let mut in_time = true;
    wait_until(|| {
        in_time = crate::sys::clock::now_ns() < until;
        !in_time || CURSOR.is_idle()
    });
    in_time
}

/// Spins; lets other threads run in between, because the one waited for may not be running.
fn wait_until(mut done: impl FnMut() -> bool) {
    let mut spins = 0u32;
    while !done() {
        spins += 1;
        if spins.is_multiple_of(128) {
            // SAFETY: sched_yield has no preconditions.
            unsafe { libc::sched_yield() };
        } else {
            core::hint::spin_loop();
        }
    }
}

/// In a fork child, which begins between two sweeps: sweepers that looked for work just then are gone.
pub fn after_fork_child() {
    CURSOR.after_fork_child();
}

/// Sweeps the blocks that the calling thread kept as current ones, too. In a critical section.
pub fn finish_own(heap: &super::thread::ThreadHeap) {
    for cache in heap.caches[..crate::kinds::count()].iter().flatten() {
        let word = cache.word.load(Relaxed);
        if word != 0 {
            ensure_swept(cache.block());
            trim_current(cache.block(), word % GROUPS, cache.bits.load(Relaxed));
        }
    }
}

/// Gives back storage of a thread's current block, of which the cache holds `bits` of word `w`: a thread may have a block for a size of objects that
/// it makes no more. With the thread stopped, or in a critical section of its own.
fn trim_current(b: Block, w: usize, bits: u64) {
    let info = b.info();
    if !spare::saves_memory() || !info.is_small() || !super::is_collected(info.kind()) {
        return;
    }
    let capacity = class::CAPACITY[info.class() as usize] as usize;
    let mut used = [0; GROUPS];
    let mut count = 0;
    for (i, word) in used[..words(capacity)].iter_mut().enumerate() {
        let cached = if i == w { bits } else { 0 };
        *word = valid(capacity, i) & !(b.free(i).load(Relaxed) | cached);
        count += word.count_ones() as usize;
    }
    if count * 4 <= capacity {
        spare::trim(b, &used, w + 1);
    }
}

/// With the world stopped: sweeps also the blocks that threads kept as current ones.
pub fn finish_stopped() {
    finish();
    registry::for_each(finish_own);
}

/// Bytes freed by the sweep so far, and nanoseconds spent in it (all sweepers added).
pub fn progress() -> (u64, u64) {
    (FREED_BYTES.load(Relaxed), SWEEP_NS.load(Relaxed))
}

fn visit(b: Block) {
    let info = b.info();
    match info.state() {
        State::Small if super::is_collected(info.kind()) => {
            let owner = b.head().owner.load(Relaxed);
            if owner != 0 && owner == registry::owner_word(owner & 0xffff, info.kind()) {
                return;
            }
            if claim(b) {
                b.head().owner.store(NO_OWNER, Relaxed);
                sweep_small(b);
                b.head().listed.store(lists::UNLISTED, Relaxed);
                done(b);
                dispose(b, info.kind(), info.class());
            }
        }
        State::Large if super::is_collected(info.kind()) => {
            if claim(b) {
                sweep_large(b, info.kind());
            }
        }
        _ => {}
    }
}

/// A swept block without an owner goes where its free objects are found.
fn dispose(b: Block, kind: Kind, class: u8) {
    if b.head().used.load(Relaxed) == 0 {
        central::release(b);
    } else {
        central::give_up(b, kind, class);
    }
}

/// Claims a block for sweeping; false if it is swept or another sweeper is at it.
pub fn claim(b: Block) -> bool {
    cursor::claim(&b.head().swept, epoch())
}

fn done(b: Block) {
    b.head().swept.store(swept_word(), Release);
}

/// Returns once the block is swept, by this thread or another. The caller owns it or has the world stopped.
pub fn ensure_swept(b: Block) {
    wait_until(|| {
        if !is_swept(b) && claim(b) {
            sweep_small(b);
            done(b);
        }
        is_swept(b)
    });
}

/// In a fork child: sweeps a block whose owner is gone. If the owner was sweeping it, some of its marks may be cleared: then
/// nothing in it is freed until the next cycle.
pub fn settle(b: Block) {
    if is_swept(b) {
        return;
    }
    if b.head().swept.load(Relaxed) != swept_word().wrapping_add(1) {
        return ensure_swept(b);
    }
    for w in 0..words(class::CAPACITY[b.info().class() as usize] as usize) {
        b.clear_marks(w);
        b.side(w).held.store(0, Relaxed);
    }
    b.head().length.store(0, Relaxed);
    done(b);
}

fn sweep_small(b: Block) {
    let info = b.info();
    let h = b.head();
    let capacity = class::CAPACITY[info.class() as usize] as usize;
    let suspects = SUSPECTS.load(Relaxed) && info.kind() == Kind::Malloc;
    let explicit = info.kind() == Kind::Malloc;
    let spare = explicit && SPARE_MALLOC.load(Relaxed);
    let keep_marks = KEEP_MARKS.load(Relaxed);
    let held_words = h.length.load(Relaxed);
    let remote_words = handoff::take_summary(&h.remote_summary);
    let mut summary = 0u64;
    let mut free_count = 0;
    let mut freed = 0;
    let mut was_free = 0;
    let mut used = [0; GROUPS];
    for (w, in_use) in used.iter_mut().enumerate().take(words(capacity)) {
        let marked = b.mark_word(w);
        let old_free = b.free(w).load(Relaxed);
        let mut held = 0;
        if held_words >> w & 1 != 0 {
            held = b.side(w).held.swap(0, Relaxed);
        }
        let mut remote = 0;
        if remote_words >> w & 1 != 0 {
            remote = handoff::take_bits(&b.side(w).remote);
        }
        let all = valid(capacity, w);
        let mut dead = if spare {
            0
        } else {
            all & !(marked | held | old_free)
        };
        if suspects {
            let s = b.suspect(w);
            let spared = dead & !s.load(Relaxed);
            s.store(spared, Relaxed);
            dead &= !spared;
        } else if explicit && super::has_suspects() {
            b.suspect(w).store(0, Relaxed);
        }
        let free = (old_free | dead | remote) & all;
        was_free += old_free.count_ones() as usize;
        *in_use = all & !free;
        freed += dead.count_ones();
        free_count += free.count_ones();
        if marked != 0 && keep_marks {
            b.clear_born(w);
        } else if marked != 0 {
            b.clear_marks(w);
        }
        if free != old_free {
            b.free(w).store(free, Relaxed);
        }
        summary |= u64::from(free != 0) << w;
    }
    h.length.store(0, Relaxed);
    h.summary.store(summary, Relaxed);
    b.set_full(summary == 0);
    h.used.store(capacity as u32 - free_count, Relaxed);
    if was_free * 4 >= capacity * 3 {
        spare::trim(b, &used, 0);
    }
    FREED_BYTES.fetch_add(
        freed as u64 * class::SIZE[info.class() as usize] as u64,
        Relaxed,
    );
}

fn sweep_large(b: Block, kind: Kind) {
    let mark = b.mark(0).load(Relaxed);
    let marked = mark != 0;
    if mark == BORN || !KEEP_MARKS.load(Relaxed) {
        b.mark(0).store(0, Relaxed);
    }
    let mut live = marked || kind == Kind::Malloc && SPARE_MALLOC.load(Relaxed);
    if !live && SUSPECTS.load(Relaxed) && kind == Kind::Malloc {
        live = b.suspect(0).swap(1, Relaxed) == 0;
    } else if kind == Kind::Malloc && super::has_suspects() {
        b.suspect(0).store(0, Relaxed);
    }
    if live {
        done(b);
    } else {
        // It stays claimed: whoever waits for it to be swept finds it gone, and its next use sets the word.
        let size = b.head().length.load(Relaxed) as usize;
        FREED_BYTES.fetch_add(size as u64, Relaxed);
        super::large::release(b, round_up(size, BLOCK) / BLOCK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::testing;
    use std::sync::Barrier;
    use std::time::Duration;

    /// A thread that finds nothing to claim looks again when whoever still sweeps is done, where memory is saved; not if that one takes
    /// too long.
    #[test]
    fn the_end_of_others_batches_is_waited_for() {
        let path = concat!(module_path!(), "::the_end_of_others_batches_is_waited_for");
        testing::in_own_process(path, || {
            let swept = AtomicBool::new(false);
            let attempt = |ms: u64| {
                let begun = Barrier::new(2);
                swept.store(false, Relaxed);
                CURSOR.begin(2);
                std::thread::scope(|s| {
                    s.spawn(|| {
                        CURSOR.step(|_| {
                            begun.wait();
                            std::thread::sleep(Duration::from_millis(ms));
                            swept.store(true, Relaxed);
                        })
                    });
                    begun.wait();
                    (others_found_more(), swept.load(Relaxed))
                })
            };
            assert!(!attempt(5).0, "memory is not saved");
            spare::save_memory();
            assert!(!others_found_more(), "nobody sweeps");
            // On a busy machine the other thread may get no time.
            let found = (0..100).map(|_| attempt(1)).find(|a| a.0);
            assert_eq!(found, Some((true, true)));
            assert_eq!(attempt(1000), (false, false), "too long");
        });
    }
}
