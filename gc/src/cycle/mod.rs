//! Collections, one at a time: with the world stopped ([`stopped`]), or beside the running program ([`beside`]).

mod account;
mod beside;
mod generation;
mod held;
mod phases;
mod sample;
mod short;
mod stopped;

use crate::collector;
use crate::finalize;
use crate::gather::Gathered;
use crate::heap::{self, alloc, marking};
use crate::hooks;
use crate::kinds;
use crate::look;
use crate::mark::shared::shared;
use crate::mark::{pool, rescan};
use crate::pacer;
use crate::raw::CollectError;
use crate::referrer::Referrer;
use crate::sys::lock::{Guard, Lock, futex_wait_for, futex_wake};
use crate::sys::scratch::ScratchVec;
use crate::tracked::Tracked;
use crate::world::{self, Registers};
use crate::zeal;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use generation::Generations;
use sample::Sample;

/// Why a collection runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Enough was allocated.
    Allocation,
    /// The program asked.
    Explicit,
    /// No memory was left.
    Exhausted,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Reason::Allocation => "growth",
            Reason::Explicit => "explicit",
            Reason::Exhausted => "limit",
        }
    }
}

/// What one collection at a time uses.
pub(crate) struct Cycle {
    gathered: Gathered,
    tracked: Tracked,
    generations: Generations,
    sample: Sample,
    /// Blocks whose marks could not be taken back with the world running.
    unswept: ScratchVec<u32>,
    /// There may be marks of the last collection.
    marks_left: bool,
    failures: u32,
    /// Allocated since the last collection when objects began to be born marked.
    born_from: usize,
    /// A processor is left beside the threads that allocate and the collector's own.
    spare_core: bool,
    /// Of whoever collects, at the last moment before: what its stack holds below was left there by the collector.
    caller: Registers,
}

static CYCLE: Lock<Cycle> = Lock::new(Cycle {
    gathered: Gathered::new(),
    tracked: Tracked::new(),
    generations: Generations::new(),
    sample: Sample::new(),
    unswept: ScratchVec::new(),
    marks_left: true,
    failures: 0,
    born_from: 0,
    spare_core: true,
    caller: Registers::NONE,
});
/// Held by a collection, but for the time in which it marks beside the program, and by who forks: what a child would inherit may be in the
/// middle of a change. Taken behind [`CYCLE`].
static CHANGING: Lock<()> = Lock::new(());
/// The next collection is a short one.
static IS_SHORT: AtomicBool = AtomicBool::new(false);
/// Generational collections pay.
static GENERATIONAL: AtomicBool = AtomicBool::new(false);
/// What was watched from the last collection on is to be looked through, before the next one.
static UNTIDY: AtomicBool = AtomicBool::new(false);
/// 1 while the collector's own thread has been asked to hold the program, and has not let it go on yet.
static HOLDING: AtomicU32 = AtomicU32::new(0);
/// Thread pointer of the thread that holds [`CYCLE`], 0 for none.
static HOLDER: AtomicUsize = AtomicUsize::new(0);
/// It holds it by [`hold`].
static HELD: AtomicBool = AtomicBool::new(false);

/// Collects with the world stopped. With `Reason::Allocation` only if no other thread is at it.
pub fn collect(reason: Reason) -> Result<(), CollectError> {
    heap::init();
    if !hooks::may_collect(reason == Reason::Explicit) {
        return Err(CollectError::Busy);
    }
    with_cycle(reason == Reason::Allocation, |c| {
        c.with_room(|c| c.run(reason))
    })?;
    finalize::announce();
    Ok(())
}

/// Makes a short collection that keeps the marks of the last one. `None` if that is not what is to be done.
pub(crate) fn collect_short() -> Option<Result<(), CollectError>> {
    if !IS_SHORT.load(Relaxed) || !hooks::may_collect(false) {
        return None;
    }
    let r = with_cycle(true, |c| {
        let short = c.generations.is_short();
        Ok(short.then(|| c.with_room(Cycle::run_short)))
    });
    match r {
        Ok(None) => None,
        Ok(Some(r)) => {
            finalize::announce();
            Some(r)
        }
        Err(e) => Some(Err(e)),
    }
}

/// Collects on the collector's own thread: beside the running program, or, if that is not wanted, with it held.
pub(crate) fn collect_here() -> Result<(), CollectError> {
    if UNTIDY.load(Relaxed) && !pacer::runs_beside() {
        UNTIDY.store(false, Relaxed);
        return with_cycle(false, Cycle::tidy);
    }
    if !hooks::may_collect(false) {
        return Err(CollectError::Busy);
    }
    if pacer::runs_beside() {
        with_cycle(true, Cycle::run_beside)?;
    } else {
        with_cycle(true, Cycle::run_held)?;
    }
    finalize::announce();
    Ok(())
}

/// Waits while another thread collects, or holds collections off, at most so long. False if the calling thread does, or none did.
pub(crate) fn wait_for_other(ns: u64) -> bool {
    if is_held() || CYCLE.try_lock().is_some() {
        return false;
    }
    drop(CYCLE.lock_for(ns));
    true
}

/// The collector's own thread is asked to hold the program, or has let it go on.
pub(crate) fn expect_hold(holding: bool) {
    if HOLDING.swap(holding.into(), Relaxed) != 0 && !holding {
        futex_wake(&HOLDING, i32::MAX);
    }
}

/// Waits until the collector's own thread, asked to hold the program, has let it go on, at most so long.
pub(crate) fn wait_for_hold(ns: u64) {
    if HOLDING.load(Relaxed) != 0 {
        futex_wait_for(&HOLDING, 1, ns);
    }
}

/// Collections are for the collector's own thread.
pub(crate) fn is_for_collector() -> bool {
    pacer::runs_beside() || GENERATIONAL.load(Relaxed)
}

/// Runs `f` as the only collection of the process.
fn with_cycle<R>(
    only_if_free: bool,
    f: impl FnOnce(&mut Cycle) -> Result<R, CollectError>,
) -> Result<R, CollectError> {
    let me = core::ptr::from_ref(alloc::current()) as usize;
    if HOLDER.load(Relaxed) == me && !alloc::current().is_empty_heap() {
        return Err(CollectError::Busy);
    }
    let mut c = match (CYCLE.try_lock(), only_if_free) {
        (Some(c), _) => c,
        (None, true) => return Err(CollectError::Busy),
        (None, false) => lock_unless_starting().ok_or(CollectError::Busy)?,
    };
    let _changing = CHANGING.lock();
    HOLDER.store(me, Relaxed);
    let r = world::with_spilled_registers(|regs| {
        c.caller = *regs;
        f(&mut c)
    });
    world::aside::wipe(world::aside::ENTRY);
    IS_SHORT.store(c.generations.is_short(), Relaxed);
    GENERATIONAL.store(c.generations.pays(), Relaxed);
    HOLDER.store(0, Relaxed);
    r
}

/// Waits for the lock. While the collector's thread starts, whoever starts it waits with the lock held; if the new thread allocates
/// before it is there, and memory is exhausted, it must go without a collection: `None`.
fn lock_unless_starting() -> Option<Guard<'static, Cycle>> {
    const LOOKS: u32 = 10_000;
    for _ in 0..LOOKS {
        if !collector::is_starting() {
            return Some(CYCLE.lock());
        }
        if let Some(c) = CYCLE.try_lock() {
            return Some(c);
        }
        collector::nap(100_000);
    }
    None
}

/// See `crate::raw::for_each_unreachable`.
pub fn for_each_unreachable(
    f: &mut dyn FnMut(crate::raw::Object, u32),
) -> Result<(), CollectError> {
    heap::init();
    with_cycle(false, |c| c.with_room(|c| c.unreachable(f)))
}

/// Runs `f` while no collection runs or starts. Collecting in `f` gives [`CollectError::Busy`], as calling this from inside a
/// collection does.
pub fn without_collections<R>(f: impl FnOnce() -> R) -> Result<R, CollectError> {
    heap::init();
    with_cycle(false, |_| Ok(f()))
}

/// Runs `f` while no collection runs or starts, unless one does.
pub(crate) fn alone(f: impl FnOnce()) {
    let _ = with_cycle(true, |_| {
        f();
        Ok(())
    });
}

/// As [`without_collections`], also for a thread that [`hold`]s them off already. `None` in a collection's callback.
pub(crate) fn exclusively<R>(f: impl FnOnce() -> R) -> Option<R> {
    if is_held() && HELD.load(Relaxed) {
        return Some(f());
    }
    without_collections(f).ok()
}

/// From here on no collection runs or starts, until [`release`]; the calling thread's own give [`CollectError::Busy`]. False if
/// the thread holds it already, or is in a collection's callback.
pub fn hold() -> bool {
    heap::init();
    // A thread is known by its heap.
    if alloc::current().is_empty_heap() && heap::registry::register().is_none() {
        return false;
    }
    let me = core::ptr::from_ref(alloc::current()) as usize;
    if HOLDER.load(Relaxed) == me {
        return false;
    }
    CYCLE.acquire();
    CHANGING.acquire();
    HOLDER.store(me, Relaxed);
    HELD.store(true, Relaxed);
    true
}

/// Undoes [`hold`]. False if the calling thread does not hold it.
pub fn release() -> bool {
    if !is_held() || !HELD.swap(false, Relaxed) {
        return false;
    }
    HOLDER.store(0, Relaxed);
    // SAFETY: this thread is the holder, by `hold`.
    unsafe {
        CHANGING.release();
        CYCLE.release();
    }
    true
}

/// The calling thread is in a collection, or between [`hold`] and [`release`].
pub fn is_held() -> bool {
    let me = core::ptr::from_ref(alloc::current()) as usize;
    !alloc::current().is_empty_heap() && HOLDER.load(Relaxed) == me
}

/// The calling thread is in a collection: in a function that one calls.
pub fn is_collecting() -> bool {
    is_held() && !HELD.load(Relaxed)
}

/// The world that [`stop_world`] stopped.
struct Stopped(UnsafeCell<Option<world::StoppedWorld>>);
// SAFETY: used by the thread that holds the cycle only.
unsafe impl Sync for Stopped {}

static STOPPED: Stopped = Stopped(UnsafeCell::new(None));

/// [`hold`]s, and stops every other thread until [`resume_world`]. False if that cannot be done.
pub fn stop_world() -> bool {
    if !hold() {
        return false;
    }
    if phases::init_world().is_ok()
        && let Ok(w) = world::stop()
    {
        // SAFETY: this thread holds the cycle.
        unsafe { *STOPPED.0.get() = Some(w) };
        return true;
    }
    release();
    false
}

/// Undoes [`stop_world`]; by the same thread.
pub fn resume_world() {
    if is_held() {
        // SAFETY: this thread holds the cycle.
        drop(unsafe { (*STOPPED.0.get()).take() });
        release();
    }
}

/// Calls `f` for every object of the collected and uncollectable kinds that is reachable, with the world stopped.
pub fn for_each_reachable(f: &mut dyn FnMut(crate::raw::Object)) -> Result<(), CollectError> {
    heap::init();
    with_cycle(false, |c| c.with_room(|c| c.reachable(f)))
}

/// See [`crate::referrer::of`]; `target` is an object's start.
pub(crate) fn referrer(target: usize) -> Result<Referrer, CollectError> {
    heap::init();
    with_cycle(false, |c| c.with_room(|c| c.referrer(target)))
}

/// Lets forks come in between while `f` marks beside the program: it may be a long time. Only for who holds [`CHANGING`]. A child that is made
/// meanwhile gives the collection up.
fn open_to_forks<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: by this function's contract the lock is held; its guard does nothing until it is taken again.
    unsafe { CHANGING.release() };
    let r = f();
    CHANGING.acquire();
    r
}

/// Runs `f`, at the end of the process, while no collection goes from one phase to another, if that can be had within a second: what was counted
/// and what was traced agree then.
pub(crate) fn at_rest(f: impl FnOnce()) {
    const TRIES: u32 = 1000;
    let me = core::ptr::from_ref(alloc::current()) as usize;
    let inside = HOLDER.load(Relaxed) == me && !alloc::current().is_empty_heap();
    let mut tries = if inside { TRIES } else { 0 };
    let rest = loop {
        match CHANGING.try_lock() {
            None if tries < TRIES => collector::nap(1_000_000),
            rest => break rest,
        }
        tries += 1;
    };
    f();
    drop(rest);
}

/// For the fork protocol: while this is held no collection runs, or one marks beside the program.
pub(crate) fn lock_for_fork() -> &'static Lock<()> {
    &CHANGING
}

/// In a fork child, where only the calling thread is left: no collection is under way, and nothing is watched.
pub(crate) fn after_fork_child() {
    HOLDER.store(0, Relaxed);
    // SAFETY: only this thread exists. Where it came from, it held the lock of the fork protocol, so that whoever had this one had not begun to
    // change anything, or was marking, which changes nothing of it.
    unsafe { CYCLE.reset() };
    HOLDING.store(0, Relaxed);
    kinds::put_off(false);
    shared().after_fork_child();
    pacer::end_marking();
    zeal::markers_pause(false);
    let mut c = CYCLE.lock();
    c.tracked.forget();
    c.generations.forget();
    if marking::is_active() {
        rescan::clear_marks();
        marking::end();
    }
    drop(c);
    crate::collector::after_fork_child();
    pool::after_fork_child();
    look::after_fork_child();
    world::after_fork_child();
}
