//! A collection with the world stopped, from the decision to the resumed world.
//!
//! Phases: finish the last sweep; take the marks back; stop the world; hide what thread caches hold; find the roots; mark in
//! parallel; weak links and finalizers; begin the sweep; resume; sweep in the background and on demand.

use super::account::Account;
use super::phases::{init_world, kinds, scope, set_out};
use super::{Cycle, Reason, UNTIDY};
use crate::collector;
use crate::config;
use crate::heap::{self, alloc, sweep};
use crate::hooks;
use crate::kind::Kind;
use crate::mark::shared::{Scope, shared};
use crate::mark::{pool, rescan};
use crate::pacer;
use crate::raw::CollectError;
use crate::referrer::{self, Referrer};
use crate::sys::clock::now_ns;
use crate::trace::{self, Event};
use crate::tracked::Tracked;
use crate::world::StoppedWorld;
use core::sync::atomic::Ordering::Relaxed;

impl Cycle {
    /// Collects everything that is unreachable.
    pub(super) fn run(&mut self, reason: Reason) -> Result<(), CollectError> {
        let (begun, cycle) = set_out()?;
        let markers = pool::markers(pacer::live());
        pool::ensure_started(markers - 1);
        let mut account = Account::begin(cycle, reason, begun, sweep::progress(), markers);
        heap::critical::with(|| self.clear_marks())?;
        let stop_begin = now_ns();
        let stop = trace::span_at(Event::FinalStop, stop_begin);
        let world = self.stop()?;
        // From here to the resume nothing may allocate from the heap, nor wait for a lock that a stopped thread can hold.
        self.prepare(true);
        self.clear_rest();
        let mark_begin = now_ns();
        let marked = self.mark(&world, scope(), None, markers);
        account.marked(now_ns() - mark_begin);
        self.expose();
        let Some(tally) = marked else {
            // Left over, they would hide from the next mark phase what their objects refer to.
            rescan::clear_marks();
            self.resume(world);
            return Err(CollectError::NoMemory);
        };
        let watched = self.learn(reason, tally.bytes as usize);
        let all = self
            .generations
            .marked(tally.bytes as usize, pacer::since(), false);
        let live = self.begin_sweep(reason, &tally, all, 0, watched);
        self.end_stop(world, stop, stop_begin, &mut account);
        hooks::event(hooks::Event::SweepBegin, None);
        pool::sweep(self.spare_core);
        if watched {
            collector::start();
            if collector::is_ready() {
                UNTIDY.store(true, Relaxed);
                collector::ask();
            } else {
                self.tracked.release();
                self.generations.stop_trying();
                self.generations.forget();
            }
        }
        account.end(live, &tally);
        if reason != Reason::Allocation {
            heap::critical::with(|| {
                sweep::finish();
                sweep::finish_own(alloc::current());
            });
        }
        hooks::event(hooks::Event::SweepEnd, None);
        hooks::event(hooks::Event::End, None);
        Ok(())
    }

    /// With the world stopped and all `marked` bytes marked: finds out whether generational collections will pay. If so, the heap is
    /// watched from here on.
    fn learn(&mut self, reason: Reason, marked: usize) -> bool {
        if pacer::runs_beside() || !config::get().background {
            return false;
        }
        let mortality = self.sample.mortality();
        self.sample.note();
        self.generations
            .sampled(mortality, marked, pacer::since(), self.spare_core);
        // Where memory is exhausted there is none for another thread.
        let watched = self.generations.pays()
            && reason != Reason::Exhausted
            && !collector::is_refused()
            && Tracked::outlasts_collection()
            && self.tracked.begin().is_some();
        if !watched {
            self.tracked.release();
        }
        watched
    }

    /// After the sweep of a collection that began to watch: first writes to blocks that are not full shall cost nothing.
    pub(super) fn tidy(&mut self) -> Result<(), CollectError> {
        heap::critical::with(sweep::finish);
        self.tracked.keep_full();
        Ok(())
    }

    /// With the world stopped, every mark taken back and every block swept: what `f` finds out, which leaves marks.
    fn examine<R>(
        &mut self,
        f: impl FnOnce(&mut Self, &StoppedWorld) -> Option<R>,
    ) -> Result<R, CollectError> {
        init_world()?;
        heap::critical::with(sweep::finish);
        self.generations.forget();
        let _stop = trace::span(Event::FinalStop);
        let world = self.stop()?;
        self.prepare(false);
        rescan::clear_marks();
        let found = f(self, &world);
        rescan::clear_marks();
        self.expose();
        self.resume(world);
        found.ok_or(CollectError::NoMemory)
    }

    /// Calls `f` for every object that is reached.
    pub(super) fn reachable(
        &mut self,
        f: &mut dyn FnMut(crate::raw::Object),
    ) -> Result<(), CollectError> {
        self.examine(|c, world| {
            c.mark_only(world, scope(), 1)?;
            heap::find::each_of(!0, &mut |s| {
                if crate::finalize::is_marked(s.base) {
                    f(s.object());
                }
            });
            Some(())
        })
    }

    /// What refers to the object that begins at `target`.
    pub(super) fn referrer(&mut self, target: usize) -> Result<Referrer, CollectError> {
        self.examine(|_, world| referrer::search(world, shared(), scope(), target))
    }

    /// Calls `f` for every allocated object of kind `Malloc` that is not reached when malloc'ed memory is no root.
    pub(super) fn unreachable(
        &mut self,
        f: &mut dyn FnMut(crate::raw::Object, u32),
    ) -> Result<(), CollectError> {
        let scope = Scope {
            traced: kinds(heap::is_collected) | 1 << Kind::Malloc.bit(),
            explicit: kinds(|k| !heap::is_collected(k) && k != Kind::Malloc && k.is_scanned()),
            tagged: true,
        };
        self.examine(|c, world| {
            c.mark(world, scope, None, 1)?;
            crate::leaks::each_unmarked(f);
            Some(())
        })
    }
}
