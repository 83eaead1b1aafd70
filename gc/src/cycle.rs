//! A collection, from the decision to the resumed world.
//!
//! Phases: finish the last sweep; stop the world; hide what thread caches hold; find the roots; mark in parallel; weak links and
//! finalizers; begin the sweep; resume; sweep in the background and on demand.

use crate::config;
use crate::finalize;
use crate::gather::{self, Gathered};
use crate::heap::{self, alloc, batch, layout, registry, remote, runs, sweep};
use crate::kind::{KINDS, Kind};
use crate::mark::shared::{Scope, shared};
use crate::mark::{pool, rescan};
use crate::pacer;
use crate::raw::CollectError;
use crate::stats::{self, CycleRecord};
use crate::sys::clock::now_ns;
use crate::sys::lock::Lock;
use crate::trace::{self, Counter, CycleSummary, Event, Point};
use crate::world::{self, StopError, StoppedWorld};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

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
    failures: u32,
}

static CYCLE: Lock<Cycle> = Lock::new(Cycle {
    gathered: Gathered::new(),
    failures: 0,
});
/// Thread pointer of the thread that holds [`CYCLE`], 0 for none.
static HOLDER: AtomicUsize = AtomicUsize::new(0);

/// Collects. With `Reason::Allocation` only if no other thread is at it.
pub fn collect(reason: Reason) -> Result<(), CollectError> {
    heap::init();
    with_cycle(reason == Reason::Allocation, |c| c.run(reason))?;
    finalize::announce();
    Ok(())
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
        (None, false) => CYCLE.lock(),
    };
    HOLDER.store(me, Relaxed);
    let r = f(&mut c);
    HOLDER.store(0, Relaxed);
    r
}

/// Sets up what a collection needs beyond the heap.
fn init_world() -> Result<(), CollectError> {
    let c = config::get();
    let w = world::WorldConfig {
        signal: c.stop_signal(),
        timeout_ms: c.stop_timeout_ms,
        critical_flags: Some(|| &raw const alloc::current().flags),
    };
    world::init(w).map_err(|e| {
        // Tried again at every collection, said once.
        static SAID: AtomicBool = AtomicBool::new(false);
        if !SAID.swap(true, Relaxed) {
            crate::message!("{e}");
        }
        CollectError::Unavailable
    })
}

/// The kinds as bits for which `f` holds.
fn kinds(f: impl Fn(Kind) -> bool) -> u32 {
    (0..KINDS as u8)
        .map(Kind::from_u8)
        .filter(|&k| f(k))
        .fold(0, |bits, k| bits | 1 << k as u32)
}

impl Cycle {
    fn run(&mut self, reason: Reason) -> Result<(), CollectError> {
        init_world()?;
        trace::start();
        let begin = now_ns();
        let mut cycle = trace::span_at(Event::Cycle, begin);
        let before_bytes = (pacer::live() + pacer::since()) as u64;
        trace::counter(Counter::Collected, before_bytes);
        let sweep = trace::span(Event::Sweep);
        heap::critical::with(sweep::finish);
        drop(sweep);
        let (reclaimed, sweep_ns) = sweep::progress();
        stats::record_sweep(sweep_ns);
        let markers = pool::markers(pacer::live());
        pool::ensure_started(markers - 1);
        let stop_begin = now_ns();
        let stop = trace::span_at(Event::FinalStop, stop_begin);
        let world = self.stop()?;
        // From here to the resume nothing may allocate from the heap, nor wait for a lock that a stopped thread can hold.
        self.prepare(true);
        let reclaim = heap::has_suspects();
        let scope = Scope {
            traced: kinds(heap::is_collected),
            explicit: kinds(|k| !heap::is_collected(k) && k.is_scanned()),
            tagged: reclaim,
        };
        let mark_begin = now_ns();
        let marked = self.mark(&world, scope, markers);
        let mark_ns = now_ns() - mark_begin;
        self.expose();
        let Some(tally) = marked else {
            // Left over, they would hide from the next mark phase what their objects refer to.
            rescan::clear_marks();
            drop(world);
            return Err(CollectError::NoMemory);
        };
        let two_cycles = reclaim && reason != Reason::Exhausted && !pacer::is_tight();
        sweep::begin(two_cycles);
        let live = tally.bytes as usize;
        pacer::collected(live, live - tally.atomic as usize + tally.roots as usize);
        let stop_ns = world.stop_ns();
        let threads = world.threads().len() as u64;
        drop(world);
        let resumed = now_ns();
        let pause_ns = resumed - stop_begin;
        stop.end_at(threads, resumed);
        pool::sweep();
        stats::record_cycle(CycleRecord {
            pause_ns,
            mark_ns,
            sweep_ns: 0,
            stop_ns,
            live_bytes: live as u64,
            reclaimed_bytes: reclaimed,
            roots_bytes: tally.roots,
            objects_marked: tally.objects,
        });
        cycle.set(live as u64);
        drop(cycle);
        let heap = runs::figures();
        trace::cycle_done(&CycleSummary {
            number: stats::collections(),
            why: reason.name(),
            duration_ns: now_ns() - begin,
            stops: 1,
            stop_ns: pause_ns,
            stop_max_ns: pause_ns,
            marked_bytes: live as u64,
            marked_objects: tally.objects,
            before_bytes,
            heap_bytes: (heap.in_use * layout::BLOCK) as u64,
            free_bytes: (heap.dirty * layout::BLOCK) as u64,
            markers: markers as u32,
            ..CycleSummary::default()
        });
        if reason != Reason::Allocation {
            heap::critical::with(|| {
                sweep::finish();
                sweep::finish_own(alloc::current());
            });
        }
        Ok(())
    }

    #[inline(always)]
    fn stop(&mut self) -> Result<StoppedWorld, CollectError> {
        match world::stop() {
            Ok(w) => {
                self.failures = 0;
                Ok(w)
            }
            Err(e) => {
                self.failures += 1;
                trace::instant(Point::GivenUp, u64::from(self.failures));
                // One line for each series of failures, not one for each attempt.
                if self.failures == 1 {
                    crate::message!("{e}; this collection is put off");
                }
                Err(match e {
                    StopError::Blocked { tid, .. } => CollectError::ThreadBlocked(tid),
                    StopError::NoProc(_) => CollectError::NoProc,
                    StopError::Memory(_) => CollectError::NoMemory,
                    _ => CollectError::Unavailable,
                })
            }
        }
    }

    /// With the world stopped: leftovers of the last sweep, remote frees in batches, and slots in caches, which are
    /// shown as free while marking, so that stale pointers do not keep them.
    fn prepare(&mut self, flush: bool) {
        sweep::finish_stopped();
        registry::for_each(|heap| {
            if flush {
                remote::flush_collected(heap);
                batch::flush_collected(heap);
            }
            heap.each_cached(|b, free, bits| {
                free.store(free.load(Relaxed) | bits, Relaxed);
                b.set_full(false);
            });
        });
    }

    /// Undoes what [`Self::prepare`] did with the caches.
    fn expose(&self) {
        registry::for_each(|heap| {
            heap.each_cached(|b, free, bits| {
                free.store(free.load(Relaxed) & !bits, Relaxed);
                b.set_full(b.head().summary.load(Relaxed) == 0);
            });
        });
    }

    /// Marks everything reachable. `None` if memory for it was refused.
    #[inline(always)]
    fn mark(
        &mut self,
        world: &StoppedWorld,
        scope: Scope,
        markers: usize,
    ) -> Option<crate::mark::marker::Tally> {
        let roots = trace::span(Event::Roots);
        gather::roots(&mut self.gathered, world, scope)?;
        drop(roots);
        let mut mark = trace::span(Event::FinalMark);
        let mut scope = scope;
        let spare = !self.gathered.unseen().is_empty();
        if spare {
            // The kernel may know of any malloc'ed block: all of them are roots, and none is freed.
            scope.explicit |= 1 << Kind::Malloc as u32;
        }
        sweep::spare_malloc(spare);
        let s = shared();
        s.begin(scope, self.gathered.ranges(), markers);
        pool::wake();
        let Some(mut tally) = s.lead() else {
            s.abandon();
            return None;
        };
        rescan::complete(s, &mut tally)?;
        finalize::after_mark(s, &mut tally)?;
        #[cfg(feature = "paranoid")]
        crate::paranoid::check(s, scope, self.gathered.ranges());
        mark.set(tally.bytes);
        Some(tally)
    }

    /// Calls `f` for every allocated object of kind `Malloc` that is not reached when malloc'ed memory is no root.
    fn unreachable(
        &mut self,
        f: &mut dyn FnMut(crate::raw::Object, u32),
    ) -> Result<(), CollectError> {
        init_world()?;
        heap::critical::with(sweep::finish);
        let _stop = trace::span(Event::FinalStop);
        let world = self.stop()?;
        self.prepare(false);
        let scope = Scope {
            traced: kinds(heap::is_collected) | 1 << Kind::Malloc as u32,
            explicit: kinds(|k| !heap::is_collected(k) && k != Kind::Malloc && k.is_scanned()),
            tagged: true,
        };
        let marked = self.mark(&world, scope, 1);
        if marked.is_some() {
            crate::leaks::each_unmarked(f);
        }
        rescan::clear_marks();
        self.expose();
        drop(world);
        marked.map(|_| ()).ok_or(CollectError::NoMemory)
    }
}

/// See `crate::raw::for_each_unreachable`.
pub fn for_each_unreachable(
    f: &mut dyn FnMut(crate::raw::Object, u32),
) -> Result<(), CollectError> {
    heap::init();
    with_cycle(false, |c| c.unreachable(f))
}

/// Runs `f` while no collection runs or starts. Collecting in `f` gives [`CollectError::Busy`], as calling this from inside a
/// collection does.
pub fn without_collections<R>(f: impl FnOnce() -> R) -> Result<R, CollectError> {
    heap::init();
    with_cycle(false, |_| Ok(f()))
}

/// For the fork protocol: no collection runs while this is held.
pub(crate) fn lock_for_fork() -> &'static Lock<Cycle> {
    &CYCLE
}

/// In a fork child: the cycle's lock is free again.
pub(crate) fn after_fork_child() {
    HOLDER.store(0, Relaxed);
    pool::after_fork_child();
    world::after_fork_child();
}
