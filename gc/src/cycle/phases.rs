//! What collections with and without the program running beside share.

use super::account::Account;
use super::{Cycle, Reason};
use crate::collector;
use crate::config;
use crate::finalize;
use crate::gather;
use crate::heap::{self, alloc, batch, marking, registry, remote, sweep};
use crate::hooks;
use crate::kind::{KINDS, Kind};
use crate::mark::marker::Tally;
use crate::mark::shared::{Scope, Work, shared};
use crate::mark::{place, pool, rescan};
use crate::pacer;
use crate::raw::CollectError;
use crate::sys::clock::now_ns;
use crate::sys::scratch;
use crate::toggle;
use crate::trace::{self, Event, Point, Span};
use crate::tracked::Tracked;
use crate::world::{self, StopError, StoppedWorld};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Sets up what a collection needs beyond the heap.
pub(super) fn init_world() -> Result<(), CollectError> {
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

/// Ends the last collection's sweep.
fn finish_sweep() {
    let _sweep = trace::span(Event::Sweep);
    heap::critical::with(sweep::finish);
}

/// The kinds as bits for which `f` holds.
pub(super) fn kinds(f: impl Fn(Kind) -> bool) -> u32 {
    (0..KINDS)
        .map(Kind::from_index)
        .filter(|&k| f(k))
        .fold(0, |bits, k| bits | 1 << k.bit())
}

/// What a collection traces.
pub(super) fn scope() -> Scope {
    Scope {
        traced: kinds(heap::is_collected),
        explicit: kinds(|k| !heap::is_collected(k) && k.is_scanned()),
        tagged: heap::has_suspects(),
    }
}

/// One mark phase to its end. `None` if memory for it was refused.
pub(super) fn mark_phase(scope: Scope, work: Work, markers: usize) -> Option<Tally> {
    let s = shared();
    s.begin(scope, work, markers);
    if markers > 1 {
        pool::wake();
    }
    let Some(mut tally) = s.lead() else {
        s.abandon();
        return None;
    };
    rescan::complete(s, &mut tally)?;
    Some(tally)
}

/// A collection begins: when, and its span. The last one's sweep is over then.
pub(super) fn set_out() -> Result<(u64, Span), CollectError> {
    init_world()?;
    scratch::keep_spare();
    trace::start();
    let begun = now_ns();
    let cycle = trace::span_at(Event::Cycle, begun);
    hooks::event(hooks::Event::Begin, None);
    finish_sweep();
    Ok((begun, cycle))
}

impl Cycle {
    /// Calls `f` where it has room on the stack for a collection.
    pub(super) fn with_room<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        let sp = self.caller.sp;
        // SAFETY: a `Cycle` is only lent to who holds the lock `CYCLE`, and no collection begins inside another one.
        unsafe { world::own_stack::call(sp, || f(self)) }
    }

    /// Stops the world; ends what a collection beside the program had to leave unfinished.
    #[inline(always)]
    pub(super) fn stop(&mut self) -> Result<StoppedWorld, CollectError> {
        let world = self.stop_as_is()?;
        if marking::is_active() {
            rescan::clear_marks();
            marking::end();
            self.generations.forget();
        }
        Ok(world)
    }

    /// Stops the world.
    #[inline(always)]
    pub(super) fn stop_as_is(&mut self) -> Result<StoppedWorld, CollectError> {
        hooks::event(hooks::Event::BeforeStop, None);
        match world::stop_before(&self.caller) {
            Ok(w) => {
                hooks::event(hooks::Event::Stopped, Some(&w));
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

    /// Takes all marks back, the world running, but for some blocks, see [`Self::clear_rest`].
    pub(super) fn clear_marks(&mut self) -> Result<(), CollectError> {
        self.generations.forget();
        self.unswept.clear();
        if !self.marks_left || rescan::clear_marks_beside(&mut self.unswept) {
            Ok(())
        } else {
            Err(CollectError::NoMemory)
        }
    }

    /// With the world stopped and every block swept: takes the marks back that [`Self::clear_marks`] left.
    pub(super) fn clear_rest(&mut self) {
        for &b in self.unswept.iter() {
            rescan::clear_block(heap::block::Block(b));
        }
    }

    /// With the world stopped: leftovers of the last sweep, remote frees in batches, and slots in caches, which are
    /// shown as free while marking, so that stale pointers do not keep them.
    pub(super) fn prepare(&mut self, flush: bool) {
        sweep::finish_stopped();
        registry::for_each(|heap| {
            if flush {
                remote::flush_collected(heap);
                batch::flush_collected(heap);
            }
            heap.each_cached(|b, free, _, bits| {
                free.store(free.load(Relaxed) | bits, Relaxed);
                b.set_full(false);
            });
        });
    }

    /// Undoes what [`Self::prepare`] did with the caches.
    pub(super) fn expose(&self) {
        registry::for_each(|heap| {
            heap.each_cached(|b, free, _, bits| {
                free.store(free.load(Relaxed) & !bits, Relaxed);
                b.set_full(b.head().summary.load(Relaxed) == 0);
            });
        });
    }

    /// With the world stopped: [`Self::gather`]s and [`Self::mark_gathered`].
    #[inline(always)]
    pub(super) fn mark(
        &mut self,
        world: &StoppedWorld,
        scope: Scope,
        so_far: Option<Tally>,
        markers: usize,
    ) -> Option<Tally> {
        self.gather(world, scope)?;
        self.mark_gathered(world, scope, so_far, markers)
    }

    /// With the world stopped: lists all roots. `None` if memory was refused.
    pub(super) fn gather(&mut self, world: &StoppedWorld, scope: Scope) -> Option<()> {
        toggle::ask();
        let _roots = trace::span(Event::Roots);
        gather::roots(&mut self.gathered, world, scope, true)
    }

    /// With the world stopped and the roots listed: marks everything reachable. What is marked already is, with `so_far`, the work of markers
    /// beside the program, and was scanned but where the last harvest says that it was written. `None` if memory was refused.
    pub(super) fn mark_gathered(
        &mut self,
        world: &StoppedWorld,
        mut scope: Scope,
        so_far: Option<Tally>,
        markers: usize,
    ) -> Option<Tally> {
        let mut span = trace::span(Event::FinalMark);
        let spare = !self.gathered.unseen().is_empty();
        if spare {
            // The kernel may know of any malloc'ed block: all of them are roots, and none is freed.
            scope.explicit |= 1 << Kind::Malloc.bit();
        }
        sweep::spare_malloc(spare);
        let beside = so_far.is_some();
        hooks::event(hooks::Event::MarkBegin, Some(world));
        let work = Work {
            roots: self.gathered.ranges(),
            written: if beside { self.tracked.written() } else { &[] },
            explicit_objects: spare || !beside,
        };
        let mut tally = mark_phase(scope, work, markers)?;
        if beside {
            rescan::ask_procedures(shared(), &mut tally)?;
        }
        finalize::after_mark(shared(), &mut tally)?;
        span.set(tally.bytes);
        if let Some(t) = so_far {
            tally.add(&t);
        }
        #[cfg(feature = "paranoid")]
        crate::paranoid::check(shared(), scope, self.gathered.ranges(), self.caller.sp);
        hooks::event(hooks::Event::MarkEnd, Some(world));
        Some(tally)
    }

    /// With the world stopped: marks everything reachable, and nothing more: links and finalizers stay as they are. `None` if memory
    /// was refused.
    #[inline(always)]
    pub(super) fn mark_only(
        &mut self,
        world: &StoppedWorld,
        scope: Scope,
        markers: usize,
    ) -> Option<Tally> {
        gather::roots(&mut self.gathered, world, scope, true)?;
        mark_phase(scope, Work::all(self.gathered.ranges()), markers)
    }

    /// Lets the world go on; when its last thread did.
    pub(super) fn resume(&self, world: StoppedWorld) -> u64 {
        hooks::event(hooks::Event::BeforeResume, Some(&world));
        let resumed = world.resume();
        hooks::event(hooks::Event::Resumed, None);
        resumed
    }

    /// Lets the world go on that was stopped from `begun` on.
    pub(super) fn end_stop(
        &self,
        world: StoppedWorld,
        stop: Span,
        begun: u64,
        account: &mut Account,
    ) {
        let (threads, stopping) = (world.threads().len() as u64, world.stop_ns());
        let resumed = self.resume(world);
        stop.end_at(threads, resumed);
        account.stopped(begun, resumed, stopping);
    }

    /// Sweeps what the collection left. What is watched is watched on if the next one may keep the marks; otherwise the program no longer
    /// pays for it.
    pub(super) fn sweep_up(&mut self) {
        let watch = Tracked::outlasts_collection() && self.generations.usable();
        if !watch {
            self.generations.forget();
            self.tracked.release();
        }
        hooks::event(hooks::Event::SweepBegin, None);
        pool::sweep(self.spare_core);
        heap::critical::with(sweep::finish);
        hooks::event(hooks::Event::SweepEnd, None);
        if watch {
            self.tracked.keep_full();
        }
    }

    /// With the world stopped and everything reachable marked: what is not is swept from here on. The marks stay if a collection
    /// beside the program may follow. Tells the pacer; the bytes reachable, `marked` and `born` ones.
    pub(super) fn begin_sweep(
        &mut self,
        reason: Reason,
        tally: &Tally,
        marked: usize,
        born: usize,
        beside: bool,
    ) -> usize {
        let reclaim = heap::has_suspects();
        let two_cycles = reclaim && reason != Reason::Exhausted && !pacer::is_tight();
        let kept =
            pacer::runs_beside() && collector::is_ready() || beside && self.generations.usable();
        self.marks_left = kept || finalize::are_marks_wanted();
        sweep::begin(two_cycles, self.marks_left);
        if !kept {
            self.generations.forget();
        }
        let live = marked + born;
        let scanned = (live + tally.roots as usize).saturating_sub(tally.atomic as usize);
        let (allocating, cores) = (registry::count_allocating(), place::processors());
        // The collector's thread may be at work beside those that allocate.
        let own = usize::from(pacer::runs_beside() && collector::is_ready());
        self.spare_core = allocating + own < cores;
        let generational = self.generations.usable() && beside;
        let roots = tally.roots as usize;
        pacer::collected(live, scanned, roots, generational, allocating.min(cores));
        live
    }
}
