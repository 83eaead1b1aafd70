//! When to collect, and what to do when memory runs out.
//!
//! The next collection starts when as much has been allocated in collected kinds as `growth` percent of what the last one
//! scanned (objects and roots; pointer-free objects count an eighth), plus `min_heap`: the cost of marking per allocated byte is then bounded, and
//! small heaps, for which memory matters least, are collected more rarely (in the spirit of Kirisame, Shenoy and Panchekha,
//! "Optimal Heap Limits for Reducing Browser Memory Use", OOPSLA 2022, whose optimum grows with the square root).

use crate::collector;
use crate::config;
use crate::cycle::{self, Reason};
use crate::disclaim;
use crate::finalize;
use crate::heap::thread::ThreadHeap;
use crate::heap::{self, critical, runs};
use crate::kinds;
use crate::mark::place;
use crate::mark::shared::shared;
use crate::raw::CollectError;
use crate::trace::{self, Event};
use crate::tracked::Tracked;
use core::sync::atomic::{
    AtomicBool, AtomicIsize, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed,
};

static SINCE: AtomicIsize = AtomicIsize::new(0);
static TRIGGER: AtomicUsize = AtomicUsize::new(0);
static WANTED: AtomicBool = AtomicBool::new(false);
static DISABLED: AtomicU32 = AtomicU32::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);
static SCANNED: AtomicUsize = AtomicUsize::new(0);
static ROOTS: AtomicUsize = AtomicUsize::new(0);
/// Least allocation between two collections of a small heap.
static LEAST: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Least allocation between two collections that the program asked for.
static ASKED_FOR: AtomicUsize = AtomicUsize::new(0);
/// Bytes of storage beyond which the heap is to grow only where a collection does not help.
static HELD_TO: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Threads that allocate at the same time.
static ALLOCATING: AtomicUsize = AtomicUsize::new(1);
/// How far the heap is filled between collections, where memory is saved.
static FILLED: AtomicUsize = AtomicUsize::new(0);
static FREED: AtomicUsize = AtomicUsize::new(0);
static GENERATIONAL: AtomicBool = AtomicBool::new(false);
/// [`collect_beside_if_it_pays`] was called.
static CHOOSES: AtomicBool = AtomicBool::new(false);
/// See [`collect_beside_from`].
static BESIDE_FROM: AtomicUsize = AtomicUsize::new(usize::MAX);
/// The choice for the collection that was asked for last, where there is one.
static BESIDE: AtomicBool = AtomicBool::new(false);
/// The last collection found next to nothing.
static VAIN: AtomicBool = AtomicBool::new(false);

/// Percent of the growth between two collections that are set aside for what is allocated while one runs beside the program.
const SET_ASIDE: usize = 30;
/// Reachable bytes from which on a heap is collected as often as ever though nothing dies in it.
pub const VAIN_MOST: usize = 96 << 20;
/// Reachable bytes below which a heap is filled up as far as it was lately.
const SMALL: usize = 4 << 20;
/// Least allocation between two collections of a heap that is not to grow.
const LEAST_HELD: usize = 128 << 10;
/// Reachable bytes below which memory counts twice.
const TINY: usize = 2 << 20;
/// Bytes to be scanned below which a small heap is marked with the program stopped.
const LITTLE: usize = 256 << 10;
/// Most bytes that a thread marks at a time: some ten microseconds.
const ASSIST: u64 = 64 << 10;
/// Most bytes of written memory that a thread looks through at a time: some hundred microseconds.
const ASSIST_AGAIN: u64 = 1 << 20;
/// Least allocation in which a round of looking through written memory is to end.
const ROOM_AGAIN: usize = 16 << 10;
/// Least allocation between two phases of a collection.
const ROOM: usize = 256 << 10;
/// How long an allocation waits if it finds nothing to help with.
const NO_WORK_NS: u64 = 100_000;
/// How long an allocation waits when the heap has grown twice as much as it should.
const WAIT_NS: u64 = 500_000;
/// How long an allocation waits for a collection that zeal asked for.
const ZEAL_WAIT_NS: u64 = 50_000_000;
/// How long an allocation waits for a collection of another thread that is to stop the world.
const STOP_WAIT_NS: u64 = 10_000_000;
/// How often a thread that found another one collecting tries it itself, before it lets the program go on.
const TRIES: u32 = 3;
/// Bytes to be marked for each 256 allocated, 0 for none.
static RATIO: AtomicU64 = AtomicU64::new(0);
/// Most bytes that a thread marks at a time now.
static MOST: AtomicU64 = AtomicU64::new(ASSIST);
/// Threads came by that could help.
static CAME_BY: AtomicBool = AtomicBool::new(false);
/// Allocated since the last collection when marking began.
static BEGUN: AtomicUsize = AtomicUsize::new(0);

/// Counts `n` bytes allocated in collected kinds (less than 0: freed explicitly).
pub fn allocated(n: isize) {
    let since = SINCE.fetch_add(n, Relaxed) + n;
    let beside = collector::is_ready() && runs_beside();
    let aside = if beside { SET_ASIDE } else { 0 };
    if since >= (trigger() / 100 * (100 - aside)) as isize {
        WANTED.store(true, Relaxed);
    }
}

fn trigger() -> usize {
    let t = TRIGGER.load(Relaxed);
    if t != 0 { t } else { room() }
}

/// `DUNEGC_MIN_HEAP`, or less: in a small heap an eighth of what is reachable, but not less than [`save_memory`] says, or half of that where next to nothing
/// is reachable.
fn room() -> usize {
    let (live, least) = (LIVE.load(Relaxed), LEAST.load(Relaxed));
    let small = (live / 8).max(if is_tiny(live) { least / 2 } else { least });
    config::get().min_heap.min(small)
}

/// Memory is saved, and `live` reachable bytes are so few that what a program has besides is about as much.
fn is_tiny(live: usize) -> bool {
    saves_memory() && live < TINY
}

/// Has a small heap collected more often, after `least` bytes at the earliest, and its storage taken from the system page by page.
pub fn save_memory(least: usize) {
    LEAST.store(least, Relaxed);
    heap::populate::save_memory();
    heap::spare::save_memory();
}

/// No collection is due before `bytes` bytes have been allocated since the last one: from the next one on.
pub fn allocate_at_least(bytes: usize) {
    ASKED_FOR.store(bytes, Relaxed);
}

/// The heap is collected instead of growing beyond `bytes` bytes, as long as that frees enough: from the next collection on. `usize::MAX`: it grows.
pub fn hold_to(bytes: usize) {
    HELD_TO.store(bytes, Relaxed);
}

/// Collects if it is time. Called outside critical sections, before a cache is filled.
#[inline]
pub fn before_slow_path(heap: &ThreadHeap) {
    if WANTED.load(Relaxed) || finalize::is_announcement_due() || heap::zeal() {
        due(heap);
    }
}

/// Collects if it is time, on behalf of the program.
pub fn poll() {
    let heap = heap::alloc::current();
    if !heap.is_empty_heap() {
        before_slow_path(heap);
    }
}

#[cold]
fn due(heap: &ThreadHeap) {
    if finalize::is_announcement_due() {
        finalize::announce();
    }
    if DISABLED.load(Relaxed) != 0 || !WANTED.load(Relaxed) && !heap::zeal() {
        return;
    }
    if heap::zeal() {
        let n = heap.zeal.load(Relaxed) + 1;
        if n < config::get().zeal && !WANTED.load(Relaxed) {
            heap.zeal.store(n, Relaxed);
            return;
        }
        heap.zeal.store(0, Relaxed);
    }
    if collector::is_idle()
        && let Some(r) = cycle::collect_short()
    {
        return ended(r);
    }
    if collector::request() {
        return assist(heap);
    }
    let _stall = trace::span(Event::Stall);
    ended(cycle::collect(Reason::Allocation));
}

/// What an allocation does after its attempt to collect.
fn ended(attempt: Result<(), CollectError>) {
    let mut attempt = attempt;
    // What is allocated while another thread is about to stop the world would be memory that its collection was to save. If that one is
    // over, but enough has been allocated again, it is this thread's turn.
    let mut tries = if saves_memory() { TRIES } else { 0 };
    while tries > 0 && matches!(attempt, Err(CollectError::Busy)) {
        if cycle::wait_for_other(STOP_WAIT_NS) || !WANTED.load(Relaxed) {
            return;
        }
        attempt = cycle::collect(Reason::Allocation);
        tries -= 1;
    }
    if attempt.is_err() {
        heap::critical::with(put_off);
    }
}

/// A collection runs beside the program, or is about to: the thread helps as much as it allocates. If it is to hold the program, the
/// thread waits for that where memory is saved.
fn assist(heap: &ThreadHeap) {
    if heap::zeal() {
        return collector::wait(ZEAL_WAIT_NS);
    }
    if saves_memory() && !runs_beside() {
        let _stall = trace::span(Event::Stall);
        return cycle::wait_for_hold(STOP_WAIT_NS);
    }
    let ratio = RATIO.load(Relaxed);
    if ratio != 0 {
        CAME_BY.store(true, Relaxed);
        let own = heap.unreported.load(Relaxed).max(0) as usize;
        let allocated = (since() + own).saturating_sub(BEGUN.load(Relaxed));
        let owed = (allocated as u64 * ratio) >> 8;
        let behind = owed.saturating_sub(shared().progress());
        if behind > 0 {
            let mut span = trace::span(Event::Assist);
            critical::enter(heap);
            let done = shared().assist(behind.min(MOST.load(Relaxed)));
            critical::leave(heap);
            span.set(done);
            if done == 0 {
                // All of the work is in the hands of a marker, which may be waiting for this processor.
                collector::wait(NO_WORK_NS);
            }
        }
    }
    if since() > 2 * trigger() {
        let _stall = trace::span(Event::Stall);
        collector::wait(WAIT_NS);
    }
}

/// The program runs while `bytes` bytes, about, are being marked: threads that allocate help so that it is done when the heap has
/// grown by what is set aside for that.
pub fn begin_marking(bytes: usize) {
    MOST.store(ASSIST, Relaxed);
    share_out(bytes, (trigger() / 100 * SET_ASIDE).max(ROOM));
}

/// As [`begin_marking`], for `bytes` bytes that were written and are looked through again: threads that allocate help so that it is done
/// when `room` bytes are allocated.
pub fn begin_remarking(bytes: usize, room: usize) {
    MOST.store(ASSIST_AGAIN, Relaxed);
    share_out(bytes, room.max(ROOM_AGAIN));
}

/// Threads help so that `bytes` bytes are marked when `room` bytes are allocated.
fn share_out(bytes: usize, room: usize) {
    shared().reset_progress();
    CAME_BY.store(false, Relaxed);
    BEGUN.store(since(), Relaxed);
    RATIO.store(((bytes as u64) << 8) / room as u64, Relaxed);
}

/// Threads of the program allocate, and so can be held up, since helping last began.
pub fn can_be_held_up() -> bool {
    CAME_BY.load(Relaxed)
}

/// The program's threads need not help any more.
pub fn end_marking() {
    RATIO.store(0, Relaxed);
}

/// A collection could not be made: it is tried again after as much allocation as since the last one.
pub fn put_off() {
    next();
}

/// A collection ended with `live` reachable bytes, `scanned` bytes of objects and roots to be scanned for them, `roots` of them roots. The next one may be
/// generational if `generational`. `allocating` threads allocate at the same time.
pub fn collected(live: usize, scanned: usize, roots: usize, generational: bool, allocating: usize) {
    let before = LIVE.swap(live, Relaxed) + since();
    VAIN.store(live > before / 64 * 63, Relaxed);
    GENERATIONAL.store(generational, Relaxed);
    SCANNED.store(scanned, Relaxed);
    ROOTS.store(roots, Relaxed);
    ALLOCATING.store(allocating, Relaxed);
    next();
}

/// A large collected object of `n` bytes is freed explicitly.
pub fn freed_large(n: usize) {
    FREED.fetch_add(n, Relaxed);
    allocated(-(n as isize));
}

/// Bytes of large objects freed explicitly since the last collection.
pub fn freed() -> usize {
    FREED.load(Relaxed)
}

/// [`save_memory`] was called.
pub fn saves_memory() -> bool {
    LEAST.load(Relaxed) != usize::MAX
}

/// Collections run beside the program, as far as is known before the next one.
pub fn runs_beside() -> bool {
    config::get().concurrent && !CHOOSES.load(Relaxed) || BESIDE.load(Relaxed)
}

/// A collection is asked for: where it is left to the heap and the program's threads whether it runs beside the program, it is decided now. Not
/// in a critical section.
pub fn choose() {
    let (live, scanned) = (LIVE.load(Relaxed), SCANNED.load(Relaxed));
    let busy = ALLOCATING.load(Relaxed) >= place::processors();
    let beside = if config::get().concurrent {
        live.max(scanned) >= LITTLE
    } else {
        // Procedures of the program are called with the program stopped in any case.
        live >= BESIDE_FROM.load(Relaxed)
            && !kinds::has_procedures()
            && !disclaim::finds_leaks()
            && Tracked::outlasts_collection()
    };
    BESIDE.store(beside && !busy, Relaxed);
}

/// Leaves it to the heap and the program's threads, where collections may run beside the program, whether they do.
pub fn collect_beside_if_it_pays() {
    CHOOSES.store(true, Relaxed);
}

/// Where collections are not to run beside the program ([`Config::concurrent`](crate::config::Config)), they do all the same when `live` bytes are
/// reachable, a processor is free for that, the program has no mark procedures, no leaks are looked for, and the system tells without side effects which pages were written.
/// `usize::MAX`: they do not, as if this had not been called.
pub fn collect_beside_from(live: usize) {
    BESIDE_FROM.store(live, Relaxed);
    if live == usize::MAX {
        BESIDE.store(false, Relaxed);
    }
}

/// What is allocated before the next collection: `t`, or, where little is reachable and memory is saved, up to what the heap has been filled
/// to lately: that memory is there.
fn refill(t: usize, live: usize) -> usize {
    if !saves_memory() || live >= SMALL {
        return t;
    }
    let filled = FILLED.load(Relaxed);
    let filled = (live + t).max(filled - filled / 64);
    FILLED.store(filled, Relaxed);
    t.max(filled - live)
}

fn next() {
    FREED.store(0, Relaxed);
    let c = config::get();
    // What is not scanned costs next to nothing to mark: an eighth stands for looking it up.
    let (live, scanned) = (LIVE.load(Relaxed), SCANNED.load(Relaxed));
    let weight = scanned + live.saturating_sub(scanned) / 8;
    // A generational collection costs what it finds new, not what there is: memory is saved by making more of them.
    // A heap that only grows is collected more rarely: memory is what the program keeps there.
    // A tiny heap grows half as much, and is filled up whenever less is reachable: see `refill`. Roots count twice there: a program with large ones is
    // large in any case.
    let weight = if is_tiny(live) {
        let roots = ROOTS.load(Relaxed);
        (weight - roots.min(weight)) / 2 + roots * 2
    } else {
        weight
    };
    let growth = match c.growth as usize {
        g if GENERATIONAL.load(Relaxed) => g / 4,
        g if VAIN.load(Relaxed) && live < VAIN_MOST => g + g / 5,
        g => g,
    };
    // Threads that allocate at the same time all stand still while one collects, and fill the same room sooner: each has half as much again.
    // Beside the program a collection takes longer, and costs more by the piece: where memory need not be saved it is made more rarely.
    let rooms = match ALLOCATING.load(Relaxed) {
        1 if runs_beside() && !saves_memory() => room() * 2,
        1 => room(),
        n => (room() / 2 * 3).saturating_mul(n),
    };
    let mut t = refill((weight / 100).saturating_mul(growth) + rooms, live);
    let held_to = HELD_TO.load(Relaxed);
    if held_to != usize::MAX {
        t = t.min(held_to.saturating_sub(live).max(live / 32).max(LEAST_HELD));
    }
    t = t.max(ASKED_FOR.load(Relaxed));
    let max = runs::max_bytes();
    if max != usize::MAX {
        // Near the limit: half of what is left, but not so little that collecting is all that happens.
        let left = max.saturating_sub(runs::figures().in_use * heap::layout::BLOCK);
        t = t.min((left / 2).max(c.min_heap / 4));
    }
    TRIGGER.store(t, Relaxed);
    // The storage that is allocated until the next one ends is not given back in between.
    runs::set_reserve(t.max(since()));
    SINCE.store(0, Relaxed);
    WANTED.store(false, Relaxed);
}

/// Memory is nearly exhausted: a malloc'ed block goes after one unreachable cycle instead of two.
pub fn is_tight() -> bool {
    let max = runs::max_bytes();
    max != usize::MAX && runs::figures().in_use * heap::layout::BLOCK > max / 4 * 3
}

/// There was no memory for `size` bytes: collects. True if trying again makes sense.
#[cold]
pub fn emergency(size: usize) -> bool {
    let mut stall = trace::span(Event::Stall);
    stall.set(size as u64);
    let trimmed = heap::critical::with(|| runs::trim(0));
    collects() && cycle::collect(Reason::Exhausted).is_ok() || trimmed
}

/// Still none: collects a second time (finalizers and suspects of the first are free then).
#[cold]
pub fn last_resort(size: usize) -> bool {
    let mut stall = trace::span(Event::Stall);
    stall.set(size as u64);
    collects() && cycle::collect(Reason::Exhausted).is_ok()
}

/// Something can be collected at all.
fn collects() -> bool {
    heap::has_suspects() || SINCE.load(Relaxed) != 0 || LIVE.load(Relaxed) != 0
}

/// Allocated since the last collection.
pub fn since() -> usize {
    SINCE.load(Relaxed).max(0) as usize
}

/// Reachable after the last collection.
pub fn live() -> usize {
    LIVE.load(Relaxed)
}

/// Stops automatic collections.
pub fn disable() {
    DISABLED.fetch_add(1, Relaxed);
}

/// Undoes one [`disable`].
pub fn enable() {
    let _ = DISABLED.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
}

/// Automatic collections are off.
pub fn is_disabled() -> bool {
    DISABLED.load(Relaxed) != 0
}
