//! A collection beside the running program.
//!
//! Phases: finish the last sweep; arm the dirty source; a short stop, in which the roots are listed; mark from a copy of the roots while the
//! program runs; a short stop, in which the roots are listed again and objects begin to be born marked; if the program has mark procedures, a
//! short stop in which they are asked what the marked objects refer to; harvest the pages that were written and scan what
//! is marked on them, as long as that gets less; stop; last harvest and all roots; finish marking; begin the sweep; resume.
//!
//! An object is found if something refers to it at the last stop: either a root does, which is scanned then; or a marked
//! object does, which was scanned after the reference was stored or lies on a page that was written since the source was
//! last cleared there. A generational collection begins with the marks of the last one: what was scanned then was scanned
//! after the reference was stored or lies on a page that was written since, which is scanned first.

use super::account::Account;
use super::phases::{mark_phase, scope, set_out};
use super::{Cycle, Reason, open_to_forks};
use crate::collector;
use crate::dirty::When;
use crate::gather;
use crate::heap::{self, marking, sweep};
use crate::hooks;
use crate::kinds;
use crate::mark::marker::Tally;
use crate::mark::shared::Work;
use crate::mark::{pool, rescan};
use crate::pacer;
use crate::raw::CollectError;
use crate::sys::clock::now_ns;
use crate::trace::{self, Event, Span};
use crate::world::StoppedWorld;
use crate::zeal;

/// Written bytes with which the last stop may begin.
const FEW: usize = 128 << 10;
/// Most harvests with the program running.
const ROUNDS: usize = 10;
/// After so many in succession that find as much as before, of a program that does not allocate, it is stopped.
const IN_VAIN: u32 = 4;
/// How often the last stop is tried.
const TRIES: u32 = 6;

impl Cycle {
    /// Collects with the program running for most of the time.
    pub(super) fn run_beside(&mut self) -> Result<(), CollectError> {
        let reason = Reason::Allocation;
        let (begun, cycle) = set_out()?;
        let markers = pool::markers(pacer::live());
        pool::ensure_started(markers - 1);
        let arm = trace::span_at(Event::Arm, begun);
        let watched = self.tracked.is_watching();
        let Some(written) = self.tracked.begin() else {
            drop((arm, cycle));
            self.tracked.release();
            return self.run(reason);
        };
        arm.end((written / 4096) as u64);
        let mut account = Account::begin(cycle, reason, begun, sweep::progress(), markers);
        account.harvested(written);
        if watched {
            self.generations.wrote(written - self.tracked.fresh());
        }
        let keep = self.generations.keeps_marks(written);
        if !keep {
            heap::critical::with(|| self.clear_marks())?;
        }
        // Until this collection has ended well there are marks that no other one may rely on.
        self.generations.forget();
        zeal::boundary();
        self.begin(keep, &mut account)?;
        zeal::markers_pause(true);
        let since = pacer::since();
        let mark_begin = now_ns();
        pacer::begin_marking(self.generations.expected(keep));
        kinds::put_off(true);
        let beside = self.mark_beside(keep, &mut account);
        zeal::markers_pause(false);
        pacer::end_marking();
        account.marked(now_ns() - mark_begin);
        let stopped = self.stop_at_last();
        kinds::put_off(false);
        let (stop_begin, stop, world) = stopped?;
        let marked = beside.and_then(|tally| self.finish(&world, tally, markers, &mut account));
        let Some(tally) = marked else {
            rescan::clear_marks();
            marking::end();
            self.resume(world);
            self.tracked.release();
            return Err(CollectError::NoMemory);
        };
        let born = self.born();
        marking::end();
        let all = self.generations.marked(tally.bytes as usize, since, keep);
        let live = self.begin_sweep(reason, &tally, all, born, true);
        self.end_stop(world, stop, stop_begin, &mut account);
        zeal::boundary();
        self.sweep_up();
        zeal::boundary();
        account.end(live, &tally);
        hooks::event(hooks::Event::End, None);
        Ok(())
    }

    /// The first stop: lists the roots, and objects are born marked from here on.
    #[inline(always)]
    fn begin(&mut self, keep: bool, account: &mut Account) -> Result<(), CollectError> {
        let t = now_ns();
        let stop = trace::span_at(Event::FinalStop, t);
        let world = self.stop()?;
        sweep::finish_stopped();
        if !keep {
            self.clear_rest();
        }
        // What few objects a generational collection finds from the roots can wait for the last stop.
        let found = if keep && self.generations.expected(true) < FEW {
            self.gathered.clear();
            Some(())
        } else {
            gather::roots(&mut self.gathered, &world, scope(), false)
        };
        if found.is_some() {
            marking::begin();
            // Where a program's procedures are asked, that is the next stop.
            if kinds::has_procedures() {
                self.bear_marked();
            }
        }
        self.end_stop(world, stop, t, account);
        found.ok_or(CollectError::NoMemory)
    }

    /// Marks while the program runs. `None` if memory was refused.
    fn mark_beside(&mut self, keep: bool, account: &mut Account) -> Option<Tally> {
        let begun = pacer::since();
        let markers = pool::beside();
        let scope = scope();
        let mut span = trace::span(Event::MarkConcurrent);
        self.gathered.detach(scope.tagged)?;
        let first = Work {
            roots: self.gathered.ranges(),
            written: if keep { self.tracked.written() } else { &[] },
            explicit_objects: !keep,
        };
        let mut tally = open_to_forks(|| mark_phase(scope, first, markers))?;
        pacer::end_marking();
        span.set(tally.bytes);
        drop(span);
        zeal::boundary();
        // What is written while pages are looked through gets less only if much less is allocated meanwhile, because who writes all over
        // the heap soon comes to the same pages again: each round has a quarter of the last one's room.
        let mut room = pacer::since().saturating_sub(begun);
        let (mut last, mut in_vain) = (usize::MAX, 0);
        self.gathered.clear();
        if room > FEW && !marking::bears_marked() {
            self.look_again(account)?;
            zeal::boundary();
        }
        if kinds::has_procedures() {
            self.ask_procedures(account)?;
            zeal::boundary();
        }
        let rounds = zeal::rounds();
        for _ in 0..rounds.unwrap_or(ROUNDS) {
            let mut span = trace::span(Event::Harvest);
            let written = self.tracked.harvest(When::Running)?;
            span.set((written / 4096) as u64);
            drop(span);
            account.harvested(written);
            room /= 4;
            pacer::begin_remarking(written, room);
            let mut span = trace::span(Event::Remark);
            let again = Work {
                roots: self.gathered.ranges(),
                written: self.tracked.written(),
                explicit_objects: false,
            };
            let more = open_to_forks(|| mark_phase(scope, again, markers))?;
            pacer::end_marking();
            span.set(more.bytes);
            drop(span);
            tally.add(&more);
            self.gathered.clear();
            zeal::boundary();
            let stuck = written > last / 4 * 3 && !pacer::can_be_held_up();
            in_vain = if stuck { in_vain + 1 } else { 0 };
            if rounds.is_none() && (written <= FEW || in_vain == IN_VAIN) {
                break;
            }
            last = written;
        }
        Some(tally)
    }

    /// From here on objects are born marked. The world is stopped.
    fn bear_marked(&mut self) {
        marking::bear_marked();
        self.born_from = pacer::since();
    }

    /// Bytes of objects that were born marked.
    fn born(&self) -> usize {
        if marking::bears_marked() {
            pacer::since().saturating_sub(self.born_from)
        } else {
            0
        }
    }

    /// A stop after marking: lists the roots once more, for what was made meanwhile and is still in use. From here on objects are born marked.
    /// `None` if memory was refused.
    fn look_again(&mut self, account: &mut Account) -> Option<()> {
        let t = now_ns();
        let stop = trace::span_at(Event::FinalStop, t);
        let Ok(world) = self.stop_as_is() else {
            return Some(());
        };
        let found = gather::roots(&mut self.gathered, &world, scope(), false);
        self.bear_marked();
        self.end_stop(world, stop, t, account);
        found?;
        self.gathered.detach(scope().tagged)
    }

    /// A stop between marking and looking through what was written: the program's procedures say what the marked objects refer to that are theirs. They say
    /// so again in the last stop, which then finds most of it marked. `None` if memory was refused.
    fn ask_procedures(&mut self, account: &mut Account) -> Option<()> {
        let t = now_ns();
        let stop = trace::span_at(Event::FinalStop, t);
        let Ok(world) = self.stop_as_is() else {
            return Some(());
        };
        self.prepare(false);
        let found = self.gathered.ask_procedures();
        self.expose();
        self.end_stop(world, stop, t, account);
        found
    }

    /// The last stop, and when it began. A thread that cannot be stopped now may be stopped a little later; if not, the next
    /// stop ends the mark phase.
    #[inline(always)]
    fn stop_at_last(&mut self) -> Result<(u64, Span, StoppedWorld), CollectError> {
        let mut tries = 0;
        loop {
            let t = now_ns();
            let stop = trace::span_at(Event::FinalStop, t);
            match self.stop_as_is() {
                Ok(w) => return Ok((t, stop, w)),
                Err(e) if tries == TRIES => {
                    self.tracked.release();
                    return Err(e);
                }
                Err(_) => collector::nap(1_000_000 << tries),
            }
            tries += 1;
        }
    }

    /// With the world stopped for the last time: marks what is left.
    #[inline(always)]
    fn finish(
        &mut self,
        world: &StoppedWorld,
        tally: Tally,
        markers: usize,
        account: &mut Account,
    ) -> Option<Tally> {
        self.prepare(true);
        self.tracked.begin_last();
        let gathered = self.gather(world, scope());
        let mut span = trace::span(Event::Harvest);
        let written = self.tracked.harvest(When::Stopped { keep: false });
        let bytes = written.unwrap_or(0);
        span.set((bytes / 4096) as u64);
        drop(span);
        account.harvested(bytes);
        let listed = written.and(gathered);
        let marked = listed.and_then(|()| self.mark_gathered(world, scope(), Some(tally), markers));
        // In any case: what is in the caches must not be handed out from the blocks as well.
        self.expose();
        marked
    }
}
