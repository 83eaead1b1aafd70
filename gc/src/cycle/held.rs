//! A collection by the collector's own thread with the program held while it marks: the dirty source is armed before the stop and
//! the sweep made after it, so that the next one can be generational.

use super::account::Account;
use super::phases::{scope, set_out};
use super::{Cycle, Reason, expect_hold};
use crate::heap::{self, sweep};
use crate::hooks;
use crate::mark::marker::Tally;
use crate::mark::{pool, rescan};
use crate::pacer;
use crate::raw::CollectError;
use crate::sys::clock::now_ns;
use crate::trace::{self, Event};
use crate::tracked::Tracked;

impl Cycle {
    /// Collects with one stop.
    pub(super) fn run_held(&mut self) -> Result<(), CollectError> {
        let reason = Reason::Allocation;
        let (begun, cycle) = set_out()?;
        let arm = trace::span_at(Event::Arm, begun);
        let watched = self.tracked.is_watching();
        let armed = Tracked::outlasts_collection()
            .then(|| self.tracked.begin())
            .flatten();
        let Some(written) = armed else {
            drop((arm, cycle));
            self.tracked.release();
            self.generations.stop_trying();
            return self.run(reason);
        };
        arm.end((written / 4096) as u64);
        if watched {
            self.generations.wrote(written - self.tracked.fresh());
        }
        // What is fresh has no marks, and costs next to nothing to scan.
        let keep = watched && self.generations.keeps_marks(written - self.tracked.fresh());
        let markers = pool::markers(self.generations.expected(keep).max(pacer::live() / 8));
        pool::ensure_started(markers - 1);
        let mut account = Account::begin(cycle, reason, begun, sweep::progress(), markers);
        account.harvested(written);
        if !keep {
            heap::critical::with(|| self.clear_marks())?;
        }
        // Until this collection has ended well there are marks that no other one may rely on.
        self.generations.forget();
        let stop_begin = now_ns();
        let stop = trace::span_at(Event::FinalStop, stop_begin);
        let world = self.stop()?;
        let mark_begin = now_ns();
        self.prepare(true);
        let so_far = if keep {
            self.tracked.harvest_rest().map(|_| Some(Tally::default()))
        } else {
            self.clear_rest();
            Some(None)
        };
        let marked = so_far.and_then(|so_far| self.mark(&world, scope(), so_far, markers));
        self.expose();
        account.marked(now_ns() - mark_begin);
        let Some(tally) = marked else {
            rescan::clear_marks();
            self.generations.forget();
            self.resume(world);
            self.tracked.release();
            return Err(CollectError::NoMemory);
        };
        let all = self
            .generations
            .marked(tally.bytes as usize, pacer::since(), keep);
        let live = self.begin_sweep(reason, &tally, all, 0, true);
        self.end_stop(world, stop, stop_begin, &mut account);
        expect_hold(false);
        self.sweep_up();
        account.end(live, &tally);
        hooks::event(hooks::Event::End, None);
        Ok(())
    }
}
